// SPDX-License-Identifier: BSL-1.0
//
// Goal: a Ring keeps its elements in order, whichever end they come from, and loses none.
// Method: each operation on rings of no, one and two elements.

#include <gtest/gtest.h>

#include <array>
#include <blkown/detail/ring.hpp>
#include <utility>
#include <vector>

namespace {

struct Element {
  int value = 0;
  Element* next = nullptr;
};
struct Link {
  static Element* next(Element& element) { return element.next; }
  static void set_next(Element& element, Element* next) { element.next = next; }
};
using Ring = blkown::detail::Ring<Element, Link>;

/// The values, in order. Empties the ring.
std::vector<int> values_of(Ring& ring) {
  std::vector<int> values;
  while (const Element* const element = ring.pop_front()) values.push_back(element->value);
  return values;
}

struct RingTest : testing::Test {
  std::array<Element, 4> elements{Element{0}, Element{1}, Element{2}, Element{3}};
  Ring ring;

  /// A ring of the elements from `first` up to `last`.
  Ring of(int first, int last) {
    Ring made;
    for (int i = first; i != last; ++i) made.push_back(elements[static_cast<std::size_t>(i)]);
    return made;
  }
};

TEST_F(RingTest, BothEndsTakeElements) {
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.front(), nullptr);
  EXPECT_EQ(ring.pop_front(), nullptr);
  ring.push_front(elements[1]);
  EXPECT_EQ(ring.front(), &elements[1]);
  ring.push_back(elements[2]);
  ring.push_front(elements[0]);
  EXPECT_FALSE(ring.empty());
  EXPECT_EQ(values_of(ring), (std::vector{0, 1, 2}));
  EXPECT_TRUE(ring.empty());
}

TEST_F(RingTest, AppendMovesAllElements) {
  for (int split = 0; split != 5; ++split) {
    Ring front = of(0, split);
    Ring back = of(split, 4);
    front.append(back);
    EXPECT_TRUE(back.empty()) << split;
    front.append(front);
    EXPECT_EQ(values_of(front), (std::vector{0, 1, 2, 3})) << split;
  }
}

TEST_F(RingTest, AMovedRingIsEmpty) {
  Ring source = of(0, 2);
  Ring target{std::move(source)};
  EXPECT_TRUE(source.empty());  // NOLINT(bugprone-use-after-move): a moved ring is empty
  source.push_back(elements[2]);
  target.swap(source);
  EXPECT_EQ(values_of(source), (std::vector{0, 1}));
  EXPECT_EQ(values_of(target), (std::vector{2}));
}

TEST_F(RingTest, ElementsThatAreLinkedBecomeARing) {
  elements[0].next = &elements[1];
  elements[1].next = &elements[0];
  Ring made = Ring::ending_with(elements[1]);
  EXPECT_EQ(values_of(made), (std::vector{0, 1}));
}

}  // namespace
