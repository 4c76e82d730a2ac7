// SPDX-License-Identifier: BSL-1.0
//
// Tests of the order in which bios and requests are issued: submits from a driver's own hooks,
// requeued and refused requests, bios of many parts.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace order {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;

/// Calls `in_hook` in each of its hooks, and counts how deep the hooks nest.
struct HookDriver : fake::FullDriver {
  enum Hook {
    queue_rq_hook,
    queue_rqs_hook,
    commit_rqs_hook,
    complete_hook,
    timeout_hook,
    poll_hook
  };

  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    if (std::exchange(is_rejecting, false)) {
      return Answer::rejected(std::move(idle), Status::no_space);
    }
    issued.push_back(idle.data().sector());
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { published.push_back({&hw, cookie.value}); });
    run(queue_rq_hook);
    return Answer::accepted();
  }
  void queue_rqs(Hw&, QueueData&, mq::IdleList<Rq>&) override { run(queue_rqs_hook); }
  void commit_rqs(Hw&, QueueData&) override { run(commit_rqs_hook); }
  void complete(Hw&, blkown::Claim<Rq> claim) override {
    run(complete_hook);
    std::move(claim).end_ok();
  }
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) override {
    run(timeout_hook);
    return mq::TimeoutAction::rearm;
  }
  unsigned poll(Hw&) override {
    run(poll_hook);
    return 0;
  }

  void run(Hook hook) {
    max_depth = std::max(max_depth, ++depth);
    if (in_hook) in_hook(hook);
    --depth;
  }
  /// Completes the published requests, through the complete hook.
  void complete_all() {
    for (const auto& [hw, value] : std::exchange(published, {})) hw->complete(*hw->claim(value));
  }

  std::function<void(Hook)> in_hook;
  std::vector<std::uint64_t> issued;
  std::vector<std::pair<Hw*, std::uint64_t>> published;
  bool is_rejecting = false;  // the next request
  int depth = 0;
  int max_depth = 0;
};

struct Hooks : testing::Test {
  /// Runs until every bio has ended.
  void finish() {
    bench.driver.in_hook = nullptr;
    do {
      bench.driver.complete_all();
      bench.runtime.run();
    } while (!bench.driver.published.empty());
  }
  mq::Bio& add(mq::IoFlags flags = {}) {
    bios.emplace_back(new mq::Bio(
        mq::Bio::read(bios.size(), fake::whole(memory), {&Ends::on_end, &ends}, flags)));
    return *bios.back();
  }
  void submit() { bench.disk->submit(bench.context(), add()); }

  Ends ends;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  std::vector<std::unique_ptr<mq::Bio>> bios;
  Bench<HookDriver> bench{
      {.capacity_sectors = 1024, .poll_queues = 1, .depth = 256, .timeout_ms = 100}};
};

// Goal: the stack does not grow with the number of bios that queue_rq submits to its own disk.
TEST_F(Hooks, ASubmitInQueueRqIsIssuedAfterQueueRqHasReturned) {
  bench.driver.in_hook = [&](int) {
    if (bios.size() < 100) submit();
  };
  submit();
  EXPECT_EQ(bench.driver.issued.size(), 100U) << "issued before the outermost submit returns";
  EXPECT_TRUE(std::ranges::is_sorted(bench.driver.issued));
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
  EXPECT_EQ(ends.count, 100);
}

// Method: each hook submits a bio once. No other hook is called within it, and the bio is issued
// before the disk's code is left.
TEST_F(Hooks, ASubmitInAnyHookIsIssuedAfterTheHookHasReturned) {
  unsigned seen = 0;
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if ((seen >> hook & 1) != 0) return;
    seen |= 1U << hook;
    submit();
  };
  {
    const HookDriver::Disk::Plug plug{*bench.disk, bench.context()};
    submit();
    submit();
  }
  static_cast<void>(bench.disk->poll(bench.context()));
  bench.driver.is_rejecting = true;  // so that commit_rqs must follow
  submit();
  bench.runtime.run();
  for (int i = 0; i != 2; ++i) {  // the first scan finds the requests, the second their deadlines
    bench.clock.pass_ms(150);
    bench.runtime.run();
  }
  bench.driver.complete_all();
  bench.runtime.run();
  EXPECT_EQ(seen, 0b111111U) << "every hook has run";
  EXPECT_EQ(bench.driver.issued.size(), bios.size() - 1);
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
  EXPECT_EQ(ends.count, static_cast<int>(bios.size()));
}

// Goal: a bio that has to wait keeps its place before a bio that commit_rqs submits meanwhile.
// Method: a rejected private request makes the next submit call commit_rqs, and the queue is
// stopped.
TEST_F(Hooks, AWaitingBioKeepsItsPlaceBeforeBiosThatCommitRqsSubmits) {
  submit();
  finish();
  bench.driver.is_rejecting = true;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, false);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(bench.context(), *std::move(idle), {});
  bench.disk->hw_queue(QueueIndex{0}).stop();
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if (hook == HookDriver::commit_rqs_hook && bios.size() == 2) submit();
  };
  submit();
  ASSERT_EQ(bios.size(), 3U) << "commit_rqs has submitted one";
  bench.disk->hw_queue(QueueIndex{0}).start();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (std::vector<std::uint64_t>{0, 1, 2}));
  finish();
  EXPECT_EQ(ends.count, 3);
}

// Goal: neither the destructor of a plug within a hook nor that of an inner plug issues.
TEST_F(Hooks, AnInnerPlugDoesNotIssue) {
  bool is_first = true;
  bench.driver.in_hook = [&](int) {
    if (!std::exchange(is_first, false)) return;
    const HookDriver::Disk::Plug plug{*bench.disk, bench.context()};
    submit();
    submit();
  };
  submit();
  EXPECT_EQ(bench.driver.max_depth, 1);
  EXPECT_EQ(bench.driver.issued, (std::vector<std::uint64_t>{0, 1, 2}));
  {
    const HookDriver::Disk::Plug plug{*bench.disk, bench.context()};
    {
      const HookDriver::Disk::Plug inner{*bench.disk, bench.context()};
      submit();
    }
    EXPECT_EQ(bench.driver.issued.size(), 3U);
  }
  EXPECT_EQ(bench.driver.issued.size(), 4U);
  finish();
}

// Goal: private requests do not recurse either.
TEST_F(Hooks, APrivateRequestThatAHookExecutesIsIssuedAfterTheHookHasReturned) {
  int left = 100;
  const auto execute = [&] {
    auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
    ASSERT_TRUE(idle.has_value());
    bench.disk->execute_private(bench.context(), *std::move(idle), {});
  };
  bench.driver.in_hook = [&](int) {
    if (left-- > 0) execute();
  };
  execute();
  EXPECT_EQ(bench.driver.issued.size(), 101U);
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
}

// Goal: a request that the poll hook ends frees its tag at once. The bio's callback comes behind
// the hook.
TEST(Order, AnEndInThePollHookFreesItsTagWithinTheHook) {
  Bench<HookDriver> bench{{.capacity_sectors = 1024, .poll_queues = 1, .depth = 1}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio polled = mq::Bio::read(0, fake::whole(memory), {&Ends::on_end, &ends}, {.polled = true});
  int ended_in_hook = -1;
  bool is_tag_free = false;
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if (hook != HookDriver::poll_hook) return;
    for (const auto& [hw, value] : std::exchange(bench.driver.published, {})) {
      std::move(*hw->claim(value)).end_ok();
    }
    ended_in_hook = ends.count;
    auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, false,
                                             mq::QueueType::poll);
    is_tag_free = idle.has_value();
    if (is_tag_free) std::move(*idle).fail(Status::aborted);
  };
  for (int i = 0; i != 2; ++i) {  // the context's first bio takes another way
    bench.disk->submit(bench.context(), polled);
    static_cast<void>(bench.disk->poll(bench.context()));
    EXPECT_EQ(ended_in_hook, i);
    EXPECT_EQ(ends.count, i + 1);
  }
  EXPECT_TRUE(is_tag_free);
}

// Goal: a write that a private request's callback submits does not pass one that the driver has
// requeued in the same resume, or in the same call.
TEST(Order, ABioOfAPrivateCallbackPassesNoRequeuedRequest) {
  for (const bool is_zoned : {false, true}) {
    for (const bool is_resumed : {false, true}) {
      Bench<fake::Driver> bench{
          {.capacity_sectors = 1024, .zoned = is_zoned, .zone_sectors = is_zoned ? 128U : 0U}};
      auto& hw = bench.disk->hw_queue(QueueIndex{0});
      Ends ends;
      std::vector<std::byte> memory(512);
      mq::Bio earlier = mq::Bio::write(1, fake::whole(memory), {&Ends::on_end, &ends});
      mq::Bio later = mq::Bio::write(2, fake::whole(memory), {&Ends::on_end, &ends});
      std::function<void()> on_private_end = [&] { bench.disk->submit(bench.context(), later); };
      const auto start_both = [&] {
        auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, false);
        ASSERT_TRUE(idle.has_value());
        bench.disk->execute_private(bench.context(), *std::move(idle),
                                    {[](void* function, mq::Payload<fake::Driver>&) {
                                       (*static_cast<std::function<void()>*>(function))();
                                     },
                                     &on_private_end});
        bench.disk->submit(bench.context(), earlier);
      };
      bench.driver.next = {fake::Driver::Mode::end, fake::Driver::Mode::requeue};
      Read first{0};
      first.ends.then = [&](mq::Bio&) { start_both(); };
      if (is_resumed) {
        hw.stop();
        start_both();
        bench.runtime.run();
        hw.start();
      } else {
        bench.driver.next.push_front(fake::Driver::Mode::end);
        bench.disk->submit(bench.context(), first.bio);
      }
      bench.runtime.run();
      std::vector<std::uint64_t> writes;
      for (const fake::Seen& seen : bench.driver.seen) {
        if (seen.op == mq::Op::write) writes.push_back(seen.sector);
      }
      EXPECT_EQ(writes, (std::vector<std::uint64_t>{1, 1, 2}))
          << (is_zoned ? "zoned, " : "") << (is_resumed ? "resumed" : "called");
      EXPECT_EQ(ends.count, 2);
    }
  }
}

// Goal: a bio that was issued in part stays before the bios that queue_rq submits.
TEST(Order, ABioIssuedInPartKeepsItsPlaceBeforeBiosThatQueueRqSubmits) {
  Bench<HookDriver> bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 1}, .depth = 2}};
  Ends ends;
  std::vector<std::byte> memory(4 * 512);
  auto bio = mq::Bio::read(0, fake::whole(memory), {&Ends::on_end, &ends});
  Read behind{100};
  bool is_first = true;
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if (hook == HookDriver::queue_rq_hook && std::exchange(is_first, false)) {
      bench.disk->submit(bench.context(), behind.bio);
    }
  };
  bench.disk->submit(bench.context(), bio);
  for (int i = 0; i != 4; ++i) {
    bench.driver.complete_all();
    bench.runtime.run();
  }
  EXPECT_EQ(bench.driver.issued, (std::vector<std::uint64_t>{0, 1, 2, 3, 100}));
}

// --- requeued and refused requests
// -----------------------------------------------------------------

/// Publishes, refuses or fails as the test says. With `batch`, queue_rqs takes that many requests
/// of a batch and leaves the others.
struct RequeueDriver : fake::FullDriver {
  static constexpr std::uint64_t private_sector = 1000;

  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    const std::uint64_t sector = name_of(idle.data());
    const auto refused = std::ranges::find(refusals, sector);
    if (refused != refusals.end()) {
      refusals.erase(refused);
      refused_count += 1;
      return Answer::rejected(std::move(idle), refusal_status);
    }
    accept(hw, std::move(idle));
    return Answer::accepted();
  }
  void queue_rqs(Hw& hw, QueueData&, mq::IdleList<Rq>& list) override {
    for (int i = 0; i != batch; ++i) {
      auto idle = list.pop_front();
      if (!idle.has_value()) return;
      accept(hw, *std::move(idle));
    }
    if (stops_in_batch) hw.stop();
  }
  void commit_rqs(Hw&, QueueData&) override { ++commits; }
  void accept(Hw& hw, blkown::Idle<Rq>&& idle) {
    issued.push_back(name_of(idle.data()));
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { published.push_back({&hw, cookie.value}); });
  }
  static std::uint64_t name_of(const mq::Payload<fake::FullDriver>& payload) {
    return payload.is_private() ? private_sector : payload.sector();
  }
  /// Requeues the published requests, in the order of `order` if that is not empty.
  void requeue_all(const std::vector<std::size_t>& order = {}) {
    const auto all = std::exchange(published, {});
    for (std::size_t i = 0; i != all.size(); ++i) {
      const auto& [hw, value] = all[order.empty() ? i : order[i]];
      std::move(*hw->claim(value)).requeue();
    }
  }
  void end_first(std::size_t count = 1) {
    for (; count != 0 && !published.empty(); --count) {
      const auto [hw, value] = published.front();
      published.erase(published.begin());
      std::move(*hw->claim(value)).end_ok();
    }
  }

  std::vector<std::uint64_t> refusals;  // each sector is refused once
  Status refusal_status = Status::device_resource;
  int batch = 0;
  bool stops_in_batch = false;
  int refused_count = 0;
  int commits = 0;
  std::vector<std::uint64_t> issued;
  std::vector<std::pair<Hw*, std::uint64_t>> published;
};
using Sectors = std::vector<std::uint64_t>;

struct Requeue : testing::Test {
  explicit Requeue(const mq::DiskConfig& config = {.capacity_sectors = 1024, .busy_delay_ms = 5})
      : bench{config} {}
  ~Requeue() override { finish(); }

  void finish() {
    for (int i = 0; i != 100 && ends.count != static_cast<int>(bios.size()); ++i) {
      bench.disk->kick_requeued();
      bench.driver.end_first(1000);
      bench.clock.pass_ms(5);
      bench.runtime.run();
    }
    bench.driver.end_first(1000);
    bench.runtime.run();
    EXPECT_EQ(ends.count, static_cast<int>(bios.size()));
  }
  void submit(std::uint64_t sector) {
    bios.emplace_back(
        new mq::Bio(mq::Bio::read(sector, fake::whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(), *bios.back());
  }
  /// Submits six bios, as one batch or one by one.
  void submit_six(bool is_plugged = false) {
    std::optional<RequeueDriver::Disk::Plug> plug;
    if (is_plugged) plug.emplace(*bench.disk, bench.context());
    for (const std::uint64_t sector : six) submit(sector);
  }
  void execute(bool reserved = false) {
    auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, reserved);
    ASSERT_TRUE(idle.has_value());
    bench.disk->execute_private(bench.context(), *std::move(idle), {});
  }
  void retry() {
    bench.clock.pass_ms(5);
    bench.runtime.run();
  }

  Sectors six{0, 8, 16, 24, 32, 40};
  Ends ends;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  std::vector<std::unique_ptr<mq::Bio>> bios;
  Bench<RequeueDriver> bench;
};

TEST_F(Requeue, ARefusalAmongRequeuedRequestsKeepsTheirOrder) {
  submit_six();
  bench.driver.issued.clear();
  bench.driver.refusals = {16};
  bench.driver.requeue_all();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8})) << "nothing is sent past the refused request";
  retry();
  EXPECT_EQ(bench.driver.issued, six);
}

TEST_F(Requeue, RequestsRequeuedInAnyOrderAreIssuedInTheOrderOfTheirFirstIssue) {
  submit_six();
  for (const std::vector<std::size_t>& order : std::vector<std::vector<std::size_t>>{
           {5, 4, 3, 2, 1, 0}, {2, 0, 5, 1, 4, 3}, {0, 5, 1, 4, 2, 3}}) {
    bench.driver.issued.clear();
    bench.driver.requeue_all(order);
    bench.runtime.run();
    EXPECT_EQ(bench.driver.issued, six);
  }
}

// Goal: requests that the driver leaves in a batch are not sent past one that it refuses.
TEST_F(Requeue, TheRestOfABatchIsNotSentPastARefusedRequest) {
  bench.driver.batch = 2;
  bench.driver.refusals = {24};
  submit_six(true);
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8, 16}));
  EXPECT_EQ(bench.driver.refused_count, 1);
  submit(48);
  EXPECT_EQ(bench.driver.issued.size(), 3U);
  bench.driver.batch = 0;
  retry();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8, 16, 24, 32, 40, 48}));
}

// Goal: commit_rqs is called once for what was sent, not again by a submit that sends nothing.
TEST_F(Requeue, ARefusalBehindABatchIsCommittedOnce) {
  bench.driver.batch = 2;
  bench.driver.refusals = {16};
  submit_six(true);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8}));
  EXPECT_EQ(bench.driver.commits, 1);
  submit(48);
  EXPECT_EQ(bench.driver.commits, 1);
}

// Goal: a queue that the driver stops in queue_rqs gets nothing more of the batch.
TEST_F(Requeue, TheRestOfABatchIsNotSentToAQueueThatTheDriverStopped) {
  bench.driver.batch = 2;
  bench.driver.stops_in_batch = true;
  submit_six(true);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8}));
  bench.disk->hw_queue(QueueIndex{0}).start();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, six);
}

// Goal: a bio is not sent past requests that wait to be issued again.
// Method: the context has looked at the requests while the queue was stopped, and does not yet know
// of the start.
TEST_F(Requeue, ABioSubmittedAfterAStartDoesNotPassRequeuedRequests) {
  submit_six();
  bench.driver.issued.clear();
  auto& hw = bench.disk->hw_queue(QueueIndex{0});
  hw.stop();
  bench.driver.requeue_all();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, Sectors{});
  hw.start();
  submit(48);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8, 16, 24, 32, 40, 48}));
}

struct ReservedRequeue : Requeue {
  ReservedRequeue() : Requeue{{.capacity_sectors = 1024, .reserved_depth = 1}} {}
};

TEST_F(ReservedRequeue, ABioSubmittedAfterAStartDoesNotPassAReservedRequest) {
  execute(true);
  bench.driver.issued.clear();
  auto& hw = bench.disk->hw_queue(QueueIndex{0});
  hw.stop();
  bench.driver.requeue_all();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, Sectors{});
  hw.start();
  submit(48);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{RequeueDriver::private_sector, 48}));
}

// Goal: a bio that an end callback submits is not sent past requests that wait to be issued again.
// Method: the callback runs after the others were requeued and before they are issued.
TEST_F(Requeue, ABioSubmittedByAnEndCallbackDoesNotPassRequeuedRequests) {
  submit_six();
  ends.then = [this, is_first = true](mq::Bio&) mutable {  // ends come after the test's body, too
    if (std::exchange(is_first, false)) submit(48);
  };
  bench.driver.issued.clear();
  {
    const mq::Context::Scope scope{bench.context()};
    bench.driver.end_first();
    bench.driver.requeue_all();
  }
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{8, 16, 24, 32, 40, 48}));
}

// Goal: the same while the refused request is on its way back and an end has made the driver ready.
// Method: the ends of a bio and of a private request come before the refused request in the list of
// ended requests, and the private request's end callback submits.
TEST_F(Requeue, ABioSubmittedByAPrivateEndDoesNotPassARefusedRequest) {
  submit(0);
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(
      bench.context(), *std::move(idle),
      {[](void* self, mq::Payload<fake::FullDriver>&) { static_cast<Requeue*>(self)->submit(48); },
       this});
  bench.driver.issued.clear();
  bench.driver.refusals = {8};
  {
    const mq::Context::Scope scope{bench.context()};
    bench.driver.end_first(2);
    submit(8);
  }
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{8, 48}));
}

TEST_F(Requeue, PrivateRequestsAreIssuedAgainBeforeBios) {
  submit_six();
  execute();
  bench.driver.issued.clear();
  bench.driver.refusals = {RequeueDriver::private_sector};
  bench.driver.requeue_all();
  bench.runtime.run();
  EXPECT_TRUE(bench.driver.issued.empty()) << "nor is a bio sent past a private request";
  retry();
  EXPECT_EQ(bench.driver.issued, (Sectors{RequeueDriver::private_sector, 0, 8, 16, 24, 32, 40}));
}

struct HeldRequeue : Requeue {
  HeldRequeue() : Requeue{{.capacity_sectors = 1024, .busy_delay_ms = 5, .auto_kick = false}} {}
};

// Goal: requests that a kick releases take their places among those that the driver refused.
TEST_F(HeldRequeue, AKickKeepsTheOrderAcrossTheLists) {
  submit_six();
  bench.driver.issued.clear();
  const std::vector<std::size_t> reversed{5, 4, 3, 2, 1, 0};
  bench.driver.requeue_all(reversed);
  bench.driver.refusals = {48};
  submit(48);
  bench.runtime.run();
  EXPECT_TRUE(bench.driver.issued.empty());
  bench.disk->kick_requeued();
  retry();
  EXPECT_EQ(bench.driver.issued, (Sectors{0, 8, 16, 24, 32, 40, 48}));
}

// Goal: a rejection with an error leaves nothing behind for the next I/O with the same tag.
TEST_F(HeldRequeue, ARequestRequeuedAfterAFailedOneWithTheSameTagNeedsAKick) {
  bench.driver.refusals = {0};
  bench.driver.refusal_status = Status::no_space;
  submit(0);
  EXPECT_EQ(ends.statuses, std::vector{Status::no_space});
  submit(8);
  bench.driver.requeue_all();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{8}));
  bench.disk->kick_requeued();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued, (Sectors{8, 8}));
}

// --- bios of many parts
// ----------------------------------------------------------------------------

/// The most consecutive requests with sectors of the range.
std::size_t longest_run(const std::vector<fake::Seen>& seen, std::uint64_t begin,
                        std::uint64_t end) {
  std::size_t longest = 0, run = 0;
  for (const fake::Seen& one : seen) {
    run = begin <= one.sector && one.sector < end ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

/// Two bios of 200 parts each and a bio of one part, on a disk with `depth` tags.
struct ManyParts {
  ManyParts(std::uint32_t depth, bool is_zoned, mq::Op op)
      : a{make(op, 0, long_memory)},
        b{make(op, 256, long_memory)},
        one{make(op, 512, memory)},
        bench{{.capacity_sectors = 1024,
               .limits = {.max_sectors = 1},
               .zoned = is_zoned,
               .zone_sectors = is_zoned ? 256U : 0U,
               .depth = depth}} {
    bench.driver.mode = fake::Driver::Mode::publish;
  }
  mq::Bio make(mq::Op op, std::uint64_t sector, std::vector<std::byte>& bytes) {
    const mq::OnEnd<mq::Bio> on_end{&Ends::on_end, &ends};
    return op == mq::Op::read ? mq::Bio::read(sector, fake::whole(bytes), on_end)
                              : mq::Bio::write(sector, fake::whole(bytes), on_end);
  }
  void submit(mq::Bio& bio) { bench.disk->submit(bench.context(), bio); }
  void finish() {
    while (!bench.driver.published.empty()) {
      bench.driver.reap(bench.data(), 3);
      bench.runtime.run();
    }
  }
  [[nodiscard]] std::size_t place_of_one() const {
    const auto at = std::ranges::find(bench.driver.seen, 512U, &fake::Seen::sector);
    return static_cast<std::size_t>(at - bench.driver.seen.begin());
  }

  Ends ends;
  std::vector<std::byte> long_memory = std::vector<std::byte>(200 * 512);
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  mq::Bio a, b, one;
  Bench<> bench;
};

TEST(Order, AReadBehindABioOfManyPartsWaitsForOneBatchOfParts) {
  for (const std::uint32_t depth : {1U, 8U, 256U}) {
    for (const bool is_plugged : {false, true}) {
      SCOPED_TRACE(testing::Message() << "depth " << depth << " plug " << is_plugged);
      ManyParts test{depth, false, mq::Op::read};
      std::optional<mq::Disk<fake::Driver>::Plug> plug;
      if (is_plugged) plug.emplace(*test.bench.disk, test.bench.context());
      test.submit(test.a);
      const std::size_t before = test.bench.driver.seen.size();
      test.submit(test.one);
      plug.reset();
      test.finish();
      EXPECT_LE(test.place_of_one(), before + 32);
      EXPECT_EQ(test.ends.statuses, (std::vector{Status::ok, Status::ok}));
    }
  }
}

TEST(Order, BiosOfManyPartsTakeTurns) {
  ManyParts test{8, false, mq::Op::read};
  test.submit(test.a);
  for (int i = 0; i != 40; ++i) {  // more than a batch of the first bio, while no other waits
    test.bench.driver.reap(test.bench.data(), 1);
    test.bench.runtime.run();
  }
  test.bench.driver.seen.clear();
  test.submit(test.b);
  test.submit(test.one);
  test.finish();
  EXPECT_LE(longest_run(test.bench.driver.seen, 0, 256), 32U);
  EXPECT_EQ(test.bench.driver.seen[0].sector, 256U) << "the first bio has had its turn";
  EXPECT_EQ(test.place_of_one(), 32U);
  EXPECT_EQ(test.ends.count, 3);
}

// Goal: on a zoned disk, writes are issued in the order of their submits.
TEST(Order, WritesOfAZonedDiskTakeNoTurns) {
  ManyParts writes{8, true, mq::Op::write}, reads{8, true, mq::Op::read};
  for (ManyParts* test : {&writes, &reads}) {
    test->submit(test->a);
    test->submit(test->one);
    test->finish();
  }
  EXPECT_EQ(writes.place_of_one(), 200U);
  EXPECT_LE(reads.place_of_one(), 40U);
}

}  // namespace
}  // namespace order
