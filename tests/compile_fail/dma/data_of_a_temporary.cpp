// SPDX-License-Identifier: BSL-1.0
// A temporary gives its memory up at the end of the expression, and the pointer stays.
// EXPECT(gcc): use of deleted function .*data
// EXPECT(clang): call to deleted member function 'data'
#include "mapping.hpp"

dma::Coherent<Backend> make_ring();

void snippet() {
#ifdef BLKOWN_WRONG
  std::byte* const memory = make_ring().data();
#else
  const dma::Coherent<Backend> ring = make_ring();
  std::byte* const memory = ring.data();
#endif
  use(memory);
}
