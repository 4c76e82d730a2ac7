// SPDX-License-Identifier: BSL-1.0
//
// Power cuts of examples/null_block at seeded moments, with I/O in flight: what was flushed or
// written with FUA is there, and each other block is old or new.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"
#include "reference.hpp"
#include "stress/effort.hpp"
#include "world.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using null_world::Reference;
using null_world::TestBio;

constexpr std::size_t power_block_bytes = 512;
constexpr std::size_t power_blocks = 512;
constexpr const char* power_config =
    "size=256k,blocksize=512,memory_backed=1,cache_size=64k,completion=timer,completion_nsec=10000";

/// A write and what it writes.
struct PowerWrite {
  PowerWrite(std::size_t its_begin, std::size_t its_count, std::uint32_t its_value, bool fua)
      : begin{its_begin},
        count{its_count},
        value{its_value},
        is_durable{fua},
        bio{its_count * power_block_bytes, {}} {
    for (std::size_t i = 0; i != bio.memory.size(); i += sizeof(value)) {
      std::memcpy(bio.memory.data() + i, &value, sizeof(value));
    }
  }
  template <class Visit>
  void for_each_block(Visit visit) const {
    for (std::size_t i = begin; i != begin + count; ++i) visit(i);
  }
  [[nodiscard]] bool overlaps(const PowerWrite& other) const {
    return begin < other.begin + other.count && other.begin < begin + count;
  }

  std::size_t begin;
  std::size_t count;
  std::uint32_t value;
  bool is_durable;
  TestBio bio;
};
using PowerWrites = std::vector<std::unique_ptr<PowerWrite>>;

/// Adds a random write that no other of `writes` overlaps, and tells the reference that it begins.
PowerWrite* add_write(std::mt19937_64& random, std::uint32_t value, PowerWrites& writes,
                      Reference& reference) {
  const auto count = static_cast<std::size_t>(1 + random() % 64);
  const auto begin = static_cast<std::size_t>(random() % (power_blocks - count));
  auto made = std::make_unique<PowerWrite>(begin, count, value, random() % 4 == 0);
  for (const auto& each : writes) {
    if (each->overlaps(*made)) return nullptr;
  }
  made->for_each_block([&](std::size_t i) { reference.begin_write(i, value); });
  writes.push_back(std::move(made));
  return writes.back().get();
}
/// Tells the reference the end of a write that ended while there was power.
void end_write(const PowerWrite& write, Reference& reference) {
  ASSERT_EQ(write.bio.status(), Status::ok);
  write.for_each_block(
      [&](std::size_t i) { reference.end_write(i, write.value, write.is_durable); });
}
/// Tells the reference the end of a write that was in flight when the power was cut. One with FUA
/// that succeeded was done before.
void end_cut_write(const PowerWrite& write, Reference& reference) {
  ASSERT_TRUE(write.bio.status() == Status::ok || write.bio.status() == Status::offline);
  if (write.bio.status() != Status::ok || !write.is_durable) return;
  write.for_each_block([&](std::size_t i) { reference.end_write(i, write.value, true); });
}
void check_blocks(const std::vector<std::byte>& content, Reference& reference) {
  for (std::size_t block = 0; block != power_blocks; ++block) {
    const std::byte* const memory = content.data() + block * power_block_bytes;
    std::uint32_t value = 0;
    std::memcpy(&value, memory, sizeof(value));
    ASSERT_EQ(std::memcmp(memory, memory + sizeof(value), power_block_bytes - sizeof(value)), 0)
        << "block " << block << " is torn";
    ASSERT_TRUE(reference.read(block, value))
        << "block " << block << " holds " << value << ", and "
        << testing::PrintToString(reference.current(block)) << " is allowed";
  }
}

TEST(NullBlockPower, AfterACutEachBlockIsOldOrNewAndWhatIsDurableIsThere) {
  null_world::World world{power_config};
  std::mt19937_64 random{stress::seed()};
  Reference reference{power_blocks, true};
  std::uint32_t value = 0;
  const std::uint64_t cuts = stress::scaled(1000, 100);
  for (std::uint64_t cut = 0; cut != cuts; ++cut) {
    SCOPED_TRACE("cut " + std::to_string(cut));
    PowerWrites in_flight;
    const auto settle = [&] {
      for (const auto& each : in_flight) {
        world.finish(each->bio);
        end_write(*each, reference);
      }
      in_flight.clear();
    };
    for (std::uint64_t steps = 5 + random() % 30; steps != 0; --steps) {
      if (random() % 8 == 0) {
        settle();
        if (world.run(mq::Op::flush, 0, 0) == Status::ok) reference.flush();
      } else if (PowerWrite* const made = add_write(random, ++value, in_flight, reference)) {
        made->bio.bio.set_write(made->begin,
                                blkown::Segment{made->bio.memory.data(), made->bio.memory.size()},
                                made->bio.on_end(), {.fua = made->is_durable});
        world.disk->disk().submit(world.runtime.context(0), made->bio.bio);
      } else {
        settle();
      }
    }
    world.disk->power_off(random() % 2 == 0 ? 0 : random());
    reference.cut_power();
    for (const auto& each : in_flight) {
      world.finish(each->bio);
      end_cut_write(*each, reference);
    }
    world.disk->power_on();
    check_blocks(world.bytes(0, power_blocks), reference);
    if (HasFailure()) return;
  }
}

/// One context's writes to its half of the disk, one after the other until there is no power.
class PowerWriter {
 public:
  PowerWriter(null_block::Disk& disk, mq::Context& context, std::uint64_t seed, std::size_t first)
      : disk_{disk}, context_{context}, random_{seed}, first_{first} {}

  /// Context: the context's.
  void run(std::uint32_t value) {
    do {
      const auto count = static_cast<std::size_t>(1 + random_() % 64);
      const auto begin = first_ + static_cast<std::size_t>(random_() % (half_blocks - count));
      writes_.push_back(std::make_unique<PowerWrite>(begin, count, value++, random_() % 4 == 0));
      PowerWrite& write = *writes_.back();
      write.bio.bio.set_write(begin,
                              blkown::Segment{write.bio.memory.data(), write.bio.memory.size()},
                              write.bio.on_end(), {.fua = write.is_durable});
      disk_.submit(context_, write.bio.bio);
    } while (writes_.back()->bio.status() == Status::ok);
  }
  /// Tells the reference what has happened.
  void tell(Reference& reference) {
    for (const auto& each : std::exchange(writes_, {})) {
      ASSERT_TRUE(each->bio.has_ended) << "completion none ends in the submit";
      if (each->bio.status() == Status::ok) {
        end_write(*each, reference);
      } else {
        ASSERT_EQ(each->bio.status(), Status::offline);
        each->for_each_block([&](std::size_t i) { reference.fail_write(i, each->value); });
      }
    }
  }
  static constexpr std::size_t half_blocks = power_blocks / 2;

 private:
  null_block::Disk& disk_;
  mq::Context& context_;
  std::mt19937_64 random_;
  std::size_t first_;
  PowerWrites writes_;
};

// Goal: the cut comes while two threads copy, between two pages of a request as well.
TEST(NullBlockPower, ACutWhileThreadsWriteLeavesBlocksThatAreOldOrNew) {
  mq::ThreadRuntime runtime{2};
  const auto config = null_block::parse_config(
      "size=256k,blocksize=512,memory_backed=1,cache_size=64k,submit_queues=2");
  ASSERT_TRUE(config.has_value());
  auto made = null_block::NullDisk<mq::ThreadRuntime>::create(*config, runtime);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  auto& disk = **made;
  std::mt19937_64 random{stress::seed()};
  Reference reference{power_blocks, true};
  PowerWriter writers[]{{disk.disk(), runtime.context(0), random(), 0},
                        {disk.disk(), runtime.context(1), random(), PowerWriter::half_blocks}};
  const std::uint64_t cuts = stress::scaled(100, 20);
  for (std::uint64_t cut = 0; cut != cuts && !HasFailure(); ++cut) {
    SCOPED_TRACE("cut " + std::to_string(cut));
    std::atomic<std::uint32_t> started{0};
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i != 2; ++i) {
      threads.emplace_back([&, i] {
        runtime.run_on(i, [&] {
          ++started;
          writers[i].run(static_cast<std::uint32_t>(cut << 16) + i);
        });
      });
    }
    while (started != 2) std::this_thread::yield();
    for (volatile std::uint64_t spins = random() % 20'000; spins != 0;) spins = spins - 1;
    disk.power_off(random());
    for (std::thread& each : threads) each.join();
    for (PowerWriter& each : writers) each.tell(reference);
    reference.cut_power();
    disk.power_on();
    std::vector<std::byte> content(power_blocks * power_block_bytes);
    ASSERT_EQ(mq::read(runtime, disk.disk(), 0, std::span{content}), Status::ok);
    check_blocks(content, reference);
  }
}

}  // namespace
