// SPDX-License-Identifier: BSL-1.0
// init_hctx returns a Status.
// EXPECT-FIRST: the driver's init_hctx is
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  void init_hctx(mq::HwQueue<Mine>&, QueueData&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  blkown::Status init_hctx(mq::HwQueue<Mine>&, QueueData&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
