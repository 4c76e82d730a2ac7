// SPDX-License-Identifier: BSL-1.0
//
// What the freestanding programs check with: no test framework, which needs a hosted library.

#ifndef BLKOWN_TESTS_FREESTANDING_CHECKS_HPP
#define BLKOWN_TESTS_FREESTANDING_CHECKS_HPP

#include <blkown/check.hpp>

namespace {

/// The line of the first failed check, or 0.
int wrong_line = 0;
void expect(bool holds, int line) {
  if (!holds && wrong_line == 0) wrong_line = line;
}
#define EXPECT(...) expect((__VA_ARGS__), __LINE__)

/// Report and violation handlers.
int reports = 0;
void count_report(blkown::Report, const blkown::Incident&) { ++reports; }
void ignore_violation(blkown::Violation, const blkown::Incident&) {}

}  // namespace

#endif
