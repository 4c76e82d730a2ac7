// SPDX-License-Identifier: BSL-1.0
//
// NbdDisk: a driver of the block layer that makes an export of an NBD server a disk. Include
// disk.hpp.
//
//   queue_rq    puts the command into its connection's queue. The cookie of the command is that of
//               the publication to come: mq's tag and generation, and the connection.
//   sent        a request is published when its last byte was given to the socket. Until then the
//               connection owns the request, and a reply to it is refused.
//   reply       the cookie in it is the server's value: HwQueue::claim answers one that is not in
//               flight on this connection with an error. Such a server cannot be followed any more,
//               and the connection is dropped.
//   timeout     drops the connection: the server may still write to it, and a late reply to a read
//               cannot be skipped, because only the request tells its length.
//   drop        everything that the connection has is requeued, which revokes the cookies. mq
//               issues it again in the order of its first issue, on the next connection. A request
//               that has been on `max_tries` connections ends with the reason. Connections whose
//               server says that it shuts down do not count: for these a request has `give_up_ms`,
//               from the first of them on.
//   down        while a connection is down, its hardware queue is stopped. After `give_up_ms` its
//               I/O ends with `offline`, until a connection is made after all.
//
// Each connection belongs to one context and is used on it only, so nothing here is locked. A
// server without NBD_FLAG_CAN_MULTI_CONN gets one connection: the flush on one of several would not
// cover the writes on the others.

#ifndef EXAMPLES_NBD_CLIENT_DRIVER_HPP
#define EXAMPLES_NBD_CLIENT_DRIVER_HPP

#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../nbd/protocol.hpp"
#include "coverage.hpp"
#include "handshake.hpp"
#include "socket.hpp"

namespace nbd_client {

namespace mq = blkown::mq;
using blkown::Status;

class Connection;

/// What the owner of a driver chooses.
struct DriverConfig {
  std::uint32_t connections = 1;       ///< At most; 1 if the server allows no more.
  std::uint32_t depth = 64;            ///< Requests in flight on each.
  std::uint32_t timeout_ms = 30'000;   ///< Of a request, and a pause within a message. 0: none.
  std::uint32_t connect_ms = 10'000;   ///< Of an attempt to connect, with the negotiation.
  std::uint32_t retry_ms = 50;         ///< Between two attempts. Doubles with each that fails.
  std::uint32_t max_retry_ms = 2'000;  ///< The longest time between two attempts.
  std::uint32_t give_up_ms = 30'000;   ///< Without a connection, until its I/O ends.
  std::uint16_t max_tries = 5;         ///< Of a request, each on another connection.
};

/// The driver.
class NbdDisk {
 public:
  using Hw = mq::HwQueue<NbdDisk>;
  using Rq = mq::Request<NbdDisk>;
  using Payload = mq::Payload<NbdDisk>;
  using Answer = mq::Dispatch<NbdDisk>;

  /// The driver's data in each request.
  struct RequestData {
    Coverage covered;                                 // of a structured reply
    nbd::Error error = nbd::Error::ok;                // the first one in its chunks
    std::uint16_t tries = 0;                          // connections that were lost with the request
    std::optional<std::uint64_t> shut_down_since_ns;  // its first connection that ESHUTDOWN ended
  };
  /// The driver's data in each hardware queue.
  struct HwData {
    Connection* connection = nullptr;
  };
  /// The driver's data in each disk.
  struct QueueData {};

  /// Precondition: the dialer outlives the driver. `info` is what the server has said.
  NbdDisk(Dialer& dialer, std::string export_name, const ExportInfo& info,
          const DriverConfig& config);
  NbdDisk(const NbdDisk&) = delete;
  NbdDisk& operator=(const NbdDisk&) = delete;
  ~NbdDisk();

  /// The configuration of the disk. Disk::create refuses an export that no disk can be made of: one
  /// without a block, or whose largest payload is smaller than a block.
  /// Precondition of the disk: its runtime has connection_count() contexts.
  [[nodiscard]] mq::DiskConfig disk_config() const;

  [[nodiscard]] const DriverConfig& config() const noexcept { return config_; }
  [[nodiscard]] const ExportInfo& info() const noexcept { return info_; }
  [[nodiscard]] const std::string& export_name() const noexcept { return export_name_; }
  [[nodiscard]] Dialer& dialer() const noexcept { return dialer_; }
  [[nodiscard]] std::uint32_t connection_count() const noexcept { return config_.connections; }
  [[nodiscard]] Connection& connection(std::uint32_t index) const { return *connections_[index]; }
  /// A server that supports FUA and no flush has no other way to make a write durable.
  [[nodiscard]] bool sends_each_write_with_fua() const noexcept {
    return info_.has(nbd::transmission_flag::send_fua) &&
           !info_.has(nbd::transmission_flag::send_flush);
  }

  /// Begins to connect. `first` is the negotiated socket of the first connection, if there is one.
  /// The loop has the disk's contexts.
  template <class Loop>
  void start(Loop& loop, Socket first = {});
  /// Ends the connections.
  /// Precondition: the disk is removed, and not destroyed.
  template <class Loop>
  void stop(Loop& loop);

  // --- the block layer's hooks ------------------------------------------------------------------

  Status init_hctx(Hw& hw, QueueData& queue);
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last);
  void commit_rqs(Hw& hw, QueueData& queue);
  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie);

 private:
  Dialer& dialer_;
  std::string export_name_;
  ExportInfo info_;
  DriverConfig config_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace nbd_client

#endif
