// SPDX-License-Identifier: BSL-1.0
// A handle does not convert to a handle of another type.
// EXPECT(gcc): could not convert 'std::move<.* to '.*(Idle|Owned|Claim|ARef)'
// EXPECT(clang): no matching function for call to 'take_(idle|owned|claim|aref)'
#include "snippet.hpp"

void take_idle(Idle idle);
void take_owned(Owned owned);
void take_claim(Claim claim);
void take_aref(ARef aref);

void start(Idle idle) {
#ifdef BLKOWN_WRONG
  take_owned(std::move(idle));  // was never started
#else
  take_owned(std::move(idle).start());
#endif
}

void own(Claim claim) {
#ifdef BLKOWN_WRONG
  take_owned(std::move(claim));  // pins may exist
#else
  auto owned = std::move(claim).into_owned();
  if (owned.has_value()) take_owned(*std::move(owned));
#endif
}

void claim(Owned owned) {
#ifdef BLKOWN_WRONG
  take_claim(std::move(owned));
#else
  take_claim(std::move(owned).into_claim());
#endif
}

void share(Owned owned) {
#ifdef BLKOWN_WRONG
  take_aref(std::move(owned));  // was never published
#else
  take_aref(std::move(owned).into_shared());
#endif
}

void own_shared(ARef aref) {
#ifdef BLKOWN_WRONG
  take_owned(std::move(aref));  // others may hold it too
#else
  auto owned = Owned::try_from_shared(std::move(aref));
  if (owned.has_value()) take_owned(*std::move(owned));
#endif
}

void start_again(Ended ended) {
#ifdef BLKOWN_WRONG
  take_idle(std::move(ended));  // the I/O may have ended
#else
  if (ended.is_requeue()) take_idle(std::move(ended).into_idle());
#endif
}
