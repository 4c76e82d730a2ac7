// SPDX-License-Identifier: BSL-1.0
//
// Signals between the sides of a virtqueue: eventfds or pipes, which the front end sends.

#ifndef VHOST_USER_BLK_SIGNAL_HPP
#define VHOST_USER_BLK_SIGNAL_HPP

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "storage/descriptor.hpp"

namespace vhost_user_blk {

using storage::Descriptor;

/// Whether the descriptor is an eventfd or a pipe. The other side may have sent one of any kind:
/// with the other end of its own connection in this process, the connection would never be closed.
[[nodiscard]] inline bool is_signal(const Descriptor& fd) noexcept {
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return false;
  // An eventfd has an inode without a type.
  return S_ISFIFO(status.st_mode) || (status.st_mode & S_IFMT) == 0;
}

/// Makes reads and writes return at once.
inline void make_nonblocking(const Descriptor& fd) noexcept {
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

/// From now on a write to a pipe without a reader fails on this thread, and does not end the
/// process. The other threads of the process keep their signals.
inline void block_sigpipe() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

/// Signals the other side. A full eventfd or pipe has been signalled before; a pipe without a
/// reader has nobody to signal.
/// Precondition: block_sigpipe() was called on this thread, or `fd` is no pipe.
inline void send_signal(const Descriptor& fd) noexcept {
  const std::uint64_t one = 1;
  if (fd.is_open()) static_cast<void>(!::write(fd.get(), &one, sizeof(one)));
}

/// Takes what was signalled. Returns false if the descriptor can never be signalled again.
[[nodiscard]] inline bool take_signal(const Descriptor& fd) noexcept {
  std::uint64_t count = 0;
  const ssize_t got = ::read(fd.get(), &count, sizeof(count));
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

}  // namespace vhost_user_blk

#endif
