// SPDX-License-Identifier: BSL-1.0
// A proof comes from a Claim or from the stop of a device, and is not made up.
// EXPECT: no matching (function|constructor)
// EXPECT(gcc): is private within this context
// EXPECT(clang): calling a private constructor
// EXPECT(clang): no viable conversion from 'std::optional<DmaEnded>'
#include "mapping.hpp"

void snippet(const Claim& claim, dma::Device<Backend>& device) {
#ifdef BLKOWN_WRONG
  DmaEnded nothing;                                                       // refused
  DmaEnded made{&claim.header(), claim.cookie().generation.value, true};  // refused
  DmaEnded of_pin = DmaEnded::of(device);                                 // refused
  use(nothing);
  use(made);
  use(of_pin);
#else
  use(DmaEnded::of(claim));
  use(device.declare_stopped());
#endif
}
