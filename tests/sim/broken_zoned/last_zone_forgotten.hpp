// SPDX-License-Identifier: BSL-1.0
//
// The driver reports all zones but the last one.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ZONED_LAST_ZONE_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ZONED_LAST_ZONE_FORGOTTEN_HPP

#include <blkown/mq/mq.hpp>
#include <cstdint>

#include "sim/zoned_driver.hpp"

namespace zoned {

class LastZoneForgotten : public Driver {
 public:
  using Driver::Driver;

  [[nodiscard]] unsigned report_zones(QueueData& data, std::uint64_t sector, mq::Zone* zones,
                                      unsigned count) const override {
    const unsigned all = Driver::report_zones(data, sector, zones, count);
    const bool has_last = all != 0 && zones[all - 1].start_sector + zones[all - 1].length_sectors ==
                                          host_.medium.config.size / mq::sector_bytes;
    return has_last ? all - 1 : all;
  }
};

}  // namespace zoned

#endif
