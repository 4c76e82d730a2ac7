// SPDX-License-Identifier: BSL-1.0
//
// Disk: a disk on a driver, to which I/O is submitted.

#ifndef BLKOWN_MQ_DISK_HPP
#define BLKOWN_MQ_DISK_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/call_gate.hpp>
#include <blkown/mq/detail/controls.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/medium_state.hpp>
#include <blkown/mq/detail/rare_state.hpp>
#include <blkown/mq/detail/submit_queue.hpp>
#include <blkown/mq/detail/tag_share.hpp>
#include <blkown/mq/detail/waiting_bios.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/disk_ref.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/in_flight_table.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cinttypes>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A disk on a driver, for all contexts of a runtime. Bios are submitted on a context and end on
/// it.
///
/// The driver, the contexts, the string DiskConfig::name, and a TagPool given to create() outlive
/// the disk: a context, runtime or pool that is destroyed before is a violation. A disk is removed
/// before it is destroyed. These contexts must be run:
///   - a context with I/O in flight, until the I/O has ended;
///   - every context of the disk, until a control operation (freeze, quiesce, set_queue_count,
///     set_limits, remove) has ended;
///   - a context that has had I/O, whenever it is woken: it may keep tags that other contexts need.
/// Source: blk-mq's request_queue with its gendisk.
template <class D>
class alignas(blkown::detail::line_pair_bytes) Disk {
  static_assert(detail::check_name_of_queue_rq<D>());
  static_assert(Driver<D>,
                "a driver has the types RequestData, HwData and QueueData, and Dispatch<D>"
                " queue_rq(HwQueue<D>&, QueueData&, Idle<Request<D>>, bool is_last)");
  static_assert(detail::check_hooks<D>());

 public:
  using R = Request<D>;
  using QueueData = typename D::QueueData;

  /// Makes a disk on the runtime's contexts. Requests come from `pool`, or from a pool of the
  /// disk's own if `pool` is null. A pool's depth, layout and queues replace those of the
  /// configuration. The pool has one queue, which all hardware queues share, or as many as the disk
  /// can have.
  /// Errors: the first field of the configuration that is wrong; needs_poll, needs_timeout or
  /// needs_report_zones, if a field needs a hook that the driver does not have; bad_tags;
  /// does_not_fit, if the pool has too few queues; init_failed, if init_hctx refused a queue;
  /// too_large with the field "map_queues", if map_queues returned an index (`given`) above the
  /// last queue's (`limit`); out_of_memory.
  template <Runtime Rt>
  [[nodiscard]] static std::expected<std::unique_ptr<Disk>, DiskError> create(
      const DiskConfig& config, D& driver, Rt& runtime, QueueData data = {},
      TagPool<D>* pool = nullptr) {
    if (const auto error = detail::check_config(config)) return std::unexpected(*error);
    if (const auto error = missing_hook(config)) return std::unexpected(*error);
    std::unique_ptr<Disk> disk{new (std::nothrow) Disk{config, driver, std::move(data)}};
    if (disk == nullptr) return std::unexpected(no_memory(sizeof(Disk)));
    if (const auto error = disk->take_pool(pool)) return std::unexpected(*error);
    if (pool != nullptr) disk->prepare_shares(runtime.context_count());
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      disk->submit_queues_.push_back(
          std::make_unique<detail::SubmitQueue<D>>(*disk, runtime.context(i)));
    }
    if (const auto error = disk->open()) return std::unexpected(*error);
    return disk;
  }

  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// Precondition: since the removal, every submit() and every call on another thread has returned.
  /// The calls that end or complete one of the disk's requests count, too. With
  /// CompletionMode::deferred, bios that are submitted during the removal or later may end after
  /// the removal's callback, which may then not destroy the disk.
  /// Violation: object_in_use, if the disk was not removed; if a Plug of the disk exists; if a bio
  /// has not ended, because its context has to run; or if the caller is in a callback or a hook of
  /// the disk other than the callback of the removal.
  ~Disk() {
    if (is_live_) [[unlikely]]
      violate_destroyed();
    for (const auto& queue : submit_queues_) check_unused(*queue);
  }

  // --- I/O; on the context ----------------------------------------------------------------------

  /// Submits a bio. The bio and its memory stay in place until its end callback is called, once, on
  /// this context.
  /// Errors, as the bio's status: invalid, if the range is empty, not aligned to blocks or beyond
  /// the capacity, or if the memory does not have the alignment of QueueLimits; not_supported, if
  /// the disk does not have the operation; offline, if the disk is removed; again, as
  /// IoFlags::nowait says; or the driver's status.
  /// Violation: wrong_context, if the thread runs another context, or none and the context has a
  /// thread of its own (ThreadRuntime), or if the context is not one of the disk's; object_in_use,
  /// if the bio is in flight.
  void submit(Context& context, Bio& bio, Place where = Place::current()) {
    queue_of(context, "mq::Disk::submit", where).submit(bio, where);
  }
  /// Submits a bio on the context that this thread runs.
  /// Violation: as the other overload; wrong_context, if the thread runs no context.
  void submit(Bio& bio, Place where = Place::current()) {
    Context* const here = Context::current();
    if (here == nullptr) [[unlikely]]
      violate_no_context(where);
    submit(*here, bio, where);
  }

  /// Submits a list of bios in order, as one batch: as if each was submitted while a Plug exists.
  /// The list itself is not used after the call. A bio that is refused ends with its status and
  /// does not stop the rest. No end callback of these bios is called before the last one is
  /// submitted.
  /// Precondition: no pointer is null.
  /// Errors, as each bio's status: as for one bio.
  /// Violation: as for one bio.
  void submit(Context& context, std::span<Bio* const> bios, Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::submit", where);
    const Entry entry{queue, "mq::Disk::submit", where};
    queue.plug();
    for (Bio* const bio : bios) queue.submit(*bio, where);
    queue.unplug();
  }
  /// Submits a list of bios on the context that this thread runs.
  /// Violation: as for one bio.
  void submit(std::span<Bio* const> bios, Place where = Place::current()) {
    Context* const here = Context::current();
    if (here == nullptr) [[unlikely]]
      violate_no_context(where);
    submit(*here, bios, where);
  }

  /// While a Plug exists, the bios submitted on its context are collected. The Plug's destructor
  /// issues the bios together, as one batch for queue_rqs with one doorbell. Plugs nest.
  /// Context: the context given.
  /// Source: blk_plug.
  class [[nodiscard]] Plug {
   public:
    /// Begins to collect the bios of `context`.
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

  /// Calls the driver's poll() for this context's polled I/O. Returns the number of requests that
  /// the driver reports as reaped. A caller that polls for the end of an I/O must also run the
  /// context: requests that were passed to HwQueue::complete, and those passed on behind them, end
  /// there.
  unsigned poll(Context& context, Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::poll", where);
    const Entry entry{queue, "mq::Disk::poll", where};
    return queue.poll();
  }

  // --- private requests; on the context ---------------------------------------------------------

  /// Allocates a request without a bio, such as an admin command, an abort or a keep-alive. `op` is
  /// driver_in or driver_out. `reserved` takes one of the reserved_depth tags that bios do not use.
  /// The driver fills in driver_data and passes the request to execute_private. A reserved request
  /// is issued while the disk is quiesced, for the admin commands of a reset; other private
  /// requests wait. Returns none if no tag is free, or if the disk is frozen or removed.
  [[nodiscard]] std::optional<Idle<R>> allocate_private(Context& context, Op op, bool reserved,
                                                        QueueType type = QueueType::normal,
                                                        Place where = Place::current()) {
    auto& queue = queue_of(context, "mq::Disk::allocate_private", where);
    const Entry entry{queue, "mq::Disk::allocate_private", where};
    return queue.allocate_private(type, op, reserved);
  }

  /// Issues a private request through queue_rq, with the disk's timeout. The end callback runs on
  /// the context; Payload::status() and driver_data can be read in the callback. The tag is free
  /// after the callback has returned. While the disk is frozen, the request waits for the thaw. It
  /// ends with Status::offline if a removal has begun.
  void execute_private(Context& context, BLKOWN_HELD Idle<R>&& idle, OnEnd<Payload<D>> on_end,
                       Place where = Place::current()) {
    start_private(context, std::move(idle), on_end, 0, where);
  }
  /// As above, with a timeout of the request's own, unless `timeout_ms` is 0.
  /// Precondition: the driver has the hook `timeout`.
  void execute_private(Context& context, BLKOWN_HELD Idle<R>&& idle, OnEnd<Payload<D>> on_end,
                       std::uint32_t timeout_ms, Place where = Place::current()) {
    static_assert(detail::names_timeout<D>,
                  "execute_private with a timeout needs the driver's hook timeout");
    start_private(context, std::move(idle), on_end, timeout_ms, where);
  }

  // --- control operations; any context ----------------------------------------------------------
  //
  // Each starts an operation and returns. The Control's end callback reports its end, on one of the
  // disk's contexts. An operation waits for the operations started before it, for a run of every
  // context, and for the condition that its comment states. No operation waits for a later
  // operation. A quiesce and an unquiesce do not wait while an operation before them waits for
  // requests: a driver may need them to give its requests back.
  // Errors, as the Control's status: offline, if a removal has begun. During the removal, the
  // operation then ends after a run of every context. After the removal it ends within the call.
  // Violation: object_in_use, if the Control is running.

  /// Stops issuing bios, including the further parts and flushes of bios that have begun, and
  /// refuses to allocate private requests. Waits until the driver has no request: each was ended or
  /// requeued. Requeued requests wait until the thaw, and the freeze does not wait for them. The
  /// same holds for a private request that was allocated before, once it is passed to
  /// execute_private; until then the freeze waits for its submitter. Freezes nest.
  void freeze(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::freeze, 0, {}, where);
  }
  /// Undoes one freeze. Waits for nothing else. A thaw without a freeze is reported
  /// (Report::unbalanced_control) and has no effect.
  void thaw(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::thaw, 0, {}, where);
  }
  /// Stops all calls of queue_rq, except for reserved private requests (allocate_private). Waits
  /// until no other call is running, and for no request. Requests in flight stay in flight.
  /// Quiesces nest. During a removal, too, no call is running when the quiesce has ended, with
  /// Status::offline: a reset goes on and gives its requests back.
  /// Source: blk_mq_quiesce_queue, which does not depend on a freeze either.
  void quiesce(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::quiesce, 0, {}, where);
  }
  /// Undoes one quiesce. Waits for nothing else. An unquiesce without a quiesce is reported
  /// (Report::unbalanced_control) and has no effect. A caller that has started another operation,
  /// and wants it done before requests are issued, waits for its end.
  void unquiesce(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::unquiesce, 0, {}, where);
  }
  /// Changes the number of normal hardware queues under I/O: freezes the disk, calls exit_hctx or
  /// init_hctx, maps the contexts to the queues again, and thaws the disk. Waits for what freeze()
  /// waits for: a reset may quiesce the disk, requeue what is in flight, change the number of
  /// queues, and unquiesce.
  /// Effects: bios and requests that wait move to their contexts' new queues. When a moved request
  /// is issued, it gets a tag of its new queue, unless the queues share their tags. The tag's
  /// driver_data is then another one; only a private request swaps it with that of its new tag. If
  /// RequestData cannot be swapped without exceptions, a private request ends with Status::aborted
  /// instead.
  /// Errors, as the Control's status: the status with which init_hctx refused a queue. The disk
  /// then uses the queues before the refused one. offline, if the disk is removed.
  /// Violation: no_such_queue, if `count` is 0 or above DiskConfig::max_normal_queues, or if
  /// map_queues returns an index that is not below its queue_count.
  void set_queue_count(Control& control, std::uint32_t count, Place where = Place::current()) {
    if (count == 0 || count > detail::normal_queue_limit(config_)) [[unlikely]]
      violate_queue_count(count, where);
    controls_.start(control, Control::Kind::queue_count, count, {}, where);
  }
  /// Changes the limits of requests under I/O: freezes the disk, changes the limits, and thaws the
  /// disk. Waits for what freeze() waits for. `limits` replaces all limits. On a zoned disk
  /// chunk_sectors is 0 or the size of a zone, which cannot change, and neither can the block.
  /// Effects: every request that is issued after the change keeps the new limits. Waiting bios are
  /// split by the new limits from their next part on. A requeued request that is too large is
  /// issued in parts, one after another, with its tag. A waiting bio or request ends with
  /// Status::not_supported if the new limits do not have its operation, and with invalid if they
  /// refuse its memory or allow it no block. A waiting bio of which nothing was issued ends with
  /// again if it has the flag nowait and would now be split. A bio that is submitted while the
  /// operation is running is checked by the old or by the new limits.
  /// Errors, as the Control's status: invalid, if Disk::create would refuse the limits: nothing is
  /// changed, and Control::error names the limit. offline, if the disk is removed.
  /// Source: the kernel's queue_limits_commit_update_frozen.
  void set_limits(Control& control, const QueueLimits& limits, Place where = Place::current()) {
    controls_.start(control, Control::Kind::limits, 0, limits, where);
  }
  /// Removes the disk: waiting bios, requeued requests and later bios end with Status::offline,
  /// also while the disk is frozen or quiesced. The same holds for requests that the driver
  /// requeues and for private requests that are executed during the removal. Waits until the driver
  /// has no request, and every private request that was allocated has been passed to
  /// execute_private; then until every DiskAccess that exists is destroyed. Until then each context
  /// runs again and again, without a pause. A driver may reset its device during the removal: the
  /// operations of the reset do not wait for the removal. If the device does not answer, stop it
  /// and call fail_in_flight(). A second removal ends with Status::offline when the disk is
  /// removed. The callback may destroy the disk.
  /// Effects: until the disk is destroyed, every function may still be called. None issues
  /// anything: submit() ends the bio with offline, allocate_private() returns none, the operations
  /// end with offline, and the other functions find nothing to do.
  void remove(Control& control, Place where = Place::current()) {
    controls_.start(control, Control::Kind::remove, 0, {}, where);
  }

  /// Ends all I/O that the device has with a status. Requests that a handle holds are not affected.
  /// Precondition: the device is stopped, so that it does not access the memory of any I/O.
  /// Context: any.
  void fail_in_flight(Status status) {
    for (std::uint32_t i = 0; i != hw_queues_.count(); ++i) {
      hw_queues_[i].for_each_in_flight([&](const ARef<R>& pin, const Cookie& cookie) {
        if (auto right = claim(pin, cookie)) std::move(*right).end(status);
      });
    }
  }

  /// Issues the requests whose requeue took effect before the call, if DiskConfig::auto_kick is
  /// off. Has no effect before create() has made the disk, and on a removed disk.
  void kick_requeued() noexcept { kick(true); }

  // --- changes of the medium; any context -------------------------------------------------------
  //
  // A bio is checked once, when it is submitted. The change applies to every bio whose submit()
  // begins after the call has returned, on the calling thread and on threads that learn of the
  // call. Bios submitted before are issued as they are, even those that wait, and the driver
  // answers for them, as in Linux.
  // Synchronization: none.

  /// Changes the capacity: bios beyond it end with Status::invalid. 0: there is no medium.
  /// Errors: too_large or not_a_multiple of the block; the capacity is not changed.
  /// Context: any; interrupt safe.
  /// Source: the kernel's set_capacity_and_notify.
  [[nodiscard]] std::optional<DiskError> set_capacity(std::uint64_t sectors) noexcept {
    const auto error = detail::check_capacity(sectors, config_.logical_block_bytes);
    if (!error.has_value()) medium_.set_capacity(sectors);
    return error;
  }
  /// Changes whether bios that change the medium end with Status::not_supported.
  /// Context: any; interrupt safe.
  /// Source: the kernel's set_disk_ro.
  void set_read_only(bool value) noexcept { medium_.set_read_only(value); }

  // --- observation; any context -----------------------------------------------------------------

  /// The configuration that the disk was made with: that which was passed to create(), except that
  /// depth, reserved_depth, layout and shared_tags are those of the TagPool that was passed, and
  /// that timeout_ms is set. The values do not change with the medium or the limits.
  [[nodiscard]] const DiskConfig& config() const noexcept { return config_; }
  /// The present capacity.
  [[nodiscard]] std::uint64_t capacity_sectors() const noexcept {
    return medium_.capacity_sectors();
  }
  /// The present read-only state.
  [[nodiscard]] bool is_read_only() const noexcept { return medium_.is_read_only(); }
  /// The present limits: those of the configuration, or of the last set_limits() that ended with
  /// Status::ok. While a set_limits() is running, those before or after it. On a zoned disk,
  /// chunk_sectors is the size of a zone.
  /// Context: any; the call locks a mutex.
  [[nodiscard]] QueueLimits limits() const { return controls_.limits(); }
  /// The names of the hooks that the driver has, such as "queue_rq" and "timeout". A hook with a
  /// misspelled name is not in the list.
  [[nodiscard]] static constexpr std::span<const char* const> hooks() noexcept {
    return detail::hook_names<D>.view();
  }
  /// The driver.
  [[nodiscard]] D& driver() const noexcept { return driver_; }
  /// The driver's data for the disk.
  [[nodiscard]] QueueData& queue_data() noexcept { return data_; }
  /// A reference that is revoked when the disk is removed, for data that may outlive the disk. A
  /// driver may take it in init_hctx; it gives no access until create() has made the disk.
  /// Context: any.
  [[nodiscard]] DiskRef<D> ref() const noexcept { return DiskRef<D>{link_}; }
  /// The tags and requests of the disk: its own, or those that it shares with other disks.
  [[nodiscard]] TagPool<D>& pool() noexcept { return *pool_; }
  /// The number of contexts that may submit to the disk.
  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(submit_queues_.size());
  }

  /// Whether the disk uses the context.
  [[nodiscard]] bool is_on(const Context& context) const noexcept {
    return context.index() < submit_queues_.size() &&
           &submit_queues_[context.index()]->context() == &context;
  }
  /// Whether this thread is in a hook, or in the end callback of a bio or of a private request,
  /// that the disk has called on the thread's context. A call that waits for the disk does not
  /// return there. Not counted: a Control's callback, the hooks that create() and report_zones()
  /// call, and the exit_hctx of a removal.
  /// Precondition: the context was not run inside of the hook or the callback.
  [[nodiscard]] bool is_calling_out() const noexcept {
    const Context* const here = Context::current();
    return here != nullptr && is_on(*here) && submit_queues_[here->index()]->is_entered();
  }

  /// The number of hardware queues. Indexes from 0: the normal queues, as many as the configuration
  /// allows, then those for reads, then those for polling.
  [[nodiscard]] std::uint32_t hw_queue_count() const noexcept { return hw_queues_.count(); }
  /// Violation: no_such_queue.
  [[nodiscard]] HwQueue<D>& hw_queue(QueueIndex index, Place where = Place::current()) noexcept {
    if (index.value >= hw_queues_.count()) [[unlikely]]
      violate_hw_queue(where);
    return hw_queues_[index.value];
  }
  /// Deleted: an integer is not a QueueIndex.
  template <std::integral QueueIndexWanted>
  HwQueue<D>& hw_queue(QueueIndexWanted, Place = {}) = delete;

  /// The sum of the contexts' counters. Each number is read at a moment of its own.
  [[nodiscard]] Counters counters() const noexcept {
    Counters sum;
    for (const auto& queue : submit_queues_) queue->counters().add_to(sum);
    for (std::uint32_t i = 0; i != hw_queues_.count(); ++i) hw_queues_[i].add_to(sum);
    return sum;
  }

#ifndef BLKOWN_NO_STDIO
  /// Prints a line for each request in use: queue, tag, generation, holder, pins, operation, range
  /// and age. If the pool is shared, the requests of the other disks are printed, too. Then a line
  /// for each context and hardware queue whose bios wait: their number, the reason, the first, and
  /// its age. An age is the time since the first timeout scan that found the request, or the bio at
  /// the head; without the hook timeout there is none, and none of a bio that waits while the
  /// context has no request in flight. Bios that a Plug collects are not shown; a line names the
  /// context of a Plug.
  void print_in_flight(std::FILE* file) {
    mq::print_in_flight<D>(pool_->tags(), pool_->watches(), file);
    for (const auto& queue : submit_queues_) {
      queue->for_each_waiting([&](const detail::WaitingRow& row) {
        detail::print_waiting(row, queue->context(), file);
      });
      if (queue->has_plug()) {
        std::fprintf(
            file, "context %" PRIu32 ": a Plug collects bios, which are not shown until it ends\n",
            queue->context().index());
      }
    }
  }
#endif

  /// Describes the zones from the one that holds `sector` on. Returns the number described: 0 if
  /// the disk has no zones, is removed or not made yet, or the driver no report_zones. A removal
  /// does not wait for a call that has begun, because the driver may run contexts in it.
  [[nodiscard]] unsigned report_zones(std::uint64_t sector, std::span<Zone> zones) {
    if constexpr (detail::names_report_zones<D>) {
      if (config_.zoned && sector < capacity_sectors() && !kicks_.is_closed()) {
        return driver_.report_zones(data_, sector, zones.data(),
                                    static_cast<unsigned>(zones.size()));
      }
    }
    return 0;
  }

  /// Sets the function that trace events are passed to.
  /// Precondition: no I/O was submitted yet.
  void set_trace(TraceSink sink) noexcept { trace_sink_ = sink; }

 private:
  template <class>
  friend class detail::Controls;
  template <class>
  friend class detail::ControlPart;
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
      : config_{with_timeout(config)},
        medium_{config},
        driver_{driver},
        data_{std::move(data)},
        link_{std::make_shared<detail::DiskLink<D>>(*this)},
        hw_queues_{*this, config_},
        controls_{*this} {}

  void start_private(Context& context, Idle<R>&& idle, OnEnd<Payload<D>> on_end,
                     std::uint32_t timeout_ms, const Place& where) {
    auto& queue = queue_of(context, "mq::Disk::execute_private", where);
    const Entry entry{queue, "mq::Disk::execute_private", where};
    detail::RareState<D>& rare =
        idle.data(where).hw_queue().pool().rare_states().of(idle.queue(), idle.tag());
    rare.set_private_end(on_end);
    rare.timeout_ms = timeout_ms;
    queue.execute_private(std::move(idle), timeout_ms);
  }

  // --- making and removing ----------------------------------------------------------------------

  [[nodiscard]] static DiskConfig with_timeout(DiskConfig config) noexcept {
    config.timeout_ms = config.timeout_ms.value_or(detail::names_timeout<D> ? 30'000 : 0);
    return config;
  }

  /// The first field that needs a hook that the driver does not have.
  [[nodiscard]] static std::optional<DiskError> missing_hook(const DiskConfig& config) noexcept {
    const std::uint32_t timeout_ms = config.timeout_ms.value_or(0);
    if (!detail::names_poll<D> && config.poll_queues != 0)
      return DiskError{DiskReason::needs_poll, "poll_queues", config.poll_queues, 0};
    if (!detail::names_timeout<D> && timeout_ms != 0)
      return DiskError{DiskReason::needs_timeout, "timeout_ms", timeout_ms, 0};
    if (!detail::names_report_zones<D> && config.zoned)
      return DiskError{DiskReason::needs_report_zones, "zoned", 1, 0};
    return std::nullopt;
  }

  [[nodiscard]] static DiskError no_memory(std::size_t bytes) noexcept {
    return {.reason = DiskReason::out_of_memory, .field = "", .given = 0, .limit = bytes};
  }

  [[nodiscard]] std::optional<DiskError> take_pool(TagPool<D>* pool) {
    const std::uint32_t max_queues = detail::HwQueues<D>::max_count(config_);
    if (pool == nullptr) {
      auto own = TagPool<D>::create({.queue_count = config_.shared_tags ? 1 : max_queues,
                                     .depth = config_.depth,
                                     .reserved_depth = config_.reserved_depth,
                                     .layout = config_.layout,
                                     .first_generation = config_.first_generation});
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
    if (queues != 1 && queues < max_queues) {
      return DiskError{.reason = DiskReason::does_not_fit,
                       .field = "queues",
                       .given = queues,
                       .limit = max_queues};
    }
    if (own_pool_ == nullptr) {
      config_.depth = pool->tags().depth();
      config_.reserved_depth = pool->tags().reserved_depth();
      config_.layout = pool->tags().layout();
      config_.shared_tags = queues == 1;
    }
    pool_ = pool;
    pool_user_.emplace(&pool->users(), "disk", config_.name);
    return std::nullopt;
  }

  /// For a pool that other disks may use, too.
  void prepare_shares(std::uint32_t context_count) {
    constexpr std::uint64_t ns_per_ms = 1'000'000;
    const std::uint32_t timeout_ms = config_.timeout_ms.value_or(0);
    const std::uint32_t idle_ms = timeout_ms != 0 ? timeout_ms : 30'000;
    shares_ = std::make_unique<detail::TagShares>(context_count, pool_->tags().queue_count(),
                                                  idle_ms * ns_per_ms);
  }
  /// Calls `visit(line, queue, share)` for each queue of a pool that other disks may use, too.
  template <class Visit>
  void for_each_share(Visit visit) {
    if (shares_ == nullptr) return;
    for (QueueIndex queue{0}; queue.value != pool_->tags().queue_count(); ++queue.value) {
      visit(pool_->line(queue), queue, shares_->of(queue));
    }
  }

  [[nodiscard]] std::optional<DiskError> open() {
    const Status status = hw_queues_.open(*pool_);
    if (status != Status::ok) {
      return DiskError{.reason = DiskReason::init_failed,
                       .field = "init_hctx",
                       .given = static_cast<std::uint64_t>(status),
                       .limit = 0};
    }
    for (auto& queue : submit_queues_) {
      const auto map = hw_queues_.map_of(queue->context().index());
      if (!map.has_value()) {
        hw_queues_.close();
        return DiskError{.reason = DiskReason::too_large,
                         .field = "map_queues",
                         .given = map.error().answer,
                         .limit = map.error().count - 1};
      }
      queue->attach(*map);
    }
    for_each_share([&](auto& line, QueueIndex, detail::TagShare& share) {
      line.add(share, pool_->common_depth());
    });
    is_live_ = true;
    open_gates();  // last: calls of other threads may now use the disk
    return std::nullopt;
  }

  /// Finds what would use one context's side of the disk after the disk.
  void check_unused(const detail::SubmitQueue<D>& queue) const {
    if (queue.is_entered()) [[unlikely]] {
      violate_used("disk '{subject}' destroyed in a callback or a hook that it has called",
                   "destroy it in the callback of remove() or later");
    }
    if (queue.is_plugged()) [[unlikely]] {
      violate_used("disk '{subject}' destroyed while a Disk::Plug of it exists",
                   "destroy the Plug first");
    }
    if (queue.is_work_queued()) [[unlikely]] {
      violate_used("disk '{subject}' destroyed while its mq::Work is queued on a context",
                   "run the contexts until every bio has ended");
    }
  }

  // --- for Controls -----------------------------------------------------------------------------

  [[nodiscard]] detail::Controls<D>& controls() noexcept { return controls_; }
  void tell_contexts() noexcept {
    for (auto& queue : submit_queues_) queue->begin_control();
  }
  void tell_contexts_aside() noexcept {
    for (auto& queue : submit_queues_) queue->begin_side_control();
  }
  /// Precondition: every context has answered a freeze.
  [[nodiscard]] Status change_queue_count(std::uint32_t count, const Place& where) {
    auto& here = queue_of(*Context::current(), "mq::Disk::set_queue_count", where);
    here.begin_hooks();
    const Status status = hw_queues_.set_normal_count(count);
    for (auto& queue : submit_queues_) {
      const auto map = hw_queues_.map_of(queue->context().index());
      if (!map.has_value()) [[unlikely]]
        violate_map(map.error(), where);
      queue->remap(*map);
    }
    here.end_hooks();
    return status;
  }
  void set_aligned_memory(bool value) noexcept { medium_.set_aligned_memory(value); }
  /// Admits the calls of other threads that a removal waits for: kicks, and uses through DiskRefs.
  void open_gates() noexcept {
    kicks_.open();
    link_->gate.open();
  }
  /// Refuses them.
  void close_gates() noexcept {
    kicks_.close();
    link_->gate.close();
  }
  [[nodiscard]] bool are_gates_empty() const noexcept {
    return kicks_.is_empty() && link_->gate.is_empty();
  }
  void finish_removal() {
    hw_queues_.close();
    for_each_share([&](auto& line, QueueIndex queue, detail::TagShare& share) {
      line.remove(pool_->tags(), queue, share);
    });
    is_live_ = false;
  }

  /// Makes every context issue its waiting bios again. With `requeues`, held requests are issued
  /// too. Behind the gate, so that no work of a removed disk is posted.
  void kick(bool requeues) noexcept {
    if (!kicks_.enter()) return;
    for (auto& queue : submit_queues_) queue->kick(requeues);
    kicks_.leave();
  }

  // --- for submitting ---------------------------------------------------------------------------

  [[nodiscard]] detail::SubmitQueue<D>& queue_of(const Context& context, const char* operation,
                                                 const Place& where) {
    if (context.index() >= submit_queues_.size() ||
        &submit_queues_[context.index()]->context() != &context) [[unlikely]] {
      violate_context(operation, where);
    }
    return *submit_queues_[context.index()];
  }

  /// Null if no other disk can use the pool.
  [[nodiscard]] detail::TagShares* tag_shares() const noexcept { return shares_.get(); }
  [[nodiscard]] const detail::MediumState& medium() const noexcept { return medium_; }
  [[nodiscard]] const TraceSink& trace_sink() const noexcept { return trace_sink_; }

  // --- violations -------------------------------------------------------------------------------

  [[noreturn, gnu::cold, gnu::noinline]] void violate_destroyed() {
#ifndef BLKOWN_NO_STDIO
    print_in_flight(stderr);
#endif
    const Incident incident = Incident::of("destruction of mq::Disk", Place{});
    const Word in_flight = counters().in_flight();
    blkown::detail::violate(
        Violation::object_in_use,
        (in_flight == 0
             ? incident.with("disk '{subject}' destroyed before it was removed",
                             "call remove() and wait for it")
             : incident.with(
                   "disk '{subject}' destroyed while {count|request is|requests are} in flight",
                   "call remove() and wait for it"))
            .about(config_.name, in_flight));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_used(const char* problem,
                                                           const char* remedy) const {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("destruction of mq::Disk", Place{}).with(problem, remedy).about(config_.name));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_no_context(const Place& where) const {
    blkown::detail::violate(
        Violation::wrong_context,
        Incident::of("mq::Disk::submit", where)
            .with("a bio was submitted to disk '{subject}' by a thread that runs no context",
                  "pass the context, or submit in its work")
            .about(config_.name));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_context(const char* operation,
                                                              const Place& where) const {
    blkown::detail::violate(Violation::wrong_context,
                            Incident::of(operation, where)
                                .with("the context is not one of disk '{subject}'",
                                      "pass a context of the runtime that the disk was made with")
                                .about(config_.name));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_queue_count(std::uint32_t count,
                                                                  const Place& where) const {
    blkown::detail::violate(
        Violation::no_such_queue,
        Incident::of("mq::Disk::set_queue_count", where)
            .with("disk '{subject}' cannot have {count|normal queue|normal queues}",
                  "pass 1 to DiskConfig::max_normal_queues")
            .about(config_.name, count));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_map(const detail::MapMistake& mistake,
                                                          const Place& where) const {
    Incident incident = Incident::of("mq::Disk::set_queue_count", where)
                            .with(
                                "map_queues of disk '{subject}' returned an index beyond"
                                " {count|queue|queues}",
                                "return an index below queue_count")
                            .about(config_.name, mistake.count);
    incident.has_queue = true;
    incident.queue = QueueIndex{mistake.answer};
    blkown::detail::violate(Violation::no_such_queue, incident);
  }
  [[noreturn, gnu::cold, gnu::noinline]] void violate_hw_queue(const Place& where) const {
    blkown::detail::violate(Violation::no_such_queue,
                            Incident::of("mq::Disk::hw_queue", where)
                                .with("disk '{subject}' has {count|hardware queue|hardware queues}",
                                      "pass an index below hw_queue_count()")
                                .about(config_.name, hw_queues_.count()));
  }

  DiskConfig config_;
  detail::MediumState medium_;
  D& driver_;
  QueueData data_;
  std::shared_ptr<detail::DiskLink<D>> link_;
  std::unique_ptr<TagPool<D>> own_pool_;
  TagPool<D>* pool_ = nullptr;
  std::unique_ptr<detail::TagShares> shares_;  // null: no other disk can use the pool
  std::optional<blkown::detail::User> pool_user_;
  detail::HwQueues<D> hw_queues_;
  std::vector<std::unique_ptr<detail::SubmitQueue<D>>> submit_queues_;
  TraceSink trace_sink_;
  bool is_live_ = false;  // between create() and the end of the removal
  // Any thread writes the next members, and each I/O reads those above.
  alignas(blkown::detail::line_pair_bytes) detail::CallGate kicks_;
  detail::Controls<D> controls_;
};

template <class D>
void HwQueue<D>::start() noexcept {
  stopped_.set(false);
  disk_.kick(false);
}

template <class D>
template <class Visit>
void HwQueue<D>::for_each_in_flight(Visit visit, Place where) {
  const auto visit_own = [&](const ARef<R>& pin, const Cookie& cookie) {
    const auto& payload = RequestTraits<R>::data(*blkown::detail::HandleAccess::look(pin));
    if (&payload.hw_queue() == this) visit(pin, cookie);
  };
  pool_.tags().for_each_in_flight(tag_queue(), visit_own, where);
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
