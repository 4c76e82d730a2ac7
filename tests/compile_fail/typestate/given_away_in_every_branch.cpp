// SPDX-License-Identifier: BSL-1.0
// A handle that every branch consumes cannot be used after the branches, whatever their kind.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void if_else(Owned owned, bool ok) {
  if (ok) {
    std::move(owned).end_ok();
  } else {
    std::move(owned).requeue();
  }
#ifdef BLKOWN_WRONG
  std::move(owned).park();
#endif
}

void nested(Owned owned, bool ok, bool retry) {
  if (ok) {
    std::move(owned).end_ok();
  } else if (retry) {
    std::move(owned).requeue();
  } else {
    std::move(owned).end(blkown::Status::io_error);
  }
#ifdef BLKOWN_WRONG
  std::move(owned).park();
#endif
}

void every_case(Owned owned, int result) {
  switch (result) {
    case 0: std::move(owned).end_ok(); break;
    case 1: std::move(owned).requeue(); break;
    default: std::move(owned).end(blkown::Status::io_error); break;
  }
#ifdef BLKOWN_WRONG
  std::move(owned).park();
#endif
}

void conditional(Owned owned, bool ok) {
  ok ? std::move(owned).end_ok() : std::move(owned).requeue();
#ifdef BLKOWN_WRONG
  std::move(owned).park();
#endif
}

void within_one_branch(Owned owned, bool ok) {
  if (ok) {
    std::move(owned).end_ok();
#ifdef BLKOWN_WRONG
    std::move(owned).requeue();
#endif
  }
}

// Right: a branch that consumes the handle and returns.
void early_return(Owned owned, bool ok) {
  if (!ok) {
    std::move(owned).end(blkown::Status::io_error);
    return;
  }
  std::move(owned).end_ok();
}

void early_return_from_a_case(Owned owned, int result) {
  switch (result) {
    case 0: std::move(owned).end_ok(); return;
    case 1: use(owned.tag()); break;
    default: break;
  }
  std::move(owned).requeue();
}

void back_out_of_into_owned(Claim claim) {
  if (auto owned = std::move(claim).into_owned()) {
    std::move(*owned).park();
  } else {
    claim = std::move(owned.error());
    std::move(claim).end_ok();
  }
}
