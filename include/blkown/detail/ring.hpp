// SPDX-License-Identifier: BSL-1.0
//
// Ring: an ordered list, linked through its elements.

#ifndef BLKOWN_DETAIL_RING_HPP
#define BLKOWN_DETAIL_RING_HPP

#include <blkown/config.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// Elements in order, in a ring that is linked through the elements: no allocation. A ring does not
/// own its elements. `Link` has `static T* next(T&)` and `static void set_next(T&, T*)`.
/// Synchronization: none. One context uses a ring at a time.
template <class T, class Link>
class Ring {
 public:
  Ring() = default;
  Ring(Ring&& other) noexcept : last_{std::exchange(other.last_, nullptr)} {}
  Ring& operator=(Ring&&) = delete;

  /// The ring of elements that are linked already: `last` links to the first element.
  [[nodiscard]] static Ring ending_with(T& last) noexcept {
    Ring ring;
    ring.last_ = &last;
    return ring;
  }

  [[nodiscard]] bool empty() const noexcept { return last_ == nullptr; }
  /// The first element, or null.
  [[nodiscard]] T* front() const noexcept {
    return last_ == nullptr ? nullptr : Link::next(*last_);
  }

  /// The last element, or null.
  [[nodiscard]] T* back() const noexcept { return last_; }

  void push_front(T& element) noexcept {
    if (last_ == nullptr) {
      Link::set_next(element, &element);
      last_ = &element;
    } else {
      Link::set_next(element, Link::next(*last_));
      Link::set_next(*last_, &element);
    }
  }
  void push_back(T& element) noexcept {
    push_front(element);
    last_ = &element;
  }

  /// Removes and returns the first element, or null.
  [[nodiscard]] T* pop_front() noexcept {
    if (last_ == nullptr) return nullptr;
    T* const first = Link::next(*last_);
    if (first == last_) {
      last_ = nullptr;
    } else {
      Link::set_next(*last_, Link::next(*first));
    }
    return first;
  }

  /// Takes all elements, and calls `visit(T&)` for each, which may give the element away. Elements
  /// that `visit` adds to the ring stay in it, and are not visited.
  template <class Visit>
  void take_each(Visit visit) noexcept {
    T* const last = std::exchange(last_, nullptr);
    if (last == nullptr) return;
    for (T* element = Link::next(*last);;) {
      const bool is_last = element == last;
      T* const next = Link::next(*element);
      visit(*element);
      if (is_last) return;
      element = next;
    }
  }

  /// Moves all elements of `other` behind this ring's last.
  void append(Ring& other) noexcept {
    if (this == &other || other.last_ == nullptr) return;
    T* const last = std::exchange(other.last_, nullptr);
    if (last_ != nullptr) {
      T* const first = Link::next(*last_);
      Link::set_next(*last_, Link::next(*last));
      Link::set_next(*last, first);
    }
    last_ = last;
  }

  void swap(Ring& other) noexcept { std::swap(last_, other.last_); }

 private:
  // The last element, which links to the first. One pointer, not two: compilers write a pair of
  // pointers with one vector instruction, and a processor may be slow to read half of it back.
  T* last_ = nullptr;
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
