// SPDX-License-Identifier: BSL-1.0
//
// The reference driver with virtual steps. The broken drivers are derived from it and replace a
// step, so that a program that has them all has the code of one world.

#ifndef BLKOWN_TESTS_SIM_BROKEN_VARIANT_DRIVER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_VARIANT_DRIVER_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class VariantDriver : public DriverOf<VariantDriver> {
 public:
  using DriverOf::DriverOf;
  virtual ~VariantDriver() = default;

  virtual void timeout(const ARef<R>& pin, const Cookie& cookie) { DriverOf::timeout(pin, cookie); }

 protected:
  friend class DriverOf<VariantDriver>;

  virtual void issue(Claim<R> claim) { DriverOf::issue(std::move(claim)); }
  [[nodiscard]] virtual std::optional<Status> map(Claim<R>& claim) { return DriverOf::map(claim); }
  [[nodiscard]] virtual sim::SubmissionEntry command(const Claim<R>& claim) {
    return DriverOf::command(claim);
  }
  virtual void complete(QueueIndex queue, const sim::CompletionEntry& entry) {
    DriverOf::complete(queue, entry);
  }
  virtual void finish(Claim<R> claim, const sim::CompletionEntry& entry) {
    DriverOf::finish(std::move(claim), entry);
  }
  virtual void end(Claim<R> claim, Status status) { DriverOf::end(std::move(claim), status); }
  virtual void reset() { DriverOf::reset(); }
};

}  // namespace nvme::broken

#endif
