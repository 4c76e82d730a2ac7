// SPDX-License-Identifier: BSL-1.0
//
// The order in which the waiting requests of a lane are issued again.

#ifndef BLKOWN_MQ_DETAIL_ISSUE_ORDER_HPP
#define BLKOWN_MQ_DETAIL_ISSUE_ORDER_HPP

#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/request.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Whether request `a` is issued again before request `b`: private requests come first, and then
/// each request in the order of its first issue.
/// Precondition: the requests belong to one context.
template <class D>
[[nodiscard]] bool is_before(const PayloadState<D>& a, const PayloadState<D>& b) noexcept {
  if ((a.bio == nullptr) != (b.bio == nullptr)) return a.bio == nullptr;
  // Numbers wrap around. A negative difference is above half of a Word.
  return static_cast<Word>(a.sequence - b.sequence) > ~Word{0} / 2;
}

/// Inserts a request in its place. The cost is constant if the place is the first or the last.
template <class D>
void insert_in_order(EndedList<Request<D>>& list, Ended<Request<D>>&& ended) noexcept {
  using R = Request<D>;
  auto& requests = blkown::detail::HandleAccess::requests(list);
  R& request = *blkown::detail::HandleAccess::take(ended);
  const auto state = [](R& of) -> PayloadState<D>& { return state_of(RequestTraits<R>::data(of)); };
  const PayloadState<D>& own = state(request);
  if (requests.empty() || !is_before(own, state(*requests.back()))) {
    return requests.push_back(request);
  }
  EndedList<R> before;
  auto& passed = blkown::detail::HandleAccess::requests(before);
  while (!is_before(own, state(*requests.front()))) passed.push_back(*requests.pop_front());
  requests.push_front(request);
  passed.append(requests);
  requests.swap(passed);
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
