// SPDX-License-Identifier: BSL-1.0
//
// Goal: a mapping that is dropped without proof is reported once, with its publication, and the
// request does not end before the device was stopped.

#include <blkown/dma/dma.hpp>
#include <optional>
#include <utility>

#include "support/identity_backend.hpp"
#include "support/recording.hpp"
#include "violation_test.hpp"

namespace death {
namespace {

namespace dma = blkown::dma;

TEST(MappingDropped, WithoutProof) {
  Device device;
  support::ReportLog log;
  support::IdentityBackend backend;
  dma::Device<support::IdentityBackend> memory{backend};
  dma::IovaList<1> list;
  std::byte byte{};
  const blkown::Segment segments[] = {{&byte, 1}};
  auto claim = device.owned().into_claim();
  auto prepared = dma::map(claim, memory, segments, dma::Direction::to_device, list);
  ASSERT_TRUE(prepared.has_value());
  std::optional mapping{std::move(*prepared).activate()};
  const blkown::Cookie cookie = claim.next_cookie();
  std::move(claim).publish([](const blkown::Cookie&) {});
  mapping.reset();
  ASSERT_EQ(log.count(), 1U);
  const auto& [report, incident] = log.last();
  EXPECT_EQ(report, blkown::Report::mapping_dropped);
  EXPECT_STREQ(incident.operation, "drop of dma::ActiveMapping");
  EXPECT_TRUE(incident.has_request);
  EXPECT_EQ(incident.queue, cookie.queue);
  EXPECT_EQ(incident.tag, cookie.tag);
  EXPECT_EQ(incident.state.generation, cookie.generation);
  device.set->claim(cookie.queue, cookie.value).value().end_ok();
  EXPECT_TRUE(device.list.empty()) << "the device may still write to its memory";
  EXPECT_EQ(memory.drain(memory.declare_stopped()), 1U);
  auto ended = device.list.pop_front();
  ASSERT_TRUE(ended.has_value());
  std::move(*ended).release();
}

// Goal: a mapping whose I/O was published without activate() is not unmapped by the drop of its
// PreparedMapping, which is reported. One whose I/O ended unpublished is unmapped.
TEST(MappingDropped, WithoutActivation) {
  Device device;
  support::ReportLog log;
  support::IdentityBackend backend;
  dma::Device<support::IdentityBackend> memory{backend};
  dma::IovaList<1> list;
  std::byte byte{};
  const blkown::Segment segments[] = {{&byte, 1}};
  auto claim = device.owned().into_claim();
  const auto map = [&] {
    auto mapped = dma::map(claim, memory, segments, dma::Direction::from_device, list);
    return std::optional{std::move(mapped).value()};
  };
  auto prepared = map();
  prepared.reset();
  EXPECT_TRUE(list.is_free()) << "not published: the device has not seen it";
  prepared = map();
  const blkown::Cookie cookie = claim.next_cookie();
  std::move(claim).publish([](const blkown::Cookie&) {});
  EXPECT_EQ(log.count(), 0U);
  prepared.reset();
  ASSERT_EQ(log.count(), 1U);
  const auto& [report, incident] = log.last();
  EXPECT_EQ(report, blkown::Report::mapping_dropped);
  EXPECT_STREQ(incident.operation, "drop of dma::PreparedMapping");
  EXPECT_STREQ(incident.remedy, "call activate() before publish(), and unmap() with an EndProof");
  EXPECT_EQ(incident.state.generation, cookie.generation);
  EXPECT_FALSE(list.is_free()) << "the device may still write to its memory";
  auto completed = device.set->claim(cookie.queue, cookie.value).value();
  std::move(completed).end_ok();
  EXPECT_TRUE(device.list.empty());
  EXPECT_EQ(memory.drain(memory.declare_stopped()), 1U);
  EXPECT_TRUE(list.is_free());
  auto ended = device.list.pop_front();
  ASSERT_TRUE(ended.has_value());
  std::move(*ended).release();
}

/// Maps all memory at its own address, and cannot unmap while `is_stuck`.
struct Stuck : support::IdentityBackend {
  [[nodiscard]] std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&) const {
    if (is_stuck) return std::unexpected(dma::MapFailure::unmap_failed);
    return {};
  }
  bool is_stuck = true;
};

TEST(UnmapFailed, WithProof) {
  Device device;
  support::ReportLog log;
  Stuck backend;
  dma::Device<Stuck> memory{backend};
  dma::IovaList<1> list;
  std::byte byte{};
  const blkown::Segment segments[] = {{&byte, 1}};
  auto claim = device.owned().into_claim();
  auto prepared = dma::map(claim, memory, segments, dma::Direction::to_device, list);
  ASSERT_TRUE(prepared.has_value());
  EXPECT_TRUE(std::move(*prepared).activate().cancel(claim).has_value());
  ASSERT_EQ(log.count(), 1U);
  const auto& [report, incident] = log.last();
  EXPECT_EQ(report, blkown::Report::unmap_failed);
  EXPECT_STREQ(incident.operation, "unmap of a dma mapping");
  EXPECT_EQ(incident.tag, claim.tag());
  std::move(claim).end_ok();
  EXPECT_TRUE(device.list.empty()) << "the device may still reach the memory";
  EXPECT_EQ(memory.drain(memory.declare_stopped()), 0U) << "it fails again";
  EXPECT_EQ(log.count(), 2U);
  backend.is_stuck = false;
  EXPECT_EQ(memory.drain(memory.declare_stopped()), 1U);
  auto ended = device.list.pop_front();
  ASSERT_TRUE(ended.has_value());
  std::move(*ended).release();
}

}  // namespace
}  // namespace death
