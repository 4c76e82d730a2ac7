// SPDX-License-Identifier: BSL-1.0
//
// Tests of Disk: accepted and refused bios, splitting, flushes, and ends.

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;

TEST(Disk, ReadsWhatWasWritten) {
  Bench bench;
  Ends ends;
  auto data = fake::pattern(8192, 1);
  std::vector<std::byte> back(8192);
  mq::Bio write = mq::Bio::write(16, whole(data), {&Ends::on_end, &ends});
  mq::Bio read = mq::Bio::read(16, whole(back), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), write);
  bench.disk->submit(bench.context(), read);
  EXPECT_EQ(ends.statuses, (std::vector{Status::ok, Status::ok}));
  EXPECT_EQ(back, data);
  EXPECT_FALSE(write.is_in_flight());
}

TEST(Disk, MovesScatteredMemory) {
  Bench bench;
  Ends ends;
  auto data = fake::pattern(4096, 2);
  std::vector<std::byte> a(1000), b(96), c(3000);
  const std::vector<Segment> parts{whole(a), whole(b), whole(c)};
  mq::Bio write = mq::Bio::write(0, whole(data), {&Ends::on_end, &ends});
  mq::Bio read = mq::Bio::read(0, parts, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), write);
  bench.disk->submit(bench.context(), read);
  ASSERT_EQ(ends.count, 2);
  std::vector<std::byte> joined = a;
  joined.insert(joined.end(), b.begin(), b.end());
  joined.insert(joined.end(), c.begin(), c.end());
  EXPECT_EQ(joined, data);
}

// Goal: a bio that cannot succeed takes no tag and still ends once.
TEST(Disk, RefusesBeforeATagIsTaken) {
  Bench bench{{.capacity_sectors = 1024, .logical_block_bytes = 1024, .io_min_bytes = 4096}};
  std::vector<std::byte> memory(4096);
  const auto status_of = [&](std::uint64_t sector, std::size_t length_bytes) {
    Ends ends;
    mq::Bio bio =
        mq::Bio::read(sector, Segment{memory.data(), length_bytes}, {&Ends::on_end, &ends});
    bench.disk->submit(bench.context(), bio);
    EXPECT_EQ(ends.count, 1);
    return bio.status();
  };
  EXPECT_EQ(status_of(0, 1024), Status::ok);
  EXPECT_EQ(status_of(1022, 1024), Status::ok);
  EXPECT_EQ(status_of(0, 0), Status::invalid) << "no data";
  EXPECT_EQ(status_of(1, 1024), Status::invalid) << "off the block boundary";
  EXPECT_EQ(status_of(0, 512), Status::invalid) << "half a block";
  EXPECT_EQ(status_of(1024, 1024), Status::invalid) << "beyond the end";
  EXPECT_EQ(status_of(1022, 2048), Status::invalid) << "across the end";
  EXPECT_EQ(status_of(~std::uint64_t{0} - 1, 1024), Status::invalid) << "far beyond the end";
  EXPECT_EQ(bench.driver.calls, 2);
  EXPECT_EQ(bench.disk->counters().started_requests, 2U);
  EXPECT_EQ(bench.disk->counters().ended_bios, 8U);
}

TEST(Disk, RefusesUnsupportedOperations) {
  Bench bench{{.capacity_sectors = 1024, .read_only = true}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio write = mq::Bio::write(0, whole(memory), {&Ends::on_end, &ends});
  mq::Bio zeroes = mq::Bio::write_zeroes(0, 512, {&Ends::on_end, &ends});
  mq::Bio read = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  for (mq::Bio* bio : {&write, &zeroes, &read}) bench.disk->submit(bench.context(), *bio);
  EXPECT_EQ(ends.statuses, (std::vector{Status::not_supported, Status::not_supported, Status::ok}));

  Bench plain;
  Ends others;
  mq::Bio discard = mq::Bio::discard(0, 512, {&Ends::on_end, &others});
  mq::Bio reset = mq::Bio::zone(mq::Op::zone_reset, 0, {&Ends::on_end, &others});
  plain.disk->submit(plain.context(), discard);
  plain.disk->submit(plain.context(), reset);
  EXPECT_EQ(others.statuses, (std::vector{Status::not_supported, Status::not_supported}));
}

TEST(Disk, SplitsALongBioAndEndsItOnce) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 8}}};
  Ends ends;
  auto data = fake::pattern(40 * 512, 3);
  std::vector<std::byte> back(data.size());
  mq::Bio write = mq::Bio::write(100, whole(data), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), write);
  ASSERT_EQ(bench.driver.seen.size(), 5U);
  for (std::size_t i = 0; i != 5; ++i) {
    EXPECT_EQ(bench.driver.seen[i].sector, 100 + 8 * i);
    EXPECT_EQ(bench.driver.seen[i].length_bytes, 4096U);
    EXPECT_EQ(bench.driver.seen[i].is_last, i == 4) << "one doorbell for all parts";
  }
  mq::Bio read = mq::Bio::read(100, whole(back), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), read);
  EXPECT_EQ(ends.count, 2);
  EXPECT_EQ(back, data);
}

TEST(Disk, ABioEndsWithTheFirstFailureOfItsParts) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 1}}};
  bench.driver.mode = Mode::publish;
  Ends ends;
  std::vector<std::byte> memory(4 * 512);
  mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  bench.driver.reap(bench.data(), 1);
  bench.driver.reap(bench.data(), 1, Status::medium_error);
  bench.driver.reap(bench.data(), 1, Status::timed_out);
  bench.runtime.run();
  EXPECT_EQ(ends.count, 0) << "one part is in flight";
  bench.driver.reap(bench.data(), 1);
  bench.runtime.run();
  EXPECT_EQ(ends.statuses, std::vector{Status::medium_error});
}

TEST(Disk, ABioThatNoRequestCanHoldEndsAsInvalid) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_segments = 1}}};
  Ends ends;
  std::vector<std::byte> a(512 + 200), b(312);
  const std::vector<Segment> parts{whole(a), whole(b)};
  mq::Bio bio = mq::Bio::read(0, parts, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(ends.statuses, std::vector{Status::invalid});
  EXPECT_EQ(bench.driver.calls, 1) << "the first block was read";
  EXPECT_EQ(bench.disk->counters().in_flight(), 0U);
}

// Goal: a write is durable on devices with and without a volatile cache, and with and without FUA.
TEST(Disk, FlushesAroundAWriteAsTheDeviceNeeds) {
  std::vector<std::byte> memory(512);
  const auto ops_of = [&](bool write_cache, bool fua, mq::IoFlags flags) {
    Bench bench{{.capacity_sectors = 1024, .write_cache = write_cache, .fua = fua}};
    Ends ends;
    mq::Bio bio = mq::Bio::write(0, whole(memory), {&Ends::on_end, &ends}, flags);
    bench.disk->submit(bench.context(), bio);
    bench.runtime.run();
    EXPECT_EQ(ends.statuses, std::vector{Status::ok});
    std::string ops;
    for (const fake::Seen& seen : bench.driver.seen) {
      EXPECT_FALSE(seen.flags.preflush);
      ops += seen.op == mq::Op::flush ? 'f' : (seen.flags.fua ? 'W' : 'w');
    }
    return ops;
  };
  constexpr mq::IoFlags both{.fua = true, .preflush = true};
  EXPECT_EQ(ops_of(false, false, both), "w");
  EXPECT_EQ(ops_of(true, false, {}), "w");
  EXPECT_EQ(ops_of(true, false, {.preflush = true}), "fw");
  EXPECT_EQ(ops_of(true, false, {.fua = true}), "wf");
  EXPECT_EQ(ops_of(true, false, both), "fwf");
  EXPECT_EQ(ops_of(true, true, {.fua = true}), "W");
  EXPECT_EQ(ops_of(true, true, both), "fW");
}

TEST(Disk, AFailedPreflushEndsTheBioWithoutItsData) {
  Bench bench{{.capacity_sectors = 1024, .write_cache = true}};
  bench.driver.mode = Mode::publish;
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio bio =
      mq::Bio::write(0, whole(memory), {&Ends::on_end, &ends}, {.fua = true, .preflush = true});
  bench.disk->submit(bench.context(), bio);
  ASSERT_EQ(bench.driver.seen.size(), 1U);
  EXPECT_EQ(bench.driver.seen[0].op, mq::Op::flush);
  bench.driver.reap(bench.data(), 1, Status::io_error);
  bench.runtime.run();
  EXPECT_EQ(ends.statuses, std::vector{Status::io_error});
  EXPECT_EQ(bench.driver.seen.size(), 1U);
}

TEST(Disk, AFlushWithoutAVolatileCacheEndsAtOnce) {
  Bench bench;
  Ends ends;
  mq::Bio bio = mq::Bio::flush({&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(ends.statuses, std::vector{Status::ok});
  EXPECT_EQ(bench.driver.calls, 0);
}

TEST(Disk, PassesZoneOperationsThrough) {
  Bench bench{{.capacity_sectors = 1024,
               .limits = {.max_zone_append_sectors = 8},
               .zoned = true,
               .zone_sectors = 256}};
  Ends ends;
  std::vector<std::byte> memory(8 * 512);
  const std::vector<Segment> parts{whole(memory)};
  mq::Bio open = mq::Bio::zone(mq::Op::zone_open, 256, {&Ends::on_end, &ends});
  mq::Bio append = mq::Bio::zone_append(512, parts, {&Ends::on_end, &ends});
  mq::Bio inside = mq::Bio::zone(mq::Op::zone_reset, 257, {&Ends::on_end, &ends});
  mq::Bio behind = mq::Bio::zone(mq::Op::zone_reset, 1024, {&Ends::on_end, &ends});
  for (mq::Bio* bio : {&open, &append, &inside, &behind}) {
    bench.disk->submit(bench.context(), *bio);
  }
  EXPECT_EQ(ends.count, 4);
  EXPECT_EQ(open.status(), Status::ok);
  EXPECT_EQ(append.status(), Status::ok);
  EXPECT_EQ(inside.status(), Status::invalid) << "not the first sector of a zone";
  EXPECT_EQ(behind.status(), Status::invalid);
  ASSERT_EQ(bench.driver.seen.size(), 2U);
  EXPECT_EQ(bench.driver.seen[0].op, mq::Op::zone_open);
  EXPECT_EQ(bench.driver.seen[0].sector, 256U);
}

// Goal: a reset of all zones has one place, the disk's first sector, and a disk without zones has
// none.
TEST(Disk, PassesAResetOfAllZonesAtSectorZeroOnly) {
  Bench bench{{.capacity_sectors = 1024, .zoned = true, .zone_sectors = 256}};
  Bench flat{{.capacity_sectors = 1024}};
  Ends ends;
  mq::Bio all = mq::Bio::zone(mq::Op::zone_reset_all, 0, {&Ends::on_end, &ends});
  mq::Bio second = mq::Bio::zone(mq::Op::zone_reset_all, 256, {&Ends::on_end, &ends});
  for (mq::Bio* bio : {&all, &second}) bench.disk->submit(bench.context(), *bio);
  EXPECT_EQ(all.status(), Status::ok);
  EXPECT_EQ(second.status(), Status::invalid);
  ASSERT_EQ(bench.driver.seen.size(), 1U);
  EXPECT_EQ(bench.driver.seen[0].op, mq::Op::zone_reset_all);
  flat.disk->submit(flat.context(), all);
  EXPECT_EQ(all.status(), Status::not_supported);
  EXPECT_TRUE(flat.driver.seen.empty());
}

// Goal: an end callback may submit its bio again any number of times, and the callback does not
// recurse.
TEST(Disk, ABioIsSubmittedAgainFromItsOwnEnd) {
  Bench bench;
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  int depth = 0;
  int deepest = 0;
  ends.then = [&](mq::Bio& ended) {
    deepest = std::max(deepest, ++depth);
    if (ends.count < 100'000) bench.disk->submit(ended);
    --depth;
  };
  bench.disk->submit(bench.context(), bio);
  bench.runtime.run();
  EXPECT_EQ(ends.count, 100'000);
  EXPECT_EQ(deepest, 1);
}

TEST(Disk, ABioIsDestroyedInItsOwnEnd) {
  Bench bench;
  static int ended = 0;
  static std::vector<std::byte> memory(512);
  struct Own {
    mq::Bio bio = mq::Bio::read(0, whole(memory),
                                {[](void* self, mq::Bio&) {
                                   ++ended;
                                   delete static_cast<Own*>(self);
                                 },
                                 this});
  };
  ended = 0;
  bench.disk->submit(bench.context(), (new Own)->bio);
  EXPECT_EQ(ended, 1);
}

// Goal: requests that end on another context are taken in order, including one that ends while the
// submitting context takes the others.
TEST(Disk, TakesRequestsThatEndElsewhereDuringItsRun) {
  Bench bench{{.capacity_sectors = 1024, .depth = 64}, 2};
  bench.driver.mode = fake::Driver::Mode::publish;
  std::vector<std::byte> memory(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  for (int i = 0; i != 4; ++i) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(0), *bios.back());
  }
  ends.then = [&](mq::Bio&) {
    const mq::Context::Scope elsewhere{bench.context(1)};
    bench.driver.reap(bench.data(), 1);
  };
  bench.driver.reap(bench.data(), 2);
  bench.context(0).run();
  EXPECT_EQ(ends.order, (std::vector{bios[0].get(), bios[1].get(), bios[2].get(), bios[3].get()}));
}

TEST(Disk, InDeferredModeEndsComeWithTheContextsWork) {
  Bench bench{{.capacity_sectors = 1024, .completion = mq::CompletionMode::deferred}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(ends.count, 0);
  EXPECT_EQ(bench.driver.calls, 1);
  bench.runtime.run();
  EXPECT_EQ(ends.count, 1);
}

TEST(Disk, WithoutACompleteHookARequestGivenToItsContextEndsOk) {
  Bench bench;
  bench.driver.mode = Mode::publish;
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  const auto [hw, value] = bench.driver.published.front();
  auto claim = hw->claim(value);
  ASSERT_TRUE(claim.has_value());
  hw->complete(std::move(*claim));
  EXPECT_EQ(ends.count, 0) << "it ends on the context that submitted it";
  bench.runtime.run();
  EXPECT_EQ(ends.statuses, std::vector{Status::ok});
}

TEST(Disk, ABlockingDriverIsCalledFromWork) {
  Bench bench{{.capacity_sectors = 1024, .blocking = true}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio bio =
      mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, mq::IoFlags{.nowait = true});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bench.driver.calls, 0) << "submit never sleeps";
  bench.runtime.run();
  EXPECT_EQ(ends.statuses, std::vector{Status::ok});
}

TEST(Disk, TwoDisksOfOneDriverAreIndependent) {
  mq::LoopRuntime runtime;
  fake::Driver driver;
  auto a = *mq::Disk<fake::Driver>::create({.capacity_sectors = 8}, driver, runtime,
                                           {std::vector<std::byte>(4096)});
  auto b = *mq::Disk<fake::Driver>::create({.capacity_sectors = 16}, driver, runtime,
                                           {std::vector<std::byte>(8192)});
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio to_a = mq::Bio::read(10, whole(memory), {&Ends::on_end, &ends});
  mq::Bio to_b = mq::Bio::read(10, whole(memory), {&Ends::on_end, &ends});
  a->submit(runtime.context(0), to_a);
  b->submit(runtime.context(0), to_b);
  EXPECT_EQ(ends.statuses, (std::vector{Status::invalid, Status::ok}));
  for (auto* disk : {&a, &b}) {
    mq::Event gone;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &gone}};
    (*disk)->remove(control);
    ASSERT_TRUE(runtime.wait_for(gone));
  }
}

// Goal: the disk keeps the pointer to its name, so a caller may change the text while the disk
// exists.
TEST(Disk, KeepsThePointerToItsName) {
  char name[] = "ram0";
  Bench bench{{.name = name}};
  EXPECT_EQ(bench.disk->config().name, static_cast<const char*>(name));
  name[3] = '1';
  EXPECT_STREQ(bench.disk->config().name, "ram1");
}

// Goal: create() gives the field and the reason of errors outside of check_config.
TEST(Disk, CreateReportsItsError) {
  mq::LoopRuntime runtime;
  fake::Driver driver;
  using Disk = mq::Disk<fake::Driver>;
  auto made = Disk::create({.capacity_sectors = 0}, driver, runtime);
  ASSERT_FALSE(made.has_value());
  EXPECT_STREQ(made.error().field, "capacity_sectors");

  made =
      Disk::create({.capacity_sectors = 8, .depth = 8192, .layout = blkown::CookieLayout::nvme()},
                   driver, runtime);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().reason, mq::DiskReason::bad_tags);

  driver.refused_queue = 2;
  made = Disk::create({.capacity_sectors = 8, .normal_queues = 4}, driver, runtime);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().reason, mq::DiskReason::init_failed);
  EXPECT_EQ(made.error().given, static_cast<std::uint64_t>(Status::resource));
}

/// Reads on each context. Each read submits the next one in its end callback.
struct Endless {
  explicit Endless(std::uint32_t contexts) {
    config.capacity_sectors = 1024;
    bench.emplace(config, contexts);
    for (std::uint32_t i = 0; i != contexts; ++i) {
      reads.push_back(std::make_unique<Read>(8 * i));
      ends.push_back(0);
      reads[i]->ends.then = [this, i](mq::Bio& bio) {
        reads[i]->ends.statuses.clear();
        reads[i]->ends.order.clear();
        if (++ends[i] == event_after) event.set();
        if (!is_over) bench->disk->submit(bench->context(i), bio);
      };
      bench->disk->submit(bench->context(i), reads[i]->bio);
    }
  }
  ~Endless() {
    is_over = true;
    bench->runtime.run();
  }
  mq::DiskConfig config;
  std::optional<Bench<>> bench;
  std::vector<std::unique_ptr<Read>> reads;
  std::vector<int> ends;
  mq::Event event;
  int event_after = 0;
  bool is_over = false;
};

// Goal: a loop whose bios each submit the next one comes back: after a number of calls, at a time,
// or when an event is set. Each context gets its turns.
TEST(Disk, ALoopWhoseBiosSubmitTheNextOneComesBack) {
  for (const std::uint32_t contexts : {1U, 3U}) {
    Endless endless{contexts};
    auto& runtime = endless.bench->runtime;
    EXPECT_EQ(runtime.run_some(100), 100U);
    for (const int count : endless.ends) EXPECT_GT(count, 0);
    endless.ends[0] = 0;
    endless.event_after = 1000;
    EXPECT_TRUE(runtime.run_until(endless.event));
    endless.ends[0] = 0;
    mq::Event again;
    endless.reads[0]->ends.then = [&, then = endless.reads[0]->ends.then](mq::Bio& bio) {
      if (endless.ends[0] == 2000) again.set();
      endless.bench->clock.now_ns += 1000;
      then(bio);
    };
    EXPECT_TRUE(runtime.wait_for(again));
    const std::uint64_t deadline_ns = runtime.now_ns() + 1'000'000;
    EXPECT_GT(runtime.run_until(deadline_ns), 0U);
    EXPECT_GE(runtime.now_ns(), deadline_ns);
    EXPECT_EQ(runtime.run_until(deadline_ns), 0U) << "the time is over";
  }
}

}  // namespace
