// SPDX-License-Identifier: BSL-1.0
//
// The URIs of NBD exports: nbd://HOST[:PORT]/EXPORT and nbd+unix:///EXPORT?socket=PATH.

#ifndef EXAMPLES_NBD_CLIENT_URI_HPP
#define EXAMPLES_NBD_CLIENT_URI_HPP

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "../nbd/protocol.hpp"

namespace nbd_client {

/// An export of a server.
struct Uri {
  std::string host;         ///< Empty: a unix socket.
  std::string port;         ///< A number or the name of a service.
  std::string socket_path;  ///< Of a unix socket.
  std::string export_name;  ///< May be empty: the server's default export.

  [[nodiscard]] bool is_unix() const noexcept { return host.empty(); }
};

namespace detail {

[[nodiscard]] inline std::optional<unsigned> hex_digit(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
  return std::nullopt;
}

/// The text with each %XX replaced. None if a digit is missing or the result has a NUL.
[[nodiscard]] inline std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i != text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low || (*high | *low) == 0) return std::nullopt;
    decoded += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return decoded;
}

/// Splits "HOST", "HOST:PORT", "[ADDRESS]" or "[ADDRESS]:PORT".
[[nodiscard]] inline bool set_authority(std::string_view text, Uri& uri) {
  const bool is_bracketed = text.starts_with('[');
  const std::size_t host_end = is_bracketed ? text.find(']') : text.find(':');
  if (is_bracketed && host_end == std::string_view::npos) return false;
  uri.host = text.substr(is_bracketed ? 1 : 0, is_bracketed ? host_end - 1 : host_end);
  std::string_view rest;
  if (host_end != std::string_view::npos) rest = text.substr(host_end + (is_bracketed ? 1 : 0));
  uri.port = std::to_string(nbd::default_port);
  if (!rest.empty()) {
    if (!rest.starts_with(':') || rest.size() == 1) return false;
    uri.port = rest.substr(1);
  }
  return !uri.host.empty();
}

}  // namespace detail

/// Whether the text is meant as a URI of NBD, and not as the name of a file.
[[nodiscard]] inline bool is_uri(std::string_view text) noexcept {
  return text.starts_with("nbd:") || text.starts_with("nbd+") || text.starts_with("nbds");
}

/// Parses a URI.
/// Errors: the problem, for a message.
/// Source: doc/uri.md of NetworkBlockDevice/nbd.
[[nodiscard]] inline std::expected<Uri, const char*> parse_uri(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return std::unexpected("no \"://\"");
  const std::string_view scheme = text.substr(0, scheme_end);
  if (scheme.starts_with("nbds")) return std::unexpected("TLS is not supported");
  if (scheme != "nbd" && scheme != "nbd+unix") return std::unexpected("not nbd or nbd+unix");
  text.remove_prefix(scheme_end + 3);

  std::string_view query;
  if (const std::size_t at = text.find('?'); at != std::string_view::npos) {
    query = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const std::size_t path_at = text.find('/');
  const std::string_view authority = text.substr(0, path_at);
  const std::string_view path =
      path_at == std::string_view::npos ? std::string_view{} : text.substr(path_at + 1);

  Uri uri;
  auto name = detail::percent_decoded(path);
  if (!name || name->size() > nbd::max_string_bytes) return std::unexpected("bad export name");
  uri.export_name = *std::move(name);
  if (scheme == "nbd") {
    if (!query.empty()) return std::unexpected("unknown parameter");
    if (!detail::set_authority(authority, uri)) return std::unexpected("bad host or port");
    return uri;
  }
  if (!authority.empty()) return std::unexpected("a unix socket has no host");
  if (!query.starts_with("socket=")) return std::unexpected("no socket=PATH");
  auto socket_path = detail::percent_decoded(query.substr(7));
  if (!socket_path || socket_path->empty()) return std::unexpected("bad socket path");
  uri.socket_path = *std::move(socket_path);
  return uri;
}

}  // namespace nbd_client

#endif
