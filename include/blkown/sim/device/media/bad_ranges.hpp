// SPDX-License-Identifier: BSL-1.0
//
// BadRanges: the ranges of a medium that the fault `bad_range` has made unreadable.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_BAD_RANGES_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_BAD_RANGES_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The latest unreadable ranges of a device, in the units of its caller: blocks or sectors.
class BadRanges {
 public:
  /// A range that a driver has named: it may reach beyond the largest number. There is no end,
  /// which would be a small number then.
  struct Range {
    std::uint32_t medium = 0;
    std::uint64_t begin = 0;
    std::uint64_t length = 0;

    /// Whether the other range begins within this one.
    [[nodiscard]] constexpr bool has_begin_of(const Range& other) const noexcept {
      return other.begin >= begin && other.begin - begin < length;
    }
  };

  /// Makes a range unreadable. The oldest of too many is readable again.
  void add(const Range& range) {
    if (ranges_.size() == max_ranges) ranges_.erase(ranges_.begin());
    ranges_.push_back(range);
  }
  /// Whether a part of the range is unreadable. An empty range has no part and overlaps none.
  [[nodiscard]] bool overlaps(const Range& range) const noexcept {
    return std::ranges::any_of(ranges_, [&](const Range& bad) {
      return bad.medium == range.medium && bad.length != 0 && range.length != 0 &&
             (bad.has_begin_of(range) || range.has_begin_of(bad));
    });
  }
  /// A write makes the ranges readable that it covers.
  void note_write(const Range& range) {
    std::erase_if(ranges_, [&](const Range& bad) {
      return bad.medium == range.medium && range.has_begin_of(bad) &&
             bad.length <= range.length - (bad.begin - range.begin);
    });
  }

 private:
  static constexpr std::size_t max_ranges = 8;

  std::vector<Range> ranges_;  // the oldest first
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
