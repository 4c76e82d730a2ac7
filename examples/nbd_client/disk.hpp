// SPDX-License-Identifier: BSL-1.0
//
// A disk on an NBD server: the driver's functions, and the limits of an export as those of a disk.
// driver.hpp explains the driver.
//
//   nbd_client::PollLoop loop{1};
//   nbd_client::NbdDisk driver{*opened->dialer, opened->name, opened->info, {}};
//   auto disk = mq::Disk<nbd_client::NbdDisk>::create(driver.disk_config(), driver, loop);
//   driver.start(loop, std::move(opened->socket));
//   const Status status = mq::read(loop, **disk, sector, memory);
//   ... mq::remove(loop, **disk); driver.stop(loop); then the disk is destroyed

#ifndef EXAMPLES_NBD_CLIENT_DISK_HPP
#define EXAMPLES_NBD_CLIENT_DISK_HPP

#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "../nbd/protocol.hpp"
#include "connection.hpp"
#include "driver.hpp"
#include "handshake.hpp"
#include "socket.hpp"

namespace nbd_client {

/// The limits of an export as those of a disk.
/// Source: "Block size constraints", "Transmission flags".
[[nodiscard]] inline mq::DiskConfig disk_config_of(const ExportInfo& info) {
  namespace flag = nbd::transmission_flag;
  constexpr std::uint32_t sector_bytes = mq::sector_bytes;
  mq::DiskConfig disk;
  disk.name = "nbd";
  disk.logical_block_bytes = std::max(info.min_bytes, sector_bytes);
  const std::uint32_t block_sectors = disk.logical_block_bytes / sector_bytes;
  // The bytes behind the last whole block cannot be reached.
  disk.capacity_sectors = info.size_bytes / disk.logical_block_bytes * block_sectors;
  const bool is_hint_sane = info.preferred_bytes <= nbd::default_max_payload_bytes;
  disk.io_min_bytes = std::max(is_hint_sane ? info.preferred_bytes : 0, disk.logical_block_bytes);
  disk.read_only = info.has(flag::read_only);
  disk.write_cache = info.has(flag::send_flush);
  disk.fua = disk.write_cache && info.has(flag::send_fua);

  const std::uint32_t max_bytes = info.max_bytes == 0
                                      ? nbd::default_max_payload_bytes
                                      : std::min(info.max_bytes, nbd::default_max_payload_bytes);
  disk.limits.max_sectors = max_bytes / disk.logical_block_bytes * block_sectors;
  disk.limits.max_segments = 1024;
  disk.limits.max_segment_bytes = nbd::default_max_payload_bytes;
  // Commands without data may be longer than the payload, and have 32 bits for their length.
  constexpr std::uint64_t max_range_sectors = (std::uint64_t{1} << 30) / sector_bytes;
  if (info.has(flag::send_trim)) {
    disk.limits.max_discard_sectors = max_range_sectors;
    disk.limits.discard_granularity_sectors = disk.io_min_bytes / sector_bytes;
  }
  if (info.has(flag::send_write_zeroes)) disk.limits.max_write_zeroes_sectors = max_range_sectors;
  return disk;
}

inline NbdDisk::NbdDisk(Dialer& dialer, std::string export_name, const ExportInfo& info,
                        const DriverConfig& config)
    : dialer_{dialer}, export_name_{std::move(export_name)}, info_{info}, config_{config} {
  if (!info.has(nbd::transmission_flag::can_multi_conn)) config_.connections = 1;
  for (std::uint32_t i = 0; i != config_.connections; ++i) {
    connections_.push_back(std::make_unique<Connection>(*this));
  }
}
inline NbdDisk::~NbdDisk() = default;

inline mq::DiskConfig NbdDisk::disk_config() const {
  mq::DiskConfig disk = disk_config_of(info_);
  disk.normal_queues = config_.connections;
  disk.depth = config_.depth;
  disk.timeout_ms = config_.timeout_ms;
  return disk;
}

template <class Loop>
void NbdDisk::start(Loop& loop, Socket first) {
  for (std::uint32_t i = 0; i != config_.connections; ++i) {
    const mq::Context::Scope scope{loop.context(i)};
    connections_[i]->start(loop.context(i), i == 0 ? std::move(first) : Socket{});
    loop.add(*connections_[i], loop.context(i));
  }
}
template <class Loop>
void NbdDisk::stop(Loop& loop) {
  for (std::uint32_t i = 0; i != config_.connections; ++i) {
    loop.remove(*connections_[i]);
    const mq::Context::Scope scope{loop.context(i)};
    connections_[i]->stop();
  }
}

/// Two contexts on one connection would have to lock it.
inline Status NbdDisk::init_hctx(Hw& hw, QueueData&) {
  if (hw.disk().context_count() != config_.connections) return Status::invalid;
  hw.data.connection = connections_[hw.index().value].get();
  hw.data.connection->attach(hw);
  return Status::ok;
}
inline NbdDisk::Answer NbdDisk::queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool is_last) {
  return hw.data.connection->queue(std::move(idle), is_last);
}
inline void NbdDisk::commit_rqs(Hw& hw, QueueData&) { hw.data.connection->send(); }
inline mq::TimeoutAction NbdDisk::timeout(Hw& hw, const blkown::ARef<Rq>&, const blkown::Cookie&) {
  hw.data.connection->time_out();
  return mq::TimeoutAction::handled;
}

}  // namespace nbd_client

#endif
