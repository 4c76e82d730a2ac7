// SPDX-License-Identifier: BSL-1.0
//
// A client of the NBD server for tests: it sends what a test says, over a socketpair, and takes the
// replies apart. And a store that ends commands when the test says so.

#ifndef BLKOWN_TESTS_EXAMPLES_NBD_PEER_HPP
#define BLKOWN_TESTS_EXAMPLES_NBD_PEER_HPP

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "examples/uninterrupted.hpp"
#include "nbd/messages.hpp"
#include "nbd_server/listener.hpp"
#include "nbd_server/server.hpp"

namespace nbd_server {

using front_ends::uninterrupted;

/// A reply, simple or of one chunk.
struct Reply {
  std::uint64_t cookie = 0;
  std::uint32_t error = 0;
  nbd::ChunkType type{};
  Bytes payload;  ///< Of a read: the data alone.
};

class Peer {
 public:
  /// Connects to the server. A failed receive gives up after 20 seconds.
  explicit Peer(Server& server) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    fd_ = ends[0];
    be_patient();
    server.add(ends[1]);
  }
  /// Connects over TCP, to a listener on an IPv4 address. The kernel takes few bytes for the client
  /// (`receive_bytes`), and many for the server.
  Peer(Server& server, const Listener& listener, int receive_bytes) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &length);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) != 0) return;
    be_patient();
    const int accepted = listener.accept_client();
    const int send_bytes = 1024 * 1024;
    setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));
    server.add(accepted);
  }
  Peer(Peer&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, structured_{other.structured_} {}
  Peer& operator=(Peer&&) = delete;
  ~Peer() { hang_up(); }

  [[nodiscard]] int fd() const noexcept { return fd_; }
  void hang_up() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends what this side sends. It still receives.
  void finish_sending() const { ::shutdown(fd_, SHUT_WR); }

  bool send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent =
          uninterrupted([&] { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); });
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }
  template <nbd::Wire T>
  bool send(const T& value) const {
    return send(nbd::bytes_of(value));
  }
  /// Exactly this many bytes. None if the server closes before.
  [[nodiscard]] std::optional<Bytes> receive(std::size_t count) const {
    Bytes bytes(count);
    for (std::size_t done = 0; done != count;) {
      const ssize_t received =
          uninterrupted([&] { return ::recv(fd_, bytes.data() + done, count - done, 0); });
      if (received <= 0) return std::nullopt;
      done += static_cast<std::size_t>(received);
    }
    return bytes;
  }
  template <nbd::Wire T>
  [[nodiscard]] std::optional<T> receive() const {
    const auto bytes = receive(sizeof(T));
    return bytes ? nbd::read_at_start<T>(*bytes) : std::nullopt;
  }
  /// Whether the server has closed the connection, and nothing comes before.
  [[nodiscard]] bool is_closed() const {
    std::byte one{};
    const ssize_t received = uninterrupted([&] { return ::recv(fd_, &one, 1, 0); });
    return received == 0 || (received < 0 && errno == ECONNRESET);
  }

  /// Sends an option.
  void send_option(nbd::Option option, std::span<const std::byte> data = {}) const {
    send(nbd::OptionHeader{.option = static_cast<std::uint32_t>(option),
                           .length = static_cast<std::uint32_t>(data.size())});
    send(data);
  }
  /// The next reply to an option.
  [[nodiscard]] std::optional<std::pair<nbd::OptionReply, Bytes>> option_reply() const {
    const auto header = receive<nbd::OptionReplyHeader>();
    if (!header) return std::nullopt;
    auto data = receive(header->length);
    if (!data) return std::nullopt;
    return std::pair{static_cast<nbd::OptionReply>(header->type.get()), std::move(*data)};
  }
  /// The last reply to an option.
  [[nodiscard]] std::optional<nbd::OptionReply> outcome() const {
    while (auto reply = option_reply()) {
      if (reply->first == nbd::OptionReply::ack || is_error(reply->first)) return reply->first;
    }
    return std::nullopt;
  }

  /// The data of GO for this export.
  [[nodiscard]] static Bytes go_data(std::string_view name) {
    Bytes data;
    append(data, nbd::Be32{static_cast<std::uint32_t>(name.size())});
    append(data, name);
    append(data, nbd::Be16{0});
    return data;
  }
  /// The data of an option about metadata contexts.
  [[nodiscard]] static Bytes context_data(std::string_view name,
                                          std::span<const std::string_view> queries) {
    Bytes data;
    append(data, nbd::Be32{static_cast<std::uint32_t>(name.size())});
    append(data, name);
    append(data, nbd::Be32{static_cast<std::uint32_t>(queries.size())});
    for (const std::string_view query : queries) {
      append(data, nbd::Be32{static_cast<std::uint32_t>(query.size())});
      append(data, query);
    }
    return data;
  }

  /// Greets the server.
  bool greet() const {
    if (!receive<nbd::Greeting>()) return false;
    return send(nbd::Be32{nbd::client_flag::all});
  }
  /// The whole handshake. With `structured`, base:allocation is selected, too.
  bool go(std::string_view name, bool structured = true) {
    if (!greet()) return false;
    structured_ = structured;
    if (structured) {
      send_option(nbd::Option::structured_reply);
      if (outcome() != nbd::OptionReply::ack) return false;
      const std::string_view query[]{nbd::base_allocation};
      send_option(nbd::Option::set_meta_context, context_data(name, query));
      if (outcome() != nbd::OptionReply::ack) return false;
    }
    send_option(nbd::Option::go, go_data(name));
    return outcome() == nbd::OptionReply::ack;
  }

  bool request(nbd::Command command, std::uint64_t cookie, std::uint64_t offset,
               std::uint32_t length, std::uint16_t flags = 0) const {
    return send(nbd::RequestHeader{.flags = flags,
                                   .type = static_cast<std::uint16_t>(command),
                                   .cookie = cookie,
                                   .offset = offset,
                                   .length = length});
  }
  bool write(std::uint64_t cookie, std::uint64_t offset, std::span<const std::byte> data,
             std::uint16_t flags = 0) const {
    return request(nbd::Command::write, cookie, offset, static_cast<std::uint32_t>(data.size()),
                   flags) &&
           send(data);
  }
  /// The next reply. `simple_bytes` is the length of the data if it is a simple one.
  [[nodiscard]] std::optional<Reply> reply(std::size_t simple_bytes = 0) const {
    return structured_ ? chunk() : simple(simple_bytes);
  }

 private:
  void be_patient() const {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  }
  [[nodiscard]] std::optional<Reply> simple(std::size_t bytes) const {
    const auto header = receive<nbd::SimpleReply>();
    if (!header || header->magic != nbd::simple_reply_magic) return std::nullopt;
    Reply reply{.cookie = header->cookie, .error = header->error, .type = {}, .payload = {}};
    auto payload = receive(reply.error == 0 ? bytes : 0);
    if (!payload) return std::nullopt;
    reply.payload = std::move(*payload);
    return reply;
  }
  [[nodiscard]] std::optional<Reply> chunk() const {
    const auto bytes = receive(sizeof(nbd::ChunkHeader));
    if (!bytes) return std::nullopt;
    const auto header = nbd::parse_chunk(*bytes);
    if (!header || !header->is_done()) return std::nullopt;
    auto payload = receive(header->length_bytes);
    if (!payload) return std::nullopt;
    Reply reply{.cookie = header->cookie, .error = 0, .type = header->type, .payload = {}};
    if (is_error(header->type)) {
      const auto error = nbd::parse_chunk_error(header->type, *payload);
      if (!error) return std::nullopt;
      reply.error = static_cast<std::uint32_t>(error->error);
    } else if (header->type == nbd::ChunkType::offset_data) {
      reply.payload.assign(payload->begin() + sizeof(nbd::OffsetData), payload->end());
    } else {
      reply.payload = std::move(*payload);
    }
    return reply;
  }

  int fd_ = -1;
  bool structured_ = false;
};

/// A store with a cache that only a flush or FUA writes to its medium, and with a device that sends
/// ids back when the test says so.
class HeldStore final : public Store {
 public:
  explicit HeldStore(std::size_t size_bytes) : cache_(size_bytes), medium_(size_bytes) {}

  [[nodiscard]] StoreInfo info() const override { return {.size = cache_.size()}; }
  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    tags_ = &context.tags;
    refused_ = &context.refused;
    return {};
  }
  void start(blkown::Owned<Rq> request, std::uint32_t) override {
    std::move(request).publish([this](blkown::Cookie id) {
      const std::lock_guard lock{mutex_};
      ids_.push_back(id.value);
    });
  }

  /// The number of ids that the device has.
  [[nodiscard]] std::size_t held() {
    const std::lock_guard lock{mutex_};
    return ids_.size();
  }
  /// Waits until the device has this many ids. Returns whether it has, after 20 seconds or so.
  bool await(std::size_t count) {
    for (int i = 0; i != 4'000 && held() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    return held() >= count;
  }
  /// The device is done with the oldest or the newest id. Returns the id.
  std::uint64_t complete_oldest() { return complete_at(true); }
  std::uint64_t complete_newest() { return complete_at(false); }
  void complete_all() {
    while (held() != 0) complete_oldest();
  }
  /// The device sends a value, whatever it is. Returns whether it was an id in flight.
  bool send_back(std::uint64_t id) {
    auto claim = tags_->claim(cookie_layout.queue_of(id), id);
    if (!claim) {
      refused_->count(claim.error().reason);
      return false;
    }
    execute(claim->data());
    std::move(*claim).end_ok();
    return true;
  }
  /// What a loss of power leaves at this offset.
  [[nodiscard]] std::byte durable(std::size_t offset) {
    const std::lock_guard lock{mutex_};
    return medium_[offset];
  }

 private:
  std::uint64_t complete_at(bool oldest) {
    std::uint64_t id = 0;
    {
      const std::lock_guard lock{mutex_};
      const auto at = oldest ? ids_.begin() : ids_.end() - 1;
      id = *at;
      ids_.erase(at);
    }
    send_back(id);
    return id;
  }

  void execute(const Command& command) {
    const std::lock_guard lock{mutex_};
    const blkown::Segment memory = command.payload.memory();
    std::byte* const at = cache_.data() + command.wire.offset;
    if (command.wire.command == nbd::Command::read)
      std::memcpy(memory.data, at, memory.length_bytes);
    if (command.wire.command == nbd::Command::write) {
      std::memcpy(at, memory.data, memory.length_bytes);
      if (command.has_flag(nbd::command_flag::fua)) {
        std::memcpy(medium_.data() + command.wire.offset, memory.data, memory.length_bytes);
      }
    }
    if (command.wire.command == nbd::Command::flush) medium_ = cache_;
  }

  Tags* tags_ = nullptr;
  RefusedLookups* refused_ = nullptr;
  std::mutex mutex_;
  Bytes cache_;
  Bytes medium_;
  std::vector<std::uint64_t> ids_;
};

/// Waits until the condition holds. Returns whether it does, after 20 seconds at most.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return condition();
}

}  // namespace nbd_server

#endif
