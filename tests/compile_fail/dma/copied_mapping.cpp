// SPDX-License-Identifier: BSL-1.0
// A mapping cannot be copied, because memory is unmapped once.
// EXPECT(gcc): use of deleted function
// EXPECT(clang): call to (implicitly-)?deleted
#include "mapping.hpp"

void snippet(PreparedMapping prepared, ActiveMapping active, dma::Coherent<Backend> ring) {
#ifdef BLKOWN_WRONG
  PreparedMapping second_prepared = prepared;
  ActiveMapping second_active = active;
  dma::Coherent<Backend> second_ring = ring;
#else
  PreparedMapping second_prepared = std::move(prepared);
  ActiveMapping second_active = std::move(active);
  dma::Coherent<Backend> second_ring = std::move(ring);
#endif
  use(second_prepared);
  use(second_active);
  use(second_ring);
}
