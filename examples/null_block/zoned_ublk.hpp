// SPDX-License-Identifier: BSL-1.0
//
// ZonedUblk: the kernel's side of a zoned disk of Linux's ublk driver, and the execution of its
// commands on a null block disk.
//
// Parties: the driver ublk_drv with the block device /dev/ublkbN; a NullDisk.
//
//   parameters   a zoned device has zones of chunk_sectors, a power of 2, and a server that copies
//                its data itself (UBLK_F_USER_COPY).
//   data         is read from and written to the character device, at a position that names queue
//                and tag.
//   append       the first sector written goes back in the field that has the address of the data
//                in devices of another kind.
//   report       a command of its own. Its data are the descriptors of <linux/blkzoned.h>.
//
// One command at a time is executed, to its end: this front end is there for the kernel's checks of
// zones and for fio's, and not for speed.
// Source: include/uapi/linux/ublk_cmd.h of Linux 6.12. Debian 12's header has no zones, so the
// names are given here.

#ifndef NULL_BLOCK_ZONED_UBLK_HPP
#define NULL_BLOCK_ZONED_UBLK_HPP

#include <linux/blkzoned.h>
#include <linux/ublk_cmd.h>
#include <unistd.h>

#include <algorithm>
#include <blkown/error_code.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "null_block.hpp"
#include "ublk/protocol.hpp"

namespace null_block {

/// struct ublk_params of Linux 6.12, up to the zones.
struct ZonedUblkParams {
  static constexpr std::uint32_t type_zoned = 1U << 3;

  std::uint32_t len = sizeof(ZonedUblkParams);
  std::uint32_t types = UBLK_PARAM_TYPE_BASIC | type_zoned;
  ublk_param_basic basic{};
  ublk_param_discard discard{};
  std::uint32_t device_number[4]{};
  std::uint32_t max_open_zones = 0;
  std::uint32_t max_active_zones = 0;
  std::uint32_t max_zone_append_sectors = 0;
  std::uint8_t reserved[20]{};
};
static_assert(offsetof(ZonedUblkParams, max_open_zones) == 76);

/// The operations of zones, whose names are UBLK_IO_OP_ and these.
enum class ZonedUblkOp : std::uint8_t {
  zone_open = 10,
  zone_close = 11,
  zone_finish = 12,
  zone_append = 13,
  zone_reset_all = 14,
  zone_reset = 15,
  report_zones = 18,
};

/// The longest I/O.
inline constexpr std::uint32_t ublk_io_bytes = 512 * 1024;

/// The parameters of the disk.
[[nodiscard]] inline ZonedUblkParams zoned_params_of(const mq::DiskConfig& config,
                                                     const mq::QueueLimits& limits) {
  ZonedUblkParams params;
  while ((std::uint32_t{1} << params.basic.logical_bs_shift) < config.logical_block_bytes) {
    ++params.basic.logical_bs_shift;
  }
  params.basic.physical_bs_shift = params.basic.io_min_shift = params.basic.io_opt_shift =
      std::max<std::uint8_t>(12, params.basic.logical_bs_shift);
  params.basic.attrs = config.write_cache ? UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA : 0;
  params.basic.max_sectors = std::min(limits.max_sectors, ublk_io_bytes / mq::sector_bytes);
  params.basic.chunk_sectors = static_cast<std::uint32_t>(config.zone_sectors);
  params.basic.dev_sectors = config.capacity_sectors;
  params.max_open_zones = config.max_open_zones;
  params.max_active_zones = config.max_active_zones;
  params.max_zone_append_sectors = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(limits.max_zone_append_sectors, params.basic.max_sectors));
  return params;
}

/// The kernel's description of a zone.
[[nodiscard]] inline blk_zone blk_zone_of(const mq::Zone& zone) {
  using Condition = mq::Zone::Condition;
  constexpr std::uint8_t conditions[] = {
      BLK_ZONE_COND_EMPTY, BLK_ZONE_COND_IMP_OPEN, BLK_ZONE_COND_EXP_OPEN, BLK_ZONE_COND_CLOSED,
      BLK_ZONE_COND_FULL,  BLK_ZONE_COND_READONLY, BLK_ZONE_COND_OFFLINE,  BLK_ZONE_COND_NOT_WP};
  static_assert(std::size(conditions) ==
                static_cast<std::size_t>(Condition::not_write_pointer) + 1);
  blk_zone made{};
  made.start = zone.start_sector;
  made.len = zone.length_sectors;
  made.capacity = zone.capacity_sectors;
  made.wp = zone.write_pointer_sector;
  made.type = zone.is_sequential ? BLK_ZONE_TYPE_SEQWRITE_REQ : BLK_ZONE_TYPE_CONVENTIONAL;
  made.cond = conditions[static_cast<std::size_t>(zone.condition)];
  return made;
}

/// Executes the commands of queue 0.
/// Context: one thread, which runs the loop.
class ZonedUblk {
 public:
  using Status = blkown::Status;

  /// What the commit says.
  struct Result {
    std::int32_t result = 0;   ///< Bytes, or an errno value that is negative.
    std::uint64_t sector = 0;  ///< Of an append: the first sector written.
  };
  /// The I/Os that have ended.
  struct Counts {
    std::uint64_t reads = 0, writes = 0, appends = 0, managed = 0, reports = 0, failed = 0;
  };

  /// `char_device`: /dev/ublkcN.
  ZonedUblk(NullDisk<mq::LoopRuntime>& disk, mq::LoopRuntime& runtime, int char_device)
      : disk_{disk.disk()}, runtime_{runtime}, char_device_{char_device}, memory_(ublk_io_bytes) {}

  [[nodiscard]] Result execute(std::uint16_t tag, const ublksrv_io_desc& command) {
    position_ = UBLKSRV_IO_BUF_OFFSET + (std::uint64_t{tag} << tag_shift);
    const Result result = dispatch(command);
    if (result.result < 0) ++counts_.failed;
    return result;
  }
  [[nodiscard]] const Counts& counts() const noexcept { return counts_; }

 private:
  static constexpr unsigned tag_shift = 25;

  [[nodiscard]] static Result failed(Status status) { return {-blkown::to_errno(status)}; }
  [[nodiscard]] static Result result_of(Status status, std::uint64_t bytes) {
    if (status != Status::ok) return failed(status);
    return {static_cast<std::int32_t>(bytes)};
  }

  [[nodiscard]] Result dispatch(const ublksrv_io_desc& command) {
    const auto op = ublksrv_get_op(&command);
    switch (op) {
      case UBLK_IO_OP_READ: return read(command);
      case UBLK_IO_OP_WRITE: return write(command);
      case UBLK_IO_OP_FLUSH: return result_of(mq::flush(runtime_, disk_), 0);
      default: break;
    }
    switch (static_cast<ZonedUblkOp>(op)) {
      case ZonedUblkOp::zone_append: return append(command);
      case ZonedUblkOp::report_zones: return report(command);
      case ZonedUblkOp::zone_open: return manage(mq::Op::zone_open, command);
      case ZonedUblkOp::zone_close: return manage(mq::Op::zone_close, command);
      case ZonedUblkOp::zone_finish: return manage(mq::Op::zone_finish, command);
      case ZonedUblkOp::zone_reset: return manage(mq::Op::zone_reset, command);
      case ZonedUblkOp::zone_reset_all: return manage(mq::Op::zone_reset_all, {});
    }
    return failed(Status::not_supported);
  }

  /// The memory of a command's data, or none: the command is too long.
  [[nodiscard]] std::span<std::byte> memory_of(const ublksrv_io_desc& command) {
    const std::uint64_t bytes = std::uint64_t{command.nr_sectors} * mq::sector_bytes;
    return bytes <= memory_.size() ? std::span{memory_}.first(bytes) : std::span<std::byte>{};
  }
  /// Copies the data of a write from the kernel.
  [[nodiscard]] bool take_data(std::span<std::byte> memory) const {
    const auto taken =
        ::pread(char_device_, memory.data(), memory.size(), static_cast<off_t>(position_));
    return !memory.empty() && taken == static_cast<ssize_t>(memory.size());
  }
  /// Copies data to the kernel.
  [[nodiscard]] bool give_data(std::span<const std::byte> memory) const {
    const auto given =
        ::pwrite(char_device_, memory.data(), memory.size(), static_cast<off_t>(position_));
    return given == static_cast<ssize_t>(memory.size());
  }

  [[nodiscard]] Result read(const ublksrv_io_desc& command) {
    ++counts_.reads;
    const std::span memory = memory_of(command);
    Status status = mq::read(runtime_, disk_, command.start_sector, memory);
    if (status == Status::ok && !give_data(memory)) status = Status::io_error;
    return result_of(status, memory.size());
  }
  [[nodiscard]] Result write(const ublksrv_io_desc& command) {
    ++counts_.writes;
    const std::span memory = memory_of(command);
    if (!take_data(memory)) return failed(Status::io_error);
    const bool is_fua = (command.op_flags & UBLK_IO_F_FUA) != 0;
    return result_of(mq::write(runtime_, disk_, command.start_sector, memory, {.fua = is_fua}),
                     memory.size());
  }
  [[nodiscard]] Result append(const ublksrv_io_desc& command) {
    ++counts_.appends;
    const std::span memory = memory_of(command);
    if (!take_data(memory)) return failed(Status::io_error);
    const auto written = mq::zone_append(runtime_, disk_, command.start_sector, memory);
    if (!written) return failed(written.error());
    return {static_cast<std::int32_t>(memory.size()), *written};
  }
  [[nodiscard]] Result manage(mq::Op op, const ublksrv_io_desc& command) {
    ++counts_.managed;
    return result_of(mq::zone(runtime_, disk_, op, command.start_sector), 0);
  }
  /// The kernel's buffer has room for as many zones as it asks for, and it may ask for more than
  /// there are.
  [[nodiscard]] Result report(const ublksrv_io_desc& command) {
    ++counts_.reports;
    const std::uint64_t max_zones =
        disk_.config().capacity_sectors / disk_.config().zone_sectors + 1;
    std::vector<mq::Zone> zones(std::min<std::uint64_t>(command.nr_sectors, max_zones));
    zones.resize(disk_.report_zones(command.start_sector, zones));
    std::vector<blk_zone> told;
    for (const mq::Zone& zone : zones) told.push_back(blk_zone_of(zone));
    if (!give_data(std::as_bytes(std::span{told}))) return failed(Status::io_error);
    return {INT32_MAX};  // the kernel takes the length of its buffer
  }

  Disk& disk_;
  mq::LoopRuntime& runtime_;
  int char_device_;
  std::uint64_t position_ = 0;  // of the data of the present command
  std::vector<std::byte> memory_;
  Counts counts_;
};

}  // namespace null_block

#endif
