// SPDX-License-Identifier: BSL-1.0
//
// The alternative to one word: the in-flight state with its generation, the reference count and the
// count of mappings, each in an atomic of its own.
//
// A lookup increments the reference count first and then reads the state. A context that takes the
// right changes the state first and then reads the counts. One of the two therefore sees the other,
// but only with sequentially consistent operations, where one word needs acquire and release. A
// lookup that comes too late takes its reference back at any moment, even in the next life of the
// request. The reference count may therefore only be changed by read-modify-writes.

#ifndef BLKOWN_BENCH_BASELINES_THREE_FIELDS_HPP
#define BLKOWN_BENCH_BASELINES_THREE_FIELDS_HPP

#include <baselines/hand_written.hpp>

namespace bench {

/// `idle_references` is the count while one holder, or none, has the request. With 0 an I/O without
/// references is cheap, and sharing costs two more read-modify-writes. With 1, the holder's own
/// reference, sharing is cheap, and an I/O without references costs more. No form is cheap in both.
template <std::uint32_t idle_references>
struct ThreeFields {
  struct Words {
    blkown::Atomic<blkown::Word> state{0};  // generation | 1 in flight, 0 not
    blkown::Atomic<std::uint32_t> references{idle_references};
    blkown::Atomic<std::uint32_t> mappings{0};
  };

  [[nodiscard]] static Value look(const Words& words) {
    return {words.state.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] static blkown::Generation next_generation(const Words& words) {
    return look(words).next_generation();
  }

  static void start(Words&) {}
  static void end(Words&) {}

  // --- simple ---

  static void publish(Words& words) {
    if constexpr (idle_references == 1) drop(words);
    set_in_flight(words);
  }
  /// Returns whether the caller is now alone with the I/O.
  [[nodiscard]] static bool claim(Words& words, Match match) {
    Value seen = look(words);
    if (!match.accepts(seen) || !take_state(words, seen)) return false;
    if (alone(words, 0)) {
      if constexpr (idle_references == 1) words.references.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    give_state_back(words, seen);
    return false;
  }

  // --- seed ---

  static void into_shared(Words& words) {
    if constexpr (idle_references == 0) words.references.fetch_add(1, std::memory_order_relaxed);
    set_in_flight(words);
  }
  static void map(Words& words) { words.mappings.fetch_add(1, std::memory_order_relaxed); }
  static void unmap(Words& words) { words.mappings.fetch_sub(1, std::memory_order_release); }
  static void drop(Words& words) { words.references.fetch_sub(1, std::memory_order_release); }
  [[nodiscard]] static bool tag_to_rq(Words& words, Match match) {
    words.references.fetch_add(1, std::memory_order_seq_cst);
    const Value seen{words.state.load(std::memory_order_seq_cst)};
    if (match.accepts(seen) && seen.state() == 1) return true;
    drop(words);
    return false;
  }
  /// Turns the caller's reference into the right to the request, if it is the only one.
  [[nodiscard]] static bool try_from_shared(Words& words) {
    Value seen = look(words);
    if (!take_state(words, seen)) return false;
    if (alone(words, 1)) {
      if constexpr (idle_references == 0) words.references.fetch_sub(1, std::memory_order_relaxed);
      return true;
    }
    give_state_back(words, seen);
    return false;
  }

 private:
  static void set_in_flight(Words& words) {
    words.state.store(look(words).next_with_state(1).bits, std::memory_order_release);
  }
  [[nodiscard]] static bool take_state(Words& words, Value& seen) {
    if (seen.state() != 1) return false;
    Value expected = seen;
    return words.state.compare_exchange_strong(expected.bits, seen.with_state(0).bits,
                                               std::memory_order_seq_cst,
                                               std::memory_order_relaxed);
  }
  static void give_state_back(Words& words, Value seen) {
    words.state.store(seen.bits, std::memory_order_release);
  }
  [[nodiscard]] static bool alone(const Words& words, std::uint32_t references) {
    return words.references.load(std::memory_order_seq_cst) == references &&
           words.mappings.load(std::memory_order_acquire) == 0;
  }
};

}  // namespace bench

#endif
