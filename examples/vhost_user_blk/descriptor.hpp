// SPDX-License-Identifier: BSL-1.0
//
// Descriptor: a file descriptor that its destructor closes, and the eventfds of a virtqueue.

#ifndef VHOST_USER_BLK_DESCRIPTOR_HPP
#define VHOST_USER_BLK_DESCRIPTOR_HPP

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace vhost_user_blk {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_{fd} {}
  Descriptor(Descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    Descriptor taken{std::move(other)};
    std::swap(fd_, taken.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// Makes reads and writes return at once. The other side may have sent a descriptor of any kind.
inline void make_nonblocking(const Descriptor& fd) noexcept {
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

/// Signals an eventfd or a pipe. A full one has been signalled before.
inline void signal(const Descriptor& fd) noexcept {
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
