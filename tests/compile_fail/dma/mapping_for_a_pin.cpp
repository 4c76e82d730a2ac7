// SPDX-License-Identifier: BSL-1.0
// map requires a Claim. A pin and an Idle do not hold the I/O, and an Owned's publication would not
// be the mapping's.
// EXPECT: no matching function for call to
#include "mapping.hpp"

void snippet(dma::Device<Backend>& device, dma::IovaList<1>& list, const Segments& segments,
             ARef& pin, Idle& idle, Owned& owned, Claim& claim) {
  use(claim);
#ifdef BLKOWN_WRONG
  use(dma::map(pin, device, segments, dma::Direction::to_device, list));
  use(dma::map(idle, device, segments, dma::Direction::to_device, list));
  use(dma::map(owned, device, segments, dma::Direction::to_device, list));
#else
  use(pin);
  use(idle);
  use(owned);
  use(dma::map(claim, device, segments, dma::Direction::to_device, list));
#endif
}
