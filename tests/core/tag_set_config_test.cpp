// SPDX-License-Identifier: BSL-1.0
//
// The configurations and layouts that a TagSet accepts, and the errors for the others.
// tag_set_storage_test.cpp tests the errors that depend on memory.

#include <gtest/gtest.h>

#include <blkown/tag_set_config.hpp>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

using blkown::CookieField;
using blkown::CookieLayout;
using blkown::TagSetConfig;
using blkown::TagSetError;
using blkown::TagSetReason;
using blkown::detail::check_config;

namespace {

constexpr std::uint32_t max_queues = 65536;
constexpr std::uint64_t max_requests = std::uint64_t{1} << 31;

/// 16 bits in four fields of four: user, queue, generation, tag. No bit is unused.
constexpr CookieLayout full{.width_bits = 16,
                            .queue = {.shift = 8, .bits = 4},
                            .tag = {.shift = 0, .bits = 4},
                            .generation = {.shift = 4, .bits = 4},
                            .user = {.shift = 12, .bits = 4}};

constexpr TagSetConfig config_of(const CookieLayout& layout, std::uint32_t queue_count = 2,
                                 std::uint32_t depth = 8) {
  return {.queue_count = queue_count, .depth = depth, .layout = layout, .first_generation = {}};
}

template <class Change>
constexpr CookieLayout changed(Change change) {
  CookieLayout layout = full;
  change(layout);
  return layout;
}

::testing::AssertionResult is_error(const std::optional<TagSetError>& error, TagSetReason reason,
                                    std::uint64_t given, std::uint64_t limit) {
  if (!error.has_value()) return ::testing::AssertionFailure() << "the configuration was accepted";
  if (*error == TagSetError{reason, given, limit}) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << to_string(error->reason) << ", given " << error->given << ", limit " << error->limit;
}

}  // namespace

TEST(TagSetConfig, AcceptsTheLayoutsThatComeWithTheLibrary) {
  for (const CookieLayout& layout :
       {CookieLayout::nvme(), CookieLayout::nbd(), CookieLayout::io_uring(), full}) {
    EXPECT_FALSE(check_config(config_of(layout)).has_value());
  }
}

TEST(TagSetConfig, IsCheckedAtCompileTimeToo) {
  static_assert(!check_config(config_of(CookieLayout::nvme())).has_value());
  static_assert(check_config(config_of(CookieLayout::nvme(), 0)).has_value());
  EXPECT_EQ(TagSetConfig{}.queue_count, 1U);
}

TEST(TagSetConfig, NeedsAQueue) {
  EXPECT_TRUE(is_error(check_config(config_of(CookieLayout::nbd(), 0)), TagSetReason::no_queues, 0,
                       max_queues));
}

TEST(TagSetConfig, LimitsTheQueues) {
  EXPECT_FALSE(check_config(config_of(CookieLayout::nvme(), max_queues)).has_value());
  EXPECT_TRUE(is_error(check_config(config_of(CookieLayout::nvme(), max_queues + 1)),
                       TagSetReason::too_many_queues, max_queues + 1, max_queues));
}

TEST(TagSetConfig, NeedsADepth) {
  EXPECT_TRUE(is_error(check_config(config_of(CookieLayout::nbd(), 1, 0)), TagSetReason::no_depth,
                       0, max_requests));
}

TEST(TagSetConfig, LimitsTheDepth) {
  constexpr CookieLayout wide{
      .width_bits = 64, .queue = {}, .tag = {0, 32}, .generation = {32, 8}, .user = {}};
  EXPECT_FALSE(check_config(config_of(wide, 1, 1U << 31)).has_value());
  EXPECT_TRUE(is_error(check_config(config_of(wide, 1, (1U << 31) + 1)), TagSetReason::too_deep,
                       max_requests + 1, max_requests));
}

TEST(TagSetConfig, LeavesARequestThatIsNotReserved) {
  TagSetConfig config = config_of(CookieLayout::nbd(), 1, 4);
  config.reserved_depth = 3;
  EXPECT_FALSE(check_config(config).has_value());
  config.reserved_depth = 4;
  EXPECT_TRUE(is_error(check_config(config), TagSetReason::all_reserved, 4, 3));
}

TEST(TagSetConfig, LimitsTheLayoutsWidth) {
  for (const std::uint8_t width : {std::uint8_t{0}, std::uint8_t{65}, std::uint8_t{255}}) {
    const auto layout = changed([&](CookieLayout& l) { l.width_bits = width; });
    EXPECT_TRUE(is_error(check_config(config_of(layout)), TagSetReason::bad_width, width, 64));
  }
}

TEST(TagSetConfig, KeepsEveryFieldWithinTheWidth) {
  const CookieLayout layouts[] = {
      changed([](CookieLayout& l) { l.queue = {.shift = 13, .bits = 4}; }),
      changed([](CookieLayout& l) { l.tag = {.shift = 13, .bits = 4}; }),
      changed([](CookieLayout& l) { l.generation = {.shift = 13, .bits = 4}; }),
      changed([](CookieLayout& l) { l.user = {.shift = 13, .bits = 4}; }),
  };
  for (const CookieLayout& layout : layouts) {
    EXPECT_TRUE(
        is_error(check_config(config_of(layout)), TagSetReason::field_outside_width, 17, 16));
  }
}

// Goal: the check itself shifts by less than the integer's width.
TEST(TagSetConfig, RefusesAFieldFarOutside) {
  const auto layout = changed([](CookieLayout& l) { l.user = {.shift = 255, .bits = 255}; });
  EXPECT_TRUE(
      is_error(check_config(config_of(layout)), TagSetReason::field_outside_width, 510, 16));
}

TEST(TagSetConfig, LetsNoTwoFieldsShareABit) {
  constexpr CookieField CookieLayout::* fields[] = {&CookieLayout::queue, &CookieLayout::tag,
                                                    &CookieLayout::generation, &CookieLayout::user};
  for (const auto one : fields) {
    for (const auto other : fields) {
      if (one == other) continue;
      const auto layout = changed([&](CookieLayout& l) { (l.*one).shift = (l.*other).shift; });
      const auto error = check_config(config_of(layout));
      ASSERT_TRUE(error.has_value());
      EXPECT_EQ(error->reason, TagSetReason::fields_overlap);
      EXPECT_EQ(error->given, (layout.*one).mask());
      EXPECT_EQ(error->given & ~error->limit, error->given) << "limit is the number of free bits";
    }
  }
}

TEST(TagSetConfig, IgnoresWhereAnAbsentFieldPoints) {
  const auto layout = changed([](CookieLayout& l) {
    l.user = {.shift = 200, .bits = 0};
    l.queue = {.shift = 0, .bits = 0};
  });
  EXPECT_FALSE(check_config(config_of(layout)).has_value());
}

TEST(TagSetConfig, LimitsTheGenerationFieldToTheWords) {
  constexpr std::uint8_t most = CookieLayout::widest_generation_bits;
  CookieLayout layout{
      .width_bits = 64, .queue = {}, .tag = {0, 8}, .generation = {8, most}, .user = {}};
  EXPECT_FALSE(check_config(config_of(layout)).has_value());
  layout.generation.bits = most + 1;
  EXPECT_TRUE(is_error(check_config(config_of(layout)), TagSetReason::generation_field_too_wide,
                       most + 1, most));
}

TEST(TagSetConfig, NeedsAQueueFieldThatNamesEveryQueue) {
  EXPECT_FALSE(check_config(config_of(full, 16)).has_value());
  EXPECT_TRUE(
      is_error(check_config(config_of(full, 17)), TagSetReason::queue_field_too_narrow, 17, 16));
  // Without a queue field any number of queues is accepted.
  const auto none = changed([](CookieLayout& l) { l.queue = {}; });
  EXPECT_FALSE(check_config(config_of(none, 17)).has_value());
}

TEST(TagSetConfig, NeedsATagFieldThatNamesEveryTag) {
  EXPECT_FALSE(check_config(config_of(full, 2, 16)).has_value());
  EXPECT_TRUE(
      is_error(check_config(config_of(full, 2, 17)), TagSetReason::tag_field_too_narrow, 17, 16));
  const auto none = changed([](CookieLayout& l) { l.tag = {}; });
  EXPECT_FALSE(check_config(config_of(none, 2, 1)).has_value()) << "one tag needs no field";
  EXPECT_TRUE(
      is_error(check_config(config_of(none, 2, 2)), TagSetReason::tag_field_too_narrow, 2, 1));
}

TEST(TagSetConfig, KeepsAllOnesFree) {
  EXPECT_FALSE(check_config(config_of(CookieLayout::nvme(), 1, 4095)).has_value());
  EXPECT_TRUE(is_error(check_config(config_of(CookieLayout::nvme(), 1, 4096)),
                       TagSetReason::all_ones_in_use, 4096, 4095));
  EXPECT_TRUE(
      is_error(check_config(config_of(full, 16, 16)), TagSetReason::all_ones_in_use, 16, 15));
}

TEST(TagSetConfig, AllOnesIsFreeWhereOneFieldNeverHasThem) {
  EXPECT_FALSE(check_config(config_of(full, 15, 16)).has_value())
      << "the last queue does not exist";
  EXPECT_FALSE(check_config(config_of(full, 16, 15)).has_value()) << "the last tag does not exist";
  const auto gap = changed([](CookieLayout& l) { l.user = {}; });
  EXPECT_FALSE(check_config(config_of(gap, 16, 16)).has_value()) << "one bit is always zero";
  const auto unreserved = changed([](CookieLayout& l) { l.all_ones_reserved = false; });
  EXPECT_FALSE(check_config(config_of(unreserved, 16, 16)).has_value());
}

TEST(TagSetConfig, EachReasonHasATextOfItsOwn) {
  std::set<std::string> texts;
  for (std::size_t i = 0; i != blkown::tag_set_reason_count; ++i) {
    texts.insert(to_string(static_cast<TagSetReason>(i)));
  }
  EXPECT_EQ(texts.size(), blkown::tag_set_reason_count);
  EXPECT_FALSE(texts.contains("unknown reason"));
  EXPECT_STREQ(to_string(static_cast<TagSetReason>(99)), "unknown reason");
}
