// SPDX-License-Identifier: BSL-1.0
//
// Runs one scenario under Relacy; see the usage below.

#define WORD_CHECKER_RELACY
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "table.hpp"

namespace {

const word::Entry* chosen = nullptr;
word::Storage storage;

template <rl::thread_id_t Threads>
struct Suite : rl::test_suite<Suite<Threads>, Threads> {
  void before() { chosen->make(&storage); }
  void thread(unsigned index) { chosen->thread(&storage, index); }
  void after() { chosen->finish(&storage); }
};

int refuse(const char* what) {
  std::fprintf(stderr,
               "%s\n"
               "Usage: run_relacy SCENARIO full\n"
               "       run_relacy SCENARIO bound SWITCHES\n"
               "       run_relacy SCENARIO random ITERATIONS\n",
               what);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return refuse("too few arguments");
  for (const word::Entry& entry : word::table) {
    if (std::strcmp(entry.name, argv[1]) == 0) chosen = &entry;
  }
  if (chosen == nullptr) return refuse("no such scenario");

  rl::test_params params;
  if (std::strcmp(argv[2], "full") == 0 && argc == 3) {
    params.search_type = rl::sched_full;
  } else if (std::strcmp(argv[2], "bound") == 0 && argc == 4) {
    params.search_type = rl::sched_bound;
    params.context_bound = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
  } else if (std::strcmp(argv[2], "random") == 0 && argc == 4) {
    params.search_type = rl::sched_random;
    params.iteration_count = std::strtoull(argv[3], nullptr, 10);
  } else {
    return refuse("no such search");
  }
  const bool ok =
      chosen->thread_count == 2 ? rl::simulate<Suite<2>>(params) : rl::simulate<Suite<3>>(params);
  return ok ? 0 : 1;
}
