// SPDX-License-Identifier: BSL-1.0
//
// The data of a Dataset Management command.

#ifndef BLKOWN_NVME_DSM_HPP
#define BLKOWN_NVME_DSM_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// One range of a Dataset Management command. The command's data is an array of 1 to
/// max_dsm_ranges.
/// Source: NVMe Base 1.4, section 6.7.
struct DsmRange {
  Le32 attributes;   ///< Context attributes: hints.
  Le32 block_count;  ///< Not 0's based: 0 is an empty range.
  Le64 slba;         ///< The first block.

  friend constexpr bool operator==(const DsmRange&, const DsmRange&) = default;
};
static_assert(sizeof(DsmRange) == 16 && std::is_trivially_copyable_v<DsmRange> &&
              std::is_standard_layout_v<DsmRange>);
static_assert(offsetof(DsmRange, block_count) == 4 && offsetof(DsmRange, slba) == 8);

/// The most ranges of one command.
inline constexpr std::uint32_t max_dsm_ranges = 256;

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
