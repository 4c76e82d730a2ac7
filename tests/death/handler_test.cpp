// SPDX-License-Identifier: BSL-1.0
//
// Goal: the violation handler can be replaced and gets all fields of the Incident. The program ends
// even if the handler returns.

#include <sys/wait.h>

#include <cstdio>
#include <cstring>

#include "violation_test.hpp"

namespace death {
namespace {

/// Whether the program ended in __builtin_trap, which is an illegal instruction on some processors
/// and a breakpoint on others.
bool trapped(int status) {
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
}

void return_from(blkown::Violation, const blkown::Incident&) { std::fputs("returned\n", stderr); }

TEST(HandlerDeathTest, AHandlerThatReturnsTraps) {
  Device device;
  EXPECT_EXIT(
      {
        blkown::set_violation_handler(&return_from);
        device.ended_owned().end_ok();
      },
      trapped, testing::Eq(std::string{"returned\n"}));
}

TEST(HandlerDeathTest, NoHandlerTraps) {
  Device device;
  EXPECT_EXIT(
      {
        blkown::set_violation_handler(nullptr);
        device.ended_owned().end_ok();
      },
      trapped, testing::Eq(std::string{}));
}

TEST(HandlerDeathTest, TheHandlerBeforeIsReturned) {
  const auto before = blkown::set_violation_handler(&return_from);
  EXPECT_EQ(before, &blkown::print_and_abort);
  EXPECT_EQ(blkown::set_violation_handler(nullptr), &return_from);
  EXPECT_EQ(blkown::set_violation_handler(before), nullptr);
}

/// A handler that exits with 0 if it gets the expected violation and incident, else with the number
/// of the first comparison that fails.
blkown::Violation expected_violation{};
blkown::Incident expected;
void compare(blkown::Violation violation, const blkown::Incident& incident) {
  int compared = 0;
  const auto check = [&](bool same) {
    ++compared;
    if (!same) std::_Exit(compared);
  };
  check(violation == expected_violation);
  check(std::strcmp(incident.operation, expected.operation) == 0);
  check(incident.place.line() == expected.place.line());
  check(std::strcmp(incident.place.file_name(), expected.place.file_name()) == 0);
  check(incident.has_queue == expected.has_queue);
  check(incident.has_request == expected.has_request);
  check(incident.queue == expected.queue);
  check(incident.tag == expected.tag);
  check(incident.state.generation == expected.state.generation);
  check(incident.state.count == expected.state.count);
  check(incident.state.owned == expected.state.owned);
  check(incident.state.claimed == expected.state.claimed);
  check(incident.state.finished == expected.state.finished);
  check(std::strcmp(incident.subject, expected.subject) == 0);
  check(incident.count == expected.count);
  check(std::strcmp(incident.user, expected.user) == 0);
  check((incident.user_name == nullptr) == (expected.user_name == nullptr));
  check(std::strcmp(incident.problem, expected.problem) == 0);
  check(std::strcmp(incident.remedy, expected.remedy) == 0);
  std::_Exit(0);
}

void tells(blkown::Violation violation, const blkown::Incident& incident, const Act& act) {
  SCOPED_TRACE(incident.operation);
  EXPECT_EXIT(
      {
        expected_violation = violation;
        expected = incident;
        blkown::set_violation_handler(&compare);
        act();
      },
      testing::ExitedWithCode(0), testing::Eq(std::string{}));
}

TEST(HandlerDeathTest, TheHandlerIsToldOfTheRequest) {
  Device device;
  const blkown::Place here = blkown::Place::current();
  blkown::Incident incident = blkown::Incident::of("Claim::end_ok", here);
  incident.has_queue = true;
  incident.has_request = true;
  incident.queue = Device::queue;
  incident.tag = Device::tag;
  incident.state.generation.value = Device::first_generation.value + 1;
  tells(blkown::Violation::not_claimed, incident, [&] { device.ended_claim().end_ok(here); });

  incident.state.count = 2;
  incident.state.finished = true;
  tells(blkown::Violation::not_claimed, incident, [&] { device.finished_claim().end_ok(here); });

  incident.operation = "drop of ARef";
  incident.place = {};
  incident.state.finished = false;
  incident.state.claimed = true;
  tells(blkown::Violation::no_reference, incident, [&] { use(device.claimed_aref()); });

  incident.operation = "Idle::requeue";
  incident.place = here;
  incident.state = {};
  incident.state.generation = Device::first_generation;
  incident.state.owned = true;
  tells(blkown::Violation::not_idle, incident, [&] { device.started_idle().requeue(here); });
}

TEST(HandlerDeathTest, TheHandlerIsToldOfTheQueue) {
  Device device;
  const blkown::Place here = blkown::Place::current();
  blkown::Incident incident = blkown::Incident::of("TagSet::tag_cache", here);
  incident.has_queue = true;
  incident.queue = blkown::QueueIndex{7};
  const TagSet& set = *device.set;
  tells(blkown::Violation::no_such_queue, incident,
        [&] { use(set.tag_cache(blkown::QueueIndex{7}, 2, here)); });
}

TEST(HandlerDeathTest, TheHandlerIsToldThatThereIsNoRequest) {
  Device device;
  const blkown::Place here = blkown::Place::current();
  tells(blkown::Violation::use_of_moved_from, blkown::Incident::of("Owned::park", here),
        [&] { device.no_owned().park(here); });
}

TEST(HandlerDeathTest, TheHandlerIsToldTheObjectAndTheCount) {
  Device device;
  const blkown::Incident incident =
      blkown::Incident::of("destruction of TagSet", blkown::Place{})
          .with("TagSet destroyed while {count|TagCache exists|TagCaches exist}")
          .about("TagSet", 2);
  blkown::Incident with_queue = incident;
  with_queue.has_queue = true;
  with_queue.queue = blkown::QueueIndex{0};
  tells(blkown::Violation::tag_cache_alive, with_queue, [&] {
    const blkown::TagCache first = device.set->tag_cache(blkown::QueueIndex{0});
    const blkown::TagCache second = device.set->tag_cache(blkown::QueueIndex{0});
    device.set.reset();
  });
}

}  // namespace
}  // namespace death
