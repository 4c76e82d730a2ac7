// SPDX-License-Identifier: BSL-1.0
//
// The snippets' common types: a device, and a request whose data has the mapping's list.

#ifndef BLKOWN_TESTS_COMPILE_FAIL_DMA_MAPPING_HPP
#define BLKOWN_TESTS_COMPILE_FAIL_DMA_MAPPING_HPP

#include <array>
#include <blkown/dma/dma.hpp>

#include "snippet.hpp"

namespace dma = blkown::dma;

struct Backend {
  dma::DeviceLimits limits() const;
  std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment&, dma::Direction,
                                                    const blkown::Cookie&);
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&);
  std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment>);
};
using Segments = std::array<blkown::Segment, 1>;
using dma::ActiveMapping;
using dma::EndProof;
using dma::PreparedMapping;

#endif
