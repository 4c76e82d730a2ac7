// SPDX-License-Identifier: BSL-1.0
//
// Goal: an id in which one bit has changed names no other I/O in flight. The generations of two
// requests whose queue and tag differ in one bit differ too.
// Method: a table of the first generations; and a device with 64 tags and 48 I/Os in flight, which
// completes them in the order of their issue or in any order. Before each completion the driver
// looks up the id with one bit inverted.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::QueueIndex;
using blkown::Tag;
using support::Request;

namespace {

constexpr std::uint32_t flip_depth = 64;
constexpr unsigned flip_tag_bits = 6;
constexpr std::size_t flips_in_flight = 48;

enum class CompletionOrder : std::uint8_t { fifo, random };

struct FlipLayout {
  const char* name;
  CookieLayout layout;
};

std::vector<FlipLayout> flip_layouts() {
  constexpr CookieLayout eight_bits{.width_bits = 32,
                                    .queue = {},
                                    .tag = {.shift = 0, .bits = 16},
                                    .generation = {.shift = 16, .bits = 8},
                                    .user = {}};
  return {{"Nvme", CookieLayout::nvme()},
          {"EightBits", eight_bits},
          {"Nbd", CookieLayout::nbd()},
          {"IoUring", CookieLayout::io_uring()}};
}

/// A device that holds 48 I/Os.
class FlippedDevice {
 public:
  FlippedDevice(const CookieLayout& layout, CompletionOrder order)
      : order_{order},
        set_{support::TagSet::create({.queue_count = 1, .depth = flip_depth, .layout = layout},
                                     blkown::EndSink<Request>::to(sink_))
                 .value()},
        cache_{set_.tag_cache(QueueIndex{0})} {
    sink_.cache = &cache_;
    while (in_flight_.size() != flips_in_flight) issue();
  }
  ~FlippedDevice() {
    while (!in_flight_.empty()) complete();
  }

  /// The number of `count` lookups that accept an id with one bit inverted, of the lowest
  /// `bit_count` bits. The I/Os complete and are replaced between the lookups.
  [[nodiscard]] std::uint32_t accepted(std::uint32_t count, unsigned bit_count) {
    std::uint32_t wrong = 0;
    for (std::uint32_t i = 0; i != count; ++i) {
      const std::uint64_t id = oldest();
      auto claim = set_.claim(QueueIndex{0}, id ^ std::uint64_t{1} << (random_() % bit_count));
      if (claim.has_value()) {
        // A wrong user bit still names the same I/O.
        if (claim->cookie().value != id) ++wrong;
        std::move(*claim).release();
      }
      complete();
      issue();
    }
    return wrong;
  }

 private:
  struct Sink {
    void operator()(support::EndedList&& list) const {
      while (auto ended = list.pop_front()) std::move(*ended).release(*cache);
    }
    blkown::TagCache* cache = nullptr;
  };

  /// The id that the device completes next, moved to the front.
  [[nodiscard]] std::uint64_t oldest() {
    if (order_ == CompletionOrder::random) {
      std::swap(in_flight_.front(), in_flight_[random_() % in_flight_.size()]);
    }
    return in_flight_.front();
  }
  void complete() {
    set_.claim(QueueIndex{0}, in_flight_.front()).value().end_ok();
    in_flight_.erase(in_flight_.begin());
  }
  void issue() {
    auto owned = set_.allocate(QueueIndex{0}, cache_).value().start();
    std::move(owned).publish([&](const Cookie& cookie) { in_flight_.push_back(cookie.value); });
  }

  CompletionOrder order_;
  std::mt19937_64 random_{2};
  std::vector<std::uint64_t> in_flight_;
  Sink sink_;
  support::TagSet set_;
  blkown::TagCache cache_;
};

class WrongBit : public testing::TestWithParam<std::tuple<FlipLayout, CompletionOrder>> {
 protected:
  static constexpr std::uint32_t lookups = 100'000;

  [[nodiscard]] const CookieLayout& layout() const { return std::get<0>(GetParam()).layout; }
  /// The number of wrong bits that may be accepted: none if the reuse counts of the tags run in
  /// step; else one of 14 with four generation bits, where chance alone accepts one of 21.
  [[nodiscard]] std::uint32_t allowed() const {
    const std::uint8_t bits = layout().generation.bits;
    const bool is_widest = bits == CookieLayout::widest_generation_bits;
    if (std::get<1>(GetParam()) == CompletionOrder::fifo || is_widest) return 0;
    return lookups / ((1U << bits) - 2);
  }
  FlippedDevice device_{layout(), std::get<1>(GetParam())};
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Layouts, WrongBit,
                         testing::Combine(testing::ValuesIn(flip_layouts()),
                                          testing::Values(CompletionOrder::fifo,
                                                          CompletionOrder::random)),
                         [](const auto& flip) {
                           const bool is_fifo = std::get<1>(flip.param) == CompletionOrder::fifo;
                           return std::string{std::get<0>(flip.param).name} +
                                  (is_fifo ? "Fifo" : "Random");
                         });

TEST_P(WrongBit, OfATagNamesNoOtherIoInFlight) {
  EXPECT_LE(device_.accepted(lookups, flip_tag_bits), allowed());
}

TEST_P(WrongBit, OfAnIdNamesNoOtherIoInFlight) {
  EXPECT_LE(device_.accepted(lookups, layout().width_bits), allowed());
}

// Goal: requests whose queue and tag differ in one bit have different generations, also in the
// lowest bits alone. With three bits or more this holds while one of the requests has been
// published once more than the other.
// Method: each bit of each tag and queue of a TagSet with all tags of an NVMe queue.
TEST(FirstGenerations, OfNeighboursAreApartInTheLowestBits) {
  auto set = support::TagSet::create({.queue_count = 4,
                                      .depth = 4095,
                                      .layout = CookieLayout::nvme(),
                                      .first_generation = Generation{77}},
                                     blkown::EndSink<Request>::freeing())
                 .value();
  const auto first_of = [&](std::uint32_t name) {
    auto idle = set.allocate_tag(QueueIndex{name >> 12}, Tag{name & 4095}).value();
    auto owned = std::move(idle).start();
    const std::uint32_t generation = owned.cookie().generation.value;
    std::move(owned).end_ok();
    return generation;
  };
  EXPECT_EQ(first_of(0), 77U);
  for (std::uint32_t name = 0; name != 4U << 12; ++name) {
    for (std::uint32_t bit = 1; bit != 4U << 12; bit <<= 1) {
      const std::uint32_t other = name ^ bit;
      if ((name & 4095) == 4095 || (other & 4095) == 4095) continue;
      const std::uint32_t apart = first_of(name) - first_of(other);
      ASSERT_NE(apart % 2, 0U) << name << " and " << other;
      for (const std::uint32_t range : {8U, 16U}) {
        ASSERT_GE((apart + 1) % range, 3U) << name << " and " << other << " modulo " << range;
      }
    }
  }
}

// Goal: the same for the highest tags and queues, and for tags that follow one another.
// Method: the steps, of which each first generation is a sum.
TEST(FirstGenerations, AreApartForEveryBitAndForConsecutiveTags) {
  std::uint32_t below = 0;
  for (unsigned bit = 0; bit != 48; ++bit) {
    const std::uint32_t step = blkown::detail::first_generation_step(bit);
    EXPECT_NE(step % 2, 0U) << bit;
    for (const std::uint32_t range : {8U, 16U, 1U << 16}) {
      // A 32-bit word's generations drift apart by thousands of publications, not by a few.
      const std::uint32_t margin = range == 1U << 16 ? 3'000 : 1;
      EXPECT_GT((step + margin) % range, 2 * margin) << bit << " modulo " << range;
    }
    if (bit == 32) below = 0;
    // From 0111 to 1000.
    for (const std::uint32_t range : {8U, 16U}) {
      EXPECT_GE((step - below + 1) % range, 3U) << bit << " modulo " << range;
    }
    below += step;
  }
}
