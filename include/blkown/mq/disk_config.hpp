// SPDX-License-Identifier: BSL-1.0
//
// What a disk is made from, and whether a disk can be made from it.

#ifndef BLKOWN_MQ_DISK_CONFIG_HPP
#define BLKOWN_MQ_DISK_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/tag.hpp>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Where a bio's end callback runs. It is the submitting context in either case, and never inside
/// another callback or a handle's destructor.
enum class CompletionMode : std::uint8_t {
  immediate,  ///< Before submit() returns, for what ended in it; else with the context's next work.
  deferred,   ///< Always as a piece of work of its own.
};

/// A disk, before it is one. Disk::create says which field is wrong, and why.
struct DiskConfig {
  const char* name = "disk";
  std::uint64_t capacity_sectors = 0;
  std::uint32_t logical_block_bytes = 512;
  std::uint32_t physical_block_bytes = 512;
  QueueLimits limits{};

  bool read_only = false;
  bool write_cache = false;        ///< The device acknowledges writes before they are durable.
  bool fua = false;                ///< It can make a single write durable; else a flush follows.
  bool zoned = false;              ///< Zone operations are passed through.
  std::uint64_t zone_sectors = 0;  ///< The size of each zone, of zoned disks.

  std::uint32_t normal_queues = 1;
  std::uint32_t read_queues = 0;
  std::uint32_t poll_queues = 0;
  /// The most normal queues that there will ever be; 0: as many as there are.
  std::uint32_t max_normal_queues = 0;
  std::uint32_t depth = 64;          ///< Requests of each queue, reserved ones included.
  std::uint32_t reserved_depth = 0;  ///< Kept for private requests that ask for them.
  bool shared_tags = false;          ///< All queues draw their tags from one set of `depth`.
  CookieLayout layout = CookieLayout::nbd();

  std::uint32_t timeout_ms = 30'000;  ///< Until the driver's timeout hook is asked; 0: never.
  std::uint32_t busy_delay_ms = 3;    ///< When a request rejected as busy is tried again at last.
  CompletionMode completion = CompletionMode::immediate;
  bool blocking = false;  ///< queue_rq may sleep: submit leaves it to the context's work.
  bool auto_kick = true;  ///< Requeued requests are issued again at once, else after a kick.
};

namespace detail {

[[nodiscard]] constexpr bool is_power_of_2(std::uint64_t value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

[[nodiscard]] constexpr std::uint32_t normal_queue_limit(const DiskConfig& config) noexcept {
  return config.max_normal_queues == 0 ? config.normal_queues : config.max_normal_queues;
}

/// The first thing that is wrong with it.
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
  if (!is_power_of_2(config.physical_block_bytes))
    return wrong(DiskReason::not_a_power_of_two, "physical_block_bytes",
                 config.physical_block_bytes, block_bytes);
  if (config.physical_block_bytes < block_bytes)
    return wrong(DiskReason::too_small, "physical_block_bytes", config.physical_block_bytes,
                 block_bytes);
  const std::uint64_t block_sectors = block_bytes / sector_bytes;
  constexpr std::uint64_t max_sectors = ~std::uint64_t{0} / sector_bytes;
  if (config.capacity_sectors == 0)
    return wrong(DiskReason::too_small, "capacity_sectors", 0, block_sectors);
  if (config.capacity_sectors > max_sectors)
    return wrong(DiskReason::too_large, "capacity_sectors", config.capacity_sectors, max_sectors);
  if (config.capacity_sectors % block_sectors != 0)
    return wrong(DiskReason::not_a_multiple, "capacity_sectors", config.capacity_sectors,
                 block_sectors);
  if (config.fua && !config.write_cache) return wrong(DiskReason::contradicts, "fua", 1, 0);
  if (config.zoned != (config.zone_sectors != 0))
    return wrong(DiskReason::contradicts, "zone_sectors", config.zone_sectors, config.zoned);
  if (config.zone_sectors % block_sectors != 0)
    return wrong(DiskReason::not_a_multiple, "zone_sectors", config.zone_sectors, block_sectors);
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
  if (config.timeout_ms > max_ms)
    return wrong(DiskReason::too_large, "timeout_ms", config.timeout_ms, max_ms);
  if (config.busy_delay_ms == 0) return wrong(DiskReason::too_small, "busy_delay_ms", 0, 1);
  return check(config.limits, block_bytes);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
