// SPDX-License-Identifier: BSL-1.0
//
// Channel: the socket of a front end: messages with file descriptors in, replies out.

#ifndef VHOST_USER_BLK_CHANNEL_HPP
#define VHOST_USER_BLK_CHANNEL_HPP

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <utility>
#include <vector>

#include "messages.hpp"
#include "protocol.hpp"
#include "signal.hpp"

namespace vhost_user_blk {

class Channel {
 public:
  /// Takes a socket that does not block.
  explicit Channel(Descriptor socket) noexcept : socket_{std::move(socket)} {}

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// Reads what the socket has of the next message. True: the message is there, and stays until
  /// drop(). False: there is more to come.
  /// Errors: wrong_version, wrong_size and wrong_fd_count if the bytes that are there begin no
  /// message; hung_up.
  [[nodiscard]] std::expected<bool, vhost_user::MessageError> receive() {
    while (received_ != wanted()) {
      std::byte* const to = received_ < sizeof(header_)
                                ? reinterpret_cast<std::byte*>(&header_) + received_
                                : payload_.data() + (received_ - sizeof(header_));
      const auto got = receive_into(to, wanted() - received_);
      if (!got) return std::unexpected(got.error());
      if (*got == 0) return false;
      received_ += *got;
      if (received_ == sizeof(header_)) {
        if (const auto good = vhost_user::check_header(header_); !good) {
          return std::unexpected(good.error());
        }
      }
    }
    return true;
  }
  /// Parses the message that is there.
  [[nodiscard]] std::expected<vhost_user::Message, vhost_user::MessageError> parse() const {
    return vhost_user::parse_message(header_, payload(), fds_.size());
  }
  [[nodiscard]] const vhost_user::Header& header() const noexcept { return header_; }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept {
    return std::span{payload_}.first(received_ < sizeof(header_) ? 0 : header_.size);
  }
  /// The message's file descriptors. The user may move them away.
  [[nodiscard]] std::vector<Descriptor>& fds() noexcept { return fds_; }
  /// The message is done. Descriptors that nobody has taken are closed.
  void drop() noexcept {
    received_ = 0;
    header_ = {};
    fds_.clear();
  }

  /// Sends a reply to the message that is there, with a file descriptor if `fd` is one.
  /// Errors: hung_up, also if the front end does not read its replies.
  [[nodiscard]] std::expected<void, vhost_user::MessageError> reply(
      std::span<const std::byte> payload, int fd = -1) const {
    vhost_user::Header header{
        .request = header_.request,
        .flags = vhost_user::header_flag::version | vhost_user::header_flag::reply,
        .size = static_cast<std::uint32_t>(payload.size())};
    std::array<iovec, 2> parts{
        iovec{.iov_base = &header, .iov_len = sizeof(header)},
        iovec{.iov_base = const_cast<std::byte*>(payload.data()), .iov_len = payload.size()}};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (fd >= 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const first = CMSG_FIRSTHDR(&message);
      first->cmsg_level = SOL_SOCKET;
      first->cmsg_type = SCM_RIGHTS;
      first->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(first), &fd, sizeof(int));
    }
    const auto bytes = static_cast<ssize_t>(sizeof(header) + payload.size());
    if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) == bytes) return {};
    return std::unexpected(vhost_user::MessageError::hung_up);
  }
  /// The same for a payload that is a structure or a number.
  template <class T>
  [[nodiscard]] std::expected<void, vhost_user::MessageError> reply_with(const T& payload,
                                                                         int fd = -1) const {
    return reply(std::as_bytes(std::span{&payload, 1}), fd);
  }

 private:
  /// The bytes up to the end of the header, or of the message.
  [[nodiscard]] std::size_t wanted() const noexcept {
    return sizeof(header_) + (received_ < sizeof(header_) ? 0 : header_.size);
  }

  /// One recvmsg. Keeps the descriptors that come with the bytes. 0: nothing is there now.
  [[nodiscard]] std::expected<std::size_t, vhost_user::MessageError> receive_into(
      std::byte* to, std::size_t max_bytes) {
    iovec part{.iov_base = to, .iov_len = max_bytes};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(vhost_user::max_fds * sizeof(int))> control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    if (got <= 0) return std::unexpected(vhost_user::MessageError::hung_up);
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
         each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS) keep_fds(*each);
    }
    // Descriptors for which there was no room, and more than any message has.
    if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > vhost_user::max_fds) {
      return std::unexpected(vhost_user::MessageError::wrong_fd_count);
    }
    return static_cast<std::size_t>(got);
  }
  /// From here on each received descriptor is closed, whatever becomes of the message.
  void keep_fds(cmsghdr& control) {
    const std::size_t count = (control.cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i != count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(&control) + i * sizeof(int), sizeof(int));
      fds_.emplace_back(fd);
    }
  }

  Descriptor socket_;
  vhost_user::Header header_{};
  std::array<std::byte, vhost_user::max_payload_bytes> payload_{};
  std::size_t received_ = 0;  // of the header and the payload
  std::vector<Descriptor> fds_;
};

}  // namespace vhost_user_blk

#endif
