// SPDX-License-Identifier: BSL-1.0
//
// A hardware queue, as its driver sees it.

#ifndef BLKOWN_MQ_HW_QUEUE_HPP
#define BLKOWN_MQ_HW_QUEUE_HPP

#include <array>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/tag_set.hpp>
#include <expected>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One hardware queue of a disk (blk-mq's hctx): the driver's data for it, and the lookups for what
/// arrives on it. It lives as long as its disk.
template <class D>
class HwQueue {
 public:
  using R = Request<D>;

  HwQueue(Disk<D>& disk, TagPool<D>& pool, std::uint32_t index, std::uint32_t tag_queue,
          QueueType type)
      : disk_{disk}, pool_{pool}, index_{index}, tag_queue_{tag_queue}, type_{type} {}
  HwQueue(const HwQueue&) = delete;
  HwQueue& operator=(const HwQueue&) = delete;

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] QueueType type() const noexcept { return type_; }
  [[nodiscard]] Disk<D>& disk() const noexcept { return disk_; }
  /// The queue of the TagSet that its requests come from; index(), unless tags are shared.
  [[nodiscard]] std::uint32_t tag_queue() const noexcept { return tag_queue_; }

  // --- what the device sends; any context, interrupts included ----------------------------------

  /// The right to the I/O that `value`, which arrived on this queue, names: TagSet::claim, with a
  /// refusal counted under its reason.
  /// An interrupt or a signal that preempts a context's own thread gives what it claims to
  /// complete(): ending it there would touch the lists that the thread is in the middle of.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim(std::uint64_t value) noexcept {
    return counted(value, pool_.tags().claim(tag_queue_, value));
  }
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq(
      std::uint64_t value, TrackedPlace where = Place::current()) noexcept {
    return counted(value, pool_.tags().tag_to_rq(tag_queue_, value, where));
  }
  [[nodiscard]] std::expected<Owned<R>, LookupError> tag_to_owned(std::uint64_t value) noexcept {
    return counted(value, pool_.tags().tag_to_owned(tag_queue_, value));
  }

  /// Lets the context that submitted the I/O finish it: the driver's complete() is called there
  /// with the Claim (blk_mq_complete_request). No allocation, no lock.
  void complete(BLKOWN_HELD Claim<R>&& claim) noexcept {
    detail::SubmitQueue<D>* const submitter = detail::PayloadAccess<D>::submitter(claim.data());
    submitter->take_completed(std::move(claim));
  }

  /// Calls `visit(ARef, Cookie)` for each of this disk's I/Os in flight on this queue.
  template <class Visit>
  void for_each_in_flight(Visit visit, Place where = Place::current());

  // --- flow control; any context ----------------------------------------------------------------

  /// No request is issued on this queue until start(): the device's ring is full. What queue_rq has
  /// been called with is not touched; a queue_rq that runs elsewhere may still go on (use
  /// Disk::quiesce to wait for it).
  void stop() noexcept { stopped_.set(true); }
  /// Issues again what has waited.
  void start() noexcept;
  [[nodiscard]] bool is_stopped() const noexcept { return stopped_.is_set(); }

  /// The driver's own; made with the disk.
  typename D::HwData data{};

 private:
  friend class Disk<D>;

  template <class Handle>
  [[nodiscard]] std::expected<Handle, LookupError> counted(
      std::uint64_t value, std::expected<Handle, LookupError> found) noexcept {
    const TraceSink& sink = disk_.trace_sink();
    if (sink.function != nullptr) [[unlikely]] {
      TraceEvent event;
      event.step = TraceStep::looked_up;
      event.queue = index_;
      event.value = value;
      if (!found.has_value()) event.reason = found.error().reason;
      detail::tell(sink, event);
    }
    if (!found.has_value()) [[unlikely]] {
      rejected_[static_cast<std::size_t>(found.error().reason)].add();
    }
    return found;
  }

  void add_to(Counters& sum) const noexcept {
    for (std::size_t i = 0; i != lookup_reason_count; ++i) {
      sum.rejected_lookups[i] += rejected_[i].read();
    }
  }

  Disk<D>& disk_;
  TagPool<D>& pool_;
  std::uint32_t index_;
  std::uint32_t tag_queue_;
  QueueType type_;
  // Looked at before every request, changed seldom.
  alignas(cache_line_bytes) detail::RelaxedFlag stopped_;
  alignas(cache_line_bytes) std::array<detail::RelaxedCounter, lookup_reason_count> rejected_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
