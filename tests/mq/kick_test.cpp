// SPDX-License-Identifier: BSL-1.0
//
// Goal: without DiskConfig::auto_kick, a requeued request is issued after a kick, and only then; a
// request that the driver has refused, or that was never sent, needs none.
// Method: reads that a driver keeps, on two contexts with two lanes each.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace kick {
namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Read;
using Mode = fake::Driver::Mode;

struct Kick : testing::Test {
  static mq::DiskConfig config() {
    return {.capacity_sectors = 1024,
            .normal_queues = 1,
            .read_queues = 1,
            .depth = 8,
            .reserved_depth = 1,
            .busy_delay_ms = 5,
            .auto_kick = false};
  }
  Kick() { bench.driver.mode = Mode::keep; }

  Read& read(std::uint32_t context = 0) {
    reads.push_back(std::make_unique<Read>(8 * reads.size()));
    bench.disk->submit(bench.context(context), reads.back()->bio);
    bench.runtime.run();
    return *reads.back();
  }
  /// Ends all requests that the driver keeps.
  void end_kept() {
    auto kept = std::exchange(bench.driver.kept, {});
    for (auto& owned : kept) std::move(owned).end_ok();
    bench.runtime.run();
  }
  /// Requeues all requests that the driver keeps. Does not run the contexts.
  void requeue() {
    auto kept = std::exchange(bench.driver.kept, {});
    for (auto& owned : kept) std::move(owned).requeue();
  }
  void requeue_and_run() {
    requeue();
    bench.runtime.run();
  }
  void kick_and_run() {
    bench.disk->kick_requeued();
    bench.runtime.run();
  }
  /// Expects that a requeued request is not issued by this event, but by the kick after it.
  void expect_held(const char* event, const std::function<void()>& happens) {
    SCOPED_TRACE(event);
    Read& held = read();
    requeue_and_run();
    bench.driver.seen.clear();
    happens();
    bench.runtime.run();
    for (const fake::Seen& seen : bench.driver.seen) EXPECT_NE(seen.sector, held.bio.sector());
    end_kept();
    EXPECT_EQ(held.ends.count, 0);
    kick_and_run();
    end_kept();
    EXPECT_EQ(held.ends.statuses, std::vector{Status::ok});
  }
  /// The number of requests that the driver has received since the last call.
  int issued() { return std::exchange(bench.driver.calls, 0); }
  /// Runs the contexts after an operation.
  void expect_done(bool is_done) {
    EXPECT_TRUE(is_done);
    bench.runtime.run();
  }

  fake::Bench<> bench{config(), 2};
  std::vector<std::unique_ptr<Read>> reads;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
};

// Goal: a driver requeues and kicks at once, as with Linux's blk_mq_requeue_request(rq, true).
TEST_F(Kick, RightAfterTheRequeueIsNotLost) {
  for (const bool is_on_context : {false, true}) {
    for (const std::uint32_t context : {0U, 1U}) {
      read(context);
      read(context);
      EXPECT_EQ(issued(), 2);
      std::optional<mq::Context::Scope> scope;
      if (is_on_context) scope.emplace(bench.context(context));
      requeue();
      bench.disk->kick_requeued();
      scope.reset();
      bench.runtime.run();
      EXPECT_EQ(issued(), 2);
      end_kept();
    }
  }
}

TEST_F(Kick, ReachesTheSecondRequestOfTheSecondLaneOfTheSecondContext) {
  std::vector<std::unique_ptr<fake::Ends>> ends;
  std::vector<std::unique_ptr<mq::Bio>> writes;
  for (const std::uint32_t context : {0U, 1U}) {
    for (int i = 0; i != 2; ++i) {
      read(context);
      ends.push_back(std::make_unique<fake::Ends>());
      writes.emplace_back(new mq::Bio(
          mq::Bio::write(100, fake::whole(memory), {&fake::Ends::on_end, ends.back().get()})));
      bench.disk->submit(bench.context(context), *writes.back());
    }
  }
  bench.runtime.run();
  EXPECT_EQ(issued(), 8);
  requeue_and_run();
  EXPECT_EQ(issued(), 0);
  bench.driver.mode = Mode::end;
  kick_and_run();
  EXPECT_EQ(issued(), 8);
  for (const auto& one : reads) EXPECT_EQ(one->ends.statuses, std::vector{Status::ok});
  for (const auto& one : ends) EXPECT_EQ(one->statuses, std::vector{Status::ok});
}

// Goal: nothing but a kick issues a requeued request.
TEST_F(Kick, IsTheOnlyEventThatIssuesARequeuedRequest) {
  const std::vector<std::pair<const char*, std::function<void()>>> events{
      {"another bio", [&] { read(); }},
      {"the end of another request",
       [&] {
         read();
         std::move(bench.driver.kept.back()).end_ok();
         bench.driver.kept.pop_back();
       }},
      {"a refusal of another request and its retry",
       [&] {
         bench.driver.next = {Mode::busy};
         read();
         bench.clock.pass_ms(10);
         bench.runtime.run();
       }},
      {"a start of the queue",
       [&] {
         for (std::uint32_t i = 0; i != 2; ++i) {
           bench.disk->hw_queue(blkown::QueueIndex{i}).stop();
           bench.disk->hw_queue(blkown::QueueIndex{i}).start();
         }
       }},
      {"a quiesce and an unquiesce",
       [&] {
         expect_done(bench.quiesce());
         expect_done(bench.unquiesce());
       }},
      {"a freeze and a thaw",
       [&] {
         end_kept();
         expect_done(bench.freeze());
         expect_done(bench.thaw());
       }},
      {"a change of the number of queues", [&] { expect_done(bench.set_queue_count(1)); }},
      {"time", [&] { bench.clock.pass_ms(1000); }}};
  for (const auto& [event, happens] : events) expect_held(event, happens);
}

TEST_F(Kick, IsForTheRequestsBeforeItOnly) {
  Read& first = read();
  requeue_and_run();
  kick_and_run();
  EXPECT_EQ(issued(), 2);
  requeue_and_run();
  EXPECT_EQ(issued(), 0) << "the second requeue needs a kick of its own";
  bench.driver.mode = Mode::end;
  kick_and_run();
  EXPECT_EQ(first.ends.statuses, std::vector{Status::ok});
  kick_and_run();
  EXPECT_EQ(issued(), 1) << "a kick of nothing issues nothing";
}

// Goal: a kick is not lost while the disk may issue nothing.
TEST_F(Kick, WhileNothingMayBeIssuedTakesEffectLater) {
  struct Case {
    const char* name;
    std::function<void()> close, open;
  };
  const auto for_queues = [&](auto call) {
    for (std::uint32_t i = 0; i != 2; ++i) call(bench.disk->hw_queue(blkown::QueueIndex{i}));
  };
  const std::vector<Case> cases{
      {"quiesced", [&] { expect_done(bench.quiesce()); }, [&] { expect_done(bench.unquiesce()); }},
      {"frozen", [&] { expect_done(bench.freeze()); }, [&] { expect_done(bench.thaw()); }},
      {"stopped", [&] { for_queues([](auto& hw) { hw.stop(); }); },
       [&] { for_queues([](auto& hw) { hw.start(); }); }}};
  for (const Case& its : cases) {
    SCOPED_TRACE(its.name);
    bench.driver.mode = Mode::keep;
    Read& first = read(0);
    Read& second = read(1);
    requeue_and_run();
    its.close();
    issued();
    kick_and_run();
    EXPECT_EQ(issued(), 0);
    bench.driver.mode = Mode::end;
    its.open();
    bench.runtime.run();
    EXPECT_EQ(first.ends.count, 1);
    EXPECT_EQ(second.ends.count, 1);
  }
}

TEST_F(Kick, IsNotNeededForWhatTheDriverHasRefusedOrNotReceived) {
  bench.driver.next = {Mode::busy};
  Read& refused = read();
  Read& behind = read();
  bench.clock.pass_ms(10);
  bench.runtime.run();
  EXPECT_EQ(issued(), 3) << "refused, retried, and the bio behind it";
  expect_done(bench.quiesce());
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(bench.context(), *std::move(idle), {});
  Read& waits = read();
  EXPECT_EQ(issued(), 0);
  bench.driver.mode = Mode::end;
  expect_done(bench.unquiesce());
  EXPECT_EQ(issued(), 2);
  EXPECT_EQ(waits.ends.count, 1);
  end_kept();
  EXPECT_EQ(refused.ends.count, 1);
  EXPECT_EQ(behind.ends.count, 1);
}

}  // namespace
}  // namespace kick
