// SPDX-License-Identifier: BSL-1.0
//
// MqWorld: one run of a driver of the block layer with a misbehaving controller.
//
// Three contexts of a DeterministicRuntime submit bios. A fourth context runs the controller. At
// each step the seed chooses one piece of work among all that is ready. Each slot of the workload
// has a bio, whose callback submits it again until the run has enough I/O. A second party quiesces
// or freezes the disk, stops its queues, and changes its limits at random moments. All invariants
// are checked after every step. The first broken one ends the run.

#ifndef BLKOWN_SIM_HARNESS_MQ_WORLD_HPP
#define BLKOWN_SIM_HARNESS_MQ_WORLD_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/cached_media.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/ring.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

namespace detail {

/// The members of a driver of the block layer for the kit but its constructor.
template <class D>
concept DriverOnMq = mq::Driver<D> && requires(D& driver) {
  { driver.interrupt(QueueIndex{}) } -> std::same_as<void>;
  { driver.failed() } -> std::same_as<void>;
};

}  // namespace detail

/// A driver of the block layer for the kit: an mq::Driver that creates its queue pairs in
/// init_hctx. The world starts the controller after it has made the disk, and stops the controller
/// after it has removed the disk.
///
///   D(dma::Device<Iommu>&, Controller&);
///   void interrupt(QueueIndex queue);   takes the completions of the queue; may run within a
///                                       doorbell
///   void failed();                      the controller has failed; on the controller's context
///
/// The driver must look up each completion entry once, with claim(), tag_to_rq() or tag_to_owned()
/// of the disk's HwQueue. The world learns of lookups from the disk's trace. A lookup in the TagSet
/// is not traced: the world then reports an entry that was not looked up.
template <class D>
concept MqDriver =
    detail::DriverOnMq<D> &&
    requires(dma::Device<Iommu>& device, Controller& controller) { D{device, controller}; };

/// One run of the driver D. Each world runs once.
template <detail::DriverOnMq D>
class MqWorld : public WorldBase {
 public:
  using R = mq::Request<D>;

  static constexpr std::uint32_t submitters = 3;

  /// Makes the driver of one run. May return an object of a class derived from D, if the destructor
  /// of D is virtual.
  using Make = std::function<std::unique_ptr<D>(dma::Device<Iommu>&, Controller&)>;
  /// A Make that gives the environment to the constructor of D.
  [[nodiscard]] static std::unique_ptr<D> make_driver(dma::Device<Iommu>& device,
                                                      Controller& controller) {
    return std::unique_ptr<D>{new D{device, controller}};
  }

  /// Makes the driver, its disk and the environment.
  explicit MqWorld(const WorldConfig& config, const Make& make = &make_driver)
      : WorldBase{config},
        runtime_{config.seed, submitters + 1},
        pump_{controller_, runtime_.context(submitters)},
        driver_{make(*device_, controller_)},
        bios_(workload_.slot_count()) {
    ControllerHooks hooks;
    hooks.argument = this;
    hooks.interrupt = [](void* self, std::uint32_t queue) {
      of(self).driver_->interrupt(QueueIndex{queue});
    };
    hooks.failed = [](void* self) { of(self).driver_->failed(); };
    hooks.wake = [](void* self) { of(self).on_doorbell(); };
    controller_.set_hooks(hooks);
    auto pool = mq::TagPool<D>::create(tag_config(config));
    if (!pool.has_value()) std::abort();
    pool_ = *std::move(pool);
    auto disk = mq::Disk<D>::create(disk_config(config), *driver_, runtime_, {}, pool_.get());
    if (!disk.has_value()) std::abort();
    disk_ = *std::move(disk);
    disk_->set_trace({&on_trace, this});
    check_.emplace(pool_->tags(), *device_, *iommu_, history_);
    party_.emplace(config.seed, *disk_, runtime_.context(submitters));
  }

  /// Runs until config.io_count bios have ended, then removes the disk.
  /// Errors: false if an invariant was broken. finding() returns the invariant.
  bool run() {
    controller_.start();
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
      if (is_lost()) {
        return fail_with_first("an I/O is lost: none has ended for five thousand timeouts", tags());
      }
    }
    return finish();
  }

 private:
  static constexpr std::uint64_t max_events_per_io = 5000;
  static constexpr std::uint64_t max_timeouts_per_io = 5000;

  struct Starter : mq::Work {
    Starter(MqWorld& its_world, std::uint32_t its_index)
        : Work{[](void* self, Work&) { static_cast<Starter*>(self)->go(); }, this},
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

  [[nodiscard]] static mq::DiskConfig disk_config(const WorldConfig& config) {
    mq::DiskConfig disk;
    disk.capacity_sectors =
        std::uint64_t{2} * config.queue_count * config.depth * Workload::slot_sectors;
    // Small enough that many bios are split.
    disk.limits = {.max_sectors = 8,
                   .max_segments = 4,
                   .max_discard_sectors = 8,
                   .max_write_zeroes_sectors = 8};
    disk.write_cache = config.cache() == CacheMode::write_back;
    disk.fua = config.has_fua();
    disk.normal_queues = config.queue_count;
    disk.depth = config.depth;
    disk.reserved_depth = config.reserved_depth;
    disk.layout = config.layout();
    // Rounded up, and at most what a disk accepts.
    constexpr std::uint64_t max_ms = std::uint64_t{1} << 30;
    const std::uint64_t timeout_ms =
        config.timeout_ns / 1'000'000 + (config.timeout_ns % 1'000'000 != 0 ? 1 : 0);
    if constexpr (mq::detail::names_timeout<D>)
      disk.timeout_ms = static_cast<std::uint32_t>(timeout_ms < max_ms ? timeout_ms : max_ms);
    return disk;
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
    const Workload::Slot& io = workload_.slot(slot);
    const std::uint64_t sector = workload_.sector_of(slot);
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
    disk_->submit(own.bio);
  }
  /// The flags of the next bio. The disk ignores those that do not fit the operation.
  [[nodiscard]] mq::IoFlags choose_flags() {
    return {.fua = flag_dice_.chance(1, 4), .preflush = flag_dice_.chance(1, 8)};
  }
  static void on_end(void* self, mq::Bio& bio) {
    SlotBio& own = *static_cast<SlotBio*>(self);
    own.world->ended_one(own, bio.status());
  }
  void ended_one(SlotBio& own, Status status) {
    end_io(own.slot, status);
    last_end_ns_ = runtime_.now_ns();
    --in_flight_;
    submit(own.slot);
  }

  // --- events -----------------------------------------------------------------------------------

  bool step() {
    history_.begin_event("step", runtime_.now_ns());
    return runtime_.step();
  }
  static void on_trace(void* self, const mq::TraceEvent& event) {
    if (event.step == mq::TraceStep::looked_up) {
      of(self).note_lookup(of(self).tags(), event.queue, event.value, event.reason);
      if (event.reason == LookupReason::none) {
        of(self).note_accepted(of(self).tags(), event.queue, event.value);
      }
    }
    if (event.step == mq::TraceStep::issued) of(self).check_issued(event);
    if (event.step == mq::TraceStep::timed_out) {
      of(self).check_deadline(event);
      of(self).check_timed_out(event.queue, event.tag);
    }
  }
  /// All parties that have quiesced or frozen the disk must have undone that.
  void check_issued(const mq::TraceEvent& event) {
    issued_ns_[index_of(event.queue, event.tag)] = runtime_.now_ns();
    if (!mq::is_private(event.op) && party_->holds_disk()) {
      fail("queue_rq was called while another party has the disk quiesced or frozen", tags(),
           event.queue, event.tag);
    }
    check_length(event);
  }
  /// The limits do not change while a request is issued.
  void check_length(const mq::TraceEvent& event) {
    if (!mq::has_range(event.op)) return;
    const mq::QueueLimits limits = disk_->limits();
    const std::uint64_t length_sectors = event.length_bytes / detail::bytes_in_sector;
    const std::uint64_t last = event.sector + length_sectors - 1;
    const std::uint64_t chunk = limits.chunk_sectors;
    if (length_sectors > mq::detail::max_sectors_of(event.op, limits) ||
        (chunk != 0 && event.sector / chunk != last / chunk)) {
      fail("queue_rq was called for a request beyond the disk's limits", tags(), event.queue,
           event.tag);
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
  /// Runs the controller within one doorbell in eight: commands may be done before the doorbell
  /// returns.
  void on_doorbell() {
    if (dice_.chance(1, 8)) run_controller(runtime_.now_ns());
    pump_.wake();
  }

  bool finish() {
    static_cast<void>(mq::remove(runtime_, *disk_));
    const dma::EndProof proof = controller_.stop();
    pump_.finish(runtime_);
    // Operations on the disk that the driver has begun must end before the disk is destroyed.
    if (!runtime_.run_until_idle(1'000'000))
      return fail("the driver still has work after its disk was removed");
    if (!check_after_event(*check_)) return false;
    if (tags().in_flight() != 0) {
      return fail_with_first("a request is in flight after the disk's removal", tags());
    }
    disk_.reset();
    static_cast<void>(device_->drain(proof));
    return check_after_stop();
  }

  Random flag_dice_{config_.seed ^ 0xF1A6};
  DeterministicRuntime runtime_;
  ControllerPump pump_;
  std::unique_ptr<D> driver_;
  std::vector<SlotBio> bios_;
  std::unique_ptr<mq::TagPool<D>> pool_;
  std::unique_ptr<mq::Disk<D>> disk_;
  std::optional<SecondParty<D>> party_;
  std::optional<InvariantChecker<R>> check_;
  // By queue and tag: the latest call of queue_rq.
  std::vector<std::uint64_t> issued_ns_ =
      std::vector<std::uint64_t>(std::size_t{config_.queue_count} * config_.depth);
  std::vector<std::unique_ptr<Starter>> starters_;  // queued if the first steps have a finding
  std::uint32_t starts_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t last_end_ns_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
