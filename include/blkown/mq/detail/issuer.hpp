// SPDX-License-Identifier: BSL-1.0
//
// The outgoing half of a context's side of a disk: from bios to requests, and to the driver.

#ifndef BLKOWN_MQ_DETAIL_ISSUER_HPP
#define BLKOWN_MQ_DETAIL_ISSUER_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/detail/lanes.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/trace.hpp>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Splits bios, gets tags, calls the driver, and keeps what has to wait. One context's.
template <class D>
class Issuer {
 public:
  using R = Request<D>;
  using Access = PayloadAccess<D>;

  /// Bios that are over go to `ended_bios`; the works are for the TagWaiters.
  Issuer(Disk<D>& disk, SubmitQueue<D>& self, Context& context, Work& wake, Work& company,
         ContextCounters& counters, BioList& ended_bios)
      : disk_{disk},
        self_{self},
        context_{context},
        counters_{counters},
        ended_bios_{ended_bios},
        lanes_{context, wake, company} {}

  /// Requests that hold a tag.
  [[nodiscard]] Word out() const noexcept { return out_; }
  [[nodiscard]] Lanes<D>& lanes() noexcept { return lanes_; }

  // --- bios -------------------------------------------------------------------------------------

  /// A bio that was not refused: which steps it takes. The last one is the data (or what the bio
  /// is); a flush before it, and one behind it, make it durable on a device that cannot by itself.
  void begin(Bio& bio) noexcept {
    const bool flush_first =
        bio.flags().preflush && disk_.config().write_cache && bio.op() != Op::flush;
    BioAccess::phase(bio) = flush_first ? Phase::preflush : Phase::data;
  }

  /// Issues the bio, or lets it wait.
  void submit(Bio& bio, bool is_plugged) noexcept {
    Lane<D>& lane = lanes_.of(bio);
    // A plug only collects, and a blocking driver's turn comes with the context's next work.
    const bool is_deferred = is_plugged || disk_.config().blocking;
    const bool is_issued =
        !is_deferred && lane.waiting.empty() && is_open(lane) && issue(lane, bio, false);
    commit(lane);
    if (is_issued) return;
    has_waiting_ = true;
    if (bio.flags().nowait && !is_deferred && !is_begun(bio)) {
      return break_off(bio, Status::again);
    }
    lane.waiting.push_back(bio);
    tell(disk_.trace_sink(), waiting_event(bio, context_.index(), lane.hw->index()));
  }

  /// One of the bio's requests has ended.
  void end_part(Bio& bio, Status status) noexcept {
    if (status != Status::ok) BioAccess::fail(bio, status);
    --BioAccess::parts(bio);
    end_step(bio);
  }

  /// Issues what waits, as far as it can. False if nothing does.
  bool resume() noexcept {
    if (!std::exchange(has_waiting_, false)) [[likely]]
      return false;
    lanes_.for_each([&](Lane<D>& lane) {
      resume(lane);
      has_waiting_ = has_waiting_ || !lane.requeued.empty() || !lane.waiting.empty();
    });
    return true;
  }

  /// Fails every bio that waits, and passes those on that are out no more. False if there was none.
  bool fail_waiting(Status status) noexcept {
    bool is_any = false;
    lanes_.for_each([&](Lane<D>& lane) {
      is_any = is_any || !lane.waiting.empty() || !lane.requeued.empty() || !lane.held.empty();
      while (Bio* const bio = lane.waiting.pop_front()) break_off(*bio, status);
      while (auto ended = lane.requeued.pop_front()) std::move(*ended).into_idle().fail(status);
      while (auto ended = lane.held.pop_front()) std::move(*ended).into_idle().fail(status);
    });
    return is_any;
  }

  // --- requests ---------------------------------------------------------------------------------

  /// A request that came back to be queued again.
  void take_requeued(Ended<R>&& ended) noexcept {
    counters_.requeued_requests.add();
    has_waiting_ = true;
    Lane<D>& lane = lanes_.of(ended.data());
    trace(TraceStep::requeued, ended.data(), ended.tag(), Status::ok);
    if (std::exchange(Access::needs_no_kick(ended.data()), false) || disk_.config().auto_kick) {
      lane.requeued.push_back(std::move(ended));
    } else {
      lane.held.push_back(std::move(ended));
    }
  }

  /// Frees the tag of a request that has ended.
  void free(Ended<R>&& ended) noexcept {
    Lane<D>& lane = lanes_.of(ended.data());
    lane.is_busy = false;
    --out_;
    lane.free(std::move(ended), pool());
  }

  /// A request of the driver's own: with a tag, ready to be filled in.
  [[nodiscard]] std::optional<Idle<R>> allocate_private(QueueType type, Op op, bool reserved) {
    // While the disk is frozen nothing new is let out, or the queues might change under it.
    if (freezes_ != 0) return std::nullopt;
    Lane<D>& lane = lanes_.of(type);
    auto idle = reserved ? pool().tags().allocate_reserved(lane.hw->tag_queue())
                         : lane.allocate_now(pool());
    if (!idle.has_value()) return std::nullopt;
    adopt(lane, *idle, nullptr);
    Access::set_private_end(idle->data(), {});
    Access::set_range(idle->data(), op, {}, 0, 0, {});
    trace(TraceStep::allocated, idle->data(), idle->tag(), Status::ok);
    return idle;
  }
  void execute(Idle<R>&& idle) noexcept {
    Lane<D>& lane = lanes_.of(idle.data());
    if (is_quiesced_ || lane.is_held_up()) {
      Access::needs_no_kick(idle.data()) = true;
      return std::move(idle).requeue();
    }
    send(lane, std::move(idle), true);
  }

  /// Requeued requests that were held back are let go.
  void kick() noexcept {
    has_waiting_ = true;
    lanes_.kick();
  }

  // --- control ----------------------------------------------------------------------------------

  void freeze() noexcept { ++freezes_; }
  void thaw() noexcept { freezes_ -= freezes_ != 0 ? 1 : 0; }
  void set_quiesced(bool quiesced) noexcept { is_quiesced_ = quiesced; }

  void map(const QueueMap<D>& queues) noexcept {
    has_waiting_ = true;
    lanes_.map(queues, pool());
  }

  void trace(TraceStep step, const Payload<D>& payload, Tag tag, Status status) const noexcept {
    const TraceSink& sink = disk_.trace_sink();
    if (sink.function == nullptr) [[likely]]
      return;
    tell(sink, {.step = step,
                .op = payload.op(),
                .status = status,
                .context = context_.index(),
                .queue = payload.hw_queue().index(),
                .tag = tag,
                .sector = payload.sector(),
                .length_bytes = payload.length_bytes(),
                .value = 0,
                .reason = LookupReason::none});
  }

 private:
  [[nodiscard]] TagPool<D>& pool() noexcept { return disk_.pool(); }

  [[nodiscard]] bool is_open(const Lane<D>& lane) const noexcept {
    return freezes_ == 0 && !is_quiesced_ && !lane.is_held_up();
  }

  void resume(Lane<D>& lane) noexcept {
    while (!is_quiesced_ && !lane.is_held_up()) {
      if (auto ended = lane.requeued.pop_front()) {
        send(lane, std::move(*ended).into_idle(), lane.requeued.empty() && lane.waiting.empty());
        continue;
      }
      Bio* const bio = freezes_ == 0 ? lane.waiting.front() : nullptr;
      if (bio == nullptr) break;
      static_cast<void>(lane.waiting.pop_front());
      if (issue(lane, *bio, !lane.waiting.empty())) continue;
      if (!bio->flags().nowait || is_begun(*bio)) {
        lane.waiting.push_front(*bio);
        break;
      }
      break_off(*bio, Status::again);
    }
    commit(lane);
    // While it cannot use a tag it stands in nobody's way.
    if (!is_open(lane) || lane.waiting.empty()) lane.leave_line(pool());
  }

  /// Issues the rest of the bio's step; false if something is left, because the queue has closed or
  /// no tag is free. `is_more_behind`: another bio follows at once.
  [[nodiscard]] bool issue(Lane<D>& lane, Bio& bio, bool is_more_behind) noexcept {
    const bool is_data = BioAccess::phase(bio) == Phase::data;
    const std::uint64_t length_bytes = is_data ? bio.length_bytes() : 0;
    std::uint64_t& done_bytes = BioAccess::done_bytes(bio);
    do {
      if (!is_open(lane)) return false;
      Part part{};
      if (is_data && has_range(bio.op())) {
        part = next_part({.op = bio.op(),
                          .segments = bio.segments(),
                          .begin = BioAccess::cursor(bio),
                          .length_bytes = length_bytes - done_bytes},
                         disk_.config().limits, disk_.config().logical_block_bytes);
        if (part.length_bytes == 0) [[unlikely]] {
          break_off(bio, Status::invalid);
          return true;
        }
      }
      std::optional<Idle<R>> idle = lane.allocate(pool());
      if (!idle.has_value()) return false;
      fill(lane, *idle, bio, part);
      const bool is_last = !is_data || done_bytes + part.length_bytes == length_bytes;
      if (is_data) {
        done_bytes += part.length_bytes;
        BioAccess::cursor(bio) = part.end;
      }
      if (is_last) BioAccess::all_issued(bio) = true;
      send_or_collect(lane, *std::move(idle), is_last && !is_more_behind);
      if (is_last) return true;
    } while (true);
  }

  /// Whether a part of it has been issued: then it is not "again", however long the rest waits.
  [[nodiscard]] static bool is_begun(Bio& bio) noexcept {
    return BioAccess::phase(bio) == Phase::postflush || BioAccess::parts(bio) != 0 ||
           BioAccess::done_bytes(bio) != 0 ||
           (BioAccess::phase(bio) == Phase::data && bio.flags().preflush);
  }

  /// No further part of the bio is issued; it is over when those that were have ended.
  void break_off(Bio& bio, Status status) noexcept {
    BioAccess::fail(bio, status);
    BioAccess::all_issued(bio) = true;
    end_step(bio);
  }

  /// The bio's step may be over, and then its next one begins, or the bio ends.
  void end_step(Bio& bio) noexcept {
    if (BioAccess::parts(bio) != 0 || !BioAccess::all_issued(bio)) return;
    Phase& phase = BioAccess::phase(bio);
    const DiskConfig& config = disk_.config();
    const bool is_flush_left =
        bio.flags().fua && !config.fua && config.write_cache && is_write(bio.op());
    if (bio.status() != Status::ok || phase == Phase::postflush ||
        (phase == Phase::data && !is_flush_left)) {
      return ended_bios_.push_back(bio);
    }
    phase = phase == Phase::preflush ? Phase::data : Phase::postflush;
    BioAccess::all_issued(bio) = false;
    // Not here and now: the caller may be in the middle of a list of ended requests.
    lanes_.of(bio).waiting.push_front(bio);
    has_waiting_ = true;
  }

  void fill(Lane<D>& lane, Idle<R>& idle, Bio& bio, const Part& part) noexcept {
    adopt(lane, idle, &bio);
    ++BioAccess::parts(bio);
    Payload<D>& payload = idle.data();
    if (BioAccess::phase(bio) != Phase::data) {
      Access::set_range(payload, Op::flush, {}, 0, 0, {});
    } else {
      IoFlags flags = bio.flags();
      flags.preflush = false;
      flags.fua = flags.fua && disk_.config().fua;
      const std::uint64_t done_bytes = BioAccess::done_bytes(bio);
      const std::uint64_t length_bytes = part.length_bytes;
      Access::set_range(
          payload, bio.op(), flags, bio.sector() + (done_bytes >> sector_shift), length_bytes,
          RequestSegments{
              bio.segments(), BioAccess::cursor(bio), has_data(bio.op()) ? length_bytes : 0,
              disk_.config().limits.max_segment_bytes, disk_.config().limits.virt_boundary_mask});
    }
    trace(TraceStep::allocated, payload, idle.tag(), Status::ok);
  }

  void send_or_collect(Lane<D>& lane, Idle<R>&& idle, bool is_last) noexcept {
    if constexpr (names_queue_rqs<D>) {
      if (!is_last || lane.batched != 0) {
        lane.batch.push_back(std::move(idle));
        lane.is_uncommitted = true;
        if (++lane.batched == max_batched || is_last) commit(lane);
        return;
      }
    }
    send(lane, std::move(idle), is_last);
  }

  /// The driver hears that nothing more follows.
  void commit(Lane<D>& lane) noexcept {
    if (!std::exchange(lane.is_uncommitted, false)) return;
    if constexpr (names_queue_rqs<D>) {
      if (lane.batched != 0) {
        lane.batched = 0;
        IdleList<R> batch = std::move(lane.batch);
        disk_.driver().queue_rqs(*lane.hw, disk_.queue_data(), batch);
        while (auto left = batch.pop_front()) send(lane, *std::move(left), batch.empty());
        if (!std::exchange(lane.is_uncommitted, false)) return;
      }
    }
    if constexpr (names_commit_rqs<D>) disk_.driver().commit_rqs(*lane.hw, disk_.queue_data());
  }

  /// Calls the driver.
  void send(Lane<D>& lane, Idle<R>&& idle, bool is_last) noexcept {
    Payload<D>& payload = idle.data();
    const Tag tag = idle.tag();
    Access::deadline_ms(payload).set(0);
    trace(TraceStep::issued, payload, tag, Status::ok);
    Dispatch<D> answer =
        disk_.driver().queue_rq(*lane.hw, disk_.queue_data(), std::move(idle), is_last);
    lane.is_uncommitted = !is_last;  // not before: the driver may have sent something of its own
    if (answer.is_accepted()) [[likely]]
      return;
    trace(TraceStep::rejected, payload, tag, answer.status());
    // The request still counts as collected by the driver only if it was taken: what it was told
    // to expect has not come.
    lane.is_uncommitted = true;
    lane.is_busy = lane.is_busy || is_busy(answer.status());
    Access::needs_no_kick(payload) = true;
    static_cast<void>(answer.settle());
  }

  static constexpr unsigned max_batched = 32;

  void adopt(Lane<D>& lane, Idle<R>& idle, Bio* bio) noexcept {
    Payload<D>& payload = idle.data();
    Access::bio(payload) = bio;
    Access::submitter(payload) = &self_;
    Access::hw_queue(payload) = lane.hw;
    Access::timeout_ms(payload) = 0;
    counters_.started_requests.add();
    ++out_;
  }

  Disk<D>& disk_;
  SubmitQueue<D>& self_;
  Context& context_;
  ContextCounters& counters_;
  BioList& ended_bios_;
  Lanes<D> lanes_;
  Word out_ = 0;
  unsigned freezes_ = 0;
  bool is_quiesced_ = false;
  bool has_waiting_ = false;  // a lane may have something to issue, or a place in a line to give up
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
