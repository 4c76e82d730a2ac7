// SPDX-License-Identifier: BSL-1.0
//
// ram_disk [SECTORS]: a complete program on the block layer. A driver for a disk in memory, a disk
// of that driver, a write, a flush, a read back, and the disk's removal. The driver is the one in
// include/blkown/mq/README.md. The program exits with 1 if a step fails or the data differs.

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace mq = blkown::mq;

struct RamDisk {
  struct RequestData {};  // the driver's data in each request: none
  struct HwData {         // in each hardware queue: the ids in the device's ring
    std::vector<std::uint64_t> ring;
  };
  struct QueueData {  // in each disk
    std::vector<std::byte> medium;
  };
  using Hw = mq::HwQueue<RamDisk>;
  using Rq = mq::Request<RamDisk>;

  // Issues a request. The driver must publish it, end it, or give it back.
  mq::Dispatch<RamDisk> queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool is_last) {
    if (hw.data.ring.size() == 64) {  // full: the request is issued again after another has ended
      return mq::Dispatch<RamDisk>::rejected(std::move(idle), blkown::Status::device_resource);
    }
    std::move(idle).start().publish([&](blkown::Cookie id) { hw.data.ring.push_back(id.value); });
    if (is_last) ring_doorbell(hw);
    return mq::Dispatch<RamDisk>::accepted();
  }
  void commit_rqs(Hw& hw, QueueData&) { ring_doorbell(hw); }
  void ring_doorbell(Hw&) {}  // a real device starts here

  // The device has completed `id`. An id that is not in flight is refused and counted.
  void interrupt(Hw& hw, std::uint64_t id) {
    auto claim = hw.claim(id);
    if (!claim) return;
    const mq::Payload<RamDisk>& request = claim->data();
    std::byte* at = hw.disk().queue_data().medium.data() + request.sector() * mq::sector_bytes;
    for (const blkown::Segment piece : request.segments()) {
      if (request.op() == mq::Op::read) std::memcpy(piece.data, at, piece.length_bytes);
      if (request.op() == mq::Op::write) std::memcpy(at, piece.data, piece.length_bytes);
      at += piece.length_bytes;
    }
    std::move(*claim).end_ok();
  }

  // A request was in flight for too long. Either this function or interrupt() gets the claim.
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
    if (auto claim = blkown::claim(pin, cookie)) std::move(*claim).end(blkown::Status::timed_out);
    return mq::TimeoutAction::handled;
  }
};

// Submits a bio, and completes requests in the device's place until the bio has ended.
bool run(RamDisk& driver, mq::LoopRuntime& runtime, mq::Disk<RamDisk>& disk, mq::Bio& bio) {
  RamDisk::Hw& hw = disk.hw_queue(blkown::QueueIndex{0});
  disk.submit(runtime.context(0), bio);
  std::printf("%s: submitted, %zu in flight; ", to_string(bio.op()), hw.data.ring.size());
  while (bio.is_in_flight()) {
    for (const std::uint64_t id : std::exchange(hw.data.ring, {})) driver.interrupt(hw, id);
    runtime.run();  // the bio ends on the context that submitted it
  }
  std::printf("ended: %s\n", to_string(bio.status()));
  return bio.status() == blkown::Status::ok;
}

int main(int argc, char** argv) {
  mq::LoopRuntime runtime;  // one context, which this thread runs
  RamDisk driver;
  const std::uint64_t sectors = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2048;
  auto made = mq::Disk<RamDisk>::create(
      {.name = "ram0", .capacity_sectors = sectors, .write_cache = true}, driver, runtime,
      {.medium = std::vector<std::byte>(sectors * mq::sector_bytes)});
  if (!made) {
    const mq::DiskError& error = made.error();
    std::fprintf(stderr, "disk 'ram0': %s: %s\n", error.field, to_string(error.reason));
    return 1;
  }
  auto disk = *std::move(made);
  std::printf("disk '%s': made\n", disk->config().name);

  std::vector<std::byte> data(16384, std::byte{7}), back(16384);
  auto write = mq::Bio::write(8, blkown::Segment{data.data(), data.size()}, {});
  auto flush = mq::Bio::flush({});
  auto read = mq::Bio::read(8, blkown::Segment{back.data(), back.size()}, {});
  bool good = true;
  for (mq::Bio* bio : {&write, &flush, &read}) good = run(driver, runtime, *disk, *bio) && good;
  const bool equal = back == data;
  std::printf("data: %s\n", equal ? "equal" : "different");

  const blkown::Status removed = mq::remove(runtime, *disk);
  std::printf("disk '%s': removed: %s\n", disk->config().name, to_string(removed));
  return good && equal && removed == blkown::Status::ok ? 0 : 1;
}
