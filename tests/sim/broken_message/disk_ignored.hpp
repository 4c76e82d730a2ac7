// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each message to the first disk.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_DISK_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_DISK_IGNORED_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class DiskIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  [[nodiscard]] sim::Message message_of(const Claim<R>& claim) override {
    sim::Message message = VariantDriver::message_of(claim);
    message.disk = 0;
    return message;
  }
};

}  // namespace message::broken

#endif
