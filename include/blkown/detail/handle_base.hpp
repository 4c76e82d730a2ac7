// SPDX-License-Identifier: BSL-1.0
//
// The common part of the handles Idle, Owned, Claim, ARef and Ended: a pointer to the object, which
// is null after the handle was moved from or consumed.

#ifndef BLKOWN_DETAIL_HANDLE_BASE_HPP
#define BLKOWN_DETAIL_HANDLE_BASE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/holder_list.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/fwd.hpp>
#include <blkown/place.hpp>
#include <blkown/tracking.hpp>
#include <cstdint>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The source of a Claim, which determines what the holder may assume about the device. A set of
/// bits, kept beside the Claim's pointer.
enum class ClaimOrigin : std::uint8_t {
  published = 1,  ///< Bit: the I/O was published, so the Claim may be released.
  completed = 2,  ///< Bit: the device has completed or refused the I/O and no longer uses it.

  owner = 0,                           ///< From an Owned.
  bystander = published,               ///< From a pin or a tag alone.
  completion = published | completed,  ///< From the I/O's completion or the device's refusal.
};

/// Whether `origin` has the bit `part`.
[[nodiscard]] constexpr bool includes(ClaimOrigin origin, ClaimOrigin part) noexcept {
  return (static_cast<unsigned>(origin) & static_cast<unsigned>(part)) != 0;
}

/// A Claim's pointer with its ClaimOrigin in the low bits, which are 0 in every pointer to a
/// request. A Claim is thereby one pointer wide, and the word and the header need no room for the
/// origin.
template <class R>
class ClaimPointer {
 public:
  ClaimPointer() = default;
  ClaimPointer(R& request, ClaimOrigin origin) noexcept
      : bits_{reinterpret_cast<std::uintptr_t>(&request) | static_cast<std::uintptr_t>(origin)} {
    static_assert(alignof(R) > origin_mask);
  }
  explicit ClaimPointer(void* raw) noexcept : bits_{reinterpret_cast<std::uintptr_t>(raw)} {}

  explicit operator R*() const noexcept { return reinterpret_cast<R*>(bits_ & ~origin_mask); }
  [[nodiscard]] ClaimOrigin origin() const noexcept {
    return static_cast<ClaimOrigin>(bits_ & origin_mask);
  }
  [[nodiscard]] void* raw() const noexcept { return reinterpret_cast<void*>(bits_); }

 private:
  static constexpr auto origin_mask = static_cast<std::uintptr_t>(ClaimOrigin::completion);

  std::uintptr_t bits_ = 0;
};

/// The base of the handles. The attributes of Clang's typestate are on the handles' own members.
template <class R, class Pointer = R*>
class HandleBase {
 protected:
  explicit HandleBase(Pointer pointer) noexcept : pointer_{pointer} {}
  HandleBase(HandleBase&& other) noexcept
      : pointer_{std::exchange(other.pointer_, Pointer{})}, holder_{std::move(other.holder_)} {}
  HandleBase& operator=(HandleBase&&) = delete;
  ~HandleBase() = default;

  void swap(HandleBase& other) noexcept {
    std::swap(pointer_, other.pointer_);
    holder_.swap(other.holder_);
  }

  /// The object, or null.
  [[nodiscard, gnu::always_inline]] R* object() const noexcept { return static_cast<R*>(pointer_); }

  /// The object.
  /// Violation: use_of_moved_from, if there is none.
  [[nodiscard, gnu::always_inline]] R& held(const char* operation,
                                            Place where = Place{}) const noexcept {
    return detail::held(object(), operation, where);
  }

  /// Gives the object away. The handle is empty afterwards, and no holder.
  /// Violation: use_of_moved_from, if there is none.
  [[nodiscard, gnu::always_inline]] R& take(const char* operation, Place where) noexcept {
    holder_.let_go();
    return detail::held(static_cast<R*>(std::exchange(pointer_, Pointer{})), operation, where);
  }

  Pointer pointer_;
  [[no_unique_address]] Holder holder_;  // in no list, if the handle is empty or an Ended
};

/// Access to the private members of handles, for library code that changes one handle into another.
struct HandleAccess {
  template <template <class> class Handle, class R>
  [[nodiscard]] static Handle<R> make(R& request, TrackedPlace where) noexcept {
    return Handle<R>{request, where};
  }
  template <class R>
  [[nodiscard]] static Ended<R> make_ended(R& request) noexcept {
    return Ended<R>{request};
  }
  template <class R>
  [[nodiscard]] static ARef<R> make_reference(R& request, TrackedPlace where) noexcept {
    return ARef<R>{request, where};
  }
  template <class R>
  [[nodiscard]] static Claim<R> make_claim(R& request, ClaimOrigin origin,
                                           TrackedPlace where) noexcept {
    return Claim<R>{request, origin, where};
  }
  template <class R>
  [[nodiscard]] static ClaimOrigin origin(const Claim<R>& claim) noexcept {
    return claim.pointer_.origin();
  }
  /// The request of the handle, or null. The handle is empty afterwards.
  template <template <class> class Handle, class R>
  [[nodiscard]] static R* take(Handle<R>& handle) noexcept {
    R* const request = handle.object();
    handle.pointer_ = {};
    handle.holder_.let_go();
    if constexpr (is_poisoned) {
      if (request != nullptr) poison_shareable(*request);
    }
    return request;
  }
  template <class R>
  [[nodiscard]] static R* take_reference(ARef<R>& reference) noexcept {
    return reference.take_reference();
  }
  /// The object of the handle, or null. The handle keeps the object.
  template <template <class> class Handle, class R>
  [[nodiscard]] static R* look(const Handle<R>& handle) noexcept {
    return handle.object();
  }
  /// Appends a ring of ended requests to the list.
  template <class R, class Requests>
  static void append(EndedList<R>& list, Requests&& requests) noexcept {
    list.requests_.append(requests);
  }
  /// The ring of the list's requests. The list keeps owning them.
  template <class R>
  [[nodiscard]] static auto& requests(EndedList<R>& list) noexcept {
    return list.requests_;
  }
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
