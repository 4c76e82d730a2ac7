// SPDX-License-Identifier: BSL-1.0
//
// Tests of Bio, BioList and Op.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/bio.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using mq::Bio;
using mq::Op;
using mq::detail::BioList;

std::vector<std::byte> bio_memory(4096);

TEST(Bio, SaysWhatItWasMadeFrom) {
  int argument = 0;
  const Bio bio =
      Bio::write(7, Segment{bio_memory.data(), 1024}, {nullptr, &argument}, {.fua = true});
  EXPECT_EQ(bio.op(), Op::write);
  EXPECT_EQ(bio.sector(), 7U);
  EXPECT_EQ(bio.length_bytes(), 1024U);
  EXPECT_EQ(bio.flags(), (mq::IoFlags{.fua = true}));
  EXPECT_EQ(bio.argument(), &argument);
  EXPECT_EQ(bio.status(), blkown::Status::ok);
  EXPECT_FALSE(bio.is_in_flight());
}

TEST(Bio, RemembersOneSegmentItself) {
  const Bio bio = Bio::read(0, Segment{bio_memory.data(), 512}, {});
  ASSERT_EQ(bio.segments().size(), 1U);
  EXPECT_EQ(bio.segments()[0], (Segment{bio_memory.data(), 512}));
  EXPECT_NE(static_cast<const void*>(bio.segments().data()),
            static_cast<const void*>(bio_memory.data()));
}

TEST(Bio, RefersToAnArrayOfSeveral) {
  const std::vector<Segment> parts{{bio_memory.data(), 512}, {bio_memory.data() + 2048, 1024}};
  const Bio bio = Bio::read(0, parts, {});
  EXPECT_EQ(bio.segments().data(), parts.data());
  EXPECT_EQ(bio.segments().size(), 2U);
  EXPECT_EQ(bio.length_bytes(), 1536U);
}

TEST(Bio, OfARangeHasALengthAndNoMemory) {
  EXPECT_EQ(Bio::discard(1, 1 << 20, {}).length_bytes(), 1U << 20);
  EXPECT_EQ(Bio::write_zeroes(1, 4096, {}).op(), Op::write_zeroes);
  EXPECT_EQ(Bio::flush({}).length_bytes(), 0U);
  EXPECT_EQ(Bio::zone(Op::zone_close, 512, {}).sector(), 512U);
}

/// Everything that a submitter can read of a bio, except its own copy of a segment's address.
void expect_same(const Bio& bio, const Bio& made) {
  EXPECT_EQ(bio.op(), made.op());
  EXPECT_EQ(bio.flags(), made.flags());
  EXPECT_EQ(bio.sector(), made.sector());
  EXPECT_EQ(bio.written_sector(), made.written_sector());
  EXPECT_EQ(bio.length_bytes(), made.length_bytes());
  EXPECT_TRUE(std::ranges::equal(bio.segments(), made.segments()));
  EXPECT_EQ(bio.status(), made.status());
  EXPECT_EQ(bio.argument(), made.argument());
}

TEST(Bio, WithoutAnOperationDescribesAReadOfNothing) {
  const Bio bio;
  EXPECT_EQ(bio.op(), Op::read);
  EXPECT_EQ(bio.length_bytes(), 0U);
  EXPECT_EQ(bio.segments()[0], Segment{});
  EXPECT_EQ(bio.argument(), nullptr);
  EXPECT_FALSE(bio.is_in_flight());
}

// Goal: a set function makes of any bio what the function that makes a bio returns, and nothing of
// the bio before is left, its results included.
TEST(Bio, IsMadeAnotherIoInPlace) {
  const Segment one{bio_memory.data(), 512};
  const std::vector<Segment> parts{{bio_memory.data(), 512}, {bio_memory.data() + 2048, 1024}};
  int argument = 0;
  const mq::OnEnd<Bio> on_end{nullptr, &argument};
  const mq::IoFlags flags{.fua = true};
  Bio bio;
  const auto use = [&] {
    mq::detail::BioAccess::begin(bio, "disk", {});
    auto& progress = mq::detail::BioAccess::progress(bio);
    progress.written_sector = 99;
    progress.done_bytes = 512;
    mq::detail::BioAccess::state(bio).fail(blkown::Status::io_error);
    mq::detail::BioAccess::finish(bio);
    EXPECT_EQ(bio.status(), blkown::Status::io_error);
  };
  use();
  bio.set_read(1, one, on_end, flags);
  expect_same(bio, Bio::read(1, one, on_end, flags));
  EXPECT_EQ(mq::detail::BioAccess::progress(bio).done_bytes, 0U);
  use();
  bio.set_read(2, parts, on_end, flags);
  expect_same(bio, Bio::read(2, parts, on_end, flags));
  use();
  bio.set_write(3, one, on_end, flags);
  expect_same(bio, Bio::write(3, one, on_end, flags));
  use();
  bio.set_write(4, parts, on_end, flags);
  expect_same(bio, Bio::write(4, parts, on_end, flags));
  use();
  bio.set_zone_append(5, parts, on_end, flags);
  expect_same(bio, Bio::zone_append(5, parts, on_end, flags));
  use();
  bio.set_flush(on_end, flags);
  expect_same(bio, Bio::flush(on_end, flags));
  use();
  bio.set_discard(6, 4096, on_end, flags);
  expect_same(bio, Bio::discard(6, 4096, on_end, flags));
  use();
  bio.set_write_zeroes(7, 8192, on_end, flags);
  expect_same(bio, Bio::write_zeroes(7, 8192, on_end, flags));
  use();
  bio.set_zone(Op::zone_reset, 8, on_end, flags);
  expect_same(bio, Bio::zone(Op::zone_reset, 8, on_end, flags));
}

TEST(Bio, IsMovedWithItsResults) {
  int argument = 0;
  Bio bio = Bio::write(7, Segment{bio_memory.data(), 512}, {nullptr, &argument}, {.fua = true});
  mq::detail::BioAccess::begin(bio, "disk", {});
  mq::detail::BioAccess::state(bio).fail(blkown::Status::no_space);
  mq::detail::BioAccess::finish(bio);
  Bio moved{std::move(bio)};
  EXPECT_EQ(moved.status(), blkown::Status::no_space);
  EXPECT_EQ(moved.sector(), 7U);
  EXPECT_EQ(moved.flags(), (mq::IoFlags{.fua = true}));
  EXPECT_EQ(moved.argument(), &argument);
  // The bio's own copy of the segment moves with it.
  EXPECT_EQ(moved.segments()[0], (Segment{bio_memory.data(), 512}));
  EXPECT_GE(static_cast<const void*>(moved.segments().data()), static_cast<const void*>(&moved));
  EXPECT_LT(static_cast<const void*>(moved.segments().data()),
            static_cast<const void*>(&moved + 1));
  expect_same(bio, Bio{});

  const std::vector<Segment> parts{{bio_memory.data(), 512}, {bio_memory.data() + 2048, 1024}};
  moved = Bio::read(1, parts, {});
  expect_same(moved, Bio::read(1, parts, {}));
  Bio& itself = moved;
  moved = std::move(itself);
  expect_same(moved, Bio::read(1, parts, {}));
}

// Goal: a bio is an element of the standard library's containers.
TEST(Bio, LivesInContainers) {
  static_assert(std::is_nothrow_default_constructible_v<Bio>);
  static_assert(std::is_nothrow_move_constructible_v<Bio> &&
                std::is_nothrow_move_assignable_v<Bio> && std::is_nothrow_swappable_v<Bio>);
  static_assert(!std::is_copy_constructible_v<Bio> && !std::is_copy_assignable_v<Bio>);
  std::vector<Bio> vector(2);
  vector[1].set_discard(1, 512, {});
  for (std::uint64_t i = 2; i != 40; ++i) vector.push_back(Bio::discard(i, 512, {}));
  vector.erase(vector.begin());
  for (std::size_t i = 0; i != vector.size(); ++i) {
    expect_same(vector[i], Bio::discard(i + 1, 512, {}));
  }
  std::deque<Bio> deque;
  deque.push_back(Bio::flush({}));
  deque.emplace_front().set_discard(5, 512, {});
  EXPECT_EQ(deque.front().sector(), 5U);
  std::swap(deque.front(), deque.back());
  EXPECT_EQ(deque.front().op(), Op::flush);
  std::optional<Bio> optional;
  optional = Bio::discard(7, 512, {});
  optional.emplace().set_discard(8, 512, {});
  EXPECT_EQ(optional->sector(), 8U);
}

TEST(BioList, KeepsItsOrder) {
  std::vector<Bio> bios;
  for (std::uint64_t i = 0; i != 6; ++i) bios.push_back(Bio::discard(i, 512, {}));
  BioList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop_front(), nullptr);
  list.push_back(bios[1]);
  list.push_back(bios[2]);
  list.push_front(bios[0]);
  BioList other;
  other.push_front(bios[3]);
  other.push_back(bios[4]);
  list.append(other);
  list.append(list);
  EXPECT_TRUE(other.empty());
  list.push_back(bios[5]);
  EXPECT_EQ(list.front(), &bios[0]);
  for (auto& bio : bios) EXPECT_EQ(list.pop_front(), &bio);
  EXPECT_TRUE(list.empty());
  list.append(other);
  EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(Op, EachHasItsOwnName) {
  std::set<std::string> names;
  for (std::size_t i = 0; i != mq::op_count; ++i) {
    names.insert(to_string(static_cast<Op>(i)));
  }
  EXPECT_EQ(names.size(), mq::op_count);
  EXPECT_STREQ(to_string(static_cast<Op>(99)), "unknown op");
}

TEST(Op, HasPredicates) {
  EXPECT_TRUE(has_data(Op::zone_append) && has_range(Op::zone_append) && is_write(Op::zone_append));
  EXPECT_TRUE(!has_data(Op::discard) && has_range(Op::discard) && is_write(Op::discard));
  EXPECT_TRUE(!has_range(Op::flush) && !is_write(Op::flush) && !is_write(Op::read));
  EXPECT_TRUE(is_zone_management(Op::zone_reset) && is_write(Op::zone_reset));
  EXPECT_FALSE(is_zone_management(Op::zone_append));
  EXPECT_TRUE(is_private(Op::driver_in) && !is_private(Op::read));
}

}  // namespace
