// SPDX-License-Identifier: BSL-1.0
//
// What a thread knows at a moment of an execution: which steps of every thread happen before it (a
// vector clock), and which store of every location it may not look behind any more (a view). A
// release puts the thread's knowledge into the store, an acquire adds the store's to the reader's.

#ifndef MODEL_KNOWLEDGE_HPP
#define MODEL_KNOWLEDGE_HPP

#include <array>
#include <cstddef>
#include <cstdint>

namespace model {

/// Thread 0 is the one that sets a program up and looks at it afterwards; 1 to 3 run it.
inline constexpr unsigned max_threads = 4;
inline constexpr unsigned max_locations = 28;

struct Knowledge {
  /// ticks[t]: the steps of thread t up to this one happen before what the knower does next.
  std::array<std::uint16_t, max_threads> ticks{};
  /// seen[x]: coherence forbids the knower to read a store of location x older than this one.
  std::array<std::uint16_t, max_locations> seen{};

  void add(const Knowledge& other) noexcept {
    for (std::size_t i = 0; i != ticks.size(); ++i) {
      if (ticks[i] < other.ticks[i]) ticks[i] = other.ticks[i];
    }
    for (std::size_t i = 0; i != seen.size(); ++i) {
      if (seen[i] < other.seen[i]) seen[i] = other.seen[i];
    }
  }

  /// Whether the step `tick` of `thread` happens before what the knower does next.
  [[nodiscard]] bool has(unsigned thread, std::uint16_t tick) const noexcept {
    return ticks[thread] >= tick;
  }
};

}  // namespace model

#endif
