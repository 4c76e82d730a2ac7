// SPDX-License-Identifier: BSL-1.0
//
// Segment: a contiguous part of an I/O's data buffer.

#ifndef BLKOWN_SEGMENT_HPP
#define BLKOWN_SEGMENT_HPP

#include <blkown/config.hpp>
#include <cstddef>

namespace blkown {
inline namespace BLKOWN_ABI {

/// Contiguous bytes of an I/O's data buffer. A Segment refers to the memory and does not own it.
/// Precondition: the submitter keeps the bytes in place until the I/O has ended.
/// Source: the kernel's bio_vec.
struct Segment {
  std::byte* data = nullptr;
  std::size_t length_bytes = 0;

  /// One past the last byte.
  [[nodiscard]] constexpr std::byte* end() const noexcept { return data + length_bytes; }
  /// Whether the segment has no bytes.
  [[nodiscard]] constexpr bool empty() const noexcept { return length_bytes == 0; }

  /// The bytes from `offset_bytes` on, at most `part_bytes` of them. An offset past the end gives
  /// the empty segment at the end, so that the remainder of a short transfer is no special case.
  [[nodiscard]] constexpr Segment part(std::size_t offset_bytes,
                                       std::size_t part_bytes) const noexcept {
    if (offset_bytes >= length_bytes) return {end(), 0};
    const std::size_t left_bytes = length_bytes - offset_bytes;
    return {data + offset_bytes, part_bytes < left_bytes ? part_bytes : left_bytes};
  }

  friend constexpr bool operator==(const Segment&, const Segment&) = default;
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
