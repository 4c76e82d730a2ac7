// SPDX-License-Identifier: BSL-1.0
//
// Goal: a mapping that is dropped without proof is reported once, with its publication, and the
// request does not end before the device was stopped.

#include <blkown/dma/dma.hpp>
#include <cstddef>
#include <cstdint>
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

/// A mapping of one byte, which is copied through a slot, and is never activated.
struct Unactivated {
  Unactivated() { map(); }
  /// Maps the byte for the Claim's next publication.
  void map() {
    const blkown::Segment segments[] = {{&byte, 1}};
    cookie = claim->next_cookie();
    prepared.emplace(dma::map(*claim, memory, segments, dma::Direction::from_device, list).value());
    EXPECT_EQ(pool.free_slots(), 0U);
  }
  [[nodiscard]] Claim give_claim() {
    Claim given = std::move(*claim);
    claim.reset();
    return given;
  }
  /// Publishes the I/O, and lets the device write.
  void publish() {
    give_claim().publish(&take);
    slot[0] = received;
  }
  void end() { device.set->claim(cookie.queue, cookie.value).value().end_ok(); }
  /// The drop is reported once, and leaves the memory mapped.
  void drop_and_report() {
    prepared.reset();
    ASSERT_EQ(log.count(), 1U);
    const auto& [report, incident] = log.last();
    EXPECT_EQ(report, blkown::Report::mapping_dropped);
    EXPECT_STREQ(incident.operation, "drop of dma::PreparedMapping");
    EXPECT_STREQ(incident.remedy, "call activate() before publish(), and unmap() with an EndProof");
    EXPECT_EQ(incident.state.generation, cookie.generation);
    EXPECT_EQ(memory.quarantined_count(), 1U);
    memory.for_each_quarantined([](const dma::Quarantined& mapping) {
      EXPECT_EQ(mapping.reason, dma::QuarantineReason::dropped);
    });
  }
  /// The drop unmaps, and changes no byte.
  void drop_and_unmap() {
    slot[0] = received;
    prepared.reset();
    EXPECT_EQ(log.count(), 0U);
    EXPECT_TRUE(list.is_free());
    EXPECT_EQ(pool.free_slots(), 1U);
    EXPECT_EQ(byte, std::byte{});
  }
  /// Nothing pins the request any longer, which has ended or was requeued.
  void release() {
    auto ended = device.list.pop_front();
    ASSERT_TRUE(ended.has_value());
    std::move(*ended).release();
  }

  static constexpr std::byte received{0x33};
  Device device;
  support::ReportLog log;
  alignas(64) std::byte slot[64]{};
  // The slot alone is in the device's reach.
  support::IdentityBackend backend{{.address_mask = sizeof slot - 1},
                                   0 - reinterpret_cast<std::uintptr_t>(slot)};
  dma::BouncePool pool{slot, sizeof slot};
  dma::Device<support::IdentityBackend> memory{backend, &pool};
  dma::IovaList<1> list;
  std::byte byte{};
  std::optional<Claim> claim{device.unpublished_claim()};
  std::optional<dma::PreparedMapping> prepared;
  blkown::Cookie cookie;
};

// Goal: a mapping whose I/O was published without activate() is not unmapped by the drop of its
// PreparedMapping, which is reported. A stop that is declared afterwards covers the mapping, and
// the bytes that the device has written are copied back.
TEST(MappingDropped, WithoutActivation) {
  Unactivated io;
  const auto early = io.memory.declare_stopped();  // before the publication
  io.publish();
  EXPECT_EQ(io.log.count(), 0U);
  io.drop_and_report();
  io.end();
  EXPECT_TRUE(io.device.list.empty()) << "the device may still write to its memory";
  EXPECT_EQ(io.memory.drain(early), 0U);
  EXPECT_EQ(io.memory.drain(io.memory.declare_stopped()), 1U);
  EXPECT_TRUE(io.list.is_free());
  EXPECT_EQ(io.byte, Unactivated::received);
  io.release();
}

// Goal: the order of a reset: the stop is declared, the I/O ended, the handle dropped, and the
// device drained with the proof of that stop.
TEST(MappingDropped, WithoutActivationAfterAStop) {
  Unactivated io;
  io.publish();
  const auto proof = io.memory.declare_stopped();
  io.end();
  io.drop_and_report();
  EXPECT_TRUE(io.device.list.empty());
  EXPECT_EQ(io.memory.drain(proof), 1U);
  EXPECT_EQ(io.byte, Unactivated::received);
  io.release();
}

// Goal: a refused command counts as published: the drop keeps the mapping, because the handle knows
// of no proof.
TEST(MappingDropped, WithoutActivationAfterARefusal) {
  Unactivated io;
  auto refused = io.give_claim().publish(&refuse);
  io.drop_and_report();
  std::move(*refused.error().claim).end_ok();
  EXPECT_TRUE(io.device.list.empty());
  EXPECT_EQ(io.memory.drain(io.memory.declare_stopped()), 1U);
  io.release();
}

// Goal: a mapping whose I/O was not published is unmapped by the drop: before the I/O's end, after
// it, and after a requeue. No report is made, and no byte is copied back.
TEST(MappingDropped, WithoutPublication) {
  {
    Unactivated io;
    io.drop_and_unmap();
    io.map();
    io.give_claim().end_ok();
    EXPECT_TRUE(io.device.list.empty()) << "the mapping pins the request";
    io.drop_and_unmap();
    io.release();
  }
  Unactivated io;
  io.give_claim().requeue();
  io.drop_and_unmap();
  io.release();
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
