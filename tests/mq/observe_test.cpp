// SPDX-License-Identifier: BSL-1.0
//
// Tests of a disk's counters, its trace, its table of requests in flight, and its memory.

#include <gtest/gtest.h>

#include <array>
#include <blkown/mq/in_flight_table.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::LookupReason;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;

TEST(Counters, AddUp) {
  Bench bench{{}, 2};
  bench.driver.next = {Mode::end, Mode::fail, Mode::publish, Mode::requeue};
  Read a, b, c, d, outside{5000};
  bench.disk->submit(bench.context(0), a.bio);
  bench.disk->submit(bench.context(1), b.bio);
  bench.disk->submit(bench.context(0), c.bio);
  bench.disk->submit(bench.context(1), d.bio);
  bench.disk->submit(bench.context(1), outside.bio);
  bench.runtime.run();
  mq::Counters seen = bench.disk->counters();
  EXPECT_EQ(seen.submitted_bios, 5U);
  EXPECT_EQ(seen.ended_bios, 4U);
  EXPECT_EQ(seen.started_requests, 4U);
  EXPECT_EQ(seen.ended_requests, 3U);
  EXPECT_EQ(seen.requeued_requests, 1U);
  EXPECT_EQ(seen.in_flight(), 1U);
  EXPECT_EQ(seen.ended(Status::ok), 2U);
  EXPECT_EQ(seen.ended(Status::no_space), 1U);

  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  const std::uint64_t value = bench.driver.published.front().second;
  EXPECT_FALSE(hw.claim(value ^ (std::uint64_t{1} << 63)).has_value());
  EXPECT_FALSE(hw.tag_to_rq(value + 1).has_value());
  bench.driver.reap(bench.data());
  EXPECT_FALSE(hw.tag_to_owned(value).has_value());
  bench.runtime.run();
  seen = bench.disk->counters();
  EXPECT_EQ(seen.in_flight(), 0U);
  blkown::Word rejected = 0;
  for (const blkown::Word count : seen.rejected_lookups) rejected += count;
  EXPECT_EQ(rejected, 3U);
  EXPECT_GE(seen.rejected(LookupReason::idle), 1U);
}

// Goal: a batch of completions ends what it names and counts each refusal under its reason.
TEST(Counters, CountTheRefusalsOfABatch) {
  Bench bench;
  bench.driver.next = {Mode::publish, Mode::publish};
  Read a, b;
  bench.disk->submit(bench.context(), a.bio);
  bench.disk->submit(bench.context(), b.bio);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  const std::uint64_t first = bench.driver.published.front().second;
  const std::uint64_t second = bench.driver.published.back().second;
  bench.driver.published.clear();
  std::vector<std::size_t> refused;
  hw.claim_each(std::array{first, first, ~std::uint64_t{0}, second},
                [&](std::size_t index, auto found) {
                  if (found.has_value()) {
                    std::move(*found).end_ok();
                  } else {
                    refused.push_back(index);
                  }
                });
  EXPECT_EQ(refused, (std::vector<std::size_t>{1, 2}));
  bench.runtime.run();
  const mq::Counters seen = bench.disk->counters();
  EXPECT_EQ(seen.ended(Status::ok), 2U);
  EXPECT_EQ(seen.rejected(LookupReason::idle), 1U);
  EXPECT_EQ(seen.rejected(LookupReason::no_such_queue), 1U);
}

TEST(Counters, ABioCountsAsEndedDuringItsCallback) {
  Bench bench;
  Read read;
  mq::Counters seen;
  read.ends.then = [&](mq::Bio&) { seen = bench.disk->counters(); };
  bench.disk->submit(bench.context(), read.bio);
  EXPECT_EQ(seen.ended_bios, 1U);
  EXPECT_EQ(seen.ended_requests, 1U);
  EXPECT_EQ(seen.in_flight(), 0U);
}

TEST(Trace, ReportsEachStepInOrder) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  struct Steps {
    static void on_event(void* self, const mq::TraceEvent& event) {
      static_cast<Steps*>(self)->text += std::string{to_string(event.step)} + ' ' +
                                         std::to_string(event.sector) + ' ' +
                                         to_string(event.status) + '\n';
    }
    std::string text;
  } steps;
  bench.disk->set_trace({&Steps::on_event, &steps});
  bench.driver.next = {Mode::busy, Mode::publish, Mode::end};
  Read first{1}, second{2};
  bench.disk->submit(bench.context(), first.bio);
  bench.disk->submit(bench.context(), second.bio);
  bench.clock.pass_ms(3);
  bench.runtime.run();
  bench.driver.reap(bench.data(), 1, Status::medium_error);
  bench.runtime.run();
  EXPECT_EQ(steps.text,
            "allocated 1 ok\n"
            "issued 1 ok\n"
            "rejected 1 device_resource\n"
            "requeued 1 ok\n"
            "waits 2 ok\n"
            "issued 1 ok\n"
            "looked_up 0 ok\n"
            "ended 1 medium_error\n"
            "allocated 2 ok\n"
            "issued 2 ok\n"
            "ended 2 ok\n");
}

// Goal: each event names its request, whichever kind the request is of, and its place. The queues
// have one tag for bios, tag 1.
struct EachTrace : testing::Test {
  EachTrace() { bench.disk->set_trace({&on_event, &text}); }
  static void on_event(void* its, const mq::TraceEvent& event) {
    if (event.step == mq::TraceStep::looked_up) return;
    EXPECT_EQ(event.reason, LookupReason::none);
    EXPECT_EQ(event.value, 0U);
    std::string& all = *static_cast<std::string*>(its);
    all += std::string{to_string(event.step)} + ' ' + to_string(event.op) + ' ' +
           std::to_string(event.sector) + '+' + std::to_string(event.length_bytes);
    all += " context " + std::to_string(event.context) + " queue " +
           std::to_string(event.queue.value) + " tag " + std::to_string(event.tag.value) + ' ' +
           to_string(event.status) + '\n';
  }
  void expect(const char* expected) { EXPECT_EQ(std::exchange(text, {}), expected); }
  /// Issues a bio, and requeues it while the disk is quiesced.
  void requeue(mq::Bio& its) {
    bench.driver.next = {Mode::keep};
    bench.disk->submit(bench.context(1), its);
    bench.quiesce();
    std::move(bench.driver.kept.front()).requeue();
    bench.driver.kept.clear();
  }

  std::string text;
  Bench<> bench{{.capacity_sectors = 1024,
                 .normal_queues = 2,
                 .depth = 2,
                 .reserved_depth = 1,
                 .timeout_ms = 100,
                 .busy_delay_ms = 5},
                2};
  std::vector<std::byte> memory = std::vector<std::byte>(1024);
  Ends ends;
  mq::Bio bio = mq::Bio::write(8, whole(memory), {&Ends::on_end, &ends});
  Read other{3};
};

TEST_F(EachTrace, NamesTheBioItsPlaceAndItsStatus) {
  bench.driver.next = {Mode::busy, Mode::publish};
  bench.disk->submit(bench.context(1), bio);
  bench.disk->submit(bench.context(1), other.bio);
  bench.clock.pass_ms(5);
  bench.runtime.run();
  for (int i = 0; i != 6; ++i) {
    bench.clock.pass_ms(25);
    bench.runtime.run();
  }
  bench.driver.reap(bench.data(), 1, Status::medium_error);
  bench.runtime.run();
  expect(
      "allocated write 8+1024 context 1 queue 1 tag 1 ok\n"
      "issued write 8+1024 context 1 queue 1 tag 1 ok\n"
      "rejected write 8+1024 context 1 queue 1 tag 1 device_resource\n"
      "requeued write 8+1024 context 1 queue 1 tag 1 ok\n"
      "waits read 3+512 context 1 queue 1 tag 0 ok\n"
      "issued write 8+1024 context 1 queue 1 tag 1 ok\n"
      "timed_out write 8+1024 context 1 queue 1 tag 1 timed_out\n"
      "ended write 8+1024 context 1 queue 1 tag 1 medium_error\n"
      "allocated read 3+512 context 1 queue 1 tag 1 ok\n"
      "issued read 3+512 context 1 queue 1 tag 1 ok\n"
      "ended read 3+512 context 1 queue 1 tag 1 ok\n");
  EXPECT_EQ(ends.statuses, std::vector{Status::medium_error});
  EXPECT_EQ(bench.disk->counters().timed_out_requests, 1U);
}

TEST_F(EachTrace, NamesAPrivateRequest) {
  auto idle = bench.disk->allocate_private(bench.context(1), mq::Op::driver_in, true);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(bench.context(1), *std::move(idle), {});
  expect(
      "allocated driver_in 0+0 context 1 queue 1 tag 0 ok\n"
      "issued driver_in 0+0 context 1 queue 1 tag 0 ok\n"
      "ended driver_in 0+0 context 1 queue 1 tag 0 ok\n");
}

// Goal: the rest of a request that new limits cut is another request with the same tag.
TEST_F(EachTrace, NamesThePartsOfARequestThatWasCut) {
  requeue(bio);
  bench.run([&](mq::Control& control) { bench.disk->set_limits(control, {.max_sectors = 1}); });
  text.clear();
  bench.unquiesce();
  expect(
      "issued write 8+512 context 1 queue 1 tag 1 ok\n"
      "ended write 8+512 context 1 queue 1 tag 1 ok\n"
      "allocated write 9+512 context 1 queue 1 tag 1 ok\n"
      "issued write 9+512 context 1 queue 1 tag 1 ok\n"
      "ended write 9+512 context 1 queue 1 tag 1 ok\n");
}

// Goal: a request that moves to another queue gets a tag of that queue.
TEST_F(EachTrace, NamesTheNewPlaceOfARequestThatMoved) {
  requeue(other.bio);
  bench.set_queue_count(1);
  text.clear();
  bench.unquiesce();
  expect(
      "allocated read 3+512 context 1 queue 0 tag 1 ok\n"
      "issued read 3+512 context 1 queue 0 tag 1 ok\n"
      "ended read 3+512 context 1 queue 0 tag 1 ok\n");
}

// Goal: the trace reports each lookup with its queue, its value and the reason of a refusal.
TEST(Trace, ReportsLookupsAndTheirReasons) {
  Bench bench{{.capacity_sectors = 1024}};
  std::vector<mq::TraceEvent> events;
  bench.disk->set_trace({[](void* self, const mq::TraceEvent& event) {
                           static_cast<std::vector<mq::TraceEvent>*>(self)->push_back(event);
                         },
                         &events});
  EXPECT_FALSE(bench.disk->hw_queue(blkown::QueueIndex{0}).claim(0xFFFF'FFFF).has_value());
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].step, mq::TraceStep::looked_up);
  EXPECT_EQ(events[0].queue, blkown::QueueIndex{0});
  EXPECT_EQ(events[0].value, 0xFFFF'FFFFU);
  EXPECT_EQ(events[0].reason, blkown::LookupReason::no_such_queue);
  bench.disk->set_trace({});
}

std::string table_of(mq::Disk<fake::Driver>& disk) {
  std::FILE* const file = std::tmpfile();
  disk.print_in_flight(file);
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

// Goal: the table shows the holder of each request, and for requests with the device their
// operation and age.
TEST(InFlightTable, NamesTheHolderOfEachState) {
  using State = blkown::RequestState;
  struct Row {
    State state;
    const char* holder;
    std::uint32_t pins;
  };
  const Row rows[] = {{{.count = 0}, "not started", 0},
                      {{.count = 0, .owned = true}, "owned", 0},
                      {{.count = 1}, "with the device", 0},
                      {{.count = 3}, "shared", 2},
                      {{.count = 2, .claimed = true}, "claimed, pinned", 0},
                      {{.count = 3, .claimed = true}, "claimed, pinned", 1},
                      {{.count = 2, .finished = true}, "ended, pinned", 1}};
  for (const Row& row : rows) {
    EXPECT_STREQ(mq::holder_of(row.state), row.holder);
    EXPECT_EQ(mq::pins_of(row.state), row.pins) << row.holder;
  }
}

TEST(InFlightTable, ShowsTheHolderOfEachRequest) {
  Bench bench{{.capacity_sectors = 1024, .timeout_ms = 1000}};
  bench.driver.next = {Mode::publish, Mode::keep, Mode::publish, Mode::publish};
  Read parked{8}, owned{9}, pinned{10}, claimed{11};
  for (Read* read : {&parked, &owned, &pinned, &claimed}) {
    bench.disk->submit(bench.context(), read->bio);
  }
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  {
    const auto pin = hw.tag_to_rq(bench.driver.published[1].second);
    auto claim = hw.claim(bench.driver.published[2].second);
    ASSERT_TRUE(pin.has_value() && claim.has_value());
    const auto held = claim->pin();
    const std::string before = table_of(*bench.disk);
    EXPECT_NE(before.find(": with the device, pins 0, read of 512 bytes at sector 8\n"),
              std::string::npos)
        << before;
    EXPECT_NE(before.find(": owned, pins 0\n"), std::string::npos) << before;
    EXPECT_NE(before.find(": shared, pins 1, read of 512 bytes at sector 10\n"), std::string::npos)
        << before;
    EXPECT_NE(before.find(": claimed, pinned, pins 1\n"), std::string::npos) << before;
    bench.clock.pass_ms(250);
    bench.runtime.run();  // a timeout scan finds the requests
    bench.clock.pass_ms(70);
    EXPECT_NE(table_of(*bench.disk).find("at sector 8, for 70 ms\n"), std::string::npos)
        << table_of(*bench.disk);
    std::move(*claim).end_ok();
    EXPECT_NE(
        table_of(*bench.disk).find(": ended, pinned, pins 1, read of 512 bytes at sector 11\n"),
        std::string::npos)
        << table_of(*bench.disk);
  }
  std::move(bench.driver.kept.front()).end_ok();
  bench.driver.kept.clear();
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(table_of(*bench.disk), "");
}

std::string waiting_in(mq::Disk<fake::Driver>& disk) {
  const std::string table = table_of(disk);
  const std::size_t at = table.find("context ");
  return at == std::string::npos ? "" : table.substr(table.rfind('\n', at) + 1);
}

// Goal: the table shows the bios that wait: how many, for what, and the first of them.
TEST(InFlightTable, ShowsTheBiosThatWait) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.mode = Mode::publish;
  std::vector<Read> reads;
  reads.reserve(8);
  const auto submit = [&](std::uint64_t sector) {
    bench.disk->submit(bench.context(), reads.emplace_back(sector).bio);
  };
  const auto shows = [&](const std::string& line) {
    EXPECT_EQ(waiting_in(*bench.disk), "queue 0 context 0: " + line + "\n");
  };
  submit(8);
  EXPECT_EQ(waiting_in(*bench.disk), "");
  submit(9);
  shows("1 bio waits for a tag, first a read of 512 bytes at sector 9");
  submit(10);
  shows("2 bios wait for a tag, first a read of 512 bytes at sector 9");
  bench.driver.reap(bench.data());
  bench.runtime.run();
  shows("1 bio waits for a tag, first a read of 512 bytes at sector 10");

  mq::Control freeze{{}}, quiesce{{}};
  bench.disk->quiesce(quiesce);
  bench.runtime.run();
  shows("1 bio waits for the unquiesce of the disk, first a read of 512 bytes at sector 10");
  bench.disk->freeze(freeze);
  bench.runtime.run();
  shows("1 bio waits for the thaw of the disk, first a read of 512 bytes at sector 10");
  bench.driver.reap(bench.data());
  bench.runtime.run();
  submit(11);
  shows("2 bios wait for the thaw of the disk, first a read of 512 bytes at sector 10");
  bench.thaw();
  shows("2 bios wait for the unquiesce of the disk, first a read of 512 bytes at sector 10");
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  hw.stop();
  bench.unquiesce();
  shows("2 bios wait for the start of the stopped queue, first a read of 512 bytes at sector 10");
  bench.driver.next = {Mode::busy};
  hw.start();
  bench.runtime.run();
  shows(
      "1 bio waits for the driver, which has refused a request as busy, first a read of 512 bytes"
      " at sector 11");
  bench.remove();
}

TEST(InFlightTable, ShowsABioThatWaitsBehindRequeuedRequests) {
  Bench bench{{.capacity_sectors = 1024}};
  bench.driver.next = {Mode::keep, Mode::keep};
  Read requeued{8}, ended{9}, waiting{10};
  std::string shown;
  ended.ends.then = [&](mq::Bio&) {
    bench.disk->submit(waiting.bio);
    shown = waiting_in(*bench.disk);
  };
  for (Read* read : {&requeued, &ended}) bench.disk->submit(bench.context(), read->bio);
  std::move(bench.driver.kept[0]).requeue();
  std::move(bench.driver.kept[1]).end_ok();
  bench.driver.kept.clear();
  bench.runtime.run();
  EXPECT_EQ(shown,
            "queue 0 context 0: 1 bio waits behind requests that are issued again, first a read of"
            " 512 bytes at sector 10\n");
  EXPECT_EQ(waiting.ends.count, 1);
}

// Goal: a row shows the place and the operation of its request, each in its place.
TEST(InFlightTable, ShowsThePlaceAndTheOperation) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 2, .depth = 3, .reserved_depth = 2}, 2};
  bench.driver.mode = Mode::publish;
  std::vector<std::byte> memory(1024);
  Ends ends;
  mq::Bio bio = mq::Bio::write(7, whole(memory), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(1), bio);
  const std::string table = table_of(*bench.disk);
  EXPECT_EQ(table.find("queue 1 tag 2 generation "), 0U) << table;
  EXPECT_NE(table.find(": with the device, pins 0, write of 1024 bytes at sector 7\n"),
            std::string::npos)
      << table;
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: the age of a row of waiting bios is the time since a scan first found its first bio at the
// head. A bio that moves up has an age of its own.
TEST(InFlightTable, ShowsForHowLongTheFirstBioHasWaited) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1, .timeout_ms = 1000}};
  bench.driver.mode = Mode::publish;
  Read held{8}, first{9}, second{10};
  for (Read* read : {&held, &first, &second}) bench.disk->submit(bench.context(), read->bio);
  const std::string waits =
      "queue 0 context 0: 2 bios wait for a tag, first a read of 512 bytes at sector 9";
  EXPECT_EQ(waiting_in(*bench.disk), waits + "\n");
  bench.clock.pass_ms(250);
  bench.runtime.run();  // a timeout scan finds the requests and the bios
  bench.clock.pass_ms(70);
  EXPECT_EQ(waiting_in(*bench.disk), waits + ", for 70 ms\n");
  bench.clock.pass_ms(230);
  bench.runtime.run();  // another scan
  EXPECT_EQ(waiting_in(*bench.disk), waits + ", for 300 ms\n");

  bench.driver.reap(bench.data());
  bench.runtime.run();
  const std::string last =
      "queue 0 context 0: 1 bio waits for a tag, first a read of 512 bytes at sector 10";
  EXPECT_EQ(waiting_in(*bench.disk), last + "\n");
  bench.clock.pass_ms(250);
  bench.runtime.run();
  EXPECT_EQ(waiting_in(*bench.disk), last + ", for 0 ms\n");
  for (int i = 0; i != 2; ++i) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(table_of(*bench.disk), "");
  bench.remove();
}

// Goal: bios that a Plug collects are not shown, because that would cost each of them. The table
// shows the Plug.
TEST(InFlightTable, ShowsAPlug) {
  Bench bench{{.capacity_sectors = 1024}};
  bench.driver.mode = Mode::publish;
  Read read{8};
  const std::string line = "context 0: a Plug collects bios, which are not shown until it ends\n";
  {
    const mq::Disk<fake::Driver>::Plug outer{*bench.disk, bench.context()};
    EXPECT_EQ(table_of(*bench.disk), line);
    {
      const mq::Disk<fake::Driver>::Plug inner{*bench.disk, bench.context()};
      bench.disk->submit(bench.context(), read.bio);
    }
    EXPECT_EQ(table_of(*bench.disk), line);
  }
  EXPECT_EQ(table_of(*bench.disk).find("Plug"), std::string::npos);
  EXPECT_NE(table_of(*bench.disk).find("sector 8"), std::string::npos);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  bench.remove();
}

// Goal: bios that move to other queues, or that a removal fails, are not shown where they were.
TEST(InFlightTable, ShowsABioWhereItWaitsAndNoLonger) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 1, .max_normal_queues = 2, .depth = 4},
              2};
  bench.set_queue_count(2);
  bench.quiesce();
  Read read{8};
  bench.disk->submit(bench.context(1), read.bio);
  const char* rest =
      "bio waits for the unquiesce of the disk, first a read of 512 bytes at sector 8\n";
  EXPECT_EQ(waiting_in(*bench.disk), std::string{"queue 1 context 1: 1 "} + rest);
  bench.set_queue_count(1);
  EXPECT_EQ(waiting_in(*bench.disk), std::string{"queue 0 context 1: 1 "} + rest);
  bench.run([&](mq::Control& control) { bench.disk->remove(control); });
  EXPECT_EQ(read.bio.status(), blkown::Status::offline);
  EXPECT_EQ(table_of(*bench.disk), "");
  bench.disk.reset();
}

// Goal: an age is the time since a scan first found the publication: also after the hook has
// answered `handled` or `rearm`, and whichever disk of a shared pool prints it, with another
// timeout and another clock.
TEST(InFlightTable, AgesAreThoseOfThePublication) {
  using fake::Driver;
  auto pool = *mq::TagPool<Driver>::create({.depth = 4, .layout = blkown::CookieLayout::nbd()});
  Bench<> other{{.capacity_sectors = 1024, .depth = 4, .timeout_ms = 30'000}, 1, pool.get()};
  other.clock.pass_ms(5'000'000);
  Bench<> bench{{.capacity_sectors = 1024, .depth = 4, .timeout_ms = 100}, 1, pool.get()};
  ASSERT_TRUE(other.disk != nullptr && bench.disk != nullptr);
  bench.driver.mode = Mode::publish;
  bench.driver.on_timeout = [&](auto&, const auto&, const auto&) {
    return bench.driver.timeouts == 1 ? mq::TimeoutAction::rearm : mq::TimeoutAction::handled;
  };
  const auto pass = [&](int ms) {
    for (int i = 0; i != ms; ++i) {
      bench.clock.pass_ms(1);
      bench.runtime.run();
    }
  };
  Read read{8};
  bench.disk->submit(bench.context(), read.bio);
  pass(25);  // the first scan
  for (const int more : {70, 200, 800}) {
    pass(more);
    const int age = more == 70 ? 70 : more == 200 ? 270 : 1070;
    const std::string expected = "at sector 8, for " + std::to_string(age) + " ms\n";
    EXPECT_NE(table_of(*bench.disk).find(expected), std::string::npos) << table_of(*bench.disk);
    EXPECT_NE(table_of(*other.disk).find(expected), std::string::npos) << table_of(*other.disk);
  }
  EXPECT_EQ(bench.driver.timeouts, 2);
  // Published again: a new publication, which no scan has seen.
  const auto [hw, value] = bench.driver.published.front();
  bench.driver.published.clear();
  auto claim = hw->claim(value);
  ASSERT_TRUE(claim.has_value());
  std::move(*claim).publish(
      [&, its = hw](blkown::Cookie next) { bench.driver.published.push_back({its, next.value}); });
  EXPECT_NE(table_of(*bench.disk).find("at sector 8\n"), std::string::npos)
      << table_of(*bench.disk);
  pass(30);
  EXPECT_EQ(table_of(*bench.disk).find("for 11"), std::string::npos) << table_of(*bench.disk);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  bench.remove();
  other.remove();
}

struct Lean {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<Lean> queue_rq(mq::HwQueue<Lean>&, QueueData&, blkown::Idle<mq::Request<Lean>> idle,
                              bool) {
    std::move(idle).start().end_ok();
    return mq::Dispatch<Lean>::accepted();
  }
};

// Goal: objects are as large as include/blkown/mq/README.md and bench/README.md state. A request
// takes two cache lines, and has no line that an I/O does not use. What several contexts reach, and
// what other threads write of a context, begins on pairs of lines, which costs a disk, a context
// and its side of a disk up to 128 bytes.
TEST(Memory, ObjectsAreAsLargeAsStated) {
  if constexpr (sizeof(void*) == 8) {
    EXPECT_EQ(sizeof(mq::Request<Lean>), BLKOWN_POISON ? 192U : 128U);
    EXPECT_LE(sizeof(mq::detail::PayloadState<Lean>), 88U);
    EXPECT_LE(sizeof(mq::Bio), 120U);
    EXPECT_LE(sizeof(mq::Disk<Lean>), 768U);
    EXPECT_LE(sizeof(mq::HwQueue<Lean>), 256U);
    EXPECT_LE(sizeof(blkown::detail::TagBitmap) + sizeof(blkown::detail::TagBitmap::Line), 192U);
    EXPECT_LE(sizeof(mq::Context), 384U);
    // 128 bytes are for the works of the stacks that other threads push to, on the stacks' line. 64
    // bytes are for the short way of a bio that is one request: each lane knows where its tags'
    // requests and their line are, and the issuer keeps all holds in one number. 128 bytes are for
    // the lanes' turns for several tags.
    EXPECT_LE(sizeof(mq::detail::SubmitQueue<Lean>), 2944U);
  }
}

}  // namespace
