// SPDX-License-Identifier: BSL-1.0
//
// The command line.

#ifndef NBD_SERVER_OPTIONS_HPP
#define NBD_SERVER_OPTIONS_HPP

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nbd/protocol.hpp"
#include "request.hpp"
#include "server.hpp"
#include "storage/number.hpp"

namespace nbd_server {

/// An export as the command line describes it.
struct ExportOptions {
  std::string name;
  std::string kind;         ///< memory, file, disk or null.
  std::string description;  ///< The argument.
  std::string path;         ///< Of a file.
  std::string parameters;   ///< Of a null block disk: KEY=VALUE,...
  std::string control;      ///< The path of its socket, or empty.
  std::uint64_t size = 0;   ///< In bytes. Of memory and of a disk.
  std::uint32_t delay_ms = 0;
  bool read_only = false;
  bool direct = false;
  bool huge = false;  ///< Memory in huge pages.
};

struct Options {
  std::vector<ExportOptions> exports;
  std::vector<std::string> unix_paths;
  std::vector<std::string> addresses;  ///< HOST:PORT
  ServerConfig server{};
  bool help = false;
};

inline constexpr const char* usage_text =
    R"(Usage: nbd_server [OPTION]... NAME=STORE[,FLAG]...

Serves block devices to NBD clients. The first export is also the default one. Stops on SIGINT and
SIGTERM, prints counters and the commands in flight on SIGUSR1 and when it stops.

Stores:
  memory:SIZE         memory; flag huge: in huge pages, which are faster, and allocated 2 MiB at a
                      time; flag delay-ms=N: each command takes N ms
  file:PATH           a file or a block device, through io_uring; flag direct: O_DIRECT
  disk:SIZE           a disk of the block layer, in memory
  null:KEY=VALUE,...  a null block disk, see null_block --help; flag control=PATH: a socket that
                      takes its commands; exports with shared_tags=1 share one set of tags
  SIZE is a number of bytes; k, m and g mean KiB, MiB and GiB. The flag ro makes an export read-only.

  --disk STORE        the same as disk=STORE
  --unix PATH         listen on a unix socket; one that was left behind is replaced
  --listen HOST:PORT  listen on TCP; port 0: any, see the output; default 127.0.0.1:10809, unless
                      --unix is given
  --threads N         1 to 64; default 1
  --connections N     clients at a time, 1 to 255; default 64
  --depth N           commands of a client at a time, 1 to 4096; default 32
  --timeout-ms N      close the connection of a client that stands still in the middle of something;
                      0: never; default 60000
  --gather-us N       pause behind several commands of a thread's only client at once, so that more of
                      them share a receive and a send: less CPU time, longer latency; up to 1000;
                      default 0
  --stop-ms N         after a signal, the time for replies to what is in flight; default 1000
  --help              print this text

There is no TLS and no authentication: use a unix socket, or a network that you trust.

Exit status: 0 stopped by a signal; 1 failed; 2 wrong usage.
)";

namespace detail {

class OptionParser {
 public:
  using Done = std::expected<void, std::string>;

  explicit OptionParser(std::span<const char* const> arguments) : arguments_{arguments} {}

  [[nodiscard]] std::expected<Options, std::string> parse() {
    while (next_ != arguments_.size()) {
      const std::string_view argument = arguments_[next_++];
      const Done done = argument.starts_with("-") ? option(argument) : add_export(argument);
      if (!done) return std::unexpected(done.error());
    }
    if (options_.help) return options_;
    if (options_.exports.empty()) return std::unexpected(std::string{"no export is given"});
    if (options_.unix_paths.empty() && options_.addresses.empty()) {
      options_.addresses.push_back("127.0.0.1:" + std::to_string(nbd::default_port));
    }
    return options_;
  }

 private:
  [[nodiscard]] Done option(std::string_view name) {
    if (name == "--help" || name == "-h") {
      options_.help = true;
      return {};
    }
    if (next_ == arguments_.size()) {
      return std::unexpected("cannot use '" + std::string{name} + "' here");
    }
    const std::string_view value = arguments_[next_++];
    ServerConfig& server = options_.server;
    if (name == "--disk") return add_export("disk=" + std::string{value});
    if (name == "--unix")
      options_.unix_paths.emplace_back(value);
    else if (name == "--listen")
      options_.addresses.emplace_back(value);
    else if (name == "--threads")
      return storage::set_number(server.threads, name, value, 1, 64);
    else if (name == "--connections") {
      return storage::set_number(server.connections, name, value, 1, max_connections);
    } else if (name == "--depth")
      return storage::set_number(server.depth, name, value, 1, 4096);
    else if (name == "--timeout-ms") {
      return storage::set_number(server.limits.timeout_ms, name, value, 0, 86'400'000);
    } else if (name == "--gather-us") {
      return storage::set_number(server.limits.gather_us, name, value, 0, 1000);
    } else if (name == "--stop-ms") {
      return storage::set_number(server.limits.stop_ms, name, value, 0, 60'000);
    } else
      return std::unexpected("cannot use '" + std::string{name} + "'");
    return {};
  }

  /// NAME=KIND:WHERE[,FLAG]...
  [[nodiscard]] Done add_export(std::string_view argument) {
    const auto wrong = [&](const char* what) {
      return std::unexpected("export '" + std::string{argument} + "': " + what);
    };
    const std::size_t equals = argument.find('=');
    const std::size_t colon = argument.find(':', equals == argument.npos ? 0 : equals);
    if (equals == argument.npos || colon == argument.npos) return wrong("give NAME=STORE");
    ExportOptions made;
    made.name = argument.substr(0, equals);
    made.kind = argument.substr(equals + 1, colon - equals - 1);
    made.description = argument.substr(equals + 1);
    if (made.name.size() > 255) return wrong("the name is longer than 255 bytes");
    std::string_view where = argument.substr(colon + 1);
    for (std::size_t comma = where.rfind(','); comma != where.npos; comma = where.rfind(',')) {
      if (!set_flag(made, where.substr(comma + 1))) break;
      where = where.substr(0, comma);
    }
    if (made.kind == "file") {
      made.path = where;
    } else if (made.kind == "null") {
      made.parameters = where;
    } else if (made.kind == "memory" || made.kind == "disk") {
      const auto size = storage::parse_number(where, std::uint64_t{1} << 46, true);
      if (!size)
        return wrong("the size is a number, with k, m or g behind it; or a flag is unknown");
      made.size = *size;
    } else {
      return wrong("there are the stores memory, file, disk and null");
    }
    for (const ExportOptions& other : options_.exports) {
      if (other.name == made.name) return wrong("another export has this name");
    }
    options_.exports.push_back(std::move(made));
    return {};
  }

  [[nodiscard]] static bool set_flag(ExportOptions& made, std::string_view flag) {
    if (flag == "ro") {
      made.read_only = true;
      return true;
    }
    if (flag == "direct" && made.kind == "file") {
      made.direct = true;
      return true;
    }
    if (flag == "huge" && made.kind == "memory") {
      made.huge = true;
      return true;
    }
    constexpr std::string_view control = "control=";
    if (made.kind == "null" && flag.starts_with(control)) {
      made.control = flag.substr(control.size());
      return true;
    }
    constexpr std::string_view delay = "delay-ms=";
    if (made.kind != "memory" || !flag.starts_with(delay)) return false;
    const auto number = storage::parse_number(flag.substr(delay.size()), 60'000, false);
    made.delay_ms = number ? static_cast<std::uint32_t>(*number) : 0;
    return number.has_value();
  }

  std::span<const char* const> arguments_;
  std::size_t next_ = 0;
  Options options_;
};

}  // namespace detail

/// Parses the arguments after the program's name.
/// Errors: what is wrong, in words.
[[nodiscard]] inline std::expected<Options, std::string> parse_options(
    std::span<const char* const> arguments) {
  return detail::OptionParser{arguments}.parse();
}

}  // namespace nbd_server

#endif
