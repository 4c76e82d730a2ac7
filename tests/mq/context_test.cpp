// SPDX-License-Identifier: BSL-1.0
//
// Context: work that is posted, from here and from elsewhere.

#include <gtest/gtest.h>

#include <blkown/mq/context.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <functional>
#include <thread>
#include <vector>

#include "mq/task.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using fake::Task;
using mq::Context;

TEST(Context, RunsWhatWasPostedInOrder) {
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

TEST(Context, WorkMayGoInItsOwnRun) {
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

TEST(Context, KnowsWhoseThreadItIs) {
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
    Hook() : IdleHook{[](IdleHook& hook) { static_cast<Hook&>(hook).go_idle(); }} {}
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
  EXPECT_EQ(context.run(), 1U) << "what a hook posts is run";
  EXPECT_EQ(first.calls, 2);
  context.remove_idle_hook(first);
  context.run();
  EXPECT_EQ(first.calls, 2);
  EXPECT_EQ(second.calls, 3);
}

TEST(Context, RunsTheOneThatIsChosen) {
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

// Goal: no post is lost and none tears the list, from however many threads; what was written before
// the post is seen by the run.
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

}  // namespace
