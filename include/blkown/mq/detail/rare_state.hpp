// SPDX-License-Identifier: BSL-1.0
//
// RareState: what the block layer keeps of a request that is no plain read or write, or whose
// sector the driver has set.

#ifndef BLKOWN_MQ_DETAIL_RARE_STATE_HPP
#define BLKOWN_MQ_DETAIL_RARE_STATE_HPP

#include <blkown/config.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

template <class D>
class Payload;

namespace detail {

/// The part of a request's state that a read or a write of one request does not use, unless the
/// driver sets its sector. It lies beside the requests, not in them, because processors also fetch
/// the lines between those that are used.
/// Synchronization: that of the request. Its holder has the use of it.
template <class D>
struct RareState {
  std::uint64_t rest_bytes = 0;  // of a request with has_rest: the length of the rest
  union {
    OnEnd<Payload<D>> on_private_end{};  // of a private request
    std::uint64_t bio_sector;            // of a request that is_remapped: the sector before
  };
  std::uint32_t timeout_ms = 0;  // of a private request; 0: the disk's

  /// Sets the end callback of a private request.
  void set_private_end(OnEnd<Payload<D>> on_end) noexcept {
    std::construct_at(&on_private_end, on_end);
  }
};

/// A RareState for each request of a TagSet.
template <class D>
class RareStates {
 public:
  /// May fail to allocate; see is_allocated().
  RareStates(std::uint32_t queue_count, std::uint32_t depth)
      : depth_{depth}, states_{new(std::nothrow) RareState<D>[std::size_t{queue_count} * depth]} {}

  [[nodiscard]] bool is_allocated() const noexcept { return states_ != nullptr; }
  [[nodiscard]] RareState<D>& of(QueueIndex queue, Tag tag) const noexcept {
    return states_[std::size_t{queue.value} * depth_ + tag.value];
  }

 private:
  std::uint32_t depth_;
  std::unique_ptr<RareState<D>[]> states_;
};

}  // namespace detail
}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
