// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command with the cookie of the tag's previous publication.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_OLD_COOKIE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_OLD_COOKIE_HPP

#include <mutex>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class OldCookie : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  Answer send(Hw& hw, Claim<Rq> claim, const SubmissionEntry& entry, bool is_last) override {
    auto& queue = *hw.data.queue;
    const std::lock_guard guard{queue.submission};
    auto published = std::move(claim).publish([&](const Cookie& cookie) {
      SubmissionEntry old = entry;
      constexpr std::uint16_t one_generation = 1U << 12;
      old.command_id = static_cast<std::uint16_t>(cookie.value - one_generation);
      return queue.pair.submit(old);
    });
    if (published.has_value() && is_last) queue.pair.ring_doorbell();
    return Answer::accepted();
  }
};

}  // namespace broken_mq

#endif
