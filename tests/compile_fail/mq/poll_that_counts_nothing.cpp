// SPDX-License-Identifier: BSL-1.0
// poll returns the number of completions that it has reaped.
// EXPECT-FIRST: the driver's poll is
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  void poll(mq::HwQueue<Mine>&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  unsigned poll(mq::HwQueue<Mine>&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
