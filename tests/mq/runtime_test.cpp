// SPDX-License-Identifier: BSL-1.0
//
// Tests of LoopRuntime, ThreadRuntime and DeterministicRuntime.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "mq/task.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::sim::DeterministicRuntime;
using fake::Task;

TEST(LoopRuntime, RunsWorkThatItsContextsPostToEachOther) {
  mq::LoopRuntime runtime{3};
  int count = 0;
  std::vector<std::unique_ptr<Task>> tasks;
  for (std::uint32_t i = 0; i != 3; ++i) tasks.push_back(std::make_unique<Task>([] {}));
  for (std::uint32_t i = 0; i != 3; ++i) {
    tasks[i]->call = [&, i] {
      if (++count < 30) runtime.context((i + 2) % 3).post(*tasks[(i + 2) % 3]);
    };
  }
  runtime.context(0).post(*tasks[0]);
  EXPECT_EQ(runtime.run(), 30U);
}

// Goal: each kind of run returns the number of its calls, also if they are more than a turn's.
TEST(LoopRuntime, EachRunTellsTheNumberOfItsCalls) {
  for (const std::uint32_t contexts : {1U, 2U}) {
    constexpr std::uint64_t now_ns = 1000;
    mq::LoopRuntime runtime{
        contexts, {.argument = nullptr, .now_ns = [](void*) { return now_ns; }, .wake = nullptr}};
    int left = 0;
    Task task{[&] {
      if (--left != 0) mq::Context::current()->post_local(task);
    }};
    const auto post = [&](int count) {
      left = count;
      runtime.context(contexts - 1).post(task);
    };
    post(200);
    EXPECT_EQ(runtime.run(), 200U);
    EXPECT_EQ(runtime.run(), 0U);
    post(200);
    EXPECT_EQ(runtime.run_some(150), 150U);
    EXPECT_EQ(runtime.run_some(150), 50U);
    for (const int count : {1, 64, 128, 200}) {
      post(count);
      EXPECT_EQ(runtime.run_until(now_ns + 1), static_cast<unsigned>(count));
    }
    post(200);
    EXPECT_EQ(runtime.run_for(std::chrono::nanoseconds{1}), 200U);
    post(1);
    EXPECT_EQ(runtime.run_until(now_ns), 0U) << "the time is over";
    EXPECT_EQ(runtime.run(), 1U);
    // Endless work does not hide that the time is over, although the clock stands still.
    mq::Event never;
    post(0);
    EXPECT_FALSE(runtime.wait_until(never, now_ns));
    left = 1;
    EXPECT_EQ(runtime.run(), 1U);
  }
}

TEST(LoopRuntime, RunsUntilAnEventOrUntilNothingIsLeft) {
  mq::LoopRuntime runtime;
  mq::Event event;
  int left = 0;
  Task task{[&] {
    if (left == 0) return;
    if (--left == 0) return event.set();
    runtime.context(0).post(task);
  }};
  EXPECT_FALSE(runtime.run_until(event)) << "nothing is left to run";
  runtime.context(0).post(task);
  EXPECT_FALSE(runtime.run_until(event)) << "the work has not set the event";
  left = 1000;
  runtime.context(0).post(task);
  EXPECT_TRUE(runtime.run_until(event));
  EXPECT_EQ(left, 0);
}

TEST(LoopRuntime, WithACallersClockWaitsForAnEventBehindMuchWork) {
  std::uint64_t now_ns = 0;
  mq::LoopRuntime runtime{1,
                          {.argument = &now_ns,
                           .now_ns = [](void* now) { return *static_cast<std::uint64_t*>(now); },
                           .wake = nullptr}};
  mq::Event event;
  int left = 1000;
  Task task{[&] {
    if (--left == 0) return event.set();
    runtime.context(0).post(task);
  }};
  runtime.context(0).post(task);
  EXPECT_TRUE(runtime.wait_for(event));
  EXPECT_EQ(left, 0);
}

TEST(LoopRuntime, CallsTheWakeHookForWorkAndForTimers) {
  int wakes = 0;
  mq::LoopRuntime runtime{1, {.argument = &wakes, .now_ns = nullptr, .wake = [](void* count) {
                                ++*static_cast<int*>(count);
                              }}};
  Task task{[] {}};
  runtime.context(0).post(task);
  EXPECT_EQ(wakes, 1);
  runtime.context(0).post(task);
  EXPECT_EQ(wakes, 1) << "work is posted already";
  mq::Alarm late{[](void*, mq::Alarm&) {}, nullptr}, soon{[](void*, mq::Alarm&) {}, nullptr};
  late.arm(runtime.context(0), 1'000'000'000'000);
  EXPECT_EQ(wakes, 2);
  const auto before = runtime.next_timer_ns();
  soon.arm(runtime.context(0), 1'000'000'000);
  EXPECT_EQ(wakes, 3) << "due before the other timer";
  EXPECT_LT(runtime.next_timer_ns(), before);
  mq::Alarm last{[](void*, mq::Alarm&) {}, nullptr}, own{[](void*, mq::Alarm&) {}, nullptr};
  last.arm(runtime.context(0), 2'000'000'000'000);
  EXPECT_EQ(wakes, 3) << "not the first";
  {
    const mq::Context::Scope scope{runtime.context(0)};
    own.arm(runtime.context(0), 500'000'000);
  }
  EXPECT_EQ(wakes, 3) << "the context that arms it runs";
  runtime.run();
}

TEST(LoopRuntime, WaitsForATimer) {
  mq::LoopRuntime runtime;
  mq::Event event;
  mq::Alarm alarm{[](void* its, mq::Alarm&) { static_cast<mq::Event*>(its)->set(); }, &event};
  alarm.arm(runtime.context(0), 1'000'000);
  EXPECT_TRUE(runtime.wait_for(event));
}

// Goal: a post of another thread ends the wait before the next timer is due.
TEST(LoopRuntime, IsWokenByAnotherThread) {
  mq::LoopRuntime runtime;
  mq::Event event;
  mq::Alarm late{[](void*, mq::Alarm&) {}, nullptr};
  late.arm(runtime.context(0), 3'600'000'000'000);
  Task task{[&] { event.set(); }};
  std::thread other{[&] { runtime.context(0).post(task); }};
  EXPECT_TRUE(runtime.wait_for(event));
  other.join();
}

// Goal: a post between the last look at the inbox and the sleep wakes the loop.
TEST(LoopRuntime, NoWakeUpIsLost) {
  mq::LoopRuntime runtime{2};
  const int rounds = static_cast<int>(stress::scaled(20'000, 3'000));
  std::atomic<int> asked{-1};
  mq::Event* event = nullptr;
  Task task{[&] { event->set(); }};
  std::thread other{[&] {
    for (int i = 0; i != rounds; ++i) {
      while (asked.load(std::memory_order_relaxed) != i) std::this_thread::yield();
      runtime.context(static_cast<std::uint32_t>(i) % 2).post(task);
    }
  }};
  for (int i = 0; i != rounds; ++i) {
    mq::Event done;
    event = &done;
    asked.store(i, std::memory_order_relaxed);
    ASSERT_TRUE(runtime.wait_for(done));
  }
  other.join();
}

TEST(LoopRuntime, WithACallersClockReportsThatNothingIsLeft) {
  mq::LoopRuntime runtime{
      1, {.argument = nullptr, .now_ns = [](void*) { return std::uint64_t{1}; }, .wake = nullptr}};
  mq::Event never;
  EXPECT_FALSE(runtime.wait_for(never));
}

// Goal: wait_until comes back at its deadline, with the event, or when nothing is left to run.
template <class Rt>
void wait_until_a_deadline(Rt& runtime) {
  const auto set = [](void* event, mq::Alarm&) { static_cast<mq::Event*>(event)->set(); };
  mq::Event event, never;
  mq::Alarm alarm{set, &event}, late{set, &never};
  late.arm(runtime.context(0), 3'600'000'000'000);
  const std::uint64_t begin_ns = runtime.now_ns();
  EXPECT_FALSE(runtime.wait_until(never, begin_ns + 2'000'000));
  EXPECT_GE(runtime.now_ns(), begin_ns + 2'000'000);
  EXPECT_FALSE(runtime.wait_until(never, begin_ns));
  alarm.arm(runtime.context(0), 1'000'000);
  EXPECT_TRUE(runtime.wait_until(event, runtime.now_ns() + 3'600'000'000'000));
  EXPECT_TRUE(runtime.wait_until(event, 0));
  late.cancel();
}

TEST(WaitUntil, OnACallersLoop) {
  mq::LoopRuntime runtime{2};
  wait_until_a_deadline(runtime);
}
TEST(WaitUntil, OnThreads) {
  mq::ThreadRuntime runtime{2};
  wait_until_a_deadline(runtime);
}
TEST(WaitUntil, OnASimulatedClock) {
  blkown::sim::DeterministicRuntime runtime{1, 2};
  wait_until_a_deadline(runtime);
}
TEST(WaitUntil, ComesBackIfNothingIsLeftToRun) {
  static std::uint64_t now_ns = 1;
  mq::LoopRuntime loop{1, {.argument = nullptr, .now_ns = [](void*) { return now_ns; }}};
  blkown::sim::DeterministicRuntime simulated{1, 1};
  mq::Event never;
  EXPECT_FALSE(loop.wait_until(never, 1'000));
  EXPECT_FALSE(simulated.wait_until(never, 1'000));
  EXPECT_LT(simulated.now_ns(), 1'000U);
}

TEST(ThreadRuntime, EachContextHasAThread) {
  mq::ThreadRuntime runtime{3};
  std::vector<std::thread::id> threads(3);
  for (std::uint32_t i = 0; i != 3; ++i) {
    runtime.run_on(i, [&] {
      threads[i] = std::this_thread::get_id();
      EXPECT_EQ(mq::Context::current(), &runtime.context(i));
    });
  }
  EXPECT_NE(threads[0], threads[1]);
  EXPECT_NE(threads[1], threads[2]);
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

// Goal: a runtime may be destroyed as soon as the work that was waited for has run, while the post
// or the arm of another thread has not returned.
// Method: an alarm, due at about that time, ends the loop's sleep before the post does.
// AddressSanitizer and ThreadSanitizer see a use of the runtime.
TEST(LoopRuntime, MayBeDestroyedWhileThePostThatWokeItReturns) {
  const int rounds = static_cast<int>(stress::scaled(500, 200));
  for (int round = 0; round != rounds; ++round) {
    std::atomic<mq::Context*> where{nullptr};
    mq::Event done;
    Task task{[&] { done.set(); }};
    std::thread loop{[&] {
      auto runtime = std::make_unique<mq::LoopRuntime>();
      mq::Alarm early{[](void*, mq::Alarm&) {}, nullptr};
      early.arm(runtime->context(0), static_cast<std::uint64_t>(round % 64) * 2'000);
      where.store(&runtime->context(0));
      runtime->wait_for(done);
      early.cancel();
      runtime.reset();
    }};
    mq::Context* context = nullptr;
    while ((context = where.load()) == nullptr) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds{round % 64});
    context->post(task);
    loop.join();
  }
}
TEST(LoopRuntime, MayBeDestroyedWhileTheArmThatWokeItReturns) {
  const int rounds = static_cast<int>(stress::scaled(500, 200));
  for (int round = 0; round != rounds; ++round) {
    std::atomic<mq::Context*> where{nullptr};
    mq::Event done;
    mq::Alarm alarm{[](void* its, mq::Alarm&) { static_cast<mq::Event*>(its)->set(); }, &done};
    std::thread loop{[&] {
      auto runtime = std::make_unique<mq::LoopRuntime>();
      where.store(&runtime->context(0));
      runtime->wait_for(done);
      runtime.reset();
    }};
    mq::Context* context = nullptr;
    while ((context = where.load()) == nullptr) std::this_thread::yield();
    alarm.arm(*context, 0);
    loop.join();
  }
}

// Goal: when the destructor has returned, no wake hook is running, so the hook's argument may be
// destroyed.
// Method: the hook is slow, and the loop that polls does not wait for it.
TEST(LoopRuntime, WaitsInItsDestructorForItsWakeHook) {
  for (int round = 0; round != 20; ++round) {
    struct Loop {
      static void wake(void* self) {
        static_cast<Loop*>(self)->calls.fetch_add(1);
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        static_cast<Loop*>(self)->returns.fetch_add(1);
      }
      std::atomic<int> calls{0};
      std::atomic<int> returns{0};
    } loop;
    std::atomic<bool> is_run{false};
    Task task{[&] { is_run.store(true); }};
    auto runtime = std::make_unique<mq::LoopRuntime>(
        1, mq::LoopHooks{.argument = &loop, .now_ns = nullptr, .wake = &Loop::wake});
    // An earlier call that has returned does not count for the later one.
    Task earlier{[] {}};
    runtime->context(0).post(earlier);
    runtime->run();
    std::thread poster{[&, &context = runtime->context(0)] { context.post(task); }};
    while (!is_run.load()) runtime->run();
    runtime.reset();
    EXPECT_EQ(loop.calls.load(), 2);
    EXPECT_EQ(loop.returns.load(), 2);
    poster.join();
  }
}

// Goal: work that is posted while the thread is about to sleep is run.
// Method: each post comes while the previous run of the work ends. Runs have different lengths, so
// some posts come between the thread's last look at its inbox and its sleep. After a lost post the
// test waits forever.
TEST(ThreadRuntime, APostKeepsTheThreadFromFallingAsleep) {
  mq::ThreadRuntime runtime{1};
  const int rounds = static_cast<int>(stress::scaled(20'000, 3'000));
  std::atomic<int> count{0};
  Task task{[&] {
    const int round = count.fetch_add(1, std::memory_order_relaxed);
    for (std::atomic<int> pause{round % 256}; pause.load(std::memory_order_relaxed) > 0;) {
      pause.fetch_sub(1, std::memory_order_relaxed);
    }
  }};
  for (int i = 0; i != rounds; ++i) {
    runtime.context(0).post(task);
    for (int looks = 0; count.load(std::memory_order_relaxed) == i; ++looks) {
      if (looks > 1000) std::this_thread::yield();
    }
  }
  runtime.run_on(0, [] {});  // waits until the last run has returned
  EXPECT_EQ(count.load(), rounds);
}

// Goal: a post between the last look at the inbox and the sleep wakes the thread.
TEST(ThreadRuntime, NoWakeUpIsLost) {
  mq::ThreadRuntime runtime{2};
  const int rounds = static_cast<int>(stress::scaled(20'000, 3'000));
  mq::Event done;
  std::atomic<int> count{0};
  Task ping{[] {}}, pong{[] {}};
  ping.call = [&] { runtime.context(1).post(pong); };
  pong.call = [&] {
    if (count.fetch_add(1) + 1 == rounds) {
      done.set();
    } else {
      runtime.context(0).post(ping);
    }
  };
  runtime.context(0).post(ping);
  EXPECT_TRUE(runtime.wait_for(done));
  EXPECT_EQ(count.load(), rounds);
  runtime.run_on(1, [] {});  // waits until the last pong has returned
}

TEST(ThreadRuntime, ATimerArmedByAnotherThreadWakesTheSleeper) {
  mq::ThreadRuntime runtime{1};
  for (int i = 0; i != 20; ++i) {
    mq::Event event;
    mq::Alarm late{[](void*, mq::Alarm&) {}, nullptr};
    late.arm(runtime.context(0), 3'600'000'000'000);
    mq::Alarm alarm{[](void* its, mq::Alarm&) { static_cast<mq::Event*>(its)->set(); }, &event};
    alarm.arm(runtime.context(0), 100'000);
    EXPECT_TRUE(runtime.wait_for(event));
    runtime.run_on(0, [] {});
  }
}

// Goal: the destructor runs posted work, also if the thread sleeps and finds the stop together with
// the post.
TEST(ThreadRuntime, FinishesPostedWorkInItsDestructor) {
  for (int round = 0; round != 100; ++round) {
    std::atomic<int> runs{0};
    Task task{[&] { ++runs; }};
    {
      mq::ThreadRuntime runtime{1};
      if (round % 2 != 0) {
        runtime.run_on(0, [] {});
        std::this_thread::sleep_for(std::chrono::microseconds{200});
      }
      runtime.context(0).post(task);
    }
    ASSERT_EQ(runs.load(), 1);
  }
}

/// The order in which a seed runs four tasks and a timer.
std::vector<int> order_of(std::uint64_t seed) {
  DeterministicRuntime runtime{seed, 2};
  std::vector<int> order;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i != 4; ++i) {
    tasks.push_back(std::make_unique<Task>([&order, i] { order.push_back(i); }));
    runtime.context(static_cast<std::uint32_t>(i) % 2).post(*tasks.back());
  }
  struct Timed {
    std::vector<int>* order;
    DeterministicRuntime* runtime;
  } timed{&order, &runtime};
  mq::Alarm alarm{[](void* its, mq::Alarm&) {
                    auto& which = *static_cast<Timed*>(its);
                    which.order->push_back(4);
                    EXPECT_EQ(which.runtime->now_ns(), 7'000'000U);
                  },
                  &timed};
  alarm.arm(runtime.context(1), 7'000'000);
  EXPECT_TRUE(runtime.run_until_idle(100));
  EXPECT_EQ(runtime.steps(), 5U);
  return order;
}

// Goal: a seed always gives the same run, other seeds give other runs, and time passes only when no
// work is left.
TEST(DeterministicRuntime, TheSameSeedIsTheSameRun) {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 0; seed != 300; ++seed) {
    const std::vector<int> order = order_of(seed);
    ASSERT_EQ(order.size(), 5U);
    EXPECT_EQ(order.back(), 4) << "the timer is due after the tasks";
    EXPECT_EQ(order, order_of(seed));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 24U) << "every order of the tasks occurs";
}

TEST(DeterministicRuntime, ReportsThatAnEventCannotHappen) {
  DeterministicRuntime runtime{1, 1};
  mq::Event event;
  EXPECT_FALSE(runtime.wait_for(event));
  Task endless{[] {}};
  endless.call = [&] { runtime.context(0).post_local(endless); };
  runtime.context(0).post(endless);
  EXPECT_FALSE(runtime.run_until_idle(1000));
  endless.call = [] {};
  EXPECT_TRUE(runtime.run_until_idle(1000));
}

// Goal: a thread sleeps for a deadline that no clock of the library reaches.
// Method: a sleep that ends before the wake has overflowed.
TEST(Sleeper, SleepsForADeadlinePastTheEndOfTheClock) {
  for (const std::uint64_t due_ns : {std::uint64_t{1} << 62, (std::uint64_t{1} << 63) - 1,
                                     std::uint64_t{1} << 63, ~std::uint64_t{0} - 1}) {
    mq::detail::Sleeper sleeper;
    std::atomic<bool> is_awake{false};
    std::thread thread{[&] {
      sleeper.sleep([] { return true; }, [&] { return std::optional{due_ns}; });
      is_awake.store(true);
    }};
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    EXPECT_FALSE(is_awake.load()) << due_ns;
    sleeper.wake();
    thread.join();
  }
}

// Goal: a sleeper sleeps until its deadline, and for at most an hour.
TEST(Sleeper, ADeadlineIsAtMostAnHourAway) {
  constexpr std::uint64_t hour_ns = 3'600'000'000'000;
  const std::uint64_t now_ns = mq::detail::steady_now_ns();
  const auto until_ns = [](std::uint64_t due_ns) {
    return std::chrono::nanoseconds{mq::detail::steady_time_point(due_ns).time_since_epoch()}
        .count();
  };
  for (const std::uint64_t due_ns : {std::uint64_t{0}, now_ns, now_ns + 1, now_ns + hour_ns}) {
    EXPECT_EQ(until_ns(due_ns), static_cast<std::int64_t>(due_ns));
  }
  const auto latest_ns = static_cast<std::uint64_t>(until_ns(~std::uint64_t{0}));
  EXPECT_GE(latest_ns, now_ns + hour_ns);
  EXPECT_LT(latest_ns, now_ns + 2 * hour_ns);
}

// Goal: the cheap bound of the clock is not below the clock: no timer waits for it.
TEST(Sleeper, TheLatestTimeIsNotBeforeTheClock) {
  for (int i = 0; i != 100'000; ++i) {
    const std::uint64_t now_ns = mq::detail::steady_now_ns();
    ASSERT_GE(mq::detail::steady_latest_ns(), now_ns);
  }
}

// Goal: the simulated clock stops at its end and does not start again at 0.
TEST(DeterministicRuntime, StopsItsClockAtTheEndOfTime) {
  DeterministicRuntime runtime{1, 1};
  int calls = 0;
  const auto count = [](void* its, mq::Alarm&) { ++*static_cast<int*>(its); };
  mq::Alarm late{count, &calls}, endless{count, &calls};
  late.arm(runtime.context(0), ~std::uint64_t{0} - 500);
  endless.arm(runtime.context(0), ~std::uint64_t{0});
  EXPECT_TRUE(runtime.run_until_idle(100));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(runtime.now_ns(), ~std::uint64_t{0});
  late.arm(runtime.context(0), 1);
  EXPECT_TRUE(runtime.run_until_idle(100));
  EXPECT_EQ(calls, 1) << "after the end nothing is due";
  mq::Event event;
  EXPECT_FALSE(runtime.wait_for(event));
  EXPECT_TRUE(late.cancel());
  EXPECT_TRUE(endless.cancel());
}

TEST(Random, IsTheSameEverywhereAndUniform) {
  blkown::sim::Random random{42};
  EXPECT_EQ(random.next(), 0xBDD732262FEB6E95U);
  std::vector<int> counts(10);
  for (int i = 0; i != 100'000; ++i) ++counts[static_cast<std::size_t>(random.below(10))];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
  int hits = 0;
  for (int i = 0; i != 100'000; ++i) hits += random.chance(1, 4);
  EXPECT_NEAR(hits, 25'000, 700);
}

}  // namespace
