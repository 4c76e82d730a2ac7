// SPDX-License-Identifier: BSL-1.0
//
// Connection: one connection of an NbdDisk, which is one of its hardware queues. The top of
// driver.hpp explains the protocol between the connection and the block layer.
//
//   down         no socket; the alarm begins the next attempt
//   connecting   connect(2) has not ended       } the alarm ends the attempt
//   negotiating  the handshake has not ended    }
//   up           commands and replies; the alarm looks for a peer that has stopped in a message
//   closed       before start() and after stop()
//
// A reply's data is received into the memory of the bio, while the connection has the Claim.
// Between two chunks of one reply the Claim is released, so that the request can time out.

#ifndef EXAMPLES_NBD_CLIENT_CONNECTION_HPP
#define EXAMPLES_NBD_CLIENT_CONNECTION_HPP

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <blkown/iovec.hpp>
#include <blkown/mq/mq.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "../nbd/messages.hpp"
#include "../nbd/status.hpp"
#include "driver.hpp"
#include "handshake.hpp"
#include "poll_loop.hpp"
#include "socket.hpp"

namespace nbd_client {

/// What has happened on a connection.
struct ConnectionCounters {
  std::uint64_t connects = 0;         ///< Negotiations that have succeeded.
  std::uint64_t failed_attempts = 0;  ///< To connect.
  std::uint64_t lost = 0;             ///< Connections that ended before stop(). The next are part.
  std::uint64_t violations = 0;       ///< Of the protocol, by the server.
  std::uint64_t timeouts = 0;         ///< Of requests and of messages.
};

/// One connection. Everything is called on its context.
class Connection final : public Pollable {
 public:
  using Hw = NbdDisk::Hw;
  using Rq = NbdDisk::Rq;
  using Answer = NbdDisk::Answer;
  using Claim = blkown::Claim<Rq>;

  explicit Connection(NbdDisk& owner) : owner_{owner} {}

  /// The hardware queue, which stays stopped until the connection is up.
  void attach(Hw& hw) noexcept {
    hw_ = &hw;
    hw.stop();
  }
  /// Begins to connect, or takes a socket whose negotiation is done.
  void start(mq::Context& context, Socket negotiated) {
    context_ = &context;
    down_since_ns_ = context.now_ns();
    if (!negotiated.is_open()) return dial();
    socket_ = std::move(negotiated);
    come_up();
  }
  /// Says goodbye, if that does not cut a command in two, and closes the socket. All commands were
  /// answered: the disk is removed.
  void stop() {
    set_alarm(std::nullopt);
    if (state_ == State::up && out_.empty()) say_goodbye(socket_);
    if (state_ == State::negotiating) negotiation_->abandon(socket_.fd());
    negotiation_.reset();
    socket_.close();
    state_ = State::closed;
  }

  [[nodiscard]] bool is_up() const noexcept { return state_ == State::up; }
  [[nodiscard]] const ConnectionCounters& counters() const noexcept { return counters_; }
  /// Why the latest attempt to connect has failed.
  [[nodiscard]] NegotiationError last_error() const noexcept { return last_error_; }

  // --- the hooks of the driver -------------------------------------------------------------------

  Answer queue(blkown::Idle<Rq> idle, bool is_last);
  /// Sends what the socket takes.
  void send();
  /// A request was not answered in time.
  void time_out() {
    ++counters_.timeouts;
    drop(Status::timed_out);
  }

  // --- the loop ----------------------------------------------------------------------------------

  [[nodiscard]] pollfd interest() override;
  void ready(short events) override;

 private:
  enum class State : std::uint8_t { closed, down, connecting, negotiating, up };
  /// A command that was not sent as a whole.
  struct Outgoing {
    blkown::Owned<Rq> owned;
    nbd::RequestHeader header;
  };
  /// The data that is being received.
  struct Incoming {
    Claim claim;
    std::uint64_t at_bytes;  // the offset in the request's memory
    std::uint64_t left_bytes;
    bool is_done;  // behind this data nothing comes for the request
  };
  enum class Step : std::uint8_t { again, needs_more, lost };

  // --- up and down
  void dial();
  void advance_negotiation();
  void come_up();
  void note_failed_attempt(NegotiationError error);
  /// Ends the connection, with the reason for what it has. Offline: the server is shutting down.
  void drop(Status reason);
  void give_back_all(Status reason);
  /// Whether the request has time left for a server that shuts down. Its first call starts it.
  [[nodiscard]] bool waits_for_shutdown(NbdDisk::RequestData& data) {
    const std::uint64_t now_ns = context_->now_ns();
    if (!data.shut_down_since_ns) {
      data.shut_down_since_ns = now_ns;
      ++shut_down_requests_;
    }
    return now_ns - *data.shut_down_since_ns < owner_.config().give_up_ms * ns_per_ms;
  }
  /// The request ends: the tag's next one has all tries, and all of its time.
  void forget_tries(NbdDisk::RequestData& data) noexcept {
    data.tries = 0;
    if (data.shut_down_since_ns) --shut_down_requests_;
    data.shut_down_since_ns.reset();
  }
  template <class Handle>
  void try_again(Handle handle, Status reason);
  void violate() {
    ++counters_.violations;
    drop(Status::transport_error);
  }

  // --- time
  void set_alarm(std::optional<std::uint64_t> delay_ms) {
    alarm_.cancel();
    is_alarm_set_ = delay_ms.has_value();
    if (delay_ms) alarm_.arm(*context_, *delay_ms * ns_per_ms);
  }
  void note_progress() noexcept { progress_ns_ = context_->now_ns(); }
  void watch_peer();
  void on_alarm();

  // --- sending
  [[nodiscard]] nbd::RequestHeader header_of(const blkown::Owned<Rq>& owned) const;
  [[nodiscard]] std::size_t gather(std::span<iovec> vectors) const;
  void note_sent(std::uint64_t bytes);

  // --- receiving
  void receive();
  [[nodiscard]] ssize_t receive_once();
  [[nodiscard]] Step parse();
  [[nodiscard]] Step take_simple_reply();
  [[nodiscard]] Step take_chunk();
  [[nodiscard]] Step take_data_chunk(Claim claim, const nbd::Chunk& chunk, std::uint64_t offset);
  [[nodiscard]] Step take_hole(Claim claim, const nbd::Chunk& chunk,
                               std::span<const std::byte> payload);
  [[nodiscard]] Step take_error(Claim claim, const nbd::Chunk& chunk,
                                std::span<const std::byte> payload);
  [[nodiscard]] Step take_buffered_data();
  [[nodiscard]] Step finish_chunk(Claim claim, bool is_done);
  [[nodiscard]] Step finish(Claim claim, nbd::Error error);
  [[nodiscard]] Step refuse(Claim claim) {
    try_again(std::move(claim), Status::transport_error);
    violate();
    return Step::lost;
  }
  [[nodiscard]] Step lose() {
    violate();
    return Step::lost;
  }
  [[nodiscard]] std::span<const std::byte> buffered() const noexcept {
    return std::span{buffer_}.subspan(begin_, end_ - begin_);
  }

  static constexpr std::uint64_t ns_per_ms = 1'000'000;
  static constexpr std::size_t max_vectors = 64;
  static constexpr unsigned max_receives = 64;  // until other connections have their turn

  NbdDisk& owner_;
  Hw* hw_ = nullptr;
  mq::Context* context_ = nullptr;
  Socket socket_;
  State state_ = State::closed;
  bool has_given_up_ = false;
  bool is_send_blocked_ = false;
  bool is_alarm_set_ = false;
  mq::Alarm alarm_{[](void* self, mq::Alarm&) { static_cast<Connection*>(self)->on_alarm(); },
                   this};
  std::uint64_t down_since_ns_ = 0;
  std::uint32_t shut_down_requests_ = 0;  // that have a shut_down_since_ns
  std::uint64_t progress_ns_ = 0;
  std::uint64_t retry_ms_ = 0;  // until the next attempt
  std::optional<Negotiation> negotiation_;
  NegotiationError last_error_ = NegotiationError::none;
  ConnectionCounters counters_;

  std::deque<Outgoing> out_;
  std::uint64_t sent_bytes_ = 0;  // of the first of out_
  std::optional<Incoming> incoming_;
  std::array<std::byte, 16 * 1024> buffer_{};  // holds every message but the data of reads
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

namespace detail {

/// Calls `visit(Segment)` for the pieces of the request's memory from the offset on, at most
/// `length_bytes` long together. `visit` returns false to stop.
template <class Visit>
void for_each_piece(const mq::RequestSegments& memory, std::uint64_t at_bytes,
                    std::uint64_t length_bytes, Visit visit) {
  for (const blkown::Segment piece : memory) {
    if (length_bytes == 0) return;
    if (at_bytes >= piece.length_bytes) {
      at_bytes -= piece.length_bytes;
      continue;
    }
    const blkown::Segment part =
        piece.part(static_cast<std::size_t>(at_bytes), static_cast<std::size_t>(length_bytes));
    at_bytes = 0;
    length_bytes -= part.length_bytes;
    if (!visit(part)) return;
  }
}

}  // namespace detail

// --- up and down ---------------------------------------------------------------------------------

inline void Connection::dial() {
  socket_ = owner_.dialer().dial();
  if (!socket_.is_open()) return note_failed_attempt(NegotiationError::connect_failed);
  state_ = State::connecting;
  set_alarm(owner_.config().connect_ms);
}

inline void Connection::advance_negotiation() {
  if (!negotiation_->advance(socket_.fd())) return;
  const NegotiationError error = negotiation_->error();
  if (error != NegotiationError::none) return note_failed_attempt(error);
  // I/O that was begun with the export's old size and limits must not meet another export.
  if (negotiation_->info() != owner_.info()) {
    say_goodbye(socket_);
    return note_failed_attempt(NegotiationError::changed);
  }
  come_up();
}

inline void Connection::come_up() {
  negotiation_.reset();
  state_ = State::up;
  ++counters_.connects;
  last_error_ = NegotiationError::none;
  has_given_up_ = false;
  is_send_blocked_ = false;
  begin_ = end_ = 0;
  set_alarm(std::nullopt);
  hw_->start();
}

inline void Connection::note_failed_attempt(NegotiationError error) {
  socket_.close();
  negotiation_.reset();
  state_ = State::down;
  last_error_ = error;
  ++counters_.failed_attempts;
  const DriverConfig& config = owner_.config();
  if (context_->now_ns() - down_since_ns_ >= config.give_up_ms * ns_per_ms && !has_given_up_) {
    has_given_up_ = true;
    hw_->start();  // what waits is issued, and refused by queue()
  }
  retry_ms_ = std::clamp<std::uint64_t>(retry_ms_ * 2, config.retry_ms, config.max_retry_ms);
  set_alarm(retry_ms_);
}

/// Ends the connection. What it has is issued again on the next one.
inline void Connection::drop(Status reason) {
  if (state_ != State::up) return;
  ++counters_.lost;
  socket_.close();
  state_ = State::down;
  down_since_ns_ = context_->now_ns();
  hw_->stop();
  give_back_all(reason);
  // A server that has answered is tried again at once.
  set_alarm(retry_ms_);
  const DriverConfig& config = owner_.config();
  retry_ms_ = std::clamp<std::uint64_t>(retry_ms_ * 2, config.retry_ms, config.max_retry_ms);
}

inline void Connection::give_back_all(Status reason) {
  if (incoming_) try_again(std::move(std::exchange(incoming_, std::nullopt)->claim), reason);
  sent_bytes_ = 0;
  for (Outgoing& command : std::exchange(out_, {})) try_again(std::move(command.owned), reason);
  hw_->for_each_in_flight([&](const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
    if (auto claim = blkown::claim(pin, cookie)) try_again(*std::move(claim), reason);
  });
}

template <class Handle>
void Connection::try_again(Handle handle, Status reason) {
  NbdDisk::RequestData& data = handle.data().driver_data;
  // The tries are for a request that the server does not survive. A server that shuts down is
  // waited for as one that cannot be reached.
  const bool has_tries = reason == Status::offline ? waits_for_shutdown(data)
                                                   : ++data.tries < owner_.config().max_tries;
  if (has_tries) return std::move(handle).requeue();
  forget_tries(data);
  std::move(handle).end(reason);
}

// --- time ----------------------------------------------------------------------------------------

/// Makes sure that a peer that stops in the middle of a message is noticed. The block layer does
/// not see such a request time out, because the connection holds it.
inline void Connection::watch_peer() {
  const bool is_in_message = incoming_.has_value() || !out_.empty();
  const bool has_limit = owner_.config().timeout_ms != 0;
  if (state_ == State::up && is_in_message && has_limit && !is_alarm_set_) {
    note_progress();
    set_alarm(owner_.config().timeout_ms);
  }
}

inline void Connection::on_alarm() {
  is_alarm_set_ = false;
  switch (state_) {
    case State::closed: return;
    case State::down: return dial();
    case State::connecting:
    case State::negotiating: return note_failed_attempt(NegotiationError::timed_out);
    case State::up: break;
  }
  if (!incoming_ && out_.empty()) return;
  const std::uint64_t idle_ns = context_->now_ns() - progress_ns_;
  const std::uint64_t limit_ns = owner_.config().timeout_ms * ns_per_ms;
  if (idle_ns >= limit_ns) return time_out();
  set_alarm((limit_ns - idle_ns) / ns_per_ms + 1);
}

// --- the loop ------------------------------------------------------------------------------------

inline pollfd Connection::interest() {
  short events = 0;
  if (state_ == State::connecting) events = POLLOUT;
  if (state_ == State::negotiating) events = negotiation_->events();
  if (state_ == State::up) events = static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT));
  return {.fd = socket_.fd(), .events = events, .revents = 0};
}

inline void Connection::ready(short events) {
  if (state_ == State::connecting) {
    if ((events & (POLLOUT | POLLERR | POLLHUP)) == 0) return;
    if (socket_.connect_error() != 0) return note_failed_attempt(NegotiationError::connect_failed);
    state_ = State::negotiating;
    negotiation_.emplace(owner_.export_name());
  }
  if (state_ == State::negotiating) return advance_negotiation();
  if (state_ == State::up && (events & POLLOUT) != 0) {
    is_send_blocked_ = false;
    send();
  }
  if (state_ == State::up && (events & (POLLIN | POLLERR | POLLHUP)) != 0) receive();
  watch_peer();
}

// --- sending -------------------------------------------------------------------------------------

inline Connection::Answer Connection::queue(blkown::Idle<Rq> idle, bool is_last) {
  if (has_given_up_) {
    auto owned = std::move(idle).start();
    forget_tries(owned.data().driver_data);
    return Answer::rejected(std::move(owned), Status::offline);
  }
  // The connection was lost within a batch: the queue is stopped.
  if (state_ != State::up) return Answer::rejected(std::move(idle), Status::device_resource);
  auto owned = std::move(idle).start();
  if (owned.data().is_private()) return Answer::rejected(std::move(owned), Status::not_supported);
  NbdDisk::RequestData& data = owned.data().driver_data;
  data.covered.clear();
  data.error = nbd::Error::ok;
  const nbd::RequestHeader header = header_of(owned);
  if (out_.empty()) note_progress();
  out_.push_back({std::move(owned), header});
  if (is_last) send();
  return Answer::accepted();
}

inline nbd::RequestHeader Connection::header_of(const blkown::Owned<Rq>& owned) const {
  const NbdDisk::Payload& request = owned.data();
  nbd::Command command{};
  switch (request.op()) {
    case mq::Op::write: command = nbd::Command::write; break;
    case mq::Op::flush: command = nbd::Command::flush; break;
    case mq::Op::discard: command = nbd::Command::trim; break;
    case mq::Op::write_zeroes: command = nbd::Command::write_zeroes; break;
    default: command = nbd::Command::read; break;
  }
  const bool has_fua =
      request.flags().fua || (mq::is_write(request.op()) && owner_.sends_each_write_with_fua());
  const bool is_flush = command == nbd::Command::flush;
  return {.flags = has_fua ? nbd::command_flag::fua : std::uint16_t{0},
          .type = static_cast<std::uint16_t>(command),
          .cookie = owned.next_cookie().value,
          .offset = is_flush ? 0 : request.sector() * mq::sector_bytes,
          .length = static_cast<std::uint32_t>(request.length_bytes())};
}

inline void Connection::send() {
  while (state_ == State::up && !out_.empty() && !is_send_blocked_) {
    std::array<iovec, max_vectors> vectors;
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = gather(vectors);
    const ssize_t count = ::sendmsg(socket_.fd(), &message, MSG_NOSIGNAL);
    if (count >= 0) {
      note_sent(static_cast<std::uint64_t>(count));
    } else if (errno == EAGAIN) {
      is_send_blocked_ = true;
    } else if (errno != EINTR) {
      drop(Status::transport_error);
    }
  }
  watch_peer();
}

/// The bytes to be sent, as many as the vectors can name. Returns the number of vectors.
inline std::size_t Connection::gather(std::span<iovec> vectors) const {
  std::size_t count = 0;
  std::uint64_t skip_bytes = sent_bytes_;
  for (const Outgoing& command : out_) {
    if (count == vectors.size()) break;
    const std::span header = nbd::bytes_of(command.header);
    if (skip_bytes < header.size()) {
      const std::span rest = header.subspan(static_cast<std::size_t>(skip_bytes));
      vectors[count++] = {const_cast<std::byte*>(rest.data()), rest.size()};
    }
    const NbdDisk::Payload& request = command.owned.data();
    if (request.op() == mq::Op::write) {
      const std::uint64_t at = skip_bytes < header.size() ? 0 : skip_bytes - header.size();
      detail::for_each_piece(request.segments(), at, request.length_bytes() - at,
                             [&](const blkown::Segment& piece) {
                               if (count == vectors.size()) return false;
                               vectors[count++] = blkown::to_iovec(piece);
                               return true;
                             });
    }
    skip_bytes = 0;
  }
  return count;
}

/// Publishes the commands that were sent as a whole. Their replies are read behind this.
inline void Connection::note_sent(std::uint64_t bytes) {
  note_progress();
  sent_bytes_ += bytes;
  while (!out_.empty()) {
    const NbdDisk::Payload& request = out_.front().owned.data();
    const std::uint64_t data_bytes = request.op() == mq::Op::write ? request.length_bytes() : 0;
    const std::uint64_t length_bytes = sizeof(nbd::RequestHeader) + data_bytes;
    if (sent_bytes_ < length_bytes) return;
    sent_bytes_ -= length_bytes;
    std::move(out_.front().owned).publish([](const blkown::Cookie&) {});
    out_.pop_front();
  }
}

// --- receiving -----------------------------------------------------------------------------------

inline void Connection::receive() {
  for (unsigned i = 0; i != max_receives; ++i) {
    const ssize_t count = receive_once();
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) drop(Status::transport_error);
      return;
    }
    if (count == 0) return drop(Status::transport_error);
    note_progress();
    Step step = Step::again;
    while (step == Step::again) step = parse();
    if (step == Step::lost) return;
  }
}

/// Receives into the memory of the read that is being received, and what follows into the buffer.
inline ssize_t Connection::receive_once() {
  std::array<iovec, max_vectors> vectors;
  std::size_t count = 0;
  std::uint64_t wanted_bytes = 0;
  if (incoming_) {
    detail::for_each_piece(incoming_->claim.data().segments(), incoming_->at_bytes,
                           incoming_->left_bytes, [&](const blkown::Segment& piece) {
                             if (count == vectors.size() - 1) return false;
                             vectors[count++] = blkown::to_iovec(piece);
                             wanted_bytes += piece.length_bytes;
                             return true;
                           });
  }
  if (!incoming_ || wanted_bytes == incoming_->left_bytes) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
    vectors[count++] = {buffer_.data() + end_, buffer_.size() - end_};
  }
  const ssize_t received = ::readv(socket_.fd(), vectors.data(), static_cast<int>(count));
  if (received <= 0) return received;
  const auto bytes = static_cast<std::uint64_t>(received);
  const std::uint64_t placed_bytes = std::min(bytes, wanted_bytes);
  if (incoming_) {
    incoming_->at_bytes += placed_bytes;
    incoming_->left_bytes -= placed_bytes;
  }
  end_ += static_cast<std::size_t>(bytes - placed_bytes);
  return received;
}

/// Takes one message, or a part of the data that is being received.
inline Connection::Step Connection::parse() {
  if (incoming_) return take_buffered_data();
  if (buffered().size() < sizeof(nbd::SimpleReply)) return Step::needs_more;
  const auto kind = nbd::parse_reply_kind(buffered().first(sizeof(nbd::Be32)));
  if (!kind) return lose();
  if (*kind == nbd::ReplyKind::simple) return take_simple_reply();
  if (!owner_.info().has_structured_replies) return lose();
  return take_chunk();
}

inline Connection::Step Connection::take_simple_reply() {
  const auto reply = nbd::parse_simple_reply(buffered().first(sizeof(nbd::SimpleReply)));
  begin_ += sizeof(nbd::SimpleReply);
  if (!reply) return lose();
  auto claim = hw_->claim(reply->cookie);
  if (!claim) return lose();
  const NbdDisk::Payload& request = claim->data();
  if (request.op() != mq::Op::read || reply->error != nbd::Error::ok) {
    return finish(*std::move(claim), reply->error);
  }
  // A read is answered by chunks, if they were agreed on.
  if (owner_.info().has_structured_replies) return refuse(*std::move(claim));
  const std::uint64_t length_bytes = request.length_bytes();
  if (!claim->data().driver_data.covered.add(0, length_bytes)) return refuse(*std::move(claim));
  incoming_.emplace(*std::move(claim), 0, length_bytes, true);
  return Step::again;
}

inline Connection::Step Connection::take_chunk() {
  const std::span bytes = buffered();
  if (bytes.size() < sizeof(nbd::ChunkHeader)) return Step::needs_more;
  const auto chunk = nbd::parse_chunk(bytes.first(sizeof(nbd::ChunkHeader)));
  if (!chunk) return lose();
  const bool is_data = chunk->type == nbd::ChunkType::offset_data;
  const bool is_known = is_data || nbd::is_error(chunk->type) ||
                        chunk->type == nbd::ChunkType::none ||
                        chunk->type == nbd::ChunkType::offset_hole;
  if (!is_known) return lose();
  // What the buffer has to hold is short: parse_chunk has checked the lengths.
  const std::size_t payload_bytes = is_data ? sizeof(nbd::OffsetData) : chunk->length_bytes;
  if (bytes.size() < sizeof(nbd::ChunkHeader) + payload_bytes) return Step::needs_more;
  const std::span payload = bytes.subspan(sizeof(nbd::ChunkHeader), payload_bytes);
  begin_ += sizeof(nbd::ChunkHeader) + payload_bytes;
  auto claim = hw_->claim(chunk->cookie);
  if (!claim) return lose();
  if (nbd::is_error(chunk->type)) return take_error(*std::move(claim), *chunk, payload);
  if (chunk->type == nbd::ChunkType::none) return finish_chunk(*std::move(claim), true);
  if (claim->data().op() != mq::Op::read) return refuse(*std::move(claim));
  if (!is_data) return take_hole(*std::move(claim), *chunk, payload);
  return take_data_chunk(*std::move(claim), *chunk,
                         nbd::read_at_start<nbd::OffsetData>(payload)->offset);
}

namespace detail {

/// The offset in the request's memory of a range of the export. None if the range is not within the
/// request, or is covered already.
[[nodiscard]] inline std::optional<std::uint64_t> place_of(NbdDisk::Payload& request,
                                                           std::uint64_t offset,
                                                           std::uint64_t length_bytes) {
  const std::uint64_t first = request.sector() * mq::sector_bytes;
  if (offset < first || length_bytes == 0) return std::nullopt;
  const std::uint64_t at = offset - first;
  if (at > request.length_bytes() || length_bytes > request.length_bytes() - at) {
    return std::nullopt;
  }
  if (!request.driver_data.covered.add(at, at + length_bytes)) return std::nullopt;
  return at;
}

}  // namespace detail

inline Connection::Step Connection::take_data_chunk(Claim claim, const nbd::Chunk& chunk,
                                                    std::uint64_t offset) {
  const std::uint64_t length_bytes = chunk.length_bytes - sizeof(nbd::OffsetData);
  const auto at = detail::place_of(claim.data(), offset, length_bytes);
  if (!at) return refuse(std::move(claim));
  incoming_.emplace(std::move(claim), *at, length_bytes, chunk.is_done());
  return Step::again;
}

inline Connection::Step Connection::take_hole(Claim claim, const nbd::Chunk& chunk,
                                              std::span<const std::byte> payload) {
  const auto hole = nbd::parse_hole(payload);
  const auto at = hole ? detail::place_of(claim.data(), hole->offset, hole->length) : std::nullopt;
  if (!at) return refuse(std::move(claim));
  detail::for_each_piece(claim.data().segments(), *at, hole->length,
                         [](const blkown::Segment& piece) {
                           std::memset(piece.data, 0, piece.length_bytes);
                           return true;
                         });
  return finish_chunk(std::move(claim), chunk.is_done());
}

inline Connection::Step Connection::take_error(Claim claim, const nbd::Chunk& chunk,
                                               std::span<const std::byte> payload) {
  const auto error = nbd::parse_chunk_error(chunk.type, payload);
  if (!error) return refuse(std::move(claim));
  nbd::Error& first = claim.data().driver_data.error;
  if (first == nbd::Error::ok) first = error->error;
  return finish_chunk(std::move(claim), chunk.is_done());
}

/// Moves what the buffer has of the data, and ends the chunk if that was all.
inline Connection::Step Connection::take_buffered_data() {
  Incoming& incoming = *incoming_;
  const std::uint64_t available = std::min<std::uint64_t>(incoming.left_bytes, end_ - begin_);
  detail::for_each_piece(incoming.claim.data().segments(), incoming.at_bytes, available,
                         [&](const blkown::Segment& piece) {
                           std::memcpy(piece.data, buffer_.data() + begin_, piece.length_bytes);
                           begin_ += piece.length_bytes;
                           return true;
                         });
  incoming.at_bytes += available;
  incoming.left_bytes -= available;
  if (incoming.left_bytes != 0) return Step::needs_more;
  const bool is_done = incoming.is_done;
  return finish_chunk(std::move(std::exchange(incoming_, std::nullopt)->claim), is_done);
}

inline Connection::Step Connection::finish_chunk(Claim claim, bool is_done) {
  if (!is_done) {
    std::move(claim).release();
    return Step::again;
  }
  const NbdDisk::Payload& request = claim.data();
  const nbd::Error error = request.driver_data.error;
  const bool is_short =
      request.op() == mq::Op::read && !request.driver_data.covered.is_whole(request.length_bytes());
  if (error == nbd::Error::ok && is_short) return refuse(std::move(claim));
  return finish(std::move(claim), error);
}

inline Connection::Step Connection::finish(Claim claim, nbd::Error error) {
  // The server is about to go: another one may take its place.
  if (error == nbd::Error::eshutdown) {
    try_again(std::move(claim), Status::offline);
    drop(Status::offline);
    return Step::lost;
  }
  forget_tries(claim.data().driver_data);
  // Answers to others do not end the pauses between the tries of a request that was refused.
  if (shut_down_requests_ == 0) retry_ms_ = 0;
  std::move(claim).end(nbd::status_of(error));
  // The end may have submitted the next I/O, whose sending may have lost the connection.
  return state_ == State::up ? Step::again : Step::lost;
}

}  // namespace nbd_client

#endif
