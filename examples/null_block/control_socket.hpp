// SPDX-License-Identifier: BSL-1.0
//
// ControlSocket: a unix socket that takes a disk's commands, on a thread of its own.
//
// A client sends lines, and gets the answer to each. The commands of a client are executed in their
// order, and those of several clients in turns. A client is closed after an error for a line that
// is longer than a command can be. What the client sends after that line is discarded, for a second
// at most. A client that does not take an answer within a second is closed too.
//
// A line without a newline at the end of the input is answered with an error, and not executed:
// a client that was killed may have sent a part of a command. Without free descriptors a client
// waits. The destructor removes the socket. A socket that a killed program left behind is replaced.

#ifndef NULL_BLOCK_CONTROL_SOCKET_HPP
#define NULL_BLOCK_CONTROL_SOCKET_HPP

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "storage/descriptor.hpp"
#include "storage/unix_socket.hpp"

namespace null_block {

/// Sends all of a text. Returns 0, or the error with which the rest of the text is not sent.
[[nodiscard]] inline int send_text(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t length = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return 0;
}

/// Sends a command to the socket at `path`, and returns the answer.
/// Errors: the reason in words.
[[nodiscard]] inline std::expected<std::string, std::string> send_command(const std::string& path,
                                                                          std::string_view line) {
  const auto address = storage::unix_address(path);
  if (!address) return std::unexpected(path + ": too long");
  const storage::Descriptor fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!fd.is_open()) return std::unexpected(path + ": " + std::strerror(errno));
  const std::string text = std::string{line} + "\n";
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    return std::unexpected(path + ": " + std::strerror(errno));
  }
  // A peer that refuses the command may close before it has all of it. Its answer is there then.
  int error = send_text(fd.get(), text);
  // In any case: a peer that has a part of the command would else wait for the rest of it.
  if (shutdown(fd.get(), SHUT_WR) != 0 && error == 0) error = errno;
  std::string answer;
  char buffer[512];
  while (true) {
    const ssize_t length = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (length > 0) {
      answer.append(buffer, static_cast<std::size_t>(length));
      continue;
    }
    if (length < 0 && errno == EINTR) continue;
    // A peer that has closed without reading all has answered before that.
    const bool is_answered = !answer.empty() && (length == 0 || errno == ECONNRESET);
    if (is_answered || (length == 0 && error == 0)) return answer;
    return std::unexpected(path + ": " + std::strerror(length == 0 ? error : errno));
  }
}

class ControlSocket {
 public:
  /// Answers a command.
  using Answer = std::function<std::string(std::string_view line)>;

  /// Listens at `path`. A socket that was left behind is replaced; a file of another kind is not.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<ControlSocket>, std::string> listen_at(
      const std::string& path, Answer answer) {
    storage::Descriptor stop{eventfd(0, EFD_CLOEXEC)};
    if (!stop.is_open()) return std::unexpected(path + ": " + std::strerror(errno));
    auto fd = storage::listen_at(path, 8);
    if (!fd) return std::unexpected(std::move(fd.error()));
    return std::unique_ptr<ControlSocket>{
        new ControlSocket{path, *std::move(fd), std::move(stop), std::move(answer)}};
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
  using steady_clock = std::chrono::steady_clock;

  static constexpr std::size_t max_line_bytes = 4096;
  /// For a whole answer: a client that takes it slowly holds up the others no longer.
  static constexpr std::chrono::milliseconds answer_time{1000};
  /// Discarded after that time: more than a socket holds by default.
  static constexpr std::size_t max_late_bytes = std::size_t{1} << 20;
  /// Without descriptors, until the next try to accept a client.
  static constexpr int accept_again_ms = 100;

  struct Client {
    storage::Descriptor fd;
    std::string received;
  };

  ControlSocket(std::string path, storage::Descriptor fd, storage::Descriptor stop, Answer answer)
      : path_{std::move(path)},
        fd_{std::move(fd)},
        stop_{std::move(stop)},
        answer_{std::move(answer)},
        thread_{[this] { serve(); }} {}

  void serve() {
    std::vector<Client> clients;
    bool accepts = true;
    while (true) {
      std::vector<pollfd> watched{{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = accepts ? fd_.get() : -1, .events = POLLIN, .revents = 0}};
      for (const Client& each : clients) {
        watched.push_back({.fd = each.fd.get(), .events = POLLIN, .revents = 0});
      }
      const int wait_ms = std::exchange(accepts, true) ? -1 : accept_again_ms;
      if (::poll(watched.data(), watched.size(), wait_ms) < 0) {
        if (errno != EINTR) return;
        continue;
      }
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
      // The client waits in the queue of the socket until there are descriptors again.
      accepts = client.is_open() || (errno != EMFILE && errno != ENFILE);
      if (client.is_open()) clients.push_back({std::move(client), {}});
    }
  }

  /// Answers the lines that are there. Returns false if the client is gone.
  [[nodiscard]] bool read_from(Client& client) const {
    char buffer[512];
    const ssize_t length = recv(client.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    if (length == 0) {
      if (client.received.empty()) return false;
      return refuse_rest(client, "error: '" + client.received + "': the line has no end\n");
    }
    client.received.append(buffer, static_cast<std::size_t>(length));
    while (true) {
      const std::size_t end = client.received.find('\n');
      if (std::min(end, client.received.size()) > max_line_bytes) {
        return refuse_rest(
            client, "error: give lines of at most " + std::to_string(max_line_bytes) + " bytes\n");
      }
      if (end == std::string::npos) return true;
      const std::string line = client.received.substr(0, end);
      client.received.erase(0, end + 1);
      if (!send_all(client.fd.get(), answer_(line))) return false;
    }
  }
  /// Sends an error. Returns false: the client is closed. Discards what the client sends before,
  /// because a close with unread bytes resets the connection.
  [[nodiscard]] static bool refuse_rest(const Client& client, const std::string& error) {
    if (send_all(client.fd.get(), error) && shutdown(client.fd.get(), SHUT_WR) == 0) {
      discard_input(client.fd.get());
    }
    return false;
  }
  /// Reads what comes until the client closes, for the time of an answer at most, and then what is
  /// there: a thread that has stalled for that time has read nothing before.
  static void discard_input(int fd) {
    const steady_clock::time_point end = steady_clock::now() + answer_time;
    std::size_t late_bytes = 0;
    char buffer[4096];
    while (late_bytes < max_late_bytes) {
      const ssize_t length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
      if (length > 0) {
        if (steady_clock::now() >= end) late_bytes += static_cast<std::size_t>(length);
      } else if (length == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, end)) {
        return;
      }
    }
  }

  /// Sends an answer. Returns false if the client is gone, or has not taken all in time.
  [[nodiscard]] static bool send_all(int fd, const std::string& text) {
    const steady_clock::time_point end = steady_clock::now() + answer_time;
    for (std::size_t done = 0; done != text.size();) {
      const ssize_t length =
          send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (length >= 0) {
        done += static_cast<std::size_t>(length);
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      if (!wait_for(fd, POLLOUT, end)) return false;
    }
    return true;
  }
  /// Waits for an event, until `end` at most. Returns false if no time is left.
  [[nodiscard]] static bool wait_for(int fd, short events, steady_clock::time_point end) {
    using std::chrono::milliseconds;
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd watched{.fd = fd, .events = events, .revents = 0};
    static_cast<void>(::poll(&watched, 1, static_cast<int>(left)));
    return true;
  }

  std::string path_;
  storage::Descriptor fd_;
  storage::Descriptor stop_;  // an eventfd
  Answer answer_;
  std::thread thread_;
};

}  // namespace null_block

#endif
