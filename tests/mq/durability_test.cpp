// SPDX-License-Identifier: BSL-1.0
//
// Goal: what a disk has acknowledged as durable survives a power cut: with and without FUA in the
// device, split, requeued, reset, and on every hardware queue.
// Method: a device with a volatile cache (sim::CachedMedia), whose commands complete in the order
// that the test chooses. sim::DurabilityJudge compares what a power cut leaves with the promises.

#include <gtest/gtest.h>

#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/durability_judge.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mq/fake_driver.hpp"

namespace durability {
namespace {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::Status;

constexpr std::uint32_t capacity_sectors = 64;
constexpr mq::QueueLimits limits{
    .max_sectors = 4, .max_discard_sectors = 4, .max_write_zeroes_sectors = 4};

/// A driver of a device with a cache. Commands wait until the test completes them.
struct Driver : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    const mq::Payload<fake::Driver>& about = idle.data();
    steps += about.op() == mq::Op::flush  ? 'f'
             : about.op() == mq::Op::read ? 'r'
             : about.flags().fua          ? 'W'
                                          : 'w';
    has_preflush = has_preflush || about.flags().preflush;
    last_queue = hw.index().value;
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { commands.push_back({&hw, cookie.value}); });
    return Answer::accepted();
  }

  /// Executes the command in this place, and ends its request.
  void finish(std::size_t at = 0, Status status = Status::ok) {
    auto claim = take(at);
    if (status == Status::ok) execute(claim.data());
    std::move(claim).end(status);
  }
  /// Requeues the request of the command in this place, executed or not.
  void requeue(std::size_t at, bool is_executed = false) {
    auto claim = take(at);
    if (is_executed) execute(claim.data());
    std::move(claim).requeue();
  }

  /// The Claim of a command, which the device forgets.
  blkown::Claim<Rq> take(std::size_t at) {
    const auto [hw, value] = commands[at];
    commands.erase(commands.begin() + static_cast<std::ptrdiff_t>(at));
    return *hw->claim(value);
  }
  void execute(const mq::Payload<fake::Driver>& request) {
    std::uint64_t at_bytes = request.sector() * mq::sector_bytes;
    switch (request.op()) {
      case mq::Op::flush: EXPECT_TRUE(media.flush()); return;
      case mq::Op::read: return;
      case mq::Op::write:
        for (const blkown::Segment piece : request.segments()) {
          EXPECT_TRUE(media.write(at_bytes, {piece.data, piece.length_bytes}));
          at_bytes += piece.length_bytes;
        }
        break;
      default: EXPECT_TRUE(media.zero(at_bytes, request.length_bytes()));
    }
    if (!request.flags().fua) return;
    EXPECT_TRUE(media.flush_range(request.sector() * mq::sector_bytes, request.length_bytes()));
  }

  // In place of the medium in QueueData.
  sim::CachedMedia media{capacity_sectors * mq::sector_bytes};
  std::deque<std::pair<Hw*, std::uint64_t>> commands;
  std::string steps;  // of all requests: f flush, w write, W write with FUA, r read
  bool has_preflush = false;
  std::uint32_t last_queue = 0;
};

using Bench = fake::Bench<Driver>;

mq::DiskConfig config_of(bool write_cache, bool fua) {
  return {.capacity_sectors = capacity_sectors,
          .limits = limits,
          .write_cache = write_cache,
          .fua = fua};
}

/// A bio with its data, known to the judge.
struct Io {
  Io(sim::DurabilityJudge& its_judge, mq::Op op, std::uint64_t sector, std::size_t sectors,
     unsigned seed, mq::IoFlags flags, bool is_write_through)
      : judge{its_judge}, data{fake::pattern(sectors * mq::sector_bytes, seed)} {
    const mq::OnEnd<mq::Bio> on_end{&Io::on_end, this};
    if (op != mq::Op::write) std::ranges::fill(data, std::byte{0});
    switch (op) {
      case mq::Op::discard:
        bio.reset(new mq::Bio(mq::Bio::discard(sector, data.size(), on_end, flags)));
        break;
      case mq::Op::flush: bio.reset(new mq::Bio(mq::Bio::flush(on_end))); break;
      case mq::Op::write_zeroes:
        bio.reset(new mq::Bio(mq::Bio::write_zeroes(sector, data.size(), on_end, flags)));
        break;
      default: bio.reset(new mq::Bio(mq::Bio::write(sector, fake::whole(data), on_end, flags)));
    }
    const bool is_flush = op == mq::Op::flush;
    id = judge.begin({.sector = sector,
                      .data = is_flush ? std::span<const std::byte>{} : data,
                      .is_fua = flags.fua || is_write_through,
                      .is_flush = is_flush || flags.preflush});
  }
  static void on_end(void* self, mq::Bio& bio) {
    Io& io = *static_cast<Io*>(self);
    io.judge.end(io.id, bio.status() == Status::ok);
    io.status = bio.status();
  }
  sim::DurabilityJudge& judge;
  std::vector<std::byte> data;
  sim::DurabilityJudge::Id id{};
  std::unique_ptr<mq::Bio> bio;
  std::optional<Status> status;
};

/// A disk with its judge.
struct Durability : testing::Test {
  void open(const mq::DiskConfig& config, std::uint32_t contexts = 1) {
    is_write_through = !config.write_cache;
    bench = std::make_unique<Bench>(config, contexts);
    const auto mode = is_write_through ? sim::CacheMode::write_through : sim::CacheMode::write_back;
    media().~CachedMedia();
    new (&media()) sim::CachedMedia{capacity_sectors * mq::sector_bytes, mode};
    ios.clear();
    judge = std::make_unique<sim::DurabilityJudge>(capacity_sectors);
  }
  sim::CachedMedia& media() { return bench->driver.media; }

  Io& submit(mq::Op op, std::uint64_t sector, std::size_t sectors, mq::IoFlags flags = {},
             std::uint32_t context = 0) {
    ios.push_back(std::make_unique<Io>(*judge, op, sector, sectors,
                                       static_cast<unsigned>(ios.size()) + 1, flags,
                                       is_write_through));
    bench->disk->submit(bench->context(context), *ios.back()->bio);
    bench->runtime.run();
    return *ios.back();
  }
  Io& write(std::uint64_t sector, std::size_t sectors, mq::IoFlags flags = {},
            std::uint32_t context = 0) {
    return submit(mq::Op::write, sector, sectors, flags, context);
  }
  Io& flush(std::uint32_t context = 0) { return submit(mq::Op::flush, 0, 0, {}, context); }
  void complete(std::size_t at = 0, Status status = Status::ok) {
    bench->driver.finish(at, status);
    bench->runtime.run();
  }
  void complete_all() {
    while (!bench->driver.commands.empty()) complete();
  }
  /// The status of a bio that ends without a command. Not known to the judge.
  Status status_of(mq::Op op, std::uint64_t sector, std::size_t sectors) {
    std::vector<std::byte> data(sectors * mq::sector_bytes);
    mq::Bio bio = op == mq::Op::write_zeroes ? mq::Bio::write_zeroes(sector, data.size(), {})
                                             : mq::Bio::write(sector, fake::whole(data), {});
    bench->disk->submit(bench->context(), bio);
    complete_all();
    return bio.status();
  }
  /// Cuts the power several times, without effect on the run.
  void check(std::uint64_t seed = 0, std::uint64_t cuts = 32) {
    for (std::uint64_t i = 0; i != cuts; ++i) {
      const auto broken = judge->first_broken(media().after_power_cut(seed * cuts + i));
      ASSERT_EQ(broken, std::nullopt) << "a sector is not what was promised";
    }
  }
  std::string steps() { return std::exchange(bench->driver.steps, {}); }

  std::unique_ptr<sim::DurabilityJudge> judge;
  std::vector<std::unique_ptr<Io>> ios;
  std::unique_ptr<Bench> bench;
  bool is_write_through = false;
};

TEST_F(Durability, AFlushCoversTheBiosThatEndedBeforeItsSubmitOnEveryQueue) {
  for (const std::uint32_t flushing : {0U, 1U}) {
    mq::DiskConfig config = config_of(true, false);
    config.normal_queues = 2;
    open(config, 2);
    for (const std::uint32_t context : {0U, 1U}) {
      write(8 * context, 6, {}, context);
      EXPECT_EQ(bench->driver.last_queue, context);
      complete_all();
    }
    Io& in_flight = write(32, 4, {}, 1 - flushing);
    Io& its_flush = flush(flushing);
    complete(1);
    EXPECT_EQ(its_flush.status, Status::ok);
    check();
    complete();
    EXPECT_EQ(in_flight.status, Status::ok);
    check();
  }
}

TEST_F(Durability, FuaIsOnEveryPartOfASplitBio) {
  for (const mq::Op op : {mq::Op::write, mq::Op::write_zeroes}) {
    open(config_of(true, true));
    write(0, 16);
    Io& io = submit(op, 0, 14, {.fua = true});
    complete_all();
    EXPECT_EQ(io.status, Status::ok);
    EXPECT_EQ(steps(), "wwwwWWWW");
    check();
  }
}

TEST_F(Durability, WithoutFuaAFlushFollowsTheLastPart) {
  open(config_of(true, false));
  Io& io = write(0, 12, {.fua = true});
  EXPECT_EQ(steps(), "www");
  complete(2);
  complete(0);
  EXPECT_EQ(steps(), "") << "a part is in flight";
  complete();
  EXPECT_EQ(steps(), "f");
  EXPECT_FALSE(io.status.has_value());
  complete();
  EXPECT_EQ(io.status, Status::ok);
  check();
}

TEST_F(Durability, AFlushFollowsADiscardWithFuaBecauseNoDeviceObeysIt) {
  for (const bool fua : {false, true}) {
    open(config_of(true, fua));
    write(0, 8);
    complete_all();
    steps();
    Io& io = submit(mq::Op::discard, 0, 6, {.fua = true});
    complete_all();
    EXPECT_EQ(io.status, Status::ok);
    EXPECT_EQ(steps(), "wwf") << "the device has FUA: " << fua;
    check();
  }
}

TEST_F(Durability, APreflushEndsBeforeTheDataIsIssued) {
  for (const bool fua : {false, true}) {
    open(config_of(true, fua));
    write(0, 8);
    complete_all();
    steps();
    write(16, 8, {.preflush = true});
    EXPECT_EQ(steps(), "f");
    check();
    complete();
    EXPECT_EQ(steps(), "ww");
    complete(1);
    check();
    complete();
    check();
    EXPECT_FALSE(bench->driver.has_preflush) << "no driver gets the flag";
  }
}

TEST_F(Durability, AFailedPreflushFailsTheBioAndNothingIsWritten) {
  open(config_of(true, true));
  write(0, 4);
  complete_all();
  Io& io = write(16, 8, {.fua = true, .preflush = true});
  steps();
  complete(0, Status::medium_error);
  EXPECT_EQ(io.status, Status::medium_error);
  EXPECT_EQ(steps(), "");
  EXPECT_TRUE(bench->driver.commands.empty());
  check();
}

// Goal: a flush that stands for FUA is not sent for data that was not written, and the failure does
// not concern the flush of another bio behind it.
TEST_F(Durability, AFlushBehindAFailedFuaWriteCoversTheOthers) {
  open(config_of(true, false));
  write(32, 4);
  complete_all();
  steps();
  Io& fails = write(0, 8, {.fua = true});
  Io& its_flush = flush();
  EXPECT_EQ(steps(), "wwf");
  complete(0, Status::no_space);
  complete(0);
  EXPECT_EQ(fails.status, Status::no_space);
  EXPECT_EQ(steps(), "") << "no flush for a write that failed";
  EXPECT_FALSE(its_flush.status.has_value());
  complete();
  EXPECT_EQ(its_flush.status, Status::ok);
  check();
}

TEST_F(Durability, AFailedFlushInPlaceOfFuaFailsTheWrite) {
  open(config_of(true, false));
  Io& io = write(0, 4, {.fua = true});
  complete();
  complete(0, Status::transport_error);
  EXPECT_EQ(io.status, Status::transport_error);
  check();
}

TEST_F(Durability, WithoutAVolatileCacheNoFlushReachesTheDriver) {
  open(config_of(false, false));
  Io& io = write(0, 10, {.fua = true, .preflush = true});
  complete_all();
  EXPECT_EQ(io.status, Status::ok);
  EXPECT_EQ(flush().status, Status::ok);
  submit(mq::Op::write_zeroes, 4, 4, {.fua = true, .preflush = true});
  complete_all();
  EXPECT_EQ(steps(), "wwww");
  check();
}

// --- requests that are issued again --------------------------------------------------------------

TEST_F(Durability, ARequeuedRequestKeepsItsFua) {
  for (const bool auto_kick : {false, true}) {
    mq::DiskConfig config = config_of(true, true);
    config.auto_kick = auto_kick;
    open(config);
    Io& io = write(0, 8, {.fua = true});
    bench->driver.requeue(1);
    bench->driver.requeue(0, true);
    bench->disk->kick_requeued();
    bench->runtime.run();
    complete_all();
    EXPECT_EQ(steps(), "WWWW");
    EXPECT_EQ(io.status, Status::ok);
    check();
  }
}

TEST_F(Durability, ARequeuedFlushIsAFlush) {
  open(config_of(true, false));
  write(32, 4);
  complete_all();
  steps();
  Io& io = write(0, 4, {.fua = true, .preflush = true});
  for (const char* const expected : {"f", "w", "f"}) {
    EXPECT_EQ(steps(), expected);
    bench->driver.requeue(0);
    bench->runtime.run();
    EXPECT_EQ(steps(), expected);
    EXPECT_FALSE(io.status.has_value());
    complete();
    check();
  }
  EXPECT_EQ(io.status, Status::ok);
}

// Goal: requests that a reset has requeued keep their kind on the queues that are left.
TEST_F(Durability, RequestsThatMoveToAnotherQueueKeepTheirFlags) {
  for (const bool fua : {false, true}) {
    mq::DiskConfig config = config_of(true, fua);
    config.normal_queues = config.max_normal_queues = 2;
    config.depth = 4;
    open(config, 2);
    for (const std::uint32_t context : {0U, 1U}) {
      write(16 * context, 8, {.fua = true}, context);
      write(16 * context + 8, 4, {.preflush = true}, context);
    }
    EXPECT_TRUE(bench->quiesce());
    while (!bench->driver.commands.empty()) bench->driver.requeue(0);
    bench->runtime.run();
    EXPECT_TRUE(bench->set_queue_count(1));
    const std::string before = steps();
    EXPECT_TRUE(bench->unquiesce());
    bench->runtime.run();
    while (!bench->driver.commands.empty()) {
      EXPECT_EQ(bench->driver.last_queue, 0U);
      complete();
      check(1, 4);
    }
    for (const auto& io : ios) EXPECT_EQ(io->status, Status::ok);
    const std::string after = steps();
    EXPECT_EQ(std::ranges::count(after, 'W'), fua ? 4 : 0) << after;
    EXPECT_EQ(std::ranges::count(after, 'f'), fua ? 2 : 4) << after;
    check();
  }
}

// --- the end of the disk, and bios that are submitted again --------------------------------------

TEST_F(Durability, ABioMayEndAtTheEndOfTheDiskAndNotOneSectorBehind) {
  for (const mq::Op op : {mq::Op::write, mq::Op::write_zeroes}) {
    for (const std::size_t sectors : {1U, 3U, 4U, 5U, 9U}) {
      open(config_of(true, true));
      Io& inside = submit(op, capacity_sectors - sectors, sectors, {.fua = true});
      complete_all();
      EXPECT_EQ(inside.status, Status::ok);
      steps();
      EXPECT_EQ(status_of(op, capacity_sectors - sectors + 1, sectors), Status::invalid);
      EXPECT_EQ(status_of(op, capacity_sectors, sectors), Status::invalid);
      EXPECT_EQ(steps(), "") << "nothing is issued";
    }
  }
}

TEST_F(Durability, ABioThatFailedEndsWithItsNewStatus) {
  open(config_of(true, false));
  for (const std::size_t failing : {0U, 1U, 2U, 3U}) {
    // The preflush, a part, the other part, and the flush in place of FUA.
    fake::Ends ends;
    std::vector<std::byte> data = fake::pattern(8 * mq::sector_bytes, 1);
    mq::Bio bio = mq::Bio::write(0, fake::whole(data), {&fake::Ends::on_end, &ends},
                                 {.fua = true, .preflush = true});
    for (const bool fails : {true, false, true}) {
      bench->disk->submit(bench->context(), bio);
      for (std::size_t step = 0; !bench->driver.commands.empty(); ++step) {
        complete(0, fails && step == failing ? Status::medium_error : Status::ok);
      }
    }
    EXPECT_EQ(ends.statuses, (std::vector{Status::medium_error, Status::ok, Status::medium_error}));
  }
}

TEST_F(Durability, ABioThatWasRefusedEndsWithItsNewStatus) {
  open(config_of(true, false));
  fake::Ends ends;
  std::vector<std::byte> data = fake::pattern(4 * mq::sector_bytes, 1);
  mq::Bio bio = mq::Bio::write(0, fake::whole(data), {&fake::Ends::on_end, &ends});
  bench->disk->set_read_only(true);
  bench->disk->submit(bench->context(), bio);
  bench->disk->set_read_only(false);
  bench->disk->submit(bench->context(), bio);
  complete_all();
  EXPECT_EQ(ends.statuses, (std::vector{Status::not_supported, Status::ok}));
}

// --- at random -----------------------------------------------------------------------------------

/// One run: overlapping bios from two contexts to two queues, whose commands complete in any order,
/// fail or are requeued, and resets with and without a change of queues.
class RandomDurability : public Durability {
 protected:
  void run(std::uint64_t seed) {
    dice_ = sim::Random{seed};
    mq::DiskConfig config = config_of(seed % 4 != 3, seed % 4 == 1);
    config.normal_queues = config.max_normal_queues = 2;
    config.depth = 6;
    config.shared_tags = seed % 8 > 3;
    open(config, 2);
    for (std::uint64_t i = 0; i != 200 && !HasFatalFailure(); ++i) {
      act();
      check(seed * 1000 + i, 2);
    }
    complete_all();
    for (const auto& io : ios) EXPECT_TRUE(io->status.has_value());
    check(seed);
  }

 private:
  void act() {
    const std::uint64_t choice = dice_.below(64);
    if (choice == 0) return reset();
    const std::size_t count = bench->driver.commands.size();
    if (choice < 24 || count == 0) return submit_any();
    const auto at = static_cast<std::size_t>(dice_.below(count));
    if (choice < 32) {
      bench->driver.requeue(at, dice_.chance(1, 2));
      bench->runtime.run();
    } else {
      complete(at, choice < 35 ? Status::medium_error : Status::ok);
    }
  }
  void submit_any() {
    const auto sector = dice_.below(capacity_sectors);
    const auto most = capacity_sectors - sector < 12 ? capacity_sectors - sector : 12;
    const std::uint64_t kind = dice_.below(8);
    const mq::Op op = kind == 0 ? mq::Op::flush : kind == 1 ? mq::Op::write_zeroes : mq::Op::write;
    const mq::IoFlags flags{.fua = dice_.chance(1, 3), .preflush = dice_.chance(1, 6)};
    submit(op, sector, op == mq::Op::flush ? 0 : 1 + static_cast<std::size_t>(dice_.below(most)),
           op == mq::Op::flush ? mq::IoFlags{} : flags, static_cast<std::uint32_t>(dice_.below(2)));
  }
  void reset() {
    EXPECT_TRUE(bench->quiesce());
    while (!bench->driver.commands.empty()) bench->driver.requeue(0, dice_.chance(1, 4));
    bench->runtime.run();
    const auto queues = 1 + static_cast<std::uint32_t>(dice_.below(2));
    EXPECT_TRUE(bench->set_queue_count(queues));
    EXPECT_TRUE(bench->unquiesce());
    bench->runtime.run();
  }

  sim::Random dice_{0};
};

TEST_F(RandomDurability, SurvivesAPowerCutAtAnyMoment) {
  for (std::uint64_t seed = 0; seed != 16 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    run(seed);
  }
}

}  // namespace
}  // namespace durability
