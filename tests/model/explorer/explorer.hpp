// SPDX-License-Identifier: BSL-1.0
//
// explore: runs a program in every way in which its atomic operations can follow each other and
// turn out, until the first failure or to exhaustion.

#ifndef MODEL_EXPLORER_HPP
#define MODEL_EXPLORER_HPP

#include "atomic.hpp"
#include "data.hpp"
#include "engine.hpp"
#include "schedule.hpp"

namespace model {

struct Exploration {
  std::uint64_t executions = 0;  ///< Run to their end; no two of them are equivalent.
  std::uint64_t cut = 0;         ///< Left because the rest was visited before.
  std::uint64_t steps = 0;       ///< Atomic operations carried out, in all of them.
  bool failed = false;
  bool at_limit = false;  ///< It failed because Options::max_executions was reached.
  std::string message;    ///< Why, if it failed.
  std::string choices;    ///< The failing execution's choices, for replay.
  std::string schedule;   ///< The failing execution, a line for each step.
};

/// The execution that the engine ran last, as the Exploration of a failure.
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

/// Runs the one execution that these choices (Exploration::choices) lead to; its schedule is told
/// whether it fails or not.
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

/// Sees a program's object at the end of each complete execution: Program::finish_context.
template <class P>
struct Visitor {
  virtual void visit(P& program) = 0;

 protected:
  ~Visitor() = default;
};

/// Ends an execution as a failure unless `condition` holds.
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

/// The program whose constructor sets up, whose members Bodies are the threads, and whose finish(),
/// if there is one, checks afterwards. It holds no memory of its own but in itself: an execution
/// that is left forgets it.
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
