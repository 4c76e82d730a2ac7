// SPDX-License-Identifier: BSL-1.0
//
// World: a null block disk on a loop with a clock that the test moves.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_WORLD_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_WORLD_HPP

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"

namespace null_world {

namespace mq = blkown::mq;
using blkown::Status;

/// A bio with its memory.
struct TestBio {
  explicit TestBio(std::size_t length_bytes, std::byte fill) : memory(length_bytes, fill) {}
  [[nodiscard]] Status status() const { return bio.status(); }
  [[nodiscard]] mq::OnEnd<mq::Bio> on_end() {
    return {[](void* self, mq::Bio&) { static_cast<TestBio*>(self)->has_ended = true; }, this};
  }
  std::vector<std::byte> memory;
  mq::Bio bio;
  bool has_ended = false;
};

class World {
 public:
  /// Makes a disk of KEY=VALUE,... on `contexts` contexts.
  explicit World(std::string_view text, std::uint32_t contexts = 1,
                 null_block::TagPool* pool = nullptr)
      : runtime{contexts, {.argument = &now_ns, .now_ns = [](void* now) {
                             return *static_cast<std::uint64_t*>(now);
                           }}} {
    auto made = make(text, pool);
    if (made) {
      disk = *std::move(made);
      disk->disk().set_trace({[](void* self, const mq::TraceEvent& event) {
                                auto& world = *static_cast<World*>(self);
                                if (event.step == mq::TraceStep::allocated)
                                  world.issued.push_back(event);
                              },
                              this});
    } else {
      ADD_FAILURE() << made.error().text;
    }
  }

  std::expected<std::unique_ptr<null_block::NullDisk<mq::LoopRuntime>>, null_block::ConfigError>
  make(std::string_view text, null_block::TagPool* pool = nullptr) {
    const auto config = null_block::parse_config(text);
    if (!config) return std::unexpected(config.error());
    return null_block::NullDisk<mq::LoopRuntime>::create(*config, runtime, pool);
  }

  /// Starts a bio. Its memory is full of `fill`.
  std::unique_ptr<TestBio> start(mq::Op op, std::uint64_t sector, std::uint64_t sectors,
                                 std::byte fill = std::byte{0xEE}, mq::IoFlags flags = {},
                                 std::uint32_t context = 0) {
    const std::size_t bytes = static_cast<std::size_t>(sectors) * mq::sector_bytes;
    auto made = std::make_unique<TestBio>(mq::has_data(op) ? bytes : 0, fill);
    const blkown::Segment memory{made->memory.data(), made->memory.size()};
    switch (op) {
      case mq::Op::read: made->bio.set_read(sector, memory, made->on_end(), flags); break;
      case mq::Op::write: made->bio.set_write(sector, memory, made->on_end(), flags); break;
      case mq::Op::flush: made->bio.set_flush(made->on_end(), flags); break;
      case mq::Op::discard: made->bio.set_discard(sector, bytes, made->on_end(), flags); break;
      default: made->bio.set_write_zeroes(sector, bytes, made->on_end(), flags); break;
    }
    disk->disk().submit(runtime.context(context), made->bio);
    return made;
  }
  /// Lets time pass, and runs what is due.
  void pass(std::uint64_t ns) {
    now_ns += ns;
    runtime.run();
  }
  /// Runs, and moves the clock from timer to timer, until the bio has ended.
  void finish(TestBio& bio) {
    runtime.run();
    while (!bio.has_ended) {
      for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
        static_cast<void>(disk->disk().poll(runtime.context(i)));
      }
      runtime.run();
      const auto next = runtime.next_timer_ns();
      if (bio.has_ended || !next) break;
      now_ns = std::max(now_ns, *next);
      runtime.run();
    }
    ASSERT_TRUE(bio.has_ended);
  }
  Status run(mq::Op op, std::uint64_t sector, std::uint64_t sectors, mq::IoFlags flags = {}) {
    const auto bio = start(op, sector, sectors, std::byte{0xEE}, flags);
    finish(*bio);
    return bio->status();
  }
  Status write(std::uint64_t sector, std::uint64_t sectors, unsigned value,
               mq::IoFlags flags = {}) {
    const auto bio = start(mq::Op::write, sector, sectors, static_cast<std::byte>(value), flags);
    finish(*bio);
    return bio->status();
  }
  Status write(std::uint64_t sector, std::span<const blkown::Segment> pieces) {
    TestBio bio{0, {}};
    bio.bio.set_write(sector, pieces, bio.on_end());
    disk->disk().submit(runtime.context(0), bio.bio);
    finish(bio);
    return bio.status();
  }
  std::vector<std::byte> bytes(std::uint64_t sector, std::uint64_t sectors) {
    const auto bio = start(mq::Op::read, sector, sectors);
    finish(*bio);
    EXPECT_EQ(bio->status(), Status::ok);
    return bio->memory;
  }
  /// The first byte of each sector.
  std::string content(std::uint64_t sector, std::uint64_t sectors) {
    const auto read = bytes(sector, sectors);
    std::string text;
    for (std::size_t i = 0; i < read.size(); i += mq::sector_bytes) {
      char one[4];
      std::snprintf(one, sizeof(one), "%02x", std::to_integer<unsigned>(read[i]));
      text += (text.empty() ? "" : " ") + std::string{one};
    }
    return text;
  }
  void must_set(std::string_view key, std::string_view value) {
    const auto set = disk->set(key, value);
    EXPECT_TRUE(set.has_value()) << set.error().text;
  }

  /// The ranges of the requests that were made since the last call: "0+8 8+8", in sectors.
  std::string take_ranges() {
    std::string text;
    for (const mq::TraceEvent& each : std::exchange(issued, {})) {
      text += (text.empty() ? "" : " ") + std::to_string(each.sector) + "+" +
              std::to_string(each.length_bytes / mq::sector_bytes);
    }
    return text;
  }
  /// The hardware queues of those requests: "0 1".
  std::string take_queues() {
    std::string text;
    for (const mq::TraceEvent& each : std::exchange(issued, {})) {
      text += (text.empty() ? "" : " ") + std::to_string(each.queue.value);
    }
    return text;
  }
  /// Cuts the power, and turns it on again.
  void cut_power(std::uint64_t seed = 0) const {
    disk->power_off(seed);
    disk->power_on();
  }
  void must_refuse(std::string_view key, std::string_view value, std::string_view text) {
    const auto set = disk->set(key, value);
    ASSERT_FALSE(set.has_value()) << key << "=" << value;
    EXPECT_EQ(set.error().text, text);
  }

  std::vector<mq::TraceEvent> issued;
  std::uint64_t now_ns = 1'000'000'000;
  mq::LoopRuntime runtime;
  std::unique_ptr<null_block::NullDisk<mq::LoopRuntime>> disk;
};

}  // namespace null_world

#endif
