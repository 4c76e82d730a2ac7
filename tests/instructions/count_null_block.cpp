// SPDX-License-Identifier: BSL-1.0
//
// Reads through examples/null_block, to be counted by callgrind as in count_bios.cpp, beside the
// shortest drivers: one that ends at once, and one that completes later.

#include <valgrind/callgrind.h>

#include <blkown/mq/loop_runtime.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <pipeline/null_block.hpp>
#include <string>

namespace {

namespace mq = blkown::mq;

constexpr std::uint64_t counted_bios = 2048;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "count_null_block: %s\n", what.c_str());
  std::exit(1);
}

/// A clock that stands still, so that the counts do not depend on the machine's.
const mq::LoopHooks hooks{.now_ns = [](void*) -> std::uint64_t { return 1; }};

template <class Rounds, class Reap>
[[gnu::noinline]] void run(Rounds& rounds, Reap reap, std::uint64_t count) {
  for (std::uint64_t i = 0; i != count; ++i) rounds.round(reap);
}

/// Counts a row.
auto count(const std::string& name, std::uint32_t depth) {
  return [depth, row = name + "/" + std::to_string(depth)](auto& rounds, auto reap) {
    if (rounds.error() != nullptr) die(row + ": " + rounds.error());
    constexpr std::uint64_t first_rounds = 2;
    const std::uint64_t counted_rounds = counted_bios / depth;
    run(rounds, reap, first_rounds);
    CALLGRIND_ZERO_STATS;
    run(rounds, reap, counted_rounds);
    const std::string trigger = row + ' ' + std::to_string(counted_rounds * depth);
    CALLGRIND_DUMP_STATS_AT(trigger.c_str());
    if (rounds.missing(first_rounds + counted_rounds) != 0) die(row + ": a read has not ended");
  };
}

}  // namespace

int main() {
  using bench::ReadWay;
  const ReadWay alone;
  const ReadWay listed{.is_listed = true};
  const ReadWay polled{.is_polled = true};
  const ReadWay batch{.is_polled = true, .is_listed = true};
  for (const std::uint32_t depth : {1U, 32U, 1024U}) {
    const auto null = [&](const char* name, const ReadWay& way, const null_block::Config& config) {
      bench::with_null_block(depth, way, config, hooks, count(name, depth));
    };
    bench::with_ends_at_once(depth, alone, hooks, count("ends_at_once", depth));
    bench::with_completes_later(depth, alone, hooks, count("completes_later", depth));
    bench::with_ends_at_once(depth, listed, hooks, count("ends_at_once,listed", depth));
    bench::with_completes_later(depth, listed, hooks, count("completes_later,listed", depth));
    null("none", alone, {});
    null("none,listed", listed, {});
    null("softirq", alone, {.completion = 1});
    null("polled", polled, {});
    null("batch", batch, {});
    // A run of the context fires 64 timers.
    if (depth <= 64) null("timer", alone, {.completion = 2, .completion_nsec = 0});
  }
}
