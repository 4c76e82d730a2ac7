// SPDX-License-Identifier: BSL-1.0
//
// ControllerHooks: what a simulated device calls.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_HOOKS_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_HOOKS_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The hooks of a device. Any of them may be null.
/// Context: the device's caller, without the device's locks. A hook may call the device.
struct ControllerHooks {
  void* argument = nullptr;  ///< Passed to each hook.
  /// Completions were posted on the queue, or those of the MSI-X vector of that number. May be
  /// called within a doorbell or a dma::map, as an interrupt on another processor would be. Null:
  /// the driver polls.
  void (*interrupt)(void* argument, std::uint32_t queue) = nullptr;
  /// The device has failed, and executes nothing until it is stopped and started, or reset.
  void (*failed)(void* argument) = nullptr;
  /// An action is due: step() must be called.
  void (*wake)(void* argument) = nullptr;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
