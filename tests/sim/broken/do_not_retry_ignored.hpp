// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command again that has failed, whatever its status says.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DO_NOT_RETRY_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DO_NOT_RETRY_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class DoNotRetryIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  void finish(Claim<R> claim, const nvme::CompletionEntry& entry) override {
    if (entry.status().is_success()) return Driver::finish(std::move(claim), entry);
    give_back(std::move(claim), Status::resource);
  }
};

}  // namespace nvme_ring::broken

#endif
