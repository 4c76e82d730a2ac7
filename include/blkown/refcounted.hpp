// SPDX-License-Identifier: BSL-1.0
//
// What a type must offer for ARef and Owned to hold it. Requests meet all of it (request.hpp); a
// type of the user's, a device or a request of another library, meets what it needs.

#ifndef BLKOWN_REFCOUNTED_HPP
#define BLKOWN_REFCOUNTED_HPP

#include <blkown/config.hpp>
#include <concepts>

namespace blkown {
inline namespace BLKOWN_ABI {

/// How handles count and own an object of type T. This one forwards to T's own members; specialise
/// it for a type that cannot have them. The functions must not throw.
///
///   add_ref        one more reference (the kernel's AlwaysRefCounted::inc_ref)
///   drop_ref       one less; whoever drops the last does what that means for T (dec_ref)
///   release_owned  the unique handle is dropped (Ownable::release)
///   into_shared    the unique handle becomes the first reference
///   try_into_owned the caller's reference becomes the unique handle; false, and nothing has
///                  happened, if it is not the only one. Acquires what other drops released.
template <class T>
struct Ownership {
  static void add_ref(T& object)
    requires requires { object.add_ref(); }
  {
    object.add_ref();
  }
  static void drop_ref(T& object)
    requires requires { object.drop_ref(); }
  {
    object.drop_ref();
  }
  static void release_owned(T& object)
    requires requires { object.release_owned(); }
  {
    object.release_owned();
  }
  static void into_shared(T& object)
    requires requires { object.into_shared(); }
  {
    object.into_shared();
  }
  [[nodiscard]] static bool try_into_owned(T& object)
    requires requires {
      { object.try_into_owned() } -> std::same_as<bool>;
    }
  {
    return object.try_into_owned();
  }
};

/// Can be held by any number of ARefs (the kernel's AlwaysRefCounted).
template <class T>
concept RefCounted = requires(T& object) {
  Ownership<T>::add_ref(object);
  Ownership<T>::drop_ref(object);
};

/// Can be held by one Owned (the kernel's Ownable).
template <class T>
concept Ownable = requires(T& object) { Ownership<T>::release_owned(object); };

/// Can go from unique to shared and back (the kernel's OwnableRefCounted).
template <class T>
concept OwnableRefCounted = RefCounted<T> && Ownable<T> && requires(T& object) {
  Ownership<T>::into_shared(object);
  { Ownership<T>::try_into_owned(object) } -> std::same_as<bool>;
};

/// Opt-in: T may be read while others hold the request (Rust's Sync), so ARef::data gives it.
/// Specialise as true only for data that nobody changes while references exist, or that
/// synchronises itself.
template <class T>
inline constexpr bool shared_data = false;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
