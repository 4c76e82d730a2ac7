// SPDX-License-Identifier: BSL-1.0
//
// The parser of vhost-user messages. It takes any bytes, and any number of file descriptors with
// them: it gives the message, or the reason why they are none.
//
// The parser checks what can be seen in the message alone. Whether a queue has this index and
// whether an address is in the guest's memory is checked by the user.

#ifndef VHOST_USER_BLK_MESSAGES_HPP
#define VHOST_USER_BLK_MESSAGES_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>

#include "protocol.hpp"

namespace vhost_user {

/// Why bytes are no message, or why a message is refused.
enum class MessageError : std::uint8_t {
  wrong_version,    ///< Not version 1, or a reply.
  unknown_request,  ///< A request that the target does not know.
  wrong_size,       ///< A payload of another length than this request has.
  wrong_fd_count,   ///< File descriptors too many or too few.
  bad_value,        ///< A value that the request does not allow.
  no_such_queue,
  wrong_state,  ///< A request that needs another before it.
  bad_memory,   ///< A memory table that is not acceptable. MemoryError says why.
  bad_ring,     ///< The addresses of a ring. RingError says why.
  hung_up,      ///< The socket has no other end any more, or takes no reply.
};
inline constexpr std::size_t message_error_count =
    static_cast<std::size_t>(MessageError::hung_up) + 1;

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(MessageError error) noexcept {
  switch (error) {
    case MessageError::wrong_version: return "wrong_version";
    case MessageError::unknown_request: return "unknown_request";
    case MessageError::wrong_size: return "wrong_size";
    case MessageError::wrong_fd_count: return "wrong_fd_count";
    case MessageError::bad_value: return "bad_value";
    case MessageError::no_such_queue: return "no_such_queue";
    case MessageError::wrong_state: return "wrong_state";
    case MessageError::bad_memory: return "bad_memory";
    case MessageError::bad_ring: return "bad_ring";
    case MessageError::hung_up: return "hung_up";
  }
  return "unknown message error";
}

/// A message. Only the fields of its request are set.
struct Message {
  Request request{};
  bool needs_reply = false;  ///< The front end waits for a number: 0 for success.
  std::uint64_t number = 0;  ///< Features, or the index of a kick, call or err.
  VringState state{};        ///< Also the index of set_vring_enable and get_vring_base.
  VringAddress address{};
  std::array<MemoryRegion, max_memory_regions> regions{};
  std::size_t region_count = 0;
  ConfigHeader config{};
  Inflight inflight{};

  /// The index of the queue in a kick, a call or an err.
  [[nodiscard]] std::uint32_t queue_of_fd() const noexcept {
    return static_cast<std::uint32_t>(number & 0xFF);
  }
};

/// Whether a message with this header can be read on.
/// Errors: wrong_version; wrong_size if no message is as long.
[[nodiscard]] inline std::expected<void, MessageError> check_header(const Header& header) {
  using namespace header_flag;
  if ((header.flags & version_mask) != version || (header.flags & reply) != 0) {
    return std::unexpected(MessageError::wrong_version);
  }
  if (header.size > max_payload_bytes) return std::unexpected(MessageError::wrong_size);
  return {};
}

namespace detail {

/// Reads the payload of one message.
class Parser {
 public:
  Parser(const Header& header, std::span<const std::byte> payload, std::size_t fd_count)
      : payload_{payload}, fd_count_{fd_count} {
    message_.request = static_cast<Request>(header.request);
    message_.needs_reply = (header.flags & header_flag::need_reply) != 0;
  }

  [[nodiscard]] std::expected<Message, MessageError> parse() {
    switch (message_.request) {
      case Request::get_features:
      case Request::set_owner:
      case Request::reset_owner:
      case Request::get_protocol_features:
      case Request::get_queue_num:
      case Request::reset_device: return whole(0, 0);
      case Request::set_features:
      case Request::set_protocol_features: return one(message_.number);
      case Request::set_vring_num:
      case Request::set_vring_base:
      case Request::get_vring_base:
      case Request::set_vring_enable: return one(message_.state);
      case Request::set_vring_addr: return one(message_.address);
      case Request::set_vring_kick:
      case Request::set_vring_call:
      case Request::set_vring_err: return eventfd();
      case Request::set_mem_table: return memory_table();
      case Request::get_config:
      case Request::set_config: return config();
      case Request::get_inflight_fd: return inflight(0);
      case Request::set_inflight_fd: return inflight(1);
    }
    return std::unexpected(MessageError::unknown_request);
  }

 private:
  using Parsed = std::expected<Message, MessageError>;

  /// The message, if its payload and its descriptors are as many.
  [[nodiscard]] Parsed whole(std::size_t payload_bytes, std::size_t fds) const {
    if (payload_.size() != payload_bytes) return std::unexpected(MessageError::wrong_size);
    if (fd_count_ != fds) return std::unexpected(MessageError::wrong_fd_count);
    return message_;
  }
  template <class T>
  void take(T& field, std::size_t offset = 0) const noexcept {
    if (payload_.size() >= offset + sizeof(T)) {
      std::memcpy(&field, payload_.data() + offset, sizeof(T));
    }
  }
  /// A payload of one field, without descriptors.
  template <class T>
  [[nodiscard]] Parsed one(T& field) const {
    take(field);
    return whole(sizeof(T), 0);
  }
  [[nodiscard]] Parsed eventfd() {
    take(message_.number);
    const std::uint64_t unknown_bits = message_.number & ~(vring_no_fd | 0xFF);
    const bool has_fd = (message_.number & vring_no_fd) == 0;
    auto parsed = whole(sizeof(message_.number), has_fd ? 1 : 0);
    if (parsed && unknown_bits != 0) return std::unexpected(MessageError::bad_value);
    return parsed;
  }
  [[nodiscard]] Parsed memory_table() {
    MemoryTableHeader header;
    take(header);
    if (payload_.size() < sizeof(header)) return std::unexpected(MessageError::wrong_size);
    if (header.count > max_memory_regions) return std::unexpected(MessageError::bad_value);
    message_.region_count = header.count;
    for (std::size_t i = 0; i != header.count; ++i) {
      take(message_.regions[i], sizeof(header) + i * sizeof(MemoryRegion));
    }
    const std::size_t bytes = sizeof(header) + header.count * sizeof(MemoryRegion);
    return whole(bytes, header.count);
  }
  [[nodiscard]] Parsed config() {
    take(message_.config);
    if (message_.config.size > max_config_bytes) return std::unexpected(MessageError::bad_value);
    return whole(sizeof(ConfigHeader) + message_.config.size, 0);
  }
  [[nodiscard]] Parsed inflight(std::size_t fds) {
    if (payload_.size() == inflight_bytes_without_padding) {
      std::memcpy(&message_.inflight, payload_.data(), payload_.size());
      return whole(inflight_bytes_without_padding, fds);
    }
    take(message_.inflight);
    return whole(sizeof(Inflight), fds);
  }

  Message message_{};
  std::span<const std::byte> payload_;
  std::size_t fd_count_;
};

}  // namespace detail

/// Parses a message of which all bytes have arrived.
/// Errors: all but those that need the state of the target.
[[nodiscard]] inline std::expected<Message, MessageError> parse_message(
    const Header& header, std::span<const std::byte> payload, std::size_t fd_count) {
  if (const auto good = check_header(header); !good) return std::unexpected(good.error());
  return detail::Parser{header, payload, fd_count}.parse();
}

}  // namespace vhost_user

#endif
