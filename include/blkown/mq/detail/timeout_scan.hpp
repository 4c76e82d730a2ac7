// SPDX-License-Identifier: BSL-1.0
//
// TimeoutScan: a context's search for requests that have been in flight for too long.

#ifndef BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP
#define BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP

#include <blkown/aref.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/detail/lanes.hpp>
#include <blkown/mq/detail/relaxed.hpp>
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
/// that issued the requests, and therefore never during the queue_rq of one of these requests. A
/// request's time begins with the first scan that finds it in flight: issuing reads no clock, and
/// the hook is called at most a quarter of the shortest timeout late, and never early. Belongs to
/// its context.
template <class D>
class TimeoutScan {
 public:
  using R = Request<D>;

  TimeoutScan(Disk<D>& disk, SubmitQueue<D>& queue, Lanes<D>& lanes, Issuer<D>& issuer,
              ContextCounters& counters)
      : disk_{disk},
        queue_{queue},
        lanes_{lanes},
        issuer_{issuer},
        counters_{counters},
        alarm_{[](void* self, Alarm&) { static_cast<TimeoutScan*>(self)->scan(); }, this} {}

  /// Announces requests with this timeout. Requests with timeout 0 never time out.
  void allow(std::uint32_t timeout_ms) noexcept {
    if (timeout_ms == 0 || (shortest_ms_ != 0 && timeout_ms >= shortest_ms_)) return;
    shortest_ms_ = timeout_ms;
    stop();  // so that the next scan comes earlier
  }

  /// Makes sure that a scan is pending. Called while requests are in flight.
  void watch() noexcept {
    if constexpr (names_timeout<D>) {
      if (scan_pending_ || shortest_ms_ == 0) [[likely]]
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
  // The next deadline after a hook that does not re-arm: twelve days.
  static constexpr std::uint32_t far_ms = std::uint32_t{1} << 30;

  void scan() noexcept {
    scan_pending_ = false;
    if constexpr (names_timeout<D>) {
      const typename SubmitQueue<D>::Entry entry{queue_, "mq::TimeoutScan", Place{}};
      const auto now_ms = static_cast<std::uint32_t>(queue_.context().now_ns() / ns_per_ms);
      lanes_.for_each([&](Lane<D>& lane) {
        disk_.pool().tags().for_each_in_flight(lane.hw->tag_queue(),
                                               [&](const ARef<R>& pin, const Cookie& cookie) {
                                                 look_at(*lane.hw, pin, cookie, now_ms);
                                               });
      });
    }
  }

  void look_at(HwQueue<D>& hw, const ARef<R>& pin, const Cookie& cookie, std::uint32_t now_ms) {
    Payload<D>& payload = RequestTraits<R>::data(*blkown::detail::HandleAccess::look(pin));
    PayloadState<D>& state = state_of(payload);
    if (state.submitter != &queue_ || state.hw_queue != &hw) return;
    const std::uint32_t timeout_ms =
        state.timeout_ms != 0 ? state.timeout_ms : disk_.config().timeout_ms;
    if (timeout_ms == 0) return;
    RelaxedTime& deadline = state.deadline_ms;
    const std::uint32_t due_ms = deadline.read_ms();
    if (due_ms == 0 || static_cast<std::int32_t>(now_ms - due_ms) < 0) {
      if (due_ms == 0) deadline.set(never_zero(now_ms + timeout_ms));
      return;
    }
    counters_.timed_out_requests.add();
    issuer_.trace(TraceStep::timed_out, payload, pin.tag(), Status::timed_out);
    const TimeoutAction action = call_timeout(hw, pin, cookie);
    deadline.set(never_zero(now_ms + (action == TimeoutAction::rearm ? timeout_ms : far_ms)));
  }

  [[nodiscard]] TimeoutAction call_timeout(HwQueue<D>& hw, const ARef<R>& pin,
                                           const Cookie& cookie) {
    const typename Issuer<D>::InHook hook{issuer_};
    return disk_.driver().timeout(hw, pin, cookie);
  }

  /// 0 means that no scan has seen the request.
  [[nodiscard]] static std::uint32_t never_zero(std::uint32_t time_ms) noexcept {
    return time_ms == 0 ? 1 : time_ms;
  }

  Disk<D>& disk_;
  SubmitQueue<D>& queue_;
  Lanes<D>& lanes_;
  Issuer<D>& issuer_;
  ContextCounters& counters_;
  Alarm alarm_;
  std::uint32_t shortest_ms_ = 0;  // of all announced timeouts; 0: none
  bool scan_pending_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
