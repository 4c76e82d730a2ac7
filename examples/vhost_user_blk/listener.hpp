// SPDX-License-Identifier: BSL-1.0
//
// Listener: a socket in the file system, which front ends connect to.

#ifndef VHOST_USER_BLK_LISTENER_HPP
#define VHOST_USER_BLK_LISTENER_HPP

#include <sys/socket.h>
#include <unistd.h>

#include <expected>
#include <string>
#include <utility>

#include "signal.hpp"
#include "storage/unix_socket.hpp"

namespace vhost_user_blk {

class Listener {
 public:
  /// Listens at the path. A socket that was left behind is replaced; a file of another kind is not.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<Listener, std::string> on_path(const std::string& path) {
    auto fd = storage::listen_at(path, 8);
    if (!fd) return std::unexpected(std::move(fd.error()));
    return Listener{*std::move(fd), path};
  }
  Listener(Listener&& other) noexcept
      : fd_{std::move(other.fd_)}, path_{std::exchange(other.path_, {})} {}
  Listener& operator=(Listener&&) = delete;
  ~Listener() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The next front end's socket. Not open if none waits.
  [[nodiscard]] Descriptor accept_front_end() const {
    return Descriptor{accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  }

 private:
  Listener(Descriptor fd, std::string path) noexcept : fd_{std::move(fd)}, path_{std::move(path)} {}
  Descriptor fd_;
  std::string path_;
};

}  // namespace vhost_user_blk

#endif
