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
  EXPECT_EQ(streamed(mq::Zone::Condition::explicit_open), "explicit_open");
  EXPECT_EQ(streamed(mq::TraceStep{}), to_string(mq::TraceStep{}));
  EXPECT_EQ(streamed(mq::DiskError{mq::DiskReason::too_large, "depth", 70000, 65536}),
            "depth: too large: given 70000, limit 65536");
}

/// The names of an enumeration whose last enumerator is `last`, and the name of a value behind it.
template <class Enum>
std::string names_to(Enum last) {
  std::string names;
  for (int i = 0; i <= static_cast<int>(last) + 1; ++i) {
    names += to_string(static_cast<Enum>(i));
    names += i <= static_cast<int>(last) ? ", " : "";
  }
  return names;
}

TEST(Ostream, KnowsEachNameOfTheBlockLayer) {
  EXPECT_EQ(names_to(mq::QueueType::poll), "normal, read, poll, unknown type");
  EXPECT_EQ(names_to(mq::CompletionMode::deferred), "immediate, deferred, unknown mode");
  EXPECT_EQ(names_to(mq::TimeoutAction::rearm), "handled, rearm, unknown action");
  EXPECT_EQ(
      names_to(mq::TraceStep::looked_up),
      "allocated, waits, issued, rejected, requeued, timed_out, ended, looked_up, unknown step");
  EXPECT_EQ(names_to(mq::Zone::Condition::not_write_pointer),
            "empty, implicit_open, explicit_open, closed, full, read_only, offline,"
            " not_write_pointer, unknown condition");
  EXPECT_STREQ(to_string(static_cast<mq::DiskReason>(99)), "unknown reason");
}

}  // namespace
