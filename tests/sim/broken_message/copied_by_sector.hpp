// SPDX-License-Identifier: BSL-1.0
//
// The driver finds the memory of a read by the sector alone, which the disks all have. With one
// disk it is right.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_COPIED_BY_SECTOR_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_COPIED_BY_SECTOR_HPP

#include <array>
#include <cstdint>
#include <map>

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class CopiedBySector : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void issue(Claim<R> claim) override {
    const auto& io = claim.data();
    if (io.opcode == Opcode::read) memory_[io.sector] = io.memory;
    VariantDriver::issue(std::move(claim));
  }
  void copy(const sim::Io<VariantDriver>& io, const sim::Reply& reply) override {
    sim::Io<VariantDriver> found = io;
    if (io.opcode == Opcode::read) found.memory = memory_[io.sector];
    VariantDriver::copy(found, reply);
  }

  std::map<std::uint64_t, std::array<blkown::Segment, 3>> memory_;
};

}  // namespace message::broken

#endif
