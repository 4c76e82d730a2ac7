// SPDX-License-Identifier: BSL-1.0
//
// Declarations of the class templates that refer to one another.

#ifndef BLKOWN_FWD_HPP
#define BLKOWN_FWD_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {

template <class T>
class Request;
template <class R>
class Idle;
template <class R>
class Owned;
template <class R>
class Claim;
template <class R>
class ARef;
template <class R>
class Ended;
template <class R>
class EndedList;
template <class R>
class TagSet;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
