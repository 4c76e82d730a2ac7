// SPDX-License-Identifier: BSL-1.0
//
// Goal: sleep sets skip no execution that matters.
// Method: random programs of three threads with a few operations on two atomics and one piece of
// data run with and without the reduction. Both find the same outcomes, and both find a data race
// or none.

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "../explorer/explorer.hpp"

namespace {

using model::OpKind;

constexpr std::memory_order load_orders[] = {std::memory_order_relaxed, std::memory_order_acquire};
constexpr std::memory_order store_orders[] = {std::memory_order_relaxed, std::memory_order_release};
constexpr std::memory_order rmw_orders[] = {std::memory_order_relaxed, std::memory_order_acquire,
                                            std::memory_order_release, std::memory_order_acq_rel};

enum class Act : std::uint8_t { load, store, add, weak, strong, read_data, write_data, count };

struct Line {
  Act act;
  std::uint8_t location;
  std::uint8_t value;
  std::uint8_t order;
  bool only_if_seen;  // only if the last load of the thread read another value than 0
};

constexpr unsigned lines_each = 3;

// The current program: an object is created for each execution.
std::array<std::array<Line, lines_each>, 3> drawn;

struct Random {
  model::atomic<std::uint32_t> x{0};
  model::atomic<std::uint32_t> y{0};
  model::Data<int> data{0};
  std::array<std::string, 3> notes;

  void run(unsigned thread) {
    std::uint32_t seen = 0;
    for (const Line& line : drawn[thread]) {
      if (line.only_if_seen && seen == 0) continue;
      model::atomic<std::uint32_t>& at = line.location == 0 ? x : y;
      std::uint32_t expected = line.value % 2U;
      switch (line.act) {
        case Act::load: seen = at.load(load_orders[line.order % 2]); break;
        case Act::store: at.store(line.value, store_orders[line.order % 2]); continue;
        case Act::add: seen = at.fetch_add(line.value, rmw_orders[line.order]); break;
        case Act::weak:
          at.compare_exchange_weak(expected, line.value, rmw_orders[line.order],
                                   load_orders[line.order % 2]);
          seen = expected;
          break;
        case Act::strong:
          at.compare_exchange_strong(expected, line.value, rmw_orders[line.order],
                                     load_orders[line.order % 2]);
          seen = expected;
          break;
        case Act::read_data: seen = static_cast<std::uint32_t>(data.get()); break;
        case Act::write_data: data.set(line.value); continue;
        case Act::count: break;
      }
      notes[thread] += static_cast<char>('0' + seen);
    }
  }
  void first() { run(0); }
  void second() { run(1); }
  void third() { run(2); }
  void finish() {
    notes[0] += "/" + notes[1] + "/" + notes[2] + "=";
    notes[0] += static_cast<char>('0' + x.load(std::memory_order_relaxed));
    notes[0] += static_cast<char>('0' + y.load(std::memory_order_relaxed));
  }
};

struct Collect final : model::Visitor<Random> {
  std::set<std::string> outcomes;
  void visit(Random& program) override { outcomes.insert(program.notes[0]); }
};

struct Explored {
  model::Exploration exploration;
  std::set<std::string> outcomes;
};

Explored explore(bool reduce) {
  Collect collect;
  model::Program program =
      model::program_of<Random, &Random::first, &Random::second, &Random::third>();
  program.finish_context = static_cast<model::Visitor<Random>*>(&collect);
  model::Options options;
  options.reduce = reduce;
  model::Exploration exploration = model::explore(program, options);
  return {std::move(exploration), std::move(collect.outcomes)};
}

TEST(Reduction, FindsTheSameAsTheWholeSearch) {
  std::mt19937 random{20'260'101};
  const auto below = [&](unsigned n) { return static_cast<std::uint8_t>(random() % n); };
  std::uint64_t reduced = 0;
  std::uint64_t whole = 0;
  int races = 0;
  for (int round = 0; round != 400; ++round) {
    for (auto& thread : drawn) {
      for (Line& line : thread) {
        // One line in eight accesses data: racy programs end early and test little.
        const Act act = below(8) == 0 ? static_cast<Act>(5 + below(2)) : static_cast<Act>(below(5));
        line = {act, below(2), static_cast<std::uint8_t>(1 + below(2)), below(4), below(4) == 0};
      }
    }
    const Explored with = explore(true);
    const Explored without = explore(false);
    ASSERT_EQ(with.exploration.failed, without.exploration.failed)
        << "round " << round << ": " << with.exploration.message << without.exploration.message;
    if (with.exploration.failed) {
      EXPECT_NE(with.exploration.message.find("data race"), std::string::npos)
          << with.exploration.message;
      ++races;
      continue;
    }
    ASSERT_EQ(with.outcomes, without.outcomes) << "round " << round;
    EXPECT_LE(with.exploration.executions, without.exploration.executions);
    reduced += with.exploration.executions;
    whole += without.exploration.executions;
  }
  EXPECT_GT(races, 20);
  EXPECT_LT(races, 350);
  // The reduction must be a large one.
  EXPECT_LT(reduced * 5, whole);
}

}  // namespace
