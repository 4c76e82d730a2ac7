// SPDX-License-Identifier: BSL-1.0
// A proof cannot be constructed. Proofs come from Claims and from a device's stop.
// EXPECT: no matching (function|constructor)
// EXPECT(gcc): is private within this context
// EXPECT(clang): calling a private constructor
// EXPECT(clang): no viable conversion from 'std::optional<EndProof>'
#include "mapping.hpp"

void snippet(const Claim& claim, dma::Device<Backend>& device) {
#ifdef BLKOWN_WRONG
  EndProof nothing;                                          // refused
  EndProof made{1U, claim.cookie().generation.value, true};  // refused
  EndProof of_pin = EndProof::of(device);                    // refused
  use(nothing);
  use(made);
  use(of_pin);
#else
  use(EndProof::of(claim));
  use(device.declare_stopped());
#endif
}
