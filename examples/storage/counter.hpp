// SPDX-License-Identifier: BSL-1.0
//
// Counter: a number for reports.

#ifndef STORAGE_COUNTER_HPP
#define STORAGE_COUNTER_HPP

#include <atomic>
#include <cstdint>

namespace storage {

/// A number that one thread changes and others read.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    // n -> n + count by the only writer: no read-modify-write. Relaxed: orders nothing.
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept {
    // Relaxed: a number for a report.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace storage

#endif
