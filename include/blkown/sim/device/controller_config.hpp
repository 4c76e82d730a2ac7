// SPDX-License-Identifier: BSL-1.0
//
// What a simulated controller is like.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_CONFIG_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

struct ControllerConfig {
  std::uint32_t device_id = 1;    ///< In the IOMMU's fault log.
  std::uint32_t queue_pairs = 1;  ///< At most 64.
  /// A command takes between the two, each time as likely as the others; one in eight no time.
  std::uint64_t shortest_ns = 2'000;
  std::uint64_t longest_ns = 50'000;
  /// How much more it takes if it is to be late: more than the driver's timeout.
  std::uint64_t late_ns = 100'000'000;
  /// The driver's, so that what is forged looks like something.
  CookieLayout layout = CookieLayout::nbd();
  std::uint32_t depth = 1;
  std::uint64_t seed = 1;  ///< For latencies.
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
