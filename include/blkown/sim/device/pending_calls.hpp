// SPDX-License-Identifier: BSL-1.0
//
// PendingCalls: the hooks that a simulated controller has to call.

#ifndef BLKOWN_SIM_DEVICE_PENDING_CALLS_HPP
#define BLKOWN_SIM_DEVICE_PENDING_CALLS_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Filled with the controller's lock held. The controller calls the hooks after it has released
/// the lock, so that a hook may call the controller.
struct PendingCalls {
  std::uint64_t interrupts = 0;  // one bit for each queue
  bool has_failed = false;
  bool has_work = false;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
