// SPDX-License-Identifier: BSL-1.0
//
// Goal: the tracking build lists a DMA mapping, whose pin is a raw pointer, as a holder of its
// request. Most requests that cannot end wait for a mapping.
// Method: each test maps on a known line, and compares the listed lines.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/dma.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "support/driver.hpp"
#include "support/holders.hpp"
#include "support/identity_backend.hpp"

using blkown::Place;
using support::Driver;

namespace {

namespace dma = blkown::dma;

using support::holders;
using support::Line;
using support::Lines;
using support::next_line;

class TrackedMapping : public testing::Test {
 protected:
  [[nodiscard]] Lines held() const { return holders(driver.header()); }

  Driver<> driver;
  support::IdentityBackend reach;
  std::array<std::byte, 512> memory{};
  std::array<blkown::Segment, 1> segments{{{memory.data(), memory.size()}}};
  static constexpr auto in = dma::Direction::from_device;
};

}  // namespace

TEST_F(TrackedMapping, RemembersWhereItWasMadeUntilItIsUnmapped) {
  dma::IovaList<1> list;
  dma::Device<support::IdentityBackend> device{reach};
  const Line claimed = next_line();
  auto submitting = driver.owned().into_claim();
  const Line line = next_line();
  auto prepared = dma::map(submitting, device, segments, in, list);
  ASSERT_TRUE(prepared.has_value());
  EXPECT_EQ(held(), (Lines{claimed, line}));
  auto active = std::move(*prepared).activate();
  const auto cookie = Driver<>::publish(std::move(submitting));
  EXPECT_EQ(held(), Lines{line});

  auto claim = driver.claim(cookie);
  ASSERT_TRUE(std::move(active).unmap(*dma::EndProof::of(claim)).has_value());
  EXPECT_EQ(held(), Lines{});
  std::move(claim).end_ok();
}

// Goal: the report of a dropped mapping names its request. The mapping is a holder of the request
// until a drain unmaps it.
TEST_F(TrackedMapping, IsAHolderInQuarantineToo) {
  static Lines reported;
  reported.clear();
  const auto before =
      blkown::set_report_handler([](blkown::Report what, const blkown::Incident& incident) {
        EXPECT_EQ(what, blkown::Report::mapping_dropped);
        ASSERT_NE(incident.header, nullptr);
        reported = holders(*incident.header);
      });
  dma::IovaList<1> list;
  dma::Device<support::IdentityBackend> device{reach};
  const Line claimed = next_line();
  auto claim = driver.owned().into_claim();
  const Line line = next_line();
  auto prepared = dma::map(claim, device, segments, in, list);
  ASSERT_TRUE(prepared.has_value());
  {
    const auto dropped = std::move(*prepared).activate();
  }
  blkown::set_report_handler(before);
  EXPECT_EQ(reported, (Lines{claimed, line}));
  std::move(claim).end_ok();
  EXPECT_EQ(driver.state(), "2 finished");
  EXPECT_EQ(held(), Lines{line});
  EXPECT_EQ(device.drain(device.declare_stopped()), 1U);
  EXPECT_EQ(held(), Lines{});
  EXPECT_EQ(driver.sink.count(), 1U);
}
