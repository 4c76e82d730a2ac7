// SPDX-License-Identifier: BSL-1.0
//
// Times of several ways to do the same work. The ways take turns within one process, so that a
// disturbance of the machine affects all of them, and a ratio of two ways is that of one turn.

#ifndef BLKOWN_BENCH_SUPPORT_TURNS_HPP
#define BLKOWN_BENCH_SUPPORT_TURNS_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <ctime>
#include <vector>

namespace bench {

/// The processor time of the calling thread, the kernel's part included.
[[nodiscard]] inline double thread_ns() {
  std::timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// The times of `ways` ways.
template <std::size_t ways>
class Turns {
 public:
  /// Does the work of one way's turn, which is `count` times the same.
  template <class Work>
  void take(std::size_t way, std::size_t count, Work work) {
    const double begin_ns = thread_ns();
    work();
    times_ns_[way].push_back((thread_ns() - begin_ns) / static_cast<double>(count));
  }

  /// The median over the turns.
  [[nodiscard]] double median_ns(std::size_t way) const { return median(times_ns_[way]); }

  /// The median over the turns of one way's time in units of another's.
  [[nodiscard]] double ratio(std::size_t way, std::size_t unit) const {
    std::vector<double> ratios;
    for (std::size_t turn = 0; turn != times_ns_[way].size(); ++turn) {
      ratios.push_back(times_ns_[way][turn] / times_ns_[unit][turn]);
    }
    return median(ratios);
  }

 private:
  [[nodiscard]] static double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }

  std::array<std::vector<double>, ways> times_ns_;
};

}  // namespace bench

#endif
