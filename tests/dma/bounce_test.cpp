// SPDX-License-Identifier: BSL-1.0
//
// Goal: memory that the device cannot reach is copied into slots before the I/O and back after it,
// and all other memory is left alone.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

using fake::Claim;
using fake::Direction;
using fake::EndProof;
using fake::Rig;
namespace dma = blkown::dma;

constexpr std::byte untouched{0x11};
constexpr std::byte sent{0x22};
constexpr std::byte received{0x33};

class Bounce : public testing::Test {
 protected:
  Bounce() { rig.only_slots_in_reach(); }

  /// Puts an I/O in flight with `bytes` bytes of the memory, which the device cannot reach.
  void publish(Direction direction, std::size_t bytes = 100) {
    Claim claim = rig.unpublished();
    mapping.emplace(
        support::take_value(rig.map(claim, {rig.part(0, bytes)}, direction)).activate());
    cookie = rig.driver.publish(std::move(claim));
  }
  void complete() {
    Claim claim = rig.driver.claim(cookie);
    EXPECT_TRUE(std::move(*mapping).unmap(*EndProof::of(claim)).has_value());
    mapping.reset();
    std::move(claim).end_ok();
    EXPECT_EQ(rig.pool.free_slots(), 4U);
    EXPECT_EQ(rig.backend.live_count(), 0U);
  }
  [[nodiscard]] bool is_slot(const std::byte* data) const {
    return data >= rig.slots.data() && data < rig.slots.data() + rig.slots.size();
  }

  Rig rig{Rig::Bounce::yes};
  std::optional<dma::ActiveMapping> mapping;
  blkown::Cookie cookie;
};

TEST_F(Bounce, BytesForTheDeviceAreInTheSlotsBeforeThePublication) {
  rig.memory.fill(sent);
  publish(Direction::to_device);
  ASSERT_EQ(mapping->segments().size(), 2U);
  EXPECT_EQ(mapping->segments()[0].length_bytes, 64U);
  EXPECT_EQ(mapping->segments()[1].length_bytes, 36U);
  EXPECT_TRUE(is_slot(rig.backend.live(mapping->segments()[0]).memory.data));
  EXPECT_EQ(rig.pool.free_slots(), 2U);
  EXPECT_EQ(rig.backend.read(mapping->segments()), std::vector(100, sent));
  complete();
}

// Goal: a device that writes to memory it should only read does not change the caller's memory.
TEST_F(Bounce, BytesForTheDeviceAreNotCopiedBack) {
  publish(Direction::to_device);
  rig.backend.write(mapping->segments(), received);
  complete();
  EXPECT_TRUE(rig.is_all(0, 4096, untouched));
}

TEST_F(Bounce, BytesFromTheDeviceAreCopiedBackByTheUnmapAndNotEarlier) {
  publish(Direction::from_device);
  rig.backend.write(mapping->segments(), received);
  EXPECT_TRUE(rig.is_all(0, 4096, untouched));
  complete();
  EXPECT_TRUE(rig.is_all(0, 100, received));
  EXPECT_TRUE(rig.is_all(100, 3996, untouched));
}

TEST_F(Bounce, BidirectionalBytesAreCopiedBothWays) {
  rig.memory.fill(sent);
  publish(Direction::bidirectional);
  EXPECT_EQ(rig.backend.read(mapping->segments()), std::vector(100, sent));
  rig.backend.write(mapping->segments(), received);
  complete();
  EXPECT_TRUE(rig.is_all(0, 100, received));
}

// Goal: bytes that a short transfer does not write keep the caller's values, and do not get those
// of the slot's last I/O.
TEST_F(Bounce, AShortTransferKeepsTheOtherBytes) {
  publish(Direction::from_device, 256);
  rig.backend.write(mapping->segments(), std::byte{0xEE});
  complete();
  rig.memory.fill(untouched);
  publish(Direction::from_device, 256);
  rig.backend.write(mapping->segments(), received, 100);
  complete();
  EXPECT_TRUE(rig.is_all(0, 100, received));
  EXPECT_TRUE(rig.is_all(100, 3996, untouched));
}

TEST_F(Bounce, OnlyMemoryOutOfReachIsBounced) {
  rig.backend.settings.address_mask = 0x1FFF;
  rig.backend.place(rig.memory.data(), 0x1F00);
  Claim claim = rig.unpublished();
  auto active =
      support::take_value(rig.map(claim, {rig.part(0, 64), rig.part(512, 64)})).activate();
  EXPECT_EQ(rig.backend.live(active.segments()[0]).memory, rig.part(0, 64));
  EXPECT_TRUE(is_slot(rig.backend.live(active.segments()[1]).memory.data));
  EXPECT_EQ(rig.pool.free_slots(), 3U);
  rig.backend.write(active.segments(), received);
  cookie = rig.driver.publish(std::move(claim));
  mapping.emplace(std::move(active));
  complete();
  EXPECT_TRUE(rig.is_all(0, 64, received));
  EXPECT_TRUE(rig.is_all(512, 64, received));
}

// Goal: a slot that the device cannot reach is not given to the device; the map fails as
// unreachable.
TEST_F(Bounce, ASlotOutOfReachIsNotUsed) {
  rig.backend.place(rig.slots.data(), 0x10000);
  Claim claim = rig.unpublished();
  const auto none = rig.map(claim, {rig.part(0, 64)});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error(), (dma::MapError{dma::MapFailure::unreachable, 0, 0xFFFF}));
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  EXPECT_TRUE(rig.backend.log.empty() || !rig.backend.log.front().starts_with("map"));
  std::move(claim).end_ok();
}

TEST_F(Bounce, ASlotAcrossABoundaryIsNotUsed) {
  rig.backend.settings.boundary_mask = 0x1F;  // half a slot
  Claim claim = rig.unpublished();
  EXPECT_TRUE(rig.map(claim, {rig.part(0, 16)}).has_value()) << "16 bytes do not cross";
  rig.backend.place(rig.slots.data(), 0x10000 - 256 - 8);
  const auto none = rig.map(claim, {rig.part(0, 8), rig.part(64, 32)});
  ASSERT_FALSE(none.has_value()) << "32 bytes cross in every slot";
  EXPECT_EQ(none.error().reason, dma::MapFailure::unreachable);
  EXPECT_GE(none.error().segment, 1U) << "the first element fits";
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(claim).end_ok();
}

// Goal: the device sees the memory's offset in the page, as NVMe's PRP lists need it.
TEST_F(Bounce, ASlotKeepsTheOffset) {
  rig.backend.place(rig.slots.data(), 0x10000 - 256);
  for (const bool is_virt : {false, true}) {
    (is_virt ? rig.backend.settings.virt_boundary_mask : rig.backend.settings.min_align_mask) =
        0x3F;
    Claim claim = rig.unpublished();
    const std::size_t to_multiple = -rig.backend.bus_address(rig.memory.data()) & 0x3F;
    const blkown::Segment part = rig.part(to_multiple + 24, 100);
    rig.memory.fill(sent);
    mapping.emplace(
        support::take_value(rig.map(claim, {part}, Direction::bidirectional)).activate());
    cookie = rig.driver.publish(std::move(claim));
    ASSERT_EQ(mapping->segments().size(), 2U);
    EXPECT_EQ(mapping->segments()[0].length_bytes, 40U);
    EXPECT_EQ(mapping->segments()[1].length_bytes, 60U);
    const std::byte* const first = rig.backend.live(mapping->segments()[0]).memory.data;
    const std::byte* const second = rig.backend.live(mapping->segments()[1]).memory.data;
    ASSERT_TRUE(is_slot(first));
    EXPECT_EQ((first - rig.slots.data()) % 64, 24);
    EXPECT_EQ((second - rig.slots.data()) % 64, 0);
    EXPECT_EQ(rig.backend.read(mapping->segments()), std::vector(100, sent));
    rig.backend.write(mapping->segments(), received);
    complete();
    EXPECT_TRUE(rig.is_all(to_multiple + 24, 100, received));
    EXPECT_TRUE(rig.is_all(to_multiple + 124, 1000, sent));
    rig.backend.settings.min_align_mask = 0;
  }
}

// Goal: a slot that cannot keep the offset is not given to the device.
TEST_F(Bounce, ASlotThatCannotKeepTheOffsetIsNotUsed) {
  rig.backend.place(rig.slots.data(), 0x10000 - 256);
  rig.backend.settings.min_align_mask = 0x7F;
  Claim claim = rig.unpublished();
  const std::size_t to_multiple = -rig.backend.bus_address(rig.memory.data()) & 0x7F;
  const auto off =
      rig.map(claim, {rig.part(to_multiple, 64), rig.part(to_multiple + 128, 64),
                      rig.part(to_multiple + 256, 64), rig.part(to_multiple + 384, 64)});
  ASSERT_FALSE(off.has_value()) << "every other slot begins off the alignment";
  EXPECT_EQ(off.error().reason, dma::MapFailure::unreachable);
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  // Leaves the two slots that begin on the alignment.
  std::vector<std::byte*> off_slots;
  std::vector<std::byte*> aligned_slots;
  for (int i = 0; i != 4; ++i) {
    std::byte* const slot = rig.pool.take();
    ((rig.backend.bus_address(slot) & 0x7F) == 0 ? aligned_slots : off_slots).push_back(slot);
  }
  for (std::byte* const slot : aligned_slots) rig.pool.give(slot);
  const auto too_short = rig.map(claim, {rig.part(to_multiple + 100, 8)});
  ASSERT_FALSE(too_short.has_value()) << "a slot ends before the offset";
  EXPECT_EQ(too_short.error(), (dma::MapError{dma::MapFailure::unreachable, 0, 0xFFFF}));
  EXPECT_EQ(rig.pool.free_slots(), 2U);
  for (std::byte* const slot : off_slots) rig.pool.give(slot);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(claim).end_ok();
}

// Goal: if the device has never seen the I/O, the caller's memory is not written: the caller may
// already use it for something else.
TEST_F(Bounce, AMappingThatTheDeviceHasNotSeenIsNotCopiedBack) {
  Claim claim = rig.unpublished();
  {
    const auto prepared = rig.map(claim, {rig.part(0, 100)});
    ASSERT_TRUE(prepared.has_value());
    rig.memory.fill(sent);
  }
  EXPECT_TRUE(rig.is_all(0, 4096, sent)) << "a PreparedMapping, dropped";
  EXPECT_EQ(rig.pool.free_slots(), 4U);

  std::move(claim).end_ok();
  Claim next = rig.unpublished();
  rig.memory.fill(untouched);
  auto active = support::take_value(rig.map(next, {rig.part(0, 100)})).activate();
  rig.memory.fill(sent);
  EXPECT_TRUE(std::move(active).cancel(next).has_value());
  EXPECT_TRUE(rig.is_all(0, 4096, sent)) << "an ActiveMapping, cancelled";

  rig.memory.fill(untouched);
  rig.backend.on_unmap = [&] { rig.memory.fill(sent); };
  rig.backend.refuse_map = 5;  // this I/O's second element
  EXPECT_FALSE(rig.map(next, {rig.part(0, 100)}).has_value());
  EXPECT_TRUE(rig.is_all(0, 4096, sent)) << "a map that failed";
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  std::move(next).end_ok();
}

// Goal: the order is unmap, invalidate, copy back, free the request. Until the invalidate the
// device can write to the slot, and from the request's end on the caller may read the memory.
TEST(BounceOrder, UnmapInvalidateCopyBackAndThePinLast) {
  struct Ends {
    Rig* rig = nullptr;
    const dma::IovaList<4>* iovas = nullptr;
    std::vector<std::string> log;
    [[nodiscard]] std::string copied() const {
      return rig->is_all(0, 100, received) ? "copied" : "not copied";
    }
    void operator()(blkown::EndedList<fake::Request>&& list) {
      while (auto ended = list.pop_front()) {
        EXPECT_TRUE(iovas->is_free()) << "the request's next I/O maps with it";
        log.push_back("end, " + copied());
        std::move(*ended).release();
      }
    }
  } ends;
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  ends.rig = &rig;
  auto set = support::take_value(blkown::TagSet<fake::Request>::create(
      support::two_queues_of_eight, blkown::EndSink<fake::Request>::to(ends)));
  auto idle = set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0});
  Claim claim = std::move(*idle).start().into_claim();
  auto mapping = support::take_value(rig.map(claim, {rig.part(0, 100)})).activate();
  ends.iovas = &claim.data().iovas;
  const auto cookie = rig.driver.publish(std::move(claim));
  rig.backend.on_unmap = [&] { ends.log.push_back("unmap, " + ends.copied()); };
  rig.backend.on_invalidate = [&] {
    ends.log.push_back("invalidate, " + ends.copied());
    // The last moment at which the device may write.
    std::ranges::fill(std::span{rig.slots}, received);
  };
  Claim found = support::take_value(set.claim(blkown::QueueIndex{0}, cookie.value));
  const EndProof proof = *EndProof::of(found);
  std::move(found).end_ok();
  EXPECT_TRUE(ends.log.empty()) << "the pin delays the end";
  EXPECT_TRUE(std::move(mapping).unmap(proof).has_value());
  EXPECT_EQ(ends.log, (std::vector<std::string>{"unmap, not copied", "unmap, not copied",
                                                "invalidate, not copied", "end, copied"}));
}

}  // namespace
