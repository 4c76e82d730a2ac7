// SPDX-License-Identifier: BSL-1.0
//
// What a scenario may use of the checker that runs it, and nothing else:
//
//   checker::Data<T>          memory that is not atomic: get() and set(); a race on it is a failure
//   checker::require(cond)    the execution is a failure unless cond holds
//   BLKOWN_ATOMIC             the checker's atomic, also for a scenario's own flags
//
// A scenario is an object. Its constructor sets up, each member of its list of bodies is a thread,
// its finish() checks afterwards, ordered after all of them. scenarios.inc lists the scenarios.
//
// The macro WORD_CHECKER_GENMC, WORD_CHECKER_RELACY or WORD_CHECKER_EXPLORER chooses the checker;
// without one, scenarios run on threads of this machine, over and over.

#ifndef MODEL_WORD_CHECKER_HPP
#define MODEL_WORD_CHECKER_HPP

#if defined(WORD_CHECKER_GENMC)
#include "backends/genmc.hpp"
#elif defined(WORD_CHECKER_RELACY)
#include "backends/relacy.hpp"
#elif defined(WORD_CHECKER_EXPLORER)
#include "backends/explorer.hpp"
#else
#include "backends/threads.hpp"
#endif

#include <type_traits>

namespace checker {

/// A scenario and its threads, as members of it.
template <class Scenario, auto... Bodies>
struct Program {
  using Object = Scenario;
  static constexpr unsigned thread_count = sizeof...(Bodies);

  static void run_thread(Object& object, unsigned index) {
    unsigned at = 0;
    ((at++ == index ? call(object, Bodies) : void()), ...);
  }

 private:
  /// `Base` is where the member comes from, a base of the scenario perhaps.
  template <class Base>
  static void call(std::type_identity_t<Base>& object, void (Base::*body)()) {
    (object.*body)();
  }
};

}  // namespace checker

#endif
