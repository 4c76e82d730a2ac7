// SPDX-License-Identifier: BSL-1.0
//
// Goal: adjacent segments are merged, segments over the device's limits are cut, and every byte is
// in exactly one element, in order.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/detail/runs.hpp>
#include <random>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

namespace dma = blkown::dma;
using blkown::Segment;
using dma::DeviceLimits;
using Element = dma::detail::Run;

class Runs : public testing::Test {
 protected:
  /// Offset and length of an element.
  struct Piece {
    std::ptrdiff_t offset_bytes;
    std::size_t length_bytes;
    friend bool operator==(const Piece&, const Piece&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Piece& piece) {
      return out << piece.offset_bytes << '+' << piece.length_bytes;
    }
  };

  Segment part(std::size_t offset_bytes, std::size_t length_bytes) {
    return {memory.data() + offset_bytes, length_bytes};
  }
  std::vector<Element> runs(const std::vector<Segment>& segments) {
    std::vector<Element> all;
    const bool is_whole =
        dma::detail::for_each_run(backend, limits, slot_bytes, segments, [&](const Element& run) {
          all.push_back(run);
          return true;
        });
    EXPECT_TRUE(is_whole);
    return all;
  }
  std::vector<Piece> pieces(const std::vector<Segment>& segments) {
    std::vector<Piece> all;
    for (const Element& run : runs(segments)) {
      all.push_back({run.memory.data - memory.data(), run.memory.length_bytes});
    }
    return all;
  }

  std::array<std::byte, 4096> memory{};
  fake::Backend backend;
  DeviceLimits limits;
  std::size_t slot_bytes = 0;

  Runs() { backend.place(memory.data(), 0x10000); }
};

TEST_F(Runs, NeighboursAreMerged) {
  EXPECT_EQ(pieces({part(0, 512), part(512, 512), part(1024, 100)}),
            (std::vector<Piece>{{0, 1124}}));
}

TEST_F(Runs, NothingElseIsMerged) {
  EXPECT_EQ(pieces({part(512, 512), part(0, 512)}), (std::vector<Piece>{{512, 512}, {0, 512}}))
      << "the second segment is at the lower address";
  EXPECT_EQ(pieces({part(0, 512), part(513, 512)}), (std::vector<Piece>{{0, 512}, {513, 512}}));
  EXPECT_EQ(pieces({part(0, 512), part(0, 512)}), (std::vector<Piece>{{0, 512}, {0, 512}}));
}

TEST_F(Runs, WhatIsEmptyIsPassedOver) {
  EXPECT_EQ(pieces({part(0, 0), part(0, 512), part(9, 0), part(512, 8), Segment{}}),
            (std::vector<Piece>{{0, 520}}));
  EXPECT_TRUE(pieces({}).empty());
  EXPECT_TRUE(pieces({part(0, 0)}).empty());
}

TEST_F(Runs, WhatIsTooLongIsCut) {
  limits.max_segment_bytes = 1000;
  EXPECT_EQ(pieces({part(0, 1000)}), (std::vector<Piece>{{0, 1000}}));
  EXPECT_EQ(pieces({part(0, 1001)}), (std::vector<Piece>{{0, 1000}, {1000, 1}}));
  EXPECT_EQ(pieces({part(0, 800), part(800, 800)}), (std::vector<Piece>{{0, 1000}, {1000, 600}}))
      << "merged first";
}

TEST_F(Runs, NoElementCrossesABoundary) {
  limits.boundary_mask = 0x1FF;
  EXPECT_EQ(pieces({part(0, 512)}), (std::vector<Piece>{{0, 512}}));
  EXPECT_EQ(pieces({part(0, 513)}), (std::vector<Piece>{{0, 512}, {512, 1}}));
  EXPECT_EQ(pieces({part(511, 2)}), (std::vector<Piece>{{511, 1}, {512, 1}}));
  EXPECT_EQ(pieces({part(100, 1000)}), (std::vector<Piece>{{100, 412}, {512, 512}, {1024, 76}}));
}

// Goal: boundaries are counted in bus addresses.
TEST_F(Runs, BoundariesAreOnTheBus) {
  limits.boundary_mask = 0x1FF;
  backend.place(memory.data(), 0x10000 + 500);
  EXPECT_EQ(pieces({part(0, 100)}), (std::vector<Piece>{{0, 12}, {12, 88}}));
}

// Goal: what is cut is cut where a PRP list can go on. NVMe's pieces, one page each, are merged and
// become the same pieces again.
TEST_F(Runs, AreCutOnTheVirtBoundary) {
  limits.max_segment_bytes = 512;
  limits.virt_boundary_mask = 0x1FF;
  EXPECT_EQ(pieces({part(100, 412), part(512, 512), part(1024, 76)}),
            (std::vector<Piece>{{100, 412}, {512, 512}, {1024, 76}}));
  EXPECT_EQ(pieces({part(100, 1000)}), (std::vector<Piece>{{100, 412}, {512, 512}, {1024, 76}}));
  EXPECT_EQ(pieces({part(100, 500)}), (std::vector<Piece>{{100, 500}}))
      << "the only element begins and ends anywhere";
  limits.max_segment_bytes = 1024;
  EXPECT_EQ(pieces({part(100, 1500)}), (std::vector<Piece>{{100, 924}, {1024, 576}}));
  EXPECT_EQ(pieces({part(100, 1024)}), (std::vector<Piece>{{100, 1024}}));
}

// Goal: the virt boundary is counted in bus addresses, and other limits cut there, too.
TEST_F(Runs, TheVirtBoundaryIsOnTheBus) {
  limits.virt_boundary_mask = 0x1FF;
  backend.place(memory.data(), 0x10000 + 500);
  limits.max_segment_bytes = 512;
  EXPECT_EQ(pieces({part(0, 600)}), (std::vector<Piece>{{0, 12}, {12, 512}, {524, 76}}));
  limits.max_segment_bytes = 65536;
  limits.boundary_mask = 0x3FF;
  EXPECT_EQ(pieces({part(0, 1500)}), (std::vector<Piece>{{0, 524}, {524, 976}}));
}

// Goal: what is bounced keeps its place in the page, so the slot has room for less.
TEST_F(Runs, ASlotHasRoomBehindTheOffsetThatItKeeps) {
  limits.address_mask = 0xFFFF;
  limits.min_align_mask = 0x3F;
  slot_bytes = 128;
  EXPECT_EQ(pieces({part(16, 300)}), (std::vector<Piece>{{16, 112}, {128, 128}, {256, 60}}));
  limits.min_align_mask = 0;
  limits.virt_boundary_mask = 0x3F;
  EXPECT_EQ(pieces({part(16, 300)}), (std::vector<Piece>{{16, 112}, {128, 128}, {256, 60}}))
      << "the virt boundary implies the offset";
  slot_bytes = 100;
  EXPECT_EQ(pieces({part(16, 300)}),
            (std::vector<Piece>{{16, 48}, {64, 64}, {128, 64}, {192, 64}, {256, 60}}));
}

// Goal: a slot without room behind the offset is refused later, not cut for ever.
TEST_F(Runs, ASlotThatEndsAtTheOffsetIsTakenAsAWhole) {
  limits.address_mask = 0xFFFF;
  limits.min_align_mask = 0x7F;
  slot_bytes = 64;
  EXPECT_EQ(pieces({part(64, 100)}), (std::vector<Piece>{{64, 64}, {128, 36}}));
  EXPECT_EQ(pieces({part(63, 3)}), (std::vector<Piece>{{63, 1}, {64, 2}}));
  EXPECT_EQ(pieces({part(65, 100)}), (std::vector<Piece>{{65, 64}, {129, 36}}));
}

/// A backend whose regions have `region_bytes` bytes, counted from the memory's beginning.
struct Regions {
  const std::byte* first;
  std::uint64_t region_bytes;
  [[nodiscard]] std::uint64_t mappable_bytes(const std::byte* data) const {
    return region_bytes - static_cast<std::uint64_t>(data - first) % region_bytes;
  }
  [[nodiscard]] static std::uint64_t bus_address(const std::byte*) { return 0; }
};

TEST_F(Runs, NoElementLeavesItsRegion) {
  const auto lengths = [&](const std::vector<Segment>& segments) {
    std::vector<std::size_t> all;
    EXPECT_TRUE(dma::detail::for_each_run(Regions{memory.data(), 300}, limits, slot_bytes, segments,
                                          [&](const Element& run) {
                                            all.push_back(run.memory.length_bytes);
                                            return true;
                                          }));
    return all;
  };
  EXPECT_EQ(lengths({part(0, 300)}), (std::vector<std::size_t>{300}));
  EXPECT_EQ(lengths({part(0, 200), part(200, 500)}), (std::vector<std::size_t>{300, 300, 100}));
  EXPECT_EQ(lengths({part(299, 2)}), (std::vector<std::size_t>{1, 1}));
  limits.max_segment_bytes = 200;
  EXPECT_EQ(lengths({part(0, 600)}), (std::vector<std::size_t>{200, 100, 200, 100}))
      << "the shorter limit applies";
}

TEST_F(Runs, AtTheEndOfTheAddressesNothingOverflows) {
  backend.place(memory.data(), ~std::uint64_t{0} - 511);
  EXPECT_EQ(pieces({part(0, 512)}), (std::vector<Piece>{{0, 512}}));
  limits.boundary_mask = 0xFF;
  EXPECT_EQ(pieces({part(0, 512)}), (std::vector<Piece>{{0, 256}, {256, 256}}));
}

TEST_F(Runs, WhatTheDeviceCannotReachIsBouncedInPiecesOfASlot) {
  limits.address_mask = 0xFFFF;
  slot_bytes = 64;
  const auto beyond = runs({part(0, 100)});
  ASSERT_EQ(beyond.size(), 2U);
  EXPECT_TRUE(beyond[0].needs_bounce);
  EXPECT_TRUE(beyond[1].needs_bounce);
  EXPECT_EQ(pieces({part(0, 100)}), (std::vector<Piece>{{0, 64}, {64, 36}}));

  backend.place(memory.data(), 0xFF00);
  const auto within = runs({part(0, 256)});
  ASSERT_EQ(within.size(), 1U) << "reachable memory is not cut to slots";
  EXPECT_FALSE(within[0].needs_bounce);
  const auto last = runs({part(255, 2)});
  ASSERT_EQ(last.size(), 1U);
  EXPECT_TRUE(last[0].needs_bounce) << "the last byte is out of reach";
}

TEST_F(Runs, StopAtTheFirstFalse) {
  limits.max_segment_bytes = 10;
  int taken = 0;
  EXPECT_FALSE(dma::detail::for_each_run(backend, limits, 0, std::vector{part(0, 100)},
                                         [&](const Element&) { return ++taken != 3; }));
  EXPECT_EQ(taken, 3);
  taken = 0;
  EXPECT_FALSE(dma::detail::for_each_run(backend, limits, 0, std::vector{part(0, 10), part(50, 10)},
                                         [&](const Element&) { return ++taken != 1; }))
      << "not the last segment";
  EXPECT_EQ(taken, 1);
}

// Goal: for random limits and segments, the elements hold the same bytes in the same order, and
// each element is within the limits.
TEST_F(Runs, AreTheSameBytesUnderAnyLimits) {
  std::mt19937 random{7};
  const auto below = [&](std::size_t bound) { return random() % bound; };
  for (int round = 0; round != 2000; ++round) {
    limits.max_segment_bytes = 1 + below(700);
    limits.boundary_mask = (std::uint64_t{16} << below(8)) - 1;
    limits.address_mask = below(2) == 0 ? ~std::uint64_t{0} : 0x103FF;
    limits.virt_boundary_mask = below(2) == 0 ? 0 : (std::uint64_t{16} << below(5)) - 1;
    limits.min_align_mask = (std::uint64_t{1} << below(5)) - 1;
    slot_bytes = 512 + below(100);
    backend.place(memory.data(), 0x10000 + below(64));
    const std::uint64_t kept_mask = limits.min_align_mask | limits.virt_boundary_mask;
    // Other limits that leave no room for a whole unit cannot cut on the virt boundary.
    const bool is_cut_on_boundary = limits.max_segment_bytes > 2 * limits.virt_boundary_mask &&
                                    limits.boundary_mask >= limits.virt_boundary_mask;
    std::vector<Segment> segments;
    std::vector<const std::byte*> bytes;
    for (std::size_t at = 0; at < 2000;) {
      const Segment segment = part(at, below(400));
      segments.push_back(segment);
      for (std::byte* byte = segment.data; byte != segment.end(); ++byte) bytes.push_back(byte);
      at += segment.length_bytes + (below(2) == 0 ? 0 : below(50));
    }
    std::vector<const std::byte*> seen;
    const std::byte* previous_end = nullptr;
    for (const Element& run : runs(segments)) {
      ASSERT_FALSE(run.memory.empty());
      ASSERT_LE(run.memory.length_bytes, limits.max_segment_bytes);
      const std::uint64_t first = backend.bus_address(run.memory.data);
      const std::uint64_t last = backend.bus_address(run.memory.end() - 1);
      ASSERT_EQ(first & ~limits.boundary_mask, last & ~limits.boundary_mask);
      if (run.needs_bounce) {
        ASSERT_LE((first & kept_mask) + run.memory.length_bytes, slot_bytes);
      } else {
        ASSERT_EQ(last & ~limits.address_mask, 0U);
      }
      if (is_cut_on_boundary && run.memory.data == previous_end) {
        ASSERT_EQ(first & limits.virt_boundary_mask, 0U);
      }
      previous_end = run.memory.end();
      for (std::byte* byte = run.memory.data; byte != run.memory.end(); ++byte)
        seen.push_back(byte);
    }
    ASSERT_EQ(seen, bytes);
  }
}

}  // namespace
