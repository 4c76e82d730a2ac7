// SPDX-License-Identifier: BSL-1.0
//
// The scheme of the Linux kernel's Rust block layer, reimplemented from its description in the
// sources: one count, 0 for unique or idle, 1 for in flight, n + 1 for n references. Every step
// that changes the count is a read-modify-write. The kernel has no generation. Here the same word
// carries one, moved by the same additions, so that both sides decode and compare the same cookie.

#ifndef BLKOWN_BENCH_BASELINES_KERNEL_SCHEME_HPP
#define BLKOWN_BENCH_BASELINES_KERNEL_SCHEME_HPP

#include <baselines/hand_written.hpp>

namespace bench {

struct KernelScheme {
  using Words = blkown::Atomic<blkown::Word>;

  [[nodiscard]] static Value look(const Words& word) {
    return {word.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] static blkown::Generation next_generation(const Words& word) {
    return look(word).next_generation();
  }

  /// The count of a unique request is 0, whether it was started or not.
  static void start(Words&) {}
  static void end(Words&) {}

  // --- simple ---

  static void publish(Words& word) { add(word, Value::one_generation + 1); }
  [[nodiscard]] static bool claim(Words& word, Match match) {
    return match.accepts(look(word)) && take_all(word, 1);
  }

  // --- seed; an I/O with a mapping takes the same steps ---

  static void into_shared(Words& word) { add(word, Value::one_generation + 2); }
  static void map(Words& word) { add(word, 1); }
  static void unmap(Words& word) { drop(word); }
  static void drop(Words& word) { add(word, static_cast<blkown::Word>(-1)); }
  [[nodiscard]] static bool tag_to_rq(Words& word, Match match) {
    Value seen = look(word);
    while (match.accepts(seen) && seen.count() != 0) {
      blkown::Word expected = seen.bits;
      if (word.compare_exchange_weak(expected, seen.bits + 1, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return true;
      }
      seen.bits = expected;
    }
    return false;
  }
  [[nodiscard]] static bool try_from_shared(Words& word) { return take_all(word, 2); }

 private:
  /// The kernel's sources change the count in loops of load and compare-exchange.
  static void add(Words& word, blkown::Word step) {
    blkown::Word seen = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(seen, seen + step, std::memory_order_release,
                                       std::memory_order_relaxed)) {
    }
  }
  /// Changes the count to 0 if it has this value.
  [[nodiscard]] static bool take_all(Words& word, blkown::Word count) {
    const Value seen = look(word);
    blkown::Word expected = seen.bits;
    return seen.count() == count &&
           word.compare_exchange_strong(expected, seen.with_state(0).bits,
                                        std::memory_order_acquire, std::memory_order_relaxed);
  }
};

}  // namespace bench

#endif
