// SPDX-License-Identifier: BSL-1.0
//
// The protocol of Linux's ublk driver, whose structs are those of <linux/ublk_cmd.h>.
//
// Parties: the driver ublk_drv, which makes the block device /dev/ublkbN, and a server in user
// space, which executes the I/Os of that device. Both sides speak io_uring, by passthrough commands
// (IORING_OP_URING_CMD, entries of 128 bytes).
//
//   control      /dev/ublk-control: ADD_DEV, SET_PARAMS, START_DEV; STOP_DEV, DEL_DEV; and for a
//                device whose server died, START_USER_RECOVERY and END_USER_RECOVERY
//   descriptors  a mapping of /dev/ublkcN: what the kernel asks, one struct for each tag
//   data         commands to /dev/ublkcN, one for each tag at any time. FETCH_REQ completes when
//                the kernel has an I/O with this tag. COMMIT_AND_FETCH_REQ says how the I/O ended,
//                and completes with the next one.
//
// The kernel copies the data of a write into the tag's buffer before the command completes, and the
// data of a read out of it when the I/O is committed. The commit therefore lets the tag come again,
// at once. A command that completes with UBLK_IO_RES_ABORT is the last one of its tag.
//
// A server that dies: with UBLK_F_USER_RECOVERY the device waits for another server. With
// UBLK_F_USER_RECOVERY_REISSUE it then issues all that was in flight again, so each I/O may be
// executed twice, and ends once.
//
// Source: Documentation/block/ublk.rst and include/uapi/linux/ublk_cmd.h of Linux 6.12.

#ifndef UBLK_PROTOCOL_HPP
#define UBLK_PROTOCOL_HPP

#include <linux/ublk_cmd.h>
#include <sys/ioctl.h>

#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>

#include "storage/io.hpp"

namespace ublk {

inline constexpr const char* control_path = "/dev/ublk-control";
[[nodiscard]] inline std::string char_device_path(std::uint32_t id) {
  return "/dev/ublkc" + std::to_string(id);
}
[[nodiscard]] inline std::string block_device_path(std::uint32_t id) {
  return "/dev/ublkb" + std::to_string(id);
}

/// The opcodes of Linux 6.4 and newer. Those of the header without direction and size are of older
/// kernels, and newer ones may be built without them.
enum class Opcode : std::uint32_t {
  get_info = _IOR('u', UBLK_CMD_GET_DEV_INFO, ublksrv_ctrl_cmd),
  get_params = _IOR('u', UBLK_CMD_GET_PARAMS, ublksrv_ctrl_cmd),
  add = _IOWR('u', UBLK_CMD_ADD_DEV, ublksrv_ctrl_cmd),
  remove = _IOWR('u', UBLK_CMD_DEL_DEV, ublksrv_ctrl_cmd),
  start = _IOWR('u', UBLK_CMD_START_DEV, ublksrv_ctrl_cmd),
  stop = _IOWR('u', UBLK_CMD_STOP_DEV, ublksrv_ctrl_cmd),
  set_params = _IOWR('u', UBLK_CMD_SET_PARAMS, ublksrv_ctrl_cmd),
  start_recovery = _IOWR('u', UBLK_CMD_START_USER_RECOVERY, ublksrv_ctrl_cmd),
  end_recovery = _IOWR('u', UBLK_CMD_END_USER_RECOVERY, ublksrv_ctrl_cmd),
  fetch = _IOWR('u', UBLK_IO_FETCH_REQ, ublksrv_io_cmd),
  commit_and_fetch = _IOWR('u', UBLK_IO_COMMIT_AND_FETCH_REQ, ublksrv_io_cmd),
};

/// Flags of a device that are newer than Debian 12's header, whose names are UBLK_F_ and these.
inline constexpr std::uint64_t flag_ioctl_encode = std::uint64_t{1} << 6;   // CMD_IOCTL_ENCODE
inline constexpr std::uint64_t flag_user_copy = std::uint64_t{1} << 7;      // USER_COPY
inline constexpr std::uint64_t flag_zoned = std::uint64_t{1} << 8;          // ZONED
inline constexpr std::uint64_t flag_auto_buf_reg = std::uint64_t{1} << 11;  // AUTO_BUF_REG
/// What the server asks for.
inline constexpr std::uint64_t wanted_flags =
    UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE | flag_ioctl_encode;

/// The queues of io_uring's ids.
inline constexpr std::uint32_t max_queues = 255;

inline constexpr std::uint32_t sector_shift = 9;
inline constexpr std::uint32_t sector_bytes = 1U << sector_shift;

/// The device, as far as an I/O depends on it.
struct Geometry {
  std::uint64_t size_bytes = 0;  ///< Whole blocks.
  std::uint32_t block_bytes = sector_bytes;
  std::uint32_t max_io_bytes = 0;  ///< The buffer of a tag.
  bool read_only = false;
};

/// The parameters of a device of this geometry.
[[nodiscard]] inline ublk_params params_of(const Geometry& geometry) noexcept {
  ublk_params params{};
  params.len = sizeof(params);
  params.types = UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD;
  // With a volatile cache the kernel sends flushes. Without the attribute it never does.
  params.basic.attrs = UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA;
  if (geometry.read_only) params.basic.attrs |= UBLK_ATTR_READ_ONLY;
  for (std::uint32_t bytes = geometry.block_bytes; bytes != 1; bytes /= 2) {
    ++params.basic.logical_bs_shift;
  }
  params.basic.physical_bs_shift = 12;
  params.basic.io_opt_shift = 12;
  params.basic.io_min_shift = 12;
  params.basic.max_sectors = geometry.max_io_bytes >> sector_shift;
  params.basic.dev_sectors = geometry.size_bytes >> sector_shift;
  params.discard.discard_granularity = 4096;
  params.discard.max_discard_sectors = UINT32_MAX >> sector_shift;
  params.discard.max_write_zeroes_sectors = UINT32_MAX >> sector_shift;
  params.discard.max_discard_segments = 1;
  return params;
}

/// The I/O of a descriptor, whose data is at the beginning of `buffer`.
/// Errors: the status with which the I/O ends.
[[nodiscard]] inline std::expected<storage::Io, blkown::Status> parse_descriptor(
    const ublksrv_io_desc& descriptor, const Geometry& geometry, std::byte* buffer) noexcept {
  using storage::Operation;
  storage::Io io;
  switch (ublksrv_get_op(&descriptor)) {
    case UBLK_IO_OP_READ: io.operation = Operation::read; break;
    case UBLK_IO_OP_WRITE: io.operation = Operation::write; break;
    case UBLK_IO_OP_FLUSH: return storage::Io{.operation = Operation::flush};
    case UBLK_IO_OP_DISCARD: io.operation = Operation::discard; break;
    case UBLK_IO_OP_WRITE_ZEROES: io.operation = Operation::write_zeroes; break;
    default: return std::unexpected(blkown::Status::not_supported);
  }
  const bool reads = io.operation == Operation::read;
  const bool has_data = reads || io.operation == Operation::write;
  const std::uint64_t sectors = geometry.size_bytes >> sector_shift;
  const std::uint64_t first = descriptor.start_sector;
  const std::uint64_t count = descriptor.nr_sectors;
  if (count == 0 || first > sectors || count > sectors - first) {
    return std::unexpected(blkown::Status::invalid);
  }
  io.offset = first << sector_shift;
  io.length = count << sector_shift;
  if ((io.offset | io.length) % geometry.block_bytes != 0 ||
      (has_data && io.length > geometry.max_io_bytes) || (geometry.read_only && !reads)) {
    return std::unexpected(blkown::Status::invalid);
  }
  // The flags are bits of op_flags as it is, not of what ublksrv_get_flags() returns.
  io.is_durable = (descriptor.op_flags & UBLK_IO_F_FUA) != 0;
  io.keeps_blocks = (descriptor.op_flags & UBLK_IO_F_NOUNMAP) != 0;
  if (has_data) io.memory = {buffer, io.length};
  return io;
}

}  // namespace ublk

#endif
