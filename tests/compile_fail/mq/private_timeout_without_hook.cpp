// SPDX-License-Identifier: BSL-1.0
// A private request gets a timeout of its own only if the driver can be asked about it.
// EXPECT-FIRST: execute_private with a timeout needs the driver's hook timeout
#include "driver.hpp"

struct Mine : RightDriver<Mine> {};

void send(mq::Disk<Mine>& disk, mq::Context& context, blkown::Idle<Mine::Rq> idle) {
#ifdef BLKOWN_WRONG
  disk.execute_private(context, std::move(idle), {}, 100);
#else
  disk.execute_private(context, std::move(idle), {});
#endif
}
