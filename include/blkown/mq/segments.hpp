// SPDX-License-Identifier: BSL-1.0
//
// A request's part of its bio's memory, as pieces that obey the device's limits.

#ifndef BLKOWN_MQ_SEGMENTS_HPP
#define BLKOWN_MQ_SEGMENTS_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A position in an array of segments.
struct SegmentCursor {
  std::uint32_t index = 0;         ///< The segment's index in the array.
  std::uint64_t offset_bytes = 0;  ///< The offset within that segment.
  friend constexpr bool operator==(const SegmentCursor&, const SegmentCursor&) = default;
};

/// The memory of one request, as a range of pieces of type Segment.
///
/// No piece is empty or longer than QueueLimits::max_segment_bytes. A longer segment is cut into
/// pieces that end on the boundary of QueueLimits::virt_boundary_mask. The pieces are computed
/// during iteration. The object refers to the submitter's array and allocates nothing.
/// Source: the kernel's req_for_each_bvec.
class RequestSegments {
 public:
  /// Where segments are cut into pieces. As small as two limits can be, because each request has
  /// it.
  class Cut {
   public:
    /// A segment is cut only where a piece of 4 GiB - 1 ends.
    constexpr Cut() = default;
    /// Precondition: virt_boundary_mask + 1 is a power of two, or 0.
    constexpr Cut(std::uint32_t max_segment_bytes, std::uint64_t virt_boundary_mask) noexcept
        : max_segment_bytes_{max_segment_bytes},
          boundary_bits_{static_cast<std::uint8_t>(std::bit_width(virt_boundary_mask))} {}

   private:
    friend class RequestSegments;
    std::uint32_t max_segment_bytes_ = ~std::uint32_t{0};
    std::uint8_t boundary_bits_ = 0;
  };
  /// All of a range but its length: a request has that already.
  class Begin {
   public:
    /// The begin of an empty range.
    constexpr Begin() = default;
    /// The range of `segments` that begins at `begin`.
    constexpr Begin(std::span<const Segment> segments, SegmentCursor begin, Cut cut) noexcept
        : segments_{segments.data() + begin.index},
          offset_bytes_{begin.offset_bytes},
          max_segment_bytes_{cut.max_segment_bytes_},
          boundary_bits_{cut.boundary_bits_} {}
    /// The same begin. Reads the members only, not the bytes behind the last one: they belong to
    /// others, who may write them while the holder of a pin copies the range.
    constexpr Begin(const Begin& other) noexcept
        : segments_{other.segments_},
          offset_bytes_{other.offset_bytes_},
          max_segment_bytes_{other.max_segment_bytes_},
          boundary_bits_{other.boundary_bits_} {}
    /// Takes over a begin, likewise.
    constexpr Begin& operator=(const Begin& other) noexcept {
      segments_ = other.segments_;
      offset_bytes_ = other.offset_bytes_;
      max_segment_bytes_ = other.max_segment_bytes_;
      boundary_bits_ = other.boundary_bits_;
      return *this;
    }

   private:
    friend class RequestSegments;
    const Segment* segments_ = nullptr;  // the one that the range begins in
    std::uint64_t offset_bytes_ = 0;     // within that segment
    std::uint32_t max_segment_bytes_ = 0;
    std::uint8_t boundary_bits_ = 0;  // the last member: others may use the bytes behind it
  };

  /// An empty range.
  constexpr RequestSegments() = default;
  /// The `length_bytes` bytes from `begin` on.
  /// Precondition: the segments hold that many bytes from there on, and outlive this object.
  constexpr RequestSegments(const Begin& begin, std::uint64_t length_bytes) noexcept
      : begin_{begin}, length_bytes_{length_bytes} {}
  /// The `length_bytes` bytes of `segments` that begin at `begin`.
  /// Precondition: `segments` holds that many bytes from `begin` on, and outlives this object.
  constexpr RequestSegments(std::span<const Segment> segments, SegmentCursor begin,
                            std::uint64_t length_bytes, std::uint32_t max_segment_bytes,
                            std::uint64_t virt_boundary_mask) noexcept
      : RequestSegments{segments, begin, length_bytes, Cut{max_segment_bytes, virt_boundary_mask}} {
  }
  /// The same with limits that were prepared before.
  constexpr RequestSegments(std::span<const Segment> segments, SegmentCursor begin,
                            std::uint64_t length_bytes, Cut cut) noexcept
      : RequestSegments{Begin{segments, begin, cut}, length_bytes} {}

  /// An input iterator over the pieces.
  class Iterator {
   public:
    using value_type = Segment;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    constexpr Iterator() = default;

    /// The piece of memory at this place, cut to the request and to one element of a list.
    [[nodiscard]] Segment operator*() const noexcept {
      const Segment& whole = range_->begin_.segments_[at_.index];
      const Segment rest = whole.part(static_cast<std::size_t>(at_.offset_bytes),
                                      static_cast<std::size_t>(left_bytes_));
      return {rest.data, range_->piece_bytes(rest)};
    }
    /// The next piece.
    Iterator& operator++() noexcept {
      const std::size_t piece_bytes = (**this).length_bytes;
      left_bytes_ -= piece_bytes;
      at_.offset_bytes += piece_bytes;
      skip_used_up();
      return *this;
    }
    /// The next piece. Returns the iterator before.
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    /// Compares the bytes that are left, which identify a position in a range.
    /// Precondition: both iterators belong to one range.
    friend constexpr bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.left_bytes_ == b.left_bytes_;
    }

   private:
    friend class RequestSegments;
    Iterator(const RequestSegments& range, std::uint64_t left_bytes) noexcept
        : range_{&range},
          at_{.index = 0, .offset_bytes = range.begin_.offset_bytes_},
          left_bytes_{left_bytes} {
      skip_used_up();
    }
    void skip_used_up() noexcept {
      while (left_bytes_ != 0 &&
             at_.offset_bytes == range_->begin_.segments_[at_.index].length_bytes) {
        ++at_.index;
        at_.offset_bytes = 0;
      }
    }

    const RequestSegments* range_ = nullptr;
    SegmentCursor at_;  // from the range's first segment on
    std::uint64_t left_bytes_ = 0;
  };

  /// The first piece.
  [[nodiscard]] Iterator begin() const noexcept { return {*this, length_bytes_}; }
  /// The position behind the last piece.
  [[nodiscard]] Iterator end() const noexcept { return {*this, 0}; }
  /// Whether the request has no memory.
  [[nodiscard]] bool empty() const noexcept { return length_bytes_ == 0; }
  /// The sum of all pieces.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }
  /// The number of pieces, for the device's scatter list. Takes one step for each piece.
  [[nodiscard]] std::uint32_t count() const noexcept {
    std::uint32_t pieces = 0;
    for (Iterator it = begin(); it.left_bytes_ != 0; ++it) ++pieces;
    return pieces;
  }

  /// The length of the first piece of `segment`. A piece that is cut off ends on the boundary, even
  /// if the segment begins off it.
  [[nodiscard]] std::size_t piece_bytes(const Segment& segment) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(segment.data);
    const std::uint64_t boundary_mask =
        begin_.boundary_bits_ == 0 ? 0 : ~std::uint64_t{0} >> (64 - begin_.boundary_bits_);
    const std::size_t max_bytes =
        begin_.max_segment_bytes_ - static_cast<std::size_t>(address & boundary_mask);
    return segment.length_bytes < max_bytes ? segment.length_bytes : max_bytes;
  }

 private:
  Begin begin_;
  std::uint64_t length_bytes_ = 0;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
