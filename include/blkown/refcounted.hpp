// SPDX-License-Identifier: BSL-1.0
//
// The operations that ARef and Owned need of the type they hold. Requests have all operations
// (request.hpp). A user's own type, such as a device, needs only the operations that are used.

#ifndef BLKOWN_REFCOUNTED_HPP
#define BLKOWN_REFCOUNTED_HPP

#include <blkown/config.hpp>
#include <concepts>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The operations by which handles count and own an object of type T. The primary template forwards
/// to T's members; specialise it for a type without such members. The functions must not throw.
///
///   add_ref         adds a reference
///   drop_ref        removes a reference; the removal of the last one does what T needs
///   release_owned   drops the unique handle
///   into_shared     changes the unique handle into the first reference
///   try_into_owned  changes the caller's reference into the unique handle. False, and no change,
///                   if other references exist. Acquires what their drop_ref released.
///
/// Source: the kernel's AlwaysRefCounted (inc_ref, dec_ref), Ownable (release) and
/// OwnableRefCounted.
template <class T>
struct Ownership {
  /// A further reference.
  static void add_ref(T& object)
    requires requires { object.add_ref(); }
  {
    object.add_ref();
  }
  /// Gives a reference up.
  static void drop_ref(T& object)
    requires requires { object.drop_ref(); }
  {
    object.drop_ref();
  }
  /// Gives the unique ownership up.
  static void release_owned(T& object)
    requires requires { object.release_owned(); }
  {
    object.release_owned();
  }
  /// The unique owner becomes one of the holders of references.
  static void into_shared(T& object)
    requires requires { object.into_shared(); }
  {
    object.into_shared();
  }
  /// Whether the only reference became the unique owner.
  [[nodiscard]] static bool try_into_owned(T& object)
    requires requires {
      { object.try_into_owned() } -> std::same_as<bool>;
    }
  {
    return object.try_into_owned();
  }
};

/// A type that ARefs can hold.
/// Source: the kernel's AlwaysRefCounted.
template <class T>
concept RefCounted = requires(T& object) {
  Ownership<T>::add_ref(object);
  Ownership<T>::drop_ref(object);
};

/// A type that an Owned can hold.
/// Source: the kernel's Ownable.
template <class T>
concept Ownable = requires(T& object) { Ownership<T>::release_owned(object); };

/// A type that can change between one Owned and ARefs.
/// Source: the kernel's OwnableRefCounted.
template <class T>
concept OwnableRefCounted = RefCounted<T> && Ownable<T> && requires(T& object) {
  Ownership<T>::into_shared(object);
  { Ownership<T>::try_into_owned(object) } -> std::same_as<bool>;
};

/// Whether ARef::data gives access to data of type T. Specialise as true only for data that does
/// not change while references exist, or that synchronises its own accesses.
/// Source: Rust's Sync.
template <class T>
inline constexpr bool shared_data = false;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
