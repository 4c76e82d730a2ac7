// SPDX-License-Identifier: BSL-1.0
//
// Socket: a connected or connecting socket that does not block. Dialer: makes sockets to a server,
// once for each attempt to connect.

#ifndef EXAMPLES_NBD_CLIENT_SOCKET_HPP
#define EXAMPLES_NBD_CLIENT_SOCKET_HPP

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "uri.hpp"

namespace nbd_client {

/// Owns a file descriptor of a socket.
class Socket {
 public:
  Socket() noexcept = default;
  explicit Socket(int fd) noexcept : fd_{fd} {}
  Socket(Socket&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// The error of an attempt to connect that has ended, or 0.
  [[nodiscard]] int connect_error() const noexcept {
    int error = 0;
    socklen_t length = sizeof(error);
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
    return error;
  }

 private:
  int fd_ = -1;
};

/// Makes sockets to one server.
class Dialer {
 public:
  Dialer() = default;
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;
  virtual ~Dialer() = default;

  /// Begins to connect, and does not wait. When the socket can be written to,
  /// Socket::connect_error() tells the result. A socket that is not open: no attempt could be made.
  [[nodiscard]] virtual Socket dial() = 0;
};

/// Connects to the server of a URI. Its address is looked up once.
class UriDialer final : public Dialer {
 public:
  /// Errors: the problem, for a message.
  [[nodiscard]] static std::expected<std::vector<std::vector<std::byte>>, std::string> look_up(
      const Uri& uri) {
    if (uri.is_unix()) return look_up_unix(uri.socket_path);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(uri.host.c_str(), uri.port.c_str(), &hints, &found);
    if (error != 0) return std::unexpected(uri.host + ": " + ::gai_strerror(error));
    std::vector<std::vector<std::byte>> addresses;
    for (const addrinfo* it = found; it != nullptr; it = it->ai_next) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(it->ai_addr);
      addresses.emplace_back(bytes, bytes + it->ai_addrlen);
    }
    ::freeaddrinfo(found);
    return addresses;
  }

  /// `addresses`: those that look_up() has found, at least one.
  explicit UriDialer(std::vector<std::vector<std::byte>> addresses)
      : addresses_{std::move(addresses)} {}

  /// Each attempt takes the next address of the server.
  [[nodiscard]] Socket dial() override {
    const std::vector<std::byte>& address = addresses_[next_];
    next_ = (next_ + 1) % addresses_.size();
    sockaddr_storage storage{};
    std::memcpy(&storage, address.data(), address.size());
    const int family = storage.ss_family;
    Socket socket{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!socket.is_open()) return socket;
    if (family != AF_UNIX) {
      // A small request is not held back until the reply to an earlier one.
      const int on = 1;
      ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    const auto* const name = reinterpret_cast<const sockaddr*>(&storage);
    const int result = ::connect(socket.fd(), name, static_cast<socklen_t>(address.size()));
    if (result != 0 && errno != EINPROGRESS) socket.close();
    return socket;
  }

 private:
  [[nodiscard]] static std::expected<std::vector<std::vector<std::byte>>, std::string> look_up_unix(
      const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof(name.sun_path)) return std::unexpected("socket path too long");
    std::copy(path.begin(), path.end(), name.sun_path);
    const auto* const bytes = reinterpret_cast<const std::byte*>(&name);
    return std::vector<std::vector<std::byte>>{{bytes, bytes + sizeof(name)}};
  }

  std::vector<std::vector<std::byte>> addresses_;
  std::size_t next_ = 0;
};

}  // namespace nbd_client

#endif
