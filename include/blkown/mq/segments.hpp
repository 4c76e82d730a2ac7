// SPDX-License-Identifier: BSL-1.0
//
// A request's share of its bio's memory, cut into the pieces that a device takes.

#ifndef BLKOWN_MQ_SEGMENTS_HPP
#define BLKOWN_MQ_SEGMENTS_HPP

#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <iterator>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A position in an array of segments.
struct SegmentCursor {
  std::uint32_t index = 0;
  std::uint64_t offset_bytes = 0;
  friend constexpr bool operator==(const SegmentCursor&, const SegmentCursor&) = default;
};

/// The memory of one request: a range of Segments, none of them empty, none longer than the device
/// takes, and cut on its boundary where one segment has to be cut (the kernel's req_for_each_bvec).
/// A value that refers to the submitter's array; made, not stored: nothing is allocated.
class RequestSegments {
 public:
  /// No memory.
  constexpr RequestSegments() = default;
  /// `length_bytes` from `begin` on, which the array has.
  constexpr RequestSegments(std::span<const Segment> segments, SegmentCursor begin,
                            std::uint64_t length_bytes, std::uint32_t max_segment_bytes,
                            std::uint64_t virt_boundary_mask) noexcept
      : segments_{segments.data()},
        begin_{begin},
        length_bytes_{length_bytes},
        max_segment_bytes_{max_segment_bytes},
        virt_boundary_mask_{virt_boundary_mask} {}

  class Iterator {
   public:
    using value_type = Segment;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    constexpr Iterator() = default;

    [[nodiscard]] Segment operator*() const noexcept {
      const Segment& whole = range_->segments_[at_.index];
      const Segment rest = whole.part(static_cast<std::size_t>(at_.offset_bytes),
                                      static_cast<std::size_t>(left_bytes_));
      return {rest.data, range_->piece_bytes(rest)};
    }
    Iterator& operator++() noexcept {
      const std::size_t piece_bytes = (**this).length_bytes;
      left_bytes_ -= piece_bytes;
      at_.offset_bytes += piece_bytes;
      skip_used_up();
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    /// How much is left, and nothing else, tells two iterators of one range apart.
    friend constexpr bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.left_bytes_ == b.left_bytes_;
    }

   private:
    friend class RequestSegments;
    Iterator(const RequestSegments& range, std::uint64_t left_bytes) noexcept
        : range_{&range}, at_{range.begin_}, left_bytes_{left_bytes} {
      skip_used_up();
    }
    void skip_used_up() noexcept {
      while (left_bytes_ != 0 && at_.offset_bytes == range_->segments_[at_.index].length_bytes) {
        ++at_.index;
        at_.offset_bytes = 0;
      }
    }

    const RequestSegments* range_ = nullptr;
    SegmentCursor at_;
    std::uint64_t left_bytes_ = 0;
  };

  [[nodiscard]] Iterator begin() const noexcept { return {*this, length_bytes_}; }
  [[nodiscard]] Iterator end() const noexcept { return {*this, 0}; }
  [[nodiscard]] bool empty() const noexcept { return length_bytes_ == 0; }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }
  /// How many there are, for the device's list: counts them.
  [[nodiscard]] std::uint32_t count() const noexcept {
    std::uint32_t pieces = 0;
    for (Iterator it = begin(); it.left_bytes_ != 0; ++it) ++pieces;
    return pieces;
  }

  /// How much of a segment is one piece: what begins off the boundary is cut on it.
  [[nodiscard]] std::size_t piece_bytes(const Segment& segment) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(segment.data);
    const std::size_t most =
        max_segment_bytes_ - static_cast<std::size_t>(address & virt_boundary_mask_);
    return segment.length_bytes < most ? segment.length_bytes : most;
  }

 private:
  const Segment* segments_ = nullptr;
  SegmentCursor begin_;
  std::uint64_t length_bytes_ = 0;
  std::uint32_t max_segment_bytes_ = 0;
  std::uint64_t virt_boundary_mask_ = 0;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
