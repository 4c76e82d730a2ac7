// SPDX-License-Identifier: BSL-1.0
//
// CiRun: runs the seeds of the options in processes, for a CI: the seeds that once failed first, a
// JUnit report, a time limit.

#ifndef BLKOWN_SIM_RUNNER_CI_RUN_HPP
#define BLKOWN_SIM_RUNNER_CI_RUN_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/runner/failed_seeds.hpp>
#include <blkown/sim/runner/junit_report.hpp>
#include <blkown/sim/runner/kit_file.hpp>
#include <blkown/sim/runner/kit_options.hpp>
#include <blkown/sim/runner/seed_processes.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The seeds of a program: those that once failed, then the others in order.
class SeedList {
 public:
  /// The seeds that the options name, and before them those that once failed.
  explicit SeedList(const KitOptions& options, std::vector<std::uint64_t> failed = {})
      : failed_{std::move(failed)}, first_{options.first_seed}, count_{options.seeds} {
    const auto is_among = [&](std::uint64_t seed) { return seed - first_ < count_; };
    const auto both = static_cast<std::uint64_t>(std::ranges::count_if(failed_, is_among));
    total_ = count_ - both + failed_.size();
  }

  /// The next seed, or none after the last one. Each seed comes once.
  [[nodiscard]] std::optional<std::uint64_t> next() {
    if (next_failed_ != failed_.size()) return failed_[next_failed_++];
    while (begun_ != count_) {
      const std::uint64_t seed = first_ + begun_++;
      if (std::ranges::find(failed_, seed) == failed_.end()) return seed;
    }
    return std::nullopt;
  }
  /// The number of seeds.
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

 private:
  std::vector<std::uint64_t> failed_;
  std::uint64_t first_;
  std::uint64_t count_;
  std::uint64_t total_ = 0;
  std::size_t next_failed_ = 0;
  std::uint64_t begun_ = 0;
};

/// What a program says when its time is over.
[[nodiscard]] inline std::string late_line(const KitOptions& options, std::uint64_t ran,
                                           std::uint64_t total) {
  return "--time-limit " + std::to_string(options.time_limit_s) + ": " + std::to_string(ran) +
         " of " + std::to_string(total) + " seeds ran\n";
}

/// The runs of a program whose options has_processes().
template <class Totals>
class CiRun {
 public:
  using Run = typename detail::SeedProcesses<Totals>::Run;

  /// Begins no run.
  explicit CiRun(const KitOptions& options)
      : options_{options}, seeds_{options}, junit_{suite_of(options.program)} {}

  /// Runs the seeds, each with `run(seed, totals)` in a process, and prints the output of each.
  /// `totals.merge` gets the totals of each run that passed.
  /// Returns 0, or 1 if a run has failed, or 2 if a file cannot be used: then one line was printed.
  [[nodiscard]] int run(Run run, Totals& totals) {
    if (!prepare()) return 2;
    const auto begin = std::chrono::steady_clock::now();
    const ProcessLimits limits{.jobs = options_.jobs == 0 ? 1 : options_.jobs,
                               .keeps_going = options_.keep_going,
                               .seconds = options_.time_limit_s};
    const std::expected<bool, std::string> is_in_time = run_in_processes<Totals>(
        limits, [&] { return seeds_.next(); }, std::move(run),
        [&](const SeedResult& result, const Totals& its) {
          take(result);
          if (result.has_passed) totals.merge(its);
        });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    std::string note = failures_line();
    if (!is_in_time.has_value()) complain(is_in_time.error() + "; use fewer --jobs");
    if (!is_in_time.value_or(true)) note += late_line(options_, ran_, seeds_.total());
    std::fputs(note.c_str(), stdout);
    if (!options_.junit_path.empty()) {
      complain(junit_.write(options_.junit_path, taken.count(), note));
    }
    return !failed_.empty() ? 1 : has_problem_ ? 2 : 0;
  }

 private:
  /// The program with its own words, without its folder.
  [[nodiscard]] static std::string suite_of(const std::string& program) {
    const std::size_t words = program.find(' ');
    const std::size_t slash = program.substr(0, words).rfind('/');
    return slash == std::string::npos ? program : program.substr(slash + 1);
  }
  /// Reads and checks the files, before a run.
  [[nodiscard]] bool prepare() {
    if (!options_.junit_path.empty()) {
      const std::string problem = detail::check_replaceable(options_.junit_path);
      if (!problem.empty()) {
        complain("--junit " + detail::printable(options_.junit_path) + ": " + problem +
                 "; name another file");
      }
    }
    if (!options_.failed_seeds_path.empty()) {
      auto failed = FailedSeeds{options_.failed_seeds_path}.read();
      if (failed.has_value()) {
        seeds_ = SeedList{options_, *std::move(failed)};
      } else {
        complain(failed.error());
      }
    }
    return !has_problem_;
  }
  void complain(const std::string& problem) {
    if (problem.empty()) return;
    has_problem_ = true;
    std::fprintf(stderr, "%s: %s\n", options_.program.c_str(), problem.c_str());
  }
  void take(SeedResult result) {
    ++ran_;
    if (!result.crash.empty()) {
      if (!result.output.empty() && !result.output.ends_with('\n')) result.output += '\n';
      const std::string seed = std::to_string(result.seed);
      // The process may have printed its own report before it ended.
      const bool has_command = result.output.find("replay: ") != std::string::npos;
      result.output += "seed " + seed + ": " + result.crash + '\n';
      if (!has_command) {
        result.output += "replay: " + options_.program + " --seeds 1 --first-seed " + seed +
                         world_words(options_) +
                         (options_.has_script ? " --script " + to_string(options_.script) : "") +
                         '\n';
      }
    }
    std::fwrite(result.output.data(), 1, result.output.size(), stdout);
    std::fflush(stdout);
    if (!result.has_passed) {
      failed_.push_back(result.seed);
      if (!options_.failed_seeds_path.empty()) {
        complain(FailedSeeds{options_.failed_seeds_path}.append(result.seed));
      }
    }
    junit_.add(result);
  }
  [[nodiscard]] std::string failures_line() const {
    if (failed_.empty()) return {};
    std::string line = std::to_string(failed_.size()) + " of " + std::to_string(ran_) +
                       (failed_.size() == 1 ? " runs failed: seed" : " runs failed: seeds");
    for (std::size_t i = 0; i != failed_.size() && i != max_named; ++i) {
      line += (i == 0 ? " " : ", ") + std::to_string(failed_[i]);
    }
    return line + (failed_.size() > max_named ? ", ...\n" : "\n");
  }

  static constexpr std::size_t max_named = 20;

  const KitOptions& options_;
  SeedList seeds_;
  JunitReport junit_;
  std::vector<std::uint64_t> failed_;
  std::uint64_t ran_ = 0;
  bool has_problem_ = false;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
