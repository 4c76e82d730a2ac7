// SPDX-License-Identifier: BSL-1.0
//
// Command: the data of a request. A request lives from the moment at which a command's header has
// arrived until its reply is on the wire:
//
//   Idle, Owned   the connection: the header, then the data of a write
//   Owned         the store, which ends it, or
//   published     the store's device, which has the request's cookie and sends it back
//   Claim         the store: the cookie was looked up
//   Ended         the connection: the reply waits for the socket, and is sent
//   released      the tag is free
//
// The client's cookie is data of the request, and is only ever sent back to the client. The ids
// that a store's device gets are the library's, so a client cannot forge one.

#ifndef NBD_SERVER_REQUEST_HPP
#define NBD_SERVER_REQUEST_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "nbd/messages.hpp"
#include "payload.hpp"
#include "storage/io.hpp"

namespace nbd_server {

class Export;
class Worker;

/// Why a command is not executed: the error for the client, with a text for humans.
struct Refusal {
  nbd::Error error = nbd::Error::ok;
  const char* text = "";
};

struct Command {
  nbd::Request wire;               ///< As the client sent it.
  const Export* target = nullptr;  ///< The export that the client has chosen.
  Worker* worker = nullptr;        ///< The worker of the client's connection.
  Payload payload;                 ///< Of a read, of a write and of a block status. Else empty.
  bool is_lent = false;            ///< The payload of a read is the store's own memory.
  Refusal refusal;                 ///< Set if the store does not get the command.

  /// What is sent before the payload: the longest header is that of an error chunk.
  std::array<std::byte, sizeof(nbd::ChunkHeader) + sizeof(nbd::OffsetData)> reply_header{};
  std::size_t reply_header_bytes = 0;
  blkown::Segment reply_data{};   ///< The payload or its part that is sent.
  std::string_view reply_text{};  ///< The text of an error chunk.

  [[nodiscard]] bool has_flag(std::uint16_t flag) const noexcept {
    return (wire.flags & flag) != 0;
  }
};

using Rq = blkown::Request<Command>;
using Tags = blkown::TagSet<Rq>;

/// The layout of the ids that a store gives to its device. A connection is a hardware queue.
using storage::cookie_layout;
/// The largest number of connections: all values of the layout's queue but one.
inline constexpr std::uint32_t max_connections = 255;

}  // namespace nbd_server

#endif
