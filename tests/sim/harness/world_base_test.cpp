// SPDX-License-Identifier: BSL-1.0
//
// Goal: a world's finding names the request, the command and the fault behind it, and each check of
// a world finds what it is there for, and nothing in a right driver.
// Method: a world without a driver. A test says what the device and the driver do, and compares the
// whole report.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/first_generation.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_device.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/runner/report.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/driver.hpp"

namespace {

namespace sim = blkown::sim;
using blkown::Generation;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::RequestState;
using blkown::Status;
using blkown::Tag;
using sim::FaultKind;
using sim::WorldConfig;

/// A world whose protected members are open, and whose driver is the test.
template <class Device>
class OpenWorld final : public sim::WorldBaseOf<Device> {
  using Base = sim::WorldBaseOf<Device>;

 public:
  using Base::begin_durability;
  using Base::check_after_event;
  using Base::check_after_stop;
  using Base::check_limits;
  using Base::config_;
  using Base::device_events_;
  using Base::dice_;
  using Base::distrust;
  using Base::end_io;
  using Base::fail_with_first;
  using Base::faults_;
  using Base::history_;
  using Base::media_;
  using Base::note_accepted;
  using Base::note_admin_lookup;
  using Base::note_interrupt;
  using Base::note_lookup;
  using Base::other_media_;
  using Base::tag_config;
  using Base::was_accepted;
  using Base::workload_;
  using typename Base::Entries;

  explicit OpenWorld(const WorldConfig& config)
      : Base{Base::is_nvme ? Base::with_namespace(config) : config} {}

  void note_early_finding() override {
    ++early_calls;
    if (!early.empty()) Base::add({.what = std::exchange(early, {})});
  }
  [[nodiscard]] std::optional<RequestState> request_state(QueueIndex, Tag) override {
    return state;
  }
  [[nodiscard]] std::vector<blkown::Place> request_holders(QueueIndex, Tag) override {
    return holders;
  }

  /// The report of the first finding, or an empty text.
  [[nodiscard]] std::string report() const {
    if (Base::finding().what.empty()) return {};
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* const file = open_memstream(&text, &size);
    print_report(file, Base::finding(), Base::history(), config_.seed);
    std::fclose(file);
    std::string copy{text, size};
    std::free(text);
    return copy;
  }
  /// Begins an event with the ownership word that the request of the command has now.
  void begin_event(const char* name, QueueIndex queue, Tag tag, const RequestState& its) {
    history_.begin_event(name, 1'000 * (history_.event() + 1));
    history_.add(queue, tag, state.has_value(), state.value_or(RequestState{}), true, its);
    state = its;
  }
  /// Begins an I/O in the slot. Returns its first sector.
  std::uint64_t begin_io(std::uint32_t slot = 0, bool is_fua = false, bool has_preflush = false) {
    static_cast<void>(workload_.begin(slot, dice_, memory_));
    begin_durability(slot, is_fua, has_preflush);
    return workload_.sector_of(slot);
  }

  std::optional<RequestState> state;
  std::vector<blkown::Place> holders;
  std::string early;
  int early_calls = 0;

 private:
  std::array<blkown::Segment, 3> memory_{};
};
using MessageProbe = OpenWorld<sim::MessageDevice>;
using NvmeProbe = OpenWorld<sim::NvmeController>;

constexpr QueueIndex queue1{1};
constexpr Tag tag3{3};
// Of tag 3 with generation 1.
constexpr std::uint64_t cookie3 = 0x1003;
constexpr RequestState published{.generation = Generation{1}, .count = 1};

/// One I/O of this operation and length in each slot. Seed 0: the layout nvme.
[[nodiscard]] WorldConfig config_of_io(std::uint32_t sim::OperationMix::* operation,
                                       std::uint32_t length_sectors = 2) {
  WorldConfig config;
  sim::OperationMix mix{
      .flush = 0, .discard = 0, .write_zeroes = 0, .write = 0, .read = 0, .compare = 0};
  mix.*operation = 1;
  config.mix = mix;
  config.sizes = {{.length_sectors = length_sectors}};
  config.rates = sim::FaultRates::none();
  return config;
}
[[nodiscard]] sim::Message message_of(sim::Opcode opcode, std::uint64_t cookie,
                                      std::uint64_t sector, std::uint32_t length) {
  return {
      .cookie = cookie, .opcode = opcode, .sector = sector, .length_sectors = length, .bytes = {}};
}

// --- the first finding ---------------------------------------------------------------------------

TEST(WorldFinding, WhatTheEventHasBrokenBeforeIsTheFirstFinding) {
  MessageProbe world{{}};
  world.history_.begin_event("submit", 0);
  world.early = "the early one";
  world.add({.what = "the late one", .details = {"a detail", "another"}});
  EXPECT_EQ(world.early_calls, 1) << "not within itself";
  world.history_.begin_event("stop", 0);
  for (const char* what : {"the early one", "a third", "a fourth", "a fifth"}) {
    world.add({.what = what, .place = "a place"});
  }
  EXPECT_EQ(world.early_calls, 5);
  EXPECT_EQ(world.report(),
            "seed 0, event 2, in submit: the early one\n"
            "  request: none, the finding is not about one request\n"
            "  fault: no fault was injected\n"
            "  then, in submit: the late one; a detail; another\n"
            "  then, in a place: a third\n"
            "  then, in a place: a fourth\n")
      << "the same text again is no other finding, and three are enough";
}

TEST(WorldFinding, ThePlaceIsThatOfTheRequest) {
  MessageProbe world{{}};
  world.history_.begin_event("timeout scan", 0);
  for (const std::uint32_t tag : {3U, 4U}) {
    const sim::History::Within within{world.history_,
                                      sim::Activity::of_request("timeout hook", queue1, Tag{tag})};
  }
  world.add({.what = "it is broken", .has_request = true, .queue = queue1, .tag = tag3});
  EXPECT_EQ(world.finding().place, "timeout hook of queue 1, tag 3, within timeout scan");
}

TEST(WorldFinding, ACookieNamesTheRequestOfTheLatestCommand) {
  MessageProbe world{{}};
  world.begin_event("submit", queue1, tag3, published);
  world.device_events_.command_fetched(1, message_of(sim::Opcode::write, cookie3, 4, 2));
  world.add({.what = "it is broken", .cookie = cookie3});
  EXPECT_TRUE(world.finding().has_request);
  world.begin_event("later", queue1, tag3, {.generation = Generation{2}, .count = 1});
  EXPECT_EQ(world.report(),
            "seed 0, event 2, in submit: it is broken\n"
            "  request: queue 1, tag 3, cookie 0x1003 (generation 1, tag 3); 1, generation 1\n"
            "  fault: no fault was injected\n"
            "history of queue 1, tag 3:\n"
            "  event 1 at 1 us, submit: free -> 1, generation 1\n"
            "  event 1 at 1 us, submit: the device fetches write,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 2 at 2 us, later: 1, generation 1 -> 1, generation 2\n");

  MessageProbe other{{}};
  other.add({.what = "it is broken", .cookie = cookie3});
  EXPECT_FALSE(other.finding().has_request) << "no command had the cookie";
}

// --- commands ------------------------------------------------------------------------------------

TEST(WorldFinding, ACommandThatNoIoHasNamesItsRequestAndHolders) {
  MessageProbe world{{}};
  world.begin_event("submit", queue1, tag3, {.generation = Generation{2}, .count = 1});
  world.holders = {blkown::Place::current()};
  world.device_events_.command_fetched(1, message_of(sim::Opcode::read, cookie3, 4, 2));
  world.begin_event("later", queue1, tag3, {.generation = Generation{3}, .count = 2});
  const std::string report = world.report();
  EXPECT_EQ(report.find("seed 0, event 2, in submit:"
                        " the device got a command that no I/O in flight has\n"
                        "  request: queue 1, tag 3, cookie 0x1003 (generation 1, tag 3);"
                        " 1, generation 2\n"
                        "  fault: no fault was injected\n"
                        "  held since "),
            0U)
      << report;
  EXPECT_NE(report.find("\nhistory of queue 1, tag 3:\n"), std::string::npos) << report;
}

TEST(WorldFinding, ACommandIsThatOfAPublicationOnly) {
  const auto is_refused = [](const std::optional<RequestState>& state) {
    MessageProbe world{{}};
    world.history_.begin_event("submit", 0);
    world.state = state;
    world.device_events_.command_fetched(0, message_of(sim::Opcode::flush, cookie3, 0, 0));
    return !world.finding().what.empty();
  };
  EXPECT_FALSE(is_refused(published));
  EXPECT_FALSE(is_refused(RequestState{.generation = Generation{0x11}, .count = 2}))
      << "the cookie has four bits of the generation";
  EXPECT_TRUE(is_refused(RequestState{.generation = Generation{2}, .count = 1}));
  EXPECT_TRUE(is_refused(RequestState{.generation = Generation{1}, .count = 0}));
  EXPECT_TRUE(is_refused(RequestState{.generation = Generation{1}, .count = 1, .owned = true}));
  EXPECT_TRUE(is_refused(std::nullopt));
}

// The tag of a wrong cookie may be none of the queue's, and the first queue may be the admin queue.
// Goal: a wrong place is found wherever it is; a command of the driver's own has none.
TEST(WorldFinding, ACommandStaysWithinTheSectorsOfItsIo) {
  const auto finding_of =
      [](std::uint64_t sector, std::uint32_t length, std::uint32_t disk = 0,
         const sim::IoText& io = {.operation = "write", .sector = 4, .length_sectors = 8}) {
        MessageProbe world{{}};
        world.begin_event("submit", queue1, tag3, published);
        world.history_.describe(queue1, tag3, io);
        sim::Message message = message_of(sim::Opcode::write, cookie3, sector, length);
        message.disk = disk;
        world.device_events_.command_fetched(1, message);
        return world.finding().what;
      };
  const std::string beyond = "the driver sent a command for other sectors than those of its I/O";
  const std::string elsewhere = "the driver sent the command of an I/O to another disk";
  EXPECT_EQ(finding_of(4, 8), "");
  EXPECT_EQ(finding_of(11, 1), "");
  EXPECT_EQ(finding_of(3, 1), beyond);
  EXPECT_EQ(finding_of(12, 1), beyond);
  EXPECT_EQ(finding_of(5, 8), beyond);
  EXPECT_EQ(finding_of(4, 9), beyond);
  EXPECT_EQ(finding_of(UINT64_MAX, 1), beyond);
  EXPECT_EQ(finding_of(UINT64_MAX - 1, 8), beyond);
  EXPECT_EQ(finding_of(4, 8, 7), elsewhere);
  const sim::IoText flush{.operation = "flush"};
  EXPECT_EQ(finding_of(0, 0, 0, flush), "");
  EXPECT_EQ(finding_of(0, 0, 7, flush), elsewhere);
  EXPECT_EQ(finding_of(0, 1, 7, {}), "") << "nothing is known of the command";
  EXPECT_EQ(finding_of(0, 1, 7, {.operation = "driver_out", .is_private = true}), "");
}

TEST(WorldFinding, ACommandWithoutARequestHasNoHistory) {
  MessageProbe messages{{}};
  messages.history_.begin_event("submit", 0);
  messages.device_events_.command_fetched(0, message_of(sim::Opcode::read, 0x1008, 4, 2));
  EXPECT_EQ(messages.report(),
            "seed 0, event 1, in submit: the device got a command that no I/O in flight has\n"
            "  request: none has cookie 0x1008 (generation 1, tag 8)\n"
            "  fault: no fault was injected\n");

  NvmeProbe world{{}};
  world.history_.begin_event("submit", 0);
  auto entry = blkown::nvme::SubmissionEntry::flush(1);
  entry.command_id = cookie3;
  world.device_events_.command_fetched(0, entry);
  EXPECT_EQ(world.report(), "") << "a command of the admin queue";
  world.device_events_.command_fetched(2, entry);
  EXPECT_EQ(world.finding().queue, queue1);
}

TEST(WorldFinding, RetriesEnd) {
  MessageProbe world{config_of_io(&sim::OperationMix::write)};
  const auto send = [&](std::uint64_t sector, int times) {
    for (int i = 0; i != times; ++i) {
      world.device_events_.command_fetched(1, message_of(sim::Opcode::write, cookie3, sector, 2));
    }
  };
  world.begin_event("submit", queue1, tag3, published);
  const std::uint64_t sector = world.begin_io();
  send(sector, 100);
  const std::uint64_t next = world.begin_io(1);
  send(next, 100);
  send(world.workload_.capacity_bytes() / 512, 101);  // no sector of the disk
  EXPECT_EQ(world.report(), "");
  world.begin_io();
  send(sector, 100);
  EXPECT_EQ(world.report(), "") << "another I/O";
  send(next, 1);
  EXPECT_EQ(world.finding().what,
            "the driver sent the command of an I/O 100 times: its retries do not end");
}

// Goal: a driver may count from 0 the retries of a request that has moved to another queue.
TEST(WorldFinding, RetriesMayBeMoreIfTheNumberOfQueuesChanges) {
  WorldConfig config = config_of_io(&sim::OperationMix::write);
  config.has_queue_changes = true;
  MessageProbe world{config};
  world.begin_event("submit", queue1, tag3, published);
  const std::uint64_t sector = world.begin_io();
  for (int i = 0; i != 1000; ++i) {
    world.device_events_.command_fetched(1, message_of(sim::Opcode::write, cookie3, sector, 2));
  }
  EXPECT_EQ(world.report(), "");
  world.device_events_.command_fetched(1, message_of(sim::Opcode::write, cookie3, sector, 2));
  EXPECT_EQ(world.finding().what,
            "the driver sent the command of an I/O 1000 times: its retries do not end");
}

// --- lookups -------------------------------------------------------------------------------------

/// A world with a TagSet, and an I/O that is in flight with the cookie3 on queue 1.
struct LookedUp : testing::Test {
  LookedUp() {
    world.begin_event("submit", queue1, tag3, published);
    world.device_events_.command_fetched(1, message);
  }
  /// The device posts a reply, which the driver takes.
  void take(std::uint64_t cookie, bool is_genuine) {
    world.device_events_.entry_posted(1, cookie, is_genuine);
    world.device_events_.entry_taken(1);
  }
  void look_up(std::uint64_t cookie, LookupReason reason) {
    world.note_lookup(driver.set, queue1, cookie, reason);
  }
  [[nodiscard]] bool is_well(MessageProbe::Entries entries = MessageProbe::Entries::looked_up) {
    return world.check_after_event(check, entries);
  }

  const sim::Message message = message_of(sim::Opcode::write, cookie3, 4, 2);
  support::Driver<> driver{{.queue_count = 2,
                            .depth = 8,
                            .layout = blkown::CookieLayout::nvme(),
                            .first_generation = Generation{0}}};
  sim::History unused;
  MessageProbe world{config_of_io(&sim::OperationMix::write)};
  sim::InvariantChecker<support::Request> check{driver.set, unused};
};

TEST_F(LookedUp, StandsInTheHistory) {
  world.device_events_.command_done(1, message);
  take(cookie3, true);
  look_up(cookie3, LookupReason::none);
  take(0x2003, false);
  look_up(0x2003, LookupReason::stale_generation);
  take(0x2008, false);
  look_up(0x2008, LookupReason::no_such_tag);
  EXPECT_TRUE(is_well()) << world.report();
  world.add({.what = "it is broken", .has_request = true, .queue = queue1, .tag = tag3});
  const std::string text = world.report();
  EXPECT_EQ(text.substr(text.find("history")),
            "history of queue 1, tag 3:\n"
            "  event 1 at 1 us, submit: free -> 1, generation 1\n"
            "  event 1 at 1 us, submit: the device fetches write,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 1 at 1 us, submit: the device posts the completion,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 1 at 1 us, submit: the driver's lookup succeeds,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 1 at 1 us, submit: the device posts a false completion,"
            " cookie 0x2003 (generation 2, tag 3)\n"
            "  event 1 at 1 us, submit: the driver's lookup is refused: stale_generation,"
            " cookie 0x2003 (generation 2, tag 3)\n");
  EXPECT_EQ(world.lookups()[0], 1U);
  EXPECT_EQ(world.lookups()[static_cast<std::size_t>(LookupReason::stale_generation)], 1U);
}

TEST_F(LookedUp, AFalseCompletionMustNotBeAccepted) {
  take(0x2003, false);
  look_up(0x2003, LookupReason::none);
  EXPECT_EQ(world.finding().what,
            "the driver accepted a completion of an I/O that the device does not have");
  EXPECT_TRUE(world.finding().has_request);
  EXPECT_EQ(world.finding().cookie, 0x2003U);
  EXPECT_EQ(world.finding().tag, tag3);
}

TEST_F(LookedUp, AGenuineCompletionMustNotBeRefused) {
  world.device_events_.command_done(1, message);
  take(cookie3, true);
  look_up(cookie3, LookupReason::stale_generation);
  EXPECT_EQ(world.finding().what, "the driver refused the genuine completion of an I/O");
  EXPECT_EQ(world.finding().queue, queue1);
}

TEST_F(LookedUp, AFindingOfACookieWithoutARequestNamesTheCookie) {
  take(0x2008, false);
  look_up(0x2008, LookupReason::none);
  EXPECT_FALSE(world.finding().has_request);
  EXPECT_EQ(world.finding().cookie, 0x2008U);
}

TEST_F(LookedUp, EachReplyMustBe) {
  take(0x2003, false);
  EXPECT_TRUE(is_well(MessageProbe::Entries::late)) << "the queue has gone, and the reply is false";
  EXPECT_FALSE(is_well());
  world.begin_event("later", queue1, tag3, {.generation = Generation{2}, .count = 2});
  const std::string text = world.report();
  EXPECT_EQ(text.substr(0, text.find("history")),
            "seed 0, event 2, in submit: the driver did not look up each completion entry once,"
            " with its own cookie and queue\n"
            "  request: queue 1, tag 3, cookie 0x2003 (generation 2, tag 3); 1, generation 1\n"
            "  fault: no fault was injected\n"
            "  the entry was taken, and was not looked up\n");
}

TEST_F(LookedUp, EachGenuineReplyMustBeAlsoWhenTheQueueHasGone) {
  world.device_events_.command_done(1, message);
  take(cookie3, true);
  EXPECT_FALSE(is_well(MessageProbe::Entries::late));
}

TEST_F(LookedUp, NoReplyMustBeThatWasNotTakenAlsoWhenTheQueueHasGone) {
  look_up(0x2003, LookupReason::stale_generation);
  EXPECT_FALSE(is_well(MessageProbe::Entries::late));
  EXPECT_EQ(world.finding().details,
            (std::vector<std::string>{"the entry was looked up, but no entry had that cookie"}));
}

// --- the other checks of an event ----------------------------------------------------------------

TEST_F(LookedUp, ALeftReplyIsFoundHalfATimeoutAfterItsInterrupt) {
  world.device_events_.entry_posted(1, 0x2003, false);
  world.history_.begin_event("late", 3'000'000);
  EXPECT_TRUE(is_well()) << "no interrupt";
  world.note_interrupt(0);
  world.history_.begin_event("late", 4'000'000);
  EXPECT_TRUE(is_well()) << "the interrupt of another queue";
  world.note_interrupt(1);
  world.history_.begin_event("late", 4'999'999);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("late", 5'000'000);
  EXPECT_FALSE(is_well());
  EXPECT_EQ(world.finding().what,
            "the driver left an entry in its ring after the interrupt, and no other one came");
  EXPECT_EQ(world.finding().queue, queue1);
  EXPECT_EQ(world.finding().cookie, 0x2003U);
}

// Goal: the entry behind a taken one is found at its own time, although no look was due then.
TEST_F(LookedUp, ALeftReplyBehindATakenOneIsFoundInTime) {
  world.history_.begin_event("first", 3'000'000);
  world.device_events_.entry_posted(1, 0x2003, false);
  world.note_interrupt(1);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("second", 3'400'000);
  world.device_events_.entry_posted(1, 0x2004, false);
  world.note_interrupt(1);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("lookup", 3'900'000);
  world.device_events_.entry_taken(1);
  look_up(0x2003, LookupReason::stale_generation);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("look", 4'200'000);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("late", 4'399'999);
  EXPECT_TRUE(is_well());
  world.history_.begin_event("late", 4'400'000);
  EXPECT_FALSE(is_well());
  EXPECT_EQ(world.finding().cookie, 0x2004U);
}

TEST_F(LookedUp, AMisusedDoorbellIsAFinding) {
  world.device_events_.doorbell_misused(1);
  EXPECT_FALSE(is_well());
  EXPECT_EQ(world.finding().what,
            "the driver wrote a value to a doorbell that is no index of its queue");
}

TEST_F(LookedUp, ABrokenInvariantIsAFinding) {
  auto owned = driver.owned(2, 1);
  const std::string before = support::state_at(owned.header());
  support::preset_word(owned.header(), "0 owned claimed");
  EXPECT_FALSE(is_well());
  EXPECT_EQ(world.finding().what, "an owned request has references or further flags");
  support::preset_word(owned.header(), before);
  std::move(owned).end_ok();
}

TEST_F(LookedUp, ARunHasALimitOfEvents) {
  EXPECT_TRUE(world.check_limits(driver.set, 1));
  world.history_.begin_event("later", 0);
  const auto cookie = driver.in_flight(5, 1);
  EXPECT_FALSE(world.check_limits(driver.set, 1));
  EXPECT_EQ(world.finding().what, "the I/O did not end within the limit of events of a run");
  EXPECT_TRUE(world.finding().has_request);
  EXPECT_EQ(world.finding().queue, queue1);
  EXPECT_EQ(world.finding().tag, Tag{5});
  driver.complete(cookie);
}

TEST_F(LookedUp, AShrinkCutsARunOff) {
  world.config_.max_events = 2;
  world.history_.begin_event("later", 0);
  EXPECT_TRUE(world.check_limits(driver.set, 100));
  world.history_.begin_event("later", 0);
  EXPECT_FALSE(world.check_limits(driver.set, 100));
  EXPECT_EQ(world.finding().what, "the run was cut off at its limit of events");
}

TEST_F(LookedUp, AFindingWithoutARequestInFlightNamesNone) {
  auto idle = driver.idle(2, 0);
  EXPECT_FALSE(world.fail_with_first("an I/O is lost", driver.set));
  EXPECT_FALSE(world.finding().has_request);
}

TEST_F(LookedUp, AnOwnedRequestIsNotIdle) {
  auto owned = driver.owned(2, 0);
  EXPECT_FALSE(world.fail_with_first("an I/O is lost", driver.set));
  EXPECT_TRUE(world.finding().has_request);
  EXPECT_EQ(world.finding().tag, Tag{2});
  std::move(owned).end_ok();
}

TEST_F(LookedUp, AnAcceptedPublicationIsKnownByItsGeneration) {
  const auto cookie = driver.in_flight(5, 1);
  world.note_accepted(driver.set, queue1, cookie.value);
  EXPECT_TRUE(world.was_accepted(queue1, Tag{5}, cookie.generation));
  EXPECT_FALSE(world.was_accepted(queue1, Tag{5}, Generation{cookie.generation.value + 16}));
  EXPECT_FALSE(world.was_accepted(QueueIndex{0}, Tag{5}, cookie.generation));
  driver.complete(cookie);
}

// --- the admin queue -----------------------------------------------------------------------------

TEST(AdminLookup, IsJudged) {
  const auto finding_after = [](bool is_done, bool was_accepted) {
    NvmeProbe world{{}};
    auto entry = blkown::nvme::SubmissionEntry::flush(1);
    entry.command_id = 0x1003;
    if (is_done) world.device_events_.command_done(0, entry);
    world.device_events_.entry_posted(0, 0x1003, is_done);
    world.note_admin_lookup(0x1003, was_accepted);
    return world.finding().what;
  };
  EXPECT_EQ(finding_after(true, true), "");
  EXPECT_EQ(finding_after(false, false), "");
  EXPECT_EQ(finding_after(true, false),
            "the driver refused the genuine completion of an admin command");
  EXPECT_EQ(finding_after(false, true),
            "the driver accepted a completion of an admin command that the device does not have");
}

// --- data ----------------------------------------------------------------------------------------

TEST(WorldData, AWrongReadNamesTheWriterOfTheSector) {
  MessageProbe world{config_of_io(&sim::OperationMix::read)};
  const std::uint64_t sector = world.begin_io();
  const std::string its = std::to_string(sector);
  world.begin_event("submit", queue1, tag3, published);
  world.device_events_.command_fetched(1,
                                       message_of(sim::Opcode::write_zeroes, cookie3, sector, 1));
  world.device_events_.strike({FaultKind::media_error, 6},
                              sim::FaultTarget{.queue = 1, .cookie = cookie3});
  world.begin_event("later", queue1, tag3, {.generation = Generation{2}, .count = 1});
  world.end_io(0, Status::ok);
  world.begin_event("last", queue1, tag3, {.generation = Generation{3}, .count = 1});
  EXPECT_EQ(world.ended(), 1U);
  EXPECT_EQ(world.ended_ok(), 1U);
  EXPECT_EQ(world.report(),
            "seed 0, event 3, in later: a read returned other data than was written\n"
            "  request: queue 1, tag 3, cookie 0x1003 (generation 1, tag 3): write_zeroes of"
            " sector " +
                its +
                "; now 1, generation 2\n"
                "  fault: media_error@6 in event 1, at this request\n"
                "  sector " +
                its + " was written last by a write_zeroes of sector " + its +
                ", fetched in event 1 from queue 1, cookie 0x1003 (generation 1, tag 3),"
                " fault media_error@6\n"
                "history of queue 1, tag 3:\n"
                "  event 1 at 1 us, submit: free -> 1, generation 1\n"
                "  event 1 at 1 us, submit: the device fetches write_zeroes,"
                " cookie 0x1003 (generation 1, tag 3)\n"
                "  event 1 at 1 us, submit: fault media_error@6 strikes\n"
                "  event 2 at 2 us, later: 1, generation 1 -> 1, generation 2\n"
                "  event 3 at 3 us, last: 1, generation 2 -> 1, generation 3\n");
}

TEST(WorldData, AWrongReadNamesTheReadIfItHasARequest) {
  const auto config = config_of_io(&sim::OperationMix::read);
  support::Driver<> driver;
  MessageProbe world{config};
  const std::string its = std::to_string(world.begin_io());
  world.history_.begin_event("interrupt", 0);
  world.end_io(0, Status::ok, driver.set, queue1, Tag{5});
  EXPECT_EQ(world.finding().what, "a read returned other data than was written");
  EXPECT_EQ(world.finding().tag, Tag{5});
  EXPECT_EQ(world.finding().details,
            (std::vector{"sector " + its + ": the device has fetched no write to it"}));
}

TEST(WorldData, AFailedReadIsNoFinding) {
  MessageProbe world{config_of_io(&sim::OperationMix::read)};
  world.begin_io();
  world.end_io(0, Status::io_error);
  EXPECT_EQ(world.report(), "");
  EXPECT_EQ(world.ended(), 1U);
  EXPECT_EQ(world.ended_ok(), 0U);
  world.end_io(0, Status::ok);
  EXPECT_EQ(world.finding().what, "an I/O ended twice");
  EXPECT_FALSE(world.finding().has_request);
}

// A compare with other data than the medium's must fail.
TEST(WorldData, ACompareEndsOkIfItTellsWhetherTheDataDiffers) {
  NvmeProbe world{config_of_io(&sim::OperationMix::compare)};
  std::set<bool> seen;
  for (std::uint64_t ok = 0; seen.size() != 2; ++ok) {
    world.begin_io();
    const bool must_fail = world.workload_.slot(0).must_fail;
    seen.insert(must_fail);
    world.end_io(0, must_fail ? Status::io_error : Status::ok);
    EXPECT_EQ(world.ended_ok(), ok + 1);
  }
  EXPECT_EQ(world.report(), "");
  do {
    world.begin_io();
    world.end_io(0, Status::ok);
  } while (!world.workload_.slot(0).must_fail);
  EXPECT_EQ(world.finding().what, "a compare with other data than was written succeeded");
}

TEST(WorldData, AWriteToTheNamespaceOfAnotherDiskIsAFinding) {
  NvmeProbe world{config_of_io(&sim::OperationMix::write)};
  EXPECT_EQ(world.config_.nsid, 1U);
  const std::uint64_t sector = world.begin_io(0, true);
  world.begin_event("submit", queue1, tag3, published);
  auto entry = blkown::nvme::SubmissionEntry::write(2, {sector, 2}, true);
  entry.command_id = cookie3;
  world.device_events_.command_fetched(2, entry);
  ASSERT_TRUE(world.other_media_.write(sector * 512, world.workload_.written(0)));
  world.history_.begin_event("stop", 9'000);
  world.end_io(0, Status::ok);
  EXPECT_FALSE(world.check_after_stop());
  const std::string its = std::to_string(sector);
  const std::string text = world.report();
  const std::string range = std::to_string(sector) + " to " + std::to_string(sector + 1);
  EXPECT_EQ(text.substr(0, text.find("history")),
            "seed 0, event 2, in stop: the driver wrote to the namespace of another disk\n"
            "  request: queue 1, tag 3, cookie 0x1003 (generation 1, tag 3): write of sectors " +
                range +
                " with FUA, in the namespace of another disk; now 1, generation 1\n"
                "  fault: no fault was injected\n"
                "  then, in stop: the medium holds other data than was written;"
                " sector " +
                its +
                ": the device has fetched no write to it;"
                " the sector of another disk was written by a write of sectors " +
                range +
                " with FUA, in the namespace of another disk, fetched in event 1 from queue 1,"
                " cookie 0x1003 (generation 1, tag 3)\n"
                "  then, in stop: a power cut loses what was made durable, or leaves what was"
                " never written, in sector " +
                its + "; sector " + its +
                ": the device has fetched no write to it;"
                " the sector of another disk was written by a write of sectors " +
                range +
                " with FUA, in the namespace of another disk, fetched in event 1 from queue 1,"
                " cookie 0x1003 (generation 1, tag 3);"
                " not even the volatile cache has what the sector must hold\n");
}

// --- durability ----------------------------------------------------------------------------------

/// A write that only the volatile cache has, although a flush, or FUA, has made it durable.
struct Undurable : testing::Test {
  explicit Undurable(std::uint32_t sim::OperationMix::* operation = &sim::OperationMix::write)
      : world{config_of_io(operation, 1)} {}

  /// The write's I/O, which the device has.
  void write(bool is_fua) {
    world.begin_event("submit", queue1, tag3, published);
    sector = world.begin_io(0, is_fua);
    its = std::to_string(sector);
    world.device_events_.command_fetched(1, message_of(sim::Opcode::write, cookie3, sector, 1));
    ASSERT_TRUE(world.media_.write(sector * 512, world.workload_.written(0)));
    world.end_io(0, Status::ok);
  }
  void fetch_flush(std::uint64_t cookie) {
    world.history_.begin_event("flush", 0);
    world.state->generation = Generation{static_cast<std::uint32_t>(cookie >> 12)};
    world.device_events_.command_fetched(1, message_of(sim::Opcode::flush, cookie, 0, 0));
  }
  [[nodiscard]] std::string writer() const {
    return "sector " + its + " was written last by a write of sector " + its +
           ", fetched in event 1 from queue 1, cookie 0x1003 (generation 1, tag 3)";
  }

  MessageProbe world;
  std::uint64_t sector = 0;
  std::string its;
};

TEST_F(Undurable, AWriteWithoutFlushIsNoPromise) {
  write(false);
  EXPECT_TRUE(world.check_after_stop()) << world.report();
}

TEST_F(Undurable, AWriteWithFuaIsAFinding) {
  write(true);
  EXPECT_FALSE(world.check_after_stop());
  EXPECT_EQ(
      world.finding().what,
      "a power cut loses what was made durable, or leaves what was never written, in sector " +
          its);
  EXPECT_EQ(world.finding().cookie, cookie3);
  EXPECT_EQ(world.finding().first_event, 1U);
  EXPECT_EQ(to_string(world.finding().io), "write of sector " + its);
  EXPECT_EQ(world.finding().details,
            (std::vector<std::string>{
                writer(), "only the volatile cache has the data of a write with FUA that ended ok",
                "the device has fetched no flush of the disk"}));
}

TEST_F(Undurable, AFlushThatFailedIsNamed) {
  write(true);
  fetch_flush(0x2003);
  world.device_events_.strike({FaultKind::media_error, 6},
                              sim::FaultTarget{.queue = 1, .cookie = 0x2003});
  fetch_flush(0x3003);
  EXPECT_FALSE(world.check_after_stop());
  EXPECT_EQ(world.finding().details,
            (std::vector<std::string>{
                writer(), "only the volatile cache has the data of a write with FUA that ended ok",
                "the latest flush: flush, fetched in event 3 from queue 1,"
                " cookie 0x3003 (generation 3, tag 3)",
                "the latest flush with a fault: flush, fetched in event 2 from queue 1,"
                " cookie 0x2003 (generation 2, tag 3), fault media_error@6"}));
}

TEST_F(Undurable, TheLatestFlushIsNamedOnceIfItFailed) {
  write(true);
  fetch_flush(0x2003);
  world.device_events_.strike({FaultKind::media_error, 6},
                              sim::FaultTarget{.queue = 1, .cookie = 0x2003});
  EXPECT_FALSE(world.check_after_stop());
  EXPECT_EQ(world.finding().details.size(), 3U);
  EXPECT_EQ(world.finding().details.back(),
            "the latest flush: flush, fetched in event 2 from queue 1,"
            " cookie 0x2003 (generation 2, tag 3), fault media_error@6");
}

/// A write, and a flush behind it, that have ended ok on each of two disks in namespaces. Only the
/// volatile cache has the data.
struct UnflushedDisks : testing::Test {
  [[nodiscard]] static WorldConfig two_disks() {
    WorldConfig config = config_of_io(&sim::OperationMix::write, 1);
    config.disk_count = 2;
    return config;
  }
  void write(std::uint32_t slot) {
    const std::uint64_t sector = world.begin_io(slot);
    ASSERT_TRUE(world.media_.write(sector * 512, world.workload_.written(slot)));
    world.end_io(slot, Status::ok);
  }
  /// The flush is that of a bio with a preflush, whose data is in the cache, too.
  void flush(std::uint32_t slot, const std::optional<std::uint32_t>& false_nsid) {
    const std::uint64_t sector = world.begin_io(slot, false, true);
    ASSERT_TRUE(world.media_.write(sector * 512, world.workload_.written(slot)));
    if (false_nsid.has_value()) {
      world.distrust(blkown::nvme::SubmissionEntry::flush(*false_nsid));
    }
    world.end_io(slot, Status::ok);
  }
  [[nodiscard]] bool is_well(const std::optional<std::uint32_t>& false_nsid) {
    const std::uint32_t of_disk_1 = world.workload_.slot_count() / 2;
    for (const std::uint32_t slot : {0U, of_disk_1}) write(slot);
    for (const std::uint32_t slot : {1U, of_disk_1 + 1}) flush(slot, false_nsid);
    return world.check_after_stop();
  }

  NvmeProbe world{two_disks()};
};

TEST_F(UnflushedDisks, AreAFinding) { EXPECT_FALSE(is_well(std::nullopt)); }

TEST_F(UnflushedDisks, AreAFindingIfTheFalseCompletionWasOfTheOtherDisk) {
  EXPECT_FALSE(is_well(1));
  EXPECT_NE(world.finding().what.find("of disk 1"), std::string::npos) << world.finding().what;
}

// Goal: a right driver cannot tell a false completion of a flush, and the flush may be one of all
// disks.
TEST_F(UnflushedDisks, AreNoneAfterAFalseCompletionOfAFlushOfAllNamespaces) {
  EXPECT_TRUE(is_well(blkown::nvme::all_namespaces)) << world.report();
}

TEST_F(UnflushedDisks, ACommandBehindTheEndOfADiskIsNoneOfTheNextDisk) {
  const std::uint32_t of_disk_1 = world.workload_.slot_count() / 2;
  world.begin_event("submit", queue1, tag3, published);
  world.begin_io(of_disk_1);
  const std::uint64_t blocks = world.workload_.capacity_bytes() / 2 / world.config_.block_bytes;
  auto entry = blkown::nvme::SubmissionEntry::write(world.config_.nsid, {blocks, 1});
  entry.command_id = cookie3;
  for (int i = 0; i != 101; ++i) world.device_events_.command_fetched(2, entry);
  EXPECT_EQ(world.report(), "");
  world.distrust(entry);
  EXPECT_FALSE(world.workload_.slot(of_disk_1).is_tainted);
  world.distrust(blkown::nvme::SubmissionEntry::write(2, {0, 1}));
  EXPECT_TRUE(world.workload_.slot(of_disk_1).is_tainted);
}

// The judge looks once in 32 I/Os, and half of the power cuts keep what is cached.
TEST_F(Undurable, APreflushThatWasNoneIsAFindingWhileTheRunGoesOn) {
  support::Driver<> driver;
  sim::History unused;
  sim::InvariantChecker<support::Request> check{driver.set, unused};
  write(false);
  int ios = 0;
  for (; world.check_after_event(check) && ios != 1000; ++ios) {
    sector = world.begin_io(0, false, true);
    ASSERT_TRUE(world.media_.write(sector * 512, world.workload_.written(0)));
    world.end_io(0, Status::ok);
  }
  EXPECT_LT(ios, 1000);
  EXPECT_NE(world.finding().what.find("a power cut loses what was made durable"),
            std::string::npos);
  EXPECT_EQ(world.finding().details.at(1),
            "only the volatile cache has the data of a write before a flush that ended ok");
}

/// Numbers of looks at power cuts, of which there are 40.
struct Looks {
  int finding = 40;  // the first one that finds the write
  int lost = 40;     // the first one that loses it
  int kept = 40;     // the first one that does not
};
/// Looks at a write to slot 0 whose data is in the volatile cache only, and after which nothing is
/// written there. `is_fua`: the write has FUA. With `is_wrong`, the device has written other data.
[[nodiscard]] Looks looks_at(std::uint64_t seed, bool is_fua, bool is_wrong) {
  WorldConfig config = config_of_io(&sim::OperationMix::write, 1);
  config.seed = seed;
  config.fixed.has_cache = true;
  config.ios_per_cut = 1;
  MessageProbe world{config};
  support::Driver<> driver;
  sim::History unused;
  sim::InvariantChecker<support::Request> check{driver.set, unused};
  sim::Random dice{~seed};  // as that of the world's cuts
  const auto write = [&](std::uint32_t slot, std::byte change, bool fua) {
    const std::uint64_t sector = world.begin_io(slot, fua);
    const auto data = world.workload_.written(slot);
    std::vector<std::byte> written{data.begin(), data.end()};
    written[7] ^= change;
    EXPECT_TRUE(world.media_.write(sector * 512, written));
    world.end_io(slot, Status::ok);
    static_cast<void>(dice.chance(1, config.ios_per_cut));
    return sector;
  };
  Looks looks;
  const std::uint64_t sector = write(0, std::byte{is_wrong}, is_fua);
  for (int look = 0; look != 40; ++look) {
    const auto lost = world.media_.disk(0).lost_by_power_cut(dice.next());
    const bool is_lost =
        std::ranges::find(lost, sector, &sim::CachedMedia::LostWrite::sector) != lost.end();
    int& first = is_lost ? looks.lost : looks.kept;
    first = std::min(first, look);
    if (!world.check_after_event(check)) {
      looks.finding = look;
      return looks;
    }
    write(1, {}, false);
  }
  return looks;
}

// Goal: a look compares the sectors whose latest write is lost, also if the look before has
// admitted what was written last.
TEST(PowerCuts, AnEarlierContentIsComparedWhenItComesBack) {
  for (std::uint64_t seed = 0; seed != 8; ++seed) {
    const Looks looks = looks_at(seed, true, false);
    EXPECT_EQ(looks.finding, looks.lost) << seed;
    EXPECT_EQ(looks_at(seed, false, false).finding, 40) << seed;
  }
}

// Goal: a look compares the sectors whose latest write was lost at the look before.
TEST(PowerCuts, TheLatestContentIsComparedAfterAnEarlierOne) {
  for (std::uint64_t seed = 0; seed != 8; ++seed) {
    const Looks looks = looks_at(seed, false, true);
    EXPECT_EQ(looks.finding, looks.kept) << seed;
  }
}

// --- the tags ------------------------------------------------------------------------------------

// Goal: with most seeds the generation of a tag that each run uses wraps within the run.
TEST(WorldTags, TheGenerationOfOneTagIsCloseToItsEnd) {
  std::set<std::array<std::uint32_t, 3>> seen;
  for (std::uint64_t seed = 0; seed != 512; ++seed) {
    WorldConfig config;
    config.seed = seed;
    const auto tags = NvmeProbe::tag_config(config);
    int close = 0;
    for (QueueIndex queue; queue.value != 2; ++queue.value) {
      for (Tag tag; tag.value != config.depth; ++tag.value) {
        const Generation first =
            blkown::detail::first_generation_of(*tags.first_generation, queue, tag);
        const std::uint32_t left = 0 - first.value;
        if (left >= 64) continue;
        ++close;
        seen.insert({queue.value, tag.value, left});
        EXPECT_TRUE(tag.value >= 2 && tag.value < 6);
      }
    }
    EXPECT_EQ(close, 1) << seed;
  }
  EXPECT_EQ(seen.size(), 512U) << "two queues, four tags, and 64 generations";
}

}  // namespace
