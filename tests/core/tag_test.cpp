// SPDX-License-Identifier: BSL-1.0
//
// Tags, generations, reasons and cookie layouts as values. generation_wrap_test.cpp tests lookups
// at a layout's wrap.

#include <gtest/gtest.h>

#include <blkown/tag.hpp>
#include <cstdint>
#include <set>
#include <string>
#include <type_traits>

using blkown::CookieField;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Tag;

TEST(LookupReason, EachHasANameOfItsOwn) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < blkown::lookup_reason_count; ++i) {
    const std::string name = to_string(static_cast<LookupReason>(i));
    EXPECT_NE(name, "unknown reason") << i;
    names.insert(name);
  }
  EXPECT_EQ(names.size(), blkown::lookup_reason_count);
  EXPECT_STREQ(to_string(static_cast<LookupReason>(blkown::lookup_reason_count)), "unknown reason");
}

// Goal: the enumerators are in the documented order, in which lookups test.
TEST(LookupReason, StandsInTheOrderOfTheTests) {
  using enum LookupReason;
  constexpr LookupReason order[] = {none,    no_such_queue,    no_such_tag, wrong_queue,
                                    early,   stale_generation, owned,       idle,
                                    claimed, saturated,        shared};
  static_assert(std::size(order) == blkown::lookup_reason_count);
  for (std::size_t i = 0; i < std::size(order); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(order[i]), i) << to_string(order[i]);
  }
}

TEST(CookieField, GetsBackWhatItPut) {
  constexpr CookieField field{.shift = 12, .bits = 4};
  EXPECT_EQ(field.max(), 15U);
  EXPECT_EQ(field.mask(), 0xF000U);
  EXPECT_EQ(field.put(9), 0x9000U);
  EXPECT_EQ(field.get(0xABCD'9FFF), 9U);
}

TEST(CookieField, CutsWhatIsWiderThanItself) {
  constexpr CookieField field{.shift = 4, .bits = 3};
  EXPECT_EQ(field.put(0b11010), 0b010U << 4);
}

// Goal: a field as wide as the integer causes no undefined shift.
TEST(CookieField, MayFillTheWholeInteger) {
  constexpr CookieField field{.shift = 0, .bits = 64};
  static_assert(field.max() == ~std::uint64_t{0});
  static_assert(field.mask() == ~std::uint64_t{0});
  static_assert(field.get(field.put(0x0123'4567'89AB'CDEF)) == 0x0123'4567'89AB'CDEF);
  constexpr CookieField top{.shift = 63, .bits = 1};
  static_assert(top.mask() == std::uint64_t{1} << 63 && top.get(top.put(1)) == 1);
  EXPECT_EQ(top.put(2), 0U);
}

TEST(CookieField, AbsentCarriesNothingWhereverItsShiftPoints) {
  constexpr CookieField absent{.shift = 64, .bits = 0};
  static_assert(absent.max() == 0 && absent.mask() == 0);
  static_assert(absent.put(~std::uint64_t{0}) == 0 && absent.get(~std::uint64_t{0}) == 0);
  EXPECT_EQ(absent, (CookieField{64, 0}));
}

TEST(CookieLayout, NvmeHasTheTagLowAndTheGenerationInTheTopFourBits) {
  constexpr CookieLayout layout = CookieLayout::nvme();
  EXPECT_EQ(layout.encode(QueueIndex{3}, Tag{0xABC}, Generation{0x15}), 0x5ABCU);
  EXPECT_EQ(layout.width_bits, 16);
  EXPECT_EQ(layout.stray_mask(), ~std::uint64_t{0xFFFF});
  EXPECT_TRUE(layout.all_ones_reserved);
}

TEST(CookieLayout, NbdHasTagQueueAndTheWholeGeneration) {
  constexpr CookieLayout layout = CookieLayout::nbd();
  EXPECT_EQ(layout.encode(QueueIndex{0x1234}, Tag{0xABCD}, Generation{0x9876}),
            0x0000'9876'1234'ABCDU);
  EXPECT_EQ(layout.generation.bits, BLKOWN_WORD_BITS / 2);
  EXPECT_EQ(layout.stray_mask(), BLKOWN_WORD_BITS == 64 ? 0U : 0xFFFF'0000'0000'0000U);
  EXPECT_TRUE(layout.all_ones_reserved);
}

TEST(CookieLayout, IoUringHasUserBitsBetweenQueueAndGeneration) {
  constexpr CookieLayout layout = CookieLayout::io_uring();
  const std::uint64_t value = layout.encode(QueueIndex{0x12}, Tag{0xABCD}, Generation{0x9876});
  EXPECT_EQ(value, 0x0000'9876'0012'ABCDU);
  EXPECT_EQ(layout.with_user(value, 0x34), 0x0000'9876'3412'ABCDU);
  EXPECT_EQ(layout.generation.bits, BLKOWN_WORD_BITS / 2);
  EXPECT_TRUE(layout.all_ones_reserved) << "the kernel's LIBURING_UDATA_TIMEOUT";
}

TEST(CookieLayout, UserBitsComeBackAndLeaveTheRestAlone) {
  constexpr CookieLayout layout = CookieLayout::io_uring();
  const std::uint64_t value = layout.encode(QueueIndex{7}, Tag{99}, Generation{1000});
  for (std::uint64_t user = 0; user <= layout.user.max(); ++user) {
    const std::uint64_t marked = layout.with_user(layout.with_user(value, 0xA5), user);
    EXPECT_EQ(layout.user_of(marked), user);
    EXPECT_EQ(marked & ~layout.user.mask(), value);
  }
}

TEST(CookieLayout, CutsUserBitsToTheirField) {
  constexpr CookieLayout layout = CookieLayout::io_uring();
  EXPECT_EQ(layout.with_user(0, 0x1FF), layout.with_user(0, 0xFF));
  // Without a user field, with_user changes nothing and user_of returns 0.
  EXPECT_EQ(CookieLayout::nbd().with_user(0x77, 0xFF), 0x77U);
  EXPECT_EQ(CookieLayout::nbd().user_of(~std::uint64_t{0}), 0U);
}

// Goal: a value wider than its field is cut and does not change the neighbouring fields.
TEST(CookieLayout, CutsEachFieldToItself) {
  constexpr CookieLayout layout{.width_bits = 16,
                                .queue = {.shift = 4, .bits = 4},
                                .tag = {.shift = 0, .bits = 4},
                                .generation = {.shift = 8, .bits = 4},
                                .user = {.shift = 12, .bits = 4}};
  EXPECT_EQ(layout.encode(QueueIndex{0x1F}, Tag{0x2E}, Generation{0x3D}), 0x0DFEU);
  EXPECT_EQ(layout.stray_mask(), ~std::uint64_t{0xFFFF});
}

// Goal: a lookup's queue and value cannot be swapped, nor a queue and a tag.
TEST(QueueIndex, ConvertsToAndFromNothing) {
  EXPECT_FALSE((std::is_convertible_v<std::uint32_t, QueueIndex>));
  EXPECT_FALSE((std::is_convertible_v<QueueIndex, std::uint64_t>));
  EXPECT_FALSE((std::is_constructible_v<QueueIndex, Tag>));
  EXPECT_FALSE((std::is_constructible_v<Tag, QueueIndex>));
  EXPECT_EQ(QueueIndex{7}.value, 7U);
  EXPECT_EQ(QueueIndex{}, QueueIndex{0});
}

TEST(Tag, AndQueueIndexAndGenerationCompareByValue) {
  EXPECT_LT(QueueIndex{1}, QueueIndex{2});
  EXPECT_LT(Tag{1}, Tag{2});
  EXPECT_EQ(Generation{5}, Generation{5});
  EXPECT_NE(Generation{5}, Generation{6});
}

static_assert(CookieLayout::widest_generation_bits == BLKOWN_WORD_BITS / 2);
