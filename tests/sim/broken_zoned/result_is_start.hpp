// SPDX-License-Identifier: BSL-1.0
//
// The driver reports the start of the zone as the place of an append: the sector of the request.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ZONED_RESULT_IS_START_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ZONED_RESULT_IS_START_HPP

#include <cstdint>

#include "sim/zoned_driver.hpp"

namespace zoned {

class ResultIsStart : public Driver {
 public:
  using Driver::Driver;

 protected:
  [[nodiscard]] std::uint64_t written_sector(const mq::Payload<Driver>& payload,
                                             const Reply&) const override {
    return payload.sector();
  }
};

}  // namespace zoned

#endif
