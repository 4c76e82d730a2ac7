// SPDX-License-Identifier: BSL-1.0
//
// The floor: the library's word with the fewest read-modify-writes and no check of the caller. The
// floor uses plain stores where no other thread may write, and only tests whether lookups find the
// I/O.

#ifndef BLKOWN_BENCH_BASELINES_BARE_HPP
#define BLKOWN_BENCH_BASELINES_BARE_HPP

#include <baselines/hand_written.hpp>

namespace bench {

struct Bare {
  using Words = blkown::Atomic<blkown::Word>;

  [[nodiscard]] static Value look(const Words& word) {
    return {word.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] static blkown::Generation next_generation(const Words& word) {
    return look(word).next_generation();
  }

  static void start(Words& word) {
    word.store(look(word).with_state(Value::owned_flag).bits, std::memory_order_relaxed);
  }

  // --- simple: owned -> 1 -> owned -> 0 ---

  static void publish(Words& word) {
    word.store(look(word).next_with_state(1).bits, std::memory_order_release);
  }
  /// Returns whether the caller is now alone with the I/O.
  [[nodiscard]] static bool claim(Words& word, Match match) {
    const Value seen = look(word);
    blkown::Word expected = seen.bits;
    return match.accepts(seen) && seen.state() == 1 &&
           word.compare_exchange_strong(expected, seen.with_state(Value::owned_flag).bits,
                                        std::memory_order_acquire, std::memory_order_relaxed);
  }
  static void end(Words& word) {
    word.store(look(word).with_state(0).bits, std::memory_order_relaxed);
  }

  // --- seed: shared and counted in between ---

  static void into_shared(Words& word) {
    word.store(look(word).next_with_state(2).bits, std::memory_order_release);
  }
  static void map(Words& word) { word.fetch_add(1, std::memory_order_relaxed); }
  static void unmap(Words& word) { drop(word); }
  static void drop(Words& word) { word.fetch_sub(1, std::memory_order_release); }
  [[nodiscard]] static bool tag_to_rq(Words& word, Match match) {
    Value seen = look(word);
    while (match.accepts(seen) && seen.state() != 0 && seen.state() < Value::count_limit) {
      blkown::Word expected = seen.bits;
      if (word.compare_exchange_weak(expected, seen.bits + 1, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return true;
      }
      seen.bits = expected;
    }
    return false;
  }
  [[nodiscard]] static bool try_from_shared(Words& word) {
    const Value seen = look(word);
    blkown::Word expected = seen.bits;
    return seen.state() == 2 &&
           word.compare_exchange_strong(expected, seen.with_state(Value::owned_flag).bits,
                                        std::memory_order_acquire, std::memory_order_relaxed);
  }

  // --- pinned: one holder with the right to the I/O, and pins ---

  static void first_pin(Words& word) {
    word.store(look(word).with_state(Value::claimed_flag | 3).bits, std::memory_order_relaxed);
  }
  static void publish_pinned(Words& word) {
    word.fetch_add(Value::one_generation - Value::claimed_flag - 1, std::memory_order_release);
  }
  [[nodiscard]] static bool claim_pinned(Words& word, Match match) {
    Value seen = look(word);
    while (match.accepts(seen) && seen.state() != 0 && seen.state() < Value::count_limit) {
      blkown::Word expected = seen.bits;
      if (word.compare_exchange_weak(expected,
                                     seen.with_state(Value::claimed_flag | (seen.count() + 1)).bits,
                                     std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
      seen.bits = expected;
    }
    return false;
  }
  /// Returns false if pins are left.
  [[nodiscard]] static bool end_pinned(Words& word) {
    const Value seen{word.load(std::memory_order_acquire)};
    if (seen.count() != 2) return false;
    word.store(seen.with_state(0).bits, std::memory_order_relaxed);
    return true;
  }
};

}  // namespace bench

#endif
