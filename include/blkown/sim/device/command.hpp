// SPDX-License-Identifier: BSL-1.0
//
// Command: a command that a controller has fetched. Executor: the execution of commands.

#ifndef BLKOWN_SIM_DEVICE_COMMAND_HPP
#define BLKOWN_SIM_DEVICE_COMMAND_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/device/ring.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

inline constexpr std::uint64_t bytes_in_sector = 512;

/// The cookie of the command in an entry.
[[nodiscard]] inline std::uint64_t cookie_of(const SubmissionEntry& entry) noexcept {
  return entry.cookie;
}

/// A command that the controller has fetched.
struct Command {
  std::uint64_t serial = 0;  // unique, although a later command may have the same cookie
  std::uint32_t slot = 0;    // of the CommandTable
  std::uint32_t queue = 0;
  SubmissionEntry entry;
  bool is_disowned = false;  // a false completion was accepted: the driver may have its memory
  bool is_lost = false;      // its completion will not be posted
  bool is_executed = false;  // done, but its completion is not posted

  [[nodiscard]] CommandId id() const noexcept { return {queue, entry.cookie}; }
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept {
    return entry.sector * bytes_in_sector;
  }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept {
    return std::uint64_t{entry.length_sectors} * bytes_in_sector;
  }
  [[nodiscard]] bool moves_data() const noexcept {
    return entry.opcode == Opcode::read || entry.opcode == Opcode::write;
  }
};

/// Executes commands, one at a time.
class Executor {
 public:
  Executor(Iommu& iommu, Media& media) : iommu_{iommu}, media_{media} {}

  /// Executes a command. Moves at most `limit_bytes`, and returns the bytes moved in `moved_bytes`.
  [[nodiscard]] DeviceStatus run(const Command& command, const Iommu::Access& access,
                                 std::uint64_t limit_bytes, std::uint64_t& moved_bytes) {
    moved_bytes = 0;
    const SubmissionEntry& entry = command.entry;
    if (entry.opcode == Opcode::flush) {
      return media_.flush() ? DeviceStatus::success : DeviceStatus::media_error;
    }
    if (!is_in_range(entry)) return DeviceStatus::invalid_command;
    switch (entry.opcode) {
      case Opcode::write_zeroes:
      case Opcode::discard:
        if (!media_.zero(command.offset_bytes(), command.length_bytes())) {
          return DeviceStatus::media_error;
        }
        return make_durable(command, command.length_bytes());
      case Opcode::read:
      case Opcode::write: return transfer(command, access, limit_bytes, moved_bytes);
      default: return DeviceStatus::invalid_command;
    }
  }

  /// Accesses the command's memory as the command's transfer would. Neither memory nor medium
  /// changes: bytes read are discarded, and bytes written are those of the medium.
  void touch(const Command& command, const Iommu::Access& access) {
    std::uint64_t moved_bytes = 0;
    if (!command.moves_data() || !is_in_range(command.entry)) return;
    if (!read_segments(command, access)) return;
    buffer_.resize(static_cast<std::size_t>(command.length_bytes()));
    if (command.entry.opcode == Opcode::read) {
      if (media_.read(command.offset_bytes(), buffer_)) {
        static_cast<void>(scatter(access, buffer_.size(), moved_bytes));
      }
    } else {
      static_cast<void>(gather(access, buffer_.size()));
    }
  }

 private:
  [[nodiscard]] bool is_in_range(const SubmissionEntry& entry) const {
    const std::uint64_t capacity = media_.capacity_bytes() / bytes_in_sector;
    return entry.length_sectors != 0 && entry.sector <= capacity &&
           entry.length_sectors <= capacity - entry.sector;
  }

  [[nodiscard]] DeviceStatus transfer(const Command& command, const Iommu::Access& access,
                                      std::uint64_t limit_bytes, std::uint64_t& moved_bytes) {
    if (!read_segments(command, access)) return DeviceStatus::dma_fault;
    std::uint64_t total_bytes = 0;
    for (const dma::IovaSegment& segment : segments_) total_bytes += segment.length_bytes;
    if (total_bytes != command.length_bytes()) return DeviceStatus::invalid_command;
    const std::uint64_t length_bytes = total_bytes < limit_bytes ? total_bytes : limit_bytes;
    buffer_.resize(static_cast<std::size_t>(length_bytes));
    if (command.entry.opcode == Opcode::read) {
      if (!media_.read(command.offset_bytes(), buffer_)) return DeviceStatus::media_error;
      return scatter(access, length_bytes, moved_bytes) ? DeviceStatus::success
                                                        : DeviceStatus::dma_fault;
    }
    if (!gather(access, length_bytes)) return DeviceStatus::dma_fault;
    if (!media_.write(command.offset_bytes(), buffer_)) return DeviceStatus::media_error;
    moved_bytes = length_bytes;
    return make_durable(command, length_bytes);
  }
  /// Makes what a command with FUA has written durable.
  [[nodiscard]] DeviceStatus make_durable(const Command& command, std::uint64_t length_bytes) {
    return command.entry.is_fua == 0 || media_.flush_range(command.offset_bytes(), length_bytes)
               ? DeviceStatus::success
               : DeviceStatus::media_error;
  }

  /// Reads the segments of a command, from its entry or from the list that the entry refers to.
  [[nodiscard]] bool read_segments(const Command& command, const Iommu::Access& access) {
    const std::size_t count = command.entry.segment_count;
    segments_.assign(count, command.entry.segment);
    if (count <= 1) return true;
    const Iommu::Access to_list{.device = access.device,
                                .cookie = 0,
                                .is_for_command = false,
                                .is_forbidden = access.is_forbidden};
    return iommu_.read(command.entry.segment.iova, std::as_writable_bytes(std::span{segments_}),
                       to_list);
  }

  /// Moves bytes from the buffer to the driver's memory.
  [[nodiscard]] bool scatter(const Iommu::Access& access, std::uint64_t length_bytes,
                             std::uint64_t& moved_bytes) {
    return for_each_part(length_bytes, moved_bytes,
                         [&](std::uint64_t iova, std::span<std::byte> part) {
                           return iommu_.write(iova, part, access);
                         });
  }
  /// Moves bytes from the driver's memory to the buffer.
  [[nodiscard]] bool gather(const Iommu::Access& access, std::uint64_t length_bytes) {
    std::uint64_t got_bytes = 0;
    return for_each_part(length_bytes, got_bytes,
                         [&](std::uint64_t iova, std::span<std::byte> part) {
                           return iommu_.read(iova, part, access);
                         });
  }
  /// Calls `move(iova, part of the buffer) -> bool` for each segment, until a call returns false.
  template <class Move>
  [[nodiscard]] bool for_each_part(std::uint64_t length_bytes, std::uint64_t& done_bytes,
                                   Move move) {
    for (const dma::IovaSegment& segment : segments_) {
      const std::uint64_t left_bytes = length_bytes - done_bytes;
      const std::uint64_t part = std::min(left_bytes, segment.length_bytes);
      if (part == 0) break;
      if (!move(segment.iova, std::span{buffer_}.subspan(static_cast<std::size_t>(done_bytes),
                                                         static_cast<std::size_t>(part)))) {
        return false;
      }
      done_bytes += part;
    }
    return true;
  }

  Iommu& iommu_;
  Media& media_;
  std::vector<dma::IovaSegment> segments_;
  std::vector<std::byte> buffer_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
