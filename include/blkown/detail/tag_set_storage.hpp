// SPDX-License-Identifier: BSL-1.0
//
// The memory of a TagSet: one block with the TagSetState, a bitmap for each queue, the bitmaps'
// lines and the requests, each on its own cache lines. What belongs to two queues is also in
// different pairs of lines, so that contexts with queues of their own do not disturb each other.

#ifndef BLKOWN_DETAIL_TAG_SET_STORAGE_HPP
#define BLKOWN_DETAIL_TAG_SET_STORAGE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/first_generation.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/detail/tag_set_state.hpp>
#include <blkown/ended.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set_config.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <new>
#include <span>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

template <class R>
struct TagSetStorage {
  static constexpr std::size_t alignment_bytes = alignof(R) > line_pair_bytes ? alignof(R)
                                                                              : line_pair_bytes;
  /// The distance of two requests. A smaller type is padded, so that no two requests
  /// share a cache line.
  static constexpr std::size_t slot_bytes =
      (sizeof(R) + cache_line_bytes - 1) / cache_line_bytes * cache_line_bytes;
  /// The distance of two queues, in slots. One slot is added where two queues would otherwise share
  /// a pair of lines.
  [[nodiscard]] static constexpr std::uint64_t slots_per_queue(std::uint32_t depth) noexcept {
    return std::uint64_t{depth} + (slot_bytes % line_pair_bytes != 0 ? depth % 2 : 0);
  }
  /// The distance of two queues' words.
  [[nodiscard]] static constexpr std::uint64_t word_bytes_per_queue(std::uint32_t depth) noexcept {
    return align(std::uint64_t{TagBitmap::lines_for(depth)} * sizeof(TagBitmap::Line));
  }

  /// The offsets of the block's parts in bytes. If `end` does not fit into 64 bits, it is the
  /// largest value, which no allocation satisfies.
  struct Plan {
    std::uint64_t bitmaps = 0;
    std::uint64_t lines = 0;
    std::uint64_t slots = 0;
    std::uint64_t end = 0;

    explicit constexpr Plan(const TagSetConfig& config) noexcept {
      bitmaps = align(sizeof(TagSetState));
      lines = align(bitmaps + std::uint64_t{config.queue_count} * sizeof(TagBitmap));
      slots = align(lines + std::uint64_t{config.queue_count} * word_bytes_per_queue(config.depth));
      constexpr std::uint64_t max = ~std::uint64_t{0};
      const std::uint64_t count = config.queue_count * slots_per_queue(config.depth);
      end = count > (max - slots) / slot_bytes ? max : slots + count * slot_bytes;
    }
  };
  [[nodiscard]] static constexpr std::uint64_t align(std::uint64_t offset) noexcept {
    return (offset + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
  }

  [[nodiscard]] static constexpr std::size_t bytes(const TagSetConfig& config) noexcept {
    constexpr std::uint64_t max = ~std::size_t{0};
    const std::uint64_t needed = Plan{config}.end;
    return static_cast<std::size_t>(needed < max ? needed : max);
  }

  /// The builder for a TagSet::create without the parameter `build`: value-initialised data.
  [[nodiscard]] static auto default_data(QueueIndex, Tag) noexcept {
    return typename Built<R>::Type{};
  }

  template <class Build>
  [[nodiscard]] static std::expected<TagSetState*, TagSetError> allocate(const TagSetConfig& config,
                                                                         EndSink<R> sink,
                                                                         Build& build) noexcept {
    if (const auto error = check_config(config)) return std::unexpected(*error);
    const std::uint64_t needed = Plan{config}.end;
    const TagSetError no_memory{TagSetReason::out_of_memory, 0, needed};
    if (needed > PTRDIFF_MAX) return std::unexpected(no_memory);
    const auto size = static_cast<std::size_t>(needed);
    void* memory = ::operator new(size, std::align_val_t{alignment_bytes}, std::nothrow);
    if (memory == nullptr) return std::unexpected(no_memory);
    auto made = build_in(std::span{static_cast<std::byte*>(memory), size}, config, sink, build);
    if (made.has_value()) {
      (*made)->free_storage = &free_memory;
    } else {
      free_memory(memory);
    }
    return made;
  }

  template <class Build>
  [[nodiscard]] static std::expected<TagSetState*, TagSetError> build_in(
      std::span<std::byte> storage, const TagSetConfig& config, EndSink<R> sink,
      Build& build) noexcept {
    if (const auto error = check_config(config)) return std::unexpected(*error);
    if (sink.delivery_ == nullptr) return std::unexpected(TagSetError{TagSetReason::no_end_sink});
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    if (address % alignment_bytes != 0) {
      return std::unexpected(
          TagSetError{TagSetReason::storage_misaligned, address, alignment_bytes});
    }
    const Plan plan{config};
    if (storage.size() < plan.end) {
      return std::unexpected(
          TagSetError{TagSetReason::storage_too_small, storage.size(), plan.end});
    }
    return build_all(storage.data(), plan, config, sink, build);
  }

  [[nodiscard]] static R& slot(const TagSetState& state, QueueIndex queue, Tag tag) noexcept {
    return slot(state.slots, queue.value * state.slots_per_queue + tag.value);
  }
  [[nodiscard]] static R& slot(std::byte* slots, std::size_t index) noexcept {
    std::byte* at = slots + index * slot_bytes;
#ifdef __clang__
    // Clang would keep the index and address each access by slots and index, which made a cycle
    // 13 % slower on an Intel processor. It cannot see through this.
    asm("" : "+r"(at));
#endif
    R* const request = std::launder(reinterpret_cast<R*>(at));
    // A handle need not test its pointer for null, nor clear the bits beside it. Behind launder,
    // through which GCC sees neither.
    void* const place = __builtin_assume_aligned(request, alignof(R));
    if (place == nullptr) __builtin_unreachable();
    return *static_cast<R*>(place);
  }

  /// Destroys the requests and frees the storage.
  /// Precondition: no request is in use.
  static void destroy(TagSetState& state) noexcept {
    unpoison_memory(state.slots, state.queue_count * state.slots_per_queue * slot_bytes);
    for (QueueIndex queue; queue.value != state.queue_count; ++queue.value) {
      for (Tag tag; tag.value != state.depth; ++tag.value) slot(state, queue, tag).~R();
    }
    // The bitmaps, their lines and the state have trivial destructors.
    const auto free_storage = state.free_storage;
    if (free_storage != nullptr) free_storage(&state);
  }

 private:
  template <class S>
  struct Built {
    using Type = S;
  };
  template <class T>
  struct Built<Request<T>> {
    using Type = T;
  };

  static void free_memory(void* memory) noexcept {
    ::operator delete(memory, std::align_val_t{alignment_bytes});
  }

  template <class Build>
  [[nodiscard]] static TagSetState* build_all(std::byte* base, const Plan& plan,
                                              const TagSetConfig& config, EndSink<R> sink,
                                              Build& build) noexcept {
    const auto at = [base](std::uint64_t offset) {
      return base + static_cast<std::size_t>(offset);
    };
    unpoison_memory(base, static_cast<std::size_t>(plan.end));  // left by an earlier TagSet
    auto* const state = ::new (static_cast<void*>(base))
        TagSetState{.layout = config.layout,
                    .codec = CookieCodec{config.layout},
                    .queue_count = config.queue_count,
                    .depth = config.depth,
                    .slots_per_queue = static_cast<std::size_t>(slots_per_queue(config.depth)),
                    .slots = at(plan.slots),
                    .bitmaps = reinterpret_cast<TagBitmap*>(at(plan.bitmaps)),
                    .delivery = sink.delivery_,
                    .end_function = reinterpret_cast<TagSetState::AnyFunction>(sink.function_),
                    .end_context = sink.context_};

    const Generation first =
        config.first_generation ? *config.first_generation : unpredictable_generation(base);
    const std::uint32_t lines_each = TagBitmap::lines_for(config.depth);
    for (QueueIndex queue; queue.value != config.queue_count; ++queue.value) {
      std::byte* const lines =
          at(plan.lines + std::uint64_t{queue.value} * word_bytes_per_queue(config.depth));
      for (std::uint32_t i = 0; i != lines_each; ++i) {
        ::new (static_cast<void*>(lines + i * sizeof(TagBitmap::Line))) TagBitmap::Line{};
      }
      ::new (static_cast<void*>(&state->bitmaps[queue.value]))
          TagBitmap{std::launder(reinterpret_cast<TagBitmap::Line*>(lines)), config.depth,
                    config.reserved_depth};
      for (Tag tag; tag.value != config.depth; ++tag.value) {
        const std::size_t index = queue.value * state->slots_per_queue + tag.value;
        void* const place = state->slots + index * slot_bytes;
        R& request = *construct(place, build, queue, tag);
        HeaderAccess::identify(header_of(request), *state, queue, tag,
                               first_generation_of(first, queue, tag));
        poison_idle(request);
      }
    }
    return state;
  }

  template <class Build>
  [[nodiscard]] static R* construct(void* place, Build& build, QueueIndex queue, Tag tag) noexcept {
    if constexpr (std::is_same_v<typename Built<R>::Type, R>) {
      return ::new (place) R(build(queue, tag));
    } else {
      return ::new (place) R(build, queue, tag);
    }
  }

  static_assert(std::is_trivially_destructible_v<TagSetState>);
  static_assert(slot_bytes % cache_line_bytes == 0, "two requests never share a line");
  static_assert(slot_bytes % alignof(R) == 0);
  static_assert(alignment_bytes % line_pair_bytes == 0 && sizeof(TagBitmap) % line_pair_bytes == 0,
                "two queues never share a pair of lines");
};

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
