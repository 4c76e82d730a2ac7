// SPDX-License-Identifier: BSL-1.0
// A result that may hold a mapping or an error cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value
// EXPECT(clang): ignoring return value
#include "mapping.hpp"

void snippet(ActiveMapping unmapped, ActiveMapping cancelled, ActiveMapping renewed,
             PreparedMapping prepared, dma::Coherent<Backend> ring, const Claim& claim,
             const EndProof& proof, dma::Device<Backend>& device) {
#ifdef BLKOWN_WRONG
  std::move(unmapped).unmap(proof);
  std::move(cancelled).cancel(claim);
  renewed.renew(proof, claim);
  std::move(prepared).activate();
  std::move(ring).free(proof);
  EndProof::of(claim);
  device.declare_stopped();
#else
  use(std::move(unmapped).unmap(proof));
  use(std::move(cancelled).cancel(claim));
  use(renewed.renew(proof, claim));
  use(std::move(prepared).activate());
  use(std::move(ring).free(proof));
  use(EndProof::of(claim));
  use(device.declare_stopped());
#endif
}
