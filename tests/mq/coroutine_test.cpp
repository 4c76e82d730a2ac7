// SPDX-License-Identifier: BSL-1.0
//
// Goal: coroutines await a disk's I/O on one context, one after another or together, outside of
// callbacks, and get each result.

#include <gtest/gtest.h>
#include <blkown/mq/coroutine.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "mq/fake_driver.hpp"
#include "support/recording.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using Async = mq::AsyncDisk<fake::Driver>;
using Bytes = std::vector<std::byte>;

/// Posts the task and runs the context once.
template <class T>
struct Started {
  Started(fake::Bench<>& bench, mq::Task<T> its_task) : task{std::move(its_task)} {
    task.post(bench.context(), {[](void* its, mq::Task<T>&) { ++*static_cast<int*>(its); }, &ends});
    bench.runtime.run();
  }
  mq::Task<T> task;
  int ends = 0;
};

mq::Task<Status> write_then_read(Async disk, std::uint64_t sector, Bytes& memory, Bytes& back) {
  const Status written = co_await disk.write(sector, memory, {.fua = true});
  if (written != Status::ok) co_return written;
  co_return co_await disk.read(sector, back);
}

TEST(Coroutine, ReadsWhatItWrote) {
  fake::Bench bench{{.write_cache = true, .fua = true}};
  Bytes memory = fake::pattern(4096, 3), back(4096);
  EXPECT_EQ(mq::wait(bench.runtime, bench.context(),
                     write_then_read(Async{*bench.disk}, 8, memory, back)),
            Status::ok);
  EXPECT_EQ(back, memory);
  ASSERT_EQ(bench.driver.seen.size(), 2U);
  EXPECT_TRUE(bench.driver.seen[0].flags.fua);
}

TEST(Coroutine, GetsTheStatusOfTheFailedIo) {
  fake::Bench bench;
  bench.driver.end_status = Status::medium_error;
  Bytes memory(512);
  EXPECT_EQ(mq::wait(bench.runtime, bench.context(),
                     write_then_read(Async{*bench.disk}, 0, memory, memory)),
            Status::medium_error);
  EXPECT_EQ(bench.driver.seen.size(), 1U);
}

mq::Task<std::vector<Status>> each_operation(Async disk, Bytes& memory) {
  std::vector<Status> results;
  const std::array pieces{blkown::Segment{memory.data(), 512},
                          blkown::Segment{memory.data() + 1024, 512}};
  results.push_back(co_await disk.write(0, std::span<const blkown::Segment>{pieces}));
  results.push_back(co_await disk.read(0, std::span<const blkown::Segment>{pieces}));
  results.push_back(co_await disk.flush());
  results.push_back(co_await disk.discard(8, 4096));
  results.push_back(co_await disk.write_zeroes(16, 4096));
  results.push_back(co_await disk.zone(mq::Op::zone_reset, 0));
  co_return results;
}

TEST(Coroutine, AwaitsEachOperation) {
  fake::Bench bench{
      {.limits = {.max_discard_sectors = 64, .max_write_zeroes_sectors = 64}, .write_cache = true}};
  Bytes memory(2048);
  const auto results =
      mq::wait(bench.runtime, bench.context(), each_operation(Async{*bench.disk}, memory));
  EXPECT_EQ(&Async{*bench.disk}.disk(), bench.disk.get());
  const Status ok = Status::ok;
  EXPECT_EQ(results, (std::vector{ok, ok, ok, ok, ok, Status::not_supported}));
  std::vector<mq::Op> ops;
  for (const fake::Seen& seen : bench.driver.seen) ops.push_back(seen.op);
  EXPECT_EQ(ops, (std::vector{mq::Op::write, mq::Op::read, mq::Op::flush, mq::Op::discard,
                              mq::Op::write_zeroes}));
}

mq::Task<> note_where_it_resumes(Async disk, Bytes& memory, const bool& inside, int& resumed) {
  static_cast<void>(co_await disk.read(0, memory));
  EXPECT_FALSE(inside);
  ++resumed;
}

// Goal: the end of an I/O within a callback, and within a handle's destructor, does not resume the
// coroutine there.
TEST(Coroutine, IsResumedOutsideOfCallbacks) {
  fake::Bench bench;
  bench.driver.mode = fake::Driver::Mode::publish;
  Bytes memory(512);
  bool inside = false;
  int resumed = 0;
  Started<void> started{bench, note_where_it_resumes(Async{*bench.disk}, memory, inside, resumed)};
  fake::Read other;
  other.ends.then = [&](mq::Bio&) {
    inside = true;
    bench.driver.reap(bench.data());
    inside = false;
  };
  bench.driver.mode = fake::Driver::Mode::end;
  bench.disk->submit(bench.context(), other.bio);
  EXPECT_EQ(other.ends.count, 1);
  EXPECT_EQ(resumed, 0);
  bench.runtime.run();
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(started.ends, 1);
}

// Goal: a wait for a Task reports that it takes long, once, and goes on waiting.
TEST(Coroutine, AWaitForATaskReportsThatItTakesLong) {
  blkown::sim::DeterministicRuntime runtime{1, 1};
  fake::Driver driver;
  driver.mode = fake::Driver::Mode::publish;
  auto disk =
      *mq::Disk<fake::Driver>::create({.capacity_sectors = 8}, driver, runtime, {Bytes(8 * 512)});
  std::function<void()> reap = [&] { driver.reap(disk->queue_data()); };
  mq::Alarm answer{[](void* its, mq::Alarm&) { (*static_cast<std::function<void()>*>(its))(); },
                   &reap};
  Bytes memory(512);
  support::ReportLog log;
  const auto read = [&](auto... report_after_ms) {
    answer.arm(runtime.context(0), 25'000'000'000);
    const auto task = [](Async its_disk, Bytes& its_memory) -> mq::Task<Status> {
      co_return co_await its_disk.read(0, its_memory);
    };
    EXPECT_EQ(mq::wait(runtime, runtime.context(0), task(Async{*disk}, memory), report_after_ms...),
              Status::ok);
  };
  read(26'000U);
  read(0U);
  EXPECT_TRUE(log.entries().empty());
  read();
  ASSERT_EQ(log.entries().size(), 1U);
  EXPECT_EQ(log.last().report, blkown::Report::long_wait);
  EXPECT_STREQ(log.last().incident.operation, "mq::wait");
  EXPECT_EQ(log.last().incident.count, 10'000U);
  EXPECT_STREQ(log.last().incident.problem,
               "a Task that was waited for has not ended for {count|ms|ms}");
  EXPECT_STREQ(log.last().incident.remedy,
               "look for the I/O that it awaits in what print_in_flight() of its disk shows");
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

mq::Task<std::tuple<Status, Status>> both(Async disk, Bytes& first, Bytes& second) {
  co_return co_await mq::when_all(disk.read(0, first), disk.write(8, second));
}

TEST(WhenAll, StartsTheOperationsTogether) {
  fake::Bench bench;
  bench.driver.mode = fake::Driver::Mode::publish;
  Bytes first(512), second(512);
  Started<std::tuple<Status, Status>> started{bench, both(Async{*bench.disk}, first, second)};
  EXPECT_EQ(bench.driver.published.size(), 2U);
  bench.driver.reap(bench.data(), 1, Status::medium_error);
  bench.runtime.run();
  EXPECT_EQ(started.ends, 0) << "one is in flight";
  bench.driver.reap(bench.data(), 1);
  bench.runtime.run();
  ASSERT_EQ(started.ends, 1);
  EXPECT_EQ(started.task.take_result(), (std::tuple{Status::medium_error, Status::ok}));
}

mq::Task<std::unique_ptr<int>> boxed(int value) { co_return std::make_unique<int>(value); }
mq::Task<> flush_of(Async disk) { static_cast<void>(co_await disk.flush()); }

mq::Task<int> mixture(Async disk, Bytes& memory) {
  mq::Task<std::unique_ptr<int>> task = boxed(7);
  auto [value, status, nothing] = co_await mq::when_all(task, disk.read(0, memory), flush_of(disk));
  static_assert(std::is_same_v<decltype(nothing), std::monostate>);
  EXPECT_EQ(status, Status::ok);
  co_return *value;
}

// Goal: Tasks and I/Os together; one Task ends before the others have begun.
TEST(WhenAll, TakesTasksAndOperations) {
  fake::Bench bench;
  Bytes memory(512);
  EXPECT_EQ(mq::wait(bench.runtime, bench.context(), mixture(Async{*bench.disk}, memory)), 7);
}

mq::Task<std::pair<int, int>> pair_of(int first, int second) { co_return {first, second}; }
mq::Task<int> second_of_a_pair() {
  const auto results = co_await mq::when_all(pair_of(1, 2));
  static_assert(std::is_same_v<decltype(results), const std::tuple<std::pair<int, int>>>);
  const auto nested = co_await mq::when_all(mq::when_all(pair_of(3, 4)));
  static_assert(
      std::is_same_v<decltype(nested), const std::tuple<std::tuple<std::pair<int, int>>>>);
  co_return std::get<0>(results).second * 10 + std::get<0>(std::get<0>(nested)).second;
}

// Goal: one operation whose result is a pair, or a tuple, gives a tuple of one.
TEST(WhenAll, GivesATupleOfOneResultThatIsATuple) {
  mq::LoopRuntime runtime;
  EXPECT_EQ(mq::wait(runtime, runtime.context(0), second_of_a_pair()), 24);
}

mq::Task<> nothing() { co_return; }
mq::Task<int> two_that_end_at_once() {
  static_cast<void>(co_await mq::when_all(nothing(), nothing()));
  co_return 2;
}

TEST(WhenAll, EndsAtOnceIfAllDo) {
  mq::LoopRuntime runtime;
  EXPECT_EQ(mq::wait(runtime, runtime.context(0), two_that_end_at_once()), 2);
}

mq::Task<Status> read_of(Async disk, std::uint64_t sector, Bytes& memory) {
  co_return co_await disk.read(sector, memory);
}
mq::Task<int> failures_of_many(Async disk, std::vector<Bytes>& memory) {
  std::vector<mq::Task<Status>> tasks;
  for (std::size_t i = 0; i != memory.size(); ++i) {
    tasks.push_back(read_of(disk, i * 100, memory[i]));
  }
  co_await mq::when_all(std::span{tasks});
  int failures = 0;
  for (auto& task : tasks) failures += task.take_result() == Status::ok ? 0 : 1;
  co_return failures;
}

// The last four of twenty reads are behind the end of the disk.
TEST(WhenAll, TakesAnArrayOfTasks) {
  fake::Bench bench{{.capacity_sectors = 1600, .depth = 4}};
  std::vector<Bytes> memory(20, Bytes(512));
  EXPECT_EQ(mq::wait(bench.runtime, bench.context(), failures_of_many(Async{*bench.disk}, memory)),
            4);
}

mq::Task<int> one() { co_return 1; }
mq::Task<int> sum_of(int count) {
  int sum = 0;
  for (int i = 0; i != count; ++i) sum += co_await one();
  co_return sum;
}

// Goal: a loop over Tasks that end at once needs no stack for each of them, unoptimised as well.
TEST(Coroutine, ALongLoopOfTasksDoesNotRecurse) {
  mq::LoopRuntime runtime;
  EXPECT_EQ(mq::wait(runtime, runtime.context(0), sum_of(1'000'000)), 1'000'000);
}

mq::Task<int> deep(Async disk, Bytes& memory, int levels) {
  if (levels == 0) co_return co_await disk.read(0, memory) == Status::ok ? 0 : -1000;
  co_return co_await deep(disk, memory, levels - 1) + 1;
}

TEST(Coroutine, ATaskMayAwaitATaskThatAwaits) {
  fake::Bench bench;
  Bytes memory(512);
  EXPECT_EQ(mq::wait(bench.runtime, bench.context(), deep(Async{*bench.disk}, memory, 50)), 50);
}

mq::Task<mq::AppendResult> append(Async disk, Bytes& memory) {
  const std::array piece{fake::whole(memory)};
  co_return co_await disk.zone_append(0, piece);
}

TEST(Coroutine, AnAppendToADiskWithoutZonesIsNotSupported) {
  fake::Bench bench;
  Bytes memory(512);
  const mq::AppendResult result =
      mq::wait(bench.runtime, bench.context(), append(Async{*bench.disk}, memory));
  EXPECT_EQ(result.status, Status::not_supported);
}

TEST(Coroutine, ATaskThatNobodyStartsDoesNothing) {
  fake::Bench bench;
  Bytes memory(512);
  {
    const mq::Task<Status> task = read_of(Async{*bench.disk}, 0, memory);
    EXPECT_TRUE(task);
    EXPECT_FALSE(task.is_done());
  }
  EXPECT_EQ(bench.driver.calls, 0);
}

// Goal: the end's callback may destroy the Task.
TEST(Coroutine, MayBeDestroyedByItsEnd) {
  fake::Bench bench;
  Bytes memory(512);
  std::optional<mq::Task<Status>> task{read_of(Async{*bench.disk}, 0, memory)};
  task->post(bench.context(), {[](void* its, mq::Task<Status>&) {
                                 static_cast<std::optional<mq::Task<Status>>*>(its)->reset();
                               },
                               &task});
  bench.runtime.run();
  EXPECT_FALSE(task.has_value());
}

/// A disk on threads whose requests end at once.
TEST(Coroutine, RunsOnTheThreadOfItsContext) {
  mq::ThreadRuntime runtime{2};
  fake::Driver driver;
  auto disk = *mq::Disk<fake::Driver>::create({.capacity_sectors = 64}, driver, runtime,
                                              {.medium = Bytes(64 * 512)});
  Bytes memory = fake::pattern(4096, 5), back(4096);
  for (int round = 0; round != 50; ++round) {
    ASSERT_EQ(mq::wait(runtime, runtime.context(1), write_then_read(Async{*disk}, 8, memory, back)),
              Status::ok);
  }
  EXPECT_EQ(back, memory);
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

}  // namespace
