// SPDX-License-Identifier: BSL-1.0
//
// The driver rings the doorbell before it publishes: the lookup of a fast completion fails.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ISSUE_BEFORE_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ISSUE_BEFORE_PUBLISH_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class IssueBeforePublish : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void issue(Claim<R> claim) override {
    if (const auto error = map(claim)) return give_back(std::move(claim), *error);
    const QueueIndex queue = claim.queue();
    if (!rings_[queue.value].submit(host_.controller, queue.value, command(claim)).has_value()) {
      if (auto mapping = std::exchange(claim.data().driver.mapping, std::nullopt)) {
        static_cast<void>(std::move(*mapping).cancel(claim));
      }
      return give_back(std::move(claim), Status::resource);
    }
    std::move(claim).publish([](const Cookie&) {});
  }
};

}  // namespace nvme::broken

#endif
