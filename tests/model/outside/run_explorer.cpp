// SPDX-License-Identifier: BSL-1.0
//
// Runs the scenarios, or the given one, in the project's own explorer.

#define WORD_CHECKER_EXPLORER
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "scenarios.hpp"

namespace {

template <class P>
struct Maker;
template <class Scenario, auto... Bodies>
struct Maker<checker::Program<Scenario, Bodies...>> {
  static model::Program make() { return model::program_of<Scenario, Bodies...>(); }
};

struct Entry {
  const char* name;
  model::Program (*make)();
};

constexpr Entry table[] = {
#define WORD_SCENARIO(name, ...) {#name, &Maker<word::programs::name>::make},
#include "scenarios.inc"
#undef WORD_SCENARIO
};

constexpr const char* usage =
    "Usage: run_explorer [--spurious N] [SCENARIO]\n"
    "\n"
    "  --spurious N   spurious failures of weak compare-exchanges in each thread, at most 9; with "
    "0\n"
    "                 the executions are those that GenMC counts\n";

}  // namespace

int main(int argc, char** argv) {
  model::Options options;
  options.stores_are_ordered = true;
  const char* wanted = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--spurious") == 0 && i + 1 < argc && argv[i + 1][0] >= '0' &&
        argv[i + 1][0] <= '9' && argv[i + 1][1] == 0) {
      options.spurious_failures = static_cast<unsigned>(argv[++i][0] - '0');
    } else if (wanted == nullptr && argv[i][0] != '-') {
      wanted = argv[i];
    } else {
      std::fprintf(stderr, "cannot use '%s'\n%s", argv[i], usage);
      return 2;
    }
  }
  int scenarios = 0;
  int failures = 0;
  for (const Entry& entry : table) {
    if (wanted != nullptr && std::strcmp(entry.name, wanted) != 0) continue;
    ++scenarios;
    const model::Exploration found = model::explore(entry.make(), options);
    std::printf("%-26s %10llu executions %10llu cut  %s\n", entry.name,
                static_cast<unsigned long long>(found.executions),
                static_cast<unsigned long long>(found.cut), found.failed ? "FAILED" : "ok");
    if (!found.failed) continue;
    ++failures;
    std::printf("%s\n%s", found.message.c_str(), found.schedule.c_str());
  }
  if (scenarios == 0) {
    std::fprintf(stderr, "%s: no such scenario\n", wanted);
    return 2;
  }
  std::printf("%d scenarios, %d failed\n", scenarios, failures);
  return failures == 0 ? 0 : 1;
}
