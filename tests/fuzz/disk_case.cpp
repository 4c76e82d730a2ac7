// SPDX-License-Identifier: BSL-1.0
//
// Goal: for any configuration of a disk, any bios and any answers of the driver, each bio ends once
// with the right status, no request exceeds a limit, and the right bytes move.
//
// Method: the input gives a configuration, then bios and the fate of each request. A request ends
// at once, is rejected, is requeued, or is published and completed later, in any order. The disk
// runs on a loop with a clock that the input advances.
//
// Invariants: a disk is created exactly from the configurations that a plain check accepts. A bio
// is refused exactly where a plain check refuses it. A successful bio moved exactly its bytes
// between its memory and a plain copy of the medium. Requests stay within the limits. At the end
// the counters add up.

#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"

namespace fuzz {
namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using blkown::Status;

constexpr std::uint64_t sectors_limit = 64;

struct Driver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<Driver>;
  using Hw = mq::HwQueue<Driver>;
  using Answer = mq::Dispatch<Driver>;

  Driver(Input& its_input, Verdict& its_verdict) : input{its_input}, verdict{its_verdict} {}

  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    check(hw.disk().config(), idle.data());
    switch (input.below(12)) {
      case 0: return Answer::rejected(std::move(idle), Status::device_resource);
      case 1: return Answer::rejected(std::move(idle), Status::medium_error);
      case 2: return Answer::rejected(std::move(idle).start(), Status::resource);
      case 3: std::move(idle).start().requeue(); break;
      case 4: std::move(idle).start().end(Status::io_error); break;
      case 5:
      case 6:
      case 7: {
        auto owned = std::move(idle).start();
        move(owned.data());
        std::move(owned).end_ok();
        break;
      }
      default:
        std::move(idle).start().publish(
            [&](const blkown::Cookie& cookie) { published.push_back({&hw, cookie.value}); });
    }
    return Answer::accepted();
  }

  void complete_one() {
    if (published.empty()) return;
    std::swap(published[input.byte() % published.size()], published.back());
    const auto [hw, value] = published.back();
    published.pop_back();
    auto claim = hw->claim(value);
    verdict.expect(claim.has_value(), "a completion of what is in flight");
    if (!claim.has_value()) return;
    verdict.expect(!hw->claim(value).has_value(), "a second completion of it");
    if (input.below(8) == 0) return std::move(*claim).requeue();
    move(claim->data());
    std::move(*claim).end_ok();
  }

  void check(const mq::DiskConfig& config, const mq::Payload<Driver>& request) {
    const mq::QueueLimits& limits = config.limits;
    std::uint64_t most = limits.max_sectors;
    if (request.op() == mq::Op::discard) most = limits.max_discard_sectors;
    if (request.op() == mq::Op::write_zeroes) most = limits.max_write_zeroes_sectors;
    verdict.expect(request.length_bytes() <= most * 512, "a request's length");
    verdict.expect(request.length_bytes() % config.logical_block_bytes == 0, "whole blocks");
    verdict.expect(request.sector() + request.length_bytes() / 512 <= config.capacity_sectors,
                   "a request's place");
    if (limits.chunk_sectors != 0 && request.length_bytes() != 0) {
      const std::uint64_t last = request.sector() + request.length_bytes() / 512 - 1;
      verdict.expect(request.sector() / limits.chunk_sectors == last / limits.chunk_sectors,
                     "a chunk that is crossed");
    }
    std::uint64_t bytes = 0;
    std::uint32_t pieces = 0;
    const std::byte* end = nullptr;
    for (const Segment piece : request.segments()) {
      const auto seam =
          reinterpret_cast<std::uintptr_t>(end) | reinterpret_cast<std::uintptr_t>(piece.data);
      verdict.expect(pieces == 0 || (seam & limits.virt_boundary_mask) == 0, "a gap");
      verdict.expect(((reinterpret_cast<std::uintptr_t>(piece.data) | piece.length_bytes) &
                      limits.dma_alignment_mask) == 0,
                     "a piece's alignment");
      verdict.expect(!piece.empty() && piece.length_bytes <= limits.max_segment_bytes,
                     "a piece's length");
      ++pieces;
      bytes += piece.length_bytes;
      end = piece.end();
    }
    verdict.expect(pieces <= limits.max_segments, "how many pieces");
    verdict.expect(!has_data(request.op()) || bytes == request.length_bytes(),
                   "a request's memory");
  }

  void move(const mq::Payload<Driver>& request) {
    std::byte* at = medium.data() + request.sector() * 512;
    if (request.op() == mq::Op::discard || request.op() == mq::Op::write_zeroes) {
      std::memset(at, 0, static_cast<std::size_t>(request.length_bytes()));
    }
    for (const Segment piece : request.segments()) {
      if (request.op() == mq::Op::read) {
        std::memcpy(piece.data, at, piece.length_bytes);
      } else {
        std::memcpy(at, piece.data, piece.length_bytes);
      }
      at += piece.length_bytes;
    }
  }

  Input& input;
  Verdict& verdict;
  std::array<std::byte, sectors_limit * 512> medium{};
  std::vector<std::pair<Hw*, std::uint64_t>> published;
};

/// One bio at a time for each of these; their sectors do not overlap.
struct Place {
  std::uint64_t first_sector = 0;
  std::uint64_t sectors = 0;
  alignas(64) std::array<std::byte, sectors_limit * 512 + 64> memory{};
  std::array<Segment, 2> segments;
  std::array<std::byte, sectors_limit * 512> expected{};  // for a read: the contents of the medium
  std::unique_ptr<mq::Bio> bio;
  int ends = 0;
};

class DiskCase {
 public:
  explicit DiskCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    read_config();
    mq::LoopRuntime runtime{
        1,
        {.argument = this,
         .now_ns = [](void* self) { return static_cast<DiskCase*>(self)->now_ns_; },
         .wake = nullptr}};
    Driver driver{input_, verdict_};
    auto made = mq::Disk<Driver>::create(config_, driver, runtime);
    verdict_.expect(made.has_value() == is_sound(), "whether the configuration is sound");
    if (!made.has_value() || !verdict_.clean()) {
      if (made.has_value()) static_cast<void>(mq::remove(runtime, **made));
      return verdict_.first();
    }
    auto& disk = **made;
    for (Place& place : places_) {
      place.sectors = config_.capacity_sectors / places_.size();
      place.first_sector = static_cast<std::uint64_t>(&place - places_.data()) * place.sectors;
    }
    while (!input_.exhausted() && verdict_.clean()) {
      switch (input_.below(8)) {
        case 0:
        case 1:
        case 2: driver.complete_one(); break;
        case 3: now_ns_ += 3'000'000; break;
        case 4:
          if (input_.below(4) == 0) change_medium(disk);
          runtime.run();
          break;
        default: submit(driver, runtime.context(0), disk);
      }
    }
    finish(driver, runtime, disk);
    return verdict_.first();
  }

 private:
  /// Changes the capacity, up to that of the medium, or the read-only state, with I/O in flight.
  void change_medium(mq::Disk<Driver>& disk) {
    if (input_.flag()) {
      read_only_ = input_.flag();
      disk.set_read_only(read_only_);
    } else {
      const std::uint64_t sectors =
          input_.below(static_cast<std::uint32_t>(config_.capacity_sectors + 1));
      const bool is_whole = sectors * 512 % config_.logical_block_bytes == 0;
      if (is_whole) capacity_sectors_ = sectors;
      verdict_.expect(disk.set_capacity(sectors).has_value() != is_whole, "a capacity in blocks");
    }
    verdict_.expect(disk.capacity_sectors() == capacity_sectors_, "the capacity");
    verdict_.expect(disk.is_read_only() == read_only_, "the read-only state");
  }

  /// Ends all I/O, removes the disk and checks the counters.
  void finish(Driver& driver, mq::LoopRuntime& runtime, mq::Disk<Driver>& disk) {
    // Runs until everything has ended. An exhausted input rejects, so its answers end what is left.
    for (int i = 0; i != 2000 && submitted_ != ended_; ++i) {
      driver.complete_one();
      now_ns_ += 3'000'000;
      runtime.run();
    }
    // With an exhausted input every request is rejected as busy for ever: remove the disk.
    mq::Event gone;
    mq::Control removal{
        {[](void* its, mq::Control&) { static_cast<mq::Event*>(its)->set(); }, &gone}};
    disk.remove(removal);
    for (int i = 0; i != 100; ++i) {
      driver.complete_one();
      now_ns_ += 3'000'000;
      runtime.run();
    }
    verdict_.expect(gone.is_set(), "a removal that is never done");
    verdict_.expect(submitted_ == ended_, "a bio that never ends");
    const mq::Counters seen = disk.counters();
    verdict_.expect(seen.submitted_bios == submitted_ && seen.ended_bios == ended_, "bios counted");
    verdict_.expect(seen.started_requests == seen.ended_requests, "requests counted");
  }

  void read_config() {
    config_.capacity_sectors = input_.below(sectors_limit + 1);
    config_.logical_block_bytes = std::uint32_t{256} << input_.below(4);
    if (input_.below(16) == 0) config_.logical_block_bytes += 512;
    config_.limits.max_sectors = 1 + input_.below(20);
    config_.limits.max_segments = input_.below(5);
    config_.limits.virt_boundary_mask = input_.flag() ? 0 : (1U << input_.below(11)) - 1;
    config_.limits.max_segment_bytes = std::uint32_t{1} << (4 + input_.below(12));
    config_.limits.max_discard_sectors = input_.below(12);
    config_.limits.max_write_zeroes_sectors = input_.below(12);
    if (input_.flag()) read_more_limits();
    config_.read_only = input_.below(8) == 0;
    config_.write_cache = input_.flag();
    config_.fua = input_.below(4) == 0;
    config_.depth = input_.below(6);
    config_.completion =
        input_.flag() ? mq::CompletionMode::deferred : mq::CompletionMode::immediate;
    config_.blocking = input_.below(4) == 0;
    read_only_ = config_.read_only;
    capacity_sectors_ = config_.capacity_sectors;
  }

  /// Limits that most devices do not have.
  void read_more_limits() {
    config_.limits.dma_alignment_mask = (1U << input_.below(6)) - 1;
    config_.limits.chunk_sectors = input_.below(24);
    config_.limits.discard_granularity_sectors = input_.below(8);
    if (input_.flag()) config_.limits.discard_alignment_sectors = input_.below(4);
  }

  [[nodiscard]] bool is_sound() const {
    const std::uint32_t block = config_.logical_block_bytes;
    const mq::QueueLimits& limits = config_.limits;
    const bool blocks = block == 512 || block == 1024 || block == 2048;
    if (!blocks || config_.capacity_sectors == 0 || config_.capacity_sectors * 512 % block != 0) {
      return false;
    }
    if ((config_.fua && !config_.write_cache) || config_.depth == 0) return false;
    const std::uint64_t sectors = block / 512;
    const auto is_too_small = [&](std::uint64_t most) { return most != 0 && most < sectors; };
    const std::uint64_t unit = limits.discard_granularity_sectors;
    const std::uint64_t first = limits.discard_alignment_sectors;
    if (limits.chunk_sectors % sectors != 0 || unit % sectors != 0 || first % sectors != 0 ||
        (first != 0 && first >= unit)) {
      return false;
    }
    if (unit != 0 && limits.max_discard_sectors != 0 && limits.max_discard_sectors < unit) {
      return false;
    }
    if (unit != 0 && limits.chunk_sectors != 0 &&
        (limits.chunk_sectors % unit != 0 || first != 0)) {
      return false;
    }
    const std::uint32_t usable = limits.max_segment_bytes & ~limits.dma_alignment_mask;
    return limits.max_sectors >= sectors && std::uint64_t{limits.max_segments} * usable >= block &&
           limits.max_segment_bytes % (limits.virt_boundary_mask + 1) == 0 &&
           !is_too_small(limits.max_discard_sectors) &&
           !is_too_small(limits.max_write_zeroes_sectors);
  }

  void submit(Driver& driver, mq::Context& context, mq::Disk<Driver>& disk) {
    Place& place = places_[input_.below(static_cast<std::uint32_t>(places_.size()))];
    if (place.bio != nullptr && place.bio->is_in_flight()) return;
    const std::uint64_t offset = input_.below(static_cast<std::uint32_t>(place.sectors + 1));
    std::uint64_t sectors = input_.below(static_cast<std::uint32_t>(place.sectors - offset + 1));
    std::uint64_t sector = place.first_sector + offset;
    if (input_.below(16) == 0) sector += config_.capacity_sectors;
    const auto length_bytes = static_cast<std::size_t>(sectors * 512);
    const std::size_t shift = input_.below(64);
    const std::size_t cut = length_bytes == 0 ? 0 : input_.bits(2) % (length_bytes + 1);
    place.segments = {Segment{place.memory.data() + shift, cut},
                      Segment{place.memory.data() + shift + cut, length_bytes - cut}};
    const mq::IoFlags flags{.fua = input_.flag(),
                            .preflush = input_.flag(),
                            .polled = false,
                            .nowait = input_.below(8) == 0};
    const std::uint32_t what = input_.below(8);
    const mq::Op op = what == 0   ? mq::Op::flush
                      : what == 1 ? mq::Op::discard
                      : what == 2 ? mq::Op::write_zeroes
                      : what < 5  ? mq::Op::write
                                  : mq::Op::read;
    if (op == mq::Op::write) {
      for (std::size_t i = 0; i != length_bytes; ++i) {
        place.memory[shift + i] = static_cast<std::byte>(++pattern_);
      }
    } else if (op == mq::Op::read) {
      place.memory.fill(std::byte{0xEE});
      if (sector * 512 + length_bytes <= driver.medium.size()) {
        std::memcpy(place.expected.data(), driver.medium.data() + sector * 512, length_bytes);
      }
    }
    place.bio.reset(new mq::Bio(make_bio(op, sector, length_bytes, place.segments, flags)));
    ++submitted_;
    const Status refused = refusal(op, sector, length_bytes, place.segments);
    disk.submit(context, *place.bio);
    if (refused == Status::ok) return;
    if (config_.completion == mq::CompletionMode::immediate) {
      verdict_.expect(!place.bio->is_in_flight(), "a refused bio has ended when submit returns");
    }
    if (!place.bio->is_in_flight()) verdict_.expect(place.bio->status() == refused, "why refused");
  }

  [[nodiscard]] mq::Bio make_bio(mq::Op op, std::uint64_t sector, std::size_t length_bytes,
                                 std::span<const Segment> segments, mq::IoFlags flags) {
    switch (op) {
      case mq::Op::flush: return mq::Bio::flush({&on_end, this});
      case mq::Op::discard: return mq::Bio::discard(sector, length_bytes, {&on_end, this});
      case mq::Op::write_zeroes:
        return mq::Bio::write_zeroes(sector, length_bytes, {&on_end, this});
      case mq::Op::write: return mq::Bio::write(sector, segments, {&on_end, this}, flags);
      default: return mq::Bio::read(sector, segments, {&on_end, this}, flags);
    }
  }

  [[nodiscard]] Status refusal(mq::Op op, std::uint64_t sector, std::size_t length_bytes,
                               std::span<const Segment> memory) const {
    if (op == mq::Op::flush) return Status::ok;
    if (read_only_ && op != mq::Op::read) return Status::not_supported;
    if (op == mq::Op::discard && config_.limits.max_discard_sectors == 0) {
      return Status::not_supported;
    }
    if (op == mq::Op::write_zeroes && config_.limits.max_write_zeroes_sectors == 0) {
      return Status::not_supported;
    }
    const std::uint64_t sectors = length_bytes / 512;
    const bool is_aligned = sector * 512 % config_.logical_block_bytes == 0 &&
                            length_bytes % config_.logical_block_bytes == 0;
    const bool is_inside = sector + sectors <= capacity_sectors_;
    if (!is_aligned || !is_inside || sectors == 0) return Status::invalid;
    const std::uint64_t alignment = config_.limits.dma_alignment_mask + std::uint64_t{1};
    for (const Segment& segment : memory) {
      const bool is_odd = reinterpret_cast<std::uintptr_t>(segment.data) % alignment != 0 ||
                          segment.length_bytes % alignment != 0;
      if (has_data(op) && segment.length_bytes != 0 && is_odd) return Status::invalid;
    }
    return Status::ok;
  }

  static void on_end(void* self, mq::Bio& bio) { static_cast<DiskCase*>(self)->ended(bio); }
  void ended(mq::Bio& bio) {
    ++ended_;
    verdict_.expect(ended_ <= submitted_, "more ends than bios");
    for (Place& place : places_) {
      if (place.bio.get() != &bio || bio.status() != Status::ok || bio.op() != mq::Op::read)
        continue;
      const std::byte* got = place.segments[0].data;
      verdict_.expect(std::memcmp(got, place.expected.data(),
                                  static_cast<std::size_t>(bio.length_bytes())) == 0,
                      "what was read");
    }
  }

  Input input_;
  Verdict verdict_;
  mq::DiskConfig config_;
  std::array<Place, 4> places_;
  std::uint64_t now_ns_ = 1'000'000'000;
  std::uint64_t capacity_sectors_ = 0;  // at present
  bool read_only_ = false;
  std::uint64_t submitted_ = 0;
  std::uint64_t ended_ = 0;
  unsigned pattern_ = 0;
};

}  // namespace

std::string run_case(Bytes bytes) { return std::make_unique<DiskCase>(bytes)->run(); }

}  // namespace fuzz
