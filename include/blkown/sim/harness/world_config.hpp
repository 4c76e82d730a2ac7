// SPDX-License-Identifier: BSL-1.0
//
// WorldConfig: the parameters of one run under the adversary.

#ifndef BLKOWN_SIM_HARNESS_WORLD_CONFIG_HPP
#define BLKOWN_SIM_HARNESS_WORLD_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/harness/workload.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The cookie layouts of a MessageWorld. The three have wide and narrow generations, and a queue
/// field or none.
enum class LayoutKind : std::uint8_t { nvme, nbd, io_uring };

/// The name of the layout, as the kit's options have it.
[[nodiscard]] constexpr const char* to_string(LayoutKind kind) noexcept {
  switch (kind) {
    case LayoutKind::nvme: return "nvme";
    case LayoutKind::nbd: return "nbd";
    case LayoutKind::io_uring: return "io_uring";
  }
  return "unknown layout";
}
/// The layout of this kind.
[[nodiscard]] constexpr CookieLayout layout_of(LayoutKind kind) noexcept {
  switch (kind) {
    case LayoutKind::nvme: return CookieLayout::nvme();
    case LayoutKind::nbd: return CookieLayout::nbd();
    case LayoutKind::io_uring: return CookieLayout::io_uring();
  }
  return CookieLayout::nvme();
}

/// What is the same with every seed. Where there is no value, the seed chooses.
struct FixedChoices {
  std::optional<std::uint32_t> block_bytes;  ///< Of the disks. A message device has 512 without.
  std::optional<LayoutKind> layout;          ///< Of a MessageWorld.
  std::optional<bool> has_cache;             ///< Whether the device has a volatile write cache.
  std::optional<bool> has_fua;               ///< Whether a disk of the block layer has FUA.
};

/// The parameters of one run. Everything else follows from the seed.
struct WorldConfig {
  std::uint64_t seed = 0;                ///< All draws of the run follow from it.
  std::uint64_t io_count = 1000;         ///< I/Os that must end before the run ends.
  std::uint32_t queue_count = 2;         ///< Hardware queues.
  std::uint32_t depth = 8;               ///< Tags of each queue, the reserved ones included.
  std::uint32_t reserved_depth = 2;      ///< Tags for the driver's own commands.
  std::uint64_t timeout_ns = 2'000'000;  ///< Of a request in flight, in virtual time.
  std::uint32_t block_bytes = 512;       ///< Of the disks.
  /// Of that namespace, 1 or 2; with several disks, of the first one. The disks have consecutive
  /// namespaces from this one, modulo their number. One namespace stays unused and must not change.
  std::uint32_t nsid = 1;
  std::uint32_t disk_count = 1;     ///< Each on a namespace, or a medium, of its own.
  bool has_compares = false;        ///< Whether the I/O includes compares.
  std::optional<OperationMix> mix;  ///< None: OperationMix::standard.
  std::vector<SizeWeight> sizes;    ///< See WorkloadConfig.
  std::uint32_t fua_percent = 25;   ///< The bios with FUA, in an MqWorld. On writes it has effect.
  /// The bios with a preflush, in an MqWorld. None: one in eight.
  std::optional<std::uint32_t> preflush_percent;
  LatencyShape latency = LatencyShape::uniform;  ///< Of the device's commands.
  std::uint64_t shortest_ns = 2'000;             ///< The device's shortest time for a command.
  std::uint64_t longest_ns = 50'000;             ///< The device's longest time for a command.
  std::uint32_t ios_per_cut = 32;  ///< I/Os between two power cuts, on average. 1: one after each.
  bool has_resets = false;         ///< Whether the world calls the driver's reset() at times.
  bool has_queue_changes = false;  ///< Whether an MqWorld changes the number of queues at times.
  FixedChoices fixed;              ///< What the seed does not choose.
  FaultRates rates = FaultRates::all();  ///< How often each kind of fault strikes.
  std::vector<FaultStrike> script;       ///< Replaces the rates if is_scripted.
  std::uint64_t max_events = 0;          ///< Ends the run with a finding of its own. 0: no limit.
  bool is_scripted = false;              ///< Whether script or rates choose the faults.

  /// The sectors of a block.
  [[nodiscard]] std::uint32_t block_sectors() const noexcept { return block_bytes / 512; }
  /// The cookie layout of a MessageWorld. The worlds of an NvmeController have
  /// CookieLayout::nvme().
  [[nodiscard]] CookieLayout layout() const noexcept {
    return layout_of(fixed.layout.value_or(static_cast<LayoutKind>(seed % 3)));
  }
  /// The write cache of the seed's device: six seeds of seven have one. A device with FUA has one.
  [[nodiscard]] CacheMode cache() const noexcept {
    const bool by_seed = seed % 7 != 6 || fixed.has_fua.value_or(false);
    return fixed.has_cache.value_or(by_seed) ? CacheMode::write_back : CacheMode::write_through;
  }
  /// The longest I/O queue of the seed's NvmeController. Two seeds of five have short ones: one
  /// with room for a command of each tag, and one that is full before the tags are used up. A full
  /// queue refuses a command until a completion reports that its oldest one was fetched.
  [[nodiscard]] std::uint32_t max_queue_entries() const noexcept {
    const std::uint32_t tags = depth - reserved_depth;
    switch (seed % 5) {
      case 3: return depth + 1;
      case 4: return tags < 3 ? 2 : tags - 1;
      default: return 1024;
    }
  }
  /// Whether the seed's device supports FUA: half of those with a write cache do.
  [[nodiscard]] bool has_fua() const noexcept {
    return cache() == CacheMode::write_back && fixed.has_fua.value_or(seed % 7 < 3);
  }
  /// The I/O of the run.
  [[nodiscard]] WorkloadConfig workload() const {
    return {.block_sectors = block_sectors(),
            .mix = mix.value_or(OperationMix::standard(has_compares)),
            .sizes = sizes};
  }
};

/// What a world has: some parameters are for some worlds only.
struct WorldFeatures {
  bool has_nvme = false;         ///< An NvmeController.
  bool has_block_layer = false;  ///< A disk of the block layer.
  bool has_reset = false;        ///< The driver has a public function reset().
  /// Whether the device has a fault. Null: it is an NvmeController or a MessageDevice.
  bool (*has_fault)(FaultKind kind) = nullptr;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
