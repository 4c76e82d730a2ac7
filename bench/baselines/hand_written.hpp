// SPDX-License-Identifier: BSL-1.0
//
// Everything of an I/O except the ownership protocol, written by hand for the baselines: slots at
// fixed addresses, tags from a stash over the library's bitmap, cookies encoded and decoded by its
// codec, bounds checks of the values from the device, and a sink for ended I/Os. These parts take
// the same steps as TagSet, TagCache and EndSink, without handles, error values or violations. Two
// baselines built on it differ in the Protocol only.

#ifndef BLKOWN_BENCH_BASELINES_HAND_WRITTEN_HPP
#define BLKOWN_BENCH_BASELINES_HAND_WRITTEN_HPP

#include <bit>
#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <vector>

namespace bench {

using Match = blkown::detail::GenerationMatch<blkown::Word>;
using Value = blkown::detail::RefValue<blkown::Word>;

/// The bitmaps of the queues of a HandWritten.
struct Bitmaps {
  Bitmaps(std::uint32_t queue_count, std::uint32_t tags) {
    const std::uint32_t lines_each = blkown::detail::TagBitmap::lines_for(tags);
    for (std::uint32_t queue = 0; queue != queue_count; ++queue) {
      lines.push_back(std::make_unique<blkown::detail::TagBitmap::Line[]>(lines_each));
      bitmaps.push_back(std::make_unique<blkown::detail::TagBitmap>(lines.back().get(), tags));
    }
  }

  std::vector<std::unique_ptr<blkown::detail::TagBitmap::Line[]>> lines;
  std::vector<std::unique_ptr<blkown::detail::TagBitmap>> bitmaps;
};

/// A stash of tags, as TagCache, written by hand.
class Stash {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  Stash(blkown::detail::TagBitmap& bitmap, std::uint32_t capacity)
      : bitmap_{&bitmap}, capacity_{capacity} {}
  Stash(const Stash&) = delete;
  Stash& operator=(const Stash&) = delete;
  ~Stash() { give_back(size_); }

  [[nodiscard]] bool is_of(const blkown::detail::TagBitmap& bitmap) const {
    return bitmap_ == &bitmap;
  }

  [[nodiscard]] std::uint32_t take() {
    if (size_ == 0 && !refill()) [[unlikely]]
      return none;
    const std::uint32_t tag = tags_[--size_];
    if (bitmap_->has_demand()) [[unlikely]]
      give_back(size_);
    return tag;
  }

  void give(std::uint32_t tag) {
    if (bitmap_->has_demand()) [[unlikely]] {
      give_back(size_);
      must(bitmap_->give(Tag{tag}));
      return;
    }
    if (size_ == capacity_) [[unlikely]]
      give_back((capacity_ + 1) / 2);
    tags_[size_++] = tag;
  }

 private:
  [[gnu::noinline]] bool refill() {
    auto run = bitmap_->take_run(hint_, bitmap_->has_demand() ? 1 : capacity_ / 2);
    while (run.mask != 0) {
      const auto bit = static_cast<std::uint32_t>(std::bit_width(run.mask) - 1);
      tags_[size_++] = run.first_tag + bit;
      run.mask ^= blkown::Word{1} << bit;
    }
    return size_ != 0;
  }

  [[gnu::noinline]] void give_back(std::uint32_t count) {
    // As TagCache: one read-modify-write for the tags of a word.
    for (std::uint32_t i = 0; i != count;) {
      const std::uint32_t line = bitmap_->line_of(Tag{tags_[i]});
      blkown::Word mask = 0;
      for (; i != count && bitmap_->line_of(Tag{tags_[i]}) == line; ++i) {
        mask |= bitmap_->bit_of(Tag{tags_[i]});
      }
      must(bitmap_->give_run(line, mask));
    }
    for (std::uint32_t i = count; i != size_; ++i) tags_[i - count] = tags_[i];
    size_ -= count;
  }

  blkown::detail::TagBitmap* bitmap_;
  std::uint32_t capacity_;
  std::uint32_t hint_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t tags_[TagCache::max_capacity];
};

template <class Protocol>
class HandWritten {
 public:
  struct alignas(blkown::cache_line_bytes) Slot {
    typename Protocol::Words words;
    std::uint32_t tag = 0;
    std::uint16_t queue = 0;
    blkown::Status status{};
    bool requeue = false;
    const HandWritten* set = nullptr;
    Slot* next = nullptr;
    Command data;
  };

  /// Receives a list of slots, linked through `next`.
  using Sink = void (*)(void* context, Slot* first);

  HandWritten(Sink sink, void* context, std::uint32_t queue_count = 1, std::uint32_t tags = depth)
      : queue_count_{queue_count},
        depth_{tags},
        slots_{std::make_unique<Slot[]>(std::size_t{queue_count} * tags)},
        bitmaps_{queue_count, tags},
        sink_{sink},
        context_{context} {
    for (std::uint32_t queue = 0; queue != queue_count; ++queue) {
      for (std::uint32_t tag = 0; tag != tags; ++tag) {
        Slot& named = at(queue, tag);
        named.tag = tag;
        named.queue = static_cast<std::uint16_t>(queue);
        named.set = this;
      }
    }
  }
  HandWritten(const HandWritten&) = delete;
  HandWritten& operator=(const HandWritten&) = delete;

  [[nodiscard]] blkown::detail::TagBitmap& bitmap(std::uint32_t queue) const {
    return *bitmaps_.bitmaps[queue];
  }

  /// Returns null if no tag is free.
  [[nodiscard]] Slot* allocate(std::uint32_t queue, Stash& stash) {
    must(queue < queue_count_ && stash.is_of(bitmap(queue)));
    const std::uint32_t tag = stash.take();
    return tag == Stash::none ? nullptr : &at(queue, tag);
  }

  [[nodiscard]] std::uint64_t cookie(const Slot& slot, blkown::Generation generation) const {
    return codec_.cookie(blkown::QueueIndex{slot.queue}, Tag{slot.tag}, generation).value;
  }

  /// Returns the slot for a value from the device, with the generation that the slot must have;
  /// null if none.
  [[nodiscard]] Slot* locate(std::uint32_t arrival_queue, std::uint64_t value, Match& match) {
    const std::uint64_t tag = codec_.tag(value);
    match = codec_.match(codec_.generation(value));
    if (arrival_queue >= queue_count_ || tag >= depth_ ||
        !codec_.is_of_queue(value, blkown::QueueIndex{arrival_queue})) [[unlikely]] {
      return nullptr;
    }
    return &at(arrival_queue, static_cast<std::uint32_t>(tag));
  }

  /// Passes the slot through the sink, after the last step of the protocol. `set_outcome` comes
  /// before that step.
  static void set_outcome(Slot& slot, blkown::Status status) {
    slot.status = status;
    slot.requeue = false;
  }
  static void deliver(Slot& slot) {
    slot.next = nullptr;
    slot.set->sink_(slot.set->context_, &slot);
  }

  /// Frees the tag into a stash, as Ended::release(cache).
  static void free(const Slot& slot, Stash& stash) {
    must(slot.queue < slot.set->queue_count_ && stash.is_of(slot.set->bitmap(slot.queue)));
    stash.give(slot.tag);
  }

 private:
  [[nodiscard]] Slot& at(std::uint32_t queue, std::uint32_t tag) const {
    return slots_[std::size_t{queue} * depth_ + tag];
  }

  blkown::detail::CookieCodec codec_{blkown::CookieLayout::io_uring()};
  std::uint32_t queue_count_;
  std::uint32_t depth_;
  std::unique_ptr<Slot[]> slots_;
  Bitmaps bitmaps_;
  Sink sink_;
  void* context_;
};

/// One queue with one submitting context, as bench::Queue for the library.
template <class Protocol>
class HandWrittenQueue {
 public:
  using Set = HandWritten<Protocol>;
  using Slot = typename Set::Slot;

  [[nodiscard]] Slot& allocate() {
    Slot* const slot = set_->allocate(0, stash_);
    must(slot != nullptr);
    return *slot;
  }
  [[nodiscard]] Slot& locate(std::uint64_t value, Match& match) {
    Slot* const slot = set_->locate(0, value, match);
    must(slot != nullptr);
    return *slot;
  }
  [[nodiscard]] std::uint64_t cookie(const Slot& slot, blkown::Generation generation) const {
    return set_->cookie(slot, generation);
  }
  static void set_outcome(Slot& slot, blkown::Status status) { Set::set_outcome(slot, status); }
  static void deliver(Slot& slot) { Set::deliver(slot); }
  [[nodiscard]] std::uint64_t sum() const { return sum_; }

 private:
  static void on_end(void* context, Slot* first) {
    auto& queue = *static_cast<HandWrittenQueue*>(context);
    for (Slot* slot = first; slot != nullptr;) {
      Slot* const next = slot->next;
      queue.sum_ += slot->data.number;
      Set::free(*slot, queue.stash_);
      slot = next;
    }
  }

  std::unique_ptr<Set> set_{
      std::make_unique<Set>(&on_end, this)};  // behind one pointer, like a TagSet
  Stash stash_{set_->bitmap(0), depth / 8};
  std::uint64_t sum_ = 0;
};

}  // namespace bench

#endif
