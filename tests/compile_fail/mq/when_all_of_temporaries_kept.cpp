// SPDX-License-Identifier: BSL-1.0
// The operations end with the expression that calls when_all. Clang sees that a variable refers to
// them; GCC does not.
// EXPECT(clang): temporary whose address is used as value of local variable 'both'
// EXPECT(gcc): no diagnostic
#include <blkown/mq/coroutine.hpp>

#include "mq/driver.hpp"

struct Snippet : RightDriver<Snippet> {};

mq::Task<> snippet(mq::AsyncDisk<Snippet> disk) {
#ifdef BLKOWN_WRONG
  auto both = mq::when_all(disk.flush(), disk.flush());  // refused
  co_await std::move(both);
#else
  co_await mq::when_all(disk.flush(), disk.flush());
#endif
}
