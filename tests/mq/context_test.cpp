// SPDX-License-Identifier: BSL-1.0
//
// Tests of Context: work posted on the context itself and from other threads.

#include <gtest/gtest.h>

#include <blkown/mq/context.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/timer.hpp>
#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "mq/task.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using fake::Task;
using mq::Context;

TEST(Context, RunsPostedWorkInOrder) {
  mq::LoopRuntime runtime;
  std::vector<int> order;
  Task first{[&] { order.push_back(1); }}, second{[&] { order.push_back(2); }};
  runtime.context(0).post(first);
  runtime.context(0).post(second);
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(runtime.context(0).run(), 2U);
  EXPECT_EQ(order, (std::vector{1, 2}));
  EXPECT_EQ(runtime.context(0).run(), 0U);
}

TEST(Context, SeveralPostsMayBeOneRun) {
  mq::LoopRuntime runtime;
  int runs = 0;
  Task task{[&] { ++runs; }};
  for (int i = 0; i != 5; ++i) runtime.context(0).post(task);
  runtime.context(0).run();
  EXPECT_EQ(runs, 1);
  runtime.context(0).post(task);
  runtime.context(0).run();
  EXPECT_EQ(runs, 2);
}

TEST(Context, WorkMayPostItselfAndOthers) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  int runs = 0;
  int others = 0;
  Task other{[&] { ++others; }};
  Task task{[] {}};
  task.call = [&] {
    if (++runs != 3) {
      context.post_local(task);
      context.post_local(task);
    }
    context.post_local(other);
  };
  context.post(task);
  context.run();
  EXPECT_EQ(runs, 3);
  EXPECT_GE(others, 1);
}

TEST(Context, WorkMayBeDestroyedInItsOwnRun) {
  mq::LoopRuntime runtime;
  static int runs = 0;
  runs = 0;
  auto* task = new Task{[] {}};
  task->call = [task] {
    ++runs;
    Task* const self = task;
    delete self;
  };
  runtime.context(0).post(*task);
  runtime.context(0).run();
  EXPECT_EQ(runs, 1);
}

TEST(Context, CurrentIsTheContextThatTheThreadRuns) {
  mq::LoopRuntime runtime{2};
  EXPECT_EQ(Context::current(), nullptr);
  Context* seen = nullptr;
  Task task{[&] {
    seen = Context::current();
    const Context::Scope inner{runtime.context(0)};
    EXPECT_EQ(Context::current(), &runtime.context(0));
  }};
  runtime.context(1).post(task);
  runtime.run();
  EXPECT_EQ(seen, &runtime.context(1));
  EXPECT_EQ(Context::current(), nullptr);
}

TEST(Context, CallsItsIdleHooksWhenNothingIsLeft) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  struct Hook : mq::IdleHook {
    Hook() : IdleHook{[](void* self, IdleHook&) { static_cast<Hook*>(self)->go_idle(); }, this} {}
    void go_idle() {
      ++calls;
      if (work != nullptr) Context::current()->post_local(*std::exchange(work, nullptr));
    }
    int calls = 0;
    mq::Work* work = nullptr;
  } first, second;
  int runs = 0;
  Task task{[&] {
    ++runs;
    EXPECT_GE(first.calls, 1);
  }};
  context.add_idle_hook(first);
  context.add_idle_hook(second);
  second.work = &task;
  EXPECT_EQ(context.run(), 1U) << "work that a hook posts is run";
  EXPECT_EQ(first.calls, 2);
  context.remove_idle_hook(first);
  context.run();
  EXPECT_EQ(first.calls, 2);
  EXPECT_EQ(second.calls, 3);
}

TEST(Context, DoesNotCallAnIdleHookThatIsDestroyed) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  int calls = 0;
  const auto count = +[](void* counter, mq::IdleHook&) { ++*static_cast<int*>(counter); };
  mq::IdleHook last{count, &calls};
  context.add_idle_hook(last);
  auto middle = std::make_unique<mq::IdleHook>(count, &calls);
  context.add_idle_hook(*middle);
  auto first = std::make_unique<mq::IdleHook>(count, &calls);
  context.add_idle_hook(*first);
  middle.reset();
  context.run();
  EXPECT_EQ(calls, 2);
  first.reset();
  context.run();
  EXPECT_EQ(calls, 3);
  context.remove_idle_hook(last);
  context.run();
  EXPECT_EQ(calls, 3);
}

TEST(Context, KeepsItsIdleHooksWhenAnotherHookIsRemoved) {
  mq::LoopRuntime runtime{2};
  const auto count = +[](void* counter, mq::IdleHook&) { ++*static_cast<int*>(counter); };
  int own_calls = 0, other_calls = 0;
  mq::IdleHook own{count, &own_calls}, other{count, &other_calls}, added_nowhere{count, &own_calls};
  runtime.context(0).add_idle_hook(own);
  runtime.context(1).add_idle_hook(other);
  runtime.context(0).remove_idle_hook(other);
  runtime.context(0).remove_idle_hook(added_nowhere);
  runtime.context(0).run();
  runtime.context(1).run();
  EXPECT_EQ(own_calls, 1);
  EXPECT_EQ(other_calls, 1);
  runtime.context(1).remove_idle_hook(other);
}

// Goal: a context whose timer is far away does not pay for the clock in each run.
TEST(Context, ReadsTheClockOnlyNearATimersTime) {
  struct Clock {
    std::uint64_t now_ns = 0;
    int reads = 0;
  } clock;
  Context context{{.runtime = &clock,
                   .now_ns =
                       [](void* self) {
                         ++static_cast<Clock*>(self)->reads;
                         return static_cast<Clock*>(self)->now_ns;
                       },
                   .wake = [](void*, std::uint32_t) {},
                   .latest_ns = [](void* self) { return static_cast<Clock*>(self)->now_ns + 100; }},
                  0};
  int fired = 0;
  mq::Alarm alarm{[](void* count, mq::Alarm&) { ++*static_cast<int*>(count); }, &fired};
  alarm.arm(context, 1000);
  context.run();  // looks at the new timer
  clock.reads = 0;
  for (clock.now_ns = 0; clock.now_ns < 900; clock.now_ns += 100) context.run();
  EXPECT_EQ(clock.reads, 0);
  for (; clock.now_ns < 1000; clock.now_ns += 10) context.run();
  EXPECT_GT(clock.reads, 0);
  EXPECT_EQ(fired, 0);
  context.run();
  EXPECT_EQ(fired, 1);
}

TEST(Context, RunsTheChosenWork) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  std::vector<int> order;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i != 4; ++i) {
    tasks.push_back(std::make_unique<Task>([&order, i] { order.push_back(i); }));
    context.post(*tasks.back());
  }
  EXPECT_EQ(context.runnable(), 4U);
  context.run_one(2);
  context.run_one(2);
  context.run_one(0);
  EXPECT_EQ(context.runnable(), 1U);
  context.post(*tasks[0]);
  EXPECT_EQ(context.runnable(), 2U);
  context.run_one(1);
  context.run_one(0);
  EXPECT_EQ(order, (std::vector{2, 3, 0, 0, 1}));
  EXPECT_EQ(context.runnable(), 0U);
}

/// A context that counts the calls of its wake hook and its clock. With `tells`, its runtime calls
/// fall_asleep before it sleeps.
struct Sleeper {
  explicit Sleeper(bool tells)
      : context{{.runtime = this,
                 .now_ns = [](void* self) { return ++static_cast<Sleeper*>(self)->looks, now_ns; },
                 .wake = [](void* self, std::uint32_t) { ++static_cast<Sleeper*>(self)->wakes; },
                 .announces_sleep = tells},
                0} {}
  static constexpr std::uint64_t now_ns = 1'000'000;
  int wakes = 0;
  int looks = 0;  // calls of the clock
  Context context;
};

// Goal: a post calls the wake hook of a context that sleeps, and of no other.
TEST(Context, IsWokenOnlyWhileItSleeps) {
  Sleeper sleeper{true};
  Context& context = sleeper.context;
  Task first{[] {}}, second{[] {}};
  context.post(first);
  EXPECT_EQ(sleeper.wakes, 0);
  EXPECT_FALSE(context.is_inbox_empty());
  EXPECT_FALSE(context.fall_asleep()) << "work is posted";
  EXPECT_EQ(context.run(), 1U);
  EXPECT_TRUE(context.fall_asleep());
  EXPECT_TRUE(context.fall_asleep()) << "it is asleep already";
  EXPECT_TRUE(context.is_inbox_empty());
  EXPECT_EQ(context.run(), 0U) << "the mark of a sleeping context is not work";
  EXPECT_TRUE(context.fall_asleep()) << "again";
  context.post(first);
  EXPECT_EQ(sleeper.wakes, 1);
  context.post(second);
  EXPECT_EQ(sleeper.wakes, 1) << "it is awake";
  EXPECT_FALSE(context.fall_asleep());
  EXPECT_EQ(context.run(), 2U);
  EXPECT_TRUE(context.fall_asleep());
  EXPECT_EQ(context.run(), 0U);
  context.post(first);
  EXPECT_EQ(sleeper.wakes, 1) << "it has run and has not fallen asleep again";
  EXPECT_EQ(context.run(), 1U);
}

TEST(Context, IsWokenForTheFirstPostIfItsRuntimeDoesNotTellOfItsSleep) {
  Sleeper sleeper{false};
  Context& context = sleeper.context;
  Task first{[] {}}, second{[] {}};
  for (int round = 1; round != 3; ++round) {
    context.post(first);
    context.post(second);
    EXPECT_EQ(sleeper.wakes, round);
    EXPECT_EQ(context.run(), 2U);
    EXPECT_TRUE(context.is_inbox_empty());
  }
}

// Goal: a run reads the clock once if a timer is armed, and otherwise not at all.
TEST(Context, ReadsTheClockOnlyForTimers) {
  Sleeper sleeper{true};
  Context& context = sleeper.context;
  Task task{[] {}};
  const auto looks_of_a_run = [&] {
    context.post(task);
    const int before = sleeper.looks;
    context.run();
    return sleeper.looks - before;
  };
  EXPECT_EQ(looks_of_a_run(), 0);
  mq::Alarm late{[](void*, mq::Alarm&) {}, nullptr}, later{[](void*, mq::Alarm&) {}, nullptr};
  late.arm(context, 1'000);
  later.arm(context, 2'000);
  EXPECT_EQ(looks_of_a_run(), 1);
  EXPECT_EQ(looks_of_a_run(), 1);
  EXPECT_TRUE(late.cancel());
  EXPECT_EQ(looks_of_a_run(), 1) << "the other timer is armed";
  EXPECT_TRUE(later.cancel());
  EXPECT_EQ(looks_of_a_run(), 0);
}

// Goal: a run leaves no timer that is due, although a turn fires only some of them.
TEST(Context, FiresEveryTimerThatIsDue) {
  constexpr int timers = 200;
  for (const bool is_bounded : {false, true}) {
    Sleeper sleeper{true};
    int expired = 0;
    std::deque<mq::Alarm> alarms;
    for (int i = 0; i != timers; ++i) {
      alarms.emplace_back([](void* its, mq::Alarm&) { ++*static_cast<int*>(its); }, &expired);
      alarms.back().arm(sleeper.context, 0);
    }
    const std::size_t calls = is_bounded ? sleeper.context.run_some(1'000) : sleeper.context.run();
    EXPECT_EQ(calls, std::size_t{timers});
    EXPECT_EQ(expired, timers);
  }
}

// Goal: endless work delays neither timers nor work that others post, and a timer that is re-armed
// with no delay does not delay work.
TEST(Context, WorkAndTimersDoNotDelayEachOther) {
  Sleeper sleeper{true};
  Context& context = sleeper.context;
  int runs = 0;
  bool is_fired = false, is_posted = false;
  Task other{[&] { is_posted = true; }};
  Task endless{[] {}};
  endless.call = [&] {
    if (++runs == 2) context.post(other);
    if (runs != 1000 && !(is_fired && is_posted)) context.post_local(endless);
  };
  mq::Alarm due{[](void* flag, mq::Alarm&) { *static_cast<bool*>(flag) = true; }, &is_fired};
  due.arm(context, 0);
  context.post(endless);
  context.run();
  EXPECT_LT(runs, 10);

  struct Rearmed {
    static void fire(void* self, mq::Alarm&) {
      auto& its = *static_cast<Rearmed*>(self);
      if (++its.fires != 1000 && !its.is_done) its.alarm.arm(*its.context, 0);
    }
    Context* context;
    mq::Alarm alarm{&fire, this};
    int fires = 0;
    bool is_done = false;
  } rearmed{&context};
  Task work{[&] { rearmed.is_done = true; }};
  Task poster{[&] { context.post(work); }};
  rearmed.alarm.arm(context, 0);
  context.post(poster);
  context.run();
  EXPECT_LT(rearmed.fires, 200);
  while (context.run() != 0) {
  }
}

// Goal: posts from several threads are neither lost nor do they damage the list, and a run sees all
// writes before the post.
TEST(Context, TakesPostsFromManyThreads) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  constexpr int threads = 3;
  const int rounds = static_cast<int>(stress::scaled(20'000, 3'000));
  struct Counted {
    std::atomic<int> posted{0};
    int seen = 0;
    int data = 0;  // written by the poster, read by the run: ordered by the post
  };
  std::vector<std::unique_ptr<Counted>> counted;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i != threads; ++i) {
    counted.push_back(std::make_unique<Counted>());
    tasks.push_back(std::make_unique<Task>(
        [its = counted.back().get()] { its->seen = its->posted.load(std::memory_order_relaxed); }));
  }
  Task shared{[] {}};
  std::atomic<int> running{threads};
  std::vector<std::thread> posters;
  for (int i = 0; i != threads; ++i) {
    posters.emplace_back([&, i] {
      for (int n = 1; n <= rounds; ++n) {
        counted[static_cast<std::size_t>(i)]->posted.store(n, std::memory_order_relaxed);
        context.post(*tasks[static_cast<std::size_t>(i)]);
        context.post(shared);
      }
      running.fetch_sub(1, std::memory_order_release);
    });
  }
  while (running.load(std::memory_order_acquire) != 0) context.run();
  for (auto& poster : posters) poster.join();
  context.run();
  for (auto& each : counted) EXPECT_EQ(each->seen, rounds);
}

// Goal: a bounded run makes at most this many calls, and starves neither works, nor timers, nor the
// inbox, even if it is bounded to one call.
// Method: two works that post themselves, and an alarm that re-arms itself with no delay.
TEST(Context, RunsAtMostAsManyCallsAsAllowed) {
  for (const std::size_t max_calls : {1U, 2U, 3U, 7U, 100U}) {
    Sleeper sleeper{true};
    Context& context = sleeper.context;
    bool is_over = false;
    int a_runs = 0, b_runs = 0, posted_runs = 0;
    Task a{[] {}}, b{[] {}}, posted{[&] { ++posted_runs; }};
    a.call = [&] {
      ++a_runs;
      if (!is_over) context.post_local(a);
    };
    b.call = [&] {
      ++b_runs;
      if (!is_over) context.post_local(b);
    };
    struct Rearmed {
      static void fire(void* self, mq::Alarm&) {
        auto& its = *static_cast<Rearmed*>(self);
        ++its.fires;
        if (!*its.is_over) its.alarm.arm(*its.context, 0);
      }
      Context* context;
      bool* is_over;
      mq::Alarm alarm{&fire, this};
      int fires = 0;
    } rearmed{&context, &is_over};
    context.post(a);
    context.post(b);
    rearmed.alarm.arm(context, 0);
    for (int round = 0; round != 200; ++round) {
      context.post(posted);
      ASSERT_EQ(context.run_some(max_calls), max_calls);
    }
    EXPECT_GT(a_runs, 20);
    EXPECT_GT(b_runs, 20);
    EXPECT_GT(posted_runs, 20);
    EXPECT_GT(rearmed.fires, 20);
    EXPECT_EQ(context.run_some(0), 0U);
    is_over = true;
    while (context.run() != 0) {
    }
    EXPECT_EQ(context.run_some(5), 0U) << "nothing is left";
  }
}

// Goal: due timers come before works in one bounded run after one that ended within a turn, and not
// in later runs.
TEST(Context, ABoundedRunLetsTimersComeFirstOnce) {
  mq::LoopRuntime runtime;
  Context& context = runtime.context(0);
  std::string order;
  Task first{[] {}}, second{[] {}}, work{[&] { order += 'w'; }};
  context.post(first);
  context.post(second);
  EXPECT_EQ(context.run_some(1), 1U);
  EXPECT_EQ(context.run_some(10), 1U);
  mq::Alarm alarm{[](void* its, mq::Alarm&) { *static_cast<std::string*>(its) += 't'; }, &order};
  context.post(work);
  alarm.arm(context, 0);
  EXPECT_EQ(context.run_some(1), 1U);
  EXPECT_EQ(order, "w");
  context.run();
  EXPECT_EQ(order, "wt");
}

}  // namespace
