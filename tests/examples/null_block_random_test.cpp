// SPDX-License-Identifier: BSL-1.0
//
// Random tests of examples/null_block against a plain reference: each pair of values of two
// parameters, and power cuts.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"
#include "null_block_matrix.hpp"
#include "null_block_reference.hpp"
#include "null_block_world.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using null_world::Reference;
using null_world::TestBio;

/// The values that the matrix tries. init_hctx's faults make no disk: they have a test of their
/// own.
const std::vector<null_world::Choice>& choices() {
  static const std::vector<null_world::Choice> made{
      {"size", {"1m", "1216k"}},
      {"blocksize", {"512", "4k", "64k"}},
      {"rotational", {"0", "1"}},
      {"read_only", {"0", "1"}},
      {"memory_backed", {"1", "0"}},
      {"memory_limit", {"0", "512k"}},
      {"cache_size", {"0", "64k", "1m"}},
      {"fua", {"1", "0"}},
      {"completion", {"none", "softirq", "timer"}},
      {"completion_nsec", {"0", "10000"}},
      {"timeout_ms", {"100", "30000"}},
      {"submit_queues", {"1", "2", "3"}},
      {"max_submit_queues", {"3", "16"}},
      {"use_per_node_hctx", {"0", "1"}},
      {"poll_queues", {"0", "1", "2"}},
      {"hw_queue_depth", {"1", "7", "64"}},
      {"shared_tags", {"0", "1"}},
      {"shared_tag_bitmap", {"0", "1"}},
      {"no_sched", {"1"}},
      {"blocking", {"0", "1"}},
      {"home_node", {"none", "0"}},
      {"discard", {"1", "0"}},
      {"discard_granularity", {"0", "128k"}},
      {"discard_alignment", {"0", "64k"}},
      {"max_discard", {"1g", "192k"}},
      {"write_zeroes", {"1", "0"}},
      {"write_zeroes_granularity", {"0", "128k"}},
      {"write_zeroes_alignment", {"0", "64k"}},
      {"max_write_zeroes", {"1g", "192k"}},
      {"max_sectors", {"2560", "128"}},
      {"virt_boundary", {"0", "1"}},
      {"chunk_sectors", {"0", "256"}},
      {"badblocks_once", {"0", "1"}},
      {"badblocks_partial_io", {"0", "1"}},
      {"mbps", {"0", "1000"}},
      {"fault_seed", {"1", "2"}},
      {"timeout_probability", {"0", "2"}},
      {"timeout_interval", {"1", "3"}},
      {"timeout_times", {"0", "5"}},
      {"requeue_probability", {"0", "20"}},
      {"requeue_interval", {"1", "3"}},
      {"requeue_times", {"0", "50"}},
      {"init_hctx_probability", {"0"}},
      {"init_hctx_interval", {"1", "3"}},
      {"init_hctx_times", {"0", "5"}},
  };
  return made;
}

bool contradicts(std::string_view key, std::string_view value, std::string_view other_key,
                 std::string_view other_value) {
  const bool is_set = value != "0";
  const bool other_is_none = other_value == "0";
  if (key == "cache_size" || key == "memory_limit") {
    return is_set && other_key == "memory_backed" && other_is_none;
  }
  for (const std::string_view op : {"discard", "write_zeroes"}) {
    if (key != std::string{op} + "_alignment" || !is_set) continue;
    if (other_key == std::string{op} + "_granularity") return other_is_none;
    return other_key == "chunk_sectors" && !other_is_none;
  }
  return false;
}

/// One disk of the matrix, its reference, and the I/O that is in flight.
class RandomHost {
 public:
  RandomHost(const std::string& text, std::uint64_t seed, null_block::TagPool* pool)
      : world_{text, context_count, pool},
        random_{seed},
        block_sectors_{config().blocksize / mq::sector_bytes},
        reference_{static_cast<std::size_t>(config().size / config().blocksize),
                   config().cache_size != 0} {}

  void run(std::uint64_t count) {
    for (std::uint64_t i = 0; i != count && !testing::Test::HasFailure(); ++i) {
      if (one_of(25)) {
        finish_all();
        change();
      }
      start();
      if (one_of(4)) finish_all();
    }
    finish_all();
    for (std::size_t i = 0; i != reference_.size() && !testing::Test::HasFailure(); ++i) {
      check_block(i);
    }
  }

 private:
  static constexpr std::uint32_t context_count = 3;
  static constexpr std::size_t max_blocks = 24;

  struct InFlight {
    mq::Op op{};
    std::size_t begin = 0;
    std::size_t count = 0;
    std::uint32_t value = 0;
    bool is_durable = false;
    bool may_be_bad = false;
    std::unique_ptr<TestBio> bio;
  };

  [[nodiscard]] const null_block::Config& config() { return world_.disk->config(); }
  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  [[nodiscard]] bool one_of(std::uint64_t count) { return below(count) == 0; }

  /// A power cut, bad blocks, or a parameter that changes while the disk is up.
  void change() {
    if (config().cache_size != 0 && one_of(2)) {
      world_.cut_power(random_());
      reference_.cut_power();
    } else if (one_of(3)) {
      const std::uint64_t first = below(config().size / mq::sector_bytes);
      const std::string range = std::to_string(first) + "-" + std::to_string(first + below(20));
      world_.must_set("badblocks", "+" + range);
      if (is_bad_) world_.must_set("badblocks", "-0-" + std::to_string(config().size));
      is_bad_ = !is_bad_;
    } else {
      change_parameter();
    }
  }
  void change_parameter() {
    const null_world::Choice& choice = choices()[below(choices().size())];
    const null_block::Parameter* const parameter = null_block::find_parameter(choice.key);
    if (parameter->change == null_block::Change::never) return;
    // The new value may contradict another parameter. Nothing changes then.
    static_cast<void>(world_.disk->set(choice.key, choice.values[below(choice.values.size())]));
  }

  void start() {
    InFlight made;
    const std::array ops{mq::Op::read,  mq::Op::read,    mq::Op::write,       mq::Op::write,
                         mq::Op::write, mq::Op::discard, mq::Op::write_zeroes};
    made.op = one_of(20) ? mq::Op::flush : ops[below(ops.size())];
    made.count = 1 + static_cast<std::size_t>(below(std::min(max_blocks, reference_.size())));
    made.begin = static_cast<std::size_t>(below(reference_.size() - made.count + 1));
    made.value = ++value_;
    if (made.op == mq::Op::discard || made.op == mq::Op::write_zeroes) made.value = 0;
    const mq::IoFlags flags{.fua = made.op == mq::Op::write && one_of(5),
                            .polled = mq::has_data(made.op) && one_of(3)};
    made.is_durable = flags.fua || made.op == mq::Op::discard || made.op == mq::Op::write_zeroes;
    if (made.op == mq::Op::flush || flags.fua || overlaps(made)) finish_all();
    made.may_be_bad = is_bad_;
    submit(std::move(made), flags);
    if (in_flight_.back().op == mq::Op::flush || flags.fua) finish_all();
  }
  [[nodiscard]] bool overlaps(const InFlight& made) const {
    return std::ranges::any_of(in_flight_, [&](const InFlight& other) {
      return made.begin < other.begin + other.count && other.begin < made.begin + made.count;
    });
  }

  void submit(InFlight made, mq::IoFlags flags) {
    const auto block_bytes = static_cast<std::size_t>(config().blocksize);
    made.bio = std::make_unique<TestBio>(mq::has_data(made.op) ? made.count * block_bytes : 0,
                                         std::byte{0xEE});
    if (made.op == mq::Op::write) fill(made.bio->memory, made.value);
    TestBio& bio = *made.bio;
    const std::uint64_t sector = made.begin * block_sectors_;
    const std::uint64_t bytes = made.count * block_bytes;
    const blkown::Segment memory{bio.memory.data(), bio.memory.size()};
    switch (made.op) {
      case mq::Op::read: bio.bio.set_read(sector, memory, bio.on_end(), flags); break;
      case mq::Op::write: bio.bio.set_write(sector, memory, bio.on_end(), flags); break;
      case mq::Op::flush: bio.bio.set_flush(bio.on_end()); break;
      case mq::Op::discard: bio.bio.set_discard(sector, bytes, bio.on_end()); break;
      default: bio.bio.set_write_zeroes(sector, bytes, bio.on_end()); break;
    }
    for (std::size_t i = made.begin; made.op == mq::Op::write && i != made.begin + made.count; ++i)
      reference_.begin_write(i, made.value);
    const auto context = static_cast<std::uint32_t>(below(context_count));
    in_flight_.push_back(std::move(made));
    world_.disk->disk().submit(world_.runtime.context(context), bio.bio);
  }

  void finish_all() {
    for (InFlight& each : in_flight_) {
      world_.finish(*each.bio);
      judge(each);
    }
    in_flight_.clear();
  }

  /// Checks that a status has a cause, and tells the reference what may have happened.
  void judge(const InFlight& io) {
    const Status status = io.bio->status();
    ASSERT_TRUE(status == Status::ok || has_cause(io, status))
        << to_string(io.op) << " of " << io.count << " blocks at " << io.begin << ": "
        << to_string(status);
    switch (io.op) {
      case mq::Op::read:
        if (status == Status::ok) check_read(io);
        return;
      case mq::Op::flush:
        if (status == Status::ok) reference_.flush();
        return;
      case mq::Op::discard:
        if (status == Status::ok) return judge_discard(io);
        break;
      default: break;
    }
    if (status == Status::not_supported) return;
    for (std::size_t i = io.begin; i != io.begin + io.count; ++i) {
      if (status != Status::ok) {
        reference_.fail_write(i, io.value);
      } else if (config().memory_backed != 0) {
        reference_.end_write(i, io.value, io.is_durable);
      }
    }
    // The block layer's flush has covered all that had ended before.
    if (status == Status::ok && io.op == mq::Op::write && io.is_durable && config().fua == 0)
      reference_.flush();
  }
  [[nodiscard]] bool has_cause(const InFlight& io, Status status) {
    switch (status) {
      case Status::io_error: return io.may_be_bad && io.op != mq::Op::flush;
      case Status::timed_out: return config().timeout_probability != 0;
      case Status::no_space: return config().memory_limit != 0 && io.op == mq::Op::write;
      case Status::not_supported:
        if (config().read_only != 0) return mq::is_write(io.op);
        if (io.op == mq::Op::discard) return config().discard == 0;
        return io.op == mq::Op::write_zeroes && config().write_zeroes == 0;
      default: return false;
    }
  }
  /// Whole units are zero, and the others as they were.
  void judge_discard(const InFlight& io) {
    if (config().memory_backed == 0) return;
    const std::uint64_t block = config().blocksize;
    const std::uint64_t unit = std::max(config().discard_granularity, block);
    const std::uint64_t alignment = config().discard_alignment;
    for (std::size_t i = io.begin; i != io.begin + io.count; ++i) {
      const std::uint64_t at = i * block;
      // Before the first unit lies the end of one that begins before the disk.
      const std::uint64_t into = (at + unit - alignment) % unit;
      const bool begins = at >= into + io.begin * block;
      const bool ends = at - into + unit <= (io.begin + io.count) * block;
      if (begins && ends) reference_.end_write(i, 0, true);
    }
  }
  void check_read(const InFlight& io) {
    const auto block_bytes = static_cast<std::size_t>(config().blocksize);
    for (std::size_t i = 0; i != io.count; ++i) {
      check_memory(io.begin + i, io.bio->memory.data() + i * block_bytes, block_bytes);
    }
  }
  void check_block(std::size_t index) {
    world_.must_set("badblocks", "-0-" + std::to_string(config().size));
    InFlight io;
    io.op = mq::Op::read;
    io.begin = index;
    io.count = 1;
    submit(std::move(io), {});
    finish_all();
  }
  void check_memory(std::size_t block, const std::byte* memory, std::size_t length) {
    std::uint32_t value = 0;
    std::memcpy(&value, memory, sizeof(value));
    for (std::size_t i = 0; i < length; i += sizeof(value)) {
      ASSERT_EQ(std::memcmp(memory + i, &value, sizeof(value)), 0)
          << "block " << block << " is torn at byte " << i;
    }
    if (config().memory_backed == 0) {
      ASSERT_EQ(value, 0xEEEEEEEEU) << "a read without memory has written";
      return;
    }
    ASSERT_TRUE(reference_.read(block, value))
        << "block " << block << " holds " << value << ", and "
        << testing::PrintToString(reference_.current(block)) << " is allowed";
  }

  static void fill(std::vector<std::byte>& memory, std::uint32_t value) {
    for (std::size_t i = 0; i != memory.size(); i += sizeof(value)) {
      std::memcpy(memory.data() + i, &value, sizeof(value));
    }
  }

  null_world::World world_;
  std::mt19937_64 random_;
  std::uint64_t block_sectors_;
  Reference reference_;
  std::uint32_t value_ = 0;
  bool is_bad_ = false;
  std::vector<InFlight> in_flight_;
};

TEST(NullBlockMatrix, HasEachParameterOfADiskWithoutZones) {
  for (const null_block::Parameter& each : null_block::parameters) {
    const bool is_there = std::ranges::any_of(
        choices(), [&](const null_world::Choice& choice) { return choice.key == each.key; });
    EXPECT_TRUE(is_there || std::string_view{each.key}.starts_with("zone"))
        << each.key << " has no values in the matrix";
  }
}

TEST(NullBlockMatrix, CoversEachPairOfValuesThatDoNotContradict) {
  const null_world::Matrix matrix{choices(), &contradicts};
  std::size_t found = 0;
  for (std::size_t a = 0; a != choices().size(); ++a) {
    for (std::size_t b = a + 1; b != choices().size(); ++b) {
      std::set<std::pair<std::size_t, std::size_t>> seen;
      for (const auto& row : matrix.rows()) seen.insert({row[a], row[b]});
      found += seen.size();
    }
  }
  EXPECT_EQ(found, matrix.pairs());
}

TEST(NullBlockMatrix, EachRowAgreesWithTheReference) {
  const null_world::Matrix matrix{choices(), &contradicts};
  const std::uint64_t count = stress::scaled(500, 100);
  const std::uint64_t seed = stress::seed();
  auto pool = null_block::TagPool::create(
      {.queue_count = 1, .depth = 7, .layout = blkown::CookieLayout::nbd()});
  ASSERT_TRUE(pool.has_value());
  for (const auto& row : matrix.rows()) {
    const std::string text = matrix.text(row);
    SCOPED_TRACE(text);
    const bool shares = text.find("shared_tags=1") != text.npos;
    RandomHost host{text, seed, shares ? pool->get() : nullptr};
    host.run(count);
    if (HasFailure()) return;
  }
}

}  // namespace
