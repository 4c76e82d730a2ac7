// SPDX-License-Identifier: BSL-1.0
//
// operator<< for the enumerations and value types of dma: see blkown/ostream.hpp.

#ifndef BLKOWN_DMA_OSTREAM_HPP
#define BLKOWN_DMA_OSTREAM_HPP

#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/ostream.hpp>
#include <string>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

template <>
inline constexpr bool has_text<dma::Direction> = true;
template <>
inline constexpr bool has_text<dma::QuarantineReason> = true;
template <>
inline constexpr bool has_text<dma::UnmapResult> = true;
template <>
inline constexpr bool has_text<dma::MapFailure> = true;
template <>
inline constexpr bool has_text<dma::IovaSegment> = true;
template <>
inline constexpr bool has_text<dma::MapError> = true;

}  // namespace detail

namespace dma {

using blkown::operator<<;

/// "4096 bytes at 0x10000".
[[nodiscard]] inline std::string to_string(const IovaSegment& segment) {
  return std::to_string(segment.length_bytes) + " bytes at " +
         blkown::detail::hex_text(segment.iova);
}
/// "too_few_bounce_slots: segment 3, given 9, limit 8".
[[nodiscard]] inline std::string to_string(const MapError& error) {
  return std::string{to_string(error.reason)} + ": segment " + std::to_string(error.segment) +
         ", given " + std::to_string(error.given) + ", limit " + std::to_string(error.limit);
}

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
