// SPDX-License-Identifier: BSL-1.0
//
// Goal: PRP entries are where the specification puts them, for each number of entries at which the
// form changes, and everything that is wrong with addresses, pages or a controller's list is named.

#include <gtest/gtest.h>

#include <array>
#include <blkown/nvme/prp.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nvme/prp_memory.hpp"
#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme::PrpError;
using nvme::PrpReason;
using prp::IovaSegment;
using prp::Memory;

constexpr std::uint32_t page = 4096;
constexpr std::uint64_t base = 0x100'0000;

/// The PRP entries of one run from `base` on.
auto built(std::uint64_t length_bytes, const Memory& memory) {
  const std::array runs{IovaSegment{base, length_bytes}};
  return nvme::build_prps(runs, memory.pages(), page);
}

TEST(Prp, AContiguousTransferNeedsAnEntryForEachPageThatItTouches) {
  EXPECT_EQ(nvme::prp_count(0, 0, page), 0U);
  EXPECT_EQ(nvme::prp_count(0, 1, page), 1U);
  EXPECT_EQ(nvme::prp_count(0, 4096, page), 1U);
  EXPECT_EQ(nvme::prp_count(0, 4097, page), 2U);
  EXPECT_EQ(nvme::prp_count(4092, 4, page), 1U);
  EXPECT_EQ(nvme::prp_count(4092, 8, page), 2U);
  EXPECT_EQ(nvme::prp_count(4, 8192, page), 3U);
  EXPECT_EQ(nvme::prp_count(4, 1 << 20, 65536), 17U);
  EXPECT_EQ(nvme::prp_count(~std::uint64_t{0}, ~std::uint64_t{0}, page), (1ULL << 52) + 1);
}

TEST(Prp, AListNeedsAPageForEach511EntriesAndTheLastTakesOneMore) {
  EXPECT_EQ(nvme::prp_list_pages(0, page), 0U);
  EXPECT_EQ(nvme::prp_list_pages(2, page), 0U);
  EXPECT_EQ(nvme::prp_list_pages(3, page), 1U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 512, page), 1U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 513, page), 2U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 511 + 512, page), 2U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 511 + 513, page), 3U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 8192, 65536), 1U);
  EXPECT_EQ(nvme::prp_list_pages(1 + 8193, 65536), 2U);
}

TEST(Prp, NoDataHasNoEntries) {
  EXPECT_EQ(*nvme::build_prps({}, {}, page), nvme::Prps{});
  Memory memory;
  EXPECT_TRUE(prp::walk({.prp1 = 3, .prp2 = 5}, 0, page, memory).result.has_value());
}

TEST(Prp, OneEntryStandsInPrp1) {
  const Memory memory;
  EXPECT_EQ(*built(4096, memory), (nvme::Prps{.prp1 = base, .prp2 = 0}));
}

TEST(Prp, TwoEntriesStandInBoth) {
  const Memory memory;
  EXPECT_EQ(*built(4097, memory), (nvme::Prps{.prp1 = base, .prp2 = base + page}));
  EXPECT_EQ(*built(8192, memory), (nvme::Prps{.prp1 = base, .prp2 = base + page}));
}

TEST(Prp, ThreeEntriesNeedAList) {
  Memory memory;
  memory.add(0x8000, 512);
  EXPECT_EQ(*built(8193, memory), (nvme::Prps{.prp1 = base, .prp2 = 0x8000}));
  EXPECT_EQ(memory.at(0x8000), base + page);
  EXPECT_EQ(memory.at(0x8008), base + 2 * page);
  EXPECT_EQ(memory.at(0x8010), Memory::unwritten);
}

TEST(Prp, OnlyTheFirstAddressMayLieInsideAPage) {
  Memory memory;
  memory.add(0x8000, 512);
  const std::array runs{IovaSegment{0x1'0FFC, 4}, IovaSegment{0x2'0000, 4096},
                        IovaSegment{0x5'0000, 8200}};
  EXPECT_EQ(nvme::prp_count(runs, page), 5U);
  EXPECT_EQ(*nvme::build_prps(runs, memory.pages(), page),
            (nvme::Prps{.prp1 = 0x1'0FFC, .prp2 = 0x8000}));
  EXPECT_EQ(memory.at(0x8000), 0x2'0000U);
  EXPECT_EQ(memory.at(0x8008), 0x5'0000U);
  EXPECT_EQ(memory.at(0x8010), 0x5'1000U);
  EXPECT_EQ(memory.at(0x8018), 0x5'2000U);
}

TEST(Prp, AFullListPageHoldsAnEntryInItsLastPlace) {
  Memory memory;
  memory.add(0x8000, 512);
  EXPECT_TRUE(built(513 * page, memory).has_value());
  EXPECT_EQ(memory.at(0x8FF8), base + 512 * page);
  const std::array runs{IovaSegment{base, 100 * page}, IovaSegment{2 * base, 413 * page}};
  EXPECT_TRUE(nvme::build_prps(runs, memory.pages(), page).has_value());
  EXPECT_EQ(memory.at(0x8FF8), 2 * base + 412 * page);
}

TEST(Prp, AListThatGoesOnHoldsAPointerInItsLastPlace) {
  Memory memory;
  memory.add(0x8000, 512);
  memory.add(0x2'0000, 512);
  EXPECT_TRUE(built(514 * page, memory).has_value());
  EXPECT_EQ(memory.at(0x8FF0), base + 511 * page);
  EXPECT_EQ(memory.at(0x8FF8), 0x2'0000U);
  EXPECT_EQ(memory.at(0x2'0000), base + 512 * page);
  EXPECT_EQ(memory.at(0x2'0008), base + 513 * page);
  EXPECT_EQ(memory.at(0x2'0010), Memory::unwritten);
}

TEST(Prp, AListMayBeginInsideAPage) {
  Memory memory;
  memory.add(0x8FF0, 2);
  memory.add(0x2'0000, 512);
  const auto prps = built(4 * page, memory);
  EXPECT_EQ(*prps, (nvme::Prps{.prp1 = base, .prp2 = 0x8FF0}));
  EXPECT_EQ(memory.at(0x8FF0), base + page);
  EXPECT_EQ(memory.at(0x8FF8), 0x2'0000U);
  const auto walked = prp::walk(*prps, 4 * page, page, memory);
  EXPECT_TRUE(walked.result.has_value());
  EXPECT_EQ(walked.segments.back(), (IovaSegment{base + 3 * page, page}));
}

TEST(Prp, APartOfAPageInItsMiddleHoldsAListThatFits) {
  Memory memory;
  memory.add(0x8100, 4);
  EXPECT_TRUE(built(5 * page, memory).has_value());
  EXPECT_EQ(memory.at(0x8118), base + 4 * page);
  memory.add(0x2'0000, 512);
  EXPECT_EQ(built(6 * page, memory).error(), (PrpError{PrpReason::list_space, 0x8100}))
      << "a controller would look for the pointer at the end of the memory page";
}

TEST(Prp, AddressesThatPrpsCannotExpressAreRefused) {
  Memory memory;
  memory.add(0x8000, 512);
  const auto error_of = [&](std::vector<IovaSegment> runs) {
    return nvme::build_prps(runs, memory.pages(), page).error();
  };
  EXPECT_EQ(error_of({{0x1002, 4}}), (PrpError{PrpReason::misaligned, 0x1002}));
  EXPECT_EQ(error_of({{0x1004, 4096}, {0x3000, 4096}}), (PrpError{PrpReason::misaligned, 0x1004}))
      << "the first run ends inside a page";
  EXPECT_EQ(error_of({{0x1000, 4096}, {0x3004, 4096}}), (PrpError{PrpReason::misaligned, 0x3004}));
  EXPECT_EQ(error_of({{0x1000, 4096}, {0x3000, 4}, {0x5000, 4}}),
            (PrpError{PrpReason::misaligned, 0x3000}));
  EXPECT_EQ(error_of({{0x1000, 0}}), (PrpError{PrpReason::empty_run, 0x1000}));
  EXPECT_EQ(error_of({{0x1000, 4096}, {0x3000, 0}}), (PrpError{PrpReason::empty_run, 0x3000}));
}

TEST(Prp, TooFewListPagesAreRefused) {
  Memory memory;
  EXPECT_EQ(built(3 * page, memory).error(), (PrpError{PrpReason::list_space, 0}));
  memory.add(0x8000, 512);
  EXPECT_EQ(built(514 * page, memory).error(), (PrpError{PrpReason::list_space, 0x8000}));
  Memory empty;
  empty.add(0x8000, 0);
  EXPECT_EQ(built(3 * page, empty).error(), (PrpError{PrpReason::list_space, 0x8000}));
  Memory last_place;
  last_place.add(0x8FF8, 1);
  last_place.add(0x2'0000, 512);
  EXPECT_EQ(built(3 * page, last_place).error(), (PrpError{PrpReason::list_space, 0x8FF8}))
      << "a page for a pointer alone";
}

TEST(Prp, MisplacedListPagesAreRefused) {
  Memory odd;
  odd.add(0x8004, 8);
  EXPECT_EQ(built(3 * page, odd).error(), (PrpError{PrpReason::list_misaligned, 0x8004}));
  Memory across;
  across.add(0x8FF0, 3);
  EXPECT_EQ(built(3 * page, across).error(), (PrpError{PrpReason::list_misaligned, 0x8FF0}));
  Memory second;
  second.add(0x8000, 512);
  second.add(0x2'0008, 511);
  EXPECT_EQ(built(514 * page, second).error(), (PrpError{PrpReason::list_misaligned, 0x2'0008}));
}

TEST(Prp, AWalkOfShortTransfersReadsNoList) {
  Memory memory;
  const auto one = prp::walk({.prp1 = 0x1004, .prp2 = 0xBAD}, 4092, page, memory);
  EXPECT_TRUE(one.result.has_value());
  EXPECT_EQ(one.segments, (std::vector<IovaSegment>{{0x1004, 4092}}));
  const auto two = prp::walk({.prp1 = 0x1FFC, .prp2 = 0x7000}, 4100, page, memory);
  EXPECT_TRUE(two.result.has_value());
  EXPECT_EQ(two.segments, (std::vector<IovaSegment>{{0x1FFC, 4}, {0x7000, 4096}}));
  EXPECT_EQ(memory.reads, 0);
}

TEST(Prp, AWalkNamesAMisalignedEntry) {
  Memory memory;
  EXPECT_EQ(prp::walk({.prp1 = 0x1001}, 512, page, memory).result.error(),
            (PrpError{PrpReason::misaligned, 0x1001}));
  EXPECT_EQ(prp::walk({.prp1 = 0x1000, .prp2 = 0x2004}, 8192, page, memory).result.error(),
            (PrpError{PrpReason::misaligned, 0x2004}));
  memory.add(0x8000, 512);
  memory.set(0x8000, 0x2000);
  memory.set(0x8008, 0x3200);
  const auto walked = prp::walk({.prp1 = 0x1000, .prp2 = 0x8000}, 3 * page, page, memory);
  EXPECT_EQ(walked.result.error(), (PrpError{PrpReason::misaligned, 0x3200}));
  EXPECT_EQ(walked.segments.size(), 2U) << "the entries before it were visited";
}

TEST(Prp, AWalkNamesAListThatIsMisalignedOrUnreadable) {
  Memory memory;
  EXPECT_EQ(prp::walk({.prp1 = 0x1000, .prp2 = 0x8004}, 3 * page, page, memory).result.error(),
            (PrpError{PrpReason::list_misaligned, 0x8004}));
  EXPECT_EQ(prp::walk({.prp1 = 0x1000, .prp2 = 0x8000}, 3 * page, page, memory).result.error(),
            (PrpError{PrpReason::unreadable_list, 0x8000}));
  memory.add(0x8FF8, 1);
  memory.set(0x8FF8, 0x9008);
  EXPECT_EQ(prp::walk({.prp1 = 0x1000, .prp2 = 0x8FF8}, 3 * page, page, memory).result.error(),
            (PrpError{PrpReason::list_misaligned, 0x9008}));
  memory.set(0x8FF8, 0x9000);
  EXPECT_EQ(prp::walk({.prp1 = 0x1000, .prp2 = 0x8FF8}, 3 * page, page, memory).result.error(),
            (PrpError{PrpReason::unreadable_list, 0x9000}));
}

TEST(Prp, AWalkOfAListThatPointsToItselfEnds) {
  Memory memory;
  memory.add(0x8000, 512);
  for (std::uint64_t at = 0x8000; at != 0x9000; at += 8) memory.set(at, 0x8000);
  const std::uint64_t length_bytes = 5000ULL * page;
  const auto walked = prp::walk({.prp1 = 0x8000, .prp2 = 0x8000}, length_bytes, page, memory);
  EXPECT_TRUE(walked.result.has_value());
  EXPECT_EQ(walked.segments.size(), 5000U);
  EXPECT_LT(memory.reads, 100);
  // From the last place the first page holds nothing but the pointer.
  EXPECT_TRUE(
      prp::walk({.prp1 = 0x8000, .prp2 = 0x8FF8}, length_bytes, page, memory).result.has_value());
}

TEST(Prp, AControllersAnswerNamesTheKindOfError) {
  EXPECT_EQ(to_status_code(PrpReason::misaligned), nvme::StatusCode::prp_offset_invalid);
  EXPECT_EQ(to_status_code(PrpReason::list_misaligned), nvme::StatusCode::prp_offset_invalid);
  EXPECT_EQ(to_status_code(PrpReason::unreadable_list), nvme::StatusCode::data_transfer_error);
}

TEST(Prp, EachReasonHasAName) {
  wire::expect_names<PrpReason>({{0, "misaligned"},
                                 {1, "list_misaligned"},
                                 {2, "unreadable_list"},
                                 {3, "list_space"},
                                 {4, "empty_run"}},
                                255, "unknown PRP reason");
}

}  // namespace
