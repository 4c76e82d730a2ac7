// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts an I/O that the device was too busy for, and never issues the I/O. Its timeout
// hook does nothing.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_ISSUE_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_ISSUE_FORGOTTEN_HPP

#include <expected>

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class IssueForgotten : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Answer send(Hw& hw, Claim<Rq> claim, const sim::SubmissionEntry& entry) override {
    auto issued = std::move(claim).publish([&](const Cookie&) {
      const std::lock_guard lock{hw.data.submission};
      static_cast<void>(hw.data.rings->submit(controller_, hw.index().value, entry));
      return std::expected<void, sim::DeviceBusy>{};
    });
    return Answer::accepted();
  }

  mq::TimeoutAction timeout(Hw&, const ARef<Rq>&, const Cookie&) override {
    return mq::TimeoutAction::handled;
  }
};

}  // namespace round_trip::broken

#endif
