// SPDX-License-Identifier: BSL-1.0
//
// A judge of requests: whether a request keeps limits, decided without the library's own code.

#ifndef BLKOWN_TESTS_MQ_OBEYS_HPP
#define BLKOWN_TESTS_MQ_OBEYS_HPP

#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <cstdint>

namespace fake {

/// The limit that the request's memory exceeds, or null.
template <class D>
const char* violated_memory_limit(const blkown::mq::QueueLimits& limits,
                                  const blkown::mq::Payload<D>& request) {
  std::uint64_t bytes = 0;
  std::uint32_t count = 0;
  std::uintptr_t last_end = 0;
  for (const blkown::Segment piece : request.segments()) {
    const auto begin = reinterpret_cast<std::uintptr_t>(piece.data);
    if (piece.length_bytes == 0 || piece.length_bytes > limits.max_segment_bytes) {
      return "max_segment_bytes";
    }
    if (((begin | piece.length_bytes) & limits.dma_alignment_mask) != 0) {
      return "dma_alignment_mask";
    }
    const bool is_off_boundary = ((begin | last_end) & limits.virt_boundary_mask) != 0;
    if (count != 0 && is_off_boundary) return "virt_boundary_mask";
    last_end = begin + piece.length_bytes;
    bytes += piece.length_bytes;
    ++count;
  }
  if (count > limits.max_segments) return "max_segments";
  return bytes == request.length_bytes() ? nullptr : "the sum of the pieces";
}

/// The limit that the request exceeds, or null.
template <class D>
const char* violated_limit(const blkown::mq::QueueLimits& limits,
                           const blkown::mq::Payload<D>& request) {
  using blkown::mq::Op;
  const std::uint64_t sectors = request.length_bytes() / 512;
  if (!has_range(request.op())) return sectors == 0 ? nullptr : "a length without a range";
  if (sectors == 0) return "an empty range";
  if (request.op() == Op::discard && sectors > limits.max_discard_sectors) {
    return "max_discard_sectors";
  }
  if (request.op() == Op::write_zeroes && sectors > limits.max_write_zeroes_sectors) {
    return "max_write_zeroes_sectors";
  }
  if (request.op() == Op::zone_append && sectors > limits.max_zone_append_sectors) {
    return "max_zone_append_sectors";
  }
  if (has_data(request.op()) && sectors > limits.max_sectors) return "max_sectors";
  const std::uint64_t chunk = limits.chunk_sectors;
  if (chunk != 0 && request.sector() / chunk != (request.sector() + sectors - 1) / chunk) {
    return "chunk_sectors";
  }
  return has_data(request.op()) ? violated_memory_limit(limits, request) : nullptr;
}

}  // namespace fake

#endif
