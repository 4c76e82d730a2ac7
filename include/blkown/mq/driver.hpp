// SPDX-License-Identifier: BSL-1.0
//
// Driver: the types and hooks of a driver. Dispatch: a driver's answer to a request.

#ifndef BLKOWN_MQ_DRIVER_HPP
#define BLKOWN_MQ_DRIVER_HPP

#include <blkown/aref.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/idle_list.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Whether a request that is rejected with `status` is issued again instead of failed.
/// Source: the kernel's BLK_STS_RESOURCE and BLK_STS_DEV_RESOURCE.
[[nodiscard]] constexpr bool is_busy(Status status) noexcept {
  return status == Status::resource || status == Status::device_resource;
}

/// A driver's answer to queue_rq.
///
/// A rejection takes the request's handle back. A driver that has published or ended the request
/// has no handle, so it cannot reject the request as well.
template <class D>
class [[nodiscard]] Dispatch {
 public:
  /// The driver took the request: the request is published, owned by the driver, or ended.
  [[nodiscard]] static Dispatch accepted() noexcept { return Dispatch{nullptr, Status::ok, false}; }

  /// The driver did not take the request.
  /// Effects: with a status for which is_busy() is true, the request is issued again after another
  /// request on the same context and queue has ended, or after DiskConfig::busy_delay_ms. Until
  /// then the context sends nothing to the queue. With any other status the request ends with that
  /// status, and with io_error in place of Status::ok.
  [[nodiscard]] static Dispatch rejected(BLKOWN_HELD Idle<Request<D>>&& idle, Status status,
                                         Place where = Place::current()) noexcept {
    return Dispatch{std::move(idle).into_raw(where), status, false};
  }
  /// The driver started the request, and then could not send it.
  /// Effects: as the other overload.
  [[nodiscard]] static Dispatch rejected(BLKOWN_HELD Owned<Request<D>>&& owned, Status status,
                                         Place where = Place::current()) noexcept {
    return Dispatch{std::move(owned).into_raw(where), status, true};
  }
  /// The driver has a Claim of the request, for its mapping or after a refused publication.
  /// Effects: as the other overloads. If another party has pinned the request, as a table of the
  /// requests in flight does, the request is requeued or ended within the call, which takes effect
  /// when the pin is dropped, and the answer is an accepted one.
  [[nodiscard]] static Dispatch rejected(BLKOWN_HELD Claim<Request<D>>&& claim, Status status,
                                         Place where = Place::current()) noexcept {
    auto owned = std::move(claim).into_owned(where);
    if (owned.has_value()) return rejected(*std::move(owned), status, where);
    if (is_busy(status)) {
      std::move(owned.error()).requeue(where);
    } else {
      std::move(owned.error()).end(status == Status::ok ? Status::io_error : status, where);
    }
    return accepted();
  }

  Dispatch(Dispatch&& other) noexcept
      : request_{std::exchange(other.request_, nullptr)},
        status_{other.status_},
        started_{other.started_} {}
  Dispatch& operator=(Dispatch&&) = delete;
  /// Effects: settle(), so that a discarded answer does not lose its request.
  ~Dispatch() { static_cast<void>(settle()); }

  /// Whether the answer holds no request.
  [[nodiscard]] bool is_accepted() const noexcept { return request_ == nullptr; }
  /// The status of a rejection. Status::ok for an accepted request.
  [[nodiscard]] Status status() const noexcept { return status_; }

  /// Requeues a rejected request or ends it, through its TagSet's EndSink. Returns false if the
  /// answer holds no request.
  bool settle() noexcept {
    if (request_ == nullptr) [[likely]]
      return false;
    give_back();
    return true;
  }

 private:
  template <class>
  friend class detail::Issuer;

  /// The request that the answer holds, or null.
  [[nodiscard]] Request<D>* rejected_request() const noexcept { return request_; }

  Dispatch(Request<D>* request, Status status, bool started) noexcept
      : request_{request}, status_{status}, started_{started} {}

  /// Out of line: the destructor of an accepted answer is then one test.
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

/// A driver's answer to its timeout hook.
enum class TimeoutAction : std::uint8_t {
  /// The driver has claimed the request, or has started an abort that will end it. The hook is not
  /// called again for this publication.
  handled,
  rearm,  ///< The hook is called again after another timeout, if the publication is still in
          ///< flight.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(TimeoutAction action) noexcept {
  switch (action) {
    case TimeoutAction::handled: return "handled";
    case TimeoutAction::rearm: return "rearm";
  }
  return "unknown action";
}

/// The description of one zone of a zoned disk, for report_zones.
struct Zone {
  /// The zone's state.
  /// Source: the kernel's enum blk_zone_cond; the zone states of NVMe's Zoned Namespaces.
  enum class Condition : std::uint8_t {
    empty,              ///< Not written since its last reset.
    implicit_open,      ///< Opened by a write. The device may close it to open another.
    explicit_open,      ///< Opened by a zone_open.
    closed,             ///< Written in part, and not open.
    full,               ///< Accepts no further write.
    read_only,          ///< Accepts no write and no change of state.
    offline,            ///< Accepts nothing.
    not_write_pointer,  ///< A conventional zone, which has no write pointer.
  };
  std::uint64_t start_sector = 0;
  std::uint64_t length_sectors = 0;
  std::uint64_t capacity_sectors = 0;      ///< Sectors that can be written.
  std::uint64_t write_pointer_sector = 0;  ///< The sector of the next write.
  bool is_sequential = true;               ///< False: a conventional zone, written in any order.
  Condition condition = Condition::empty;
  friend constexpr bool operator==(const Zone&, const Zone&) = default;
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(Zone::Condition condition) noexcept {
  switch (condition) {
    case Zone::Condition::empty: return "empty";
    case Zone::Condition::implicit_open: return "implicit_open";
    case Zone::Condition::explicit_open: return "explicit_open";
    case Zone::Condition::closed: return "closed";
    case Zone::Condition::full: return "full";
    case Zone::Condition::read_only: return "read_only";
    case Zone::Condition::offline: return "offline";
    case Zone::Condition::not_write_pointer: return "not_write_pointer";
  }
  return "unknown condition";
}

/// The requirements on a driver: three types and queue_rq. The other hooks are optional.
///
///   struct RequestData;  The driver's data in each request.
///   struct HwData;       The driver's data in each hardware queue.
///   struct QueueData;    The driver's data in each disk.
///   struct PoolData;     Optional: the driver's data in each TagPool, which its disks share.
///
///   Dispatch<D> queue_rq(HwQueue<D>&, QueueData&, Idle<Request<D>>, bool is_last);
///       Issues a request. With is_last false, another request follows at once, or commit_rqs: the
///       driver may ring the doorbell later.
///   void queue_rqs(HwQueue<D>&, QueueData&, IdleList<Request<D>>&);
///       Issues a batch. Requests left in the list go to queue_rq one by one.
///   void commit_rqs(HwQueue<D>&, QueueData&);
///       Rings the doorbell for the requests that were issued with is_last false, if no request
///       with is_last true followed.
///   void complete(HwQueue<D>&, Claim<Request<D>>);
///       Finishes a request that was given to HwQueue::complete or complete_local, on the
///       submitting context. Without this hook such a request ends with Status::ok: one that was
///       given to complete on its context, and one that was given to complete_local at once, on the
///       caller's thread.
///   TimeoutAction timeout(HwQueue<D>&, const ARef<Request<D>>&, const Cookie&);
///       Called for a publication that has been in flight for longer than its timeout, never
///       earlier. A request that is published again has its whole timeout again. The driver gets
///       the right with blkown::claim(pin, cookie), which fails if the completion was first.
///       Without this hook no request times out.
///   unsigned poll(HwQueue<D>&);
///       Reaps the completions of a poll queue. Returns their number. Passes Claims to
///       HwQueue::complete_local: a Claim given to complete waits until the context is run.
///   Status init_hctx(HwQueue<D>&, QueueData&);
///   void exit_hctx(HwQueue<D>&, QueueData&);
///       Called when a hardware queue is put into use or taken out of use: by Disk::create,
///       Disk::set_queue_count and Disk::remove. No request is in flight on the queue. An init_hctx
///       that returns a status other than ok refuses the queue. While Disk::create is running, a
///       DiskRef of the disk gives no access.
///   unsigned map_queues(QueueType, unsigned context_index, unsigned queue_count);
///       Returns the index of the context's queue among the queue_count queues of the type. Without
///       this hook the index is context_index % queue_count. Disk::create refuses an index that is
///       not below queue_count; in Disk::set_queue_count such an index is a violation.
///   unsigned report_zones(QueueData&, std::uint64_t sector, Zone* zones, unsigned count);
///       Describes up to `count` zones, beginning with the zone that holds the sector. Returns the
///       number of zones described.
///
/// A hook may submit bios and execute private requests. They are issued after the hook has
/// returned, so that hooks do not recurse.
/// Synchronization: hooks run on the disk's contexts, several at a time. Disk::create also calls
/// init_hctx, exit_hctx and map_queues, and Disk::report_zones calls report_zones, on the caller's
/// thread. The driver synchronizes the data that its hooks share.
/// Source: the kernel's blk_mq_ops.
template <class D>
concept Driver =
    requires(D& driver, HwQueue<D>& hw, typename D::QueueData& queue, Idle<Request<D>> idle) {
      typename D::RequestData;
      typename D::HwData;
      typename D::QueueData;
      { driver.queue_rq(hw, queue, std::move(idle), true) } -> std::same_as<Dispatch<D>>;
    };

/// The kind of bios that a hardware queue serves. Each context has one queue of each type.
/// Source: the kernel's enum hctx_type.
enum class QueueType : std::uint8_t {
  normal,  ///< Bios that no queue of another type serves.
  read,    ///< Reads. Without read queues, normal queues serve them.
  poll,    ///< Bios with IoFlags::polled. Without poll queues, normal queues serve them.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(QueueType type) noexcept {
  switch (type) {
    case QueueType::normal: return "normal";
    case QueueType::read: return "read";
    case QueueType::poll: return "poll";
  }
  return "unknown type";
}
/// The number of queue types.
inline constexpr unsigned queue_type_count = static_cast<unsigned>(QueueType::poll) + 1;

namespace detail {

// names_HOOK<D> is true if D has a member of that name, with any signature: a class that inherits
// the name from two bases makes the name ambiguous. check_hooks then requires the right signature,
// so a wrong one is a compile error and not a hook that is never called.
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

// Other names of queue_rq, which a driver must not have in its place.
BLKOWN_MQ_DETAIL_HOOK(queue_rq)
BLKOWN_MQ_DETAIL_HOOK(queue_request)
BLKOWN_MQ_DETAIL_HOOK(queueRq)
BLKOWN_MQ_DETAIL_HOOK(queue_req)
BLKOWN_MQ_DETAIL_HOOK(submit_request)

#undef BLKOWN_MQ_DETAIL_HOOK

/// Refuses a driver that calls queue_rq by a usual other name. Called before the driver's types are
/// known to be right, so the check is about names alone.
template <class D>
constexpr bool check_name_of_queue_rq() {
  constexpr bool missing = !names_queue_rq<D>;
  static_assert(!(missing && names_queue_request<D>),
                "the driver's hook queue_request is called queue_rq");
  static_assert(!(missing && names_queueRq<D>), "the driver's hook queueRq is called queue_rq");
  static_assert(!(missing && names_queue_req<D>), "the driver's hook queue_req is called queue_rq");
  static_assert(!(missing && names_submit_request<D>),
                "the driver's hook submit_request is called queue_rq");
  return true;
}

// Refuses a driver that has no hook of the right name, and a public function of a usual other name
// that can be called with the hook's arguments. A function with other arguments is the driver's
// own.
#define BLKOWN_MQ_DETAIL_NOT(wrong, right, ...)                                                   \
  static_assert(                                                                                  \
      names_##right<D> || !requires(D& d, HwQueue<D>& hw, typename D::QueueData& queue,           \
                                    IdleList<Request<D>>& list, const ARef<Request<D>>& pin,      \
                                    const Cookie& cookie, Zone* zones) { d.wrong(__VA_ARGS__); }, \
      "the driver's hook " #wrong " is called " #right)

template <class D>
constexpr bool check_names_of_hooks() {
  BLKOWN_MQ_DETAIL_NOT(queue_requests, queue_rqs, hw, queue, list);
  BLKOWN_MQ_DETAIL_NOT(queueRqs, queue_rqs, hw, queue, list);
  BLKOWN_MQ_DETAIL_NOT(commit, commit_rqs, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(commit_rq, commit_rqs, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(commitRqs, commit_rqs, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(complete_rq, complete, hw, std::declval<Claim<Request<D>>>());
  BLKOWN_MQ_DETAIL_NOT(on_complete, complete, hw, std::declval<Claim<Request<D>>>());
  BLKOWN_MQ_DETAIL_NOT(timed_out, timeout, hw, pin, cookie);
  BLKOWN_MQ_DETAIL_NOT(on_timeout, timeout, hw, pin, cookie);
  BLKOWN_MQ_DETAIL_NOT(timeout_rq, timeout, hw, pin, cookie);
  BLKOWN_MQ_DETAIL_NOT(poll_rq, poll, hw);
  BLKOWN_MQ_DETAIL_NOT(poll_rqs, poll, hw);
  BLKOWN_MQ_DETAIL_NOT(init_hw, init_hctx, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(init_queue, init_hctx, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(exit_hw, exit_hctx, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(exit_queue, exit_hctx, hw, queue);
  BLKOWN_MQ_DETAIL_NOT(map_queue, map_queues, QueueType::normal, 0U, 1U);
  BLKOWN_MQ_DETAIL_NOT(report_zone, report_zones, queue, std::uint64_t{}, zones, 1U);
  BLKOWN_MQ_DETAIL_NOT(reportZones, report_zones, queue, std::uint64_t{}, zones, 1U);
  return true;
}

#undef BLKOWN_MQ_DETAIL_NOT

// Each of these functions checks the signatures of some hooks that the driver names.
template <class D>
constexpr bool check_issue_hooks() {
  using Hw = HwQueue<D>;
  using Queue = typename D::QueueData;
  using R = Request<D>;
  if constexpr (names_queue_rqs<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q, IdleList<R>& list) {
          { d.queue_rqs(hw, q, list) } -> std::same_as<void>;
        },
        "the driver's queue_rqs is the hook void queue_rqs(HwQueue<D>&, QueueData&,"
        " IdleList<Request<D>>&); a function of the driver's own has another name");
  }
  if constexpr (names_commit_rqs<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.commit_rqs(hw, q) } -> std::same_as<void>;
        },
        "the driver's commit_rqs is the hook void commit_rqs(HwQueue<D>&, QueueData&)"
        "; a function of the driver's own has another name");
  }
  return true;
}

template <class D>
constexpr bool check_completion_hooks() {
  using Hw = HwQueue<D>;
  using R = Request<D>;
  if constexpr (names_complete<D>) {
    static_assert(
        requires(D& d, Hw& hw, Claim<R> claim) {
          { d.complete(hw, std::move(claim)) } -> std::same_as<void>;
        },
        "the driver's complete is the hook void complete(HwQueue<D>&, Claim<Request<D>>)"
        "; a function of the driver's own has another name");
  }
  if constexpr (names_timeout<D>) {
    static_assert(
        requires(D& d, Hw& hw, const ARef<R>& pin, const Cookie& cookie) {
          { d.timeout(hw, pin, cookie) } -> std::same_as<TimeoutAction>;
        },
        "the driver's timeout is the hook"
        " TimeoutAction timeout(HwQueue<D>&, const ARef<Request<D>>&, const Cookie&)"
        "; a function of the driver's own has another name");
  }
  if constexpr (names_poll<D>) {
    static_assert(
        requires(D& d, Hw& hw) {
          { d.poll(hw) } -> std::same_as<unsigned>;
        },
        "the driver's poll is the hook unsigned poll(HwQueue<D>&)"
        "; a function of the driver's own has another name");
  }
  return true;
}

template <class D>
constexpr bool check_queue_hooks() {
  using Hw = HwQueue<D>;
  using Queue = typename D::QueueData;
  if constexpr (names_init_hctx<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.init_hctx(hw, q) } -> std::same_as<Status>;
        },
        "the driver's init_hctx is the hook Status init_hctx(HwQueue<D>&, QueueData&)"
        "; a function of the driver's own has another name");
  }
  if constexpr (names_exit_hctx<D>) {
    static_assert(
        requires(D& d, Hw& hw, Queue& q) {
          { d.exit_hctx(hw, q) } -> std::same_as<void>;
        },
        "the driver's exit_hctx is the hook void exit_hctx(HwQueue<D>&, QueueData&)"
        "; a function of the driver's own has another name");
  }
  if constexpr (names_map_queues<D>) {
    static_assert(
        requires(D& d) {
          { d.map_queues(QueueType::normal, 0U, 1U) } -> std::same_as<unsigned>;
        },
        "the driver's map_queues is the hook"
        " unsigned map_queues(QueueType, unsigned context_index, unsigned queue_count)"
        "; a function of the driver's own has another name");
  }
  if constexpr (names_report_zones<D>) {
    static_assert(
        requires(D& d, Queue& q, Zone* zones) {
          { d.report_zones(q, std::uint64_t{}, zones, 1U) } -> std::same_as<unsigned>;
        },
        "the driver's report_zones is the hook unsigned report_zones(QueueData&,"
        " std::uint64_t sector, Zone* zones, unsigned count)"
        "; a function of the driver's own has another name");
  }
  return true;
}

/// Checks the signature of each hook that the driver names, and that none has a usual wrong name.
template <class D>
constexpr bool check_hooks() {
  return check_names_of_hooks<D>() && check_issue_hooks<D>() && check_completion_hooks<D>() &&
         check_queue_hooks<D>();
}

/// The names of the hooks that a driver has.
class HookNames {
 public:
  template <class D>
  [[nodiscard]] static constexpr HookNames of() noexcept {
    HookNames found;
    found.add(true, "queue_rq");
    found.add(names_queue_rqs<D>, "queue_rqs");
    found.add(names_commit_rqs<D>, "commit_rqs");
    found.add(names_complete<D>, "complete");
    found.add(names_timeout<D>, "timeout");
    found.add(names_poll<D>, "poll");
    found.add(names_init_hctx<D>, "init_hctx");
    found.add(names_exit_hctx<D>, "exit_hctx");
    found.add(names_map_queues<D>, "map_queues");
    found.add(names_report_zones<D>, "report_zones");
    return found;
  }
  [[nodiscard]] constexpr std::span<const char* const> view() const noexcept {
    return {names_, count_};
  }

 private:
  constexpr void add(bool is_there, const char* name) noexcept {
    if (is_there) names_[count_++] = name;
  }

  const char* names_[10] = {};
  std::size_t count_ = 0;
};
template <class D>
inline constexpr HookNames hook_names = HookNames::of<D>();

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
