// SPDX-License-Identifier: BSL-1.0
//
// A device, and a request that keeps its mapping's list.

#ifndef DMA_MAPPING_HPP
#define DMA_MAPPING_HPP

#include <array>
#include <blkown/dma/dma.hpp>

#include "snippet.hpp"

namespace dma = blkown::dma;

struct Backend {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, dma::MapFailure> map(std::byte*, std::size_t, dma::Direction,
                                                    const blkown::Cookie&);
  void unmap(const dma::IovaSegment&);
  void invalidate(std::span<const dma::IovaSegment>);
};
using Segments = std::array<blkown::Segment, 1>;
using dma::ActiveMapping;
using dma::EndProof;
using dma::PreparedMapping;

#endif
