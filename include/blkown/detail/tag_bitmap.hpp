// SPDX-License-Identifier: BSL-1.0
//
// The bitmap of the taken tags of one hardware queue.
//
// Parties: any number of contexts that take and give tags, directly or through their TagCaches.
//
// A set bit is a taken tag. A context takes a tag by setting its bit with acquire and gives it back
// by clearing the bit with release. The bit thereby passes the request from one I/O to the next:
// all accesses of the earlier I/O come before those of the later. Words are changed by
// read-modify-writes only, because a plain store would end the release sequence that leads from the
// give of a tag to its take through changes of other tags in the same word.
//
// A context that found no free tag announces demand (begin_demand) and tries again. While there is
// demand, each TagCache gives back its tags at its next operation. A tag in the cache of a context
// that makes no further operation stays there; such a context must flush its cache when it goes
// idle.
//
// A tag that is never given back stays taken. The TagSet's destructor finds such a tag.

#ifndef BLKOWN_DETAIL_TAG_BITMAP_HPP
#define BLKOWN_DETAIL_TAG_BITMAP_HPP

#include <atomic>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <limits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The tags of one hardware queue. Each word has its own cache line, and a small depth is spread
/// over several words, so that contexts rarely use the same line at the same time.
/// Context: any, interrupts included. No operation blocks. A loop repeats only if another context
/// has changed the word.
/// Source: the kernel's sbitmap.
class alignas(line_pair_bytes) TagBitmap {
 public:
  /// One word on its own cache line. A set bit is a taken tag.
  struct alignas(cache_line_bytes) Line {
    Atomic<Word> taken{0};
  };

  /// Tags of one word that were taken by one operation.
  struct Run {
    std::uint32_t first_tag = 0;  ///< The tag of bit 0.
    Word mask = 0;                ///< Bit i is tag first_tag + i.
  };

  static constexpr unsigned word_bits = std::numeric_limits<Word>::digits;

  /// The number of lines of a bitmap with this depth.
  [[nodiscard]] static constexpr std::uint32_t lines_for(std::uint32_t depth) noexcept {
    return static_cast<std::uint32_t>((std::uint64_t{depth} + (1U << shift_for(depth)) - 1) >>
                                      shift_for(depth));
  }

  /// A bitmap without taken tags. Only `take` and take_reserved take the tags below `reserved`.
  /// Precondition: `lines` are lines_for(depth) new lines that outlive the bitmap.
  TagBitmap(Line* lines, std::uint32_t depth, std::uint32_t reserved = 0) noexcept
      : lines_{lines},
        depth_{depth},
        line_count_{lines_for(depth)},
        shift_{shift_for(depth)},
        reserved_{reserved} {}
  TagBitmap(const TagBitmap&) = delete;
  TagBitmap& operator=(const TagBitmap&) = delete;

  [[nodiscard]] std::uint32_t depth() const noexcept { return depth_; }
  /// The number of tags that are not reserved.
  [[nodiscard]] std::uint32_t common_depth() const noexcept { return depth_ - reserved_; }
  [[nodiscard]] bool is_reserved(Tag tag) const noexcept { return tag.value < reserved_; }
  [[nodiscard]] std::uint32_t line_count() const noexcept { return line_count_; }
  /// The line that holds the tag's bit.
  [[nodiscard]] std::uint32_t line_of(Tag tag) const noexcept { return tag.value >> shift_; }

  /// Takes this tag. False if the tag is taken already.
  /// Precondition: tag < depth.
  /// Synchronization: acquires what the tag's last `give` released.
  [[nodiscard]] bool take(Tag tag) noexcept {
    const Word bit = bit_of(tag);
    // bit 0 -> 1. Partner: give. Acquire: the request's earlier I/O comes before the new one.
    return (line(tag).taken.fetch_or(bit, std::memory_order_acquire) & bit) == 0;
  }

  /// Takes up to `max` free tags of one word in one read-modify-write. The mask is empty if no tag
  /// is free.
  /// Effects: the search starts at the word `hint`; `hint` becomes the word with the taken tags.
  /// Synchronization: acquires what each tag's last `give` released.
  [[nodiscard]] Run take_run(std::uint32_t& hint, std::uint32_t max) noexcept {
    std::uint32_t index = hint < line_count_ ? hint : 0;
    for (std::uint32_t tried = 0; tried < line_count_; ++tried) {
      if (const Word taken = take_of(index, usable_mask(index), max)) {
        hint = index;
        return {index << shift_, taken};
      }
      if (++index == line_count_) index = 0;
    }
    return {};
  }

  /// Takes a free reserved tag. False if none was free; each word is read at its own moment.
  /// Synchronization: acquires what the tag's last `give` released.
  [[nodiscard]] bool take_reserved(Tag& tag) noexcept {
    for (std::uint32_t index = 0; index << shift_ < reserved_; ++index) {
      if (const Word taken = take_of(index, reserved_mask(index), 1)) {
        tag.value = (index << shift_) + static_cast<std::uint32_t>(std::countr_zero(taken));
        return true;
      }
    }
    return false;
  }

  /// Gives a tag back. False if the tag was free; the caller raises the violation.
  /// Precondition: tag < depth.
  /// Synchronization: releases the accesses to the request for the tag's next `take`.
  [[nodiscard]] bool give(Tag tag) noexcept { return give_run(line_of(tag), bit_of(tag)); }

  /// Gives back several tags of one word in one read-modify-write. False if one of the tags was
  /// free.
  /// Synchronization: as `give`.
  [[nodiscard]] bool give_run(std::uint32_t line_index, Word mask) noexcept {
    // bits 1 -> 0. Partner: take, take_of. Release: the accesses to the requests come before those
    // of their next I/Os.
    const Word before =
        lines_[line_index].taken.fetch_and(static_cast<Word>(~mask), std::memory_order_release);
    return (before & mask) == mask;
  }

  /// Gives back `count` tags that follow one another: one read-modify-write for each word. False if
  /// one of the tags was free.
  /// Precondition: first + count <= depth.
  /// Synchronization: as `give`.
  [[nodiscard]] bool give_neighbours(Tag first, std::uint32_t count) noexcept {
    const std::uint32_t per_word = std::uint32_t{1} << shift_;
    bool were_taken = true;
    while (count != 0) {
      const std::uint32_t at = first.value & (per_word - 1);
      const std::uint32_t here = count < per_word - at ? count : per_word - at;
      if (!give_run(line_of(first), static_cast<Word>(low_bits(here) << at))) were_taken = false;
      first.value += here;
      count -= here;
    }
    return were_taken;
  }

  /// The tag's bit in its word.
  [[nodiscard]] Word bit_of(Tag tag) const noexcept {
    return Word{1} << (tag.value & ((1U << shift_) - 1));
  }

  /// Whether the tag is taken at this moment, for tables and teardown.
  /// Synchronization: none.
  [[nodiscard]] bool is_taken(Tag tag) const noexcept {
    // No transition. Relaxed: the caller reads no data of the request because of the answer.
    return (lines_[line_of(tag)].taken.load(std::memory_order_relaxed) & bit_of(tag)) != 0;
  }

  /// The taken tags of a line at this moment, a bit for each from the line's first tag on.
  /// Synchronization: none.
  [[nodiscard]] Word taken_of_line(std::uint32_t index) const noexcept {
    // No transition. Relaxed: as in is_taken.
    return lines_[index].taken.load(std::memory_order_relaxed);
  }

  /// The number of taken tags, cached ones included. Each word is read at its own moment.
  [[nodiscard]] std::uint32_t taken_count() const noexcept {
    return count_of([](Word taken, std::uint32_t) { return taken; });
  }
  /// The number of tags that take_run could take. Each word is read at its own moment.
  [[nodiscard]] std::uint32_t free_count() const noexcept {
    return count_of(
        [this](Word taken, std::uint32_t i) { return static_cast<Word>(~taken & usable_mask(i)); });
  }

  /// Announces that a context needs a tag. Until the matching end_demand, every TagCache of the
  /// queue gives back its tags at its next operation. The context tries to take a tag again after
  /// this call.
  void begin_demand() noexcept {
    // n -> n+1. Partner: has_demand. Relaxed: the counter publishes no data; the tags themselves
    // pass through give and take.
    demands_.fetch_add(1, std::memory_order_relaxed);
  }
  void end_demand() noexcept {
    // n -> n-1. Partner: has_demand. Relaxed: as in begin_demand.
    demands_.fetch_sub(1, std::memory_order_relaxed);
  }
  [[nodiscard]] bool has_demand() const noexcept {
    // No transition. Partner: begin_demand. Relaxed: as in begin_demand; an old answer delays a tag
    // by one operation of the cache.
    return demands_.load(std::memory_order_relaxed) != 0;
  }

  /// Counts a new TagCache and returns the number of earlier ones.
  std::uint32_t add_cache() noexcept {
    // n -> n+1. Partner: cache_count. Relaxed: the counter publishes no data.
    return caches_.fetch_add(1, std::memory_order_relaxed);
  }
  void remove_cache() noexcept {
    // n -> n-1. Partner: cache_count. Relaxed: as in add_cache.
    caches_.fetch_sub(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t cache_count() const noexcept {
    // No transition. Partner: remove_cache. Relaxed: the destruction of a TagSet is ordered after
    // all its uses by the program.
    return caches_.load(std::memory_order_relaxed);
  }

 private:
  /// log2 of the number of tags per word. The number begins at a word's width, and is halved until
  /// the bitmap has four words or a word has four tags.
  [[nodiscard]] static constexpr std::uint32_t shift_for(std::uint32_t depth) noexcept {
    auto shift = static_cast<std::uint32_t>(std::bit_width(word_bits) - 1);
    while (shift > 2 && (std::uint64_t{4} << shift) > depth) --shift;
    return shift;
  }

  [[nodiscard]] Line& line(Tag tag) noexcept { return lines_[line_of(tag)]; }

  /// The bits of a word for tags below the depth that are not reserved.
  [[nodiscard]] Word usable_mask(std::uint32_t index) const noexcept {
    const std::uint32_t per_word = std::uint32_t{1} << shift_;
    const std::uint32_t left = depth_ - (index << shift_);
    return static_cast<Word>(low_bits(left < per_word ? left : per_word) & ~reserved_mask(index));
  }
  [[nodiscard]] Word reserved_mask(std::uint32_t index) const noexcept {
    const std::uint32_t per_word = std::uint32_t{1} << shift_;
    const std::uint32_t first = index << shift_;
    const std::uint32_t kept = reserved_ > first ? reserved_ - first : 0;
    return low_bits(kept < per_word ? kept : per_word);
  }

  /// Takes up to `max` free tags of one word among those in `allowed`. 0 if none of them is free.
  [[nodiscard]] Word take_of(std::uint32_t index, Word allowed, std::uint32_t max) noexcept {
    Atomic<Word>& word = lines_[index].taken;
    // No transition. Relaxed: decides which bits to try for; the CAS acquires.
    Word seen = word.load(std::memory_order_relaxed);
    while (const Word wanted = lowest_bits(static_cast<Word>(~seen & allowed), max)) {
      // bits 0 -> 1. Partner: give, give_run. Acquire: the requests' earlier I/Os come before the
      // new ones. Relaxed on failure: the loop reads again.
      if (word.compare_exchange_weak(seen, seen | wanted, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return wanted;
      }
    }
    return 0;
  }

  /// The number of bits that `choose(taken, line index)` returns, over all lines. Without
  /// std::popcount, which is a call of libgcc on machines without such an instruction.
  template <class Choose>
  [[nodiscard]] std::uint32_t count_of(Choose choose) const noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < line_count_; ++i) {
      // No transition. Relaxed: as in is_taken.
      Word bits = choose(lines_[i].taken.load(std::memory_order_relaxed), i);
      for (; bits != 0; bits &= bits - 1) ++count;
    }
    return count;
  }
  [[nodiscard]] static constexpr Word low_bits(std::uint32_t count) noexcept {
    return static_cast<Word>(count == word_bits ? ~Word{0} : (Word{1} << count) - 1);
  }

  [[nodiscard]] static constexpr Word lowest_bits(Word free, std::uint32_t max) noexcept {
    if (max >= word_bits) return free;
    // Free tags are often neighbours, because they were given back together.
    const Word run = static_cast<Word>(low_bits(max) * (free & (~free + 1)));
    if ((free & run) == run) [[likely]]
      return run;
    Word chosen = 0;
    for (; free != 0 && max != 0; --max) {
      const Word bit = static_cast<Word>(free & (~free + 1));
      chosen |= bit;
      free ^= bit;
    }
    return chosen;
  }

  Line* lines_;
  std::uint32_t depth_;
  std::uint32_t line_count_;
  std::uint32_t shift_;
  // Read by every operation of a TagCache, written only with demand and by new and destroyed
  // caches.
  alignas(cache_line_bytes) Atomic<std::uint32_t> demands_{0};
  Atomic<std::uint32_t> caches_{0};
  std::uint32_t reserved_;

  static_assert(Atomic<Word>::is_always_lock_free, "tag words must be lock-free");
  static_assert(sizeof(Line) == cache_line_bytes, "no two words share a line");
  static_assert(line_pair_bytes % sizeof(Line) == 0, "lines fill a pair of lines");
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
