// SPDX-License-Identifier: BSL-1.0
//
// Handshake: the client's side of NBD's newstyle negotiation, without I/O. Negotiation: a Handshake
// on a socket that does not block.
//
//   server  greeting                      client  flags
//   client  structured_reply              server  ack, or an error: replies are then simple
//   client  go, with the export's name    server  info..., ack
//
// A server without `go` gets export_name, which has no error reply. Each message of the server has
// a length that is known or limited before it is read. A server that sends too many is stopped by
// the time limit of the caller. A client that gives up between two options says so with `abort`,
// and does not wait for the reply.

#ifndef EXAMPLES_NBD_CLIENT_HANDSHAKE_HPP
#define EXAMPLES_NBD_CLIENT_HANDSHAKE_HPP

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../nbd/messages.hpp"
#include "socket.hpp"

namespace nbd_client {

/// What the server has said about an export.
struct ExportInfo {
  std::uint64_t size_bytes = 0;
  std::uint16_t flags = 0;            ///< transmission_flag.
  std::uint32_t min_bytes = 0;        ///< 0, like the next two: the server has no limit of its own.
  std::uint32_t preferred_bytes = 0;  ///< The I/O that the server likes.
  std::uint32_t max_bytes = 0;        ///< The longest payload.
  bool has_structured_replies = false;

  [[nodiscard]] bool has(std::uint16_t flag) const noexcept { return (flags & flag) != 0; }
  friend constexpr bool operator==(const ExportInfo&, const ExportInfo&) = default;
};

/// Why a negotiation has failed.
enum class NegotiationError : std::uint8_t {
  none,
  connect_failed,  ///< No connection.
  closed,          ///< The server has closed the connection.
  timed_out,       ///< The server was not done in time.
  no_nbd_server,   ///< The greeting is another one, such as that of the old style.
  bad_message,     ///< A message that the protocol does not allow.
  tls_required,    ///< The server wants TLS.
  unknown_export,  ///< The server has no export of the name.
  shutting_down,   ///< The server is about to go. It may be there again soon.
  refused,         ///< Another error of the server.
  changed,         ///< At a reconnect: the export is not what it was.
};

/// The error, for a message.
[[nodiscard]] constexpr const char* to_string(NegotiationError error) noexcept {
  switch (error) {
    case NegotiationError::none: return "no error";
    case NegotiationError::connect_failed: return "cannot connect";
    case NegotiationError::closed: return "the server has closed the connection";
    case NegotiationError::timed_out: return "the server does not answer";
    case NegotiationError::no_nbd_server: return "not an NBD server of the newstyle";
    case NegotiationError::bad_message: return "the server breaks the protocol";
    case NegotiationError::tls_required: return "the server requires TLS";
    case NegotiationError::unknown_export: return "the server has no such export";
    case NegotiationError::shutting_down: return "the server is shutting down";
    case NegotiationError::refused: return "the server refuses the export";
    case NegotiationError::changed: return "the export has changed";
  }
  return "unknown error";
}

/// The steps of a negotiation. The caller sends output(), and passes in exactly wanted_bytes().
class Handshake {
 public:
  enum class State : std::uint8_t { running, done, failed };

  explicit Handshake(std::string export_name) : export_name_{std::move(export_name)} {}

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] NegotiationError error() const noexcept { return error_; }
  /// Precondition: state() is done.
  [[nodiscard]] const ExportInfo& info() const noexcept { return info_; }

  /// The bytes to be sent. The caller removes what it has sent.
  [[nodiscard]] std::vector<std::byte>& output() noexcept { return output_; }
  /// The number of bytes that step() takes next.
  [[nodiscard]] std::size_t wanted_bytes() const noexcept { return wanted_bytes_; }
  /// Gives up. If the server expects an option, the output becomes `abort`.
  void abandon(NegotiationError error) {
    const bool is_between_options = expected_ == Expected::reply_header && output_.empty();
    fail(error);
    if (is_between_options) append(nbd::OptionHeader{.option = abort_number});
  }
  /// Takes the next message or part of one.
  /// Precondition: state() is running, and there are wanted_bytes().
  void step(std::span<const std::byte> bytes) {
    switch (expected_) {
      case Expected::greeting: return take_greeting(bytes);
      case Expected::reply_header: return take_header(bytes);
      case Expected::reply_data: return take_reply(bytes);
      case Expected::export_reply: return take_export_reply(bytes);
    }
  }

 private:
  enum class Expected : std::uint8_t { greeting, reply_header, reply_data, export_reply };
  static constexpr auto abort_number = static_cast<std::uint32_t>(nbd::Option::abort);

  void fail(NegotiationError error) noexcept {
    state_ = State::failed;
    error_ = error;
  }
  void expect(Expected next, std::size_t bytes) noexcept {
    expected_ = next;
    wanted_bytes_ = bytes;
  }
  template <nbd::Wire T>
  void append(const T& value) {
    const auto bytes = nbd::bytes_of(value);
    output_.insert(output_.end(), bytes.begin(), bytes.end());
  }
  void append(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text});
    output_.insert(output_.end(), bytes.begin(), bytes.end());
  }

  void take_greeting(std::span<const std::byte> bytes) {
    const auto flags = nbd::parse_greeting(bytes);
    if (!flags) return fail(NegotiationError::no_nbd_server);
    const bool is_fixed = (*flags & nbd::handshake_flag::fixed_newstyle) != 0;
    has_zeroes_ = (*flags & nbd::handshake_flag::no_zeroes) == 0;
    std::uint32_t answer = 0;
    if (is_fixed) answer |= nbd::client_flag::fixed_newstyle;
    if (!has_zeroes_) answer |= nbd::client_flag::no_zeroes;
    append(nbd::Be32{answer});
    if (!is_fixed) return send_export_name();
    send_option(nbd::Option::structured_reply, 0);
  }

  void send_option(nbd::Option option, std::uint32_t length) {
    option_ = option;
    append(nbd::OptionHeader{
        .option = static_cast<std::uint32_t>(option),
        .length = length,
    });
    expect(Expected::reply_header, sizeof(nbd::OptionReplyHeader));
  }
  void send_go() {
    const auto name_bytes = static_cast<std::uint32_t>(export_name_.size());
    send_option(nbd::Option::go, name_bytes + 8);
    append(nbd::Be32{name_bytes});
    append(export_name_);
    append(nbd::Be16{std::uint16_t{1}});
    append(nbd::Be16{static_cast<std::uint16_t>(nbd::Info::block_size)});
  }
  void send_export_name() {
    send_option(nbd::Option::export_name, static_cast<std::uint32_t>(export_name_.size()));
    append(export_name_);
    expect(Expected::export_reply,
           sizeof(nbd::ExportNameReply) + (has_zeroes_ ? nbd::export_name_zeroes : 0));
  }

  void take_header(std::span<const std::byte> bytes) {
    const auto header = nbd::parse_option_reply(bytes);
    if (!header || header->option != static_cast<std::uint32_t>(option_) ||
        header->length_bytes > nbd::max_option_bytes) {
      return fail(NegotiationError::bad_message);
    }
    reply_ = header->type;
    if (header->length_bytes == 0) return take_reply({});
    expect(Expected::reply_data, header->length_bytes);
  }

  void take_reply(std::span<const std::byte> data) {
    expect(Expected::reply_header, sizeof(nbd::OptionReplyHeader));
    if (reply_ == nbd::OptionReply::err_tls_reqd) return abandon(NegotiationError::tls_required);
    if (reply_ == nbd::OptionReply::err_shutdown) return abandon(NegotiationError::shutting_down);
    if (option_ == nbd::Option::structured_reply) {
      if (reply_ != nbd::OptionReply::ack && !nbd::is_error(reply_)) {
        return fail(NegotiationError::bad_message);
      }
      info_.has_structured_replies = reply_ == nbd::OptionReply::ack;
      return send_go();
    }
    if (reply_ == nbd::OptionReply::info) return take_info(data);
    if (reply_ == nbd::OptionReply::ack) return finish();
    if (reply_ == nbd::OptionReply::err_unsup) return send_export_name();
    if (reply_ == nbd::OptionReply::err_unknown) return abandon(NegotiationError::unknown_export);
    if (nbd::is_error(reply_)) return abandon(NegotiationError::refused);
    fail(NegotiationError::bad_message);
  }
  void take_info(std::span<const std::byte> data) {
    const auto reply = nbd::parse_info_reply(data);
    if (!reply) return fail(NegotiationError::bad_message);
    if (reply->type == static_cast<std::uint16_t>(nbd::Info::export_)) {
      info_.size_bytes = reply->size_bytes;
      info_.flags = reply->flags;
    } else if (reply->type == static_cast<std::uint16_t>(nbd::Info::block_size)) {
      info_.min_bytes = reply->min_bytes;
      info_.preferred_bytes = reply->preferred_bytes;
      info_.max_bytes = reply->max_bytes;
    }
  }
  void take_export_reply(std::span<const std::byte> bytes) {
    const auto reply = nbd::read_at_start<nbd::ExportNameReply>(bytes);
    if (!reply) return fail(NegotiationError::bad_message);
    info_.size_bytes = reply->size_bytes;
    info_.flags = reply->flags;
    finish();
  }
  /// An export without flags was never described.
  void finish() {
    if (!info_.has(nbd::transmission_flag::has_flags)) return fail(NegotiationError::bad_message);
    state_ = State::done;
  }

  std::string export_name_;
  ExportInfo info_;
  std::vector<std::byte> output_;
  std::size_t wanted_bytes_ = sizeof(nbd::Greeting);
  nbd::Option option_{};      // sent last
  nbd::OptionReply reply_{};  // whose data is expected
  State state_ = State::running;
  Expected expected_ = Expected::greeting;
  NegotiationError error_ = NegotiationError::none;
  bool has_zeroes_ = true;
};

/// Tells the server that no command follows. The socket is not in the middle of one.
inline void say_goodbye(const Socket& socket) noexcept {
  const nbd::RequestHeader goodbye{.type = static_cast<std::uint16_t>(nbd::Command::disconnect)};
  static_cast<void>(::send(socket.fd(), &goodbye, sizeof(goodbye), MSG_NOSIGNAL));
}

/// A Handshake on a socket. It reads no byte behind the negotiation.
class Negotiation {
 public:
  explicit Negotiation(std::string export_name) : handshake_{std::move(export_name)} {}

  /// The events of poll(2) to wait for.
  [[nodiscard]] short events() noexcept {
    return static_cast<short>(POLLIN | (handshake_.output().empty() ? 0 : POLLOUT));
  }
  /// Sends and receives what can be without waiting, at most some messages at a time: a server that
  /// never stops to send does not keep the caller from its clock. Returns true when the negotiation
  /// has ended.
  bool advance(int fd) {
    for (unsigned i = 0; i != max_steps; ++i) {
      if (error() != NegotiationError::none || is_done()) return true;
      const bool has_sent = send(fd);
      const bool has_received = receive(fd);
      if (!has_sent && !has_received) break;
    }
    return error() != NegotiationError::none || is_done();
  }
  /// Whether the export can be used: nothing is left to be sent.
  [[nodiscard]] bool is_done() noexcept {
    return handshake_.state() == Handshake::State::done && handshake_.output().empty();
  }
  [[nodiscard]] NegotiationError error() const noexcept {
    return error_ != NegotiationError::none ? error_ : handshake_.error();
  }
  [[nodiscard]] const ExportInfo& info() const noexcept { return handshake_.info(); }
  /// Gives up while the negotiation runs, and says so to the server if it can be told.
  void abandon(int fd) {
    handshake_.abandon(NegotiationError::closed);
    say_abort(fd);
  }

 private:
  /// What a failed handshake has left to say. A socket that does not take it is closed without: the
  /// error stays what it is.
  void say_abort(int fd) {
    const auto& output = handshake_.output();
    if (handshake_.state() != Handshake::State::failed || output.empty()) return;
    static_cast<void>(::send(fd, output.data(), output.size(), MSG_NOSIGNAL));
  }
  bool send(int fd) {
    auto& output = handshake_.output();
    if (output.empty()) return false;
    const ssize_t count = ::send(fd, output.data(), output.size(), MSG_NOSIGNAL);
    if (count < 0) return note_failure();
    output.erase(output.begin(), output.begin() + count);
    return true;
  }
  bool receive(int fd) {
    if (handshake_.state() != Handshake::State::running) return false;
    const std::size_t have = input_.size();
    input_.resize(handshake_.wanted_bytes());
    const ssize_t count = ::recv(fd, input_.data() + have, input_.size() - have, 0);
    input_.resize(have + static_cast<std::size_t>(count > 0 ? count : 0));
    if (count < 0) return note_failure();
    if (count == 0) error_ = NegotiationError::closed;
    if (input_.size() == handshake_.wanted_bytes()) {
      handshake_.step(std::exchange(input_, {}));
      say_abort(fd);
    }
    return true;
  }
  /// Returns false: there is nothing to be done without waiting.
  bool note_failure() noexcept {
    if (errno != EAGAIN && errno != EINTR) error_ = NegotiationError::closed;
    return false;
  }

  static constexpr unsigned max_steps = 32;

  Handshake handshake_;
  std::vector<std::byte> input_;  // of the message that is expected
  NegotiationError error_ = NegotiationError::none;
};

}  // namespace nbd_client

#endif
