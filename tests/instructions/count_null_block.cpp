// SPDX-License-Identifier: BSL-1.0
//
// Reads through examples/null_block, to be counted by callgrind as in count_bios.cpp, beside the
// shortest drivers: one that ends at once, and one that completes later.

#include <valgrind/callgrind.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <pipeline/drivers.hpp>
#include <string>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"

namespace {

namespace mq = blkown::mq;
using null_block::Config;

constexpr std::uint64_t counted_bios = 2048;
constexpr std::uint64_t capacity_sectors = std::uint64_t{1} << 30;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "count_null_block: %s\n", what.c_str());
  std::exit(1);
}

/// How the bios of a round are submitted and ended.
struct Way {
  bool is_polled = false;
  bool is_plugged = false;
  std::uint64_t pass_ns = 0;  // of the clock, in each round
};

/// Counts a row. `reap(disk, context)` completes the requests of a round.
template <class D, class Reap>
[[gnu::noinline]] void count(const std::string& name, std::uint32_t depth, const Way& way,
                             const mq::DiskConfig& config, D& driver, typename D::QueueData data,
                             Reap reap) {
  std::uint64_t now_ns = 1;
  mq::LoopRuntime runtime{1, {.argument = &now_ns, .now_ns = [](void* now) {
                                return *static_cast<std::uint64_t*>(now);
                              }}};
  auto made = mq::Disk<D>::create(config, driver, runtime, std::move(data));
  if (!made.has_value()) die(name + ": " + made.error().field);
  mq::Disk<D>& disk = **made;
  mq::Context& context = runtime.context(0);
  std::vector<std::byte> memory(4096);
  std::uint64_t ended = 0;
  std::vector<mq::Bio> bios(depth);
  for (std::uint32_t i = 0; i != depth; ++i) {
    bios[i].set_read(std::uint64_t{8} * (i * 7919 % 100'000),
                     blkown::Segment{memory.data(), memory.size()},
                     {[](void* its, mq::Bio&) { ++*static_cast<std::uint64_t*>(its); }, &ended},
                     {.polled = way.is_polled});
  }
  const auto submit = [&] {
    for (mq::Bio& bio : bios) disk.submit(context, bio);
  };
  const auto run = [&](std::uint64_t rounds) {
    for (std::uint64_t round = 0; round != rounds; ++round) {
      {
        const mq::Context::Scope here{context};
        if (way.is_plugged) {
          const typename mq::Disk<D>::Plug plug{disk, context};
          submit();
        } else {
          submit();
        }
        reap(disk, context);
      }
      now_ns += way.pass_ns;
      context.run();
    }
  };
  const std::uint64_t rounds = counted_bios / depth;
  run(2);
  CALLGRIND_ZERO_STATS;
  run(rounds);
  const std::string trigger = name + ' ' + std::to_string(rounds * depth);
  CALLGRIND_DUMP_STATS_AT(trigger.c_str());
  if (ended != (2 + rounds) * depth) die(name + ": a bio has not ended");
  static_cast<void>(mq::remove(runtime, disk));
}

void count_null(const std::string& name, std::uint32_t depth, const Way& way, Config config) {
  config.size = capacity_sectors * mq::sector_bytes;
  config.hw_queue_depth = std::max(depth, 64U);
  config.poll_queues = way.is_polled ? 1 : 0;
  config.max_submit_queues = 1;
  null_block::Driver driver{1};
  count(name + "/" + std::to_string(depth), depth, way, null_block::disk_config_of(config), driver,
        null_block::Driver::QueueData{std::make_unique<null_block::Device>(config)},
        [&](null_block::Disk& disk, mq::Context& context) {
          if (way.is_polled) static_cast<void>(disk.poll(context));
        });
}

void count_references(std::uint32_t depth, const Way& way, const std::string& suffix) {
  const mq::DiskConfig config{.capacity_sectors = capacity_sectors, .depth = std::max(depth, 64U)};
  bench::EndsAtOnce at_once;
  count("ends_at_once" + suffix, depth, way, config, at_once, {}, [](auto&, auto&) {});
  bench::CompletesLater later;
  count("completes_later" + suffix, depth, way, config, later, {},
        [&](auto& disk, auto&) { later.reap(disk.hw_queue(blkown::QueueIndex{0})); });
}

}  // namespace

int main() {
  for (const std::uint32_t depth : {1U, 32U}) {
    const std::string suffix = "/" + std::to_string(depth);
    count_references(depth, {}, suffix);
    count_references(depth, {.is_plugged = true}, ",plugged" + suffix);
    count_null("none", depth, {}, {});
    count_null("none,plugged", depth, {.is_plugged = true}, {});
    count_null("softirq", depth, {}, {.completion = 1});
    count_null("polled", depth, {.is_polled = true}, {});
    count_null("timer", depth, {.pass_ns = 10'000}, {.completion = 2});
  }
}
