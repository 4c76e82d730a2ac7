// SPDX-License-Identifier: BSL-1.0
//
// Goal: without stdio a violation traps and prints nothing, a report is dropped but its I/O still
// ends, and both handlers can be installed.
// Method: this file is built with BLKOWN_NO_STDIO.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "device.hpp"

#ifndef BLKOWN_NO_STDIO
#error "build this with BLKOWN_NO_STDIO"
#endif

namespace death {
namespace {

bool trapped(int status) {
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
}

TEST(NoStdioDeathTest, ViolationsTrap) {
  Device device;
  EXPECT_EXIT(device.ended_owned().end_ok(), trapped, testing::Eq(std::string{}));
  EXPECT_EXIT(device.no_claim().end_ok(), trapped, testing::Eq(std::string{}));
  EXPECT_EXIT(static_cast<void>(device.set->tag_cache(blkown::QueueIndex{2})), trapped,
              testing::Eq(std::string{}));
}

TEST(NoStdioDeathTest, ReportsAreDropped) {
  EXPECT_EXIT(
      {
        Device device;
        static_cast<void>(Claim{device.claim()});
        auto ended = device.list.pop_front();
        std::_Exit(ended && ended->status() == blkown::Status::io_error ? 0 : 1);
      },
      testing::ExitedWithCode(0), testing::Eq(std::string{}));
}

TEST(NoStdioDeathTest, AnInstalledHandlerIsCalled) {
  Device device;
  EXPECT_EXIT(
      {
        blkown::set_violation_handler([](blkown::Violation violation, const blkown::Incident&) {
          std::_Exit(100 + static_cast<int>(violation));
        });
        device.ended_owned().end_ok();
      },
      testing::ExitedWithCode(100 + static_cast<int>(blkown::Violation::not_owned)),
      testing::Eq(std::string{}));
}

int reports = 0;

TEST(NoStdio, AnInstalledReportHandlerIsCalled) {
  Device device;
  const auto count = [](blkown::Report, const blkown::Incident&) { ++reports; };
  EXPECT_EQ(blkown::set_report_handler(count), nullptr);
  static_cast<void>(Claim{device.claim()});
  EXPECT_EQ(blkown::set_report_handler(nullptr), +count);
  EXPECT_EQ(reports, 1);
}

}  // namespace
}  // namespace death
