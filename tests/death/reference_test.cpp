// SPDX-License-Identifier: BSL-1.0
//
// Goal: a reference that the count does not include, and a reference beyond the count's limit, are
// violations.
// Method: forged references for the first. For the second the count is brought to its limit, by
// taking references where the word is narrow, and by writing the word in both widths.

#include "violation_test.hpp"

namespace death {
namespace {

using Value = blkown::detail::RefValue<blkown::Word>;

class NoReferenceDeathTest : public ViolationTest<blkown::Violation::no_reference> {};
class ReferenceOverflowDeathTest : public ViolationTest<blkown::Violation::reference_overflow> {};

TEST_F(NoReferenceDeathTest, AForgedReferenceIsNotDropped) {
  dies("drop of ARef", request_in("count 0"), [&] { use(device.ended_aref()); });
  dies("drop of ARef", request_in("count 0 owned"), [&] { use(device.owned_aref()); });
  dies("drop of ARef", published_in("count 1"), [&] { use(device.parked_aref()); });
  dies("drop of ARef", published_in("count 2 claimed"), [&] { use(device.claimed_aref()); });
}

TEST_F(NoReferenceDeathTest, NoMoreReferencesAreDroppedThanThereAre) {
  dies("drop of ARef", published_in("count 1"), [&] {
    const ARef right = device.aref();
    ARef copy{right};
    Request* const raw = std::move(copy).into_raw();
    use(ARef::from_raw(raw));
    use(ARef::from_raw(raw));
    use(ARef::from_raw(raw));
  });
}

TEST_F(NoReferenceDeathTest, AForgedReferenceIsNotCopied) {
  const auto copy_of = [](ARef forged) { const ARef copy{forged}; };
  dies("copy of ARef", request_in("count 0"), [&] { copy_of(device.ended_aref()); });
  dies("copy of ARef", request_in("count 0 owned"), [&] { copy_of(device.owned_aref()); });
  dies("copy of ARef", published_in("count 1"), [&] { copy_of(device.parked_aref()); });
}

TEST_F(NoReferenceDeathTest, AForgedReferenceIsNotCopiedOverAnother) {
  dies("copy of ARef", published_in("count 1"), [&] {
    const ARef forged = device.parked_aref();
    ARef other = ARef::from_raw(device.aref_of_another_request().into_raw());
    other = forged;
  });
}

TEST_F(NoReferenceDeathTest, AForgedReferenceDoesNotBecomeAnOwned) {
  const std::string operation = "Owned::try_from_shared";
  const std::string parked = published_in("count 1");
  dies_here(operation, parked, [&] { use(Owned::try_from_shared(device.parked_aref())); });
  const std::string ended = request_in("count 0");
  dies_here(operation, ended, [&] { use(Owned::try_from_shared(device.ended_aref())); });
  const std::string owned = request_in("count 0 owned");
  dies_here(operation, owned, [&] { use(Owned::try_from_shared(device.owned_aref())); });
}

TEST_F(NoReferenceDeathTest, AForgedReferenceIsNeitherDroppedNorOwned) {
  const std::string parked = published_in("count 1");
  dies_here("drop_or_own", parked, [&] { use(blkown::drop_or_own(device.parked_aref())); });
  const std::string ended = request_in("count 0");
  dies_here("drop_or_own", ended, [&] { use(blkown::drop_or_own(device.ended_aref())); });
}

/// Sets the count of a request's word to `count`. The word is the header's first member.
void write_count(const blkown::RequestHeader& header, blkown::Word count) {
  auto& word =
      reinterpret_cast<blkown::Atomic<blkown::Word>&>(const_cast<blkown::RequestHeader&>(header));
  const Value seen{word.load(std::memory_order_relaxed)};
  const auto flags = static_cast<blkown::Word>(seen.state() & ~Value::count_mask);
  word.store(seen.with_state(static_cast<blkown::Word>(flags | count)).bits,
             std::memory_order_relaxed);
}

std::string limit(const std::string& flags) {
  return "count " + std::to_string(Value::count_limit) + flags;
}

TEST_F(ReferenceOverflowDeathTest, NoCopyIsMadeAtTheLimit) {
  dies("copy of ARef", published_in(limit("")), [&] {
    const ARef aref = device.aref();
    write_count(aref.header(), Value::count_limit);
    const ARef copy{aref};
  });
  expect_silence([&] {
    const ARef aref = device.aref();
    write_count(aref.header(), Value::count_limit - 1);
    const ARef copy{aref};
  });
}

TEST_F(ReferenceOverflowDeathTest, NoPinIsMadeAtTheLimit) {
  const auto claim_at = [&](blkown::Word count) {
    Claim claim = device.claim();
    use(claim.pin().into_raw());
    write_count(claim.header(), count);
    return claim;
  };
  const std::string about = published_in(limit(" claimed"));
  dies_here("Claim::pin", about, [&] { use(claim_at(Value::count_limit).pin()); });
  expect_silence([&] {
    Claim claim = claim_at(Value::count_limit - 1);
    use(claim.pin().into_raw());
    std::move(claim).end_ok();
  });
}

#if BLKOWN_WORD_BITS == 32
TEST_F(ReferenceOverflowDeathTest, CopiesAreMadeUpToTheLimit) {
  static_assert(Value::count_limit == 4096);
  dies("copy of ARef", published_in("count 4096"), [&] {
    const ARef aref = device.aref();
    while (true) use(ARef{aref}.into_raw());
  });
}

TEST_F(ReferenceOverflowDeathTest, PinsAreMadeUpToTheLimit) {
  const auto pin_for_ever = [&](blkown::Place where = blkown::Place::current()) {
    Claim claim = device.claim();
    while (true) use(claim.pin(where).into_raw());
  };
  dies_here("Claim::pin", published_in("count 4096 claimed"), [&] { pin_for_ever(); });
}
#endif

}  // namespace
}  // namespace death
