// SPDX-License-Identifier: BSL-1.0
//
// CallGate: admits calls of any thread to an object until the gate is closed.

#ifndef BLKOWN_MQ_DETAIL_CALL_GATE_HPP
#define BLKOWN_MQ_DETAIL_CALL_GATE_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Counts the calls that are inside, and refuses new ones after close(). A caller that is refused
/// changes nothing.
/// Context: any thread; interrupt safe.
class CallGate {
 public:
  /// Enters a call. Returns false if the gate is closed.
  [[nodiscard]] bool enter() noexcept {
    // n -> n+2 if the gate is open. Relaxed, on success and on failure: the gate hands nothing to
    // the caller. The caller's writes are released by leave().
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    do {
      if ((seen & closed) != 0) return false;
    } while (!state_.compare_exchange_weak(seen, seen + one_call, std::memory_order_relaxed,
                                           std::memory_order_relaxed));
    return true;
  }
  /// Ends a call.
  void leave() noexcept {
    // n -> n-2. Release: is_empty sees the call's writes.
    state_.fetch_sub(one_call, std::memory_order_release);
  }
  /// Refuses all further calls.
  void close() noexcept {
    // n -> n|1. Relaxed: a refused call reads nothing.
    state_.fetch_or(closed, std::memory_order_relaxed);
  }
  /// Whether the gate is closed, for calls that are not counted.
  [[nodiscard]] bool is_closed() const noexcept {
    // No transition. Partner: close. Relaxed: as in close; the answer may be out of date.
    return (state_.load(std::memory_order_relaxed) & closed) != 0;
  }
  /// Whether no call is inside.
  /// Synchronization: the calls that were inside happen before a return of true.
  [[nodiscard]] bool is_empty() const noexcept {
    // No transition. Acquire: partner is leave.
    return (state_.load(std::memory_order_acquire) & ~closed) == 0;
  }

 private:
  static constexpr std::uint32_t closed = 1;
  static constexpr std::uint32_t one_call = 2;

  Atomic<std::uint32_t> state_{0};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
