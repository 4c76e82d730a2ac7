// SPDX-License-Identifier: BSL-1.0
// A queue_rq of a usual wrong name is refused, and the error says what it is called.
// EXPECT-FIRST: the driver's hook queue_request is called queue_rq
// EXPECT: the driver's hook queueRq is called queue_rq
// EXPECT: the driver's hook queue_req is called queue_rq
// EXPECT: the driver's hook submit_request is called queue_rq
// EXPECT: a driver has the types RequestData, HwData and QueueData, and Dispatch<D>
#include "driver.hpp"

#ifdef BLKOWN_WRONG
#define NAME(wrong) wrong
#else
#define NAME(wrong) queue_rq
#endif

struct D_queue_request {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<D_queue_request> NAME(queue_request)(mq::HwQueue<D_queue_request>&, QueueData&,
                                                    blkown::Idle<mq::Request<D_queue_request>>,
                                                    bool);
};

struct D_queueRq {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<D_queueRq> NAME(queueRq)(mq::HwQueue<D_queueRq>&, QueueData&,
                                        blkown::Idle<mq::Request<D_queueRq>>, bool);
};

struct D_queue_req {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<D_queue_req> NAME(queue_req)(mq::HwQueue<D_queue_req>&, QueueData&,
                                            blkown::Idle<mq::Request<D_queue_req>>, bool);
};

struct D_submit_request {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<D_submit_request> NAME(submit_request)(mq::HwQueue<D_submit_request>&, QueueData&,
                                                      blkown::Idle<mq::Request<D_submit_request>>,
                                                      bool);
};

#ifdef BLKOWN_WRONG
static_assert(sizeof(mq::Disk<D_queue_request>) != 0);   // refused
static_assert(sizeof(mq::Disk<D_queueRq>) != 0);         // refused
static_assert(sizeof(mq::Disk<D_queue_req>) != 0);       // refused
static_assert(sizeof(mq::Disk<D_submit_request>) != 0);  // refused
#else
static_assert(sizeof(mq::Disk<D_queue_request>) != 0);
static_assert(sizeof(mq::Disk<D_queueRq>) != 0);
static_assert(sizeof(mq::Disk<D_queue_req>) != 0);
static_assert(sizeof(mq::Disk<D_submit_request>) != 0);
#endif
