// SPDX-License-Identifier: BSL-1.0
//
// An atomic that records which pairs of cache lines each context reads and writes. Included before
// every header of blkown, this header selects the atomic for the library.

#ifndef BLKOWN_TESTS_SUPPORT_LINE_ATOMIC_HPP
#define BLKOWN_TESTS_SUPPORT_LINE_ATOMIC_HPP

#ifdef BLKOWN_CONFIG_HPP
#error "line_atomic.hpp must come before the core"
#endif

#include <atomic>
#include <cstdint>
#include <map>

namespace support {

/// The lines that contexts have touched. One thread acts for all contexts, and says for which.
class LineLog {
 public:
  /// Two neighbouring lines, which a processor may fetch together.
  static constexpr std::uintptr_t pair_bytes = 128;

  /// How one context has used a pair of lines.
  struct Use {
    bool is_written = false;
    std::uintptr_t address = 0;  ///< Of the last write, or of a read if there was no write.
  };
  using Uses = std::map<unsigned, Use>;  ///< By the context.

  /// From now on, accesses are those of this context.
  void begin(unsigned context) {
    context_ = context;
    is_recording_ = true;
  }
  void end() { is_recording_ = false; }

  void note(const void* variable, bool is_write) {
    if (!is_recording_) return;
    const auto address = reinterpret_cast<std::uintptr_t>(variable);
    Use& use = uses_[address / pair_bytes][context_];
    if (is_write || !use.is_written) use.address = address;
    use.is_written = use.is_written || is_write;
  }

  /// By the number of the pair.
  [[nodiscard]] const std::map<std::uintptr_t, Uses>& uses() const { return uses_; }

 private:
  bool is_recording_ = false;
  unsigned context_ = 0;
  std::map<std::uintptr_t, Uses> uses_;
};

inline LineLog line_log;

/// std::atomic<T>, recorded. A compare-exchange that fails is a write: it fetches the line as one.
template <class T>
class LineAtomic {
 public:
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  LineAtomic(T value = T{}) noexcept : value_{value} {}
  LineAtomic(const LineAtomic&) = delete;
  LineAtomic& operator=(const LineAtomic&) = delete;

  [[nodiscard]] T load(std::memory_order order) const noexcept {
    line_log.note(this, false);
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept { written().store(value, order); }
  T exchange(T value, std::memory_order order) noexcept { return written().exchange(value, order); }
  T fetch_add(T value, std::memory_order order) noexcept {
    return written().fetch_add(value, order);
  }
  T fetch_sub(T value, std::memory_order order) noexcept {
    return written().fetch_sub(value, order);
  }
  T fetch_or(T value, std::memory_order order) noexcept { return written().fetch_or(value, order); }
  T fetch_and(T value, std::memory_order order) noexcept {
    return written().fetch_and(value, order);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    return written().compare_exchange_weak(expected, desired, success, failure);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    return written().compare_exchange_strong(expected, desired, success, failure);
  }
  void wait(T old, std::memory_order order) const noexcept { value_.wait(old, order); }
  void notify_one() noexcept { value_.notify_one(); }
  void notify_all() noexcept { value_.notify_all(); }

 private:
  std::atomic<T>& written() noexcept {
    line_log.note(this, true);
    return value_;
  }

  std::atomic<T> value_;
};

}  // namespace support

#define BLKOWN_ATOMIC support::LineAtomic
#define BLKOWN_ATOMIC_NAME line

#endif
