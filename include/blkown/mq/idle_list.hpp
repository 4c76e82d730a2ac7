// SPDX-License-Identifier: BSL-1.0
//
// IdleList: the requests of one batch, the argument of a driver's queue_rqs.

#ifndef BLKOWN_MQ_IDLE_LIST_HPP
#define BLKOWN_MQ_IDLE_LIST_HPP

#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/idle.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/tracking.hpp>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Idle requests in the order in which the driver should issue them, linked through the requests,
/// so that no allocation is needed. Dropping a list drops each Idle, which fails its I/O and
/// reports.
/// Synchronization: none. One context uses a list at a time.
/// Source: the kernel's rq_list.
template <class R>
class [[nodiscard]] IdleList {
 public:
  IdleList() = default;
  IdleList(IdleList&&) = default;
  IdleList& operator=(IdleList&& other) noexcept {
    IdleList taken{std::move(other)};
    requests_.swap(taken.requests_);
    return *this;
  }
  ~IdleList() {
    while (pop_front()) {
    }
  }

  /// Whether the list has no request.
  [[nodiscard]] bool empty() const noexcept { return requests_.empty(); }

  /// Adds a request behind the last.
  /// Violation: use_of_moved_from, if `idle` is empty.
  [[gnu::always_inline]] void push_back(BLKOWN_HELD Idle<R>&& idle,
                                        Place where = Place::current()) noexcept {
    requests_.push_back(blkown::detail::held(blkown::detail::HandleAccess::take(idle),
                                             "mq::IdleList::push_back", where));
  }

  /// Adds a request before the first, such as one that the device had no room for.
  /// Violation: use_of_moved_from, if `idle` is empty.
  void push_front(BLKOWN_HELD Idle<R>&& idle, Place where = Place::current()) noexcept {
    requests_.push_front(blkown::detail::held(blkown::detail::HandleAccess::take(idle),
                                              "mq::IdleList::push_front", where));
  }

  /// Removes and returns the first request, or none.
  [[nodiscard]] std::optional<Idle<R>> pop_front(TrackedPlace where = Place::current()) noexcept {
    R* const request = requests_.pop_front();
    if (request == nullptr) return std::nullopt;
    return blkown::detail::HandleAccess::make<Idle>(*request, where);
  }

 private:
  blkown::detail::Ring<R, blkown::detail::RequestLink<R>> requests_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
