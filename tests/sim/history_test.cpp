// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <blkown/sim/harness/history.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using blkown::Generation;
using blkown::RequestState;
using blkown::Tag;
using blkown::sim::History;

[[nodiscard]] std::string printed(const History& history, blkown::QueueIndex queue, Tag tag,
                                  std::size_t most = 12) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  history.print(file, queue, tag, most);
  std::fclose(file);
  std::string copy{text, size};
  std::free(text);
  return copy;
}
[[nodiscard]] RequestState state(std::uint32_t count) {
  return {.generation = Generation{7}, .count = count};
}

TEST(History, IsEmptyAtFirst) {
  const History history;
  EXPECT_EQ(history.event(), 0U);
  EXPECT_EQ(printed(history, blkown::QueueIndex{0}, Tag{0}), "");
}

TEST(History, NamesTheEventOfEachTransition) {
  History history;
  history.begin_event("submit", 12'345);
  history.add(blkown::QueueIndex{0}, Tag{1}, false, {}, true, state(1));
  history.begin_event("timeout scan", 2'000'999);
  EXPECT_EQ(history.event(), 2U);
  RequestState claimed = state(3);
  claimed.claimed = true;
  history.add(blkown::QueueIndex{0}, Tag{1}, true, state(1), true, claimed);
  RequestState finished = state(2);
  finished.finished = true;
  history.add(blkown::QueueIndex{0}, Tag{1}, true, claimed, true, finished);
  RequestState owned = state(0);
  owned.owned = true;
  history.add(blkown::QueueIndex{0}, Tag{1}, true, finished, true, owned);
  history.add(blkown::QueueIndex{0}, Tag{1}, true, owned, false, {});
  EXPECT_EQ(printed(history, blkown::QueueIndex{0}, Tag{1}),
            "  event 1 at 12 us, submit: queue 0, tag 1: free -> 1, generation 7\n"
            "  event 2 at 2000 us, timeout scan: queue 0, tag 1:"
            " 1, generation 7 -> 3 claimed, generation 7\n"
            "  event 2 at 2000 us, timeout scan: queue 0, tag 1:"
            " 3 claimed, generation 7 -> 2 finished, generation 7\n"
            "  event 2 at 2000 us, timeout scan: queue 0, tag 1:"
            " 2 finished, generation 7 -> 0 owned, generation 7\n"
            "  event 2 at 2000 us, timeout scan: queue 0, tag 1:"
            " 0 owned, generation 7 -> free\n");
}

TEST(History, PrintsTheLatestOfOneRequestOldestFirst) {
  History history;
  for (std::uint32_t i = 0; i != 6; ++i) {
    history.begin_event("step", 0);
    history.add(blkown::QueueIndex{i % 2}, Tag{3}, true, state(i), true, state(i + 1));
    history.add(blkown::QueueIndex{i % 2}, Tag{4}, true, state(9), true, state(9));
  }
  EXPECT_EQ(printed(history, blkown::QueueIndex{1}, Tag{3}, 2),
            "  event 4 at 0 us, step: queue 1, tag 3: 3, generation 7 -> 4, generation 7\n"
            "  event 6 at 0 us, step: queue 1, tag 3: 5, generation 7 -> 6, generation 7\n");
  EXPECT_EQ(printed(history, blkown::QueueIndex{1}, Tag{3}, 0), "");
  EXPECT_EQ(printed(history, blkown::QueueIndex{2}, Tag{3}), "");
}

TEST(History, KeepsTheLatestTransitionsOfAll) {
  History history;
  history.begin_event("first", 0);
  history.add(blkown::QueueIndex{0}, Tag{1}, true, state(1), true, state(2));
  for (std::uint32_t i = 0; i != 4095; ++i)
    history.add(blkown::QueueIndex{0}, Tag{2}, true, {}, true, {});
  EXPECT_NE(printed(history, blkown::QueueIndex{0}, Tag{1}), "");
  history.add(blkown::QueueIndex{0}, Tag{2}, true, {}, true, {});
  EXPECT_EQ(printed(history, blkown::QueueIndex{0}, Tag{1}), "")
      << "4096 newer transitions were added";
  history.begin_event("last", 0);
  history.add(blkown::QueueIndex{0}, Tag{1}, true, state(2), true, state(3));
  EXPECT_EQ(printed(history, blkown::QueueIndex{0}, Tag{1}),
            "  event 2 at 0 us, last: queue 0, tag 1: 2, generation 7 -> 3, generation 7\n");
}

}  // namespace
