// SPDX-License-Identifier: BSL-1.0
//
// What the calling thread has allocated, counted by the global operator new of the programs that
// are linked with allocations.cpp. That costs an allocation two additions, and what allocates
// nothing nothing.

#ifndef BLKOWN_BENCH_ALLOCATIONS_HPP
#define BLKOWN_BENCH_ALLOCATIONS_HPP

#include <cstdint>

namespace bench {

struct Allocations {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;

  /// By this thread, since it began.
  [[nodiscard]] static Allocations so_far() noexcept;

  friend Allocations operator-(const Allocations& now, const Allocations& then) noexcept {
    return {now.count - then.count, now.bytes - then.bytes};
  }
};

}  // namespace bench

#endif
