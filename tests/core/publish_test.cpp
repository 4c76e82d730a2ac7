// SPDX-License-Identifier: BSL-1.0
//
// Publishing an Owned or a Claim: the state inside issue, the results, and refusals.

#include <gtest/gtest.h>

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Refused;
using blkown::Report;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Claim;
using support::Driver;
using support::EndRecord;
using support::Owned;
using support::Request;

namespace {

enum class DoorbellError { queue_full, dead };

using Doorbell = std::expected<void, DoorbellError>;
constexpr auto refuse = [](const Cookie&) -> Doorbell {
  return std::unexpected(DoorbellError::queue_full);
};
constexpr auto accept = [](const Cookie&) -> Doorbell { return {}; };

/// A move-only error, as a driver's may be.
struct HeavyError {
  std::unique_ptr<int> code;
};

/// Makes a handle of each type that can be published.
template <class Handle>
struct Publishing;
template <>
struct Publishing<Owned> {
  static Owned handle(Driver<>& driver, std::uint32_t tag = 0) { return driver.owned(tag); }
};
template <>
struct Publishing<Claim> {
  static Claim handle(Driver<>& driver, std::uint32_t tag = 0) {
    return driver.owned(tag).into_claim();
  }
};

}  // namespace

template <class Handle>
class PublishOf : public testing::Test {
 protected:
  Handle handle(std::uint32_t tag = 0) { return Publishing<Handle>::handle(driver_, tag); }

  Driver<> driver_;
};
using Handles = testing::Types<Owned, Claim>;
TYPED_TEST_SUITE(PublishOf, Handles);

TYPED_TEST(PublishOf, ToADeviceThatCannotRefuseGivesNothingBack) {
  Cookie sent;
  auto handle = this->handle(3);
  const Cookie next = handle.next_cookie();
  static_assert(std::is_void_v<decltype(std::move(handle).publish([](const Cookie&) {}))>);
  std::move(handle).publish([&](const Cookie& cookie) { sent = cookie; });
  EXPECT_EQ(sent, next);
  EXPECT_EQ(this->driver_.state(3), "1");
  EXPECT_EQ(this->driver_.generation(3), next.generation.value);
  this->driver_.complete(sent);
}

// Goal: a request is visible before issue runs, so a completion inside issue finds it.
TYPED_TEST(PublishOf, LetsACompletionInsideIssueEndTheIo) {
  this->handle().publish([&](const Cookie& cookie) {
    EXPECT_EQ(this->driver_.state(), "1");
    EXPECT_EQ(this->driver_.generation(), cookie.generation.value);
    this->driver_.complete(cookie);
    EXPECT_EQ(this->driver_.sink.count(), 1U);
  });
  EXPECT_EQ(this->driver_.sink.count(), 1U);
  EXPECT_EQ(this->driver_.state(), "0");
}

TYPED_TEST(PublishOf, CountsEveryPublication) {
  for (std::uint32_t io = 1; io <= 5; ++io) {
    const Cookie cookie = Driver<>::publish(this->handle());
    EXPECT_EQ(cookie.generation.value, 100 + io);
    this->driver_.complete(cookie);
  }
}

TYPED_TEST(PublishOf, SucceedsWhenTheDeviceTakesTheCommand) {
  auto result = this->handle().publish(accept);
  static_assert(
      std::is_same_v<decltype(result), std::expected<void, Refused<Request, DoorbellError>>>);
  EXPECT_TRUE(result.has_value());
  EXPECT_EQ(this->driver_.state(), "1");
  this->driver_.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end_ok();
}

TYPED_TEST(PublishOf, PassesTheValueOfIssueOn) {
  auto result = this->handle().publish(
      [](const Cookie& cookie) -> std::expected<std::unique_ptr<std::string>, DoorbellError> {
        return std::make_unique<std::string>("slot " + std::to_string(cookie.tag.value));
      });
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(**result, "slot 0");
  this->driver_.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end_ok();
}

TYPED_TEST(PublishOf, PassesAnErrorThatOnlyMovesOn) {
  auto result = this->handle().publish([](const Cookie&) -> std::expected<void, HeavyError> {
    return std::unexpected(HeavyError{std::make_unique<int>(28)});
  });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(*result.error().error.code, 28);
  std::move(*result.error().claim).end(Status::no_space);
}

TYPED_TEST(PublishOf, TakesAnIssueThatOnlyMovesOrIsCalledByReference) {
  int calls = 0;
  auto issue = [&calls, unique = std::make_unique<int>(1)](const Cookie&) mutable {
    calls += (*unique)++;
  };
  this->handle(1).publish(issue);
  this->handle(2).publish(std::move(issue));
  EXPECT_EQ(calls, 3) << "issue is neither copied nor moved";
  for (const std::uint32_t tag : {1U, 2U})
    this->driver_.set.claim_any_generation(QueueIndex{0}, Tag{tag}).value().end_ok();
}

TYPED_TEST(PublishOf, GivesTheClaimBackWhenTheDeviceRefuses) {
  auto result = this->handle(2).publish(refuse);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().error, DoorbellError::queue_full);
  ASSERT_TRUE(result.error().claim.has_value());
  EXPECT_EQ(this->driver_.state(2), "0 owned");
  EXPECT_EQ(this->driver_.generation(2), support::generation_after(1, 2, 0).value);
  EXPECT_EQ(this->driver_.sink.count(), 0U);
  std::move(*result.error().claim).end(Status::device_resource);
  EXPECT_EQ(this->driver_.sink.last(),
            (EndRecord{.queue = 0, .tag = 2, .status = Status::device_resource}));
}

// Goal: a retry has its own cookie, and a late completion of the refused publication is refused.
TYPED_TEST(PublishOf, CanBeTriedAgainAfterARefusal) {
  auto result = this->handle().publish(refuse);
  const Cookie refused = result.error().claim->cookie();
  const Cookie again = Driver<>::publish(*std::move(result.error().claim));
  EXPECT_EQ(again.generation.value, refused.generation.value + 1);
  EXPECT_EQ(this->driver_.refusal(refused), LookupReason::stale_generation);
  this->driver_.complete(again);
}

TYPED_TEST(PublishOf, LeavesAnOwnedAfterARefusal) {
  auto result = this->handle().publish(refuse);
  auto owned = std::move(*result.error().claim).into_owned();
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(this->driver_.state(), "0 owned");
  std::move(*owned).requeue();
  this->driver_.sink.requeued.pop_front().value().release();
}

// Goal: after a refusal the driver may release the Claim and wait for a completion that the device
// sends in spite of the refusal.
TYPED_TEST(PublishOf, MayBeReleasedAfterARefusal) {
  auto result = this->handle().publish(refuse);
  const Cookie cookie = result.error().claim->cookie();
  std::move(*result.error().claim).release();
  EXPECT_EQ(this->driver_.state(), "1");
  this->driver_.complete(cookie);
}

TYPED_TEST(PublishOf, GivesNoClaimBackWhenACompletionHasTakenIt) {
  std::optional<Claim> taken;
  auto result = this->handle().publish([&](const Cookie& cookie) -> Doorbell {
    taken = this->driver_.claim(cookie);
    return std::unexpected(DoorbellError::dead);
  });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().error, DoorbellError::dead);
  EXPECT_FALSE(result.error().claim.has_value());
  std::move(*taken).end_ok();
  EXPECT_EQ(this->driver_.sink.count(), 1U);
}

TYPED_TEST(PublishOf, GivesNoClaimBackWhenACompletionHasEndedTheIo) {
  auto result = this->handle().publish([&](const Cookie& cookie) -> Doorbell {
    this->driver_.complete(cookie);
    return std::unexpected(DoorbellError::dead);
  });
  EXPECT_FALSE(result.error().claim.has_value());
  EXPECT_EQ(this->driver_.sink.count(), 1U);
}

TYPED_TEST(PublishOf, GivesNoClaimBackWhenTheTagIsUsedForAnotherIo) {
  std::optional<Owned> next;
  auto result = this->handle().publish([&](const Cookie& cookie) -> Doorbell {
    this->driver_.complete(cookie);
    next = this->driver_.owned();
    return std::unexpected(DoorbellError::dead);
  });
  EXPECT_FALSE(result.error().claim.has_value());
  EXPECT_EQ(this->driver_.state(), "0 owned") << "the next I/O is unchanged";
  std::move(*next).end_ok();
}

// Goal: the whole generation is compared: nvme's four bits repeat after 16 publications.
TYPED_TEST(PublishOf, GivesNoClaimOfALaterPublicationBack) {
  auto config = support::two_queues_of_eight;
  config.layout = blkown::CookieLayout::nvme();
  Driver<> driver{config};
  Cookie last;
  auto result =
      Publishing<TypeParam>::handle(driver).publish([&](const Cookie& cookie) -> Doorbell {
        last = cookie;
        for (int io = 0; io < 16; ++io) {
          driver.complete(last);
          last = driver.in_flight();
        }
        EXPECT_EQ(last.value, cookie.value);
        return std::unexpected(DoorbellError::dead);
      });
  EXPECT_FALSE(result.error().claim.has_value());
  EXPECT_EQ(driver.state(), "1");
  driver.complete(last);
}

TYPED_TEST(PublishOf, GivesTheClaimBackWhenAForgedCompletionReleasedIt) {
  auto result = this->handle().publish([&](const Cookie& cookie) -> Doorbell {
    this->driver_.claim(cookie).release();
    return std::unexpected(DoorbellError::queue_full);
  });
  ASSERT_TRUE(result.error().claim.has_value());
  std::move(*result.error().claim).end(Status::resource);
  EXPECT_EQ(this->driver_.sink.last().status, Status::resource);
}

// Goal: a driver that ignores the refusal's Claim neither loses the I/O nor leaves it in flight.
TYPED_TEST(PublishOf, EndsTheIoWhenTheRefusalIsIgnored) {
  {
    const auto ignored = this->handle(2).publish(refuse);
    EXPECT_FALSE(ignored.has_value());
  }
  ASSERT_EQ(this->driver_.sink.count(), 1U);
  EXPECT_EQ(this->driver_.sink.last(),
            (EndRecord{.queue = 0, .tag = 2, .status = Status::io_error}));
  ASSERT_EQ(this->driver_.reports.count(), 1U);
  EXPECT_EQ(this->driver_.reports.last().report, Report::claim_dropped);
}

TEST(Publish, OfAPinnedClaimKeepsThePins) {
  Driver<> driver;
  Claim claim = driver.owned().into_claim();
  std::optional<ARef> pin = claim.pin();
  const Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_EQ(driver.state(), "2");
  EXPECT_EQ(driver.generation(), 101U);
  EXPECT_EQ(pin->generation(), cookie.generation);
  pin.reset();
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(Publish, RefusedWithPinsGivesTheClaimBackBesideThem) {
  Driver<> driver;
  Claim claim = driver.owned().into_claim();
  std::optional<ARef> pin = claim.pin();
  auto result = std::move(claim).publish(refuse);
  ASSERT_TRUE(result.error().claim.has_value());
  EXPECT_EQ(driver.state(), "3 claimed");
  auto still_pinned = std::move(*result.error().claim).into_owned();
  ASSERT_FALSE(still_pinned.has_value());
  pin.reset();
  EXPECT_TRUE(std::move(still_pinned).error().into_owned().has_value());
  EXPECT_EQ(driver.state(), "1") << "the dropped Owned parks the I/O";
  driver.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end_ok();
}

// Goal: a Claim from a lookup publishes the rest of a short transfer with a new cookie.
TEST(Publish, OfALookedUpClaimIsANewIssue) {
  Driver<> driver;
  const Cookie first = driver.in_flight();
  const Cookie second = Driver<>::publish(driver.claim(first));
  EXPECT_EQ(driver.refusal(first), LookupReason::stale_generation);
  EXPECT_EQ(driver.refusal(second), LookupReason::none);
}

TEST(Publish, WrapsTheGenerationOfAPinnedClaim) {
  auto config = support::two_queues_of_eight;
  config.first_generation = blkown::Generation{~std::uint32_t{0}};
  Driver<> driver{config};
  Claim claim = driver.owned().into_claim();
  const ARef pin = claim.pin();
  const Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_EQ(cookie.generation, blkown::Generation{0});
  EXPECT_EQ(driver.state(), "2") << "the carry leaves the word";
  driver.claim(cookie).end_ok();
}
