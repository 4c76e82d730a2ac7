// SPDX-License-Identifier: BSL-1.0
//
// Goal: unmap succeeds with the right proof, and returns the mapping with every other proof.

#include <gtest/gtest.h>

#include <expected>
#include <type_traits>

#include "dma/fake_backend.hpp"

namespace {

using fake::Claim;
using fake::Direction;
using fake::EndProof;
using fake::Rig;
namespace dma = blkown::dma;

static_assert(sizeof(dma::ActiveMapping) == 2 * sizeof(void*) ||
              sizeof(blkown::Word) > sizeof(void*));
static_assert(sizeof(dma::PreparedMapping) == sizeof(dma::ActiveMapping));
static_assert(!std::is_copy_constructible_v<dma::ActiveMapping>);
static_assert(!std::is_copy_constructible_v<dma::PreparedMapping>);
static_assert(std::is_nothrow_move_constructible_v<dma::ActiveMapping>);
static_assert(!std::is_default_constructible_v<dma::ActiveMapping>);

TEST(Mapping, ReportsItsMemoryAndItsPublication) {
  Rig rig;
  Claim claim = rig.unpublished();
  const auto next = claim.next_cookie();
  auto prepared = rig.map(claim, {rig.part(0, 512)}, Direction::to_device);
  ASSERT_TRUE(prepared.has_value());
  auto mapping = std::move(*prepared).activate();
  EXPECT_EQ(mapping.cookie(), next);
  EXPECT_EQ(mapping.direction(), Direction::to_device);
  EXPECT_EQ(mapping.segments().size(), 1U);
  EXPECT_EQ(mapping.segments().data(), claim.data().iovas.segments().data());
  EXPECT_EQ(rig.driver.publish(std::move(claim)), next);
  Claim found = rig.driver.claim(next);
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(found)).has_value());
  std::move(found).end_ok();
}

// Goal: the reference sequence of one I/O, with a mapping.
TEST(Mapping, TheRightProofUnmapsAndDropsThePinLast) {
  Rig rig;
  const auto cookie = rig.in_flight();
  EXPECT_EQ(rig.driver.state(), "2");
  Claim claim = rig.driver.claim(cookie);
  EXPECT_EQ(rig.driver.state(), "3 claimed");
  auto mapping = rig.taken_out(claim);
  rig.backend.on_invalidate = [&] { EXPECT_EQ(rig.driver.state(), "3 claimed"); };
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(claim)).has_value());
  EXPECT_EQ(rig.driver.state(), "2 claimed");
  EXPECT_EQ(rig.backend.log,
            (std::vector<std::string>{"map 1000+512", "unmap 1000+512", "invalidate 1000+512"}));
  support::take_value(std::move(claim).into_owned()).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
  EXPECT_EQ(rig.driver.reports.count(), 0U);
}

TEST(Mapping, TheEndWaitsForTheMapping) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  auto mapping = rig.taken_out(claim);
  const EndProof proof = *EndProof::of(claim);
  std::move(claim).end(blkown::Status::medium_error);
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_FALSE(rig.is_tag_free());
  EXPECT_TRUE(std::move(mapping).unmap(proof).has_value());
  ASSERT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_EQ(rig.driver.sink.last().status, blkown::Status::medium_error);
  EXPECT_TRUE(rig.is_tag_free());
}

/// Notes whether the list of a request that has ended is free.
struct ListSink {
  void operator()(blkown::EndedList<fake::Request>&& list) {
    while (auto ended = list.pop_front()) {
      is_free.push_back(ended->data().iovas.is_free());
      std::move(*ended).release();
    }
  }
  std::vector<bool> is_free;
};

// Goal: whoever gets the ended request, out of the drop of the mapping's pin, can use its list.
TEST(Mapping, TheListIsFreeWhenTheEndIsDelivered) {
  Rig rig;
  ListSink sink;
  auto set = blkown::TagSet<fake::Request>::create(support::two_queues_of_eight,
                                                   blkown::EndSink<fake::Request>::to(sink));
  auto idle = set.value().allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0});
  Claim claim = std::move(idle).value().start().into_claim();
  auto mapping = rig.active(claim);
  const auto cookie = rig.driver.publish(std::move(claim));
  Claim found = set.value().claim(cookie.queue, cookie.value).value();
  const EndProof proof = *EndProof::of(found);
  std::move(found).end_ok();
  EXPECT_TRUE(sink.is_free.empty());
  EXPECT_TRUE(std::move(mapping).unmap(proof).has_value());
  EXPECT_EQ(sink.is_free, std::vector<bool>{true});
}

/// A mapping of an I/O in flight, with proofs that do not fit.
class WrongProof : public testing::Test {
 protected:
  /// Expects that unmap returns the mapping and does not call the backend.
  void expect_refused(const EndProof& proof) {
    const std::size_t asked = rig.backend.log.size();
    auto unmapped = std::move(*mapping).unmap(proof);
    ASSERT_FALSE(unmapped.has_value());
    mapping.emplace(std::move(unmapped.error()));
    EXPECT_EQ(rig.backend.log.size(), asked);
    EXPECT_EQ(rig.backend.live_count(), 1U);
    EXPECT_EQ(mapping->segments().size(), 1U);
  }
  void expect_accepted(const EndProof& proof) {
    EXPECT_TRUE(std::move(*mapping).unmap(proof).has_value());
    mapping.reset();
    EXPECT_EQ(rig.backend.live_count(), 0U);
  }
  /// Claims the completion, and takes the mapping out of the data.
  [[nodiscard]] Claim completed(const blkown::Cookie& cookie) {
    Claim claim = rig.driver.claim(cookie);
    if (claim.data().mapping.has_value()) mapping.emplace(rig.taken_out(claim));
    return claim;
  }
  void TearDown() override {
    EXPECT_EQ(rig.driver.reports.count(), 0U);
    EXPECT_TRUE(rig.is_tag_free());
  }

  Rig rig;
  std::optional<dma::ActiveMapping> mapping;
};

TEST_F(WrongProof, OfAnotherRequest) {
  // Both I/Os get the same generation, so that only the request differs.
  const auto& header = rig.driver.set.header(blkown::QueueIndex{0}, blkown::Tag{1});
  blkown::detail::HeaderAccess::word(const_cast<blkown::RequestHeader&>(header))
      .set_first_generation(*support::two_queues_of_eight.first_generation);
  Claim other = rig.driver.claim(rig.driver.in_flight(1));
  Claim claim = completed(rig.in_flight(0));
  ASSERT_EQ(other.cookie().generation, claim.cookie().generation);
  expect_refused(*EndProof::of(other));
  expect_accepted(*EndProof::of(claim));
  std::move(other).end_ok();
  std::move(claim).end_ok();
}

TEST_F(WrongProof, OfAnEarlierPublication) {
  Claim claim = rig.driver.claim(rig.driver.in_flight());
  const EndProof earlier = *EndProof::of(claim);
  mapping.emplace(rig.active(claim));
  expect_refused(earlier);
  Claim again = rig.driver.claim(rig.driver.publish(std::move(claim)));
  expect_refused(earlier);
  expect_accepted(*EndProof::of(again));
  std::move(again).end_ok();
}

TEST_F(WrongProof, OfALaterPublication) {
  Claim claim = completed(rig.in_flight());
  const EndProof its_own = *EndProof::of(claim);
  Claim again = rig.driver.claim(rig.driver.publish(std::move(claim)));
  expect_refused(*EndProof::of(again));
  expect_accepted(its_own);
  std::move(again).end_ok();
}

TEST_F(WrongProof, OfTheStopOfAnotherDevice) {
  fake::Backend other_backend;
  fake::Device other{other_backend};
  Claim claim = completed(rig.in_flight());
  expect_refused(other.declare_stopped());
  expect_accepted(*EndProof::of(claim));
  std::move(claim).end_ok();
}

TEST_F(WrongProof, OfAStopBeforeItWasActivated) {
  const EndProof before = rig.device.declare_stopped();
  Claim claim = completed(rig.in_flight());
  expect_refused(before);
  expect_accepted(*EndProof::of(claim));
  std::move(claim).end_ok();
}

// Goal: the stop has to be after the activation; the time of the map does not count.
TEST_F(WrongProof, OfAStopBetweenMapAndActivate) {
  Claim claim = rig.unpublished();
  auto prepared = rig.prepared(claim);
  const EndProof between = rig.device.declare_stopped();
  mapping.emplace(std::move(prepared).activate());
  expect_refused(between);
  expect_accepted(rig.device.declare_stopped());
  std::move(claim).end_ok();
}

TEST_F(WrongProof, ButAStopSinceCoversIt) {
  const auto cookie = rig.in_flight();
  const EndProof stopped = rig.device.declare_stopped();
  const auto pin = rig.driver.pin(cookie);
  Claim claim = support::take_value(blkown::claim(pin, cookie));
  mapping.emplace(rig.taken_out(claim));
  ASSERT_FALSE(EndProof::of(claim).has_value());
  expect_accepted(stopped);
  std::move(claim).end(blkown::Status::timed_out);
}

TEST_F(WrongProof, ButALaterStopCoversItToo) {
  Claim claim = completed(rig.in_flight());
  static_cast<void>(rig.device.declare_stopped());
  expect_accepted(rig.device.declare_stopped());
  std::move(claim).end_ok();
}

TEST_F(WrongProof, ButARefusalIsRight) {
  Claim claim = rig.unpublished();
  mapping.emplace(rig.active(claim));
  auto refused = std::move(claim).publish(
      [](const blkown::Cookie&) -> std::expected<void, int> { return std::unexpected{1}; });
  ASSERT_FALSE(refused.has_value());
  Claim back = std::move(*refused.error().claim);
  expect_accepted(*EndProof::of(back));
  std::move(back).end_ok();
}

// --- cancel ----------------------------------------------------------------------------------

TEST(Cancel, UnmapsAnIoThatWasNotPublished) {
  Rig rig;
  Claim claim = rig.unpublished();
  auto mapping = rig.active(claim);
  EXPECT_TRUE(std::move(mapping).cancel(claim).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_EQ(rig.driver.state(), "2 claimed");
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  std::move(claim).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(Cancel, IsRefusedOncePublished) {
  Rig rig;
  const auto cookie = rig.in_flight();
  {
    // Refused for a Claim that gives no proof.
    const auto pin = rig.driver.pin(cookie);
    Claim claim = support::take_value(blkown::claim(pin, cookie));
    auto cancelled = rig.taken_out(claim).cancel(claim);
    ASSERT_FALSE(cancelled.has_value());
    claim.data().mapping.emplace(std::move(cancelled.error()));
    std::move(claim).release();
  }
  Claim claim = rig.driver.claim(cookie);
  auto cancelled = rig.taken_out(claim).cancel(claim);
  ASSERT_FALSE(cancelled.has_value());
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_TRUE(std::move(cancelled.error()).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
}

// Goal: a mapping for a second try that does not happen is unmapped by the Claim that could make
// the second publication. The proof of the first publication does not fit the mapping.
TEST(Cancel, UnmapsAMappingForAnotherTry) {
  Rig rig;
  Claim completed = rig.driver.claim(rig.driver.in_flight());
  auto mapping = rig.active(completed);
  auto refused = std::move(mapping).unmap(*EndProof::of(completed));
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(std::move(refused.error()).cancel(completed).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(completed).end_ok();

  const auto cookie = rig.driver.in_flight();
  const auto pin = rig.driver.pin(cookie);
  Claim timed_out = support::take_value(blkown::claim(pin, cookie));
  EXPECT_TRUE(rig.active(timed_out).cancel(timed_out).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(timed_out).end_ok();
}

TEST(Cancel, IsRefusedForAnotherRequest) {
  Rig rig;
  Claim claim = rig.unpublished(0);
  Claim other = rig.unpublished(1);
  auto cancelled = rig.active(claim).cancel(other);
  ASSERT_FALSE(cancelled.has_value());
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_TRUE(std::move(cancelled.error()).cancel(claim).has_value());
  std::move(claim).end_ok();
  std::move(other).end_ok();
}

// Goal: two requests with equal cookies, in two TagSets, are not mistaken for each other.
TEST(Cancel, IsRefusedForAnEqualCookieOfAnotherTagSet) {
  Rig rig;
  support::Driver<fake::Request> other;
  Claim claim = rig.unpublished();
  Claim twin = other.owned().into_claim();
  ASSERT_EQ(claim.next_cookie(), twin.next_cookie());
  auto cancelled = rig.active(claim).cancel(twin);
  ASSERT_FALSE(cancelled.has_value());
  Claim completed = other.claim(other.publish(std::move(twin)));
  auto unmapped = std::move(cancelled.error()).unmap(*EndProof::of(completed));
  ASSERT_FALSE(unmapped.has_value());
  EXPECT_FALSE(unmapped.error().renew(*EndProof::of(completed), completed));
  EXPECT_TRUE(std::move(unmapped.error()).cancel(claim).has_value());
  std::move(claim).end_ok();
  std::move(completed).end_ok();
}

// --- renew -----------------------------------------------------------------------------------

TEST(Renew, KeepsTheMemoryMappedForTheNextPublication) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  const EndProof first = *EndProof::of(claim);
  auto mapping = rig.taken_out(claim);
  ASSERT_TRUE(mapping.renew(first, claim));
  EXPECT_EQ(mapping.cookie(), claim.next_cookie());
  Claim again = rig.driver.claim(rig.driver.publish(std::move(claim)));
  auto refused = std::move(mapping).unmap(first);
  ASSERT_FALSE(refused.has_value()) << "the proof is of the first publication";
  EXPECT_TRUE(std::move(refused.error()).unmap(*EndProof::of(again)).has_value());
  EXPECT_EQ(rig.backend.log.size(), 3U) << "mapped once, unmapped once";
  std::move(again).end_ok();
}

TEST(Renew, OfARefusedOneToo) {
  Rig rig;
  Claim claim = rig.unpublished();
  auto mapping = rig.active(claim);
  auto refused = std::move(claim).publish(
      [](const blkown::Cookie&) -> std::expected<void, int> { return std::unexpected{1}; });
  Claim back = std::move(*refused.error().claim);
  EXPECT_TRUE(mapping.renew(*EndProof::of(back), back));
  Claim found = rig.driver.claim(rig.driver.publish(std::move(back)));
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(found)).has_value());
  std::move(found).end_ok();
}

TEST(Renew, WithAnotherProofOrClaimChangesNothing) {
  Rig rig;
  Claim other = rig.driver.claim(rig.driver.in_flight(1));
  Claim claim = rig.driver.claim(rig.in_flight(0));
  auto mapping = rig.taken_out(claim);
  const auto cookie = mapping.cookie();
  EXPECT_FALSE(mapping.renew(*EndProof::of(other), claim));
  EXPECT_FALSE(mapping.renew(*EndProof::of(claim), other));
  EXPECT_EQ(mapping.cookie(), cookie);
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(claim)).has_value());
  std::move(other).end_ok();
  std::move(claim).end_ok();
}

// Goal: a renewed mapping is covered by stops after the renewal only.
TEST(Renew, CountsAsAnActivation) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  auto mapping = rig.taken_out(claim);
  const EndProof before = rig.device.declare_stopped();
  ASSERT_TRUE(mapping.renew(*EndProof::of(claim), claim));
  Claim again = rig.driver.claim(rig.driver.publish(std::move(claim)));
  auto refused = std::move(mapping).unmap(before);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(std::move(refused.error()).unmap(rig.device.declare_stopped()).has_value());
  std::move(again).end_ok();
}

// --- the handle ------------------------------------------------------------------------------

TEST(Mapping, MovesWithItsMapping) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  auto first = rig.taken_out(claim);
  dma::ActiveMapping second{std::move(first)};
  EXPECT_EQ(second.segments().size(), 1U);
  std::optional<dma::ActiveMapping> third{std::move(second)};
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_TRUE(std::move(*third).unmap(*EndProof::of(claim)).has_value());
  third.reset();
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  std::move(claim).end_ok();
}

// Goal: assigning over a mapping drops it.
TEST(Mapping, AssignedOverIsDropped) {
  Rig rig;
  Claim first = rig.driver.claim(rig.in_flight(0));
  Claim second = rig.driver.claim(rig.in_flight(1));
  auto mapping = rig.taken_out(first);
  mapping = rig.taken_out(second);
  EXPECT_EQ(mapping.cookie(), second.cookie());
  EXPECT_EQ(rig.driver.reports.count(), 1U);
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].cookie, first.cookie());
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(second)).has_value());
  std::move(first).end_ok();
  std::move(second).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

TEST(Mapping, PreparedIsAssignedOverAndMoved) {
  Rig rig;
  Claim first = rig.unpublished(0);
  Claim second = rig.unpublished(1);
  {
    auto prepared = rig.prepared(first);
    prepared = rig.prepared(second);
    EXPECT_EQ(rig.backend.live_count(), 1U);
    EXPECT_TRUE(first.data().iovas.is_free());
    const dma::PreparedMapping moved{std::move(prepared)};
    EXPECT_EQ(rig.backend.live_count(), 1U);
  }
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(first).end_ok();
  std::move(second).end_ok();
}

}  // namespace
