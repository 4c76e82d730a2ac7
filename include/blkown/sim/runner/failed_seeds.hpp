// SPDX-License-Identifier: BSL-1.0
//
// FailedSeeds: a file of the seeds that once failed, which later runs try first.
//
// A line is a seed, a comment that begins with #, or empty. The file is replaced at once, and keeps
// what a person has written into it. Programs that share a file wait for one another.

#ifndef BLKOWN_SIM_RUNNER_FAILED_SEEDS_HPP
#define BLKOWN_SIM_RUNNER_FAILED_SEEDS_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/runner/kit_file.hpp>
#include <blkown/sim/runner/kit_options.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The file of this path.
class FailedSeeds {
 public:
  /// Does not open the file.
  explicit FailedSeeds(std::string path) : path_{std::move(path)} {}

  /// The seeds of the file, each once. A file that does not exist has none.
  /// Errors: one line with the line of the file that is no seed, and what to do.
  [[nodiscard]] std::expected<std::vector<std::uint64_t>, std::string> read() const {
    const auto content = read_content();
    if (!content.has_value()) return std::unexpected{content.error()};
    return seeds_of(*content);
  }

  /// Appends a seed that the file does not have.
  /// Errors: one line, or an empty text. The file is then as it was.
  [[nodiscard]] std::string append(std::uint64_t seed) const {
    const detail::FolderLock lock{path_};
    auto file = read_content();
    if (!file.has_value()) return file.error();
    const auto seeds = seeds_of(*file);
    if (!seeds.has_value()) return seeds.error();
    if (std::ranges::find(*seeds, seed) != seeds->end()) return {};
    std::string content = *std::move(file);
    if (content.empty()) content = "# Seeds that failed once, one a line. They are run first.\n";
    if (!content.ends_with('\n')) content += '\n';
    content += std::to_string(seed) + '\n';
    const std::string problem = detail::replace_whole(path_, content);
    return problem.empty() ? problem : problem_of(problem + "; name another file");
  }

 private:
  static constexpr std::size_t max_size = std::size_t{1} << 20;

  [[nodiscard]] std::string problem_of(const std::string& problem) const {
    return "--failed-seeds " + detail::printable(path_) + ": " + problem;
  }
  [[nodiscard]] std::expected<std::string, std::string> read_content() const {
    const std::string problem = detail::check_replaceable(path_);
    if (!problem.empty()) return std::unexpected{problem_of(problem + "; name another file")};
    auto content = detail::read_whole(path_, max_size);
    if (!content.has_value()) {
      return std::unexpected{problem_of(content.error() + "; name a file of seeds")};
    }
    return content;
  }
  [[nodiscard]] std::expected<std::vector<std::uint64_t>, std::string> seeds_of(
      std::string_view content) const {
    std::vector<std::uint64_t> seeds;
    for (std::size_t number = 1; !content.empty(); ++number) {
      const std::size_t end = std::min(content.find('\n'), content.size());
      std::string_view line = content.substr(0, end);
      content.remove_prefix(std::min(end + 1, content.size()));
      while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) {
        line.remove_suffix(1);
      }
      if (line.empty() || line.front() == '#') continue;
      std::uint64_t seed = 0;
      if (!detail::parse(line, seed)) {
        return std::unexpected{problem_of("line " + std::to_string(number) + " is no seed: '" +
                                          detail::printable(line) +
                                          "'; write one number a line, or remove the line")};
      }
      if (std::ranges::find(seeds, seed) == seeds.end()) seeds.push_back(seed);
    }
    return seeds;
  }

  std::string path_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
