// SPDX-License-Identifier: BSL-1.0
//
// Goal: nothing on the path of an I/O is written by one context and touched by another, as long as
// each context has a hardware queue of its own: neither a cache line, nor the line beside it, which
// a processor may fetch together with it.
// Method: the library's atomics record the lines that each context reads and writes. What is not
// atomic is recorded by tests/instructions/own_lines.py, in a trace of all accesses.

// clang-format off: the atomic provider must be included first.
#include "support/line_atomic.hpp"
// clang-format on

#include <gtest/gtest.h>

#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace mq = blkown::mq;
using blkown::Status;

/// Publishes each request into the ring of its queue. reap() is the device.
struct RingDriver {
  struct RequestData {};
  struct alignas(128) HwData {
    std::array<std::uint64_t, 64> ring{};
    std::size_t count = 0;
    const mq::detail::SubmitQueue<RingDriver>* submitter = nullptr;  // for its name
  };
  struct QueueData {};
  using Hw = mq::HwQueue<RingDriver>;
  using Rq = mq::Request<RingDriver>;

  mq::Dispatch<RingDriver> queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    hw.data.submitter = mq::detail::state_of(idle.data()).submitter;
    std::move(idle).start().publish(
        [&](const blkown::Cookie& cookie) { hw.data.ring[hw.data.count++] = cookie.value; });
    return mq::Dispatch<RingDriver>::accepted();
  }
  static void reap(Hw& hw) {
    while (hw.data.count != 0) std::move(*hw.claim(hw.data.ring[--hw.data.count])).end_ok();
  }
};

/// The bios of one context, on lines of their own.
struct alignas(128) OwnBios {
  explicit OwnBios(std::size_t count) {
    for (std::size_t i = 0; i != count; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(
          8 * i, blkown::Segment{memory.data(), memory.size()},
          {[](void* self, mq::Bio&) { ++static_cast<OwnBios*>(self)->ended; }, this})));
    }
  }
  std::array<std::byte, 512> memory{};
  std::size_t ended = 0;
  std::vector<std::unique_ptr<mq::Bio>> bios;
};

struct Shape {
  std::uint32_t depth;
  std::size_t bios;  ///< Of each context.
};

/// A disk with a hardware queue for each context.
class Contexts {
 public:
  static constexpr std::uint32_t count = 3;

  explicit Contexts(Shape shape) : depth_{shape.depth} {
    for (std::uint32_t i = 0; i != count; ++i)
      bios_.push_back(std::make_unique<OwnBios>(shape.bios));
    disk_ = *mq::Disk<RingDriver>::create(
        {.capacity_sectors = 1024, .normal_queues = count, .depth = shape.depth}, driver_,
        runtime_);
  }
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
  ~Contexts() { static_cast<void>(mq::remove(runtime_, *disk_)); }

  /// Each context submits its bios, and completes and ends them.
  void round() {
    for (std::uint32_t i = 0; i != count; ++i) {
      support::line_log.begin(i);
      for (auto& bio : bios_[i]->bios) disk_->submit(runtime_.context(i), *bio);
      while (bios_[i]->ended != bios_[i]->bios.size()) {
        RingDriver::reap(hw(i));
        runtime_.context(i).run();
      }
      bios_[i]->ended = 0;
    }
    support::line_log.end();
  }

  /// What a context has written and another has touched, by name.
  [[nodiscard]] std::set<std::string> shared() {
    std::set<std::string> found;
    for (const auto& [pair, uses] : support::line_log.uses()) {
      for (const auto& [writer, use] : uses) {
        if (!use.is_written) continue;
        for (const auto& [other, its_use] : uses) {
          if (other == writer) continue;
          found.insert(name_of(use.address) + " is written by context " + std::to_string(writer) +
                       ", and " + name_of(its_use.address) + " used by context " +
                       std::to_string(other));
        }
      }
    }
    return found;
  }

 private:
  struct Object {
    std::string name;
    const void* begin;
    std::size_t bytes;
  };

  [[nodiscard]] mq::HwQueue<RingDriver>& hw(std::uint32_t index) {
    return disk_->hw_queue(blkown::QueueIndex{index});
  }

  [[nodiscard]] std::vector<Object> objects() {
    std::vector<Object> all{{"Disk", disk_.get(), sizeof *disk_}};
    auto& tags = disk_->pool().tags();
    for (std::uint32_t i = 0; i != count; ++i) {
      const std::string of = " of queue " + std::to_string(i);
      const blkown::QueueIndex queue{i};
      all.push_back({"Context " + std::to_string(i), &runtime_.context(i), sizeof(mq::Context)});
      all.push_back({"HwQueue" + of, &hw(i), sizeof hw(i)});
      all.push_back({"SubmitQueue" + of, hw(i).data.submitter, sizeof *hw(i).data.submitter});
      all.push_back({"TagLine" + of, &disk_->pool().line(queue), sizeof disk_->pool().line(queue)});
      for (blkown::Tag tag; tag.value != depth_; ++tag.value) {
        all.push_back({"request " + std::to_string(tag.value) + of, &tags.header(queue, tag),
                       sizeof(RingDriver::Rq)});
      }
    }
    return all;
  }
  [[nodiscard]] std::string name_of(std::uintptr_t address) {
    for (const Object& object : objects()) {
      const auto begin = reinterpret_cast<std::uintptr_t>(object.begin);
      if (address >= begin && address - begin < object.bytes) {
        return object.name + " + " + std::to_string(address - begin);
      }
    }
    const auto tags = reinterpret_cast<std::uintptr_t>(
        &disk_->pool().tags().header(blkown::QueueIndex{0}, blkown::Tag{0}));
    return address < tags ? "the TagSet's memory " + std::to_string(tags - address) + " before it"
                          : "something";
  }

  std::uint32_t depth_;
  mq::LoopRuntime runtime_{count};
  RingDriver driver_;
  std::vector<std::unique_ptr<OwnBios>> bios_;
  std::unique_ptr<mq::Disk<RingDriver>> disk_;
};

std::set<std::string> shared_by_contexts(Shape shape) {
  Contexts contexts{shape};
  for (int round = 0; round != 3; ++round) contexts.round();
  support::line_log = {};
  for (int round = 0; round != 3; ++round) contexts.round();
  EXPECT_FALSE(support::line_log.uses().empty()) << "nothing was recorded";
  const std::set<std::string> found = contexts.shared();
  support::line_log = {};
  return found;
}

const std::set<std::string> nothing;

TEST(OwnLines, OfContextsWithQueuesOfTheirOwn) {
  EXPECT_EQ(shared_by_contexts({.depth = 32, .bios = 16}), nothing);
}

// Goal: the same where one queue's tags and requests end in the middle of a pair of lines.
TEST(OwnLines, OfQueuesWhoseSizesAreOdd) {
  for (const std::uint32_t depth : {1U, 3U, 5U, 33U}) {
    EXPECT_EQ(shared_by_contexts({.depth = depth, .bios = depth}), nothing) << "depth " << depth;
  }
}

// Goal: the same while bios wait for tags, so that each I/O takes and gives a bit of the bitmap.
TEST(OwnLines, OfContextsWhoseBiosWaitForTags) {
  EXPECT_EQ(shared_by_contexts({.depth = 4, .bios = 24}), nothing);
}

}  // namespace
