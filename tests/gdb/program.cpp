// SPDX-License-Identifier: BSL-1.0
//
// A program for gdb to stop in: objects of each kind in known states, in the scope of the caller
// of gdb_stops_here().

#include <array>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>
#include <vector>
#ifdef EMBED_PRINTERS
#include <blkown/gdb_printers.hpp>
#endif

namespace {

struct Command {
  int sectors = 0;
};
using R = blkown::Request<Command>;

/// A struct with a header of the library inside.
struct OwnRequest {
  int lba = 0;
  blkown::RequestHeader header;
};

/// Device addresses are the program's, from 64 KiB on.
struct Backend {
  [[nodiscard]] static blkown::dma::DeviceLimits limits() noexcept { return {}; }
  [[nodiscard]] static std::expected<std::uint64_t, blkown::dma::MapFailure> map(
      const blkown::Segment&, blkown::dma::Direction, const blkown::Cookie&) noexcept {
    return 0x10000;
  }
  static std::expected<void, blkown::dma::MapFailure> unmap(
      const blkown::dma::IovaSegment&) noexcept {
    return {};
  }
  static std::expected<void, blkown::dma::MapFailure> invalidate(
      std::span<const blkown::dma::IovaSegment>) noexcept {
    return {};
  }
};

/// A disk's driver that keeps each id.
struct Keeper {
  struct RequestData {
    int retries = 0;
  };
  struct HwData {
    std::vector<std::uint64_t> ids;
  };
  struct QueueData {};
  blkown::mq::Dispatch<Keeper> queue_rq(blkown::mq::HwQueue<Keeper>& hw, QueueData&,
                                        blkown::Idle<blkown::mq::Request<Keeper>> idle, bool) {
    std::move(idle).start().publish([&](blkown::Cookie id) { hw.data.ids.push_back(id.value); });
    return blkown::mq::Dispatch<Keeper>::accepted();
  }
};

[[gnu::noinline]] void gdb_stops_here() { asm volatile("" ::: "memory"); }

void release_all(void*, blkown::EndedList<R>&& list) {
  while (auto ended = list.pop_front()) std::move(*ended).release();
}

/// A disk with one bio in flight.
void stop_with_a_disk() {
  namespace mq = blkown::mq;
  mq::LoopRuntime runtime;
  Keeper driver;
  auto made = mq::Disk<Keeper>::create({.name = "gdb0", .capacity_sectors = 64, .depth = 4}, driver,
                                       runtime, {});
  if (!made.has_value()) return;
  mq::Disk<Keeper>& disk = **made;
  std::array<std::byte, 4096> memory{};
  mq::Bio bio = mq::Bio::write(8, {memory.data(), memory.size()}, {});
  disk.submit(runtime.context(0), bio);
  gdb_stops_here();
  auto& hw = disk.hw_queue(blkown::QueueIndex{0});
  if (auto claim = hw.claim(hw.data.ids.front())) std::move(*claim).end_ok();
  runtime.run();
  static_cast<void>(mq::remove(runtime, disk));
}

/// A request with a Claim, a pin and a mapping, and a request in flight.
void stop_with_requests() {
  auto made = blkown::TagSet<R>::create({.queue_count = 2,
                                         .depth = 8,
                                         .layout = blkown::CookieLayout::nvme(),
                                         .first_generation = blkown::Generation{100}},
                                        {release_all, nullptr});
  if (!made.has_value()) return;
  blkown::TagSet<R>& tags = *made;
  const auto issue = [&](std::uint32_t tag) {
    auto idle = tags.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag});
    blkown::Owned<R> owned = std::move(idle).value().start();
    owned.data().sectors = 8;
    blkown::Cookie cookie;
    std::move(owned).publish([&](blkown::Cookie id) { cookie = id; });
    return cookie;
  };
  const blkown::Cookie other = issue(0);
  const blkown::Cookie cookie = issue(5);
  const blkown::LookupError error = tags.claim(blkown::QueueIndex{0}, 0x0FFF).error();
  blkown::Claim<R> claim = tags.claim(blkown::QueueIndex{0}, cookie.value).value();
  const blkown::ARef<R> pin = claim.pin();

  Backend backend;
  blkown::dma::Device<Backend> device{backend};
  std::array<std::byte, 512> memory{};
  const std::array segments{blkown::Segment{memory.data(), memory.size()}};
  blkown::dma::IovaList<4> list;
  blkown::dma::PreparedMapping mapping =
      blkown::dma::map(claim, device, segments, blkown::dma::Direction::from_device, list).value();
  const blkown::Segment piece{reinterpret_cast<std::byte*>(std::uintptr_t{0x1000}), 512};
  const blkown::CookieLayout layout = tags.layout();
  const OwnRequest own{.lba = 77, .header = {}};
  gdb_stops_here();
  std::move(claim).end_ok();
  tags.claim(blkown::QueueIndex{0}, other.value).value().end_ok();
  static_cast<void>(error);
  static_cast<void>(piece);
  static_cast<void>(layout);
  static_cast<void>(own.lba);
}

}  // namespace

template <>
struct blkown::RequestTraits<OwnRequest> : blkown::EmbeddedHeader<&OwnRequest::header> {};

int main() {
  stop_with_requests();
  stop_with_a_disk();
  return 0;
}
