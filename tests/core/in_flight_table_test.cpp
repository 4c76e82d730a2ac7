// SPDX-License-Identifier: BSL-1.0
//
// The table of the requests that are not idle. tracking_test.cpp has the table with holders.

#include <gtest/gtest.h>

#include <blkown/in_flight_table.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "support/driver.hpp"
#include "support/table.hpp"

using blkown::QueueIndex;
using support::Driver;

namespace {

TEST(InFlightTable, HasALineForEachRequestThatIsNotIdle) {
  Driver<> driver;
  EXPECT_EQ(support::table_of(driver.set), "");
  auto cache = driver.set.tag_cache(QueueIndex{0});
  auto one = driver.set.allocate(QueueIndex{0}, cache);  // and more tags are in the cache
  const auto line = [&](std::uint32_t queue, std::uint32_t tag, const char* rest) {
    const auto state = driver.set.state_of(QueueIndex{queue}, blkown::Tag{tag});
    return "queue " + std::to_string(queue) + " tag " + std::to_string(tag) + " generation " +
           std::to_string(state.value().generation.value) + ": " + rest + "\n";
  };
  auto idle = driver.idle(1, 1);
  auto owned = driver.owned(2, 1);
  const blkown::Cookie parked = driver.in_flight(3, 1);
  const blkown::Cookie pinned = driver.in_flight(4, 1);
  auto pin = std::optional{driver.pin(pinned)};
  auto copy = std::optional{*pin};
  auto claimed = driver.claimed(5, 1);
  auto held = std::optional{claimed.pin()};
  auto alone = driver.claimed(6, 1);
  const std::string before = line(1, 2, "owned, pins 0") + line(1, 3, "with the device, pins 0") +
                             line(1, 4, "shared, pins 2");
  EXPECT_EQ(support::table_of(driver.set),
            before + line(1, 5, "claimed, pinned, pins 1") + line(1, 6, "owned, pins 0"));
  std::move(claimed).end_ok();
  EXPECT_EQ(support::table_of(driver.set),
            before + line(1, 5, "ended, pinned, pins 1") + line(1, 6, "owned, pins 0"));
  held.reset();
  std::move(alone).end_ok();
  EXPECT_EQ(support::table_of(driver.set), before);
  pin.reset();
  copy.reset();
  driver.claim(parked).end_ok();
  driver.claim(pinned).end_ok();
  std::move(owned).end_ok();
  EXPECT_EQ(support::table_of(driver.set), "");
  std::move(idle).start().end_ok();
  std::move(one.value()).start().end_ok();
}

}  // namespace
