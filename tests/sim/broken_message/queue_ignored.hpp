// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each reply as one of the first connection.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_QUEUE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_QUEUE_IGNORED_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class QueueIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex, const sim::Reply& reply) override {
    VariantDriver::complete(QueueIndex{0}, reply);
  }
};

}  // namespace message::broken

#endif
