// SPDX-License-Identifier: BSL-1.0
// complete takes a Claim. A driver with a complete of its own is told that the name is taken.
// EXPECT-FIRST: the driver's complete is the hook .*; a function of the driver's own
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  void complete(mq::HwQueue<Mine>&, blkown::Owned<Rq>);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  void complete(mq::HwQueue<Mine>&, blkown::Claim<Rq>);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
