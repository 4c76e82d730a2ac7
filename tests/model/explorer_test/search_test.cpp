// SPDX-License-Identifier: BSL-1.0
//
// Goal: the search visits each execution once and ends; a search that proves nothing is a failure.
// Method: programs whose executions can be counted by hand, and programs that are wrong.

#include "litmus.hpp"

namespace {

/// n independent steps of each thread are one execution, whatever the number of their orders.
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
  // Two loads of three stores: one execution per outcome, whenever the stores are performed.
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
  options.max_executions = 3;
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
  // Another path does not fail. A path that does not fit the program is refused.
  EXPECT_FALSE(model::replay(program, {}, *model::read_choices("1 1 2r1 2r1")).failed);
  EXPECT_TRUE(
      contains(model::replay(program, {}, *model::read_choices("2r5")).message, "do not fit"));
  EXPECT_FALSE(model::read_choices("1 x").has_value());
  EXPECT_FALSE(model::read_choices("1r").has_value());
}

}  // namespace
