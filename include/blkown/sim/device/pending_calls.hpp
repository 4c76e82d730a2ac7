// SPDX-License-Identifier: BSL-1.0
//
// What a simulated controller has to tell others.

#ifndef BLKOWN_SIM_DEVICE_PENDING_CALLS_HPP
#define BLKOWN_SIM_DEVICE_PENDING_CALLS_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Filled under the controller's lock, and told when that is free again.
struct PendingCalls {
  std::uint64_t interrupts = 0;  // a bit for each queue
  bool has_failed = false;
  bool has_work = false;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
