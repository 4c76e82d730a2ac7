// SPDX-License-Identifier: BSL-1.0
//
// What a driver is to the block layer: its types, its hooks, and its answer to a request.

#ifndef BLKOWN_MQ_DRIVER_HPP
#define BLKOWN_MQ_DRIVER_HPP

#include <blkown/config.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/idle_list.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/owned.hpp>
#include <blkown/status.hpp>
#include <concepts>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Whether a rejected request is queued again rather than failed: something is short that comes
/// back by itself (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE).
[[nodiscard]] constexpr bool is_busy(Status status) noexcept {
  return status == Status::resource || status == Status::device_resource;
}

/// A driver's answer to queue_rq. To reject a request is to give it back: whoever has ended or
/// published it has no handle left to reject with, so a request cannot be ended twice this way.
template <class D>
class [[nodiscard]] Dispatch {
 public:
  /// The driver has the request, or had it: it is published, owned, or ended.
  [[nodiscard]] static Dispatch accepted() noexcept { return Dispatch{nullptr, Status::ok, false}; }

  /// Not now, or not at all. With Status::resource or device_resource the request is queued again
  /// and comes back when an I/O of the disk has ended, or after a moment; with any other status the
  /// I/O ends with it (with io_error for Status::ok, which is no reason).
  [[nodiscard]] static Dispatch rejected(BLKOWN_HELD Idle<Request<D>>&& idle, Status status,
                                         Place where = Place::current()) noexcept {
    return Dispatch{std::move(idle).into_raw(where), status, false};
  }
  /// The same for a request that was started already.
  [[nodiscard]] static Dispatch rejected(BLKOWN_HELD Owned<Request<D>>&& owned, Status status,
                                         Place where = Place::current()) noexcept {
    return Dispatch{std::move(owned).into_raw(where), status, true};
  }

  Dispatch(Dispatch&& other) noexcept
      : request_{std::exchange(other.request_, nullptr)},
        status_{other.status_},
        started_{other.started_} {}
  Dispatch& operator=(Dispatch&&) = delete;
  /// An answer that nobody took: the I/O does not get lost.
  ~Dispatch() { static_cast<void>(settle()); }

  [[nodiscard]] bool is_accepted() const noexcept { return request_ == nullptr; }
  [[nodiscard]] Status status() const noexcept { return status_; }

  /// Queues a rejected request again or fails it, through its TagSet's EndSink. False if there was
  /// none: it was accepted.
  bool settle() noexcept {
    if (request_ == nullptr) [[likely]]
      return false;
    give_back();
    return true;
  }

 private:
  Dispatch(Request<D>* request, Status status, bool started) noexcept
      : request_{request}, status_{status}, started_{started} {}

  /// Out of line, so that the destructor of nearly all answers is a test.
  [[gnu::noinline]] void give_back() noexcept {
    Request<D>* const request = std::exchange(request_, nullptr);
    if (started_) {
      give_back(Owned<Request<D>>::from_raw(request));
    } else {
      give_back(Idle<Request<D>>::from_raw(request));
    }
  }
  void give_back(Owned<Request<D>>&& owned) const noexcept {
    if (is_busy(status_)) return std::move(owned).requeue();
    std::move(owned).end(reason());
  }
  void give_back(Idle<Request<D>>&& idle) const noexcept {
    if (is_busy(status_)) return std::move(idle).requeue();
    std::move(idle).fail(reason());
  }
  [[nodiscard]] Status reason() const noexcept {
    return status_ == Status::ok ? Status::io_error : status_;
  }

  Request<D>* request_;
  Status status_;
  bool started_;
};

/// A driver's answer to timeout.
enum class TimeoutAction : std::uint8_t {
  handled,  ///< The driver sees to it: it has claimed the I/O, or its abort will.
  rearm,    ///< Not yet: ask again after another timeout.
};

/// One zone of a zoned disk, as report_zones describes it.
struct Zone {
  enum class Condition : std::uint8_t { empty, open, closed, full, read_only, offline };
  std::uint64_t start_sector = 0;
  std::uint64_t length_sectors = 0;
  std::uint64_t capacity_sectors = 0;      ///< Sectors that can be written.
  std::uint64_t write_pointer_sector = 0;  ///< Where the next write goes.
  bool is_sequential = true;               ///< Else it is written at random, as other disks are.
  Condition condition = Condition::empty;
  friend constexpr bool operator==(const Zone&, const Zone&) = default;
};

/// A driver: its types and queue_rq. The optional hooks are below. Hooks are called on the contexts
/// that submit, several at a time; what they share, the driver orders.
///
///   struct RequestData;  kept in each request           struct HwData;     in each hardware queue
///   struct QueueData;    in each disk
///
///   Dispatch<D> queue_rq(HwQueue<D>&, QueueData&, Idle<Request<D>>, bool is_last);
///       Issue the request. Unless is_last, more follow at once: the doorbell can wait, for a later
///       queue_rq or for commit_rqs.
///   void queue_rqs(HwQueue<D>&, QueueData&, IdleList<Request<D>>&);
///       Issue a batch; what is left in the list goes to queue_rq one by one.
///   void commit_rqs(HwQueue<D>&, QueueData&);
///       The batch ended early: ring the doorbell for what was issued without is_last.
///   void complete(HwQueue<D>&, Claim<Request<D>>);
///       The second half of a completion, on the context that submitted: what HwQueue::complete was
///       given. Without the hook such an I/O ends with Status::ok there.
///   TimeoutAction timeout(HwQueue<D>&, const ARef<Request<D>>&, const Cookie&);
///       The I/O that the cookie names has been in flight for longer than its timeout. The race
///       with its completion is decided by claim(pin, cookie). Without the hook nothing times out.
///   unsigned poll(HwQueue<D>&);
///       Reap completions; returns how many. For polled queues.
///   Status init_hctx(HwQueue<D>&, QueueData&); void exit_hctx(HwQueue<D>&, QueueData&);
///       A hardware queue comes into use, or goes: at creation, on a change of the number of
///       queues, at the end. No request is in flight on it. A status other than ok refuses.
///   unsigned map_queues(QueueType, unsigned context_index, unsigned queue_count);
///       Which of the type's queue_count queues a context submits to; by default
///       context_index % queue_count.
///   unsigned report_zones(QueueData&, std::uint64_t sector, Zone* zones, unsigned count);
///       Describes up to `count` zones from the one that holds the sector on; returns how many.
template <class D>
concept Driver =
    requires(D& driver, HwQueue<D>& hw, typename D::QueueData& queue, Idle<Request<D>> idle) {
      typename D::RequestData;
      typename D::HwData;
      typename D::QueueData;
      { driver.queue_rq(hw, queue, std::move(idle), true) } -> std::same_as<Dispatch<D>>;
    };

/// What a hardware queue is for: each has contexts mapped to it by its type.
enum class QueueType : std::uint8_t {
  normal,  ///< Whatever the others do not take.
  read,    ///< Reads, if there are such queues.
  poll,    ///< Polled I/O, if there are such queues.
};
inline constexpr unsigned queue_type_count = 3;

namespace detail {

// A hook is found by its name, whatever it looks like, and then has to fit: a wrong signature is an
// error and not silence. A class that inherits the name from two bases cannot say which it means.
#define BLKOWN_MQ_DETAIL_HOOK(hook)        \
  struct Named_##hook {                    \
    int hook;                              \
  };                                       \
  template <class D>                       \
  struct Both_##hook : D, Named_##hook {}; \
  template <class D>                       \
  concept names_##hook = !requires { &Both_##hook<D>::hook; };

BLKOWN_MQ_DETAIL_HOOK(queue_rqs)
BLKOWN_MQ_DETAIL_HOOK(commit_rqs)
BLKOWN_MQ_DETAIL_HOOK(complete)
BLKOWN_MQ_DETAIL_HOOK(timeout)
BLKOWN_MQ_DETAIL_HOOK(poll)
BLKOWN_MQ_DETAIL_HOOK(init_hctx)
BLKOWN_MQ_DETAIL_HOOK(exit_hctx)
BLKOWN_MQ_DETAIL_HOOK(map_queues)
BLKOWN_MQ_DETAIL_HOOK(report_zones)

#undef BLKOWN_MQ_DETAIL_HOOK

template <class D>
constexpr bool check_hooks() {
  using Hw = HwQueue<D>;
  using Queue = typename D::QueueData;
  using R = Request<D>;
  if constexpr (names_queue_rqs<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q, IdleList<R>& list) {
          { d.queue_rqs(hw, q, list) } -> std::same_as<void>;
        },
        "the driver's queue_rqs is void queue_rqs(HwQueue<D>&, QueueData&, IdleList<Request<D>>&)");
  }
  if constexpr (names_commit_rqs<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.commit_rqs(hw, q) } -> std::same_as<void>;
        }, "the driver's commit_rqs is void commit_rqs(HwQueue<D>&, QueueData&)");
  }
  if constexpr (names_complete<D>) {
    static_assert(
        requires(D& d, Hw& hw, Claim<R> claim) {
          { d.complete(hw, std::move(claim)) } -> std::same_as<void>;
        }, "the driver's complete is void complete(HwQueue<D>&, Claim<Request<D>>)");
  }
  if constexpr (names_timeout<D>) {
    static_assert(
        requires(D& d, Hw& hw, const ARef<R>& pin, const Cookie& cookie) {
          { d.timeout(hw, pin, cookie) } -> std::same_as<TimeoutAction>;
        },
        "the driver's timeout is"
        " TimeoutAction timeout(HwQueue<D>&, const ARef<Request<D>>&, const Cookie&)");
  }
  if constexpr (names_poll<D>) {
    static_assert(
        requires(D& d, Hw& hw) {
          { d.poll(hw) } -> std::same_as<unsigned>;
        }, "the driver's poll is unsigned poll(HwQueue<D>&)");
  }
  if constexpr (names_init_hctx<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.init_hctx(hw, q) } -> std::same_as<Status>;
        }, "the driver's init_hctx is Status init_hctx(HwQueue<D>&, QueueData&)");
  }
  if constexpr (names_exit_hctx<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.exit_hctx(hw, q) } -> std::same_as<void>;
        }, "the driver's exit_hctx is void exit_hctx(HwQueue<D>&, QueueData&)");
  }
  if constexpr (names_map_queues<D>) {
    static_assert(
        requires(D& d) {
          { d.map_queues(QueueType::normal, 0U, 1U) } -> std::same_as<unsigned>;
        },
        "the driver's map_queues is"
        " unsigned map_queues(QueueType, unsigned context_index, unsigned queue_count)");
  }
  if constexpr (names_report_zones<D>) {
    static_assert(
        requires(D& d, typename D::QueueData& q, Zone* zones) {
          { d.report_zones(q, std::uint64_t{}, zones, 1U) } -> std::same_as<unsigned>;
        },
        "the driver's report_zones is unsigned report_zones(QueueData&, std::uint64_t sector,"
        " Zone* zones, unsigned count)");
  }
  return true;
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
