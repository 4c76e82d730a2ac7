// SPDX-License-Identifier: BSL-1.0
// queue_rq takes an Idle, which the driver starts or returns.
// EXPECT-FIRST: a driver has the types RequestData, HwData and QueueData, and Dispatch<D>
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  mq::Dispatch<Mine> queue_rq(mq::HwQueue<Mine>&, QueueData&, blkown::Owned<Rq>, bool);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  mq::Dispatch<Mine> queue_rq(mq::HwQueue<Mine>&, QueueData&, blkown::Idle<Rq>, bool);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
