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

blkown::EndedList<R>* kept_list = nullptr;

void release_all(void*, blkown::EndedList<R>&& list) {
  if (kept_list != nullptr) return kept_list->append(std::move(list));
  while (auto ended = list.pop_front()) std::move(*ended).release();
}

void on_work(void*, blkown::mq::Work&) {}
void on_alarm(void*, blkown::mq::Alarm&) {}
void on_timer(void*, blkown::ARef<blkown::mq::Request<Keeper>>&&) {}

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
  mq::Context& context = runtime.context(0);
  disk.submit(context, bio);
  auto& hw = disk.hw_queue(blkown::QueueIndex{0});
  mq::Work work{on_work, &driver}, posted{on_work, nullptr};
  mq::Alarm alarm{on_alarm, &driver};
  mq::Timer<blkown::ARef<mq::Request<Keeper>>> timer{on_timer, nullptr};
  alarm.arm(context, 1'000'000'000'000);
  mq::Control control{{}};
  context.post(posted);
  [[maybe_unused]] const mq::InFlightRow row{.queue = blkown::QueueIndex{0},
                                             .tag = blkown::Tag{3},
                                             .state = {.generation = {}, .count = 1},
                                             .is_known = true,
                                             .op = mq::Op::write,
                                             .sector = 8,
                                             .length_bytes = 4096,
                                             .has_age = true,
                                             .age_ms = 70};
  [[maybe_unused]] const mq::DiskError disk_error =
      mq::Disk<Keeper>::create({.capacity_sectors = 64, .depth = 0}, driver, runtime, {}).error();
  {
    const mq::Disk<Keeper>::Plug plug{disk, context};
    gdb_stops_here();
  }
  alarm.cancel();
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
  blkown::EndedList<R> list_of_ended;
  kept_list = &list_of_ended;
  tags.allocate_tag(blkown::QueueIndex{1}, blkown::Tag{3}).value().fail(blkown::Status::ok);
  tags.allocate_tag(blkown::QueueIndex{1}, blkown::Tag{1}).value().fail(blkown::Status::timed_out);
  const blkown::TagCache cache = tags.tag_cache(blkown::QueueIndex{1});
  const auto refused_set = blkown::TagSet<R>::create({.queue_count = 0}, {release_all, nullptr});
  [[maybe_unused]] const blkown::TagSetError set_error = refused_set.error();
  [[maybe_unused]] const blkown::dma::MapError map_error{
      .reason = blkown::dma::MapFailure::too_many_segments, .segment = 2, .limit = 1};
  gdb_stops_here();
  kept_list = nullptr;
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
