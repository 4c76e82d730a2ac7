// SPDX-License-Identifier: BSL-1.0
//
// Quarantined: a mapping that stays until its device is stopped.

#ifndef BLKOWN_DMA_QUARANTINE_HPP
#define BLKOWN_DMA_QUARANTINE_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Why a mapping is in quarantine.
enum class QuarantineReason : std::uint8_t {
  dropped,       ///< Its handle was destroyed without proof that the device is done.
  leaked,        ///< Its request has ended while the mapping was still in the request's own data.
  unmap_failed,  ///< The backend could not unmap the memory, in part or in whole.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(QuarantineReason reason) noexcept {
  switch (reason) {
    case QuarantineReason::dropped: return "dropped";
    case QuarantineReason::leaked: return "leaked";
    case QuarantineReason::unmap_failed: return "unmap_failed";
  }
  return "unknown reason";
}

/// What an unmap has done with a mapping.
enum class UnmapResult : std::uint8_t {
  unmapped,     ///< The device reaches the memory no more.
  quarantined,  ///< The backend could not unmap the memory, which stays mapped until a drain.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(UnmapResult result) noexcept {
  switch (result) {
    case UnmapResult::unmapped: return "unmapped";
    case UnmapResult::quarantined: return "quarantined";
  }
  return "unknown result";
}

/// A mapping in quarantine, as Device::for_each_quarantined shows it. The memory stays mapped and
/// the request's tag stays allocated until Device::drain gets proof that the device was stopped.
struct Quarantined {
  QuarantineReason reason{};
  Cookie cookie;  ///< The publication that the memory was mapped for.
  Direction direction{};
  std::span<const IovaSegment> segments;  ///< Valid during the visit.
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
