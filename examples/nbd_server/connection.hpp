// SPDX-License-Identifier: BSL-1.0
//
// Connection: a client, and a hardware queue of the server's TagSet.
//
// Parties: the client; this object, on its worker's thread; the store, which ends requests on any
// thread, and whose ends the worker passes to finish() on this thread.
//
//   1. receive() reads from the socket: first options, for the Handshake, then commands, many at a
//      time. A command takes a request, whose data the header becomes. If no tag or no memory is
//      free, the connection pauses: what the client sends stays in the socket.
//   2. The data of a write goes from the socket into the payload. Then the store gets the request.
//      A store in memory mostly needs no payload. It lends its memory for a read, unless the range
//      has holes, and takes a write from the staged bytes, if they are all there.
//   3. finish() makes the reply of an ended request, and appends it to the list of replies.
//   4. send() writes replies. A request whose reply is on the wire is released: its tag and its
//      memory are free, and a paused connection goes on.
//
// What a client has sent before it went is executed, without replies. When that is read, or when
// the client does not keep to the protocol, the connection is closed: the socket at once, the
// requests at their end. A request that the store has stays where it is until the store ends it,
// and is released without a reply then. is_over() is true when nothing is left; only then is the
// hardware queue used again. Other clients see nothing of it.
//
// When the server stops, what is in flight is answered, and what comes then is refused with
// ESHUTDOWN, unless the client is gone. A client that was refused something must disconnect. To
// one that was not, the server ends the stream, and throws away what it still sends until it
// closes, too: a socket that is closed before makes the kernel drop the replies that it has not
// sent. The worker closes the connections of clients that take longer than Limits::stop_ms.
//
// What a client can take is bounded: the tags of its queue, Limits::max_in_use_bytes of memory, and
// the time Limits::timeout_ms in which it has to go on with a handshake, a half command, or the
// replies that it does not read.

#ifndef NBD_SERVER_CONNECTION_HPP
#define NBD_SERVER_CONNECTION_HPP

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "counters.hpp"
#include "export.hpp"
#include "handshake.hpp"
#include "nbd/messages.hpp"
#include "payload.hpp"
#include "reply.hpp"
#include "request.hpp"

namespace nbd_server {

struct Limits {
  std::uint32_t max_payload_bytes = nbd::default_max_payload_bytes;
  /// The memory of a client's payloads. One payload is taken whatever its length.
  std::uint32_t max_in_use_bytes = nbd::default_max_payload_bytes;
  /// The time in which a client goes on with what it has begun. 0: no limit.
  std::uint32_t timeout_ms = 60'000;
  /// When the server stops: the time in which clients get what is left of their replies. 0: none.
  std::uint32_t stop_ms = 1'000;
  /// The pause of a worker that has one client, behind several commands at once, in which others
  /// gather. 0: none.
  std::uint32_t gather_us = 0;
  /// The clock of the times above but the pause, in milliseconds. Null: the monotonic clock. A
  /// worker looks at it when it wakes, at the latest after a quarter of timeout_ms. Any thread.
  std::uint64_t (*clock_ms)() noexcept = nullptr;
};

/// What a connection gets from its worker.
struct ConnectionContext {
  Worker& worker;
  std::uint32_t worker_index;
  Tags& tags;
  const Exports& exports;
  PayloadPool& payloads;
  Counters& counters;
  const Limits& limits;
};

class Connection {
 public:
  /// Begins the handshake. Takes the descriptor, which is a socket that does not block.
  Connection(int fd, blkown::QueueIndex queue, const ConnectionContext& context,
             std::uint64_t now_ms)
      : context_{context},
        queue_{queue},
        fd_{fd},
        cache_{context.tags.tag_cache(queue)},
        staging_(staging_bytes),
        handshake_{context.exports, context.limits.max_payload_bytes, output_},
        progress_ms_{now_ms} {
    sending_.reserve(context.tags.depth());
    context_.counters.opened.add();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  /// Precondition: is_over().
  ~Connection() = default;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] blkown::QueueIndex queue() const noexcept { return queue_; }
  /// Whether nothing is left of the client.
  [[nodiscard]] bool is_over() const noexcept { return state_ == State::closed && requests_ == 0; }
  /// Whether the connection waits for the socket to take more of its replies.
  [[nodiscard]] bool wants_to_send() const noexcept { return socket_is_full_; }
  /// Whether the connection reads what the client sends.
  [[nodiscard]] bool wants_to_receive() const noexcept {
    return state_ == State::draining ||
           ((state_ == State::handshake || state_ == State::transmission) && !is_paused_);
  }
  /// Whether a command has all its data, and its store has not ended it.
  [[nodiscard]] bool awaits_store() const noexcept { return unfinished_ != (writing_ ? 1U : 0U); }

  /// The socket has something to read, or its end.
  void note_readable() noexcept { is_readable_ = true; }
  /// The client has closed its end: no reply can reach it. What it has sent is still read. Without
  /// a session, nothing of it matters.
  void note_gone() {
    if (state_ == State::handshake) return hang_up();
    is_gone_ = true;
    is_readable_ = true;
    is_resumed_ = true;
  }
  [[nodiscard]] bool is_gone() const noexcept { return is_gone_; }

  /// Reads, handles and answers some of what the client has sent. Returns whether there is more to
  /// do at once.
  [[nodiscard]] bool service(std::uint64_t now_ms) {
    now_ms_ = now_ms;
    serviced_commands_ = 0;
    const bool has_more = state_ == State::draining ? discard() : receive();
    send();
    if (state_ == State::closing && is_gone_) hang_up();
    const bool is_quiet = requests_ == 0 && unsent_bytes() == 0;
    if (is_quiet && state_ == State::closing) close();
    if (is_quiet && state_ == State::transmission && is_shut_down()) drain();
    return wants_to_receive() && (has_more || std::exchange(is_resumed_, false));
  }

  /// The commands that the last service() has started.
  [[nodiscard]] std::uint32_t serviced_commands() const noexcept { return serviced_commands_; }

  /// Takes a request that has ended.
  void finish(blkown::Ended<Rq> ended) {
    count_end(ended);
    --unfinished_;
    if (state_ == State::closed) {
      context_.counters.dropped.add();
      release(std::move(ended));
      return;
    }
    make_reply(ended.data(), ended.status(), handshake_.session().structured);
    replies_.push_back(std::move(ended));
  }

  /// Closes the connection if the client stands still.
  void check_timeout(std::uint64_t now_ms) {
    const std::uint32_t timeout_ms = context_.limits.timeout_ms;
    if (timeout_ms == 0 || !awaits_client() || now_ms - progress_ms_ < timeout_ms) return;
    context_.counters.timed_out.add();
    close();
  }

  /// The server stops. Call service() afterwards.
  void shut_down() {
    if (state_ == State::handshake) return hang_up();
    is_shutting_down_ = true;
    // What the client has sent until now is read before the connection is closed.
    is_readable_ = true;
  }
  /// The client has ended the connection in the middle of something, or the server stops waiting.
  void hang_up() {
    if (state_ == State::closed) return;
    if (awaits_client() || requests_ != 0) context_.counters.hung_up.add();
    close();
  }
  void close() {
    if (state_ == State::closed) return;
    state_ = State::closed;
    ::close(std::exchange(fd_, -1));
    context_.counters.closed.add();
    if (writing_) std::move(*std::exchange(writing_, std::nullopt)).end(blkown::Status::aborted);
    drop_replies();
  }

 private:
  enum class State : std::uint8_t {
    handshake,
    transmission,
    closing,   ///< Nothing more is read. Closes when the last reply is sent.
    draining,  ///< Nothing more is sent. Closes when the client does.
    closed,
  };
  /// What became of a message.
  enum class Step : std::uint8_t { done, needs_bytes, must_wait };

  static constexpr std::size_t staging_bytes = 64 * 1024;
  static_assert(staging_bytes >= sizeof(nbd::OptionHeader) + nbd::max_option_bytes);
  /// A client that sends options and does not read the replies is not heard any more.
  static constexpr std::size_t max_output_bytes = 64 * 1024;
  /// What one service() reads, so that a busy client does not keep the others waiting.
  static constexpr std::size_t max_service_bytes = 1024 * 1024;
  static constexpr std::size_t max_block_descriptors = 256;

  // ---- receiving

  /// Returns whether it has stopped before the socket was empty.
  [[nodiscard]] bool receive() {
    std::size_t budget = max_service_bytes;
    while (wants_to_receive()) {
      if (!writing_) {
        const Step step = handle_staged();
        if (step == Step::done) continue;
        if (step == Step::must_wait) {
          is_paused_ = true;
          return false;
        }
      }
      if (!is_readable_) return false;
      if (budget == 0) return true;
      budget -= std::min(budget, receive_some());
    }
    return false;
  }

  /// Ends the stream of replies. The kernel may still send some of them, for which the socket must
  /// stay open: at a closed one the kernel answers what the client sends with a reset.
  void drain() {
    state_ = State::draining;
    if (::shutdown(fd_, SHUT_WR) != 0) close();
  }

  /// Throws away what the client sends, and closes at its end. Returns whether it has stopped
  /// before the socket was empty.
  [[nodiscard]] bool discard() {
    for (std::size_t budget = max_service_bytes; budget != 0;) {
      const ssize_t received = ::recv(fd_, staging_.data(), staging_.size(), MSG_DONTWAIT);
      context_.counters.receives.add();
      if (received < 0 && errno == EINTR) continue;
      if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
      if (received <= 0) {
        close();
        return false;
      }
      budget -= std::min(budget, static_cast<std::size_t>(received));
    }
    return true;
  }

  /// Handles the message at the start of the staged bytes.
  [[nodiscard]] Step handle_staged() {
    if (state_ == State::transmission) return receive_command();
    if (unsent_bytes() > max_output_bytes) return Step::must_wait;
    const std::size_t used = handshake_.receive(staged(), output_);
    staged_begin_ += used;
    if (handshake_.is_over()) {
      if (handshake_.state() == Handshake::State::broken) break_off();
      if (handshake_.state() == Handshake::State::aborted) state_ = State::closing;
      if (handshake_.state() == Handshake::State::transmission) state_ = State::transmission;
      return Step::done;
    }
    return used == 0 ? Step::needs_bytes : Step::done;
  }

  [[nodiscard]] Step receive_command() {
    if (staged().size() < sizeof(nbd::RequestHeader)) return Step::needs_bytes;
    const auto request = nbd::parse_request(staged().first(sizeof(nbd::RequestHeader)));
    if (!request) {
      break_off();
      return Step::done;
    }
    if (request->command == nbd::Command::disconnect) {
      state_ = State::closing;
      return Step::done;
    }
    const bool is_write = request->command == nbd::Command::write;
    if (is_write && request->length > context_.limits.max_payload_bytes) {
      // The data of such a write is not worth reading, and without it nothing more can be read.
      break_off();
      return Step::done;
    }
    return start_command(*request);
  }

  /// Takes a request for the command, and starts it unless it has data to come.
  [[nodiscard]] Step start_command(const nbd::Request& wire) {
    // A client that is gone cannot send the command again.
    const bool is_late = is_shutting_down_ && !is_gone_;
    const Refusal refusal =
        is_late ? Refusal{nbd::Error::eshutdown, "the server stops"}
                : check_request(wire, handshake_.session(), context_.limits.max_payload_bytes);
    std::optional<Payload> payload{std::in_place};
    const bool is_borrowed = refusal.error == nbd::Error::ok && borrow_payload(wire, *payload);
    if (refusal.error == nbd::Error::ok && !is_borrowed) {
      const std::size_t bytes = payload_of(wire);
      if (in_use_bytes_ != 0 && in_use_bytes_ + bytes > context_.limits.max_in_use_bytes) {
        return Step::must_wait;
      }
      if (bytes != 0) payload = context_.payloads.take(bytes);
    }
    if (!payload) return no_memory();
    auto idle = context_.tags.allocate(queue_, cache_);
    if (!idle) return Step::must_wait;
    staged_begin_ += sizeof(nbd::RequestHeader);
    ++requests_;
    ++unfinished_;
    ++serviced_commands_;
    in_use_bytes_ += payload->taken_bytes();

    auto request = std::move(*idle).start();
    was_told_of_stop_ = was_told_of_stop_ || is_late;
    Command& command = request.data();
    command.wire = wire;
    command.target = handshake_.session().target;
    command.worker = &context_.worker;
    command.payload = std::move(*payload);
    command.is_lent = is_borrowed && wire.command == nbd::Command::read;
    command.refusal = refusal;
    if (wire.command == nbd::Command::write) {
      missing_bytes_ = wire.length;
      writing_.emplace(std::move(request));
      take_staged_payload();
    } else {
      execute(std::move(request));
    }
    return Step::done;
  }

  /// Takes memory that needs no copy: for a read the store's own, for a write the staged bytes, if
  /// they are all there and the store is done with them at once.
  [[nodiscard]] bool borrow_payload(const nbd::Request& wire, Payload& payload) {
    const Export& target = *handshake_.session().target;
    blkown::Segment memory;
    if (wire.command == nbd::Command::read) {
      memory = target.store().lend(wire.offset, wire.length);
    } else if (wire.command == nbd::Command::write && target.info().ends_writes_at_once &&
               staged().size() >= sizeof(nbd::RequestHeader) + wire.length) {
      memory = {staging_.data() + staged_begin_ + sizeof(nbd::RequestHeader), wire.length};
    }
    if (memory.empty()) return false;
    payload = Payload{memory};
    return true;
  }

  [[nodiscard]] static std::size_t payload_of(const nbd::Request& wire) noexcept {
    switch (wire.command) {
      case nbd::Command::read:
      case nbd::Command::write: return wire.length;
      case nbd::Command::block_status:
        return sizeof(nbd::Be32) + max_block_descriptors * sizeof(nbd::BlockDescriptor);
      default: return 0;
    }
  }

  /// The heap is exhausted. Another request of this client may give memory back. Without one, the
  /// client would wait for ever.
  [[nodiscard]] Step no_memory() {
    if (in_use_bytes_ != 0) return Step::must_wait;
    break_off();
    return Step::done;
  }

  /// Passes the command to the store, unless it is refused.
  void execute(blkown::Owned<Rq> request) {
    Command& command = request.data();
    if (command.refusal.error != nbd::Error::ok) {
      std::move(request).end(blkown::Status::invalid);
    } else if (command.wire.command == nbd::Command::block_status) {
      list_extents(command);
      std::move(request).end_ok();
    } else {
      command.target->store().start(std::move(request), context_.worker_index);
    }
  }

  /// Fills the payload of a block status: the id of the context, then the extents.
  void list_extents(Command& command) {
    const bool one = command.has_flag(nbd::command_flag::req_one);
    std::vector<nbd::Extent> extents;
    command.target->store().list_extents(command.wire.offset, command.wire.length,
                                         one ? 1 : max_block_descriptors, extents);
    std::byte* to = command.payload.memory().data;
    const auto put = [&](const auto& value) {
      const auto bytes = nbd::bytes_of(value);
      std::memcpy(to, bytes.data(), bytes.size());
      to += bytes.size();
    };
    put(nbd::Be32{allocation_context_id});
    for (const nbd::Extent& extent : extents) {
      put(nbd::BlockDescriptor{.length = extent.length, .flags = extent.flags});
    }
    command.payload.shorten(static_cast<std::size_t>(to - command.payload.memory().data));
  }

  /// One recvmsg: the missing data of a write goes into its payload, or is thrown away if the write
  /// is refused; what follows goes into the staging buffer. Returns the number of bytes; 0 if there
  /// is nothing to read now.
  [[nodiscard]] std::size_t receive_some() {
    std::array<std::byte, 4096> thrown_away;
    std::array<iovec, 2> vector;
    std::size_t count = 0;
    std::size_t payload_bytes = 0;
    if (writing_) {
      const blkown::Segment memory = writing_->data().payload.memory();
      payload_bytes = memory.empty() ? std::min<std::size_t>(missing_bytes_, thrown_away.size())
                                     : missing_bytes_;
      std::byte* const to = memory.empty() ? thrown_away.data() : memory.end() - missing_bytes_;
      vector[count++] = {.iov_base = to, .iov_len = payload_bytes};
    }
    if (payload_bytes == missing_bytes_) vector[count++] = room_to_stage();
    const std::size_t received = receive_into(std::span{vector}.first(count));
    const std::size_t of_payload = std::min(received, payload_bytes);
    staged_end_ += received - of_payload;
    note_payload(of_payload);
    return received;
  }

  /// Moves the staged bytes to the start of their buffer, and returns the rest of it.
  [[nodiscard]] iovec room_to_stage() noexcept {
    const std::span<const std::byte> rest = staged();
    if (staged_begin_ != 0) {
      std::memmove(staging_.data(), rest.data(), rest.size());
      staged_end_ = rest.size();
      staged_begin_ = 0;
    }
    return {.iov_base = staging_.data() + staged_end_, .iov_len = staging_.size() - staged_end_};
  }

  /// Takes what of the data is staged behind the header.
  void take_staged_payload() {
    const std::size_t here = std::min<std::size_t>(staged().size(), missing_bytes_);
    const blkown::Segment memory = writing_->data().payload.memory();
    if (!memory.empty() && memory.data != staged().data()) {
      std::memcpy(memory.data, staged().data(), here);
    }
    staged_begin_ += here;
    note_payload(here);
  }

  void note_payload(std::size_t bytes) {
    missing_bytes_ -= static_cast<std::uint32_t>(bytes);
    if (missing_bytes_ == 0 && writing_) execute(*std::exchange(writing_, std::nullopt));
  }

  /// A client that is gone closes the connection, or lets it end with the replies to what it has
  /// sent.
  [[nodiscard]] std::size_t receive_into(std::span<iovec> memory) {
    msghdr message{};
    message.msg_iov = memory.data();
    message.msg_iovlen = memory.size();
    std::size_t room_bytes = 0;
    for (const iovec& each : memory) room_bytes += each.iov_len;
    ssize_t received = 0;
    do {
      received = ::recvmsg(fd_, &message, MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    context_.counters.receives.add();
    // Less than there is room for was all that was there. The poller tells when more comes, unless
    // the client is gone.
    const bool is_full = received > 0 && static_cast<std::size_t>(received) == room_bytes;
    is_readable_ = is_full || (received > 0 && is_gone_);
    if (received > 0) {
      if (state_ != State::handshake) progress_ms_ = now_ms_;
      return static_cast<std::size_t>(received);
    }
    if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (received < 0 || state_ == State::handshake || writing_ || !staged().empty()) {
      hang_up();
    } else {
      state_ = State::closing;
    }
    return 0;
  }

  [[nodiscard]] std::span<const std::byte> staged() const noexcept {
    return std::span{staging_}.subspan(staged_begin_, staged_end_ - staged_begin_);
  }

  // ---- sending

  /// Sends replies until the socket is full.
  void send() {
    while (state_ != State::closed && !is_gone_ && unsent_bytes() != 0) {
      std::array<iovec, max_vector> vector;
      msghdr message{};
      message.msg_iov = vector.data();
      message.msg_iovlen = gather(vector.data());
      const ssize_t sent = send_message(message);
      context_.counters.sends.add();
      if (sent < 0 && errno == EINTR) continue;
      socket_is_full_ = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      if (socket_is_full_) return;
      if (sent < 0) {
        note_gone();
        break;
      }
      progress_ms_ = state_ == State::handshake ? progress_ms_ : now_ms_;
      note_sent(static_cast<std::size_t>(sent));
    }
    socket_is_full_ = false;
    if (is_gone_) drop_replies();
  }

  /// sendmsg(2). Another worker may write lent memory while the kernel reads it, which the
  /// library's function would report to ThreadSanitizer as a race of this thread.
  [[nodiscard]] ssize_t send_message(const msghdr& message) const noexcept {
    return ::syscall(SYS_sendmsg, fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  /// A number that is not 0 if something is left to send.
  [[nodiscard]] std::size_t unsent_bytes() const noexcept {
    const std::size_t of_handshake = output_.size() - output_sent_;
    return of_handshake + sending_.size() + (replies_.empty() ? 0 : 1);
  }

  [[nodiscard]] std::size_t gather(iovec* vector) {
    std::size_t count = 0;
    if (output_sent_ != output_.size()) {
      vector[count++] = {.iov_base = output_.data() + output_sent_,
                         .iov_len = output_.size() - output_sent_};
    }
    while (sending_.size() < max_batch) {
      auto ended = replies_.pop_front();
      if (!ended) break;
      sending_.push_back(std::move(*ended));
    }
    std::size_t skip_bytes = reply_sent_bytes_;
    for (const blkown::Ended<Rq>& ended : sending_) {
      count += gather_reply(ended.data(), std::exchange(skip_bytes, 0), vector + count);
    }
    return count;
  }

  void note_sent(std::size_t sent_bytes) {
    const std::size_t of_handshake = std::min(sent_bytes, output_.size() - output_sent_);
    output_sent_ += of_handshake;
    if (output_sent_ == output_.size()) {
      output_.clear();
      output_sent_ = 0;
    }
    resume();
    reply_sent_bytes_ += sent_bytes - of_handshake;
    std::size_t done = 0;
    while (done != sending_.size()) {
      const std::size_t length_bytes = reply_bytes(sending_[done].data());
      if (reply_sent_bytes_ < length_bytes) break;
      reply_sent_bytes_ -= length_bytes;
      release(std::move(sending_[done++]));
    }
    sending_.erase(sending_.begin(), sending_.begin() + static_cast<std::ptrdiff_t>(done));
  }

  // ---- the end of requests

  void count_end(const blkown::Ended<Rq>& ended) {
    Counters& counters = context_.counters;
    const Command& command = ended.data();
    counters.commands.add();
    if (command.refusal.error != nbd::Error::ok) {
      counters.refused.add();
    } else if (ended.status() == blkown::Status::aborted) {
      // A write whose data did not come: dropped.
    } else if (ended.status() != blkown::Status::ok) {
      counters.failed.add();
    } else if (command.wire.command == nbd::Command::read) {
      counters.read_bytes.add(command.wire.length);
    } else if (command.wire.command == nbd::Command::write) {
      counters.written_bytes.add(command.wire.length);
    }
  }

  void drop_replies() {
    for (blkown::Ended<Rq>& ended : std::exchange(sending_, {})) drop(std::move(ended));
    while (auto ended = replies_.pop_front()) drop(std::move(*ended));
    reply_sent_bytes_ = 0;
    socket_is_full_ = false;
  }
  void drop(blkown::Ended<Rq> ended) {
    context_.counters.dropped.add();
    release(std::move(ended));
  }

  /// Frees the memory and the tag.
  void release(blkown::Ended<Rq> ended) {
    Command& command = ended.data();
    in_use_bytes_ -= command.payload.taken_bytes();
    command.payload = {};
    std::move(ended).release(cache_);
    --requests_;
    resume();
  }

  void resume() noexcept {
    if (std::exchange(is_paused_, false)) is_resumed_ = true;
  }

  /// The client does not keep to the protocol, and no reply could say so.
  void break_off() {
    context_.counters.broken.add();
    close();
  }

  /// Whether the server stops, and all that the client has sent was read, without a refusal: the
  /// client does not know of the stop.
  [[nodiscard]] bool is_shut_down() const noexcept {
    return is_shutting_down_ && !was_told_of_stop_ && !is_readable_ && !is_paused_ && !writing_ &&
           staged().empty();
  }

  /// Whether the client has begun something, or does not read.
  [[nodiscard]] bool awaits_client() const noexcept {
    return state_ == State::handshake || socket_is_full_ ||
           (state_ == State::transmission && !is_paused_ && (writing_ || !staged().empty()));
  }

  static constexpr std::size_t max_batch = 32;
  static constexpr std::size_t max_vector = 1 + 2 * max_batch;

  ConnectionContext context_;
  blkown::QueueIndex queue_;
  int fd_;
  blkown::TagCache cache_;
  State state_ = State::handshake;
  bool is_paused_ = false;   // no tag, no memory, or too many replies to options
  bool is_resumed_ = false;  // since the last service()
  bool socket_is_full_ = false;
  bool is_readable_ = true;  // the socket may have more to read
  bool is_gone_ = false;     // the client has closed its end
  bool is_shutting_down_ = false;
  bool was_told_of_stop_ = false;  // a command was refused for it

  Bytes staging_;  // received, not handled
  std::size_t staged_begin_ = 0;
  std::size_t staged_end_ = 0;
  std::optional<blkown::Owned<Rq>> writing_;  // a write whose data is not complete
  std::uint32_t missing_bytes_ = 0;           // of that data

  Bytes output_;  // of the handshake
  std::size_t output_sent_ = 0;
  Handshake handshake_;
  blkown::EndedList<Rq> replies_;           // not begun to send
  std::vector<blkown::Ended<Rq>> sending_;  // the oldest is sent in part
  std::size_t reply_sent_bytes_ = 0;        // of the oldest

  std::uint32_t requests_ = 0;    // not released
  std::uint32_t unfinished_ = 0;  // of them: not passed to finish()
  std::uint32_t serviced_commands_ = 0;
  std::size_t in_use_bytes_ = 0;  // of their payloads that the pool has given
  std::uint64_t progress_ms_;     // when the client did something last
  std::uint64_t now_ms_ = 0;
};

}  // namespace nbd_server

#endif
