// SPDX-License-Identifier: BSL-1.0
//
// BasicSchedule: the actions that a simulated controller has planned, by time.

#ifndef BLKOWN_SIM_DEVICE_SCHEDULE_HPP
#define BLKOWN_SIM_DEVICE_SCHEDULE_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// A queue of actions ordered by due time. Actions of the same time keep the order of add().
template <class A>
class BasicSchedule {
 public:
  void add(const A& action, std::uint64_t due_ns) {
    entries_.push_back({due_ns, next_serial_++, action});
    std::ranges::push_heap(entries_, is_later);
  }
  void clear() noexcept { entries_.clear(); }

  /// The due time of the first action, if there is one.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() const noexcept {
    if (entries_.empty()) return std::nullopt;
    return entries_.front().due_ns;
  }
  /// Takes the first action if it is due.
  [[nodiscard]] std::optional<A> take_due(std::uint64_t now_ns) {
    if (entries_.empty() || entries_.front().due_ns > now_ns) return std::nullopt;
    std::ranges::pop_heap(entries_, is_later);
    const A action = entries_.back().action;
    entries_.pop_back();
    return action;
  }

 private:
  struct Entry {
    std::uint64_t due_ns;
    std::uint64_t serial;
    A action;
  };

  static constexpr auto is_later = [](const Entry& a, const Entry& b) {
    return std::pair{a.due_ns, a.serial} > std::pair{b.due_ns, b.serial};
  };

  std::vector<Entry> entries_;  // a heap
  std::uint64_t next_serial_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
