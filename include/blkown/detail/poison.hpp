// SPDX-License-Identifier: BSL-1.0
//
// The poison of a request's data. A build with AddressSanitizer (BLKOWN_POISON, config.hpp) marks
// the data as unusable while no handle gives access to it, so that the first access through a
// reference that outlived its handle stops with "use-after-poison".
//
// Parties: the holder of an Idle, Owned, Claim or Ended, who may access the data; code that kept a
// reference from data(); contexts that use an object in the data while the request is published: a
// drain of the device reads an IovaList, a context fires a Timer.
//
//   1. A TagSet poisons the data that it has built.
//   2. A new handle unpoisons the data: after the allocation of the tag, or after the
//      compare-exchange that gave the request to the handle.
//   3. The consumption of the handle poisons the data, before the store or the read-modify-write
//      that gives the request away. Data with shared_data stays readable until no reference is
//      left.
//   4. The destructor of the TagSet unpoisons its memory.
//
// Guarantees: the marks follow the ownership. They are written between the acquire that gave the
// request to a holder and the release that takes the request away, and are therefore ordered as the
// data is. An object that others use while the request is published is a PoisonHole: its bytes are
// never poisoned.
//
// In every other build the functions are empty.

#ifndef BLKOWN_DETAIL_POISON_HPP
#define BLKOWN_DETAIL_POISON_HPP

#include <blkown/config.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#if BLKOWN_POISON
#include <sanitizer/asan_interface.h>
#include <blkown/refcounted.hpp>
#endif

namespace blkown {
inline namespace BLKOWN_ABI {

template <class R>
struct RequestTraits;

namespace detail {

/// Whether the traits of a request type name the bytes that only the holder of a handle may use.
template <class R>
concept NamesPoisonedBytes = requires(R& request) {
  { RequestTraits<R>::poisoned_bytes(request) } -> std::same_as<std::span<std::byte>>;
};

/// Whether this build poisons data.
inline constexpr bool is_poisoned = BLKOWN_POISON == 1;

/// AddressSanitizer marks units of this many bytes.
inline constexpr std::uintptr_t poison_unit_bytes = 8;

/// The part of a Request<T>'s data that is poisoned: all of the data, unless T has a
/// specialisation.
template <class T>
struct PoisonedPart {
  /// Ends with the last unit. Only padding of the request lies between the data and that end.
  [[nodiscard]] static std::span<std::byte> of(T& data) noexcept {
    auto* const begin = reinterpret_cast<std::byte*>(&data);
    const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(begin) + sizeof(T);
    return {begin, sizeof(T) + (poison_unit_bytes - end % poison_unit_bytes) % poison_unit_bytes};
  }
};

#if BLKOWN_POISON

class PoisonHole;

/// The holes in the data of one request, in the order of their addresses.
class PoisonHoles {
 private:
  friend class PoisonHole;
  PoisonHole* first_ = nullptr;
};

/// The holes of a request, which its header contains.
template <class R>
[[nodiscard]] PoisonHoles& holes_of(R& request) noexcept;

/// The bytes of an object that other contexts may use while the request is published. A member of
/// that object, which does not move.
/// Synchronization: the context with a handle that gives access to the data uses a hole.
class PoisonHole {
 public:
  PoisonHole() = default;
  PoisonHole(const PoisonHole&) = delete;
  PoisonHole& operator=(const PoisonHole&) = delete;
  ~PoisonHole() {
    if (holes_ != nullptr) remove();
  }

  /// Exempts the bytes [begin, end) from the poison, if they are part of the request's data.
  template <NamesPoisonedBytes R>
  void open(R& request, const void* begin, const void* end) noexcept {
    const std::span<std::byte> data = RequestTraits<R>::poisoned_bytes(request);
    const bool is_inside = address(data.data()) <= address(begin) &&
                           address(end) <= address(data.data() + data.size());
    if (holes_ != nullptr || !is_inside) return;
    holes_ = &holes_of(request);
    begin_ = address(begin);
    end_ = address(end);
    PoisonHole** link = &holes_->first_;
    while (*link != nullptr && (*link)->begin_ < begin_) link = &(*link)->next_;
    next_ = *link;
    *link = this;
  }
  template <class R>
  void open(R&, const void*, const void*) noexcept {}

  /// Poisons the bytes between the holes.
  static void poison_between(const PoisonHoles& holes, std::span<std::byte> data) noexcept {
    // A unit that is partly in a hole stays usable.
    constexpr std::uintptr_t unit = poison_unit_bytes;
    std::uintptr_t from = address(data.data());
    const std::uintptr_t end = address(data.data() + data.size());
    for (const PoisonHole* hole = holes.first_; hole != nullptr; hole = hole->next_) {
      const std::uintptr_t to = hole->begin_ / unit * unit;
      if (from < to) __asan_poison_memory_region(pointer(from), to - from);
      from = (hole->end_ + unit - 1) / unit * unit;
    }
    if (from < end) __asan_poison_memory_region(pointer(from), end - from);
  }

 private:
  [[nodiscard]] static std::uintptr_t address(const void* pointer) noexcept {
    return reinterpret_cast<std::uintptr_t>(pointer);
  }
  [[nodiscard]] static const void* pointer(std::uintptr_t address) noexcept {
    return reinterpret_cast<const void*>(address);
  }

  void remove() noexcept {
    PoisonHole** link = &holes_->first_;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
  }

  PoisonHoles* holes_ = nullptr;  // null: not exempt
  PoisonHole* next_ = nullptr;
  std::uintptr_t begin_ = 0;
  std::uintptr_t end_ = 0;
};

/// Poisons the data of a request to which no handle gives access.
template <class R>
void poison_idle(R& request) noexcept {
  if constexpr (NamesPoisonedBytes<R>) {
    PoisonHole::poison_between(holes_of(request), RequestTraits<R>::poisoned_bytes(request));
  }
}
/// Poisons the data of a request that is published, shared, or ended while references may exist.
template <class R>
void poison_shareable(R& request) noexcept {
  if constexpr (!shared_data<typename RequestTraits<R>::Data>) poison_idle(request);
}
/// Makes the data usable for the holder of a new handle.
template <class R>
void unpoison(R& request) noexcept {
  if constexpr (NamesPoisonedBytes<R>) {
    const std::span<std::byte> data = RequestTraits<R>::poisoned_bytes(request);
    __asan_unpoison_memory_region(data.data(), data.size());
  }
}
/// Makes the memory of requests usable, before the requests are built or destroyed.
inline void unpoison_memory(const std::byte* memory, std::size_t size) noexcept {
  __asan_unpoison_memory_region(memory, size);
}

/// Before a function that may access poisoned bytes: it follows links through references that lie
/// in the data of requests.
#define BLKOWN_DETAIL_IGNORES_POISON __attribute__((no_sanitize("address")))

#else

class PoisonHole {
 public:
  template <class R>
  [[gnu::always_inline]] void open(R&, const void*, const void*) noexcept {}
};

template <class R>
[[gnu::always_inline]] inline void poison_idle(R&) noexcept {}
template <class R>
[[gnu::always_inline]] inline void poison_shareable(R&) noexcept {}
template <class R>
[[gnu::always_inline]] inline void unpoison(R&) noexcept {}
[[gnu::always_inline]] inline void unpoison_memory(const std::byte*, std::size_t) noexcept {}

#define BLKOWN_DETAIL_IGNORES_POISON

#endif

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
