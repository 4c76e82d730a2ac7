// SPDX-License-Identifier: BSL-1.0
//
// The short way of a bio that is one request, beside the long one. A disk with a trace sink never
// takes the short way, so the same I/O on a disk with and on one without a sink shows whether the
// two ways are one. Then each reason to hold a bio up, by itself.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {
namespace whole_bio {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using Mode = fake::Driver::Mode;

/// Writes down each request that the driver gets, with its memory.
struct Recording : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) override {
    const auto& about = idle.data();
    if (mq::detail::state_of(idle.data()).whole_lane != nullptr) ++wholes;
    log += "queue_rq " + std::string{to_string(about.op())} + ' ' + std::to_string(about.sector()) +
           '+' + std::to_string(about.length_bytes()) + " flags " + text(about.flags()) +
           (is_last ? " last" : "");
    for (const blkown::Segment piece : about.segments()) {
      log += ' ' + std::to_string(piece.data - memory) + ':' + std::to_string(piece.length_bytes);
    }
    log += '\n';
    return fake::Driver::queue_rq(hw, queue, std::move(idle), is_last);
  }
  void commit_rqs(Hw& hw, QueueData& queue) override {
    log += "commit_rqs\n";
    fake::Driver::commit_rqs(hw, queue);
  }
  static std::string text(mq::IoFlags flags) {
    return std::string{flags.fua ? "f" : ""} + (flags.preflush ? "p" : "") +
           (flags.polled ? "o" : "") + (flags.nowait ? "n" : "");
  }

  std::string log;
  std::multiset<std::string> second_ends;  // likewise, of bios that a callback submits
  std::string private_ends;                // their order among the ends of bios is open
  std::size_t wholes = 0;                  // the requests that took the short way
  const std::byte* memory = nullptr;
};

/// One of the two disks, with everything that can be seen of it in a text.
class Side {
 public:
  Side(const mq::DiskConfig& config, bool is_long) : bench{config, 2} {
    if (bench.disk == nullptr) return;
    bench.driver.on_timeout = [this](auto&, const auto& pin, const auto& cookie) {
      bench.driver.log += "timeout\n";
      if (auto right = blkown::claim(pin, cookie)) std::move(*right).end(Status::timed_out);
      return mq::TimeoutAction::handled;
    };
    bench.driver.memory = memory->bytes;
    if (is_long) {
      bench.disk->set_trace({.function = [](void*, const mq::TraceEvent&) {}, .argument = nullptr});
    }
  }
  ~Side() {
    if (bench.disk == nullptr) return;
    bench.driver.next.clear();
    bench.driver.mode = Mode::end;
    for (std::uint32_t i = 0; i != 2; ++i) bench.disk->hw_queue(blkown::QueueIndex{i}).start();
    while (!bench.driver.published.empty()) bench.driver.reap(bench.data());
    bench.runtime.run();
    bench.remove();
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  /// Its queue changes with the number of queues.
  mq::Context& context() { return bench.context(1); }

  struct Io {
    Side* side = nullptr;
    std::size_t number = 0;
    bool again = false;  // the callback submits the bio once more
    bool is_second = false;
    std::vector<blkown::Segment> segments;
    std::optional<mq::Bio> bio;
  };

  static void on_end(void* argument, mq::Bio& bio) {
    Io& io = *static_cast<Io*>(argument);
    auto& driver = io.side->bench.driver;
    const std::string text =
        "end " + std::to_string(io.number) + ' ' + to_string(bio.status()) + '\n';
    // Where a bio that is refused in a callback ends among the ends that are due is open.
    const bool is_again = io.again && io.side->submits_again;
    if (std::exchange(io.is_second, is_again)) {
      driver.second_ends.insert(text);
    } else {
      driver.log += text;
    }
    if (!is_again) return;
    io.again = false;
    io.side->bench.disk->submit(bio);
  }

  /// The counters, and what the driver and the submitter have seen since the last call. Not the
  /// number in flight: where the end of a bio is all that is left, its request is counted at once.
  std::string take_text() {
    const mq::Counters counts = bench.disk->counters();
    std::string text = std::exchange(bench.driver.log, {});
    text += std::exchange(bench.driver.private_ends, {});
    for (const std::string& end : std::exchange(bench.driver.second_ends, {})) text += end;
    text += "submitted " + std::to_string(counts.submitted_bios) + " ended " +
            std::to_string(counts.ended_bios) + " started " +
            std::to_string(counts.started_requests) + " requeued " +
            std::to_string(counts.requeued_requests) + '\n';
    return text;
  }

  /// At the same place in a page on both sides.
  struct alignas(4096) Memory {
    std::byte bytes[1 << 18];
  };
  std::unique_ptr<Memory> memory = std::make_unique<Memory>();
  Bench<Recording> bench;
  std::vector<std::unique_ptr<Io>> ios;
  // Where several requests end together, the place of a bio that a callback submits among the later
  // steps of other bios is open.
  bool submits_again = true;
};

/// The same choices for both sides.
class Choices {
 public:
  explicit Choices(std::uint64_t seed) : engine_{seed} {}
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  bool one_of(std::uint64_t count) { return below(count) == 0; }
  template <class T, std::size_t count>
  T any(const std::array<T, count>& values) {
    return values[static_cast<std::size_t>(below(count))];
  }

 private:
  std::mt19937_64 engine_;
};

constexpr std::uint64_t capacity_sectors = 256;

mq::QueueLimits limits_of(Choices& choices) {
  mq::QueueLimits limits;
  if (choices.one_of(2)) return limits;
  limits.max_sectors = choices.any(std::array<std::uint32_t, 3>{8, 16, 2560});
  limits.max_segments = choices.any(std::array<std::uint32_t, 3>{1, 2, 128});
  limits.max_segment_bytes = choices.any(std::array<std::uint32_t, 3>{4096, 8192, 65536});
  limits.virt_boundary_mask = choices.any(std::array<std::uint64_t, 2>{0, 4095});
  limits.max_discard_sectors = choices.any(std::array<std::uint64_t, 2>{0, 16});
  limits.max_write_zeroes_sectors = choices.any(std::array<std::uint64_t, 2>{0, 16});
  limits.dma_alignment_mask = choices.any(std::array<std::uint32_t, 2>{0, 3});
  limits.chunk_sectors = choices.any(std::array<std::uint64_t, 3>{0, 0, 32});
  return limits;
}

mq::DiskConfig config_of(Choices& choices) {
  mq::DiskConfig config;
  config.capacity_sectors = capacity_sectors;
  config.logical_block_bytes = choices.any(std::array<std::uint32_t, 2>{512, 4096});
  config.limits = limits_of(choices);
  config.write_cache = choices.one_of(2);
  config.fua = config.write_cache && choices.one_of(2);
  config.read_only = choices.one_of(8);
  config.depth = choices.any(std::array<std::uint32_t, 4>{1, 3, 16, 64});
  config.blocking = choices.one_of(8);
  config.completion =
      choices.one_of(8) ? mq::CompletionMode::deferred : mq::CompletionMode::immediate;
  config.auto_kick = !choices.one_of(4);
  config.normal_queues = choices.any(std::array<std::uint32_t, 2>{1, 2});
  config.max_normal_queues = 2;
  config.timeout_ms = 100;
  return config;
}

/// A bio as both sides submit it.
struct Wish {
  mq::Op op{};
  std::uint64_t sector = 0;
  std::vector<std::pair<std::size_t, std::size_t>> pieces;  // offset and length in bytes
  bool own_segment = false;
  bool again = false;
  mq::IoFlags flags;
};

/// A read or write of one block in one piece of memory.
Wish plain_wish_of(Choices& choices) {
  Wish wish;
  wish.op = choices.any(std::array{mq::Op::read, mq::Op::write});
  wish.sector = 8 * choices.below(capacity_sectors / 8);
  wish.pieces.emplace_back(static_cast<std::size_t>(4096 * choices.below(16)), 4096);
  wish.own_segment = choices.one_of(2);
  wish.again = choices.one_of(8);
  wish.flags = {.fua = choices.one_of(8), .nowait = choices.one_of(8)};
  return wish;
}

Wish wish_of(Choices& choices) {
  if (!choices.one_of(3)) return plain_wish_of(choices);
  Wish wish;
  wish.op = choices.any(std::array{mq::Op::read, mq::Op::read, mq::Op::write, mq::Op::write,
                                   mq::Op::flush, mq::Op::discard, mq::Op::write_zeroes});
  wish.sector = choices.one_of(16) ? ~choices.below(64)
                                   : choices.below(capacity_sectors + 16) & ~choices.below(8);
  const std::uint64_t count = choices.one_of(3) ? 1 + choices.below(3) : 1;
  wish.own_segment = count == 1 && choices.one_of(2);
  for (std::uint64_t i = 0; i != count; ++i) {
    const std::uint64_t at =
        choices.below(1 << 16) & ~(choices.one_of(4) ? 0 : choices.below(4096));
    const std::uint64_t bytes = choices.one_of(12) ? choices.below(5) : 512 * choices.below(40);
    wish.pieces.emplace_back(static_cast<std::size_t>(choices.one_of(2) ? at & ~4095ULL : at),
                             static_cast<std::size_t>(bytes));
  }
  wish.again = choices.one_of(8);
  wish.flags = {.fua = choices.one_of(4),
                .preflush = choices.one_of(6),
                .polled = choices.one_of(8),
                .nowait = choices.one_of(8)};
  return wish;
}

void submit(Side& side, const Wish& wish) {
  auto& io = *side.ios.emplace_back(std::make_unique<Side::Io>());
  io.side = &side;
  io.number = side.ios.size();
  io.again = wish.again;
  std::uint64_t bytes = 0;
  for (const auto& [at, length] : wish.pieces) {
    io.segments.push_back({side.memory->bytes + at, length});
    bytes += length;
  }
  const mq::OnEnd<mq::Bio> on_end{&Side::on_end, &io};
  const std::span<const blkown::Segment> all{io.segments};
  switch (wish.op) {
    case mq::Op::flush: io.bio.emplace(mq::Bio::flush(on_end, wish.flags)); break;
    case mq::Op::discard:
      io.bio.emplace(mq::Bio::discard(wish.sector, bytes, on_end, wish.flags));
      break;
    case mq::Op::write_zeroes:
      io.bio.emplace(mq::Bio::write_zeroes(wish.sector, bytes, on_end, wish.flags));
      break;
    case mq::Op::read:
      io.bio.emplace(wish.own_segment ? mq::Bio::read(wish.sector, all.front(), on_end, wish.flags)
                                      : mq::Bio::read(wish.sector, all, on_end, wish.flags));
      break;
    default:
      io.bio.emplace(wish.own_segment ? mq::Bio::write(wish.sector, all.front(), on_end, wish.flags)
                                      : mq::Bio::write(wish.sector, all, on_end, wish.flags));
  }
  side.bench.disk->submit(side.context(), *io.bio);
}
/// Where ends are deferred, whether a later refusal as busy comes before or after them is open.
void settle(Side& side) {
  if (side.bench.disk->config().completion == mq::CompletionMode::deferred)
    side.bench.runtime.run();
}

/// What is done to both sides between two submits.
struct Step {
  std::uint64_t kind = 0;
  std::uint64_t number = 0;
  mq::QueueLimits limits;
  std::vector<Wish> wishes;
};

void reap(Side& side, const Step& step) {
  const auto count = static_cast<std::size_t>(side.submits_again ? 1 : 1 + step.number % 8);
  const Status status = step.number % 5 == 0 ? Status::io_error : Status::ok;
  if (step.number % 3 == 0) return side.bench.driver.reap(side.bench.data(), count, status);
  const mq::Context::Scope here{side.context()};
  side.bench.driver.reap(side.bench.data(), count, status);
}

void submit_plugged(Side& side, const Step& step) {
  const fake::Driver::Disk::Plug plug{*side.bench.disk, side.context()};
  for (const Wish& wish : step.wishes) submit(side, wish);
}

void execute_private(Side& side) {
  auto idle = side.bench.disk->allocate_private(side.context(), mq::Op::driver_in, false);
  side.bench.driver.log += idle.has_value() ? "private request\n" : "no private request\n";
  if (!idle.has_value()) return;
  side.bench.disk->execute_private(side.context(), *std::move(idle),
                                   {[](void* its, mq::Payload<fake::Driver>& payload) {
                                      static_cast<Side*>(its)->bench.driver.private_ends +=
                                          std::string{"end private "} +
                                          to_string(payload.status()) + '\n';
                                    },
                                    &side});
}

/// Executes an operation on the disk. A freeze waits for what the driver has.
template <class Operation>
void operate(Side& side, Operation operation) {
  mq::Event done;
  mq::Control control{
      {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &done}};
  operation(*side.bench.disk, control);
  side.submits_again = false;
  for (int i = 0; i != 8 && control.is_running(); ++i) {
    side.bench.runtime.run();
    side.bench.driver.reap(side.bench.data());
  }
  side.bench.runtime.run();
  side.submits_again = true;
}
void pass_ms(Side& side, std::uint64_t time_ms) {
  side.bench.clock.pass_ms(time_ms);
  side.bench.runtime.run();
}
void choose_answers(Side& side, std::uint64_t number) {
  for (std::uint64_t i = 0; i != 1 + number % 4; ++i) {
    side.bench.driver.next.push_back(std::array{Mode::end, Mode::publish, Mode::busy, Mode::fail,
                                                Mode::requeue}[(number >> i) % 5]);
  }
}
/// Holds the disk once more, or lifts a hold if there is one.
template <class Hold, class Lift>
void change_hold(Side& side, const Step& step, int& holds, Hold hold, Lift lift) {
  if (step.number % 2 == 0 || holds == 0) {
    ++holds;
    return operate(side, hold);
  }
  --holds;
  operate(side, lift);
}

void take(Side& side, const Step& step, std::array<int, 2>& holds) {
  auto& disk = *side.bench.disk;
  auto& hw = disk.hw_queue(blkown::QueueIndex{static_cast<std::uint32_t>(step.number / 2 % 2)});
  switch (step.kind) {
    case 0:
      side.submits_again = step.number % 2 == 0;
      reap(side, step);
      side.bench.runtime.run();  // the order of these ends among later refusals is open
      side.submits_again = true;
      return;
    case 1: return submit_plugged(side, step);
    case 2: side.bench.runtime.run(); return;
    case 3: return choose_answers(side, step.number);
    case 4: side.bench.driver.mode = step.number % 2 == 0 ? Mode::end : Mode::publish; return;
    case 5: return step.number % 2 == 0 ? hw.stop() : hw.start();
    case 6:
      return change_hold(
          side, step, holds[0], [](auto& its, mq::Control& control) { its.freeze(control); },
          [](auto& its, mq::Control& control) { its.thaw(control); });
    case 7:
      return change_hold(
          side, step, holds[1], [](auto& its, mq::Control& control) { its.quiesce(control); },
          [](auto& its, mq::Control& control) { its.unquiesce(control); });
    case 8:
      return operate(
          side, [&](auto& its, mq::Control& control) { its.set_limits(control, step.limits); });
    case 9: static_cast<void>(disk.set_capacity(step.number % 2 == 0 ? 128 : 256)); return;
    case 10: disk.set_read_only(step.number % 4 == 0); return;
    case 11: disk.kick_requeued(); return;
    case 12:
      return operate(side, [&](auto& its, mq::Control& control) {
        its.set_queue_count(control, static_cast<std::uint32_t>(1 + step.number % 2));
      });
    case 13: return execute_private(side);
    case 14: return pass_ms(side, 200);
    default: return pass_ms(side, 5);
  }
}

struct Tally {
  std::size_t disks = 0;
  std::size_t bios = 0;
  std::size_t wholes = 0;
};

/// Runs the seed on both disks. Counts what the one with the short way had.
void compare(std::uint64_t seed, Tally& tally) {
  Choices choices{seed};
  const mq::DiskConfig config = config_of(choices);
  Side brief{config, false};
  Side full{config, true};
  if (brief.bench.disk == nullptr) return;
  std::array<std::array<int, 2>, 2> holds{};
  for (int i = 0; i != 120; ++i) {
    if (choices.one_of(2)) {
      const Wish wish = wish_of(choices);
      for (Side* side : {&brief, &full}) {
        submit(*side, wish);
        settle(*side);
      }
    } else {
      Step step{
          .kind = choices.below(17), .number = choices.below(1 << 16), .limits = {}, .wishes = {}};
      // Holds are lifted more often than they are set up.
      if (step.kind >= 5 && step.kind <= 7 && choices.one_of(2)) step.number |= 1;
      if (step.kind == 8) step.limits = limits_of(choices);
      if (step.kind == 1) step.wishes = {wish_of(choices), wish_of(choices)};
      take(brief, step, holds[0]);
      take(full, step, holds[1]);
    }
    const std::string a = brief.take_text();
    const std::string b = full.take_text();
    EXPECT_EQ(a, b) << "seed " << seed << ", step " << i;
    if (a != b) break;
  }
  ++tally.disks;
  tally.bios += brief.ios.size();
  tally.wholes += brief.bench.driver.wholes;
  EXPECT_EQ(full.bench.driver.wholes, 0U);
}

// Goal: a bio that takes the short way would be admitted, split, issued and ended the same by the
// long one, whatever the disk is configured for, holds up, or changes.
TEST(WholeBio, ItsShortWayIsTheLongOne) {
  const char* const scale = std::getenv("BLKOWN_TEST_SCALE");
  const std::uint64_t seeds = 300 * (scale == nullptr ? 1 : std::strtoull(scale, nullptr, 10));
  Tally tally;
  for (std::uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    compare(seed, tally);
  }
  EXPECT_GT(tally.disks, seeds / 2);
  EXPECT_GT(tally.bios, tally.disks * 20);
  EXPECT_GT(tally.wholes, tally.disks * 2);
}

// --- a request gets another I/O -----------------------------------------------------------------

/// A disk with two queues. Each tag of the second has carried a whole bio, which has ended. An I/O
/// of that queue's context is requeued while the disk has one queue, and moves back.
class Moved {
 public:
  explicit Moved(mq::DiskConfig config)
      : bench{[&config] {
                config.normal_queues = 2;
                config.max_normal_queues = 2;
                config.depth = 4;
                config.auto_kick = false;
                return config;
              }(),
              2} {
    bench.driver.mode = Mode::publish;
    for (int round = 0; round != 2; ++round) {  // the context's first bio is not issued as a whole
      std::array<Read, 4> reads;
      for (Read& read : reads) bench.disk->submit(context(), read.bio);
      reap(reads.size());
      for (const Read& read : reads) EXPECT_EQ(read.ends.count, 1);
    }
    EXPECT_TRUE(bench.set_queue_count(1));
    bench.driver.mode = Mode::requeue;
  }

  mq::Context& context() { return bench.context(1); }
  /// Moves what waits to the second queue.
  void move() {
    EXPECT_TRUE(bench.set_queue_count(2));
    bench.driver.mode = Mode::publish;
    bench.disk->kick_requeued();
    bench.runtime.run();
    EXPECT_EQ(bench.driver.seen.back().hw_queue, 1U);
  }
  /// Ends requests on their context.
  void reap(std::size_t count) {
    {
      const mq::Context::Scope here{context()};
      bench.driver.reap(bench.data(), count);
    }
    bench.runtime.run();
  }

  Bench<> bench;
};

TEST(WholeBio, AWriteThatMovesIsFlushedBeforeItEnds) {
  Moved moved{{.capacity_sectors = 1024, .write_cache = true}};
  std::vector<std::byte> memory(512);
  Ends ends;
  mq::Bio bio = mq::Bio::write(0, fake::whole(memory), {&Ends::on_end, &ends}, {.fua = true});
  moved.bench.disk->submit(moved.context(), bio);
  moved.move();
  moved.reap(1);
  EXPECT_EQ(ends.count, 0) << "the write has ended, and the flush has not";
  ASSERT_EQ(moved.bench.driver.seen.back().op, mq::Op::flush);
  moved.reap(1);
  EXPECT_EQ(ends.count, 1);
}

TEST(WholeBio, AReadWhosePartsMoveEndsWithTheLast) {
  Moved moved{{.capacity_sectors = 1024, .limits = {.max_sectors = 8}}};
  std::vector<std::byte> memory(8192);
  Ends ends;
  mq::Bio bio = mq::Bio::read(0, fake::whole(memory), {&Ends::on_end, &ends});
  moved.bench.disk->submit(moved.context(), bio);
  moved.move();
  ASSERT_EQ(moved.bench.driver.published.size(), 2U);
  moved.reap(1);
  EXPECT_EQ(ends.count, 0) << "the second part is in flight";
  moved.reap(1);
  EXPECT_EQ(ends.count, 1);
}

TEST(WholeBio, APrivateRequestThatMovesEnds) {
  Moved moved{{.capacity_sectors = 1024}};
  int ends = 0;
  auto idle = moved.bench.disk->allocate_private(moved.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  moved.bench.disk->execute_private(
      moved.context(), *std::move(idle),
      {[](void* count, mq::Payload<fake::Driver>&) { ++*static_cast<int*>(count); }, &ends});
  moved.move();
  moved.reap(1);
  EXPECT_EQ(ends, 1);
}

// --- each reason to hold a bio up ---------------------------------------------------------------
//
// The short way tests one copy of these reasons. A copy that misses one of them issues I/O that the
// long way would not.

/// Submits a bio that only `hold` keeps from the driver, and lifts the hold again.
template <class Hold, class Lift>
void expect_held(Bench<>& bench, Hold hold, Lift lift) {
  Read before, held;
  bench.disk->submit(bench.context(), before.bio);  // so that the context is in use
  bench.runtime.run();
  ASSERT_EQ(before.ends.count, 1);
  hold();
  const int calls = bench.driver.calls;
  bench.disk->submit(bench.context(), held.bio);
  EXPECT_EQ(bench.driver.calls, calls) << "the bio is held up";
  EXPECT_EQ(held.ends.count, 0);
  lift();
  bench.runtime.run();
  EXPECT_EQ(held.ends.count, 1);
  EXPECT_EQ(held.bio.status(), Status::ok);
}

TEST(WholeBio, IsHeldWhileTheDiskIsFrozen) {
  Bench<> bench;
  expect_held(bench, [&] { EXPECT_TRUE(bench.freeze()); }, [&] { EXPECT_TRUE(bench.thaw()); });
}
TEST(WholeBio, IsHeldUntilTheLastOfTwoThaws) {
  for (const bool one_is_left : {false, true}) {
    Bench<> bench;
    expect_held(
        bench,
        [&] {
          EXPECT_TRUE(bench.freeze());
          EXPECT_TRUE(bench.freeze());
          if (one_is_left) {
            EXPECT_TRUE(bench.thaw());
          }
        },
        [&] {
          if (!one_is_left) {
            EXPECT_TRUE(bench.thaw());
          }
          EXPECT_TRUE(bench.thaw());
        });
  }
}
TEST(WholeBio, IsHeldWhileTheDiskIsQuiesced) {
  Bench<> bench;
  expect_held(
      bench, [&] { EXPECT_TRUE(bench.quiesce()); }, [&] { EXPECT_TRUE(bench.unquiesce()); });
}
TEST(WholeBio, IsHeldUntilTheLastOfTwoUnquiesces) {
  for (const bool one_is_left : {false, true}) {
    Bench<> bench;
    expect_held(
        bench,
        [&] {
          EXPECT_TRUE(bench.quiesce());
          EXPECT_TRUE(bench.quiesce());
          if (one_is_left) {
            EXPECT_TRUE(bench.unquiesce());
          }
        },
        [&] {
          if (!one_is_left) {
            EXPECT_TRUE(bench.unquiesce());
          }
          EXPECT_TRUE(bench.unquiesce());
        });
  }
}
TEST(WholeBio, IsHeldWhileItsQueueIsStopped) {
  Bench<> bench;
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  expect_held(bench, [&] { hw.stop(); }, [&] { hw.start(); });
}
TEST(WholeBio, IsHeldByAPlug) {
  Bench<> bench;
  std::optional<fake::Driver::Disk::Plug> plug;
  expect_held(bench, [&] { plug.emplace(*bench.disk, bench.context()); }, [&] { plug.reset(); });
}
TEST(WholeBio, IsHeldBehindABusyDriver) {
  Bench<> bench{{.capacity_sectors = 1024, .busy_delay_ms = 5}};
  Read refused;
  expect_held(
      bench,
      [&] {
        bench.driver.next = {Mode::busy};
        bench.disk->submit(bench.context(), refused.bio);
        EXPECT_EQ(refused.ends.count, 0);
      },
      [&] { bench.clock.pass_ms(5); });
  EXPECT_EQ(refused.ends.count, 1);
}
TEST(WholeBio, ItsEndIsTheTimeToTryABusyDriverAgain) {
  Bench<> bench{{.capacity_sectors = 1024, .busy_delay_ms = 5}};
  Read before, first, refused;
  bench.disk->submit(bench.context(), before.bio);
  bench.driver.next = {Mode::publish, Mode::busy};
  bench.disk->submit(bench.context(), first.bio);
  bench.disk->submit(bench.context(), refused.bio);
  EXPECT_EQ(refused.ends.count, 0);
  {
    const mq::Context::Scope here{bench.context()};
    bench.driver.reap(bench.data());
  }
  bench.runtime.run();
  EXPECT_EQ(first.ends.count, 1);
  EXPECT_EQ(refused.ends.count, 1) << "without the delay";
}
TEST(WholeBio, IsHeldByABlockingDriverUntilTheContextRuns) {
  Bench<> bench{{.capacity_sectors = 1024, .blocking = true}};
  expect_held(bench, [] {}, [] {});
}
TEST(WholeBio, IsHeldBehindABioThatWaitsForATag) {
  Bench<> bench{{.capacity_sectors = 1024, .depth = 1}};
  Read first;
  expect_held(
      bench,
      [&] {
        bench.driver.next = {Mode::publish};
        bench.disk->submit(bench.context(), first.bio);
      },
      [&] { bench.driver.reap(bench.data()); });
  EXPECT_EQ(first.ends.count, 1);
}

/// Submits a bio within the driver's hook.
struct Submitting : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) override {
    EXPECT_FALSE(std::exchange(is_inside, true)) << "hooks do not recurse";
    if (inner != nullptr) disk->submit(*context, *std::exchange(inner, nullptr));
    Answer answer = fake::Driver::queue_rq(hw, queue, std::move(idle), is_last);
    is_inside = false;
    return answer;
  }
  Disk* disk = nullptr;
  mq::Context* context = nullptr;
  mq::Bio* inner = nullptr;
  bool is_inside = false;
};

TEST(WholeBio, IsHeldWhileAHookRuns) {
  Bench<Submitting> bench;
  Read outer, inner;
  bench.driver.disk = bench.disk.get();
  bench.driver.context = &bench.context();
  bench.driver.inner = &inner.bio;
  bench.disk->submit(bench.context(), outer.bio);
  EXPECT_EQ(outer.ends.count, 1);
  EXPECT_EQ(inner.ends.count, 1) << "issued after the hook";
}

TEST(WholeBio, OfARemovedDiskIsOffline) {
  Bench<> bench;
  Read before, after;
  bench.disk->submit(bench.context(), before.bio);
  bench.run([&](mq::Control& control) { bench.disk->remove(control); });
  const int calls = bench.driver.calls;
  bench.disk->submit(bench.context(), after.bio);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, calls);
  EXPECT_EQ(after.bio.status(), Status::offline);
  bench.disk.reset();
}

TEST(WholeBio, IsSplitByLimitsThatHaveChanged) {
  Bench<> bench;
  std::vector<std::byte> memory(8192);
  Ends ends;
  mq::Bio bio =
      mq::Bio::read(0, blkown::Segment{memory.data(), memory.size()}, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bench.driver.calls, 1);
  mq::QueueLimits limits;
  limits.max_sectors = 8;
  bench.run([&](mq::Control& control) { bench.disk->set_limits(control, limits); });
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bench.driver.calls, 3);
  EXPECT_EQ(ends.count, 2);
}

TEST(WholeBio, IsRefusedByACapacityOrAReadOnlyStateThatHasChanged) {
  Bench<> bench;
  std::vector<std::byte> memory(512);
  Ends ends;
  mq::Bio bio =
      mq::Bio::write(512, blkown::Segment{memory.data(), memory.size()}, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_FALSE(bench.disk->set_capacity(512).has_value());
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bio.status(), Status::invalid);
  EXPECT_FALSE(bench.disk->set_capacity(1024).has_value());
  bench.disk->set_read_only(true);
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bio.status(), Status::not_supported);
  EXPECT_EQ(bench.driver.calls, 1);
}

TEST(WholeBio, GoesToTheQueueThatItsContextIsMappedTo) {
  Bench<> bench{{.capacity_sectors = 1024, .normal_queues = 1, .max_normal_queues = 2}, 2};
  const auto queue_of_read = [&] {
    Read read;
    bench.disk->submit(bench.context(1), read.bio);
    bench.runtime.run();
    EXPECT_EQ(read.ends.count, 1);
    return bench.driver.seen.back().hw_queue;
  };
  EXPECT_EQ(queue_of_read(), 0U);
  EXPECT_TRUE(bench.set_queue_count(2));
  EXPECT_EQ(queue_of_read(), 1U);
  EXPECT_TRUE(bench.set_queue_count(1));
  EXPECT_EQ(queue_of_read(), 0U);
}

}  // namespace whole_bio
}  // namespace
