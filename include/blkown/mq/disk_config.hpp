// SPDX-License-Identifier: BSL-1.0
//
// The configuration of a disk.

#ifndef BLKOWN_MQ_DISK_CONFIG_HPP
#define BLKOWN_MQ_DISK_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// When a bio's end callback runs. In both modes the callback runs on the submitting context, and
/// never inside another callback or inside a handle's destructor.
enum class CompletionMode : std::uint8_t {
  immediate,  ///< Within Disk::submit if the bio ended there, else in the context's work.
  deferred,   ///< Always in the context's work.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(CompletionMode mode) noexcept {
  switch (mode) {
    case CompletionMode::immediate: return "immediate";
    case CompletionMode::deferred: return "deferred";
  }
  return "unknown mode";
}

/// The configuration of a disk, for Disk::create.
struct DiskConfig {
  /// The disk's name, for the texts of violations: "disk 'nbd0' destroyed while 3 requests are in
  /// flight". Null or empty: "(unnamed)".
  /// Precondition: the string outlives the disk, as a string literal does. The disk keeps the
  /// pointer and makes no copy.
  const char* name = "disk";
  std::uint64_t capacity_sectors = 0;       ///< A multiple of the logical block.
  std::uint32_t logical_block_bytes = 512;  ///< The unit of I/O: a power of two from 512 to 65536.
  /// A hint for submitters; the disk does not use it. The smallest I/O without a read-modify-write
  /// in the device: its physical block. A multiple of the logical block. 0: the logical block.
  std::uint32_t io_min_bytes = 0;
  /// A hint as above: the length of I/O that the device likes best, such as a stripe of an array. A
  /// multiple of io_min_bytes. 0: none.
  std::uint32_t io_opt_bytes = 0;
  /// A hint as above: neighbouring sectors are faster to reach than distant ones.
  bool rotational = false;
  QueueLimits limits{};  ///< The device's largest requests.

  bool read_only = false;    ///< Bios that change the medium end with Status::not_supported.
  bool write_cache = false;  ///< The device acknowledges writes before they are durable.
  bool fua = false;          ///< The device supports FUA. If not, a FUA write adds a flush.
  bool zoned = false;        ///< The driver receives zone operations. Needs the hook report_zones.
  std::uint64_t zone_sectors = 0;  ///< The size of each zone of a zoned disk, else 0.
  /// Hints as above: the zones that may be open, and those that may be open or closed, at a time. A
  /// write to one zone more ends with Status::zone_open_resource or zone_active_resource, from the
  /// driver. At most max_active_zones. 0: no such limit.
  std::uint32_t max_open_zones = 0;
  std::uint32_t max_active_zones = 0;  ///< As max_open_zones.

  std::uint32_t normal_queues = 1;  ///< Hardware queues of QueueType::normal.
  std::uint32_t read_queues = 0;    ///< Hardware queues of QueueType::read.
  std::uint32_t poll_queues = 0;    ///< Hardware queues of QueueType::poll. Needs the hook poll.
  /// The limit of Disk::set_queue_count. 0: normal_queues.
  std::uint32_t max_normal_queues = 0;
  std::uint32_t depth = 64;          ///< Requests of each queue, including the reserved ones.
  std::uint32_t reserved_depth = 0;  ///< Requests that only Disk::allocate_private gets, if asked.
  bool shared_tags = false;          ///< All queues share one set of `depth` tags.
  CookieLayout layout = CookieLayout::nbd();  ///< The layout of the ids that the device sees.
  /// As TagSetConfig::first_generation, for a pool of the disk's own: runs that are to repeat set
  /// it.
  std::optional<Generation> first_generation{};

  /// Time in flight before the driver's timeout hook is called. 0: never. Not set: 30,000 if the
  /// driver has the hook, else 0. Another value than 0 needs the hook.
  std::optional<std::uint32_t> timeout_ms{};
  /// The longest wait of a request that the driver rejected as busy. The end of another request on
  /// the same context and queue ends the wait earlier.
  std::uint32_t busy_delay_ms = 3;
  CompletionMode completion = CompletionMode::immediate;  ///< When end callbacks run.
  bool blocking = false;  ///< queue_rq may sleep, so the context's work calls it, not submit.
  bool auto_kick = true;  ///< Requeued requests are issued without a Disk::kick_requeued.
};

namespace detail {

[[nodiscard]] constexpr bool is_power_of_2(std::uint64_t value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

[[nodiscard]] constexpr std::uint32_t normal_queue_limit(const DiskConfig& config) noexcept {
  return config.max_normal_queues == 0 ? config.normal_queues : config.max_normal_queues;
}

/// The limits that requests obey: `limits`, and on a zoned disk the zones.
[[nodiscard]] constexpr QueueLimits effective_limits(const DiskConfig& config,
                                                     QueueLimits limits) noexcept {
  if (config.zoned) limits.chunk_sectors = config.zone_sectors;
  return limits;
}

/// Checks limits for a disk with the blocks and zones of the configuration.
/// Errors: the first field that is wrong.
[[nodiscard]] constexpr std::optional<DiskError> check_limits(const DiskConfig& config,
                                                              const QueueLimits& limits) noexcept {
  if (config.zoned && limits.chunk_sectors != 0 && limits.chunk_sectors != config.zone_sectors) {
    return DiskError{DiskReason::contradicts, "chunk_sectors", limits.chunk_sectors,
                     config.zone_sectors};
  }
  return check(effective_limits(config, limits), config.logical_block_bytes);
}

/// Checks a capacity, which may be 0.
[[nodiscard]] constexpr std::optional<DiskError> check_capacity(
    std::uint64_t sectors, std::uint32_t block_bytes) noexcept {
  constexpr std::uint64_t max_sectors = ~std::uint64_t{0} / sector_bytes;
  const std::uint64_t block_sectors = block_bytes / sector_bytes;
  if (sectors > max_sectors)
    return DiskError{DiskReason::too_large, "capacity_sectors", sectors, max_sectors};
  if (sectors % block_sectors != 0)
    return DiskError{DiskReason::not_a_multiple, "capacity_sectors", sectors, block_sectors};
  return std::nullopt;
}

/// Checks a configuration.
/// Errors: the first field that is wrong.
[[nodiscard]] constexpr std::optional<DiskError> check_config(const DiskConfig& config) noexcept {
  const auto wrong = [](DiskReason reason, const char* field, std::uint64_t given,
                        std::uint64_t limit) {
    return DiskError{.reason = reason, .field = field, .given = given, .limit = limit};
  };
  const std::uint32_t block_bytes = config.logical_block_bytes;
  if (!is_power_of_2(block_bytes))
    return wrong(DiskReason::not_a_power_of_two, "logical_block_bytes", block_bytes, 512);
  if (block_bytes < sector_bytes)
    return wrong(DiskReason::too_small, "logical_block_bytes", block_bytes, sector_bytes);
  if (block_bytes > 65536)
    return wrong(DiskReason::too_large, "logical_block_bytes", block_bytes, 65536);
  if (config.io_min_bytes % block_bytes != 0)
    return wrong(DiskReason::not_a_multiple, "io_min_bytes", config.io_min_bytes, block_bytes);
  const std::uint32_t io_min_bytes = config.io_min_bytes == 0 ? block_bytes : config.io_min_bytes;
  if (config.io_opt_bytes % io_min_bytes != 0)
    return wrong(DiskReason::not_a_multiple, "io_opt_bytes", config.io_opt_bytes, io_min_bytes);
  const std::uint64_t block_sectors = block_bytes / sector_bytes;
  if (config.capacity_sectors == 0)
    return wrong(DiskReason::too_small, "capacity_sectors", 0, block_sectors);
  if (const auto error = check_capacity(config.capacity_sectors, block_bytes)) return error;
  if (config.fua && !config.write_cache) return wrong(DiskReason::contradicts, "fua", 1, 0);
  if (config.zoned != (config.zone_sectors != 0))
    return wrong(DiskReason::contradicts, "zone_sectors", config.zone_sectors, config.zoned);
  if (config.zone_sectors % block_sectors != 0)
    return wrong(DiskReason::not_a_multiple, "zone_sectors", config.zone_sectors, block_sectors);
  if (!config.zoned && config.max_open_zones != 0)
    return wrong(DiskReason::contradicts, "max_open_zones", config.max_open_zones, 0);
  if (!config.zoned && config.max_active_zones != 0)
    return wrong(DiskReason::contradicts, "max_active_zones", config.max_active_zones, 0);
  if (config.max_active_zones != 0 && config.max_open_zones > config.max_active_zones)
    return wrong(DiskReason::too_large, "max_open_zones", config.max_open_zones,
                 config.max_active_zones);
  if (config.normal_queues == 0) return wrong(DiskReason::too_small, "normal_queues", 0, 1);
  const std::uint32_t max_normal = normal_queue_limit(config);
  if (max_normal < config.normal_queues)
    return wrong(DiskReason::too_small, "max_normal_queues", max_normal, config.normal_queues);
  const std::uint64_t queues = std::uint64_t{max_normal} + config.read_queues + config.poll_queues;
  if (queues > 65536) return wrong(DiskReason::too_large, "queues", queues, 65536);
  if (config.depth == 0) return wrong(DiskReason::too_small, "depth", 0, 1);
  if (config.reserved_depth >= config.depth)
    return wrong(DiskReason::too_large, "reserved_depth", config.reserved_depth, config.depth - 1);
  constexpr std::uint32_t max_ms = std::uint32_t{1} << 30;
  const std::uint32_t timeout_ms = config.timeout_ms.value_or(0);
  if (timeout_ms > max_ms) return wrong(DiskReason::too_large, "timeout_ms", timeout_ms, max_ms);
  if (config.busy_delay_ms == 0) return wrong(DiskReason::too_small, "busy_delay_ms", 0, 1);
  return check_limits(config, config.limits);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
