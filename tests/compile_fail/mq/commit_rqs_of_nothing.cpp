// SPDX-License-Identifier: BSL-1.0
// A hook with a known name and wrong parameters is an error and is not ignored.
// EXPECT-FIRST: the driver's commit_rqs is
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  void commit_rqs();
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  void commit_rqs(mq::HwQueue<Mine>&, QueueData&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
