// SPDX-License-Identifier: BSL-1.0
//
// Random tests of examples/null_block against a plain reference: each pair of values of two
// parameters, and power cuts.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
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

#include "choices.hpp"
#include "matrix.hpp"
#include "null_block/null_block.hpp"
#include "reference.hpp"
#include "stress/effort.hpp"
#include "world.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using null_world::Reference;
using null_world::TestBio;

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
    const auto& choices = null_world::choices(false);
    const null_world::Choice& choice = choices[below(choices.size())];
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

TEST(NullBlockMatrix, HasEachParameter) {
  for (const null_block::Parameter& each : null_block::parameters) {
    const bool is_there = std::ranges::any_of(
        null_world::all_choices,
        [&](const null_world::Choice& choice) { return choice.key == each.key; });
    EXPECT_TRUE(is_there) << each.key << " has no values in the matrix";
  }
}

TEST(NullBlockMatrix, EachCombinationThatIsLeftOutIsRefused) {
  for (const null_world::Combination& each : null_world::refused_combinations()) {
    const auto base = null_block::parse_config(
        "size=1m,blocksize=512,discard_granularity=128k,write_zeroes_granularity=128k"
        ",zone_size=256k");
    ASSERT_TRUE(base.has_value());
    std::string text;
    for (const auto& [key, value] : each.values) {
      text += (text.empty() ? "" : ",") + std::string{key} + "=" + std::string{value};
    }
    mq::LoopRuntime runtime{1};
    const auto config = null_block::parse_config(text, *base);
    if (!config) {
      EXPECT_EQ(config.error().text, each.error) << text;
      continue;
    }
    const auto disk = null_block::NullDisk<mq::LoopRuntime>::create(*config, runtime);
    ASSERT_FALSE(disk.has_value()) << text;
    EXPECT_EQ(disk.error().text, each.error) << text;
  }
}

/// Whether the two values alone are refused.
bool are_refused(const null_world::Choice& a, const std::string& x, const null_world::Choice& b,
                 const std::string& y) {
  return std::ranges::any_of(
      null_world::refused_combinations(), [&](const null_world::Combination& each) {
        return each.values.size() == 2 && std::ranges::all_of(each.values, [&](const auto& value) {
                 return (value.key == a.key && value.value == x) ||
                        (value.key == b.key && value.value == y);
               });
      });
}

/// The pairs KEY=VALUE KEY=VALUE that rows of the matrix have.
std::set<std::string> pairs_in_rows(bool is_zoned) {
  std::set<std::string> found;
  const auto& choices = null_world::choices(is_zoned);
  for (const auto& row : null_world::matrix(is_zoned).rows()) {
    std::vector<std::string> values;
    for (std::size_t i = 0; i != row.size(); ++i) {
      values.push_back(choices[i].key + "=" + choices[i].values[row[i]]);
    }
    for (std::size_t a = 0; a != values.size(); ++a) {
      for (std::size_t b = a + 1; b != values.size(); ++b) {
        found.insert(values[a] + " " + values[b]);
      }
    }
  }
  return found;
}

/// Expects each pair of the choices' values, but for refused ones. Returns how many are refused.
unsigned expect_pairs(const std::vector<null_world::Choice>& choices,
                      const std::set<std::string>& found) {
  unsigned refused = 0;
  for (std::size_t a = 0; a != choices.size(); ++a) {
    for (std::size_t b = a + 1; b != choices.size(); ++b) {
      for (const std::string& x : choices[a].values) {
        for (const std::string& y : choices[b].values) {
          const std::string pair = choices[a].key + "=" + x + " " + choices[b].key + "=" + y;
          const bool is_refused = are_refused(choices[a], x, choices[b], y);
          EXPECT_EQ(found.contains(pair), !is_refused) << pair;
          if (is_refused) ++refused;
        }
      }
    }
  }
  return refused;
}

TEST(NullBlockMatrix, CoversEachPairOfValuesThatIsNotRefused) {
  std::set<std::string> all;
  for (const bool is_zoned : {false, true}) {
    SCOPED_TRACE(is_zoned ? "zoned" : "flat");
    std::set<std::string> found = pairs_in_rows(is_zoned);
    EXPECT_EQ(expect_pairs(null_world::choices(is_zoned), found), 3U);
    all.merge(found);
  }
  EXPECT_EQ(expect_pairs(null_world::all_choices, all), 6U);
}

TEST(NullBlockMatrix, EachRowWithoutZonesAgreesWithTheReference) {
  const null_world::Matrix& matrix = null_world::matrix(false);
  const std::uint64_t count = null_world::ios_of_row(500, 100);
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
  RecordProperty("rows", static_cast<int>(matrix.rows().size()));
  RecordProperty("ios", static_cast<int>(matrix.rows().size() * count));
}

}  // namespace
