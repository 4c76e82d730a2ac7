// SPDX-License-Identifier: BSL-1.0
// A device requires a backend that maps memory, unmaps it and invalidates translations.
// EXPECT: (constraints? not satisfied|constraint failure)
#include "mapping.hpp"

struct WithoutInvalidate {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment&, dma::Direction,
                                                    const blkown::Cookie&);
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&);
};

#ifdef BLKOWN_WRONG
dma::Device<WithoutInvalidate>& device();
#else
dma::Device<Backend>& device();
#endif
