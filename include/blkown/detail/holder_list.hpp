// SPDX-License-Identifier: BSL-1.0
//
// The lists behind visit_holders (tracking.hpp). In a tracking build every handle and every mapping
// contains a Holder, which is an entry in a list. A Holder of a plain build is empty.
//
// An object's holders are in the list that the hash of the object's key selects; a list may contain
// the holders of several objects. The thread that owns a reference inserts, moves and removes its
// entry. Every access to a list takes the list's spin lock. Nothing is allocated, because each
// entry is part of its reference.

#ifndef BLKOWN_DETAIL_HOLDER_LIST_HPP
#define BLKOWN_DETAIL_HOLDER_LIST_HPP

#include <blkown/config.hpp>

#if BLKOWN_TRACKING
#include <blkown/detail/poison.hpp>
#include <blkown/detail/spin_lock.hpp>
#include <blkown/place.hpp>
#include <cstddef>
#include <cstdint>
#else
#include <type_traits>
#endif

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

#if BLKOWN_TRACKING

/// The entry of one reference. `key` is the address that identifies the object.
class Holder {
 public:
  Holder() = default;
  /// Takes the position and the place of `other`.
  Holder(Holder&& other) noexcept { replace(other); }
  Holder& operator=(Holder&&) = delete;
  ~Holder() { let_go(); }

  /// Adds this entry as the youngest holder of the object.
  /// Precondition: this entry is in no list.
  void hold(const void* key, const Place& where) noexcept;
  /// Removes this entry if it is in a list.
  void let_go() noexcept;
  void swap(Holder& other) noexcept {
    Holder moved{static_cast<Holder&&>(*this)};
    replace(other);
    other.replace(moved);
  }

 private:
  friend class HolderList;

  /// Precondition: this entry is in no list.
  void replace(Holder& other) noexcept;

  const void* key_ = nullptr;  // null: in no list
  Place place_;
  Holder* previous_ = nullptr;
  Holder* next_ = nullptr;
};

/// The holders of all objects whose keys have the same hash, oldest first. An entry may lie in the
/// data of a request that is poisoned, so the functions that follow the links ignore the poison.
class alignas(cache_line_bytes) HolderList {
 public:
  [[nodiscard]] static HolderList& of(const void* key) noexcept;

  BLKOWN_DETAIL_IGNORES_POISON
  void push_back(Holder& holder, const void* key, const Place& where) noexcept {
    const SpinGuard guard{lock_};
    holder.key_ = key;
    holder.place_ = where;
    holder.previous_ = last_;
    holder.next_ = nullptr;
    link_to(&holder, holder);
  }
  BLKOWN_DETAIL_IGNORES_POISON
  void remove(Holder& holder) noexcept {
    const SpinGuard guard{lock_};
    (holder.previous_ == nullptr ? first_ : holder.previous_->next_) = holder.next_;
    (holder.next_ == nullptr ? last_ : holder.next_->previous_) = holder.previous_;
    holder.key_ = nullptr;
  }
  BLKOWN_DETAIL_IGNORES_POISON
  void replace(Holder& from, Holder& to) noexcept {
    const SpinGuard guard{lock_};
    to.key_ = from.key_;
    to.place_ = from.place_;
    to.previous_ = from.previous_;
    to.next_ = from.next_;
    link_to(&to, to);
    from.key_ = nullptr;
  }

  /// Copies the places of the object's holders into `places`, except for the first `skipped`.
  template <std::size_t room>
  [[nodiscard]] BLKOWN_DETAIL_IGNORES_POISON std::size_t read(const void* key, std::size_t skipped,
                                                              Place (&places)[room]) noexcept {
    const SpinGuard guard{lock_};
    std::size_t count = 0;
    for (const Holder* holder = first_; holder != nullptr && count != room;
         holder = holder->next_) {
      if (holder->key_ != key) continue;
      if (skipped != 0) {
        --skipped;
      } else {
        places[count++] = holder->place_;
      }
    }
    return count;
  }

 private:
  /// Makes the neighbours of `entry`, or the ends of the list, point to `pointer`.
  BLKOWN_DETAIL_IGNORES_POISON
  void link_to(Holder* pointer, const Holder& entry) noexcept {
    (entry.previous_ == nullptr ? first_ : entry.previous_->next_) = pointer;
    (entry.next_ == nullptr ? last_ : entry.next_->previous_) = pointer;
  }

  SpinLock lock_;
  Holder* first_ = nullptr;
  Holder* last_ = nullptr;
};

// 64 lists, so that contexts that work on different requests rarely wait for the same lock.
inline constexpr unsigned holder_list_bits = 6;
inline HolderList holder_lists[std::size_t{1} << holder_list_bits];

inline HolderList& HolderList::of(const void* key) noexcept {
  // Requests lie at regular distances. The multiplication spreads requests over the lists.
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(key));
  return holder_lists[address * 0x9E37'79B9'7F4A'7C15U >> (64 - holder_list_bits)];
}

inline void Holder::hold(const void* key, const Place& where) noexcept {
  HolderList::of(key).push_back(*this, key, where);
}
inline void Holder::let_go() noexcept {
  if (key_ != nullptr) HolderList::of(key_).remove(*this);
}
inline void Holder::replace(Holder& other) noexcept {
  if (other.key_ != nullptr) HolderList::of(other.key_).replace(other, *this);
}

/// Calls `visit(const Place&)` for each holder of the object. The list is not locked during a call.
template <class Visit>
void visit_holders_of(const void* key, Visit& visit) {
  Place places[16];
  std::size_t visited = 0;
  std::size_t count;
  do {
    count = HolderList::of(key).read(key, visited, places);
    for (std::size_t i = 0; i != count; ++i) visit(static_cast<const Place&>(places[i]));
    visited += count;
  } while (count == sizeof places / sizeof *places);
}

#else

/// Takes no room and does nothing.
class Holder {
 public:
  Holder() = default;
  Holder(Holder&&) noexcept {}
  Holder& operator=(Holder&&) = delete;

  template <class AnyPlace>
  void hold(const void*, AnyPlace) noexcept {}
  void let_go() noexcept {}
  void swap(Holder&) noexcept {}
};
static_assert(std::is_empty_v<Holder>);

template <class Visit>
void visit_holders_of(const void*, Visit&) {}

#endif

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
