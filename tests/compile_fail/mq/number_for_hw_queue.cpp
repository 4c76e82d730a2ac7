// SPDX-License-Identifier: BSL-1.0
// Disk::hw_queue takes a QueueIndex, not an integer.
// EXPECT(gcc): use of deleted function .*::hw_queue\(QueueIndexWanted
// EXPECT(clang): call to deleted member function 'hw_queue'
#include "driver.hpp"

struct Mine : RightDriver<Mine> {};

void snippet(mq::Disk<Mine>& disk) {
#ifdef BLKOWN_WRONG
  disk.hw_queue(0).stop();
#else
  disk.hw_queue(blkown::QueueIndex{0}).stop();
#endif
}
