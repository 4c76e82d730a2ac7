// SPDX-License-Identifier: BSL-1.0
//
// Goal: the VFIO backend maps whole pages at addresses of its own, uses none again before its unmap
// has succeeded, and answers every failure of the kernel.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <blkown/dma/dma.hpp>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "dma/fake_vfio.hpp"
#include "support/counted_allocation.hpp"
#include "support/driver.hpp"

namespace {

namespace dma = blkown::dma;
using blkown::Cookie;
using blkown::Segment;
using dma::Direction;
using dma::IovaSegment;
using dma::MapFailure;
using Vfio = dma::BasicVfio<fake::VfioSystem>;

constexpr std::uint64_t page = Vfio::page_bytes;
constexpr std::uint64_t window_at = std::uint64_t{1} << 32;
constexpr Cookie io{.value = 7, .generation = {}, .tag = {}, .queue = {}};
constexpr Cookie other_io{.value = 8, .generation = {}, .tag = {}, .queue = {}};

alignas(4096) std::array<std::byte, 16 * 4096> memory;

class VfioTest : public testing::Test {
 protected:
  void make(const dma::VfioConfig& config = {.window_bytes = 8 * page}) {
    auto made = Vfio::create(3, config, {&kernel});
    ASSERT_TRUE(made.has_value()) << to_string(made.error().step);
    vfio = *std::move(made);
  }
  void SetUp() override { make(); }

  static Segment part(std::size_t offset, std::size_t bytes) {
    return {memory.data() + offset, bytes};
  }
  std::uint64_t map(std::size_t offset, std::size_t bytes,
                    Direction direction = Direction::bidirectional, const Cookie& cookie = io) {
    const auto iova = vfio->map(part(offset, bytes), direction, cookie);
    EXPECT_TRUE(iova.has_value()) << to_string(iova.error());
    return iova.value_or(0);
  }
  MapFailure map_fails(std::size_t offset, std::size_t bytes) {
    const auto iova = vfio->map(part(offset, bytes), Direction::to_device, io);
    EXPECT_FALSE(iova.has_value());
    return iova.has_value() ? MapFailure{} : iova.error();
  }
  /// The failure of a map of 8 bytes for which the kernel answers `error`; 0: as it likes.
  MapFailure fails(int error, const Cookie& cookie) {
    kernel.map_error = error;
    const auto iova = vfio->map(part(0, 8), Direction::to_device, cookie);
    EXPECT_FALSE(iova.has_value()) << error;
    return iova.has_value() ? MapFailure{} : iova.error();
  }
  std::expected<void, MapFailure> unmap(const std::vector<IovaSegment>& segments) {
    for (const IovaSegment& segment : segments) EXPECT_TRUE(vfio->unmap(segment).has_value());
    return vfio->invalidate(segments);
  }

  fake::VfioKernel kernel;
  std::unique_ptr<Vfio> vfio;
};

// --- pages ---------------------------------------------------------------------------------------

TEST_F(VfioTest, MapsTheWholePagesOfTheBytes) {
  const std::uint64_t iova = map(100, 8192, Direction::from_device);
  EXPECT_EQ(iova, window_at + 100) << "the offset in the page is kept";
  ASSERT_EQ(kernel.mappings.size(), 1U);
  EXPECT_EQ(kernel.mappings[window_at].bytes, 3 * page);
  EXPECT_EQ(kernel.mappings[window_at].address, reinterpret_cast<std::uintptr_t>(memory.data()));
  EXPECT_EQ(kernel.translate(iova + 8191, VFIO_DMA_MAP_FLAG_WRITE), memory.data() + 8291);
  EXPECT_EQ(vfio->mapped_pages(), 3U);
  EXPECT_TRUE(unmap({{iova, 8192}}).has_value());
  EXPECT_TRUE(kernel.mappings.empty());
  EXPECT_EQ(vfio->mapped_pages(), 0U);
}

TEST_F(VfioTest, AByteIsAPageAndAPageIsNotTwo) {
  EXPECT_EQ(map(0, 1), window_at);
  EXPECT_EQ(map(4095, 1), window_at + page + 4095);
  EXPECT_EQ(map(page, page), window_at + 2 * page);
  EXPECT_EQ(map(4095, 2), window_at + 3 * page + 4095);
  EXPECT_EQ(vfio->mapped_pages(), 5U);
}

TEST_F(VfioTest, TheDeviceReachesMemoryInTheDirectionOnly) {
  const std::uint64_t read = map(0, 8, Direction::to_device);
  const std::uint64_t written = map(page, 8, Direction::from_device);
  EXPECT_NE(kernel.translate(read, VFIO_DMA_MAP_FLAG_READ), nullptr);
  EXPECT_EQ(kernel.translate(read, VFIO_DMA_MAP_FLAG_WRITE), nullptr);
  EXPECT_EQ(kernel.translate(written, VFIO_DMA_MAP_FLAG_READ), nullptr);
  EXPECT_NE(kernel.translate(written, VFIO_DMA_MAP_FLAG_WRITE), nullptr);
}

// Goal: two I/Os in one page have translations of their own, so that the end of one does not cut
// off the other.
TEST_F(VfioTest, TwoIosMayShareAPage) {
  const std::uint64_t first = map(0, 512);
  const std::uint64_t second = map(512, 512);
  EXPECT_NE(first / page, second / page);
  EXPECT_TRUE(unmap({{first, 512}}).has_value());
  EXPECT_NE(kernel.translate(second, VFIO_DMA_MAP_FLAG_READ), nullptr);
}

TEST_F(VfioTest, AddressesAreUsedInTurn) {
  const std::uint64_t first = map(0, 1);
  EXPECT_TRUE(unmap({{first, 1}}).has_value());
  EXPECT_EQ(map(0, 1), window_at + page);
  for (int i = 0; i != 6; ++i) {
    const std::uint64_t iova = map(0, 1);
    EXPECT_TRUE(unmap({{iova, 1}}).has_value());
  }
  EXPECT_EQ(map(0, 1), window_at) << "from the beginning again";
}

TEST_F(VfioTest, AListIsUnmappedByOneCall) {
  const std::vector<IovaSegment> list{
      {map(0, page), page}, {map(page, 100), 100}, {map(3 * page + 8, 8), 8}};
  EXPECT_TRUE(unmap(list).has_value());
  EXPECT_EQ(kernel.unmaps, 1U);
  EXPECT_TRUE(kernel.mappings.empty());
  const std::uint64_t first = map(0, 1);
  const std::uint64_t between = map(0, 1);
  const std::uint64_t last = map(0, 1);
  EXPECT_TRUE(unmap({{first, 1}, {last, 1}}).has_value());
  EXPECT_EQ(kernel.unmaps, 3U) << "not adjacent";
  EXPECT_NE(kernel.translate(between, VFIO_DMA_MAP_FLAG_READ), nullptr);
}

// --- failures ------------------------------------------------------------------------------------

TEST_F(VfioTest, NoAddressIsForNowIfOthersHaveIt) {
  const std::uint64_t others = map(0, 7 * page);
  EXPECT_EQ(map_fails(0, 2 * page), MapFailure::no_iova);
  EXPECT_EQ(map_fails(0, 9 * page), MapFailure::iova_space_too_small);
  EXPECT_TRUE(unmap({{others, 7 * page}}).has_value());
  EXPECT_EQ(map(0, 8 * page), window_at);
}

TEST_F(VfioTest, SaysWhetherItCouldHoldAllElements) {
  const std::uint64_t ring = map(0, page, Direction::bidirectional, dma::no_io);
  static_cast<void>(map(0, 7 * page, Direction::bidirectional, other_io));
  const std::vector<IovaSegment> seven{{0, 4 * page}, {0x5000, 3 * page}};
  EXPECT_TRUE(vfio->can_hold(seven, io)) << "other I/Os do not count";
  const std::vector<IovaSegment> on_eight{{0, 4 * page}, {0x5001, 3 * page}};
  EXPECT_FALSE(vfio->can_hold(on_eight, io)) << "coherent memory stays";
  EXPECT_TRUE(unmap({{ring, page}}).has_value());
  EXPECT_TRUE(vfio->can_hold(on_eight, io));
}

// Goal: an I/O for which rings leave no long enough run is refused for good, not tried for ever.
TEST_F(VfioTest, AnElementBetweenRingsNeedsARunOfItsLength) {
  const std::uint64_t first = map(0, 3 * page);
  static_cast<void>(map(0, page, Direction::bidirectional, dma::no_io));
  EXPECT_TRUE(unmap({{first, 3 * page}}).has_value());
  const auto can_hold = [&](const std::vector<IovaSegment>& elements) {
    return vfio->can_hold(elements, io);
  };
  EXPECT_TRUE(can_hold({{0, 4 * page}, {0, 3 * page}}));
  EXPECT_FALSE(can_hold({{0, 5 * page}}));
  EXPECT_FALSE(can_hold({{8, 4 * page}})) << "five pages";
  EXPECT_EQ(map_fails(0, 5 * page), MapFailure::no_iova);

  vfio.reset();
  make({.limits = {.boundary_mask = 4 * page - 1}, .window_bytes = 8 * page});
  static_cast<void>(map(0, page, Direction::bidirectional, dma::no_io));
  const std::uint64_t others = map(0, 3 * page);
  static_cast<void>(map(0, page, Direction::bidirectional, dma::no_io));
  EXPECT_TRUE(unmap({{others, 3 * page}}).has_value());
  EXPECT_TRUE(can_hold({{0, 3 * page}}));
  EXPECT_FALSE(can_hold({{0, 4 * page}})) << "across the device's boundary";
}

TEST_F(VfioTest, AFailureOfTheKernelIsTyped) {
  const std::pair<int, MapFailure> answers[] = {{ENOSPC, MapFailure::iova_space_too_small},
                                                {ENOMEM, MapFailure::out_of_memory},
                                                {EFAULT, MapFailure::refused},
                                                {EINVAL, MapFailure::refused}};
  for (const auto& [error, failure] : answers) {
    kernel.map_error = error;
    EXPECT_EQ(map_fails(0, 8), failure) << error;
    EXPECT_EQ(vfio->mapped_pages(), 0U) << "the address is free again";
  }
}

// Goal: an I/O that exceeds a limit of the kernel by itself is refused for good, and one that only
// other I/Os keep from it is not.
TEST_F(VfioTest, ALimitOfTheKernelIsForNowOnlyIfOthersCouldFree) {
  static_cast<void>(map(0, 8, Direction::bidirectional, dma::no_io));
  const std::uint64_t own = map(0, 8);
  kernel.max_mappings = 2;
  EXPECT_EQ(fails(0, other_io), MapFailure::no_iova);
  EXPECT_EQ(fails(0, io), MapFailure::iova_space_too_small);
  kernel.max_mappings = 9;
  EXPECT_EQ(fails(ENOSPC, io), MapFailure::iova_space_too_small);
  EXPECT_EQ(fails(ENOSPC, other_io), MapFailure::no_iova);
  EXPECT_EQ(fails(ENOSPC, dma::no_io), MapFailure::no_iova) << "a ring may wait for an I/O";
  EXPECT_TRUE(unmap({{own, 8}}).has_value());
  EXPECT_EQ(fails(ENOSPC, other_io), MapFailure::iova_space_too_small);
  // Another context gives its pages back while the kernel refuses.
  const std::uint64_t others = map(0, 8);
  kernel.during_map = [&] { EXPECT_TRUE(unmap({{others, 8}}).has_value()); };
  EXPECT_EQ(fails(ENOSPC, other_io), MapFailure::no_iova);
}

TEST(VfioSystem, TheLimitOfLockedMemoryIsThatOfTheProcess) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const rlimit lower{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &lower), 0);
  EXPECT_EQ(dma::VfioSystem::lock_limit_bytes(), 4096U);
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
  if (before.rlim_cur == RLIM_INFINITY) {
    EXPECT_EQ(dma::VfioSystem::lock_limit_bytes(), ~std::uint64_t{0});
  }
}

// Goal: the limit of locked memory is permanent only for an I/O that exceeds it by itself. What
// other containers of the process have locked is not known here.
TEST_F(VfioTest, NoMemoryIsForNowUnlessTheIoAloneExceedsTheLimit) {
  static_cast<void>(map(0, 8, Direction::bidirectional, dma::no_io));
  EXPECT_EQ(fails(ENOMEM, io), MapFailure::out_of_memory) << "no limit";
  kernel.lock_limit_bytes = 2 * page;
  EXPECT_EQ(fails(ENOMEM, io), MapFailure::out_of_memory);
  static_cast<void>(map(0, 8));
  EXPECT_EQ(fails(ENOMEM, other_io), MapFailure::out_of_memory) << "others have locked a page";
  EXPECT_EQ(fails(ENOMEM, io), MapFailure::memory_limit_too_low) << "an element of the same I/O";
  kernel.lock_limit_bytes = 2 * page - 1;
  EXPECT_EQ(fails(ENOMEM, other_io), MapFailure::memory_limit_too_low);
}

// Goal: pages that the kernel says somebody else maps are counted as taken for good.
TEST_F(VfioTest, PagesOfAnotherStayTakenAndBelongToNoIo) {
  EXPECT_EQ(fails(EEXIST, io), MapFailure::refused);
  EXPECT_FALSE(vfio->can_hold(std::vector<IovaSegment>{{0, 8 * page}}, other_io));
  EXPECT_TRUE(vfio->can_hold(std::vector<IovaSegment>{{0, 7 * page}}, other_io));
  EXPECT_EQ(fails(ENOSPC, other_io), MapFailure::iova_space_too_small);
}

// Goal: two I/Os whose cookies have the same value are told apart by their generations.
TEST_F(VfioTest, CookiesOfOneValueAreTwoIos) {
  Cookie twin = io;
  ++twin.generation.value;
  static_cast<void>(map(0, 8, Direction::bidirectional, twin));
  EXPECT_EQ(fails(ENOSPC, io), MapFailure::no_iova);
}

TEST_F(VfioTest, OtherMappingsOfTheSameIoStay) {
  static_cast<void>(map(0, 3 * page));
  const std::vector<IovaSegment> six{{0, 6 * page}};
  const std::vector<IovaSegment> five{{0, 5 * page}};
  EXPECT_TRUE(vfio->can_hold(six, other_io));
  EXPECT_FALSE(vfio->can_hold(six, io));
  EXPECT_TRUE(vfio->can_hold(five, io));
}

// Goal: an I/O with a cookie of zeroes is an I/O.
TEST_F(VfioTest, OnlyMemoryOfNoIoIsPermanent) {
  static_cast<void>(map(0, 7 * page, Direction::bidirectional, Cookie{}));
  EXPECT_TRUE(vfio->can_hold(std::vector<IovaSegment>{{0, 8 * page}}, io));
}

// Goal: an address that somebody else has mapped is not tried again for ever.
TEST_F(VfioTest, AnAddressOfSomebodyElseIsPassedOver) {
  kernel.mappings[window_at] = {0x1000, page, VFIO_DMA_MAP_FLAG_READ};
  EXPECT_EQ(map_fails(0, 8), MapFailure::refused);
  for (int i = 0; i != 9; ++i) {
    const std::uint64_t iova = map(0, 8);
    EXPECT_NE(iova, window_at);
    EXPECT_TRUE(unmap({{iova, 8}}).has_value());
  }
}

// Goal: the addresses of a failed unmap are not used again, also those of the list that are
// unmapped.
TEST_F(VfioTest, AFailedUnmapKeepsItsAddresses) {
  for (const std::size_t refused : {0U, 1U}) {
    vfio.reset();
    make();
    const std::uint64_t first = map(0, page);
    static_cast<void>(map(0, page));
    const std::vector<IovaSegment> apart{{first, page}, {map(0, page), page}};
    kernel.unmaps = 0;
    kernel.refuse_unmap = refused;
    const auto failed = unmap(apart);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), MapFailure::unmap_failed);
    EXPECT_NE(kernel.translate(apart[refused].iova, VFIO_DMA_MAP_FLAG_READ), nullptr);
    for (int i = 0; i != 12; ++i) {
      const std::uint64_t iova = map(0, 1);
      EXPECT_NE(iova / page, apart[0].iova / page);
      EXPECT_NE(iova / page, apart[1].iova / page);
      EXPECT_TRUE(unmap({{iova, 1}}).has_value());
    }
    EXPECT_TRUE(vfio->invalidate(apart).has_value()) << "the drain's second try";
    EXPECT_EQ(kernel.mappings.size(), 1U);
    EXPECT_EQ(vfio->mapped_pages(), 1U);
  }
}

// --- limits --------------------------------------------------------------------------------------

TEST_F(VfioTest, NoElementCrossesTheDevicesBoundary) {
  vfio.reset();
  make({.limits = {.boundary_mask = 4 * page - 1}, .window_bytes = 16 * page});
  static_cast<void>(map(0, 3 * page));
  EXPECT_EQ(map(0, 2 * page), window_at + 4 * page);
  EXPECT_EQ(map(8, 2 * page), window_at + 8 * page + 8) << "three pages";
  EXPECT_EQ(map(page, page), window_at + 11 * page);
}

TEST_F(VfioTest, EveryByteIsWithinTheDevicesReach) {
  vfio.reset();
  make({.limits = {.address_mask = 0xFFFF'FFFF}, .first_iova = 0x10000, .window_bytes = 8 * page});
  EXPECT_LE(vfio->bus_address(memory.data()), 0xFFFF'FFFFU);
  EXPECT_EQ(vfio->bus_address(memory.data() + 5) % page, 5U);
  EXPECT_EQ(map(5, 1), 0x10005U);
}

TEST_F(VfioTest, AWindowThatTheIommuDoesNotTakeIsRefused) {
  const auto refusal = [&](const dma::VfioConfig& config) {
    const auto made = Vfio::create(3, config, {&kernel});
    EXPECT_FALSE(made.has_value());
    return made.has_value() ? dma::VfioStep::allocate : made.error().step;
  };
  using enum dma::VfioStep;
  EXPECT_EQ(refusal({.first_iova = 0xFED0'0000, .window_bytes = 0x20'0000}), address_window)
      << "the window of the interrupts";
  EXPECT_EQ(refusal({.first_iova = (std::uint64_t{1} << 39) - page, .window_bytes = 2 * page}),
            address_window);
  EXPECT_EQ(refusal({.first_iova = window_at + 8}), address_window);
  EXPECT_EQ(refusal({.window_bytes = 0}), address_window);
  EXPECT_EQ(refusal({.first_iova = 0, .window_bytes = 0}), address_window);
  EXPECT_EQ(refusal({.window_bytes = 100}), address_window);
  EXPECT_EQ(refusal({.first_iova = ~std::uint64_t{0} - page + 1, .window_bytes = 2 * page}),
            address_window);
  EXPECT_EQ(refusal({.limits = {.address_mask = 0xFFFF'FFFF}}), address_window)
      << "beyond the device's reach";
  EXPECT_EQ(refusal({.limits = {.virt_boundary_mask = 2 * page - 1}}), address_window)
      << "only the offset in a page is kept";
  EXPECT_EQ(refusal({.limits = {.min_align_mask = 2 * page - 1}}), address_window);
  EXPECT_EQ(refusal({.limits = {.min_align_mask = page}}), address_window);
  EXPECT_TRUE(Vfio::create(3,
                           {.limits = {.virt_boundary_mask = page - 1, .min_align_mask = page - 1},
                            .first_iova = 0xFEF0'0000,
                            .window_bytes = page},
                           {&kernel})
                  .has_value());
  kernel.page_sizes = 0x10000;
  EXPECT_EQ(refusal({}), page_size);
}

// --- the IOMMU's answer --------------------------------------------------------------------------

class VfioInfo : public testing::Test {
 protected:
  /// Why no window of this place is made; nothing, if it is.
  std::optional<dma::VfioError> refusal(std::uint64_t first = window_at, std::uint64_t pages = 8) {
    const auto made =
        Vfio::create(3, {.first_iova = first, .window_bytes = pages * page}, {&kernel});
    return made.has_value() ? std::nullopt : std::optional{made.error()};
  }
  /// The kernel's answer has this value at this place.
  template <class T>
  void answer(std::size_t at, T value) {
    kernel.edit_info = [at, value](std::span<std::byte> all) {
      std::memcpy(all.data() + at, &value, sizeof value);
    };
  }

  static constexpr dma::VfioError outside{dma::VfioStep::address_window, 0};
  static constexpr std::uint64_t in_a_hole = 0xFEE0'0000;
  fake::VfioKernel kernel;
};

TEST_F(VfioInfo, AFailedQuestionIsAnError) {
  for (const std::size_t refused : {0U, 1U}) {
    kernel.infos = 0;
    kernel.refuse_info = refused;
    EXPECT_EQ(refusal(), (dma::VfioError{dma::VfioStep::iommu_info, EPERM})) << refused;
  }
}

TEST_F(VfioInfo, AWindowMayFillARangeAndNoMore) {
  kernel.ranges = {{0, page - 1}, {window_at, window_at + 8 * page - 1}};
  EXPECT_EQ(refusal(), std::nullopt);
  EXPECT_EQ(refusal(window_at, 9), outside);
  EXPECT_EQ(refusal(window_at - page, 2), outside);
  EXPECT_EQ(refusal(window_at - page, 9), outside);
  kernel.ranges = {{window_at, window_at + 8 * page - 2}};
  EXPECT_EQ(refusal(), outside);
  kernel.ranges = {{window_at + 1, window_at + 8 * page - 1}};
  EXPECT_EQ(refusal(), outside);
  kernel.ranges = {};
  EXPECT_EQ(refusal(), outside);
}

TEST_F(VfioInfo, AKernelThatListsNoRangesTakesEveryWindow) {
  const std::uint32_t no_capabilities = VFIO_IOMMU_INFO_PGSIZES;
  answer(offsetof(vfio_iommu_type1_info, flags), no_capabilities);
  EXPECT_EQ(refusal(in_a_hole), std::nullopt);
  answer(offsetof(vfio_iommu_type1_info, argsz), std::uint32_t{sizeof(vfio_iommu_type1_info)});
  kernel.infos = 0;
  EXPECT_EQ(refusal(in_a_hole), std::nullopt);
  EXPECT_EQ(kernel.infos, 1U) << "there is no more to ask for";
  answer(offsetof(vfio_iommu_type1_info, cap_offset), std::uint32_t{0});
  EXPECT_EQ(refusal(in_a_hole), std::nullopt);
  // The unknown capability is the last one.
  answer(kernel.first_cap + offsetof(vfio_info_cap_header, next), std::uint32_t{0});
  EXPECT_EQ(refusal(in_a_hole), std::nullopt);
}

TEST_F(VfioInfo, AKernelThatListsNoPageSizesIsNotAskedForThem) {
  kernel.page_sizes = 0;
  EXPECT_EQ(refusal(), (dma::VfioError{dma::VfioStep::page_size, 0}));
  answer(offsetof(vfio_iommu_type1_info, flags), std::uint32_t{VFIO_IOMMU_INFO_CAPS});
  EXPECT_EQ(refusal(), std::nullopt);
}

// Goal: an answer that contradicts itself is neither followed out of its memory nor for ever.
TEST_F(VfioInfo, ABrokenListOfCapabilitiesIsRefused) {
  constexpr std::size_t next = offsetof(vfio_info_cap_header, next);
  constexpr auto whole = static_cast<std::uint32_t>(fake::VfioKernel::ranges_cap + 16 + 2 * 16);
  const auto place = [](std::size_t at) { return static_cast<std::uint32_t>(at); };
  answer(kernel.first_cap + next, place(kernel.first_cap));
  EXPECT_EQ(refusal(), outside) << "a ring";
  for (const std::uint32_t at : {whole + 1, whole, whole - 7, ~std::uint32_t{0}}) {
    answer(kernel.first_cap + next, at);
    EXPECT_EQ(refusal(), outside) << "a capability beyond the answer, at " << at;
  }
  // The capability fits, its ranges do not.
  kernel.edit_info = [&](std::span<std::byte> all) {
    std::memmove(all.data() + whole - 8, all.data() + kernel.ranges_cap, 8);
    const std::uint32_t at = whole - 8;
    std::memcpy(all.data() + kernel.first_cap + next, &at, sizeof at);
  };
  EXPECT_EQ(refusal(), outside);
  answer(kernel.ranges_cap + sizeof(vfio_info_cap_header), ~std::uint32_t{0});
  EXPECT_EQ(refusal(), std::nullopt) << "found before the end";
  EXPECT_EQ(refusal(in_a_hole), outside) << "more ranges than the answer has";
}

// --- without memory ------------------------------------------------------------------------------

// Goal: whichever allocation fails, the answer says so, and what was allocated is freed.
TEST_F(VfioInfo, EachAllocationMayFail) {
  for (std::uint64_t successes = 0; successes != 6; ++successes) {
    const std::uint64_t before = allocations - deallocations;
    refused_after = successes;
    const auto failed = refusal();
    refused_after = ~std::uint64_t{0};
    EXPECT_EQ(allocations - deallocations, before);
    // The answer with the ranges, the backend, and what is known of each page, three times.
    const auto expected = std::optional{dma::VfioError{dma::VfioStep::allocate, ENOMEM}};
    EXPECT_EQ(failed, successes < 5 ? expected : std::nullopt) << successes;
  }
}

TEST_F(VfioTest, ARingWithoutMemoryIsAnError) {
  dma::Device<Vfio> device{*vfio};
  using Ring = dma::Coherent<Vfio>;
  allocations_left = 0;
  const auto own = Ring::allocate(device, 100);
  const auto callers = Ring::map(device, part(0, 100));
  allocations_left = ~std::uint64_t{0};
  EXPECT_EQ(own.error().reason, MapFailure::out_of_memory);
  EXPECT_GT(own.error().limit, 0U);
  EXPECT_EQ(callers.error(), own.error());
  EXPECT_EQ(kernel.maps, 0U);
}

// --- arenas --------------------------------------------------------------------------------------

TEST_F(VfioTest, AnArenaIsMappedOnce) {
  const auto arena = vfio->add_arena(part(page, 3 * page));
  ASSERT_TRUE(arena.has_value());
  EXPECT_EQ(*arena, (IovaSegment{window_at, 3 * page}));
  EXPECT_EQ(kernel.maps, 1U);
  EXPECT_EQ(map(page + 100, 8), window_at + 100);
  EXPECT_EQ(map(page, 3 * page), window_at);
  EXPECT_EQ(map(4 * page - 1, 1), window_at + 3 * page - 1);
  EXPECT_EQ(kernel.maps, 1U);
  EXPECT_TRUE(unmap({{window_at + 100, 8}}).has_value());
  EXPECT_EQ(kernel.unmaps, 0U);
  EXPECT_NE(kernel.translate(window_at + 100, VFIO_DMA_MAP_FLAG_WRITE), nullptr);
  EXPECT_NE(kernel.translate(window_at + 100, VFIO_DMA_MAP_FLAG_READ), nullptr);
  EXPECT_EQ(vfio->mapped_pages(), 3U);
}

TEST_F(VfioTest, BytesAcrossAnArenasEndAreMappedByThemselves) {
  ASSERT_TRUE(vfio->add_arena(part(page, page)).has_value());
  for (const std::size_t offset : {page - 1, 2 * page - 1}) {
    const std::uint64_t iova = map(offset, 2);
    EXPECT_EQ(kernel.translate(iova + 1, VFIO_DMA_MAP_FLAG_READ), memory.data() + offset + 1);
    const std::uint64_t in_arena = map(page, 8);
    const std::vector<IovaSegment> mixed{{in_arena, 8}, {iova, 2}};
    EXPECT_TRUE(unmap(mixed).has_value());
    EXPECT_EQ(kernel.mappings.size(), 1U) << "the arena";
  }
}

// Goal: an I/O with memory in an arena that finds no room beside other I/Os is not refused for
// good.
TEST_F(VfioTest, ElementsInAnArenaNeedNoRoom) {
  ASSERT_TRUE(vfio->add_arena(part(0, 4 * page)).has_value());
  const auto element = [&](std::size_t offset, std::size_t bytes) {
    return IovaSegment{vfio->bus_address(memory.data() + offset), bytes};
  };
  const std::vector<IovaSegment> fits{element(0, 4 * page), element(6 * page, 4 * page)};
  EXPECT_TRUE(vfio->can_hold(fits, io));
  const std::vector<IovaSegment> too_long{element(0, 4 * page), element(6 * page, 4 * page + 1)};
  EXPECT_FALSE(vfio->can_hold(too_long, io));
  const std::vector<IovaSegment> across_the_end{element(3 * page, 5 * page)};
  EXPECT_FALSE(vfio->can_hold(across_the_end, io)) << "it is mapped by itself";
  // The bounce slot of an element lies anywhere, not in the arena.
  EXPECT_FALSE(vfio->can_hold(std::vector<IovaSegment>{{0, 5 * page}}, io));
}

TEST_F(VfioTest, ArenasAreLimited) {
  EXPECT_EQ(vfio->add_arena({}).error(), MapFailure::no_bytes);
  EXPECT_EQ(vfio->add_arena(part(0, 9 * page)).error(), MapFailure::iova_space_too_small);
  for (std::size_t i = 0; i != Vfio::max_arenas; ++i) {
    EXPECT_TRUE(vfio->add_arena(part(i * page, 8)).has_value());
  }
  EXPECT_EQ(vfio->add_arena(part(9 * page, 8)).error(), MapFailure::refused);
}

TEST_F(VfioTest, TheDestructorUnmapsAll) {
  ASSERT_TRUE(vfio->add_arena(part(page, page)).has_value());
  static_cast<void>(map(0, 8));
  kernel.mappings[window_at - page] = {0x1000, page, VFIO_DMA_MAP_FLAG_READ};
  vfio.reset();
  EXPECT_EQ(kernel.mappings.size(), 1U) << "outside the window";
}

// --- with mappings -------------------------------------------------------------------------------

struct Data {
  dma::IovaList<8> iovas;
  std::optional<dma::ActiveMapping> mapping;
};
using Request = blkown::Request<Data>;

// Goal: a failure of VFIO_IOMMU_UNMAP_DMA puts the mapping into quarantine, and a drain ends that.
TEST_F(VfioTest, AFailedUnmapIsQuarantine) {
  support::Driver<Request> driver;
  dma::Device<Vfio> device{*vfio};
  auto claim = driver.owned(0).into_claim();
  const std::array segments{part(0, 512), part(2 * page, 512)};
  claim.data().mapping.emplace(
      support::take_value(
          dma::map(claim, device, segments, Direction::from_device, claim.data().iovas))
          .activate());
  const auto cookie = driver.publish(std::move(claim));
  auto found = driver.claim(cookie);
  auto mapping = *std::exchange(found.data().mapping, std::nullopt);
  kernel.refuse_unmap = 0;
  EXPECT_TRUE(std::move(mapping).unmap(*dma::EndProof::of(found)).has_value());
  std::move(found).end_ok();
  EXPECT_EQ(device.quarantined_count(), 1U);
  EXPECT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_EQ(vfio->mapped_pages(), 2U);
  EXPECT_EQ(device.drain(device.declare_stopped()), 1U);
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_TRUE(kernel.mappings.empty());
}

TEST_F(VfioTest, HoldsRings) {
  dma::Device<Vfio> device{*vfio};
  auto ring = support::take_value(dma::Coherent<Vfio>::allocate(device, 100));
  std::byte* const seen = kernel.translate(ring.segment().iova, VFIO_DMA_MAP_FLAG_WRITE);
  EXPECT_EQ(seen, ring.data());
  EXPECT_TRUE(std::move(ring).free(device.declare_stopped()).has_value());
  EXPECT_TRUE(kernel.mappings.empty());
}

TEST_F(VfioTest, HoldsRingsInAnArena) {
  ASSERT_TRUE(vfio->add_arena(part(page, 3 * page)).has_value());
  dma::Device<Vfio> device{*vfio};
  auto ring = support::take_value(dma::Coherent<Vfio>::map(device, part(2 * page, page)));
  EXPECT_EQ(ring.segment(), (IovaSegment{window_at + page, page}));
  EXPECT_TRUE(std::move(ring).free(device.declare_stopped()).has_value());
  EXPECT_EQ(kernel.maps, 1U);
  EXPECT_EQ(kernel.unmaps, 0U);
}

TEST(VfioDeathTest, IsNotDestroyedBeforeItsDevice) {
  EXPECT_DEATH(
      {
        fake::VfioKernel kernel;
        auto vfio = *Vfio::create(3, {.window_bytes = page}, {&kernel});
        const dma::Device<Vfio> device{*vfio};
        vfio.reset();
      },
      "dma::Vfio destroyed while a dma::Device uses it: destroy that object first");
}

TEST(VfioStep, EachHasAName) {
  std::string names;
  for (int i = 0; i <= static_cast<int>(dma::VfioStep::allocate); ++i) {
    names += std::string{" "} + to_string(static_cast<dma::VfioStep>(i));
  }
  EXPECT_EQ(names,
            " open_container check_version find_group open_group check_group set_container"
            " set_iommu iommu_info page_size address_window open_device device_info region_info"
            " map_region config_space set_interrupts reset allocate");
  EXPECT_STREQ(to_string(static_cast<dma::VfioStep>(77)), "unknown step");
}

}  // namespace
