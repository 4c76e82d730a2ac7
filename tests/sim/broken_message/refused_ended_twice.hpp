// SPDX-License-Identifier: BSL-1.0
//
// The driver ends an I/O that the device has refused, and returns the refusal to its caller, which
// ends the I/O again.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_REFUSED_ENDED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_REFUSED_ENDED_TWICE_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class RefusedEndedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void refused(Claim<R> claim) override {
    void* const raw = std::move(claim).into_raw();
    end(Claim<R>::from_raw(raw), Status::resource);
    give_back(Claim<R>::from_raw(raw), Status::resource);
  }
};

}  // namespace message::broken

#endif
