// SPDX-License-Identifier: BSL-1.0
//
// The driver sends its first command with the cookie of another tag.

#ifndef BLKOWN_TESTS_SIM_BROKEN_FIRST_COOKIE_WRONG_HPP
#define BLKOWN_TESTS_SIM_BROKEN_FIRST_COOKIE_WRONG_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class FirstCookieWrong : public Driver {
 public:
  using Driver::Driver;

 private:
  void send(Claim<R> claim, const SubmissionEntry& entry) override {
    if (!std::exchange(is_first_, false)) return Driver::send(std::move(claim), entry);
    SubmissionEntry numbered = entry;
    Pair& pair = pair_of(claim.queue());
    auto issued = std::move(claim).publish([&](const Cookie& cookie) {
      numbered.command_id = static_cast<std::uint16_t>(cookie.value ^ 1);
      return pair.submit(numbered);
    });
    if (issued.has_value()) pair.ring_doorbell();
  }

  bool is_first_ = true;
};

}  // namespace nvme_ring::broken

#endif
