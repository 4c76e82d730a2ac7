// SPDX-License-Identifier: BSL-1.0
//
// Tests of Bio, BioList and Op.

#include <gtest/gtest.h>

#include <blkown/mq/bio.hpp>
#include <set>
#include <string>
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

TEST(BioList, KeepsItsOrder) {
  std::vector<std::unique_ptr<Bio>> bios;
  for (std::uint64_t i = 0; i != 6; ++i) {
    bios.emplace_back(new Bio(Bio::discard(i, 512, {})));
  }
  BioList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop_front(), nullptr);
  list.push_back(*bios[1]);
  list.push_back(*bios[2]);
  list.push_front(*bios[0]);
  BioList other;
  other.push_front(*bios[3]);
  other.push_back(*bios[4]);
  list.append(other);
  list.append(list);
  EXPECT_TRUE(other.empty());
  list.push_back(*bios[5]);
  EXPECT_EQ(list.front(), bios[0].get());
  for (auto& bio : bios) EXPECT_EQ(list.pop_front(), bio.get());
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
