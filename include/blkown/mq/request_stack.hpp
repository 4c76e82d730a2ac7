// SPDX-License-Identifier: BSL-1.0
//
// The channel by which requests get back to the context that submitted them.

#ifndef BLKOWN_MQ_REQUEST_STACK_HPP
#define BLKOWN_MQ_REQUEST_STACK_HPP

#include <blkown/config.hpp>
#include <blkown/request.hpp>
#include <utility>

namespace blkown::inline BLKOWN_ABI::mq::internal {

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

  /// Requests linked in the order in which they were pushed; behind the last one is none.
  struct Chain {
    R* first = nullptr;
    R* last = nullptr;
  };

  /// Takes all that was pushed so far. The taking context only.
  /// Synchronization: acquires what the pushers did.
  [[nodiscard]] Chain take_all() noexcept {
    if (empty()) return {};
    // top -> null. Partner: push. Acquire: outcome, data and links of all that is in it.
    R* request = top_.exchange(nullptr, std::memory_order_acquire);
    Chain chain{.first = nullptr, .last = request};
    while (request != nullptr) {
      R* const below = static_cast<R*>(std::exchange(next_of(*request), chain.first));
      chain.first = request;
      request = below;
    }
    return chain;
  }

  /// The one behind it in its chain, or null.
  [[nodiscard]] static R* behind(R& request) noexcept { return static_cast<R*>(next_of(request)); }

 private:
  [[nodiscard]] static void*& next_of(R& request) noexcept {
    return blkown::detail::HeaderAccess::next(blkown::detail::header_of(request));
  }

  Atomic<R*> top_{nullptr};
};

}  // namespace blkown::inline BLKOWN_ABI::mq::internal

#endif
