// SPDX-License-Identifier: BSL-1.0
//
// Goal: each bio ends exactly once, a successful bio moves the right bytes, and the counters add
// up, for random answers of the driver, a device that misbehaves, and operations on the disk under
// I/O.
// Method: four submitters on two hardware queues, and a device on its own context, on each of the
// three runtimes. The run contains all operations; immediate, late, duplicate and lost completions;
// busy and failing drivers; requeues, timeouts, stopped queues, freezes, changes of the number of
// queues and of the limits, resets while another party quiesces, and a removal under I/O. Each
// submitter keeps a copy of its part of the disk. The driver judges each request by the limits.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "mq/fake_driver.hpp"
#include "mq/obeys.hpp"
#include "mq/one_by_one_driver.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using blkown::Status;
using blkown::sim::Random;

constexpr std::uint32_t submitters = 4;
constexpr std::uint32_t device_context = submitters;
constexpr std::uint32_t slots_each = 12;
constexpr std::uint32_t slot_blocks = 24;
constexpr std::uint64_t capacity = std::uint64_t{submitters} * slots_each * slot_blocks;

/// The limits that the run changes between. The disk is made with the first ones.
constexpr std::array all_limits{mq::QueueLimits{.max_sectors = 8,
                                                .max_segments = 2,
                                                .max_discard_sectors = 11,
                                                .max_write_zeroes_sectors = 5,
                                                .dma_alignment_mask = 7,
                                                .chunk_sectors = 20,
                                                .discard_granularity_sectors = 4},
                                mq::QueueLimits{.max_sectors = 3,
                                                .max_segments = 1,
                                                .max_segment_bytes = 1024,
                                                .max_discard_sectors = 4,
                                                .max_write_zeroes_sectors = 20},
                                mq::QueueLimits{.max_sectors = 64, .max_segments = 8},
                                mq::QueueLimits{.max_sectors = 20,
                                                .max_segments = 3,
                                                .max_segment_bytes = 2048,
                                                .virt_boundary_mask = 7,
                                                .max_discard_sectors = 64,
                                                .max_write_zeroes_sectors = 2,
                                                .dma_alignment_mask = 3,
                                                .chunk_sectors = 7,
                                                .discard_granularity_sectors = 7}};

/// A driver with random answers, and its device.
struct RandomDriver : fake::OneByOneDriver {
  explicit RandomDriver(std::uint64_t seed) {
    for (std::uint64_t i = 0; i != submitters + 1; ++i) random.emplace_back(seed * 31 + i);
  }

  Random& here() { return random[mq::Context::current()->index()]; }

  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool) override {
    if (quiesced.load(std::memory_order_relaxed) != 0) called_quiesced = true;
    Random& dice = here();
    expect_limits(idle.data());
    switch (dice.below(64)) {
      case 0: return Answer::rejected(std::move(idle), Status::device_resource);
      case 1: return Answer::rejected(std::move(idle), Status::medium_error);
      case 2: return Answer::rejected(std::move(idle).start(), Status::resource);
      default: break;
    }
    auto owned = std::move(idle).start();
    const std::uint64_t what = dice.below(64);
    if (what == 0) {
      std::move(owned).requeue();
    } else if (what == 1) {
      std::move(owned).end(Status::io_error);
    } else if (what < 16) {
      transfer(queue, owned.data());
      std::move(owned).end_ok();
    } else {
      std::move(owned).publish([&](const blkown::Cookie& cookie) {
        const std::lock_guard lock{mutex};
        published.push_back({&hw, cookie.value});
        device->context.post(*device);
      });
    }
    return Answer::accepted();
  }

  /// During a change of the limits, a request keeps those before or those after it.
  void expect_limits(const Payload& request) {
    const unsigned allowed = allowed_limits.load(std::memory_order_relaxed);
    const char* violated = nullptr;
    for (unsigned i = 0; i != all_limits.size(); ++i) {
      if ((allowed >> i & 1U) == 0) continue;
      violated = fake::violated_limit(all_limits[i], request);
      if (violated == nullptr) return;
    }
    ADD_FAILURE() << violated << ", allowed " << allowed;
  }

  void complete(Hw& hw, blkown::Claim<Rq> claim) override {
    transfer(hw.disk().queue_data(), claim.data());
    std::move(claim).end_ok();
  }

  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>& pin,
                            const blkown::Cookie& cookie) override {
    if (here().chance(1, 4)) return mq::TimeoutAction::rearm;
    if (auto claim = blkown::claim(pin, cookie)) std::move(*claim).end(Status::timed_out);
    return mq::TimeoutAction::handled;
  }

  static void transfer(QueueData& queue, const Payload& request) {
    std::byte* medium = queue.medium.data() + request.sector() * mq::sector_bytes;
    if (request.op() == mq::Op::write_zeroes || request.op() == mq::Op::discard) {
      std::memset(medium, 0, static_cast<std::size_t>(request.length_bytes()));
    }
    for (const Segment piece : request.segments()) {
      if (request.op() == mq::Op::read) {
        std::memcpy(piece.data, medium, piece.length_bytes);
      } else {
        std::memcpy(medium, piece.data, piece.length_bytes);
      }
      medium += piece.length_bytes;
    }
  }

  struct Published {
    Hw* hw;
    std::uint64_t value;
  };

  /// The device, which completes published requests in random order and sends some ids twice.
  struct Device : mq::Work {
    Device(RandomDriver& its_driver, mq::Context& its_context)
        : Work{[](void* self, Work&) { static_cast<Device*>(self)->run(); }, this},
          driver{its_driver},
          context{its_context} {}
    void run() {
      Random& dice = driver.random[device_context];
      bool is_more = false;
      for (int i = 0; i != 8; ++i) {
        Published one{};
        {
          const std::lock_guard lock{driver.mutex};
          auto& list = driver.published;
          if (list.empty()) break;
          std::swap(list[static_cast<std::size_t>(dice.below(list.size()))], list.back());
          one = list.back();
          list.pop_back();
          is_more = !list.empty();
        }
        if (dice.chance(1, 2000)) continue;  // lost
        // The capacity grows and shrinks behind the slots, so no bio is refused for it.
        static_cast<void>(one.hw->disk().set_capacity(capacity + dice.below(64)));
        answer(dice, one);
        if (dice.chance(1, 16)) answer(dice, one);
        if (dice.chance(1, 16)) answer(dice, old[static_cast<std::size_t>(dice.below(old.size()))]);
        old[static_cast<std::size_t>(dice.below(old.size()))] = one;
      }
      if (is_more) context.post(*this);
    }
    void answer(Random& dice, const Published& one) {
      if (one.hw == nullptr) return;
      auto claim = one.hw->claim(one.value);
      if (!claim.has_value()) return;
      switch (dice.below(32)) {
        case 0: return std::move(*claim).requeue();
        case 1: return std::move(*claim).end(Status::medium_error);
        case 2:
        case 3:
        case 4: return one.hw->complete(*std::move(claim));
        default: break;
      }
      transfer(one.hw->disk().queue_data(), claim->data());
      std::move(*claim).end_ok();
    }
    RandomDriver& driver;
    mq::Context& context;
    std::array<Published, 64> old{};
  };

  std::vector<Random> random;  // one for each context
  // The parties whose quiesce is done, and that have not begun to unquiesce.
  std::atomic<int> quiesced{0};
  std::atomic<bool> called_quiesced{false};
  std::atomic<unsigned> allowed_limits{1};  // a bit for each of all_limits
  std::mutex mutex;
  std::vector<Published> published;
  Device* device = nullptr;
};

/// The state of one run.
struct RandomRun;

/// A range of sectors with at most one bio in flight.
struct Slot {
  RandomRun* test = nullptr;
  std::uint32_t submitter = 0;
  std::uint64_t first_sector = 0;
  alignas(mq::Bio) std::byte storage[sizeof(mq::Bio)];
  bool is_in_flight = false;
  std::uint64_t at = 0;      // the bio's first block within the slot
  std::uint64_t blocks = 0;  // and how many
  std::vector<std::byte> memory = std::vector<std::byte>(slot_blocks * 512);
  std::array<Segment, 3> segments;
  std::vector<std::byte> content = std::vector<std::byte>(slot_blocks * 512);
  std::array<bool, slot_blocks> is_known{};  // false after a failed write

  mq::Bio& bio() { return *std::launder(reinterpret_cast<mq::Bio*>(storage)); }
};

struct RandomRun {
  RandomRun(std::uint64_t seed, std::uint64_t its_target) : driver{seed}, target{its_target} {
    for (std::uint32_t i = 0; i != submitters; ++i) {
      for (std::uint32_t j = 0; j != slots_each; ++j) {
        Slot& slot = slots[i * slots_each + j];
        slot.test = this;
        slot.submitter = i;
        slot.first_sector = std::uint64_t{i * slots_each + j} * slot_blocks;
        slot.is_known.fill(true);
      }
    }
  }

  void submit(Slot& slot) {
    Random& dice = driver.random[slot.submitter];
    if (is_removing.load(std::memory_order_relaxed)) return;
    submitted.fetch_add(1, std::memory_order_relaxed);
    slot.at = dice.below(slot_blocks);
    slot.blocks = 1 + dice.below(std::min<std::uint64_t>(slot_blocks - slot.at, 20));
    const std::uint64_t sector = slot.first_sector + slot.at;
    const auto length_bytes = static_cast<std::size_t>(slot.blocks * 512);
    // Three pieces, cut on a block. One of them is empty.
    const auto cut = static_cast<std::size_t>(512 * dice.below(slot.blocks + 1));
    slot.segments = {Segment{slot.memory.data(), cut},
                     Segment{slot.memory.data() + cut, length_bytes - cut},
                     Segment{slot.memory.data(), 0}};
    const mq::IoFlags flags{.fua = dice.chance(1, 16),
                            .preflush = dice.chance(1, 16),
                            .polled = false,
                            .nowait = dice.chance(1, 8)};
    slot.is_in_flight = true;
    make_bio(slot, sector, length_bytes, flags);
    disk->submit(*context_of(slot.submitter), slot.bio());
  }

  /// Makes the slot's bio with a random operation, and fills the slot's memory.
  void make_bio(Slot& slot, std::uint64_t sector, std::size_t length_bytes, mq::IoFlags flags) {
    Random& dice = driver.random[slot.submitter];
    const auto end = &RandomRun::on_end;
    void* const place = slot.storage;
    switch (dice.below(16)) {
      case 0: new (place) mq::Bio(mq::Bio::flush({end, &slot})); break;
      case 1: new (place) mq::Bio(mq::Bio::discard(sector, length_bytes, {end, &slot})); break;
      case 2: new (place) mq::Bio(mq::Bio::write_zeroes(sector, length_bytes, {end, &slot})); break;
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        for (std::size_t i = 0; i < length_bytes; i += 8) {
          const std::uint64_t word = dice.next();
          std::memcpy(slot.memory.data() + i, &word, 8);
        }
        new (place) mq::Bio(mq::Bio::write(sector, slot.segments, {end, &slot}, flags));
        break;
      default:
        std::memset(slot.memory.data(), 0xEE, length_bytes);
        new (place)
            mq::Bio(mq::Bio::read(sector, slot.segments, {end, &slot}, {.nowait = flags.nowait}));
    }
  }

  static void on_end(void* its, mq::Bio&) {
    Slot& slot = *static_cast<Slot*>(its);
    slot.test->ended_one(slot);
  }

  void ended_one(Slot& slot) {
    ended.fetch_add(1, std::memory_order_relaxed);
    if (!slot.is_in_flight) return fail("a bio ended twice");
    if (mq::Context::current() != context_of(slot.submitter)) return fail("on another context");
    slot.is_in_flight = false;
    check(slot);
    slot.bio().~Bio();
    if (ended.load(std::memory_order_relaxed) >= target) return begin_removal();
    if (slot.submitter == 0) maybe_start_operation(driver.random[0]);
    if (slot.submitter == 1) maybe_change_limits(driver.random[1]);
    submit(slot);
  }

  void check(Slot& slot) {
    mq::Bio& bio = slot.bio();
    const std::size_t at = static_cast<std::size_t>(slot.at * 512);
    const auto length_bytes = static_cast<std::size_t>(slot.blocks * 512);
    const bool good = bio.status() == Status::ok;
    (good ? good_ends : bad_ends).fetch_add(1, std::memory_order_relaxed);
    if (bio.op() == mq::Op::flush) return;
    for (std::uint64_t block = slot.at; block != slot.at + slot.blocks; ++block) {
      const auto i = static_cast<std::size_t>(block);
      if (bio.op() == mq::Op::read) {
        if (good && slot.is_known[i] &&
            std::memcmp(slot.memory.data() + i * 512 - at, slot.content.data() + i * 512, 512) !=
                0) {
          fail("wrong data");
        }
        continue;
      }
      slot.is_known[i] = good;
    }
    if (!good || bio.op() == mq::Op::read) return;
    if (bio.op() == mq::Op::write) {
      std::memcpy(slot.content.data() + at, slot.memory.data(), length_bytes);
    } else {
      std::memset(slot.content.data() + at, 0, length_bytes);
    }
  }

  /// Starts an operation on the disk or stops a queue, with a probability of 1 in 150.
  void maybe_start_operation(Random& dice) {
    if (!dice.chance(1, 150) || operation_pending.exchange(true, std::memory_order_acquire)) return;
    operations.fetch_add(1, std::memory_order_relaxed);
    switch (dice.below(6)) {
      case 4: quiesce_as_another_party(); [[fallthrough]];
      case 5:
        // The reset of a controller: what is requeued while the disk is quiesced moves.
        next_count = static_cast<std::uint32_t>(1 + dice.below(2));
        reverse = &RandomDriver::Disk::unquiesce;
        return disk->quiesce(control);
      case 0: return disk->set_queue_count(control, static_cast<std::uint32_t>(1 + dice.below(2)));
      case 1: reverse = &RandomDriver::Disk::thaw; return disk->freeze(control);
      case 2: reverse = &RandomDriver::Disk::unquiesce; return disk->quiesce(control);
      default: {
        RandomDriver::Hw& hw =
            disk->hw_queue(blkown::QueueIndex{static_cast<std::uint32_t>(dice.below(2))});
        hw.stop();
        stopped = &hw;
        alarm.arm(*context_of(device_context), 50'000);
      }
    }
  }
  static void on_control(void* self, mq::Control&) {
    RandomRun& test = *static_cast<RandomRun*>(self);
    const std::uint32_t count = std::exchange(test.next_count, 0);
    if (count != 0) {
      ++test.driver.quiesced;
      test.is_resetting = true;
      return test.disk->set_queue_count(test.control, count);
    }
    const auto next = std::exchange(test.reverse, nullptr);
    if (std::exchange(test.is_resetting, false)) --test.driver.quiesced;
    if (next != nullptr) return (test.disk.get()->*next)(test.control, blkown::Place::current());
    test.operation_pending.store(false, std::memory_order_release);
  }
  void quiesce_as_another_party() {
    if (other_pending.exchange(true, std::memory_order_acquire)) return;
    other_reverses = true;
    disk->quiesce(other);
  }
  static void on_other(void* self, mq::Control&) {
    RandomRun& test = *static_cast<RandomRun*>(self);
    if (std::exchange(test.other_reverses, false)) return test.disk->unquiesce(test.other);
    test.other_pending.store(false, std::memory_order_release);
  }
  /// Changes the limits, independently of the other operations, with a probability of 1 in 200.
  void maybe_change_limits(Random& dice) {
    if (!dice.chance(1, 200) || limits_pending.exchange(true, std::memory_order_acquire)) return;
    next_limits = static_cast<unsigned>(dice.below(all_limits.size() + 1));
    if (next_limits == all_limits.size()) return disk->set_limits(limits, {.max_segments = 0});
    driver.allowed_limits.fetch_or(1U << next_limits, std::memory_order_relaxed);
    disk->set_limits(limits, all_limits[next_limits]);
  }
  static void on_limits(void* self, mq::Control& control) {
    RandomRun& test = *static_cast<RandomRun*>(self);
    const bool is_refused = test.next_limits == all_limits.size();
    if (control.status() == Status::ok && !is_refused) {
      test.driver.allowed_limits.store(1U << test.next_limits, std::memory_order_relaxed);
      ++test.changes;
    } else if (control.status() != Status::offline &&
               (control.status() != Status::invalid || !is_refused)) {
      test.fail("a change of the limits ended with a wrong status");
    }
    test.limits_pending.store(false, std::memory_order_release);
  }
  static void on_alarm(void* self, mq::Alarm&) {
    RandomRun& test = *static_cast<RandomRun*>(self);
    test.stopped->start();
    test.operation_pending.store(false, std::memory_order_release);
  }

  void begin_removal() {
    if (!is_removing.exchange(true)) disk->remove(removal);
  }
  static void on_removed(void* self, mq::Control&) { static_cast<RandomRun*>(self)->removed.set(); }

  void fail(const char* what) {
    failure = what;
    failures.fetch_add(1, std::memory_order_relaxed);
  }

  mq::Context* context_of(std::uint32_t index) const { return contexts[index]; }

  RandomDriver driver;
  std::uint64_t target;
  std::array<mq::Context*, submitters + 1> contexts{};
  std::unique_ptr<RandomDriver::Disk> disk;
  std::vector<Slot> slots = std::vector<Slot>(submitters * slots_each);
  std::atomic<std::uint64_t> submitted{0}, ended{0}, good_ends{0}, bad_ends{0}, failures{0};
  std::atomic<std::uint64_t> operations{0};
  std::atomic<const char*> failure{""};
  std::atomic<bool> is_removing{false}, operation_pending{false}, other_pending{false},
      limits_pending{false};
  unsigned next_limits = 0;
  std::atomic<std::uint64_t> changes{0};
  mq::Control limits{{&on_limits, this}};
  void (RandomDriver::Disk::*reverse)(mq::Control&, blkown::Place) = nullptr;
  RandomDriver::Hw* stopped = nullptr;
  mq::Control control{{&on_control, this}};
  mq::Control other{{&on_other, this}};
  bool other_reverses = false;
  bool is_resetting = false;
  std::uint32_t next_count = 0;  // of a reset, for after its quiesce
  mq::Control removal{{&on_removed, this}};
  mq::Alarm alarm{&on_alarm, this};
  mq::Event removed;
};

/// Submits the first bios of one submitter on its context.
struct Starter : mq::Work {
  Starter(RandomRun& its_test, std::uint32_t its_index)
      : Work{[](void* self, Work&) { static_cast<Starter*>(self)->start(); }, this},
        test{its_test},
        index{its_index} {}
  void start() {
    for (std::uint32_t j = 0; j != slots_each; ++j) {
      test.submit(test.slots[index * slots_each + j]);
    }
  }
  RandomRun& test;
  std::uint32_t index;
};

void expect_totals(const RandomRun& test) {
  EXPECT_EQ(test.failures.load(), 0U) << test.failure.load();
  EXPECT_EQ(test.submitted.load(), test.ended.load());
  EXPECT_GE(test.ended.load(), test.target);
  EXPECT_GT(test.good_ends.load(), test.target / 2);
  EXPECT_GT(test.bad_ends.load(), test.target / 100);
  EXPECT_FALSE(test.driver.called_quiesced) << "queue_rq of a disk that a party has quiesced";
  const mq::Counters seen = test.disk->counters();
  EXPECT_EQ(seen.submitted_bios, static_cast<blkown::Word>(test.submitted.load()));
  EXPECT_EQ(seen.ended_bios, seen.submitted_bios);
  EXPECT_EQ(seen.ended_requests, seen.started_requests);
}

/// How often what is rare has happened, in one long run or in several short ones. One short run may
/// lack one of them.
struct RareEvents {
  void add(const RandomRun& test) {
    const mq::Counters seen = test.disk->counters();
    bios += seen.submitted_bios;
    requests += seen.started_requests;
    operations += test.operations.load();
    limit_changes += test.changes.load();
    requeues += seen.requeued_requests;
    refusals += seen.rejected(blkown::LookupReason::stale_generation) +
                seen.rejected(blkown::LookupReason::idle);
    timeouts += seen.timed_out_requests;
  }
  void expect_each() const {
    EXPECT_GT(requests, bios) << "few bios were split";
    EXPECT_GT(operations, 0U);
    EXPECT_GT(limit_changes, 0U);
    EXPECT_GT(requeues, 0U);
    EXPECT_GT(refusals, 0U);
    if (bios > 100'000) {
      EXPECT_GT(timeouts, 0U);
    }
  }
  std::uint64_t bios = 0, requests = 0, operations = 0, limit_changes = 0, requeues = 0,
                refusals = 0, timeouts = 0;
};

/// Makes a disk, submits random I/O until `target` bios have ended, and checks the totals.
/// `run(test)` runs the contexts until the disk is removed, and returns false if nothing is left to
/// run before. Adds what was rare to `rare`.
template <mq::Runtime Rt, class Run>
void run_random_io(Rt& runtime, std::uint64_t seed, std::uint64_t target, RareEvents& rare,
                   Run run) {
  RandomRun test{seed, target};
  for (std::uint32_t i = 0; i != submitters + 1; ++i) test.contexts[i] = &runtime.context(i);
  RandomDriver::Device device{test.driver, runtime.context(device_context)};
  test.driver.device = &device;
  const mq::DiskConfig config{.capacity_sectors = capacity,
                              .limits = all_limits[0],
                              .write_cache = true,
                              .normal_queues = 2,
                              .depth = 16,
                              .timeout_ms = 20,
                              .busy_delay_ms = 1};
  auto made = RandomDriver::Disk::create(config, test.driver, runtime,
                                         {std::vector<std::byte>(capacity * 512)});
  ASSERT_TRUE(made.has_value());
  test.disk = *std::move(made);
  std::vector<std::unique_ptr<Starter>> starters;
  for (std::uint32_t i = 0; i != submitters; ++i) {
    starters.push_back(std::make_unique<Starter>(test, i));
    runtime.context(i).post(*starters.back());
  }
  ASSERT_TRUE(run(test)) << "nothing is left to run with " << test.submitted - test.ended
                         << " bios in flight";
  expect_totals(test);
  rare.add(test);
  test.disk.reset();
}

TEST(Random, OnACallersLoop) {
  fake::Clock clock;
  mq::LoopRuntime runtime{submitters + 1, clock.hooks()};
  RareEvents rare;
  run_random_io(runtime, 1, stress::scaled(400'000, 20'000), rare, [&](RandomRun& test) {
    while (!test.removed.is_set()) {
      if (runtime.run() == 0) {
        const auto next_ns = runtime.next_timer_ns();
        if (!next_ns.has_value()) return false;
        clock.now_ns = std::max(clock.now_ns, *next_ns);
      }
      clock.now_ns += 1000;
    }
    runtime.run();
    return true;
  });
  rare.expect_each();
}

TEST(Random, OnThreads) {
  mq::ThreadRuntime runtime{submitters + 1};
  RareEvents rare;
  run_random_io(runtime, 2, stress::scaled(400'000, 20'000), rare, [&](RandomRun& test) {
    runtime.wait_for(test.removed);
    for (std::uint32_t i = 0; i != submitters + 1; ++i) runtime.run_on(i, [] {});
    return true;
  });
  rare.expect_each();
}

TEST(Random, FromSeeds) {
  const auto seeds = static_cast<std::uint64_t>(stress::scaled(20, 2));
  RareEvents rare;
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    SCOPED_TRACE(seed);
    blkown::sim::DeterministicRuntime runtime{seed, submitters + 1};
    run_random_io(runtime, seed, 10'000, rare, [&](RandomRun& test) {
      return runtime.wait_for(test.removed) && runtime.run_until_idle(1'000'000);
    });
    if (HasFailure()) return;
  }
  rare.expect_each();
}

}  // namespace
