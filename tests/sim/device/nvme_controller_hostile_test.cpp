// SPDX-License-Identifier: BSL-1.0
//
// Goal: whatever a driver writes into registers, queues and memory, an NvmeController neither fails
// an assertion nor reaches memory that is not mapped.
// Method: random writes to registers and doorbells, and random entries, which are made by the
// library's makers and then partly overwritten. Sanitizers see what goes wrong inside.

#include <gtest/gtest.h>

#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/oracle.hpp>
#include <cstring>
#include <vector>

#include "sim/device/nvme_bench.hpp"
#include "stress/effort.hpp"

namespace sim_test {
namespace {

using blkown::sim::FaultRates;
using blkown::sim::Random;

class HostileDriver {
 public:
  HostileDriver(NvmeBench& bench, std::uint64_t seed) : bench_{bench}, dice_{seed} {}

  void act() {
    switch (dice_.below(16)) {
      case 0: return write_register();
      case 1: return restart();
      case 2: return ring_anything();
      case 3: return fill_list();
      case 4: return take();
      case 5: return static_cast<void>(map_for_io());
      default: return submit();
    }
  }

 private:
  [[nodiscard]] std::uint16_t queue() { return static_cast<std::uint16_t>(dice_.below(3)); }

  void write_register() {
    static constexpr std::uint32_t offsets[] = {nvme::reg::cc,  nvme::reg::csts, nvme::reg::aqa,
                                                nvme::reg::asq, nvme::reg::acq,  nvme::reg::nssr};
    const std::uint32_t offset = offsets[dice_.below(6)];
    const auto value = static_cast<std::uint32_t>(dice_.next());
    if (dice_.chance(1, 2)) {
      bench_.controller->write32(offset, value);
    } else {
      bench_.controller->write64(offset, dice_.next());
    }
    static_cast<void>(bench_.controller->read64(dice_.below(64)));
  }
  void restart() {
    bench_.disable();
    bench_.run(bench_.now_ns + 1'000'000);
    bench_.write_enable();
    bench_.run(bench_.now_ns + 1'000'000);
    for (std::uint16_t id = 1; id != 3; ++id) {
      bench_.submit(bench_.create_cq(id), 0);
      bench_.submit(bench_.create_sq(id), 0);
    }
    bench_.run(bench_.now_ns + 1'000'000);
  }
  void ring_anything() {
    const auto offset = 0x1000 + dice_.below(dice_.chance(1, 2) ? 64 : 1 << 20);
    const auto value =
        static_cast<std::uint32_t>(dice_.chance(1, 2) ? dice_.below(16) : dice_.next());
    bench_.controller->write32(offset, value);
  }
  /// Random addresses in the PRP lists' pages, most of which are mapped.
  void fill_list() {
    for (std::size_t i = 0; i != 64; ++i) {
      nvme::Le64 entry = bench_.iova_of(dice_.below(NvmeBench::page_count + 8));
      if (dice_.chance(1, 16)) entry = dice_.next();
      std::memcpy(bench_.pages(NvmeBench::list_page + dice_.below(4)).data() + 8 * dice_.below(512),
                  &entry, sizeof entry);
    }
  }
  void take() {
    const std::uint16_t id = queue();
    static_cast<void>(bench_.completions(id));
  }
  [[nodiscard]] bool map_for_io() {
    const blkown::Cookie cookie{
        .value = dice_.below(65536),
        .generation = {},
        .tag = {},
        .queue = blkown::QueueIndex{static_cast<std::uint32_t>(dice_.below(4))}};
    const auto iova =
        bench_.iommu.map({spare_, sizeof spare_}, blkown::dma::Direction::to_device, cookie);
    if (!iova.has_value()) return false;
    const blkown::dma::IovaSegment segment{.iova = *iova, .length_bytes = sizeof spare_};
    static_cast<void>(bench_.iommu.unmap(segment));
    bench_.iommu.invalidate({&segment, 1});
    return true;
  }
  void submit() {
    Entry entry = any_entry();
    entry.command_id = static_cast<std::uint16_t>(dice_.below(16));
    entry.prp1 = bench_.iova_of(dice_.below(NvmeBench::page_count + 2), 4 * dice_.below(1024));
    entry.prp2 = bench_.iova_of(NvmeBench::list_page + dice_.below(4), 8 * dice_.below(512));
    if (dice_.chance(1, 8)) overwrite(entry);
    bench_.submit(entry, queue());
  }
  [[nodiscard]] Entry any_entry() {
    const auto nsid = static_cast<std::uint32_t>(dice_.below(5));
    const nvme::BlockRange blocks{dice_.below(2100),
                                  static_cast<std::uint32_t>(1 + dice_.below(300))};
    switch (dice_.below(12)) {
      case 0: return Entry::flush(nsid);
      case 1: return Entry::write(nsid, blocks, dice_.chance(1, 4));
      case 2: return Entry::read(nsid, blocks);
      case 3: return Entry::compare(nsid, blocks);
      case 4: return Entry::write_zeroes(nsid, blocks, true);
      case 5: return Entry::dataset_management(nsid, 1 + (blocks.block_count & 255), true);
      case 6: return Entry::abort(queue(), static_cast<std::uint16_t>(dice_.below(16)));
      case 7: return Entry::async_event_request();
      case 8:
        return Entry::set_features(static_cast<nvme::FeatureId>(dice_.below(14)),
                                   static_cast<std::uint32_t>(dice_.next()));
      case 9:
        return Entry::get_log_page(static_cast<nvme::LogPageId>(dice_.below(5)), 64,
                                   4 * dice_.below(300));
      case 10:
        return dice_.chance(1, 2) ? Entry::delete_io_sq(queue()) : Entry::delete_io_cq(queue());
      default: return dice_.chance(1, 2) ? bench_.create_cq(queue()) : bench_.create_sq(queue());
    }
  }
  /// Overwrites a few bytes of the entry.
  void overwrite(Entry& entry) {
    auto* const bytes = reinterpret_cast<unsigned char*>(&entry);
    for (int i = 0; i != 4; ++i) {
      bytes[dice_.below(sizeof entry)] = static_cast<unsigned char>(dice_.next());
    }
  }

  NvmeBench& bench_;
  Random dice_;
  std::byte spare_[512]{};
};

void run_hostile(std::uint64_t seed, bool is_judged) {
  NvmeConfig config = NvmeBench::two_queues();
  config.seed = seed;
  config.longest_ns = 50'000;
  config.ready_ns = seed % 3 == 0 ? 5'000 : 0;
  config.max_transfer_exponent = seed % 4 == 0 ? 0 : 5;
  // Without a fault plan, with one, and with an observer.
  const Script none;
  NvmeBench bench{config, seed % 2 == 0 ? nullptr : &none, seed};
  std::optional<blkown::sim::NvmeOracle> oracle;
  if (is_judged) oracle.emplace(*bench.controller);
  bench.start();
  bench.plan = blkown::sim::FaultPlan{seed, FaultRates::all()};
  HostileDriver driver{bench, seed};
  Random dice{~seed};
  for (std::uint64_t i = 0; i != stress::scaled(3'000, 600); ++i) {
    driver.act();
    for (std::uint64_t steps = dice.below(8); steps != 0; --steps) {
      static_cast<void>(bench.controller->step(bench.now_ns));
      bench.now_ns += 1000;
    }
    const auto next_ns = bench.controller->next_ns();
    if (next_ns.has_value() && dice.chance(1, 8)) bench.now_ns = std::max(bench.now_ns, *next_ns);
    if (oracle.has_value() && dice.chance(1, 4)) {
      static_cast<void>(oracle->note_lookup(static_cast<std::uint32_t>(dice.below(3)),
                                            dice.below(16), dice.chance(1, 2)));
    }
  }
  bench.plan = {};
  bench.disable();
  bench.run(bench.now_ns + 1'000'000);
  bench.start();
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success) << seed;
}

TEST(NvmeHostile, NoDriverBreaksTheController) {
  for (std::uint64_t seed = 0; seed != 20; ++seed) run_hostile(seed, seed % 5 == 4);
}

}  // namespace
}  // namespace sim_test
