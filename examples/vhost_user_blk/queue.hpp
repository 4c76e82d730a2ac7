// SPDX-License-Identifier: BSL-1.0
//
// Queue: one virtqueue of the device, and the hardware queue of its TagSet with the same index.
//
// Parties: the front end, which sets the ring up and stops it; the guest's driver, which makes
// heads available and kicks; the store, which ends requests; this object, on its device's thread.
//
//   1. begin() takes over the indices of the ring, and what another target has left in flight.
//   2. service() pops heads. Each takes the tag of its number: a head that is in flight has no free
//      tag, so that no guest can have two requests with one id.
//   3. finish() writes the result, releases the tag, and then pushes the head.
//   4. send_call() tells the driver once for all that was pushed.
//
// A ring with an error is not popped any more. Its requests in flight end, and are pushed. The
// front end is told through the ring's error descriptor. The other queues go on.
//
// When the front end is gone, nothing is written for the guest any more: requests that are in
// flight end without an answer, and stay in the record for the front end's next connection.

#ifndef VHOST_USER_BLK_QUEUE_HPP
#define VHOST_USER_BLK_QUEUE_HPP

#include <bit>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "block_request.hpp"
#include "counters.hpp"
#include "guest_memory.hpp"
#include "inflight_record.hpp"
#include "poller.hpp"
#include "request.hpp"
#include "signal.hpp"
#include "store.hpp"
#include "virtqueue.hpp"

namespace vhost_user_blk {

/// What all queues of a device share.
struct QueueContext {
  Tags& tags;
  Store& store;
  Counters& counters;
  const Poller& poller;
  DiskInfo disk;
  std::string serial;  ///< The answer to get_id.
};

class Queue {
 public:
  /// `key` is the poller's, for kicks.
  Queue(blkown::QueueIndex index, std::uint64_t key, const QueueContext& context)
      : index_{index}, key_{key}, context_{context} {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  /// Precondition: nothing is in flight.
  ~Queue() { context_.poller.remove(kick_.get()); }

  /// The number of requests that were popped and not released.
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }
  /// Whether heads are popped.
  [[nodiscard]] bool is_running() const noexcept {
    return is_begun_ && is_enabled_ && error_ == RingError::none;
  }
  [[nodiscard]] bool is_begun() const noexcept { return is_begun_; }
  [[nodiscard]] bool has_size() const noexcept { return size_ != 0; }

  // --- Set up by the front end.
  // Precondition of all but the descriptors and set_enabled(): nothing is in flight.

  void set_features(const RingFeatures& features) noexcept { ring_.set_features(features); }
  void set_enabled(bool enabled) noexcept { is_enabled_ = enabled; }
  void set_base(std::uint16_t index) noexcept { ring_.set_next_avail(index); }
  /// False: no size that a ring of this device can have.
  [[nodiscard]] bool set_size(std::uint32_t size) noexcept {
    if (!std::has_single_bit(size) || size > context_.tags.depth()) return false;
    if (size != size_) {
      // The addresses are of a ring of the size before. A ring that was attached with them, and
      // begun, would later be attached with a size that its record was not checked against.
      address_.reset();
      ring_.detach();
    }
    size_ = size;
    return true;
  }
  /// Keeps the addresses, and finds the ring in the memory.
  [[nodiscard]] RingError set_address(const vhost_user::VringAddress& address,
                                      const GuestMemory& memory) {
    address_ = address;
    const RingError error = attach(memory);
    if (error != RingError::none && is_begun_) fail(error);
    return error;
  }
  /// The guest has other memory now. A ring that is not in it stops with an error.
  void set_memory(const GuestMemory& memory) {
    const RingError error = address_ ? attach(memory) : RingError::none;
    if (error != RingError::none && is_begun_) fail(error);
  }
  /// False: the descriptor is of a kind that cannot be waited for.
  [[nodiscard]] bool set_kick(Descriptor fd) {
    make_nonblocking(fd);
    close_kick();
    if (!context_.poller.add(fd.get(), key_)) return false;
    kick_ = std::move(fd);
    return true;
  }
  /// A call is sent at once: the driver may wait for one that a target before this one has lost.
  void set_call(Descriptor fd) {
    make_nonblocking(fd);
    call_ = std::move(fd);
    send_signal(call_);
  }
  void set_error(Descriptor fd) {
    make_nonblocking(fd);
    error_fd_ = std::move(fd);
  }

  /// Begins to serve the ring, if all of it is there.
  void begin(const InflightQueue& record) {
    if (is_begun_ || !ring_.is_attached() || !kick_.is_open()) return;
    is_begun_ = true;
    error_ = RingError::none;
    record_ = record;
    ring_.begin();
    if (!record_.exists()) return;
    auto left = record_.begin(ring_.size(), ring_.next_used());
    if (!left) return fail(left.error());
    // The heads that were used, and those that are in flight, are all that was ever popped.
    ring_.set_next_avail(static_cast<std::uint16_t>(ring_.next_used() + left->size()));
    left_.assign(left->begin(), left->end());
  }
  /// Stops serving, and returns the index of the next available head. The ring begins again with a
  /// new kick descriptor.
  std::uint16_t stop() {
    is_begun_ = false;
    error_ = RingError::none;
    left_.clear();
    close_kick();
    call_ = Descriptor{};
    return ring_.next_avail();
  }
  /// The front end is gone: nothing is written for the guest any more.
  void abandon() {
    stop();
    error_fd_ = Descriptor{};
    is_enabled_ = false;
    size_ = 0;
    address_.reset();
    ring_.detach();
    ring_.set_next_avail(0);
    record_ = {};
  }

  // --- Requests.

  /// The kick descriptor can be read.
  void take_kick() {
    context_.counters.kicks.add();
    if (take_signal(kick_)) return;
    close_kick();
    if (is_begun_) fail(RingError::kick_lost);
  }

  /// Starts what the driver has made available. Returns whether there may be more.
  [[nodiscard]] bool service() {
    while (is_running() && !left_.empty()) {
      const std::uint16_t head = left_.front();
      left_.pop_front();
      context_.counters.resubmitted.add();
      start(head);
    }
    // No more than the ring holds, so that a busy driver does not keep other queues waiting.
    for (std::uint32_t budget = ring_.size(); is_running() && budget != 0; --budget) {
      const auto head = ring_.pop();
      if (!head) {
        fail(head.error());
      } else if (*head) {
        start(**head);
      } else {
        return ring_.rearm_kick();
      }
    }
    return is_running();
  }

  /// Takes a request that has ended.
  void finish(blkown::Ended<Rq> ended) {
    const Command& command = ended.data();
    const auto head = static_cast<std::uint16_t>(ended.tag().value);
    const bool is_answered = command.result != nullptr && is_begun_;
    std::uint32_t written_bytes = 1;
    if (is_answered) {
      const virtio::blk::Result result = result_of(command, ended.status());
      *command.result = static_cast<std::byte>(result);
      if (result == virtio::blk::Result::ok) written_bytes += count_transfer(command);
    }
    const bool is_failed = ended.status() != blkown::Status::ok;
    if (is_failed && command.refusal == Refusal::none) context_.counters.failed.add();
    // The guest may use the head again as soon as it is pushed: the tag is free before.
    std::move(ended).release();
    --in_flight_;
    if (!is_answered) {
      context_.counters.dropped.add();
      return;
    }
    record_.note_pushing(head);
    ring_.push(head, written_bytes);
    record_.note_pushed(head, ring_.next_used());
    context_.counters.pushed.add();
  }

  /// Tells the driver what was pushed, if the driver wants to know.
  void send_call() {
    if (!is_begun_ || !ring_.is_attached() || !ring_.wants_call()) return;
    send_signal(call_);
    context_.counters.calls.add();
  }

 private:
  [[nodiscard]] RingError attach(const GuestMemory& memory) {
    const RingError error = ring_.attach(memory, *address_, size_);
    if (error != RingError::none || !is_begun_ || record_.covers(size_)) return error;
    ring_.detach();
    return RingError::bad_inflight_record;
  }
  void close_kick() {
    context_.poller.remove(kick_.get());
    kick_ = Descriptor{};
  }

  void fail(RingError error) {
    error_ = error;
    left_.clear();
    context_.counters.ring_errors.count(error);
    send_signal(error_fd_);
  }

  /// Makes a request of a head that was popped.
  void start(std::uint16_t head) {
    auto idle = context_.tags.allocate_tag(index_, blkown::Tag{head});
    if (!idle) return fail(RingError::head_in_flight);
    record_.note_popped(head);
    context_.counters.requests.add();
    ++in_flight_;
    auto request = std::move(*idle).start();
    Command& command = request.data();
    command.refusal = Refusal::none;
    command.result = nullptr;
    RingError error = ring_.walk(head, chain_);
    if (error == RingError::none) {
      command.refusal = parse_block_request(chain_, context_.disk, command);
      if (command.result == nullptr) error = RingError::no_result;
    }
    if (error != RingError::none) {
      fail(error);
      std::move(request).end(blkown::Status::invalid);
    } else if (command.refusal != Refusal::none) {
      context_.counters.refusals.count(command.refusal);
      std::move(request).end(blkown::Status::invalid);
    } else if (command.operation == Operation::get_id) {
      answer_id(command);
      std::move(request).end_ok();
    } else {
      context_.store.start(std::move(request));
    }
  }

  /// Copies the serial number, padded with zeroes.
  void answer_id(const Command& command) const {
    std::string id = context_.serial;
    id.resize(virtio::blk::id_bytes);
    const char* from = id.data();
    for (const blkown::Segment& each : command.data) {
      std::memcpy(each.data, from, each.length_bytes);
      from += each.length_bytes;
    }
  }

  /// Counts the bytes of a request that succeeded. Returns those that were written to the guest.
  [[nodiscard]] std::uint32_t count_transfer(const Command& command) {
    const auto length = static_cast<std::uint32_t>(command.length);
    switch (command.operation) {
      case Operation::read: context_.counters.read_bytes.add(command.length); return length;
      case Operation::write: context_.counters.written_bytes.add(command.length); return 0;
      case Operation::get_id: return length;
      default: return 0;
    }
  }

  const blkown::QueueIndex index_;
  const std::uint64_t key_;
  const QueueContext& context_;

  Virtqueue ring_;
  InflightQueue record_;
  Chain chain_;
  std::uint32_t size_ = 0;
  std::optional<vhost_user::VringAddress> address_;
  Descriptor kick_;
  Descriptor call_;
  Descriptor error_fd_;
  bool is_enabled_ = false;
  bool is_begun_ = false;
  RingError error_ = RingError::none;
  std::deque<std::uint16_t> left_;  // heads that another target has left in flight
  std::uint32_t in_flight_ = 0;
};

}  // namespace vhost_user_blk

#endif
