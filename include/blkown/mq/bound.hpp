// SPDX-License-Identifier: BSL-1.0
//
// Bound: a Work or an IdleHook that calls a member of its owner.

#ifndef BLKOWN_MQ_BOUND_HPP
#define BLKOWN_MQ_BOUND_HPP

#include <blkown/config.hpp>

namespace blkown::inline BLKOWN_ABI::mq::internal {

/// `Base` calls a function with itself; here that is `member` of the object that has it as a part.
template <class Base, class Owner, void (Owner::*member)() noexcept>
class Bound : public Base {
 public:
  explicit Bound(Owner& owner) noexcept
      : Base{[](Base& base) { (static_cast<Bound&>(base).owner_.*member)(); }}, owner_{owner} {}

 private:
  Owner& owner_;
};

}  // namespace blkown::inline BLKOWN_ABI::mq::internal

#endif
