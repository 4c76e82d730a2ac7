// SPDX-License-Identifier: BSL-1.0
//
// The list of all scenarios. Each scenario adds itself.

#ifndef BLKOWN_TESTS_MODEL_SCENARIOS_SCENARIO_HPP
#define BLKOWN_TESTS_MODEL_SCENARIOS_SCENARIO_HPP

#include <string>
#include <vector>

#include "../explorer/explorer.hpp"

struct Scenario {
  std::string theme;
  std::string name;
  model::Program program;
};

[[nodiscard]] inline std::vector<Scenario>& all_scenarios() {
  static std::vector<Scenario> scenarios;
  return scenarios;
}

/// A constant of this type at namespace scope is a scenario: the constructor of P is the setup,
/// Bodies are its threads, P::finish checks the end state.
template <class P, auto... Bodies>
struct Add {
  Add(const char* theme, const char* name) {
    all_scenarios().push_back({theme, name, model::program_of<P, Bodies...>()});
  }
};

#endif
