// SPDX-License-Identifier: BSL-1.0
//
// The driver of the random tests that take requests one by one. One type, because each type of a
// driver is the block layer compiled again.

#ifndef BLKOWN_TESTS_MQ_ONE_BY_ONE_DRIVER_HPP
#define BLKOWN_TESTS_MQ_ONE_BY_ONE_DRIVER_HPP

#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <utility>
#include <vector>

namespace fake {

/// A driver without queue_rqs. A test overrides the hooks.
struct OneByOneDriver {
  struct RequestData {
    OneByOneDriver* holder = nullptr;  // the driver that has the request, for the test
  };
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = blkown::mq::Request<OneByOneDriver>;
  using Hw = blkown::mq::HwQueue<OneByOneDriver>;
  using Payload = blkown::mq::Payload<OneByOneDriver>;
  using Answer = blkown::mq::Dispatch<OneByOneDriver>;
  using Disk = blkown::mq::Disk<OneByOneDriver>;
  using Pool = blkown::mq::TagPool<OneByOneDriver>;

  virtual Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) = 0;
  virtual void complete(Hw&, blkown::Claim<Rq> claim) { std::move(claim).end_ok(); }
  virtual blkown::mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
    return blkown::mq::TimeoutAction::rearm;
  }
};

}  // namespace fake

#endif
