// SPDX-License-Identifier: BSL-1.0
//
// The driver drains memory that a stop has left mapped when the device runs again, with the proof
// of that stop.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DRAINED_LATER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DRAINED_LATER_HPP

#include <optional>

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class DrainedLater : public Driver {
 public:
  using Driver::Driver;

 private:
  [[nodiscard]] bool drain(const dma::EndProof& proof) override {
    if (!Driver::drain(proof)) left_.emplace(proof);
    return true;
  }
  void issue(Claim<R> claim) override {
    if (left_.has_value()) host_.device.drain(*std::exchange(left_, std::nullopt));
    Driver::issue(std::move(claim));
  }

  std::optional<dma::EndProof> left_;
};

}  // namespace nvme_ring::broken

#endif
