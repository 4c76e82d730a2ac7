// SPDX-License-Identifier: BSL-1.0
//
// The addresses that an Iommu gives to mappings, and the reuse of addresses. iommu_fault_test.cpp
// tests refused accesses.

#include <gtest/gtest.h>

#include <blkown/sim/device/iommu.hpp>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "sim/device/iommu_fixture.hpp"

namespace sim_test {
namespace {

// --- addresses -----------------------------------------------------------------------------------

TEST_F(IommuTest, MovesTheBytesOfAMappingAndNothingElse) {
  const std::uint64_t iova = map(100, 2 * page);
  ASSERT_TRUE(read(iova, 2 * page));
  EXPECT_EQ(std::memcmp(seen_.data(), memory_.data() + 100, 2 * page), 0);
  ASSERT_TRUE(write(iova + 5000, 3000));
  EXPECT_TRUE(only_written(5100, 3000));
  EXPECT_EQ(iommu_->fault_counts().total(), 0U);
}

TEST_F(IommuTest, KeepsTheOffsetWithinAPage) {
  EXPECT_EQ(map(0, page) % page, 0U);
  EXPECT_EQ(map(3 * page + 8, 16) % page, 8U);
  EXPECT_EQ(map(5 * page - 1, 2) % page, page - 1);
  EXPECT_EQ(iommu_->mapped_pages(), 4U) << "the last mapping is on two pages";
}

TEST_F(IommuTest, NeverPutsTwoMappingsOnOnePage) {
  std::set<std::uint64_t> numbers;
  for (std::size_t i = 0; i != 16; ++i) {
    EXPECT_TRUE(numbers.insert(map(i * 64, 64) / page).second) << i;
  }
  EXPECT_EQ(iommu_->mapped_pages(), 16U);
}

TEST_F(IommuTest, AlignsMappings) {
  make({.first_iova = 16 * page, .page_count = 16, .alignment_pages = 4});
  for (int i = 0; i != 4; ++i) EXPECT_EQ(map(0, page) / page % 4, 0U);
  EXPECT_EQ(iommu_->map({memory_.data(), page}, Direction::to_device, no_io),
            std::unexpected(MapFailure::no_iova))
      << "pages are free, but none where a mapping may begin";
}

TEST_F(IommuTest, NeverCrossesTheBoundary) {
  make({.page_count = 16, .limits = {.boundary_mask = 4 * page - 1}});
  for (int i = 0; i != 4; ++i) {
    const std::uint64_t iova = map(0, 3 * page);
    EXPECT_EQ(iova / (4 * page), (iova + 3 * page - 1) / (4 * page));
  }
  EXPECT_EQ(iommu_->map({memory_.data(), 2 * page}, Direction::to_device, no_io),
            std::unexpected(MapFailure::no_iova));
  EXPECT_EQ(map(0, page) / page % 4, 3U) << "between the others";
}

TEST_F(IommuTest, ReturnsNoIovaWhenTheAddressSpaceIsFull) {
  static_cast<void>(map(0, 14 * page));
  EXPECT_EQ(iommu_->map({memory_.data(), 3 * page}, Direction::to_device, no_io),
            std::unexpected(MapFailure::no_iova));
  EXPECT_EQ(iommu_->mapped_pages(), 14U);
  static_cast<void>(map(0, 2 * page));
}

// Goal: the error distinguishes memory that an empty address space could not map from memory that
// has to wait.
TEST_F(IommuTest, TellsATooSmallAddressSpaceFromAFullOne) {
  static_cast<void>(map(0, 14 * page));
  EXPECT_EQ(iommu_->map({memory_.data(), 16 * page}, Direction::to_device, first_io),
            std::unexpected(MapFailure::no_iova));
  EXPECT_EQ(iommu_->map({memory_.data() + 1, 16 * page}, Direction::to_device, first_io),
            std::unexpected(MapFailure::iova_space_too_small))
      << "the bytes lie on seventeen pages";
  make({.page_count = 16, .limits = {.boundary_mask = 4 * page - 1}});
  EXPECT_EQ(iommu_->map({memory_.data(), 5 * page}, Direction::to_device, first_io),
            std::unexpected(MapFailure::iova_space_too_small))
      << "crosses the boundary everywhere";
}

TEST_F(IommuTest, SaysWhetherItCouldHoldAllElements) {
  static_cast<void>(map(0, 14 * page, Direction::to_device, first_io));
  std::vector<IovaSegment> elements(16, IovaSegment{memory_at, page});
  EXPECT_TRUE(iommu_->can_hold(elements, second_io)) << "other I/Os do not count";
  elements.push_back({memory_at, 1});
  EXPECT_FALSE(iommu_->can_hold(elements, second_io));
  elements.resize(16);
  elements[3].iova += 8;
  EXPECT_FALSE(iommu_->can_hold(elements, second_io)) << "an element lies on two pages";
  elements.resize(15);
  EXPECT_TRUE(iommu_->can_hold(elements, second_io));
  static_cast<void>(map(0, page));
  EXPECT_FALSE(iommu_->can_hold(elements, second_io)) << "coherent memory stays";
  EXPECT_TRUE(iommu_->can_hold({}, second_io));
  elements.resize(1);
  EXPECT_TRUE(iommu_->can_hold(elements, first_io));
  elements.push_back({memory_at, page});
  EXPECT_FALSE(iommu_->can_hold(elements, first_io)) << "other mappings of the same I/O stay";
}

// Goal: the answer follows the rules of the real search: alignment, boundary, and the order.
TEST_F(IommuTest, CountsPagesThatAlignmentAndBoundaryWaste) {
  make({.page_count = 5, .alignment_pages = 2});
  const std::vector<IovaSegment> singles(3, IovaSegment{memory_at, page});
  EXPECT_TRUE(iommu_->can_hold(singles, second_io)) << "pages 0, 2 and 4";
  const std::vector<IovaSegment> pairs(2, IovaSegment{memory_at, 2 * page});
  EXPECT_TRUE(iommu_->can_hold(pairs, second_io));
  const std::vector<IovaSegment> mixed{{memory_at, page}, {memory_at, page}, {memory_at, 2 * page}};
  EXPECT_TRUE(iommu_->can_hold(mixed, second_io)) << "pages 4, 0, then 2 and 3";
  const std::vector<IovaSegment> four(4, IovaSegment{memory_at, page});
  EXPECT_FALSE(iommu_->can_hold(four, second_io)) << "five pages, but only three places";
  make({.page_count = 4, .limits = {.boundary_mask = 2 * page - 1}});
  const std::vector<IovaSegment> crossing{{memory_at, 2 * page}, {memory_at, 3 * page}};
  EXPECT_FALSE(iommu_->can_hold(crossing, second_io));
  EXPECT_TRUE(iommu_->can_hold(pairs, second_io));
}

TEST_F(IommuTest, ReusesAddressesAsLateAsPossible) {
  const std::uint64_t first = map(0, page);
  unmap(first, page);
  std::uint64_t iova = first;
  for (int i = 0; i != 15; ++i) {
    const std::uint64_t next = map(0, page);
    EXPECT_NE(next, first) << i;
    EXPECT_GT(next, iova);
    iova = next;
    unmap(iova, page);
  }
  EXPECT_EQ(map(0, page), first) << "round again";
}

// --- areas ---------------------------------------------------------------------------------------

/// An I/O of this queue.
[[nodiscard]] constexpr Cookie io_of(std::uint32_t queue, std::uint64_t value = 0x77) {
  return {.value = value, .generation = {}, .tag = {}, .queue = blkown::QueueIndex{queue}};
}

// Goal: queues with areas of their own take each other's lock in no map and no unmap.
TEST_F(IommuTest, QueuesWithAreasOfTheirOwnShareNothing) {
  for (const std::uint32_t areas : {1U, 2U}) {
    make({.page_count = 16, .address_areas = areas});
    static_cast<void>(map(0, page));
    for (std::size_t i = 0; i != 100; ++i) {
      const std::uint64_t iova =
          map(0, 2 * page, Direction::to_device, io_of(static_cast<std::uint32_t>(i % 2)));
      unmap(iova, 2 * page);
    }
    EXPECT_EQ(iommu_->shared_maps() == 0, areas == 2) << areas;
  }
}

TEST_F(IommuTest, EachAreaReusesItsAddressesAsLateAsPossible) {
  make({.page_count = 16, .address_areas = 2});
  for (const std::uint32_t queue : {0U, 1U, 2U}) {
    std::set<std::uint64_t> iovas;
    for (int i = 0; i != 8; ++i) {
      const std::uint64_t iova = map(0, page, Direction::to_device, io_of(queue));
      EXPECT_TRUE(iovas.insert(iova).second) << i;
      EXPECT_EQ((iova / page - 16) / 8, queue % 2) << "queue 2 shares the area of queue 0";
      unmap(iova, page);
    }
    const std::uint64_t again = map(0, page, Direction::to_device, io_of(queue));
    EXPECT_FALSE(iovas.insert(again).second);
    unmap(again, page);
  }
}

// Goal: a queue whose area is full uses the others, a run across two areas included.
TEST_F(IommuTest, AQueueUsesTheWholeAddressSpaceIfItsAreaIsFull) {
  make({.page_count = 16, .address_areas = 2});
  const std::uint64_t whole = map(0, 8 * page, Direction::bidirectional, io_of(1));
  const std::uint64_t across = map(0, 5 * page, Direction::bidirectional, io_of(0));
  EXPECT_EQ(iommu_->shared_maps(), 0U);
  const std::uint64_t other = map(0, 3 * page, Direction::bidirectional, io_of(1));
  EXPECT_EQ(other, across + 5 * page);
  EXPECT_EQ(iommu_->shared_maps(), 1U);
  EXPECT_EQ(iommu_->map({memory_.data(), page}, Direction::to_device, io_of(0)),
            std::unexpected(MapFailure::no_iova));
  unmap(other, 3 * page);
  unmap(whole, 8 * page);
  EXPECT_EQ(iommu_->mapped_pages(), 5U);
  const std::uint64_t longer = map(0, 11 * page, Direction::bidirectional, io_of(0));
  EXPECT_EQ(longer, across + 5 * page) << "in both areas";
  EXPECT_EQ(iommu_->mapped_pages(), 16U);
  EXPECT_TRUE(write(longer, 11 * page, io_of(0)));
  unmap(longer, 11 * page);
  EXPECT_EQ(iommu_->mapped_pages(), 5U);
  EXPECT_EQ(iommu_->bad_unmaps(), 0U);
  EXPECT_EQ(iommu_->map({memory_.data() + 1, 16 * page}, Direction::to_device, io_of(0)),
            std::unexpected(MapFailure::iova_space_too_small));
}

TEST_F(IommuTest, MemoryOfNoIoGoesWhereTheFewestPagesAreMapped) {
  make({.page_count = 18, .address_areas = 2});
  EXPECT_EQ(map(0, 3 * page) / page, 16U);
  EXPECT_EQ(map(0, page) / page, 16U + 8);
  EXPECT_EQ(map(0, 3 * page) / page, 16U + 9);
  EXPECT_EQ(map(0, page) / page, 16U + 3);
  EXPECT_EQ(map(0, 6 * page) / page, 16U + 12) << "the last area has the rest of the pages";
}

TEST_F(IommuTest, LazyModeFreesTheStalePagesOfAnAreaTogether) {
  make({.page_count = 16,
        .address_areas = 2,
        .invalidation = Invalidation::lazy,
        .lazy_flush_pages = 2});
  const std::uint64_t first = map(0, page, Direction::to_device, io_of(0));
  const std::uint64_t second = map(0, page, Direction::to_device, io_of(1));
  ASSERT_TRUE(read(first, 1, io_of(0)) && read(second, 1, io_of(1)));
  unmap(first, page);
  unmap(second, page);
  EXPECT_FALSE(read(first, 1, io_of(0)));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::stale_translation) << "one page waits in each area";
  unmap(map(0, page, Direction::to_device, io_of(0)), page);
  EXPECT_FALSE(read(first, 1, io_of(0)));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped);
  EXPECT_FALSE(read(second, 1, io_of(1)));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::stale_translation);
  // A map that finds no page frees those of all areas.
  static_cast<void>(map(0, 16 * page, Direction::to_device, io_of(0)));
}

// Goal: the answer follows the search: first the area of the I/O's queue, then all of them.
TEST_F(IommuTest, SaysWhetherItCouldHoldAllElementsWithAreas) {
  make({.page_count = 16, .address_areas = 2});
  std::vector<IovaSegment> elements(16, IovaSegment{memory_at, page});
  EXPECT_TRUE(iommu_->can_hold(elements, io_of(1)));
  elements.push_back({memory_at, page});
  EXPECT_FALSE(iommu_->can_hold(elements, io_of(1)));
  const std::vector<IovaSegment> long_ones{{memory_at, 9 * page}, {memory_at, 7 * page}};
  EXPECT_TRUE(iommu_->can_hold(long_ones, io_of(0)));
  const std::vector<IovaSegment> short_first{{memory_at, 5 * page}, {memory_at, 11 * page}};
  EXPECT_TRUE(iommu_->can_hold(short_first, io_of(0))) << "from the first page on";
}

// Goal: an I/O whose cookie is all zeroes is an I/O: another command does not reach its memory.
TEST_F(IommuTest, AnIoWithACookieOfZeroesHasAnOwner) {
  const std::uint64_t iova = map(0, page, Direction::bidirectional, Cookie{});
  EXPECT_FALSE(read(iova, 1, second_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::other_owner);
}

// --- bus addresses -------------------------------------------------------------------------------

TEST_F(IommuTest, GivesAddedMemoryItsBusAddress) {
  EXPECT_EQ(iommu_->bus_address(memory_.data() + 10), memory_at + 10);
  EXPECT_EQ(iommu_->bus_address(memory_.data() + memory_.size() - 1),
            memory_at + memory_.size() - 1);
  std::byte other{};
  EXPECT_EQ(iommu_->bus_address(&other), reinterpret_cast<std::uintptr_t>(&other));
}

TEST_F(IommuTest, TakesTheOffsetOfAPageFromTheBusAddress) {
  std::vector<std::byte> memory(2 * page);
  iommu_->add_memory(memory, memory_at * 2 + 24);
  const auto iova = iommu_->map({memory.data(), 64}, Direction::to_device, no_io);
  ASSERT_TRUE(iova.has_value());
  EXPECT_EQ(*iova % page, 24U);
}

// --- unmapping -----------------------------------------------------------------------------------

TEST_F(IommuTest, FreesUnmappedPagesAtOnceInStrictMode) {
  const std::uint64_t iova = map(0, page, Direction::bidirectional, first_io);
  ASSERT_TRUE(read(iova, page, first_io));
  unmap(iova, page);
  EXPECT_EQ(iommu_->mapped_pages(), 0U);
  EXPECT_FALSE(read(iova, page, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped);
}

TEST_F(IommuTest, AnInvalidationWithoutAnUnmapHasNoEffect) {
  for (const Invalidation invalidation : {Invalidation::strict, Invalidation::lazy}) {
    make({.page_count = 16, .invalidation = invalidation});
    const IovaSegment segment{.iova = map(0, page), .length_bytes = page};
    iommu_->invalidate({&segment, 1});
    iommu_->flush();
    EXPECT_TRUE(read(segment.iova, page));
  }
}

TEST_F(IommuTest, KeepsUnmappedPagesStaleInLazyMode) {
  make({.page_count = 16, .invalidation = Invalidation::lazy});
  const std::uint64_t used = map(0, page, Direction::bidirectional, first_io);
  const std::uint64_t unused = map(page, page, Direction::bidirectional, second_io);
  ASSERT_TRUE(read(used, page, first_io));
  unmap(used, page);
  unmap(unused, page);
  EXPECT_EQ(iommu_->mapped_pages(), 0U);
  EXPECT_FALSE(write(used, page, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::stale_translation);
  EXPECT_EQ(last_fault().owner, first_io.value);
  EXPECT_FALSE(write(unused, page, second_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped) << "the IOTLB never had the translation";
  EXPECT_TRUE(only_written(0, 0)) << "a stale translation lets nothing through here";
  iommu_->flush();
  EXPECT_FALSE(write(used, page, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped);
}

TEST_F(IommuTest, DoesNotReuseStaleAddresses) {
  make({.page_count = 16, .invalidation = Invalidation::lazy});
  std::set<std::uint64_t> iovas;
  for (int i = 0; i != 16; ++i) {
    const std::uint64_t iova = map(0, page);
    EXPECT_TRUE(iovas.insert(iova).second);
    unmap(iova, page);
  }
  EXPECT_FALSE(iovas.insert(map(0, page)).second) << "full, so all stale pages were freed";
}

TEST_F(IommuTest, FreesStalePagesTogether) {
  make({.page_count = 16, .invalidation = Invalidation::lazy, .lazy_flush_pages = 3});
  const std::uint64_t first = map(0, page);
  const std::uint64_t second = map(0, 2 * page);
  ASSERT_TRUE(read(first, 1));
  unmap(first, page);
  EXPECT_FALSE(read(first, 1));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::stale_translation);
  unmap(second, 2 * page);
  EXPECT_FALSE(read(first, 1));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped);
}

TEST_F(IommuTest, CountsUnmapsOfUnmappedPages) {
  const std::uint64_t iova = map(0, 2 * page);
  unmap(iova, 2 * page);
  EXPECT_EQ(iommu_->bad_unmaps(), 0U);
  unmap(iova, 2 * page);
  EXPECT_EQ(iommu_->bad_unmaps(), 2U) << "each of its pages";
  EXPECT_EQ(iommu_->mapped_pages(), 0U);
}

TEST_F(IommuTest, CountsAnUnmapOutsideTheAddressSpaceOrOfNoBytes) {
  const std::uint64_t begin = map(0, 16 * page);
  ASSERT_EQ(begin, IommuConfig{}.first_iova);
  for (const IovaSegment& segment :
       {IovaSegment{.iova = begin - page, .length_bytes = page},
        IovaSegment{.iova = begin + 16 * page, .length_bytes = page},
        IovaSegment{.iova = 0, .length_bytes = 1}, IovaSegment{.iova = begin, .length_bytes = 0},
        IovaSegment{.iova = begin + 15 * page, .length_bytes = 2 * page}}) {
    const std::uint64_t before = iommu_->bad_unmaps();
    iommu_->unmap(segment);
    EXPECT_EQ(iommu_->bad_unmaps(), before + 1) << segment.iova << ", " << segment.length_bytes;
  }
  EXPECT_EQ(iommu_->mapped_pages(), 15U) << "all but the page that the last one names rightly";
}

// --- the hook ------------------------------------------------------------------------------------

struct Hook {
  Iommu* iommu = nullptr;
  std::vector<std::uint64_t> cookies;
  bool answer = true;
  static bool on_map(void* self, const Cookie& cookie) {
    Hook& hook = *static_cast<Hook*>(self);
    hook.cookies.push_back(cookie.value);
    if (hook.iommu != nullptr) {
      Iommu& iommu = *std::exchange(hook.iommu, nullptr);
      std::byte byte{};
      const auto iova = iommu.map({&byte, 1}, Direction::to_device, no_io);
      iommu.unmap({.iova = iova.value_or(0), .length_bytes = 1});
    }
    return hook.answer;
  }
};

TEST_F(IommuTest, CallsTheHookBeforeEachMap) {
  Hook hook;
  iommu_->set_map_hook({&Hook::on_map, &hook});
  static_cast<void>(map(0, page, Direction::to_device, first_io));
  hook.answer = false;
  EXPECT_EQ(iommu_->map({memory_.data(), page}, Direction::to_device, second_io),
            std::unexpected(MapFailure::no_iova));
  EXPECT_EQ(hook.cookies, (std::vector{first_io.value, second_io.value}));
  EXPECT_EQ(iommu_->mapped_pages(), 1U);
  iommu_->set_map_hook({});
  static_cast<void>(map(0, page));
  EXPECT_EQ(hook.cookies.size(), 2U);
}

struct RefusedUnmap {
  std::vector<std::uint64_t> iovas;
  bool answer = false;
  static bool on_unmap(void* self, const IovaSegment& segment) {
    static_cast<RefusedUnmap*>(self)->iovas.push_back(segment.iova);
    return static_cast<RefusedUnmap*>(self)->answer;
  }
};

TEST_F(IommuTest, AnUnmapThatTheHookRefusesChangesNothing) {
  RefusedUnmap hook;
  iommu_->set_unmap_hook({&RefusedUnmap::on_unmap, &hook});
  const std::uint64_t ring = map(0, page);
  const std::uint64_t iova = map(0, page, Direction::bidirectional, first_io);
  unmap(ring, page);
  EXPECT_TRUE(hook.iovas.empty()) << "memory of no I/O";
  EXPECT_EQ(iommu_->unmap({iova, page}), std::unexpected(MapFailure::unmap_failed));
  EXPECT_EQ(hook.iovas, std::vector{iova});
  EXPECT_EQ(iommu_->mapped_pages(), 1U);
  EXPECT_TRUE(write(iova, page, first_io));
  hook.answer = true;
  unmap(iova, page);
  EXPECT_EQ(iommu_->mapped_pages(), 0U);
  EXPECT_EQ(iommu_->bad_unmaps(), 0U);
}

TEST_F(IommuTest, LetsTheHookMapAndUnmap) {
  Hook hook;
  hook.iommu = &*iommu_;
  iommu_->set_map_hook({&Hook::on_map, &hook});
  static_cast<void>(map(0, page, Direction::to_device, first_io));
  EXPECT_EQ(hook.cookies, (std::vector{first_io.value, no_io.value}));
  EXPECT_EQ(iommu_->mapped_pages(), 1U);
  EXPECT_EQ(iommu_->bad_unmaps(), 0U);
}

}  // namespace
}  // namespace sim_test
