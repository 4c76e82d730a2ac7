// SPDX-License-Identifier: BSL-1.0
//
// What a bio or a request asks of a disk.

#ifndef BLKOWN_MQ_OP_HPP
#define BLKOWN_MQ_OP_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The unit of positions and limits, whatever a disk's block size is.
inline constexpr std::uint32_t sector_bytes = 512;
inline constexpr unsigned sector_shift = 9;

/// Operations (the kernel's REQ_OP_*).
enum class Op : std::uint8_t {
  read,
  write,
  flush,         ///< What was acknowledged becomes durable.
  discard,       ///< The range's content is of no use any more.
  write_zeroes,  ///< The range reads as zeroes afterwards.
  zone_open,
  zone_close,
  zone_finish,
  zone_reset,
  zone_append,  ///< A write to wherever the zone's write pointer is.
  driver_in,    ///< A driver's own command that brings data, or none.
  driver_out,   ///< A driver's own command that takes data.
};

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
    case Op::zone_append: return "zone_append";
    case Op::driver_in: return "driver_in";
    case Op::driver_out: return "driver_out";
  }
  return "unknown op";
}

/// Whether a bio's memory is read or written.
[[nodiscard]] constexpr bool has_data(Op op) noexcept {
  return op == Op::read || op == Op::write || op == Op::zone_append;
}
/// Whether it is about a range of sectors, and is split where the range is too long.
[[nodiscard]] constexpr bool has_range(Op op) noexcept {
  return has_data(op) || op == Op::discard || op == Op::write_zeroes;
}
/// Whether it is about a whole zone, named by its first sector.
[[nodiscard]] constexpr bool is_zone_management(Op op) noexcept {
  return op >= Op::zone_open && op <= Op::zone_reset;
}
[[nodiscard]] constexpr bool is_private(Op op) noexcept {
  return op == Op::driver_in || op == Op::driver_out;
}
/// Whether it changes what is on the medium.
[[nodiscard]] constexpr bool is_write(Op op) noexcept {
  return op == Op::write || op == Op::discard || op == Op::write_zeroes || op == Op::zone_append ||
         is_zone_management(op);
}

/// How a bio is to be treated.
struct IoFlags {
  bool fua = false;       ///< It ends only when its data is durable.
  bool preflush = false;  ///< What was acknowledged before becomes durable first.
  bool polled = false;    ///< The submitter will poll for its end.
  bool nowait = false;    ///< If it would have to wait for a tag, it ends with Status::again.
  friend constexpr bool operator==(const IoFlags&, const IoFlags&) = default;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
