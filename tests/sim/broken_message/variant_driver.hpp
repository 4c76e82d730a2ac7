// SPDX-License-Identifier: BSL-1.0
//
// The reference driver of the message device with virtual steps. The broken drivers are derived
// from it and replace a step, so that a program that has them all has the code of one world.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_VARIANT_DRIVER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_VARIANT_DRIVER_HPP

#include "sim/message_driver.hpp"

namespace message::broken {

class VariantDriver : public DriverOf<VariantDriver> {
 public:
  using DriverOf::DriverOf;
  virtual ~VariantDriver() = default;

  virtual void failed() { DriverOf::failed(); }

 protected:
  friend class DriverOf<VariantDriver>;

  virtual void issue(Claim<R> claim) { DriverOf::issue(std::move(claim)); }
  [[nodiscard]] virtual sim::Message message_of(const Claim<R>& claim) {
    return DriverOf::message_of(claim);
  }
  virtual void refused(Claim<R> claim) { DriverOf::refused(std::move(claim)); }
  virtual void complete(QueueIndex queue, const sim::Reply& reply) {
    DriverOf::complete(queue, reply);
  }
  [[nodiscard]] virtual bool is_short(const sim::Io<VariantDriver>& io,
                                      const sim::Reply& reply) const {
    return DriverOf::is_short(io, reply);
  }
  virtual void copy(const sim::Io<VariantDriver>& io, const sim::Reply& reply) {
    DriverOf::copy(io, reply);
  }
};

}  // namespace message::broken

#endif
