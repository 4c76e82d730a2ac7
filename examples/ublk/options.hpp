// SPDX-License-Identifier: BSL-1.0
//
// The command line.

#ifndef UBLK_OPTIONS_HPP
#define UBLK_OPTIONS_HPP

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server.hpp"
#include "storage/number.hpp"

namespace ublk {

enum class Action : std::uint8_t { help, add, recover, remove };

struct Options {
  Action action = Action::help;
  ServerConfig server{};
  std::string path;
  bool direct = false;
  std::uint32_t delay_ms = 0;
  std::uint64_t slow_from = 0;
};

inline constexpr const char* usage_text =
    R"(Usage: ublk_server add [OPTION]... FILE
       ublk_server recover [OPTION]... ID FILE
       ublk_server delete ID

add makes a file or a block device the disk /dev/ublkbID, and serves it until SIGINT, SIGTERM, or
delete, then removes the disk. Prints counters and the I/Os in flight on SIGUSR1 and when it stops.
recover takes over a disk whose server was killed; what was in flight is executed again. delete stops
and removes a disk.

Of recover, the queues, their depth, the longest I/O, the blocks and whether the disk takes writes are
those that the disk was added with.

  --id N              add: the number of the disk; default: the kernel chooses
  --queues N          add: 1 to 64; default 1. Each has a thread
  --depth N           add: I/Os of a queue at a time, 1 to 4096; default 64
  --max-io-kib N      add: the longest I/O, 4 to 4096, whole pages; default 256. The server has so
                      much memory for each I/O of each queue
  --read-only         no writes. recover: only of a disk that was added with it
  --direct            without the kernel's cache for the file. recover: only if the blocks of the disk
                      are not smaller than those that the file then needs
  --timeout-ms N      end an I/O that takes longer with an error; 0: never; default 0
  --delay-ms N        a slow device: an I/O takes N ms
  --slow-from BYTES   of those, only an I/O that ends behind this offset; default 0

Needs root, the module ublk_drv and Linux 6.4 or newer.

Exit status: 0 stopped; 1 failed; 2 wrong usage.
)";

namespace detail {

class OptionParser {
 public:
  using Done = std::expected<void, std::string>;

  explicit OptionParser(std::span<const char* const> arguments) : arguments_{arguments} {
    options_.server.geometry.max_io_bytes = 256 * 1024;
  }

  [[nodiscard]] std::expected<Options, std::string> parse() {
    std::vector<std::string_view> words;
    while (next_ != arguments_.size()) {
      const std::string_view argument = arguments_[next_++];
      if (argument == "--help" || argument == "-h") return Options{};
      if (!argument.starts_with("-")) {
        words.push_back(argument);
      } else if (const Done done = option(argument); !done) {
        return std::unexpected(done.error());
      }
    }
    if (const Done done = take(words); !done) return std::unexpected(done.error());
    return options_;
  }

 private:
  [[nodiscard]] Done take(std::span<const std::string_view> words) {
    const std::string_view action = words.empty() ? "" : words.front();
    if (action == "add" && words.size() == 2) {
      options_.action = Action::add;
      options_.path = words[1];
      return {};
    }
    const bool recovers = action == "recover" && words.size() == 3;
    if (!recovers && !(action == "delete" && words.size() == 2)) {
      return std::unexpected(std::string{"give add FILE, recover ID FILE or delete ID"});
    }
    const std::string_view surplus = recovers ? add_option_ : option_;
    if (!surplus.empty()) {
      return std::unexpected("cannot use '" + std::string{surplus} + "' with " +
                             std::string{action});
    }
    options_.action = recovers ? Action::recover : Action::remove;
    if (recovers) options_.path = words[2];
    std::uint32_t id = 0;
    if (const Done done = storage::set_number(id, "ID", words[1], 0, max_id); !done) return done;
    options_.server.id = id;
    return {};
  }

  [[nodiscard]] Done option(std::string_view name) {
    ServerConfig& server = options_.server;
    option_ = name;
    if (name == "--direct") {
      options_.direct = true;
      return {};
    }
    if (name == "--read-only") {
      server.geometry.read_only = true;
      return {};
    }
    if (next_ == arguments_.size()) {
      return std::unexpected("cannot use '" + std::string{name} + "' here");
    }
    const std::string_view value = arguments_[next_++];
    if (name == "--timeout-ms")
      return storage::set_number(server.timeout_ms, name, value, 0, 86'400'000);
    if (name == "--delay-ms")
      return storage::set_number(options_.delay_ms, name, value, 0, 86'400'000);
    if (name == "--slow-from") {
      return storage::set_number(options_.slow_from, name, value, 0, std::uint64_t{1} << 62);
    }
    add_option_ = name;
    if (name == "--id") return storage::set_number(server.id.emplace(), name, value, 0, max_id);
    if (name == "--queues") return storage::set_number(server.queues, name, value, 1, 64);
    if (name == "--depth")
      return storage::set_number(server.depth, name, value, 1, UBLK_MAX_QUEUE_DEPTH);
    if (name != "--max-io-kib") return std::unexpected("cannot use '" + std::string{name} + "'");
    const Done done = storage::set_number(server.geometry.max_io_bytes, name, value, 4, 4096);
    server.geometry.max_io_bytes *= 1024;
    if (done && server.geometry.max_io_bytes % 4096 != 0) {
      return std::unexpected("--max-io-kib " + std::string{value} + ": not whole pages of 4 KiB");
    }
    return done;
  }

  static constexpr std::uint32_t max_id = (1U << 20) - 1;  // the kernel's minor numbers

  std::span<const char* const> arguments_;
  std::size_t next_ = 0;
  std::string_view option_;      // the last one
  std::string_view add_option_;  // the last one that is for add only
  Options options_;
};

}  // namespace detail

/// Parses the arguments after the program's name.
/// Errors: what is wrong, in words.
[[nodiscard]] inline std::expected<Options, std::string> parse_options(
    std::span<const char* const> arguments) {
  return detail::OptionParser{arguments}.parse();
}

}  // namespace ublk

#endif
