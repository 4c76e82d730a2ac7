// SPDX-License-Identifier: BSL-1.0
// The results of an Owned's consuming members cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void into_shared(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).into_shared();  // drops the reference at once
#else
  const ARef aref = std::move(owned).into_shared();
#endif
}

void into_claim(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).into_claim();  // ends the I/O with io_error
#else
  std::move(owned).into_claim().end_ok();
#endif
}

void publish(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).publish(try_ring);  // a refusal would end the I/O with io_error
#else
  const auto published = std::move(owned).publish(try_ring);
  use(published);
#endif
}

void publish_to_a_device_that_takes_all(Owned owned) {
  std::move(owned).publish(ring);  // no result to check
}

void into_raw(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).into_raw();  // the request is leaked
#else
  Request* const raw = std::move(owned).into_raw();
  use(raw);
#endif
}

void from_raw(Request* raw) {
#ifdef BLKOWN_WRONG
  Owned::from_raw(raw);  // parks the I/O at once
#else
  const Owned owned = Owned::from_raw(raw);
#endif
}
