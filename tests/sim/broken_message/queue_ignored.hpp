// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each reply as one of the first connection.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_QUEUE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_QUEUE_IGNORED_HPP

#include "sim/message_driver.hpp"

namespace message::broken {

class QueueIgnored : public DriverOf<QueueIgnored> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<QueueIgnored>;

  void complete(QueueIndex, const sim::Reply& reply) { DriverOf::complete(QueueIndex{0}, reply); }
};

}  // namespace message::broken

#endif
