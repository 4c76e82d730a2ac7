// SPDX-License-Identifier: BSL-1.0
// The results of an ARef's consuming members cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void into_raw(ARef aref) {
#ifdef BLKOWN_WRONG
  std::move(aref).into_raw();  // the reference is never dropped
#else
  Request* const raw = std::move(aref).into_raw();
  use(raw);
#endif
}

void from_raw(Request* raw) {
#ifdef BLKOWN_WRONG
  ARef::from_raw(raw);  // drops the reference at once
#else
  const ARef aref = ARef::from_raw(raw);
#endif
}

void try_from_shared(ARef aref) {
#ifdef BLKOWN_WRONG
  Owned::try_from_shared(std::move(aref));  // parks the I/O, or drops the reference
#else
  const auto owned = Owned::try_from_shared(std::move(aref));
  use(owned);
#endif
}

void drop_or_own(ARef aref) {
#ifdef BLKOWN_WRONG
  blkown::drop_or_own(std::move(aref));  // the result may be an Owned
#else
  const std::optional<Owned> owned = blkown::drop_or_own(std::move(aref));
  use(owned);
#endif
}

void try_claim(ARef aref, const blkown::Cookie& cookie) {
#ifdef BLKOWN_WRONG
  blkown::try_claim(std::move(aref), cookie);  // ends the I/O with io_error
#else
  const auto claim = blkown::try_claim(std::move(aref), cookie);
  use(claim);
#endif
}

void claim(ARef aref, const blkown::Cookie& cookie) {
#ifdef BLKOWN_WRONG
  blkown::claim(aref, cookie);  // ends the I/O with io_error
#else
  const auto claim = blkown::claim(aref, cookie);
  use(claim);
#endif
}
