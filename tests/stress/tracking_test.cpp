// SPDX-License-Identifier: BSL-1.0
//
// Goal: the lists of the tracking build stay consistent while several contexts create, copy, move
// and drop references of the same requests, and of other requests in the same lists, and visit the
// holders.
//
// Method: threads, each with a few references that it creates and drops at random. The place of a
// reference depends on whether the tag of its request is even.
//
// Invariants: a visitor sees only places of the visited request. When all threads have finished,
// the holders are the references that are left; after their drop there are none.

#include <gtest/gtest.h>

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "effort.hpp"

namespace stress {
namespace {

struct Command {};
using Rq = blkown::Request<Command>;
using ARef = blkown::ARef<Rq>;
using blkown::Place;

static_assert(blkown::is_tracking);

// One more than there are lists, so that two requests share a list whatever their addresses are.
constexpr std::uint32_t request_count = 65;
constexpr std::uint32_t thread_count = 3;
constexpr std::size_t references_each = 8;

constexpr Place even = Place::current();
constexpr Place odd = Place::current();
static_assert(even.line() != odd.line());

class TrackedReferences : public testing::Test {
 protected:
  TrackedReferences() {
    for (std::uint32_t tag = 0; tag != request_count; ++tag) {
      std::move(*tags.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag})).start().park();
    }
  }
  void TearDown() override {
    tags.for_each_in_flight(blkown::QueueIndex{0},
                            [](const ARef& pin, const blkown::Cookie& cookie) {
                              std::move(*blkown::claim(pin, cookie)).end_ok();
                            });
  }

  /// References of even requests are created at one place, those of odd ones at the other.
  static const Place& place_of(std::uint32_t tag) { return tag % 2 == 0 ? even : odd; }
  [[nodiscard]] std::size_t holders_of(std::uint32_t tag) const {
    std::size_t count = 0;
    blkown::visit_holders(
        tags.header(blkown::QueueIndex{0}, blkown::Tag{tag}), [&](const Place& place) {
          ++count;
          EXPECT_EQ(place.line(), place_of(tag).line()) << "a holder of another request";
        });
    return count;
  }

  void act(Random& random, std::vector<std::optional<ARef>>& own) {
    auto& slot = own[random.below(references_each)];
    auto& other = own[random.below(references_each)];
    // Half of the time all threads use the same two requests.
    const auto tag =
        static_cast<std::uint32_t>(random.below(random.below(2) == 0 ? 2 : request_count));
    switch (random.below(6)) {
      case 0:
      case 1:
        slot.emplace(
            *tags.tag_to_rq_any_generation(blkown::QueueIndex{0}, blkown::Tag{tag}, place_of(tag)));
        break;
      case 2: slot.reset(); break;
      case 3: std::swap(slot, other); break;
      case 4:
        if (other.has_value()) {
          ARef copy{*other, place_of(other->tag().value)};
          slot = std::move(copy);
        }
        break;
      default: static_cast<void>(holders_of(tag)); break;
    }
  }

  blkown::TagSet<Rq> tags{std::move(
      *blkown::TagSet<Rq>::create({.depth = request_count, .layout = blkown::CookieLayout::nbd()},
                                  blkown::EndSink<Rq>::freeing()))};
};

TEST_F(TrackedReferences, OfSeveralThreadsAreListedAsLongAsTheyLive) {
  const std::uint64_t steps = scaled(200'000, 20'000);
  std::vector<std::vector<std::optional<ARef>>> references(thread_count);
  for (auto& own : references) own.resize(references_each);
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i != thread_count; ++i) {
    threads.emplace_back([&, i] {
      Random random{i};
      for (std::uint64_t step = 0; step != steps; ++step) act(random, references[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::array<std::size_t, request_count> expected{};
  for (const auto& own : references) {
    for (const auto& reference : own) {
      if (reference.has_value()) ++expected[reference->tag().value];
    }
  }
  for (std::uint32_t tag = 0; tag != request_count; ++tag) {
    EXPECT_EQ(holders_of(tag), expected[tag]) << "tag " << tag;
  }
  references.clear();
  for (std::uint32_t tag = 0; tag != request_count; ++tag) EXPECT_EQ(holders_of(tag), 0U);
}

}  // namespace
}  // namespace stress
