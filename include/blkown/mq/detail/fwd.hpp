// SPDX-License-Identifier: BSL-1.0
//
// Declarations of the block layer's templates that refer to one another.

#ifndef BLKOWN_MQ_DETAIL_FWD_HPP
#define BLKOWN_MQ_DETAIL_FWD_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

template <class D>
class Disk;
template <class D>
class HwQueue;

namespace detail {

template <class D>
class ControlPart;
template <class D>
class Controls;
template <class D>
class HwQueues;
template <class D>
class Issuer;
template <class D>
struct Lane;
template <class D>
struct PayloadAccess;
template <class D>
class SubmitQueue;
template <class D>
class TimeoutScan;

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
