// SPDX-License-Identifier: BSL-1.0
// map requires a Claim. A pin gives no right to the I/O. An Idle is not started. A mapping pins its
// request, but an Owned is the only handle of its request.
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
