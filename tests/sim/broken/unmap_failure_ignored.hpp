// SPDX-License-Identifier: BSL-1.0
//
// Memory that could not be unmapped is not noted: the driver does not reset the device for it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_UNMAP_FAILURE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_UNMAP_FAILURE_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class UnmapFailureIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  void note_quarantine() override {}
};

}  // namespace nvme_ring::broken

#endif
