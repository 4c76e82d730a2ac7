// SPDX-License-Identifier: BSL-1.0
// Memory is mapped by whoever has the right to the I/O: not with a pin, nor before the I/O is
// started, nor with an Owned, whose publication would not be the mapping's.
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
