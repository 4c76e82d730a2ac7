// SPDX-License-Identifier: BSL-1.0
//
// A disk of the block layer in memory, with its driver and its threads: an example for MqStore.

#ifndef NBD_SERVER_MEMORY_DISK_HPP
#define NBD_SERVER_MEMORY_DISK_HPP

#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>

#include "memory_store.hpp"

namespace nbd_server {

/// The driver. The device is done when queue_rq returns, so nothing is published.
struct MemoryDriver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    SparseMemory* memory = nullptr;
  };
  using Hw = blkown::mq::HwQueue<MemoryDriver>;
  using DiskRequest = blkown::mq::Request<MemoryDriver>;

  blkown::mq::Dispatch<MemoryDriver> queue_rq(Hw&, QueueData& data, blkown::Idle<DiskRequest> idle,
                                              bool) {
    auto request = std::move(idle).start();
    const auto& payload = request.data();
    std::uint64_t offset = payload.sector() * blkown::mq::sector_bytes;
    switch (payload.op()) {
      case blkown::mq::Op::discard: data.memory->zero(offset, payload.length_bytes(), false); break;
      case blkown::mq::Op::write_zeroes:
        data.memory->zero(offset, payload.length_bytes(), true);
        break;
      default:
        for (const blkown::Segment piece : payload.segments()) {
          if (payload.op() == blkown::mq::Op::read) data.memory->read(offset, piece);
          if (payload.op() == blkown::mq::Op::write) data.memory->write(offset, piece);
          offset += piece.length_bytes;
        }
    }
    std::move(request).end_ok();
    return blkown::mq::Dispatch<MemoryDriver>::accepted();
  }
};

class MemoryDisk {
 public:
  /// Makes a disk with this number of contexts, each with a thread.
  /// Errors: the field of the configuration that is wrong, or the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<MemoryDisk>, std::string> create(
      std::uint64_t size_bytes, std::uint32_t contexts) {
    std::unique_ptr<MemoryDisk> made{new MemoryDisk{size_bytes, contexts}};
    if (!made->memory_.is_mapped()) return std::unexpected(std::string{"not enough memory"});
    constexpr std::uint64_t most_sectors = 2048 * 1024;
    auto disk = blkown::mq::Disk<MemoryDriver>::create(
        {.name = "memory",
         .capacity_sectors = size_bytes / blkown::mq::sector_bytes,
         .limits = {.max_discard_sectors = most_sectors, .max_write_zeroes_sectors = most_sectors},
         .write_cache = true,
         .normal_queues = contexts},
        made->driver_, made->runtime_, {&made->memory_});
    if (!disk) return std::unexpected(std::string{disk.error().field});
    made->disk_ = std::move(*disk);
    return made;
  }
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;
  ~MemoryDisk() {
    if (disk_ != nullptr) static_cast<void>(blkown::mq::remove(runtime_, *disk_));
  }

  [[nodiscard]] blkown::mq::Disk<MemoryDriver>& disk() noexcept { return *disk_; }
  [[nodiscard]] blkown::mq::ThreadRuntime& runtime() noexcept { return runtime_; }

 private:
  MemoryDisk(std::uint64_t size_bytes, std::uint32_t contexts)
      : memory_{size_bytes}, runtime_{contexts} {}

  SparseMemory memory_;
  MemoryDriver driver_;
  blkown::mq::ThreadRuntime runtime_;
  std::unique_ptr<blkown::mq::Disk<MemoryDriver>> disk_;
};

}  // namespace nbd_server

#endif
