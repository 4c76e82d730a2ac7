// SPDX-License-Identifier: BSL-1.0
//
// The channel by which requests get back to the context that submitted them.

#ifndef BLKOWN_MQ_DETAIL_REQUEST_STACK_HPP
#define BLKOWN_MQ_DETAIL_REQUEST_STACK_HPP

#include <blkown/config.hpp>
#include <blkown/request.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Requests from any number of contexts for one: linked through the requests themselves, no
/// allocation, and no lock, so that an interrupt may push (blk-mq's per-CPU completion list).
/// It holds bare pointers; whoever pushes gives up the handle, whoever takes makes it anew.
template <class R>
class RequestStack {
 public:
  RequestStack() = default;
  RequestStack(const RequestStack&) = delete;
  RequestStack& operator=(const RequestStack&) = delete;

  /// Any context, interrupts included. True if the stack was empty: then the taker has to be told.
  /// Synchronization: releases what was done to the request, for take_all.
  [[nodiscard]] bool push(R& request) noexcept {
    // No transition. Relaxed: a guess for the exchange below, which looks again.
    R* top = top_.load(std::memory_order_relaxed);
    do {
      next_of(request) = top;
      // top -> request. Partner: take_all. Release: the taker sees the outcome, the data and the
      // link. What lies below was released by its own push, whose release sequence this
      // read-modify-write continues. Relaxed on failure: nothing is read through `top`.
    } while (!top_.compare_exchange_weak(top, &request, std::memory_order_release,
                                         std::memory_order_relaxed));
    return top == nullptr;
  }

  [[nodiscard]] bool empty() const noexcept {
    // No transition. Relaxed: whoever finds the stack empty when pushing tells the taker, so what
    // is missed here is not missed for long.
    return top_.load(std::memory_order_relaxed) == nullptr;
  }

  /// Takes all that was pushed so far, linked as a ring in the order in which it was pushed.
  /// Returns the last one, behind which comes the first; null if there is none. The taking context
  /// only. Synchronization: acquires what the pushers did.
  [[nodiscard]] R* take_all() noexcept {
    if (empty()) return nullptr;
    // top -> null. Partner: push. Acquire: outcome, data and links of all that is in it.
    R* const last = top_.exchange(nullptr, std::memory_order_acquire);
    R* behind = nullptr;
    for (R* request = last; request != nullptr;) {
      R* const below = static_cast<R*>(std::exchange(next_of(*request), behind));
      behind = request;
      request = below;
    }
    next_of(*last) = behind;
    return last;
  }

  /// The one behind it in its ring.
  [[nodiscard]] static R* behind(R& request) noexcept { return static_cast<R*>(next_of(request)); }

 private:
  [[nodiscard]] static void*& next_of(R& request) noexcept {
    return blkown::detail::HeaderAccess::next(blkown::detail::header_of(request));
  }

  Atomic<R*> top_{nullptr};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
