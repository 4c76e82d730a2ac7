// SPDX-License-Identifier: BSL-1.0
//
// Completion: how an interrupt reports an I/O to the main context, which waits for it.

#ifndef EXAMPLES_KERNEL_COMPLETION_HPP
#define EXAMPLES_KERNEL_COMPLETION_HPP

#include <atomic>
#include <blkown/status.hpp>
#include <cstdint>

namespace kernel {

/// One I/O of the main context. `Claimed`: the device has completed it, and the main context gets
/// the Claim. `Ended`: the interrupt has ended it.
class Completion {
 public:
  enum class State : std::uint32_t { in_flight, claimed, ended };

  /// Precondition: no I/O with this Completion is in flight.
  void reset() { state_.store(State::in_flight, std::memory_order_relaxed); }

  // The interrupt's side. Release: the main context sees the claim, the status, and the data.

  void hand_over(void* claim, blkown::Status status) {
    claim_ = claim;
    status_ = status;
    state_.store(State::claimed, std::memory_order_release);
  }
  void end(blkown::Status status) {
    status_ = status;
    state_.store(State::ended, std::memory_order_release);
  }

  // The main context's side.

  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  /// Precondition: state() has not returned in_flight.
  [[nodiscard]] blkown::Status status() const { return status_; }
  /// The Claim, as into_raw() gave it away.
  /// Precondition: state() has returned claimed.
  [[nodiscard]] void* claim() const { return claim_; }

 private:
  std::atomic<State> state_{State::ended};
  void* claim_ = nullptr;
  blkown::Status status_{};
};

}  // namespace kernel

#endif
