// SPDX-License-Identifier: BSL-1.0
//
// The limits of a device's requests, and the errors of Disk::create.

#ifndef BLKOWN_MQ_LIMITS_HPP
#define BLKOWN_MQ_LIMITS_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/mq/op.hpp>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The largest request that a device accepts. Bios beyond the limits are split.
/// Source: the kernel's queue_limits.
struct QueueLimits {
  std::uint32_t max_sectors = 2560;         ///< Length of a read or write. Default: 1,280 KiB.
  std::uint32_t max_segments = 128;         ///< Pieces of memory in one request.
  std::uint32_t max_segment_bytes = 65536;  ///< Length of one piece.
  /// One less than a power of two, or 0 for no boundary. Within a request, every piece except the
  /// first begins, and every piece except the last ends, at an address that has none of these bits
  /// set. NVMe's PRP lists need 4095.
  std::uint64_t virt_boundary_mask = 0;
  std::uint64_t max_discard_sectors = 0;       ///< 0: the device does not support discard.
  std::uint64_t max_write_zeroes_sectors = 0;  ///< 0: the device does not support write_zeroes.
  std::uint64_t max_zone_append_sectors = 0;   ///< 0: the device does not support zone_append.
  friend constexpr bool operator==(const QueueLimits&, const QueueLimits&) = default;
};

/// The kind of a DiskError.
enum class DiskReason : std::uint8_t {
  too_small,           ///< The field is below the limit.
  too_large,           ///< The field is above the limit.
  not_a_power_of_two,  ///< The field is not a power of two.
  not_a_multiple,      ///< The field is not a multiple of the limit.
  not_a_mask,          ///< The field is not one less than a power of two.
  contradicts,         ///< The field conflicts with another field.
  does_not_fit,        ///< The TagPool has `given` queues, the disk needs 1 or at least `limit`.
  bad_tags,            ///< No TagSet can be made from the fields; `given` is the TagSetReason.
  init_failed,         ///< The driver's init_hctx refused a queue; `given` is its Status.
  out_of_memory,       ///< An allocation of `limit` bytes failed.
};

/// The reason, for a message such as "disk 'ram0': capacity_sectors: too small".
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

/// The number of enumerators, for tables indexed by DiskReason.
inline constexpr std::size_t disk_reason_count =
    static_cast<std::size_t>(DiskReason::out_of_memory) + 1;
static_assert(blkown::detail::counts_enumerators<DiskReason>(disk_reason_count));

/// The error of Disk::create: a field of the configuration and its limit.
struct DiskError {
  DiskReason reason{};
  const char* field = "";   ///< The field's name. A string literal.
  std::uint64_t given = 0;  ///< The field's value, in the field's unit.
  std::uint64_t limit = 0;  ///< The limit that the value violates, where there is one.
};

/// Checks limits for a disk whose blocks are `block_bytes` long.
/// Errors: the first field that no request of one block could obey.
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
  // A piece of max_segment_bytes that is not the last one of its request ends on the boundary.
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
