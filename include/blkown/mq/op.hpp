// SPDX-License-Identifier: BSL-1.0
//
// Operations and flags of bios and requests, and the sector, the unit of positions.

#ifndef BLKOWN_MQ_OP_HPP
#define BLKOWN_MQ_OP_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The size of a sector. Positions and limits count sectors, regardless of a disk's block size.
/// Source: the kernel's SECTOR_SIZE and SECTOR_SHIFT.
inline constexpr std::uint32_t sector_bytes = 512;
/// `sector << sector_shift` is the sector's byte offset.
inline constexpr unsigned sector_shift = 9;

/// The operation of a bio or a request.
/// Source: the kernel's REQ_OP_*.
enum class Op : std::uint8_t {
  read,
  write,
  flush,         ///< Makes all acknowledged writes durable.
  discard,       ///< Tells the device that the range's content is no longer needed.
  write_zeroes,  ///< Makes the range read as zeroes.
  zone_open,
  zone_close,
  zone_finish,
  zone_reset,
  zone_reset_all,  ///< Resets every zone that a reset can reset. Its sector is 0.
  zone_append,     ///< Writes at the zone's write pointer.
  driver_in,       ///< A driver's private command that reads data or moves none.
  driver_out,      ///< A driver's private command that writes data.
};

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(Op op) noexcept {
  switch (op) {
    case Op::read: return "read";
    case Op::write: return "write";
    case Op::flush: return "flush";
    case Op::discard: return "discard";
    case Op::write_zeroes: return "write_zeroes";
    case Op::zone_open: return "zone_open";
    case Op::zone_close: return "zone_close";
    case Op::zone_finish: return "zone_finish";
    case Op::zone_reset: return "zone_reset";
    case Op::zone_reset_all: return "zone_reset_all";
    case Op::zone_append: return "zone_append";
    case Op::driver_in: return "driver_in";
    case Op::driver_out: return "driver_out";
  }
  return "unknown op";
}

/// The number of enumerators, for tables indexed by Op.
inline constexpr std::size_t op_count = static_cast<std::size_t>(Op::driver_out) + 1;
static_assert(blkown::detail::counts_enumerators<Op>(op_count));

/// Whether the operation moves data between the bio's memory and the device.
[[nodiscard]] constexpr bool has_data(Op op) noexcept {
  return op == Op::read || op == Op::write || op == Op::zone_append;
}
/// Whether the operation covers a range of sectors. A bio whose range exceeds a limit is split.
[[nodiscard]] constexpr bool has_range(Op op) noexcept {
  return has_data(op) || op == Op::discard || op == Op::write_zeroes;
}
/// Whether the operation changes the state of a whole zone, which its first sector identifies, or
/// of all zones.
[[nodiscard]] constexpr bool is_zone_management(Op op) noexcept {
  return op >= Op::zone_open && op <= Op::zone_reset_all;
}
/// Whether the operation is a driver's private command (Disk::allocate_private).
[[nodiscard]] constexpr bool is_private(Op op) noexcept {
  return op == Op::driver_in || op == Op::driver_out;
}
/// Whether the operation changes the medium. A read-only disk refuses these operations.
[[nodiscard]] constexpr bool is_write(Op op) noexcept {
  return op == Op::write || op == Op::discard || op == Op::write_zeroes || op == Op::zone_append ||
         is_zone_management(op);
}

/// Modifiers of a bio.
struct IoFlags {
  /// The bio ends only after its data is durable.
  bool fua = false;
  /// All writes acknowledged before become durable before this bio's data is written.
  bool preflush = false;
  /// The bio goes to a poll queue, if the disk has any. The submitter calls Disk::poll.
  bool polled = false;
  /// The bio does not wait. It ends with Status::again before anything is issued if it would be
  /// split or needs a flush step. A bio of one request ends with Status::again where it would wait:
  /// for a tag, behind another bio, for a queue that is stopped, quiesced, frozen or busy, or after
  /// the driver has refused it as busy. A plug, a blocking driver and a submit within a hook defer
  /// the bio, and it then ends in the same way. Once the driver has accepted the request, the flag
  /// has no effect.
  bool nowait = false;
  friend constexpr bool operator==(const IoFlags&, const IoFlags&) = default;
};

namespace detail {

/// The flags as a number, to test or clear several at once.
[[nodiscard]] constexpr std::uint32_t bits_of(IoFlags flags) noexcept {
  return std::bit_cast<std::uint32_t>(flags);
}
[[nodiscard]] constexpr IoFlags flags_of(std::uint32_t bits) noexcept {
  return std::bit_cast<IoFlags>(bits);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
