// SPDX-License-Identifier: BSL-1.0
//
// WorldConfig: the parameters of one run under the adversary.

#ifndef BLKOWN_SIM_HARNESS_WORLD_CONFIG_HPP
#define BLKOWN_SIM_HARNESS_WORLD_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/cached_media.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The parameters of one run. Everything else follows from the seed.
struct WorldConfig {
  std::uint64_t seed = 0;                ///< All draws of the run follow from it.
  std::uint64_t io_count = 1000;         ///< I/Os that must end before the run ends.
  std::uint32_t queue_count = 2;         ///< Hardware queues.
  std::uint32_t depth = 8;               ///< Tags of each queue, the reserved ones included.
  std::uint32_t reserved_depth = 2;      ///< Tags for the driver's own commands.
  std::uint64_t timeout_ns = 2'000'000;  ///< Of a request in flight, in virtual time.
  std::uint32_t block_bytes = 512;       ///< Of an NvmeController's namespace.
  std::uint32_t nsid = 1;     ///< Of that namespace, 1 or 2. The other one must stay as it is.
  bool has_compares = false;  ///< Whether the I/O includes compares.
  FaultRates rates = FaultRates::all();  ///< How often each kind of fault strikes.
  std::vector<FaultStrike> script;       ///< Replaces the rates if is_scripted.
  bool is_scripted = false;              ///< Whether script or rates choose the faults.

  /// The sectors of a block of the namespace.
  [[nodiscard]] std::uint32_t block_sectors() const noexcept { return block_bytes / 512; }
  /// The cookie layout of a MessageWorld. The worlds of an NvmeController have
  /// CookieLayout::nvme(). The three layouts have wide and narrow generations, and a queue
  /// field or none.
  [[nodiscard]] CookieLayout layout() const noexcept {
    switch (seed % 3) {
      case 0: return CookieLayout::nvme();
      case 1: return CookieLayout::nbd();
      default: return CookieLayout::io_uring();
    }
  }
  /// The write cache of the seed's device: six seeds of seven have one.
  [[nodiscard]] CacheMode cache() const noexcept {
    return seed % 7 == 6 ? CacheMode::write_through : CacheMode::write_back;
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
  [[nodiscard]] bool has_fua() const noexcept { return seed % 7 < 3; }
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
