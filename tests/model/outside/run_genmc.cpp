// SPDX-License-Identifier: BSL-1.0
//
// One scenario for GenMC, which reads this source and interprets main. WORD_SCENARIO_NAME selects
// the scenario.

#define WORD_CHECKER_GENMC
#include "scenarios.hpp"

int main() {
  checker::Run<word::programs::WORD_SCENARIO_NAME>::run();
  return 0;
}
