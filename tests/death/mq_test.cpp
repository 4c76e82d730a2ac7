// SPDX-License-Identifier: BSL-1.0
//
// Goal: these are violations: destroying or reusing an object of the block layer that is still in
// use, and using an object on another context than its own.

#include <blkown/mq/coroutine.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "silent.hpp"
#include "violation_test.hpp"

namespace death {
namespace {

namespace mq = blkown::mq;

class ObjectInUseDeathTest : public ViolationTest<blkown::Violation::object_in_use> {};
class NoSuchDiskQueueDeathTest : public ViolationTest<blkown::Violation::no_such_queue> {};
class WrongContextDeathTest : public ViolationTest<blkown::Violation::wrong_context> {};

class EmptyTaskDeathTest : public ViolationTest<blkown::Violation::use_of_moved_from> {};
class EmptyAccessDeathTest : public ViolationTest<blkown::Violation::use_of_moved_from> {};

class UnbalancedControl : public testing::Test {};

struct Rig {
  explicit Rig(std::uint32_t contexts = 1) : runtime{contexts} {
    disk = *Silent::Disk::create({.name = "rig", .capacity_sectors = 8}, driver, runtime);
  }
  ~Rig() {
    if (disk == nullptr) return;
    mq::Event gone;
    mq::Control removal{
        {[](void* its, mq::Control&) { static_cast<mq::Event*>(its)->set(); }, &gone}};
    disk->remove(removal);
    EXPECT_TRUE(runtime.wait_for(gone));
  }
  void submit(mq::Bio& its_bio, blkown::Place where = blkown::Place::current()) {
    disk->submit(runtime.context(0), its_bio, where);
  }
  mq::LoopRuntime runtime;
  Silent driver;
  std::unique_ptr<Silent::Disk> disk;
  std::byte memory[512];
  std::unique_ptr<mq::Bio> bio{new mq::Bio(mq::Bio::read(0, blkown::Segment{memory, 512}, {}))};
  mq::Control control{{[](void*, mq::Control&) {}, nullptr}};
};

/// A disk whose driver returns a wrong index from map_queues once there are several queues.
struct MappedRig {
  void grow(blkown::Place where = blkown::Place::current()) {
    disk->set_queue_count(control, 3, where);
    runtime.run();
  }
  mq::LoopRuntime runtime{1};
  Silent driver{.index_among_several = 7};
  std::unique_ptr<Silent::Disk> disk = *Silent::Disk::create(
      {.name = "mapped", .capacity_sectors = 8, .max_normal_queues = 3}, driver, runtime);
  mq::Control control{{[](void*, mq::Control&) {}, nullptr}};
};

TEST(TagPoolDeathTest, APoolWithIoInFlightPrintsAllOfItBeforeItDies) {
  EXPECT_DEATH(
      {
        auto pool = *mq::TagPool<Silent>::create(
            {.queue_count = 2, .depth = 4, .layout = blkown::CookieLayout::nbd()});
        (*pool->tags().allocate_tag(blkown::QueueIndex{0}, blkown::Tag{3}))
            .start()
            .publish([](const blkown::Cookie&) {});
        auto owned = (*pool->tags().allocate_tag(blkown::QueueIndex{1}, blkown::Tag{2})).start();
        static_cast<void>(std::move(owned).into_raw());
        pool.reset();
      },
      "queue 0 tag 3 generation [0-9]+: with the device, pins 0, read of 0 bytes at sector 0\n"
      "queue 1 tag 2 generation [0-9]+: owned, pins 0\n"
      ".*TagSet destroyed while 2 requests are in use");
}

TEST_F(ObjectInUseDeathTest, ABioIsNotDestroyedInFlight) {
  prints("a bio was destroyed while it is in flight", "keep it until its end callback is called");
  dies("destruction of mq::Bio", "", [] {
    Rig rig;
    rig.disk->submit(rig.runtime.context(0), *rig.bio);
    rig.bio.reset();
  });
}

mq::Task<> nothing() { co_return; }

TEST_F(EmptyTaskDeathTest, ATaskThatWasMovedIsNotStarted) {
  prints("a Task without a coroutine was started",
         "start a Task once, and test it where memory may run out");
  mq::LoopRuntime runtime;
  mq::Task<> task = nothing();
  const mq::Task<> other = std::move(task);
  dies("mq::Task::post", "", [&] { task.post(runtime.context(0), {}, blkown::Place{}); });
}

TEST_F(EmptyAccessDeathTest, ARemovedDiskIsNotUsed) {
  prints("a DiskAccess was used that has no disk",
         "test it first: a removed disk gives an empty one");
  mq::DiskRef<Silent> ref;
  {
    const Rig rig;
    ref = rig.disk->ref();
  }
  dies("mq::DiskAccess::operator->", "", [&] { use(ref.try_access()->capacity_sectors()); });
  dies("mq::DiskAccess::operator*", "", [&] { use(*ref.try_access()); });
}

mq::Task<> await_twice(mq::Task<>& task) {
  co_await task;
  co_await task;
}

TEST_F(ObjectInUseDeathTest, ATaskIsNotStartedTwice) {
  prints("a Task was started that had been started before",
         "await, post or wait for a Task once, and keep its result");
  mq::LoopRuntime runtime;
  mq::Task<> ended = nothing();
  dies("co_await of mq::Task", "",
       [&] { mq::wait(runtime, runtime.context(0), await_twice(ended)); });
  mq::Task<> posted = nothing();
  posted.post(runtime.context(0), {});
  dies("mq::Task::post", "", [&] { posted.post(runtime.context(0), {}, blkown::Place{}); });
  runtime.run();
}

mq::Task<std::vector<int>> read_for_ever(mq::AsyncDisk<Silent> disk) {
  std::vector<std::byte> memory(512);
  static_cast<void>(co_await disk.read(0, memory));
  co_return {};
}

TEST_F(ObjectInUseDeathTest, ATaskWithoutAnEndHasNoResult) {
  prints("nothing is left to run, and a Task that was waited for has not ended",
         "let the clock pass, or complete the I/O that the Task awaits");
  dies("mq::wait", "", [] {
    mq::LoopRuntime runtime{1, {.now_ns = [](void*) { return std::uint64_t{0}; }}};
    Silent driver;
    auto disk = *Silent::Disk::create({.capacity_sectors = 8}, driver, runtime);
    static_cast<void>(mq::wait(runtime, runtime.context(0),
                               read_for_ever(mq::AsyncDisk<Silent>{*disk}), 0, blkown::Place{}));
  });
}

// Goal: the place of an I/O of a coroutine is in the coroutine, not in the library.
TEST_F(ObjectInUseDeathTest, AnOperationIsNotAwaitedTwice) {
  Rig rig;
  const mq::AsyncDisk<Silent> disk{*rig.disk};
  prints("a bio was submitted to disk 'rig' while it is in flight",
         "wait until its end callback is called");
  const auto await_twice = [&](auto&& operation) {
    const auto await = [](auto& io) -> mq::Task<> { static_cast<void>(co_await io); };
    mq::Task<> first = await(operation), second = await(operation);
    for (auto* task : {&first, &second}) task->post(rig.runtime.context(0), {});
    rig.runtime.run();
  };
  dies_here("mq::Disk::submit", "", [&] { await_twice(disk.read(0, rig.memory)); });
}

TEST_F(ObjectInUseDeathTest, NorSubmittedTwice) {
  Rig rig;
  prints("a bio was submitted to disk 'rig' while it is in flight",
         "wait until its end callback is called");
  dies_here("mq::Disk::submit", "", [&] { rig.submit(*rig.bio), rig.submit(*rig.bio); });
}

TEST_F(ObjectInUseDeathTest, NorMadeAnotherIoInFlight) {
  Rig rig;
  const blkown::Segment memory{rig.memory, 512};
  const std::span<const blkown::Segment> parts{&memory, 1};
  const auto used = [&]() -> mq::Bio& {
    rig.submit(*rig.bio);
    return *rig.bio;
  };
  prints("a bio was made another I/O while it is in flight",
         "wait until its end callback is called, or use another bio");
  dies_here("mq::Bio::set_read", "", [&] { used().set_read(0, memory, {}); });
  dies_here("mq::Bio::set_read", "", [&] { used().set_read(0, parts, {}); });
  dies_here("mq::Bio::set_write", "", [&] { used().set_write(0, memory, {}); });
  dies_here("mq::Bio::set_write", "", [&] { used().set_write(0, parts, {}); });
  dies_here("mq::Bio::set_zone_append", "", [&] { used().set_zone_append(0, parts, {}); });
  dies_here("mq::Bio::set_flush", "", [&] { used().set_flush({}); });
  dies_here("mq::Bio::set_discard", "", [&] { used().set_discard(0, 512, {}); });
  dies_here("mq::Bio::set_write_zeroes", "", [&] { used().set_write_zeroes(0, 512, {}); });
  dies_here("mq::Bio::set_zone", "", [&] { used().set_zone(mq::Op::zone_reset, 0, {}); });
  dies("assignment of mq::Bio", "", [&] { used() = mq::Bio::flush({}); });
}

TEST_F(ObjectInUseDeathTest, NorMovedInFlight) {
  Rig rig;
  const auto used = [&](mq::Bio& bio) -> mq::Bio& {
    rig.submit(bio);
    return bio;
  };
  prints("a bio was moved while it is in flight",
         "wait until its end callback is called; a vector that grows moves its elements");
  dies_here("a move of mq::Bio", "", [&] { const mq::Bio moved{std::move(used(*rig.bio))}; });
  dies("assignment of mq::Bio", "", [&] {
    mq::Bio moved;
    moved = std::move(used(*rig.bio));
  });
  EXPECT_DEATH(
      {
        std::vector<mq::Bio> bios(1);
        bios[0].set_read(0, blkown::Segment{rig.memory, 512}, {});
        used(bios[0]);
        bios.reserve(bios.capacity() + 1);
      },
      "a bio was moved while it is in flight");
}

TEST_F(ObjectInUseDeathTest, WorkIsNotDestroyedWhileItIsQueued) {
  const auto nothing = +[](void*, mq::Work&) {};
  mq::LoopRuntime runtime;
  prints("a Work was destroyed while it is queued", "destroy it in or after its last run");
  dies("destruction of mq::Work", "", [&] {
    mq::Work work{nothing, nullptr};
    runtime.context(0).post(work);
  });
  dies("destruction of mq::Work", "", [&] {
    mq::Work work{nothing, nullptr};
    const mq::Context::Scope scope{runtime.context(0)};
    runtime.context(0).post_local(work);
  });
}

TEST_F(ObjectInUseDeathTest, AnOperationIsNeitherDestroyedNorStartedWhileItRuns) {
  Rig rig{2};
  prints("a Control of disk 'rig' was destroyed while its operation is running",
         "keep it until its end callback is called");
  dies("destruction of mq::Control", "", [&] {
    mq::Control control{{[](void*, mq::Control&) {}, nullptr}};
    rig.disk->freeze(control);
  });
  auto& disk = rig.disk;
  auto& control = rig.control;
  prints("a Control of disk 'rig' was started while its operation is running",
         "wait until its end callback is called, or use another Control");
  dies_here("start of mq::Control", "", [&] { disk->freeze(control), disk->thaw(control); });
}

TEST_F(ObjectInUseDeathTest, ADiskIsNotDestroyedBeforeItIsRemoved) {
  prints("disk 'rig' destroyed before it was removed", "call remove() and wait for it");
  dies("destruction of mq::Disk", "", [] {
    Rig rig;
    rig.disk.reset();
  });
}

// Goal: a violation names the disk that it is about, and a disk without a name is printed as
// unnamed.
// Method: three disks on one driver and one runtime differ only in their names.
TEST_F(ObjectInUseDeathTest, EachDiskIsNamedByItsOwnConfiguration) {
  for (const auto& [name, printed] : {std::pair{"nbd0", "nbd0"}, std::pair{"", "(unnamed)"},
                                      std::pair<const char*, const char*>{nullptr, "(unnamed)"}}) {
    prints(std::string{"disk '"} + printed + "' destroyed before it was removed",
           "call remove() and wait for it");
    dies("destruction of mq::Disk", "", [&chosen = name] {
      Rig rig;
      auto disk =
          *Silent::Disk::create({.name = chosen, .capacity_sectors = 8}, rig.driver, rig.runtime);
      disk.reset();
    });
  }
}

TEST(DiskDeathTest, ADiskWithIoInFlightPrintsItAndItsNumber) {
  EXPECT_DEATH(
      {
        Rig rig;
        rig.submit(*rig.bio);
        rig.disk.reset();
      },
      "queue 0 tag [0-9]+ generation [0-9]+: with the device, pins 0, read of 512 bytes at sector "
      "0\n"
      "blkown: violation: disk 'rig' destroyed while 1 request is in flight: call remove\\(\\) and "
      "wait for it\n");
}

TEST_F(ObjectInUseDeathTest, AnArmedTimerIsNotArmed) {
  mq::LoopRuntime runtime;
  mq::Context& context = runtime.context(0);
  prints("a timer was armed that is armed", "cancel() it first");
  mq::Timer<int> timer{[](void*, int&&) {}, nullptr};
  dies_here("mq::Timer::arm", "", [&] { timer.arm(context, 1, 1), timer.arm(context, 1, 1); });
  mq::Alarm alarm{[](void*, mq::Alarm&) {}, nullptr};
  dies_here("mq::Alarm::arm", "", [&] { alarm.arm(context, 1), alarm.arm(context, 1); });
}

TEST_F(WrongContextDeathTest, WorkIsPostedLocallyOnItsOwnContextOnly) {
  mq::LoopRuntime runtime{2};
  mq::Work work{[](void*, mq::Work&) {}, nullptr};
  prints("post_local was called by a thread that does not run the context", "call post()");
  dies_here("mq::Context::post_local", "", [&] { runtime.context(0).post_local(work); });
  const mq::Context::Scope scope{runtime.context(1)};
  dies_here("mq::Context::post_local", "", [&] { runtime.context(0).post_local(work); });
}

TEST_F(WrongContextDeathTest, IoIsSubmittedOnTheContextThatRuns) {
  Rig rig{2};
  prints("a bio was submitted to disk 'rig' by a thread that runs no context",
         "pass the context, or submit in its work");
  dies_here("mq::Disk::submit", "", [&] { rig.disk->submit(*rig.bio); });
  mq::LoopRuntime other{3};
  prints("the context is not one of disk 'rig'",
         "pass a context of the runtime that the disk was made with");
  dies_here("mq::Disk::submit", "", [&] { rig.disk->submit(other.context(2), *rig.bio); });
  dies_here("mq::Disk::submit", "", [&] { rig.disk->submit(other.context(0), *rig.bio); });
  const mq::Context::Scope scope{rig.runtime.context(1)};
  prints("disk 'rig' was used for a context that the thread does not run",
         "post the call to that context, or call ThreadRuntime::run_on()");
  dies_here("mq::Disk::submit", "", [&] { rig.submit(*rig.bio); });
}

// Goal: a thread that runs no context, such as main, does not stand in for a context that has a
// thread of its own: the two would race, and the bio might wait for ever.
TEST_F(WrongContextDeathTest, NoOtherThreadStandsInForThatOfAContext) {
  prints("disk 'rig' was used for a context that the thread does not run",
         "post the call to that context, or call ThreadRuntime::run_on()");
  dies("mq::Disk::submit", "", [] {
    mq::ThreadRuntime runtime{1};
    Silent driver;
    auto disk = *mq::Disk<Silent>::create({.name = "rig", .capacity_sectors = 8}, driver, runtime);
    mq::Bio bio = mq::Bio::flush({});
    disk->submit(runtime.context(0), bio, blkown::Place{});
  });
}

// Goal: a thread of a ThreadRuntime that would wait for its own runtime dies at the call, instead
// of never returning.
TEST_F(WrongContextDeathTest, NoThreadOfARuntimeWaitsForIt) {
  prints("a thread of a runtime would wait for its own runtime",
         "wait on a thread of the program's own, or go on in a callback or a Work");
  const auto on_a_context = [](const auto& call) {
    mq::ThreadRuntime runtime{2};
    Silent driver;
    auto disk = *Silent::Disk::create({.name = "rig", .capacity_sectors = 8}, driver, runtime);
    mq::Event is_set;
    is_set.set();
    runtime.run_on(1, [&] { call(runtime, *disk, is_set); });
  };
  const blkown::Place none{};
  dies("mq::ThreadRuntime::wait_for", "", [&] {
    on_a_context([&](auto& runtime, auto&, mq::Event& event) { runtime.wait_for(event, none); });
  });
  dies("mq::ThreadRuntime::wait_until", "", [&] {
    on_a_context(
        [&](auto& runtime, auto&, mq::Event& event) { use(runtime.wait_until(event, 0, none)); });
  });
  dies("mq::ThreadRuntime::run_on", "", [&] {
    on_a_context([&](auto& runtime, auto&, mq::Event&) { runtime.run_on(0, [] {}, none); });
  });
  dies("mq::flush", "", [&] {
    on_a_context(
        [&](auto& runtime, auto& disk, mq::Event&) { use(mq::flush(runtime, disk, 0, none)); });
  });
  dies("mq::remove", "", [&] {
    on_a_context(
        [&](auto& runtime, auto& disk, mq::Event&) { use(mq::remove(runtime, disk, 0, none)); });
  });
  dies("mq::run_and_wait", "", [&] {
    on_a_context([&](auto& runtime, auto& disk, mq::Event&) {
      use(mq::run_and_wait(runtime, [&](mq::Control& control) { disk.thaw(control); }, none));
    });
  });
  dies("mq::wait", "", [&] {
    on_a_context([&](auto& runtime, auto&, mq::Event&) {
      mq::wait(runtime, runtime.context(0), nothing(), 0, none);
    });
  });
}

// Goal: such a thread is found where it runs a context of another runtime, and where it waits for
// its disk through another runtime.
TEST_F(WrongContextDeathTest, NoThreadOfARuntimeWaitsForItThroughAnotherRuntime) {
  prints("a thread of a runtime would wait for its own runtime",
         "wait on a thread of the program's own, or go on in a callback or a Work");
  const blkown::Place none{};
  dies("mq::ThreadRuntime::run_on", "", [&] {
    mq::ThreadRuntime threads{1};
    threads.run_on(0, [&] {
      mq::LoopRuntime loop;
      mq::Work work{[](void* its, mq::Work&) {
                      static_cast<mq::ThreadRuntime*>(its)->run_on(0, [] {}, blkown::Place{});
                    },
                    &threads};
      loop.context(0).post(work);
      loop.run();
    });
  });
  dies("mq::remove", "", [&] {
    mq::ThreadRuntime threads{1};
    mq::LoopRuntime loop{1, {.now_ns = [](void*) -> std::uint64_t { return 0; }}};
    Silent driver;
    auto disk = *Silent::Disk::create({.name = "rig", .capacity_sectors = 8}, driver, threads);
    threads.run_on(0, [&] { use(mq::remove(loop, *disk, 0, none)); });
  });
}

/// A driver that waits for its own disk, in the hook that is chosen.
struct Waiting {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Disk = mq::Disk<Waiting>;

  mq::Dispatch<Waiting> queue_rq(mq::HwQueue<Waiting>& hw, QueueData&,
                                 blkown::Idle<mq::Request<Waiting>> idle, bool) {
    if (waits_in_queue_rq) use(mq::flush(runtime, hw.disk(), 0, blkown::Place{}));
    std::move(idle).start().end_ok();
    return mq::Dispatch<Waiting>::accepted();
  }
  blkown::Status init_hctx(mq::HwQueue<Waiting>& hw, QueueData&) {
    if (waits_in_init) use(mq::flush(runtime, hw.disk(), 0, blkown::Place{}));
    return blkown::Status::ok;
  }
  void exit_hctx(mq::HwQueue<Waiting>& hw, QueueData&) {
    if (waits_in_exit) use(mq::flush(runtime, hw.disk(), 0, blkown::Place{}));
  }

  mq::LoopRuntime& runtime;
  bool waits_in_queue_rq = true;
  bool waits_in_init = false;
  bool waits_in_exit = false;
};

// Goal: a hook or a callback that would wait for its own disk dies at the call, instead of never
// returning: what it waits for is issued, or called back, after it has returned.
TEST_F(WrongContextDeathTest, NoHookAndNoCallbackWaitsForItsDisk) {
  prints("a hook or a callback of disk 'rig' would wait for its own context",
         "submit with an end callback, or call it in a Work");
  // With a clock of its own a LoopRuntime does not sleep, so that a wait without the check ends,
  // too.
  const mq::LoopHooks awake{.now_ns = [](void*) -> std::uint64_t { return 0; }};
  dies("mq::flush", "", [&] {
    mq::LoopRuntime runtime{1, awake};
    Waiting driver{runtime};
    auto disk = *Waiting::Disk::create({.name = "rig", .capacity_sectors = 8}, driver, runtime);
    std::byte memory[512];
    use(mq::read(runtime, *disk, 0, memory));
  });
  dies("mq::remove", "", [&] {
    struct {
      mq::LoopRuntime runtime;
      Silent driver;
      std::unique_ptr<Silent::Disk> disk;
    } own{mq::LoopRuntime{1, awake}, {}, nullptr};
    own.disk =
        *Silent::Disk::create({.name = "rig", .capacity_sectors = 8}, own.driver, own.runtime);
    mq::Bio bio = mq::Bio::flush({[](void* its, mq::Bio&) {
                                    auto& rig = *static_cast<decltype(own)*>(its);
                                    use(mq::remove(rig.runtime, *rig.disk, 0, blkown::Place{}));
                                  },
                                  &own});
    own.disk->submit(own.runtime.context(0), bio);
  });
}

/// Submits a bio to the first of two disks, on the last of two contexts, and calls the function in
/// the bio's end callback.
struct TwoDisks {
  using Call = void (*)(TwoDisks&);
  void in_a_callback(Call its_call) {
    call = its_call;
    mq::Bio bio = mq::Bio::flush({[](void* its, mq::Bio&) {
                                    auto& disks = *static_cast<TwoDisks*>(its);
                                    disks.call(disks);
                                  },
                                  this});
    disk->submit(runtime.context(1), bio);
    runtime.run();
  }
  mq::LoopRuntime runtime{2, {.now_ns = [](void*) -> std::uint64_t { return 0; }}};
  Silent driver;
  std::unique_ptr<Silent::Disk> disk =
      *Silent::Disk::create({.name = "rig", .capacity_sectors = 8}, driver, runtime);
  std::unique_ptr<Silent::Disk> other =
      *Silent::Disk::create({.name = "other", .capacity_sectors = 8}, driver, runtime);
  Call call = nullptr;
};

// Goal: nor does a callback wait for another disk on its context: the wait would run the works of
// the disk that calls back, and that disk could then be removed in its own callback. That holds on
// every context, with and without a disk's name in the call.
TEST_F(WrongContextDeathTest, NoCallbackWaitsForItsContext) {
  prints("a hook or a callback of disk 'rig' would wait for its own context",
         "submit with an end callback, or call it in a Work");
  dies("mq::flush", "", [] {
    TwoDisks{}.in_a_callback(
        [](TwoDisks& its) { use(mq::flush(its.runtime, *its.other, 0, blkown::Place{})); });
  });
  dies("mq::flush", "", [] {
    TwoDisks{}.in_a_callback(
        [](TwoDisks& its) { use(mq::flush(its.runtime, *its.disk, 0, blkown::Place{})); });
  });
  dies("mq::run_and_wait", "", [] {
    TwoDisks{}.in_a_callback([](TwoDisks& its) {
      use(mq::run_and_wait(
          its.runtime, [&](mq::Control& control) { its.disk->quiesce(control); }, blkown::Place{}));
    });
  });
  dies("mq::wait", "", [] {
    TwoDisks{}.in_a_callback([](TwoDisks& its) {
      mq::wait(its.runtime, its.runtime.context(0), nothing(), 0, blkown::Place{});
    });
  });
  dies("mq::remove", "", [] {  // through a runtime that has none of the disk's contexts
    TwoDisks{}.in_a_callback([](TwoDisks& its) {
      mq::LoopRuntime another{1, {.now_ns = [](void*) -> std::uint64_t { return 0; }}};
      use(mq::remove(another, *its.disk, 0, blkown::Place{}));
    });
  });
  dies("mq::LoopRuntime::wait_for", "", [] {
    TwoDisks{}.in_a_callback([](TwoDisks& its) {
      mq::Event event;
      use(its.runtime.wait_for(event, blkown::Place{}));
    });
  });
  dies("mq::LoopRuntime::wait_until", "", [] {
    TwoDisks{}.in_a_callback([](TwoDisks& its) {
      mq::Event event;
      use(its.runtime.wait_until(event, 0, blkown::Place{}));
    });
  });
}

// Goal: the hooks of a change of the number of queues, which no call of the disk encloses.
TEST_F(WrongContextDeathTest, NoHookOfAChangeOfQueuesWaitsForItsDisk) {
  prints("a hook or a callback of disk 'rig' would wait for its own context",
         "submit with an end callback, or call it in a Work");
  const auto change = [](Waiting waits, std::uint32_t count) {
    mq::LoopRuntime runtime{1, {.now_ns = [](void*) -> std::uint64_t { return 0; }}};
    Waiting driver{runtime, false};
    auto disk = *Waiting::Disk::create(
        {.name = "rig", .capacity_sectors = 8, .max_normal_queues = 2}, driver, runtime);
    const auto set = [&](std::uint32_t to) {
      use(mq::run_and_wait(runtime, *disk,
                           [&](mq::Control& control) { disk->set_queue_count(control, to); }));
    };
    set(3 - count);
    driver.waits_in_init = waits.waits_in_init;
    driver.waits_in_exit = waits.waits_in_exit;
    set(count);
  };
  mq::LoopRuntime unused;
  dies("mq::flush", "", [&] { change({unused, false, true, false}, 2); });
  dies("mq::flush", "", [&] { change({unused, false, false, true}, 1); });
}

// Goal: a Work and a Control's callback may remove their disk, and wait for that.
TEST(WaitingOnAContext, AWorkAndTheCallbackOfAnOperationMayRemoveTheDisk) {
  for (const bool in_a_callback : {false, true}) {
    struct Remover {
      void remove() { status = mq::remove(rig.runtime, *rig.disk); }
      Rig rig;
      blkown::Status status = blkown::Status::io_error;
      mq::Work work{[](void* its, mq::Work&) { static_cast<Remover*>(its)->remove(); }, this};
      mq::Control control{
          {[](void* its, mq::Control&) { static_cast<Remover*>(its)->remove(); }, this}};
    } remover;
    if (in_a_callback) {
      remover.rig.disk->freeze(remover.control);
    } else {
      remover.rig.runtime.context(0).post(remover.work);
    }
    remover.rig.runtime.run();
    EXPECT_EQ(remover.status, blkown::Status::ok) << in_a_callback;
    remover.rig.disk.reset();
  }
}

// Goal: a Work and the callback of an operation may wait, on a runtime without threads.
TEST(WaitingOnAContext, AWorkAndTheCallbackOfAnOperationMayWait) {
  struct Waiter {
    void wait() {
      EXPECT_EQ(mq::flush(rig.runtime, *rig.disk), blkown::Status::ok);
      ++waits;
    }
    Rig rig;
    int waits = 0;
    mq::Work work{[](void* its, mq::Work&) { static_cast<Waiter*>(its)->wait(); }, this};
    mq::Control control{{[](void* its, mq::Control&) { static_cast<Waiter*>(its)->wait(); }, this}};
  } waiter;
  waiter.rig.runtime.context(0).post(waiter.work);
  waiter.rig.runtime.run();
  waiter.rig.disk->set_queue_count(waiter.control, 1);
  waiter.rig.runtime.run();
  EXPECT_EQ(waiter.waits, 2);
}

TEST_F(NoSuchDiskQueueDeathTest, OfADisk) {
  Rig rig;
  prints("disk 'rig' has 1 hardware queue", "pass an index below hw_queue_count()");
  const blkown::QueueIndex one{1};
  dies_here("mq::Disk::hw_queue", "", [&] { use(rig.disk->hw_queue(one).index()); });
  prints("disk 'rig' cannot have 2 normal queues", "pass 1 to DiskConfig::max_normal_queues");
  dies_here("mq::Disk::set_queue_count", "", [&] { rig.disk->set_queue_count(rig.control, 2); });
}

// Goal: an index that map_queues may not return after a change of the number of queues is named
// with the hook and the index.
TEST_F(NoSuchDiskQueueDeathTest, MapQueuesReturnsAQueueThatDoesNotExist) {
  prints("map_queues of disk 'mapped' returned an index beyond 3 queues",
         "return an index below queue_count");
  dies_here("mq::Disk::set_queue_count", ", queue 7", [] { MappedRig{}.grow(); });
}

/// Goal: a thaw or an unquiesce too many is printed with the disk, the operation and its caller.
TEST_F(UnbalancedControl, AThawOrAnUnquiesceTooMany) {
  EXPECT_EXIT(
      {
        Rig rig;
        rig.disk->thaw(rig.control, blkown::Place{});
        rig.runtime.run();
        rig.disk->unquiesce(rig.control, blkown::Place{});
        rig.runtime.run();
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      testing::Eq(lines_of("report", "disk 'rig' was thawed while it is not frozen",
                           "call thaw() once for each freeze()", "mq::Disk::thaw") +
                  lines_of("report", "disk 'rig' was unquiesced while it is not quiesced",
                           "call unquiesce() once for each quiesce()", "mq::Disk::unquiesce")));
}

// Goal: a call that waits says so once, with its place and what its disk has in use, and returns
// when its I/O ends.
TEST(LongWait, PrintsTheTableOnceAndWaitsOn) {
  using Where = const char*;
  const auto read = [](Where& file, std::uint32_t& line) {
    blkown::sim::DeterministicRuntime runtime{1, 1};
    Silent driver;
    auto disk =
        *Silent::Disk::create({.name = "slow", .capacity_sectors = 8, .depth = 1}, driver, runtime);
    mq::Alarm answer{[](void* its, mq::Alarm&) {
                       static_cast<Silent::Disk*>(its)->fail_in_flight(blkown::Status::io_error);
                     },
                     disk.get()};
    answer.arm(runtime.context(0), 25'000'000'000);
    std::byte memory[512];
    const auto here = blkown::Place::current();
    file = here.file_name();
    line = here.line();
    const auto status = mq::read(runtime, *disk, 3, memory, 10'000, here);
    EXPECT_EQ(status, blkown::Status::io_error);
    EXPECT_GE(runtime.now_ns(), 25'000'000'000U);
    EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
  };
  Where file = "";
  std::uint32_t line = 0;
  testing::internal::CaptureStderr();
  read(file, line);
  const std::string printed = testing::internal::GetCapturedStderr();
  const std::string report =
      lines_of("report", "a call on disk 'slow' has waited for 10000 ms",
               "look for the cause in what print_in_flight() shows",
               std::string{"mq::read at "} + file + ":" + std::to_string(line));
  EXPECT_TRUE(printed.starts_with(report + "queue 0 tag 0 generation ")) << printed;
  EXPECT_NE(printed.find("with the device, pins 0, read of 512 bytes at sector 3"),
            std::string::npos)
      << printed;
  EXPECT_EQ(printed.find("report", report.size()), std::string::npos) << printed;
}

}  // namespace
}  // namespace death
