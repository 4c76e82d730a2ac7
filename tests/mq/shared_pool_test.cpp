// SPDX-License-Identifier: BSL-1.0
//
// Goal: on a pool that several disks share, no wake-up is lost and no disk exceeds its share, for
// random completions, busy and requeueing drivers, stopped queues, pauses that are longer than a
// disk's timeout, a stuck disk, and the removal of a disk that others wait for.
// Method: three disks, each submitted to on three contexts, and their devices on a fourth, on a
// runtime whose order a seed chooses and on threads. A run that loses a wake-up does not end.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "mq/one_by_one_driver.hpp"
#include "stress/effort.hpp"

namespace shared_pool {
namespace {

namespace mq = blkown::mq;
using blkown::Status;
using blkown::sim::Random;

constexpr std::uint32_t contexts = 3;
constexpr std::uint32_t device_context = contexts;
constexpr std::uint32_t depth = 12;
constexpr std::uint64_t ns_per_ms = 1'000'000;

/// A disk's driver, and its device, which ends published requests in random order. A request's
/// holder is the driver that has it since its first issue. A stuck disk's requests time out and
/// stay in flight.
struct Driver : fake::OneByOneDriver {
  Driver(std::uint64_t seed, mq::Context& its_device_context)
      : device{[](void* self, mq::Work&) { static_cast<Driver*>(self)->run(); }, this},
        context{its_device_context} {
    for (std::uint64_t i = 0; i != contexts + 1; ++i) random.emplace_back(seed * 31 + i);
  }

  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    Random& dice = random[mq::Context::current()->index()];
    RequestData& data = idle.data().driver_data;
    if (std::exchange(data.holder, this) != this) note_first_issue(hw);
    if (requeues && !idle.data().flags().nowait) {
      const std::uint64_t what = dice.below(32);
      if (what == 0) return Answer::rejected(std::move(idle), Status::device_resource);
      if (what == 1) {
        std::move(idle).start().requeue();
        return Answer::accepted();
      }
    }
    std::move(idle).start().publish([&](const blkown::Cookie& cookie) {
      const std::lock_guard lock{mutex};
      published.push_back({&hw, cookie.value});
    });
    context.post(device);
    return Answer::accepted();
  }

  void note_first_issue(Hw& hw) {
    const std::uint32_t held = holds.fetch_add(1) + 1;
    if (!counts_exactly) return;
    const std::uint32_t limit = hw.disk().pool().line(hw.tag_queue()).limit();
    if (held > std::min(limit, depth)) ++excesses;
  }

  void run() {
    Random& dice = random[device_context];
    if (is_stuck.load()) return;
    bool is_more = true;
    for (std::uint64_t i = dice.below(4); is_more; --i) {
      std::pair<Hw*, std::uint64_t> one;
      {
        const std::lock_guard lock{mutex};
        if (published.empty()) return;
        std::swap(published[static_cast<std::size_t>(dice.below(published.size()))],
                  published.back());
        one = published.back();
        published.pop_back();
        is_more = !published.empty();
      }
      if (auto claim = one.first->claim(one.second)) {
        claim->data().driver_data.holder = nullptr;
        --holds;
        std::move(*claim).end_ok();
      }
      if (i == 0) break;
    }
    if (is_more) context.post(device);
  }
  /// Context: any.
  void set_stuck(bool value) {
    is_stuck.store(value);
    if (!value) context.post(device);
  }

  std::vector<Random> random;  // one for each context
  mq::Work device;
  mq::Context& context;
  std::mutex mutex;
  std::vector<std::pair<Hw*, std::uint64_t>> published;
  std::atomic<std::uint32_t> holds{0};
  std::atomic<std::uint32_t> excesses{0};
  std::atomic<bool> is_stuck{false};
  bool requeues = false;
  bool counts_exactly = false;
};

/// One disk and its submitters.
struct Member {
  static constexpr std::size_t bios_each = 8;

  struct Slot {
    Member* member = nullptr;
    std::uint32_t context = 0;
    alignas(mq::Bio) std::byte storage[sizeof(mq::Bio)];
    std::array<std::byte, 512> memory{};
    mq::Bio& bio() { return *std::launder(reinterpret_cast<mq::Bio*>(storage)); }
  };
  /// Submits the bios of one context.
  struct Starter : mq::Work {
    Starter(Member& its_member, std::uint32_t its_context)
        : Work{[](void* self, Work&) { static_cast<Starter*>(self)->start(); }, this},
          member{its_member},
          context{its_context},
          pause{[](void* self, mq::Alarm&) { static_cast<Starter*>(self)->start(); }, this} {}
    void start() {
      for (Slot& slot : member.slots) {
        if (slot.context == context) member.submit(slot);
      }
    }
    Member& member;
    std::uint32_t context;
    std::size_t resting = 0;
    mq::Alarm pause;
  };

  Member(std::uint64_t seed, std::uint64_t its_target, bool may_pause, mq::Context& device)
      : driver{seed, device}, target{its_target}, pauses{may_pause} {
    for (std::size_t i = 0; i != slots.size(); ++i) {
      slots[i].member = this;
      slots[i].context = static_cast<std::uint32_t>(i % contexts);
    }
    for (std::uint32_t i = 0; i != contexts; ++i) {
      starters.push_back(std::make_unique<Starter>(*this, i));
    }
  }

  template <mq::Runtime Rt>
  void create(Rt& runtime, Driver::Pool& pool, std::uint32_t timeout_ms) {
    const mq::DiskConfig config{
        .capacity_sectors = 8, .read_queues = 1, .timeout_ms = timeout_ms, .busy_delay_ms = 1};
    disk = *Driver::Disk::create(config, driver, runtime, {}, &pool);
    for (std::uint32_t i = 0; i != contexts; ++i) at[i] = &runtime.context(i);
  }
  void start() {
    for (auto& starter : starters) at[starter->context]->post(*starter);
  }

  void submit(Slot& slot) {
    Random& dice = driver.random[slot.context];
    if (is_removing.load()) return;
    ++submitted;
    const mq::OnEnd<mq::Bio> end{&on_end, &slot};
    const blkown::Segment memory{slot.memory.data(), slot.memory.size()};
    const mq::IoFlags flags{.nowait = dice.chance(1, 8)};
    if (dice.chance(1, 2)) {
      new (slot.storage) mq::Bio(mq::Bio::read(0, memory, end, flags));
    } else {
      new (slot.storage) mq::Bio(mq::Bio::write(0, memory, end, flags));
    }
    disk->submit(*at[slot.context], slot.bio());
  }
  static void on_end(void* its, mq::Bio&) {
    Slot& slot = *static_cast<Slot*>(its);
    slot.member->take_end(slot);
  }
  void take_end(Slot& slot) {
    const Status status = slot.bio().status();
    slot.bio().~Bio();
    if (status == Status::ok) ++good_ends;
    ++ended;
    if (good_ends.load() >= target && !is_done.exchange(true)) on_done(*this);
    Starter& starter = *starters[slot.context];
    Random& dice = driver.random[slot.context];
    // A bio that got no tag is not submitted again at once: that could go on for ever.
    const bool rests =
        starter.resting != 0 || status == Status::again || (pauses && dice.chance(1, 200));
    if (!rests) return submit(slot);
    if (++starter.resting != bios_each) return;
    starter.resting = 0;
    if (is_removing.load()) return;
    const bool is_long = pauses && dice.chance(1, 2);
    starter.pause.arm(*at[slot.context], (is_long ? 50 : 1) * ns_per_ms);
  }

  /// Context: any.
  void remove() {
    if (!is_removing.exchange(true)) disk->remove(removal);
  }
  /// Precondition: the disk is removed, so no bio ends and begins a pause.
  void cancel_pauses() {
    for (auto& starter : starters) static_cast<void>(starter->pause.cancel());
  }

  Driver driver;
  std::uint64_t target;
  bool pauses;
  std::vector<Slot> slots = std::vector<Slot>(bios_each * contexts);
  std::vector<std::unique_ptr<Starter>> starters;
  std::array<mq::Context*, contexts> at{};
  std::unique_ptr<Driver::Disk> disk;
  std::atomic<std::uint64_t> submitted{0}, ended{0}, good_ends{0};
  std::atomic<bool> is_done{false}, is_removing{false};
  std::function<void(Member&)> on_done;
  mq::Event removed;
  mq::Control removal{
      {[](void* self, mq::Control&) { static_cast<mq::Event*>(self)->set(); }, &removed}};
};

/// Three disks. The first one is removed when it has had its I/O, while the others go on. If
/// `is_stuck`, the device of the last one ends nothing until the others are done.
template <mq::Runtime Rt>
struct SharedPool {
  SharedPool(Rt& its_runtime, std::uint64_t seed, std::uint64_t target, bool is_stuck)
      : runtime{its_runtime} {
    for (std::uint64_t i = 0; i != 3; ++i) {
      auto member = std::make_unique<Member>(seed * 3 + i, i == 0 ? target / 3 : target,
                                             !is_stuck && i != 0, runtime.context(device_context));
      member->driver.requeues = i == 1;
      // The other disks must not cease to be active: the stuck one would take their tags.
      member->create(runtime, *pool, is_stuck ? 100'000 : 20);
      members.push_back(std::move(member));
    }
    members[0]->on_done = [](Member& first) { first.remove(); };
    members[1]->on_done = [this](Member& second) {
      members[2]->driver.set_stuck(false);
      second.remove();
    };
    members[2]->on_done = [](Member& third) { third.remove(); };
    members[2]->driver.set_stuck(is_stuck);
  }
  void expect_all() {
    for (auto& member : members) {
      EXPECT_EQ(member->submitted.load(), member->ended.load());
      EXPECT_GE(member->good_ends.load(), member->target);
      EXPECT_EQ(member->driver.excesses.load(), 0U) << "more than the share";
      member->disk.reset();
    }
    EXPECT_EQ(pool->tags().taken_count(blkown::QueueIndex{0}), 0U);
  }

  Rt& runtime;
  std::unique_ptr<Driver::Pool> pool = *Driver::Pool::create(
      {.queue_count = 1, .depth = depth, .layout = blkown::CookieLayout::nbd()});
  std::vector<std::unique_ptr<Member>> members;
};

void run_seed(std::uint64_t seed, bool is_stuck) {
  blkown::sim::DeterministicRuntime runtime{seed, contexts + 1};
  SharedPool disks{runtime, seed, 1000, is_stuck};
  for (auto& member : disks.members) member->driver.counts_exactly = true;
  disks.members[0]->start();
  disks.members[1]->start();
  // The last disk begins when the others are active, because it does not give a tag back.
  while (disks.members[1]->good_ends.load() == 0 || disks.members[0]->good_ends.load() == 0) {
    ASSERT_TRUE(runtime.step());
  }
  disks.members[2]->start();
  for (auto& member : disks.members) {
    ASSERT_TRUE(runtime.wait_for(member->removed)) << "a wake-up was lost";
  }
  ASSERT_TRUE(runtime.run_until_idle(100'000));
  disks.expect_all();
}

TEST(SharedPool, FromSeeds) {
  const auto seeds = stress::scaled(100, 10);
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    SCOPED_TRACE(seed);
    run_seed(seed, seed % 2 == 0);
    if (HasFailure()) return;
  }
}

TEST(SharedPool, OnThreads) {
  for (const bool is_stuck : {false, true}) {
    mq::ThreadRuntime runtime{contexts + 1};
    SharedPool disks{runtime, 7, stress::scaled(6'000, 1'000), is_stuck};
    disks.members[0]->start();
    disks.members[1]->start();
    while (disks.members[1]->good_ends.load() == 0 || disks.members[0]->good_ends.load() == 0) {
      std::this_thread::yield();
    }
    disks.members[2]->start();
    for (auto& member : disks.members) {
      runtime.wait_for(member->removed);
      member->cancel_pauses();
    }
    // Waits for a pause whose end was running when it was cancelled.
    for (std::uint32_t i = 0; i != contexts + 1; ++i) runtime.run_on(i, [] {});
    disks.expect_all();
  }
}

}  // namespace
}  // namespace shared_pool
