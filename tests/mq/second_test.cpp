// SPDX-License-Identifier: BSL-1.0
//
// Goal: what a disk does for all of its queues, lanes, contexts and tags reaches the second of each
// as well as the first, and tag 0 as well as others.
// Method: two contexts with two lanes each, to hardware queues of two types. For each queue and tag
// alone, a request is in flight only there.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace second {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Ends;
using Mode = fake::Driver::Mode;

/// A queue and a tag.
using Where = std::pair<std::uint32_t, std::uint32_t>;
using Places = std::vector<Where>;

/// A driver that publishes each request, and notes for which queues and tags its hooks are called.
struct Driver : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    if (is_busy) return Answer::rejected(std::move(idle), Status::device_resource);
    issued.emplace_back(hw.index().value, idle.tag().value);
    std::move(idle).start().publish([](blkown::Cookie) {});
    return Answer::accepted();
  }
  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin, const blkown::Cookie&) override {
    timed_out.emplace_back(hw.index().value, pin.tag().value);
    return mq::TimeoutAction::handled;
  }
  Status init_hctx(Hw& hw, QueueData&) override {
    opened.push_back(hw.index().value);
    return Status::ok;
  }
  void exit_hctx(Hw& hw, QueueData&) override { closed.push_back(hw.index().value); }

  bool is_busy = false;
  Places issued, timed_out;
  std::vector<std::uint32_t> opened, closed;
};

template <class T>
std::vector<T> sorted(std::vector<T> items) {
  std::ranges::sort(items);
  return items;
}

struct Second : testing::Test {
  /// Two normal queues and two read queues: each of two contexts has a queue of each type.
  static mq::DiskConfig config() {
    return {.capacity_sectors = 1024,
            .normal_queues = 2,
            .read_queues = 2,
            .depth = 2,
            .timeout_ms = 100,
            .busy_delay_ms = 5};
  }

  struct Io {
    explicit Io(bool is_read, std::vector<std::byte>& memory)
        : bio{is_read ? mq::Bio::read(0, fake::whole(memory), {&Ends::on_end, &ends})
                      : mq::Bio::write(0, fake::whole(memory), {&Ends::on_end, &ends})} {}
    Ends ends;
    mq::Bio bio;
  };
  Io& submit(std::uint32_t context, bool is_read) {
    ios.push_back(std::make_unique<Io>(is_read, memory));
    bench.disk->submit(bench.context(context), ios.back()->bio);
    return *ios.back();
  }
  /// Two bios on each lane of each context: all tags of all queues.
  void submit_all() {
    for (const std::uint32_t context : {0U, 1U}) {
      for (const bool is_read : {false, true}) {
        submit(context, is_read);
        submit(context, is_read);
      }
    }
    bench.runtime.run();
  }
  /// All queues and tags.
  static Places all() {
    Places places;
    for (std::uint32_t queue = 0; queue != 4; ++queue) {
      for (std::uint32_t tag = 0; tag != 2; ++tag) places.emplace_back(queue, tag);
    }
    return places;
  }
  /// What is in flight, as the queues tell.
  Places in_flight() {
    Places places;
    for (std::uint32_t i = 0; i != bench.disk->hw_queue_count(); ++i) {
      bench.disk->hw_queue(QueueIndex{i})
          .for_each_in_flight(
              [&](const blkown::ARef<Driver::Rq>& pin, const blkown::Cookie& cookie) {
                EXPECT_EQ(pin.tag(), cookie.tag);
                places.emplace_back(i, pin.tag().value);
              });
    }
    return places;
  }
  /// Ends all requests but that of one place.
  void end_others(const Where& kept) {
    for (std::uint32_t i = 0; i != bench.disk->hw_queue_count(); ++i) {
      bench.disk->hw_queue(QueueIndex{i})
          .for_each_in_flight(
              [&](const blkown::ARef<Driver::Rq>& pin, const blkown::Cookie& cookie) {
                if (Where{i, pin.tag().value} == kept) return;
                if (auto claim = blkown::claim(pin, cookie)) std::move(*claim).end_ok();
              });
    }
    bench.runtime.run();
  }
  std::size_t ended() const {
    std::size_t count = 0;
    for (const auto& io : ios) count += static_cast<std::size_t>(io->ends.count);
    return count;
  }
  /// Calls `check(place)` with a request in flight at this place only, for each place.
  template <class Check>
  void with_one_at_each_place(Check check) {
    for (const Where& place : all()) {
      SCOPED_TRACE(testing::Message() << "queue " << place.first << ", tag " << place.second);
      ios.clear();
      submit_all();
      ASSERT_EQ(sorted(in_flight()), all());
      end_others(place);
      ASSERT_EQ(in_flight(), Places{place});
      ASSERT_EQ(ended(), 7U);
      check(place);
      bench.disk->fail_in_flight(Status::io_error);
      bench.runtime.run();
      ASSERT_EQ(ended(), 8U);
    }
  }

  std::vector<std::byte> memory = std::vector<std::byte>(512);
  std::vector<std::unique_ptr<Io>> ios;
  fake::Bench<Driver> bench{config(), 2};
};

TEST_F(Second, RequestsOfEachQueueAndTagAreIssuedAndListed) {
  submit_all();
  EXPECT_EQ(sorted(bench.driver.issued), all());
  EXPECT_EQ(sorted(in_flight()), all());
  bench.disk->fail_in_flight(Status::ok);
  bench.runtime.run();
}

TEST_F(Second, FailInFlightFindsTheOnlyRequestWhereverItIs) {
  with_one_at_each_place([&](const Where&) {
    bench.disk->fail_in_flight(Status::medium_error);
    bench.runtime.run();
    EXPECT_EQ(ended(), 8U);
    EXPECT_TRUE(in_flight().empty());
  });
}

TEST_F(Second, FailInFlightEndsEveryRequest) {
  submit_all();
  bench.disk->fail_in_flight(Status::medium_error);
  bench.runtime.run();
  for (const auto& io : ios) EXPECT_EQ(io->ends.statuses, std::vector{Status::medium_error});
}

TEST_F(Second, ATimeoutScanFindsTheOnlyRequestWhereverItIs) {
  with_one_at_each_place([&](const Where& place) {
    bench.driver.timed_out.clear();
    for (int i = 0; i != 8; ++i) {
      bench.clock.pass_ms(25);
      bench.runtime.run();
    }
    EXPECT_EQ(bench.driver.timed_out, Places{place});
  });
}

TEST_F(Second, ATimeoutScanFindsEveryRequest) {
  submit_all();
  for (int i = 0; i != 8; ++i) {
    bench.clock.pass_ms(25);
    bench.runtime.run();
  }
  EXPECT_EQ(sorted(bench.driver.timed_out), all());
  bench.disk->fail_in_flight(Status::timed_out);
  bench.runtime.run();
}

TEST_F(Second, EveryLaneThatTheDriverRefusedIsRetriedAfterTheDelay) {
  bench.driver.is_busy = true;
  for (const std::uint32_t context : {0U, 1U}) {
    for (const bool is_read : {false, true}) submit(context, is_read);
  }
  bench.runtime.run();
  bench.driver.is_busy = false;
  bench.clock.pass_ms(10);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.issued.size(), 4U);
  EXPECT_EQ(in_flight().size(), 4U);
  bench.disk->fail_in_flight(Status::ok);
  bench.runtime.run();
}

// Goal: the second lane of the second context alone is retried.
TEST_F(Second, TheOnlyRefusedLaneIsRetriedWhereverItIs) {
  for (const std::uint32_t context : {0U, 1U}) {
    for (const bool is_read : {false, true}) {
      bench.driver.is_busy = true;
      Io& io = submit(context, is_read);
      bench.runtime.run();
      bench.driver.is_busy = false;
      bench.clock.pass_ms(10);
      bench.runtime.run();
      EXPECT_EQ(in_flight().size(), 1U);
      bench.disk->fail_in_flight(Status::ok);
      bench.runtime.run();
      EXPECT_EQ(io.ends.count, 1);
    }
  }
}

TEST_F(Second, AFreezeWaitsForTheOnlyRequestWhereverItIs) {
  with_one_at_each_place([&](const Where&) {
    bool is_frozen = false;
    mq::Control freeze{
        {[](void* flag, mq::Control&) { *static_cast<bool*>(flag) = true; }, &is_frozen}};
    bench.disk->freeze(freeze);
    bench.runtime.run();
    EXPECT_FALSE(is_frozen);
    bench.disk->fail_in_flight(Status::io_error);
    bench.runtime.run();
    EXPECT_TRUE(is_frozen);
    EXPECT_TRUE(bench.thaw());
  });
}

TEST_F(Second, ARemovalWaitsForTheOnlyRequestWhereverItIs) {
  for (const Where& place : all()) {
    fake::Bench<Driver> own{config(), 2};
    ios.clear();
    for (const std::uint32_t context : {0U, 1U}) {
      for (int i = 0; i != 4; ++i) {
        ios.push_back(std::make_unique<Io>(i < 2, memory));
        own.disk->submit(own.context(context), ios.back()->bio);
      }
    }
    own.runtime.run();
    for (std::uint32_t i = 0; i != 4; ++i) {
      own.disk->hw_queue(QueueIndex{i})
          .for_each_in_flight(
              [&](const blkown::ARef<Driver::Rq>& pin, const blkown::Cookie& cookie) {
                if (Where{i, pin.tag().value} == place) return;
                if (auto claim = blkown::claim(pin, cookie)) std::move(*claim).end_ok();
              });
    }
    own.runtime.run();
    mq::Event removed;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &removed}};
    own.disk->remove(control);
    own.runtime.run();
    EXPECT_FALSE(removed.is_set());
    EXPECT_TRUE(own.driver.closed.empty());
    own.disk->fail_in_flight(Status::offline);
    own.runtime.run();
    EXPECT_TRUE(removed.is_set());
    EXPECT_EQ(ended(), 8U);
    own.disk.reset();
    EXPECT_EQ(sorted(own.driver.closed), sorted(own.driver.opened));
    EXPECT_EQ(sorted(own.driver.closed), (std::vector{0U, 1U, 2U, 3U}));
  }
}

// Goal: bios that wait for a tag or for the driver end with the removal, on every lane.
TEST_F(Second, ARemovalEndsTheBiosThatWaitOnEveryLane) {
  submit_all();
  for (const std::uint32_t context : {0U, 1U}) {
    for (const bool is_read : {false, true}) submit(context, is_read);
  }
  bench.runtime.run();
  mq::Event removed;
  mq::Control control{
      {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &removed}};
  bench.disk->remove(control);
  bench.runtime.run();
  EXPECT_EQ(ended(), 4U);
  for (std::size_t i = 8; i != 12; ++i) {
    EXPECT_EQ(ios[i]->ends.statuses, std::vector{Status::offline});
  }
  bench.disk->fail_in_flight(Status::ok);
  bench.runtime.run();
  EXPECT_TRUE(removed.is_set());
  EXPECT_EQ(ended(), 12U);
  bench.disk.reset();
}

TEST_F(Second, StoppingOneQueueStopsNoOther) {
  for (std::uint32_t stopped = 0; stopped != 4; ++stopped) {
    ios.clear();
    bench.driver.issued.clear();
    bench.disk->hw_queue(QueueIndex{stopped}).stop();
    submit_all();
    EXPECT_EQ(bench.driver.issued.size(), 6U);
    for (const Where& where : bench.driver.issued) EXPECT_NE(where.first, stopped);
    bench.disk->hw_queue(QueueIndex{stopped}).start();
    bench.runtime.run();
    EXPECT_EQ(sorted(bench.driver.issued), all());
    bench.disk->fail_in_flight(Status::ok);
    bench.runtime.run();
  }
}

// Goal: all queues that a change adds are opened, and all that the disk ever opened are closed.
TEST_F(Second, EachQueueThatIsAddedIsOpenedAndClosed) {
  fake::Bench<Driver> own{{.capacity_sectors = 1024, .normal_queues = 1, .max_normal_queues = 4},
                          2};
  EXPECT_EQ(own.driver.opened, std::vector{0U});
  EXPECT_TRUE(own.set_queue_count(4));
  EXPECT_EQ(own.driver.opened, (std::vector{0U, 1U, 2U, 3U}));
  EXPECT_TRUE(own.set_queue_count(2));
  own.remove();
  EXPECT_EQ(sorted(own.driver.closed), (std::vector{0U, 1U, 2U, 3U}));
}

}  // namespace
}  // namespace second
