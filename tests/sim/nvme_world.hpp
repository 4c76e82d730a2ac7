// SPDX-License-Identifier: BSL-1.0
//
// NvmeWorld: one run of the driver of examples/nvme with a misbehaving NVMe controller, for the
// kit.
//
// It is sim::MqWorld with another driver and another controller. The controller behaves well until
// the disk exists: a false completion of an Identify command would be believed. Later the admin
// commands meet all faults, too, but the Oracle judges I/O queues only, whose lookups are traced.

#ifndef BLKOWN_TESTS_SIM_NVME_WORLD_HPP
#define BLKOWN_TESTS_SIM_NVME_WORLD_HPP

#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/nvme_controller.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "nvme/disk.hpp"

namespace nvme_test {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;

/// Waits by letting the controller work. The clock moves with each pause.
class WorldPlatform {
 public:
  explicit WorldPlatform(sim::NvmeController& controller) : controller_{controller} {}
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return now_ns_; }
  void pause() {
    now_ns_ += 100'000;
    while (controller_.step(now_ns_)) {
    }
  }
  [[nodiscard]] static bool cut_off() noexcept { return false; }

 private:
  sim::NvmeController& controller_;
  std::uint64_t now_ns_ = 0;
};

/// The driver, which tells the world of completions that come when no disk is left.
class TracedDriver
    : public nvme_driver::DriverOf<TracedDriver, sim::NvmeController, sim::Iommu, WorldPlatform> {
 public:
  using DriverOf::DriverOf;

  std::function<void(std::uint16_t queue, std::uint16_t command_id)> on_dropped;

 private:
  friend class nvme_driver::DriverOf<TracedDriver, sim::NvmeController, sim::Iommu, WorldPlatform>;
  void note_dropped(Queue& queue, const nvme_driver::CompletionEntry& entry) {
    const std::uint16_t id = queue.pair.config().id;
    if (entry.sq_id == id) on_dropped(id, entry.command_id);
  }
};

/// The events of the I/O queues, for the Oracle.
class IoQueueEvents : public sim::NvmeObserver {
 public:
  using Entry = blkown::nvme::SubmissionEntry;

  explicit IoQueueEvents(sim::NvmeObserver& oracle) : oracle_{oracle} {}
  void command_fetched(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_fetched(queue, entry);
  }
  void command_refused(std::uint32_t queue, const Entry& entry) override {
    if (queue != 0) oracle_.command_refused(queue, entry);
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
  void foreign_entry_posted(std::uint32_t queue) override {
    if (queue != 0) oracle_.foreign_entry_posted(queue);
  }
  void stopped() override { oracle_.stopped(); }

 private:
  sim::NvmeObserver& oracle_;
};

class NvmeWorld : public sim::WorldBaseOf<sim::NvmeController> {
 public:
  using Base = sim::WorldBaseOf<sim::NvmeController>;
  using R = mq::Request<TracedDriver>;
  /// The kit's parameter for other worlds. This one has one driver.
  using Make = std::nullptr_t;
  static constexpr std::nullptr_t make_driver = nullptr;

  static constexpr std::uint32_t submitters = 3;

  NvmeWorld(const sim::WorldConfig& config, const Make&)
      : Base{config},
        runtime_{config.seed, submitters + 1},
        pump_{controller_, runtime_.context(submitters)},
        bios_(workload_.slot_count()) {
    controller_.set_observer(&io_events_);
    controller_.set_hooks({.argument = this,
                           .interrupt =
                               [](void* self, std::uint32_t vector) {
                                 if (auto& driver = of(self).driver_) driver->interrupt(vector);
                               },
                           .failed =
                               [](void* self) {
                                 if (auto& driver = of(self).driver_) driver->failed();
                               },
                           .wake = [](void* self) { of(self).on_doorbell(); }});
    const sim::FaultPlan plan = std::exchange(faults_, sim::FaultPlan{});
    bring_up();
    faults_ = plan;
    disk_->set_trace({&on_trace, this});
    check_.emplace(tags(), *device_, *iommu_, history_);
    party_.emplace(config.seed, *disk_, runtime_.context(submitters));
  }

  /// Runs until config.io_count bios have ended, then removes the disk.
  /// Errors: false if an invariant was broken. finding() returns the invariant.
  bool run() {
    for (std::uint32_t i = 0; i != submitters; ++i) {
      starters_.push_back(std::make_unique<Starter>(*this, i));
      runtime_.context(i).post(*starters_.back());
    }
    while (ended() < config_.io_count || in_flight_ != 0 || starts_ != submitters) {
      if (!step()) {
        return fail_with_first("no context has work left, but an I/O has not ended", tags());
      }
      if (!check_after_event(*check_)) return false;
      party_->act();
      if (history_.event() > config_.io_count * max_events_per_io + 1'000'000) {
        return fail_with_first("the I/O did not end within the limit of events of a run", tags());
      }
      if (driver_->is_offline()) return fail("the driver has given the controller up");
    }
    return finish();
  }

 private:
  static constexpr std::uint64_t max_events_per_io = 5000;

  struct Starter : mq::Work {
    Starter(NvmeWorld& its_world, std::uint32_t its_index)
        : Work{[](void* self, Work&) { static_cast<Starter*>(self)->go(); }, this},
          world{its_world},
          index{its_index} {}
    void go() {
      ++world.starts_;
      for (std::uint32_t i = index; i < world.workload_.slot_count(); i += submitters) {
        world.submit(i);
      }
    }
    NvmeWorld& world;
    std::uint32_t index;
  };
  struct SlotBio {
    NvmeWorld* world = nullptr;
    std::uint32_t slot = 0;
    std::array<blkown::Segment, 3> memory;
    mq::Bio bio;
  };

  [[nodiscard]] static NvmeWorld& of(void* self) noexcept { return *static_cast<NvmeWorld*>(self); }

  [[nodiscard]] blkown::TagSet<R>& tags() noexcept { return pool_->tags(); }

  /// Makes the controller's owner, the driver and the disk.
  void bring_up() {
    const auto first_generation = tag_config(config_).first_generation;
    auto owner =
        TracedDriver::Owner::create(controller_, *device_, platform_,
                                    {.io_queues = static_cast<std::uint16_t>(config_.queue_count),
                                     .admin_timeout_ms = 50,
                                     .first_generation = first_generation});
    if (!owner.has_value()) std::abort();
    owner_ = *std::move(owner);
    driver_.emplace(*owner_, nvme_driver::DriverConfig{.normal_queues = config_.queue_count,
                                                       .depth = config_.depth,
                                                       .max_tries = 20});
    driver_->on_dropped = [this](std::uint16_t queue, std::uint16_t command_id) {
      note_lookup(tags(), QueueIndex{queue}, command_id, LookupReason::wrong_queue);
    };
    if (!driver_->start().has_value()) std::abort();
    pool_ = *driver_->create_pool(first_generation);
    const auto listed = owner_->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
      mq::DiskConfig disk = driver_->disk_config(info);
      // Small enough that many bios are split. A false completion of a discard would have its
      // blocks in memory: the Oracle could not tell which.
      disk.limits.max_sectors = 8;
      disk.limits.max_write_zeroes_sectors = 8;
      disk.limits.max_discard_sectors = 0;
      disk.timeout_ms = static_cast<std::uint32_t>(config_.timeout_ns / 1'000'000);
      disk_ = *mq::Disk<TracedDriver>::create(disk, *driver_, runtime_, info, pool_.get());
    });
    if (!listed.has_value() || disk_ == nullptr) std::abort();
  }

  // --- bios -------------------------------------------------------------------------------------

  void submit(std::uint32_t slot) {
    if (begun_ == config_.io_count) return;
    ++begun_;
    ++in_flight_;
    SlotBio& own = bios_[slot];
    own.world = this;
    own.slot = slot;
    const std::uint32_t count = workload_.begin(slot, dice_, own.memory);
    const sim::Workload::Slot& io = workload_.slot(slot);
    const std::uint64_t sector = workload_.sector_of(slot);
    const std::uint64_t length_bytes = std::uint64_t{io.length_sectors} * mq::sector_bytes;
    // The pieces are adjacent, and meet within a page: PRP entries need them as one.
    if (count == 2) own.memory[0].length_bytes += own.memory[1].length_bytes;
    const std::span<const blkown::Segment> memory{own.memory.data(), count == 0 ? 0U : 1U};
    const mq::IoFlags flags{.fua = flag_dice_.chance(1, 4), .preflush = flag_dice_.chance(1, 8)};
    switch (io.opcode) {
      case sim::Opcode::read: own.bio.set_read(sector, memory, {&on_end, &own}, flags); break;
      case sim::Opcode::write: own.bio.set_write(sector, memory, {&on_end, &own}, flags); break;
      case sim::Opcode::discard:
        own.bio.set_discard(sector, length_bytes, {&on_end, &own}, flags);
        break;
      case sim::Opcode::write_zeroes:
        own.bio.set_write_zeroes(sector, length_bytes, {&on_end, &own}, flags);
        break;
      default: own.bio.set_flush({&on_end, &own});
    }
    begin_durability(slot, flags.fua, flags.preflush);
    disk_->submit(own.bio);
  }
  static void on_end(void* self, mq::Bio& bio) {
    SlotBio& own = *static_cast<SlotBio*>(self);
    own.world->end_io(own.slot, bio.status());
    --own.world->in_flight_;
    own.world->submit(own.slot);
  }

  // --- events -----------------------------------------------------------------------------------

  bool step() {
    history_.begin_event("step", runtime_.now_ns());
    return runtime_.step();
  }
  static void on_trace(void* self, const mq::TraceEvent& event) {
    NvmeWorld& own = of(self);
    if (event.step == mq::TraceStep::looked_up) {
      own.note_lookup(own.tags(), QueueIndex{event.queue.value + 1}, event.value, event.reason);
      if (event.reason == LookupReason::none) {
        own.note_accepted(own.tags(), event.queue, event.value);
      }
    }
    if (event.step == mq::TraceStep::issued && own.party_->holds_disk()) {
      own.fail("queue_rq was called while another party has the disk quiesced or frozen",
               own.tags(), event.queue, event.tag);
    }
  }
  /// Runs the controller within one doorbell in eight: commands may be done before the doorbell
  /// returns.
  void on_doorbell() {
    if (dice_.chance(1, 8)) run_controller(runtime_.now_ns());
    pump_.wake();
  }

  bool finish() {
    static_cast<void>(mq::remove(runtime_, *disk_));
    if (!runtime_.run_until_idle(1'000'000)) {
      return fail("the driver still has work after its disk was removed");
    }
    if (!check_after_event(*check_)) return false;
    if (tags().in_flight() != 0) return fail("a request is in flight after the disk's removal");
    disk_.reset();
    if (!driver_->shut_down()) return fail("the controller could not be shut down");
    pump_.finish(runtime_);
    return check_after_stop();
  }

  IoQueueEvents io_events_{oracle_};
  sim::Random flag_dice_{config_.seed ^ 0xF1A6};
  WorldPlatform platform_{controller_};
  sim::DeterministicRuntime runtime_;
  sim::NvmeControllerPump pump_;
  std::unique_ptr<TracedDriver::Owner> owner_;
  std::optional<TracedDriver> driver_;
  std::unique_ptr<mq::TagPool<TracedDriver>> pool_;
  std::vector<SlotBio> bios_;
  std::unique_ptr<mq::Disk<TracedDriver>> disk_;
  std::optional<sim::SecondParty<TracedDriver>> party_;
  std::optional<sim::InvariantChecker<R>> check_;
  std::vector<std::unique_ptr<Starter>> starters_;  // queued if the first steps have a finding
  std::uint32_t starts_ = 0;
  std::uint64_t begun_ = 0;
};

}  // namespace nvme_test

#endif
