// SPDX-License-Identifier: BSL-1.0
//
// coroutine_copy: copies one disk in memory to another in a coroutine, two reads at a time, and
// compares the copy. The program exits with 1 if a step fails or the data differs.

#include <blkown/mq/coroutine.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/sync.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace mq = blkown::mq;
using blkown::Status;

/// A driver whose requests end at once.
struct MemoryDisk {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  mq::Dispatch<MemoryDisk> queue_rq(mq::HwQueue<MemoryDisk>&, QueueData& queue,
                                    blkown::Idle<mq::Request<MemoryDisk>> idle, bool) {
    auto owned = std::move(idle).start();
    const auto& request = owned.data();
    std::byte* at = queue.medium.data() + request.sector() * mq::sector_bytes;
    for (const blkown::Segment piece : request.segments()) {
      if (request.op() == mq::Op::read) std::memcpy(piece.data, at, piece.length_bytes);
      if (request.op() == mq::Op::write) std::memcpy(at, piece.data, piece.length_bytes);
      at += piece.length_bytes;
    }
    std::move(owned).end_ok();
    return mq::Dispatch<MemoryDisk>::accepted();
  }
};
using Disk = mq::AsyncDisk<MemoryDisk>;

constexpr std::uint64_t capacity_sectors = 1024;
constexpr std::uint64_t chunk_sectors = 16;

mq::Task<Status> copy_all(Disk from, Disk to, std::span<std::byte> first,
                          std::span<std::byte> second) {
  for (std::uint64_t at = 0; at != capacity_sectors; at += 2 * chunk_sectors) {
    const auto [left, right] =
        co_await mq::when_all(from.read(at, first), from.read(at + chunk_sectors, second));
    if (left != Status::ok || right != Status::ok) co_return Status::io_error;
    const Status status = co_await to.write(at, first);
    if (status != Status::ok) co_return status;
    if (co_await to.write(at + chunk_sectors, second) != Status::ok) co_return Status::io_error;
  }
  co_return co_await to.flush();
}

int main() {
  mq::LoopRuntime runtime;
  MemoryDisk driver;
  std::vector<std::byte> data(capacity_sectors * mq::sector_bytes);
  for (std::size_t i = 0; i != data.size(); ++i) data[i] = static_cast<std::byte>(i * 31 + i / 512);
  const mq::DiskConfig config{.name = "memory", .capacity_sectors = capacity_sectors};
  auto from = mq::Disk<MemoryDisk>::create(config, driver, runtime, {.medium = data});
  auto to = mq::Disk<MemoryDisk>::create(config, driver, runtime,
                                         {.medium = std::vector<std::byte>(data.size())});
  if (!from || !to) return 1;

  std::vector<std::byte> buffers(2 * chunk_sectors * mq::sector_bytes);
  const std::span<std::byte> all{buffers};
  const Status status = mq::wait(
      runtime, runtime.context(0),
      copy_all(Disk{**from}, Disk{**to}, all.first(all.size() / 2), all.last(all.size() / 2)));
  const bool is_equal = (*to)->queue_data().medium == data;
  std::printf("copied %zu bytes: %s, %s\n", data.size(), to_string(status),
              is_equal ? "equal" : "different");
  const bool removed =
      mq::remove(runtime, **from) == Status::ok && mq::remove(runtime, **to) == Status::ok;
  return status == Status::ok && is_equal && removed ? 0 : 1;
}
