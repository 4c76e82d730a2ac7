// SPDX-License-Identifier: BSL-1.0
//
// The driver believes the number of bytes in a reply, of which fewer have come.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_HALF_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_HALF_TAKEN_FOR_WHOLE_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class HalfTakenForWhole : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  [[nodiscard]] bool is_short(const sim::Io<VariantDriver>& io,
                              const sim::Reply& reply) const override {
    return io.segment_count != 0 && reply.transferred_bytes != io.length_bytes();
  }
};

}  // namespace message::broken

#endif
