// SPDX-License-Identifier: BSL-1.0
//
// Platform: what the driver asks of the machine beside registers and DMA.

#ifndef EXAMPLES_NVME_PLATFORM_HPP
#define EXAMPLES_NVME_PLATFORM_HPP

#include <concepts>
#include <cstdint>

namespace nvme_driver {

/// How the driver waits for a controller, and its last resort.
///
///   std::uint64_t now_ns();
///       A monotonic clock.
///   void pause();
///       Called between two looks at the controller: sleeps, spins, or runs a simulated controller.
///   bool cut_off();
///       Takes the controller off memory: bus mastering off, a function-level reset, or the IOMMU
///       domain detached. Called for a controller that is gone or does not stop. True: the platform
///       has confirmed that the controller reaches no memory. A platform that cannot returns false.
template <class P>
concept Platform = requires(P& platform) {
  { platform.now_ns() } -> std::same_as<std::uint64_t>;
  { platform.pause() } -> std::same_as<void>;
  { platform.cut_off() } -> std::same_as<bool>;
};

/// Waits until `is_done()`, for at most `timeout_ms`. Returns the last is_done().
template <Platform P, class IsDone>
bool wait_until(P& platform, std::uint64_t timeout_ms, IsDone is_done) {
  const std::uint64_t begin_ns = platform.now_ns();
  while (!is_done()) {
    if (platform.now_ns() - begin_ns > timeout_ms * 1'000'000) return is_done();
    platform.pause();
  }
  return true;
}

}  // namespace nvme_driver

#endif
