// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the number of bytes transferred.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_SHORT_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_SHORT_TAKEN_FOR_WHOLE_HPP

#include "sim/message_driver.hpp"

namespace message::broken {

class ShortTakenForWhole : public DriverOf<ShortTakenForWhole> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<ShortTakenForWhole>;

  [[nodiscard]] bool is_short(const sim::Io<ShortTakenForWhole>&, const sim::Reply&) const {
    return false;
  }
};

}  // namespace message::broken

#endif
