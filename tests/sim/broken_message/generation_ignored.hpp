// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts a reply by its tag only: a stale reply ends the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_GENERATION_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_GENERATION_IGNORED_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class GenerationIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::Reply& reply) override {
    auto claim = host_.claim(queue, reply.cookie);
    if (!claim.has_value() && claim.error().reason == blkown::LookupReason::stale_generation) {
      claim = host_.tags.claim_any_generation(queue, claim.error().tag);
    }
    if (claim.has_value()) finish(*std::move(claim), reply);
  }
};

}  // namespace message::broken

#endif
