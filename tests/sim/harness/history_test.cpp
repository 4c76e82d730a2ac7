// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <blkown/sim/harness/history.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace sim = blkown::sim;
using blkown::Generation;
using blkown::QueueIndex;
using blkown::RequestState;
using blkown::Tag;
using sim::Activity;
using sim::FaultKind;
using sim::FaultStrike;
using sim::History;

constexpr QueueIndex queue0{0};

[[nodiscard]] std::string printed(const History& history, blkown::QueueIndex queue, Tag tag,
                                  std::size_t most = 12) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  history.print(file, queue, tag, most);
  std::fclose(file);
  std::string copy{text, size};
  std::free(text);
  return copy;
}
[[nodiscard]] RequestState state(std::uint32_t count) {
  return {.generation = Generation{7}, .count = count};
}

TEST(History, IsEmptyAtFirst) {
  const History history;
  EXPECT_EQ(history.event(), 0U);
  EXPECT_EQ(printed(history, blkown::QueueIndex{0}, Tag{0}), "");
}

TEST(History, NamesTheEventOfEachTransition) {
  History history;
  history.begin_event("submit", 12'345);
  history.add(queue0, Tag{1}, false, {}, true, state(1));
  history.begin_event("timeout scan", 2'000'999);
  EXPECT_EQ(history.event(), 2U);
  RequestState claimed = state(3);
  claimed.claimed = true;
  history.add(queue0, Tag{1}, true, state(1), true, claimed);
  RequestState finished = state(2);
  finished.finished = true;
  history.add(queue0, Tag{1}, true, claimed, true, finished);
  RequestState owned = state(0);
  owned.owned = true;
  history.add(queue0, Tag{1}, true, finished, true, owned);
  history.add(queue0, Tag{1}, true, owned, false, {});
  EXPECT_EQ(printed(history, queue0, Tag{1}),
            "  event 1 at 12 us, submit: free -> 1, generation 7\n"
            "  event 2 at 2000 us, timeout scan: 1, generation 7 -> 3 claimed, generation 7\n"
            "  event 2 at 2000 us, timeout scan:"
            " 3 claimed, generation 7 -> 2 finished, generation 7\n"
            "  event 2 at 2000 us, timeout scan:"
            " 2 finished, generation 7 -> 0 owned, generation 7\n"
            "  event 2 at 2000 us, timeout scan: 0 owned, generation 7 -> free\n");
}

TEST(History, PrintsTheLatestOfOneRequestOldestFirst) {
  History history;
  for (std::uint32_t i = 0; i != 6; ++i) {
    history.begin_event("step", 0);
    history.add(QueueIndex{i % 2}, Tag{3}, true, state(i), true, state(i + 1));
    history.add(QueueIndex{i % 2}, Tag{4}, true, state(9), true, state(9));
  }
  EXPECT_EQ(printed(history, QueueIndex{1}, Tag{3}, 2),
            "  event 4 at 0 us, step: 3, generation 7 -> 4, generation 7\n"
            "  event 6 at 0 us, step: 5, generation 7 -> 6, generation 7\n");
  EXPECT_EQ(printed(history, QueueIndex{1}, Tag{3}, 0), "");
  EXPECT_EQ(printed(history, QueueIndex{2}, Tag{3}), "");
}

// Goal: a finding about an earlier command shows what became of it, not the tag's latest I/O.
TEST(History, PrintsFromAnEventOn) {
  History history;
  for (std::uint32_t i = 0; i != 6; ++i) {
    history.begin_event("step", 0);
    history.add(queue0, Tag{3}, true, state(i), true, state(i + 1));
  }
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  history.print(file, queue0, Tag{3}, 2, 3);
  std::fclose(file);
  EXPECT_EQ(std::string(text, size),
            "  event 3 at 0 us, step: 2, generation 7 -> 3, generation 7\n"
            "  event 4 at 0 us, step: 3, generation 7 -> 4, generation 7\n");
  std::free(text);
}

// Goal: an I/O that is in flight for long still has its beginning.
TEST(History, KeepsTheLatestEntriesOfEachRequest) {
  History history;
  history.begin_event("first", 0);
  history.add(queue0, Tag{1}, true, state(1), true, state(2));
  for (std::uint32_t i = 0; i != 10'000; ++i) history.add(queue0, Tag{2}, true, {}, true, {});
  EXPECT_NE(printed(history, queue0, Tag{1}), "");
  for (std::uint32_t i = 0; i != 64; ++i) {
    history.begin_event("later", 0);
    history.add(queue0, Tag{1}, true, state(2), true, state(3));
  }
  EXPECT_EQ(printed(history, queue0, Tag{1}, 100).find("  event 2 at 0 us, later: "), 0U)
      << "64 entries are kept";
}

// --- activities ----------------------------------------------------------------------------------

TEST(History, ThePlaceIsTheInnermostActivityWithinTheOthers) {
  History history;
  EXPECT_EQ(history.place(), "");
  history.begin_event(Activity::of_request("submit", queue0, Tag{3}), 0);
  EXPECT_EQ(history.place(), "submit of queue 0, tag 3");
  {
    const History::Within within{history, Activity::of_queue("interrupt", QueueIndex{1})};
    EXPECT_EQ(history.place(), "interrupt of queue 1, within submit of queue 0, tag 3");
  }
  EXPECT_EQ(history.place(), "interrupt of queue 1, within submit of queue 0, tag 3")
      << "the event's latest activity, for a check after the event";
  history.begin_event("interrupt", 0);
  const History::Within within{history, Activity::of_queue("interrupt", QueueIndex{1})};
  EXPECT_EQ(history.place(), "interrupt of queue 1") << "the event says no more";
}

// An interrupt may come within a doorbell, within a call of the driver, and so on.
TEST(History, ThePlaceHasAsManyActivitiesAsAreKept) {
  constexpr std::size_t kept = 8;  // the event, and those within it
  History history;
  history.begin_event("submit", 0);
  std::vector<std::unique_ptr<History::Within>> within;
  for (std::uint32_t i = 1; i != kept; ++i) {
    within.push_back(
        std::make_unique<History::Within>(history, Activity::of_queue("level", QueueIndex{i})));
  }
  const std::string place = history.place();
  EXPECT_EQ(place.find("level of queue 7, within level of queue 6, within "), 0U) << place;
  EXPECT_EQ(history.request_activity(), std::nullopt);
  for (std::uint32_t i = 0; i != 3; ++i) {
    within.push_back(std::make_unique<History::Within>(
        history, Activity::of_request("deeper", QueueIndex{0}, Tag{i})));
    EXPECT_EQ(history.place(), place);
    EXPECT_EQ(history.request_activity(), std::nullopt);
  }
  for (std::size_t i = 0; i != 3; ++i) within.pop_back();
  history.turn_to(Activity::of_request("queue_rq", queue0, Tag{3}));
  ASSERT_TRUE(history.request_activity().has_value());
  EXPECT_EQ(history.request_activity()->tag, 3U);
}

TEST(History, ThePlaceOfARequestIsTheActivityThatConcernedIt) {
  History history;
  history.begin_event("timeout scan", 5'000);
  for (const std::uint32_t tag : {3U, 4U}) {
    const History::Within within{history, Activity::of_request("timeout hook", queue0, Tag{tag})};
  }
  EXPECT_EQ(history.place(queue0, Tag{3}), "timeout hook of queue 0, tag 3, within timeout scan");
  EXPECT_EQ(history.place(queue0, Tag{5}), "timeout hook of queue 0, tag 4, within timeout scan");
  history.add(queue0, Tag{3}, true, state(2), true, state(1));
  history.add(queue0, Tag{5}, true, state(2), true, state(1));
  EXPECT_EQ(printed(history, queue0, Tag{3}),
            "  event 1 at 5 us, timeout hook: 2, generation 7 -> 1, generation 7\n");
  EXPECT_EQ(printed(history, queue0, Tag{5}),
            "  event 1 at 5 us, timeout scan: 2, generation 7 -> 1, generation 7\n");
}

TEST(History, KnowsTheRequestThatTheWorldIsAt) {
  History history;
  history.begin_event(Activity::of_request("submit", queue0, Tag{3}), 0);
  {
    const History::Within hook{history, Activity::of_request("timeout hook", queue0, Tag{4})};
    const History::Within within{history, Activity::of_queue("interrupt", QueueIndex{1})};
    EXPECT_EQ(history.request_activity()->tag, 4U);
  }
  EXPECT_EQ(history.request_activity()->tag, 3U);
  history.begin_event("controller", 1);
  EXPECT_FALSE(history.request_activity().has_value());
}

TEST(History, AStepHasTheNameOfWhatHappensFirst) {
  History history;
  history.begin_step(0);
  history.name_event({.name = "controller"});
  history.name_event({.name = "work"});
  EXPECT_EQ(history.place(), "controller");
  history.turn_to(Activity::of_request("queue_rq", queue0, Tag{3}));
  EXPECT_EQ(history.place(), "queue_rq of queue 0, tag 3");
  history.begin_step(0);
  history.turn_to(Activity::of_request("timeout hook", queue0, Tag{3}));
  history.name_event({.name = "work"});
  EXPECT_EQ(history.place(), "timeout hook of queue 0, tag 3");
}

// --- what happened -------------------------------------------------------------------------------

TEST(History, PrintsCookiesDecoded) {
  History history;
  history.begin_event("controller", 0);
  history.note(queue0, Tag{3}, "the device posts the completion", "", 0x5003);
  history.note(queue0, Tag{3}, "ended with ", "io_error");
  EXPECT_EQ(printed(history, queue0, Tag{3}),
            "  event 1 at 0 us, controller: the device posts the completion,"
            " cookie 0x5003 (generation 5, tag 3)\n"
            "  event 1 at 0 us, controller: ended with io_error\n");
  EXPECT_EQ(sim::cookie_text(blkown::CookieLayout::nbd(), 0x0000000700020003),
            "cookie 0x700020003 (generation 7, queue 2, tag 3)");
}

TEST(History, KnowsTheFaultsOfEachRequest) {
  History history;
  EXPECT_TRUE(history.strikes_of(queue0, Tag{3}).empty());
  history.begin_event("controller", 0);
  history.strike({FaultKind::lost, 2}, queue0, Tag{3});
  history.begin_event("controller", 0);
  history.strike({FaultKind::reset, 1});
  EXPECT_EQ(history.strike_count(), 2U);
  EXPECT_EQ(history.strikes_of(queue0, Tag{3}).front().fault, (FaultStrike{FaultKind::lost, 2}));
  EXPECT_EQ(history.strikes_of(queue0, Tag{3}).front().event, 1U);
  EXPECT_TRUE(history.strikes_of(queue0, Tag{4}).empty());
  const auto latest = history.latest_strikes(9);
  ASSERT_EQ(latest.size(), 2U);
  EXPECT_EQ(latest[0].fault, (FaultStrike{FaultKind::reset, 1}));
  EXPECT_FALSE(latest[0].has_request);
  EXPECT_TRUE(latest[1].has_request);
  EXPECT_EQ(printed(history, queue0, Tag{3}),
            "  event 1 at 0 us, controller: fault lost@2 strikes\n");
}

TEST(History, AFalseCompletionBringsItsFaultToTheRequestThatItNames) {
  History history;
  history.begin_event("controller", 0);
  history.strike({FaultKind::stale, 2}, queue0, Tag{5});
  history.false_completion(queue0, Tag{3}, 0x1003, FaultStrike{FaultKind::stale, 2});
  history.false_completion(queue0, Tag{5}, 0x1005, FaultStrike{FaultKind::stale, 2});
  EXPECT_EQ(history.strikes_of(queue0, Tag{3}).front().fault, (FaultStrike{FaultKind::stale, 2}));
  EXPECT_EQ(history.strike_count(), 1U);
  EXPECT_EQ(printed(history, queue0, Tag{5}),
            "  event 1 at 0 us, controller: fault stale@2 strikes\n"
            "  event 1 at 0 us, controller: the device posts a false completion,"
            " cookie 0x1005 (generation 1, tag 5)\n")
      << "the fault once";
}

}  // namespace
