// SPDX-License-Identifier: BSL-1.0
//
// The parsers of NBD messages, for a server and for a client. They take any bytes: each gives the
// message in the integers of this machine, or the reason why the bytes are no such message. The
// strings and spans in a message point into the bytes that were parsed.
//
// A parser checks what can be seen in the message alone. Whether a range is within the export and
// whether a reply belongs to a request is checked by the user.

#ifndef NBD_MESSAGES_HPP
#define NBD_MESSAGES_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol.hpp"

namespace nbd {

/// Why bytes are not the expected message.
enum class ParseError : std::uint8_t {
  truncated,       ///< Shorter than its fields say.
  trailing_bytes,  ///< Longer than its fields say.
  bad_magic,       ///< Another message, or the sender and the receiver are out of step.
  bad_flags,       ///< A flag that the receiver must understand and does not know.
  bad_length,      ///< A length that this kind of message cannot have.
  bad_string,      ///< Longer than max_string_bytes, or with a NUL inside.
  bad_value,       ///< A value that the protocol does not allow.
};

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(ParseError error) noexcept {
  switch (error) {
    case ParseError::truncated: return "truncated";
    case ParseError::trailing_bytes: return "trailing_bytes";
    case ParseError::bad_magic: return "bad_magic";
    case ParseError::bad_flags: return "bad_flags";
    case ParseError::bad_length: return "bad_length";
    case ParseError::bad_string: return "bad_string";
    case ParseError::bad_value: return "bad_value";
  }
  return "unknown parse error";
}

template <typename T>
using Parsed = std::expected<T, ParseError>;

/// Takes fields from the start of a payload. The first failure is kept: the fields taken after it
/// are zero and empty.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}

  /// The next structure.
  template <Wire T>
  T take() noexcept {
    const auto value = read_at_start<T>(rest_);
    if (!value) fail(ParseError::truncated);
    if (error_) return {};
    rest_ = rest_.subspan(sizeof(T));
    return *value;
  }
  /// The next string.
  std::string_view take_string(std::size_t length_bytes) noexcept {
    if (length_bytes > max_string_bytes) fail(ParseError::bad_string);
    if (length_bytes > rest_.size()) fail(ParseError::truncated);
    if (error_) return {};
    const std::string_view text{reinterpret_cast<const char*>(rest_.data()), length_bytes};
    if (text.contains('\0')) fail(ParseError::bad_string);
    rest_ = rest_.subspan(length_bytes);
    return error_ ? std::string_view{} : text;
  }
  /// The string to the end of the payload.
  std::string_view take_last_string() noexcept { return take_string(rest_.size()); }

  [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
  /// Keeps the error if it is the first.
  void fail(ParseError error) noexcept {
    if (!error_) error_ = error;
  }
  [[nodiscard]] std::optional<ParseError> error() const noexcept { return error_; }

  /// The message made of the fields, or the first failure. Bytes that no field took are one.
  template <typename T>
  [[nodiscard]] Parsed<T> finish(T message) {
    if (!rest_.empty()) fail(ParseError::trailing_bytes);
    if (error_) return std::unexpected(*error_);
    return message;
  }

 private:
  std::span<const std::byte> rest_;
  std::optional<ParseError> error_;
};

// ---- What a server receives

/// The client's flags: client_flag.
/// Errors: `bad_flags`: the server must close the connection.
/// Source: "Client flags".
[[nodiscard]] inline Parsed<std::uint32_t> parse_client_flags(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const std::uint32_t flags = fields.take<Be32>();
  if ((flags & ~client_flag::all) != 0) fields.fail(ParseError::bad_flags);
  return fields.finish(flags);
}

/// The header of an option: its number, which may be unknown, and the length of its data.
/// Errors: `bad_magic`: nothing that follows has a meaning.
struct OptionRequest {
  std::uint32_t number = 0;
  std::uint32_t length_bytes = 0;
};
/// Source: "Newstyle negotiation".
[[nodiscard]] inline Parsed<OptionRequest> parse_option(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto header = fields.take<OptionHeader>();
  if (header.magic != option_magic) fields.fail(ParseError::bad_magic);
  return fields.finish(OptionRequest{header.option, header.length});
}

/// The data of Option::info and Option::go.
struct InfoRequest {
  std::string_view export_name;
  std::uint32_t wanted = 0;  ///< A bit for each Info below 32. The others are unknown, and ignored.

  [[nodiscard]] bool wants(Info info) const noexcept {
    return (wanted >> static_cast<std::uint32_t>(info) & 1) != 0;
  }
};
/// Source: "Option types", NBD_OPT_INFO and NBD_OPT_GO.
[[nodiscard]] inline Parsed<InfoRequest> parse_info_request(std::span<const std::byte> data) {
  Fields fields{data};
  InfoRequest request;
  request.export_name = fields.take_string(fields.take<Be32>());
  const std::uint16_t count = fields.take<Be16>();
  for (std::uint16_t i = 0; i != count && !fields.error(); ++i) {
    const std::uint16_t info = fields.take<Be16>();
    if (info < 32) request.wanted |= std::uint32_t{1} << info;
  }
  return fields.finish(request);
}

/// The data of Option::list_meta_context and Option::set_meta_context. Without queries, a list asks
/// for all contexts and a set asks for none.
struct MetaContextRequest {
  std::string_view export_name;
  std::vector<std::string_view> queries;
};
/// Source: "Option types", NBD_OPT_LIST_META_CONTEXT.
[[nodiscard]] inline Parsed<MetaContextRequest> parse_meta_context_request(
    std::span<const std::byte> data) {
  Fields fields{data};
  MetaContextRequest request;
  request.export_name = fields.take_string(fields.take<Be32>());
  const std::uint32_t count = fields.take<Be32>();
  // A query is at least its length: a forged count is noticed before anything of its size exists.
  if (count > fields.rest().size() / sizeof(Be32)) fields.fail(ParseError::truncated);
  for (std::uint32_t i = 0; i != count && !fields.error(); ++i) {
    request.queries.push_back(fields.take_string(fields.take<Be32>()));
  }
  return fields.finish(std::move(request));
}

/// A command.
struct Request {
  std::uint16_t flags = 0;  ///< command_flag.
  Command command{};        ///< Or a value that the server does not know.
  std::uint64_t cookie = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};
/// Errors: `bad_magic`: nothing that follows has a meaning.
/// Source: "Request message".
[[nodiscard]] inline Parsed<Request> parse_request(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto header = fields.take<RequestHeader>();
  if (header.magic != request_magic) fields.fail(ParseError::bad_magic);
  return fields.finish(Request{header.flags, static_cast<Command>(header.type.get()), header.cookie,
                               header.offset, header.length});
}

// ---- What a client receives

/// The server's greeting: handshake_flag. Flags that the client does not know are ignored.
/// Errors: `bad_magic`: no NBD server, or one of the old style.
/// Source: "Newstyle negotiation".
[[nodiscard]] inline Parsed<std::uint16_t> parse_greeting(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto greeting = fields.take<Greeting>();
  if (greeting.magic != nbd_magic || greeting.version != option_magic) {
    fields.fail(ParseError::bad_magic);
  }
  return fields.finish(greeting.flags.get());
}

/// The header of a reply to an option.
struct OptionReplyMessage {
  std::uint32_t option = 0;
  OptionReply type{};
  std::uint32_t length_bytes = 0;
};
/// Source: "Fixed newstyle negotiation".
[[nodiscard]] inline Parsed<OptionReplyMessage> parse_option_reply(
    std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto header = fields.take<OptionReplyHeader>();
  if (header.magic != option_reply_magic) fields.fail(ParseError::bad_magic);
  return fields.finish(OptionReplyMessage{
      header.option, static_cast<OptionReply>(header.type.get()), header.length});
}

/// The data of OptionReply::server: an export.
struct ServerEntry {
  std::string_view export_name;
  std::string_view details;  ///< For humans.
};
/// Source: "Option reply types", NBD_REP_SERVER.
[[nodiscard]] inline Parsed<ServerEntry> parse_server_entry(std::span<const std::byte> data) {
  Fields fields{data};
  ServerEntry entry;
  entry.export_name = fields.take_string(fields.take<Be32>());
  entry.details = fields.take_last_string();
  return fields.finish(entry);
}

/// The data of OptionReply::info. Of an unknown `type`, nothing else is set.
struct InfoReply {
  std::uint16_t type = 0;        ///< Info, or a value that the client does not know.
  std::uint64_t size_bytes = 0;  ///< Of export_.
  std::uint16_t flags = 0;       ///< Of export_: transmission_flag.
  std::uint32_t min_bytes = 0;   ///< Of block_size, as the next two.
  std::uint32_t preferred_bytes = 0;
  std::uint32_t max_bytes = 0;
  std::string_view text;  ///< Of name and description.
};

namespace detail {

/// The limits that the text sets on block sizes.
[[nodiscard]] constexpr bool is_sound(const InfoBlockSize& sizes) noexcept {
  const std::uint32_t min = sizes.min_bytes;
  const std::uint32_t preferred = sizes.preferred_bytes;
  const std::uint32_t max = sizes.max_bytes;
  return std::has_single_bit(min) && min <= 64 * 1024 && std::has_single_bit(preferred) &&
         preferred >= 512 && preferred >= min &&
         (max == 0xffff'ffff || (max >= min && max % min == 0));
}

}  // namespace detail

/// Errors: `bad_value`: block sizes that the protocol does not allow.
/// Source: "Option reply types", NBD_REP_INFO.
[[nodiscard]] inline Parsed<InfoReply> parse_info_reply(std::span<const std::byte> data) {
  const auto type = read_at_start<Be16>(data);
  if (!type) return std::unexpected(ParseError::truncated);
  InfoReply reply;
  reply.type = *type;
  Fields fields{data};
  switch (static_cast<Info>(reply.type)) {
    case Info::export_: {
      const auto info = fields.take<InfoExport>();
      reply.size_bytes = info.size_bytes;
      reply.flags = info.flags;
      return fields.finish(reply);
    }
    case Info::block_size: {
      const auto info = fields.take<InfoBlockSize>();
      if (!fields.error() && !detail::is_sound(info)) fields.fail(ParseError::bad_value);
      reply.min_bytes = info.min_bytes;
      reply.preferred_bytes = info.preferred_bytes;
      reply.max_bytes = info.max_bytes;
      return fields.finish(reply);
    }
    case Info::name:
    case Info::description:
      fields.take<Be16>();
      reply.text = fields.take_last_string();
      return fields.finish(reply);
  }
  return reply;
}

/// The data of OptionReply::meta_context.
struct MetaContext {
  std::uint32_t id = 0;
  std::string_view name;
};
/// Source: "Option reply types", NBD_REP_META_CONTEXT.
[[nodiscard]] inline Parsed<MetaContext> parse_meta_context(std::span<const std::byte> data) {
  Fields fields{data};
  MetaContext context;
  context.id = fields.take<Be32>();
  context.name = fields.take_last_string();
  return fields.finish(context);
}

/// The kind of the reply that begins with these four bytes.
enum class ReplyKind : std::uint8_t { simple, chunk };
/// Errors: `bad_magic`: nothing that follows has a meaning.
[[nodiscard]] inline Parsed<ReplyKind> parse_reply_kind(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const std::uint32_t magic = fields.take<Be32>();
  if (magic != simple_reply_magic && magic != structured_reply_magic) {
    fields.fail(ParseError::bad_magic);
  }
  return fields.finish(magic == simple_reply_magic ? ReplyKind::simple : ReplyKind::chunk);
}

/// An error value of the server. Values that the client does not know are einval.
/// Source: "Error values".
[[nodiscard]] constexpr Error known_error(std::uint32_t value) noexcept {
  switch (static_cast<Error>(value)) {
    case Error::ok:
    case Error::eperm:
    case Error::eio:
    case Error::enomem:
    case Error::einval:
    case Error::enospc:
    case Error::eoverflow:
    case Error::enotsup:
    case Error::eshutdown: return static_cast<Error>(value);
  }
  return Error::einval;
}

/// A simple reply.
struct SimpleReplyMessage {
  Error error{};
  std::uint64_t cookie = 0;
};
/// Source: "Simple reply message".
[[nodiscard]] inline Parsed<SimpleReplyMessage> parse_simple_reply(
    std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto reply = fields.take<SimpleReply>();
  if (reply.magic != simple_reply_magic) fields.fail(ParseError::bad_magic);
  return fields.finish(SimpleReplyMessage{known_error(reply.error), reply.cookie});
}

/// The header of a chunk.
struct Chunk {
  std::uint16_t flags = 0;  ///< reply_flag. Others are ignored.
  ChunkType type{};         ///< Or a value that the client does not know.
  std::uint64_t cookie = 0;
  std::uint32_t length_bytes = 0;  ///< Of the payload.

  [[nodiscard]] bool is_done() const noexcept { return (flags & reply_flag::done) != 0; }
};

namespace detail {

/// Whether a chunk of the type may have a payload of this length.
[[nodiscard]] constexpr bool is_length_of(ChunkType type, std::uint32_t length_bytes) noexcept {
  constexpr std::size_t id = sizeof(Be32);
  constexpr std::size_t descriptor = sizeof(BlockDescriptor);
  constexpr std::size_t max_error = sizeof(ErrorChunk) + max_string_bytes + sizeof(Be64);
  switch (type) {
    case ChunkType::none: return length_bytes == 0;
    case ChunkType::offset_data: return length_bytes > sizeof(OffsetData);
    case ChunkType::offset_hole: return length_bytes == sizeof(OffsetHole);
    case ChunkType::block_status:
      return length_bytes >= id + descriptor && (length_bytes - id) % descriptor == 0;
    case ChunkType::error:
    case ChunkType::error_offset: break;
  }
  return !is_error(type) || (length_bytes >= sizeof(ErrorChunk) && length_bytes <= max_error);
}

}  // namespace detail

/// Errors: `bad_length`: not the length of such a chunk. `bad_flags`: a chunk without data that is
/// not the last one.
/// Source: "Structured reply chunk message", "Structured reply types".
[[nodiscard]] inline Parsed<Chunk> parse_chunk(std::span<const std::byte> bytes) {
  Fields fields{bytes};
  const auto header = fields.take<ChunkHeader>();
  const Chunk chunk{header.flags, static_cast<ChunkType>(header.type.get()), header.cookie,
                    header.length};
  if (header.magic != structured_reply_magic) fields.fail(ParseError::bad_magic);
  if (!detail::is_length_of(chunk.type, chunk.length_bytes)) fields.fail(ParseError::bad_length);
  if (chunk.type == ChunkType::none && !chunk.is_done()) fields.fail(ParseError::bad_flags);
  return fields.finish(chunk);
}

/// The payload of ChunkType::offset_hole. Of ChunkType::offset_data, a client reads an OffsetData
/// and then the bytes into their place.
struct Hole {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};
[[nodiscard]] inline Parsed<Hole> parse_hole(std::span<const std::byte> payload) {
  Fields fields{payload};
  const auto hole = fields.take<OffsetHole>();
  if (hole.length == 0) fields.fail(ParseError::bad_value);
  return fields.finish(Hole{hole.offset, hole.length});
}

/// The payload of an error chunk. A type that the client does not know may have more fields after
/// the message, which are ignored.
struct ChunkError {
  Error error{};
  std::string_view message;             ///< For humans.
  std::optional<std::uint64_t> offset;  ///< Of ChunkType::error_offset.
};
/// Errors: `bad_value`: an error chunk without an error.
[[nodiscard]] inline Parsed<ChunkError> parse_chunk_error(ChunkType type,
                                                          std::span<const std::byte> payload) {
  Fields fields{payload};
  const auto header = fields.take<ErrorChunk>();
  ChunkError error{known_error(header.error), fields.take_string(header.message_length), {}};
  if (error.error == Error::ok) fields.fail(ParseError::bad_value);
  if (type == ChunkType::error_offset) error.offset = fields.take<Be64>();
  const bool is_known = type == ChunkType::error || type == ChunkType::error_offset;
  if (is_known) return fields.finish(error);
  if (fields.error()) return std::unexpected(*fields.error());
  return error;
}

/// An extent of a block status.
struct Extent {
  std::uint32_t length = 0;
  std::uint32_t flags = 0;

  friend constexpr bool operator==(const Extent&, const Extent&) = default;
};
/// The payload of ChunkType::block_status.
struct BlockStatus {
  std::uint32_t context_id = 0;
  std::vector<Extent> extents;
};
/// Errors: `bad_value`: an empty extent.
[[nodiscard]] inline Parsed<BlockStatus> parse_block_status(std::span<const std::byte> payload) {
  Fields fields{payload};
  BlockStatus status;
  status.context_id = fields.take<Be32>();
  do {
    const auto descriptor = fields.take<BlockDescriptor>();
    if (descriptor.length == 0) fields.fail(ParseError::bad_value);
    status.extents.push_back({descriptor.length, descriptor.flags});
  } while (!fields.rest().empty() && !fields.error());
  return fields.finish(std::move(status));
}

}  // namespace nbd

#endif
