// SPDX-License-Identifier: BSL-1.0
//
// The driver ends the I/O twice, through a raw pointer that the compiler cannot follow.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DOUBLE_END_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DOUBLE_END_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class DoubleEnd : public Driver {
 public:
  using Driver::Driver;

 private:
  void end(Claim<R> claim, Status status) override {
    void* const raw = std::move(claim).into_raw();
    Claim<R>::from_raw(raw).end(status);
    Claim<R>::from_raw(raw).end(status);
  }
};

}  // namespace nvme_ring::broken

#endif
