// SPDX-License-Identifier: BSL-1.0
//
// KitOptions: the command line of a program that tests a driver.
//
//   --seeds N         runs N seeds (100)
//   --first-seed S    the first of them (0)
//   --ios N           I/Os of each run (1000)
//   --script SCRIPT   the faults of each run, instead of the seed's: "none" or KIND@N,... where N
//                     is the index of the kind's opportunity
//   --shrink          if a run fails, also prints the shortest script with which it still fails
//   --help            prints the options and the kinds of faults

#ifndef BLKOWN_SIM_HARNESS_KIT_OPTIONS_HPP
#define BLKOWN_SIM_HARNESS_KIT_OPTIONS_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The options of a program, with their defaults.
struct KitOptions {
  std::string program;  ///< The program and its own words before the options, for replay commands.
  std::uint64_t seeds = 100;        ///< The number of runs.
  std::uint64_t first_seed = 0;     ///< The seed of the first run. Each run increments the seed.
  std::uint64_t io_count = 1000;    ///< I/Os of each run.
  bool shrink = false;              ///< Prints the shortest failing script of a failing run.
  bool help = false;                ///< Prints the options and runs nothing.
  bool has_script = false;          ///< `script` replaces the faults of the seed.
  std::vector<FaultStrike> script;  ///< Used only with has_script.
};

/// The script as text: KIND@N separated by commas, or "none" for an empty script.
[[nodiscard]] inline std::string to_string(const std::vector<FaultStrike>& script) {
  std::string text;
  for (const FaultStrike& strike : script) {
    if (!text.empty()) text += ',';
    text += std::string{to_string(strike.kind)} + '@' + std::to_string(strike.opportunity);
  }
  return text.empty() ? "none" : text;
}

namespace detail {

template <class Number>
[[nodiscard]] bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

[[nodiscard]] inline bool parse(std::string_view text, std::vector<FaultStrike>& script) {
  if (text == "none") return true;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    const std::size_t at = one.find('@');
    FaultStrike strike;
    std::size_t kind = 0;
    while (kind != fault_kind_count &&
           one.substr(0, at) != to_string(static_cast<FaultKind>(kind))) {
      ++kind;
    }
    if (at == std::string_view::npos || kind == fault_kind_count ||
        !parse(one.substr(at + 1), strike.opportunity)) {
      return false;
    }
    strike.kind = static_cast<FaultKind>(kind);
    script.push_back(strike);
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace detail

/// Prints the options, their defaults, and the kinds of faults that a script may name.
inline void print_help(const std::string& program, std::FILE* file) {
  std::fprintf(
      file,
      "usage: %s [OPTION]...\n"
      "  --seeds N         runs N seeds (100)\n"
      "  --first-seed S    the first of them (0)\n"
      "  --ios N           I/Os of each run (1000)\n"
      "  --script SCRIPT   the faults of each run, instead of the seed's: KIND@N,... where\n"
      "                    N is the index of the kind's opportunity, from 0; or none\n"
      "  --shrink          if a run fails, also prints the shortest script with which it\n"
      "                    still fails\n"
      "  --help            prints this text\n"
      "exit status: 0 no invariant was broken, 1 one was, 2 an option cannot be used\n"
      "kinds of faults:\n",
      program.c_str());
  for (std::size_t kind = 0; kind != fault_kind_count; ++kind) {
    std::fprintf(file, "  %s\n", to_string(static_cast<FaultKind>(kind)));
  }
}

/// Reads the options.
/// Errors: returns no options if a word cannot be used, and prints the word and the list of options
/// to stderr.
[[nodiscard]] inline std::optional<KitOptions> parse_options(
    const std::string& program, const std::vector<std::string>& words) {
  KitOptions options;
  options.program = program;
  for (std::size_t i = 0; i != words.size(); ++i) {
    const std::string& word = words[i];
    bool is_good = i + 1 != words.size();
    if (word == "--shrink") {
      options.shrink = is_good = true;
    } else if (word == "--help" || word == "-h") {
      options.help = is_good = true;
    } else if (is_good && word == "--seeds") {
      is_good = detail::parse(words[++i], options.seeds) && options.seeds != 0;
    } else if (is_good && word == "--first-seed") {
      is_good = detail::parse(words[++i], options.first_seed);
    } else if (is_good && word == "--ios") {
      is_good = detail::parse(words[++i], options.io_count) && options.io_count != 0;
    } else if (is_good && word == "--script") {
      options.has_script = true;
      is_good = detail::parse(words[++i], options.script);
    } else {
      is_good = false;
    }
    if (!is_good) {
      std::fprintf(stderr,
                   "%s: cannot use '%s'; options: --seeds N, --first-seed S, --ios N, --shrink,"
                   " --script KIND@N,...\n",
                   program.c_str(), words[i].c_str());
      return std::nullopt;
    }
  }
  return options;
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
