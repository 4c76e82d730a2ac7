// SPDX-License-Identifier: BSL-1.0
//
// Listener: a socket that clients connect to, on TCP or in the file system.

#ifndef NBD_SERVER_LISTENER_HPP
#define NBD_SERVER_LISTENER_HPP

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <expected>
#include <string>
#include <utility>

#include "storage/unix_socket.hpp"
#include "worker.hpp"

namespace nbd_server {

class Listener {
 public:
  /// Listens at HOST:PORT. An IPv6 host may be in brackets.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<Listener, std::string> on_address(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    if (colon == address.npos) return std::unexpected(address + ": give HOST:PORT");
    std::string host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                  address.c_str() + colon + 1, &wanted, &found);
    if (error != 0) return std::unexpected(address + ": " + gai_strerror(error));
    Descriptor fd{socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int one = 1;
    const bool good = fd.is_open() &&
                      setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
                      bind(fd.get(), found->ai_addr, found->ai_addrlen) == 0 &&
                      listen(fd.get(), max_waiting) == 0;
    const int listen_error = errno;
    freeaddrinfo(found);
    if (!good) return std::unexpected(address + ": " + std::strerror(listen_error));
    return Listener{std::move(fd), address, ""};
  }

  /// Listens on a unix socket. A socket that is there is replaced; a file of another kind is not.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<Listener, std::string> on_path(const std::string& path) {
    auto fd = storage::listen_at(path, max_waiting);
    if (!fd) return std::unexpected(std::move(fd.error()));
    return Listener{*std::move(fd), path, path};
  }

  Listener(Listener&& other) noexcept
      : fd_{std::move(other.fd_)},
        name_{std::move(other.name_)},
        path_{std::exchange(other.path_, {})} {}
  Listener& operator=(Listener&&) = delete;
  ~Listener() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Where clients connect to.
  [[nodiscard]] std::string uri() const {
    if (!path_.empty()) return "nbd+unix:///?socket=" + path_;
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    const in_port_t port = address.ss_family == AF_INET6
                               ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                               : reinterpret_cast<const sockaddr_in*>(&address)->sin_port;
    return "nbd://" + name_.substr(0, name_.rfind(':')) + ":" + std::to_string(ntohs(port)) + "/";
  }

  /// The next client's socket. -1 if no client waits.
  [[nodiscard]] int accept_client() const {
    const int client = accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const int one = 1;
    if (client >= 0 && path_.empty()) {
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return client;
  }

 private:
  static constexpr int max_waiting = 128;  // clients

  Listener(Descriptor fd, std::string name, std::string path) noexcept
      : fd_{std::move(fd)}, name_{std::move(name)}, path_{std::move(path)} {}

  Descriptor fd_;
  std::string name_;
  std::string path_;  // of a unix socket, which the destructor removes
};

}  // namespace nbd_server

#endif
