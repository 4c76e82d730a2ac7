// SPDX-License-Identifier: BSL-1.0
//
// The operations of an ownership word as tables of state before, state after and result. Each
// operation is tried from every state: from the states of its rows, and from the states that the
// operation must refuse. A refusal must leave the word unchanged.

#ifndef BLKOWN_TESTS_CORE_WORD_TABLE_HPP
#define BLKOWN_TESTS_CORE_WORD_TABLE_HPP

#include <gtest/gtest.h>

#include <blkown/detail/ref_word.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/word_text.hpp"

/// Each kind of state of a word.
inline constexpr std::string_view every_state[] = {"0",
                                                   "0 owned",
                                                   "1",
                                                   "2",
                                                   "3",
                                                   "4",
                                                   "2 claimed",
                                                   "3 claimed",
                                                   "4 claimed",
                                                   "1 finished",
                                                   "2 finished",
                                                   "3 finished",
                                                   "limit-1",
                                                   "limit",
                                                   "limit-1 claimed",
                                                   "limit claimed",
                                                   "limit finished"};

enum class Step { stays, advances };  // of the generation

/// One transition and its result. An empty `after` is not compared: the result is a violation,
/// after which the word is not used.
template <class Answer>
struct Row {
  std::string_view before;
  Answer answer;
  std::string_view after;
};

/// The rows of an operation. A state without a row must stay unchanged and give `otherwise`. The
/// operation is not called in the states of `impossible`.
template <class Answer>
struct Table {
  std::vector<Row<Answer>> rows;
  Answer otherwise;
  Step generation = Step::stays;
  std::vector<std::string_view> impossible = {};

  [[nodiscard]] Row<Answer> row(std::string_view before) const {
    for (const auto& candidate : rows) {
      if (candidate.before == before) return candidate;
    }
    return {before, otherwise, before};
  }
  [[nodiscard]] bool is_impossible(std::string_view state) const {
    for (const auto candidate : impossible) {
      if (candidate == state) return true;
    }
    return false;
  }
};

template <class W>
class WordTable : public testing::Test {
 protected:
  using Value = blkown::detail::RefValue<W>;
  using Match = blkown::detail::GenerationMatch<W>;
  static constexpr std::uint32_t last_generation =
      static_cast<std::uint32_t>(Value::generation_mask >> Value::generation_bits);

  static Value value(std::string_view state, std::uint32_t generation) {
    return support::value_of<W>(state, blkown::Generation{generation});
  }
  static std::string describe(Value value) {
    return support::state_text(value) + " generation " + std::to_string(value.generation().value);
  }

  /// Calls `operation(word, match, seen)` in every state, on both sides of the generation's wrap,
  /// and compares the result, the whole word, and the value that the operation reports in `seen`.
  template <class Answer, class Operation>
  static void expect_table(const Table<Answer>& table, Operation operation) {
    for (const std::uint32_t generation : {0U, 7U, last_generation - 1, last_generation}) {
      for (const std::string_view state : every_state) {
        if (table.is_impossible(state)) continue;
        const Row<Answer> row = table.row(state);
        const Value from = value(state, generation);
        blkown::detail::RefWord<W> word{from};
        Value seen{static_cast<W>(0x55)};
        EXPECT_EQ(operation(word, Match::exactly(from.generation()), seen), row.answer) << state;
        EXPECT_EQ(describe(seen), describe(from));
        if (row.after.empty()) continue;
        const bool advances = row.after != row.before && table.generation == Step::advances;
        const Value to =
            value(row.after, advances ? from.next_generation().value : from.generation().value);
        EXPECT_EQ(describe(word.peek()), describe(to)) << "from " << describe(from);
        EXPECT_EQ(word.peek(), to);
      }
    }
  }

  /// Checks a lookup. The table has the states that the lookup accepts; each other state has a
  /// reason.
  template <class Operation>
  static void expect_lookup(Table<blkown::LookupReason> table, Operation operation) {
    const Row<blkown::LookupReason> refusals[] = {
        {"0", blkown::LookupReason::idle, "0"},
        {"0 owned", blkown::LookupReason::owned, "0 owned"},
        {"limit", blkown::LookupReason::saturated, "limit"}};
    // The refusals come after the table's rows, because the first row of a state is used.
    for (const auto& row : refusals) table.rows.push_back(row);
    expect_table(table, operation);
    expect_generation(operation);
  }

  /// Checks that a lookup refuses every other generation in every state.
  template <class Operation>
  static void expect_generation(Operation operation) {
    for (const std::string_view state : every_state) {
      const Value at = value(state, last_generation);
      const auto answer_to = [&](std::uint32_t generation) {
        blkown::detail::RefWord<W> word{at};
        Value seen;
        const blkown::LookupReason reason =
            operation(word, Match::exactly(blkown::Generation{generation}), seen);
        EXPECT_EQ(describe(word.peek()), describe(at));
        EXPECT_EQ(describe(seen), describe(at));
        return reason;
      };
      EXPECT_EQ(answer_to(0), blkown::LookupReason::early) << state;
      EXPECT_EQ(answer_to(1), blkown::LookupReason::stale_generation) << state;
      EXPECT_EQ(answer_to(last_generation - 1), blkown::LookupReason::stale_generation) << state;
      EXPECT_EQ(answer_to(last_generation / 2), blkown::LookupReason::stale_generation) << state;
    }
  }
};
using Words = testing::Types<std::uint64_t, std::uint32_t>;

#endif
