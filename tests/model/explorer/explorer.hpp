// SPDX-License-Identifier: BSL-1.0
//
// explore: runs a program in every order and with every outcome of its atomic operations, until the
// first failure or to exhaustion.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_EXPLORER_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_EXPLORER_HPP

#include "atomic.hpp"
#include "data.hpp"
#include "engine.hpp"
#include "schedule.hpp"

namespace model {

struct Exploration {
  std::uint64_t executions = 0;  ///< Run to their end; no two of them are equivalent.
  std::uint64_t cut = 0;         ///< Abandoned because the rest was visited before.
  std::uint64_t steps = 0;       ///< Atomic operations performed in all executions.
  bool failed = false;
  bool at_limit = false;  ///< It failed because Options::max_executions was reached.
  std::string message;    ///< The reason of the failure.
  std::string choices;    ///< The choices of the failing execution, for replay.
  std::string schedule;   ///< The failing execution, one line for each step.
};

/// Fills in the Exploration of a failure from the last execution of the engine.
inline void tell_failure(Exploration& result, Engine& engine, std::string message) {
  result.failed = true;
  result.message = std::move(message);
  result.choices = choices_of(engine.steps());
  result.schedule = schedule_of(engine.steps(), engine.memory());
}

[[nodiscard]] inline Exploration explore(const Program& program, const Options& options = {}) {
  Exploration result;
  Search search{options.reduce};
  Engine engine{program, options};
  do {
    if (result.executions + result.cut == options.max_executions) {
      tell_failure(result, engine, "not exhausted: more executions than the limit");
      result.at_limit = true;
      break;
    }
    const Engine::End end = engine.run(search);
    result.steps += engine.steps().size();
    if (end == Engine::End::failed) {
      tell_failure(result, engine, engine.message());
      break;
    }
    ++(end == Engine::End::complete ? result.executions : result.cut);
  } while (search.next_execution());
  return result;
}

/// Runs the one execution with these choices (Exploration::choices). Returns the schedule also if
/// the execution does not fail.
[[nodiscard]] inline Exploration replay(const Program& program, const Options& options,
                                        const std::vector<WrittenChoice>& choices) {
  Exploration result;
  Search search;
  Engine engine{program, options};
  const Engine::End end = engine.run(search, &choices);
  tell_failure(result, engine, engine.message());
  result.failed = end == Engine::End::failed;
  result.executions = end == Engine::End::complete ? 1 : 0;
  result.steps = engine.steps().size();
  return result;
}

/// Receives the object of a program at the end of each complete execution: Program::finish_context.
template <class P>
struct Visitor {
  virtual void visit(P& program) = 0;

 protected:
  ~Visitor() = default;
};

/// Fails the execution unless `condition` holds.
inline void check(bool condition, const char* what, Place place = Place::current()) {
  if (condition) [[likely]]
    return;
  Engine::current().fail(std::string{what} + " (" + to_string(place) + ")");
}

namespace detail {

template <class P, auto Body>
void run_thread(void* object) {
  (static_cast<P*>(object)->*Body)();
}

template <class P>
void finish(void* object, void* context) {
  P& program = *static_cast<P*>(object);
  if constexpr (requires { program.finish(); }) program.finish();
  if (context != nullptr) static_cast<Visitor<P>*>(context)->visit(program);
  program.~P();
}

}  // namespace detail

/// The program whose constructor is the setup, whose members Bodies are the threads, and whose
/// optional finish() checks the end state. The object owns no memory outside itself, because an
/// abandoned execution does not destroy the object.
template <class P, auto... Bodies>
[[nodiscard]] Program program_of() {
  static_assert(sizeof...(Bodies) >= 1 && sizeof...(Bodies) < max_threads);
  Program program;
  program.bytes = sizeof(P);
  program.make = [](void* at) { ::new (at) P(); };
  program.thread_count = sizeof...(Bodies);
  program.threads = {&detail::run_thread<P, Bodies>...};
  program.finish = &detail::finish<P>;
  return program;
}

}  // namespace model

#endif
