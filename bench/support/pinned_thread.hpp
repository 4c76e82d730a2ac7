// SPDX-License-Identifier: BSL-1.0
//
// Pins threads. A benchmark with several threads has a valid result only if each thread has
// its own processor from the first iteration to the last.

#ifndef BLKOWN_BENCH_SUPPORT_PINNED_THREAD_HPP
#define BLKOWN_BENCH_SUPPORT_PINNED_THREAD_HPP

#include <sched.h>

#include <cstddef>
#include <vector>

namespace bench {

/// Pins the calling thread to the index-th processor that the process may use, as long as the
/// object lives. With more threads than processors, several threads share a processor.
class PinnedThread {
 public:
  explicit PinnedThread(int index) {
    const std::vector<int>& cpus = allowed();
    if (cpus.empty() || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(static_cast<std::size_t>(cpus[static_cast<std::size_t>(index) % cpus.size()]), &mine);
    pinned_ = sched_setaffinity(0, sizeof mine, &mine) == 0;
  }
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;
  ~PinnedThread() {
    // The threads of the next benchmark inherit from this one.
    if (pinned_) sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  /// The processors of the process before any thread was pinned.
  [[nodiscard]] static const std::vector<int>& allowed() {
    static const std::vector<int> cpus = [] {
      std::vector<int> found;
      cpu_set_t set;
      if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu != CPU_SETSIZE; ++cpu) {
          if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) found.push_back(cpu);
        }
      }
      return found;
    }();
    return cpus;
  }

  cpu_set_t before_{};
  bool pinned_ = false;
};

}  // namespace bench

#endif
