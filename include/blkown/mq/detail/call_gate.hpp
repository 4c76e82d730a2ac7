// SPDX-License-Identifier: BSL-1.0
//
// CallGate: admits calls of any thread to an object between open() and close().

#ifndef BLKOWN_MQ_DETAIL_CALL_GATE_HPP
#define BLKOWN_MQ_DETAIL_CALL_GATE_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Counts the calls that are inside, and refuses others before open() and after close().
/// Context: any thread; interrupt safe.
class CallGate {
 public:
  /// Enters a call. Returns false if the gate is closed.
  /// Synchronization: what is done before open() happens before a return of true. What is done
  /// before a call that is refused because the gate is not open yet happens before open() returns.
  [[nodiscard]] bool enter() noexcept {
    // n -> n+2 if the gate is open. Acquire on success: partner is open. Relaxed on failure: the
    // value is only tried again.
    std::uint32_t seen = state_.load(std::memory_order_relaxed);
    do {
      if ((seen & closed) != 0 && is_refused(seen)) return false;
    } while (!state_.compare_exchange_weak(seen, seen + one_call, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    return true;
  }
  /// Admits calls.
  /// Precondition: neither open() nor close() was called before.
  void open() noexcept {
    // 1 -> 0. Release: partner is enter. Acquire: partner is the refusal of an earlier call.
    state_.fetch_and(~closed, std::memory_order_acq_rel);
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

  /// Whether the gate is closed still, now that open() has been told of the call.
  [[nodiscard]] bool is_refused(std::uint32_t& seen) noexcept {
    // n -> n. Release: partner is open, which comes later if the gate is not open yet. A load would
    // let open() return without the caller's writes.
    seen = state_.fetch_or(0, std::memory_order_release);
    return (seen & closed) != 0;
  }

  Atomic<std::uint32_t> state_{closed};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
