// SPDX-License-Identifier: BSL-1.0
//
// Goal: the judge admits what a disk may have after a power cut, and nothing else.
// Method: one sector, or a few; each write has a value of its own.

#include <gtest/gtest.h>

#include <blkown/sim/harness/durability_judge.hpp>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace {

using blkown::sim::DurabilityJudge;
using Bytes = std::vector<std::byte>;
using Id = DurabilityJudge::Id;

constexpr std::size_t judged_bytes = 512;

class JudgeOfDurability : public testing::Test {
 protected:
  Id write(int value, bool is_fua = false, bool has_preflush = false, std::uint64_t sector = 0,
           std::size_t count = 1) {
    return judge_.begin({.sector = sector,
                         .data = Bytes(count * judged_bytes, static_cast<std::byte>(value)),
                         .is_fua = is_fua,
                         .is_flush = has_preflush});
  }
  Id flush() { return judge_.begin({.sector = 0, .data = {}, .is_fua = false, .is_flush = true}); }
  /// The values that the judge admits in the sector.
  std::set<int> admitted(std::uint64_t sector = 0) {
    std::set<int> values;
    for (int value = 0; value != 10; ++value) {
      if (judge_.admits(sector, Bytes(judged_bytes, static_cast<std::byte>(value)))) {
        values.insert(value);
      }
    }
    return values;
  }
  std::optional<std::uint64_t> first_broken(std::vector<int> values) {
    Bytes content;
    for (const int value : values) content.resize(content.size() + judged_bytes, std::byte(value));
    return judge_.first_broken(content);
  }

  DurabilityJudge judge_{3};
};

TEST_F(JudgeOfDurability, AWriteInFlightMayBeFoundOrNot) {
  write(1);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  EXPECT_EQ(admitted(1), (std::set{0}));
}

TEST_F(JudgeOfDurability, AnAcknowledgedWriteMayBeLostUntilAFlush) {
  judge_.end(write(1), true);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  const Id id = flush();
  EXPECT_EQ(admitted(), (std::set{0, 1})) << "the flush is in flight";
  judge_.end(id, true);
  EXPECT_EQ(admitted(), (std::set{1}));
}

TEST_F(JudgeOfDurability, AFlushCoversOnlyWhatEndedBeforeItBegan) {
  const Id in_flight = write(1);
  const Id id = flush();
  judge_.end(in_flight, true);
  judge_.end(id, true);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  judge_.end(flush(), true);
  EXPECT_EQ(admitted(), (std::set{1}));
}

TEST_F(JudgeOfDurability, AFailedFlushCoversNothing) {
  judge_.end(write(1), true);
  judge_.end(flush(), false);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
}

TEST_F(JudgeOfDurability, AFailedWriteMayBeFoundUntilADurableOneReplacesIt) {
  judge_.end(write(1, true), false);
  judge_.end(flush(), true);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  judge_.end(write(2, true), true);
  EXPECT_EQ(admitted(), (std::set{2}));
}

TEST_F(JudgeOfDurability, AWriteWithFuaIsDurableInEachOfItsSectors) {
  judge_.end(write(1, true, false, 1, 2), true);
  EXPECT_EQ(admitted(0), (std::set{0}));
  EXPECT_EQ(admitted(1), (std::set{1}));
  EXPECT_EQ(admitted(2), (std::set{1}));
}

TEST_F(JudgeOfDurability, FuaCoversNoOtherWrite) {
  judge_.end(write(1, false, false, 1), true);
  judge_.end(write(2, true), true);
  EXPECT_EQ(admitted(1), (std::set{0, 1}));
}

TEST_F(JudgeOfDurability, OverlappingWritesMayHaveAnyOrder) {
  const Id first = write(1), second = write(2);
  judge_.end(second, true);
  judge_.end(first, true);
  judge_.end(flush(), true);
  EXPECT_EQ(admitted(), (std::set{1, 2}));
}

TEST_F(JudgeOfDurability, APreflushIsAFlush) {
  judge_.end(write(1), true);
  const Id id = write(2, false, true, 1);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  judge_.end(id, true);
  EXPECT_EQ(admitted(), (std::set{1}));
  EXPECT_EQ(admitted(1), (std::set{0, 2})) << "the data itself is cached";
}

TEST_F(JudgeOfDurability, DataBehindAPreflushProvesThePreflush) {
  judge_.end(write(1), true);
  write(2, false, true, 1);
  EXPECT_EQ(first_broken({0, 0, 0}), std::nullopt);
  EXPECT_EQ(first_broken({1, 2, 0}), std::nullopt);
  EXPECT_EQ(first_broken({0, 2, 0}), std::uint64_t{0});
}

TEST_F(JudgeOfDurability, FindsTheFirstSectorThatWasNeverWritten) {
  EXPECT_EQ(first_broken({0, 0, 0}), std::nullopt);
  EXPECT_EQ(first_broken({0, 0, 4}), std::uint64_t{2});
}

/// The first broken sector of content of which some sectors were changed, and the sectors compared
/// for it.
struct Compared {
  std::optional<std::uint64_t> broken;
  std::set<std::size_t> sectors;
};
[[nodiscard]] Compared compare_changed(DurabilityJudge& judge, int value,
                                       std::initializer_list<std::size_t> sectors) {
  blkown::sim::detail::SectorSet changed{3};
  for (const std::size_t sector : sectors) changed.add(sector);
  const Bytes content(judged_bytes, static_cast<std::byte>(value));
  Compared result;
  result.broken = judge.first_broken_of(
      [&](std::size_t sector) {
        result.sectors.insert(sector);
        return std::span{content};
      },
      changed);
  return result;
}
/// The same with no change at all.
[[nodiscard]] Compared compare_unchanged(DurabilityJudge& judge, int value) {
  return compare_changed(judge, value, {});
}

TEST_F(JudgeOfDurability, AnUnchangedSectorIsComparedOnce) {
  EXPECT_EQ(compare_unchanged(judge_, 0).sectors, (std::set<std::size_t>{0, 1, 2}));
  judge_.end(write(1), true);  // more is admitted
  const Compared again = compare_unchanged(judge_, 0);
  EXPECT_EQ(again.broken, std::nullopt);
  EXPECT_TRUE(again.sectors.empty());
}

TEST_F(JudgeOfDurability, AnUnchangedSectorIsComparedAgainIfLessIsAdmitted) {
  judge_.end(write(1, false, false, 1), true);
  EXPECT_EQ(compare_unchanged(judge_, 0).broken, std::nullopt);
  judge_.end(flush(), true);
  const Compared again = compare_unchanged(judge_, 0);
  EXPECT_EQ(again.broken, std::uint64_t{1});
  EXPECT_EQ(again.sectors, (std::set<std::size_t>{1}));
  EXPECT_EQ(compare_unchanged(judge_, 0).broken, std::uint64_t{1}) << "it is broken for good";
}

TEST_F(JudgeOfDurability, AnUnchangedSectorIsComparedAgainIfAReplacedContentIsForgotten) {
  judge_.end(write(1, true), true);
  EXPECT_EQ(first_broken({1, 0, 0}), std::nullopt);
  judge_.end(write(2), true);
  EXPECT_EQ(compare_unchanged(judge_, 1).broken, std::nullopt);
  judge_.end(flush(), true);
  EXPECT_EQ(compare_unchanged(judge_, 1).broken, std::uint64_t{0}) << "not the latest content";
}

TEST_F(JudgeOfDurability, AChangedSectorIsComparedAlsoAfterABrokenOne) {
  EXPECT_EQ(compare_unchanged(judge_, 0).broken, std::nullopt);
  EXPECT_EQ(compare_changed(judge_, 0, {1}).sectors, (std::set<std::size_t>{1}));
  EXPECT_EQ(compare_changed(judge_, 4, {1, 2}).broken, std::uint64_t{1});
  // The caller forgets the changes of that call.
  judge_.end(write(4, true, false, 1), true);
  judge_.end(write(4, true), true);
  EXPECT_EQ(compare_unchanged(judge_, 4).broken, std::uint64_t{2});
}

TEST_F(JudgeOfDurability, APlaceOfAReplacedContentIsUsedAgain) {
  for (int i = 0; i != 9; ++i) judge_.end(write(i % 3 + 1, true, false, i % 3 == 0 ? 0 : 1), true);
  EXPECT_EQ(admitted(0), (std::set{1}));
  EXPECT_EQ(admitted(1), (std::set{3}));
  EXPECT_EQ(admitted(2), (std::set{0}));
}

TEST_F(JudgeOfDurability, DistrustedFlushesPromiseNothing) {
  judge_.end(write(1), true);
  const Id id = flush(), with_fua = write(2, true, true, 1);
  judge_.distrust_flushes();
  judge_.end(id, true);
  judge_.end(with_fua, true);
  EXPECT_EQ(admitted(), (std::set{0, 1}));
  EXPECT_EQ(admitted(1), (std::set{0, 2}));
  judge_.end(flush(), true);
  EXPECT_EQ(admitted(), (std::set{1}));
  EXPECT_EQ(admitted(1), (std::set{2}));
}

}  // namespace
