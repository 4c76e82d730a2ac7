// SPDX-License-Identifier: BSL-1.0
//
// MessageConfig: the parameters of a simulated device that takes messages.

#ifndef BLKOWN_SIM_DEVICE_MESSAGE_CONFIG_HPP
#define BLKOWN_SIM_DEVICE_MESSAGE_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The parameters of a MessageDevice.
struct MessageConfig {
  std::uint32_t queue_count = 1;    ///< Connections, at most 64.
  std::uint32_t block_sectors = 1;  ///< A message for parts of blocks is answered as invalid.
  /// The time that a command takes is drawn between these two, as `latency` says. A time past the
  /// end of the clock is the clock's last time.
  std::uint64_t shortest_ns = 2'000;
  std::uint64_t longest_ns = 50'000;             ///< See shortest_ns.
  LatencyShape latency = LatencyShape::uniform;  ///< How the times are distributed.
  /// The time that the fault `late` adds to a command: more than the driver's timeout.
  std::uint64_t late_ns = 100'000'000;
  /// The driver's layout and depth, so that forged cookies can name requests of the driver.
  CookieLayout layout = CookieLayout::nbd();
  std::uint32_t depth = 1;  ///< See layout.
  std::uint64_t seed = 1;   ///< For latencies.
  /// All calls come from one thread: no lock is taken.
  bool is_single_threaded = false;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
