// SPDX-License-Identifier: BSL-1.0
//
// The tracking build (BLKOWN_TRACKING): a request's holders and the places where they were taken.
// The end of aref_test.cpp tests a plain build.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/driver.hpp"
#include "support/holders.hpp"
#include "support/table.hpp"

using blkown::Place;
using blkown::QueueIndex;
using blkown::Tag;
using support::ARef;
using support::Driver;

namespace {

static_assert(blkown::is_tracking);

using support::holders;
using support::Line;
using support::Lines;
using support::next_line;

/// A reference-counted object that is not a request.
struct Counted {
  void add_ref() { ++references; }
  void drop_ref() { --references; }
  int references = 1;
};

class Tracking : public testing::Test {
 protected:
  /// Ends the I/Os that a test has left in flight.
  void TearDown() override {
    for (blkown::QueueIndex queue; queue.value != driver.set.queue_count(); ++queue.value) {
      driver.set.for_each_in_flight(queue, [](const ARef& pin, const blkown::Cookie& cookie) {
        std::move(*blkown::claim(pin, cookie)).end_ok();
      });
    }
  }

  [[nodiscard]] Lines held(std::uint32_t tag = 0) const {
    return holders(driver.set.header(QueueIndex{0}, Tag{tag}));
  }
  /// A reference to an I/O in flight, and the line that the reference must record.
  [[nodiscard]] std::pair<ARef, Line> reference(std::uint32_t tag = 0) {
    const Line line = next_line();
    ARef pin = driver.owned(tag).into_shared();
    return {std::move(pin), line};
  }

  Driver<> driver;
};

}  // namespace

// Goal: when an I/O's end is delivered, the handle that ended it is no holder: the request may
// already serve another I/O.
TEST(TrackingOfEnds, AHandleIsNoHolderAtItsEnd) {
  struct Ends {
    const support::TagSet* set = nullptr;
    int count = 0;
    void operator()(support::EndedList&&) {
      ++count;
      blkown::visit_holders(set->header(QueueIndex{0}, Tag{0}), [](const Place& place) {
        ADD_FAILURE() << "held since line " << place.line();
      });
    }
  } ends;
  const support::ReportLog quiet;
  const auto set = std::make_unique<support::TagSet>(support::take_value(support::TagSet::create(
      support::two_queues_of_eight, blkown::EndSink<support::Request>::to(ends))));
  ends.set = set.get();
  const auto idle = [&] { return *set->allocate_tag(QueueIndex{0}, Tag{0}); };
  const auto claim = [&] { return idle().start().into_claim(); };
  {
    const auto dropped = idle();
  }
  idle().fail(blkown::Status::io_error);
  idle().requeue();
  idle().start().end_ok();
  idle().start().requeue();
  {
    const auto dropped = claim();
  }
  claim().end_ok();
  claim().requeue();
  EXPECT_EQ(ends.count, 8);
  {
    auto ended = claim();
    const ARef pin = ended.pin();
    std::move(ended).end_ok();
    EXPECT_EQ(ends.count, 8);
  }
  EXPECT_EQ(ends.count, 9);
}

/// An object of another kind, which sees its holders when its handle gives it up.
struct Seen {
  void add_ref() {}
  void drop_ref() { see(); }
  void release_owned() { see(); }
  void see() {
    ++releases;
    const auto visit = [](const Place& place) {
      ADD_FAILURE() << "held since line " << place.line();
    };
    blkown::detail::visit_holders_of(this, visit);
  }
  int releases = 0;
};

TEST(TrackingOfEnds, AHandleIsNoHolderWhenItGivesAnObjectUp) {
  Seen seen;
  {
    const auto owned = blkown::Owned<Seen>::from_raw(&seen);
  }
  {
    const auto pin = blkown::ARef<Seen>::from_raw(&seen);
  }
  EXPECT_EQ(seen.releases, 2);
}

// Goal: the entry of a scatter list holds again for each of its mappings, while others hold the
// same request.
TEST(TrackingOfEntries, AnEntryThatHoldsAgainIsTheYoungest) {
  const int object = 0;
  blkown::detail::Holder first, second;
  const auto lines = [&] {
    Lines seen;
    const auto visit = [&](const Place& place) {
      if (seen.size() == 10) std::abort();  // the entries are a ring
      seen.push_back(place.line());
    };
    blkown::detail::visit_holders_of(&object, visit);
    return seen;
  };
  // clang-format off
  const Place places[] = {
    Place::current(),
    Place::current(),
    Place::current()};
  // clang-format on
  const Line line = places[0].line();
  first.hold(&object, places[0]);
  second.hold(&object, places[1]);
  first.let_go();
  first.hold(&object, places[2]);
  EXPECT_EQ(lines(), (Lines{line + 1, line + 2}));
  second.let_go();
  EXPECT_EQ(lines(), Lines{line + 2});
}

TEST_F(Tracking, ALookupRemembersItsLine) {
  const auto cookie = driver.in_flight(3, 1);
  const Line by_value = next_line();
  const auto first = driver.set.tag_to_rq(QueueIndex{1}, cookie.value);
  const Line by_tag = next_line();
  const auto second = driver.set.tag_to_rq_any_generation(QueueIndex{1}, Tag{3});
  EXPECT_EQ(holders(driver.header(3, 1)), (Lines{by_value, by_tag}));
}

TEST_F(Tracking, ALookupThatIsRefusedHoldsNothing) {
  const auto cookie = driver.in_flight();
  EXPECT_FALSE(driver.set.tag_to_rq(QueueIndex{0}, cookie.value ^ 1U).has_value());
  EXPECT_EQ(held(), Lines{});
}

TEST_F(Tracking, ASharedOwnedRemembersItsLine) {
  auto owned = driver.owned();
  const Line line = next_line();
  const ARef first = std::move(owned).into_shared();
  EXPECT_EQ(held(), Lines{line});
}

TEST_F(Tracking, APinOfAClaimRemembersItsLine) {
  auto claim = driver.claimed();
  {
    const Line line = next_line();
    const ARef pin = claim.pin();
    EXPECT_EQ(held(), Lines{line});
  }
  std::move(claim).end_ok();
}

TEST_F(Tracking, ACopyRemembersWhereItWasCopied) {
  const auto [first, line] = reference();
  const Line constructed = next_line();
  const ARef second{first};
  const Line initialised = next_line();
  const ARef third = first;
  const auto by_value = [&](ARef copy) {
    static_cast<void>(copy);
    return held();
  };
  const Line passed = next_line();
  const Lines during_call = by_value(second);
  EXPECT_EQ(during_call, (Lines{line, constructed, initialised, passed}));
  EXPECT_EQ(held(), (Lines{line, constructed, initialised}));
}

// Goal: a copy assignment, which has no Place parameter, records its line too.
TEST_F(Tracking, AnAssignedCopyRemembersWhereItWasAssigned) {
  auto [first, line] = reference(1);
  const auto [second, other_line] = reference(2);
  const Line assigned = next_line();
  first = second;
  EXPECT_EQ(held(1), Lines{});
  EXPECT_EQ(held(2), (Lines{other_line, assigned}));
}

TEST_F(Tracking, AScanIsAHolderWhileItVisits) {
  const auto cookie = driver.in_flight();
  std::vector<Lines> seen;
  const auto look = [&](const ARef&, const blkown::Cookie&) { seen.push_back(held()); };
  const Line line = next_line();
  driver.set.for_each_in_flight(QueueIndex{0}, look);
  EXPECT_EQ(seen, std::vector<Lines>(1, Lines{line}));
  EXPECT_EQ(held(), Lines{});
  driver.complete(cookie);
}

TEST_F(Tracking, APlaceMayBeAnOuterCallers) {
  const auto pin_for = [&](const blkown::Cookie& cookie, Place where = Place::current()) {
    return driver.set.tag_to_rq(cookie.queue, cookie.value, where);
  };
  const auto cookie = driver.in_flight();
  const Line line = next_line();
  const auto pin = pin_for(cookie);
  EXPECT_EQ(held(), Lines{line});
}

TEST_F(Tracking, ARawReferenceIsNotListedUntilFromRaw) {
  auto [first, line] = reference();
  auto* const raw = std::move(first).into_raw();
  EXPECT_EQ(held(), Lines{});
  const Line back = next_line();
  const ARef again = ARef::from_raw(raw);
  EXPECT_EQ(held(), Lines{back});
}

TEST_F(Tracking, AMoveKeepsThePlaceAndTheOrder) {
  auto [first, line] = reference();
  const Line copied = next_line();
  ARef second = first;
  ARef third = std::move(first);
  EXPECT_EQ(held(), (Lines{line, copied}));
  second = std::move(third);
  EXPECT_EQ(held(), Lines{line});
}

TEST_F(Tracking, ASwapKeepsThePlaces) {
  auto [first, line] = reference(1);
  auto [second, other_line] = reference(2);
  const Line copied = next_line();
  ARef neighbour = second;
  std::swap(first, second);
  EXPECT_EQ(held(1), Lines{line});
  EXPECT_EQ(held(2), (Lines{other_line, copied}));
  {
    const ARef dropped = std::move(first);
  }
  EXPECT_EQ(held(1), Lines{line});
  EXPECT_EQ(held(2), Lines{copied});
  neighbour = std::move(second);
  EXPECT_EQ(held(1), Lines{line});
  EXPECT_EQ(held(2), Lines{});
}

TEST_F(Tracking, ADroppedReferenceFirstMiddleOrLastIsNoHolder) {
  for (std::size_t dropped = 0; dropped != 3; ++dropped) {
    auto [first, line] = reference();
    std::vector<std::optional<ARef>> copies(3);
    Lines left;
    for (auto& copy : copies) {
      const Line where = next_line();
      copy.emplace(driver.set.tag_to_rq_any_generation(QueueIndex{0}, Tag{0}).value());
      left.push_back(where);
    }
    {
      const ARef gone = std::move(first);
    }
    copies[dropped].reset();
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(dropped));
    EXPECT_EQ(held(), left);
    copies.clear();
    EXPECT_EQ(held(), Lines{});
    std::move(*driver.set.claim_any_generation(QueueIndex{0}, Tag{0})).end_ok();
  }
}

TEST_F(Tracking, AReferenceThatBecomesAnOwnedIsHeldFromThere) {
  auto [first, line] = reference();
  const Line owned_at = next_line();
  auto owned = blkown::Owned<support::Request>::try_from_shared(std::move(first));
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(held(), Lines{owned_at});
  const Line owned_again = next_line();
  auto again = blkown::drop_or_own(std::move(*owned).into_shared());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(held(), Lines{owned_again});
  std::move(*again).end_ok();
  EXPECT_EQ(held(), Lines{});
}

TEST_F(Tracking, ARefusedReferenceStaysAHolder) {
  auto [first, line] = reference();
  const Line looked_up = next_line();
  auto second = driver.set.tag_to_rq_any_generation(QueueIndex{0}, Tag{0});
  auto owned = blkown::Owned<support::Request>::try_from_shared(std::move(first));
  ASSERT_FALSE(owned.has_value());
  EXPECT_EQ(held(), (Lines{line, looked_up}));

  const auto other = driver.in_flight(1);
  auto claim = blkown::try_claim(std::move(*second), other);
  ASSERT_FALSE(claim.has_value());
  EXPECT_EQ(held(), (Lines{line, looked_up}));
}

TEST_F(Tracking, AReferenceThatBecomesAClaimIsHeldFromThere) {
  const auto cookie = driver.in_flight();
  auto pin = driver.set.tag_to_rq(QueueIndex{0}, cookie.value);
  const Line claimed = next_line();
  auto claim = blkown::try_claim(std::move(*pin), cookie);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(held(), Lines{claimed});
  std::move(*claim).end_ok();
  EXPECT_EQ(held(), Lines{});
}

// Goal: the handles that give the right to an I/O are holders too, each from the line that made it.
TEST_F(Tracking, AnIdleAnOwnedAndAClaimRememberTheirLines) {
  const Line allocated = next_line();
  auto idle = driver.set.allocate_tag(QueueIndex{0}, Tag{0});
  EXPECT_EQ(held(), Lines{allocated});
  const Line started = next_line();
  auto owned = std::move(*idle).start();
  EXPECT_EQ(held(), Lines{started});
  const Line changed = next_line();
  auto claim = std::move(owned).into_claim();
  EXPECT_EQ(held(), Lines{changed});
  blkown::Cookie id;
  std::move(claim).publish([&](const blkown::Cookie& cookie) {
    EXPECT_EQ(held(), Lines{}) << "the device has it";
    id = cookie;
  });
  const Line looked_up = next_line();
  auto found = driver.set.claim(QueueIndex{0}, id.value);
  EXPECT_EQ(held(), Lines{looked_up});
  const Line pinned = next_line();
  const ARef pin = found->pin();
  EXPECT_EQ(held(), (Lines{looked_up, pinned}));
  std::move(*found).end_ok();
  EXPECT_EQ(held(), Lines{pinned});
}

TEST_F(Tracking, EachLookupOfARightRemembersItsLine) {
  const auto cookie = driver.in_flight();
  const Line by_tag = next_line();
  auto claim = driver.set.claim_any_generation(QueueIndex{0}, Tag{0});
  EXPECT_EQ(held(), Lines{by_tag});
  std::move(*claim).release();
  EXPECT_EQ(held(), Lines{});
  const Line owned_by_value = next_line();
  auto owned = driver.set.tag_to_owned(QueueIndex{0}, cookie.value);
  EXPECT_EQ(held(), Lines{owned_by_value});
  std::move(*owned).park();
  EXPECT_EQ(held(), Lines{});
  const Line owned_by_tag = next_line();
  auto again = driver.set.tag_to_owned_any_generation(QueueIndex{0}, Tag{0});
  EXPECT_EQ(held(), Lines{owned_by_tag});
  std::move(*again).end_ok();
}

TEST_F(Tracking, AClaimOfABatchRemembersTheLineOfTheBatch) {
  const std::array values{driver.in_flight(0).value, driver.in_flight(1).value};
  Line line = 0;
  const auto visit = [&](std::size_t index, auto found) {
    EXPECT_EQ(held(static_cast<std::uint32_t>(index)), Lines{line});
    std::move(*found).end_ok();
  };
  line = next_line();
  driver.set.claim_each(QueueIndex{0}, values, visit);
}

TEST_F(Tracking, ARefusedCommandIsHeldByItsPublisher) {
  auto owned = driver.owned();
  const auto refuse = [](const blkown::Cookie&) -> std::expected<void, int> {
    return std::unexpected{1};
  };
  const Line published = next_line();
  auto answer = std::move(owned).publish(refuse);
  EXPECT_EQ(held(), Lines{published});
  std::move(*answer.error().claim).end_ok();
}

TEST_F(Tracking, ARightThatIsMovedOrGivenAwayAsAPointerIsHeldOnce) {
  const Line allocated = next_line();
  auto idle = driver.set.allocate_tag(QueueIndex{0}, Tag{0});
  auto moved = std::move(*idle);
  EXPECT_EQ(held(), Lines{allocated});
  auto other = *driver.set.allocate_tag(QueueIndex{0}, Tag{1});
  std::swap(moved, other);
  EXPECT_EQ(held(0), Lines{allocated});
  EXPECT_EQ(held(1).size(), 1U);
  auto* const raw = std::move(other).into_raw();
  EXPECT_EQ(held(), Lines{});
  const Line back = next_line();
  auto owned = blkown::Idle<support::Request>::from_raw(raw).start();
  EXPECT_EQ(held(), Lines{back});
  auto claim = std::move(owned).into_claim();
  void* const claim_raw = std::move(claim).into_raw();
  EXPECT_EQ(held(), Lines{});
  blkown::Claim<support::Request>::from_raw(claim_raw).end_ok();
  std::move(moved).fail(blkown::Status::aborted);
  EXPECT_EQ(held(1), Lines{});
}

TEST_F(Tracking, AnObjectThatIsNoRequestNamesItsHoldersToo) {
  Counted object;
  const Line taken = next_line();
  const auto first = blkown::ARef<Counted>::from_raw(&object);
  const Line copied = next_line();
  const auto second = first;
  Lines lines;
  blkown::visit_holders(object, [&](const Place& place) { lines.push_back(place.line()); });
  EXPECT_EQ(lines, (Lines{taken, copied}));
}

// Goal: objects whose holders are in one list have each its own. There are 64 lists.
TEST_F(Tracking, ObjectsThatShareAListHaveTheirOwnHolders) {
  std::vector<Counted> objects(65);
  std::vector<blkown::ARef<Counted>> handles;
  for (Counted& object : objects) handles.push_back(blkown::ARef<Counted>::from_raw(&object));
  for (Counted& object : objects) {
    int count = 0;
    blkown::visit_holders(object, [&](const Place&) { ++count; });
    EXPECT_EQ(count, 1);
  }
}

TEST_F(Tracking, ARequestNamesTheSameHoldersAsItsHeader) {
  auto [first, line] = reference();
  auto* const raw = ARef{first}.into_raw();
  Lines lines;
  blkown::visit_holders(*raw, [&](const Place& place) { lines.push_back(place.line()); });
  EXPECT_EQ(lines, Lines{line});
  EXPECT_EQ(holders(driver.set.header(QueueIndex{0}, Tag{0})), Lines{line});
  const ARef back = ARef::from_raw(raw);
}

// Goal: all holders are visited, however many a request and its list neighbours have.
TEST_F(Tracking, AllAreVisitedHoweverManyThereAre) {
  for (const std::size_t count : {15U, 16U, 17U, 32U, 100U}) {
    const auto cookie = driver.in_flight(0);
    const auto other = driver.in_flight(1);
    std::vector<ARef> pins;
    for (std::size_t i = 0; i != count; ++i) {
      pins.push_back(driver.set.tag_to_rq(QueueIndex{0}, cookie.value).value());
      pins.push_back(driver.set.tag_to_rq(QueueIndex{0}, other.value).value());
    }
    EXPECT_EQ(held(0).size(), count);
    EXPECT_EQ(held(1).size(), count);
    pins.clear();
    EXPECT_EQ(held(0), Lines{});
    driver.complete(cookie);
    driver.complete(other);
  }
}

TEST_F(Tracking, AVisitorMayTakeAndDropReferences) {
  auto [first, line] = reference();
  std::vector<ARef> taken;
  blkown::visit_holders(driver.header(), [&](const Place&) { taken.push_back(first); });
  EXPECT_EQ(taken.size(), 1U);
}

// Goal: the holders show why a request does not end, which is the main use of tracking.
TEST_F(Tracking, ARequestThatCannotEndNamesItsTwoHolders) {
  auto claim = driver.claimed();
  const Line mapped = next_line();
  const ARef mapping = claim.pin();
  const Line looked_up = next_line();
  const ARef timer = mapping;
  std::move(claim).end_ok();
  EXPECT_EQ(driver.state(), "3 finished");
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_EQ(held(), (Lines{mapped, looked_up}));
}

// Goal: a reference whose drop completes the end is no longer listed when the sink runs, because
// the request may already be in use by another I/O.
TEST_F(Tracking, AReferenceWhoseDropEndsTheIoIsNoHolderInTheSink) {
  struct Sink {
    void operator()(support::EndedList&& list) {
      while (auto ended = list.pop_front()) {
        seen.push_back(holders(set->header(ended->queue(), ended->tag())).size());
      }
    }
    support::TagSet* set = nullptr;
    std::vector<std::size_t> seen;
  } sink;
  auto set = support::TagSet::create(support::two_queues_of_eight,
                                     blkown::EndSink<support::Request>::to(sink))
                 .value();
  sink.set = &set;
  for (const bool by_name : {false, true}) {
    auto claim = std::move(*set.allocate_tag(QueueIndex{0}, Tag{0})).start().into_claim();
    ARef pin = claim.pin();
    std::move(claim).end_ok();
    if (by_name) {
      EXPECT_FALSE(blkown::drop_or_own(std::move(pin)).has_value());
    } else {
      const ARef dropped = std::move(pin);
    }
  }
  EXPECT_EQ(sink.seen, std::vector<std::size_t>(2, 0));
}

// Goal: the printed lines name file, line and function. A long list is cut, with a count of the
// rest.
TEST_F(Tracking, HoldersArePrintedOneLineEach) {
  const auto printed = [&] {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out{std::tmpfile(), &std::fclose};
    blkown::print_holders(out.get(), "> ", driver.header());
    std::rewind(out.get());
    std::string text;
    for (int c = std::fgetc(out.get()); c != EOF; c = std::fgetc(out.get())) {
      text += static_cast<char>(c);
    }
    return text;
  };
  const auto cookie = driver.in_flight();
  EXPECT_EQ(printed(), "");
  std::vector<ARef> pins;
  const Place place = Place::current();
  const std::string line = std::string{"> held since "} + place.file_name() + ":" +
                           std::to_string(place.line()) + ", " + place.function_name() + "\n";
  std::string expected;
  for (int i = 0; i != 16; ++i) {
    pins.push_back(driver.set.tag_to_rq(QueueIndex{0}, cookie.value, place).value());
    expected += line;
    EXPECT_EQ(printed(), expected);
  }
  for (const char* more : {"1", "2"}) {
    pins.push_back(driver.set.tag_to_rq(QueueIndex{0}, cookie.value, place).value());
    EXPECT_EQ(printed(), expected + "> held by " + more + " more\n");
  }
}

// Goal: one call of the table names the line at which a pin was taken that a container has kept.
TEST_F(Tracking, APinInAContainerIsFoundByOneCallOfTheTable) {
  std::vector<ARef> kept;
  const auto cookie = driver.in_flight(3);
  const Place before = Place::current();
  kept.push_back(driver.set.tag_to_rq(QueueIndex{0}, cookie.value).value());
  driver.claim(cookie).end_ok();
  EXPECT_EQ(support::table_of(driver.set),
            "queue 0 tag 3 generation " + std::to_string(cookie.generation.value) +
                ": ended, pinned, pins 1\n  held since " + before.file_name() + ":" +
                std::to_string(before.line() + 1) + ", " + before.function_name() + "\n");
  kept.clear();
  EXPECT_EQ(support::table_of(driver.set), "");
}

// Goal: an Incident about a request gives the handler access to the request's holders.
TEST_F(Tracking, AnIncidentLeadsToTheHolders) {
  static Lines seen;
  seen.clear();
  const auto before =
      blkown::set_report_handler([](blkown::Report, const blkown::Incident& incident) {
        ASSERT_NE(incident.header, nullptr);
        seen = holders(*incident.header);
      });
  std::optional<blkown::Claim<support::Request>> claim{driver.claimed()};
  const Line line = next_line();
  const ARef pin = claim->pin();
  claim.reset();
  blkown::set_report_handler(before);
  EXPECT_EQ(seen, Lines{line});
}
