// SPDX-License-Identifier: BSL-1.0
// The operations of when_all may be temporaries of the expression that calls it. A variable of its
// result is therefore not awaited.
// EXPECT-FIRST-ONLY: co_await when_all\(\.\.\.\): await it in the expression that calls it
#include <blkown/mq/coroutine.hpp>

#include "mq/driver.hpp"

struct Snippet : RightDriver<Snippet> {};

mq::Task<> snippet(mq::AsyncDisk<Snippet> disk) {
  auto first = disk.flush();
  auto second = disk.flush();
#ifdef BLKOWN_WRONG
  auto both = mq::when_all(first, second);
  co_await both;  // refused
#else
  co_await mq::when_all(first, second);
#endif
}
