// SPDX-License-Identifier: BSL-1.0
//
// The command line.

#ifndef VHOST_USER_BLK_OPTIONS_HPP
#define VHOST_USER_BLK_OPTIONS_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "device.hpp"
#include "storage/number.hpp"
#include "virtio.hpp"

namespace vhost_user_blk {

/// A disk as the command line describes it.
struct DiskOptions {
  std::string socket{};    ///< The path of the socket.
  std::string path{};      ///< Of a file. Empty: memory.
  std::uint64_t size = 0;  ///< In bytes. Of memory.
  std::uint32_t delay_ms = 0;
  bool read_only = false;
};

struct Options {
  std::vector<DiskOptions> disks;
  DeviceConfig device{};
  bool help = false;
};

inline constexpr const char* usage_text =
    R"(Usage: vhost_user_blk [OPTION]... SOCKET=STORE[,FLAG]...

Serves disks to virtual machines, each at a unix socket, with the protocol vhost-user. Stops on
SIGINT and SIGTERM, prints counters and the requests in flight on SIGUSR1 and when it stops.

Stores:
  memory:SIZE         memory; flag delay-ms=N: each request takes N ms
  file:PATH           a file or a block device, through io_uring
  SIZE is a number of bytes; k, m and g mean KiB, MiB and GiB. The flag ro makes a disk read-only.

  --queues N          virtqueues of each disk, 1 to 64; default 4
  --depth N           descriptors of a virtqueue, a power of two from 4 to 1024; default 256
  --unsealed          take guest memory whose file can be made shorter: that would end this program.
                      QEMU's memory-backend-memfd is sealed, a file in /dev/shm is not
  --help              print this text

  qemu-system-x86_64 -object memory-backend-memfd,id=mem,size=1G,share=on \
    -machine q35,memory-backend=mem -m 1G -chardev socket,id=disk,path=SOCKET,reconnect=1 \
    -device vhost-user-blk-pci,chardev=disk,num-queues=4 ...

Exit status: 0 stopped by a signal; 1 failed; 2 wrong usage.
)";

namespace detail {

class OptionParser {
 public:
  explicit OptionParser(std::span<const char* const> arguments) : arguments_{arguments} {}

  [[nodiscard]] std::expected<Options, std::string> parse() {
    while (next_ != arguments_.size()) {
      const std::string_view argument = arguments_[next_++];
      const bool good = argument.starts_with("-") ? option(argument) : add_disk(argument);
      if (!good) return std::unexpected("cannot use '" + std::string{argument} + "'");
    }
    if (!options_.help && options_.disks.empty()) {
      return std::unexpected(std::string{"no disk is given"});
    }
    return options_;
  }

 private:
  [[nodiscard]] bool option(std::string_view name) {
    if (name == "--help" || name == "-h") return options_.help = true;
    if (name == "--unsealed") {
      options_.device.needs_seal = false;
      return true;
    }
    if (next_ == arguments_.size()) return false;
    const auto value = storage::parse_number(arguments_[next_++], max_depth, false);
    if (!value || *value == 0) return false;
    if (name == "--queues" && *value <= max_queues) {
      options_.device.queues = static_cast<std::uint16_t>(*value);
      return true;
    }
    if (name != "--depth" || !std::has_single_bit(*value) || *value < 4) return false;
    options_.device.depth = static_cast<std::uint32_t>(*value);
    return true;
  }

  /// SOCKET=KIND:WHERE[,FLAG]...
  [[nodiscard]] bool add_disk(std::string_view argument) {
    const std::size_t equals = argument.find('=');
    if (equals == argument.npos || equals == 0) return false;
    std::string_view store = argument.substr(equals + 1);
    DiskOptions disk{.socket = std::string{argument.substr(0, equals)}};
    for (std::size_t comma = store.rfind(','); comma != store.npos; comma = store.rfind(',')) {
      if (!set_flag(disk, store.substr(comma + 1))) return false;
      store = store.substr(0, comma);
    }
    if (store.starts_with("file:")) {
      disk.path = store.substr(5);
      if (disk.path.empty() || disk.delay_ms != 0) return false;
    } else if (store.starts_with("memory:")) {
      const auto size = storage::parse_number(store.substr(7), std::uint64_t{1} << 46, true);
      if (!size || *size == 0 || *size % virtio::blk::sector_bytes != 0) return false;
      disk.size = *size;
    } else {
      return false;
    }
    options_.disks.push_back(std::move(disk));
    return true;
  }
  [[nodiscard]] static bool set_flag(DiskOptions& disk, std::string_view flag) {
    if (flag == "ro") return disk.read_only = true;
    constexpr std::string_view delay = "delay-ms=";
    if (!flag.starts_with(delay)) return false;
    const auto number = storage::parse_number(flag.substr(delay.size()), 60'000, false);
    disk.delay_ms = number ? static_cast<std::uint32_t>(*number) : 0;
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

}  // namespace vhost_user_blk

#endif
