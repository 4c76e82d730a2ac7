// SPDX-License-Identifier: BSL-1.0
//
// CompletionGate: lets one context at a time take the completions of a queue.

#ifndef EXAMPLES_NVME_COMPLETION_GATE_HPP
#define EXAMPLES_NVME_COMPLETION_GATE_HPP

#include <atomic>
#include <cstdint>

namespace nvme_driver {

/// Lets one context at a time take the completions of a queue: an interrupt, a poll, a timeout. A
/// context that comes while another one is inside does not wait. The one inside looks again before
/// it leaves, so no completion is missed. An interrupt that comes inside of a doorbell is safe.
class CompletionGate {
 public:
  /// Calls `work` at least once after this call has begun, here or on the context that is inside.
  /// Returns false if another context does it.
  template <class Work>
  bool enter(Work&& work) {
    if (asked_.fetch_add(1) != 0) return false;
    std::uint32_t seen = 0;
    do {
      seen = asked_.load();
      work();
    } while (asked_.fetch_sub(seen) != seen);
    return true;
  }

  /// Calls `work` while no other context is inside, if that is so. Calls of enter() that come
  /// meanwhile do nothing: the caller takes the completions afterwards, unless there are none
  /// because the controller has stopped.
  template <class Work>
  [[nodiscard]] bool try_close(Work&& work) {
    std::uint32_t nobody = 0;
    if (!asked_.compare_exchange_strong(nobody, 1)) return false;
    work();
    asked_.store(0);
    return true;
  }

 private:
  std::atomic<std::uint32_t> asked_{0};
};

}  // namespace nvme_driver

#endif
