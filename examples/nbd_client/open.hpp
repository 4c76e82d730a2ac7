// SPDX-License-Identifier: BSL-1.0
//
// open_export: the first connection to an export, with its negotiation. What the server says of the
// export is needed before a disk can be made. The socket becomes the disk's first connection: some
// servers exit when their first client goes.

#ifndef EXAMPLES_NBD_CLIENT_OPEN_HPP
#define EXAMPLES_NBD_CLIENT_OPEN_HPP

#include <poll.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>

#include "handshake.hpp"
#include "socket.hpp"
#include "uri.hpp"

namespace nbd_client {

/// An export, with a socket on which commands can be sent. The destructor sends NBD_CMD_DISC on a
/// socket that was not moved out.
struct OpenedExport {
  OpenedExport() = default;
  OpenedExport(OpenedExport&&) noexcept = default;
  OpenedExport& operator=(OpenedExport&&) noexcept = default;
  ~OpenedExport() {
    if (socket.is_open()) say_goodbye(socket);
  }

  std::unique_ptr<UriDialer> dialer;
  Socket socket;
  std::string name;
  ExportInfo info;
};

namespace detail {

/// Waits for the events. Returns false at the deadline.
[[nodiscard]] inline bool wait_for_socket(int fd, short events,
                                          std::chrono::steady_clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd polled{.fd = fd, .events = events, .revents = 0};
    const int count = ::poll(&polled, 1, static_cast<int>(left.count()));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return false;
  }
}

/// Connects and negotiates. Returns why that has failed, or none.
[[nodiscard]] inline NegotiationError negotiate(OpenedExport& opened, std::uint32_t timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds{timeout_ms};
  opened.socket = opened.dialer->dial();
  if (!opened.socket.is_open()) return NegotiationError::connect_failed;
  const int fd = opened.socket.fd();
  // Another address may answer where this one is silent.
  if (!wait_for_socket(fd, POLLOUT, deadline)) return NegotiationError::connect_failed;
  if (opened.socket.connect_error() != 0) return NegotiationError::connect_failed;
  Negotiation negotiation{opened.name};
  while (!negotiation.advance(fd)) {
    if (wait_for_socket(fd, negotiation.events(), deadline)) continue;
    negotiation.abandon(fd);
    return NegotiationError::timed_out;
  }
  if (negotiation.error() == NegotiationError::none) opened.info = negotiation.info();
  return negotiation.error();
}

}  // namespace detail

/// Connects to the export of a URI, and waits until it is negotiated. Tries each of the server's
/// addresses once.
/// Errors: the problem, for a message.
[[nodiscard]] inline std::expected<OpenedExport, std::string> open_export(
    const std::string& uri_text, std::uint32_t timeout_ms) {
  const auto uri = parse_uri(uri_text);
  if (!uri) return std::unexpected(uri.error());
  auto addresses = UriDialer::look_up(*uri);
  if (!addresses) return std::unexpected(addresses.error());
  OpenedExport opened;
  const std::size_t attempts = addresses->size();
  opened.dialer = std::make_unique<UriDialer>(*std::move(addresses));
  opened.name = uri->export_name;
  NegotiationError error = NegotiationError::connect_failed;
  for (std::size_t i = 0; i != attempts && error == NegotiationError::connect_failed; ++i) {
    error = detail::negotiate(opened, timeout_ms);
  }
  if (error != NegotiationError::none) {
    // Before the end of the negotiation, a command would be taken for an option.
    opened.socket.close();
    return std::unexpected(to_string(error));
  }
  return opened;
}

}  // namespace nbd_client

#endif
