// SPDX-License-Identifier: BSL-1.0
// An ARef cannot end, requeue, publish or park the I/O.
// EXPECT(gcc): ARef<.* has no member named '(end|end_ok|requeue|publish|park|release)'
// EXPECT(clang): no member named '(end|end_ok|requeue|publish|park|release)' in '.*ARef<
#include "snippet.hpp"

void snippet(ARef aref, const blkown::Cookie& cookie) {
#ifdef BLKOWN_WRONG
  std::move(aref).end(blkown::Status::timed_out);
  std::move(aref).end_ok();
  std::move(aref).requeue();
  std::move(aref).publish(ring);
  std::move(aref).park();
  std::move(aref).release();
#else
  auto claim = blkown::claim(aref, cookie);
  if (claim.has_value()) std::move(*claim).end(blkown::Status::timed_out);
#endif
  use(aref);
  use(cookie);
}
