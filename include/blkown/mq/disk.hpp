// SPDX-License-Identifier: BSL-1.0
//
// Disk: what a driver puts up, and what I/O is submitted to.

#ifndef BLKOWN_MQ_DISK_HPP
#define BLKOWN_MQ_DISK_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/submit_queue.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/in_flight_table.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <concepts>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A disk on a driver, for a number of contexts (blk-mq's request_queue with its gendisk).
///
/// Bios are submitted on a context and end on it. A context that has I/O out must be run until that
/// has ended, and so must every context of the disk for an operation on the whole of it (freeze,
/// quiesce, set_queue_count, remove); and one that has had I/O, whenever it is woken: it may keep
/// tags that others want. The disk is removed before it is destroyed.
///
/// The driver, the contexts and a TagPool that was given outlive the disk.
template <class D>
class Disk {
  static_assert(Driver<D>,
                "a driver has the types RequestData, HwData and QueueData, and Dispatch<D>"
                " queue_rq(HwQueue<D>&, QueueData&, Idle<Request<D>>, bool is_last)");
  static_assert(detail::check_hooks<D>());

 public:
  using R = Request<D>;
  using QueueData = typename D::QueueData;

  /// Puts up a disk on the runtime's contexts. Requests come from the pool, if one is given, whose
  /// depth, layout and queues then count instead of the configuration's; it has as many queues as
  /// the disk can have, or one that all of them share.
  /// Errors: what is wrong with the configuration; init_failed if the driver's init_hctx refused.
  template <Runtime Rt>
  [[nodiscard]] static std::expected<std::unique_ptr<Disk>, DiskError> create(
      const DiskConfig& config, D& driver, Rt& runtime, QueueData data = {},
      TagPool<D>* pool = nullptr) {
    if (const auto error = detail::check_config(config)) return std::unexpected(*error);
    std::unique_ptr<Disk> disk{new (std::nothrow) Disk{config, driver, std::move(data)}};
    if (disk == nullptr) return std::unexpected(no_memory(sizeof(Disk)));
    if (const auto error = disk->take_pool(pool)) return std::unexpected(*error);
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      disk->submit_queues_.push_back(
          std::make_unique<detail::SubmitQueue<D>>(*disk, runtime.context(i)));
    }
    if (const auto error = disk->put_up()) return std::unexpected(*error);
    return disk;
  }

  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// Violation: the disk was not removed.
  /// Precondition: since then nothing was submitted whose submit may still run; and of the threads
  /// that are no contexts, none is still within a call that ends or completes one of its requests.
  ~Disk() {
    if (!is_up_) return;
#ifndef BLKOWN_NO_STDIO
    print_in_flight(stderr);
#endif
    violate(Violation::object_in_use, "destruction of mq::Disk", Place{});
  }

  // --- I/O; on the context ----------------------------------------------------------------------

  /// Submits a bio. It ends exactly once, on this context, also if it is refused: out of range, not
  /// on block boundaries, of length zero, or a write to a read-only disk (Status::invalid,
  /// not_supported), or when the disk goes (offline). It stays where it is until then.
  /// Violations: another context's thread; a bio in flight.
  void submit(Context& context, Bio& bio, Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::submit", where);
    const Entry entry{queue, "mq::Disk::submit", where};
    queue.submit(bio, where);
  }
  /// On the context whose callback or work this is. Violation: there is none.
  void submit(Bio& bio, Place where = Place::current()) {
    Context* const here = Context::current();
    if (here == nullptr) violate(Violation::wrong_context, "mq::Disk::submit", where);
    submit(*here, bio, where);
  }

  /// While it lives, bios submitted on the context are collected; then they are issued together
  /// (blk_plug): a batch for queue_rqs, one doorbell for all.
  class [[nodiscard]] Plug {
   public:
    Plug(Disk& disk, Context& context, Place where = Place::current())
        : queue_{disk.queue_of(context, "mq::Disk::Plug", where)}, where_{where} {
      queue_.plug();
    }
    Plug(const Plug&) = delete;
    Plug& operator=(const Plug&) = delete;
    ~Plug() {
      const Entry entry{queue_, "mq::Disk::Plug", where_};
      queue_.unplug();
    }

   private:
    detail::SubmitQueue<D>& queue_;
    Place where_;
  };

  /// Lets the driver reap this context's polled I/O. Returns how many the driver says it reaped.
  unsigned poll(Context& context, Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::poll", where);
    const Entry entry{queue, "mq::Disk::poll", where};
    return queue.poll();
  }

  // --- the driver's own requests; on the context ------------------------------------------------

  /// A request without a bio (admin commands, aborts, keep-alive): op is driver_in or driver_out.
  /// None if no tag is free, or the disk is frozen or gone; of the reserved tags there are
  /// reserved_depth. The driver fills in driver_data and gives it to execute_private.
  [[nodiscard]] std::optional<Idle<R>> allocate_private(Context& context, Op op, bool reserved,
                                                        QueueType type = QueueType::normal,
                                                        Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::allocate_private", where);
    const Entry entry{queue, "mq::Disk::allocate_private", where};
    return queue.allocate_private(type, op, reserved);
  }

  /// Sends it through queue_rq, like any request; timeouts apply, its own if timeout_ms is not 0.
  /// `on_end` is called on the context when it has ended: Payload::status() is how, and what the
  /// driver left in the payload can be read. After it returns, the tag is used again.
  void execute_private(Context& context, BLKOWN_HELD Idle<R>&& idle, OnEnd<Payload<D>> on_end,
                       std::uint32_t timeout_ms = 0, Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::execute_private", where);
    const Entry entry{queue, "mq::Disk::execute_private", where};
    detail::PayloadAccess<D>::set_private_end(idle.data(), on_end);
    constexpr std::uint32_t max_ms = std::uint32_t{1} << 30;
    detail::PayloadAccess<D>::timeout_ms(idle.data()) = timeout_ms < max_ms ? timeout_ms : max_ms;
    queue.execute_private(std::move(idle));
  }

  // --- operations on the whole disk; any context ------------------------------------------------

  /// No further bio is issued, nor a further step or part of one that has begun, and no private
  /// request is to be had; done is called when every request that was issued has ended. Where one
  /// cannot be issued again (the disk is quiesced, its queue stopped, a kick missing), that is not
  /// before it can, and what is started behind the freeze waits, too.
  void freeze(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::freeze, 0, where);
  }
  /// As often as it was frozen. A thaw too many does nothing.
  void thaw(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::thaw, 0, where);
  }
  /// No further request is issued, and done is called when no queue_rq runs any more.
  void quiesce(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::quiesce, 0, where);
  }
  void unquiesce(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::unquiesce, 0, where);
  }
  /// Changes the number of normal hardware queues, under I/O: freezes, tells the driver
  /// (exit_hctx, init_hctx), maps the contexts anew, thaws. If init_hctx refuses a queue, there are
  /// as many as it took, and the control's status says so.
  /// Violation: none, or more than DiskConfig::max_normal_queues.
  void set_queue_count(Control& control, std::uint32_t count, Place where = Place::current()) {
    if (count == 0 || count > detail::normal_queue_limit(config_)) {
      violate(Violation::no_such_queue, "mq::Disk::set_queue_count", where);
    }
    controls_.start(control, Control::Kind::queue_count, count, where);
  }
  /// Takes the disk down: bios that wait, and any that still come, end with Status::offline; done
  /// is called when all I/O that was issued has ended. A device that answers no more: stop it, then
  /// fail_in_flight.
  void remove(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::remove, 0, where);
  }

  /// Ends all I/O in flight with a status. Requests that a handle holds are not touched.
  /// Precondition: the device is stopped: it does not write to any I/O's memory any more.
  void fail_in_flight(Status status) {
    for (std::uint32_t i = 0; i != hw_queues_.count(); ++i) {
      hw_queues_[i].for_each_in_flight([&](const ARef<R>& pin, const Cookie& cookie) {
        if (auto right = claim(pin, cookie)) std::move(*right).end(status);
      });
    }
  }

  /// Lets go what was requeued while DiskConfig::auto_kick is off.
  void kick_requeued() noexcept {
    for (auto& queue : submit_queues_) queue->kick(true);
  }

  // --- looking on; any context ------------------------------------------------------------------

  [[nodiscard]] const DiskConfig& config() const noexcept { return config_; }
  [[nodiscard]] D& driver() const noexcept { return driver_; }
  [[nodiscard]] QueueData& queue_data() noexcept { return data_; }
  [[nodiscard]] TagPool<D>& pool() noexcept { return *pool_; }
  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(submit_queues_.size());
  }

  /// Hardware queues: the normal ones from 0, as many as there may be, then those for reads, then
  /// those for polling.
  [[nodiscard]] std::uint32_t hw_queue_count() const noexcept { return hw_queues_.count(); }
  [[nodiscard]] HwQueue<D>& hw_queue(QueueIndex index, Place where = Place::current()) noexcept {
    if (index.value >= hw_queues_.count()) {
      violate(Violation::no_such_queue, "mq::Disk::hw_queue", where);
    }
    return hw_queues_[index.value];
  }
  /// Deleted: an integer is not a QueueIndex.
  template <std::integral QueueIndexWanted>
  HwQueue<D>& hw_queue(QueueIndexWanted, Place = {}) = delete;

  [[nodiscard]] Counters counters() const noexcept {
    Counters sum;
    for (const auto& queue : submit_queues_) queue->counters().add_to(sum);
    for (std::uint32_t i = 0; i != hw_queues_.count(); ++i) hw_queues_[i].add_to(sum);
    return sum;
  }

#ifndef BLKOWN_NO_STDIO
  /// A line for each request that is on its way: queue, tag, generation, who has it, pins, what it
  /// is, for how long. Of a pool that is shared with other disks theirs, too.
  void print_in_flight(std::FILE* file) {
    const std::uint64_t now_ns =
        submit_queues_.empty() ? 0 : submit_queues_.front()->context().now_ns();
    mq::print_in_flight<D>(pool_->tags(), config_.timeout_ms, now_ns, file);
  }
#endif

  /// Describes the zones from the one that holds the sector on, as the driver knows them; returns
  /// how many, 0 if the disk has none, or the driver no report_zones.
  [[nodiscard]] unsigned report_zones(std::uint64_t sector, std::span<Zone> zones) {
    if constexpr (detail::names_report_zones<D>) {
      if (config_.zoned && sector < config_.capacity_sectors) {
        return driver_.report_zones(data_, sector, zones.data(),
                                    static_cast<unsigned>(zones.size()));
      }
    }
    return 0;
  }

  /// Precondition: no I/O yet.
  void set_trace(TraceSink sink) noexcept { trace_sink_ = sink; }

 private:
  template <class>
  friend class detail::Controls;
  template <class>
  friend class detail::SubmitQueue;
  template <class>
  friend class detail::Issuer;
  template <class>
  friend class detail::TimeoutScan;
  template <class>
  friend class HwQueue;

  using Entry = typename detail::SubmitQueue<D>::Entry;

  Disk(const DiskConfig& config, D& driver, QueueData&& data)
      : config_{config},
        driver_{driver},
        data_{std::move(data)},
        hw_queues_{*this, config_},
        controls_{*this} {}

  [[noreturn, gnu::cold, gnu::noinline]] static void violate(Violation violation,
                                                             const char* operation,
                                                             const Place& place) {
    Incident incident;
    incident.operation = operation;
    incident.place = place;
    blkown::detail::violate(violation, incident);
  }
  [[nodiscard]] static DiskError no_memory(std::size_t bytes) noexcept {
    return {.reason = DiskReason::out_of_memory, .field = "", .given = 0, .limit = bytes};
  }

  // --- putting up and taking down ---------------------------------------------------------------

  [[nodiscard]] std::optional<DiskError> take_pool(TagPool<D>* pool) {
    if (pool == nullptr) {
      auto own = TagPool<D>::create(
          {.queue_count = config_.shared_tags ? 1 : detail::HwQueues<D>::most(config_),
           .depth = config_.depth,
           .reserved_depth = config_.reserved_depth,
           .layout = config_.layout});
      if (!own.has_value()) {
        return DiskError{.reason = DiskReason::bad_tags,
                         .field = to_string(own.error().reason),
                         .given = static_cast<std::uint64_t>(own.error().reason),
                         .limit = own.error().limit};
      }
      own_pool_ = *std::move(own);
      pool = own_pool_.get();
    }
    const std::uint32_t queues = pool->tags().queue_count();
    if (queues != 1 && queues < detail::HwQueues<D>::most(config_)) {
      return DiskError{.reason = DiskReason::does_not_fit,
                       .field = "queues",
                       .given = queues,
                       .limit = detail::HwQueues<D>::most(config_)};
    }
    pool_ = pool;
    return std::nullopt;
  }

  [[nodiscard]] std::optional<DiskError> put_up() {
    const Status status = hw_queues_.put_up(*pool_);
    if (status != Status::ok) {
      return DiskError{.reason = DiskReason::init_failed,
                       .field = "init_hctx",
                       .given = static_cast<std::uint64_t>(status),
                       .limit = 0};
    }
    for (auto& queue : submit_queues_) {
      queue->attach(hw_queues_.map_of(queue->context().index()));
    }
    is_up_ = true;
    return std::nullopt;
  }

  // --- for Controls -----------------------------------------------------------------------------

  [[nodiscard]] detail::Controls<D>& controls() noexcept { return controls_; }
  void tell_contexts() noexcept {
    for (auto& queue : submit_queues_) queue->begin_control();
  }
  /// Everything is frozen.
  [[nodiscard]] Status change_queue_count(std::uint32_t count) {
    if (!is_up_) return Status::offline;
    const Status status = hw_queues_.set_normal_count(count);
    for (auto& queue : submit_queues_) {
      queue->remap(hw_queues_.map_of(queue->context().index()));
    }
    return status;
  }
  void finish_removal() {
    hw_queues_.take_down();
    is_up_ = false;
  }

  // --- for submitting ---------------------------------------------------------------------------

  [[nodiscard]] detail::SubmitQueue<D>& queue_of(const Context& context, const char* operation,
                                                 const Place& where) {
    if (context.index() >= submit_queues_.size() ||
        &submit_queues_[context.index()]->context() != &context) [[unlikely]] {
      violate(Violation::wrong_context, operation, where);
    }
    return *submit_queues_[context.index()];
  }

  [[nodiscard]] const TraceSink& trace_sink() const noexcept { return trace_sink_; }

  DiskConfig config_;
  D& driver_;
  QueueData data_;
  std::unique_ptr<TagPool<D>> own_pool_;
  TagPool<D>* pool_ = nullptr;
  detail::HwQueues<D> hw_queues_;
  std::vector<std::unique_ptr<detail::SubmitQueue<D>>> submit_queues_;
  TraceSink trace_sink_;
  bool is_up_ = false;
  detail::Controls<D> controls_;
};

template <class D>
void HwQueue<D>::start() noexcept {
  stopped_.set(false);
  for (auto& queue : disk_.submit_queues_) queue->kick(false);
}

template <class D>
template <class Visit>
void HwQueue<D>::for_each_in_flight(Visit visit, Place where) {
  const auto visit_own = [&](const ARef<R>& pin, const Cookie& cookie) {
    const auto& payload = RequestTraits<R>::data(*blkown::detail::HandleAccess::look(pin));
    if (&payload.hw_queue() == this) visit(pin, cookie);
  };
  pool_.tags().for_each_in_flight(tag_queue_, visit_own, where);
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
