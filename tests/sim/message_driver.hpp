// SPDX-License-Identifier: BSL-1.0
//
// The reference driver of a message device, as a driver for NBD: one connection for each queue, the
// cookie of the library in place of a handle, no rings and no DMA. The reference driver must
// survive every fault of the adversary. Each driver in broken_message/ is this driver with one
// wrong step.

#ifndef BLKOWN_TESTS_SIM_MESSAGE_DRIVER_HPP
#define BLKOWN_TESTS_SIM_MESSAGE_DRIVER_HPP

#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <blkown/sim/device/message_device.hpp>
#include <blkown/sim/harness/host.hpp>
#include <cstddef>
#include <span>
#include <utility>

namespace message {

using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::Idle;
using blkown::QueueIndex;
using blkown::Status;
using blkown::sim::DeviceStatus;
using blkown::sim::Opcode;
namespace sim = blkown::sim;

struct RequestData {
  unsigned tries = 0;
};

/// The driver. `Self` may replace the steps that are called through self().
template <class Self>
class DriverOf {
 public:
  using RequestData = message::RequestData;
  using R = sim::CoreRequest<Self>;

  explicit DriverOf(sim::MessageHost<Self>& host) : host_{host} {
    for_each_queue([&](QueueIndex queue) { host_.device.connect(queue.value); });
  }
  DriverOf(const DriverOf&) = delete;
  DriverOf& operator=(const DriverOf&) = delete;

  void submit(Idle<R> idle) { self().issue(std::move(idle).start().into_claim()); }

  void interrupt(QueueIndex queue) {
    while (const auto reply = host_.device.receive(queue.value)) self().complete(queue, *reply);
  }

  /// An I/O without a reply: the connection is taken for dead.
  void timeout(const ARef<R>& pin, const Cookie&) { self().reconnect(pin.queue()); }

  void failed() {
    for_each_queue([&](QueueIndex queue) {
      if (!host_.device.is_connected(queue.value)) self().reconnect(queue);
    });
  }

  void stop() {
    host_.device.stop();
    for_each_queue([&](QueueIndex queue) { self().give_up(queue); });
  }

 protected:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

  template <class Call>
  void for_each_queue(Call call) {
    for (QueueIndex queue; queue.value != host_.queue_count(); ++queue.value) call(queue);
  }

  // --- issue -------------------------------------------------------------------------------------

  /// Publishes and sends the message, in this order: the reply may arrive before take() returns.
  void issue(Claim<R> claim) {
    // Built before publishing, with a copy of the pieces of memory: a published I/O may end at any
    // moment, and its data is no longer the driver's.
    const std::array memory = claim.data().memory;
    sim::Message message = self().message_of(claim);
    message.bytes = std::span{memory}.first(message.bytes.size());
    const QueueIndex queue = claim.queue();
    auto issued = std::move(claim).publish(
        [&](const Cookie&) { return host_.device.take(queue.value, message); });
    // A forged reply may have claimed the I/O before the refusal. The holder of that Claim then
    // ends the I/O.
    if (!issued.has_value() && issued.error().claim.has_value()) {
      self().refused(*std::move(issued.error().claim));
    }
  }

  [[nodiscard]] sim::Message message_of(const Claim<R>& claim) {
    const sim::Io<Self>& io = claim.data();
    sim::Message message{.cookie = claim.next_cookie().value,
                         .opcode = io.opcode,
                         .sector = io.sector,
                         .length_sectors = io.length_sectors,
                         .bytes = {},
                         .disk = io.disk};
    if (io.opcode == Opcode::write) message.bytes = io.segments();
    return message;
  }

  void refused(Claim<R> claim) { self().give_back(std::move(claim), Status::resource); }

  /// Requeues an I/O that failed for lack of a resource, up to a number of times. Ends any other.
  void give_back(Claim<R> claim, Status status) {
    if (status == Status::resource && claim.data().driver.tries++ < max_tries) {
      return std::move(claim).requeue();
    }
    self().end(std::move(claim), status);
  }

  // --- replies -----------------------------------------------------------------------------------

  void complete(QueueIndex queue, const sim::Reply& reply) {
    auto claim = host_.claim(queue, reply.cookie);
    if (!claim.has_value()) return;  // late, duplicated or forged; the host has counted it
    self().finish(*std::move(claim), reply);
  }

  void finish(Claim<R> claim, const sim::Reply& reply) {
    switch (reply.status) {
      case DeviceStatus::success: break;
      case DeviceStatus::media_error: return self().end(std::move(claim), Status::medium_error);
      default: return self().end(std::move(claim), Status::invalid);
    }
    if (self().is_short(claim.data(), reply)) {
      return self().give_back(std::move(claim), Status::resource);
    }
    self().copy(claim.data(), reply);
    self().end(std::move(claim), Status::ok);
  }

  /// Whether the device moved fewer bytes than asked for. A forged reply may have none.
  [[nodiscard]] bool is_short(const sim::Io<Self>& io, const sim::Reply& reply) const {
    if (io.segment_count == 0) return false;
    if (io.opcode == Opcode::read && reply.bytes.size() != io.length_bytes()) return true;
    return reply.transferred_bytes != io.length_bytes();
  }

  /// Copies what was read to the memory of the I/O.
  void copy(const sim::Io<Self>& io, const sim::Reply& reply) {
    if (io.opcode != Opcode::read) return;
    std::span<const std::byte> left{reply.bytes};
    for (const blkown::Segment& segment : io.segments()) {
      const std::size_t part = std::min(left.size(), segment.length_bytes);
      std::copy_n(left.data(), part, segment.data);
      left = left.subspan(part);
    }
  }

  void end(Claim<R> claim, Status status) {
    claim.data().driver.tries = 0;
    std::move(claim).end(status);
  }

  // --- errors ------------------------------------------------------------------------------------

  /// Connects the queue again, which proves that the device is done with the queue's I/Os, and only
  /// then sends them again.
  void reconnect(QueueIndex queue) {
    host_.device.connect(queue.value);
    self().give_up(queue);
  }

  void give_up(QueueIndex queue) {
    host_.tags.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
      auto claim = blkown::claim(pin, cookie);
      if (claim.has_value()) self().give_back(*std::move(claim), Status::resource);
    });
  }

  static constexpr unsigned max_tries = 8;

  sim::MessageHost<Self>& host_;
};

class Driver : public DriverOf<Driver> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<Driver>;
};

}  // namespace message

#endif
