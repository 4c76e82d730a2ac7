// SPDX-License-Identifier: BSL-1.0
//
// The report of a kit's run: the watchdog does not cut it off, and it ends.

#include <gtest/gtest.h>

#include <blkown/check.hpp>
#include <blkown/place.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/kit.hpp>
#include <blkown/sim/runner/child_run.hpp>
#include <blkown/sim/runner/kit_options.hpp>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

namespace {

namespace sim = blkown::sim;
using sim::ChildFinding;
using sim::Finding;

void pass_seconds(double seconds) {
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count() <
         seconds) {
  }
}

/// A world whose one event ends as the test says, and whose finding takes longer to get than the
/// watchdog waits.
struct SlowReportWorld {
  using Make = void (*)();

  SlowReportWorld(const sim::WorldConfig&, Make event) : event_{event} {}

  [[nodiscard]] bool run() {
    event_();
    return finding_.what.empty();
  }
  void add(Finding finding) { finding_ = std::move(finding); }
  [[nodiscard]] const Finding& finding() const {
    pass_seconds(2.5);
    return finding_;
  }
  [[nodiscard]] const sim::History& history() const { return history_; }
  [[nodiscard]] const sim::FaultPlan& faults() const { return faults_; }

 private:
  Make event_;
  Finding finding_;
  sim::History history_;
  sim::FaultPlan faults_{0, sim::FaultRates::none()};
};

/// What a run finds whose one event is this, with a hang limit of one second.
[[nodiscard]] std::string key_of(void (*event)()) {
  const ChildFinding found = sim::find_in_child(60, false, [event] {
    const sim::detail::Handlers handlers;
    const sim::KitOptions options;
    sim::detail::Run<SlowReportWorld> run{options, {}, event, 1};
    return run.run();
  });
  return found.key;
}

TEST(KitRun, TheReportOfACrashIsNotTakenForAHang) {
  EXPECT_EQ(key_of([] { std::abort(); }), "the driver has aborted (SIGABRT)");
}

TEST(KitRun, TheReportOfAViolationIsNotTakenForAHang) {
  const std::string key = key_of([] {
    blkown::detail::violate(blkown::Violation::not_idle, "the test", blkown::Place::current());
  });
  EXPECT_EQ(key.find("the test: "), 0U) << key;
}

TEST(KitRun, TheReportOfAHangIsNotTakenForAnother) {
  EXPECT_EQ(key_of([] { pass_seconds(600); }), sim::finding_key(sim::detail::hang_text));
}

// Goal: one event of a slow build may take more than a second, and only a hang is sure to take all
// the time of its limit.
TEST(KitRun, OnlyAShrinkersRunsOfAHangAreEndedEarly) {
  const auto limit_s = [](unsigned hang_limit_s, const char* what) {
    sim::KitOptions options;
    options.hang_limit_s = hang_limit_s;
    return sim::detail::candidate_hang_limit_s(
        options, {.key = sim::finding_key(what), .event = 0, .strikes = {}, .error = {}});
  };
  EXPECT_EQ(limit_s(60, "an I/O is lost"), 60U);
  EXPECT_EQ(limit_s(0, "an I/O is lost"), 0U);
  EXPECT_EQ(limit_s(60, sim::detail::hang_text), 1U);
}

}  // namespace
