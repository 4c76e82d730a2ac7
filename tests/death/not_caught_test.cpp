// SPDX-License-Identifier: BSL-1.0
//
// Goal: if a program that no compiler refuses ends an I/O twice, the I/O ends once and the second
// end is a violation.
// Method: the programs of tests/compile_fail/typestate/not_caught.hpp.

#include <cstdio>
#include <typestate/not_caught.hpp>

#include "violation_test.hpp"

namespace death {
namespace {

class NotCaughtDeathTest : public testing::Test {
 protected:
  [[nodiscard]] not_caught::Owned owned(std::uint32_t tag = 0) {
    return std::move(*set_.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag})).start();
  }

  void ends_once(const char* name, const Act& act) {
    SCOPED_TRACE(name);
    EXPECT_EXIT(
        act(), testing::KilledBySignal(SIGABRT),
        testing::MatchesRegex("ended\nblkown: violation: a handle was used that holds no "
                              "object: do not use a handle that was moved, or consumed as by "
                              "end\\(\\) or publish\\(\\)\n"
                              "blkown:   in Owned::end_ok at .*not_caught.hpp:[0-9]+\n"));
  }

 private:
  static void print_end(void*, blkown::EndedList<not_caught::Request>&& list) {
    while (list.pop_front()) std::fputs("ended\n", stderr);
  }

  blkown::TagSet<not_caught::Request> set_{std::move(*blkown::TagSet<not_caught::Request>::create(
      {.depth = 2, .layout = blkown::CookieLayout::nbd()}, {&print_end, nullptr}))};
};

TEST_F(NotCaughtDeathTest, WhatSomeBranchesGaveAwayIsEndedOnce) {
  ends_once("in_one_branch", [&] { not_caught::in_one_branch(owned(), true); });
  ends_once("in_one_case", [&] { not_caught::in_one_case(owned(), 0); });
  ends_once("by_fallthrough", [&] { not_caught::by_fallthrough(owned(), 0); });
  ends_once("in_one_arm", [&] { not_caught::in_one_arm(owned(), true); });
  ends_once("chosen_by_arm", [&] { not_caught::chosen_by_arm(owned(0), owned(1), true); });
  ends_once("behind_and", [&] { not_caught::behind_and(owned(), true); });
}

TEST_F(NotCaughtDeathTest, WhatIsInsideAnotherObjectIsEndedOnce) {
  ends_once("in_a_member", [&] { not_caught::in_a_member(owned()); });
  ends_once("in_an_optional", [&] { not_caught::in_an_optional(owned()); });
  ends_once("in_an_expected", [&] { not_caught::in_an_expected(owned()); });
  ends_once("in_a_vector", [&] { not_caught::in_a_vector(owned()); });
  ends_once("in_an_array", [&] { not_caught::in_an_array(owned()); });
  ends_once("in_a_structured_binding", [&] { not_caught::in_a_structured_binding(owned()); });
}

TEST_F(NotCaughtDeathTest, WhatHasAnotherNameIsEndedOnce) {
  ends_once("captured_by_reference", [&] { not_caught::captured_by_reference(owned()); });
  ends_once("captured_by_value", [&] { not_caught::captured_by_value(owned()); });
  ends_once("under_another_name", [&] { not_caught::under_another_name(owned()); });
  ends_once("behind_a_pointer", [&] { not_caught::behind_a_pointer(owned()); });
  ends_once("by_forward", [&] { not_caught::by_forward(owned()); });
  ends_once("by_a_function", [&] { not_caught::by_a_function(owned()); });
}

}  // namespace
}  // namespace death
