// SPDX-License-Identifier: BSL-1.0
//
// Which tags of one hardware queue are taken.
//
// A tag's bit hands its request from one life to the next: giving it back is a release, taking it
// an acquire, so that all that was done to the request before comes before all that is done after.
// Words are changed by read-modify-writes only; a plain store would cut the release sequence that
// runs from a tag's give to its take through changes of other tags in the same word.

#ifndef BLKOWN_DETAIL_TAG_BITMAP_HPP
#define BLKOWN_DETAIL_TAG_BITMAP_HPP

#include <bit>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <limits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The tags of one hardware queue (the kernel's sbitmap). Each word has a cache line to itself, and
/// a small depth is spread over several words, so that contexts meet on a line less often.
///
/// All operations are safe in interrupt context and never block; a loop goes round only when
/// another context has changed the word meanwhile.
class alignas(cache_line_bytes) TagBitmap {
 public:
  /// One word on a line of its own. A set bit is a taken tag.
  struct alignas(cache_line_bytes) Line {
    Atomic<Word> taken{0};
  };

  /// Tags of one word that were taken together.
  struct Run {
    std::uint32_t first_tag = 0;  ///< The tag of bit 0.
    Word mask = 0;                ///< Bit i is tag first_tag + i.
  };

  static constexpr unsigned word_bits = std::numeric_limits<Word>::digits;

  /// How many lines a bitmap of this depth needs.
  [[nodiscard]] static constexpr std::uint32_t lines_for(std::uint32_t depth) noexcept {
    return static_cast<std::uint32_t>((std::uint64_t{depth} + (1U << shift_for(depth)) - 1) >>
                                      shift_for(depth));
  }

  /// Precondition: `lines` is lines_for(depth) fresh lines that outlive the bitmap. The tags below
  /// `reserved` are taken by `take` and take_reserved only.
  TagBitmap(Line* lines, std::uint32_t depth, std::uint32_t reserved = 0) noexcept
      : lines_{lines},
        depth_{depth},
        line_count_{lines_for(depth)},
        shift_{shift_for(depth)},
        reserved_{reserved} {}
  TagBitmap(const TagBitmap&) = delete;
  TagBitmap& operator=(const TagBitmap&) = delete;

  [[nodiscard]] std::uint32_t depth() const noexcept { return depth_; }
  /// How many tags are not reserved.
  [[nodiscard]] std::uint32_t common_depth() const noexcept { return depth_ - reserved_; }
  [[nodiscard]] bool is_reserved(Tag tag) const noexcept { return tag.value < reserved_; }
  [[nodiscard]] std::uint32_t line_count() const noexcept { return line_count_; }
  /// The line that holds the tag's bit.
  [[nodiscard]] std::uint32_t line_of(Tag tag) const noexcept { return tag.value >> shift_; }

  /// Takes one certain tag; false if it is taken already.
  /// Synchronization: acquires what its last `give` released.
  /// Precondition: tag < depth.
  [[nodiscard]] bool take(Tag tag) noexcept {
    const Word bit = bit_of(tag);
    // bit 0 -> 1. Partner: give. Acquire: the request's last life comes before this one.
    return (line(tag).taken.fetch_or(bit, std::memory_order_acquire) & bit) == 0;
  }

  /// Takes up to `most` free tags of one word in one read-modify-write, beginning the search at the
  /// word `hint` and leaving there where it found some. An empty mask: none was free.
  /// Synchronization: acquires what each tag's last `give` released.
  [[nodiscard]] Run take_run(std::uint32_t& hint, std::uint32_t most) noexcept {
    std::uint32_t index = hint < line_count_ ? hint : 0;
    for (std::uint32_t tried = 0; tried < line_count_; ++tried) {
      if (const Word taken = take_of(index, usable_mask(index), most)) {
        hint = index;
        return {index << shift_, taken};
      }
      if (++index == line_count_) index = 0;
    }
    return {};
  }

  /// Takes a free one of the reserved tags; false if none is free, each word at its own moment.
  /// Synchronization: as `take`.
  [[nodiscard]] bool take_reserved(Tag& tag) noexcept {
    for (std::uint32_t index = 0; index << shift_ < reserved_; ++index) {
      if (const Word taken = take_of(index, reserved_mask(index), 1)) {
        tag.value = (index << shift_) + static_cast<std::uint32_t>(std::countr_zero(taken));
        return true;
      }
    }
    return false;
  }

  /// Gives a tag back; false if it was free (a violation, which the caller reports).
  /// Synchronization: releases all that was done to the request, for the next `take`.
  /// Precondition: tag < depth.
  [[nodiscard]] bool give(Tag tag) noexcept { return give_run(line_of(tag), bit_of(tag)); }

  /// Gives back several tags of one word in one read-modify-write; false if one of them was free.
  [[nodiscard]] bool give_run(std::uint32_t line_index, Word mask) noexcept {
    // bits 1 -> 0. Partner: take, take_of. Release: what was done to the requests comes before
    // their next life.
    const Word before =
        lines_[line_index].taken.fetch_and(static_cast<Word>(~mask), std::memory_order_release);
    return (before & mask) == mask;
  }

  /// The bit that stands for the tag in its word.
  [[nodiscard]] Word bit_of(Tag tag) const noexcept {
    return Word{1} << (tag.value & ((1U << shift_) - 1));
  }

  /// Whether the tag is taken at this moment; for tables and teardown, it orders nothing.
  [[nodiscard]] bool is_taken(Tag tag) const noexcept {
    // No transition. Relaxed: the answer is old when it arrives.
    return (lines_[line_of(tag)].taken.load(std::memory_order_relaxed) & bit_of(tag)) != 0;
  }

  /// How many tags are taken, stashed ones included; each word is read at a moment of its own.
  [[nodiscard]] std::uint32_t taken_count() const noexcept {
    return count_of([](Word taken, std::uint32_t) { return taken; });
  }
  /// How many tags take_run could find, likewise.
  [[nodiscard]] std::uint32_t free_count() const noexcept {
    return count_of(
        [this](Word taken, std::uint32_t i) { return static_cast<Word>(~taken & usable_mask(i)); });
  }

  /// Someone begins to wait for a tag of this queue: until the matching end_demand, every TagCache
  /// gives back what it holds at its next operation. Whoever waits tries again after this call.
  void begin_demand() noexcept {
    // n -> n+1. Partner: someone_waits. Relaxed: a request to be generous, it hands nothing over;
    // the tags themselves come through give and take.
    waiters_.fetch_add(1, std::memory_order_relaxed);
  }
  void end_demand() noexcept {
    // n -> n-1. Relaxed: as in begin_demand.
    waiters_.fetch_sub(1, std::memory_order_relaxed);
  }
  [[nodiscard]] bool someone_waits() const noexcept {
    // No transition. Relaxed: as in begin_demand; a late answer delays a tag by one operation.
    return waiters_.load(std::memory_order_relaxed) != 0;
  }

  /// A TagCache begins or ends its life; the number says how many came before it.
  std::uint32_t add_cache() noexcept {
    // n -> n+1. Partner: cache_count. Relaxed: a number, no data is handed over.
    return caches_.fetch_add(1, std::memory_order_relaxed);
  }
  void remove_cache() noexcept {
    // n -> n-1. Relaxed: as in add_cache.
    caches_.fetch_sub(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t cache_count() const noexcept {
    // No transition. Relaxed: whoever destroys a TagSet has ordered that after all use of it.
    return caches_.load(std::memory_order_relaxed);
  }

 private:
  /// log2 of the tags per word: a full word, halved until at least four words hold at least four
  /// tags each, as far as the depth allows.
  [[nodiscard]] static constexpr std::uint32_t shift_for(std::uint32_t depth) noexcept {
    auto shift = static_cast<std::uint32_t>(std::bit_width(word_bits) - 1);
    while (shift > 2 && (std::uint64_t{4} << shift) > depth) --shift;
    return shift;
  }

  [[nodiscard]] Line& line(Tag tag) noexcept { return lines_[line_of(tag)]; }

  /// The bits of a word that stand for tags below the depth which are not reserved.
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

  /// Takes up to `most` free tags of one word, of those in `allowed`; 0 if none of them is free.
  [[nodiscard]] Word take_of(std::uint32_t index, Word allowed, std::uint32_t most) noexcept {
    Atomic<Word>& word = lines_[index].taken;
    // No transition. Relaxed: decides which bits to try for; the CAS acquires.
    Word seen = word.load(std::memory_order_relaxed);
    while (const Word wanted = lowest_bits(static_cast<Word>(~seen & allowed), most)) {
      // bits 0 -> 1. Partner: give, give_run. Acquire: the requests' last lives come before these.
      // Relaxed on failure: the loop looks again.
      if (word.compare_exchange_weak(seen, seen | wanted, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return wanted;
      }
    }
    return 0;
  }

  /// Without std::popcount, which calls a library where the machine has no instruction for it.
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

  [[nodiscard]] static constexpr Word lowest_bits(Word free, std::uint32_t most) noexcept {
    Word chosen = 0;
    for (; free != 0 && most != 0; --most) {
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
  // Written only when somebody waits or a context comes or goes, read at every stash operation.
  alignas(cache_line_bytes) Atomic<std::uint32_t> waiters_{0};
  Atomic<std::uint32_t> caches_{0};
  std::uint32_t reserved_;

  static_assert(Atomic<Word>::is_always_lock_free, "tag words must be lock-free");
  static_assert(sizeof(Line) == cache_line_bytes, "no two words share a line");
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
