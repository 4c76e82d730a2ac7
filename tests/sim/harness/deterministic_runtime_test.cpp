// SPDX-License-Identifier: BSL-1.0
//
// Goal: at each step a DeterministicRuntime chooses among all the work that is ready, so that the
// seeds reach every order of execution.
// Method: the orders of a few pieces of work, over 200 seeds.

#include <gtest/gtest.h>

#include <array>
#include <blkown/mq/context.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace {

namespace mq = blkown::mq;
using blkown::sim::DeterministicRuntime;

constexpr std::uint64_t seed_count = 200;

/// Work that records when it ran.
struct Piece : mq::Work {
  Piece(std::vector<std::size_t>& its_order, std::size_t its_index)
      : Work{[](void* self, Work&) {
               auto& piece = *static_cast<Piece*>(self);
               piece.order.push_back(piece.index);
             },
             this},
        order{its_order},
        index{its_index} {}
  std::vector<std::size_t>& order;
  std::size_t index;
};

/// The order in which the seed runs `piece_count` pieces, posted to the contexts in turn.
[[nodiscard]] std::vector<std::size_t> order_of(std::uint64_t seed, std::size_t piece_count,
                                                std::uint32_t context_count) {
  DeterministicRuntime runtime{seed, context_count};
  std::vector<std::size_t> order;
  std::vector<std::unique_ptr<Piece>> pieces;
  for (std::size_t i = 0; i != piece_count; ++i) {
    pieces.push_back(std::make_unique<Piece>(order, i));
    runtime.context(static_cast<std::uint32_t>(i % context_count)).post(*pieces.back());
  }
  EXPECT_TRUE(runtime.run_until_idle(100));
  return order;
}

/// Over all seeds each piece runs at each place of the order, and each two pieces run in both
/// orders, often enough for a uniform choice.
void expect_every_order(std::size_t piece_count, std::uint32_t context_count) {
  std::vector<std::vector<int>> at_place(piece_count, std::vector<int>(piece_count));
  std::vector<std::vector<int>> is_before(piece_count, std::vector<int>(piece_count));
  for (std::uint64_t seed = 0; seed != seed_count; ++seed) {
    const std::vector<std::size_t> order = order_of(seed, piece_count, context_count);
    ASSERT_EQ(order.size(), piece_count);
    for (std::size_t place = 0; place != piece_count; ++place) {
      ++at_place[order[place]][place];
      for (std::size_t later = place + 1; later != piece_count; ++later) {
        ++is_before[order[place]][order[later]];
      }
    }
  }
  const int fair = static_cast<int>(seed_count / piece_count);
  for (std::size_t a = 0; a != piece_count; ++a) {
    for (std::size_t b = 0; b != piece_count; ++b) {
      EXPECT_GT(at_place[a][b], fair / 3) << "piece " << a << " at place " << b;
      if (a != b) {
        EXPECT_GT(is_before[a][b], static_cast<int>(seed_count / 3)) << a << " before " << b;
      }
    }
  }
}

TEST(DeterministicRuntimeChoice, AmongTheWorkOfOneContext) { expect_every_order(5, 1); }

TEST(DeterministicRuntimeChoice, AmongContexts) { expect_every_order(4, 4); }

TEST(DeterministicRuntimeChoice, AmongTheWorkOfSeveralContexts) { expect_every_order(6, 3); }

TEST(DeterministicRuntime, CallsTheIdleHooksWhenNothingIsLeftToRun) {
  DeterministicRuntime runtime{1, 2};
  std::vector<std::size_t> order;
  mq::IdleHook hook{[](void* its_order, mq::IdleHook&) {
                      static_cast<std::vector<std::size_t>*>(its_order)->push_back(7);
                    },
                    &order};
  runtime.context(1).add_idle_hook(hook);
  Piece piece{order, 1};
  runtime.context(0).post(piece);
  while (runtime.step()) {
  }
  ASSERT_GE(order.size(), 2U);
  EXPECT_EQ(order[0], 1U);
  EXPECT_EQ(order[1], 7U);
}

// A timer that is due is one of the choices: it runs before posted work with some seeds, and after
// the work with others.
TEST(DeterministicRuntimeChoice, BetweenADueTimerAndWork) {
  std::set<std::vector<std::size_t>> orders;
  for (std::uint64_t seed = 0; seed != seed_count; ++seed) {
    DeterministicRuntime runtime{seed, 2};
    std::vector<std::size_t> order;
    Piece first{order, 0}, second{order, 1}, timed{order, 2};
    struct Poster {
      DeterministicRuntime& runtime;
      Piece& first;
      Piece& second;
    } poster{runtime, first, second};
    mq::Alarm posts{[](void* self, mq::Alarm&) {
                      auto& its = *static_cast<Poster*>(self);
                      its.runtime.context(0).post(its.first);
                      its.runtime.context(1).post(its.second);
                    },
                    &poster};
    mq::Alarm other{[](void* self, mq::Alarm&) {
                      auto& piece = *static_cast<Piece*>(self);
                      piece.order.push_back(piece.index);
                    },
                    &timed};
    posts.arm(runtime.context(0), 1'000'000);
    other.arm(runtime.context(1), 1'000'000);
    ASSERT_TRUE(runtime.run_until_idle(100));
    ASSERT_EQ(order.size(), 3U);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6U) << "every order of the timer and the work occurs";
}

}  // namespace
