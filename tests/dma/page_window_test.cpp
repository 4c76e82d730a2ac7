// SPDX-License-Identifier: BSL-1.0
//
// Goal: no two runs of pages overlap, a run begins where it may, and every free run is found.
// Method: random takes and gives, against a set of pages.

#include <gtest/gtest.h>

#include <blkown/dma/detail/page_window.hpp>
#include <random>
#include <utility>
#include <vector>

namespace {

using blkown::dma::detail::PageWindow;

constexpr auto anywhere = [](std::uint64_t page) { return page; };

TEST(PageWindow, HasRunsOfAllPages) {
  PageWindow window;
  ASSERT_TRUE(window.reserve(130));
  std::uint64_t first = 7;
  EXPECT_FALSE(window.take(131, 5, anywhere, first));
  ASSERT_TRUE(window.take(130, 5, anywhere, first));
  EXPECT_EQ(first, 0U);
  EXPECT_FALSE(window.take(1, 5, anywhere, first));
  window.give(64, 2);
  ASSERT_TRUE(window.take(2, PageWindow::no_io, anywhere, first));
  EXPECT_EQ(first, 64U);
  EXPECT_EQ(window.count_staying(7), 2U);
  EXPECT_TRUE(window.could_take(64, anywhere)) << "before or behind the permanent pages";
  EXPECT_FALSE(window.could_take(65, anywhere));
  EXPECT_EQ(window.taken_count(), 130U);
  window.give(0, 130);
  EXPECT_EQ(window.count_staying(7), 0U);
  EXPECT_EQ(window.taken_count(), 0U);
}

// Goal: nothing is read behind the last word of a window of whole words. AddressSanitizer looks.
TEST(PageWindow, OfWholeWordsHasNothingBehindIt) {
  for (const std::uint64_t pages : {64U, 128U}) {
    PageWindow window;
    ASSERT_TRUE(window.reserve(pages));
    std::uint64_t first = 0;
    ASSERT_TRUE(window.take(pages, 5, anywhere, first));
    EXPECT_EQ(window.count_staying(5), pages);
    EXPECT_FALSE(window.could_take(1, anywhere));
    EXPECT_EQ(window.count_staying(6), 0U);
    EXPECT_TRUE(window.could_take(pages, anywhere));
  }
}

TEST(PageWindow, PagesOfOneOwnerStayWhenTheOthersEnd) {
  PageWindow window;
  ASSERT_TRUE(window.reserve(70));
  std::uint64_t first = 0;
  for (const PageWindow::Owner owner : {1U, 2U, 1U}) {
    ASSERT_TRUE(window.take(20, owner, anywhere, first));
  }
  EXPECT_EQ(window.count_staying(1), 40U);
  EXPECT_TRUE(window.could_take(20, anywhere)) << "those of the other one";
  EXPECT_FALSE(window.could_take(21, anywhere));
  EXPECT_EQ(window.count_staying(2), 20U);
  EXPECT_TRUE(window.could_take(30, anywhere));
  EXPECT_FALSE(window.could_take(31, anywhere));
  EXPECT_EQ(window.count_staying(3), 0U);
  EXPECT_TRUE(window.could_take(70, anywhere));
}

TEST(PageWindow, RunsOverlapNowhereAndFreeOnesAreFound) {
  std::mt19937 random{3};
  const auto below = [&](std::uint64_t bound) { return random() % bound; };
  for (const std::uint64_t pages : {1U, 63U, 64U, 65U, 200U}) {
    PageWindow window;
    ASSERT_TRUE(window.reserve(pages));
    std::vector<bool> taken(pages);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
    for (int round = 0; round != 20000; ++round) {
      const std::uint64_t unit = std::uint64_t{1} << below(3);
      const std::uint64_t count = 1 + below(unit);
      // A run does not cross a multiple of `unit` pages.
      const auto fit = [&](std::uint64_t page) {
        return page / unit == (page + count - 1) / unit ? page : (page / unit + 1) * unit;
      };
      std::uint64_t first = 0;
      if (window.take(count, static_cast<PageWindow::Owner>(below(2)), fit, first)) {
        ASSERT_LE(first + count, pages);
        ASSERT_EQ(fit(first), first);
        for (std::uint64_t page = first; page != first + count; ++page) {
          ASSERT_FALSE(taken[page]);
          taken[page] = true;
        }
        runs.emplace_back(first, count);
      } else {
        std::uint64_t fitting = 0;
        for (std::uint64_t at = 0; at + count <= pages; ++at) {
          bool is_free = fit(at) == at;
          for (std::uint64_t page = at; page != at + count; ++page) {
            is_free = is_free && !taken[page];
          }
          if (is_free) ++fitting;
        }
        ASSERT_EQ(fitting, 0U) << "a free run was not found";
      }
      while (!runs.empty() && below(2) == 0) {
        const std::size_t which = below(runs.size());
        window.give(runs[which].first, runs[which].second);
        for (std::uint64_t i = 0; i != runs[which].second; ++i)
          taken[runs[which].first + i] = false;
        std::swap(runs[which], runs.back());
        runs.pop_back();
      }
    }
    std::uint64_t sum = 0;
    for (const auto& run : runs) sum += run.second;
    EXPECT_EQ(window.taken_count(), sum);
  }
}

}  // namespace
