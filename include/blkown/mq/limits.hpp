// SPDX-License-Identifier: BSL-1.0
//
// What one request of a device may be, and why a disk could not be made.

#ifndef BLKOWN_MQ_LIMITS_HPP
#define BLKOWN_MQ_LIMITS_HPP

#include <blkown/config.hpp>
#include <blkown/mq/op.hpp>
#include <initializer_list>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The largest request a device takes; bios beyond that are split (the kernel's queue_limits).
struct QueueLimits {
  std::uint32_t max_sectors = 2560;  ///< Of a read or write: 1,280 KiB.
  std::uint32_t max_segments = 128;  ///< Pieces of memory in one request.
  std::uint32_t max_segment_bytes = 65536;
  /// Within a request every piece but the last ends, and every one but the first begins, at an
  /// address that has none of these bits set (NVMe's PRP lists: 4095). 0: wherever it likes.
  std::uint64_t virt_boundary_mask = 0;
  std::uint64_t max_discard_sectors = 0;       ///< 0: the device does not discard.
  std::uint64_t max_write_zeroes_sectors = 0;  ///< 0: it has no such operation.
  std::uint64_t max_zone_append_sectors = 0;   ///< 0: it has no such operation.
  friend constexpr bool operator==(const QueueLimits&, const QueueLimits&) = default;
};

/// Why a disk was not made.
enum class DiskReason : std::uint8_t {
  too_small,           ///< The field is below the limit.
  too_large,           ///< The field is above the limit.
  not_a_power_of_two,  ///< The field is no power of two.
  not_a_multiple,      ///< The field is no multiple of the limit.
  not_a_mask,          ///< The field is not one less than a power of two.
  contradicts,         ///< The field does not go together with another.
  does_not_fit,        ///< The TagPool that was given has other queues than the disk (limit).
  bad_tags,            ///< No TagSet can be made of it: given is the TagSetReason.
  init_failed,         ///< The driver's init_hctx refused a queue: given is its Status.
  out_of_memory,       ///< limit bytes could not be allocated.
};

[[nodiscard]] constexpr const char* to_string(DiskReason reason) noexcept {
  switch (reason) {
    case DiskReason::too_small: return "too small";
    case DiskReason::too_large: return "too large";
    case DiskReason::not_a_power_of_two: return "not a power of two";
    case DiskReason::not_a_multiple: return "not a multiple of the limit";
    case DiskReason::not_a_mask: return "not one less than a power of two";
    case DiskReason::contradicts: return "in contradiction to another field";
    case DiskReason::does_not_fit: return "the pool's queues do not fit the disk's";
    case DiskReason::bad_tags: return "no TagSet can be made of it";
    case DiskReason::init_failed: return "the driver refused a queue";
    case DiskReason::out_of_memory: return "out of memory";
  }
  return "unknown reason";
}

/// Why a disk was not made: which field of its configuration, what it was, what it may be.
struct DiskError {
  DiskReason reason{};
  const char* field = "";
  std::uint64_t given = 0;
  std::uint64_t limit = 0;
};

/// The first of the limits that no request could obey.
[[nodiscard]] constexpr std::optional<DiskError> check(const QueueLimits& limits,
                                                       std::uint32_t block_bytes) noexcept {
  const std::uint64_t block_sectors = block_bytes / sector_bytes;
  if (limits.max_sectors < block_sectors) {
    return DiskError{DiskReason::too_small, "max_sectors", limits.max_sectors, block_sectors};
  }
  if (limits.max_segments == 0) return DiskError{DiskReason::too_small, "max_segments", 0, 1};
  const std::uint64_t mask = limits.virt_boundary_mask;
  if ((mask & (mask + 1)) != 0) {
    return DiskError{DiskReason::not_a_mask, "virt_boundary_mask", mask, 0};
  }
  if (limits.max_segment_bytes == 0) {
    return DiskError{DiskReason::too_small, "max_segment_bytes", 0, 1};
  }
  // A piece that is as long as it may be, and not the last, ends on the boundary.
  if (limits.max_segment_bytes <= mask || (limits.max_segment_bytes & mask) != 0) {
    return DiskError{DiskReason::not_a_multiple, "max_segment_bytes", limits.max_segment_bytes,
                     mask + 1};
  }
  for (const auto& [field, sectors] :
       {std::pair{"max_discard_sectors", limits.max_discard_sectors},
        std::pair{"max_write_zeroes_sectors", limits.max_write_zeroes_sectors},
        std::pair{"max_zone_append_sectors", limits.max_zone_append_sectors}}) {
    if (sectors != 0 && sectors < block_sectors) {
      return DiskError{DiskReason::too_small, field, sectors, block_sectors};
    }
  }
  if (limits.max_zone_append_sectors > limits.max_sectors) {
    return DiskError{DiskReason::too_large, "max_zone_append_sectors",
                     limits.max_zone_append_sectors, limits.max_sectors};
  }
  return std::nullopt;
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
