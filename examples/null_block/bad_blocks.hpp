// SPDX-License-Identifier: BSL-1.0
//
// BadBlocks: ranges of sectors that cannot be read or written.

#ifndef NULL_BLOCK_BAD_BLOCKS_HPP
#define NULL_BLOCK_BAD_BLOCKS_HPP

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <expected>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config.hpp"

namespace null_block {

/// Sectors from `begin` to `end`, which is not one of them.
struct SectorRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend constexpr bool operator==(const SectorRange&, const SectorRange&) = default;
};

/// Synchronization: all functions lock a mutex, but find() while there are no bad blocks.
/// Source: the kernel's badblocks.
class BadBlocks {
 public:
  /// Makes the sectors bad.
  void set(SectorRange range) {
    const std::lock_guard lock{mutex_};
    cut(range);
    // One range with those that it touches, because find() ends at a range's end.
    const auto after = ranges_.find(range.end);
    if (after != ranges_.end()) {
      range.end = after->second;
      ranges_.erase(after);
    }
    const auto next = ranges_.lower_bound(range.begin);
    if (next != ranges_.begin() && std::prev(next)->second == range.begin) {
      std::prev(next)->second = range.end;
    } else {
      ranges_.emplace_hint(next, range.begin, range.end);
    }
    count();
  }
  /// Makes the sectors good.
  void clear(SectorRange range) {
    const std::lock_guard lock{mutex_};
    cut(range);
    count();
  }
  /// Whether there are no bad blocks.
  [[nodiscard]] bool empty() const noexcept {
    // No transition. Partner: count. Relaxed: a range that is being set is bad or good.
    return !has_ranges_.load(std::memory_order_relaxed);
  }
  /// The bad sectors of the range, up to the first good one behind them. None: all are good.
  [[nodiscard]] std::optional<SectorRange> find(SectorRange range) {
    if (empty()) return std::nullopt;
    const std::lock_guard lock{mutex_};
    auto it = ranges_.upper_bound(range.begin);
    if (it != ranges_.begin() && std::prev(it)->second > range.begin) --it;
    if (it == ranges_.end() || it->first >= range.end) return std::nullopt;
    return SectorRange{std::max(it->first, range.begin), std::min(it->second, range.end)};
  }
  /// The ranges in a line: "8-15 20-20". The last sector of a range is one of it.
  [[nodiscard]] std::string text() {
    const std::lock_guard lock{mutex_};
    std::string made;
    for (const auto& [begin, end] : ranges_) {
      if (!made.empty()) made += ' ';
      made += std::to_string(begin) + "-" + std::to_string(end - 1);
    }
    return made;
  }

 private:
  void cut(SectorRange range) {
    auto it = ranges_.upper_bound(range.begin);
    if (it != ranges_.begin()) --it;
    while (it != ranges_.end() && it->first < range.end) {
      const SectorRange old{it->first, it->second};
      if (old.end <= range.begin) {
        ++it;
        continue;
      }
      it = ranges_.erase(it);
      if (old.begin < range.begin) ranges_.emplace(old.begin, range.begin);
      if (old.end > range.end) it = ranges_.emplace(range.end, old.end).first;
    }
  }
  void count() noexcept {
    // Partner: empty. Relaxed: the ranges are read with the mutex held.
    has_ranges_.store(!ranges_.empty(), std::memory_order_relaxed);
  }

  std::atomic<bool> has_ranges_{false};
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin -> end, with good sectors between them
};

/// Sets or clears bad blocks: `+8-15` and `-8-15`, as in null_blk.
/// Errors: the text is another.
[[nodiscard]] inline std::expected<void, ConfigError> change_bad_blocks(BadBlocks& blocks,
                                                                        std::string_view text) {
  constexpr std::uint64_t max_sector = detail::max_number;
  const auto wrong = [&] {
    return refuse("badblocks", text, "give +FIRST-LAST or -FIRST-LAST, in sectors");
  };
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return wrong();
  const std::size_t dash = text.find('-', 1);
  if (dash == text.npos) return wrong();
  const auto first = storage::parse_number(text.substr(1, dash - 1), max_sector, false);
  const auto last = storage::parse_number(text.substr(dash + 1), max_sector, false);
  if (!first || !last || *last < *first) return wrong();
  const SectorRange range{*first, *last + 1};
  if (text[0] == '+') {
    blocks.set(range);
  } else {
    blocks.clear(range);
  }
  return {};
}

}  // namespace null_block

#endif
