// SPDX-License-Identifier: BSL-1.0
//
// Goal: the error distinguishes a map that can never succeed from a map that has to wait for other
// mappings.
// Method: each limit twice, once exceeded by the I/O alone, and once only together with another
// I/O, whose end makes the map succeed.

#include <gtest/gtest.h>

#include <array>
#include <blkown/sim/device/iommu.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dma/fake_backend.hpp"
#include "mq/fake_driver.hpp"

namespace {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
using blkown::Status;
using dma::MapFailure;
using fake::Claim;
using fake::EndProof;
using fake::Rig;

/// A rig whose memory is reached only through a pool of four slots of 64 bytes.
class SlotShortage : public testing::Test {
 protected:
  SlotShortage() { rig.only_slots_in_reach(); }
  void TearDown() override {
    EXPECT_EQ(rig.pool.free_slots(), rig.pool.slot_count());
    EXPECT_EQ(rig.backend.live_count(), 0U);
  }
  /// The error of a map with a list of eight elements.
  [[nodiscard]] dma::MapError error_of(std::size_t bytes) {
    Claim claim = rig.unpublished(7);
    dma::MapError error;
    {
      const auto failed = dma::map(claim, rig.device, std::array{rig.part(0, bytes)},
                                   dma::Direction::from_device, long_list);
      EXPECT_FALSE(failed.has_value());
      if (!failed.has_value()) error = failed.error();
    }
    std::move(claim).end_ok();
    return error;
  }
  Rig rig{Rig::Bounce::yes};
  dma::IovaList<8> long_list;
};

TEST_F(SlotShortage, NeverIfTheMemoryNeedsMoreSlotsThanThePoolHas) {
  const auto error = error_of(257);
  EXPECT_EQ(error, (dma::MapError{MapFailure::too_few_bounce_slots, 4, 4, 5}));
  EXPECT_TRUE(is_permanent(error.reason));
  EXPECT_EQ(error.status(), Status::invalid);
}

// Goal: the answer does not depend on how many slots are free at the moment.
TEST_F(SlotShortage, NeverAlsoWhileOthersHaveTheSlots) {
  std::vector<std::byte*> taken;
  while (std::byte* const slot = rig.pool.take()) taken.push_back(slot);
  EXPECT_EQ(error_of(257), (dma::MapError{MapFailure::too_few_bounce_slots, 4, 4, 5}));
  EXPECT_EQ(error_of(8 * 64 + 1).reason, MapFailure::list_too_short) << "nine elements, eight fit";
  EXPECT_EQ(error_of(rig.memory.size()).reason, MapFailure::list_too_short);
  for (std::byte* const slot : taken) rig.pool.give(slot);
}

TEST_F(SlotShortage, NotNowIfOthersHaveTheSlots) {
  Claim other = rig.unpublished(0);
  other.data().mapping.emplace(support::take_value(rig.map(other, {rig.part(0, 64)})).activate());
  const auto cookie = rig.driver.publish(std::move(other));
  const auto error = error_of(256);
  EXPECT_EQ(error.reason, MapFailure::no_bounce_slot);
  EXPECT_FALSE(is_permanent(error.reason));
  EXPECT_EQ(error.status(), Status::resource);
  rig.complete(cookie);
  Claim claim = rig.unpublished(1);
  EXPECT_TRUE(rig.map(claim, {rig.part(0, 256)}).has_value()) << "all four slots";
  std::move(claim).end_ok();
}

// Goal: the slots of a mapping in quarantine are free again after the drain, so the shortage is
// temporary.
TEST_F(SlotShortage, NotNowIfTheQuarantineHasTheSlots) {
  Claim other = rig.unpublished(0);
  other.data().mapping.emplace(support::take_value(rig.map(other, {rig.part(0, 64)})).activate());
  rig.driver.claim(rig.driver.publish(std::move(other))).end_ok();
  EXPECT_EQ(error_of(256).reason, MapFailure::no_bounce_slot);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

// Goal: elements that the device reaches need no slot.
TEST_F(SlotShortage, OnlyElementsOutOfReachCount) {
  rig.backend.settings.address_mask = 0x1FFF;
  rig.backend.place(rig.memory.data(), 0x2000 - 64);
  std::vector<blkown::Segment> segments{rig.part(0, 64)};
  for (std::size_t i = 1; i != 6; ++i) segments.push_back(rig.part(i * 128, 64));
  Claim claim = rig.unpublished();
  {
    const auto failed = dma::map(claim, rig.device, segments, dma::Direction::to_device, long_list);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::too_few_bounce_slots, 5, 4, 5}));
  }
  segments.pop_back();
  EXPECT_TRUE(
      dma::map(claim, rig.device, segments, dma::Direction::to_device, long_list).has_value());
  std::move(claim).end_ok();
}

TEST(Shortage, APoolWithoutASlotNeverHasOne) {
  Rig rig;
  dma::BouncePool none{{}, 64};
  fake::Device device{rig.backend, &none};
  rig.only_slots_in_reach();
  Claim claim = rig.unpublished();
  {
    const auto failed = dma::map(claim, device, std::array{rig.part(0, 8)},
                                 dma::Direction::to_device, claim.data().iovas);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::too_few_bounce_slots, 0, 0, 1}));
  }
  std::move(claim).end_ok();
}

// Goal: data and metadata of one I/O together need more slots than the pool has. The end of another
// I/O does not help.
TEST_F(SlotShortage, NeverIfTheMappingsOfOneIoTogetherNeedMoreSlotsThanThePoolHas) {
  Claim claim = rig.unpublished();
  {
    const auto data = rig.map(claim, {rig.part(0, 192)});
    ASSERT_TRUE(data.has_value());
    const auto metadata = dma::map(claim, rig.device, std::array{rig.part(512, 128)},
                                   dma::Direction::to_device, long_list);
    ASSERT_FALSE(metadata.has_value());
    EXPECT_EQ(metadata.error(), (dma::MapError{MapFailure::too_few_bounce_slots, 1, 4, 5}));
  }
  {
    const auto data = rig.map(claim, {rig.part(0, 192)});
    Claim other = rig.unpublished(1);
    {
      const auto taken = rig.map(other, {rig.part(1024, 64)});
      const auto metadata = dma::map(claim, rig.device, std::array{rig.part(512, 64)},
                                     dma::Direction::to_device, long_list);
      ASSERT_FALSE(metadata.has_value());
      EXPECT_EQ(metadata.error().reason, MapFailure::no_bounce_slot);
    }
    std::move(other).end_ok();
    EXPECT_TRUE(dma::map(claim, rig.device, std::array{rig.part(512, 64)},
                         dma::Direction::to_device, long_list)
                    .has_value());
  }
  std::move(claim).end_ok();
}

/// A rig whose device has three pages of address space, and elements of at most 100 bytes.
class IovaShortage : public testing::Test {
 protected:
  IovaShortage() {
    rig.backend.pages = 3;
    rig.backend.settings.max_segment_bytes = 100;
  }
  void TearDown() override { EXPECT_EQ(rig.backend.live_count(), 0U); }
  Rig rig;
};

// Goal: elements that fit one by one and not together can never be mapped.
TEST_F(IovaShortage, NeverIfTheElementsTogetherNeedMoreThanTheAddressSpace) {
  Claim claim = rig.unpublished();
  {
    const auto failed = rig.map(claim, {rig.part(0, 400)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().reason, MapFailure::iova_space_too_small);
    EXPECT_EQ(failed.error().segment, 3U);
    EXPECT_EQ(failed.error().status(), Status::invalid);
  }
  EXPECT_TRUE(rig.map(claim, {rig.part(0, 300)}).has_value());
  std::move(claim).end_ok();
}

TEST_F(IovaShortage, NeverIfOneElementNeedsMoreThanTheAddressSpace) {
  rig.backend.pages = 0;
  Claim claim = rig.unpublished();
  {
    const auto failed = rig.map(claim, {rig.part(0, 8)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::iova_space_too_small, 0, 0}));
  }
  std::move(claim).end_ok();
  const auto ring = dma::Coherent<fake::Backend>::allocate(rig.device, 64);
  ASSERT_FALSE(ring.has_value());
  EXPECT_EQ(ring.error().reason, MapFailure::iova_space_too_small);
}

TEST_F(IovaShortage, NeverIfTheMappingsOfOneIoTogetherNeedMoreThanTheAddressSpace) {
  Claim claim = rig.unpublished();
  {
    const auto data = rig.map(claim, {rig.part(0, 300)});
    ASSERT_TRUE(data.has_value());
    const auto metadata = dma::map(claim, rig.device, std::array{rig.part(512, 8)},
                                   dma::Direction::to_device, claim.data().metadata_iovas);
    ASSERT_FALSE(metadata.has_value());
    EXPECT_EQ(metadata.error().reason, MapFailure::iova_space_too_small);
  }
  std::move(claim).end_ok();
}

TEST_F(IovaShortage, NotNowIfOthersHaveTheAddressSpace) {
  Claim other = rig.unpublished(0);
  other.data().mapping.emplace(support::take_value(rig.map(other, {rig.part(0, 8)})).activate());
  const auto cookie = rig.driver.publish(std::move(other));
  Claim claim = rig.unpublished(1);
  {
    const auto failed = rig.map(claim, {rig.part(0, 300)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().reason, MapFailure::no_iova);
    EXPECT_FALSE(is_permanent(failed.error().reason));
    EXPECT_EQ(failed.error().status(), Status::resource);
  }
  rig.complete(cookie);
  EXPECT_TRUE(rig.map(claim, {rig.part(0, 300)}).has_value());
  std::move(claim).end_ok();
}

// Goal: memory that the device does not reach stays out of reach when others give their addresses
// back.
TEST_F(IovaShortage, NeverIfTheDeviceDoesNotReachMemoryBehindTheShortage) {
  rig.backend.pages = 1;
  rig.backend.settings.address_mask = 0x1FFF;
  rig.backend.place(rig.memory.data(), 0x2000 - 64);
  Claim other = rig.unpublished(0);
  other.data().mapping.emplace(support::take_value(rig.map(other, {rig.part(0, 8)})).activate());
  const auto cookie = rig.driver.publish(std::move(other));
  Claim claim = rig.unpublished(1);
  {
    const auto failed = rig.map(claim, {rig.part(8, 8), rig.part(128, 8)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::unreachable, 1, 0x1FFF}));
    EXPECT_EQ(failed.error().status(), Status::invalid);
  }
  rig.complete(cookie);
  std::move(claim).end_ok();
}

/// A backend that does not say whether its address space could hold the elements.
struct WithoutCanHold : fake::Backend {
  [[nodiscard]] bool can_hold(std::span<const dma::IovaSegment>,
                              const blkown::Cookie&) const = delete;
};

TEST(Shortage, OfABackendThatDoesNotSayMoreIsForNow) {
  Rig rig;
  WithoutCanHold backend;
  backend.refuse_map = 0;
  backend.refuse_with = MapFailure::no_iova;
  dma::Device<WithoutCanHold> device{backend};
  Claim claim = rig.unpublished();
  {
    const auto failed = dma::map(claim, device, std::array{rig.part(0, 8)},
                                 dma::Direction::to_device, claim.data().iovas);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().reason, MapFailure::no_iova);
  }
  std::move(claim).end_ok();
}

// Goal: no list length and no device limit gets larger by waiting, whatever else is missing.
TEST(Shortage, AListOrADeviceTakesNoMoreElementsLater) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  std::vector<std::byte*> taken;
  while (std::byte* const slot = rig.pool.take()) taken.push_back(slot);
  Claim claim = rig.unpublished();
  {
    const auto failed = rig.map(claim, {rig.part(0, 257)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::list_too_short, 4, 4}));
    rig.backend.settings.max_segments = 2;
    const auto fewer = rig.map(claim, {rig.part(0, 257)});
    ASSERT_FALSE(fewer.has_value());
    EXPECT_EQ(fewer.error(), (dma::MapError{MapFailure::too_many_segments, 2, 2}));
    EXPECT_EQ(fewer.error().status(), Status::invalid);
  }
  for (std::byte* const slot : taken) rig.pool.give(slot);
  std::move(claim).end_ok();
}

// Goal: a list that another I/O's mapping uses is free after that I/O.
TEST(Shortage, AListInUseIsForNow) {
  Rig rig;
  dma::IovaList<1> list;
  const auto map = [&](Claim& claim) {
    return dma::map(claim, rig.device, std::array{rig.part(0, 8)}, dma::Direction::to_device, list);
  };
  Claim first = rig.unpublished(0);
  Claim second = rig.unpublished(1);
  auto mapping = support::take_value(map(first)).activate();
  {
    const auto failed = map(second);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().reason, MapFailure::list_in_use);
    EXPECT_EQ(failed.error().status(), Status::resource);
  }
  EXPECT_TRUE(std::move(mapping).cancel(first).has_value());
  EXPECT_TRUE(map(second).has_value());
  std::move(first).end_ok();
  std::move(second).end_ok();
}

// Goal: the simulated IOMMU's pages are one such limit. The rings keep their pages while I/Os come
// and go, so an I/O that fits only without the rings is never mapped.
TEST(Shortage, TheSimulatedIommuTellsNeverFromNotNow) {
  constexpr std::size_t page_bytes = blkown::sim::Iommu::page_bytes;
  blkown::sim::Iommu iommu{{.page_count = 8, .limits = {.max_segment_bytes = page_bytes}}};
  dma::Device<blkown::sim::Iommu> device{iommu};
  std::vector<std::byte> memory(9 * page_bytes);
  iommu.add_memory(memory, 0x100000);
  support::Driver<fake::Request> driver;
  dma::IovaList<16> list;
  dma::IovaList<16> other_list;
  const auto map = [&](Claim& claim, std::size_t pages, dma::IovaList<16>& into) {
    return dma::map(claim, device, std::array{blkown::Segment{memory.data(), pages * page_bytes}},
                    dma::Direction::to_device, into);
  };
  Claim claim = driver.owned(0).into_claim();
  Claim other = driver.owned(1).into_claim();
  {
    EXPECT_EQ(map(claim, 9, list).error().reason, MapFailure::iova_space_too_small);
    const auto one = map(other, 1, other_list);
    EXPECT_EQ(map(claim, 8, list).error().reason, MapFailure::no_iova);
    EXPECT_EQ(map(claim, 9, list).error().reason, MapFailure::iova_space_too_small);
  }
  EXPECT_TRUE(map(claim, 8, list).has_value());
  auto ring = support::take_value(dma::Coherent<blkown::sim::Iommu>::allocate(device, 64));
  EXPECT_EQ(map(claim, 8, list).error().reason, MapFailure::iova_space_too_small);
  EXPECT_TRUE(map(claim, 7, list).has_value());
  EXPECT_TRUE(std::move(ring).free(device.declare_stopped()).has_value());
  EXPECT_TRUE(map(claim, 8, list).has_value());
  std::move(claim).end_ok();
  std::move(other).end_ok();
}

// --- on the block layer ----------------------------------------------------------------------

/// Maps each request's memory through eight bounce slots of one sector, or by an address space of
/// eight pages, and rejects the request with the error's status.
struct Bouncing {
  struct RequestData {
    dma::IovaList<16> iovas;
    std::optional<dma::ActiveMapping> mapping;
  };
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<Bouncing>;
  using Hw = mq::HwQueue<Bouncing>;
  using Answer = mq::Dispatch<Bouncing>;
  using Disk = mq::Disk<Bouncing>;

  void only_slots_in_reach() {
    backend.settings.address_mask = slots->size() - 1;
    backend.place(slots->data(), 0);
  }
  void only_eight_pages() {
    backend.settings.max_segment_bytes = 512;
    backend.pages = 8;
  }

  Answer queue_rq(Hw& queue, QueueData&, blkown::Idle<Rq> idle, bool) {
    ++calls;
    auto claim = std::move(idle).start().into_claim();
    auto& data = claim.data();
    auto prepared = dma::map(claim, device, data.segments(), dma::Direction::from_device,
                             data.driver_data.iovas);
    if (!prepared.has_value()) {
      return Answer::rejected(support::take_value(std::move(claim).into_owned()),
                              prepared.error().status());
    }
    data.driver_data.mapping = std::move(*prepared).activate();
    hw = &queue;
    std::move(claim).publish([&](const blkown::Cookie& cookie) { published.push_back(cookie); });
    return Answer::accepted();
  }
  void complete_first() {
    auto claim = support::take_value(hw->claim(published.front().value));
    published.pop_front();
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    EXPECT_TRUE(std::move(*mapping).unmap(*EndProof::of(claim)).has_value());
    std::move(claim).end(Status::ok);
  }

  std::unique_ptr<std::array<std::byte, 4096>> slots =
      std::make_unique<std::array<std::byte, 4096>>();
  dma::BouncePool pool{*slots, 512};
  fake::Backend backend;
  dma::Device<fake::Backend> device{backend, &pool};
  Hw* hw = nullptr;
  std::deque<blkown::Cookie> published;
  int calls = 0;
};

/// A read of several sectors.
struct LongRead {
  explicit LongRead(std::size_t sectors)
      : memory(sectors * 512), bio{mq::Bio::read(0, whole, {&fake::Ends::on_end, &ends})} {}
  std::vector<std::byte> memory;
  blkown::Segment whole{memory.data(), memory.size()};
  fake::Ends ends;
  mq::Bio bio;
};

class ShortageOnMq : public testing::Test {
 protected:
  void pass_60_ms() {
    for (int i = 0; i != 60; ++i) {
      bench.clock.pass_ms(1);
      bench.runtime.run();
    }
  }
  /// Nine sectors can never be mapped. Their bio ends after one attempt.
  void expect_nine_end() {
    LongRead read{9};
    bench.disk->submit(bench.context(), read.bio);
    bench.runtime.run();
    pass_60_ms();
    EXPECT_EQ(read.ends.statuses, std::vector{Status::invalid});
    EXPECT_EQ(bench.driver.calls, 1) << "it was tried again";
    EXPECT_EQ(bench.driver.backend.live_count(), 0U);
    bench.remove();  // the bio is destroyed before the disk otherwise
  }
  /// Eight sectors can be mapped alone, and not beside another I/O.
  void expect_eight_wait() {
    LongRead first{1};
    LongRead second{8};
    bench.disk->submit(bench.context(), first.bio);
    bench.disk->submit(bench.context(), second.bio);
    bench.runtime.run();
    pass_60_ms();
    EXPECT_EQ(second.ends.count, 0);
    bench.driver.complete_first();
    pass_60_ms();
    ASSERT_EQ(bench.driver.published.size(), 1U);
    bench.driver.complete_first();
    bench.runtime.run();
    EXPECT_EQ(first.ends.statuses, std::vector{Status::ok});
    EXPECT_EQ(second.ends.statuses, std::vector{Status::ok});
  }
  fake::Bench<Bouncing> bench{{.capacity_sectors = 1024}};
};

// Linux 133d624b1cee, e6d6dd6c875e: an I/O larger than the bounce pool is retried for ever.
TEST_F(ShortageOnMq, LinuxAnIoLargerThanTheBouncePoolIsRetriedForEver) {
  bench.driver.only_slots_in_reach();
  expect_nine_end();
}
TEST_F(ShortageOnMq, AnIoThatWaitsForBounceSlotsSucceedsLater) {
  bench.driver.only_slots_in_reach();
  expect_eight_wait();
}
TEST_F(ShortageOnMq, AnIoLargerThanTheAddressSpaceEnds) {
  bench.driver.only_eight_pages();
  expect_nine_end();
}
TEST_F(ShortageOnMq, AnIoThatWaitsForAddressSpaceSucceedsLater) {
  bench.driver.only_eight_pages();
  expect_eight_wait();
}

}  // namespace
