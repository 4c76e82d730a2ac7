// SPDX-License-Identifier: BSL-1.0
// queue_rqs takes an IdleList.
// EXPECT-FIRST: the driver's queue_rqs is
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  void queue_rqs(mq::HwQueue<Mine>&, QueueData&, Rq*);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  void queue_rqs(mq::HwQueue<Mine>&, QueueData&, mq::IdleList<Rq>&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
