// SPDX-License-Identifier: BSL-1.0
//
// TimeoutScan: a context's search for requests that have been in flight for too long.

#ifndef BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP
#define BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP

#include <blkown/aref.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/detail/lanes.hpp>
#include <blkown/mq/detail/publication_watch.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Calls the driver's timeout hook for requests whose time has passed. A scan runs on the context
/// that issued the requests, and therefore never during the queue_rq of one of these requests.
/// A deadline belongs to a publication, which its generation names. A publication's time begins
/// with the first scan that finds it: issuing reads no clock, the hook is never called early, and
/// at most a quarter of the shortest timeout late. A request that the driver has published again
/// has a new deadline, whether the hook, a completion or another thread published it. The answer of
/// the hook is about the publication that the hook was called for. A driver that publishes one
/// request again, without an issue, exactly as often between two scans as its cookies have
/// generations hides the new publication. Belongs to its context.
template <class D>
class TimeoutScan {
 public:
  using R = Request<D>;

  TimeoutScan(Disk<D>& disk, SubmitQueue<D>& queue, Lanes<D>& lanes, Issuer<D>& issuer)
      : disk_{disk},
        queue_{queue},
        lanes_{lanes},
        issuer_{issuer},
        alarm_{[](void* self, Alarm&) { static_cast<TimeoutScan*>(self)->scan(); }, this} {}

  /// Announces requests with this timeout. Requests with timeout 0 never time out.
  void allow(std::uint32_t timeout_ms) noexcept {
    if (timeout_ms == 0 || (shortest_ms_ != 0 && timeout_ms >= shortest_ms_)) return;
    shortest_ms_ = timeout_ms;
    stop();  // so that the next scan comes earlier
  }

  /// Whether a scan is pending, or none is needed.
  [[nodiscard]] bool is_watching() const noexcept {
    return !names_timeout<D> || scan_pending_ || shortest_ms_ == 0;
  }
  /// Makes sure that a scan is pending. Called while requests are in flight.
  void watch() noexcept {
    if constexpr (names_timeout<D>) {
      if (is_watching()) [[likely]]
        return;
      scan_pending_ = true;
      const std::uint64_t quarter_ns = std::uint64_t{shortest_ms_} * ns_per_ms / 4;
      alarm_.arm(queue_.context(), quarter_ns < ns_per_ms ? ns_per_ms : quarter_ns);
    }
  }

  void stop() noexcept {
    if (std::exchange(scan_pending_, false)) alarm_.cancel();
  }

 private:
  static constexpr std::uint64_t ns_per_ms = 1'000'000;

  void scan() noexcept {
    scan_pending_ = false;
    if constexpr (names_timeout<D>) {
      const typename SubmitQueue<D>::Entry entry{queue_, "mq::TimeoutScan", Place{}};
      now_ns_ = queue_.context().now_ns();
      lanes_.for_each([&](Lane<D>& lane) {
        lane.waiting.see(static_cast<std::uint32_t>(now_ns_ / ns_per_ms));
        disk_.pool().tags().for_each_in_flight(
            lane.hw->tag_queue(),
            [&](const ARef<R>& pin, const Cookie& cookie) { look_at(*lane.hw, pin, cookie); });
      });
    }
  }

  void look_at(HwQueue<D>& hw, const ARef<R>& pin, const Cookie& cookie) {
    Payload<D>& payload = RequestTraits<R>::data(*blkown::detail::HandleAccess::look(pin));
    PayloadState<D>& state = state_of(payload);
    if (state.submitter != &queue_ || state.hw_queue != &hw) return;
    const std::uint32_t own_ms =
        state.bio != nullptr ? 0
                             : disk_.pool().rare_states().of(hw.tag_queue(), pin.tag()).timeout_ms;
    const std::uint32_t timeout_ms = own_ms != 0 ? own_ms : disk_.config().timeout_ms.value_or(0);
    PublicationWatch& watch = disk_.pool().watches().of(hw.tag_queue(), pin.tag());
    if (!state.is_seen.is_set() || !watch.time_ms_of(cookie.generation).has_value()) {
      // A new publication. The clock is read behind the look that has found the publication, which
      // may be younger than the scan.
      now_ns_ = queue_.context().now_ns();
      watch.see(cookie.generation, static_cast<std::uint32_t>(now_ns_ / ns_per_ms));
      watch.due_ns = due_ns(timeout_ms);
      state.is_seen.set(true);
      return;
    }
    if (now_ns_ < watch.due_ns || watch.due_ns == blkown::detail::never_ns) return;
    queue_.counters().timed_out_requests.add();
    issuer_.trace(TraceStep::timed_out, payload, pin.tag(), Status::timed_out);
    const TimeoutAction action = call_timeout(hw, pin, cookie);
    // The hook may have taken long, and may have published the request again. A new publication has
    // another generation, and this deadline does not count for it.
    now_ns_ = queue_.context().now_ns();
    watch.due_ns = due_ns(action == TimeoutAction::rearm ? timeout_ms : 0);
  }

  [[nodiscard]] TimeoutAction call_timeout(HwQueue<D>& hw, const ARef<R>& pin,
                                           const Cookie& cookie) {
    const typename Issuer<D>::InHook hook{issuer_};
    return disk_.driver().timeout(hw, pin, cookie);
  }

  /// The deadline of a publication that is looked at now. Timeout 0 means never.
  [[nodiscard]] std::uint64_t due_ns(std::uint32_t timeout_ms) const noexcept {
    if (timeout_ms == 0) return blkown::detail::never_ns;
    return blkown::detail::saturating_add(now_ns_, timeout_ms * ns_per_ms);
  }

  Disk<D>& disk_;
  SubmitQueue<D>& queue_;
  Lanes<D>& lanes_;
  Issuer<D>& issuer_;
  Alarm alarm_;
  std::uint64_t now_ns_ = 0;       // during a scan; read again after the hook
  std::uint32_t shortest_ms_ = 0;  // of all announced timeouts; 0: none
  bool scan_pending_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
