// SPDX-License-Identifier: BSL-1.0
//
// Goal: the explorer derives happens-before from the declared orders. Ordered accesses are no race
// and are seen; unordered ones are a data race in some execution.
// Method: message passing, release sequences and unordered accesses, each also with one order left
// out.

#include "litmus.hpp"

namespace {

// --- message passing ---

/// Data, then a flag. The reader accesses the data only if it sees the flag.
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
                         "ordering_test.cpp:"));
    EXPECT_TRUE(contains(explored.exploration.message, "read by thread 2 at ordering_test.cpp:"));
  }
}

/// The reverse: an access that follows the release is not covered by it.
struct ReleasedTooEarly : Litmus {
  model::Data<int> data{0};
  Flag flag{0};
  void sends() {
    flag.store(1, release);
    data.set(7);
  }
  void receives() {
    if (flag.load(acquire) == 1) note(0, static_cast<unsigned>(data.get()));
  }
};

TEST(MessagePassing, WhatFollowsTheReleaseIsNotReleased) {
  EXPECT_TRUE(contains(
      failure_of<ReleasedTooEarly, &ReleasedTooEarly::sends, &ReleasedTooEarly::receives>(),
      "data race"));
}

/// The same with atomic data, so that a stale value shows.
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

// --- release sequences ---

enum class Between { rmw_of_other, rmw_of_same, store_of_other, store_of_same };

/// A release store, then a relaxed change of the same atomic, then an acquire that reads that
/// change.
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
  // Since C++20 a later store of the releasing thread ends the sequence too.
  EXPECT_TRUE(contains(break_sequence<Between::store_of_same>(), "data race"));
}

/// Two releases by subtraction. The thread that reaches 0 must acquire both.
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

// --- data ---

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

}  // namespace
