// SPDX-License-Identifier: BSL-1.0
//
// NvmeConfig: the parameters of a simulated NVMe controller.

#ifndef BLKOWN_SIM_DEVICE_NVME_CONFIG_HPP
#define BLKOWN_SIM_DEVICE_NVME_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A namespace of a simulated NVMe controller. The first one of a controller has the NSID 1.
struct NvmeNamespace {
  Media* media = nullptr;           ///< Null: the NSID is inactive.
  std::uint32_t block_bytes = 512;  ///< A power of two, at least 512.
};

/// The parameters of an NVMe controller.
struct NvmeConfig {
  std::uint32_t device_id = 1;  ///< In the IOMMU's fault log.
  std::uint16_t io_queues = 1;  ///< I/O submission and I/O completion queues, at most 63.
  std::uint32_t max_queue_entries = 1024;  ///< Of an I/O queue: CAP.MQES plus one.
  std::uint16_t vectors = 64;              ///< MSI-X vectors, at most 64.
  unsigned doorbell_stride_exponent = 0;   ///< CAP.DSTRD.
  std::uint32_t ready_timeout_ms = 500;    ///< CAP.TO, rounded up to a multiple of 500.
  std::uint64_t ready_ns = 0;              ///< The time until CSTS.RDY follows CC.EN.
  std::uint64_t shutdown_ns = 0;           ///< The time that a shutdown takes.
  unsigned max_transfer_exponent = 5;      ///< MDTS, in pages of 4,096 bytes. 0: no limit.
  bool has_volatile_cache = true;          ///< Whether the controller reports a write cache.
  std::uint8_t abort_limit = 4;            ///< Abort commands at a time: ACL plus one.
  std::uint8_t event_limit = 4;         ///< Asynchronous Event Requests at a time: AERL plus one.
  std::uint8_t error_log_entries = 16;  ///< ELPE plus one.

  /// The time that a command takes is drawn between these two, as `latency` says. A time past the
  /// end of the clock is the clock's last time.
  std::uint64_t shortest_ns = 2'000;
  std::uint64_t longest_ns = 50'000;             ///< See shortest_ns.
  LatencyShape latency = LatencyShape::uniform;  ///< How the times are distributed.
  /// The time that the fault `late` adds to a command: more than the driver's timeout.
  std::uint64_t late_ns = 100'000'000;
  /// The driver's layout and depth, so that forged command ids can name requests of the driver.
  CookieLayout layout = CookieLayout::nvme();
  std::uint32_t depth = 1;  ///< See layout.
  std::uint64_t seed = 1;   ///< For latencies.
  /// All calls come from one thread: no lock is taken.
  bool is_single_threaded = false;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
