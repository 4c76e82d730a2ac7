// SPDX-License-Identifier: BSL-1.0
//
// Tests of Timer and Alarm: expiry, cancellation, and the ownership of the handle.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/mq/timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "mq/fake_driver.hpp"
#include "mq/task.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;

struct Data {
  int value = 0;
};
using Rq = blkown::Request<Data>;
using Tags = blkown::TagSet<Rq>;
using ARef = blkown::ARef<Rq>;
using Owned = blkown::Owned<Rq>;
using Claim = blkown::Claim<Rq>;

struct Device {
  Device() {
    auto made = Tags::create({.depth = 4, .layout = blkown::CookieLayout::nbd()},
                             {[](void* self, blkown::EndedList<Rq>&& list) {
                                while (auto one = list.pop_front()) {
                                  static_cast<Device*>(self)->last = one->status();
                                  ++static_cast<Device*>(self)->ended;  // last: lets a waiter go on
                                }
                              },
                              this});
    tags.emplace(*std::move(made));
  }
  Owned start() {
    auto cache = tags->tag_cache(blkown::QueueIndex{0}, 0);
    return std::move(*tags->allocate(blkown::QueueIndex{0}, cache)).start();
  }
  /// Waits until `count` requests have ended, at most 20 seconds.
  [[nodiscard]] bool ends(int count) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (ended.load() != count) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  std::optional<Tags> tags;
  std::atomic<int> ended{0};
  Status last = Status::ok;
};

TEST(Timer, PassesTheHandleToItsFunctionWhenItExpires) {
  Device device;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  std::vector<blkown::Tag> fired;
  mq::Timer<Owned> timer{[](void* seen, Owned&& owned) {
                           static_cast<std::vector<blkown::Tag>*>(seen)->push_back(owned.tag());
                           std::move(owned).end_ok();
                         },
                         &fired};
  timer.arm(runtime.context(0), 5'000'000, device.start());
  EXPECT_EQ(runtime.next_timer_ns(), clock.now_ns + 5'000'000);
  clock.pass_ms(4);
  runtime.run();
  EXPECT_TRUE(fired.empty());
  clock.pass_ms(1);
  runtime.run();
  EXPECT_EQ(fired.size(), 1U);
  EXPECT_EQ(device.ended, 1);
  EXPECT_FALSE(runtime.next_timer_ns().has_value());
  EXPECT_FALSE(timer.cancel().has_value()) << "the function got the handle";
}

TEST(Timer, CancelGivesTheHandleBack) {
  Device device;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  mq::Timer<Claim> timer{[](void*, Claim&& claim) { std::move(claim).end(Status::timed_out); },
                         nullptr};
  EXPECT_FALSE(timer.cancel().has_value()) << "never armed";
  timer.arm(runtime.context(0), 1'000'000, device.start().into_claim());
  auto claim = timer.cancel();
  ASSERT_TRUE(claim.has_value());
  EXPECT_FALSE(timer.cancel().has_value()) << "once";
  clock.pass_ms(10);
  runtime.run();
  EXPECT_EQ(device.ended, 0);
  std::move(*claim).end_ok();
  EXPECT_EQ(device.last, Status::ok);
}

// Goal: a destroyed timer drops its handle and does not fire.
TEST(Timer, DestroyedWhileArmedItDropsItsHandle) {
  Device device;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  ARef pin = device.start().into_shared();
  {
    mq::Timer<ARef> timer{[](void*, ARef&&) { FAIL() << "it fired"; }, nullptr};
    timer.arm(runtime.context(0), 1'000'000, ARef{pin});
  }
  clock.pass_ms(10);
  runtime.run();
  auto owned = Owned::try_from_shared(std::move(pin));
  ASSERT_TRUE(owned.has_value()) << "the only reference left";
  std::move(*owned).end_ok();
}

TEST(Timer, MayBeArmedAgainFromItsFunction) {
  Device device;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  struct Repeating {
    explicit Repeating(mq::Context& its_context) : context{its_context} {}
    static void fire(void* self, Owned&& owned) {
      auto& its = *static_cast<Repeating*>(self);
      if (++its.count == 3) return std::move(owned).end_ok();
      its.timer.arm(its.context, 1'000'000, std::move(owned));
    }
    mq::Context& context;
    int count = 0;
    mq::Timer<Owned> timer{&fire, this};
  } repeating{runtime.context(0)};
  repeating.timer.arm(runtime.context(0), 0, device.start());
  for (int i = 0; i != 5; ++i) {
    runtime.run();
    clock.pass_ms(1);
  }
  EXPECT_EQ(repeating.count, 3);
  EXPECT_EQ(device.ended, 1);
}

struct SelfTimed;
using SelfRq = blkown::Request<SelfTimed>;
struct SelfTimed {
  static void fire(void*, blkown::ARef<SelfRq>&& pin);
  blkown::Cookie cookie;
  mq::Timer<blkown::ARef<SelfRq>> timer{&fire, this};
};

}  // namespace

// The cookie does not change while the timer is armed.
template <>
inline constexpr bool blkown::shared_data<SelfTimed> = true;

namespace {

void SelfTimed::fire(void*, blkown::ARef<SelfRq>&& pin) {
  const blkown::Cookie cookie = pin.data().cookie;
  auto claim = blkown::try_claim(std::move(pin), cookie);
  if (claim.has_value()) std::move(*claim).end(Status::timed_out);
}

// Goal: the timer of a request's timeout may be part of the request's data.
TEST(Timer, MayLiveInItsRequestsOwnData) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  int ended = 0;
  auto made = blkown::TagSet<SelfRq>::create({.depth = 1, .layout = blkown::CookieLayout::nbd()},
                                             {[](void* count, blkown::EndedList<SelfRq>&& list) {
                                                while (auto one = list.pop_front())
                                                  ++*static_cast<int*>(count);
                                              },
                                              &ended});
  ASSERT_TRUE(made.has_value());
  auto cache = made->tag_cache(blkown::QueueIndex{0}, 0);
  for (int round = 1; round != 4; ++round) {
    auto claim = std::move(*made->allocate(blkown::QueueIndex{0}, cache)).start().into_claim();
    claim.data().cookie = claim.next_cookie();
    claim.data().timer.arm(runtime.context(0), 1'000'000, claim.pin());
    std::move(claim).publish([](const blkown::Cookie&) {});
    clock.pass_ms(2);
    runtime.run();
    EXPECT_EQ(ended, round);
  }
}

// Goal: cancel() finds a timer on the context on which the timer is armed.
// Method: the timer's function arms the timer on alternating contexts while another thread cancels
// it.
TEST(Timer, IsCancelledWhileItMovesFromContextToContext) {
  Device device;
  mq::ThreadRuntime runtime{2};
  struct Wandering {
    explicit Wandering(mq::ThreadRuntime& its_runtime) : runtime{its_runtime} {}
    static void fire(void* self, Owned&& owned) {
      auto& its = *static_cast<Wandering*>(self);
      its.hops.fetch_add(1, std::memory_order_relaxed);
      const std::uint32_t here = mq::Context::current()->index();
      its.timer.arm(its.runtime.context(1 - here), 0, std::move(owned));
    }
    mq::ThreadRuntime& runtime;
    std::atomic<std::uint64_t> hops{0};
    mq::Timer<Owned> timer{&fire, this};
  } wandering{runtime};
  for (std::uint64_t i = 0; i != stress::scaled(300, 100); ++i) {
    const std::uint64_t before = wandering.hops.load(std::memory_order_relaxed);
    wandering.timer.arm(runtime.context(0), 0, device.start());
    while (wandering.hops.load(std::memory_order_relaxed) < before + 20) std::this_thread::yield();
    std::optional<Owned> owned;
    while (!owned.has_value()) owned = wandering.timer.cancel();
    std::move(*owned).end_ok();
  }
  EXPECT_EQ(static_cast<std::uint64_t>(device.ended.load()), stress::scaled(300, 100));
}

TEST(Alarm, CallsOnceUnlessCancelled) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  int calls = 0;
  mq::Alarm alarm{[](void* count, mq::Alarm&) { ++*static_cast<int*>(count); }, &calls};
  alarm.arm(runtime.context(0), 1'000'000);
  EXPECT_TRUE(alarm.cancel());
  EXPECT_FALSE(alarm.cancel());
  alarm.arm(runtime.context(0), 1'000'000);
  clock.pass_ms(1);
  runtime.run();
  runtime.run();
  EXPECT_EQ(calls, 1);
}

// Goal: durations of std::chrono arm timers and bound a run; a duration past the end of the clock
// never ends.
TEST(Alarm, TheFirstOfAllContextsIsTheRuntimesNext) {
  const auto nothing = [](void*, mq::Alarm&) {};
  for (const auto& [first_ms, second_ms] : {std::pair{3U, 5U}, std::pair{5U, 3U}}) {
    fake::Clock clock;
    mq::LoopRuntime runtime{3, clock.hooks()};
    mq::Alarm first{nothing, nullptr}, second{nothing, nullptr};
    first.arm(runtime.context(0), first_ms * 1'000'000U);
    second.arm(runtime.context(2), second_ms * 1'000'000U);
    EXPECT_EQ(runtime.next_timer_ns(), clock.now_ns + 3'000'000);
    clock.pass_ms(5);
    runtime.run();
  }
}

TEST(Alarm, TakesADurationThatSaturates) {
  using namespace std::chrono_literals;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  int calls = 0;
  mq::Alarm alarm{[](void* count, mq::Alarm&) { ++*static_cast<int*>(count); }, &calls};
  alarm.arm(runtime.context(0), 1500us);
  clock.pass_ms(1);
  runtime.run_for(0ms);
  runtime.run();
  EXPECT_EQ(calls, 0) << "early";
  clock.pass_ms(1);
  EXPECT_EQ(runtime.run_for(0ms), 0U) << "no time to run";
  EXPECT_GT(runtime.run_for(1ms), 0U);
  EXPECT_EQ(calls, 1);

  alarm.arm(runtime.context(0), std::chrono::hours::max());
  clock.pass_ms(1u << 30);
  runtime.run();
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(alarm.cancel());
}

TEST(Timer, TakesADuration) {
  using namespace std::chrono_literals;
  Device device;
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  mq::Timer<Owned> timer{[](void*, Owned&& owned) { std::move(owned).end_ok(); }, nullptr};
  timer.arm(runtime.context(0), 2ms, device.start());
  clock.pass_ms(1);
  runtime.run();
  EXPECT_EQ(device.ended, 0);
  clock.pass_ms(1);
  runtime.run();
  EXPECT_EQ(device.ended, 1);
}

TEST(Alarm, RearmedWithoutDelayDoesNotDelayWork) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  struct Hasty {
    static void fire(void* self, mq::Alarm&) {
      auto& its = *static_cast<Hasty*>(self);
      if (!its.is_over) its.alarm.arm(its.context, 0);
    }
    mq::Context& context;
    bool is_over = false;
    mq::Alarm alarm{&fire, this};
  } hasty{runtime.context(0)};
  fake::Task work{[&] { hasty.is_over = true; }};
  runtime.context(0).post(work);
  hasty.alarm.arm(runtime.context(0), 0);
  runtime.run();
  EXPECT_TRUE(hasty.is_over);
}

// Goal: either the expiry or a cancel() on another thread gets the handle.
// Method: in two of 32 rounds the outcome is certain: the timer expires in an hour, or the test
// waits for the expiry. In the others both may win, but on a busy machine one may win all of these.
TEST(Timer, OfExpiryAndCancelOneGetsTheHandle) {
  enum Round { cancel_wins, expiry_wins, any_wins };
  constexpr std::uint64_t hour_ns = 3'600'000'000'000;
  constexpr std::uint64_t max_step_ns = 10'000'000;
  Device device;
  mq::ThreadRuntime runtime{1};
  const int rounds = static_cast<int>(stress::scaled(3000, 500)) + 32;
  std::atomic<int> fired{0};
  int cancelled = 0;
  mq::Timer<Owned> timer{[](void* count, Owned&& owned) {
                           std::move(owned).end(Status::timed_out);
                           static_cast<std::atomic<int>*>(count)->fetch_add(1);
                         },
                         &fired};
  // Adjusts the delay so that either may win.
  std::uint64_t delay_ns = 0;
  std::uint64_t step_ns = 1000;
  bool was_cancelled = false;
  for (int i = 0; i != rounds; ++i) {
    const Round round = i % 32 < 2 ? static_cast<Round>(i % 32) : any_wins;
    timer.arm(runtime.context(0), std::array{hour_ns, std::uint64_t{0}, delay_ns}[round],
              device.start());
    if (round == expiry_wins) {
      ASSERT_TRUE(device.ends(i + 1)) << "a timer that none cancels";
    }
    // Without a yield, which takes milliseconds on a busy machine.
    const std::uint64_t until_ns = runtime.now_ns() + 20'000;
    while (runtime.now_ns() < until_ns) {
    }
    auto owned = timer.cancel();
    const bool is_cancelled = owned.has_value();
    if (is_cancelled) {
      std::move(*owned).end_ok();
      ++cancelled;
    }
    if (round != any_wins) {
      ASSERT_EQ(is_cancelled, round == cancel_wins) << "of a certain outcome";
    }
    ASSERT_TRUE(device.ends(i + 1)) << "the handle is lost";
    if (round != any_wins) continue;
    // The same again: far from the delay with which either may win.
    step_ns = is_cancelled == was_cancelled ? std::min(2 * step_ns, max_step_ns) : 1000;
    was_cancelled = is_cancelled;
    delay_ns = is_cancelled ? delay_ns - std::min(delay_ns, step_ns) : delay_ns + step_ns;
  }
  runtime.run_on(0, [] {});  // behind the last expiry
  EXPECT_GT(cancelled, 0);
  EXPECT_GT(fired.load(), 0);
  EXPECT_EQ(fired.load() + cancelled, rounds);
}

// Goal: a timer that fires on one context has given its handle away before another thread can arm
// it on another context.
// Method: the timer is due at once. The main thread cancels it, and arms it on the other context as
// soon as the cancel finds nothing. ThreadSanitizer sees a handle that is taken too late.
TEST(Timer, IsArmedOnAnotherContextWhileItFires) {
  mq::ThreadRuntime runtime{2};
  const int rounds = static_cast<int>(stress::scaled(20'000, 2'000));
  std::atomic<int> received{0};
  int armed = 0, cancelled = 0;
  mq::Timer<std::unique_ptr<int>> timer{[](void* count, std::unique_ptr<int>&& handle) {
                                          if (handle == nullptr || *handle != 7) std::abort();
                                          static_cast<std::atomic<int>*>(count)->fetch_add(1);
                                        },
                                        &received};
  for (int i = 0; i != rounds; ++i) {
    if (timer.cancel().has_value()) ++cancelled;
    timer.arm(runtime.context(static_cast<std::uint32_t>(i % 2)), 0, std::make_unique<int>(7));
    ++armed;
    for (std::atomic<int> pause{i % 2048}; pause.load(std::memory_order_relaxed) > 0;) {
      pause.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  if (timer.cancel().has_value()) ++cancelled;
  for (std::uint32_t i = 0; i != 2; ++i) runtime.run_on(i, [] {});
  EXPECT_EQ(received.load() + cancelled, armed);
}

/// Threads that arm, cancel, destroy and make again the same timers. A mutex orders arm() and the
/// destructor, as Timer demands.
struct SharedTimers {
  using Counted = mq::Timer<std::unique_ptr<int>>;
  struct One {
    std::mutex mutex;
    std::optional<Counted> timer;
  };

  explicit SharedTimers(mq::ThreadRuntime& its_runtime) : runtime{its_runtime} {
    for (One& one : timers) one.timer.emplace(&fire, this);
  }
  static void fire(void* self, std::unique_ptr<int>&& handle) {
    if (handle == nullptr || *handle != 7) std::abort();
    static_cast<SharedTimers*>(self)->received.fetch_add(1, std::memory_order_relaxed);
  }
  void act(stress::Random& random) {
    One& one = timers[random.below(static_cast<std::uint32_t>(timers.size()))];
    const std::lock_guard lock{one.mutex};
    const std::uint32_t what = random.below(8);
    if (one.timer->cancel().has_value()) cancelled.fetch_add(1, std::memory_order_relaxed);
    if (what == 0) one.timer.emplace(&fire, this);
    if (what == 1) return;
    armed.fetch_add(1, std::memory_order_relaxed);
    one.timer->arm(runtime.context(random.below(runtime.context_count())),
                   random.below(2) * random.below(20'000), std::make_unique<int>(7));
  }

  mq::ThreadRuntime& runtime;
  std::array<One, 4> timers;
  std::atomic<int> armed{0}, cancelled{0}, received{0};
};

// Goal: whatever threads do to timers that fire on other threads, each armed handle goes to exactly
// one of a cancel and the function.
TEST(Timer, IsArmedCancelledAndDestroyedByThreadsAtRandom) {
  mq::ThreadRuntime runtime{2};
  SharedTimers timers{runtime};
  const int rounds = static_cast<int>(stress::scaled(20'000, 3'000));
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i != 3; ++i) {
    threads.emplace_back([&timers, rounds, i] {
      stress::Random random{i};
      for (int round = 0; round != rounds; ++round) timers.act(random);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& one : timers.timers) {
    if (one.timer->cancel().has_value()) timers.cancelled.fetch_add(1);
  }
  for (std::uint32_t i = 0; i != 2; ++i) runtime.run_on(i, [] {});
  EXPECT_EQ(timers.received.load() + timers.cancelled.load(), timers.armed.load());
  EXPECT_GT(timers.received.load(), 0);
  EXPECT_GT(timers.cancelled.load(), 0);
}

/// A timer or an alarm in memory that is freed as soon as the object is destroyed.
template <class T, class Function, class Arm>
void destroy_while_firing(Function function, Arm arm) {
  mq::ThreadRuntime runtime{1};
  std::atomic<int> calls{0};
  const int rounds = static_cast<int>(stress::scaled(20'000, 2'000));
  for (int i = 0; i != rounds; ++i) {
    auto timer = std::make_unique<T>(function, &calls);
    arm(*timer, runtime.context(0));
    for (std::atomic<int> pause{i % 2048}; pause.load(std::memory_order_relaxed) > 0;) {
      pause.fetch_sub(1, std::memory_order_relaxed);
    }
    timer.reset();
  }
  // The function may still run. As with the kernel's del_timer_sync, a work on the context waits.
  runtime.run_on(0, [] {});
  EXPECT_LE(calls.load(), rounds);
}

// Goal: the last access of a firing context to the timer is the one that lets another thread
// destroy the timer.
TEST(Timer, IsDestroyedByAnotherThreadWhileItFires) {
  using Counted = mq::Timer<std::unique_ptr<int>>;
  destroy_while_firing<Counted>(
      [](void* count, std::unique_ptr<int>&&) {
        static_cast<std::atomic<int>*>(count)->fetch_add(1);
      },
      [](Counted& timer, mq::Context& context) {
        timer.arm(context, 0, std::make_unique<int>(7));
      });
}
TEST(Alarm, IsDestroyedByAnotherThreadWhileItFires) {
  destroy_while_firing<mq::Alarm>(
      [](void* count, mq::Alarm&) { static_cast<std::atomic<int>*>(count)->fetch_add(1); },
      [](mq::Alarm& alarm, mq::Context& context) { alarm.arm(context, 0); });
}

// Goal: a delay that reaches past the end of the clock never ends, and does not hide other timers.
TEST(Alarm, WithADelayPastTheEndOfTimeDoesNotFire) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  int calls = 0, others = 0;
  const auto count = [](void* its, mq::Alarm&) { ++*static_cast<int*>(its); };
  mq::Alarm endless{count, &calls}, other{count, &others};
  for (const std::uint64_t less : {std::uint64_t{0}, std::uint64_t{1}, clock.now_ns - 1}) {
    endless.arm(runtime.context(0), ~std::uint64_t{0} - less);
    runtime.run();
    EXPECT_EQ(calls, 0) << less;
    EXPECT_FALSE(runtime.next_timer_ns().has_value()) << "nothing to wake up for";
    other.arm(runtime.context(0), 1'000'000);
    EXPECT_EQ(runtime.next_timer_ns(), clock.now_ns + 1'000'000);
    clock.pass_ms(1);
    runtime.run();
    EXPECT_TRUE(endless.cancel());
  }
  EXPECT_EQ(others, 3);
}

}  // namespace
