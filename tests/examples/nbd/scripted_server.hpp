// SPDX-License-Identifier: BSL-1.0
//
// ScriptedServer: an NBD server in the test's process, which the test's loop runs over socket
// pairs. It keeps its medium right: every write is carried out when its last byte has arrived. A
// test replaces the answer to a greeting, to an option or to a command. Data that the server
// invents is poison, which no bio that ends with ok may contain.

#ifndef BLKOWN_TESTS_EXAMPLES_NBD_SCRIPTED_SERVER_HPP
#define BLKOWN_TESTS_EXAMPLES_NBD_SCRIPTED_SERVER_HPP

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nbd/messages.hpp"
#include "nbd/protocol.hpp"
#include "nbd_client/socket.hpp"

namespace nbd_client {

using Bytes = std::vector<std::byte>;
inline constexpr std::byte poison{0xEE};
inline constexpr std::uint64_t never_ns = ~std::uint64_t{0};

template <nbd::Wire T>
void append(Bytes& bytes, const T& value) {
  const auto more = nbd::bytes_of(value);
  bytes.insert(bytes.end(), more.begin(), more.end());
}
inline void append(Bytes& bytes, std::span<const std::byte> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

inline Bytes simple_reply(std::uint64_t cookie, std::uint32_t error,
                          std::span<const std::byte> data = {}) {
  Bytes bytes;
  append(bytes, nbd::SimpleReply{.error = error, .cookie = cookie});
  append(bytes, data);
  return bytes;
}
/// A chunk of any type, with any payload.
inline Bytes chunk(std::uint64_t cookie, std::uint16_t type, bool is_done,
                   std::span<const std::byte> payload = {},
                   std::optional<std::uint32_t> length = {}) {
  Bytes bytes;
  append(bytes,
         nbd::ChunkHeader{.flags = is_done ? nbd::reply_flag::done : std::uint16_t{0},
                          .type = type,
                          .cookie = cookie,
                          .length = length.value_or(static_cast<std::uint32_t>(payload.size()))});
  append(bytes, payload);
  return bytes;
}
inline Bytes chunk(std::uint64_t cookie, nbd::ChunkType type, bool is_done,
                   std::span<const std::byte> payload = {}) {
  return chunk(cookie, static_cast<std::uint16_t>(type), is_done, payload);
}
inline Bytes data_chunk(std::uint64_t cookie, std::uint64_t offset, std::span<const std::byte> data,
                        bool is_done) {
  Bytes payload;
  append(payload, nbd::OffsetData{offset});
  append(payload, data);
  return chunk(cookie, nbd::ChunkType::offset_data, is_done, payload);
}
inline Bytes hole_chunk(std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
                        bool is_done) {
  Bytes payload;
  append(payload, nbd::OffsetHole{offset, length});
  return chunk(cookie, nbd::ChunkType::offset_hole, is_done, payload);
}
inline Bytes error_chunk(std::uint64_t cookie, std::uint32_t error, bool is_done) {
  Bytes payload;
  append(payload, nbd::ErrorChunk{error, std::uint16_t{2}});
  append(payload, Bytes(2, std::byte{'x'}));
  return chunk(cookie, nbd::ChunkType::error, is_done, payload);
}

/// What a server offers.
struct ServerConfig {
  std::uint64_t size_bytes = 256 * 1024;
  std::uint16_t flags = nbd::transmission_flag::has_flags | nbd::transmission_flag::send_flush |
                        nbd::transmission_flag::send_fua | nbd::transmission_flag::send_trim |
                        nbd::transmission_flag::send_write_zeroes |
                        nbd::transmission_flag::can_multi_conn;
  std::uint16_t handshake_flags =
      nbd::handshake_flag::fixed_newstyle | nbd::handshake_flag::no_zeroes;
  bool has_structured_replies = true;
  bool has_go = true;
  int send_buffer_bytes = 0;  ///< Of the client's sockets. 0: the system's.
};

/// One connection, on the server's side.
struct Peer {
  explicit Peer(Socket its_socket) : socket{std::move(its_socket)} {}

  enum class Phase : std::uint8_t { flags, options, commands };
  struct Late {
    std::uint64_t due_ns;
    Bytes bytes;
  };

  Socket socket;
  Phase phase = Phase::flags;
  Bytes in;
  Bytes out;
  std::vector<Late> late;
  std::size_t max_send_bytes = ~std::size_t{0};  // at a time
  bool has_structured_replies = false;
  bool is_deaf = false;    // reads nothing more
  bool is_mute = false;    // sends nothing more
  bool hangs_up = false;   // when `out` was sent
  bool was_asked = false;  // the command whose data is awaited was passed to on_header

  void send(const Bytes& bytes) {
    if (!is_mute) append(out, bytes);
  }
  void send_late(std::uint64_t due_ns, Bytes bytes) { late.push_back({due_ns, std::move(bytes)}); }
};

class ScriptedServer final : public Dialer {
 public:
  explicit ScriptedServer(const ServerConfig& its_config)
      : config{its_config}, medium(static_cast<std::size_t>(its_config.size_bytes)) {}

  ServerConfig config;
  Bytes medium;
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<nbd::Request> seen;  // commands, in the order of their arrival
  std::uint64_t now_ns = 0;
  bool refuses_dials = false;

  /// Each returns whether the test has done what the server would do.
  std::function<bool(Peer&)> on_greeting;
  std::function<bool(Peer&, const nbd::OptionRequest&)> on_option;
  std::function<bool(Peer&, const nbd::Request&)> on_request;
  /// Called once with each command before its data has arrived.
  std::function<void(Peer&, const nbd::Request&)> on_header;

  [[nodiscard]] Socket dial() override {
    if (refuses_dials) return {};
    drop_closed();
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) return {};
    if (config.send_buffer_bytes != 0) {
      ::setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &config.send_buffer_bytes, sizeof(int));
    }
    peers.push_back(std::make_unique<Peer>(Socket{fds[1]}));
    greet(*peers.back());
    return Socket{fds[0]};
  }

  /// What the client was told when it opened the export.
  [[nodiscard]] ExportInfo info() const {
    return {.size_bytes = config.size_bytes,
            .flags = config.flags,
            .has_structured_replies =
                config.has_structured_replies &&
                (config.handshake_flags & nbd::handshake_flag::fixed_newstyle) != 0};
  }

  /// Moves bytes and answers what has arrived. Returns whether anything has happened.
  bool pump() {
    bool has_moved = false;
    for (std::size_t i = 0; i != peers.size(); ++i) has_moved = pump(*peers[i]) || has_moved;
    std::erase_if(peers, [](const auto& peer) { return !peer->socket.is_open(); });
    return has_moved;
  }
  /// When pump() has something to do although nothing arrives.
  [[nodiscard]] std::uint64_t next_due_ns() const {
    std::uint64_t next = never_ns;
    for (const auto& peer : peers) {
      for (const Peer::Late& late : peer->late) next = std::min(next, late.due_ns);
    }
    return next;
  }

  /// The right answer.
  void answer(Peer& peer, const nbd::Request& request) { peer.send(right_answer(peer, request)); }
  [[nodiscard]] Bytes right_answer(const Peer& peer, const nbd::Request& request) const {
    const bool is_read = request.command == nbd::Command::read;
    if (!peer.has_structured_replies) {
      return simple_reply(request.cookie, 0, is_read ? data_of(request) : Bytes{});
    }
    if (is_read) return data_chunk(request.cookie, request.offset, data_of(request), true);
    return chunk(request.cookie, nbd::ChunkType::none, true);
  }
  [[nodiscard]] Bytes data_of(const nbd::Request& request) const {
    const auto at = medium.begin() + static_cast<std::ptrdiff_t>(request.offset);
    return {at, at + static_cast<std::ptrdiff_t>(request.length)};
  }
  [[nodiscard]] std::size_t count_of(nbd::Command command) const {
    return static_cast<std::size_t>(std::ranges::count(seen, command, &nbd::Request::command));
  }

 private:
  /// The client has left these connections: what it sent there is not carried out later than what
  /// it sends on a new one. A real server gives no such promise; see the client's README.
  void drop_closed() {
    // What had arrived was carried out before.
    for (const auto& peer : peers) {
      while (peer->was_asked && (receive(*peer) || take_message(*peer))) {
      }
    }
    std::erase_if(peers, [](const auto& peer) {
      pollfd polled{.fd = peer->socket.fd(), .events = 0, .revents = 0};
      ::poll(&polled, 1, 0);
      return (polled.revents & (POLLHUP | POLLERR)) != 0;
    });
  }

  void greet(Peer& peer) {
    if (on_greeting && on_greeting(peer)) return;
    Bytes bytes;
    append(bytes, nbd::Greeting{.flags = config.handshake_flags});
    peer.send(bytes);
  }

  bool pump(Peer& peer) {
    bool has_moved = false;
    for (Peer::Late& late : peer.late) {
      if (late.due_ns > now_ns) continue;
      peer.send(std::exchange(late.bytes, {}));
      late.due_ns = never_ns;
      has_moved = true;
    }
    std::erase_if(peer.late, [](const Peer::Late& late) { return late.due_ns == never_ns; });
    has_moved = receive(peer) || has_moved;
    while (peer.socket.is_open() && take_message(peer)) has_moved = true;
    has_moved = send(peer) || has_moved;
    if (peer.hangs_up && peer.out.empty()) {
      peer.socket.close();
      has_moved = true;
    }
    return has_moved;
  }
  static bool receive(Peer& peer) {
    if (peer.is_deaf || !peer.socket.is_open()) return false;
    std::byte buffer[16384];
    const ssize_t count = ::recv(peer.socket.fd(), buffer, sizeof(buffer), 0);
    if (count > 0) append(peer.in, std::span{buffer, static_cast<std::size_t>(count)});
    if (count == 0) peer.socket.close();
    return count >= 0;
  }
  static bool send(Peer& peer) {
    if (peer.out.empty() || !peer.socket.is_open()) return false;
    const std::size_t length = std::min(peer.out.size(), peer.max_send_bytes);
    const ssize_t count = ::send(peer.socket.fd(), peer.out.data(), length, MSG_NOSIGNAL);
    if (count > 0) peer.out.erase(peer.out.begin(), peer.out.begin() + count);
    if (count < 0 && errno != EAGAIN) peer.socket.close();
    return count > 0;
  }

  static std::span<const std::byte> first(const Peer& peer, std::size_t bytes) {
    return std::span{peer.in}.first(bytes);
  }
  static void consume(Peer& peer, std::size_t bytes) {
    peer.in.erase(peer.in.begin(), peer.in.begin() + static_cast<std::ptrdiff_t>(bytes));
  }

  bool take_message(Peer& peer) {
    switch (peer.phase) {
      case Peer::Phase::flags:
        if (peer.in.size() < sizeof(nbd::Be32)) return false;
        consume(peer, sizeof(nbd::Be32));
        peer.phase = Peer::Phase::options;
        return true;
      case Peer::Phase::options: return take_option(peer);
      case Peer::Phase::commands: break;
    }
    return take_command(peer);
  }

  bool take_option(Peer& peer) {
    constexpr std::size_t header_bytes = sizeof(nbd::OptionHeader);
    if (peer.in.size() < header_bytes) return false;
    const auto option = nbd::parse_option(first(peer, header_bytes));
    if (!option) return false;
    if (peer.in.size() < header_bytes + option->length_bytes) return false;
    consume(peer, header_bytes + option->length_bytes);
    if (on_option && on_option(peer, *option)) return true;
    answer_option(peer, *option);
    return true;
  }

  void answer_option(Peer& peer, const nbd::OptionRequest& option) {
    using nbd::Option;
    using nbd::OptionReply;
    const auto kind = static_cast<Option>(option.number);
    if (kind == Option::export_name) {
      Bytes bytes;
      append(bytes, nbd::ExportNameReply{config.size_bytes, config.flags});
      if ((config.handshake_flags & nbd::handshake_flag::no_zeroes) == 0) {
        bytes.resize(bytes.size() + nbd::export_name_zeroes);
      }
      peer.send(bytes);
      peer.phase = Peer::Phase::commands;
    } else if (kind == Option::structured_reply && config.has_structured_replies) {
      peer.has_structured_replies = true;
      reply_to_option(peer, option.number, OptionReply::ack);
    } else if (kind == Option::go && config.has_go) {
      Bytes info;
      append(info, nbd::InfoExport{.size_bytes = config.size_bytes, .flags = config.flags});
      reply_to_option(peer, option.number, OptionReply::info, info);
      reply_to_option(peer, option.number, OptionReply::ack);
      peer.phase = Peer::Phase::commands;
    } else {
      reply_to_option(peer, option.number, OptionReply::err_unsup);
    }
  }

 public:
  static void reply_to_option(Peer& peer, std::uint32_t option, nbd::OptionReply type,
                              const Bytes& data = {}, std::optional<std::uint32_t> length = {}) {
    Bytes bytes;
    append(bytes, nbd::OptionReplyHeader{
                      .option = option,
                      .type = static_cast<std::uint32_t>(type),
                      .length = length.value_or(static_cast<std::uint32_t>(data.size()))});
    append(bytes, data);
    peer.send(bytes);
  }

 private:
  bool take_command(Peer& peer) {
    constexpr std::size_t header_bytes = sizeof(nbd::RequestHeader);
    if (peer.in.size() < header_bytes) return false;
    const auto request = nbd::parse_request(first(peer, header_bytes));
    if (!request) {
      peer.socket.close();
      return true;
    }
    if (!std::exchange(peer.was_asked, true) && on_header) on_header(peer, *request);
    const std::size_t data_bytes = request->command == nbd::Command::write ? request->length : 0;
    if (peer.in.size() < header_bytes + data_bytes) return false;
    peer.was_asked = false;
    carry_out(*request, first(peer, header_bytes + data_bytes).subspan(header_bytes));
    consume(peer, header_bytes + data_bytes);
    seen.push_back(*request);
    if (request->command == nbd::Command::disconnect) {
      peer.hangs_up = true;
      return true;
    }
    if (!on_request || !on_request(peer, *request)) answer(peer, *request);
    return true;
  }

  void carry_out(const nbd::Request& request, std::span<const std::byte> data) {
    if (request.offset > medium.size() || request.length > medium.size() - request.offset) return;
    const auto at = medium.begin() + static_cast<std::ptrdiff_t>(request.offset);
    if (request.command == nbd::Command::write) std::ranges::copy(data, at);
    if (request.command == nbd::Command::trim || request.command == nbd::Command::write_zeroes) {
      std::fill_n(at, request.length, std::byte{0});
    }
  }
};

}  // namespace nbd_client

#endif
