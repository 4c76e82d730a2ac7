// SPDX-License-Identifier: BSL-1.0
// A device requires a backend that maps memory, unmaps it and invalidates translations.
// EXPECT: (constraints? not satisfied|constraint failure)
#include "mapping.hpp"

struct WithoutInvalidate {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, dma::MapFailure> map(std::byte*, std::size_t, dma::Direction,
                                                    const blkown::Cookie&);
  void unmap(const dma::IovaSegment&);
};

#ifdef BLKOWN_WRONG
dma::Device<WithoutInvalidate>& device();
#else
dma::Device<Backend>& device();
#endif
