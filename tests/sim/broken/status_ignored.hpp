// SPDX-License-Identifier: BSL-1.0
//
// The driver takes each completion for a success.

#ifndef BLKOWN_TESTS_SIM_BROKEN_STATUS_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_STATUS_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class StatusIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  void finish(Claim<R> claim, const nvme::CompletionEntry&) override {
    end(std::move(claim), Status::ok);
  }
};

}  // namespace nvme_ring::broken

#endif
