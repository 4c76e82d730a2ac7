// SPDX-License-Identifier: BSL-1.0
//
// CoreWorld: one run of a driver on the bare core with a misbehaving controller.
//
// The parties are the submitter, the controller, the interrupts, the timer and the driver. The
// world contains all parties but the driver, and runs on one thread. At each event the seed chooses
// one of the possible events. An event moves the clock by a microsecond. If no event is possible,
// the clock jumps to the next time at which one is. Nesting simulates concurrency: a controller
// step may run within a doorbell, and an interrupt within submit() and timeout(). All invariants
// are checked after every event. The first broken one ends the run.
//
// With several disks (WorldConfig::disk_count) each is a namespace of the controller, or a disk of
// the message device. They share the queues and the tags, and the I/O of all has the same sectors.

#ifndef BLKOWN_SIM_HARNESS_CORE_WORLD_HPP
#define BLKOWN_SIM_HARNESS_CORE_WORLD_HPP

#include <array>
#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/ended.hpp>
#include <blkown/place.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/host.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <blkown/tag_set.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// One run of the driver D, whose environment is H. Each world runs once.
template <detail::DriverOnCore D, class H>
class CoreWorld final : public WorldBaseOf<typename H::Device> {
  using Base = WorldBaseOf<typename H::Device>;

 public:
  using R = CoreRequest<D>;
  using Base::add;
  using Base::ended;

  /// Makes the driver of one run. May return an object of a class derived from D, if the destructor
  /// of D is virtual.
  using Make = std::function<std::unique_ptr<D>(H&)>;
  /// A Make that gives the environment to the constructor of D.
  [[nodiscard]] static std::unique_ptr<D> make_driver(H& host) {
    return std::unique_ptr<D>{new D{host}};
  }

  /// What this world makes of the kit's options.
  [[nodiscard]] static constexpr WorldFeatures features() noexcept {
    return {.has_nvme = Base::is_nvme, .has_reset = has_reset};
  }

  /// Makes the environment. run() makes the driver.
  explicit CoreWorld(const WorldConfig& config, Make make = &make_driver)
      : Base{config_of(config)},
        make_{std::move(make)},
        tags_{make_tags()},
        host_(make_host()),
        check_(make_checker()) {
    ControllerHooks hooks;
    hooks.argument = this;
    hooks.interrupt = [](void* self, std::uint32_t queue) { self_of(self).on_interrupt(queue); };
    hooks.failed = [](void* self) { self_of(self).has_failed_ = true; };
    hooks.wake = [](void* self) { self_of(self).on_doorbell(); };
    controller_.set_hooks(hooks);
  }

  [[nodiscard]] std::optional<RequestState> request_state(QueueIndex queue, Tag tag) override {
    return tag.value < config_.depth ? tags_.state_of(queue, tag) : std::nullopt;
  }
  [[nodiscard]] std::vector<Place> request_holders(QueueIndex queue, Tag tag) override {
    return holders_of(tags_.header(queue, tag));
  }
  void note_early_finding() override {
    if (!check_.check_accesses()) add(check_.finding());
  }
  /// Runs until config.io_count I/Os have ended, then stops the driver.
  /// Errors: false if an invariant was broken. finding() returns the invariant.
  bool run() {
    driver_ = make_(host_);
    while (ended() < config_.io_count || in_flight_ != 0) {
      if (!step()) return false;
      if (!check_limits(tags_, config_.io_count * max_events_per_io + 100'000)) return false;
    }
    return finish();
  }

 private:
  using Base::begin_durability;
  using Base::check_after_event;
  using Base::check_after_stop;
  using Base::check_limits;
  using Base::config_;
  using Base::controller_;
  using Base::device_;
  using Base::dice_;
  using Base::disk_of_slot;
  using Base::disk_place;
  using Base::end_io;
  using Base::fail;
  using Base::fail_with_first;
  using Base::history_;
  using Base::in_flight_;
  using Base::iommu_;
  using Base::note_accepted;
  using Base::note_interrupt;
  using Base::note_lookup;
  using Base::run_controller;
  using Base::sector_on_disk;
  using Base::slots_per_disk;
  using Base::tag_config;
  using Base::was_accepted;
  using Base::workload_;

  static constexpr bool has_reset = requires(D& driver) { driver.reset(); };

  enum class Event : std::uint8_t { submit, resubmit, controller, interrupt, timeout, failure };

  static constexpr std::uint64_t max_events_per_io = 2000;
  static constexpr std::uint64_t event_ns = 1000;
  static constexpr std::uint64_t events_per_reset = 1000;

  [[nodiscard]] static WorldConfig config_of(const WorldConfig& config) noexcept {
    WorldConfig its = Base::is_nvme ? Base::with_namespace(config) : config;
    its.has_compares = Base::is_nvme;
    if (!Base::is_nvme) its.block_bytes = config.fixed.block_bytes.value_or(512);
    return its;
  }
  [[nodiscard]] TagSet<R> make_tags() {
    auto made = TagSet<R>::create(tag_config(config_), EndSink<R>::to(sink_));
    if (!made.has_value()) std::abort();
    return *std::move(made);
  }

  [[nodiscard]] H make_host() {
    if constexpr (Base::is_nvme) {
      return H{tags_,
               *device_,
               controller_,
               {&on_lookup, this},
               {.argument = this,
                .wait = &wait,
                .admin_lookup = &on_admin_lookup,
                .first_generation = tag_config(config_).first_generation.value_or(Generation{})},
               {.nsids = nsids(), .block_bytes = config_.block_bytes}};
    } else {
      return H{tags_, controller_, {&on_lookup, this}};
    }
  }
  [[nodiscard]] std::vector<std::uint32_t> nsids() const {
    std::vector<std::uint32_t> nsids;
    for (std::uint32_t disk = 0; disk != config_.disk_count; ++disk) {
      nsids.push_back(disk_place().nsid_of(disk));
    }
    return nsids;
  }
  [[nodiscard]] InvariantChecker<R> make_checker() {
    if constexpr (Base::is_nvme) {
      return InvariantChecker<R>{tags_, *device_, *iommu_, history_};
    } else {
      return InvariantChecker<R>{tags_, history_};
    }
  }

  [[nodiscard]] std::vector<TagCache> make_caches() {
    std::vector<TagCache> caches;
    for (std::uint32_t i = 0; i != config_.queue_count; ++i)
      caches.push_back(tags_.tag_cache(QueueIndex{i}, 0));
    return caches;
  }

  // --- events -----------------------------------------------------------------------------------

  bool step() {
    if (config_.has_resets && reset_dice_.chance(1, events_per_reset)) return reset();
    // A submission that finds no tag leaves the controller as it is.
    const auto next_ns = controller_.next_ns();
    while (true) {
      std::array<Event, 6> possible{};
      std::size_t count = 0;
      if (ended() + in_flight_ < config_.io_count && in_flight_ < workload_.slot_count()) {
        possible[count++] = Event::submit;
      }
      if (!requeued_.empty()) possible[count++] = Event::resubmit;
      if (next_ns.has_value() && *next_ns <= now_ns_) possible[count++] = Event::controller;
      if (interrupts_ != 0) possible[count++] = Event::interrupt;
      if (has_failed_) possible[count++] = Event::failure;
      if (next_scan_ns_ <= now_ns_) possible[count++] = Event::timeout;
      // If every tag is taken, a submission changes nothing: the world chooses again.
      if (count != 0) {
        const Event event = possible[static_cast<std::size_t>(dice_.below(count))];
        if (event == Event::submit && !submit()) {
          if (count == 1) advance(next_ns);
          now_ns_ = blkown::detail::saturating_add(now_ns_, event_ns);
          continue;
        }
        return run_event(event);
      }
      advance(next_ns);
    }
  }
  void advance(std::optional<std::uint64_t> next_ns) noexcept {
    const std::uint64_t until_ns =
        next_ns.has_value() && *next_ns < next_scan_ns_ ? *next_ns : next_scan_ns_;
    if (until_ns > now_ns_) now_ns_ = until_ns;
  }

  bool run_event(Event event) {
    now_ns_ = blkown::detail::saturating_add(now_ns_, event_ns);
    switch (event) {
      case Event::submit: break;  // done by step()
      case Event::resubmit: resubmit(); break;
      case Event::controller:
        history_.begin_event("controller", now_ns_);
        controller_.step(now_ns_);
        break;
      case Event::interrupt: interrupt(); break;
      case Event::failure:
        history_.begin_event("controller failure", now_ns_);
        has_failed_ = false;
        driver_->failed();
        break;
      case Event::timeout: scan(); break;
    }
    return check_after_event(check_);
  }

  /// An administrator's reset of the device.
  bool reset() {
    history_.begin_event("reset", now_ns_);
    if constexpr (has_reset) driver_->reset();
    return check_after_event(check_);
  }

  void resubmit() {
    auto requeued = requeued_.pop_front();
    history_.begin_event(Activity::of_request("resubmit", requeued->queue(), requeued->tag()),
                         now_ns_);
    call_driver([&](D& driver) { driver.submit(std::move(*requeued).into_idle()); });
  }
  /// False, without any effect, if no tag is free.
  bool submit() {
    const QueueIndex queue{static_cast<std::uint32_t>(dice_.below(config_.queue_count))};
    auto idle = tags_.allocate(queue, caches_[queue.value]);
    if (!idle.has_value()) return false;
    history_.begin_event(Activity::of_request("submit", queue, idle->tag()), now_ns_);
    const std::uint32_t index = take_slot();
    Io<D>& io = idle->data();
    io.slot = index;
    io.segment_count = workload_.begin(index, dice_, io.memory);
    io.opcode = workload_.slot(index).opcode;
    io.length_sectors = workload_.slot(index).length_sectors;
    io.disk = disk_of_slot(index);
    io.sector = sector_on_disk(index);
    history_.describe(queue, idle->tag(),
                      {.operation = to_string(io.opcode),
                       .sector = io.sector,
                       .length_sectors = io.opcode == Opcode::flush ? 0 : io.length_sectors,
                       .disk = config_.disk_count == 1 ? std::nullopt : std::optional{io.disk}});
    begin_durability(index, false, false);
    ++in_flight_;
    call_driver([&](D& driver) { driver.submit(*std::move(idle)); });
    return true;
  }

  /// The next slot without an I/O. The same slot of each disk comes in turn, so that I/Os of all
  /// disks with the same sectors are in flight together.
  /// Precondition: there is one.
  [[nodiscard]] std::uint32_t take_slot() {
    const std::uint32_t disks = config_.disk_count;
    while (true) {
      const std::uint32_t turn = next_slot_;
      next_slot_ = turn + 1 == workload_.slot_count() ? 0 : turn + 1;
      const std::uint32_t slot =
          disks == 1 ? turn : turn % disks * slots_per_disk(config_) + turn / disks;
      if (!workload_.slot(slot).is_in_flight) return slot;
    }
  }

  void interrupt() {
    history_.begin_event("interrupt", now_ns_);
    auto vector = static_cast<std::uint32_t>(dice_.below(vector_count()));
    while ((interrupts_ >> vector & 1U) == 0) vector = (vector + 1) % vector_count();
    interrupts_ &= ~(std::uint64_t{1} << vector);
    interrupt_driver(vector);
  }
  /// An NvmeController has a vector for each queue, and vector 0 for the admin queue.
  [[nodiscard]] std::uint32_t vector_count() const noexcept {
    return config_.queue_count + (Base::is_nvme ? 1 : 0);
  }
  void interrupt_driver(std::uint32_t vector) {
    note_interrupt(vector);
    if constexpr (Base::is_nvme) {
      if (vector == 0) {
        const History::Within within{history_, Activity{.name = "admin interrupt"}};
        return driver_->admin_interrupt();
      }
      --vector;
    }
    const History::Within within{history_, Activity::of_queue("interrupt", QueueIndex{vector})};
    driver_->interrupt(QueueIndex{vector});
  }

  /// Runs one interrupt in four at once if the driver is in submit() or timeout(), as another
  /// processor would. The others become events.
  void on_interrupt(std::uint32_t vector) {
    if (vector >= vector_count()) {
      fail("an I/O completion queue has a vector that is not its identifier");
      return;
    }
    if (is_interruptible_ && dice_.chance(1, 4)) {
      is_interruptible_ = false;
      interrupt_driver(vector);
      is_interruptible_ = true;
      return;
    }
    interrupts_ |= std::uint64_t{1} << vector;
  }
  /// Performs the controller's next step for a driver that waits. No interrupt runs meanwhile.
  static bool wait(void* self) {
    CoreWorld& world = self_of(self);
    const auto next_ns = world.controller_.next_ns();
    if (!next_ns.has_value()) return false;
    if (*next_ns > world.now_ns_) world.now_ns_ = *next_ns;
    const bool was_interruptible = std::exchange(world.is_interruptible_, false);
    world.controller_.step(world.now_ns_);
    world.is_interruptible_ = was_interruptible;
    return true;
  }
  static void on_admin_lookup(void* self, std::uint64_t command_id, bool was_accepted) {
    if constexpr (Base::is_nvme) self_of(self).Base::note_admin_lookup(command_id, was_accepted);
  }
  /// Runs the controller within one doorbell in four: commands may be done before the doorbell
  /// returns.
  void on_doorbell() {
    if (dice_.chance(1, 4)) run_controller(now_ns_);
  }
  static void on_lookup(void* self, QueueIndex queue, std::uint64_t value, LookupReason reason) {
    CoreWorld& world = self_of(self);
    world.note_lookup(world.tags_, queue, value, reason);
    if (reason == LookupReason::none) world.note_accepted(world.tags_, queue, value);
  }
  [[nodiscard]] static CoreWorld& self_of(void* self) noexcept {
    return *static_cast<CoreWorld*>(self);
  }
  /// Calls the driver so that interrupts may run within the call.
  template <class Call>
  void call_driver(Call call) {
    is_interruptible_ = true;
    call(*driver_);
    is_interruptible_ = false;
  }

  void scan() {
    history_.begin_event("timeout scan", now_ns_);
    next_scan_ns_ = blkown::detail::saturating_add(now_ns_, config_.timeout_ns / 2);
    for (QueueIndex queue; queue.value != config_.queue_count; ++queue.value) {
      tags_.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
        Watch& watch = watches_[queue.value * config_.depth + pin.tag().value];
        if (watch.generation != cookie.generation || !watch.is_watched) {
          watch = {cookie.generation, true, now_ns_};
        } else if (now_ns_ - watch.since_ns >= config_.timeout_ns) {
          watch.since_ns = now_ns_;
          if (was_accepted(queue, cookie.tag, cookie.generation)) {
            fail("a request is in flight although its completion was accepted", tags_, queue,
                 cookie.tag);
          }
          const History::Within within{history_,
                                       Activity::of_request("timeout hook", queue, cookie.tag)};
          call_driver([&](D& driver) { driver.timeout(pin, cookie); });
        }
      });
    }
  }

  // --- the end of I/O ---------------------------------------------------------------------------

  void take_ended(EndedList<R>&& list) {
    while (auto taken = list.pop_front()) {
      const std::uint32_t slot = taken->data().slot;
      if (slot == Io<D>::no_slot) continue;  // a command of the driver's own
      if (taken->is_requeue()) {
        requeued_.push_back(*std::move(taken));
        continue;
      }
      end_io(slot, taken->status(), tags_, taken->queue(), taken->tag());
      taken->data().slot = Io<D>::no_slot;
      --in_flight_;
    }
  }

  /// Stops the driver after all I/O has ended. The driver may still have commands of its own.
  bool finish() {
    history_.begin_event("stop", now_ns_);
    driver_->stop();
    driver_.reset();
    if (!check_after_event(check_)) return false;
    if (tags_.in_flight() != 0) {
      return fail_with_first("a request is in flight after the driver was stopped", tags_);
    }
    return check_after_stop();
  }

  struct Sink {
    CoreWorld& world;
    void operator()(EndedList<R>&& list) { world.take_ended(std::move(list)); }
  };
  struct Watch {
    Generation generation;
    bool is_watched = false;
    std::uint64_t since_ns = 0;
  };

  Make make_;
  Sink sink_{*this};
  TagSet<R> tags_;
  std::vector<TagCache> caches_ = make_caches();
  H host_;
  InvariantChecker<R> check_;
  std::unique_ptr<D> driver_;
  EndedList<R> requeued_;
  std::vector<Watch> watches_ = std::vector<Watch>(config_.queue_count * config_.depth);
  std::uint64_t now_ns_ = 0;
  std::uint64_t next_scan_ns_ = config_.timeout_ns;
  std::uint64_t interrupts_ = 0;  // pending, one bit for each queue
  Random reset_dice_{config_.seed ^ 0x4E5E7};
  bool is_interruptible_ = false;
  bool has_failed_ = false;
  std::uint32_t next_slot_ = 0;
};

/// One run of the driver D of an NvmeController.
template <detail::DriverOnCore D>
using NvmeWorld = CoreWorld<D, NvmeHost<D>>;

/// One run of the driver D of a MessageDevice.
template <detail::DriverOnCore D>
using MessageWorld = CoreWorld<D, MessageHost<D>>;

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
