// SPDX-License-Identifier: BSL-1.0
//
// Goal: the codec, whose masks are computed in advance, agrees with the layout on every value.

#include <gtest/gtest.h>

#include <array>
#include <blkown/detail/cookie_codec.hpp>
#include <cstdint>
#include <random>

using blkown::Cookie;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::Tag;
using blkown::detail::CookieCodec;

namespace {

constexpr std::array tried_layouts{
    CookieLayout::nvme(), CookieLayout::nbd(), CookieLayout::io_uring(),
    // Only a tag, in the lowest bits and in the highest bits.
    CookieLayout{.width_bits = 8, .queue = {}, .tag = {0, 8}, .generation = {}, .user = {}},
    CookieLayout{.width_bits = 64, .queue = {}, .tag = {32, 32}, .generation = {}, .user = {}},
    // Gaps between all fields, absent fields with a shift, a single generation bit at the top.
    CookieLayout{
        .width_bits = 64, .queue = {2, 5}, .tag = {10, 9}, .generation = {63, 1}, .user = {30, 7}},
    CookieLayout{.width_bits = 64,
                 .queue = {64, 0},
                 .tag = {1, 10},
                 .generation = {64, 0},
                 .user = {64, 0}}};

class CookieCodecOf : public testing::TestWithParam<CookieLayout> {
 protected:
  CookieLayout layout_ = GetParam();
  CookieCodec codec_{layout_};
  std::mt19937_64 random_{20240};
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Layouts, CookieCodecOf, testing::ValuesIn(tried_layouts));

TEST_P(CookieCodecOf, MakesTheLayoutsCookie) {
  for (int i = 0; i < 1000; ++i) {
    const blkown::QueueIndex queue{static_cast<std::uint32_t>(random_())};
    const Tag tag{static_cast<std::uint32_t>(random_())};
    const Generation generation{static_cast<std::uint32_t>(random_())};
    const Cookie cookie = codec_.cookie(queue, tag, generation);
    EXPECT_EQ(cookie.value, layout_.encode(queue, tag, generation));
    EXPECT_EQ(cookie.queue, queue);
    EXPECT_EQ(cookie.tag, tag);
    EXPECT_EQ(cookie.generation, generation);
  }
}

TEST_P(CookieCodecOf, TakesAnyValueApartAsTheLayoutDoes) {
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = i == 0 ? ~std::uint64_t{0} : random_();
    EXPECT_EQ(codec_.tag(value), layout_.tag.get(value));
    EXPECT_EQ(codec_.generation(value).value, layout_.generation.get(value));
    EXPECT_EQ(codec_.has_stray_bits(value), (value & layout_.stray_mask()) != 0);
    EXPECT_EQ(codec_.queue(value, blkown::QueueIndex{6}),
              layout_.queue.bits == 0 ? 6 : layout_.queue.get(value));
  }
}

TEST_P(CookieCodecOf, SeesEachStrayBit) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t value = std::uint64_t{1} << bit;
    const std::uint64_t used =
        layout_.queue.mask() | layout_.tag.mask() | layout_.generation.mask() | layout_.user.mask();
    EXPECT_EQ(codec_.has_stray_bits(value), (used & value) == 0) << bit;
  }
}

TEST_P(CookieCodecOf, MatchesAsManyBitsAsTheLayoutHas) {
  using Match = blkown::detail::GenerationMatch<blkown::Word>;
  for (const std::uint32_t generation : {0U, 1U, 0xFU, 0xFFFFU, 0xFFFF'FFFFU, 0x1234'5678U}) {
    const Match match = codec_.match(Generation{generation});
    const Match expected = Match::low_bits(Generation{generation}, layout_.generation.bits);
    EXPECT_EQ(match.wanted, expected.wanted) << generation;
    EXPECT_EQ(match.mask, expected.mask) << generation;
  }
}
