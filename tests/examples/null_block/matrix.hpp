// SPDX-License-Identifier: BSL-1.0
//
// A covering array: rows of parameter values such that each pair of values of two parameters is in
// a row, unless the two are refused together.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_MATRIX_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_MATRIX_HPP

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace null_world {

/// A parameter and the values that the matrix tries.
struct Choice {
  std::string key;
  std::vector<std::string> values;
};

/// Values that no disk can have together.
struct Combination {
  struct Value {
    std::string_view key;
    std::string_view value;
  };
  std::vector<Value> values;
  std::string_view error;  ///< That a disk with the values is refused with.
};

/// Makes the rows. Each row has the index of one value for each choice.
/// Method: greedy. A row begins with the first pair that is not covered. Each further choice takes
/// the value that covers the most pairs with those before it.
/// Precondition: each choice has a value that is in no combination.
class Matrix {
 public:
  using Row = std::vector<std::size_t>;

  /// The arguments outlive the matrix.
  Matrix(const std::vector<Choice>& choices, const std::vector<Combination>& refused)
      : choices_{choices} {
    for (const Combination& each : refused) add_refused(each);
    for (std::size_t a = 0; a != choices.size(); ++a) {
      for (std::size_t b = a + 1; b != choices.size(); ++b) {
        for (std::size_t x = 0; x != choices[a].values.size(); ++x) {
          for (std::size_t y = 0; y != choices[b].values.size(); ++y) {
            if (fits({a, x}, {{b, y}})) open_.insert({{a, x}, {b, y}});
          }
        }
      }
    }
    while (!open_.empty()) add_row();
  }

  [[nodiscard]] const std::vector<Row>& rows() const noexcept { return rows_; }
  /// A row as KEY=VALUE,...
  [[nodiscard]] std::string text(const Row& row) const {
    std::string made;
    for (std::size_t i = 0; i != row.size(); ++i) {
      made += (made.empty() ? "" : ",") + choices_[i].key + "=" + choices_[i].values[row[i]];
    }
    return made;
  }

 private:
  using Value = std::pair<std::size_t, std::size_t>;  // a choice's index, its value's index

  /// A combination of which a value is not in the choices refuses nothing.
  void add_refused(const Combination& combination) {
    std::vector<Value> values;
    for (const Combination::Value& each : combination.values) {
      for (std::size_t i = 0; i != choices_.size(); ++i) {
        if (choices_[i].key != each.key) continue;
        const auto found = std::ranges::find(choices_[i].values, each.value);
        if (found == choices_[i].values.end()) return;
        values.emplace_back(i, found - choices_[i].values.begin());
      }
    }
    refused_.push_back(std::move(values));
  }
  /// Whether no combination is refused of which the value is a part and the others are taken.
  [[nodiscard]] bool fits(Value value, const std::vector<Value>& taken) const {
    return std::ranges::none_of(refused_, [&](const std::vector<Value>& combination) {
      return std::ranges::find(combination, value) != combination.end() &&
             std::ranges::all_of(combination, [&](const Value& each) {
               return each == value || std::ranges::find(taken, each) != taken.end();
             });
    });
  }

  void add_row() {
    const auto seed = *open_.begin();
    std::vector<Value> taken{seed.first, seed.second};
    Row row(choices_.size());
    row[seed.first.first] = seed.first.second;
    row[seed.second.first] = seed.second.second;
    for (std::size_t choice = 0; choice != choices_.size(); ++choice) {
      if (choice == seed.first.first || choice == seed.second.first) continue;
      row[choice] = best_value(choice, taken);
      taken.emplace_back(choice, row[choice]);
    }
    for (const Value& a : taken) {
      for (const Value& b : taken) open_.erase({a, b});
    }
    rows_.push_back(std::move(row));
  }

  [[nodiscard]] std::size_t best_value(std::size_t choice, const std::vector<Value>& taken) const {
    std::size_t best = 0;
    std::size_t most = 0;
    for (std::size_t value = 0; value != choices_[choice].values.size(); ++value) {
      const Value candidate{choice, value};
      if (!fits(candidate, taken)) continue;
      std::size_t covered = 1;
      for (const Value& other : taken) {
        covered += open_.count(other < candidate ? std::pair{other, candidate}
                                                 : std::pair{candidate, other});
      }
      if (covered > most) {
        most = covered;
        best = value;
      }
    }
    return best;
  }

  const std::vector<Choice>& choices_;
  std::vector<std::vector<Value>> refused_;
  std::set<std::pair<Value, Value>> open_;
  std::vector<Row> rows_;
};

}  // namespace null_world

#endif
