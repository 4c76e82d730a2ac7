// SPDX-License-Identifier: BSL-1.0
//
// The reply to a command: a header in the request's data, then the payload or a text.

#ifndef NBD_SERVER_REPLY_HPP
#define NBD_SERVER_REPLY_HPP

#include <sys/uio.h>

#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "nbd/messages.hpp"
#include "nbd/status.hpp"
#include "request.hpp"

namespace nbd_server {
namespace detail {

template <nbd::Wire T>
void put(Command& command, const T& value) {
  const auto bytes = nbd::bytes_of(value);
  std::memcpy(command.reply_header.data() + command.reply_header_bytes, bytes.data(), bytes.size());
  command.reply_header_bytes += bytes.size();
}

/// The header of the only chunk of a reply.
inline void put_chunk(Command& command, nbd::ChunkType type, std::size_t payload_bytes) {
  put(command, nbd::ChunkHeader{.flags = nbd::reply_flag::done,
                                .type = static_cast<std::uint16_t>(type),
                                .cookie = command.wire.cookie,
                                .length = static_cast<std::uint32_t>(payload_bytes)});
}

inline void put_error(Command& command, nbd::Error error, std::string_view text) {
  put_chunk(command, nbd::ChunkType::error, sizeof(nbd::ErrorChunk) + text.size());
  put(command, nbd::ErrorChunk{.error = static_cast<std::uint32_t>(error),
                               .message_length = static_cast<std::uint16_t>(text.size())});
  command.reply_text = text;
}

}  // namespace detail

/// Writes the reply to a command that has ended with the status.
inline void make_reply(Command& command, blkown::Status status, bool structured) {
  const bool is_refused = command.refusal.error != nbd::Error::ok;
  const nbd::Error error = is_refused ? command.refusal.error : nbd::error_of(status);
  const bool has_data = error == nbd::Error::ok && !command.payload.memory().empty() &&
                        command.wire.command != nbd::Command::write;
  command.reply_header_bytes = 0;
  command.reply_text = {};
  command.reply_data = has_data ? command.payload.memory() : blkown::Segment{};
  const std::size_t data_bytes = command.reply_data.length_bytes;
  if (!structured) {
    detail::put(command, nbd::SimpleReply{.error = static_cast<std::uint32_t>(error),
                                          .cookie = command.wire.cookie});
  } else if (error != nbd::Error::ok) {
    detail::put_error(command, error, is_refused ? command.refusal.text : to_string(status));
  } else if (!has_data) {
    detail::put_chunk(command, nbd::ChunkType::none, 0);
  } else if (command.wire.command == nbd::Command::read) {
    detail::put_chunk(command, nbd::ChunkType::offset_data, sizeof(nbd::OffsetData) + data_bytes);
    detail::put(command, nbd::OffsetData{.offset = command.wire.offset});
  } else {
    detail::put_chunk(command, nbd::ChunkType::block_status, data_bytes);
  }
}

/// The length of a reply.
[[nodiscard]] inline std::size_t reply_bytes(const Command& command) noexcept {
  return command.reply_header_bytes + command.reply_data.length_bytes + command.reply_text.size();
}

/// Adds the reply without its first `skip_bytes` to the vector. Returns the number of elements that
/// were added, at most 2.
/// Precondition: skip_bytes < reply_bytes(command).
inline std::size_t gather_reply(const Command& command, std::size_t skip_bytes, iovec* to) {
  std::size_t count = 0;
  const auto add = [&](const void* data, std::size_t length_bytes) {
    if (skip_bytes >= length_bytes) {
      skip_bytes -= length_bytes;
      return;
    }
    // sendmsg reads only, and its vector is of pointers to memory that may be written.
    auto* const first = static_cast<std::byte*>(const_cast<void*>(data)) + skip_bytes;
    to[count++] = {.iov_base = first, .iov_len = length_bytes - skip_bytes};
    skip_bytes = 0;
  };
  add(command.reply_header.data(), command.reply_header_bytes);
  add(command.reply_data.data, command.reply_data.length_bytes);
  add(command.reply_text.data(), command.reply_text.size());
  return count;
}

}  // namespace nbd_server

#endif
