// SPDX-License-Identifier: BSL-1.0
//
// Bios through the block layer, whose accesses to memory lackey traces. lines.py counts the cache
// lines of the bios and of their requests that a round of submits and ends touches. The driver has
// 64 bytes of data, writes all of it at the issue and reads all of it at the completion.

#include <algorithm>
#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

namespace mq = blkown::mq;

struct Driver {
  struct RequestData {
    std::array<std::uint64_t, 8> words{};
  };
  struct HwData {};
  struct QueueData {};
  using Hw = mq::HwQueue<Driver>;
  using Rq = mq::Request<Driver>;

  mq::Dispatch<Driver> queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) {
    auto owned = std::move(idle).start();
    owned.data().driver_data.words.fill(owned.data().sector() + owned.data().length_bytes());
    for (const blkown::Segment piece : owned.data().segments()) bytes += piece.length_bytes;
    std::move(owned).publish([&](const blkown::Cookie& id) { ids.push_back(id.value); });
    return mq::Dispatch<Driver>::accepted();
  }
  void reap(Hw& hw) {
    for (const std::uint64_t id : ids) {
      auto claim = hw.claim(id);
      if (!claim.has_value()) std::abort();
      for (const std::uint64_t word : claim->data().driver_data.words) sum += word;
      std::move(*claim).end_ok();
    }
    ids.clear();
  }

  std::vector<std::uint64_t> ids;
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
};

constexpr std::uint32_t depth = 32;

/// A bio at the beginning of a cache line.
struct alignas(64) Slot {
  mq::Bio bio;
};

alignas(64) std::uint64_t volatile marker = 0;
alignas(4096) std::array<std::byte, 4096> memory;

void print(const char* what, const void* object, std::size_t bytes) {
  std::printf("%s %" PRIxPTR " %zu\n", what, reinterpret_cast<std::uintptr_t>(object), bytes);
}

}  // namespace

int main() {
  Driver driver;
  driver.ids.reserve(depth);
  mq::LoopRuntime runtime;
  auto made =
      mq::Disk<Driver>::create({.capacity_sectors = 1 << 20, .depth = depth}, driver, runtime);
  if (!made.has_value()) return 1;
  mq::Disk<Driver>& disk = **made;
  mq::Context& context = runtime.context(0);
  std::uint64_t ended = 0;
  std::vector<Slot> bios(depth);
  for (std::uint32_t i = 0; i != depth; ++i) {
    bios[i].bio.set_read(
        8 * i, blkown::Segment{memory.data(), memory.size()},
        {[](void* count, mq::Bio&) { ++*static_cast<std::uint64_t*>(count); }, &ended});
  }
  const auto round = [&] {
    const mq::Context::Scope here{context};
    for (Slot& slot : bios) disk.submit(context, slot.bio);
    driver.reap(disk.hw_queue(blkown::QueueIndex{0}));
  };
  for (int i = 0; i != 3; ++i) {
    round();
    context.run();
  }
  print("marker", const_cast<const std::uint64_t*>(&marker), sizeof marker);
  for (Slot& slot : bios) print("bio", &slot.bio, sizeof(mq::Bio));
  auto& tags = disk.pool().tags();
  for (blkown::Tag tag; tag.value != depth; ++tag.value) {
    print("request", &tags.header(blkown::QueueIndex{0}, tag), sizeof(Driver::Rq));
  }
  std::fflush(stdout);
  marker = 1;
  round();
  context.run();
  marker = 2;
  if (ended != 4 * depth || driver.bytes != ended * memory.size()) return 1;
  return mq::remove(runtime, disk) == blkown::Status::ok ? 0 : 1;
}
