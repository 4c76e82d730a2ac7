// SPDX-License-Identifier: BSL-1.0
//
// Runs the scenarios, or the given one, on threads of this machine.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "table.hpp"

namespace {

word::Storage storage;

/// The threads of a round start together, because threads that start one by one hardly ever
/// overlap.
void run_round(const word::Entry& entry) {
  entry.make(&storage);
  std::atomic<unsigned> ready{0};
  std::vector<std::thread> threads;
  for (unsigned index = 0; index != entry.thread_count; ++index) {
    threads.emplace_back([&entry, &ready, index] {
      ready.fetch_add(1, std::memory_order_relaxed);
      while (ready.load(std::memory_order_relaxed) != entry.thread_count) std::this_thread::yield();
      entry.thread(&storage, index);
    });
  }
  for (std::thread& thread : threads) thread.join();
  entry.finish(&storage);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) {
    std::fprintf(stderr, "Usage: %s [SCENARIO]\n", argv[0]);
    return 2;
  }
  const char* const scale = std::getenv("BLKOWN_TEST_SCALE");
  const int rounds = 50 * (scale == nullptr ? 1 : std::atoi(scale));
  int scenarios = 0;
  for (const word::Entry& entry : word::table) {
    if (argc == 2 && std::strcmp(entry.name, argv[1]) != 0) continue;
    ++scenarios;
    for (int round = 0; round != rounds; ++round) run_round(entry);
  }
  if (scenarios == 0 || rounds <= 0) {
    std::fprintf(stderr, "no such scenario, or BLKOWN_TEST_SCALE is not a number above 0\n");
    return 2;
  }
  std::printf("%d scenarios, %d rounds each\n", scenarios, rounds);
  return 0;
}
