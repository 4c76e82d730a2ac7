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

/// The requests that a device accepts. Bios beyond the limits are split.
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
  /// One less than a power of two, or 0 if any memory will do. The address and the length of each
  /// piece have none of these bits set. A bio with other memory ends with Status::invalid before a
  /// tag is allocated. At most the block size less 1. NVMe needs 3, virtio-blk nothing.
  std::uint32_t dma_alignment_mask = 0;
  /// No request crosses a multiple of this number, whatever its operation: the stripe of an array.
  /// A multiple of the block, or 0 for no such limit. The zone size takes its place on a zoned
  /// disk.
  std::uint64_t chunk_sectors = 0;
  /// The unit of a discard, or 0 if every block is one. A discard that is split is split between
  /// two units. The first and the last request of a bio may cover a unit in part: they are sent as
  /// they are, as Linux does, and the device may ignore such a part.
  std::uint64_t discard_granularity_sectors = 0;
  std::uint64_t discard_alignment_sectors = 0;  ///< The first sector of the first whole unit.
  /// The same for write_zeroes. A unit that is covered in part is sent, too: it must read as
  /// zeroes.
  std::uint64_t write_zeroes_granularity_sectors = 0;
  /// The first sector of a unit of write_zeroes.
  std::uint64_t write_zeroes_alignment_sectors = 0;
  friend constexpr bool operator==(const QueueLimits&, const QueueLimits&) = default;

  /// The limits of requests whose memory fits the scatter list of a device, such as
  /// dma::DeviceLimits: any type with the members max_segments, max_segment_bytes, boundary_mask
  /// and virt_boundary_mask. The other limits have their defaults. If pieces may cross the device's
  /// boundary_mask, where the list cuts them in two, a request has half the pieces.
  /// Precondition: the slots of a bounce pool are no shorter than max_segment_bytes.
  template <class DeviceLimits>
  [[nodiscard]] static constexpr QueueLimits for_device(const DeviceLimits& device) noexcept;
};

template <class DeviceLimits>
constexpr QueueLimits QueueLimits::for_device(const DeviceLimits& device) noexcept {
  std::uint64_t piece_bytes = device.max_segment_bytes;
  // A boundary of all ones is none: it has no end.
  const std::uint64_t boundary_bytes = device.boundary_mask + std::uint64_t{1};
  if (boundary_bytes != 0 && piece_bytes > boundary_bytes) piece_bytes = boundary_bytes;
  if (piece_bytes > UINT32_MAX) piece_bytes = UINT32_MAX;
  if (piece_bytes > device.virt_boundary_mask) piece_bytes &= ~device.virt_boundary_mask;
  // Pieces as short as the virt boundary's unit begin and end within one unit.
  const bool are_within_units = piece_bytes == device.virt_boundary_mask + 1;
  const bool may_cross = boundary_bytes != 0 && !are_within_units;
  QueueLimits limits;
  limits.max_segments =
      may_cross && device.max_segments > 1 ? device.max_segments / 2 : device.max_segments;
  limits.max_segment_bytes = static_cast<std::uint32_t>(piece_bytes);
  limits.virt_boundary_mask = device.virt_boundary_mask;
  return limits;
}

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
  needs_poll,          ///< The driver has no hook poll, without which the field has no effect.
  needs_timeout,       ///< The driver has no hook timeout, likewise.
  needs_report_zones,  ///< The driver has no hook report_zones, likewise.
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
    case DiskReason::needs_poll: return "the driver lacks the hook poll";
    case DiskReason::needs_timeout: return "the driver lacks the hook timeout";
    case DiskReason::needs_report_zones: return "the driver lacks the hook report_zones";
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

namespace detail {

/// The longest piece of memory that keeps the alignment.
[[nodiscard]] constexpr std::uint32_t usable_segment_bytes(const QueueLimits& limits) noexcept {
  return limits.max_segment_bytes & ~limits.dma_alignment_mask;
}

/// Checks the limits of memory: whether a block that lies at the best address fits.
[[nodiscard]] constexpr std::optional<DiskError> check_memory(const QueueLimits& limits,
                                                              std::uint32_t block_bytes) noexcept {
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
  const std::uint64_t alignment_mask = limits.dma_alignment_mask;
  if ((alignment_mask & (alignment_mask + 1)) != 0) {
    return DiskError{DiskReason::not_a_mask, "dma_alignment_mask", alignment_mask, 0};
  }
  if (alignment_mask >= block_bytes) {
    return DiskError{DiskReason::too_large, "dma_alignment_mask", alignment_mask,
                     block_bytes - std::uint64_t{1}};
  }
  const std::uint32_t segment_bytes = usable_segment_bytes(limits);
  if (segment_bytes == 0) {
    return DiskError{DiskReason::too_small, "max_segment_bytes", limits.max_segment_bytes,
                     alignment_mask + 1};
  }
  const std::uint64_t needed = (std::uint64_t{block_bytes} + segment_bytes - 1) / segment_bytes;
  if (limits.max_segments < needed) {
    return DiskError{DiskReason::too_small, "max_segments", limits.max_segments, needed};
  }
  return std::nullopt;
}

/// The granularity of an operation without data, and the names of its fields.
struct Units {
  const char* granularity_field;
  const char* alignment_field;
  const char* max_field;
  std::uint64_t granularity_sectors;
  std::uint64_t alignment_sectors;
  std::uint64_t max_sectors;
};

/// Checks that a request can have a whole unit, and that splits between units are possible.
[[nodiscard]] constexpr std::optional<DiskError> check_units(const Units& units,
                                                             std::uint64_t chunk_sectors,
                                                             std::uint64_t block_sectors) noexcept {
  const std::uint64_t unit = units.granularity_sectors;
  const std::uint64_t alignment = units.alignment_sectors;
  if (unit % block_sectors != 0) {
    return DiskError{DiskReason::not_a_multiple, units.granularity_field, unit, block_sectors};
  }
  if (alignment % block_sectors != 0) {
    return DiskError{DiskReason::not_a_multiple, units.alignment_field, alignment, block_sectors};
  }
  if (alignment != 0 && alignment >= unit) {
    return DiskError{DiskReason::too_large, units.alignment_field, alignment,
                     unit == 0 ? 0 : unit - 1};
  }
  if (unit == 0) return std::nullopt;
  if (units.max_sectors != 0 && units.max_sectors < unit) {
    return DiskError{DiskReason::too_small, units.max_field, units.max_sectors, unit};
  }
  // A chunk's end lies between two units.
  if (chunk_sectors % unit != 0) {
    return DiskError{DiskReason::not_a_multiple, "chunk_sectors", chunk_sectors, unit};
  }
  if (chunk_sectors != 0 && alignment != 0) {
    return DiskError{DiskReason::contradicts, units.alignment_field, alignment, chunk_sectors};
  }
  return std::nullopt;
}

}  // namespace detail

/// Checks limits for a disk whose blocks are `block_bytes` long.
/// Errors: the first field that no request of one block could obey, wherever the block's memory
/// lies, or that contradicts another field.
[[nodiscard]] constexpr std::optional<DiskError> check(const QueueLimits& limits,
                                                       std::uint32_t block_bytes) noexcept {
  const std::uint64_t block_sectors = block_bytes / sector_bytes;
  if (limits.max_sectors < block_sectors) {
    return DiskError{DiskReason::too_small, "max_sectors", limits.max_sectors, block_sectors};
  }
  if (const auto error = detail::check_memory(limits, block_bytes)) return error;
  if (limits.chunk_sectors % block_sectors != 0) {
    return DiskError{DiskReason::not_a_multiple, "chunk_sectors", limits.chunk_sectors,
                     block_sectors};
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
  if (const auto error =
          detail::check_units({"discard_granularity_sectors", "discard_alignment_sectors",
                               "max_discard_sectors", limits.discard_granularity_sectors,
                               limits.discard_alignment_sectors, limits.max_discard_sectors},
                              limits.chunk_sectors, block_sectors)) {
    return error;
  }
  return detail::check_units(
      {"write_zeroes_granularity_sectors", "write_zeroes_alignment_sectors",
       "max_write_zeroes_sectors", limits.write_zeroes_granularity_sectors,
       limits.write_zeroes_alignment_sectors, limits.max_write_zeroes_sectors},
      limits.chunk_sectors, block_sectors);
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
