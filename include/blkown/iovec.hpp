// SPDX-License-Identifier: BSL-1.0
//
// Segment to and from the struct iovec of POSIX: readv, writev, io_uring, vhost-user.

#ifndef BLKOWN_IOVEC_HPP
#define BLKOWN_IOVEC_HPP

#include <sys/uio.h>  // IWYU pragma: keep

#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <cstddef>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The same memory as an iovec.
[[nodiscard]] inline ::iovec to_iovec(const Segment& segment) noexcept {
  return {segment.data, segment.length_bytes};
}

/// The same memory as a Segment.
[[nodiscard]] inline Segment to_segment(const ::iovec& vector) noexcept {
  return {static_cast<std::byte*>(vector.iov_base), vector.iov_len};
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
