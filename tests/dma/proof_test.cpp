// SPDX-License-Identifier: BSL-1.0
//
// Goal: a Claim is proof if it comes from a completion or a refusal, however it is moved, and from
// no other origin.

#include <gtest/gtest.h>

#include <blkown/dma/coherent.hpp>
#include <expected>
#include <memory>
#include <type_traits>
#include <utility>

#include "dma/fake_backend.hpp"

namespace {

using fake::Claim;
using fake::EndProof;
using fake::Rig;
namespace dma = blkown::dma;

[[nodiscard]] bool proves(const Claim& claim) { return EndProof::of(claim).has_value(); }
[[nodiscard]] std::expected<void, int> refuse(const blkown::Cookie&) { return std::unexpected{1}; }

TEST(Proof, ACompletionIsOne) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.driver.in_flight());
  EXPECT_TRUE(proves(claim));
  std::move(claim).end_ok();
}

TEST(Proof, ACompletionFoundWhileOthersHoldPinsIsOne) {
  Rig rig;
  const auto cookie = rig.driver.in_flight();
  const auto pin = rig.driver.pin(cookie);
  Claim claim = rig.driver.claim(cookie);
  EXPECT_TRUE(proves(claim));
  std::move(claim).end_ok();
}

TEST(Proof, TheDevicesRefusalIsOne) {
  Rig rig;
  auto refused = rig.unpublished().publish(refuse);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(proves(*refused.error().claim));
  auto again = std::move(*refused.error().claim).publish(refuse);
  EXPECT_TRUE(proves(*again.error().claim));
  std::move(*again.error().claim).end_ok();

  auto of_owned = rig.driver.owned(1).publish(refuse);
  EXPECT_TRUE(proves(*of_owned.error().claim));
  std::move(*of_owned.error().claim).end_ok();
}

TEST(Proof, AnIoThatWasNotPublishedIsNone) {
  Rig rig;
  Claim claim = rig.unpublished();
  EXPECT_FALSE(proves(claim));
  std::move(claim).end_ok();
}

// Goal: a timeout's Claim is no proof: the device may still write.
TEST(Proof, ATimeoutIsNone) {
  Rig rig;
  const auto cookie = rig.driver.in_flight();
  const auto pin = rig.driver.pin(cookie);
  Claim claim = support::take_value(blkown::claim(pin, cookie));
  EXPECT_FALSE(proves(claim));
  std::move(claim).end(blkown::Status::timed_out);
}

TEST(Proof, AScanIsNone) {
  Rig rig;
  static_cast<void>(rig.driver.in_flight());
  int seen = 0;
  rig.driver.set.for_each_in_flight(blkown::QueueIndex{0},
                                    [&](const auto& pin, const blkown::Cookie& cookie) {
                                      Claim claim = support::take_value(blkown::claim(pin, cookie));
                                      EXPECT_FALSE(proves(claim));
                                      std::move(claim).end(blkown::Status::aborted);
                                      ++seen;
                                    });
  EXPECT_EQ(seen, 1);
}

TEST(Proof, APinMadeAClaimIsNone) {
  Rig rig;
  const auto cookie = rig.driver.in_flight();
  Claim claim = support::take_value(blkown::try_claim(rig.driver.pin(cookie), cookie));
  EXPECT_FALSE(proves(claim));
  std::move(claim).end_ok();
}

TEST(Proof, ABareTagIsNone) {
  Rig rig;
  static_cast<void>(rig.driver.in_flight(3));
  Claim claim = support::take_value(
      rig.driver.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{3}));
  EXPECT_FALSE(proves(claim));
  std::move(claim).end_ok();
}

// Goal: a Claim from an Owned is no proof, because an Owned does not record its origin.
TEST(Proof, AnOwnedIsNone) {
  Rig rig;
  const auto cookie = rig.driver.in_flight();
  Claim claim =
      support::take_value(rig.driver.set.tag_to_owned(cookie.queue, cookie.value)).into_claim();
  EXPECT_FALSE(proves(claim));
  std::move(claim).end_ok();

  auto owned = support::take_value(rig.driver.claim(rig.driver.in_flight(1)).into_owned());
  Claim round_about = std::move(owned).into_claim();
  EXPECT_FALSE(proves(round_about));
  std::move(round_about).end_ok();
}

TEST(Proof, WhereAClaimComesFromGoesWithIt) {
  Rig rig;
  // A Claim that was moved and assigned.
  Claim completed = rig.driver.claim(rig.driver.in_flight(0));
  Claim unpublished = rig.unpublished(1);
  std::swap(completed, unpublished);
  EXPECT_FALSE(proves(completed));
  EXPECT_TRUE(proves(unpublished));
  std::move(completed).end_ok();
  // A Claim that passed through a C interface.
  Claim back = Claim::from_raw(std::move(unpublished).into_raw());
  EXPECT_TRUE(proves(back));
  // A Claim that into_owned returned because of a pin.
  const auto pin = back.pin();
  Claim given_back = std::move(std::move(back).into_owned().error());
  EXPECT_TRUE(proves(given_back));
  std::move(given_back).end_ok();

  const auto cookie = rig.driver.in_flight(2);
  const auto timeouts = rig.driver.pin(cookie);
  Claim timed_out = support::take_value(blkown::claim(timeouts, cookie));
  Claim through_c = Claim::from_raw(std::move(timed_out).into_raw());
  EXPECT_FALSE(proves(through_c));
  Claim still = std::move(std::move(through_c).into_owned().error());
  EXPECT_FALSE(proves(still));
  std::move(still).end_ok();
}

// Goal: each publication of each request has a proof of its own.
TEST(Proof, IsAboutOnePublicationOfOneRequest) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.driver.in_flight(0));
  const EndProof first = *EndProof::of(claim);
  EXPECT_EQ(first, *EndProof::of(claim));
  Claim again = rig.driver.claim(rig.driver.publish(std::move(claim)));
  EXPECT_NE(first, *EndProof::of(again));
  std::move(again).end_ok();
  Claim other = rig.driver.claim(rig.driver.in_flight(1));
  EXPECT_NE(first, *EndProof::of(other));
  std::move(other).end_ok();
}

TEST(Proof, OfAStopIsAboutOneDeviceAndOneStop) {
  Rig rig;
  fake::Device other{rig.backend};
  const EndProof first = rig.device.declare_stopped();
  EXPECT_NE(first, rig.device.declare_stopped());
  EXPECT_NE(first, other.declare_stopped());
}

// Goal: a proof that is kept longer than its device proves nothing about a device that is made at
// the same address, whose epochs may have the same numbers.
TEST(Proof, OfAStopIsNotAboutALaterDeviceAtTheSameAddress) {
  Rig rig;
  const EndProof kept = rig.device.declare_stopped();
  std::destroy_at(&rig.device);
  std::construct_at(&rig.device, rig.backend);
  {
    Claim claim = rig.driver.claim(rig.in_flight(3));
    claim.data().mapping.reset();
    std::move(claim).end(blkown::Status::medium_error);
  }
  EXPECT_EQ(rig.device.drain(kept), 0U) << "the device may still write to this memory";
  EXPECT_EQ(rig.backend.live_count(), 1U);
  auto ring = support::take_value(dma::Coherent<fake::Backend>::allocate(rig.device, 64));
  auto refused = std::move(ring).free(kept);
  ASSERT_FALSE(refused.has_value());
  const EndProof proof = rig.device.declare_stopped();
  EXPECT_NE(kept, proof);
  EXPECT_EQ(rig.device.drain(proof), 1U);
  EXPECT_TRUE(std::move(refused.error()).free(proof).has_value());
}

static_assert(std::is_trivially_copyable_v<EndProof>);
static_assert(sizeof(EndProof) <= 3 * sizeof(void*) || sizeof(blkown::Word) > sizeof(void*));
static_assert(!std::is_default_constructible_v<EndProof>);

}  // namespace
