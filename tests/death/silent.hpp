// SPDX-License-Identifier: BSL-1.0
//
// The driver of the death tests of the block layer. One type, because each type of a driver is the
// block layer compiled again.

#ifndef BLKOWN_TESTS_DEATH_SILENT_HPP
#define BLKOWN_TESTS_DEATH_SILENT_HPP

#include <blkown/mq/mq.hpp>
#include <utility>

namespace death {

/// A driver that publishes every request and completes none.
struct Silent {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Disk = blkown::mq::Disk<Silent>;
  using Answer = blkown::mq::Dispatch<Silent>;

  Answer queue_rq(blkown::mq::HwQueue<Silent>&, QueueData&,
                  blkown::Idle<blkown::mq::Request<Silent>> idle, bool) {
    std::move(idle).start().publish([](const blkown::Cookie&) {});
    return Answer::accepted();
  }
  [[nodiscard]] unsigned map_queues(blkown::mq::QueueType, unsigned, unsigned count) const {
    return count == 1 ? 0 : index_among_several;
  }

  unsigned index_among_several = 0;  // the answer of map_queues once there are several queues
};

}  // namespace death

#endif
