// SPDX-License-Identifier: BSL-1.0
// timeout takes the timed-out publication's cookie: the pinned request may be published again.
// EXPECT-FIRST: the driver's timeout is
#include "driver.hpp"

#ifdef BLKOWN_WRONG
struct Mine : RightDriver<Mine> {
  mq::TimeoutAction timeout(mq::HwQueue<Mine>&, const blkown::ARef<Rq>&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);  // refused
#else
struct Mine : RightDriver<Mine> {
  mq::TimeoutAction timeout(mq::HwQueue<Mine>&, const blkown::ARef<Rq>&, const blkown::Cookie&);
};
static_assert(sizeof(mq::Disk<Mine>) != 0);
#endif
