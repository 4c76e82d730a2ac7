// SPDX-License-Identifier: BSL-1.0
//
// Goal: the world of a zoned disk ends a run that is too long, judges each call of queue_rq, and
// removes the disk while it has I/O.

#include "sim/zoned_world.hpp"

#include <gtest/gtest.h>
#include <blkown/check.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/status.hpp>
#include <cstdint>
#include <memory>
#include <vector>

#include "sim/broken_zoned/unquiesced_unasked.hpp"

namespace {

namespace sim = blkown::sim;
using blkown::Status;

[[nodiscard]] sim::WorldConfig zoned_config(std::uint64_t seed) {
  sim::WorldConfig config;
  config.seed = seed;
  config.io_count = 100;
  return config;
}
template <class D>
[[nodiscard]] zoned::World::Make zoned_driver() {
  return [](zoned::DriverHost& host) { return std::make_unique<D>(host); };
}
/// The world of the driver D. A world with a finding cannot be destroyed in order, so it is kept.
template <class D>
[[nodiscard]] zoned::World& kept_world(const sim::WorldConfig& config) {
  static auto* const kept = new std::vector<std::unique_ptr<zoned::World>>;
  return *kept->emplace_back(std::make_unique<zoned::World>(config, zoned_driver<D>()));
}

TEST(ZonedWorld, ARunIsCutOffAtItsLimitOfEvents) {
  sim::WorldConfig config = zoned_config(1);
  zoned::World whole{config, zoned_driver<zoned::Driver>()};
  ASSERT_TRUE(whole.run()) << whole.finding().what;
  // One limit is met before the disk's removal, and the other one during it.
  for (const std::uint64_t limit : {std::uint64_t{100}, whole.history().event() - 2}) {
    config.max_events = limit;
    zoned::World& world = kept_world<zoned::Driver>(config);
    EXPECT_FALSE(world.run()) << limit;
    EXPECT_EQ(world.finding().what, "the run was cut off at its limit of events");
    EXPECT_EQ(world.history().event(), limit + 1);
  }
  config.max_events = whole.history().event();
  zoned::World same{config, zoned_driver<zoned::Driver>()};
  EXPECT_TRUE(same.run()) << same.finding().what;
}

TEST(ZonedWorld, FindsACallOfQueueRqWhileAnotherPartyHoldsTheDisk) {
  // An unquiesce without a quiesce is reported, too.
  const auto before = blkown::set_report_handler([](blkown::Report, const blkown::Incident&) {});
  const sim::Finding* found = nullptr;
  for (std::uint64_t seed = 0; seed != 50 && found == nullptr; ++seed) {
    sim::WorldConfig config = zoned_config(seed);
    config.rates = sim::FaultRates::none();
    config.rates[sim::FaultKind::lost] = 6000;
    zoned::World& world = kept_world<zoned::UnquiescedUnasked>(config);
    if (!world.run()) found = &world.finding();
  }
  blkown::set_report_handler(before);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->what, "queue_rq was called while another party has the disk quiesced or frozen");
  EXPECT_TRUE(found->has_request);
}

TEST(ZonedWorld, ADiskIsRemovedWhileItHasIo) {
  std::uint64_t with_io = 0, offline = 0, ended_well = 0;
  for (std::uint64_t seed = 0; seed != 60; ++seed) {
    const sim::WorldConfig config = zoned_config(seed);
    zoned::World world{config, zoned_driver<zoned::Driver>()};
    ASSERT_TRUE(world.run()) << "seed " << seed << ": " << world.finding().what;
    EXPECT_EQ(world.ended(), config.io_count);
    with_io += world.in_flight_at_removal() != 0 ? 1 : 0;
    offline += world.ended_with(Status::offline);
    ended_well += world.ended_with(Status::ok);
  }
  EXPECT_GT(with_io, 20U);
  EXPECT_GT(offline, 0U);
  EXPECT_GT(ended_well, 0U);
}

}  // namespace
