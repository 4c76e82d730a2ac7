// SPDX-License-Identifier: BSL-1.0
// unmap requires a proof that the device is done with the memory. A Claim is not a proof.
// EXPECT(gcc): no matching function for call to '.*::unmap\(
// EXPECT(clang): no matching member function for call to 'unmap'
#include "mapping.hpp"

void snippet(ActiveMapping mapping, ActiveMapping other, const Claim& claim,
             const EndProof& proof) {
  use(proof);
#ifdef BLKOWN_WRONG
  use(std::move(mapping).unmap());
  use(std::move(other).unmap(claim));
#else
  use(std::move(mapping).unmap(proof));
  use(std::move(other).unmap(*EndProof::of(claim)));
#endif
}
