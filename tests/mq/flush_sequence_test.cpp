// SPDX-License-Identifier: BSL-1.0
//
// Goal: a bio takes the steps that its flags and the device's cache require, and no other.
// Method: the sequence alone, without a disk, for every combination of flags and cache.

#include <gtest/gtest.h>

#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/flush_sequence.hpp>
#include <cstddef>
#include <string>

namespace {

namespace mq = blkown::mq;
using mq::detail::BioAccess;
using mq::detail::FlushSequence;
using mq::detail::FlushStep;

/// The steps of a bio, one letter each. Each step has one request, which ends with `status`.
std::string steps_of(mq::Bio& bio, const mq::DiskConfig& config,
                     blkown::Status status = blkown::Status::ok) {
  FlushSequence sequence{bio, config};
  mq::detail::BioState& state = BioAccess::state(bio);
  sequence.begin();
  std::string steps;
  do {
    steps += state.step == FlushStep::preflush ? 'f' : state.step == FlushStep::data ? 'd' : 'F';
    EXPECT_FALSE(sequence.is_step_complete());
    state.parts = 1;
    state.all_issued = true;
    EXPECT_FALSE(sequence.is_step_complete());
    state.parts = 0;
    EXPECT_TRUE(sequence.is_step_complete());
    if (status != blkown::Status::ok) state.fail(status);
  } while (sequence.advance());
  return steps;
}

std::byte block[512];

mq::Bio write(mq::IoFlags flags) {
  return mq::Bio::write(0, blkown::Segment{block, sizeof block}, {}, flags);
}

TEST(FlushSequence, AWriteTakesTheStepsThatItNeeds) {
  struct Case {
    bool write_cache, fua;
    const char *plain, *preflush, *with_fua, *both;
  };
  for (const Case& its :
       {Case{false, false, "d", "d", "d", "d"}, Case{false, true, "d", "d", "d", "d"},
        Case{true, false, "d", "fd", "dF", "fdF"}, Case{true, true, "d", "fd", "d", "fd"}}) {
    const mq::DiskConfig config{.write_cache = its.write_cache, .fua = its.fua};
    mq::Bio plain = write({}), preflush = write({.preflush = true}), fua = write({.fua = true}),
            both = write({.fua = true, .preflush = true});
    EXPECT_EQ(steps_of(plain, config), its.plain);
    EXPECT_EQ(steps_of(preflush, config), its.preflush);
    EXPECT_EQ(steps_of(fua, config), its.with_fua);
    EXPECT_EQ(steps_of(both, config), its.both);
  }
}

TEST(FlushSequence, AFailureEndsIt) {
  const mq::DiskConfig config{.write_cache = true};
  mq::Bio bio = write({.fua = true, .preflush = true});
  EXPECT_EQ(steps_of(bio, config, blkown::Status::io_error), "f");
}

TEST(FlushSequence, AReadHasNoPostflush) {
  const mq::DiskConfig config{.write_cache = true};
  mq::Bio bio = mq::Bio::read(0, blkown::Segment{block, sizeof block}, {}, {.fua = true});
  EXPECT_EQ(steps_of(bio, config), "d");
}

TEST(FlushSequence, AFlushIsEmptyWithoutACache) {
  for (const bool write_cache : {false, true}) {
    const mq::DiskConfig config{.write_cache = write_cache};
    mq::Bio flush = mq::Bio::flush({}, {.preflush = true});
    EXPECT_EQ((FlushSequence{flush, config}.is_empty()), !write_cache);
    mq::Bio other = write({});
    EXPECT_FALSE((FlushSequence{other, config}.is_empty()));
    if (write_cache) {
      EXPECT_EQ(steps_of(flush, config), "d");
    }
  }
}

TEST(FlushSequence, TheDeviceGetsTheFlagsThatItSupports) {
  mq::Bio bio = write({.fua = true, .preflush = true});
  for (const bool fua : {false, true}) {
    const mq::DiskConfig config{.write_cache = true, .fua = fua};
    const mq::IoFlags flags = FlushSequence{bio, config}.data_flags();
    EXPECT_EQ(flags.fua, fua);
    EXPECT_FALSE(flags.preflush);
  }
}

}  // namespace
