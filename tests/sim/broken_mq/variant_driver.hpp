// SPDX-License-Identifier: BSL-1.0
//
// The driver of mq_nvme_driver.hpp with virtual hooks. The broken drivers are derived from it
// and replace a hook, so that a program that has them all has the code of one world.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_VARIANT_DRIVER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_VARIANT_DRIVER_HPP

#include "sim/mq_nvme_driver.hpp"

namespace round_trip::broken {

class VariantDriver : public NvmeSteps<VariantDriver> {
 public:
  using NvmeSteps::NvmeSteps;
  virtual ~VariantDriver() = default;

  virtual Status init_hctx(Hw& hw, QueueData& data) { return NvmeSteps::init_hctx(hw, data); }
  virtual Answer queue_rq(Hw& hw, QueueData& data, Idle<Rq> idle, bool is_last) {
    return NvmeSteps::queue_rq(hw, data, std::move(idle), is_last);
  }
  [[nodiscard]] virtual sim::SubmissionEntry command(Hw& hw, const Claim<Rq>& claim) {
    return NvmeSteps::command(hw, claim);
  }
  virtual Answer send(Hw& hw, Claim<Rq> claim, const sim::SubmissionEntry& entry) {
    return NvmeSteps::send(hw, std::move(claim), entry);
  }
  [[nodiscard]] virtual std::optional<Claim<Rq>> look_up(Hw& hw,
                                                         const sim::CompletionEntry& entry) {
    return NvmeSteps::look_up(hw, entry);
  }
  virtual void complete(Hw& hw, Claim<Rq> claim) { NvmeSteps::complete(hw, std::move(claim)); }
  virtual mq::TimeoutAction timeout(Hw& hw, const ARef<Rq>& pin, const Cookie& cookie) {
    return NvmeSteps::timeout(hw, pin, cookie);
  }
  virtual void failed() { NvmeSteps::failed(); }
};

}  // namespace round_trip::broken

#endif
