// SPDX-License-Identifier: BSL-1.0
//
// Goal: handles in std::optional, in drivers' structs and as results of the library, compile
// without a warning when optimised. Reason: GCC may assume that an empty optional destroys an
// uninitialised handle.

#include <gtest/gtest.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "support/driver.hpp"

using support::Driver;

namespace {

/// A driver's slot, which is empty or holds a handle.
template <class Handle>
struct Slot {
  std::optional<Handle> handle;
};

/// A step that the optimiser cannot see into.
[[gnu::noinline]] void step(Driver<>& driver) { EXPECT_LE(driver.set.in_flight(), 2U); }

/// Makes a handle of each type, with the number of I/Os that a drop of the handle ends.
template <class Handle>
struct Making;
template <>
struct Making<support::Idle> {
  static support::Idle make(Driver<>& driver) { return driver.idle(); }
  static constexpr std::size_t ends = 1;
};
template <>
struct Making<support::Owned> {
  static support::Owned make(Driver<>& driver) { return driver.owned(); }
  static constexpr std::size_t ends = 0;
};
template <>
struct Making<support::Claim> {
  static support::Claim make(Driver<>& driver) { return driver.claimed(); }
  static constexpr std::size_t ends = 1;
};
template <>
struct Making<support::ARef> {
  static support::ARef make(Driver<>& driver) { return driver.owned().into_shared(); }
  static constexpr std::size_t ends = 0;
};
template <>
struct Making<support::Ended> {
  static support::Ended make(Driver<>& driver) {
    driver.idle().requeue();
    return driver.sink.requeued.pop_front().value();
  }
  static constexpr std::size_t ends = 1;
};

}  // namespace

template <class Handle>
class HandleInOptional : public testing::Test {
 protected:
  ~HandleInOptional() override {
    if (driver_.set.in_flight() != 0)
      driver_.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}).value().end_ok();
  }
  Handle make() { return Making<Handle>::make(driver_); }
  static constexpr std::size_t ends = Making<Handle>::ends;

  Driver<> driver_;
};
using Handles =
    testing::Types<support::Idle, support::Owned, support::Claim, support::ARef, support::Ended>;
TYPED_TEST_SUITE(HandleInOptional, Handles);

TYPED_TEST(HandleInOptional, IsDroppedOnceByAReset) {
  std::optional<TypeParam> handle = this->make();
  std::optional<TypeParam> none;
  step(this->driver_);
  handle.reset();
  step(this->driver_);
  none.reset();
  EXPECT_EQ(this->driver_.sink.count(), this->ends);
}

TYPED_TEST(HandleInOptional, IsDroppedOnceWithItsSlot) {
  {
    Slot<TypeParam> slot;
    step(this->driver_);
    slot.handle = this->make();
    step(this->driver_);
  }
  EXPECT_EQ(this->driver_.sink.count(), this->ends);
}

TYPED_TEST(HandleInOptional, IsMovedOutWithoutBeingDropped) {
  Slot<TypeParam> slot{this->make()};
  const std::size_t before = this->driver_.sink.count();
  {
    const TypeParam taken = *std::exchange(slot.handle, std::nullopt);
    EXPECT_FALSE(slot.handle.has_value());
    EXPECT_EQ(this->driver_.sink.count(), before);
  }
  EXPECT_EQ(this->driver_.sink.count(), this->ends);
}
