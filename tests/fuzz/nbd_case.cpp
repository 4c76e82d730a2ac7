// SPDX-License-Identifier: BSL-1.0
//
// Goal: whatever the peer sends, the parsers of NBD's wire format and the server's negotiation
// answer as documented.
//
// Method: the input is one message for one parser, or the options of a client, or a command.
// Options have the right magic and length most of the time. The stream of options is given to the
// server in one piece and in pieces that the input chooses.
//
// Invariants: a message that is accepted is written again as the bytes that were parsed; what it
// points to lies in them. The server's output and state do not depend on the pieces. Its output is
// what a client's parsers accept. A command that is accepted lies within the export, has whole
// blocks, and changes nothing that is read-only.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"
#include "nbd/messages.hpp"
#include "nbd_server/export.hpp"
#include "nbd_server/handshake.hpp"

namespace fuzz {
namespace {

using nbd_server::append;
using Wire = nbd_server::Bytes;

/// A store of which only the size matters.
class NoStore final : public nbd_server::Store {
 public:
  explicit NoStore(const nbd_server::StoreInfo& info) : info_{info} {}
  [[nodiscard]] nbd_server::StoreInfo info() const override { return info_; }
  [[nodiscard]] std::expected<void, std::string> attach(const nbd_server::StoreContext&) override {
    return {};
  }
  void start(blkown::Owned<nbd_server::Rq> request, std::uint32_t) override {
    std::move(request).end_ok();
  }

 private:
  nbd_server::StoreInfo info_;
};

[[nodiscard]] nbd_server::Exports make_exports() {
  nbd_server::Exports exports;
  exports.emplace_back("a", "text",
                       std::make_unique<NoStore>(nbd_server::StoreInfo{.size = 1 << 20}), false);
  exports.emplace_back(
      "b", "", std::make_unique<NoStore>(nbd_server::StoreInfo{.size = 1 << 16, .min_block = 512}),
      true);
  return exports;
}

class NbdCase {
 public:
  explicit NbdCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    switch (input_.below(4)) {
      case 0: parse_fixed(); break;
      case 1: parse_payload(); break;
      case 2: negotiate(); break;
      default: check_command();
    }
    return verdict_.first();
  }

 private:
  [[nodiscard]] Wire take_rest() {
    Wire rest;
    while (!input_.exhausted()) rest.push_back(static_cast<std::byte>(input_.byte()));
    return rest;
  }
  [[nodiscard]] static bool lies_in(std::string_view text, const Wire& bytes) {
    if (text.empty()) return true;
    const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
    const auto begin = reinterpret_cast<std::uintptr_t>(text.data());
    return begin >= first && begin + text.size() <= first + bytes.size() &&
           text.find('\0') == text.npos && text.size() <= nbd::max_string_bytes;
  }
  template <nbd::Wire T>
  [[nodiscard]] static bool is_written_as(const T& value, const Wire& bytes) {
    const auto written = nbd::bytes_of(value);
    return std::ranges::equal(written, bytes);
  }

  /// Puts the right magic in front of the bytes, most of the time.
  template <class Magic>
  [[nodiscard]] Wire message(Magic magic) {
    Wire bytes;
    if (input_.below(8) != 0) append(bytes, nbd::BigEndian<Magic>{magic});
    const Wire rest = take_rest();
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    return bytes;
  }

  void parse_fixed() {
    switch (input_.below(5)) {
      case 0: return parse_request();
      case 1: return parse_option();
      case 2: return parse_chunk();
      case 3: return parse_simple_reply();
      default: parse_option_reply();
    }
  }

  void parse_request() {
    const Wire bytes = message(nbd::request_magic);
    const auto parsed = nbd::parse_request(bytes);
    if (!parsed) return;
    const nbd::RequestHeader written{.flags = parsed->flags,
                                     .type = static_cast<std::uint16_t>(parsed->command),
                                     .cookie = parsed->cookie,
                                     .offset = parsed->offset,
                                     .length = parsed->length};
    verdict_.expect(is_written_as(written, bytes), "a request is written as it was read");
  }
  void parse_option() {
    const Wire bytes = message(nbd::option_magic);
    const auto parsed = nbd::parse_option(bytes);
    if (!parsed) return;
    const nbd::OptionHeader written{.option = parsed->number, .length = parsed->length_bytes};
    verdict_.expect(is_written_as(written, bytes), "an option is written as it was read");
  }
  void parse_chunk() {
    const Wire bytes = message(nbd::structured_reply_magic);
    const auto parsed = nbd::parse_chunk(bytes);
    if (!parsed) return;
    const nbd::ChunkHeader written{.flags = parsed->flags,
                                   .type = static_cast<std::uint16_t>(parsed->type),
                                   .cookie = parsed->cookie,
                                   .length = parsed->length_bytes};
    verdict_.expect(is_written_as(written, bytes), "a chunk is written as it was read");
    verdict_.expect(
        parsed->type != nbd::ChunkType::none || (parsed->is_done() && parsed->length_bytes == 0),
        "a chunk without data is the last, and has none");
  }
  void parse_simple_reply() {
    const auto parsed = nbd::parse_simple_reply(message(nbd::simple_reply_magic));
    if (!parsed) return;
    verdict_.expect(std::string_view{to_string(parsed->error)} != "unknown error",
                    "an error of a reply is one of the text");
  }
  void parse_option_reply() {
    const Wire bytes = message(nbd::option_reply_magic);
    const auto parsed = nbd::parse_option_reply(bytes);
    if (!parsed) return;
    const nbd::OptionReplyHeader written{.option = parsed->option,
                                         .type = static_cast<std::uint32_t>(parsed->type),
                                         .length = parsed->length_bytes};
    verdict_.expect(is_written_as(written, bytes),
                    "a reply to an option is written as it was read");
  }

  void parse_payload() {
    const std::uint32_t kind = input_.below(8);
    const Wire bytes = take_rest();
    switch (kind) {
      case 0: return parse_info_request(bytes);
      case 1: return parse_contexts(bytes);
      case 2:
        if (const auto entry = nbd::parse_server_entry(bytes)) {
          verdict_.expect(lies_in(entry->export_name, bytes) && lies_in(entry->details, bytes),
                          "an entry of the list lies in its bytes");
        }
        return;
      case 3:
        if (const auto reply = nbd::parse_info_reply(bytes)) {
          verdict_.expect(lies_in(reply->text, bytes), "a text about an export lies in its bytes");
        }
        return;
      case 4:
        if (const auto context = nbd::parse_meta_context(bytes)) {
          verdict_.expect(lies_in(context->name, bytes), "a context's name lies in its bytes");
        }
        return;
      case 5: return parse_block_status(bytes);
      case 6:
        for (const auto type : {nbd::ChunkType::error, nbd::ChunkType::error_offset,
                                static_cast<nbd::ChunkType>(0x8123)}) {
          const auto error = nbd::parse_chunk_error(type, bytes);
          if (!error) continue;
          verdict_.expect(lies_in(error->message, bytes), "an error's text lies in its bytes");
          verdict_.expect(error->error != nbd::Error::ok, "an error chunk has an error");
          verdict_.expect(error->offset.has_value() == (type == nbd::ChunkType::error_offset),
                          "an error chunk has an offset if it is of that type");
        }
        return;
      default:
        if (const auto hole = nbd::parse_hole(bytes)) {
          verdict_.expect(
              is_written_as(nbd::OffsetHole{.offset = hole->offset, .length = hole->length},
                            bytes) &&
                  hole->length != 0,
              "a hole is written as it was read");
        }
    }
  }

  void parse_info_request(const Wire& bytes) {
    const auto parsed = nbd::parse_info_request(bytes);
    if (!parsed) return;
    verdict_.expect(lies_in(parsed->export_name, bytes), "an export's name lies in its bytes");
    verdict_.expect(bytes.size() >= 6 + parsed->export_name.size(), "the name and a count fit");
  }
  void parse_contexts(const Wire& bytes) {
    const auto parsed = nbd::parse_meta_context_request(bytes);
    if (!parsed) return;
    Wire written;
    append(written, nbd::Be32{static_cast<std::uint32_t>(parsed->export_name.size())});
    append(written, parsed->export_name);
    append(written, nbd::Be32{static_cast<std::uint32_t>(parsed->queries.size())});
    for (const std::string_view query : parsed->queries) {
      append(written, nbd::Be32{static_cast<std::uint32_t>(query.size())});
      append(written, query);
    }
    verdict_.expect(written == bytes, "queries are written as they were read");
  }
  void parse_block_status(const Wire& bytes) {
    const auto parsed = nbd::parse_block_status(bytes);
    if (!parsed) return;
    Wire written;
    append(written, nbd::Be32{parsed->context_id});
    for (const nbd::Extent& extent : parsed->extents) {
      append(written, nbd::BlockDescriptor{.length = extent.length, .flags = extent.flags});
    }
    verdict_.expect(written == bytes, "extents are written as they were read");
  }

  /// The bytes that a client sends.
  [[nodiscard]] Wire make_stream() {
    Wire stream;
    append(stream, nbd::Be32{input_.below(8) == 0 ? input_.byte() : nbd::client_flag::all});
    while (!input_.exhausted()) {
      const std::uint32_t number = input_.below(14);
      Wire data;
      for (std::uint32_t left = input_.below(64); left != 0; --left) {
        data.push_back(static_cast<std::byte>(input_.byte()));
      }
      // A name that exists, so that the options about exports go on.
      if (input_.flag()) {
        Wire named;
        append(named, nbd::Be32{1});
        append(named, input_.flag() ? "a" : "b");
        data.insert(data.begin(), named.begin(), named.end());
      }
      auto length = static_cast<std::uint32_t>(data.size());
      if (input_.below(16) == 0) length = static_cast<std::uint32_t>(input_.bits(3));
      append(stream, nbd::OptionHeader{.option = number, .length = length});
      stream.insert(stream.end(), data.begin(), data.end());
    }
    return stream;
  }

  struct Negotiated {
    Wire out;
    nbd_server::Handshake::State state{};
    friend bool operator==(const Negotiated&, const Negotiated&) = default;
  };

  [[nodiscard]] static Negotiated feed(const nbd_server::Exports& exports, const Wire& stream,
                                       std::size_t piece) {
    Negotiated result;
    nbd_server::Handshake handshake{exports, 1 << 20, result.out};
    Wire waiting;
    for (std::size_t done = 0; done < stream.size();) {
      const std::size_t next = std::min(piece, stream.size() - done);
      waiting.insert(waiting.end(), stream.begin() + static_cast<std::ptrdiff_t>(done),
                     stream.begin() + static_cast<std::ptrdiff_t>(done + next));
      done += next;
      while (const std::size_t used = handshake.receive(waiting, result.out)) {
        waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(used));
      }
    }
    result.state = handshake.state();
    return result;
  }

  void negotiate() {
    const std::size_t piece = input_.below(64) + 1;
    const Wire stream = make_stream();
    const nbd_server::Exports exports = make_exports();
    const Negotiated whole = feed(exports, stream, stream.size());
    verdict_.expect(whole == feed(exports, stream, piece), "the pieces of a stream do not matter");
    read_replies(whole);
  }

  /// Reads the server's output as a client does.
  void read_replies(const Negotiated& negotiated) {
    std::span<const std::byte> rest{negotiated.out};
    verdict_.expect(nbd::parse_greeting(rest.first(sizeof(nbd::Greeting))).has_value(),
                    "the server greets");
    rest = rest.subspan(sizeof(nbd::Greeting));
    while (rest.size() >= sizeof(nbd::OptionReplyHeader)) {
      const auto header = nbd::parse_option_reply(rest.first(sizeof(nbd::OptionReplyHeader)));
      // The reply to EXPORT_NAME, the last one, has no header.
      if (!header) break;
      rest = rest.subspan(sizeof(nbd::OptionReplyHeader));
      verdict_.expect(header->length_bytes <= rest.size(), "a reply is whole");
      if (!verdict_.clean()) return;
      read_reply(header->type, rest.first(header->length_bytes));
      rest = rest.subspan(header->length_bytes);
    }
    const std::size_t by_name = rest.size() % nbd::export_name_zeroes;
    verdict_.expect(
        rest.empty() || (by_name == sizeof(nbd::ExportNameReply) &&
                         rest.size() <= by_name + nbd::export_name_zeroes &&
                         negotiated.state == nbd_server::Handshake::State::transmission),
        "nothing follows the last reply but that to EXPORT_NAME");
  }
  void read_reply(nbd::OptionReply type, std::span<const std::byte> data) {
    using nbd::OptionReply;
    bool good = true;
    if (type == OptionReply::ack) good = data.empty();
    if (type == OptionReply::server) good = nbd::parse_server_entry(data).has_value();
    if (type == OptionReply::info) good = nbd::parse_info_reply(data).has_value();
    if (type == OptionReply::meta_context) good = nbd::parse_meta_context(data).has_value();
    if (is_error(type)) good = !data.empty() && data.size() <= nbd::max_string_bytes;
    verdict_.expect(good, "a client understands the server's reply");
  }

  void check_command() {
    const nbd_server::Exports exports = make_exports();
    const nbd_server::Session session{.target = &exports[input_.below(2)],
                                      .structured = input_.flag(),
                                      .allocation = input_.flag()};
    const bool is_near = input_.flag();
    const nbd::Request request{.flags = static_cast<std::uint16_t>(input_.bits(input_.below(3))),
                               .command = static_cast<nbd::Command>(input_.below(10)),
                               .cookie = 1,
                               .offset = input_.bits(is_near ? 3 : 8),
                               .length = static_cast<std::uint32_t>(input_.bits(is_near ? 2 : 4))};
    const auto refusal = nbd_server::check_request(request, session, 1 << 18);
    verdict_.expect(nbd::known_error(static_cast<std::uint32_t>(refusal.error)) == refusal.error,
                    "the error is one of the text");
    if (refusal.error != nbd::Error::ok || request.command == nbd::Command::flush) return;
    const nbd_server::StoreInfo& info = session.target->info();
    verdict_.expect(request.length != 0 && request.offset < info.size &&
                        request.length <= info.size - request.offset,
                    "an accepted command lies within the export");
    verdict_.expect(request.offset % info.min_block == 0 && request.length % info.min_block == 0,
                    "an accepted command has whole blocks");
    verdict_.expect(!info.read_only || !nbd_server::is_write(request.command),
                    "a read-only export is not changed");
  }

  Input input_;
  Verdict verdict_;
};

}  // namespace

std::string run_case(Bytes bytes) { return NbdCase{bytes}.run(); }

}  // namespace fuzz
