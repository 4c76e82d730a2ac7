// SPDX-License-Identifier: BSL-1.0
//
// ControlSocket: a unix socket that takes a disk's commands, on a thread of its own.
//
// A client sends lines, and gets the answer to each. Its commands are executed one after the other,
// and those of several clients in turns. A line that is longer than a command can be, or an answer
// that the client does not take, closes the client. The socket is removed with the object.

#ifndef NULL_BLOCK_CONTROL_SOCKET_HPP
#define NULL_BLOCK_CONTROL_SOCKET_HPP

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "storage/descriptor.hpp"

namespace null_block {

namespace detail {

/// The address of a unix socket. None: the path is too long.
[[nodiscard]] inline std::optional<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return std::nullopt;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace detail

/// Sends a command to the socket at `path`, and returns the answer.
/// Errors: the reason in words.
[[nodiscard]] inline std::expected<std::string, std::string> send_command(const std::string& path,
                                                                          std::string_view line) {
  const auto address = detail::socket_address(path);
  if (!address) return std::unexpected(path + ": too long");
  const storage::Descriptor fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const std::string text = std::string{line} + "\n";
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
      send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()) ||
      shutdown(fd.get(), SHUT_WR) != 0) {
    return std::unexpected(path + ": " + std::strerror(errno));
  }
  std::string answer;
  char buffer[512];
  while (true) {
    const ssize_t length = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (length < 0) return std::unexpected(path + ": " + std::strerror(errno));
    if (length == 0) return answer;
    answer.append(buffer, static_cast<std::size_t>(length));
  }
}

class ControlSocket {
 public:
  /// Answers a command.
  using Answer = std::function<std::string(std::string_view line)>;

  /// Listens at `path`.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<ControlSocket>, std::string> listen_at(
      const std::string& path, Answer answer) {
    const auto address = detail::socket_address(path);
    if (!address) return std::unexpected(path + ": too long");
    storage::Descriptor fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
        listen(fd.get(), 8) != 0) {
      return std::unexpected(path + ": " + std::strerror(errno));
    }
    return std::unique_ptr<ControlSocket>{
        new ControlSocket{path, std::move(fd), std::move(answer)}};
  }
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  /// Waits for the command that is executed.
  ~ControlSocket() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof(one)));
    thread_.join();
    ::unlink(path_.c_str());
  }

 private:
  static constexpr std::size_t max_line_bytes = 4096;

  struct Client {
    storage::Descriptor fd;
    std::string received;
  };

  ControlSocket(std::string path, storage::Descriptor fd, Answer answer)
      : path_{std::move(path)},
        fd_{std::move(fd)},
        answer_{std::move(answer)},
        thread_{[this] { serve(); }} {}

  void serve() {
    std::vector<Client> clients;
    while (true) {
      std::vector<pollfd> watched{{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = fd_.get(), .events = POLLIN, .revents = 0}};
      for (const Client& each : clients) {
        watched.push_back({.fd = each.fd.get(), .events = POLLIN, .revents = 0});
      }
      if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
      if (watched[0].revents != 0) return;
      std::vector<Client> kept;
      for (std::size_t i = 0; i != clients.size(); ++i) {
        if (watched[i + 2].revents == 0 || read_from(clients[i])) {
          kept.push_back(std::move(clients[i]));
        }
      }
      clients = std::move(kept);
      if (watched[1].revents == 0) continue;
      storage::Descriptor client{accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (client.is_open()) clients.push_back({std::move(client), {}});
    }
  }

  /// Answers the lines that are there. Returns false if the client is gone.
  [[nodiscard]] bool read_from(Client& client) const {
    char buffer[512];
    const ssize_t length = recv(client.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    if (length == 0) return false;
    client.received.append(buffer, static_cast<std::size_t>(length));
    for (std::size_t end = client.received.find('\n'); end != std::string::npos;
         end = client.received.find('\n')) {
      const std::string line = client.received.substr(0, end);
      client.received.erase(0, end + 1);
      if (!send_all(client.fd.get(), answer_(line))) return false;
    }
    return client.received.size() <= max_line_bytes;
  }

  /// A client that does not read is gone after a second.
  [[nodiscard]] static bool send_all(int fd, const std::string& text) {
    for (std::size_t done = 0; done != text.size();) {
      const ssize_t length =
          send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (length >= 0) {
        done += static_cast<std::size_t>(length);
        continue;
      }
      pollfd watched{.fd = fd, .events = POLLOUT, .revents = 0};
      if (errno != EAGAIN || ::poll(&watched, 1, 1000) <= 0) return false;
    }
    return true;
  }

  std::string path_;
  storage::Descriptor fd_;
  storage::Descriptor stop_{eventfd(0, EFD_CLOEXEC)};
  Answer answer_;
  std::thread thread_;
};

}  // namespace null_block

#endif
