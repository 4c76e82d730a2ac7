// SPDX-License-Identifier: BSL-1.0
//
// Who has been in flight for too long: a context's look at what it has issued.

#ifndef BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP
#define BLKOWN_MQ_DETAIL_TIMEOUT_SCAN_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/timer.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Asks the driver about what has been in flight for too long. It runs on the context that issued,
/// so never in the middle of a queue_rq. A request's time counts from the first look that finds it
/// in flight: no clock is read when it is issued, and it is never asked about early; a quarter of
/// the shortest timeout late at most.
template <class D>
class TimeoutScan {
 public:
  using R = Request<D>;
  using Access = PayloadAccess<D>;

  TimeoutScan(Disk<D>& disk, SubmitQueue<D>& queue, Issuer<D>& issuer, ContextCounters& counters)
      : disk_{disk},
        queue_{queue},
        issuer_{issuer},
        counters_{counters},
        alarm_{[](void* self, Alarm&) { static_cast<TimeoutScan*>(self)->scan(); }, this} {}

  /// There will be requests with this timeout; 0: that never time out.
  void allow(std::uint32_t timeout_ms) noexcept {
    if (timeout_ms == 0 || (shortest_ms_ != 0 && timeout_ms >= shortest_ms_)) return;
    shortest_ms_ = timeout_ms;
    stop();  // the next look comes sooner
  }

  /// Something is in flight. Sees to it that somebody looks.
  void watch() noexcept {
    if constexpr (names_timeout<D>) {
      if (is_watching_ || shortest_ms_ == 0) [[likely]]
        return;
      is_watching_ = true;
      const std::uint64_t quarter_ns = std::uint64_t{shortest_ms_} * ns_per_ms / 4;
      alarm_.arm(queue_.context(), quarter_ns < ns_per_ms ? ns_per_ms : quarter_ns);
    }
  }

  void stop() noexcept {
    if (std::exchange(is_watching_, false)) alarm_.cancel();
  }

 private:
  void scan() noexcept {
    is_watching_ = false;
    if constexpr (names_timeout<D>) {
      const typename SubmitQueue<D>::Entry entry{queue_, "mq::TimeoutScan", Place{}};
      const auto now_ms = static_cast<std::uint32_t>(queue_.context().now_ns() / ns_per_ms);
      issuer_.lanes().for_each([&](Lane<D>& lane) {
        disk_.pool().tags().for_each_in_flight(lane.hw->tag_queue(),
                                               [&](const ARef<R>& pin, const Cookie& cookie) {
                                                 look_at(*lane.hw, pin, cookie, now_ms);
                                               });
      });
    }
  }

  void look_at(HwQueue<D>& hw, const ARef<R>& pin, const Cookie& cookie, std::uint32_t now_ms) {
    Payload<D>& payload = RequestTraits<R>::data(*blkown::detail::HandleAccess::look(pin));
    if (Access::submitter(payload) != &queue_ || &payload.hw_queue() != &hw) return;
    RelaxedTime& deadline = Access::deadline_ms(payload);
    const std::uint32_t own_ms = Access::timeout_ms(payload);
    const std::uint32_t timeout_ms = own_ms != 0 ? own_ms : disk_.config().timeout_ms;
    if (timeout_ms == 0) return;
    const std::uint32_t due_ms = deadline.read_ms();
    if (due_ms == 0 || static_cast<std::int32_t>(now_ms - due_ms) < 0) {
      if (due_ms == 0) deadline.set(never_zero(now_ms + timeout_ms));
      return;
    }
    counters_.timed_out_requests.add();
    issuer_.trace(TraceStep::timed_out, payload, pin.tag(), Status::timed_out);
    constexpr std::uint32_t far_ms = std::uint32_t{1} << 30;  // twelve days
    const TimeoutAction action = disk_.driver().timeout(hw, pin, cookie);
    deadline.set(never_zero(now_ms + (action == TimeoutAction::rearm ? timeout_ms : far_ms)));
  }

  /// 0 says that no look has found it yet.
  [[nodiscard]] static std::uint32_t never_zero(std::uint32_t moment_ms) noexcept {
    return moment_ms == 0 ? 1 : moment_ms;
  }
  static constexpr std::uint64_t ns_per_ms = 1'000'000;

  Disk<D>& disk_;
  SubmitQueue<D>& queue_;
  Issuer<D>& issuer_;
  ContextCounters& counters_;
  Alarm alarm_;
  std::uint32_t shortest_ms_ = 0;  // of all timeouts that were asked for; 0: none was
  bool is_watching_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
