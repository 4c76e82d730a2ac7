// SPDX-License-Identifier: BSL-1.0
//
// Wrong programs that no compiler refuses: each ends its I/O twice. not_caught.cpp tests that they
// compile, and NotCaughtDeathTest that the second end is a violation.

#ifndef BLKOWN_TESTS_COMPILE_FAIL_TYPESTATE_NOT_CAUGHT_HPP
#define BLKOWN_TESTS_COMPILE_FAIL_TYPESTATE_NOT_CAUGHT_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <expected>
#include <optional>
#include <utility>
#include <vector>

namespace not_caught {

using Request = blkown::Request<int>;
using Owned = blkown::Owned<Request>;

inline void in_one_branch(Owned owned, bool early) {
  if (early) std::move(owned).end_ok();
  std::move(owned).end_ok();
}

inline void in_one_case(Owned owned, int result) {
  switch (result) {
    case 0: std::move(owned).end_ok(); break;
    default: break;
  }
  std::move(owned).end_ok();
}

inline void by_fallthrough(Owned owned, int result) {
  switch (result) {
    case 0: std::move(owned).end_ok(); [[fallthrough]];
    default: std::move(owned).end_ok(); break;
  }
}

inline void in_one_arm(Owned owned, bool early) {
  early ? std::move(owned).end_ok() : static_cast<void>(0);
  std::move(owned).end_ok();
}

inline void chosen_by_arm(Owned owned, Owned other, bool first) {
  Owned chosen = first ? std::move(owned) : std::move(other);
  std::move(chosen).end_ok();
  first ? std::move(owned).end_ok() : std::move(other).end_ok();
}

inline void behind_and(Owned owned, bool early) {
  const bool ended = early && (std::move(owned).end_ok(), true);
  static_cast<void>(ended);
  std::move(owned).end_ok();
}

struct Slot {
  Owned owned;
  void end_twice() {
    std::move(owned).end_ok();
    std::move(owned).end_ok();
  }
};
inline void in_a_member(Owned owned) { Slot{std::move(owned)}.end_twice(); }

inline void in_an_optional(std::optional<Owned> owned) {
  std::move(*owned).end_ok();
  std::move(*owned).end_ok();
}

inline void in_an_expected(std::expected<Owned, int> owned) {
  std::move(*owned).end_ok();
  std::move(*owned).end_ok();
}

inline void in_a_vector(Owned owned) {
  std::vector<Owned> all;
  all.push_back(std::move(owned));
  std::move(all[0]).end_ok();
  std::move(all[0]).end_ok();
}

inline void in_an_array(Owned owned) {
  std::array<Owned, 1> all{std::move(owned)};
  std::move(all[0]).end_ok();
  std::move(all[0]).end_ok();
}

inline void captured_by_reference(Owned owned) {
  const auto end = [&owned] { std::move(owned).end_ok(); };
  end();
  std::move(owned).end_ok();
}

inline void captured_by_value(Owned owned) {
  auto end = [mine = std::move(owned)]() mutable { std::move(mine).end_ok(); };
  end();
  end();
}

inline void in_a_structured_binding(Owned owned) {
  auto [mine, number] = std::pair<Owned, int>{std::move(owned), 0};
  static_cast<void>(number);
  std::move(mine).end_ok();
  std::move(mine).end_ok();
}

inline void under_another_name(Owned owned) {
  Owned& alias = owned;
  std::move(alias).end_ok();
  std::move(owned).end_ok();
}

inline void behind_a_pointer(Owned owned) {
  Owned* const pointer = &owned;
  std::move(*pointer).end_ok();
  std::move(*pointer).end_ok();
}

inline void by_forward(Owned owned) {
  std::forward<Owned>(owned).end_ok();
  std::move(owned).end_ok();
}

inline void end(Owned& owned) { std::move(owned).end_ok(); }
inline void by_a_function(Owned owned) {
  end(owned);
  std::move(owned).end_ok();
}

}  // namespace not_caught

#endif
