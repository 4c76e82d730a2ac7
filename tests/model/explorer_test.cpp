// SPDX-License-Identifier: BSL-1.0
//
// Goal: the explorer finds every outcome that C++20 allows a program, and none that it forbids,
// within the limits that README.md names.
// Method: small programs with known answers (litmus tests). Each notes what its threads read; the
// set of notes over all executions must be exactly the set of allowed ones. And programs that are
// wrong, which the explorer must say, with a schedule that it can replay.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "explorer/explorer.hpp"

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;

using Flag = model::atomic<std::uint32_t>;
using Outcomes = std::set<std::string>;

/// What a program's threads read: r[0], r[1], ..., as a string of digits.
struct Litmus {
  std::array<int, 4> r{};
  int noted = 0;

  void note(int index, std::uint64_t value) {
    r[static_cast<std::size_t>(index)] = static_cast<int>(value);
    if (noted <= index) noted = index + 1;
  }
  [[nodiscard]] std::string text() const {
    std::string digits;
    for (int i = 0; i != noted; ++i) digits += std::to_string(r[static_cast<std::size_t>(i)]);
    return digits;
  }
};

struct Explored {
  Outcomes outcomes;
  model::Exploration exploration;
};

template <class P>
struct Collect final : model::Visitor<P> {
  Outcomes outcomes;
  void visit(P& program) override { outcomes.insert(program.text()); }
};

template <class P, auto... Bodies>
Explored run(const model::Options& options = {}) {
  Collect<P> collect;
  model::Program program = model::program_of<P, Bodies...>();
  program.finish_context = static_cast<model::Visitor<P>*>(&collect);
  model::Exploration exploration = model::explore(program, options);
  return {std::move(collect.outcomes), std::move(exploration)};
}

/// All executions, no failure.
template <class P, auto... Bodies>
Outcomes outcomes_of(const model::Options& options = {}) {
  Explored explored = run<P, Bodies...>(options);
  EXPECT_FALSE(explored.exploration.failed) << explored.exploration.message << '\n'
                                            << explored.exploration.schedule;
  return explored.outcomes;
}

/// The message of the failure that there must be.
template <class P, auto... Bodies>
std::string failure_of(const model::Options& options = {}) {
  const Explored explored = run<P, Bodies...>(options);
  EXPECT_TRUE(explored.exploration.failed);
  return explored.exploration.message;
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// --- message passing
// ------------------------------------------------------------------------------

/// Data, then a flag; the reader looks at the data only if it sees the flag.
template <std::memory_order Send, std::memory_order Receive>
struct MessagePassing : Litmus {
  model::Data<int> data{0};
  Flag flag{0};
  void sends() {
    data.set(7);
    flag.store(1, Send);
  }
  void receives() {
    const auto seen = flag.load(Receive);
    note(0, seen);
    note(1, static_cast<unsigned>(seen == 1 ? data.get() : 0));
  }
};

template <std::memory_order Send, std::memory_order Receive>
Explored pass_message() {
  using P = MessagePassing<Send, Receive>;
  return run<P, &P::sends, &P::receives>();
}

TEST(MessagePassing, WithReleaseAndAcquireTheDataArrives) {
  const Explored explored = pass_message<release, acquire>();
  EXPECT_FALSE(explored.exploration.failed) << explored.exploration.message;
  EXPECT_EQ(explored.outcomes, (Outcomes{"00", "17"}));
}

TEST(MessagePassing, WithoutEitherItIsADataRaceThatNamesBothPlaces) {
  for (const Explored& explored :
       {pass_message<relaxed, acquire>(), pass_message<release, relaxed>()}) {
    EXPECT_TRUE(explored.exploration.failed);
    EXPECT_TRUE(contains(explored.exploration.message,
                         "data race on data: write by thread 1 at "
                         "explorer_test.cpp:"));
    EXPECT_TRUE(contains(explored.exploration.message, "read by thread 2 at explorer_test.cpp:"));
  }
}

/// The same with the data atomic, so that the stale value shows.
template <std::memory_order Send, std::memory_order Receive>
struct StaleMessage : Litmus {
  Flag data{0};
  Flag flag{0};
  void sends() {
    data.store(1, relaxed);
    flag.store(1, Send);
  }
  void receives() {
    note(0, flag.load(Receive));
    note(1, data.load(relaxed));
  }
};

TEST(MessagePassing, RelaxedLetsTheFlagOvertakeTheData) {
  using Strong = StaleMessage<release, acquire>;
  using Weak = StaleMessage<relaxed, acquire>;
  EXPECT_EQ((outcomes_of<Strong, &Strong::sends, &Strong::receives>()),
            (Outcomes{"00", "01", "11"}));
  EXPECT_EQ((outcomes_of<Weak, &Weak::sends, &Weak::receives>()),
            (Outcomes{"00", "01", "11", "10"}));
}

// --- coherence
// ------------------------------------------------------------------------------------

struct StoreBuffering : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    x.store(1, release);
    note(0, y.load(acquire));
  }
  void second() {
    y.store(1, release);
    note(1, x.load(acquire));
  }
};

TEST(Coherence, StoreBufferingHasAllFourOutcomes) {
  EXPECT_EQ((outcomes_of<StoreBuffering, &StoreBuffering::first, &StoreBuffering::second>()),
            (Outcomes{"00", "01", "10", "11"}));
}

/// Two loads of one atomic never go back.
struct ReadRead : Litmus {
  Flag x{0};
  void writes() {
    x.store(1, relaxed);
    x.store(2, relaxed);
  }
  void reads() {
    note(0, x.load(relaxed));
    note(1, x.load(relaxed));
  }
};

TEST(Coherence, TwoLoadsNeverGoBack) {
  EXPECT_EQ((outcomes_of<ReadRead, &ReadRead::writes, &ReadRead::reads>()),
            (Outcomes{"00", "01", "02", "11", "12", "22"}));
}

/// A load after the thread's own store reads that or a newer one.
struct WriteRead : Litmus {
  Flag x{0};
  void first() {
    x.store(1, relaxed);
    note(0, x.load(relaxed));
  }
  void second() { x.store(2, relaxed); }
  void finish() { note(1, x.load(relaxed)); }
};

TEST(Coherence, ALoadNeverLooksBehindTheThreadsOwnStore) {
  EXPECT_EQ((outcomes_of<WriteRead, &WriteRead::first, &WriteRead::second>()),
            (Outcomes{"11", "12", "22"}));
}

/// A load before the thread's own store never reads that; nor one that comes after it.
struct ReadWrite : Litmus {
  Flag x{0};
  void first() {
    note(0, x.load(relaxed));
    x.store(1, relaxed);
  }
  void second() { x.store(2, relaxed); }
  void finish() { note(1, x.load(relaxed)); }
};

TEST(Coherence, ALoadBeforeTheThreadsOwnStoreReadsNothingFromBehindIt) {
  EXPECT_EQ((outcomes_of<ReadWrite, &ReadWrite::first, &ReadWrite::second>()),
            (Outcomes{"01", "02", "21"}));
}

/// What another thread has read before, and handed on, may not be un-read.
struct HandedOnRead : Litmus {
  Flag x{0};
  Flag y{0};
  void writes() { x.store(1, relaxed); }
  void reads() {
    note(0, x.load(relaxed));
    y.store(1, release);
  }
  void reads_after() {
    note(1, y.load(acquire));
    note(2, x.load(relaxed));
  }
};

TEST(Coherence, HoldsAcrossHappensBefore) {
  const Outcomes seen = outcomes_of<HandedOnRead, &HandedOnRead::writes, &HandedOnRead::reads,
                                    &HandedOnRead::reads_after>();
  EXPECT_EQ(seen, (Outcomes{"000", "001", "010", "011", "100", "101", "111"}));
}

// --- release sequences
// ----------------------------------------------------------------------------

enum class Between { rmw_of_other, rmw_of_same, store_of_other, store_of_same };

/// A release store, then a relaxed change of the same atomic, then an acquire that reads that.
template <Between Change>
struct ReleaseSequence : Litmus {
  model::Data<int> data{0};
  Flag x{0};
  void releases() {
    data.set(1);
    x.store(1, release);
    if (Change == Between::rmw_of_same) x.fetch_add(2, relaxed);
    if (Change == Between::store_of_same) x.store(3, relaxed);
  }
  void changes() {
    if (Change == Between::rmw_of_other) x.fetch_add(2, relaxed);
    if (Change == Between::store_of_other && x.load(relaxed) == 1) x.store(3, relaxed);
  }
  void acquires() {
    if (x.load(acquire) == 3) note(0, static_cast<unsigned>(data.get()));
  }
};

template <Between Change>
std::string break_sequence() {
  using P = ReleaseSequence<Change>;
  return run<P, &P::releases, &P::changes, &P::acquires>().exploration.message;
}

TEST(ReleaseSequence, GoesOnThroughReadModifyWritesOfAnyThread) {
  EXPECT_EQ(break_sequence<Between::rmw_of_other>(), "");
  EXPECT_EQ(break_sequence<Between::rmw_of_same>(), "");
}

TEST(ReleaseSequence, EndsAtAPlainStoreOfAnyThread) {
  EXPECT_TRUE(contains(break_sequence<Between::store_of_other>(), "data race"));
  // Since C++20 the releasing thread's own later store ends it too.
  EXPECT_TRUE(contains(break_sequence<Between::store_of_same>(), "data race"));
}

/// Two releases by subtraction; whoever brings it to 0 has to acquire both.
template <std::memory_order Drop, std::memory_order Last>
struct Drops : Litmus {
  model::Data<int> data{0};
  Flag count{2};
  void drops() {
    static_cast<void>(data.get());
    if (count.fetch_sub(1, Drop) == 1) {
      static_cast<void>(count.load(Last));
      data.set(1);
      note(0, 1);
    }
  }
};

TEST(ReleaseSequence, AnAcquireLoadAfterTheLastDropSeesAllDrops) {
  using Right = Drops<release, acquire>;
  EXPECT_EQ((outcomes_of<Right, &Right::drops, &Right::drops>()), (Outcomes{"1"}));
  using NoRelease = Drops<relaxed, acquire>;
  EXPECT_TRUE(contains(failure_of<NoRelease, &NoRelease::drops, &NoRelease::drops>(), "data race"));
  using NoAcquire = Drops<release, relaxed>;
  EXPECT_TRUE(contains(failure_of<NoAcquire, &NoAcquire::drops, &NoAcquire::drops>(), "data race"));
}

// --- several threads
// ------------------------------------------------------------------------------

/// Independent reads of independent writes: one writer here, as its two stores are relaxed and so
/// not ordered for the readers; three threads are enough.
struct IndependentReads : Litmus {
  Flag x{0};
  Flag y{0};
  void writes() {
    x.store(1, relaxed);
    y.store(1, relaxed);
  }
  void reads_x_first() {
    note(0, x.load(acquire));
    note(1, y.load(acquire));
  }
  void reads_y_first() {
    note(2, y.load(acquire));
    note(3, x.load(acquire));
  }
};

TEST(SeveralThreads, MayDisagreeOnTheOrderOfIndependentWrites) {
  const Outcomes seen =
      outcomes_of<IndependentReads, &IndependentReads::writes, &IndependentReads::reads_x_first,
                  &IndependentReads::reads_y_first>();
  Outcomes all;
  for (const char* first : {"00", "01", "10", "11"}) {
    for (const char* second : {"00", "01", "10", "11"}) all.insert(std::string{first} + second);
  }
  EXPECT_EQ(seen, all);  // "1010" among them: each sees its first write only
}

/// Write to read causality: through a thread in between.
template <std::memory_order Between_>
struct Causality : Litmus {
  model::Data<int> data{0};
  Flag x{0};
  Flag y{0};
  void writes() {
    data.set(1);
    x.store(1, release);
  }
  void hands_on() {
    if (x.load(Between_) == 1) y.store(1, release);
  }
  void reads() {
    if (y.load(acquire) == 1) note(0, static_cast<unsigned>(data.get()));
  }
};

TEST(SeveralThreads, HappensBeforeIsTransitive) {
  using Right = Causality<acquire>;
  EXPECT_EQ((outcomes_of<Right, &Right::writes, &Right::hands_on, &Right::reads>()),
            (Outcomes{"", "1"}));
  using Wrong = Causality<relaxed>;
  EXPECT_TRUE(
      contains(failure_of<Wrong, &Wrong::writes, &Wrong::hands_on, &Wrong::reads>(), "data race"));
}

/// The limit: each would have to read what the other writes afterwards.
struct LoadBuffering : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    note(0, x.load(relaxed));
    y.store(1, relaxed);
  }
  void second() {
    note(1, y.load(relaxed));
    x.store(1, relaxed);
  }
};

TEST(Limits, LoadBufferingIsNotShown) {
  EXPECT_EQ((outcomes_of<LoadBuffering, &LoadBuffering::first, &LoadBuffering::second>()),
            (Outcomes{"00", "01", "10"}));
}

/// The other limit: both first stores last in modification order.
struct TwoWrites : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    x.store(1, relaxed);
    y.store(2, relaxed);
  }
  void second() {
    y.store(1, relaxed);
    x.store(2, relaxed);
  }
  void finish() {
    note(0, x.load(relaxed));
    note(1, y.load(relaxed));
  }
};

TEST(Limits, ModificationOrderIsTheOrderOfExecution) {
  EXPECT_EQ((outcomes_of<TwoWrites, &TwoWrites::first, &TwoWrites::second>()),
            (Outcomes{"12", "21", "22"}));
}

TEST(Limits, AProgramThatReliesOnTheOrderOfPlainStoresIsRejectedWhereAsked) {
  model::Options options;
  options.stores_are_ordered = true;
  EXPECT_TRUE(contains(failure_of<TwoWrites, &TwoWrites::first, &TwoWrites::second>(options),
                       "a plain store over a write that does not happen before it"));
  using Ordered = MessagePassing<release, acquire>;
  EXPECT_EQ((outcomes_of<Ordered, &Ordered::sends, &Ordered::receives>(options)),
            (Outcomes{"00", "17"}));
}

// --- read-modify-writes
// ---------------------------------------------------------------------------

struct Additions : Litmus {
  Flag x{0};
  void adds() { x.fetch_add(1, relaxed); }
  void finish() { note(0, x.load(relaxed)); }
};

TEST(ReadModifyWrite, NoAdditionIsLost) {
  EXPECT_EQ((outcomes_of<Additions, &Additions::adds, &Additions::adds, &Additions::adds>()),
            (Outcomes{"3"}));
}

struct LoadsAndStores : Litmus {
  Flag x{0};
  void adds() { x.store(x.load(relaxed) + 1, relaxed); }
  void finish() { note(0, x.load(relaxed)); }
};

TEST(ReadModifyWrite, ALoadAndAStoreLoseOne) {
  EXPECT_EQ((outcomes_of<LoadsAndStores, &LoadsAndStores::adds, &LoadsAndStores::adds>()),
            (Outcomes{"1", "2"}));
}

/// 0: succeeded; 1: failed.
template <bool Weak>
struct Exchange : Litmus {
  Flag x{5};
  void tries() {
    std::uint32_t expected = 5;
    const bool done = Weak ? x.compare_exchange_weak(expected, 6, relaxed, relaxed)
                           : x.compare_exchange_strong(expected, 6, relaxed, relaxed);
    note(0, done ? 0 : 1);
    note(1, expected);
  }
  void idles() {}
};

TEST(ReadModifyWrite, OnlyAWeakExchangeFailsSpuriouslyAndOnlyAsOftenAsAllowed) {
  using Weak = Exchange<true>;
  using Strong = Exchange<false>;
  EXPECT_EQ((outcomes_of<Weak, &Weak::tries, &Weak::idles>()), (Outcomes{"05", "15"}));
  EXPECT_EQ((outcomes_of<Strong, &Strong::tries, &Strong::idles>()), (Outcomes{"05"}));
  model::Options never;
  never.spurious_failures = 0;
  EXPECT_EQ((outcomes_of<Weak, &Weak::tries, &Weak::idles>(never)), (Outcomes{"05"}));
}

/// A failing strong CAS is a load: it may read an old value, but not one that is expected.
struct StaleFailure : Litmus {
  Flag x{0};
  void writes() {
    x.store(1, relaxed);
    x.store(2, relaxed);
  }
  void tries() {
    std::uint32_t expected = 2;
    const bool done = x.compare_exchange_strong(expected, 9, acq_rel, relaxed);
    note(0, done ? 9 : expected);
  }
};

TEST(ReadModifyWrite, AFailingExchangeMayReadAnOldValueASucceedingOneReadsTheNewest) {
  EXPECT_EQ((outcomes_of<StaleFailure, &StaleFailure::writes, &StaleFailure::tries>()),
            (Outcomes{"0", "1", "9"}));
}

/// A CAS orders by its failure order if it fails.
template <std::memory_order Failure>
struct FailureOrder : Litmus {
  model::Data<int> data{0};
  Flag x{0};
  void writes() {
    data.set(1);
    x.store(1, release);
  }
  void tries() {
    std::uint32_t expected = 0;
    if (!x.compare_exchange_strong(expected, 2, relaxed, Failure)) {
      note(0, static_cast<unsigned>(data.get()));
    }
  }
};

TEST(ReadModifyWrite, AFailingExchangeHasItsOwnOrder) {
  using Right = FailureOrder<acquire>;
  EXPECT_EQ((outcomes_of<Right, &Right::writes, &Right::tries>()), (Outcomes{"", "1"}));
  using Wrong = FailureOrder<relaxed>;
  EXPECT_TRUE(contains(failure_of<Wrong, &Wrong::writes, &Wrong::tries>(), "data race"));
}

// --- data
// -----------------------------------------------------------------------------------------

struct TwoReaders : Litmus {
  model::Data<int> data{3};
  void reads() { note(0, static_cast<unsigned>(data.get())); }
};

TEST(DataRace, TwoReadersAreNone) {
  EXPECT_EQ((outcomes_of<TwoReaders, &TwoReaders::reads, &TwoReaders::reads>()), (Outcomes{"3"}));
}

struct TwoWriters : Litmus {
  model::Data<int> data{0};
  void writes() { data.set(1); }
};

struct ReadThenWrite : Litmus {
  model::Data<int> data{0};
  Flag x{0};
  void reads() {
    static_cast<void>(data.get());
    x.store(1, relaxed);
  }
  void writes() {
    if (x.load(acquire) == 1) data.set(1);
  }
};

TEST(DataRace, IsFoundBetweenWritersAndBetweenAnEarlierReadAndAWrite) {
  EXPECT_TRUE(contains(failure_of<TwoWriters, &TwoWriters::writes, &TwoWriters::writes>(),
                       "write by thread 1"));
  EXPECT_TRUE(contains(failure_of<ReadThenWrite, &ReadThenWrite::reads, &ReadThenWrite::writes>(),
                       "read by thread 1"));
}

// --- the search and its ends
// ----------------------------------------------------------------------

/// n independent steps of each thread are one execution, not as many as there are orders.
struct Independent : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    for (int i = 0; i != 6; ++i) x.fetch_add(1, relaxed);
  }
  void second() {
    for (int i = 0; i != 6; ++i) y.fetch_add(1, relaxed);
  }
};

TEST(Search, VisitsOneExecutionOfEachKind) {
  const auto independent = run<Independent, &Independent::first, &Independent::second>();
  EXPECT_EQ(independent.exploration.executions, 1U);
  // Two loads of three stores: one execution per outcome, whenever the stores happen to come.
  const auto reads = run<ReadRead, &ReadRead::writes, &ReadRead::reads>();
  EXPECT_EQ(reads.exploration.executions, reads.outcomes.size());
  // Three additions to one atomic: one execution for each order.
  const auto additions = run<Additions, &Additions::adds, &Additions::adds, &Additions::adds>();
  EXPECT_EQ(additions.exploration.executions, 6U);
}

struct Awaits : Litmus {
  Flag x{0};
  model::Data<int> data{0};
  void sends() {
    data.set(4);
    x.store(1, release);
  }
  void waits() {
    static_cast<void>(x.await_other(0, acquire));
    note(0, static_cast<unsigned>(data.get()));
  }
};

struct Stuck : Litmus {
  Flag x{0};
  void sends() { x.store(1, release); }
  void waits() { static_cast<void>(x.await_equal(2, acquire)); }
};

TEST(Search, AnAwaitGoesOnWhenItCanAndFailsTheProgramIfItNeverCan) {
  EXPECT_EQ((outcomes_of<Awaits, &Awaits::sends, &Awaits::waits>()), (Outcomes{"4"}));
  EXPECT_EQ((failure_of<Stuck, &Stuck::sends, &Stuck::waits>()), "thread 2 waits for ever");
}

struct Endless : Litmus {
  Flag x{0};
  void spins() {
    while (x.load(relaxed) == 0) {
    }
  }
  void idles() {}
};

TEST(Search, ALoopWithoutEndIsAFailure) {
  EXPECT_TRUE(contains(failure_of<Endless, &Endless::spins, &Endless::idles>(), "step limit"));
}

TEST(Search, ALimitThatIsReachedIsAFailure) {
  model::Options options;
  options.most_executions = 3;
  EXPECT_TRUE(
      contains(failure_of<StoreBuffering, &StoreBuffering::first, &StoreBuffering::second>(options),
               "not exhausted"));
}

struct Sequential : Litmus {
  Flag x{0};
  void stores() { x.store(1, std::memory_order_seq_cst); }
};

TEST(Search, AnOrderThatIsNotModelledIsAFailure) {
  EXPECT_EQ((failure_of<Sequential, &Sequential::stores>()), "seq_cst is not modelled");
}

struct Wrong : Litmus {
  Flag x{0};
  Flag y{0};
  void first() {
    x.store(1, relaxed);
    y.store(1, relaxed);
  }
  void second() {
    const bool second_seen = y.load(relaxed) == 1;
    const bool first_seen = x.load(relaxed) == 1;
    model::check(!second_seen || first_seen, "the second store was seen first");
  }
};

TEST(Search, AFailureComesWithAScheduleThatCanBeReplayed) {
  const model::Program program = model::program_of<Wrong, &Wrong::first, &Wrong::second>();
  const model::Exploration found = model::explore(program);
  ASSERT_TRUE(found.failed);
  EXPECT_TRUE(contains(found.message, "the second store was seen first"));
  EXPECT_TRUE(contains(found.schedule, "load relaxed: 0 (store 0)"));
  const auto choices = model::read_choices(found.choices.c_str());
  ASSERT_TRUE(choices.has_value());
  const model::Exploration again = model::replay(program, {}, *choices);
  EXPECT_TRUE(again.failed);
  EXPECT_EQ(again.message, found.message);
  EXPECT_EQ(again.schedule, found.schedule);
  // Another path does not fail, and one that does not fit is refused.
  EXPECT_FALSE(model::replay(program, {}, *model::read_choices("1 1 2r1 2r1")).failed);
  EXPECT_TRUE(
      contains(model::replay(program, {}, *model::read_choices("2r5")).message, "do not fit"));
  EXPECT_FALSE(model::read_choices("1 x").has_value());
  EXPECT_FALSE(model::read_choices("1r").has_value());
}

}  // namespace
