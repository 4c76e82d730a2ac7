// SPDX-License-Identifier: BSL-1.0
//
// The interface of the checker that runs a scenario. A scenario uses only:
//
//   checker::Data<T>          memory that is not atomic: get() and set(); a race on it is a failure
//   checker::require(cond)    fails the execution unless cond holds
//   BLKOWN_ATOMIC             the checker's atomic, also for a scenario's own flags
//
// A scenario is an object. The constructor is the setup, each member in the list of bodies is a
// thread, and finish() checks the end state, ordered after all threads. scenarios.inc lists the
// scenarios.
//
// The macro WORD_CHECKER_GENMC, WORD_CHECKER_RELACY or WORD_CHECKER_EXPLORER selects the checker.
// Without one, scenarios run repeatedly on threads of this machine.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_CHECKER_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_CHECKER_HPP

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

/// A scenario with its threads, which are members of it.
template <class Scenario, auto... Bodies>
struct Program {
  using Object = Scenario;
  static constexpr unsigned thread_count = sizeof...(Bodies);

  static void run_thread(Object& object, unsigned index) {
    unsigned at = 0;
    ((at++ == index ? call(object, Bodies) : void()), ...);
  }

 private:
  /// `Base` is the class that declares the member, which may be a base of the scenario.
  template <class Base>
  static void call(std::type_identity_t<Base>& object, void (Base::*body)()) {
    (object.*body)();
  }
};

}  // namespace checker

#endif
