// SPDX-License-Identifier: BSL-1.0
//
// Bios through the block layer, to be counted by callgrind: one dump for each row, whose trigger
// is "NAME BIOS". The instructions of a row are those of its loop: submit, the driver, the reaping
// of completions, and the end. check.py runs the program and divides.

#include <valgrind/callgrind.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <pipeline/bios.hpp>
#include <pipeline/drivers.hpp>
#include <string>
#include <vector>

namespace {

namespace mq = blkown::mq;

enum class Kind { plain, virt_boundary, fua };

constexpr std::uint64_t counted_bios = 2048;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "count_bios: %s\n", what);
  std::exit(1);
}

mq::DiskConfig config_of(Kind kind, std::uint32_t depth) {
  mq::DiskConfig config{.capacity_sectors = bench::EmptyReads::capacity_sectors,
                        .depth = std::max(depth, 64U)};
  if (kind == Kind::virt_boundary) config.limits.virt_boundary_mask = 4095;
  if (kind == Kind::fua) config.write_cache = config.fua = true;
  return config;
}

/// Bios of one block each: reads, or writes with FUA.
class Bios {
 public:
  Bios(Kind kind, std::size_t depth) {
    const mq::OnEnd<mq::Bio> on_end{
        [](void* ended, mq::Bio&) { ++*static_cast<std::uint64_t*>(ended); }, &ended_};
    const blkown::Segment memory{memory_.bytes, sizeof memory_};
    for (std::size_t i = 0; i != depth; ++i) {
      const std::uint64_t sector = bench::block_sectors * (i * 7919 % 100'000);
      all.emplace_back(new mq::Bio(kind == Kind::fua
                                       ? mq::Bio::write(sector, memory, on_end, {.fua = true})
                                       : mq::Bio::read(sector, memory, on_end)));
    }
  }
  Bios(const Bios&) = delete;
  Bios& operator=(const Bios&) = delete;

  [[nodiscard]] std::uint64_t ended() const { return ended_; }

  std::vector<std::unique_ptr<mq::Bio>> all;

 private:
  bench::Block memory_{};
  std::uint64_t ended_ = 0;
};

/// Counts a row. `reap(Hw&)` completes requests: on the context, as a loop that polls, or outside
/// of it, as an interrupt.
template <class D, class Reap>
[[gnu::noinline]] void count(const char* name, Kind kind, std::uint32_t depth, D& driver,
                             bool reaps_here, Reap reap) {
  mq::LoopRuntime runtime;
  auto made = mq::Disk<D>::create(config_of(kind, depth), driver, runtime);
  if (!made.has_value()) die(made.error().field);
  mq::Disk<D>& disk = **made;
  mq::Context& context = runtime.context(0);
  auto& hw = disk.hw_queue(blkown::QueueIndex{0});
  Bios bios{kind, depth};
  const auto run = [&](std::uint64_t rounds) {
    for (std::uint64_t round = 0; round != rounds; ++round) {
      {
        const mq::Context::Scope here{context};
        for (auto& bio : bios.all) disk.submit(context, *bio);
        if (reaps_here) reap(hw);
      }
      if (!reaps_here) reap(hw);
      context.run();
    }
  };
  constexpr std::uint64_t first_rounds = 2;
  const std::uint64_t rounds = counted_bios / depth;
  run(first_rounds);
  CALLGRIND_ZERO_STATS;
  run(rounds);
  const std::string trigger = std::string{name} + ' ' + std::to_string(rounds * depth);
  CALLGRIND_DUMP_STATS_AT(trigger.c_str());
  if (bios.ended() != (first_rounds + rounds) * depth) die("a bio has not ended");
  if (disk.counters().ended(blkown::Status::ok) != bios.ended()) die("a bio has failed");
  static_cast<void>(mq::remove(runtime, disk));
}

void count_all(const char* kind_name, Kind kind) {
  for (const std::uint32_t depth : {1U, 8U, 32U, 256U, 1024U}) {
    if (kind != Kind::plain && (depth == 8 || depth == 256)) continue;
    const auto name = [&](const char* row) {
      return std::string{row} + kind_name + "/" + std::to_string(depth);
    };
    {
      bench::EndsAtOnce driver;
      count(name("ends_at_once").c_str(), kind, depth, driver, true, [](auto&) {});
    }
    bench::CompletesLater driver;
    const auto reap = [&](auto& hw) { driver.reap(hw); };
    count(name("completes_later").c_str(), kind, depth, driver, true, reap);
    count(name("completes_elsewhere").c_str(), kind, depth, driver, false, reap);
  }
}

}  // namespace

int main() {
  count_all("", Kind::plain);
  count_all(",virt_boundary", Kind::virt_boundary);
  count_all(",fua", Kind::fua);
}
