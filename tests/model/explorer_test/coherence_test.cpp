// SPDX-License-Identifier: BSL-1.0
//
// Goal: loads read every store that coherence and happens-before permit to a thread, and no other.
// Method: the classic litmus tests of one and of several atomics, with all their outcomes, and the
// two limits of the explorer, which must not change unnoticed.

#include "litmus.hpp"

namespace {

// --- coherence ---

TEST(Coherence, StoreBufferingHasAllFourOutcomes) {
  EXPECT_EQ((outcomes_of<StoreBuffering, &StoreBuffering::first, &StoreBuffering::second>()),
            (Outcomes{"00", "01", "10", "11"}));
}

TEST(Coherence, TwoLoadsNeverGoBack) {
  EXPECT_EQ((outcomes_of<ReadRead, &ReadRead::writes, &ReadRead::reads>()),
            (Outcomes{"00", "01", "02", "11", "12", "22"}));
}

/// A load after the thread's own store reads that store or a newer one.
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

/// A load before the thread's own store never reads that store, nor one that comes after it.
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

/// A thread never reads a store older than one that another thread read and passed on.
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

// --- several threads ---

/// Independent reads of independent writes. One writer suffices, because two relaxed stores of one
/// thread are not ordered for the readers.
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
  EXPECT_EQ(seen, all);  // "1010" among them: each reader sees its first write only
}

/// Causality from a write to a read through a third thread.
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

/// A limit of the explorer: the outcome "11" is missing, in which each load reads the store that
/// the other thread makes after its own load.
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

/// The other limit of the explorer: the outcome "11" is missing, in which each thread's first store
/// is the last one in modification order.
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

/// Two plain stores, the second only after the first.
struct OrderedWrites : Litmus {
  Flag x{0};
  Flag done{0};
  void first() {
    x.store(1, relaxed);
    done.store(1, release);
  }
  void second() {
    if (done.load(acquire) == 1) x.store(2, relaxed);
  }
  void finish() { note(0, x.load(relaxed)); }
};

TEST(Limits, AProgramThatReliesOnTheOrderOfPlainStoresIsRejectedWhereAsked) {
  model::Options options;
  options.stores_are_ordered = true;
  EXPECT_TRUE(contains(failure_of<TwoWrites, &TwoWrites::first, &TwoWrites::second>(options),
                       "a plain store over a write that does not happen before it"));
  EXPECT_EQ((outcomes_of<OrderedWrites, &OrderedWrites::first, &OrderedWrites::second>(options)),
            (Outcomes{"1", "2"}));
}

}  // namespace
