// SPDX-License-Identifier: BSL-1.0
//
// The driver of a zoned disk behind a link (zoned_device.hpp): the zones and the memory are those
// of examples/null_block. The driver must survive every fault of the link. Each driver in
// broken_zoned/ is this driver with one wrong step.

#ifndef BLKOWN_TESTS_SIM_ZONED_DRIVER_HPP
#define BLKOWN_TESTS_SIM_ZONED_DRIVER_HPP

#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
#include <vector>

#include "null_block/device.hpp"
#include "sim/zoned_device.hpp"

namespace zoned {

/// What a driver works with.
struct DriverHost {
  Device& link;
  null_block::Device& medium;
};

class Driver {
 public:
  using Hw = mq::HwQueue<Driver>;
  using Rq = mq::Request<Driver>;
  using Claim = blkown::Claim<Rq>;
  struct RequestData {
    unsigned tries = 0;
  };
  struct HwData {};
  struct QueueData {};

  explicit Driver(DriverHost& host) : host_{host} {}
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  virtual ~Driver() = default;

  mq::Dispatch<Driver> queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) {
    issue(std::move(idle).start().into_claim());
    return mq::Dispatch<Driver>::accepted();
  }

  /// Replies have come on the queue, also within a take().
  void interrupt(std::uint32_t queue) {
    while (auto reply = host_.link.receive(queue)) {
      auto claim = queues_[queue]->claim(reply->cookie);
      if (claim.has_value()) finish(*std::move(claim), *reply);
    }
  }

  virtual mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin,
                                    const blkown::Cookie& cookie) {
    const Cancelled cancelled = host_.link.cancel(hw.index().value, cookie.value);
    if (cancelled.what == Cancelled::What::not_now) return mq::TimeoutAction::rearm;
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return mq::TimeoutAction::rearm;
    if (cancelled.what == Cancelled::What::executed) {
      finish(*std::move(claim), cancelled.reply);
    } else {
      give_back(*std::move(claim));
    }
    return mq::TimeoutAction::handled;
  }

  blkown::Status init_hctx(Hw& hw, QueueData&) {
    if (queues_.size() <= hw.index().value) queues_.resize(hw.index().value + 1);
    queues_[hw.index().value] = &hw;
    return Status::ok;
  }
  [[nodiscard]] virtual unsigned report_zones(QueueData&, std::uint64_t sector, mq::Zone* zones,
                                              unsigned count) const {
    return host_.medium.zones->report(sector, zones, count);
  }

  /// Executes a command, on the link's context.
  virtual Result execute(const Command& command, std::span<std::byte> bytes) {
    const blkown::Segment segment{bytes.data(), bytes.size()};
    null_block::Command its{.op = command.op,
                            .flags = {.fua = command.is_fua},
                            .sector = command.sector,
                            .length_bytes = command.length_sectors * mq::sector_bytes,
                            .segments = {std::span{&segment, 1}, {}, bytes.size(), UINT32_MAX, 0}};
    const Status status = host_.medium.perform(its);
    return {.status = status, .sector = its.sector};
  }

 protected:
  /// Called with each command before the link gets it.
  virtual void prepare(Command&) {}
  /// The first sector that an append has written.
  [[nodiscard]] virtual std::uint64_t written_sector(const mq::Payload<Driver>&,
                                                     const Reply& reply) const {
    return reply.result.sector;
  }

  void end(Claim claim, Status status) {
    claim.data().driver_data.tries = 0;
    std::move(claim).end(status);
  }

  DriverHost& host_;

 private:
  static constexpr unsigned max_tries = 8;

  /// Publishes and sends the command, in this order: the reply may arrive before take() returns.
  void issue(Claim claim) {
    Command command = command_of(claim);
    prepare(command);
    std::vector<std::byte> bytes = bytes_of(claim.data());
    const std::uint32_t queue = claim.queue().value;
    auto issued =
        std::move(claim).publish([&](const blkown::Cookie&) -> std::expected<void, Status> {
          if (host_.link.take(queue, command, std::move(bytes))) return {};
          return std::unexpected{Status::resource};
        });
    // A false reply may have claimed the I/O before the refusal.
    if (!issued.has_value() && issued.error().claim.has_value())
      give_back(*std::move(issued.error().claim));
  }
  [[nodiscard]] static Command command_of(const Claim& claim) {
    const mq::Payload<Driver>& payload = claim.data();
    Command command;
    command.cookie = claim.next_cookie().value;
    command.op = payload.op();
    command.is_fua = payload.flags().fua;
    command.sector = payload.sector();
    command.length_sectors = static_cast<std::uint32_t>(payload.length_bytes() / mq::sector_bytes);
    // What the harness knows of operations.
    command.opcode = payload.op() == mq::Op::read    ? sim::Opcode::read
                     : payload.op() == mq::Op::flush ? sim::Opcode::flush
                     : mq::has_data(payload.op())    ? sim::Opcode::write
                                                     : sim::Opcode::discard;
    return command;
  }
  /// The bytes of a write, or as many as a read wants.
  [[nodiscard]] static std::vector<std::byte> bytes_of(const mq::Payload<Driver>& payload) {
    std::vector<std::byte> bytes;
    for (const blkown::Segment piece : payload.segments()) {
      bytes.insert(bytes.end(), piece.data, piece.data + piece.length_bytes);
    }
    return bytes;
  }

  /// Sends an I/O again that was not executed, up to a number of times.
  void give_back(Claim claim) {
    if (claim.data().driver_data.tries++ < max_tries) return std::move(claim).requeue();
    end(std::move(claim), Status::timed_out);
  }

  void finish(Claim claim, const Reply& reply) {
    mq::Payload<Driver>& payload = claim.data();
    if (reply.result.status != Status::ok) return end(std::move(claim), reply.result.status);
    if (payload.op() == mq::Op::read && !copy(payload, reply.bytes))
      return end(std::move(claim), Status::io_error);
    if (payload.op() == mq::Op::zone_append) {
      const std::uint64_t first = written_sector(payload, reply);
      const std::uint64_t zone_end = payload.sector() + host_.medium.zones->layout().zone_sectors;
      if (first < payload.sector() || first >= zone_end)
        return end(std::move(claim), Status::io_error);
      payload.set_written_sector(first);
    }
    end(std::move(claim), Status::ok);
  }
  /// Copies what was read to the memory of the I/O. A false reply may have fewer bytes.
  [[nodiscard]] static bool copy(const mq::Payload<Driver>& payload,
                                 std::span<const std::byte> bytes) {
    if (bytes.size() != payload.length_bytes()) return false;
    for (const blkown::Segment piece : payload.segments()) {
      std::copy_n(bytes.data(), piece.length_bytes, piece.data);
      bytes = bytes.subspan(piece.length_bytes);
    }
    return true;
  }

  std::vector<Hw*> queues_;
};

}  // namespace zoned

#endif
