// SPDX-License-Identifier: BSL-1.0
//
// Timers in the order in which they are due.

#ifndef BLKOWN_MQ_DETAIL_TIMER_QUEUE_HPP
#define BLKOWN_MQ_DETAIL_TIMER_QUEUE_HPP

#include <blkown/config.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The link by which a timer is queued: a node of a pairing heap.
struct TimerLink {
  std::uint64_t deadline_ns = 0;
  std::uint64_t number = 0;        // of two that are due at once, the one armed first
  TimerLink* child = nullptr;      // the first of those that are due later
  TimerLink* sibling = nullptr;    // the next child of the same parent
  TimerLink** incoming = nullptr;  // the pointer that leads here; null: not queued

  [[nodiscard]] bool is_queued() const noexcept { return incoming != nullptr; }
  [[nodiscard]] bool is_before(const TimerLink& other) const noexcept {
    return deadline_ns != other.deadline_ns ? deadline_ns < other.deadline_ns
                                            : number < other.number;
  }
};

/// A pairing heap, linked through the timers: no allocation; adding is constant, removing any of n
/// is log n on average. The caller keeps one context at a time in it.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  /// The one due first, or null.
  [[nodiscard]] TimerLink* first() const noexcept { return root_; }

  /// Precondition: it is not queued.
  void add(TimerLink& link, std::uint64_t deadline_ns) noexcept {
    link.deadline_ns = deadline_ns;
    link.number = next_number_++;
    link.child = nullptr;
    link.sibling = nullptr;
    set_root(merged(root_, &link));
  }

  /// Precondition: it is queued here.
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

  /// Two heaps in one: the later root becomes the earlier one's first child.
  [[nodiscard]] static TimerLink* merged(TimerLink* a, TimerLink* b) noexcept {
    if (a == nullptr) return b;
    if (b == nullptr) return a;
    if (b->is_before(*a)) std::swap(a, b);
    set(b->sibling, a->child);
    set(a->child, b);
    return a;
  }

  /// The children of a removed node as one heap: merged in pairs, then the pairs from the back.
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

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
