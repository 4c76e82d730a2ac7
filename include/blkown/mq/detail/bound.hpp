// SPDX-License-Identifier: BSL-1.0
//
// Bound: a Work or an IdleHook that knows whose part it is.

#ifndef BLKOWN_MQ_DETAIL_BOUND_HPP
#define BLKOWN_MQ_DETAIL_BOUND_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// `Base` calls a function with itself, which finds the object that has it as a part. Not with a
/// member function as the template's argument: the owner's class would not be complete without the
/// member's body, and what is wrong with a driver would be said twice.
template <class Base, class Owner>
class Bound : public Base {
 public:
  Bound(Owner& owner, typename Base::Function function) noexcept : Base{function}, owner_{owner} {}

  /// Precondition: `base` is a Bound.
  [[nodiscard]] static Owner& owner_of(Base& base) noexcept {
    return static_cast<Bound&>(base).owner_;
  }

 private:
  Owner& owner_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
