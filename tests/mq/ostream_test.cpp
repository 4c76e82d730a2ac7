// SPDX-License-Identifier: BSL-1.0
//
// Goal: each enumeration and value type of mq has a text for streams.

#include <gtest/gtest.h>
#include <blkown/mq/ostream.hpp>

#include <sstream>
#include <string>

namespace {

namespace mq = blkown::mq;

template <class T>
std::string streamed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(Ostream, PrintsTheValuesOfTheBlockLayer) {
  EXPECT_EQ(streamed(mq::Op::write_zeroes), "write_zeroes");
  EXPECT_EQ(streamed(mq::QueueType::poll), "poll");
  EXPECT_EQ(streamed(mq::CompletionMode::deferred), "deferred");
  EXPECT_EQ(streamed(mq::TimeoutAction::rearm), "rearm");
  EXPECT_EQ(streamed(mq::TraceStep{}), to_string(mq::TraceStep{}));
  EXPECT_EQ(streamed(mq::DiskError{mq::DiskReason::too_large, "depth", 70000, 65536}),
            "depth: too large: given 70000, limit 65536");
}

}  // namespace
