// SPDX-License-Identifier: BSL-1.0
//
// The wire format of NBD, its parsers, and the server's side of the negotiation.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nbd/messages.hpp"
#include "nbd/status.hpp"
#include "nbd_server/handshake.hpp"
#include "nbd_server/memory_store.hpp"
#include "peer.hpp"

namespace nbd_server {
namespace {

using nbd::Option;
using nbd::OptionReply;
using nbd::ParseError;

[[nodiscard]] Bytes from_hex(std::string_view digits) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(
        static_cast<std::byte>(std::stoi(std::string{digits.substr(i, 2)}, nullptr, 16)));
  }
  return bytes;
}
template <nbd::Wire T>
[[nodiscard]] Bytes wire_of(const T& value) {
  Bytes bytes;
  append(bytes, value);
  return bytes;
}

TEST(NbdProtocol, StructuresAreOnTheWireAsTheTextSays) {
  EXPECT_EQ(wire_of(nbd::Greeting{.flags = 3}), from_hex("4e42444d4147494349484156454f50540003"));
  EXPECT_EQ(wire_of(nbd::OptionHeader{.option = 7, .length = 258}),
            from_hex("49484156454f50540000000700000102"));
  EXPECT_EQ(wire_of(nbd::OptionReplyHeader{.option = 6, .type = 0x80000001, .length = 1}),
            from_hex("0003e889045565a9000000068000000100000001"));
  EXPECT_EQ(wire_of(nbd::RequestHeader{.flags = 1,
                                       .type = 2,
                                       .cookie = 0x0102030405060708,
                                       .offset = 0x1112131415161718,
                                       .length = 0x21222324}),
            from_hex("25609513000100020102030405060708111213141516171821222324"));
  EXPECT_EQ(wire_of(nbd::SimpleReply{.error = 22, .cookie = 5}),
            from_hex("67446698000000160000000000000005"));
  EXPECT_EQ(wire_of(nbd::ChunkHeader{.flags = 1, .type = 0x8001, .cookie = 5, .length = 6}),
            from_hex("668e33ef00018001000000000000000500000006"));
  EXPECT_EQ(wire_of(nbd::InfoExport{.size_bytes = 4096, .flags = 0x0101}),
            from_hex("000000000000000010000101"));
}

TEST(NbdProtocol, ParsersNameWhatIsWrong) {
  const auto error = [](const auto& parsed) {
    return parsed ? std::nullopt : std::optional{parsed.error()};
  };
  EXPECT_EQ(error(nbd::parse_request(Bytes(27))), ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_request(Bytes(28))), ParseError::bad_magic);
  EXPECT_EQ(error(nbd::parse_client_flags(from_hex("00000004"))), ParseError::bad_flags);
  EXPECT_EQ(error(nbd::parse_option(Bytes(16))), ParseError::bad_magic);
  EXPECT_EQ(error(nbd::parse_greeting(Bytes(18))), ParseError::bad_magic);
  EXPECT_EQ(error(nbd::parse_reply_kind(Bytes(4))), ParseError::bad_magic);
  // A name with a NUL, one that is longer than the option, and one that is longer than any.
  EXPECT_EQ(error(nbd::parse_info_request(from_hex("0000000161000100"))), ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_info_request(from_hex("00000001000000"))), ParseError::bad_string);
  EXPECT_EQ(error(nbd::parse_info_request(from_hex("00000009610000"))), ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_info_request(from_hex("ffffffff610000"))), ParseError::bad_string);
  EXPECT_EQ(error(nbd::parse_info_request(from_hex("0000000161000000"))),
            ParseError::trailing_bytes);
  // A forged number of queries makes nothing of its size.
  EXPECT_EQ(error(nbd::parse_meta_context_request(from_hex("00000000ffffffff00000000"))),
            ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_block_status(from_hex("000000010000000000000000"))),
            ParseError::bad_value);
  EXPECT_EQ(error(nbd::parse_block_status(from_hex("0000000100000001"))), ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_hole(Bytes(12))), ParseError::bad_value);
  EXPECT_EQ(error(nbd::parse_chunk_error(nbd::ChunkType::error, from_hex("000000000000"))),
            ParseError::bad_value);
  EXPECT_EQ(error(nbd::parse_chunk_error(nbd::ChunkType::error, from_hex("000000050002"))),
            ParseError::truncated);
  EXPECT_EQ(error(nbd::parse_chunk_error(nbd::ChunkType::error, from_hex("00000005000061"))),
            ParseError::trailing_bytes);
}

struct ChunkCase {
  std::uint16_t flags;
  nbd::ChunkType type;
  std::uint32_t length;
  std::optional<ParseError> error;
};

TEST(NbdProtocol, AChunkHasALengthOfItsType) {
  using nbd::ChunkType;
  constexpr auto unknown = static_cast<ChunkType>(77);
  constexpr auto unknown_error = static_cast<ChunkType>(0x8077);
  const ChunkCase cases[]{
      {1, ChunkType::none, 0, {}},
      {1, ChunkType::none, 1, ParseError::bad_length},
      {0, ChunkType::none, 0, ParseError::bad_flags},
      {0, ChunkType::offset_data, 9, {}},
      {0, ChunkType::offset_data, 8, ParseError::bad_length},
      {0, ChunkType::offset_hole, 12, {}},
      {0, ChunkType::offset_hole, 13, ParseError::bad_length},
      {0, ChunkType::block_status, 12, {}},
      {0, ChunkType::block_status, 4, ParseError::bad_length},
      {0, ChunkType::block_status, 16, ParseError::bad_length},
      {0, ChunkType::error, 6, {}},
      {0, ChunkType::error, 5, ParseError::bad_length},
      {0, unknown_error, 5, ParseError::bad_length},
      {0, unknown_error, 0x10000, ParseError::bad_length},
      {0, unknown, 0xffff'ffff, {}},
  };
  for (const ChunkCase& each : cases) {
    const auto header = wire_of(nbd::ChunkHeader{.flags = each.flags,
                                                 .type = static_cast<std::uint16_t>(each.type),
                                                 .cookie = 1,
                                                 .length = each.length});
    const auto parsed = nbd::parse_chunk(header);
    EXPECT_EQ(parsed ? std::nullopt : std::optional{parsed.error()}, each.error)
        << static_cast<int>(each.type) << " with " << each.length;
  }
}

TEST(NbdProtocol, AClientAcceptsSoundBlockSizesOnly) {
  const auto parse = [](std::uint32_t min, std::uint32_t preferred, std::uint32_t max) {
    return nbd::parse_info_reply(
               wire_of(nbd::InfoBlockSize{
                   .min_bytes = min, .preferred_bytes = preferred, .max_bytes = max}))
        .has_value();
  };
  EXPECT_TRUE(parse(1, 4096, 32 * 1024 * 1024));
  EXPECT_TRUE(parse(512, 512, 0xffff'ffff));
  EXPECT_FALSE(parse(0, 4096, 4096));
  EXPECT_FALSE(parse(3, 4096, 4096));
  EXPECT_FALSE(parse(131072, 131072, 131072));
  EXPECT_FALSE(parse(1, 256, 4096));
  EXPECT_FALSE(parse(4096, 512, 4096));
  EXPECT_FALSE(parse(4096, 4096, 4097));
  EXPECT_FALSE(parse(4096, 4096, 512));
}

TEST(NbdProtocol, AStatusIsAnErrorThatAClientUnderstands) {
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<blkown::Status>(i);
    const nbd::Error error = nbd::error_of(status);
    EXPECT_EQ(error == nbd::Error::ok, status == blkown::Status::ok) << to_string(status);
    EXPECT_EQ(nbd::known_error(static_cast<std::uint32_t>(error)), error);
    EXPECT_EQ(nbd::status_of(error) == blkown::Status::ok, status == blkown::Status::ok);
  }
  EXPECT_EQ(nbd::known_error(12345), nbd::Error::einval);
}

/// A handshake with the exports "first" and "second".
class NbdHandshake : public testing::Test {
 protected:
  NbdHandshake() {
    exports_.emplace_back("first", "one", std::make_unique<MemoryStore>(1 << 20), false);
    exports_.emplace_back("second", "", std::make_unique<MemoryStore>(1 << 21), true);
    Bytes greeting;
    handshake_.emplace(exports_, nbd::default_max_payload_bytes, greeting);
  }
  /// Sends bytes, as many at a time as `step` says. Returns the server's output.
  Bytes send(std::span<const std::byte> bytes, std::size_t step = 1 << 20) {
    Bytes out;
    for (std::size_t done = 0; done != bytes.size();) {
      const std::size_t next = std::min(step, bytes.size() - done);
      waiting_.insert(waiting_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(done),
                      bytes.begin() + static_cast<std::ptrdiff_t>(done + next));
      done += next;
      while (const std::size_t used = handshake_->receive(waiting_, out)) {
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(used));
      }
    }
    return out;
  }
  void greet() { send(wire_of(nbd::Be32{nbd::client_flag::all})); }
  /// Sends an option, and returns the types of the replies.
  std::vector<OptionReply> option(Option number, const Bytes& data = {}) {
    const Bytes out = send(option_bytes(number, data));
    std::vector<OptionReply> replies;
    std::span<const std::byte> rest{out};
    while (!rest.empty()) {
      const auto header = nbd::parse_option_reply(rest.first(sizeof(nbd::OptionReplyHeader)));
      if (!header) break;
      EXPECT_EQ(header->option, static_cast<std::uint32_t>(number));
      replies.push_back(header->type);
      last_data_.assign(rest.begin() + sizeof(nbd::OptionReplyHeader),
                        rest.begin() + static_cast<std::ptrdiff_t>(sizeof(nbd::OptionReplyHeader) +
                                                                   header->length_bytes));
      datas_.push_back(last_data_);
      rest = rest.subspan(sizeof(nbd::OptionReplyHeader) + header->length_bytes);
    }
    return replies;
  }
  [[nodiscard]] static Bytes option_bytes(Option number, const Bytes& data) {
    Bytes bytes = wire_of(nbd::OptionHeader{.option = static_cast<std::uint32_t>(number),
                                            .length = static_cast<std::uint32_t>(data.size())});
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
  }
  using Replies = std::vector<OptionReply>;

  Exports exports_;
  std::optional<Handshake> handshake_;
  Bytes waiting_;
  Bytes last_data_;
  std::vector<Bytes> datas_;
};

TEST_F(NbdHandshake, GoGivesTheSizeTheFlagsAndTheBlockSizes) {
  greet();
  Bytes data = Peer::go_data("second");
  EXPECT_EQ(option(Option::go, data),
            (Replies{OptionReply::info, OptionReply::info, OptionReply::ack}));
  const auto info = nbd::parse_info_reply(datas_[0]);
  EXPECT_EQ(info->size_bytes, 1U << 21);
  EXPECT_NE(info->flags & nbd::transmission_flag::read_only, 0);
  EXPECT_NE(info->flags & nbd::transmission_flag::can_multi_conn, 0);
  EXPECT_EQ(info->flags & nbd::transmission_flag::send_df, 0);
  EXPECT_EQ(nbd::parse_info_reply(datas_[1])->max_bytes, nbd::default_max_payload_bytes);
  EXPECT_EQ(handshake_->state(), Handshake::State::transmission);
  EXPECT_EQ(handshake_->session().target, &exports_[1]);
}

TEST_F(NbdHandshake, AnUnknownExportIsAnErrorAndTheClientMayGoOn) {
  greet();
  EXPECT_EQ(option(Option::go, Peer::go_data("third")), (Replies{OptionReply::err_unknown}));
  EXPECT_EQ(option(Option::info, Peer::go_data("first")).back(), OptionReply::ack);
  EXPECT_EQ(handshake_->state(), Handshake::State::options);
  EXPECT_EQ(option(Option::go, Peer::go_data("")).back(), OptionReply::ack);
  EXPECT_EQ(handshake_->session().target, exports_.data());
}

TEST_F(NbdHandshake, ListNamesEveryExport) {
  greet();
  EXPECT_EQ(option(Option::list),
            (Replies{OptionReply::server, OptionReply::server, OptionReply::ack}));
  EXPECT_EQ(nbd::parse_server_entry(datas_[0])->export_name, "first");
  EXPECT_EQ(nbd::parse_server_entry(datas_[0])->details, "one");
  EXPECT_EQ(nbd::parse_server_entry(datas_[1])->export_name, "second");
  EXPECT_EQ(option(Option::list, Bytes(1)), (Replies{OptionReply::err_invalid}));
}

TEST_F(NbdHandshake, UnknownOptionsGetAnErrorAndLongOnesAreSkipped) {
  greet();
  EXPECT_EQ(option(Option::starttls), (Replies{OptionReply::err_unsup}));
  EXPECT_EQ(option(static_cast<Option>(77), Bytes(100)), (Replies{OptionReply::err_unsup}));
  EXPECT_EQ(option(Option::list, Bytes(nbd::max_option_bytes + 1)),
            (Replies{OptionReply::err_too_big}));
  EXPECT_EQ(option(Option::structured_reply, Bytes(1)), (Replies{OptionReply::err_invalid}));
  EXPECT_EQ(option(Option::go, Bytes(3)), (Replies{OptionReply::err_invalid}));
  EXPECT_EQ(option(Option::abort), (Replies{OptionReply::ack}));
  EXPECT_EQ(handshake_->state(), Handshake::State::aborted);
}

TEST_F(NbdHandshake, ExportNameIsAnsweredWithoutAReplyHeader) {
  send(wire_of(nbd::Be32{nbd::client_flag::fixed_newstyle}));
  Bytes name;
  append(name, std::string_view{"first"});
  EXPECT_EQ(send(option_bytes(Option::export_name, name)).size(),
            sizeof(nbd::ExportNameReply) + nbd::export_name_zeroes);
  EXPECT_EQ(handshake_->state(), Handshake::State::transmission);
}

TEST_F(NbdHandshake, ExportNameOfNoExportBreaksTheConnection) {
  greet();
  EXPECT_TRUE(send(option_bytes(Option::export_name, Bytes(3, std::byte{'x'}))).empty());
  EXPECT_EQ(handshake_->state(), Handshake::State::broken);
}

TEST_F(NbdHandshake, AMetadataContextIsForTheExportItWasSelectedFor) {
  greet();
  const std::string_view query[]{"base:allocation"};
  const std::string_view unknown[]{"qemu:dirty-bitmap:x", "base:"};
  EXPECT_EQ(option(Option::set_meta_context, Peer::context_data("first", query)),
            (Replies{OptionReply::err_invalid}));
  EXPECT_EQ(option(Option::structured_reply), (Replies{OptionReply::ack}));
  EXPECT_EQ(option(Option::list_meta_context, Peer::context_data("first", {})),
            (Replies{OptionReply::meta_context, OptionReply::ack}));
  EXPECT_EQ(option(Option::list_meta_context, Peer::context_data("first", unknown)),
            (Replies{OptionReply::meta_context, OptionReply::ack}));
  EXPECT_EQ(option(Option::set_meta_context, Peer::context_data("first", unknown)),
            (Replies{OptionReply::ack}));
  EXPECT_EQ(option(Option::set_meta_context, Peer::context_data("second", query)),
            (Replies{OptionReply::meta_context, OptionReply::ack}));
  EXPECT_EQ(option(Option::go, Peer::go_data("first")).back(), OptionReply::ack);
  EXPECT_TRUE(handshake_->session().structured);
  EXPECT_FALSE(handshake_->session().allocation);
}

TEST_F(NbdHandshake, BytesThatComeOneByOneAreAnsweredAlike) {
  Bytes bytes = wire_of(nbd::Be32{nbd::client_flag::all});
  const auto add = [&](Option number, const Bytes& data) {
    const Bytes more = option_bytes(number, data);
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  add(Option::list, Bytes(20'000));
  add(Option::structured_reply, {});
  add(Option::list, {});
  add(Option::go, Peer::go_data("second"));
  const Bytes at_once = send(bytes);
  Bytes greeting;
  handshake_.emplace(exports_, nbd::default_max_payload_bytes, greeting);
  EXPECT_EQ(send(bytes, 1), at_once);
  EXPECT_EQ(handshake_->state(), Handshake::State::transmission);
}

}  // namespace
}  // namespace nbd_server
