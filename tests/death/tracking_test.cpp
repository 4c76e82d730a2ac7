// SPDX-License-Identifier: BSL-1.0
//
// Goal: in the tracking build a violation about a request prints a line for each of its holders.

#include <blkown/tracking.hpp>
#include <string>

#include "violation_test.hpp"

namespace death {
namespace {

static_assert(blkown::is_tracking);

/// The printed line of a reference that was taken on the line after `here`.
std::string since(blkown::Place here) {
  return std::string{"blkown:   held since "} + here.file_name() + ":" +
         std::to_string(here.line() + 1) + ", " + here.function_name() + "\n";
}

std::string alive(const std::string& state) {
  return lines_of("violation", "TagSet destroyed while 1 request is in use",
                  remedy_of(blkown::Violation::request_alive),
                  "destruction of TagSet" + published_in(state));
}

class HeldDeathTest : public testing::Test {
 protected:
  Device device;
};

TEST_F(HeldDeathTest, ATagSetDestroyedTooEarlyNamesTheTwoHoldersOfAnEndedRequest) {
  Claim claim = device.claim();
  const blkown::Place pinned = blkown::Place::current();
  const ARef mapping = claim.pin();
  const blkown::Place copied = blkown::Place::current();
  const ARef timer = mapping;
  std::move(claim).end_ok();
  expect_abort(alive("count 3 finished") + since(pinned) + since(copied),
               [&] { device.set.reset(); });
}

TEST_F(HeldDeathTest, ARequestWithoutHoldersPrintsNoLine) {
  expect_abort(alive("count 1"), [&] {
    use(device.parked_aref().into_raw());
    device.set.reset();
  });
}

// Goal: every violation about a request prints the holders, not only the violation above.
TEST_F(HeldDeathTest, AnEndTooManyNamesTheHolder) {
  Claim claim = device.claim();
  const blkown::Place pinned = blkown::Place::current();
  const ARef pin = claim.pin();
  void* const raw = std::move(claim).into_raw();
  Claim::from_raw(raw).end_ok();
  constexpr blkown::Violation violation = blkown::Violation::not_claimed;
  const std::string first_lines =
      lines_of("violation", to_string(violation), remedy_of(violation),
               std::string{"Claim::end_ok at "} + pinned.file_name() + ":" +
                   std::to_string(pinned.line()) + published_in("count 2 finished"));
  expect_abort(first_lines + since(pinned), [&] { Claim::from_raw(raw).end_ok(pinned); });
}

}  // namespace
}  // namespace death
