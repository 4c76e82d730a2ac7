// SPDX-License-Identifier: BSL-1.0
//
// System calls that a signal or the kernel's own work ends early.

#ifndef BLKOWN_TESTS_EXAMPLES_UNINTERRUPTED_HPP
#define BLKOWN_TESTS_EXAMPLES_UNINTERRUPTED_HPP

#include <sys/types.h>

#include <cerrno>

namespace front_ends {

/// The result of the system call, which is made again while it ends with EINTR.
///
/// That happens without any signal handler: the kernel interrupts each thread that has used a ring
/// of io_uring a moment after the ring is closed, and starts only those calls again that have no
/// time limit. A socket with SO_RCVTIMEO or SO_SNDTIMEO has one, and so have poll() and
/// epoll_wait().
template <class Call>
[[nodiscard]] ssize_t uninterrupted(Call call) {
  while (true) {
    const ssize_t result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace front_ends

#endif
