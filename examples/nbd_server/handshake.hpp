// SPDX-License-Identifier: BSL-1.0
//
// Handshake: the server's side of the negotiation, fixed newstyle. Bytes in, bytes out: no socket.
//
//   server  Greeting
//   client  flags
//   client  OptionHeader and data ---> replies, the last of which is an ack or an error
//     ...
//   client  GO or EXPORT_NAME -------> the export's size and flags; the transmission begins
//   client  ABORT -------------------> an ack; the server closes the connection
//
// A message that is no option (bad magic), flags that the server does not know, and an EXPORT_NAME
// without such an export break the connection: the protocol has no reply for them. All else gets an
// error reply, after which the client may go on.

#ifndef NBD_SERVER_HANDSHAKE_HPP
#define NBD_SERVER_HANDSHAKE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "export.hpp"
#include "nbd/messages.hpp"

namespace nbd_server {

using Bytes = std::vector<std::byte>;

template <nbd::Wire T>
void append(Bytes& out, const T& value) {
  const auto bytes = nbd::bytes_of(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}
inline void append(Bytes& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  out.insert(out.end(), bytes.begin(), bytes.end());
}

class Handshake {
 public:
  enum class State : std::uint8_t {
    client_flags,
    options,
    transmission,  ///< Begins when the output is sent.
    aborted,       ///< The client has said good-bye. The output is sent, then the server closes.
    broken,        ///< The server closes at once.
  };

  /// Appends the greeting to `out`.
  /// Precondition: `exports` outlives this object.
  Handshake(const Exports& exports, std::uint32_t max_payload_bytes, Bytes& out)
      : exports_{exports}, max_payload_bytes_{max_payload_bytes} {
    using namespace nbd::handshake_flag;
    append(out, nbd::Greeting{.flags = std::uint16_t{fixed_newstyle | no_zeroes}});
  }

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] bool is_over() const noexcept {
    return state_ != State::client_flags && state_ != State::options;
  }
  /// What was negotiated.
  /// Precondition: state() is transmission.
  [[nodiscard]] const Session& session() const noexcept { return session_; }

  /// Handles the message at the start of `in`, and appends its replies to `out`. Returns the number
  /// of bytes that were used: 0 if the message is not complete, or if the handshake is over.
  [[nodiscard]] std::size_t receive(std::span<const std::byte> in, Bytes& out) {
    if (is_over()) return 0;
    if (skip_bytes_ != 0) {
      const std::size_t skipped = std::min<std::size_t>(skip_bytes_, in.size());
      skip_bytes_ -= static_cast<std::uint32_t>(skipped);
      return skipped;
    }
    return state_ == State::client_flags ? receive_flags(in) : receive_option(in, out);
  }

 private:
  using Option = nbd::Option;
  using OptionReply = nbd::OptionReply;
  using Data = std::span<const std::byte>;

  [[nodiscard]] std::size_t receive_flags(Data in) {
    if (in.size() < sizeof(nbd::Be32)) return 0;
    const auto flags = nbd::parse_client_flags(in.first(sizeof(nbd::Be32)));
    state_ = flags ? State::options : State::broken;
    no_zeroes_ = flags && (*flags & nbd::client_flag::no_zeroes) != 0;
    return sizeof(nbd::Be32);
  }

  [[nodiscard]] std::size_t receive_option(Data in, Bytes& out) {
    constexpr std::size_t header_bytes = sizeof(nbd::OptionHeader);
    if (in.size() < header_bytes) return 0;
    const auto option = nbd::parse_option(in.first(header_bytes));
    if (!option) {
      state_ = State::broken;
      return header_bytes;
    }
    option_ = option->number;
    if (option->length_bytes > nbd::max_option_bytes) {
      // EXPORT_NAME has no error reply.
      if (static_cast<Option>(option_) == Option::export_name) state_ = State::broken;
      reply_error(OptionReply::err_too_big, "the option is too long", out);
      skip_bytes_ = option->length_bytes;
      return header_bytes;
    }
    if (in.size() - header_bytes < option->length_bytes) return 0;
    handle(in.subspan(header_bytes, option->length_bytes), out);
    return header_bytes + option->length_bytes;
  }

  void handle(Data data, Bytes& out) {
    switch (static_cast<Option>(option_)) {
      case Option::export_name: return choose_by_name(data, out);
      case Option::abort: state_ = State::aborted; return reply(OptionReply::ack, out);
      case Option::list: return list(data, out);
      case Option::info:
      case Option::go: return inform(data, out);
      case Option::structured_reply:
        if (!data.empty()) {
          return reply_error(OptionReply::err_invalid, "the option has no data", out);
        }
        session_.structured = true;
        return reply(OptionReply::ack, out);
      case Option::list_meta_context:
      case Option::set_meta_context: return meta_contexts(data, out);
      case Option::starttls:
      case Option::extended_headers: break;
    }
    reply_error(OptionReply::err_unsup, "this server does not know the option", out);
  }

  /// Source: "Option types", NBD_OPT_EXPORT_NAME.
  void choose_by_name(Data data, Bytes& out) {
    nbd::Fields fields{data};
    const std::string_view name = fields.take_last_string();
    const Export* const target = fields.error() ? nullptr : find_export(exports_, name);
    if (target == nullptr) {
      state_ = State::broken;
      return;
    }
    begin(*target);
    append(out, nbd::ExportNameReply{.size_bytes = target->info().size,
                                     .flags = target->flags(session_.structured)});
    if (!no_zeroes_) out.insert(out.end(), nbd::export_name_zeroes, std::byte{0});
  }

  void list(Data data, Bytes& out) {
    if (!data.empty()) {
      return reply_error(OptionReply::err_invalid, "the option has no data", out);
    }
    for (const Export& each : exports_) {
      header(OptionReply::server,
             sizeof(nbd::Be32) + each.name().size() + each.description().size(), out);
      append(out, nbd::Be32{static_cast<std::uint32_t>(each.name().size())});
      append(out, each.name());
      append(out, each.description());
    }
    reply(OptionReply::ack, out);
  }

  /// Source: "Option types", NBD_OPT_INFO and NBD_OPT_GO.
  void inform(Data data, Bytes& out) {
    const auto request = nbd::parse_info_request(data);
    if (!request) return reply_error(OptionReply::err_invalid, to_string(request.error()), out);
    const Export* const target = find_export(exports_, request->export_name);
    if (target == nullptr) {
      return reply_error(OptionReply::err_unknown, "no export has this name", out);
    }
    const StoreInfo& info = target->info();
    header(OptionReply::info, sizeof(nbd::InfoExport), out);
    append(out,
           nbd::InfoExport{.size_bytes = info.size, .flags = target->flags(session_.structured)});
    header(OptionReply::info, sizeof(nbd::InfoBlockSize), out);
    append(out,
           nbd::InfoBlockSize{.min_bytes = info.min_block,
                              .preferred_bytes = std::max(info.preferred_block, info.min_block),
                              .max_bytes = max_payload_bytes_});
    if (request->wants(nbd::Info::name)) inform_text(nbd::Info::name, target->name(), out);
    if (request->wants(nbd::Info::description) && !target->description().empty()) {
      inform_text(nbd::Info::description, target->description(), out);
    }
    reply(OptionReply::ack, out);
    if (static_cast<Option>(option_) == Option::go) begin(*target);
  }

  void inform_text(nbd::Info kind, std::string_view text, Bytes& out) {
    header(OptionReply::info, sizeof(nbd::Be16) + text.size(), out);
    append(out, nbd::Be16{static_cast<std::uint16_t>(kind)});
    append(out, text);
  }

  /// Source: "Option types", NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT.
  void meta_contexts(Data data, Bytes& out) {
    const bool sets = static_cast<Option>(option_) == Option::set_meta_context;
    // A set that fails selects nothing.
    if (sets) context_target_ = nullptr;
    if (!session_.structured) {
      return reply_error(OptionReply::err_invalid, "negotiate structured replies first", out);
    }
    const auto request = nbd::parse_meta_context_request(data);
    if (!request) return reply_error(OptionReply::err_invalid, to_string(request.error()), out);
    const Export* const target = find_export(exports_, request->export_name);
    if (target == nullptr) {
      return reply_error(OptionReply::err_unknown, "no export has this name", out);
    }
    bool found = !sets && request->queries.empty();
    for (const std::string_view query : request->queries) {
      found = found || query == nbd::base_allocation || (!sets && query == "base:");
    }
    if (found) {
      if (sets) context_target_ = target;
      const std::string_view name = nbd::base_allocation;
      header(OptionReply::meta_context, sizeof(nbd::Be32) + name.size(), out);
      append(out, nbd::Be32{sets ? allocation_context_id : 0});
      append(out, name);
    }
    reply(OptionReply::ack, out);
  }

  void begin(const Export& target) {
    session_.target = &target;
    // A context that was selected for another export is none.
    session_.allocation = context_target_ == &target;
    state_ = State::transmission;
  }

  void header(OptionReply type, std::size_t length_bytes, Bytes& out) const {
    append(out, nbd::OptionReplyHeader{.option = option_,
                                       .type = static_cast<std::uint32_t>(type),
                                       .length = static_cast<std::uint32_t>(length_bytes)});
  }
  void reply(OptionReply type, Bytes& out) const { header(type, 0, out); }
  void reply_error(OptionReply type, std::string_view text, Bytes& out) const {
    header(type, text.size(), out);
    append(out, text);
  }

  const Exports& exports_;
  std::uint32_t max_payload_bytes_;
  State state_ = State::client_flags;
  Session session_;
  const Export* context_target_ = nullptr;  // of the last set_meta_context
  std::uint32_t option_ = 0;                // the one that is being answered
  std::uint32_t skip_bytes_ = 0;            // of an option that is too long
  bool no_zeroes_ = false;
};

}  // namespace nbd_server

#endif
