// SPDX-License-Identifier: BSL-1.0
//
// Goal: read-modify-writes read the newest store, and a compare-exchange fails in every permitted
// way.
// Method: lost updates, spurious and stale failures, and the failure order.

#include "litmus.hpp"

namespace {

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

/// Two threads push themselves onto a list. One thread is linked behind the other.
struct Pushes : Litmus {
  struct Node {
    Node* next = nullptr;
  };
  std::array<Node, 2> nodes;
  model::atomic<Node*> top{nullptr};
  void push(Node& node) {
    node.next = top.load(relaxed);
    while (!top.compare_exchange_weak(node.next, &node, release, relaxed)) {
    }
  }
  void pushes() { push(nodes[0]); }
  void pushes_too() { push(nodes[1]); }
  void finish() {
    Node* const last = top.exchange(nullptr, acquire);
    note(0, last == &nodes[0] ? 1 : 2);
    note(1, last->next == nullptr ? 0 : last->next == &nodes[0] ? 1 : 2);
    note(2, top.load(relaxed) == nullptr ? 0 : 1);
  }
};

TEST(ReadModifyWrite, PointersAreValues) {
  EXPECT_EQ((outcomes_of<Pushes, &Pushes::pushes, &Pushes::pushes_too>()),
            (Outcomes{"120", "210"}));
}

/// 0: the exchange succeeded; 1: it failed.
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

TEST(ReadModifyWrite, OnlyAWeakExchangeFailsSpuriouslyIfAllowed) {
  using Weak = Exchange<true>;
  using Strong = Exchange<false>;
  EXPECT_EQ((outcomes_of<Weak, &Weak::tries, &Weak::idles>()), (Outcomes{"05", "15"}));
  EXPECT_EQ((outcomes_of<Strong, &Strong::tries, &Strong::idles>()), (Outcomes{"05"}));
  model::Options never;
  never.spurious_failures = 0;
  EXPECT_EQ((outcomes_of<Weak, &Weak::tries, &Weak::idles>(never)), (Outcomes{"05"}));
}

/// Two exchanges in a row, both of which expect the value that the atomic keeps.
struct TwoTries : Litmus {
  Flag x{5};
  void tries() {
    for (int i = 0; i != 2; ++i) {
      std::uint32_t expected = 5;
      note(i, x.compare_exchange_weak(expected, 5, relaxed, relaxed) ? 0 : 1);
    }
  }
};

TEST(ReadModifyWrite, SpuriousFailuresAreCountedForEachThread) {
  EXPECT_EQ((outcomes_of<TwoTries, &TwoTries::tries>()), (Outcomes{"00", "01", "10"}));
  model::Options twice;
  twice.spurious_failures = 2;
  EXPECT_EQ((outcomes_of<TwoTries, &TwoTries::tries>(twice)), (Outcomes{"00", "01", "10", "11"}));
}

/// A strong CAS that fails is a load, which may read an old value but not the expected one.
struct StaleFailure : Litmus {
  Flag x{0};
  void writes() {
    x.store(1, relaxed);
    x.store(2, relaxed);
  }
  void tries() {
    std::uint32_t expected = 2;
    const bool done = x.compare_exchange_strong(expected, 9, acq_rel, relaxed);
    note(0, done ? 1 : 0);
    note(1, expected);
  }
};

TEST(ReadModifyWrite, AFailingExchangeMayReadAnOldValueASucceedingOneReadsTheNewest) {
  EXPECT_EQ((outcomes_of<StaleFailure, &StaleFailure::writes, &StaleFailure::tries>()),
            (Outcomes{"00", "01", "12"}));
}

/// A CAS that fails has its failure order.
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

}  // namespace
