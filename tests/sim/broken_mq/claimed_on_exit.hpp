// SPDX-License-Identifier: BSL-1.0
//
// When its queue goes, the driver claims each tag as if its command had completed.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_CLAIMED_ON_EXIT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_CLAIMED_ON_EXIT_HPP

#include <cstdint>
#include <utility>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class ClaimedOnExit : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void exit_hctx(Hw& hw, NamespaceInfo& info) override {
    for (std::uint32_t tag = 0; tag != config().depth; ++tag) {
      if (auto claim = hw.claim(tag)) end(*std::move(claim), Status::aborted);
    }
    VariantDriver::exit_hctx(hw, info);
  }
};

}  // namespace broken_mq

#endif
