// SPDX-License-Identifier: BSL-1.0
//
// The driver maps the memory for the opposite direction.

#ifndef BLKOWN_TESTS_SIM_BROKEN_WRONG_DIRECTION_HPP
#define BLKOWN_TESTS_SIM_BROKEN_WRONG_DIRECTION_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class WrongDirection : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  std::optional<Status> map(Claim<R>& claim) override {
    sim::Io<VariantDriver>& io = claim.data();
    if (io.segment_count == 0) return std::nullopt;
    const auto direction =
        io.opcode == Opcode::read ? dma::Direction::to_device : dma::Direction::from_device;
    auto prepared = dma::map(claim, host_.device, io.segments(), direction, io.driver.iovas);
    if (!prepared.has_value()) return prepared.error().status();
    io.driver.mapping = std::move(*prepared).activate();
    return std::nullopt;
  }
};

}  // namespace nvme::broken

#endif
