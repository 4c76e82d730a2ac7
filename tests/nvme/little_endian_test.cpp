// SPDX-License-Identifier: BSL-1.0
//
// Goal: an integer of the wire has its least significant byte first, whatever the host, and is used
// as the integer.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/ring_word.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <cstdint>
#include <type_traits>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme::Le16;
using nvme::Le32;
using nvme::Le64;

TEST(LittleEndian, PutsTheLeastSignificantByteFirst) {
  EXPECT_EQ(wire::bytes_of(Le16{0x0102}), (std::array<std::uint8_t, 2>{2, 1}));
  EXPECT_EQ(wire::bytes_of(Le32{0x01020304}), (std::array<std::uint8_t, 4>{4, 3, 2, 1}));
  EXPECT_EQ(wire::bytes_of(Le64{0x0102030405060708}),
            (std::array<std::uint8_t, 8>{8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(LittleEndian, IsUsedAsTheInteger) {
  Le32 value;
  EXPECT_EQ(value, 0U);
  value = 0x80000001;
  EXPECT_EQ(value.get(), 0x80000001U);
  EXPECT_EQ(value >> 31, 1U);
  EXPECT_TRUE(value == Le32{0x80000001});
  EXPECT_TRUE(value != 5);
  static_assert(Le64{7} + 1 == 8);
}

TEST(LittleEndian, IsAWordOfARing) {
  Le16 word = 0;
  blkown::dma::store_release(word, Le16{0xABCD});
  EXPECT_EQ(blkown::dma::load_acquire(word), 0xABCD);
}

static_assert(sizeof(Le16) == 2 && alignof(Le16) == 2);
static_assert(sizeof(Le64) == 8 && alignof(Le64) == alignof(std::uint64_t));
static_assert(std::is_trivially_copyable_v<Le32> && std::is_standard_layout_v<Le32>);
static_assert(!std::is_convertible_v<Le32, const char*>);

}  // namespace
