// SPDX-License-Identifier: BSL-1.0
//
// RequestStack: the channel by which requests return to the context that submitted them.
//
// Parties: any number of pushers (other contexts, interrupts, threads that drop a last handle); one
// taking context.
//
//   push      the pusher gives up its handle, and links the request on top with a compare-exchange.
//             The pusher that found the stack empty posts the taking context's work. The others
//             rely on that post.
//   push      of a run: a pusher links several requests before it pushes them by one exchange.
//   take_all  the taker takes the whole stack with one exchange, and gets its requests as a ring,
//             oldest first. The taker makes the handles again.
//
// Guarantees: each request is taken once, with its pusher's writes. A push to an empty stack is
// followed by a take. The stack holds plain pointers and is destroyed empty.
// Source: blk-mq's per-CPU completion list.

#ifndef BLKOWN_MQ_DETAIL_REQUEST_STACK_HPP
#define BLKOWN_MQ_DETAIL_REQUEST_STACK_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/request.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// A stack to which any thread pushes requests, and from which one context takes them.
template <class R>
class RequestStack {
 public:
  using Requests = blkown::detail::Ring<R, blkown::detail::RequestLink<R>>;

  RequestStack() = default;
  RequestStack(const RequestStack&) = delete;
  RequestStack& operator=(const RequestStack&) = delete;

  /// Pushes a request. Returns true if the stack was empty: then the caller must post the taker's
  /// work.
  /// Synchronization: the caller's writes to the request happen before take_all() returns it.
  /// Context: any, interrupts included. No allocation, no lock.
  [[nodiscard]] bool push(R& request) noexcept { return push_linked(request, request); }

  /// Requests that one thread pushes together.
  class Run {
   public:
    [[nodiscard]] bool empty() const noexcept { return newest_ == nullptr; }
    void add(R& request) noexcept {
      if (newest_ == nullptr) {
        oldest_ = &request;
      } else {
        Link::set_next(request, newest_);
      }
      newest_ = &request;
    }

   private:
    friend class RequestStack;

    R* newest_ = nullptr;
    R* oldest_ = nullptr;  // meaningful only if newest_ is not null
  };
  /// Pushes a run of requests, as if each were pushed in the order of their add().
  /// Precondition: the run is not empty. It is not used afterwards.
  /// Synchronization, Context: as push() of one.
  [[nodiscard]] bool push(const Run& run) noexcept {
    return push_linked(*run.newest_, *run.oldest_);
  }

  [[nodiscard]] bool empty() const noexcept {
    // No transition. Relaxed: a push to an empty stack is followed by a post, whose run looks
    // again. The taker's look before it passes a Claim locally orders that Claim behind those that
    // its own thread, interrupts included, has pushed, or a thread whose push happens before the
    // look.
    return top_.load(std::memory_order_relaxed) == nullptr;
  }

  /// Takes all requests, in the order in which they were pushed.
  /// Synchronization: acquires the pushers' writes.
  /// Context: the taking context only.
  [[nodiscard]] Requests take_all() noexcept {
    if (empty()) return {};
    const Chain taken = take_chain();
    Link::set_next(*taken.newest, taken.oldest);
    return Requests::ending_with(*taken.newest);
  }
  /// The same, and then calls `first()`, and `visit(R&)` for each. Requests that these push are not
  /// visited.
  template <class First, class Visit>
  void take_each(First first, Visit visit) noexcept {
    if (empty()) return first();
    R* const oldest = take_chain().oldest;
    first();
    for (R* request = oldest; request != nullptr;) {
      R* const next = Link::next(*request);  // the visit gives the link away
      visit(*request);
      request = next;
    }
  }

 private:
  using Link = blkown::detail::RequestLink<R>;

  /// Pushes the requests that are linked from the newest to the oldest.
  [[nodiscard, gnu::always_inline]] bool push_linked(R& newest, R& oldest) noexcept {
    // No transition. Relaxed: a first guess for the exchange below, which compares it.
    R* top = top_.load(std::memory_order_relaxed);
    do {
      Link::set_next(oldest, top);
      // top -> the newest. Partner: take_chain. Release: the outcomes, the data and the links. The
      // requests below were released by their own pushes, whose release sequences this
      // read-modify-write continues. Relaxed on failure: nothing is read through `top`.
    } while (!top_.compare_exchange_weak(top, &newest, std::memory_order_release,
                                         std::memory_order_relaxed));
    return top == nullptr;
  }

  /// Requests that are linked from the oldest to the newest, whose link is null.
  struct Chain {
    R* oldest;
    R* newest;
  };
  /// Precondition: not empty.
  [[nodiscard]] Chain take_chain() noexcept {
    // top -> null. Partner: push. Acquire: outcome, data and link of every request.
    R* const newest = top_.exchange(nullptr, std::memory_order_acquire);
    R* behind = nullptr;
    for (R* request = newest; request != nullptr;) {
      R* const below = Link::next(*request);
      Link::set_next(*request, behind);
      behind = request;
      request = below;
    }
    return {behind, newest};
  }

  Atomic<R*> top_{nullptr};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
