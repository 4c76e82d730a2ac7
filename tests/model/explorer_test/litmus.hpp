// SPDX-License-Identifier: BSL-1.0
//
// Small programs with known outcomes (litmus tests) for the tests of the explorer. Each notes the
// values that its threads read. The set of notes over all executions must equal the set that C++20
// permits, within the limits that ../README.md states.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_TEST_LITMUS_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_TEST_LITMUS_HPP

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "../explorer/explorer.hpp"

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;

using Flag = model::atomic<std::uint32_t>;
using Outcomes = std::set<std::string>;

/// The values that the threads of a program read: r[0], r[1], ..., as a string of digits.
struct Litmus {
  std::array<int, 4> r{};
  int noted = 0;

  void note(int index, std::uint64_t value) {
    r[static_cast<std::size_t>(index)] = static_cast<int>(value);
    if (noted <= index) noted = index + 1;
  }
  [[nodiscard]] std::string text() const {
    std::string digits;
    for (int i = 0; i != noted; ++i) digits += std::to_string(r[static_cast<std::size_t>(i)]);
    return digits;
  }
};

struct Explored {
  Outcomes outcomes;
  model::Exploration exploration;
};

template <class P>
struct Collect final : model::Visitor<P> {
  Outcomes outcomes;
  void visit(P& program) override { outcomes.insert(program.text()); }
};

template <class P, auto... Bodies>
Explored run(const model::Options& options = {}) {
  Collect<P> collect;
  model::Program program = model::program_of<P, Bodies...>();
  program.finish_context = static_cast<model::Visitor<P>*>(&collect);
  model::Exploration exploration = model::explore(program, options);
  return {std::move(collect.outcomes), std::move(exploration)};
}

/// Runs all executions, which must not fail. Returns the notes.
template <class P, auto... Bodies>
Outcomes outcomes_of(const model::Options& options = {}) {
  Explored explored = run<P, Bodies...>(options);
  EXPECT_FALSE(explored.exploration.failed) << explored.exploration.message << '\n'
                                            << explored.exploration.schedule;
  return explored.outcomes;
}

/// Runs a program that must fail, and returns the message.
template <class P, auto... Bodies>
std::string failure_of(const model::Options& options = {}) {
  const Explored explored = run<P, Bodies...>(options);
  EXPECT_TRUE(explored.exploration.failed);
  return explored.exploration.message;
}

inline bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// --- programs that several tests use ---

struct StoreBuffering : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    x.store(1, release);
    note(0, y.load(acquire));
  }
  void second() {
    y.store(1, release);
    note(1, x.load(acquire));
  }
};

/// Two loads of one atomic never go back to an older store.
struct ReadRead : Litmus {
  Flag x{0};
  void writes() {
    x.store(1, relaxed);
    x.store(2, relaxed);
  }
  void reads() {
    note(0, x.load(relaxed));
    note(1, x.load(relaxed));
  }
};

struct Additions : Litmus {
  Flag x{0};
  void adds() { x.fetch_add(1, relaxed); }
  void finish() { note(0, x.load(relaxed)); }
};

#endif
