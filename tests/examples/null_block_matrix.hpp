// SPDX-License-Identifier: BSL-1.0
//
// A covering array: rows of parameter values such that each pair of values of two parameters is in
// a row, unless the two contradict each other.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_MATRIX_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_MATRIX_HPP

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

/// Whether the two values cannot be in one configuration.
using Contradicts = bool (*)(std::string_view key, std::string_view value,
                             std::string_view other_key, std::string_view other_value);

/// Makes the rows. Each row has the index of one value for each choice.
/// Method: greedy. A row begins with the first pair that is not covered. Each further choice takes
/// the value that covers the most pairs with those before it.
/// Precondition: each choice has a value that contradicts none.
class Matrix {
 public:
  using Row = std::vector<std::size_t>;

  Matrix(const std::vector<Choice>& choices, Contradicts contradicts)
      : choices_{choices}, contradicts_{contradicts} {
    for (std::size_t a = 0; a != choices.size(); ++a) {
      for (std::size_t b = a + 1; b != choices.size(); ++b) {
        for (std::size_t x = 0; x != choices[a].values.size(); ++x) {
          for (std::size_t y = 0; y != choices[b].values.size(); ++y) {
            if (fits({a, x}, {b, y})) open_.insert({{a, x}, {b, y}});
          }
        }
      }
    }
    pairs_ = open_.size();
    while (!open_.empty()) add_row();
  }

  [[nodiscard]] const std::vector<Row>& rows() const noexcept { return rows_; }
  /// The number of pairs that are covered.
  [[nodiscard]] std::size_t pairs() const noexcept { return pairs_; }
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

  [[nodiscard]] bool fits(Value a, Value b) const {
    const Choice& first = choices_[a.first];
    const Choice& second = choices_[b.first];
    return !contradicts_(first.key, first.values[a.second], second.key, second.values[b.second]) &&
           !contradicts_(second.key, second.values[b.second], first.key, first.values[a.second]);
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
      std::size_t covered = 1;
      for (const Value& other : taken) {
        if (!fits(candidate, other)) {
          covered = 0;
          break;
        }
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
  Contradicts contradicts_;
  std::set<std::pair<Value, Value>> open_;
  std::size_t pairs_ = 0;
  std::vector<Row> rows_;
};

}  // namespace null_world

#endif
