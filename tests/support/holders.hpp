// SPDX-License-Identifier: BSL-1.0
//
// The holders of a request in a tracking build, as line numbers of the test.

#ifndef BLKOWN_TESTS_SUPPORT_HOLDERS_HPP
#define BLKOWN_TESTS_SUPPORT_HOLDERS_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <string_view>
#include <vector>

namespace support {

using Line = std::uint_least32_t;
using Lines = std::vector<Line>;

/// The line after the call's line.
inline Line next_line(blkown::Place here = blkown::Place::current()) { return here.line() + 1; }

/// The lines of the caller's file at which the request's handles were taken, oldest first. Handles
/// that were taken in a helper of another file are left out.
inline Lines holders(const blkown::RequestHeader& request,
                     blkown::Place here = blkown::Place::current()) {
  Lines lines;
  blkown::visit_holders(request, [&](const blkown::Place& place) {
    if (std::string_view{place.file_name()} == here.file_name()) lines.push_back(place.line());
  });
  return lines;
}

}  // namespace support

#endif
