// SPDX-License-Identifier: BSL-1.0
//
// The queue of a context's armed timers, ordered by deadline.

#ifndef BLKOWN_MQ_DETAIL_TIMER_QUEUE_HPP
#define BLKOWN_MQ_DETAIL_TIMER_QUEUE_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>
#include <mutex>
#include <utility>

// The model tests replace the mutex of a context's timers, as they replace the atomic.
#ifndef BLKOWN_MQ_TIMER_MUTEX
#define BLKOWN_MQ_TIMER_MUTEX std::mutex
#endif

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

class Context;

namespace detail {

/// Protects a context's timers.
using TimerMutex = BLKOWN_MQ_TIMER_MUTEX;

/// A timer's link in a TimerQueue: a node of a pairing heap.
struct TimerLink {
  std::uint64_t deadline_ns = 0;
  std::uint64_t number = 0;        // breaks ties: the timer that was added first is first
  TimerLink* child = nullptr;      // the first child; no child is due before its parent
  TimerLink* sibling = nullptr;    // the next child of the same parent
  TimerLink** incoming = nullptr;  // the pointer that leads here; null: not queued

  [[nodiscard]] bool is_queued() const noexcept { return incoming != nullptr; }
  [[nodiscard]] bool is_before(const TimerLink& other) const noexcept {
    return deadline_ns != other.deadline_ns ? deadline_ns < other.deadline_ns
                                            : number < other.number;
  }
};

struct TimerNode;

/// What the timers of one class have in common.
struct TimerKind {
  /// Called with the context's timers locked. Copies the fields of the node, disarms the node,
  /// unlocks, and calls the timer's function. After the disarm the node may be armed again, or
  /// destroyed.
  void (*fire)(TimerNode& node, std::unique_lock<TimerMutex>& lock);
  const char* name;  ///< For violations, with an article.
};

/// A queued timer, as its context sees it.
struct TimerNode : TimerLink {
  using Lock = std::unique_lock<TimerMutex>;

  explicit TimerNode(const TimerKind& its_kind) noexcept : kind{its_kind} {}

  /// The last access to the node by the thread that fires or cancels the timer.
  /// Precondition: the mutex of the context that the timer is armed on is held.
  void disarm() noexcept {
    // context -> null. Partners: arm_node's exchange, cancel_node's first load. Release: this
    // thread's accesses to the node come before those of a thread that arms or destroys the timer.
    // That thread may hold the mutex of another context, or none.
    armed_on.store(nullptr, std::memory_order_release);
  }

  const TimerKind& kind;
  Atomic<Context*> armed_on{nullptr};  ///< The context whose queue holds the timer, or null.
};

/// A pairing heap, linked through the timers, so that no allocation is needed. Adding takes
/// constant time. Removing any of n timers takes log n amortized.
/// Synchronization: none. The caller serializes all calls.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  /// The link with the earliest deadline, or null.
  [[nodiscard]] TimerLink* first() const noexcept { return root_; }

  /// Precondition: the link is not queued.
  void add(TimerLink& link, std::uint64_t deadline_ns) noexcept {
    link.deadline_ns = deadline_ns;
    link.number = next_number_++;
    link.child = nullptr;
    link.sibling = nullptr;
    set_root(merged(root_, &link));
  }

  /// Precondition: the link is queued here.
  void remove(TimerLink& link) noexcept {
    TimerLink* const below = paired(std::exchange(link.child, nullptr));
    if (&link == root_) {
      set_root(below);
    } else {
      set(*link.incoming, std::exchange(link.sibling, nullptr));
      set_root(merged(root_, below));
    }
    link.incoming = nullptr;
  }

 private:
  static void set(TimerLink*& place, TimerLink* link) noexcept {
    place = link;
    if (link != nullptr) link->incoming = &place;
  }
  void set_root(TimerLink* link) noexcept { set(root_, link); }

  /// Merges two heaps: the root with the later deadline becomes the first child of the other root.
  [[nodiscard]] static TimerLink* merged(TimerLink* a, TimerLink* b) noexcept {
    if (a == nullptr) return b;
    if (b == nullptr) return a;
    if (b->is_before(*a)) std::swap(a, b);
    set(b->sibling, a->child);
    set(a->child, b);
    return a;
  }

  /// Merges the children of a removed node into one heap: in pairs from the front, then the pairs
  /// from the back. The amortized bound depends on this order.
  [[nodiscard]] static TimerLink* paired(TimerLink* list) noexcept {
    TimerLink* pairs = nullptr;
    while (list != nullptr) {
      TimerLink* const a = list;
      TimerLink* const b = std::exchange(a->sibling, nullptr);
      list = b == nullptr ? nullptr : std::exchange(b->sibling, nullptr);
      TimerLink* const pair = merged(a, b);
      pair->sibling = std::exchange(pairs, pair);
    }
    TimerLink* all = nullptr;
    while (pairs != nullptr) {
      TimerLink* const pair = pairs;
      pairs = std::exchange(pair->sibling, nullptr);
      all = merged(all, pair);
    }
    return all;
  }

  TimerLink* root_ = nullptr;
  std::uint64_t next_number_ = 0;
};

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
