// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up a stale completion with the cookie of the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COOKIE_REPAIRED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COOKIE_REPAIRED_HPP

#include <span>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class CookieRepaired : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller caller) override {
    for (const CompletionEntry& entry : entries) take(lookup, entry, caller);
  }
  void take(Hw& lookup, const CompletionEntry& entry, Caller caller) {
    CompletionEntry repaired = entry;
    repaired.command_id = static_cast<std::uint16_t>(current(lookup, entry.command_id));
    VariantDriver::take(lookup, std::span{&repaired, 1}, caller);
  }
  /// The cookie of the I/O in flight that has the entry's tag, or the entry's cookie.
  [[nodiscard]] static std::uint64_t current(Hw& hw, std::uint64_t stale) {
    const auto pin = hw.disk().pool().tags().tag_to_rq(hw.tag_queue(), stale);
    if (pin.has_value() || pin.error().reason != blkown::LookupReason::stale_generation) {
      return stale;
    }
    std::uint64_t value = stale;
    hw.for_each_in_flight([&](const ARef<Rq>& other, const Cookie& cookie) {
      if (other.tag() == pin.error().tag) value = cookie.value;
    });
    return value;
  }
};

}  // namespace broken_mq

#endif
