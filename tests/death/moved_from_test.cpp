// SPDX-License-Identifier: BSL-1.0
//
// Goal: calling any public member of a moved-from handle is a violation.
// Method: each member is called on a moved-from handle. The printed lines name no request.

#include "violation_test.hpp"

namespace death {
namespace {

class UseOfMovedFromDeathTest : public ViolationTest<blkown::Violation::use_of_moved_from> {};

TEST_F(UseOfMovedFromDeathTest, EveryAccessorOfIdleNeedsARequest) {
  dies_here("Idle::queue", "", [&] { use(device.no_idle().queue()); });
  dies_here("Idle::tag", "", [&] { use(device.no_idle().tag()); });
  dies_here("Idle::header", "", [&] { use(device.no_idle().header()); });
  dies_here("Idle::data", "", [&] { use_data_of(device.no_idle()); });
}

TEST_F(UseOfMovedFromDeathTest, EveryConsumerOfIdleNeedsARequest) {
  dies_here("Idle::start", "", [&] { use(device.no_idle().start()); });
  dies_here("Idle::fail", "", [&] { device.no_idle().fail(blkown::Status::resource); });
  dies_here("Idle::requeue", "", [&] { device.no_idle().requeue(); });
  dies_here("Idle::into_raw", "", [&] { use(device.no_idle().into_raw()); });
  dies_here("Idle::from_raw", "", [&] { use(Idle::from_raw(nullptr)); });
}

TEST_F(UseOfMovedFromDeathTest, EveryAccessorOfOwnedNeedsARequest) {
  dies_here("Owned::queue", "", [&] { use(device.no_owned().queue()); });
  dies_here("Owned::tag", "", [&] { use(device.no_owned().tag()); });
  dies_here("Owned::header", "", [&] { use(device.no_owned().header()); });
  dies_here("Owned::cookie", "", [&] { use(device.no_owned().cookie()); });
  dies_here("Owned::next_cookie", "", [&] { use(device.no_owned().next_cookie()); });
  dies_here("Owned::data", "", [&] { use_data_of(device.no_owned()); });
  dies("Owned::operator*", "", [&] { use(*device.no_owned_object()); });
  dies("Owned::operator->", "", [&] { use(device.no_owned_object()->member); });
}

TEST_F(UseOfMovedFromDeathTest, EveryConsumerOfOwnedNeedsARequest) {
  dies_here("Owned::into_shared", "", [&] { use(device.no_owned().into_shared()); });
  dies_here("Owned::into_shared", "", [&] { use(device.no_owned_object().into_shared()); });
  dies_here("Owned::into_claim", "", [&] { use(device.no_owned().into_claim()); });
  dies_here("Owned::publish", "", [&] { device.no_owned().publish(take); });
  dies_here("Owned::publish", "", [&] { use(device.no_owned().publish(refuse)); });
  dies_here("Owned::park", "", [&] { device.no_owned().park(); });
  dies_here("Owned::end", "", [&] { device.no_owned().end(blkown::Status::aborted); });
  dies_here("Owned::end_ok", "", [&] { device.no_owned().end_ok(); });
  dies_here("Owned::requeue", "", [&] { device.no_owned().requeue(); });
  dies_here("Owned::into_raw", "", [&] { use(device.no_owned().into_raw()); });
  dies_here("Owned::from_raw", "", [&] { use(Owned::from_raw(nullptr)); });
}

TEST_F(UseOfMovedFromDeathTest, EveryAccessorOfClaimNeedsARequest) {
  dies_here("Claim::queue", "", [&] { use(device.no_claim().queue()); });
  dies_here("Claim::tag", "", [&] { use(device.no_claim().tag()); });
  dies_here("Claim::header", "", [&] { use(device.no_claim().header()); });
  dies_here("Claim::cookie", "", [&] { use(device.no_claim().cookie()); });
  dies_here("Claim::next_cookie", "", [&] { use(device.no_claim().next_cookie()); });
  dies_here("Claim::data", "", [&] { use_data_of(device.no_claim()); });
  dies_here("Claim::pin", "", [&] { use(device.no_claim().pin()); });
}

TEST_F(UseOfMovedFromDeathTest, EveryConsumerOfClaimNeedsARequest) {
  dies_here("Claim::publish", "", [&] { device.no_claim().publish(take); });
  dies_here("Claim::publish", "", [&] { use(device.no_claim().publish(refuse)); });
  dies_here("Claim::release", "", [&] { device.no_claim().release(); });
  dies_here("Claim::end", "", [&] { device.no_claim().end(blkown::Status::aborted); });
  dies_here("Claim::end_ok", "", [&] { device.no_claim().end_ok(); });
  dies_here("Claim::requeue", "", [&] { device.no_claim().requeue(); });
  dies_here("Claim::into_owned", "", [&] { use(device.no_claim().into_owned()); });
  dies_here("Claim::into_raw", "", [&] { use(device.no_claim().into_raw()); });
  dies_here("Claim::from_raw", "", [&] { use(Claim::from_raw(nullptr)); });
}

TEST_F(UseOfMovedFromDeathTest, EveryAccessorOfARefNeedsARequest) {
  dies_here("ARef::queue", "", [&] { use(device.no_aref().queue()); });
  dies_here("ARef::tag", "", [&] { use(device.no_aref().tag()); });
  dies_here("ARef::header", "", [&] { use(device.no_aref().header()); });
  dies_here("ARef::generation", "", [&] { use(device.no_aref().generation()); });
  dies_here("ARef::data", "", [&] { use_data_of(device.no_aref()); });
  dies("ARef::operator*", "", [&] { use(*device.no_shared_object()); });
  dies("ARef::operator->", "", [&] { use(device.no_shared_object()->member); });
}

TEST_F(UseOfMovedFromDeathTest, EveryCopyOfARefNeedsARequest) {
  dies("copy of ARef", "", [&] {
    const std::optional<ARef> empty{device.no_aref()};
    const std::optional<ARef> copy{empty};
  });
  dies("copy of ARef", "", [&] {
    const std::optional<ARef> empty{device.no_aref()};
    device.pin = empty;
    device.pin = empty;
  });
  dies("copy of ARef", "", [&] {
    const std::optional<blkown::ARef<Object>> empty{device.no_shared_object()};
    const std::optional<blkown::ARef<Object>> copy{empty};
  });
}

TEST_F(UseOfMovedFromDeathTest, EveryConsumerOfARefNeedsARequest) {
  const blkown::Cookie cookie = device.cookie();
  dies_here("ARef::into_raw", "", [&] { use(device.no_aref().into_raw()); });
  dies_here("ARef::from_raw", "", [&] { use(ARef::from_raw(nullptr)); });
  dies_here("Owned::try_from_shared", "", [&] { use(Owned::try_from_shared(device.no_aref())); });
  dies_here("drop_or_own", "", [&] { use(blkown::drop_or_own(device.no_aref())); });
  dies_here("try_claim", "", [&] { use(blkown::try_claim(device.no_aref(), cookie)); });
  dies_here("claim", "", [&] { use(blkown::claim(device.no_aref(), cookie)); });
}

TEST_F(UseOfMovedFromDeathTest, EveryAccessorOfEndedNeedsARequest) {
  dies_here("Ended::queue", "", [&] { use(device.no_ended().queue()); });
  dies_here("Ended::tag", "", [&] { use(device.no_ended().tag()); });
  dies_here("Ended::status", "", [&] { use(device.no_ended().status()); });
  dies_here("Ended::is_requeue", "", [&] { use(device.no_ended().is_requeue()); });
  dies_here("Ended::data", "", [&] { use_data_of(device.no_ended()); });
}

TEST_F(UseOfMovedFromDeathTest, EveryConsumerOfEndedNeedsARequest) {
  blkown::TagCache& cache = device.cache_of(blkown::QueueIndex{1});
  dies_here("Ended::release", "", [&] { device.no_ended().release(); });
  dies_here("Ended::release", "", [&] { device.no_ended().release(cache); });
  dies_here("Ended::into_idle", "", [&] { use(device.no_ended().into_idle()); });
  dies_here("EndedList::push_back", "", [&] { device.list.push_back(device.no_ended()); });
}

}  // namespace
}  // namespace death
