// SPDX-License-Identifier: BSL-1.0
//
// The driver ends the I/O twice, through a raw pointer that the compiler cannot follow.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DOUBLE_END_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DOUBLE_END_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class DoubleEnd : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void end(Claim<R> claim, Status status) override {
    void* const raw = std::move(claim).into_raw();
    Claim<R>::from_raw(raw).end(status);
    Claim<R>::from_raw(raw).end(status);
  }
};

}  // namespace nvme::broken

#endif
