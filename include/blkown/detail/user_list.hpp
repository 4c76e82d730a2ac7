// SPDX-License-Identifier: BSL-1.0
//
// UserList: the objects that use another object, so that a destruction in the wrong order is found.
//
// Parties: an owner, such as an mq::Context, with a UserList; its users, such as the disks on it,
// each with a User.
//
//   User           enters the list when the user is made, and leaves it when the user is destroyed.
//   check_unused   the owner's destructor calls it. A user that is left is a violation, which names
//                  the owner and the user.
//   find_busy      looks for a user that is busy, before a call that a busy user does not permit.
//
// Guarantees: both are found in every build, before either object is used after its end. Nothing
// happens between the two calls, so the path of an I/O pays nothing.

#ifndef BLKOWN_DETAIL_USER_LIST_HPP
#define BLKOWN_DETAIL_USER_LIST_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/spin_lock.hpp>
#include <blkown/place.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// A user's entry in a UserList.
struct UserLink {
  const char* kind;
  const char* name;
  const bool* is_busy = nullptr;  // null: never
  UserLink* next = nullptr;
  UserLink* previous = nullptr;
};

/// The list of an object that others use.
/// Context: any, but not an interrupt, because the members take a lock.
class UserList {
 public:
  UserList() = default;
  UserList(const UserList&) = delete;
  UserList& operator=(const UserList&) = delete;

  /// `operation` is the owner's destruction, and `owner` its name in the violation. Takes no lock.
  /// Precondition: the caller has ordered the ends of the users.
  /// Violation: object_in_use, if a user exists.
  void check_unused(const char* operation, const char* owner, const char* remedy) const noexcept {
    if (first_ != nullptr) [[unlikely]]
      violate_used(operation, owner, remedy);
  }

  /// A user that is busy, or null.
  /// Precondition: the caller's thread alone makes users busy.
  [[nodiscard]] const UserLink* find_busy() noexcept {
    const SpinGuard guard{lock_};
    const UserLink* user = first_;
    while (user != nullptr && (user->is_busy == nullptr || !*user->is_busy)) user = user->next;
    return user;
  }

 private:
  friend class User;

  [[noreturn, gnu::cold, gnu::noinline]] void violate_used(const char* operation, const char* owner,
                                                           const char* remedy) const {
    violate(Violation::object_in_use, Incident::of(operation, Place{})
                                          .with("{subject} destroyed while {user} uses it", remedy)
                                          .about(owner)
                                          .used_by(first_->kind, first_->name));
  }

  SpinLock lock_;
  UserLink* first_ = nullptr;
};

/// One user of an object: in its list as long as the User lives.
class User {
 public:
  /// Enters the list, unless it is null. `kind` is a noun with its article.
  /// Precondition: the text outlives the User.
  User(UserList* list, const char* kind) noexcept : list_{list}, link_{kind, nullptr} { enter(); }
  /// The same for a user with a name, and a `kind` without an article. A null name is printed as
  /// unnamed. `is_busy` tells whether the user is busy; null: it never is.
  User(UserList* list, const char* kind, const char* name, const bool* is_busy = nullptr) noexcept
      : list_{list}, link_{kind, name == nullptr ? "" : name, is_busy} {
    enter();
  }
  User(const User&) = delete;
  User& operator=(const User&) = delete;
  ~User() {
    if (list_ == nullptr) return;
    const SpinGuard guard{list_->lock_};
    (link_.previous == nullptr ? list_->first_ : link_.previous->next) = link_.next;
    if (link_.next != nullptr) link_.next->previous = link_.previous;
  }

 private:
  void enter() noexcept {
    if (list_ == nullptr) return;
    const SpinGuard guard{list_->lock_};
    link_.next = list_->first_;
    if (link_.next != nullptr) link_.next->previous = &link_;
    list_->first_ = &link_;
  }

  UserList* list_;
  UserLink link_;
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
