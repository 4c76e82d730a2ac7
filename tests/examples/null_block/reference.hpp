// SPDX-License-Identifier: BSL-1.0
//
// Reference: what each block of a disk may hold, as plain sets of values. A block holds one value,
// repeated. Zero is what was never written.
//
//   current   the values that a read may return: one, but for writes that failed and power cuts
//   durable   the values that may be there after a power cut

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_REFERENCE_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_REFERENCE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace null_world {

class Reference {
 public:
  using Values = std::vector<std::uint32_t>;

  Reference(std::size_t blocks, bool has_cache) : has_cache_{has_cache}, cells_(blocks) {}

  /// A write of `value` has begun: a power cut may leave it there or not.
  void begin_write(std::size_t block, std::uint32_t value) { add(cells_[block].durable, value); }
  /// It has ended without an error.
  void end_write(std::size_t block, std::uint32_t value, bool is_durable) {
    Cell& cell = cells_[block];
    cell.current = {value};
    if (is_durable || !has_cache_) {
      cell.durable = {value};
    } else {
      add(cell.durable, value);
    }
    cell.is_cached = !is_durable && has_cache_;
  }
  /// It has failed: the block is old or new.
  void fail_write(std::size_t block, std::uint32_t value) {
    Cell& cell = cells_[block];
    add(cell.current, value);
    add(cell.durable, value);
    cell.is_cached = has_cache_;
  }
  void flush() {
    for (Cell& cell : cells_) {
      cell.durable = cell.current;
      cell.is_cached = false;
    }
  }
  void cut_power() {
    for (Cell& cell : cells_) {
      cell.current = cell.durable;
      cell.is_cached = false;
    }
  }
  /// Whether a read may return the value. If so, the block holds it from now on.
  [[nodiscard]] bool read(std::size_t block, std::uint32_t value) {
    Cell& cell = cells_[block];
    if (std::ranges::find(cell.current, value) == cell.current.end()) return false;
    cell.current = {value};
    if (!cell.is_cached) cell.durable = {value};
    return true;
  }
  [[nodiscard]] const Values& current(std::size_t block) const { return cells_[block].current; }
  [[nodiscard]] std::size_t size() const noexcept { return cells_.size(); }

 private:
  struct Cell {
    Values current{0};
    Values durable{0};
    bool is_cached = false;  // the device may hold another value than the durable one
  };
  static void add(Values& values, std::uint32_t value) {
    if (std::ranges::find(values, value) == values.end()) values.push_back(value);
  }

  bool has_cache_;
  std::vector<Cell> cells_;
};

}  // namespace null_world

#endif
