// SPDX-License-Identifier: BSL-1.0
// A false positive: a handle from outside a loop that is endless or ends by a flag, consumed inside
// the loop or only after it. Write the condition into the loop's head and consume after the loop.
// EXPECT(clang): state of variable '.*' must match at the entry and exit of loop
#include "snippet.hpp"

bool done();

void left_by_return(Owned owned) {
#ifdef BLKOWN_WRONG
  while (true) {  // refused
    if (done()) {
      std::move(owned).end_ok();
      return;
    }
  }
#else
  while (!done()) use(owned.tag());
  std::move(owned).end_ok();
#endif
}

void left_by_break(Owned owned) {
#ifdef BLKOWN_WRONG
  while (true) {  // refused
    if (done()) break;
  }
#else
  while (!done()) use(owned.tag());
#endif
  std::move(owned).end_ok();
}

void ended_by_a_flag(Owned owned) {
  bool over = false;
#ifdef BLKOWN_WRONG
  while (!over) {  // refused
    if (done()) {
      std::move(owned).end_ok();
      over = true;
    }
  }
#else
  while (!over) over = done();
  std::move(owned).end_ok();
#endif
}
