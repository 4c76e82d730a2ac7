// SPDX-License-Identifier: BSL-1.0
//
// Options: the command line.

#ifndef URING_COPY_OPTIONS_HPP
#define URING_COPY_OPTIONS_HPP

#include <charconv>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "problem.hpp"

namespace uring_copy {

enum class Backend : std::uint8_t { uring, threads };

struct Options {
  std::string source;
  std::string destination;
  std::uint32_t depth = 32;
  std::uint32_t block_bytes = 128 * 1024;
  std::uint32_t timeout_ms = 0;  ///< 0: no limit.
  std::uint32_t threads = 4;
  Backend backend = Backend::uring;
  bool check = false;
  bool quiet = false;
  bool help = false;
};

inline constexpr const char* usage_text =
    R"(Usage: uring_copy [OPTION]... SRC DST

Copies a disk image, a block device or any other file whose size is known, with many reads and
writes in flight at a time. DST is written under a temporary name beside it and takes its own only
when the copy is whole; until then, and after any failure, DST is as it was. The copy has the
permissions of SRC less the umask. Holes are written out as zeros.

  --depth N         blocks in flight at a time, 1 to 4096; default 32
  --block-bytes N   size of a block, 512 to 16m; k and m mean KiB and MiB; default 128k
  --timeout-ms N    cancel a read or write that takes longer and try again with twice the time,
                    10 times at most; 1 to 3600000; default: no limit; needs --backend uring
  --backend NAME    uring: the kernel's io_uring (default); threads: worker threads
  --threads N       how many worker threads, 1 to 256; default 4; needs --backend threads
  --check           read SRC and the copy back and compare every byte before DST gets its name
  --quiet           print errors only
  --help            print this text

Exit status: 0 copied; 1 not copied; 2 wrong usage; 3 io_uring is not available.
)";

namespace detail {

/// Parses a whole number within limits. `suffixes` allows k and m.
[[nodiscard]] inline std::expected<std::uint32_t, Problem> number(std::string_view option,
                                                                  std::string_view text,
                                                                  std::uint32_t least,
                                                                  std::uint32_t most,
                                                                  bool suffixes = false) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  std::uint64_t unit = rest.empty() ? 1 : 0;
  if (suffixes && (rest == "k" || rest == "K")) unit = 1024;
  if (suffixes && (rest == "m" || rest == "M")) unit = 1024 * 1024;
  if (error != std::errc{} || unit == 0 || value > most / unit || value * unit < least) {
    return std::unexpected(Problem{std::string{option} + " " + std::string{text} +
                                       ": give a whole number from " + std::to_string(least) +
                                       " to " + std::to_string(most) +
                                       (suffixes ? ", k (KiB) or m (MiB) may follow" : ""),
                                   exit_usage});
  }
  return static_cast<std::uint32_t>(value * unit);
}

/// The limit on the memory of all buffers.
inline constexpr std::uint64_t max_buffer_bytes = std::uint64_t{1} << 30;

[[nodiscard]] inline std::unexpected<Problem> usage(const std::string& text) {
  return std::unexpected(Problem{text + "; see --help", exit_usage});
}

class Parser {
 public:
  explicit Parser(std::span<const char* const> arguments) : arguments_{arguments} {}

  [[nodiscard]] std::expected<Options, Problem> parse() {
    while (next_ != arguments_.size()) {
      const std::string_view argument = arguments_[next_++];
      if (only_names_ || argument == "-" || !argument.starts_with('-')) {
        names_.emplace_back(argument);
      } else if (argument == "--") {
        only_names_ = true;
      } else if (const auto done = option(argument); !done) {
        return std::unexpected(done.error());
      }
    }
    if (!options_.help) {
      if (const auto sound = check(); !sound) return std::unexpected(sound.error());
    }
    return options_;
  }

 private:
  /// Parses one option, whose value follows "=" or is the next argument.
  [[nodiscard]] std::expected<void, Problem> option(std::string_view argument) {
    const std::size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    if (equals == std::string_view::npos) {
      if (name == "--check") return flag(options_.check);
      if (name == "--quiet") return flag(options_.quiet);
      if (name == "--help" || name == "-h") return flag(options_.help);
    }
    const bool known = name == "--depth" || name == "--block-bytes" || name == "--timeout-ms" ||
                       name == "--threads" || name == "--backend";
    if (!known) return usage("cannot use '" + std::string{argument} + "'");
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (next_ != arguments_.size()) {
      value = arguments_[next_++];
    } else {
      return usage(std::string{name} + " needs a value");
    }
    if (name == "--depth") return set(options_.depth, number(name, value, 1, 4096));
    if (name == "--block-bytes") {
      return set(options_.block_bytes, number(name, value, 512, 16 * 1024 * 1024, true));
    }
    if (name == "--timeout-ms") return set(options_.timeout_ms, number(name, value, 1, 3'600'000));
    if (name == "--threads") {
      threads_given_ = true;
      return set(options_.threads, number(name, value, 1, 256));
    }
    if (value != "uring" && value != "threads") {
      return usage("--backend " + std::string{value} + ": there are uring and threads");
    }
    options_.backend = value == "uring" ? Backend::uring : Backend::threads;
    return {};
  }

  [[nodiscard]] static std::expected<void, Problem> flag(bool& target) {
    target = true;
    return {};
  }
  [[nodiscard]] static std::expected<void, Problem> set(
      std::uint32_t& target, const std::expected<std::uint32_t, Problem>& value) {
    if (!value) return std::unexpected(value.error());
    target = *value;
    return {};
  }

  /// Checks the options against each other.
  [[nodiscard]] std::expected<void, Problem> check() {
    if (names_.size() != 2) {
      return usage("give two names, SRC and DST, not " + std::to_string(names_.size()));
    }
    if (names_[0].empty() || names_[1].empty()) return usage("a name is empty");
    options_.source = names_[0];
    options_.destination = names_[1];
    if (options_.backend == Backend::threads && options_.timeout_ms != 0) {
      return usage(
          "--timeout-ms needs --backend uring: a worker thread's read cannot be cancelled");
    }
    if (options_.backend == Backend::uring && threads_given_) {
      return usage("--threads needs --backend threads");
    }
    const std::uint64_t buffer_bytes = std::uint64_t{options_.depth} * options_.block_bytes;
    if (buffer_bytes > max_buffer_bytes) {
      return usage("--depth times --block-bytes is " + std::to_string(buffer_bytes) +
                   " bytes of buffers, more than 1 GiB: lower one of them");
    }
    return {};
  }

  std::span<const char* const> arguments_;
  std::size_t next_ = 0;
  std::vector<std::string> names_;
  Options options_;
  bool only_names_ = false;
  bool threads_given_ = false;
};

}  // namespace detail

/// Parses the arguments after the program's name.
[[nodiscard]] inline std::expected<Options, Problem> parse_options(
    std::span<const char* const> arguments) {
  return detail::Parser{arguments}.parse();
}

}  // namespace uring_copy

#endif
