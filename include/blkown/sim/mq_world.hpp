// SPDX-License-Identifier: BSL-1.0
//
// MqWorld: a driver of the block layer, a controller that misbehaves, and everything between them,
// run by one seed.

#ifndef BLKOWN_SIM_MQ_WORLD_HPP
#define BLKOWN_SIM_MQ_WORLD_HPP

#include <blkown/config.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/check.hpp>
#include <blkown/sim/controller_pump.hpp>
#include <blkown/sim/deterministic_runtime.hpp>
#include <blkown/sim/host.hpp>
#include <blkown/sim/workload.hpp>
#include <blkown/sim/world_config.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace blkown::inline BLKOWN_ABI::sim {

/// A driver of the block layer for the kit: an mq::Driver that is made of a device and a
/// controller, tells the controller of its rings in init_hctx, and takes the controller's calls.
/// The kit starts the controller when the disk is there, and stops it when the disk is removed.
///
///   D(dma::Device<Iommu>&, Controller&);
///   void interrupt(std::uint32_t queue);   completions are there; also in the middle of a doorbell
///   void failed();                         the controller has failed; on its context
template <class D>
concept MqDriver =
    mq::Driver<D> && requires(D& driver, dma::Device<Iommu>& device, Controller& controller) {
      D{device, controller};
      { driver.interrupt(std::uint32_t{}) } -> std::same_as<void>;
      { driver.failed() } -> std::same_as<void>;
    };

/// One run, as CoreWorld is on the bare core: bios from several contexts, the controller on one
/// more, and at each step the seed's choice among everything that could run.
template <MqDriver D>
class MqWorld {
 public:
  using R = mq::Request<D>;

  static constexpr std::uint32_t submitters = 3;

  explicit MqWorld(const WorldConfig& config)
      : config_{config},
        runtime_{config.seed, submitters + 1},
        dice_{config.seed + 1},
        faults_{config.is_scripted ? FaultPlan{config.seed, config.script}
                                   : FaultPlan{config.seed, config.rates}},
        workload_{2 * config.queue_count * config.depth},
        media_{workload_.capacity_bytes()},
        iommu_{iommu_config(config)},
        device_{iommu_},
        controller_{controller_config(config), iommu_, device_, media_, &faults_},
        pump_{controller_, runtime_.context(submitters)},
        driver_{device_, controller_},
        bios_(workload_.slot_count()) {
    iommu_.add_memory(workload_.arena(), std::uint64_t{1} << 32);
    ControllerHooks hooks;
    hooks.argument = this;
    hooks.interrupt = [](void* self, std::uint32_t queue) { of(self).driver_.interrupt(queue); };
    hooks.failed = [](void* self) { of(self).driver_.failed(); };
    hooks.wake = [](void* self) { of(self).on_doorbell(); };
    hooks.lied = [](void* self, const SubmissionEntry& entry) { of(self).on_lie(entry); };
    controller_.set_hooks(hooks);
    auto disk = mq::Disk<D>::create(disk_config(config), driver_, runtime_);
    if (!disk.has_value()) std::abort();
    disk_ = *std::move(disk);
    disk_->set_trace(
        {[](void* self, const mq::TraceEvent& event) { of(self).on_trace(event); }, this});
    check_.emplace(disk_->pool().tags(), device_, iommu_, history_);
  }
  MqWorld(const MqWorld&) = delete;
  MqWorld& operator=(const MqWorld&) = delete;

  /// Runs until so many bios have ended. True if nothing was found to be wrong.
  bool run() {
    controller_.start();
    std::vector<std::unique_ptr<Starter>> starters;
    for (std::uint32_t i = 0; i != submitters; ++i) {
      starters.push_back(std::make_unique<Starter>(*this, i));
      runtime_.context(i).post(*starters.back());
    }
    while (ended_ < config_.io_count || out_ != 0 || starts_ != submitters) {
      if (!step()) return fail("nothing is left to run, and I/O is out");
      if (!finding_.what.empty()) return false;
      if (history_.event() > config_.io_count * most_events_per_io + 1'000'000) {
        return fail("I/O goes on without an end");
      }
    }
    return finish();
  }

  void add(Finding finding) {
    if (finding_.what.empty()) finding_ = std::move(finding);
  }
  [[nodiscard]] const Finding& finding() const noexcept { return finding_; }
  [[nodiscard]] const History& history() const noexcept { return history_; }
  [[nodiscard]] const FaultPlan& faults() const noexcept { return faults_; }
  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_; }
  [[nodiscard]] std::uint64_t events() { return history_.event() + controller_.events(); }
  [[nodiscard]] const LookupTally& lookups() const noexcept { return lookups_; }
  [[nodiscard]] std::uint64_t good_ends() const noexcept { return good_ends_; }

 private:
  static constexpr std::uint64_t most_events_per_io = 5000;

  struct Starter : mq::Work {
    Starter(MqWorld& its_world, std::uint32_t its_index)
        : Work{[](Work& work) { static_cast<Starter&>(work).go(); }},
          world{its_world},
          index{its_index} {}
    void go() {
      ++world.starts_;
      for (std::uint32_t i = index; i < world.workload_.slot_count(); i += submitters) {
        world.submit(i);
      }
    }
    MqWorld& world;
    std::uint32_t index;
  };
  /// What a slot's bio refers to.
  struct SlotBio {
    MqWorld* world = nullptr;
    std::uint32_t slot = 0;
    std::array<Segment, 3> memory;
    std::unique_ptr<mq::Bio> bio;
  };

  [[nodiscard]] static MqWorld& of(void* self) noexcept { return *static_cast<MqWorld*>(self); }

  [[nodiscard]] static IommuConfig iommu_config(const WorldConfig& config) {
    IommuConfig iommu;
    iommu.invalidation = config.seed % 2 == 0 ? Invalidation::strict : Invalidation::lazy;
    iommu.limits.max_segments = 8;
    return iommu;
  }
  [[nodiscard]] static ControllerConfig controller_config(const WorldConfig& config) {
    return {.queue_pairs = config.queue_count,
            .late_ns = 3 * config.timeout_ns,
            .layout = config.layout(),
            .depth = config.depth,
            .seed = config.seed};
  }
  [[nodiscard]] static mq::DiskConfig disk_config(const WorldConfig& config) {
    mq::DiskConfig disk;
    disk.capacity_sectors =
        std::uint64_t{2} * config.queue_count * config.depth * Workload::slot_sectors;
    // Small enough that many a bio is split.
    disk.limits = {.max_sectors = 8,
                   .max_segments = 4,
                   .max_discard_sectors = 8,
                   .max_write_zeroes_sectors = 8};
    disk.write_cache = true;
    disk.normal_queues = config.queue_count;
    disk.depth = config.depth;
    disk.reserved_depth = config.reserved_depth;
    disk.layout = config.layout();
    disk.timeout_ms = static_cast<std::uint32_t>((config.timeout_ns + 999'999) / 1'000'000);
    return disk;
  }

  // --- bios -------------------------------------------------------------------------------------

  void submit(std::uint32_t slot) {
    if (begun_ == config_.io_count) return;
    ++begun_;
    ++out_;
    SlotBio& its = bios_[slot];
    its.world = this;
    its.slot = slot;
    const std::uint32_t count = workload_.begin(slot, dice_, its.memory);
    const Workload::Slot& what = workload_.slot(slot);
    const std::uint64_t sector = workload_.sector_of(slot);
    const std::uint64_t length_bytes = what.length_sectors * internal::bytes_in_sector;
    const std::span<const Segment> memory{its.memory.data(), count};
    switch (what.opcode) {
      case Opcode::read:
        its.bio.reset(new mq::Bio(mq::Bio::read(sector, memory, &on_end, &its)));
        break;
      case Opcode::write:
        its.bio.reset(new mq::Bio(mq::Bio::write(sector, memory, &on_end, &its)));
        break;
      case Opcode::discard:
        its.bio.reset(new mq::Bio(mq::Bio::discard(sector, length_bytes, &on_end, &its)));
        break;
      case Opcode::write_zeroes:
        its.bio.reset(new mq::Bio(mq::Bio::write_zeroes(sector, length_bytes, &on_end, &its)));
        break;
      default: its.bio.reset(new mq::Bio(mq::Bio::flush(&on_end, &its)));
    }
    disk_->submit(*its.bio);
  }
  static void on_end(mq::Bio& bio) {
    SlotBio& its = *static_cast<SlotBio*>(bio.argument());
    its.world->ended_one(its, bio.status());
  }
  void ended_one(SlotBio& its, Status status) {
    const char* const wrong = workload_.end(its.slot, status);
    if (wrong != nullptr) fail(wrong);
    if (status == Status::ok) ++good_ends_;
    ++ended_;
    --out_;
    submit(its.slot);
  }

  // --- what happens -----------------------------------------------------------------------------

  bool step() {
    history_.begin_event("step", runtime_.now_ns());
    if (!runtime_.step()) return false;
    if (!check_->after_event()) add(check_->finding());
    if (controller_.unaccounted() != 0) {
      fail("a completion entry was not looked up as what it is, where it was");
    }
    return true;
  }
  void on_trace(const mq::TraceEvent& event) {
    if (event.step != mq::TraceStep::looked_up) return;
    const bool was_accepted = event.reason == LookupReason::none;
    ++lookups_[static_cast<std::size_t>(event.reason)];
    switch (controller_.note_lookup(event.queue, event.value, was_accepted)) {
      case LookupTruth::fits: return;
      case LookupTruth::wrong_claim:
        fail("a completion was taken for that of an I/O which the device does not have");
        return;
      case LookupTruth::refused_genuine: fail("the completion of an I/O was refused"); return;
    }
  }
  void on_lie(const SubmissionEntry& entry) {
    if (entry.opcode != Opcode::flush && entry.opcode != Opcode::abort) {
      workload_.taint(entry.sector);
    }
  }
  /// Now and then the device is done with a command before the doorbell has returned.
  void on_doorbell() {
    if (dice_.chance(1, 8)) {
      while (controller_.step(runtime_.now_ns())) {
      }
    }
    pump_.wake();
  }

  bool finish() {
    static_cast<void>(mq::remove(runtime_, *disk_));
    const dma::DmaEnded proof = controller_.stop();
    pump_.finish(runtime_);
    // What the driver has begun of its own, operations on the disk among it.
    if (!runtime_.run_until_idle(1'000'000)) return fail("the driver goes on after the disk's end");
    disk_.reset();
    static_cast<void>(device_.drain(proof));
    iommu_.flush();
    if (!finding_.what.empty()) return false;
    if (iommu_.mapped_pages() != 0) return fail("memory is mapped after the disk's end");
    const char* const wrong = workload_.compare(media_);
    return wrong == nullptr || fail(wrong);
  }

  bool fail(std::string what) {
    if (finding_.what.empty()) finding_.what = std::move(what);
    return false;
  }

  WorldConfig config_;
  DeterministicRuntime runtime_;
  Random dice_;
  FaultPlan faults_;
  Workload workload_;
  MemoryMedia media_;
  Iommu iommu_;
  dma::Device<Iommu> device_;
  Controller controller_;
  ControllerPump pump_;
  D driver_;
  std::vector<SlotBio> bios_;
  std::unique_ptr<mq::Disk<D>> disk_;
  History history_;
  std::optional<Check<R>> check_;
  LookupTally lookups_{};
  Finding finding_;
  std::uint32_t starts_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t out_ = 0;
  std::uint64_t good_ends_ = 0;
};

}  // namespace blkown::inline BLKOWN_ABI::sim

#endif
