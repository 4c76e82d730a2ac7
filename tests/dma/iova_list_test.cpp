// SPDX-License-Identifier: BSL-1.0
//
// Goal: a list is free before and after its mapping, and is in use during it.

#include <gtest/gtest.h>

#include <blkown/dma/iova_list.hpp>
#include <type_traits>

#include "dma/fake_backend.hpp"

namespace {

namespace dma = blkown::dma;

TEST(IovaList, ANewOneIsFreeAndEmpty) {
  const dma::IovaList<3> list;
  EXPECT_TRUE(list.is_free());
  EXPECT_EQ(list.capacity(), 3U);
  EXPECT_TRUE(list.segments().empty());
}

TEST(IovaList, IsFreeAgainWhenItsMappingIsOver) {
  fake::Rig rig;
  auto claim = rig.unpublished();
  {
    const auto prepared = rig.prepared(claim);
    EXPECT_FALSE(claim.data().iovas.is_free());
    EXPECT_EQ(claim.data().iovas.segments().size(), 1U);
    EXPECT_EQ(prepared.segments().data(), claim.data().iovas.segments().data());
  }
  EXPECT_TRUE(claim.data().iovas.is_free());
  EXPECT_TRUE(claim.data().iovas.segments().empty());
  std::move(claim).end_ok();
}

static_assert(!std::is_copy_constructible_v<dma::IovaList<3>>);
static_assert(!std::is_move_constructible_v<dma::IovaList<3>>, "a mapping points to it");
static_assert(sizeof(dma::IovaList<2>) - sizeof(dma::IovaList<1>) ==
                  sizeof(dma::IovaSegment) + 2 * sizeof(void*),
              "an element costs an address, a length and where its bytes are");

}  // namespace
