// SPDX-License-Identifier: BSL-1.0
// A hook of a usual wrong name is refused, and the error says what the hook is called.
// EXPECT-FIRST: the driver's hook queue_requests is called queue_rqs
// EXPECT: the driver's hook queueRqs is called queue_rqs
// EXPECT: the driver's hook commit is called commit_rqs
// EXPECT: the driver's hook commit_rq is called commit_rqs
// EXPECT: the driver's hook commitRqs is called commit_rqs
// EXPECT: the driver's hook complete_rq is called complete
// EXPECT: the driver's hook on_complete is called complete
// EXPECT: the driver's hook timed_out is called timeout
// EXPECT: the driver's hook on_timeout is called timeout
// EXPECT: the driver's hook timeout_rq is called timeout
// EXPECT: the driver's hook poll_rq is called poll
// EXPECT: the driver's hook poll_rqs is called poll
// EXPECT: the driver's hook init_hw is called init_hctx
// EXPECT: the driver's hook init_queue is called init_hctx
// EXPECT: the driver's hook exit_hw is called exit_hctx
// EXPECT: the driver's hook exit_queue is called exit_hctx
// EXPECT: the driver's hook map_queue is called map_queues
// EXPECT: the driver's hook report_zone is called report_zones
// EXPECT: the driver's hook reportZones is called report_zones
#include "driver.hpp"

#ifdef BLKOWN_WRONG
#define NAME(wrong, right) wrong
#else
#define NAME(wrong, right) right
#endif

struct D_queue_requests : RightDriver<D_queue_requests> {
  void NAME(queue_requests, queue_rqs)(mq::HwQueue<D_queue_requests>&, QueueData&,
                                       blkown::mq::IdleList<Rq>&);
};

struct D_queueRqs : RightDriver<D_queueRqs> {
  void NAME(queueRqs, queue_rqs)(mq::HwQueue<D_queueRqs>&, QueueData&, blkown::mq::IdleList<Rq>&);
};

struct D_commit : RightDriver<D_commit> {
  void NAME(commit, commit_rqs)(mq::HwQueue<D_commit>&, QueueData&);
};

struct D_commit_rq : RightDriver<D_commit_rq> {
  void NAME(commit_rq, commit_rqs)(mq::HwQueue<D_commit_rq>&, QueueData&);
};

struct D_commitRqs : RightDriver<D_commitRqs> {
  void NAME(commitRqs, commit_rqs)(mq::HwQueue<D_commitRqs>&, QueueData&);
};

struct D_complete_rq : RightDriver<D_complete_rq> {
  void NAME(complete_rq, complete)(mq::HwQueue<D_complete_rq>&, blkown::Claim<Rq>);
};

struct D_on_complete : RightDriver<D_on_complete> {
  void NAME(on_complete, complete)(mq::HwQueue<D_on_complete>&, blkown::Claim<Rq>);
};

struct D_timed_out : RightDriver<D_timed_out> {
  mq::TimeoutAction NAME(timed_out, timeout)(mq::HwQueue<D_timed_out>&, const blkown::ARef<Rq>&,
                                             const blkown::Cookie&);
};

struct D_on_timeout : RightDriver<D_on_timeout> {
  mq::TimeoutAction NAME(on_timeout, timeout)(mq::HwQueue<D_on_timeout>&, const blkown::ARef<Rq>&,
                                              const blkown::Cookie&);
};

struct D_timeout_rq : RightDriver<D_timeout_rq> {
  mq::TimeoutAction NAME(timeout_rq, timeout)(mq::HwQueue<D_timeout_rq>&, const blkown::ARef<Rq>&,
                                              const blkown::Cookie&);
};

struct D_poll_rq : RightDriver<D_poll_rq> {
  unsigned NAME(poll_rq, poll)(mq::HwQueue<D_poll_rq>&);
};

struct D_poll_rqs : RightDriver<D_poll_rqs> {
  unsigned NAME(poll_rqs, poll)(mq::HwQueue<D_poll_rqs>&);
};

struct D_init_hw : RightDriver<D_init_hw> {
  blkown::Status NAME(init_hw, init_hctx)(mq::HwQueue<D_init_hw>&, QueueData&);
};

struct D_init_queue : RightDriver<D_init_queue> {
  blkown::Status NAME(init_queue, init_hctx)(mq::HwQueue<D_init_queue>&, QueueData&);
};

struct D_exit_hw : RightDriver<D_exit_hw> {
  void NAME(exit_hw, exit_hctx)(mq::HwQueue<D_exit_hw>&, QueueData&);
};

struct D_exit_queue : RightDriver<D_exit_queue> {
  void NAME(exit_queue, exit_hctx)(mq::HwQueue<D_exit_queue>&, QueueData&);
};

struct D_map_queue : RightDriver<D_map_queue> {
  unsigned NAME(map_queue, map_queues)(mq::QueueType, unsigned, unsigned);
};

struct D_report_zone : RightDriver<D_report_zone> {
  unsigned NAME(report_zone, report_zones)(QueueData&, std::uint64_t, mq::Zone*, unsigned);
};

struct D_reportZones : RightDriver<D_reportZones> {
  unsigned NAME(reportZones, report_zones)(QueueData&, std::uint64_t, mq::Zone*, unsigned);
};

#ifdef BLKOWN_WRONG
static_assert(sizeof(mq::Disk<D_queue_requests>) != 0);  // refused
static_assert(sizeof(mq::Disk<D_queueRqs>) != 0);        // refused
static_assert(sizeof(mq::Disk<D_commit>) != 0);          // refused
static_assert(sizeof(mq::Disk<D_commit_rq>) != 0);       // refused
static_assert(sizeof(mq::Disk<D_commitRqs>) != 0);       // refused
static_assert(sizeof(mq::Disk<D_complete_rq>) != 0);     // refused
static_assert(sizeof(mq::Disk<D_on_complete>) != 0);     // refused
static_assert(sizeof(mq::Disk<D_timed_out>) != 0);       // refused
static_assert(sizeof(mq::Disk<D_on_timeout>) != 0);      // refused
static_assert(sizeof(mq::Disk<D_timeout_rq>) != 0);      // refused
static_assert(sizeof(mq::Disk<D_poll_rq>) != 0);         // refused
static_assert(sizeof(mq::Disk<D_poll_rqs>) != 0);        // refused
static_assert(sizeof(mq::Disk<D_init_hw>) != 0);         // refused
static_assert(sizeof(mq::Disk<D_init_queue>) != 0);      // refused
static_assert(sizeof(mq::Disk<D_exit_hw>) != 0);         // refused
static_assert(sizeof(mq::Disk<D_exit_queue>) != 0);      // refused
static_assert(sizeof(mq::Disk<D_map_queue>) != 0);       // refused
static_assert(sizeof(mq::Disk<D_report_zone>) != 0);     // refused
static_assert(sizeof(mq::Disk<D_reportZones>) != 0);     // refused
#else
static_assert(sizeof(mq::Disk<D_queue_requests>) != 0);
static_assert(sizeof(mq::Disk<D_queueRqs>) != 0);
static_assert(sizeof(mq::Disk<D_commit>) != 0);
static_assert(sizeof(mq::Disk<D_commit_rq>) != 0);
static_assert(sizeof(mq::Disk<D_commitRqs>) != 0);
static_assert(sizeof(mq::Disk<D_complete_rq>) != 0);
static_assert(sizeof(mq::Disk<D_on_complete>) != 0);
static_assert(sizeof(mq::Disk<D_timed_out>) != 0);
static_assert(sizeof(mq::Disk<D_on_timeout>) != 0);
static_assert(sizeof(mq::Disk<D_timeout_rq>) != 0);
static_assert(sizeof(mq::Disk<D_poll_rq>) != 0);
static_assert(sizeof(mq::Disk<D_poll_rqs>) != 0);
static_assert(sizeof(mq::Disk<D_init_hw>) != 0);
static_assert(sizeof(mq::Disk<D_init_queue>) != 0);
static_assert(sizeof(mq::Disk<D_exit_hw>) != 0);
static_assert(sizeof(mq::Disk<D_exit_queue>) != 0);
static_assert(sizeof(mq::Disk<D_map_queue>) != 0);
static_assert(sizeof(mq::Disk<D_report_zone>) != 0);
static_assert(sizeof(mq::Disk<D_reportZones>) != 0);
#endif
