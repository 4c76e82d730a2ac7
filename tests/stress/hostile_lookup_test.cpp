// SPDX-License-Identifier: BSL-1.0
//
// Goal: for any value that a device sends, a lookup returns the I/O that the value names, or the
// reason why the value names none. A lookup never waits. Real traffic makes every possible
// transition at the same time.
//
// Method: ten million lookups in all (fewer under ThreadSanitizer) over four layouts. Half of the
// values are random bits. The other half are live cookies with one bit or one field changed, and
// true cookies that arrive late or twice. Two hostile threads look the values up. Two honest
// threads submit, publish, complete, refuse, requeue, park, pin and scan. A hostile thread that
// gets a request uses the request as a driver would. The library cannot refuse such a lookup,
// because the value did name an I/O in flight.
//
// Invariants: the reason fits the value and the generation seen. A returned request is the one that
// the value names, and its data is stamped with the generation of the handle. A right has one
// holder at a time. Every I/O ends exactly once. Every reason that the layout can give is given.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdio>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "effort.hpp"
#include "hostile_values.hpp"
#include "traffic_actor.hpp"
#include "traffic_world.hpp"

namespace stress {
namespace {

using blkown::CookieLayout;
using blkown::LookupReason;

constexpr std::uint32_t queue_count = 3;
constexpr std::uint32_t depth = 8;
constexpr unsigned hostile_threads = 2;
constexpr unsigned honest_threads = 2;

std::atomic<std::uint64_t> reports{0};

/// Counts reports and prints none: the traffic drops handles on purpose.
class CountedReports {
 public:
  CountedReports() : before_{blkown::set_report_handler(&count)} { reports = 0; }
  CountedReports(const CountedReports&) = delete;
  CountedReports& operator=(const CountedReports&) = delete;
  ~CountedReports() { blkown::set_report_handler(before_); }

 private:
  static void count(blkown::Report, const blkown::Incident&) {
    reports.fetch_add(1, std::memory_order_relaxed);
  }
  blkown::ReportHandler before_;
};

struct NamedLayout {
  const char* name;
  CookieLayout layout;
};

void PrintTo(const NamedLayout& named, std::ostream* out) { *out << named.name; }

/// The sum of the counts of all attackers of a run.
struct Tally {
  ReasonCounts counts{};
  std::uint64_t random_values = 0;
  std::uint64_t mutations = 0;
  std::uint64_t replays = 0;
  std::uint64_t reported_drops = 0;

  void add(const Tally& one) {
    for (std::size_t i = 0; i != counts.size(); ++i) counts[i] += one.counts[i];
    random_values += one.random_values;
    mutations += one.mutations;
    replays += one.replays;
    reported_drops += one.reported_drops;
  }
};

/// Whether the reason can occur with this layout.
[[nodiscard]] bool possible(const CookieLayout& layout, LookupReason reason) {
  switch (reason) {
    case LookupReason::wrong_queue: return layout.queue.bits != 0;
    case LookupReason::early: return layout.generation.bits != 0;
    case LookupReason::stale_generation: return layout.generation.bits > 1;
    case LookupReason::saturated: return can_saturate;
    case LookupReason::none:
    case LookupReason::no_such_queue:
    case LookupReason::no_such_tag:
    case LookupReason::owned:
    case LookupReason::idle:
    case LookupReason::claimed:
    case LookupReason::shared: return true;
  }
  return true;
}

/// The reasons that any attacker has received, one bit for each.
using ReasonSet = std::atomic<std::uint32_t>;

[[nodiscard]] bool all_possible_seen(const CookieLayout& layout, const ReasonSet& seen) {
  const std::uint32_t bits = seen.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i != blkown::lookup_reason_count; ++i) {
    if ((bits >> i & 1) == 0 && possible(layout, static_cast<LookupReason>(i))) return false;
  }
  return true;
}

/// Performs its quota of lookups. If a possible reason is still missing, because the scheduler
/// hardly ran the traffic, the attack goes on up to a limit.
void attack(World& world, std::uint64_t stream, std::uint64_t quota, ReasonSet& seen,
            Tally& tally) {
  Actor actor{world, stream};
  const CookieLayout& layout = world.tags().layout();
  Forger forger{layout, queue_count, stream + 1000};
  Random& random = forger.random();
  const auto look_up = [&](Arrival arrival) {
    const auto reason = static_cast<std::size_t>(actor.look_up(arrival));
    if (++tally.counts[reason] == 1) {
      seen.fetch_or(std::uint32_t{1} << reason, std::memory_order_relaxed);
    }
  };
  for (std::uint64_t done = 0; !world.broken(); ++done) {
    if (done >= quota && (all_possible_seen(layout, seen) || done >= 20 * quota)) break;
    if (done % 2 == 0) {
      ++tally.random_values;
      look_up(forger.random_value());
    } else {
      ++tally.mutations;
      const Arrival live = world.live_cookie(random);
      look_up(random.one_in(2) ? forger.turn_bit(live) : forger.turn_field(live));
    }
    if (random.one_in(32)) {
      ++tally.replays;
      look_up(world.live_cookie(random));
    }
    if (done % 32 == 0) actor.drop_one();
    if (done % 1024 == 0) std::this_thread::yield();
  }
  actor.retire();
  tally.reported_drops = actor.reported_drops();
}

class HostileLookup : public ::testing::TestWithParam<NamedLayout> {};

TEST_P(HostileLookup, GivesTheNamedRequestOrTheReasonWhyNot) {
  const CookieLayout layout = GetParam().layout;
  const std::uint64_t quota = scaled(2'500'000, 250'000) / hostile_threads + 1;
  const CountedReports counted;
  World world{layout, queue_count, depth};
  std::vector<Tally> tallies(hostile_threads);
  ReasonSet seen{0};
  std::vector<std::uint64_t> honest_drops(honest_threads);
  std::atomic<bool> attacked{false};

  std::vector<std::thread> honest;
  for (unsigned i = 0; i != honest_threads; ++i) {
    honest.emplace_back([&, i] {
      Actor actor{world, i};
      while (!attacked.load(std::memory_order_relaxed) && !world.broken()) actor.step();
      actor.retire();
      honest_drops[i] = actor.reported_drops();
    });
  }
  std::vector<std::thread> hostile;
  for (unsigned i = 0; i != hostile_threads; ++i) {
    hostile.emplace_back([&, i] { attack(world, 100 + i, quota, seen, tallies[i]); });
  }
  for (auto& thread : hostile) thread.join();
  attacked = true;
  for (auto& thread : honest) thread.join();
  ASSERT_FALSE(HasFailure());
  world.drain();
  world.expect_all_back();

  Tally all;
  for (const Tally& one : tallies) all.add(one);
  for (const std::uint64_t drops : honest_drops) all.reported_drops += drops;
  std::printf("%s: %llu random, %llu mutated, %llu replayed; %llu I/Os ended\n", GetParam().name,
              static_cast<unsigned long long>(all.random_values),
              static_cast<unsigned long long>(all.mutations),
              static_cast<unsigned long long>(all.replays),
              static_cast<unsigned long long>(world.ended()));
  for (std::size_t i = 0; i != all.counts.size(); ++i) {
    const auto reason = static_cast<LookupReason>(i);
    std::printf("  %-17s %9llu\n", i == 0 ? "(a request)" : to_string(reason),
                static_cast<unsigned long long>(all.counts[i]));
    EXPECT_EQ(all.counts[i] != 0, possible(layout, reason)) << to_string(reason);
  }
  EXPECT_EQ(reports.load(), all.reported_drops) << "each dropped handle reports once";
}

INSTANTIATE_TEST_SUITE_P(Layouts, HostileLookup,
                         ::testing::Values(NamedLayout{"nvme", CookieLayout::nvme()},
                                           NamedLayout{"nbd", CookieLayout::nbd()},
                                           NamedLayout{"io_uring", CookieLayout::io_uring()},
                                           // A layout so narrow that random bits often match an
                                           // I/O.
                                           NamedLayout{"narrow",
                                                       {.width_bits = 12,
                                                        .queue = {.shift = 10, .bits = 2},
                                                        .tag = {.shift = 1, .bits = 4},
                                                        .generation = {.shift = 6, .bits = 3},
                                                        .user = {.shift = 9, .bits = 1},
                                                        .all_ones_reserved = true}}),
                         [](const auto& instance) { return std::string{instance.param.name}; });

// --- a lookup does not wait for a holder ---------------------------------------------------------

/// Holds one request in each state in which a lookup is refused.
class Holder {
 public:
  explicit Holder(Tags& tags) : tags_{tags}, cache_{tags.tag_cache(blkown::QueueIndex{0}, 0)} {
    static_cast<void>(publish());  // tag 0 stays parked
    for (unsigned i = 0; i != 4; ++i) cookies.push_back(publish());
    owned.emplace(*std::move(*tags.claim(blkown::QueueIndex{0}, cookies[0].value)).into_owned());
    claimed.emplace(std::move(*tags.claim(blkown::QueueIndex{0}, cookies[1].value)));
    pins.push_back(claimed->pin());
    // An I/O that ended under a pin: finished until the pin is dropped.
    auto ending = std::move(*tags.claim(blkown::QueueIndex{0}, cookies[2].value));
    pins.push_back(ending.pin());
    std::move(ending).end_ok();
    std::move(*tags.claim(blkown::QueueIndex{0}, cookies[3].value)).end_ok();
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    std::move(*owned).end_ok();
    std::move(*claimed).end_ok();
    pins.clear();
    std::move(*tags_.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0})).end_ok();
  }

  static constexpr std::array<LookupReason, 4> reasons{LookupReason::owned, LookupReason::claimed,
                                                       LookupReason::claimed, LookupReason::idle};
  std::vector<blkown::Cookie> cookies;  // of the four requests, in the order of `reasons`

 private:
  [[nodiscard]] blkown::Cookie publish() {
    blkown::Cookie cookie;
    std::move(*tags_.allocate(blkown::QueueIndex{0}, cache_))
        .start()
        .publish([&](blkown::Cookie made) { cookie = made; });
    return cookie;
  }

  Tags& tags_;
  blkown::TagCache cache_;
  std::optional<blkown::Owned<Rq>> owned;
  std::optional<blkown::Claim<Rq>> claimed;
  std::vector<blkown::ARef<Rq>> pins;
};

[[nodiscard]] Tags make_tags() {
  auto made =
      Tags::create({.depth = 5, .layout = CookieLayout::nbd()}, blkown::EndSink<Rq>::freeing(),
                   [](blkown::QueueIndex queue, blkown::Tag tag) { return Io{queue, tag}; });
  return std::move(*made);
}

/// Does `count` lookups of each kind for each held request. Each must return the right reason.
[[nodiscard]] std::uint64_t wrong_answers(Tags& tags, const Holder& holder, std::uint64_t count) {
  std::uint64_t wrong = 0;
  for (std::uint64_t done = 0; done != count; ++done) {
    for (std::size_t i = 0; i != holder.reasons.size(); ++i) {
      const std::uint64_t value = holder.cookies[i].value;
      const auto right = tags.claim(blkown::QueueIndex{0}, value);
      const auto alone = tags.tag_to_owned(blkown::QueueIndex{0}, value);
      const auto pin = tags.tag_to_rq(blkown::QueueIndex{0}, value);
      const bool as_it_should = !right.has_value() && right.error().reason == holder.reasons[i] &&
                                !alone.has_value() && alone.error().reason == holder.reasons[i] &&
                                !pin.has_value() && pin.error().reason == holder.reasons[i];
      wrong += as_it_should ? 0 : 1;
    }
  }
  return wrong;
}

// The only thread: a lookup that waited would never return.
TEST(LookupOfAHeldRequest, ReturnsWithNoOtherThreadInTheProcess) {
  Tags tags = make_tags();
  const Holder holder{tags};
  EXPECT_EQ(wrong_answers(tags, holder, scaled(1'000'000, 100'000) / 3 + 1), 0U);
}

// The holder sleeps between two transitions until the last lookup has returned.
TEST(LookupOfAHeldRequest, ReturnsWhileItsHolderSleeps) {
  Tags tags = make_tags();
  std::binary_semaphore held{0};
  std::binary_semaphore answered{0};
  std::optional<Holder> holder;
  std::thread sleeper{[&] {
    holder.emplace(tags);
    held.release();
    answered.acquire();
    holder.reset();
  }};
  held.acquire();
  std::array<std::uint64_t, 2> wrong{1, 1};
  std::vector<std::thread> attackers;
  for (std::uint64_t& mine : wrong) {
    attackers.emplace_back(
        [&] { mine = wrong_answers(tags, *holder, scaled(1'000'000, 100'000) / 6 + 1); });
  }
  for (auto& thread : attackers) thread.join();
  answered.release();
  sleeper.join();
  EXPECT_EQ(wrong, (std::array<std::uint64_t, 2>{0, 0}));
}

}  // namespace
}  // namespace stress
