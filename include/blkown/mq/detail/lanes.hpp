// SPDX-License-Identifier: BSL-1.0
//
// A context's ways to a disk's hardware queues: one lane for each queue that it uses.

#ifndef BLKOWN_MQ_DETAIL_LANES_HPP
#define BLKOWN_MQ_DETAIL_LANES_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One context's. Types that go to the same hardware queue share a lane.
template <class D>
class Lanes {
 public:
  Lanes(Context& context, Work& wake, Work& company)
      : lanes_{Lane<D>{context, wake, company}, Lane<D>{context, wake, company},
               Lane<D>{context, wake, company}} {}

  [[nodiscard]] Lane<D>& of(QueueType type) noexcept {
    return lanes_[lane_of_type_[static_cast<unsigned>(type)]];
  }
  [[nodiscard]] Lane<D>& of(const Bio& bio) noexcept {
    if (bio.flags().polled) return of(QueueType::poll);
    return of(bio.op() == Op::read ? QueueType::read : QueueType::normal);
  }
  [[nodiscard]] Lane<D>& of(const Payload<D>& payload) noexcept {
    const HwQueue<D>* const hw = &payload.hw_queue();
    unsigned i = 0;
    while (lanes_[i].hw != hw) ++i;
    return lanes_[i];
  }

  /// `visit(Lane<D>&)` for each that is in use.
  template <class Visit>
  void for_each(Visit visit) {
    for (Lane<D>& lane : lanes_) {
      if (lane.hw != nullptr) visit(lane);
    }
  }

  /// Where the types' bios go from now on. Precondition: nothing is out.
  void map(const QueueMap<D>& queues, TagPool<D>& pool) noexcept {
    BioList waiting;
    for (Lane<D>& lane : lanes_) {
      waiting.append(lane.waiting);
      lane.detach(pool);
    }
    for (unsigned type = 0; type != queue_type_count; ++type) {
      unsigned same = 0;
      while (queues[same] != queues[type]) ++same;
      lane_of_type_[type] = same;
      if (same == type) lanes_[type].attach(pool, *queues[type]);
    }
    if (is_in_use_) begin_use(pool);
    while (Bio* const bio = waiting.pop_front()) of(*bio).waiting.push_back(*bio);
  }
  /// Tags are going to be asked for. On the context.
  void begin_use(TagPool<D>& pool) noexcept {
    is_in_use_ = true;
    for (Lane<D>& lane : lanes_) lane.enter(pool);
  }
  [[nodiscard]] bool are_in_use() const noexcept { return is_in_use_; }
  void detach(TagPool<D>& pool) noexcept {
    for (Lane<D>& lane : lanes_) lane.detach(pool);
  }

  /// Whether another lane draws from the tags of one of these.
  [[nodiscard]] bool has_company(TagPool<D>& pool) const noexcept {
    bool is_found = false;
    for (const Lane<D>& lane : lanes_) is_found = is_found || lane.has_company(pool);
    return is_found;
  }

  /// The context goes idle: what nobody else could reach goes back.
  void go_idle(TagPool<D>& pool) noexcept {
    for_each([&](Lane<D>& lane) { lane.go_idle(pool); });
  }

  /// Requeued requests that were held back are let go.
  void kick() noexcept {
    for (Lane<D>& lane : lanes_) lane.requeued.append(std::move(lane.held));
  }
  /// A driver that was busy may be asked again.
  void try_again() noexcept {
    for (Lane<D>& lane : lanes_) lane.is_busy = false;
  }
  [[nodiscard]] bool is_any_busy() const noexcept {
    return lanes_[0].is_busy || lanes_[1].is_busy || lanes_[2].is_busy;
  }

 private:
  std::array<Lane<D>, queue_type_count> lanes_;
  std::array<unsigned, queue_type_count> lane_of_type_{};
  bool is_in_use_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
