// SPDX-License-Identifier: BSL-1.0
//
// Goal: coherent memory is freed with proof of the device's stop only, and a drain frees the memory
// of a destroyed Coherent.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

using fake::EndProof;
using fake::MapFailure;
using fake::Rig;
namespace dma = blkown::dma;
using Coherent = dma::Coherent<fake::Backend>;
using Log = std::vector<std::string>;

[[nodiscard]] Coherent allocate(Rig& rig, std::size_t bytes = 100) {
  return support::take_value(Coherent::allocate(rig.device, bytes));
}

TEST(Coherent, IsZeroedAlignedAndMappedBothWays) {
  Rig rig;
  Coherent ring = support::take_value(Coherent::allocate(rig.device, 100, 256));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(ring.data()) % 256, 0U);
  EXPECT_EQ(std::count(ring.data(), ring.data() + 100, std::byte{}), 100);
  EXPECT_EQ(ring.segment(), (dma::IovaSegment{0x1000, 100}));
  const auto& live = rig.backend.live(ring.segment());
  EXPECT_EQ(live.memory.data, ring.data());
  EXPECT_EQ(live.direction, dma::Direction::bidirectional);
  EXPECT_EQ(live.cookie, dma::no_io) << "for no I/O";
  rig.backend.write({&ring.segment(), 1}, std::byte{7});
  EXPECT_EQ(ring.data()[99], std::byte{7});
  EXPECT_TRUE(std::move(ring).free(rig.device.declare_stopped()).has_value());
  EXPECT_EQ(rig.backend.log, (Log{"map 1000+100", "unmap 1000+100", "invalidate 1000+100"}));
}

// Goal: the memory is zeroed also if the heap has used it before, up to its last page's end.
TEST(Coherent, IsZeroedAlsoIfTheHeapHasUsedIt) {
  Rig rig;
  for (int round = 0; round != 3; ++round) {
    Coherent ring = support::take_value(Coherent::allocate(rig.device, 100, 256));
    EXPECT_EQ(std::count(ring.data(), ring.data() + 256, std::byte{}), 256) << round;
    std::fill_n(ring.data(), 256, std::byte{0x77});
    EXPECT_TRUE(std::move(ring).free(rig.device.declare_stopped()).has_value());
  }
}

// Goal: the length and the alignment are not exchanged. Here the length is no power of two and not
// a multiple of the alignment.
TEST(Coherent, HasAllBytesIfItIsLongerThanItsAlignment) {
  Rig rig;
  for (const std::size_t bytes : {1000U, 70'000U}) {
    Coherent ring = support::take_value(Coherent::allocate(rig.device, bytes, 64));
    EXPECT_GE(malloc_usable_size(ring.data()), bytes);
    EXPECT_EQ(std::count(ring.data(), ring.data() + bytes, std::byte{}),
              static_cast<std::ptrdiff_t>(bytes));
    EXPECT_TRUE(std::move(ring).free(rig.device.declare_stopped()).has_value());
  }
}

// Goal: a ring can lie in memory of the caller, such as an arena that is mapped already. That
// memory is the caller's again after the unmap and is not freed.
TEST(Coherent, MayBeMemoryOfTheCaller) {
  Rig rig;
  Coherent ring = support::take_value(Coherent::map(rig.device, rig.part(256, 100)));
  EXPECT_EQ(ring.data(), rig.memory.data() + 256);
  EXPECT_EQ(ring.segment(), (dma::IovaSegment{0x1000, 100}));
  EXPECT_TRUE(rig.is_all(256, 100, std::byte{})) << "zeroed";
  EXPECT_TRUE(rig.is_all(356, 100, std::byte{0x11}));
  EXPECT_EQ(rig.backend.live(ring.segment()).direction, dma::Direction::bidirectional);
  EXPECT_TRUE(std::move(ring).free(rig.device.declare_stopped()).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
  {
    const auto dropped = Coherent::map(rig.device, rig.part(0, 8));
  }
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(Coherent::map(rig.device, {}).error().reason, MapFailure::no_bytes);
  rig.backend.settings.address_mask = 0xFFFF;
  EXPECT_EQ(Coherent::map(rig.device, rig.part(0, 8)).error(),
            (dma::MapError{MapFailure::unreachable, 0, 0xFFFF}));
}

TEST(Coherent, ComesBackWithAProofOfSomethingElse) {
  Rig rig;
  fake::Device other{rig.backend};
  const EndProof before = rig.device.declare_stopped();
  Coherent ring = allocate(rig);
  auto claim = rig.driver.claim(rig.driver.in_flight());
  for (const EndProof& wrong : {before, other.declare_stopped(), *EndProof::of(claim)}) {
    auto freed = std::move(ring).free(wrong);
    ASSERT_FALSE(freed.has_value());
    ring = std::move(freed.error());
    EXPECT_EQ(ring.segment().length_bytes, 100U);
    EXPECT_EQ(rig.backend.live_count(), 1U);
  }
  EXPECT_TRUE(std::move(ring).free(rig.device.declare_stopped()).has_value());
  std::move(claim).end_ok();
}

TEST(Coherent, DroppedItStaysUntilTheDeviceIsDrained) {
  Rig rig;
  const EndProof before = rig.device.declare_stopped();
  const std::byte* memory = nullptr;
  {
    const Coherent ring = allocate(rig);
    memory = ring.data();
  }
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(*memory, std::byte{}) << "not freed: the device may write there";
  EXPECT_EQ(rig.device.drain(before), 0U);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  const EndProof since = rig.device.declare_stopped();
  {
    const Coherent later = allocate(rig);
  }
  EXPECT_EQ(rig.device.drain(since), 1U) << "memory allocated after the stop stays";
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.device.drain(since), 0U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

TEST(Coherent, ADrainLeavesWhatItsOwnerStillHas) {
  Rig rig;
  Coherent ring = allocate(rig);
  const EndProof proof = rig.device.declare_stopped();
  EXPECT_EQ(rig.device.drain(proof), 0U);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_TRUE(std::move(ring).free(proof).has_value());
}

TEST(Coherent, MovesAndIsAssignedOver) {
  Rig rig;
  Coherent first = allocate(rig, 100);
  Coherent moved{std::move(first)};
  EXPECT_EQ(moved.segment().length_bytes, 100U);
  moved = allocate(rig, 200);
  EXPECT_EQ(moved.segment().length_bytes, 200U);
  EXPECT_EQ(rig.backend.live_count(), 2U);
  const EndProof proof = rig.device.declare_stopped();
  EXPECT_EQ(rig.device.drain(proof), 1U) << "the memory that was assigned over";
  EXPECT_TRUE(std::move(moved).free(proof).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

/// Expects that the allocation fails and maps nothing. The device's destructor finds mappings that
/// are left, and LeakSanitizer finds memory that is left.
void expect_failure(Rig& rig, std::size_t bytes, const dma::MapError& error) {
  const auto failed = Coherent::allocate(rig.device, bytes);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error(), error);
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

TEST(Coherent, OfNothingIsAnError) {
  Rig rig;
  expect_failure(rig, 0, {MapFailure::no_bytes, 0, 0});
}

TEST(Coherent, OfMoreThanThereCanBeIsAnError) {
  Rig rig;
  constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  expect_failure(rig, all, {MapFailure::out_of_memory, 0, all});
  expect_failure(rig, all - 4094, {MapFailure::out_of_memory, 0, all - 4094});
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#elif defined(__has_feature)
constexpr bool is_sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool is_sanitized = false;
#endif

TEST(Coherent, OfMoreThanTheHeapHasIsAnError) {
  if (is_sanitized) return;  // a sanitizer's heap ends the program
  Rig rig;
  const std::size_t bytes = std::size_t{1} << (std::numeric_limits<std::size_t>::digits - 2);
  expect_failure(rig, bytes - 1, {MapFailure::out_of_memory, 0, bytes});
}

TEST(Coherent, OutOfReachIsAnError) {
  Rig rig;
  rig.backend.settings.address_mask = 0xFFFF;
  expect_failure(rig, 100, {MapFailure::unreachable, 0, 0xFFFF});
}

/// Places the first memory that it is asked for at the end of what the device reaches.
struct AtTheEnd : fake::Backend {
  std::size_t bytes_before_the_end = 0;
  mutable const std::byte* first = nullptr;
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const {
    if (first == nullptr) first = data;
    return 0x10000 - bytes_before_the_end + static_cast<std::uint64_t>(data - first);
  }
};

TEST(Coherent, IsInReachIfItsLastByteIs) {
  for (const std::size_t bytes_before : {std::size_t{99}, std::size_t{100}}) {
    AtTheEnd backend;
    backend.settings.address_mask = 0xFFFF;
    backend.bytes_before_the_end = bytes_before;
    dma::Device<AtTheEnd> device{backend};
    auto memory = dma::Coherent<AtTheEnd>::allocate(device, 100);
    EXPECT_EQ(memory.has_value(), bytes_before == 100);
    if (!memory.has_value()) continue;
    EXPECT_TRUE(std::move(*memory).free(device.declare_stopped()).has_value());
  }
}

TEST(Coherent, RefusedIsAnError) {
  Rig rig;
  rig.backend.refuse_map = 0;
  rig.backend.refuse_with = MapFailure::no_iova;
  expect_failure(rig, 100, {MapFailure::no_iova, 0, 0});
}

}  // namespace
