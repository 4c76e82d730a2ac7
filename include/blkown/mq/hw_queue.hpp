// SPDX-License-Identifier: BSL-1.0
//
// HwQueue: a hardware queue of a disk, for its driver.

#ifndef BLKOWN_MQ_HW_QUEUE_HPP
#define BLKOWN_MQ_HW_QUEUE_HPP

#include <array>
#include <blkown/aref.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/request_stack.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tracking.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One hardware queue of a disk: the driver's data for the queue, and the lookups of the ids that
/// the device sends on it. The queue lives as long as its disk.
/// Source: the kernel's blk_mq_hw_ctx.
template <class D>
class alignas(blkown::detail::line_pair_bytes) HwQueue {
 public:
  using R = Request<D>;

  /// Called by the disk.
  HwQueue(Disk<D>& disk, TagPool<D>& pool, QueueIndex index, QueueIndex tag_queue, QueueType type)
      : disk_{disk}, pool_{pool}, claims_{pool.tags(), tag_queue}, index_{index}, type_{type} {
    static_assert(alignof(HwQueue) % blkown::detail::line_pair_bytes == 0,
                  "two hardware queues never share a pair of lines");
  }
  HwQueue(const HwQueue&) = delete;
  HwQueue& operator=(const HwQueue&) = delete;

  /// The queue's index among the disk's hardware queues (Disk::hw_queue).
  [[nodiscard]] QueueIndex index() const noexcept { return index_; }
  /// The kind of bios that the queue serves.
  [[nodiscard]] QueueType type() const noexcept { return type_; }
  /// The disk that the queue belongs to.
  [[nodiscard]] Disk<D>& disk() const noexcept { return disk_; }
  /// The pool that the queue's requests come from, with the driver's data for all disks of the
  /// pool.
  [[nodiscard]] TagPool<D>& pool() const noexcept { return pool_; }
  /// The index of the TagSet's queue that this queue's requests come from: index(), or 0 if all
  /// queues share one set of tags.
  [[nodiscard]] QueueIndex tag_queue() const noexcept { return claims_.queue(); }

  // --- completions -------------------------------------------------------------------------------

  /// Claims the request that `value`, received on this queue, identifies. A refusal is counted
  /// under its reason in Disk::counters().
  /// Errors: those of TagSet::claim.
  /// Context: any thread; interrupt safe. An interrupt or signal handler that preempts a context's
  /// own thread must pass the Claim to complete(), not to complete_local(), and must not end it:
  /// the thread may be in the middle of changing the list that an end on that thread appends to.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim(
      std::uint64_t value, TrackedPlace where = Place::current()) noexcept {
    auto found = claims_.claim(value, where);
    note_lookup(value, found);
    return found;
  }
  /// Claims a batch of completions that were received on this queue: TagSet::claim_each, with a
  /// refusal counted under its reason.
  /// Context: as claim().
  template <class Visit>
  void claim_each(std::span<const std::uint64_t> values, Visit&& visit,
                  TrackedPlace where = Place::current()) {
    if constexpr (blkown::detail::IsClaimVisit<R, Visit>) {
      const auto counting = [&](std::size_t index, std::expected<Claim<R>, LookupError> found) {
        visit(index, counted(values[index], std::move(found)));
      };
      pool_.tags().claim_each(tag_queue(), values, counting, where);
    } else {
      pool_.tags().claim_each(tag_queue(), values, visit, where);  // says which form a visit has
    }
  }
  /// Pins the request that `value`, received on this queue, identifies. A refusal is counted.
  /// Errors: those of TagSet::tag_to_rq.
  /// Context: any thread; interrupt safe.
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq(
      std::uint64_t value, TrackedPlace where = Place::current()) noexcept {
    return counted(value, pool_.tags().tag_to_rq(tag_queue(), value, where));
  }
  /// Gets the Owned of the request that `value`, received on this queue, identifies. A refusal is
  /// counted.
  /// Errors: those of TagSet::tag_to_owned.
  /// Context: as claim().
  [[nodiscard]] std::expected<Owned<R>, LookupError> tag_to_owned(
      std::uint64_t value, TrackedPlace where = Place::current()) noexcept {
    return counted(value, pool_.tags().tag_to_owned(tag_queue(), value, where));
  }

  /// Passes the claim to the context that submitted the request. The driver's complete hook is
  /// called there with the claim, in the order of the calls. Allocates nothing and takes no lock,
  /// except in the runtime's wake hook.
  /// Context: any thread; interrupt safe if the runtime's wake hook is.
  /// Source: the kernel's blk_mq_complete_request.
  void complete(BLKOWN_HELD Claim<R>&& claim, Place where = Place::current()) noexcept {
    Submitter* const submitter = detail::state_of(claim.data(where)).submitter;
    submitter->take_completed(Submitter::bare_completed(std::move(claim)));
  }
  /// Passes the claim as complete() does, without an atomic operation if the caller runs the
  /// request's context. For hooks, works and timer functions. The hook complete is called in the
  /// next run of the disk's work. For a claim that the hook poll has passed, it is called before
  /// Disk::poll returns, except behind a claim that was given to complete(), and for a request of
  /// another disk of the pool: a poller must also run its context. Without a hook complete the
  /// request ends at once, on the caller's thread.
  /// Context: any thread; not interrupt safe, like the end of a request.
  [[gnu::always_inline]] void complete_local(BLKOWN_HELD Claim<R>&& claim,
                                             Place where = Place::current()) noexcept {
    Submitter* const submitter = detail::state_of(claim.data(where)).submitter;
    R& request = Submitter::bare_completed(std::move(claim));
    if (!submitter->take_completed_local(request)) [[unlikely]]
      submitter->take_completed(request);
  }

  /// Claims a batch of completions that were received on this queue, and passes each request on as
  /// complete() does: those of one context in a row together. `visit(std::size_t, const Claim<R>&)`
  /// is called before, for what the device says about the request. A refused value is counted under
  /// its reason and stops no other; `visit` is not called for it.
  /// Precondition: `visit` does not end the request, and does not throw.
  /// Context: as complete().
  /// Source: the kernel's io_comp_batch.
  template <class Visit>
  void complete_each(std::span<const std::uint64_t> values, Visit&& visit,
                     TrackedPlace where = Place::current()) {
    pass_each<false>(values, visit, where);
  }
  /// The same, with each request passed on as complete_local() does.
  /// Context: as complete_local().
  template <class Visit>
  void complete_each_local(std::span<const std::uint64_t> values, Visit&& visit,
                           TrackedPlace where = Place::current()) {
    pass_each<true>(values, visit, where);
  }

  /// Calls `visit(const ARef<R>&, const Cookie&)` for each of this disk's requests in flight on
  /// this queue.
  /// Context: any thread.
  template <class Visit>
  void for_each_in_flight(Visit visit, Place where = Place::current());

  // --- flow control ------------------------------------------------------------------------------

  /// Stops the queue, for example because the device's ring is full: queue_rq is not called until
  /// start(). stop() does not wait for a queue_rq that is running on another thread. Disk::quiesce
  /// waits for such calls. Issued requests are not affected.
  /// Context: any thread; interrupt safe.
  /// Source: the kernel's blk_mq_stop_hw_queue.
  void stop() noexcept { stopped_.set(true); }
  /// Starts the queue. The contexts issue the requests and bios that wait. A disk that is removed,
  /// or that Disk::create has not made yet, has none of either.
  /// Context: any thread; interrupt safe if the runtime's wake hook is.
  /// Source: the kernel's blk_mq_start_stopped_hw_queue.
  void start() noexcept;
  /// Whether the queue is stopped.
  [[nodiscard]] bool is_stopped() const noexcept { return stopped_.is_set(); }

  /// The driver's data. Constructed by Disk::create.
  typename D::HwData data{};

 private:
  friend class Disk<D>;
  using Submitter = detail::SubmitQueue<D>;

  template <bool is_local, class Visit>
  void pass_each(std::span<const std::uint64_t> values, Visit& visit, TrackedPlace where) {
    typename detail::RequestStack<R>::Run run;
    Submitter* submitter = nullptr;  // of the run
    const auto add = [&](std::size_t index, std::expected<Claim<R>, LookupError> claim) {
      if (!claim.has_value()) return;
      visit(index, std::as_const(*claim));
      Submitter* const its_own = detail::state_of(claim->data()).submitter;
      R& request = Submitter::bare_completed(*std::move(claim));
      if (is_local && its_own->take_completed_local(request)) return;
      if (its_own != submitter && !run.empty()) submitter->take_completed(std::exchange(run, {}));
      submitter = its_own;
      run.add(request);
    };
    claim_each(values, add, where);
    if (!run.empty()) submitter->take_completed(run);
  }

  template <class Handle>
  [[nodiscard]] std::expected<Handle, LookupError> counted(
      std::uint64_t value, std::expected<Handle, LookupError> found) noexcept {
    note_lookup(value, found);
    return found;
  }
  template <class Handle>
  void note_lookup(std::uint64_t value, const std::expected<Handle, LookupError>& found) noexcept {
    if (!found.has_value()) [[unlikely]]
      return note_in_full(value, found.error().reason);
    if (disk_.trace_sink().function != nullptr) [[unlikely]]
      note_in_full(value, LookupReason::none);
  }
  [[gnu::cold, gnu::noinline]] void note_in_full(std::uint64_t value,
                                                 LookupReason reason) noexcept {
    TraceEvent event;
    event.step = TraceStep::looked_up;
    event.queue = index_;
    event.value = value;
    event.reason = reason;
    detail::tell(disk_.trace_sink(), event);
    if (reason != LookupReason::none) rejected_[static_cast<std::size_t>(reason)].add();
  }

  void add_to(Counters& sum) const noexcept {
    for (std::size_t i = 0; i != lookup_reason_count; ++i) {
      sum.rejected_lookups[i] += rejected_[i].read();
    }
  }

  Disk<D>& disk_;
  TagPool<D>& pool_;
  blkown::detail::QueueClaims<R> claims_;
  QueueIndex index_;
  QueueType type_;
  // Read before every request and rarely written: on a cache line without frequent writes.
  alignas(cache_line_bytes) detail::RelaxedFlag stopped_;
  alignas(cache_line_bytes) std::array<detail::RelaxedCounter, lookup_reason_count> rejected_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
