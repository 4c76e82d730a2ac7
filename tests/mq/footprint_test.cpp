// SPDX-License-Identifier: BSL-1.0
//
// Goal: the memory of a request, a bio, a hardware queue, a context's side of a disk, and a disk is
// bounded: the table of bench/README.md has these numbers. Limits are only lowered.
// Method: the sizes of the types, for a driver with 64 bytes of data in a request.

#include <gtest/gtest.h>

#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace {

namespace mq = blkown::mq;

struct Lean {
  struct RequestData {
    std::array<std::uint64_t, 8> words{};
  };
  struct HwData {};
  struct QueueData {};

  static mq::Dispatch<Lean> queue_rq(mq::HwQueue<Lean>&, QueueData&,
                                     blkown::Idle<mq::Request<Lean>> idle, bool) {
    std::move(idle).start().end_ok();
    return mq::Dispatch<Lean>::accepted();
  }
};

void expect_at_most(const char* what, std::size_t bytes, std::size_t most) {
  std::printf("%-36s %5zu bytes\n", what, bytes);
  EXPECT_LE(bytes, most) << what;
  // Elsewhere pointers and words are smaller, and the limits are not tight.
  if (sizeof(void*) == 8 && BLKOWN_WORD_BITS == 64) EXPECT_GT(bytes, most - most / 4) << what;
}

TEST(Footprint, OfEachObjectIsBounded) {
  if (blkown::is_tracking || blkown::detail::is_poisoned)
    GTEST_SKIP() << "handles and headers are larger";
  expect_at_most("a bio", sizeof(mq::Bio), 120);
  expect_at_most("a request with 64 bytes of data", sizeof(mq::Request<Lean>), 256);
  expect_at_most("a hardware queue", sizeof(mq::HwQueue<Lean>), 256);
  expect_at_most("its tags, 64 of them",
                 sizeof(blkown::detail::TagBitmap) + sizeof(blkown::detail::TagBitmap::Line), 192);
  expect_at_most("a context's side of a disk", sizeof(mq::detail::SubmitQueue<Lean>), 2688);
  expect_at_most("a disk", sizeof(mq::Disk<Lean>), 632);
  expect_at_most("a context", sizeof(mq::Context), 320);
}

}  // namespace
