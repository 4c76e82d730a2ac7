// SPDX-License-Identifier: BSL-1.0
//
// The tracking build (BLKOWN_TRACKING): each live ARef remembers where it was taken, so that a
// request that cannot end names who holds it. In a plain build nothing here takes room or time.

#ifndef BLKOWN_TRACKING_HPP
#define BLKOWN_TRACKING_HPP

#include <blkown/config.hpp>
#include <blkown/place.hpp>
#include <cstddef>
#include <cstdint>

#if BLKOWN_TRACKING
#include <blkown/detail/spin_lock.hpp>
#else
#include <type_traits>
#endif

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

/// Whether ARefs remember where they were taken.
inline constexpr bool is_tracking = BLKOWN_TRACKING != 0;

#if BLKOWN_TRACKING

/// The Place that a reference remembers, a defaulted last parameter of what makes one.
using TrackedPlace = Place;

namespace detail {

/// One reference's entry in the list of holders. The reference's own thread lists it, moves it and
/// takes it out; others only read it, under the list's lock. The entry lies in the reference, so
/// there are as many as there are references, and nothing is allocated.
class Holder {
 public:
  Holder() = default;
  /// Stands in the list where `other` stood, with its place: moving a reference takes none.
  Holder(Holder&& other) noexcept { replace(other); }
  Holder& operator=(Holder&&) = delete;
  ~Holder() { let_go(); }

  /// Lists this one as the object's youngest holder. Precondition: it is not listed.
  void hold(const void* object, TrackedPlace where) noexcept;
  /// Takes it out, if it is listed.
  void let_go() noexcept;
  void swap(Holder& other) noexcept {
    Holder moved{static_cast<Holder&&>(*this)};
    replace(other);
    other.replace(moved);
  }

 private:
  friend class HolderList;

  /// Precondition: this one is not listed.
  void replace(Holder& other) noexcept;

  const void* object_ = nullptr;  // null: not listed
  Place place_;
  Holder* previous_ = nullptr;
  Holder* next_ = nullptr;
};

/// The holders of all objects whose addresses come out alike, oldest first.
class alignas(cache_line_bytes) HolderList {
 public:
  [[nodiscard]] static HolderList& of(const void* object) noexcept;

  void push_back(Holder& holder, const void* object, TrackedPlace where) noexcept {
    const SpinGuard guard{lock_};
    holder.object_ = object;
    holder.place_ = where;
    holder.previous_ = last_;
    holder.next_ = nullptr;
    link_to(&holder, holder);
  }
  void remove(Holder& holder) noexcept {
    const SpinGuard guard{lock_};
    (holder.previous_ == nullptr ? first_ : holder.previous_->next_) = holder.next_;
    (holder.next_ == nullptr ? last_ : holder.next_->previous_) = holder.previous_;
    holder.object_ = nullptr;
  }
  void replace(Holder& from, Holder& to) noexcept {
    const SpinGuard guard{lock_};
    to.object_ = from.object_;
    to.place_ = from.place_;
    to.previous_ = from.previous_;
    to.next_ = from.next_;
    link_to(&to, to);
    from.object_ = nullptr;
  }

  /// Copies the places of the object's holders into `places`, but for the first `skipped`.
  template <std::size_t room>
  [[nodiscard]] std::size_t read(const void* object, std::size_t skipped,
                                 Place (&places)[room]) noexcept {
    const SpinGuard guard{lock_};
    std::size_t count = 0;
    for (const Holder* holder = first_; holder != nullptr && count != room;
         holder = holder->next_) {
      if (holder->object_ != object) continue;
      if (skipped != 0) {
        --skipped;
      } else {
        places[count++] = holder->place_;
      }
    }
    return count;
  }

 private:
  /// Makes the neighbours of `entry`, or the list's ends, point to it.
  void link_to(Holder* pointer, const Holder& entry) noexcept {
    (entry.previous_ == nullptr ? first_ : entry.previous_->next_) = pointer;
    (entry.next_ == nullptr ? last_ : entry.next_->previous_) = pointer;
  }

  SpinLock lock_;
  Holder* first_ = nullptr;
  Holder* last_ = nullptr;
};

// Contexts that work on different requests seldom wait for one another.
inline constexpr unsigned holder_list_bits = 6;
inline HolderList holder_lists[std::size_t{1} << holder_list_bits];

inline HolderList& HolderList::of(const void* object) noexcept {
  // Requests lie at regular distances, which the multiplication takes out.
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(object));
  return holder_lists[address * 0x9E37'79B9'7F4A'7C15U >> (64 - holder_list_bits)];
}

inline void Holder::hold(const void* object, TrackedPlace where) noexcept {
  HolderList::of(object).push_back(*this, object, where);
}
inline void Holder::let_go() noexcept {
  if (object_ != nullptr) HolderList::of(object_).remove(*this);
}
inline void Holder::replace(Holder& other) noexcept {
  if (other.object_ != nullptr) HolderList::of(other.object_).replace(other, *this);
}

/// Calls `visit(const Place&)` for each holder of the object, without the list's lock.
template <class Visit>
void visit_holders_of(const void* object, Visit& visit) {
  Place places[16];
  std::size_t visited = 0;
  std::size_t count;
  do {
    count = HolderList::of(object).read(object, visited, places);
    for (std::size_t i = 0; i != count; ++i) visit(static_cast<const Place&>(places[i]));
    visited += count;
  } while (count == sizeof places / sizeof *places);
}

}  // namespace detail

#else

/// Made of a Place and nothing of it: not even a register is spent to pass it on.
struct TrackedPlace {
  constexpr TrackedPlace(const Place&) noexcept {}
};

namespace detail {

/// Nothing, in a plain build.
class Holder {
 public:
  Holder() = default;
  Holder(Holder&&) noexcept {}
  Holder& operator=(Holder&&) = delete;

  void hold(const void*, TrackedPlace) noexcept {}
  void let_go() noexcept {}
};
static_assert(std::is_empty_v<Holder>);

template <class Visit>
void visit_holders_of(const void*, Visit&) {}

}  // namespace detail

#endif

/// Calls `visit(const Place&)` for each live ARef of the request, and each DMA mapping that pins
/// it, the oldest first, with the place where it was taken: where it was looked up, pinned, shared,
/// copied, or taken over from C by from_raw. A move keeps the place. What into_raw gave to C is not
/// listed until it comes back.
/// In a plain build it visits nothing, so a call of it can stay where it is.
///
/// `visit` may do anything, with references too. The first sixteen places are of one moment, and so
/// is each sixteen after them; where others take or drop references between those moments, one may
/// be visited twice or not at all. Any context but an interrupt.
template <class Visit>
void visit_holders(const RequestHeader& request, Visit&& visit) {
  detail::visit_holders_of(&request, visit);
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
