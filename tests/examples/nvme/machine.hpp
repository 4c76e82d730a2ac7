// SPDX-License-Identifier: BSL-1.0
//
// Machine: the NVMe driver of examples/nvme on a simulated controller with two namespaces, one of
// 512-byte and one of 4,096-byte blocks. On a runtime whose order a seed decides, with faults and a
// record of the commands; or on threads, without both.

#ifndef BLKOWN_TESTS_EXAMPLES_NVME_MACHINE_HPP
#define BLKOWN_TESTS_EXAMPLES_NVME_MACHINE_HPP

#include <gtest/gtest.h>
#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "nvme/disk.hpp"

namespace nvme_test {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::Status;

/// The controller's registers, with what a test wants to know or to change.
class WatchedRegisters {
 public:
  explicit WatchedRegisters(sim::NvmeController& controller) : controller_{controller} {}

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) {
    const std::uint32_t value = controller_.read32(offset);
    const bool is_status = offset == blkown::nvme::reg::csts;
    return is_status && is_stuck ? value | 1U : value;  // CSTS.RDY never becomes 0
  }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) { return controller_.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) {
    if (offset >= blkown::nvme::reg::doorbells) {
      const std::lock_guard guard{mutex_};
      ++doorbells_[offset];
    }
    if (offset == blkown::nvme::reg::aqa && before_enable) before_enable();
    controller_.write32(offset, value);
  }
  void write64(std::uint64_t offset, std::uint64_t value) { controller_.write64(offset, value); }

  /// The doorbells of an I/O queue's submission queue.
  [[nodiscard]] std::uint64_t submission_doorbells(std::uint16_t queue) {
    const std::lock_guard guard{mutex_};
    return doorbells_[blkown::nvme::doorbell_offset(queue, false, 0)];
  }

  bool is_stuck = false;
  std::function<void()> before_enable;  ///< Called while the controller is disabled.

 private:
  sim::NvmeController& controller_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> doorbells_;  // by offset
};

/// Waits by letting the controller work.
class SteppedPlatform {
 public:
  /// A clock that is not real moves in each pause.
  SteppedPlatform(sim::NvmeController& controller, bool is_real)
      : controller_{controller}, is_real_{is_real} {}

  [[nodiscard]] std::uint64_t now_ns() const {
    if (!is_real_) return now_ns_;
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count());
  }
  void pause() {
    if (on_pause) on_pause();
    if (is_real_) {
      std::this_thread::yield();
    } else {
      now_ns_ += 100'000;
    }
    while (controller_.step(now_ns())) {
    }
  }
  [[nodiscard]] bool cut_off() noexcept {
    ++cut_offs;
    return can_cut_off;
  }

  std::function<void()> on_pause;
  bool can_cut_off = false;
  unsigned cut_offs = 0;

 private:
  sim::NvmeController& controller_;
  bool is_real_;
  std::uint64_t now_ns_ = 0;
};

/// The commands that the controller has fetched.
class FetchedCommands : public sim::NvmeObserver {
 public:
  using Entry = blkown::nvme::SubmissionEntry;

  void command_fetched(std::uint32_t queue, const Entry& entry) override {
    (queue == 0 ? admin : io).push_back(entry);
    if (is_abort(queue, entry)) max_aborts = std::max(max_aborts, ++aborts_);
  }
  void command_refused(std::uint32_t, const Entry&) override {}
  void command_done(std::uint32_t queue, const Entry& entry) override {
    if (is_abort(queue, entry)) --aborts_;
  }
  void entry_posted(std::uint32_t, std::uint64_t, bool) override {}
  void entry_taken(std::uint32_t) override {}
  void stopped() override {}

  [[nodiscard]] std::size_t count(blkown::nvme::IoOpcode opcode) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(io, [&](const Entry& entry) { return entry.io_opcode() == opcode; }));
  }
  [[nodiscard]] std::size_t count(blkown::nvme::AdminOpcode opcode) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        admin, [&](const Entry& entry) { return entry.admin_opcode() == opcode; }));
  }

  std::vector<Entry> admin;
  std::vector<Entry> io;
  unsigned max_aborts = 0;  // at a time

 private:
  [[nodiscard]] static bool is_abort(std::uint32_t queue, const Entry& entry) noexcept {
    return queue == 0 && entry.admin_opcode() == blkown::nvme::AdminOpcode::abort;
  }

  unsigned aborts_ = 0;
};

struct MachineConfig {
  nvme_driver::DriverConfig driver{.normal_queues = 2, .poll_queues = 0, .depth = 16};
  sim::NvmeConfig controller{.io_queues = 4, .max_transfer_exponent = 8, .depth = 16};
  std::vector<sim::FaultStrike> faults;  ///< Counted from the end of start().
  std::uint64_t seed = 1;
  std::uint32_t timeout_ms = 50;
};

/// The parts of a machine on a DeterministicRuntime or a ThreadRuntime.
template <class Rt,
          class D = nvme_driver::NvmeDriver<WatchedRegisters, sim::Iommu, SteppedPlatform>>
class MachineOn {
 public:
  using Driver = D;
  using Disk = mq::Disk<Driver>;

  static constexpr std::uint32_t submitters = 2;
  static constexpr bool is_deterministic = std::is_same_v<Rt, sim::DeterministicRuntime>;

  explicit MachineOn(const MachineConfig& config = {})
      : config_{config}, runtime{make_runtime(config)} {
    controller.set_hooks(
        {.argument = this,
         .interrupt = [](void* self, std::uint32_t vector) { of(self).interrupt(vector); },
         .failed = [](void* self) { of(self).failed(); },
         .wake = [](void* self) { of(self).wake(); }});
    if constexpr (is_deterministic) controller.set_observer(&commands);
    auto made = Driver::Owner::create(
        registers, device, platform,
        {.io_queues =
             static_cast<std::uint16_t>(config.driver.normal_queues + config.driver.poll_queues),
         .admin_timeout_ms = is_deterministic ? 500U : 20'000U,
         .first_generation = blkown::Generation{7},
         .on_event = [](void* self,
                        blkown::nvme::AsyncEvent event) { of(self).events.push_back(event); },
         .on_event_argument = this});
    owner = *std::move(made);
    driver.emplace(*owner, config.driver);
  }
  MachineOn(const MachineOn&) = delete;
  MachineOn& operator=(const MachineOn&) = delete;
  ~MachineOn() { settle(); }

  /// Brings the controller and a disk for each namespace up.
  [[nodiscard]] bool start() {
    if (const auto started = driver->start(); !started.has_value()) {
      ADD_FAILURE() << to_string(started.error().step);
      return false;
    }
    pool = *driver->create_pool(blkown::Generation{100});
    const auto visited = owner->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
      mq::DiskConfig disk = driver->disk_config(info);
      disk.timeout_ms = config_.timeout_ms;
      disks.push_back(*Disk::create(disk, *driver, runtime, info, pool.get()));
    });
    faults = sim::FaultPlan{config_.seed, config_.faults};
    return visited.has_value();
  }
  /// Removes the disks and shuts the controller down. False: memory is left mapped.
  [[nodiscard]] bool shut_down() {
    for (const auto& disk : disks) static_cast<void>(mq::remove(runtime, *disk));
    settle();
    EXPECT_FALSE(driver->is_resetting());
    disks.clear();
    pool.reset();
    const bool is_freed = driver->shut_down();
    driver.reset();
    owner.reset();
    iommu.flush();
    return is_freed && iommu.mapped_pages() == 0 && iommu.fault_counts().total() == 0;
  }

  [[nodiscard]] Disk& disk(std::size_t index = 0) { return *disks.at(index); }

  /// Waits until no reset is running and no context has work.
  void settle() {
    if constexpr (is_deterministic) {
      static_cast<void>(runtime.run_until_idle(1'000'000));
    } else {
      while (driver.has_value() && driver->is_resetting()) std::this_thread::yield();
      runtime.run_on(submitters, [this] { pump_.alarm.cancel(); });
    }
  }

 private:
  struct Pump : mq::Work {
    explicit Pump(MachineOn& its)
        : Work{[](void* self, mq::Work&) { static_cast<Pump*>(self)->run(); }, this},
          machine{its} {}
    void run() {
      mq::Context& context = machine.pump_context();
      if (machine.controller.step(context.now_ns())) return context.post(*this);
      const auto next_ns = machine.controller.next_ns();
      if (!next_ns.has_value()) return;
      const std::uint64_t now_ns = context.now_ns();
      alarm.cancel();
      alarm.arm(context, *next_ns > now_ns ? *next_ns - now_ns : 0);
    }
    MachineOn& machine;
    mq::Alarm alarm{[](void* self, mq::Alarm&) { static_cast<Pump*>(self)->run(); }, this};
  };

  [[nodiscard]] static MachineOn& of(void* self) noexcept { return *static_cast<MachineOn*>(self); }
  [[nodiscard]] static Rt make_runtime(const MachineConfig& config) {
    if constexpr (is_deterministic) {
      return Rt{config.seed, submitters + 1};
    } else {
      return Rt{submitters + 1};
    }
  }
  /// Threads may stand still for seconds while the driver waits for the controller.
  [[nodiscard]] static sim::NvmeConfig controller_config(const MachineConfig& config) {
    sim::NvmeConfig controller = config.controller;
    if constexpr (!is_deterministic) controller.ready_timeout_ms = 20'000;
    return controller;
  }
  [[nodiscard]] static sim::IommuConfig iommu_config() {
    sim::IommuConfig config;
    config.page_count = 65536;
    config.limits.virt_boundary_mask = nvme_driver::page_bytes - 1;
    return config;
  }
  [[nodiscard]] mq::Context& pump_context() { return runtime.context(submitters); }
  void interrupt(std::uint32_t vector) {
    if (is_admin_interrupt_lost && vector == 0) return;
    if (lost_interrupts != 0 && vector != 0) {
      --lost_interrupts;
      return;
    }
    if (driver.has_value()) driver->interrupt(vector);
  }
  void failed() {
    if (driver.has_value()) driver->failed();
  }
  void wake() { pump_context().post(pump_); }

  MachineConfig config_;

 public:
  std::array<sim::CachedMedia, 2> media{sim::CachedMedia{8 << 20}, sim::CachedMedia{8 << 20}};
  sim::FaultPlan faults;
  sim::Iommu iommu{iommu_config()};
  dma::Device<sim::Iommu> device{iommu};
  sim::NvmeController controller{
      controller_config(config_), iommu,
      std::array{sim::NvmeNamespace{&media[0], 512}, sim::NvmeNamespace{&media[1], 4096}},
      is_deterministic ? &faults : nullptr};
  FetchedCommands commands;
  WatchedRegisters registers{controller};
  SteppedPlatform platform{controller, !is_deterministic};
  Rt runtime;
  std::unique_ptr<typename Driver::Owner> owner;
  std::optional<Driver> driver;
  std::unique_ptr<mq::TagPool<Driver>> pool;
  std::vector<std::unique_ptr<Disk>> disks;
  std::vector<blkown::nvme::AsyncEvent> events;
  unsigned lost_interrupts = 0;  // of I/O queues: the next ones do not come
  bool is_admin_interrupt_lost = false;

 private:
  Pump pump_{*this};
};

using Machine = MachineOn<sim::DeterministicRuntime>;

}  // namespace nvme_test

#endif
