// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the number of bytes transferred.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_SHORT_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_SHORT_TAKEN_FOR_WHOLE_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class ShortTakenForWhole : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  [[nodiscard]] bool is_short(const sim::Io<VariantDriver>&, const sim::Reply&) const override {
    return false;
  }
};

}  // namespace message::broken

#endif
