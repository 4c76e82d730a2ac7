// SPDX-License-Identifier: BSL-1.0
// The atomics must be lock-free, because lookups are called in interrupts.
// EXPECT: static assertion failed.*: the ownership word must be lock-free
// EXPECT: static assertion failed.*: tag words must be lock-free
// EXPECT(clang): request.hpp:.* static assertion
#include <atomic>

template <class T>
struct Locking : std::atomic<T> {
  static constexpr bool is_always_lock_free = false;
  using std::atomic<T>::atomic;
};

#ifdef BLKOWN_WRONG
#define BLKOWN_ATOMIC Locking
#define BLKOWN_ATOMIC_NAME locking
#include "snippet.hpp"
#else
#define BLKOWN_ATOMIC std::atomic
#define BLKOWN_ATOMIC_NAME another
#include "snippet.hpp"
#endif
