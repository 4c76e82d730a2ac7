// SPDX-License-Identifier: BSL-1.0
//
// The knowledge of a thread at a moment of an execution: the steps of every thread that happen
// before it (a vector clock), and for every location the oldest store that it may still read (a
// view). A release copies the knowledge of the thread into the store. An acquire adds that of the
// store to the reader.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_KNOWLEDGE_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_KNOWLEDGE_HPP

#include <array>
#include <cstddef>
#include <cstdint>

namespace model {

/// Thread 0 sets a program up and checks it afterwards; threads 1 to 3 run it.
inline constexpr unsigned max_threads = 4;
inline constexpr unsigned max_locations = 28;

struct Knowledge {
  /// ticks[t]: the steps of thread t up to this one happen before the next step of the owner.
  std::array<std::uint16_t, max_threads> ticks{};
  /// seen[x]: coherence forbids the owner to read a store of location x that is older than this
  /// one.
  std::array<std::uint16_t, max_locations> seen{};

  void add(const Knowledge& other) noexcept {
    for (std::size_t i = 0; i != ticks.size(); ++i) {
      if (ticks[i] < other.ticks[i]) ticks[i] = other.ticks[i];
    }
    for (std::size_t i = 0; i != seen.size(); ++i) {
      if (seen[i] < other.seen[i]) seen[i] = other.seen[i];
    }
  }

  /// Whether the step `tick` of `thread` happens before the next step of the owner.
  [[nodiscard]] bool has(unsigned thread, std::uint16_t tick) const noexcept {
    return ticks[thread] >= tick;
  }
};

}  // namespace model

#endif
