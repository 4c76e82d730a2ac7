// SPDX-License-Identifier: BSL-1.0
//
// The search: a depth-first walk over the transitions of each state, with sleep sets.
//
// Each execution runs the program again from its beginning. The search keeps the path of choices
// that leads to the execution in progress. For each state on the path, the search keeps the
// transitions that are still to be tried, and those that sleep: all executions that begin with them
// were visited from an earlier branch. A transition falls asleep in the states behind its later
// siblings. A sleeping transition wakes when a step is performed that cannot be swapped with the
// transition.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_SEARCH_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_SEARCH_HPP

#include <cstddef>
#include <vector>

#include "transition.hpp"

namespace model {

class Search {
 public:
  /// Without sleep sets every order of the transitions is visited.
  explicit Search(bool sleep_sets = true) noexcept : sleep_sets_{sleep_sets} {}

  /// Starts a new execution from the first state.
  void begin_execution() noexcept {
    depth_ = 0;
    if (path_.empty()) sleeping_.clear();
  }

  /// Whether the next state was visited before. `repeat` then returns the choice that leads on from
  /// this state.
  [[nodiscard]] bool on_known_path() const noexcept { return depth_ != path_.size(); }
  [[nodiscard]] Transition repeat() {
    const Transition chosen = chosen_at(path_[depth_++]);
    if (depth_ == path_.size()) fall_asleep_behind(path_.back());
    return chosen;
  }

  /// Enters a new state. A call of `offer` follows for each possible transition.
  void enter_state() {
    path_.push_back({pool_.size(), pool_.size(), 0});
    offered_ = 0;
  }
  void offer(const Transition& possible) {
    ++offered_;
    for (const Transition& asleep : sleeping_) {
      if (asleep == possible) return;
    }
    pool_.push_back(possible);
    ++path_.back().end;
  }

  enum class Choice : std::uint8_t {
    made,
    asleep,   ///< All possible transitions sleep: the rest was visited before.
    nothing,  ///< No transition is possible.
  };
  /// Makes the first choice in the state that was entered.
  [[nodiscard]] Choice choose(Transition& chosen) {
    State& state = path_.back();
    if (state.first == state.end) {
      path_.pop_back();
      return offered_ == 0 ? Choice::nothing : Choice::asleep;
    }
    // The transitions that slept on entry are stored behind those to be tried.
    state.asleep = pool_.size();
    state.sleepers = sleeping_.size();
    pool_.insert(pool_.end(), sleeping_.begin(), sleeping_.end());
    chosen = chosen_at(state);
    ++depth_;
    fall_asleep_behind(state);
    return Choice::made;
  }

  /// Moves to the next untried branch. Returns false if there is none.
  [[nodiscard]] bool next_execution() {
    while (!path_.empty()) {
      State& last = path_.back();
      pool_.resize(last.asleep + last.sleepers);
      if (++last.current != last.end - last.first) return true;
      pool_.resize(last.first);
      path_.pop_back();
    }
    return false;
  }

  /// Calls `give` for each choice of the execution in progress.
  template <class Give>
  void for_each_choice(Give give) const {
    for (std::size_t i = 0; i != depth_; ++i) give(chosen_at(path_[i]));
  }

 private:
  /// pool_[first, end) are the transitions tried here, in this order; pool_[first + current] is the
  /// current one. pool_[asleep, asleep + sleepers) slept on entry.
  struct State {
    std::size_t first = 0;
    std::size_t end = 0;
    std::size_t current = 0;
    std::size_t asleep = 0;
    std::size_t sleepers = 0;
  };

  [[nodiscard]] Transition chosen_at(const State& state) const noexcept {
    return pool_[state.first + state.current];
  }

  /// Computes the transitions that sleep behind the current choice of the state: those that slept
  /// before and those tried before, if they can be swapped with the choice.
  void fall_asleep_behind(const State& state) {
    const Transition chosen = chosen_at(state);
    sleeping_.clear();
    if (!sleep_sets_) return;
    const auto keep = [&](const Transition& candidate) {
      if (independent(candidate, chosen)) sleeping_.push_back(candidate);
    };
    for (std::size_t i = 0; i != state.sleepers; ++i) keep(pool_[state.asleep + i]);
    for (std::size_t i = 0; i != state.current; ++i) keep(pool_[state.first + i]);
  }

  std::vector<State> path_;
  std::vector<Transition> pool_;
  std::vector<Transition> sleeping_;
  bool sleep_sets_;
  std::size_t depth_ = 0;
  std::size_t offered_ = 0;
};

}  // namespace model

#endif
