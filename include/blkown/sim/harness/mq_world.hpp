// SPDX-License-Identifier: BSL-1.0
//
// MqWorld: one run of a driver of the block layer with a misbehaving NVMe controller.
//
// The driver starts the controller, which behaves well until the disk exists. Three contexts of a
// DeterministicRuntime submit bios. A fourth context runs the controller. At each step the seed
// chooses one piece of work among all that is ready. Each slot of the workload has a bio, whose
// callback submits it again until the run has enough I/O. A second party quiesces or freezes the
// disk, stops its queues, and changes its limits at random moments. The disk is removed when only
// the last few bios are left, or none: what is not issued ends with `offline` then. All invariants
// are checked after every step. The first broken one ends the run.
//
// In half of the runs with one disk, the disk has a pool of tags of its own. With several disks
// (WorldConfig::disk_count) each has a namespace, a party and slots of its own. They share the
// controller's queues and the tags. In half of the runs one of them is removed
// early, while the I/O of the others goes on. Most often it is made again a little later, on the
// same namespace, and has I/O again. The removed disk is destroyed before that, or at the end of
// the run. A driver with a function defer_resets() is asked first: while it resets its controller,
// no disk is made.
//
// Time passes for a driver that waits (MqHost::pause), for example in a reset, but not for the
// runtime: no timer fires then.

#ifndef BLKOWN_SIM_HARNESS_MQ_WORLD_HPP
#define BLKOWN_SIM_HARNESS_MQ_WORLD_HPP

#include <algorithm>
#include <array>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tag_set_config.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The environment of a driver of the block layer.
class MqHost {
 public:
  /// What the world does for the driver.
  struct Services {
    void* argument = nullptr;
    std::uint64_t (*now_ns)(void* argument) = nullptr;
    void (*pause)(void* argument) = nullptr;
  };

  /// The parts of the world that the driver uses.
  MqHost(dma::Device<Iommu>& its_device, NvmeController& its_controller, const TagSetConfig& tags,
         const Services& services)
      : device{its_device},
        controller{its_controller},
        queue_count{tags.queue_count},
        depth{tags.depth},
        first_generation{tags.first_generation.value_or(Generation{})},
        services_{services} {}

  dma::Device<Iommu>& device;
  NvmeController& controller;
  const std::uint32_t queue_count;    ///< Hardware queues.
  const std::uint32_t depth;          ///< Tags of each queue.
  const Generation first_generation;  ///< For a TagSet of the driver's own: runs repeat with it.

  /// The simulated clock.
  [[nodiscard]] std::uint64_t now_ns() const { return services_.now_ns(services_.argument); }
  /// Lets some time pass, in which the controller works. The driver calls it between two looks at
  /// the controller. interrupt() may run within the call.
  void pause() { services_.pause(services_.argument); }

 private:
  Services services_;
};

namespace detail {

/// The members of a driver of the block layer for the kit but its constructor.
template <class D>
concept DriverOnMq =
    mq::Driver<D> && requires(D& driver, std::uint32_t number, typename D::QueueData& data) {
      { driver.start() } -> std::same_as<bool>;
      { driver.identify(number, data) } -> std::same_as<mq::DiskConfig>;
      { driver.interrupt(number) } -> std::same_as<void>;
      { driver.failed() } -> std::same_as<void>;
      { driver.stop() } -> std::same_as<bool>;
    };

/// The events of the I/O queues, for the Oracle. The lookups of the admin queue are not traced.
class IoQueueEvents : public NvmeObserver {
 public:
  using Entry = nvme::SubmissionEntry;

  explicit IoQueueEvents(NvmeObserver& oracle) : oracle_{oracle} {}
  void command_fetched(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_fetched(queue, entry);
  }
  void command_refused(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_refused(queue, entry);
  }
  void command_failed_for_good(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_failed_for_good(queue, entry);
  }
  void command_done(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_done(queue, entry);
  }
  void entry_posted(std::uint32_t queue, std::uint64_t cookie, bool is_genuine) override {
    if (queue != 0) oracle_.entry_posted(queue, cookie, is_genuine);
  }
  void entry_taken(std::uint32_t queue) override {
    if (queue != 0) oracle_.entry_taken(queue);
  }
  void entry_hidden(std::uint32_t queue) override {
    if (queue != 0) oracle_.entry_hidden(queue);
  }
  void foreign_entry_posted(std::uint32_t queue) override {
    if (queue != 0) oracle_.foreign_entry_posted(queue);
  }
  void queue_stopped(std::uint32_t queue) override {
    if (queue != 0) oracle_.queue_stopped(queue);
  }
  void doorbell_misused(std::uint32_t queue) override { oracle_.doorbell_misused(queue); }
  void stopped() override { oracle_.stopped(); }

 private:
  NvmeObserver& oracle_;
};

}  // namespace detail

/// A driver of the block layer for the kit: an mq::Driver of an NvmeController, which the driver
/// starts, resets and stops. The I/O queue n of the controller, from 1, is the hardware queue
/// n - 1, and a command identifier is a cookie (CookieLayout::nvme).
///
///   explicit D(MqHost&);
///   bool start();                         enables the controller and creates its I/O queues;
///                                         false: that has failed
///   mq::DiskConfig identify(std::uint32_t nsid, QueueData&);
///                                         the disk of a namespace: capacity, block, limits, cache,
///                                         FUA; fills in the disk's data. The world chooses queues,
///                                         tags and timeout, and lowers the limits
///   void interrupt(std::uint32_t vector); takes the completions of the queues with this MSI-X
///                                         vector; may run within a doorbell
///   void failed();                        the controller has failed (CSTS.CFS); on the
///                                         controller's context
///   bool stop();                          the last call, after the disk is destroyed: stops the
///                                         controller and frees all memory of the device; false:
///                                         that has failed
///
/// Two functions are optional: reset(), which WorldConfig::has_resets calls, and defer_resets(),
/// whose result the world keeps while it makes a disk again. Without a value in it, the world tries
/// again later.
///
/// The driver must look up each entry of an I/O completion queue that names its submission queue
/// once, with claim(), tag_to_rq() or tag_to_owned() of the disk's HwQueue. The world learns of
/// lookups from the disk's trace. A lookup in the TagSet is not traced: the world then reports an
/// entry that was not looked up. After exit_hctx the driver may drop entries: only false ones come.
template <class D>
concept MqDriver = detail::DriverOnMq<D> && requires(MqHost& host) { D{host}; };

/// One run of the driver D. Each world runs once.
template <detail::DriverOnMq D>
class MqWorld final : public WorldBaseOf<NvmeController> {
  using Base = WorldBaseOf<NvmeController>;

 public:
  using R = mq::Request<D>;

  static constexpr std::uint32_t submitters = 3;

  /// What this world makes of the kit's options.
  [[nodiscard]] static constexpr WorldFeatures features() noexcept {
    return {.has_nvme = true, .has_block_layer = true, .has_reset = has_reset};
  }

  /// Makes the driver of one run. May return an object of a class derived from D, if the destructor
  /// of D is virtual.
  using Make = std::function<std::unique_ptr<D>(MqHost&)>;
  /// A Make that gives the environment to the constructor of D.
  [[nodiscard]] static std::unique_ptr<D> make_driver(MqHost& host) {
    return std::unique_ptr<D>{new D{host}};
  }

  /// Makes the environment. run() makes the driver and its disk.
  explicit MqWorld(const WorldConfig& config, Make make = &make_driver)
      : Base{with_namespace(config)},
        make_{std::move(make)},
        runtime_{config.seed, submitters + 1},
        pump_{controller_, runtime_.context(submitters)},
        host_{*device_,
              controller_,
              tag_config(config),
              {.argument = this, .now_ns = &clock_of, .pause = &pause}},
        bios_(workload_.slot_count()) {
    controller_.set_observer(&io_events_);
    ControllerHooks hooks;
    hooks.argument = this;
    hooks.interrupt = [](void* self, std::uint32_t vector) {
      if (of(self).driver_ == nullptr) return;
      const History::Within within{
          of(self).history_,
          {.name = "interrupt", .of = Activity::Of::vector, .number = vector, .tag = 0}};
      of(self).note_interrupt(vector);
      of(self).driver_->interrupt(vector);
    };
    // Later, on the controller's context: the driver may be inside a doorbell now.
    hooks.failed = [](void* self) {
      if (!of(self).is_stopping_) of(self).runtime_.context(submitters).post(of(self).failure_);
    };
    hooks.wake = [](void* self) { of(self).on_doorbell(); };
    controller_.set_hooks(hooks);
  }

  [[nodiscard]] std::optional<RequestState> request_state(QueueIndex queue, Tag tag) override {
    if (pool_ == nullptr || tag.value >= config_.depth) return std::nullopt;
    return tags().state_of(queue, tag);
  }
  [[nodiscard]] std::vector<Place> request_holders(QueueIndex queue, Tag tag) override {
    if (pool_ == nullptr) return {};  // the driver sends before there is a disk
    return holders_of(tags().header(queue, tag));
  }
  void note_early_finding() override {
    if (check_.has_value() && !check_->check_accesses()) add(check_->finding());
  }
  /// Runs until config.io_count bios have ended, then removes the disk.
  /// Errors: false if an invariant was broken. finding() returns the invariant.
  bool run() {
    // A driver would believe a false completion of an Identify command.
    FaultPlan plan = std::exchange(faults_, FaultPlan{});
    if (!bring_up()) return false;
    faults_ = std::move(plan);
    start_io();
    while (!std::ranges::all_of(disks_, &DiskRun::is_removed)) {
      if (is_absence_due()) disks_[absences_[absence_].disk]->remove();
      if (is_return_due() && !end_absence()) return false;
      if (is_removal_due()) begin_removal();
      if (!step()) {
        return fail_with_first(in_flight_ != 0
                                   ? "no context has work left, but an I/O has not ended"
                                   : "no context has work left, but the disk is not removed",
                               tags());
      }
      if (!check_after_step()) return false;
      for (const auto& its : disks_) {
        if (!its->is_removing) its->party->act();
      }
      if (!check_limits(tags(), config_.io_count * max_events_per_io + 1'000'000)) return false;
      if (is_lost()) {
        return fail_with_first("an I/O is lost: none has ended for five thousand timeouts", tags());
      }
    }
    return finish();
  }

 private:
  static constexpr bool has_reset = requires(D& driver) { driver.reset(); };
  static constexpr std::uint64_t max_events_per_io = 5000;
  static constexpr std::uint64_t max_timeouts_per_io = 5000;
  static constexpr std::uint32_t max_steps_removed = 1'000'000;
  static constexpr std::uint64_t pause_ns = 100'000;

  struct Starter : mq::Work {
    /// `its_disk`: the only one that gets I/O. None: each one.
    Starter(MqWorld& its_world, std::uint32_t its_index, std::optional<std::uint32_t> its_disk)
        : Work{[](void* self, Work&) { static_cast<Starter*>(self)->go(); }, this},
          world{its_world},
          index{its_index},
          disk{its_disk} {}
    void go() {
      ++world.starts_;
      for (std::uint32_t i = index; i < world.workload_.slot_count(); i += submitters) {
        const bool is_due = !disk.has_value() || world.disk_of_slot(i) == *disk;
        if (is_due && !world.workload_.slot(i).is_in_flight) world.submit(i);
      }
    }
    MqWorld& world;
    std::uint32_t index;
    std::optional<std::uint32_t> disk;
  };
  /// A disk, and what is done to it.
  struct DiskRun {
    DiskRun(MqWorld& its_world, std::uint32_t its_index) : world{its_world}, index{its_index} {}
    void remove() {
      if (std::exchange(is_removing, true)) return;
      disk->remove(removal);
    }

    MqWorld& world;
    std::uint32_t index;
    std::unique_ptr<mq::Disk<D>> disk;
    std::optional<SecondParty<D>> party;
    bool is_removing = false;
    bool is_removed = false;
    mq::Control removal{
        {[](void* self, mq::Control&) { static_cast<DiskRun*>(self)->is_removed = true; }, this}};
  };
  /// What the driver says of a namespace.
  struct Identified {
    mq::DiskConfig config;
    typename D::QueueData data{};
  };
  /// A disk is removed before the others when so many I/Os of the run were submitted, and made
  /// again when so many more were.
  struct Absence {
    std::uint32_t disk = 0;
    std::uint64_t begin = UINT64_MAX;
    std::uint64_t end = UINT64_MAX;        // never
    bool is_destroyed = false;             // before it is made again, if nothing uses it
    std::optional<Identified> returned{};  // the namespace, for the disk that is made again
  };
  /// The absences of the run, one after another.
  [[nodiscard]] static std::vector<Absence> choose_absences(const WorldConfig& config) {
    constexpr std::size_t max_absences = 4;
    Random dice{config.seed ^ 0xD15C'4E30};
    std::vector<Absence> absences;
    if (config.disk_count == 1 || !dice.chance(1, 2)) return absences;
    absences.push_back({.disk = static_cast<std::uint32_t>(dice.below(config.disk_count)),
                        .begin = 1 + dice.below(config.io_count)});
    while (dice.chance(7, 8)) {
      Absence& latest = absences.back();
      latest.end = latest.begin + dice.below(config.io_count / 8 + 1);
      latest.is_destroyed = dice.chance(1, 2);
      if (absences.size() == max_absences || !dice.chance(3, 4)) break;
      absences.push_back({.disk = static_cast<std::uint32_t>(dice.below(config.disk_count)),
                          .begin = absences.back().end + 1 + dice.below(config.io_count / 4 + 1)});
    }
    return absences;
  }
  /// A slot's bio, with its memory and the argument of its callback.
  struct SlotBio {
    MqWorld* world = nullptr;
    std::uint32_t slot = 0;
    std::array<Segment, 3> memory;
    mq::Bio bio;
  };

  [[nodiscard]] bool is_lost() noexcept {
    return (runtime_.now_ns() - last_end_ns_) / max_timeouts_per_io > config_.timeout_ns;
  }
  [[nodiscard]] TagSet<R>& tags() noexcept { return pool_->tags(); }
  [[nodiscard]] static MqWorld& of(void* self) noexcept { return *static_cast<MqWorld*>(self); }

  /// Makes the driver, has it start the controller, and makes the disks.
  /// Errors: false, with a finding.
  [[nodiscard]] bool bring_up() {
    driver_ = make_(host_);
    if (!driver_->start()) return fail("the driver did not start a controller without faults");
    if (!has_own_pool_) {
      auto pool = mq::TagPool<D>::create(tag_config(config_));
      if (!pool.has_value()) std::abort();
      shared_pool_ = *std::move(pool);
      pool_ = shared_pool_.get();
    }
    for (std::uint32_t i = 0; i != config_.disk_count; ++i) {
      disks_.push_back(std::make_unique<DiskRun>(*this, i));
      auto found = identify(i);
      if (!found.has_value() || !make_disk(*disks_.back(), *std::move(found))) return false;
    }
    // Now, because a driver would believe a false completion of an Identify command later.
    for (Absence& absence : absences_) {
      if (absence.end == UINT64_MAX) continue;
      absence.returned = identify(absence.disk);
      if (!absence.returned.has_value()) return false;
    }
    check_.emplace(tags(), *device_, *iommu_, history_);
    return true;
  }
  /// Errors: none, with a finding.
  [[nodiscard]] std::optional<Identified> identify(std::uint32_t disk) {
    std::optional<Identified> found{std::in_place};
    found->config = driver_->identify(disk_place().nsid_of(disk), found->data);
    if (found->config.capacity_sectors != disk_sectors() ||
        found->config.logical_block_bytes != config_.block_bytes) {
      fail("the driver took the namespace for another one");
      return std::nullopt;
    }
    choose(found->config);
    return found;
  }
  [[nodiscard]] bool make_disk(DiskRun& its, Identified&& found) {
    auto made = mq::Disk<D>::create(found.config, *driver_, runtime_, std::move(found.data),
                                    shared_pool_.get());
    if (!made.has_value()) {
      return fail(std::string{"no disk can be made on the driver: "} + made.error().field + ": " +
                  to_string(made.error().reason));
    }
    its.disk = *std::move(made);
    pool_ = &its.disk->pool();
    its.disk->set_trace({&on_trace, &its});
    // The party of the first disk is the same with any number of disks.
    const std::uint64_t number =
        (std::uint64_t{its.index} << 56) | (std::uint64_t{gone_.size()} << 48);
    its.party.emplace(config_.seed ^ number, *its.disk, runtime_.context(submitters),
                      duties(its.index));
    return true;
  }
  /// Makes the absent disk again, unless the driver resets its controller now.
  /// Errors: false, with a finding.
  [[nodiscard]] bool end_absence() {
    if constexpr (requires { driver_->defer_resets().has_value(); }) {
      const auto deferral = driver_->defer_resets();
      return !deferral.has_value() || make_again(true);
    } else {
      return make_again(false);
    }
  }
  /// `is_quiet`: the driver has no operation left on the removed disk.
  [[nodiscard]] bool make_again(bool is_quiet) {
    history_.begin_event("return of a disk", runtime_.now_ns());
    Absence& absence = absences_[absence_++];
    auto& place = disks_[absence.disk];
    if (is_quiet && absence.is_destroyed && place->party->is_idle()) {
      place->party.reset();
      place->disk.reset();
    }
    gone_.push_back(std::exchange(place, std::make_unique<DiskRun>(*this, absence.disk)));
    if (!make_disk(*place, *std::move(absence.returned))) return false;
    start_io(absence.disk);
    return true;
  }
  /// Has each context submit the I/O of the disk, or of each one.
  void start_io(std::optional<std::uint32_t> disk = {}) {
    for (std::uint32_t i = 0; i != submitters; ++i) {
      starters_.push_back(std::make_unique<Starter>(*this, i, disk));
      runtime_.context(i).post(*starters_.back());
    }
  }
  /// One party resets the controller, which all disks have.
  [[nodiscard]] PartyDuties duties(std::uint32_t disk) {
    PartyDuties duties{.changes_queue_count = config_.has_queue_changes, .argument = this};
    if constexpr (has_reset) {
      if (config_.has_resets && disk == 0)
        duties.reset = [](void* self) { of(self).driver_->reset(); };
    }
    return duties;
  }
  /// The world's part of a disk's configuration.
  void choose(mq::DiskConfig& disk) const {
    // Small enough that many bios are split.
    const std::uint32_t max_sectors = config_.block_bytes == 512 ? 8 : 16;
    disk.limits.max_sectors = std::min(disk.limits.max_sectors, max_sectors);
    disk.limits.max_segments = std::min(disk.limits.max_segments, 4U);
    disk.limits.max_discard_sectors =
        std::min<std::uint64_t>(disk.limits.max_discard_sectors, max_sectors);
    disk.limits.max_write_zeroes_sectors =
        std::min<std::uint64_t>(disk.limits.max_write_zeroes_sectors, max_sectors);
    disk.fua = disk.fua && config_.has_fua();
    disk.normal_queues = config_.queue_count;
    disk.poll_queues = 0;
    disk.depth = config_.depth;
    disk.reserved_depth = config_.reserved_depth;
    disk.layout = CookieLayout::nvme();
    disk.first_generation = tag_config(config_).first_generation;
    // Rounded up, and at most what a disk accepts.
    constexpr std::uint64_t max_ms = std::uint64_t{1} << 30;
    const std::uint64_t timeout_ms =
        config_.timeout_ns / 1'000'000 + (config_.timeout_ns % 1'000'000 != 0 ? 1 : 0);
    if constexpr (mq::detail::names_timeout<D>)
      disk.timeout_ms = static_cast<std::uint32_t>(std::min(timeout_ms, max_ms));
  }

  // --- bios -------------------------------------------------------------------------------------

  void submit(std::uint32_t slot) {
    DiskRun& its = *disks_[disk_of_slot(slot)];
    if (begun_ == config_.io_count || its.is_removing) return;
    ++begun_;
    ++in_flight_;
    SlotBio& own = bios_[slot];
    own.world = this;
    own.slot = slot;
    const std::uint32_t count = cut_on_pages(own.memory, workload_.begin(slot, dice_, own.memory));
    const Workload::Slot& io = workload_.slot(slot);
    const std::uint64_t sector = workload_.sector_of(slot) % disk_sectors();
    const std::uint64_t length_bytes = io.length_sectors * detail::bytes_in_sector;
    const std::span<const Segment> memory{own.memory.data(), count};
    const mq::IoFlags flags = choose_flags();
    switch (io.opcode) {
      case Opcode::read: own.bio.set_read(sector, memory, {&on_end, &own}, flags); break;
      case Opcode::write: own.bio.set_write(sector, memory, {&on_end, &own}, flags); break;
      case Opcode::discard:
        own.bio.set_discard(sector, length_bytes, {&on_end, &own}, flags);
        break;
      case Opcode::write_zeroes:
        own.bio.set_write_zeroes(sector, length_bytes, {&on_end, &own}, flags);
        break;
      default: own.bio.set_flush({&on_end, &own});
    }
    begin_durability(slot, flags.fua, flags.preflush);
    its.disk->submit(own.bio);
  }
  /// Cuts the memory of an I/O, which is contiguous, where a page ends, or not at all. Elsewhere
  /// PRP entries allow no cut. Returns the number of segments.
  [[nodiscard]] static std::uint32_t cut_on_pages(std::array<Segment, 3>& memory,
                                                  std::uint32_t count) {
    constexpr std::size_t page_bytes = Iommu::page_bytes;
    if (count != 2) return count;
    Segment rest{memory[0].data, memory[0].length_bytes + memory[1].length_bytes};
    std::uint32_t cut = 0;
    while (true) {
      const std::size_t here =
          page_bytes - reinterpret_cast<std::uintptr_t>(rest.data) % page_bytes;
      memory[cut++] = {rest.data, std::min(here, rest.length_bytes)};
      if (here >= rest.length_bytes) return cut;
      rest = {rest.data + here, rest.length_bytes - here};
    }
  }
  /// The flags of the next bio. The disk ignores those that do not fit the operation.
  [[nodiscard]] mq::IoFlags choose_flags() {
    const std::optional<std::uint32_t>& preflush = config_.preflush_percent;
    return {.fua = flag_dice_.chance(config_.fua_percent, 100),
            .preflush =
                preflush.has_value() ? flag_dice_.chance(*preflush, 100) : flag_dice_.chance(1, 8)};
  }
  static void on_end(void* self, mq::Bio& bio) {
    SlotBio& own = *static_cast<SlotBio*>(self);
    own.world->ended_one(own, bio.status());
  }
  void ended_one(SlotBio& own, Status status) {
    // The request of the bio's latest part.
    end_io(own.slot, status, tags(), ended_queue_, ended_tag_);
    const bool is_removing = disks_[disk_of_slot(own.slot)]->is_removing;
    if (status == Status::offline && !is_removing) fail("the driver has given the controller up");
    last_end_ns_ = runtime_.now_ns();
    --in_flight_;
    submit(own.slot);
  }

  // --- events -----------------------------------------------------------------------------------

  /// All bios were submitted, and few of them have not ended.
  [[nodiscard]] bool is_removal_due() const noexcept {
    return !is_removing_ && begun_ == config_.io_count && starts_ == starters_.size() &&
           in_flight_ <= left_at_removal_;
  }
  [[nodiscard]] bool is_absence_due() const noexcept {
    return absence_ != absences_.size() && begun_ >= absences_[absence_].begin &&
           starts_ == starters_.size();
  }
  /// The disk is removed, and all its I/O has ended.
  [[nodiscard]] bool is_return_due() const noexcept {
    if (absence_ == absences_.size() || is_removing_ || begun_ == config_.io_count) return false;
    const Absence& its = absences_[absence_];
    if (begun_ < its.end || !disks_[its.disk]->is_removed) return false;
    const std::uint32_t slots = slots_per_disk(config_);
    for (std::uint32_t i = its.disk * slots; i != (its.disk + 1) * slots; ++i) {
      if (workload_.slot(i).is_in_flight) return false;
    }
    return true;
  }
  void begin_removal() {
    is_removing_ = true;
    for (const auto& its : disks_) its->remove();
  }
  /// Checks all invariants. The entries that come when the disk is removed have no queue to be
  /// looked up with.
  bool check_after_step() {
    const bool has_queues = !is_removing_ || tags().in_flight() != 0;
    return check_after_event(*check_, has_queues ? Entries::looked_up : Entries::late);
  }

  bool step() {
    history_.begin_step(runtime_.now_ns());
    const bool has_stepped = runtime_.step();
    history_.name_event(
        {.name = "work", .of = Activity::Of::context, .number = runtime_.latest_context()});
    return has_stepped;
  }
  static void on_trace(void* argument, const mq::TraceEvent& event) {
    DiskRun& its = *static_cast<DiskRun*>(argument);
    MqWorld& world = its.world;
    world.note_trace(event, its);
    if (its.is_removed) world.check_removed(event);
    if (event.step == mq::TraceStep::looked_up) {
      world.note_lookup(world.tags(), event.queue, event.value, event.reason);
      if (event.reason == LookupReason::none) {
        world.note_accepted(world.tags(), event.queue, event.value);
      }
    }
    if (event.step == mq::TraceStep::issued) world.check_issued(event, its);
    if (event.step == mq::TraceStep::timed_out) {
      world.check_deadline(event);
      world.check_timed_out(event.queue, event.tag);
    }
  }
  /// A private request has no place on the disk.
  void describe(const mq::TraceEvent& event, const DiskRun& its) {
    IoText io{.operation = to_string(event.op), .is_private = mq::is_private(event.op)};
    if (!io.is_private) {
      io.sector = event.sector;
      io.length_sectors = event.length_bytes / detail::bytes_in_sector;
      if (disks_.size() != 1) io.disk = its.index;
    }
    history_.describe(event.queue, event.tag, io);
  }
  /// Writes the step of a request into the history.
  void note_trace(const mq::TraceEvent& event, const DiskRun& its) {
    const Activity queue_rq = Activity::of_request("queue_rq", event.queue, event.tag);
    switch (event.step) {
      case mq::TraceStep::issued:
        history_.turn_to(queue_rq);
        describe(event, its);
        return;
      case mq::TraceStep::rejected:
        return history_.note(event.queue, event.tag,
                             "the driver rejects the request: ", to_string(event.status));
      case mq::TraceStep::timed_out:
        return history_.turn_to(Activity::of_request("timeout hook", event.queue, event.tag));
      case mq::TraceStep::requeued: return history_.note(event.queue, event.tag, "requeued");
      case mq::TraceStep::ended:
        ended_queue_ = event.queue;
        ended_tag_ = event.tag;
        history_.turn_to(Activity::of_request("request end", event.queue, event.tag));
        return history_.note(event.queue, event.tag, "ended with ", to_string(event.status));
      default: return;
    }
  }
  /// A removed disk has no requests, and its queues find no completions: others have them.
  void check_removed(const mq::TraceEvent& event) {
    if (event.step == mq::TraceStep::looked_up) {
      this->fail_lookup("the driver looked a completion up with a queue of a removed disk", tags(),
                        event.queue, event.value);
    } else if (event.step == mq::TraceStep::issued) {
      fail("queue_rq was called for a removed disk", tags(), event.queue, event.tag);
    }
  }
  void check_issued(const mq::TraceEvent& event, const DiskRun& its) {
    issued_ns_[index_of(event.queue, event.tag)] = runtime_.now_ns();
    if (const char* const wrong = its.party->judge_issue(event)) {
      fail(wrong, tags(), event.queue, event.tag);
    }
  }
  /// A publication is not older than the issue of its request. A private request may have a shorter
  /// timeout than the disk.
  void check_deadline(const mq::TraceEvent& event) {
    const std::uint64_t in_flight_ns =
        runtime_.now_ns() - issued_ns_[index_of(event.queue, event.tag)];
    if (!mq::is_private(event.op) && in_flight_ns < config_.timeout_ns) {
      fail("the timeout hook was called early", tags(), event.queue, event.tag);
    }
  }
  /// A request whose completion the driver has accepted must be claimed until the request ends.
  void check_timed_out(QueueIndex queue, Tag tag) {
    const auto state = tags().state_of(queue, tag);
    if (!state.has_value() || state->claimed) return;
    if (was_accepted(queue, tag, state->generation)) {
      fail("a request is in flight although its completion was accepted", tags(), queue, tag);
    }
  }
  static std::uint64_t clock_of(void* self) {
    return std::max(of(self).waited_until_ns_, of(self).runtime_.now_ns());
  }
  static void pause(void* self) {
    of(self).waited_until_ns_ = clock_of(self) + pause_ns;
    of(self).run_controller(of(self).waited_until_ns_);
  }
  /// Runs the controller within one doorbell in eight: commands may be done before the doorbell
  /// returns.
  void on_doorbell() {
    if (dice_.chance(1, 8)) run_controller(runtime_.now_ns());
    pump_.wake();
  }

  bool finish() {
    // Operations on the disk that the driver has begun must end before the disk is destroyed.
    for (std::uint32_t steps = 0; step(); ++steps) {
      if (!check_after_step()) return false;
      if (steps == max_steps_removed) {
        return fail("the driver still has work after its disk was removed");
      }
    }
    if (tags().in_flight() != 0) {
      return fail_with_first("a request is in flight after the disk's removal", tags());
    }
    for (const auto& its : gone_) its->disk.reset();
    // A pool of the disk's own is looked at until the end.
    if (!has_own_pool_) {
      for (const auto& its : disks_) its->disk.reset();
    }
    is_stopping_ = true;
    if (!driver_->stop()) return fail("the driver did not stop the controller");
    pump_.finish(runtime_);
    if (!check_->after_event(oracle_.stops(), is_stopped())) add(check_->finding());
    if (!finding().what.empty()) return false;
    return check_after_stop();
  }

  detail::IoQueueEvents io_events_{device_events_};
  Make make_;
  Random flag_dice_{config_.seed ^ 0xF1A6};
  DeterministicRuntime runtime_;
  NvmeControllerPump pump_;
  MqHost host_;
  std::unique_ptr<D> driver_;
  std::vector<SlotBio> bios_;
  // A disk that is alone has a pool of its own in half of the runs, which another disk cannot use.
  const bool has_own_pool_ = config_.disk_count == 1 && Random{config_.seed ^ 0x7A65}.chance(1, 2);
  std::unique_ptr<mq::TagPool<D>> shared_pool_;
  mq::TagPool<D>* pool_ = nullptr;  // the shared one, or the disk's own
  std::vector<std::unique_ptr<DiskRun>> disks_;
  std::vector<std::unique_ptr<DiskRun>> gone_;  // removed, and made again
  std::vector<Absence> absences_ = choose_absences(config_);
  std::size_t absence_ = 0;  // the present or next one
  const std::uint64_t left_at_removal_ = Random{config_.seed ^ 0x4E30FE}.below(8);  // bios
  mq::Work failure_{[](void* self, mq::Work&) {
                      // A reset that was running then has cleared the failure.
                      if (!of(self).controller_.has_failed()) return;
                      const History::Within within{of(self).history_,
                                                   Activity{.name = "controller failure"}};
                      of(self).driver_->failed();
                    },
                    this};
  bool is_stopping_ = false;
  bool is_removing_ = false;  // all disks
  std::optional<InvariantChecker<R>> check_;
  // By queue and tag: the latest call of queue_rq.
  std::vector<std::uint64_t> issued_ns_ =
      std::vector<std::uint64_t>(std::size_t{config_.queue_count} * config_.depth);
  std::vector<std::unique_ptr<Starter>> starters_;  // queued if the first steps have a finding
  std::uint32_t starts_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t last_end_ns_ = 0;
  std::uint64_t waited_until_ns_ = 0;  // by the driver
  QueueIndex ended_queue_;             // of the request that has ended last
  Tag ended_tag_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
