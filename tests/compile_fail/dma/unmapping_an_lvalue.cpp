// SPDX-License-Identifier: BSL-1.0
// Unmapping or activating a mapping, and freeing a ring, requires std::move.
// EXPECT-FIRST(gcc): use of deleted function '.*use_std_move
// EXPECT-FIRST(clang): deleted member function '.*': use std::move, as in std::move\(handle\)\.
#include "mapping.hpp"

void snippet(ActiveMapping active, ActiveMapping cancelled, PreparedMapping prepared,
             dma::Coherent<Backend> ring, const Claim& claim, const EndProof& proof) {
#ifdef BLKOWN_WRONG
  use(active.unmap(proof));
  use(cancelled.cancel(claim));
  use(prepared.activate());
  use(ring.free(proof));
#else
  use(std::move(active).unmap(proof));
  use(std::move(cancelled).cancel(claim));
  use(std::move(prepared).activate());
  use(std::move(ring).free(proof));
#endif
}
