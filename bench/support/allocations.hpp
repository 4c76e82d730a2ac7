// SPDX-License-Identifier: BSL-1.0
//
// Counts the allocations of the calling thread, in the global operator new of the programs that
// link allocations.cpp. An allocation costs two additions more; code that allocates nothing pays
// nothing.

#ifndef BLKOWN_BENCH_SUPPORT_ALLOCATIONS_HPP
#define BLKOWN_BENCH_SUPPORT_ALLOCATIONS_HPP

#include <cstdint>

namespace bench {

struct Allocations {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;

  /// The allocations of this thread since it began.
  [[nodiscard]] static Allocations so_far() noexcept;

  friend Allocations operator-(const Allocations& now, const Allocations& then) noexcept {
    return {now.count - then.count, now.bytes - then.bytes};
  }
};

}  // namespace bench

#endif
