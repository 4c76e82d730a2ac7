// SPDX-License-Identifier: BSL-1.0
//
// Goal: in the tracking build a violation about a request prints a line for each of its holders.

#include <blkown/tracking.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "violation_test.hpp"

namespace death {
namespace {

static_assert(blkown::is_tracking);

/// The printed line of a reference that was taken on the line after `here`.
std::string since(blkown::Place here) {
  return std::string{"blkown:   held since "} + here.file_name() + ":" +
         std::to_string(here.line() + 1) + ", " + here.function_name() + "\n";
}

std::string alive(const std::string& state, const std::string& remedy) {
  return lines_of("violation", "TagSet destroyed while 1 request is in use", remedy,
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
  expect_abort(alive("count 3 finished",
                     "drop the pins of this ended I/O, such as a mapping in its own data") +
                   since(pinned) + since(copied),
               [&] { device.set.reset(); });
}

TEST_F(HeldDeathTest, ARequestWithoutHoldersPrintsNoLine) {
  expect_abort(alive("count 1",
                     "end this I/O, which the device has, at its completion or by"
                     " for_each_in_flight"),
               [&] {
                 use(device.parked_aref().into_raw());
                 device.set.reset();
               });
}

/// What the last report printed.
std::string printed_report;

void keep_report(blkown::Report report, const blkown::Incident& incident) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out{std::tmpfile(), &std::fclose};
  blkown::print_incident(out.get(), "report", to_string(report), remedy_of(report), incident);
  std::rewind(out.get());
  printed_report.clear();
  for (int c = std::fgetc(out.get()); c != EOF; c = std::fgetc(out.get()))
    printed_report += static_cast<char>(c);
}

std::string dropped(blkown::Report report, const std::string& where) {
  return lines_of("report", to_string(report), remedy_of(report), where);
}

TEST_F(HeldDeathTest, ADroppedClaimNamesWhereItWasClaimed) {
  const blkown::ReportHandler before = blkown::set_report_handler(&keep_report);
  device.owned().publish(take);
  const blkown::Cookie cookie = device.cookie();
  const blkown::Place claimed = blkown::Place::current();
  auto claim = device.set->claim(cookie.queue, cookie.value);
  {
    const Claim gone = std::move(*claim);
  }
  EXPECT_EQ(printed_report, dropped(blkown::Report::claim_dropped,
                                    "drop of Claim" + published_in("count 0 owned")) +
                                since(claimed));
  blkown::set_report_handler(before);
  std::move(*device.list.pop_front()).release();
}

TEST_F(HeldDeathTest, ADroppedIdleNamesWhereItWasAllocated) {
  const blkown::ReportHandler before = blkown::set_report_handler(&keep_report);
  const blkown::Place allocated = blkown::Place::current();
  auto idle = device.set->allocate_tag(Device::queue, Device::tag);
  {
    const Idle gone = std::move(*idle);
  }
  EXPECT_EQ(printed_report,
            dropped(blkown::Report::idle_dropped, "drop of Idle" + request_in("count 0")) +
                since(allocated));
  blkown::set_report_handler(before);
  std::move(*device.list.pop_front()).release();
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
