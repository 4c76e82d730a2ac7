// SPDX-License-Identifier: BSL-1.0
//
// Goal: build_prps and walk_prps agree with each other and with a plain reference, for random
// addresses, page sizes and list pages.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/nvme/prp.hpp>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "nvme/prp_memory.hpp"

namespace {

namespace nvme = blkown::nvme;
using prp::IovaSegment;
using prp::Memory;

using Random = std::mt19937_64;

std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

/// Runs that PRPs can express, `pages` pages in all: the first begins inside its page in two cases
/// of three, and the last ends inside its page as often.
std::vector<IovaSegment> random_runs(Random& random, std::uint64_t pages, std::uint32_t page) {
  std::vector<IovaSegment> runs;
  for (std::uint64_t left = pages; left != 0;) {
    const std::uint64_t size = 1 + below(random, std::min<std::uint64_t>(left, 40));
    runs.push_back({(1 + below(random, 1 << 20)) * page, size * page});
    left -= size;
  }
  if (below(random, 3) != 0) {
    const std::uint64_t offset = 4 * below(random, page / 4);
    runs.front().iova += offset;
    runs.front().length_bytes -= offset;
  }
  if (below(random, 3) != 0) {
    runs.back().length_bytes -=
        below(random, std::min<std::uint64_t>(runs.back().length_bytes, page));
  }
  return runs;
}

/// The reference: one piece for each memory page, found byte by page.
std::vector<IovaSegment> pieces_of(const std::vector<IovaSegment>& runs, std::uint32_t page) {
  std::vector<IovaSegment> pieces;
  for (const IovaSegment& run : runs) {
    std::uint64_t at = run.iova;
    const std::uint64_t end = run.iova + run.length_bytes;
    while (at != end) {
      const std::uint64_t next = std::min((at / page + 1) * page, end);
      pieces.push_back({at, next - at});
      at = next;
    }
  }
  return pieces;
}

/// Adds list pages for `entries` entries: the first one may be the end of a page.
void add_list_pages(Random& random, Memory& memory, std::uint64_t entries, std::uint32_t page) {
  const std::uint64_t in_page = page / 8;
  const std::uint64_t base = std::uint64_t{1} << 50;
  std::uint64_t skipped = below(random, 2) == 0 ? 0 : below(random, in_page - 1);
  for (std::uint64_t i = 0; entries != 0; ++i) {
    const std::uint64_t size = in_page - skipped;
    memory.add(base + (7 * i % 1000 + 1000 * (i / 1000)) * page + skipped * 8, size);
    entries -= entries <= size ? entries : size - 1;
    skipped = 0;
  }
}

/// The reference of the list: the entries in order, and a pointer in the last place of each list
/// page but the last.
void expect_list(const Memory& memory, nvme::Prps prps, const std::vector<IovaSegment>& pieces) {
  std::uint64_t at = prps.prp2;
  std::size_t list_page = 0;
  for (std::size_t i = 1; i != pieces.size(); ++i) {
    const auto& entries = memory.pages()[list_page].entries;
    const std::uint64_t end = memory.pages()[list_page].iova + entries.size_bytes();
    if (at + 8 == end && i + 1 != pieces.size()) {
      ++list_page;
      ASSERT_EQ(memory.at(at), memory.pages()[list_page].iova);
      at = memory.pages()[list_page].iova;
    }
    ASSERT_EQ(memory.at(at), pieces[i].iova) << "entry " << i;
    at += 8;
  }
  EXPECT_EQ(list_page + 1, memory.pages().size()) << "list pages were left over";
}

void expect_round_trip(Random& random) {
  const std::uint32_t page = 4096U << below(random, 4);
  const std::uint64_t pages = 1 + below(random, below(random, 4) == 0 ? 6 * page / 8 : 12);
  const auto runs = random_runs(random, pages, page);
  const auto pieces = pieces_of(runs, page);
  std::uint64_t length_bytes = 0;
  for (const IovaSegment& run : runs) length_bytes += run.length_bytes;

  ASSERT_EQ(nvme::prp_count(runs, page), pieces.size());
  Memory memory;
  if (pieces.size() > 2) add_list_pages(random, memory, pieces.size() - 1, page);
  if (!memory.pages().empty() && memory.pages()[0].iova % page == 0) {
    ASSERT_EQ(nvme::prp_list_pages(pieces.size(), page), memory.pages().size());
  }

  const auto prps = nvme::build_prps(runs, memory.pages(), page);
  ASSERT_TRUE(prps.has_value()) << to_string(prps.error().reason);
  EXPECT_EQ(prps->prp1, runs[0].iova);
  if (pieces.size() == 2) {
    EXPECT_EQ(prps->prp2, pieces[1].iova);
  }
  if (pieces.size() > 2) expect_list(memory, *prps, pieces);

  const auto walked = prp::walk(*prps, length_bytes, page, memory);
  ASSERT_TRUE(walked.result.has_value());
  EXPECT_EQ(walked.segments, pieces);
}

TEST(PrpRandom, WhatIsBuiltIsWhatIsWalked) {
  for (std::uint64_t seed = 0; seed != 500; ++seed) {
    Random random{seed};
    expect_round_trip(random);
    ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
  }
}

/// One wrong list page fewer is never enough: prp_list_pages is exact.
TEST(PrpRandom, OneListPageFewerIsRefused) {
  for (std::uint64_t seed = 0; seed != 100; ++seed) {
    Random random{seed};
    const auto runs = random_runs(random, 3 + below(random, 3000), 4096);
    const std::uint64_t needed = nvme::prp_list_pages(nvme::prp_count(runs, 4096), 4096);
    if (needed == 0) continue;
    Memory memory;
    for (std::uint64_t i = 1; i < needed; ++i) memory.add(i << 20, 512);
    EXPECT_EQ(nvme::build_prps(runs, memory.pages(), 4096).error().reason,
              nvme::PrpReason::list_space)
        << "seed " << seed;
    memory.add(needed << 20, 512);
    EXPECT_TRUE(nvme::build_prps(runs, memory.pages(), 4096).has_value()) << "seed " << seed;
  }
}

/// What is wrong with random entries is found, and the walk ends, within the length and the memory.
TEST(PrpRandom, AWalkOfRandomEntriesStaysWithinTheLength) {
  for (std::uint64_t seed = 0; seed != 500; ++seed) {
    Random random{seed};
    const std::uint64_t first_page = 0x10'0000;
    Memory memory;
    for (std::uint64_t i = 0; i != 4; ++i) memory.add(first_page + i * 4096, 512);
    for (std::uint64_t at = first_page; at != first_page + 4 * 4096; at += 8) {
      // Mostly addresses of the lists themselves, so that pointers lead to lists.
      const std::uint64_t any = below(random, 200) == 0 ? random() : below(random, 4) * 4096;
      memory.set(at, first_page + any);
    }
    const std::uint64_t length_bytes = below(random, 8'000'000);
    const nvme::Prps prps{.prp1 = 4 * below(random, 1 << 20),
                          .prp2 = first_page + 8 * below(random, 4 * 512)};
    const auto walked = prp::walk(prps, length_bytes, 4096, memory);
    std::uint64_t visited_bytes = 0;
    for (const IovaSegment& segment : walked.segments) {
      EXPECT_EQ(segment.iova / 4096, (segment.iova + segment.length_bytes - 1) / 4096);
      visited_bytes += segment.length_bytes;
    }
    EXPECT_EQ(visited_bytes == length_bytes, walked.result.has_value()) << "seed " << seed;
    EXPECT_LE(visited_bytes, length_bytes) << "seed " << seed;
    EXPECT_LE(memory.reads, static_cast<int>(3 + length_bytes / 4096)) << "seed " << seed;
  }
}

}  // namespace
