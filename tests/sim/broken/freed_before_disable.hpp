// SPDX-License-Identifier: BSL-1.0
//
// The driver frees its rings before it disables the controller, which has a command left.

#ifndef BLKOWN_TESTS_SIM_BROKEN_FREED_BEFORE_DISABLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_FREED_BEFORE_DISABLE_HPP

#include <blkown/nvme/registers.hpp>

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class FreedBeforeDisable : public Driver {
 public:
  using Driver::Driver;

  void stop() override {
    static_cast<void>(send_admin(SubmissionEntry::abort(1, 0)));
    is_resetting_ = true;  // takes no completions any more
    admin_.free(host_.device.declare_stopped());
    while (host_.wait()) {
    }
    host_.controller.write32(nvme::reg::cc, 0);
    const dma::EndProof proof = host_.device.declare_stopped();
    give_up_admin(proof);
    for (Rings& rings : rings_) rings.free(proof);
  }
};

}  // namespace nvme_ring::broken

#endif
