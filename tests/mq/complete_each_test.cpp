// SPDX-License-Identifier: BSL-1.0
//
// Tests of HwQueue::complete_each: completions that arrive together.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::whole;

/// Logs what the hook complete() gets, and on which context.
struct LoggingDriver : fake::FullDriver {
  void complete(Hw&, blkown::Claim<Rq> claim) override {
    log += std::to_string(mq::Context::current()->index()) + ':' +
           std::to_string(claim.data().sector()) + ' ';
    std::move(claim).end_ok();
  }
  std::string log;
};

/// A disk with one hardware queue for several contexts.
struct Side {
  static constexpr std::uint32_t contexts = 3;

  Side() : bench{{.capacity_sectors = 1024, .depth = 64}, contexts} {}

  void submit(std::uint32_t context, std::uint64_t sector) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(sector, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(context), *bios.back());
  }
  [[nodiscard]] mq::HwQueue<fake::FullDriver>& hw() { return bench.disk->hw_queue(QueueIndex{0}); }
  std::vector<std::uint64_t>& published() { return hw().data.published; }
  /// Everything that the completions have led to.
  std::string take_text() {
    bench.runtime.run();
    std::string text = std::exchange(bench.driver.log, {}) + "ended " + std::to_string(ends.count);
    const mq::Counters counters = bench.disk->counters();
    for (const auto rejected : counters.rejected_lookups) text += ' ' + std::to_string(rejected);
    return text;
  }

  /// Ends every bio, those that wait for tags included.
  void finish() {
    while (ends.count != static_cast<int>(bios.size())) {
      const std::vector<std::uint64_t> values = std::exchange(published(), {});
      ASSERT_FALSE(values.empty());
      for (const std::uint64_t value : values) {
        if (auto claim = hw().claim(value)) std::move(*claim).end_ok();
      }
      bench.runtime.run();
    }
  }

  std::vector<std::byte> memory = std::vector<std::byte>(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  Bench<LoggingDriver> bench;
};

/// Passes a batch on with complete_each(), or on a context, or on none, with complete_each_local().
template <class Visit>
void pass(Side& side, bool is_local, unsigned context, const std::vector<std::uint64_t>& values,
          Visit visit) {
  if (!is_local) return side.hw().complete_each(values, visit);
  std::optional<mq::Context::Scope> scope;
  if (context < Side::contexts) scope.emplace(side.bench.context(context));
  side.hw().complete_each_local(values, visit);
}

// Goal: a batch does what its completions do one by one: the hook is called with the same requests,
// in the same order, on the same contexts, and the same values are refused. A refused value stops
// none behind it.
void do_what_completions_do_one_by_one(bool is_local) {
  std::size_t refused = 0;
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random{seed};
    Side single, batch;
    std::vector<std::size_t> pending;  // positions in published(), the same on both sides
    std::size_t seen = 0;
    for (int step = 0; step != 20; ++step) {
      for (std::uint64_t i = random() % 12; i != 0; --i) {
        const auto context = static_cast<std::uint32_t>(random()) % Side::contexts;
        const std::uint64_t sector = random() % 1000;
        for (Side* const side : {&single, &batch}) side->submit(context, sector);
      }
      for (; seen != single.published().size(); ++seen) pending.push_back(seen);
      ASSERT_EQ(batch.published().size(), seen);
      // Values of requests in flight, repeated ones, and some that name no request.
      std::array<std::vector<std::uint64_t>, 2> values;
      for (std::uint64_t i = random() % 40; i != 0 && seen != 0; --i) {
        const std::size_t at =
            random() % 4 == 0 ? random() % seen : pending[random() % pending.size()];
        // Another generation, or a tag beyond the depth.
        const std::uint64_t wrong = random() % 6 != 0   ? 0
                                    : random() % 2 == 0 ? std::uint64_t{1} << 62
                                                        : std::uint64_t{1} << 12;
        values[0].push_back(single.published()[at] ^ wrong);
        values[1].push_back(batch.published()[at] ^ wrong);
      }
      for (const std::uint64_t value : values[0]) {
        if (auto claim = single.hw().claim(value)) single.hw().complete(*std::move(claim));
      }
      std::size_t visited = 0;
      const auto visit = [&](std::size_t index, const auto& claim) {
        EXPECT_LT(index, values[1].size());
        EXPECT_LT(claim.data().sector(), 1000U);
        ++visited;
      };
      pass(batch, is_local, seed % (Side::contexts + 1), values[1], visit);
      refused += values[1].size() - visited;
      const std::string expected = single.take_text();
      ASSERT_EQ(batch.take_text(), expected) << "seed " << seed << ", step " << step;
      if (pending.size() > 200) pending.erase(pending.begin(), pending.end() - 40);
    }
    single.finish();
    batch.finish();
  }
  EXPECT_GT(refused, 100U);
}
TEST(CompleteEach, DoesWhatCompletionsDoOneByOne) { do_what_completions_do_one_by_one(false); }
TEST(CompleteEach, DoesLocallyWhatCompletionsDoOneByOne) {
  do_what_completions_do_one_by_one(true);
}

// Goal: a value that is refused, wherever it stands, keeps no other from its request.
TEST(CompleteEach, OneRefusedValueStopsNoOther) {
  for (std::size_t wrong = 0; wrong != 5; ++wrong) {
    Side side;
    for (std::uint32_t i = 0; i != 4; ++i) side.submit(i % 2, i);
    std::vector<std::uint64_t> values = side.published();
    values.insert(values.begin() + static_cast<std::ptrdiff_t>(wrong),
                  values[0] ^ std::uint64_t{1} << 12);
    std::vector<std::size_t> visited;
    side.hw().complete_each(values,
                            [&](std::size_t index, const auto&) { visited.push_back(index); });
    side.bench.runtime.run();
    EXPECT_EQ(visited.size(), 4U);
    for (const std::size_t index : visited) EXPECT_NE(index, wrong);
    EXPECT_EQ(side.ends.count, 4);
    EXPECT_EQ(side.bench.disk->counters().rejected(LookupReason::no_such_tag), 1U);
  }
}

}  // namespace
