// SPDX-License-Identifier: BSL-1.0
// The results of a Claim's consuming members cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void pin(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.pin();  // holds nothing in place
#else
  const ARef pin = claim.pin();
#endif
}

void publish(Claim claim) {
#ifdef BLKOWN_WRONG
  std::move(claim).publish(try_ring);  // a refusal would end the I/O with io_error
#else
  const auto published = std::move(claim).publish(try_ring);
  use(published);
#endif
}

void publish_to_a_device_that_takes_all(Claim claim) {
  std::move(claim).publish(ring);  // no result to check
}

void into_owned(Claim claim) {
#ifdef BLKOWN_WRONG
  std::move(claim).into_owned();  // parks the I/O, or ends it with io_error
#else
  const auto owned = std::move(claim).into_owned();
  use(owned);
#endif
}

void into_raw(Claim claim) {
#ifdef BLKOWN_WRONG
  std::move(claim).into_raw();  // the request is leaked
#else
  void* const raw = std::move(claim).into_raw();
  use(raw);
#endif
}

void from_raw(void* raw) {
#ifdef BLKOWN_WRONG
  Claim::from_raw(raw);  // ends the I/O with io_error
#else
  const Claim claim = Claim::from_raw(raw);
#endif
}
