// SPDX-License-Identifier: BSL-1.0
//
// OnEnd: the function that is called when an operation on an object ends, with its argument.

#ifndef BLKOWN_MQ_ON_END_HPP
#define BLKOWN_MQ_ON_END_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A callback for the end of an operation on an Object: a Bio, a Control, a private request's
/// Payload. An empty OnEnd calls nothing.
template <class Object>
struct OnEnd {
  /// The one form of callback in this library; Work, IdleHook and Alarm use the same.
  using Function = void (*)(void* argument, Object& object);

  Function function = nullptr;
  void* argument = nullptr;

  /// Calls the function, if one is set. The function may destroy the object together with this
  /// OnEnd.
  void operator()(Object& object) const {
    if (function != nullptr) function(argument, object);
  }
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
