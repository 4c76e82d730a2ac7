// SPDX-License-Identifier: BSL-1.0
//
// Tests of turns for several tags, and of lanes that need no turn because they use no more than
// their part of the tags.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using Mode = fake::Driver::Mode;

constexpr std::uint32_t tag_count = 4;
// The bios that a context may issue with the tags of one turn.
constexpr int bios_of_turn = 8;

/// Three lanes in the line for four tags, all of which are taken at first.
struct LanesInLine {
  using Rq = fake::Driver::Rq;

  explicit LanesInLine(std::array<std::uint32_t, 3> wanted) {
    while (auto idle = pool->tags().allocate(queue, cache)) {
      taken.push_back(blkown::detail::HandleAccess::take(*idle));
    }
    for (auto& lane : lanes) line.enter(lane);
    for (std::size_t i = 0; i != lanes.size(); ++i) {
      EXPECT_EQ(line.join(pool->tags(), queue, lanes[i], false, wanted[i]), i == 0);
    }
  }
  ~LanesInLine() {
    for (auto& lane : lanes) static_cast<void>(line.leave(lane));
    for (auto& lane : lanes) line.exit(lane);
    runtime.run();
    while (!taken.empty()) free(1);
  }
  void free(int count) {
    for (; count != 0; --count) {
      blkown::detail::HandleAccess::make_ended(*taken.back()).release();
      taken.pop_back();
    }
  }
  void wake() { line.wake_first(pool->tags(), queue); }
  /// The lane takes this number of tags in its turn, and wants so many more.
  void use_turn(std::size_t lane, int count, std::uint32_t wanted = 0) {
    for (; count != 0; --count) {
      auto idle = pool->tags().allocate(queue, cache);
      taken.push_back(blkown::detail::HandleAccess::take(*idle));
    }
    line.finish_turn(pool->tags(), queue, lanes[lane], wanted);
  }
  /// The tags of each lane's turn.
  [[nodiscard]] std::vector<std::uint32_t> turns() const {
    return {lanes[0].turn_tags.read(), lanes[1].turn_tags.read(), lanes[2].turn_tags.read()};
  }
  using Turns = std::vector<std::uint32_t>;

  const QueueIndex queue{0};
  mq::LoopRuntime runtime{3};
  std::unique_ptr<mq::TagPool<fake::Driver>> pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = tag_count, .layout = blkown::CookieLayout::nbd()});
  blkown::TagCache cache = pool->tags().tag_cache(queue, 0);
  mq::detail::TagLine<Rq>& line = pool->line(queue);
  std::vector<Rq*> taken;
  mq::Work ignored{[](void*, mq::Work&) {}, nullptr};
  std::array<mq::detail::TagWaiter, 3> lanes{
      mq::detail::TagWaiter{runtime.context(0), ignored, ignored},
      mq::detail::TagWaiter{runtime.context(1), ignored, ignored},
      mq::detail::TagWaiter{runtime.context(2), ignored, ignored}};
};
using Turns = LanesInLine::Turns;

// Goal: free tags for which a turn is open lead to no other turn, and further ones do.
TEST(Turns, AreForAsManyFreeTagsAsTheLaneWants) {
  LanesInLine lanes{{2, 2, 1}};
  lanes.free(1);
  lanes.wake();
  EXPECT_EQ(lanes.turns(), (Turns{2, 0, 0})) << "one tag is enough to begin a turn";
  lanes.free(1);
  lanes.wake();
  EXPECT_EQ(lanes.turns(), (Turns{2, 0, 0})) << "the second tag is for the same turn";
  lanes.free(1);
  lanes.wake();
  EXPECT_EQ(lanes.turns(), (Turns{2, 2, 0}));
  lanes.free(1);
  lanes.wake();
  EXPECT_EQ(lanes.turns(), (Turns{2, 2, 0}));
  lanes.use_turn(0, 2);
  EXPECT_EQ(lanes.turns(), (Turns{0, 2, 0})) << "the two free tags are the second lane's";
}

// Goal: a lane that found no tag in its turn, because a private request took it, gets a tag that
// became free before the lane joined again, although another turn is open.
TEST(Turns, ComeAgainToALaneThatFoundNoTag) {
  LanesInLine lanes{{1, 1, 1}};
  lanes.free(2);
  lanes.wake();
  ASSERT_EQ(lanes.turns(), (Turns{1, 1, 0}));
  EXPECT_TRUE(lanes.line.take_turn(lanes.lanes[0]));
  EXPECT_FALSE(lanes.line.join(lanes.pool->tags(), lanes.queue, lanes.lanes[0], true));
  EXPECT_EQ(lanes.turns(), (Turns{1, 1, 0}));
}

// Goal: a lane that leaves, or takes fewer tags than its turn is for, passes the rest on.
TEST(Turns, PassOnWhatTheirLaneDoesNotTake) {
  LanesInLine leaves{{2, 2, 1}};
  leaves.free(2);
  leaves.wake();
  ASSERT_EQ(leaves.turns(), (Turns{2, 0, 0}));
  EXPECT_TRUE(leaves.line.leave(leaves.lanes[0])) << "the caller wakes the next lane";
  leaves.wake();
  EXPECT_EQ(leaves.turns(), (Turns{0, 2, 0}));

  LanesInLine takes_one{{2, 1, 1}};
  takes_one.free(2);
  takes_one.wake();
  ASSERT_EQ(takes_one.turns(), (Turns{2, 0, 0}));
  takes_one.use_turn(0, 1);
  EXPECT_EQ(takes_one.turns(), (Turns{0, 1, 0}));
}

// Goal: a context that frees several tags and looks at the line once opens a turn for each.
TEST(Turns, OfSeveralLanesBeginWithOneLook) {
  LanesInLine lanes{{1, 2, 1}};
  lanes.free(4);
  lanes.wake();
  EXPECT_EQ(lanes.turns(), (Turns{1, 2, 1}));
  lanes.use_turn(0, 1);
  lanes.use_turn(1, 2);
  lanes.use_turn(2, 1);
  EXPECT_FALSE(lanes.line.is_occupied());
}

// Goal: a lane that wants more after its turn is behind those that wait, and is not posted if it is
// the next one itself.
TEST(Turns, OfALaneThatWantsMoreComeAfterTheOthers) {
  LanesInLine lanes{{2, 1, 1}};
  lanes.free(3);
  lanes.wake();
  ASSERT_EQ(lanes.turns(), (Turns{2, 1, 0}));
  lanes.runtime.run();
  lanes.use_turn(0, 2, 2);
  EXPECT_EQ(lanes.turns(), (Turns{0, 1, 0}));
  lanes.free(3);
  lanes.use_turn(1, 1);
  EXPECT_EQ(lanes.turns(), (Turns{2, 0, 1})) << "the third lane, and then the first one again";
  lanes.runtime.run();
  lanes.use_turn(2, 0);
  lanes.use_turn(0, 0, 2);
  EXPECT_EQ(lanes.turns(), (Turns{2, 0, 0}));
  EXPECT_EQ(lanes.runtime.run(), 0U) << "the lane runs";
}

// --- a disk -------------------------------------------------------------------------------------

/// Notes the context of each request, which is the sector.
struct NotingDriver : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) override {
    contexts.push_back(idle.data().sector());
    if (idle.data().sector() == slow_context) next = {Mode::keep};
    return Driver::queue_rq(hw, queue, std::move(idle), is_last);
  }
  std::vector<std::uint64_t> contexts;
  std::uint64_t slow_context = ~std::uint64_t{0};  // its requests are kept
};

/// The bios of one context. Each is submitted again when it has ended.
struct CrowdMember {
  CrowdMember(Bench<NotingDriver>& its_bench, std::uint32_t its_context, std::size_t bio_count,
              int its_ios = 1'000'000)
      : bench{its_bench}, context{its_context}, ios{its_ios} {
    for (std::size_t i = 0; i != bio_count; ++i) {
      reads.push_back(std::make_unique<fake::Read>(context));
      reads.back()->ends.then = [this](mq::Bio& bio) {
        ended += 1;
        failed += bio.status() == Status::ok ? 0 : 1;
        submit(bio);
      };
    }
  }
  void start() {
    for (auto& read : reads) submit(read->bio);
  }
  void submit(mq::Bio& bio) {
    if (begun == ios) return;
    ++begun;
    bench.disk->submit(bench.context(context), bio);
  }
  void stop() { ios = begun; }

  Bench<NotingDriver>& bench;
  std::uint32_t context;
  int ios;
  int begun = 0;
  int ended = 0;
  int failed = 0;
  std::vector<std::unique_ptr<fake::Read>> reads;
};

/// A disk whose contexts all have bios, more than there are tags.
struct Crowd {
  explicit Crowd(std::uint32_t contexts, std::size_t bios_each, int ios_each = 1'000'000,
                 mq::DiskConfig config = {.depth = tag_count})
      : bench{config, contexts} {
    bench.driver.mode = Mode::publish;
    for (std::uint32_t i = 0; i != contexts; ++i) {
      members.push_back(std::make_unique<CrowdMember>(bench, i, bios_each, ios_each));
      members.back()->start();
    }
  }
  ~Crowd() {
    for (auto& member : members) member->stop();
    finish();
  }
  /// All requests complete, and all contexts run.
  void round() {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  void finish() {
    bench.runtime.run();
    while (!bench.driver.published.empty()) round();
  }
  /// One request completes, and all contexts run.
  void step_all() {
    bench.driver.reap(bench.data(), 1);
    bench.runtime.run();
  }
  /// One context makes one call, or one request completes.
  void step(std::size_t number) {
    const std::size_t who = number % (members.size() + 1);
    if (who == members.size()) {
      bench.driver.reap(bench.data(), 1);
    } else {
      bench.context(static_cast<std::uint32_t>(who)).run_some(1);
    }
  }
  [[nodiscard]] int ended() const {
    int sum = 0;
    for (const auto& member : members) sum += member->ended;
    return sum;
  }

  Bench<NotingDriver> bench;
  std::vector<std::unique_ptr<CrowdMember>> members;
};

// Goal: where contexts want more tags than there are, a turn is for half of the tags, so that fewer
// contexts run for the same bios. Each context has its part.
TEST(Turns, AreForSeveralTagsWhereManyContextsWait) {
  constexpr std::uint32_t contexts = 5;
  constexpr int rounds = 200;
  Crowd crowd{contexts, 11};
  int served = 0;  // contexts, in all rounds
  for (int i = 0; i != rounds; ++i) {
    const auto before = std::ssize(crowd.bench.driver.contexts);
    crowd.round();
    ASSERT_EQ(crowd.bench.driver.published.size(), tag_count) << "round " << i;
    const std::set<std::uint64_t> issuing{crowd.bench.driver.contexts.begin() + before,
                                          crowd.bench.driver.contexts.end()};
    served += static_cast<int>(issuing.size());
  }
  EXPECT_LE(served, 3 * rounds) << "with one tag a turn it would be four contexts a round";
  for (auto& member : crowd.members) {
    EXPECT_GE(member->ended, rounds * int{tag_count} / int{contexts} * 3 / 4);
  }
}

// Goal: an open turn of a context that does not run leaves half of the tags to the others.
TEST(Turns, OfAContextThatDoesNotRunLeaveTagsToTheOthers) {
  Crowd crowd{5, 11};
  ASSERT_EQ(crowd.bench.driver.published.size(), tag_count);
  crowd.bench.driver.reap(crowd.bench.data());
  crowd.bench.context(0).run();  // frees its tags: the turn of the next context begins
  const int before = crowd.ended();
  for (int i = 0; i != 100; ++i) {
    for (const std::uint32_t running : {0U, 2U, 3U, 4U}) crowd.bench.context(running).run();
    crowd.bench.driver.reap(crowd.bench.data());
  }
  EXPECT_EQ(crowd.members[1]->ended, 0);
  EXPECT_GE(crowd.ended() - before, 100) << "two tags, a hundred times, less what turns need";
}

// Goal: contexts that each have their part of the tags need no turns, although all wait for more: a
// context runs only for the ends of its own requests. A context that comes then has its part, too.
TEST(Turns, AreNeededByNoContextThatHasItsPart) {
  Crowd crowd{3, 0};
  CrowdMember first{crowd.bench, 0, 20}, second{crowd.bench, 1, 20}, third{crowd.bench, 2, 3};
  first.start();
  second.start();
  const auto expect_no_turns = [&] {
    for (int i = 0; i != 20; ++i) crowd.round();
    std::size_t calls = 0;
    const int before_first = first.ended, before_second = second.ended;
    for (int i = 0; i != 50; ++i) {
      crowd.bench.driver.reap(crowd.bench.data());
      calls += crowd.bench.runtime.run();
    }
    EXPECT_EQ(first.ended - before_first, 100) << "two of four tags";
    EXPECT_EQ(second.ended - before_second, 100);
    EXPECT_EQ(calls, 100U);
  };
  expect_no_turns();
  third.start();
  for (int i = 0; i != 200; ++i) crowd.round();
  EXPECT_GE(third.ended, 150) << "about one of four tags";
  EXPECT_LE(third.ended, 300) << "the fourth tag is for each in turn";
  third.stop();
  expect_no_turns();
  first.stop();
  second.stop();
  crowd.finish();
  EXPECT_EQ(first.ended + second.ended + third.ended, first.begun + second.begun + third.begun);
}

// Goal: a context gets a tag although the others have no more than their parts, because slow
// requests of a context that does not wait have the rest.
TEST(Turns, OfAContextWithoutATagComeAlthoughSlowRequestsHaveTheRest) {
  Crowd crowd{4, 0};
  crowd.bench.driver.next = {Mode::keep, Mode::keep};
  CrowdMember slow{crowd.bench, 0, 2, 2}, first{crowd.bench, 1, 20}, second{crowd.bench, 2, 20},
      late{crowd.bench, 3, 3};
  for (CrowdMember* member : {&slow, &first, &second}) member->start();
  for (int i = 0; i != 20; ++i) crowd.round();
  late.start();
  for (int i = 0; i != 300; ++i) crowd.round();
  for (const CrowdMember* member : {&first, &second, &late}) {
    EXPECT_GE(member->ended, 100) << "two tags for three contexts, 300 times";
  }
  for (auto& owned : crowd.bench.driver.kept) std::move(owned).end_ok();
  crowd.bench.driver.kept.clear();
  for (CrowdMember* member : {&first, &second, &late}) member->stop();
  crowd.finish();
  EXPECT_EQ(slow.ended, 2);
}

/// Two busy contexts have their parts of the tags, and a context with slow requests has the rest.
struct SlowCrowd : Crowd {
  explicit SlowCrowd(mq::DiskConfig config = {.depth = tag_count}) : Crowd{5, 0, 0, config} {
    bench.driver.slow_context = 0;
  }
  void start() {
    for (CrowdMember* member : {&slow, &first, &second}) member->start();
    for (int i = 0; i != 20; ++i) round();
    ASSERT_EQ(bench.driver.kept.size(), 2U);
  }
  /// Runs, and expects that each of the three has its turns.
  void expect_turns(CrowdMember& late) {
    const std::array<int, 3> before{first.ended, second.ended, late.ended};
    for (int i = 0; i != 400; ++i) round();
    EXPECT_GE(first.ended - before[0], 60);
    EXPECT_GE(second.ended - before[1], 60);
    EXPECT_GE(late.ended - before[2], 20) << "in 400 rounds of two tags";
    for (CrowdMember* member : {&first, &second, &late}) member->stop();
  }

  void end_slow() {
    for (auto& owned : bench.driver.kept) std::move(owned).end_ok();
    bench.driver.kept.clear();
    finish();
  }

  CrowdMember slow{bench, 0, 2, 2}, first{bench, 1, 20}, second{bench, 2, 20};
};

// Goal: a context's tags of another queue are no part of what it waits for.
TEST(Turns, OfAContextComeAlthoughItUsesATagOfAnotherQueue) {
  std::vector<std::byte> memory(512);
  const blkown::Segment segment = fake::whole(memory);
  fake::Ends ends;
  mq::Bio write = mq::Bio::write(0, segment, {&fake::Ends::on_end, &ends});
  {
    SlowCrowd crowd{{.normal_queues = 1, .read_queues = 1, .depth = tag_count}};
    crowd.bench.disk->submit(crowd.bench.context(3), write);
    auto kept = std::move(crowd.bench.driver.kept);
    crowd.bench.driver.kept.clear();
    crowd.start();
    for (auto& owned : kept) crowd.bench.driver.kept.push_back(std::move(owned));
    CrowdMember late{crowd.bench, 3, 3};
    late.start();
    crowd.expect_turns(late);
    crowd.end_slow();
  }
  EXPECT_FALSE(write.is_in_flight());
}

// Goal: a slow request of a context holds up its other bios not for as long as it takes, although
// its tag is the context's part.
TEST(Turns, OfAContextComeAlthoughASlowRequestHasItsPart) {
  SlowCrowd crowd;
  CrowdMember mixed{crowd.bench, 3, 20};
  crowd.slow.ios = 1;
  crowd.slow.start();
  crowd.bench.driver.next = {Mode::keep};
  mixed.start();
  crowd.first.start();
  crowd.second.start();
  crowd.expect_turns(mixed);
  EXPECT_EQ(crowd.bench.driver.kept.size(), 2U);
  crowd.end_slow();
}

// Goal: the same if one tag is left for several contexts, of which one always uses less than its
// part.
TEST(Turns, OfAContextComeAlthoughOthersAlwaysUseLess) {
  SlowCrowd crowd;
  CrowdMember mixed{crowd.bench, 3, 20}, third{crowd.bench, 4, 20};
  crowd.bench.driver.next = {Mode::keep};
  mixed.start();
  for (CrowdMember* member : {&crowd.slow, &crowd.first, &crowd.second, &third}) member->start();
  for (int i = 0; i != 20; ++i) crowd.round();
  ASSERT_EQ(crowd.bench.driver.kept.size(), 3U);
  for (int i = 0; i != 400; ++i) crowd.round();
  EXPECT_GE(mixed.ended, 50) << "of the last tag, which four contexts have in turn";
  EXPECT_GE(third.ended, 50);
  for (CrowdMember* member : {&crowd.first, &crowd.second, &mixed, &third}) member->stop();
  crowd.end_slow();
}

// Goal: what a context used when it was in line before counts no more when it comes again.
TEST(Turns, OfAContextComeWhateverItUsedBefore) {
  for (int ios = 2; ios != 9; ++ios) {
    SlowCrowd crowd;
    {
      CrowdMember busy{crowd.bench, 1, 20}, early{crowd.bench, 3, 2, ios};
      busy.start();
      for (int i = 0; i != 30; ++i) crowd.step_all();
      early.start();
      while (early.ended != ios) crowd.step_all();
      busy.stop();
      crowd.finish();
    }
    crowd.start();
    CrowdMember late{crowd.bench, 3, 3};
    late.start();
    for (int i = 0; i != bios_of_turn + 2; ++i) crowd.round();
    EXPECT_GE(late.ended, 1) << "the turns that have begun end before";
    crowd.expect_turns(late);
    crowd.end_slow();
  }
}

/// The requests that other contexts issue while a context waits that comes to `others` busy ones
/// after this number of completions. `was_busy`: it was one of them before.
int wait_of_late_context(std::uint32_t others, int completions, bool was_busy) {
  Crowd crowd{others + 1, 0};
  std::vector<std::unique_ptr<CrowdMember>> busy;
  for (std::uint32_t i = 0; i != others; ++i) {
    busy.push_back(std::make_unique<CrowdMember>(crowd.bench, i, 20));
    busy.back()->start();
  }
  const auto step = [&] {
    crowd.bench.driver.reap(crowd.bench.data(), 1);
    crowd.bench.runtime.run();
  };
  CrowdMember early{crowd.bench, others, 8, 24}, late{crowd.bench, others, 1, 1};
  if (was_busy) {
    early.start();
    while (early.ended != 24) step();
  }
  for (; completions != 0; --completions) step();
  const std::vector<std::uint64_t>& issues = crowd.bench.driver.contexts;
  const auto before = std::ssize(issues);
  late.start();
  for (int i = 0; i != 1000 && late.ended == 0; ++i) step();
  EXPECT_EQ(late.ended, 1) << others << " others";
  const auto issue = std::find(issues.begin() + before, issues.end(), std::uint64_t{others});
  const auto wait = issue - issues.begin() - before;
  for (auto& member : busy) member->stop();
  crowd.finish();
  return static_cast<int>(wait);
}

// Goal: a context waits for a tag until the first of the others that have more than their part has
// issued the bios of its turn. If there are more contexts than tags, it waits for the turns that
// have begun, and for one of each other context.
TEST(Turns, OfOthersThatAContextWaitsForAreBounded) {
  for (const std::uint32_t others : {1U, 2U, 3U, 7U}) {
    // A context with more than its part has two tags or more, which end as fast as the others.
    const int bound = others < tag_count ? bios_of_turn * static_cast<int>(tag_count) / 2
                                         : static_cast<int>(tag_count + others) * bios_of_turn;
    for (int completions = 0; completions < 24; completions += 2) {
      for (const bool was_busy : {false, true}) {
        EXPECT_LE(wait_of_late_context(others, completions, was_busy), bound)
            << others << " others, after " << completions << (was_busy ? ", was busy" : "");
      }
    }
  }
}

// --- something comes between --------------------------------------------------------------------

/// What happens while turns are open and tags are kept, and how it ends.
struct Interruption {
  const char* name;
  std::function<void(Crowd&, mq::Control&)> begin;
  std::function<void(Crowd&)> end;
  bool removes = false;
};
std::ostream& operator<<(std::ostream& out, const Interruption& it) { return out << it.name; }

const std::vector<Interruption>& interruptions() {
  static const std::vector<Interruption> all{
      {"nothing", [](Crowd&, mq::Control&) {}, [](Crowd&) {}},
      {"busy", [](Crowd& crowd, mq::Control&) { crowd.bench.driver.next = {Mode::busy}; },
       [](Crowd& crowd) {
         crowd.bench.clock.pass_ms(10);
         crowd.bench.runtime.run();
       }},
      {"busy_in_its_turn",
       [](Crowd& crowd, mq::Control&) {
         crowd.bench.driver.next = {Mode::publish, Mode::busy, Mode::busy};
       },
       [](Crowd& crowd) {
         for (int i = 0; i != 3; ++i) {
           crowd.bench.clock.pass_ms(10);
           crowd.bench.runtime.run();
         }
       }},
      {"requeued",
       [](Crowd& crowd, mq::Control&) { crowd.bench.driver.next = {Mode::requeue, Mode::requeue}; },
       [](Crowd&) {}},
      {"stopped",
       [](Crowd& crowd, mq::Control&) { crowd.bench.disk->hw_queue(QueueIndex{0}).stop(); },
       [](Crowd& crowd) { crowd.bench.disk->hw_queue(QueueIndex{0}).start(); }},
      {"frozen", [](Crowd& crowd, mq::Control& control) { crowd.bench.disk->freeze(control); },
       [](Crowd& crowd) { crowd.bench.thaw(); }},
      {"quiesced", [](Crowd& crowd, mq::Control& control) { crowd.bench.disk->quiesce(control); },
       [](Crowd& crowd) { crowd.bench.unquiesce(); }},
      {"removed", [](Crowd& crowd, mq::Control& control) { crowd.bench.disk->remove(control); },
       [](Crowd&) {}, true},
  };
  return all;
}

/// Runs the steps before `at`, then the interruption, then all until nothing is left.
void interrupt(const Interruption& interruption, std::size_t at, std::uint32_t contexts) {
  constexpr int ios_each = 12;
  Crowd crowd{contexts, 5, ios_each};
  std::size_t number = 0;
  for (; number != at; ++number) crowd.step(number);
  mq::Control control{{[](void*, mq::Control&) {}, nullptr}};
  interruption.begin(crowd, control);
  for (; number != at + 40; ++number) crowd.step(number);
  crowd.finish();
  interruption.end(crowd);
  crowd.finish();
  for (const auto& member : crowd.members) {
    EXPECT_EQ(member->ended, ios_each) << interruption << " at step " << at;
    EXPECT_TRUE(interruption.removes || member->failed == 0) << interruption << " at step " << at;
  }
  ASSERT_FALSE(control.is_running()) << interruption << " at step " << at;
  if (interruption.removes) crowd.bench.disk.reset();
}

// Goal: whatever comes while turns are open and lanes keep tags, no tag and no wake-up is lost: all
// bios end afterwards.
TEST(Turns, AreNotLostIfSomethingComesBetween) {
  for (const Interruption& interruption : interruptions()) {
    for (const std::uint32_t contexts : {2U, 5U}) {
      for (std::size_t at = 0; at != 30 && !HasFailure(); ++at) {
        interrupt(interruption, at, contexts);
      }
    }
  }
}

// Goal: lanes that cannot issue, because their hardware queue was stopped, give the tags of their
// turns, and those that they keep, to the lanes of another hardware queue: all bios of those end
// while the queue is stopped.
TEST(Turns, OfAStoppedQueueGoToTheOthers) {
  constexpr int ios_each = 12;
  constexpr std::uint32_t contexts = 6;
  for (std::size_t at = 0; at != 60 && !HasFailure(); ++at) {
    Crowd crowd{
        contexts, 5, ios_each, {.normal_queues = 2, .depth = tag_count, .shared_tags = true}};
    for (std::size_t number = 0; number != at; ++number) crowd.step(number);
    crowd.bench.disk->hw_queue(QueueIndex{0}).stop();
    crowd.finish();
    for (std::uint32_t i = 1; i < contexts; i += 2) {  // those of the second hardware queue
      EXPECT_EQ(crowd.members[i]->ended, ios_each) << "stopped at step " << at;
    }
    crowd.bench.disk->hw_queue(QueueIndex{0}).start();
    crowd.finish();
    for (auto& member : crowd.members) {
      EXPECT_EQ(member->ended, ios_each) << "stopped at step " << at;
    }
  }
}

}  // namespace
