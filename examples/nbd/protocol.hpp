// SPDX-License-Identifier: BSL-1.0
//
// The wire format of NBD: numbers, codes and structures of fixed size. No behaviour. Messages of
// variable size are in messages.hpp.
//
// Every `Source:` names a section of the protocol's text, doc/proto.md of NetworkBlockDevice/nbd.
// All integers on the wire are unsigned and big-endian. No structure has padding or alignment, so
// that a structure is sent and received as its bytes: bytes_of(), read_at_start().

#ifndef NBD_PROTOCOL_HPP
#define NBD_PROTOCOL_HPP

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace nbd {

/// An unsigned integer in network byte order, without alignment. It converts from and to the
/// integer.
/// Source: "Conventions".
template <std::unsigned_integral T>
class BigEndian {
 public:
  constexpr BigEndian() noexcept = default;
  constexpr BigEndian(T value) noexcept
      : bytes_{std::bit_cast<std::array<std::byte, sizeof(T)>>(reordered(value))} {}

  constexpr operator T() const noexcept { return reordered(std::bit_cast<T>(bytes_)); }
  [[nodiscard]] constexpr T get() const noexcept { return *this; }

 private:
  [[nodiscard]] static constexpr T reordered(T value) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
      return std::byteswap(value);
    } else {
      return value;
    }
  }

  std::array<std::byte, sizeof(T)> bytes_{};
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;

/// A structure that is on the wire as it is in memory.
template <typename T>
concept Wire = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> && alignof(T) == 1;
static_assert(Wire<Be16> && Wire<Be32> && Wire<Be64>);

/// The bytes of a structure, to be sent.
template <Wire T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) noexcept {
  return std::as_bytes(std::span{&value, 1});
}

/// The structure at the start of the bytes. None if there are too few.
template <Wire T>
[[nodiscard]] std::optional<T> read_at_start(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// ---- Limits

/// The TCP port that is assigned to NBD.
inline constexpr std::uint16_t default_port = 10809;
/// The longest string: a name, a description or an error message.
/// Source: "Conventions".
inline constexpr std::uint32_t max_string_bytes = 4096;
/// The longest data of an option or of a reply to an option that these programs take. The text has
/// no limit. Two strings and some integers are half of it.
inline constexpr std::uint32_t max_option_bytes = 16 * 1024;
/// The payload that each server takes and each client may send if the two agree on no other limit.
/// Source: "Block size constraints".
inline constexpr std::uint32_t default_max_payload_bytes = 32 * 1024 * 1024;

// ---- Handshake

/// Source: "Newstyle negotiation".
inline constexpr std::uint64_t nbd_magic = 0x4e42444d41474943;  // NBDMAGIC
/// Opens the server's greeting after nbd_magic, and each option of the client.
/// Source: "Newstyle negotiation".
inline constexpr std::uint64_t option_magic = 0x49484156454f5054;  // IHAVEOPT
/// Source: "Fixed newstyle negotiation".
inline constexpr std::uint64_t option_reply_magic = 0x0003e889045565a9;

/// The server's flags of the greeting.
/// Source: "Handshake flags".
namespace handshake_flag {
inline constexpr std::uint16_t fixed_newstyle = 1U << 0;  ///< Options get replies.
inline constexpr std::uint16_t no_zeroes = 1U << 1;       ///< The 124 zeroes may be left out.
}  // namespace handshake_flag

/// The client's answer to the greeting.
/// Source: "Client flags".
namespace client_flag {
inline constexpr std::uint32_t fixed_newstyle = 1U << 0;
inline constexpr std::uint32_t no_zeroes = 1U << 1;
inline constexpr std::uint32_t all = fixed_newstyle | no_zeroes;
}  // namespace client_flag

/// What an export can do. Sent by the server with the size of the export.
/// Source: "Transmission flags".
namespace transmission_flag {
inline constexpr std::uint16_t has_flags = 1U << 0;  ///< Always set.
inline constexpr std::uint16_t read_only = 1U << 1;
inline constexpr std::uint16_t send_flush = 1U << 2;
inline constexpr std::uint16_t send_fua = 1U << 3;
inline constexpr std::uint16_t rotational = 1U << 4;
inline constexpr std::uint16_t send_trim = 1U << 5;
inline constexpr std::uint16_t send_write_zeroes = 1U << 6;
inline constexpr std::uint16_t send_df = 1U << 7;  ///< Needs structured replies.
/// A flush on one connection covers what was answered on all connections.
inline constexpr std::uint16_t can_multi_conn = 1U << 8;
inline constexpr std::uint16_t send_resize = 1U << 9;  ///< Experimental.
inline constexpr std::uint16_t send_cache = 1U << 10;
inline constexpr std::uint16_t send_fast_zero = 1U << 11;
}  // namespace transmission_flag

/// The options that a client may send. A server answers other values with err_unsup.
/// Source: "Option types".
enum class Option : std::uint32_t {
  export_name = 1,  ///< Ends the negotiation. Has no error reply.
  abort = 2,
  list = 3,
  starttls = 5,
  info = 6,
  go = 7,  ///< Ends the negotiation if it succeeds.
  structured_reply = 8,
  list_meta_context = 9,
  set_meta_context = 10,
  extended_headers = 11,
};

/// The replies to an option. Bit 31 is an error.
/// Source: "Option reply types".
enum class OptionReply : std::uint32_t {
  ack = 1,
  server = 2,
  info = 3,
  meta_context = 4,
  err_unsup = 0x8000'0001,
  err_policy = 0x8000'0002,
  err_invalid = 0x8000'0003,
  err_platform = 0x8000'0004,
  err_tls_reqd = 0x8000'0005,
  err_unknown = 0x8000'0006,  ///< No such export.
  err_shutdown = 0x8000'0007,
  err_block_size_reqd = 0x8000'0008,
  err_too_big = 0x8000'0009,
  err_ext_header_reqd = 0x8000'000a,
};

/// Whether the reply ends the option with an error. Its data, if any, is a message for humans.
[[nodiscard]] constexpr bool is_error(OptionReply reply) noexcept {
  return (static_cast<std::uint32_t>(reply) & 0x8000'0000) != 0;
}

/// The kinds of information about an export in replies to Option::info and Option::go.
/// Source: "Option reply types", NBD_REP_INFO.
enum class Info : std::uint16_t {
  export_ = 0,  ///< InfoExport.
  name = 1,
  description = 2,
  block_size = 3,  ///< InfoBlockSize.
};

/// The server's first message. The client answers with a Be32 of client_flag.
/// Source: "Newstyle negotiation".
struct Greeting {
  Be64 magic = nbd_magic;
  Be64 version = option_magic;
  Be16 flags{};  ///< handshake_flag.
};
static_assert(Wire<Greeting> && sizeof(Greeting) == 18);

/// An option of the client. `length` bytes follow.
/// Source: "Newstyle negotiation".
struct OptionHeader {
  Be64 magic = option_magic;
  Be32 option{};  ///< Option, or a value that the receiver does not know.
  Be32 length{};
};
static_assert(Wire<OptionHeader> && sizeof(OptionHeader) == 16);

/// A reply to an option. `length` bytes follow.
/// Source: "Fixed newstyle negotiation".
struct OptionReplyHeader {
  Be64 magic = option_reply_magic;
  Be32 option{};  ///< As the client sent it.
  Be32 type{};    ///< OptionReply.
  Be32 length{};
};
static_assert(Wire<OptionReplyHeader> && sizeof(OptionReplyHeader) == 20);

/// The answer to Option::export_name. export_name_zeroes zero bytes follow, unless both sides have
/// set no_zeroes.
/// Source: "Newstyle negotiation".
struct ExportNameReply {
  Be64 size_bytes{};
  Be16 flags{};  ///< transmission_flag.
};
static_assert(Wire<ExportNameReply> && sizeof(ExportNameReply) == 10);
inline constexpr std::size_t export_name_zeroes = 124;

/// The data of a reply of kind Info::export_.
/// Source: "Option reply types", NBD_INFO_EXPORT.
struct InfoExport {
  Be16 type = static_cast<std::uint16_t>(Info::export_);
  Be64 size_bytes{};
  Be16 flags{};  ///< transmission_flag.
};
static_assert(Wire<InfoExport> && sizeof(InfoExport) == 12);

/// The data of a reply of kind Info::block_size.
/// Source: "Option reply types", NBD_INFO_BLOCK_SIZE.
struct InfoBlockSize {
  Be16 type = static_cast<std::uint16_t>(Info::block_size);
  Be32 min_bytes{};        ///< A power of two, at most 64 KiB.
  Be32 preferred_bytes{};  ///< A power of two, at least 512 and min_bytes.
  Be32 max_bytes{};        ///< The longest payload. A multiple of min_bytes, or all ones.
};
static_assert(Wire<InfoBlockSize> && sizeof(InfoBlockSize) == 14);

// ---- Transmission

/// Source: "Request message".
inline constexpr std::uint32_t request_magic = 0x25609513;
/// Source: "Simple reply message".
inline constexpr std::uint32_t simple_reply_magic = 0x67446698;
/// Source: "Structured reply chunk message".
inline constexpr std::uint32_t structured_reply_magic = 0x668e33ef;

/// Source: "Request types".
enum class Command : std::uint16_t {
  read = 0,
  write = 1,
  disconnect = 2,  ///< Has no reply.
  flush = 3,
  trim = 4,
  cache = 5,
  write_zeroes = 6,
  block_status = 7,
};

/// Source: "Command flags".
namespace command_flag {
inline constexpr std::uint16_t fua = 1U << 0;
inline constexpr std::uint16_t no_hole = 1U << 1;    ///< Of write_zeroes.
inline constexpr std::uint16_t df = 1U << 2;         ///< Of read: one chunk of data.
inline constexpr std::uint16_t req_one = 1U << 3;    ///< Of block_status: one extent.
inline constexpr std::uint16_t fast_zero = 1U << 4;  ///< Of write_zeroes: fail if it would be slow.
}  // namespace command_flag

/// The errors of replies. A client treats other values as einval.
/// Source: "Error values".
enum class Error : std::uint32_t {
  ok = 0,
  eperm = 1,
  eio = 5,
  enomem = 12,
  einval = 22,
  enospc = 28,
  eoverflow = 75,
  enotsup = 95,
  eshutdown = 108,
};

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(Error error) noexcept {
  switch (error) {
    case Error::ok: return "ok";
    case Error::eperm: return "eperm";
    case Error::eio: return "eio";
    case Error::enomem: return "enomem";
    case Error::einval: return "einval";
    case Error::enospc: return "enospc";
    case Error::eoverflow: return "eoverflow";
    case Error::enotsup: return "enotsup";
    case Error::eshutdown: return "eshutdown";
  }
  return "unknown error";
}

/// The kinds of chunks of a structured reply. Bit 15 is an error.
/// Source: "Structured reply types".
enum class ChunkType : std::uint16_t {
  none = 0,          ///< No data. Always with reply_flag::done.
  offset_data = 1,   ///< OffsetData, then the bytes.
  offset_hole = 2,   ///< OffsetHole.
  block_status = 5,  ///< A Be32, the id of the metadata context, then one or more BlockDescriptors.
  error = 0x8001,    ///< ErrorChunk, then the message.
  error_offset = 0x8002,  ///< ErrorChunk, then the message, then a Be64, the offset.
};

/// Whether the chunk reports a failure. It begins with an ErrorChunk also if its type is unknown.
[[nodiscard]] constexpr bool is_error(ChunkType type) noexcept {
  return (static_cast<std::uint16_t>(type) & 0x8000) != 0;
}

/// Source: "Structured reply flags".
namespace reply_flag {
inline constexpr std::uint16_t done = 1U << 0;  ///< The last chunk of the reply.
}  // namespace reply_flag

/// A command. The data follows if the command is a write.
/// Source: "Request message".
struct RequestHeader {
  Be32 magic = request_magic;
  Be16 flags{};   ///< command_flag.
  Be16 type{};    ///< Command, or a value that the server does not know.
  Be64 cookie{};  ///< Chosen by the client, repeated in each reply. The text also says "handle".
  Be64 offset{};
  Be32 length{};
};
static_assert(Wire<RequestHeader> && sizeof(RequestHeader) == 28);

/// A simple reply. The data follows if the command is a read and the error is 0.
/// Source: "Simple reply message".
struct SimpleReply {
  Be32 magic = simple_reply_magic;
  Be32 error{};  ///< Error.
  Be64 cookie{};
};
static_assert(Wire<SimpleReply> && sizeof(SimpleReply) == 16);

/// A chunk of a structured reply. `length` bytes follow.
/// Source: "Structured reply chunk message".
struct ChunkHeader {
  Be32 magic = structured_reply_magic;
  Be16 flags{};  ///< reply_flag.
  Be16 type{};   ///< ChunkType.
  Be64 cookie{};
  Be32 length{};
};
static_assert(Wire<ChunkHeader> && sizeof(ChunkHeader) == 20);

/// Begins the payload of ChunkType::offset_data.
/// Source: "Structured reply types".
struct OffsetData {
  Be64 offset{};
};
static_assert(Wire<OffsetData> && sizeof(OffsetData) == 8);

/// The payload of ChunkType::offset_hole: zeroes.
/// Source: "Structured reply types".
struct OffsetHole {
  Be64 offset{};
  Be32 length{};  ///< Not 0.
};
static_assert(Wire<OffsetHole> && sizeof(OffsetHole) == 12);

/// Begins the payload of each error chunk.
/// Source: "Structured reply types".
struct ErrorChunk {
  Be32 error{};  ///< Error, not 0.
  Be16 message_length{};
};
static_assert(Wire<ErrorChunk> && sizeof(ErrorChunk) == 6);

/// One extent of a block status.
/// Source: "Structured reply types".
struct BlockDescriptor {
  Be32 length{};  ///< Not 0.
  Be32 flags{};   ///< allocation_flag in the context base:allocation.
};
static_assert(Wire<BlockDescriptor> && sizeof(BlockDescriptor) == 8);

/// The metadata context for allocated, deallocated and zero extents.
/// Source: "Metadata contexts".
inline constexpr const char* base_allocation = "base:allocation";
namespace allocation_flag {
inline constexpr std::uint32_t hole = 1U << 0;
inline constexpr std::uint32_t zero = 1U << 1;
}  // namespace allocation_flag

}  // namespace nbd

#endif
