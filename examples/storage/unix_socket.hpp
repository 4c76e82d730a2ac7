// SPDX-License-Identifier: BSL-1.0
//
// A unix socket: its address, what becomes of the socket of a program that was killed, and how a
// server listens at one.

#ifndef STORAGE_UNIX_SOCKET_HPP
#define STORAGE_UNIX_SOCKET_HPP

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <expected>
#include <optional>
#include <string>

#include "descriptor.hpp"

namespace storage {

/// The address of a unix socket. None: the path is too long.
[[nodiscard]] inline std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return std::nullopt;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

/// Removes the socket at `path` if no program listens at it: a killed one has left it behind. A
/// file of another kind stays.
/// Errors: an errno value if there was no descriptor to find that out with; else 0.
[[nodiscard]] inline int remove_left_behind(const std::string& path) {
  const auto address = unix_address(path);
  struct stat status{};
  if (!address || lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return 0;
  // Not blocking: a listener whose queue is full does not answer.
  const Descriptor client{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!client.is_open()) return errno;
  if (connect(client.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 &&
      errno == ECONNREFUSED) {
    ::unlink(path.c_str());
  }
  return 0;
}

/// A socket that listens at `path`. A socket that was left behind is replaced; a file of another
/// kind is not.
/// Errors: the reason in words.
[[nodiscard]] inline std::expected<Descriptor, std::string> listen_at(const std::string& path,
                                                                      int max_waiting) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(path + ": too long");
  const auto failed = [&] { return std::unexpected(path + ": " + std::strerror(errno)); };
  Descriptor fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!fd.is_open()) return failed();
  if (errno = remove_left_behind(path); errno != 0) return failed();
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
      listen(fd.get(), max_waiting) != 0) {
    return failed();
  }
  return fd;
}

}  // namespace storage

#endif
