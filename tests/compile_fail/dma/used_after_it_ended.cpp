// SPDX-License-Identifier: BSL-1.0
// A mapping cannot be used after it was unmapped, cancelled or activated, nor a ring after it was
// freed.
// EXPECT(gcc): no diagnostic
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "mapping.hpp"

void unmapped(ActiveMapping mapping, Claim& claim, const EndProof& proof) {
  use(static_cast<ActiveMapping&&>(mapping).unmap(proof));
#ifdef BLKOWN_WRONG
  use(mapping.segments());
  use(mapping.direction());
  use(mapping.cookie());
  use(mapping.renew(proof, claim));
  use(std::move(mapping).unmap(proof));
#else
  use(claim);
#endif
}

void cancelled(ActiveMapping mapping, const Claim& claim) {
  use(static_cast<ActiveMapping&&>(mapping).cancel(claim));
#ifdef BLKOWN_WRONG
  use(std::move(mapping).cancel(claim));
#endif
}

void activated(PreparedMapping mapping) {
  use(static_cast<PreparedMapping&&>(mapping).activate());
#ifdef BLKOWN_WRONG
  use(mapping.segments());
  use(std::move(mapping).activate());
#endif
}

void freed(dma::Coherent<Backend> ring, const EndProof& proof) {
  use(static_cast<dma::Coherent<Backend>&&>(ring).free(proof));
#ifdef BLKOWN_WRONG
  use(ring.data());
  use(ring.segment());
  use(std::move(ring).free(proof));
#endif
}
