// SPDX-License-Identifier: BSL-1.0
//
// Coverage: the parts of a read for which the chunks of a structured reply have brought data.

#ifndef EXAMPLES_NBD_CLIENT_COVERAGE_HPP
#define EXAMPLES_NBD_CLIENT_COVERAGE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nbd_client {

/// A set of bytes of one request, as ranges that neither overlap nor touch. Chunks may come in any
/// order. Chunks in the order of their offsets are one range.
class Coverage {
 public:
  /// Forgets all ranges, and keeps their memory.
  void clear() noexcept { ranges_.clear(); }
  /// Whether the bytes [0, length) are covered.
  [[nodiscard]] bool is_whole(std::uint64_t length_bytes) const noexcept {
    return ranges_.size() == 1 && ranges_[0].begin == 0 && ranges_[0].end == length_bytes;
  }

  /// Adds the bytes [begin, end). Returns false if some are covered already, or if the ranges would
  /// be too many to be kept: a server that sends a reply in so many pieces out of order is refused.
  /// Precondition: begin < end.
  [[nodiscard]] bool add(std::uint64_t begin, std::uint64_t end) {
    const auto next = std::upper_bound(
        ranges_.begin(), ranges_.end(), begin,
        [](std::uint64_t position, const Range& range) { return position < range.begin; });
    const bool has_previous = next != ranges_.begin();
    if (has_previous && (next - 1)->end > begin) return false;
    if (next != ranges_.end() && next->begin < end) return false;
    const bool joins_previous = has_previous && (next - 1)->end == begin;
    const bool joins_next = next != ranges_.end() && next->begin == end;
    if (joins_previous && joins_next) {
      (next - 1)->end = next->end;
      ranges_.erase(next);
    } else if (joins_previous) {
      (next - 1)->end = end;
    } else if (joins_next) {
      next->begin = begin;
    } else {
      if (ranges_.size() == max_ranges) return false;
      ranges_.insert(next, Range{begin, end});
    }
    return true;
  }

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };
  static constexpr std::size_t max_ranges = 1024;

  std::vector<Range> ranges_;  // sorted
};

}  // namespace nbd_client

#endif
