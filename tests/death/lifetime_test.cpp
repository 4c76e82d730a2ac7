// SPDX-License-Identifier: BSL-1.0
//
// Goal: destroying two objects in the wrong order is a violation that names both objects.

#include <array>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/sim.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "silent.hpp"
#include "violation_test.hpp"

namespace death::lifetime {
namespace {

namespace mq = blkown::mq;
namespace dma = blkown::dma;
namespace sim = blkown::sim;

class LifetimeDeathTest : public ViolationTest<blkown::Violation::object_in_use> {};

template <class Runtime>
[[nodiscard]] std::unique_ptr<Silent::Disk> disk_on(Runtime& runtime, Silent& driver,
                                                    mq::DiskConfig config = {},
                                                    mq::TagPool<Silent>* pool = nullptr) {
  config.name = "rig";
  config.capacity_sectors = 8;
  return *Silent::Disk::create(config, driver, runtime, {}, pool);
}

[[nodiscard]] std::uint64_t no_time(void*) { return 0; }

/// The kinds of runtimes, with the name that a violation prints.
struct Contexts {
  static constexpr const char* name = "mq::Context";
  [[nodiscard]] static std::uint32_t context_count() { return 2; }
  [[nodiscard]] mq::Context& context(std::uint32_t index) { return index == 0 ? first : second; }
  [[nodiscard]] static std::uint64_t now_ns() { return 0; }
  [[nodiscard]] static bool wait_for(mq::Event& event) { return event.is_set(); }
  [[nodiscard]] static bool wait_until(mq::Event& event, std::uint64_t) { return event.is_set(); }
  static constexpr mq::ContextHooks hooks{
      .now_ns = &no_time, .wake = [](void*, std::uint32_t) {}, .announces_sleep = true};
  mq::Context first{hooks, 0};
  mq::Context second{hooks, 1};
};
struct Loop : mq::LoopRuntime {
  static constexpr const char* name = "mq::LoopRuntime";
  Loop() : LoopRuntime{2} {}
};
struct Threads : mq::ThreadRuntime {
  static constexpr const char* name = "mq::ThreadRuntime";
  Threads() : ThreadRuntime{2} {}
};
struct Deterministic : sim::DeterministicRuntime {
  static constexpr const char* name = "sim::DeterministicRuntime";
  Deterministic() : DeterministicRuntime{1, 2} {}
};

/// Calls `act` once for each kind of runtime.
template <class Act>
void with_each_runtime(Act act) {
  act.template operator()<Contexts>();
  act.template operator()<Loop>();
  act.template operator()<Threads>();
  act.template operator()<Deterministic>();
}

const std::string disk_first = "remove and destroy the disk first";

TEST_F(LifetimeDeathTest, ARuntimeIsNotDestroyedBeforeADiskOnIt) {
  with_each_runtime([&]<class Rt>() {
    prints(std::string{Rt::name} + " destroyed while disk 'rig' uses it", disk_first);
    dies(std::string{"destruction of "} + Rt::name, "", [] {
      Silent driver;
      auto runtime = std::make_unique<Rt>();
      const auto disk = disk_on(*runtime, driver);
      runtime.reset();
    });
  });
}

TEST_F(LifetimeDeathTest, NorIfTheDiskIsRemovedButNotDestroyed) {
  prints("mq::LoopRuntime destroyed while disk 'rig' uses it", disk_first);
  dies("destruction of mq::LoopRuntime", "", [] {
    Silent driver;
    auto runtime = std::make_unique<mq::LoopRuntime>();
    const auto disk = disk_on(*runtime, driver);
    EXPECT_EQ(mq::remove(*runtime, *disk), blkown::Status::ok);
    runtime.reset();
  });
}

TEST_F(LifetimeDeathTest, ARuntimeIsNotDestroyedBeforeATimerThatIsArmedOnIt) {
  with_each_runtime([&]<class Rt>() {
    prints(std::string{Rt::name} + " destroyed while an mq::Alarm is armed on it",
           "cancel or destroy the timer first");
    dies(std::string{"destruction of "} + Rt::name, "", [] {
      mq::Alarm alarm{[](void*, mq::Alarm&) {}, nullptr};
      auto runtime = std::make_unique<Rt>();
      alarm.arm(runtime->context(1), 3'600'000'000'000);
      runtime.reset();
    });
    prints(std::string{Rt::name} + " destroyed while an mq::Timer is armed on it",
           "cancel or destroy the timer first");
    dies(std::string{"destruction of "} + Rt::name, "", [] {
      mq::Timer<int> timer{[](void*, int&&) {}, nullptr};
      auto runtime = std::make_unique<Rt>();
      timer.arm(runtime->context(1), ~std::uint64_t{0}, 1);
      runtime.reset();
    });
  });
}

TEST_F(LifetimeDeathTest, ARuntimeIsNotDestroyedBeforeWorkThatIsQueuedOnIt) {
  const auto queued = [&]<class Rt>() {
    prints(std::string{Rt::name} + " destroyed while an mq::Work is queued on it",
           "run the context until the work has run");
    for (const bool local : {false, true}) {
      dies(std::string{"destruction of "} + Rt::name, "", [&is_local = local] {
        mq::Work work{[](void*, mq::Work&) {}, nullptr};
        auto runtime = std::make_unique<Rt>();
        if (is_local) {
          const mq::Context::Scope scope{runtime->context(1)};
          runtime->context(1).post_local(work);
        } else {
          runtime->context(1).post(work);
        }
        runtime.reset();
      });
    }
  };
  queued.operator()<Contexts>();
  queued.operator()<Loop>();
  queued.operator()<Deterministic>();
}

TEST_F(LifetimeDeathTest, ARuntimeIsNotDestroyedBeforeItsIdleHooks) {
  with_each_runtime([&]<class Rt>() {
    prints(std::string{Rt::name} + " destroyed while it has an mq::IdleHook",
           "remove or destroy the hook first");
    dies(std::string{"destruction of "} + Rt::name, "", [] {
      mq::IdleHook hook{[](void*, mq::IdleHook&) {}, nullptr};
      auto runtime = std::make_unique<Rt>();
      runtime->context(1).add_idle_hook(hook);
      runtime.reset();
    });
  });
}

TEST_F(LifetimeDeathTest, ARuntimeIsNotDestroyedByItsOwnWork) {
  struct Last : mq::Work {
    explicit Last(std::unique_ptr<mq::LoopRuntime>& its_runtime)
        : Work{[](void* self, Work&) { static_cast<Last*>(self)->runtime.reset(); }, this},
          runtime{its_runtime} {}
    std::unique_ptr<mq::LoopRuntime>& runtime;
  };
  prints("mq::LoopRuntime destroyed by a thread that runs it",
         "destroy it after its run and outside of each Context::Scope");
  dies("destruction of mq::LoopRuntime", "", [] {
    auto runtime = std::make_unique<mq::LoopRuntime>();
    Last last{runtime};
    runtime->context(0).post(last);
    runtime->run();
  });
  prints("mq::ThreadRuntime destroyed by a thread that runs it",
         "destroy it after its run and outside of each Context::Scope");
  dies("destruction of mq::ThreadRuntime", "", [] {
    auto runtime = std::make_unique<mq::ThreadRuntime>(1u);
    runtime->run_on(0, [&] { runtime.reset(); });
  });
}

TEST_F(LifetimeDeathTest, AnIdleHookIsNotAddedTwice) {
  mq::LoopRuntime runtime;
  mq::IdleHook hook{[](void*, mq::IdleHook&) {}, nullptr};
  runtime.context(0).add_idle_hook(hook);
  prints("an IdleHook was added while a Context has it", "call remove_idle_hook() first");
  dies_here("mq::Context::add_idle_hook", "", [&] { runtime.context(0).add_idle_hook(hook); });
  runtime.context(0).remove_idle_hook(hook);
}

TEST_F(LifetimeDeathTest, ATagPoolIsNotDestroyedBeforeItsDisks) {
  prints("mq::TagPool destroyed while disk 'rig' uses it", disk_first);
  for (const bool removed : {false, true}) {
    dies("destruction of mq::TagPool", "", [&is_removed = removed] {
      Silent driver;
      mq::LoopRuntime runtime;
      auto pool = *mq::TagPool<Silent>::create({.depth = 4, .layout = blkown::CookieLayout::nbd()});
      const auto disk = disk_on(runtime, driver, {}, pool.get());
      if (is_removed) {
        EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
      }
      pool.reset();
    });
  }
}

TEST_F(LifetimeDeathTest, ADiskWithDeferredEndsIsNotDestroyedBeforeItsLastWorkHasRun) {
  prints("disk 'rig' destroyed while its mq::Work is queued on a context",
         "run the contexts until every bio has ended");
  dies("destruction of mq::Disk", "", [] {
    Silent driver;
    mq::LoopRuntime runtime;
    auto disk = disk_on(runtime, driver, {.completion = mq::CompletionMode::deferred});
    EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
    mq::Bio bio = mq::Bio::flush({});
    disk->submit(runtime.context(0), bio);  // ends with offline, in the work
    disk.reset();
  });
}

TEST_F(LifetimeDeathTest, ADiskIsNotDestroyedBeforeItsPlug) {
  prints("disk 'rig' destroyed while a Disk::Plug of it exists", "destroy the Plug first");
  dies("destruction of mq::Disk", "", [] {
    Silent driver;
    mq::LoopRuntime runtime;
    auto disk = disk_on(runtime, driver);
    const Silent::Disk::Plug plug{*disk, runtime.context(0)};
    EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
    disk.reset();
  });
}

TEST_F(LifetimeDeathTest, ADiskIsNotDestroyedByACallbackThatItCalls) {
  prints("disk 'rig' destroyed in a callback or a hook that it has called",
         "destroy it in the callback of remove() or later");
  dies("destruction of mq::Disk", "", [] {
    Silent driver;
    mq::LoopRuntime runtime;
    auto disk = disk_on(runtime, driver);
    EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
    mq::Bio bio = mq::Bio::flush(
        {[](void* owner, mq::Bio&) { static_cast<std::unique_ptr<Silent::Disk>*>(owner)->reset(); },
         &disk});
    disk->submit(runtime.context(0), bio);
  });
}

// Goal: of several users, each that is left is found, whatever order the others went in.
TEST_F(LifetimeDeathTest, EachOfSeveralUsersIsFound) {
  for (int left = 0; left != 3; ++left) {
    for (const bool upwards : {false, true}) {
      const std::string kind{"user " + std::to_string(left)};
      prints("the owner destroyed while " + kind + " uses it", "end it first");
      dies("destruction", "", [&kept = left, &is_upwards = upwards] {
        blkown::detail::UserList users;
        std::array<std::optional<blkown::detail::User>, 3> all;
        all[0].emplace(&users, "user 0");
        all[1].emplace(&users, "user 1");
        all[2].emplace(&users, "user 2");
        for (int i = 0; i != 3; ++i) {
          const int gone = is_upwards ? i : 2 - i;
          if (gone != kept) all[static_cast<std::size_t>(gone)].reset();
        }
        users.check_unused("destruction", "the owner", "end it first");
      });
    }
  }
}

// --- core ---------------------------------------------------------------------------------------

TEST_F(LifetimeDeathTest, ATagSetIsNotDestroyedBeforeItsTagDemands) {
  prints("TagSet destroyed while a TagDemand of it exists", "destroy the TagDemand first");
  dies("destruction of TagSet", ", queue 1", [&] {
    const auto demand = device.set->announce_demand(Device::queue);
    device.set.reset();
  });
}

// --- dma ----------------------------------------------------------------------------------------

/// Maps all memory at its own address.
struct Flat {
  [[nodiscard]] static dma::DeviceLimits limits() { return {}; }
  static std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment& memory,
                                                           dma::Direction, const blkown::Cookie&) {
    return reinterpret_cast<std::uintptr_t>(memory.data);
  }
  static std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&) { return {}; }
  static std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment>) {
    return {};
  }
};

TEST_F(LifetimeDeathTest, ABouncePoolIsNotDestroyedBeforeItsDevices) {
  prints("dma::BouncePool destroyed while a dma::Device uses it", "destroy the Device first");
  dies("destruction of dma::BouncePool", "", [] {
    alignas(8) std::array<std::byte, 64> memory{};
    Flat backend;
    std::optional<dma::BouncePool> pool;
    pool.emplace(memory, 32u);
    const dma::Device<Flat> mapped_device{backend, &*pool};
    pool.reset();
  });
}

// --- sim ----------------------------------------------------------------------------------------

TEST_F(LifetimeDeathTest, AnIommuIsNotDestroyedBeforeItsDevice) {
  prints("sim::Iommu destroyed while a dma::Device uses it", "destroy that object first");
  dies("destruction of sim::Iommu", "", [] {
    auto iommu = std::make_unique<sim::Iommu>(sim::IommuConfig{});
    const dma::Device<sim::Iommu> mapped_device{*iommu};
    iommu.reset();
  });
}

TEST_F(LifetimeDeathTest, AMessageDeviceIsNotDestroyedBeforeItsOracle) {
  prints("sim::MessageDevice destroyed while a sim::Oracle uses it", "destroy that object first");
  dies("destruction of sim::MessageDevice", "", [] {
    sim::MemoryMedia media{4096u};
    auto message_device = std::make_unique<sim::MessageDevice>(sim::MessageConfig{}, media);
    const sim::MessageOracle oracle{*message_device};
    message_device.reset();
  });
  prints("sim::Media destroyed while a sim::MessageDevice uses it", "destroy that object first");
  dies("destruction of sim::Media", "", [] {
    auto media = std::make_unique<sim::MemoryMedia>(4096u);
    const sim::MessageDevice message_device{{}, *media};
    media.reset();
  });
}

TEST_F(LifetimeDeathTest, APartOfAnNvmeControllerIsNotDestroyedBeforeIt) {
  prints("sim::NvmeController destroyed while a sim::Oracle uses it", "destroy that object first");
  dies("destruction of sim::NvmeController", "", [] {
    sim::Iommu iommu{{}};
    auto controller = std::make_unique<sim::NvmeController>(sim::NvmeConfig{}, iommu,
                                                            std::span<const sim::NvmeNamespace>{});
    const sim::NvmeOracle oracle{*controller};
    controller.reset();
  });
  prints("sim::NvmeController destroyed while a sim::NvmeControllerPump uses it",
         "destroy that object first");
  dies("destruction of sim::NvmeController", "", [] {
    sim::Iommu iommu{{}};
    auto controller = std::make_unique<sim::NvmeController>(sim::NvmeConfig{}, iommu,
                                                            std::span<const sim::NvmeNamespace>{});
    sim::DeterministicRuntime runtime{1, 1};
    const sim::NvmeControllerPump pump{*controller, runtime.context(0)};
    controller.reset();
  });
  prints("sim::Media destroyed while a sim::NvmeController uses it", "destroy that object first");
  dies("destruction of sim::Media", "", [] {
    sim::Iommu iommu{{}};
    auto media = std::make_unique<sim::MemoryMedia>(4096u);
    const sim::NvmeNamespace only{media.get(), 512};
    const sim::NvmeController controller{{}, iommu, std::span{&only, 1}};
    media.reset();
  });
  prints("sim::Iommu destroyed while a sim::NvmeController uses it", "destroy that object first");
  dies("destruction of sim::Iommu", "", [] {
    auto iommu = std::make_unique<sim::Iommu>(sim::IommuConfig{});
    const sim::NvmeController controller{{}, *iommu, std::span<const sim::NvmeNamespace>{}};
    iommu.reset();
  });
}

// --- the right order ----------------------------------------------------------------------------

/// Goal: objects that are destroyed in the right order are not reported, whatever they have done.
TEST(Lifetime, TheRightOrderIsSilent) {
  Silent driver;
  const auto pool =
      *mq::TagPool<Silent>::create({.depth = 4, .layout = blkown::CookieLayout::nbd()});
  mq::Alarm alarm{[](void*, mq::Alarm&) {}, nullptr};
  mq::IdleHook hook{[](void*, mq::IdleHook&) {}, nullptr};
  mq::Work work{[](void*, mq::Work&) {}, nullptr};
  mq::LoopRuntime runtime{2};
  for (int i = 0; i != 2; ++i) {
    const auto first = disk_on(runtime, driver, {}, pool.get());
    const auto second = disk_on(runtime, driver, {}, pool.get());
    alarm.arm(runtime.context(0), 3'600'000'000'000);
    runtime.context(1).add_idle_hook(hook);
    runtime.context(1).post(work);
    EXPECT_EQ(mq::remove(runtime, *second), blkown::Status::ok);
    EXPECT_EQ(mq::remove(runtime, *first), blkown::Status::ok);
    runtime.context(1).remove_idle_hook(hook);
    EXPECT_TRUE(alarm.cancel());
  }
}

}  // namespace
}  // namespace death::lifetime
