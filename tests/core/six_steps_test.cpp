// SPDX-License-Identifier: BSL-1.0
//
// The reference sequence of a driver that maps memory for a device, in both forms. Here a mapping
// is a pin. rmw_count_test.cpp counts the sequence's read-modify-writes.

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "support/driver.hpp"

using blkown::Cookie;
using support::ARef;
using support::Claim;
using support::Driver;
using support::Owned;

// The form with references only, as in the kernel's Rust drivers.
TEST(SixSteps, InTheFormWithReferences) {
  Driver<> driver;

  Owned owned = driver.owned();
  EXPECT_EQ(driver.state(), "0 owned") << "1: started";

  const Cookie cookie = owned.next_cookie();
  std::optional<ARef> submitting = std::move(owned).into_shared();
  EXPECT_EQ(driver.state(), "2") << "2: shared";
  EXPECT_EQ(submitting->generation(), cookie.generation);

  std::optional<ARef> mapping = *submitting;
  EXPECT_EQ(driver.state(), "3") << "3: mapped";

  submitting.reset();
  EXPECT_EQ(driver.state(), "2") << "4: submitted; the driver has no handle";

  ARef completed = driver.pin(cookie);
  EXPECT_EQ(driver.state(), "3") << "5: completed by the device";

  mapping.reset();
  EXPECT_EQ(driver.state(), "2") << "6: unmapped";

  auto unique = Owned::try_from_shared(std::move(completed));
  ASSERT_TRUE(unique.has_value());
  EXPECT_EQ(driver.state(), "0 owned");
  EXPECT_EQ(driver.generation(), cookie.generation.value);
  std::move(*unique).end_ok();
  EXPECT_EQ(driver.state(), "0");
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 0U);
}

// The form with a Claim: of two completions, exactly one gets the Claim.
TEST(SixSteps, InTheFormWithAClaim) {
  Driver<> driver;

  Owned owned = driver.owned();
  EXPECT_EQ(driver.state(), "0 owned") << "1: started";

  Claim claim = std::move(owned).into_claim();
  EXPECT_EQ(driver.state(), "0 owned") << "2: the type changes, not the word";

  std::optional<ARef> mapping = claim.pin();
  EXPECT_EQ(driver.state(), "3 claimed") << "3: mapped";

  const Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_EQ(driver.state(), "2") << "4: published; the driver has no handle";

  Claim completed = driver.claim(cookie);
  EXPECT_EQ(driver.state(), "3 claimed") << "5: completed by the device";
  EXPECT_EQ(driver.refusal(cookie), blkown::LookupReason::claimed) << "the second completion";

  mapping.reset();
  EXPECT_EQ(driver.state(), "2 claimed") << "6: unmapped";

  auto unique = std::move(completed).into_owned();
  ASSERT_TRUE(unique.has_value());
  EXPECT_EQ(driver.state(), "0 owned");
  std::move(*unique).end_ok();
  EXPECT_EQ(driver.state(), "0");
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 0U);
}
