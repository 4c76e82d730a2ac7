// SPDX-License-Identifier: BSL-1.0
//
// Goal: if a request is not in the state that its handle's type means, the handle's first operation
// on the request's word is a violation.
// Method: such handles are made with from_raw, as by a C boundary that passes one pointer twice.

#include "violation_test.hpp"

namespace death {
namespace {

class NotIdleDeathTest : public ViolationTest<blkown::Violation::not_idle> {};
class NotOwnedDeathTest : public ViolationTest<blkown::Violation::not_owned> {};
class NotClaimedDeathTest : public ViolationTest<blkown::Violation::not_claimed> {};
class ReleaseOfUnpublishedDeathTest
    : public ViolationTest<blkown::Violation::release_of_unpublished> {};
class RestartOfEndedDeathTest : public ViolationTest<blkown::Violation::restart_of_ended> {};

TEST_F(NotIdleDeathTest, AnIdleIsStartedOnce) {
  const std::string about = request_in("count 0 owned");
  dies_here("Idle::start", about, [&] { use(device.started_idle().start()); });
  dies_here("Idle::fail", about, [&] { device.started_idle().fail(blkown::Status::resource); });
  dies_here("Idle::requeue", about, [&] { device.started_idle().requeue(); });
  dies("drop of Idle", about, [&] {
    blkown::set_report_handler(nullptr);
    use(device.started_idle());
  });
}

TEST_F(NotIdleDeathTest, AnIoInFlightIsNotStarted) {
  dies_here("Idle::start", published_in("count 1"), [&] { use(device.parked_idle().start()); });
}

TEST_F(NotOwnedDeathTest, AnIoIsEndedOnce) {
  const std::string about = request_in("count 0");
  dies_here("Owned::end", about, [&] { device.ended_owned().end(blkown::Status::io_error); });
  dies_here("Owned::end_ok", about, [&] { device.ended_owned().end_ok(); });
  dies_here("Owned::requeue", about, [&] { device.ended_owned().requeue(); });
}

TEST_F(NotOwnedDeathTest, AnEndedIoIsNotGivenOn) {
  const std::string about = request_in("count 0");
  dies_here("Owned::into_shared", about, [&] { use(device.ended_owned().into_shared()); });
  dies_here("Owned::publish", about, [&] { device.ended_owned().publish(take); });
  dies_here("Owned::publish", about, [&] { use(device.ended_owned().publish(refuse)); });
  dies_here("Owned::park", about, [&] { device.ended_owned().park(); });
  dies("drop of Owned", about, [&] { use(device.ended_owned()); });
}

TEST_F(NotOwnedDeathTest, ASharedIoIsNotEndedByAnOwned) {
  const std::string about = published_in("count 2");
  dies_here("Owned::end_ok", about, [&] { device.shared_owned().end_ok(); });
}

TEST_F(NotClaimedDeathTest, AnIoIsEndedOnce) {
  const std::string about = published_in("count 0");
  dies_here("Claim::end", about, [&] { device.ended_claim().end(blkown::Status::io_error); });
  dies_here("Claim::end_ok", about, [&] { device.ended_claim().end_ok(); });
  dies_here("Claim::requeue", about, [&] { device.ended_claim().requeue(); });
}

TEST_F(NotClaimedDeathTest, APinnedClaimEndsItsIoOnce) {
  const std::string about = published_in("count 2 finished");
  dies_here("Claim::end_ok", about, [&] { device.finished_claim().end_ok(); });
}

TEST_F(NotClaimedDeathTest, AForgedReferenceGivesNoClaim) {
  const std::string about = published_in("count 1 claimed");
  dies_here("Claim::end_ok", about, [&] { device.claim_of_a_forged_aref().end_ok(); });
}

TEST_F(NotClaimedDeathTest, AnEndedIoIsNotGivenOn) {
  const std::string about = published_in("count 0");
  dies_here("Claim::pin", about, [&] { use(device.ended_claim().pin()); });
  dies_here("Claim::publish", about, [&] { device.ended_claim().publish(take); });
  dies_here("Claim::publish", about, [&] { use(device.ended_claim().publish(refuse)); });
  dies_here("Claim::release", about, [&] { device.ended_claim().release(); });
  dies_here("Claim::into_owned", about, [&] { use(device.ended_claim().into_owned()); });
  dies("drop of Claim", about, [&] {
    blkown::set_report_handler(nullptr);
    use(device.ended_claim());
  });
}

TEST_F(ReleaseOfUnpublishedDeathTest, AClaimOfAnOwnedIsNotReleased) {
  const std::string alone = request_in("count 0 owned");
  dies_here("Claim::release", alone, [&] { device.unpublished_claim().release(); });
  const std::string pinned = request_in("count 3 claimed");
  dies_here("Claim::release", pinned, [&] { device.pinned_claim().release(); });
  expect_silence([&] { device.claim().release(); });
}

TEST_F(ReleaseOfUnpublishedDeathTest, NorIfItWentThroughC) {
  const std::string about = request_in("count 0 owned");
  dies_here("Claim::release", about, [&] { device.claim_through_c().release(); });
}

TEST_F(ReleaseOfUnpublishedDeathTest, NorIfIntoOwnedGaveItBack) {
  const std::string about = request_in("count 3 claimed");
  dies_here("Claim::release", about, [&] { device.claim_given_back().release(); });
}

TEST_F(RestartOfEndedDeathTest, AnIoThatEndedWithAStatusIsOver) {
  const std::string about = request_in("count 0");
  dies_here("Ended::into_idle", about, [&] { use(device.ended().into_idle()); });
  expect_silence([&] {
    device.owned().requeue();
    std::move(*device.list.pop_front()).into_idle().requeue();
  });
}

}  // namespace
}  // namespace death
