// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command to the first namespace.

#ifndef BLKOWN_TESTS_SIM_BROKEN_NAMESPACE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_NAMESPACE_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class NamespaceIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  [[nodiscard]] std::uint32_t nsid_of(const sim::Io<Driver>&) const override { return 1; }
};

}  // namespace nvme_ring::broken

#endif
