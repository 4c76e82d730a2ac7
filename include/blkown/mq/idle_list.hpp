// SPDX-License-Identifier: BSL-1.0
//
// Requests handed over together: the argument of a driver's queue_rqs.

#ifndef BLKOWN_MQ_IDLE_LIST_HPP
#define BLKOWN_MQ_IDLE_LIST_HPP

#include <blkown/idle.hpp>
#include <blkown/request.hpp>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Idle requests in the order in which they are to be issued, linked through the requests
/// themselves: no allocation. One context uses a list at a time. A list dropped with requests in it
/// drops each Idle, which fails the I/O and reports. (The kernel's rq_list.)
template <class R>
class [[nodiscard]] IdleList {
 public:
  IdleList() = default;
  IdleList(IdleList&& other) noexcept
      : first_{std::exchange(other.first_, nullptr)}, last_{std::exchange(other.last_, nullptr)} {}
  IdleList& operator=(IdleList&& other) noexcept {
    IdleList taken{std::move(other)};
    std::swap(first_, taken.first_);
    std::swap(last_, taken.last_);
    return *this;
  }
  ~IdleList() {
    while (pop_front()) {
    }
  }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

  void push_back(BLKOWN_HELD Idle<R>&& idle, Place where = Place::current()) noexcept {
    R& request = blkown::detail::held(blkown::detail::HandleAccess::take(idle),
                                      "mq::IdleList::push_back", where);
    next_of(request) = nullptr;
    if (last_ == nullptr) {
      first_ = &request;
    } else {
      next_of(*last_) = &request;
    }
    last_ = &request;
  }

  /// For what the device could not take after all: it stays the next one.
  void push_front(BLKOWN_HELD Idle<R>&& idle, Place where = Place::current()) noexcept {
    R& request = blkown::detail::held(blkown::detail::HandleAccess::take(idle),
                                      "mq::IdleList::push_front", where);
    next_of(request) = first_;
    first_ = &request;
    if (last_ == nullptr) last_ = &request;
  }

  /// The oldest, or none.
  [[nodiscard]] std::optional<Idle<R>> pop_front() noexcept {
    if (first_ == nullptr) return std::nullopt;
    R& request = *first_;
    first_ = static_cast<R*>(next_of(request));
    if (first_ == nullptr) last_ = nullptr;
    return blkown::detail::HandleAccess::make<Idle>(request);
  }

 private:
  [[nodiscard]] static void*& next_of(R& request) noexcept {
    return blkown::detail::HeaderAccess::next(blkown::detail::header_of(request));
  }

  R* first_ = nullptr;
  R* last_ = nullptr;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
