// SPDX-License-Identifier: BSL-1.0
//
// Goal: the Backend concept accepts complete backends only, and every MapFailure has a name and a
// status.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/identity_backend.hpp>
#include <blkown/dma/ostream.hpp>
#include <cstring>
#include <string>

#include "dma/fake_backend.hpp"

namespace {

namespace dma = blkown::dma;
using dma::MapFailure;

/// A backend with the required members only.
struct Least {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, MapFailure> map(const blkown::Segment&, dma::Direction,
                                               const blkown::Cookie&);
  std::expected<void, MapFailure> unmap(const dma::IovaSegment&);
  std::expected<void, MapFailure> invalidate(std::span<const dma::IovaSegment>);
};
struct WithoutInvalidate {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, MapFailure> map(const blkown::Segment&, dma::Direction,
                                               const blkown::Cookie&);
  std::expected<void, MapFailure> unmap(const dma::IovaSegment&);
};
struct MapThatCannotRefuse : Least {
  std::uint64_t map(const blkown::Segment&, dma::Direction, const blkown::Cookie&);
};

struct UnmapThatCannotFail : Least {
  void unmap(const dma::IovaSegment&);
};
struct InvalidateThatCannotFail : Least {
  void invalidate(std::span<const dma::IovaSegment>);
};

static_assert(dma::Backend<Least>);
static_assert(!dma::Backend<UnmapThatCannotFail>);
static_assert(!dma::Backend<InvalidateThatCannotFail>);
static_assert(dma::Backend<fake::Backend>);
static_assert(!dma::Backend<WithoutInvalidate>);
static_assert(!dma::Backend<MapThatCannotRefuse>);

TEST(Backend, AnErrorHasAText) {
  const dma::MapError error{
      .reason = MapFailure::too_few_bounce_slots, .segment = 3, .limit = 8, .given = 9};
  EXPECT_EQ(to_string(error), "too_few_bounce_slots: segment 3, given 9, limit 8");
}

TEST(Backend, AnElementHasAText) {
  EXPECT_EQ(to_string(dma::IovaSegment{.iova = 0x12F000, .length_bytes = 512}),
            "512 bytes at 0x12f000");
}

TEST(Backend, EachReasonHasAName) {
  std::vector<std::string> names;
  for (int i = 0; i != 32; ++i) {
    const std::string name = to_string(static_cast<MapFailure>(i));
    if (name == "unknown reason") break;
    EXPECT_EQ(std::ranges::count(names, name), 0) << name;
    names.push_back(name);
  }
  ASSERT_EQ(names.size(), 15U);
  EXPECT_EQ(names.front(), "no_bytes");
  EXPECT_EQ(names.back(), "memory_limit_too_low");
}

// Goal: an error that the end of another I/O can clear is tried again; every other error is final.
TEST(Backend, AShortageIsAResourceAndADeviceThatIsGoneIsOffline) {
  for (int i = 0; i != 15; ++i) {
    const auto reason = static_cast<MapFailure>(i);
    const bool is_for_now = reason == MapFailure::no_bounce_slot || reason == MapFailure::no_iova ||
                            reason == MapFailure::list_in_use ||
                            reason == MapFailure::out_of_memory;
    EXPECT_EQ(is_permanent(reason), !is_for_now) << to_string(reason);
    EXPECT_EQ((dma::MapError{reason, 0, 0}.status()), is_for_now ? blkown::Status::resource
                                                      : reason == MapFailure::offline
                                                          ? blkown::Status::offline
                                                          : blkown::Status::invalid)
        << to_string(reason);
  }
}

TEST(Backend, TheBusFindsAByteAtItsAddressUnlessTheBackendSaysWhere) {
  const std::byte byte{};
  struct NoBackend {
  } none;
  EXPECT_EQ(dma::detail::bus_address(none, &byte), reinterpret_cast<std::uintptr_t>(&byte));
  fake::Backend placed;
  placed.place(&byte, 0x7000);
  EXPECT_EQ(dma::detail::bus_address(placed, &byte), 0x7000U);
}

TEST(IdentityBackend, MapsMemoryAtItsAddressPlusTheOffset) {
  std::array<std::byte, 8> bytes{};
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{0x4000'0000'0000}, -address}) {
    const dma::IdentityBackend backend{{.address_mask = 0xFFFF}, offset};
    EXPECT_EQ(backend.limits().address_mask, 0xFFFFU);
    EXPECT_EQ(backend.bus_address(&bytes[3]), address + 3 + offset);
    const blkown::Segment part{&bytes[3], 2};
    EXPECT_EQ(backend.map(part, dma::Direction::to_device, {}), address + 3 + offset);
  }
}

TEST(Backend, ASingleMapTakesAnyNumberOfBytesUnlessTheBackendSaysHowMany) {
  const std::byte byte{};
  struct NoBackend {
  } none;
  EXPECT_EQ(dma::detail::mappable_bytes(none, &byte), ~std::uint64_t{0});
  struct Regions {
    std::uint64_t bytes;
    [[nodiscard]] std::uint64_t mappable_bytes(const std::byte*) const { return bytes; }
  };
  EXPECT_EQ(dma::detail::mappable_bytes(Regions{7}, &byte), 7U);
  EXPECT_EQ(dma::detail::mappable_bytes(Regions{0}, &byte), ~std::uint64_t{0});
}

}  // namespace
