// SPDX-License-Identifier: BSL-1.0
//
// The driver does not notice that memory could not be unmapped, and does not reset the device for
// it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_UNMAP_FAILURE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_UNMAP_FAILURE_IGNORED_HPP

#include <utility>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class UnmapFailureIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void unmap(Claim<Rq>& claim, const dma::EndProof& proof) override {
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    if (mapping.has_value()) static_cast<void>(std::move(*mapping).unmap(proof));
  }
};

}  // namespace broken_mq

#endif
