// SPDX-License-Identifier: BSL-1.0
//
// Runs executions one after the other. Threads are fibres. A fibre stops before each atomic
// operation until the search has chosen the next operation and its outcome.
//
// The code between two atomic operations belongs to the step before. Accesses to Data need no
// choice of their own: whether two of them race depends on happens-before, and the vector clocks
// give the same happens-before in every order of steps that leads to the same execution.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_ENGINE_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_ENGINE_HPP

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fibre.hpp"
#include "memory.hpp"
#include "search.hpp"

namespace model {

struct Options {
  unsigned spurious_failures = 1;  ///< Of weak CASes, for each thread.
  unsigned max_steps = 400;        ///< In one execution. More is a failure: a loop has no end.
  std::uint64_t max_executions = 20'000'000;  ///< Complete or cut; more is a failure.
  bool reduce = true;  ///< False: explores equivalent orders of steps too, to test the reduction.
  /// Makes a plain store a failure if it is not ordered after the write it follows. For programs in
  /// which one thread at a time may store: the order of execution is then the modification order,
  /// and nothing is lost.
  bool stores_are_ordered = false;
};

/// A program: an object that is created for each execution, and the functions that run on it.
struct Program {
  std::size_t bytes = 0;
  void (*make)(void* at) = nullptr;
  unsigned thread_count = 0;
  std::array<void (*)(void* object), max_threads - 1> threads{};
  /// Runs after all threads, ordered after them, and destroys the object. Not called for an
  /// execution that is cut or fails.
  void (*finish)(void* object, void* context) = nullptr;
  void* finish_context = nullptr;
};

struct Step {
  Op op;
  Transition chosen;
  Result result;
};

class Engine {
 public:
  enum class End : std::uint8_t { complete, cut, failed };

  Engine(const Program& program, const Options& options)
      : program_{program},
        options_{options},
        object_{::operator new(program.bytes, std::align_val_t{object_alignment_bytes})} {
    for (unsigned i = 0; i <= program.thread_count; ++i) {
      threads_[i].engine = this;
      threads_[i].index = i;
      threads_[i].fibre = std::make_unique<Fibre>(stack_bytes);
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { ::operator delete(object_, std::align_val_t{object_alignment_bytes}); }

  /// Runs the execution that `search` has reached, or with `replay` the one with these choices.
  End run(Search& search, const std::vector<WrittenChoice>* replay = nullptr);

  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] Memory& memory() noexcept { return memory_; }

  // --- called by the program that runs inside ---

  [[nodiscard]] static Engine& current() noexcept {
    if (current_engine == nullptr) {
      std::fputs("an atomic or Data of the model outside an exploration\n", stderr);
      __builtin_trap();
    }
    return *current_engine;
  }
  [[nodiscard]] unsigned current_thread() const noexcept { return running_; }
  [[nodiscard]] const Knowledge& current_knowledge() const noexcept {
    return memory_.knowledge(running_);
  }

  /// Adds an atomic and returns its number. Called only in the constructor of the object, so that
  /// an atomic has the same number in every execution.
  [[nodiscard]] std::uint8_t add_location(std::uint64_t value, std::uint64_t value_mask) {
    if (phase_ != Phase::making) fail("an atomic is made while threads run");
    if (memory_.location_count() == max_locations) fail("too many atomics: raise max_locations");
    return memory_.add_location(value, value_mask);
  }

  /// Performs an atomic operation of the running thread when the search chooses that thread.
  Result perform(const Op& op) {
    reject_unknown_orders(op);
    if (phase_ != Phase::running && phase_ != Phase::starting) return perform_alone(op);
    Thread& self = threads_[running_];
    self.announced = op;
    if (phase_ == Phase::starting) {
      Fibre::switch_to(*self.fibre, root_);
    } else {
      Thread* const next = choose_next();
      if (next != &self) Fibre::switch_to(*self.fibre, next == nullptr ? root_ : *next->fibre);
    }
    return self.result;
  }

  /// Ends the execution as a failure of the program. Does not return to the thread.
  [[noreturn, gnu::cold]] void fail(std::string message) {
    message_ = std::move(message);
    leave(End::failed);
  }

 private:
  enum class Phase : std::uint8_t { making, starting, running, finishing };

  struct Thread {
    Engine* engine = nullptr;
    unsigned index = 0;
    std::unique_ptr<Fibre> fibre;
    Op announced;
    Result result;
    unsigned spurious_left = 0;
    bool done = false;
  };

  static constexpr std::size_t object_alignment_bytes = 128;
  static constexpr std::size_t stack_bytes = std::size_t{256} << 10;

  [[noreturn]] void leave(End how) {
    end_ = how;
    Fibre::leave_to(root_);
  }

  static void thread_body(void* argument) {
    Thread& self = *static_cast<Thread*>(argument);
    Engine& engine = *self.engine;
    if (self.index != 0) {
      engine.program_.threads[self.index - 1](engine.object_);
    } else if (engine.phase_ == Phase::making) {
      engine.program_.make(engine.object_);
    } else {
      engine.program_.finish(engine.object_, engine.program_.finish_context);
    }
    self.done = true;
    if (engine.phase_ != Phase::running) Fibre::leave_to(engine.root_);
    Thread* const next = engine.choose_next();
    Fibre::leave_to(next == nullptr ? engine.root_ : *next->fibre);
  }

  /// Runs the thread until it announces an operation, finishes, or fails.
  void enter(unsigned index) {
    running_ = index;
    threads_[index].fibre->prepare(&thread_body, &threads_[index]);
    Fibre::switch_to(root_, *threads_[index].fibre);
  }

  /// Performs an operation of thread 0 while no other thread exists. The operation reads the newest
  /// store.
  Result perform_alone(const Op& op) {
    Transition only;
    bool any = false;
    memory_.outcomes(0, op, false, [&](const Transition& possible) {
      if (!any) only = possible;
      any = true;
    });
    if (!any) fail("an await that no thread can satisfy");
    const Result result = memory_.apply(0, op, only);
    steps_.push_back({op, only, result});
    return result;
  }

  /// Chooses and performs the next step. Returns its thread, which continues, or null if the
  /// execution ends, complete or not.
  [[nodiscard]] Thread* choose_next() {
    if (steps_.size() >= options_.max_steps) fail("step limit reached: a loop has no end?");
    Transition chosen;
    if (replay_ != nullptr && replayed_ != replay_->size()) {
      chosen = find_possible((*replay_)[replayed_++]);
    } else if (search_->on_known_path()) {
      chosen = search_->repeat();
    } else {
      search_->enter_state();
      for_each_possible([this](const Transition& possible) { search_->offer(possible); });
      switch (search_->choose(chosen)) {
        case Search::Choice::made: break;
        case Search::Choice::asleep: end_ = End::cut; return nullptr;
        case Search::Choice::nothing:
          check_all_done();
          end_ = End::complete;
          return nullptr;
      }
    }
    Thread& next = threads_[chosen.thread];
    if (chosen.kind == OutcomeKind::spurious) --next.spurious_left;
    next.result = memory_.apply(chosen.thread, next.announced, chosen);
    steps_.push_back({next.announced, chosen, next.result});
    running_ = chosen.thread;
    if (next.result.over_unordered && options_.stores_are_ordered) {
      fail("a plain store over a write that does not happen before it");
    }
    return &next;
  }

  template <class Give>
  void for_each_possible(Give give) const {
    for (unsigned i = 1; i <= program_.thread_count; ++i) {
      const Thread& thread = threads_[i];
      if (!thread.done) {
        memory_.outcomes(i, thread.announced, thread.spurious_left != 0, give);
      }
    }
  }
  [[nodiscard]] Transition find_possible(const WrittenChoice& wanted) {
    Transition found;
    for_each_possible([&](const Transition& possible) {
      if (wanted.means(possible)) found = possible;
    });
    if (found.thread == 0) fail("the choices to replay do not fit the program");
    return found;
  }
  void check_all_done() {
    for (unsigned i = 1; i <= program_.thread_count; ++i) {
      if (!threads_[i].done) fail("thread " + std::to_string(i) + " waits for ever");
    }
  }

  void reject_unknown_orders(const Op& op) {
    for (const std::memory_order order : {op.order, op.failure_order}) {
      if (order == std::memory_order_seq_cst || order == std::memory_order_consume) {
        fail(std::string{to_string(order)} + " is not modelled");
      }
    }
  }

  static inline Engine* current_engine = nullptr;

  const Program program_;
  const Options options_;
  void* const object_;
  Memory memory_;
  Fibre root_;
  std::array<Thread, max_threads> threads_;
  std::vector<Step> steps_;
  std::string message_;
  Search* search_ = nullptr;
  const std::vector<WrittenChoice>* replay_ = nullptr;
  std::size_t replayed_ = 0;
  unsigned running_ = 0;
  Phase phase_ = Phase::making;
  End end_ = End::complete;
};

inline Engine::End Engine::run(Search& search, const std::vector<WrittenChoice>* replay) {
  current_engine = this;
  search_ = &search;
  replay_ = replay;
  replayed_ = 0;
  steps_.clear();
  memory_.clear();
  end_ = End::complete;
  search.begin_execution();
  for (Thread& thread : threads_) {
    thread.spurious_left = options_.spurious_failures;
    thread.done = false;
  }

  const auto phase = [this](Phase now) { phase_ = now; };
  phase(Phase::making);
  enter(0);
  phase(Phase::starting);
  for (unsigned i = 1; i <= program_.thread_count && end_ != End::failed; ++i) {
    memory_.order_after(i, 0);
    enter(i);
  }
  if (end_ == End::complete) {
    phase(Phase::running);
    running_ = 0;
    // Thread 0 makes the first choice and switches to the chosen thread.
    threads_[0].fibre->prepare(
        [](void* argument) {
          Engine& engine = *static_cast<Engine*>(argument);
          Thread* const next = engine.choose_next();
          Fibre::leave_to(next == nullptr ? engine.root_ : *next->fibre);
        },
        this);
    Fibre::switch_to(root_, *threads_[0].fibre);
  }
  if (end_ == End::complete) {
    phase(Phase::finishing);
    for (unsigned i = 1; i <= program_.thread_count; ++i) memory_.order_after(0, i);
    enter(0);
  }
  current_engine = nullptr;
  return end_;
}

}  // namespace model

#endif
