// SPDX-License-Identifier: BSL-1.0
//
// The atomics of an execution: every store of each location in modification order, the stores that
// a thread may read, and the knowledge that it gains by reading (C++20, without seq_cst and
// fences).
//
// Modification order is the order in which the search executes the writes. A read-modify-write
// reads the newest store. ../README.md states what this leaves out.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_MEMORY_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_MEMORY_HPP

#include <vector>

#include "knowledge.hpp"
#include "transition.hpp"

namespace model {

struct Store {
  std::uint64_t value = 0;
  std::uint8_t thread = 0;
  std::uint16_t tick = 0;
  /// The knowledge that an acquire of this store gains: the knowledge at the head of each release
  /// sequence that contains the store. Empty if no release sequence does.
  Knowledge released;
};

/// Prints the value of a location.
using Format = void (*)(std::uint64_t value, char* text, std::size_t text_bytes);

struct Location {
  const char* name = nullptr;
  Format format = nullptr;
  std::uint64_t value_mask = 0;
  std::vector<Store> stores;

  [[nodiscard]] std::uint16_t newest() const noexcept {
    return static_cast<std::uint16_t>(stores.size() - 1);
  }
};

/// The result of an operation for its thread, and its effect on the location.
struct Result {
  std::uint64_t seen = 0;
  std::uint64_t written = 0;  ///< Valid only if the operation wrote.
  bool wrote = false;
  bool over_unordered = false;  ///< A plain store, not ordered after the write it follows.
};

class Memory {
 public:
  void clear() noexcept {
    location_count_ = 0;
    knowledge_ = {};
  }

  /// Adds an atomic, made by thread 0.
  /// Precondition: there are fewer than max_locations.
  [[nodiscard]] std::uint8_t add_location(std::uint64_t value, std::uint64_t value_mask) {
    if (location_count_ == locations_.size()) locations_.emplace_back();
    Location& made = locations_[location_count_];
    made.name = nullptr;
    made.format = nullptr;
    made.value_mask = value_mask;
    made.stores.clear();
    made.stores.push_back({value, 0, knowledge_[0].ticks[0], {}});
    return static_cast<std::uint8_t>(location_count_++);
  }
  [[nodiscard]] std::size_t location_count() const noexcept { return location_count_; }
  [[nodiscard]] Location& location(unsigned index) noexcept { return locations_[index]; }

  [[nodiscard]] const Knowledge& knowledge(unsigned thread) const noexcept {
    return knowledge_[thread];
  }
  /// `child` begins after everything that `parent` has done. For a join the two are swapped.
  void order_after(unsigned child, unsigned parent) noexcept {
    knowledge_[child].add(knowledge_[parent]);
    tick(child);
  }

  /// Calls `give(Transition)` for each possible outcome of the operation, the newest store first;
  /// not at all for an await that no readable store satisfies.
  template <class Give>
  void outcomes(unsigned thread, const Op& op, bool may_fail_spuriously, Give give) const {
    const Location& at = locations_[op.location];
    const auto make = [&](OutcomeKind kind, unsigned store) {
      give(Transition{static_cast<std::uint8_t>(thread), op.location, kind,
                      static_cast<std::uint16_t>(store)});
    };
    const unsigned oldest = knowledge_[thread].seen[op.location];
    const bool is_cas = op.kind == OpKind::cas_weak || op.kind == OpKind::cas_strong;
    const bool only_reads =
        op.kind == OpKind::load || op.kind == OpKind::await_equal || op.kind == OpKind::await_other;
    if (!only_reads && (!is_cas || at.stores.back().value == op.expected)) {
      make(OutcomeKind::writes, at.newest());
    }
    if (!only_reads && !is_cas) return;
    for (unsigned store = at.newest() + 1U; store-- > oldest;) {
      const std::uint64_t value = at.stores[store].value;
      if (is_cas) {
        if (value != op.expected) {
          make(OutcomeKind::refused, store);
        } else if (op.kind == OpKind::cas_weak && may_fail_spuriously) {
          make(OutcomeKind::spurious, store);
        }
      } else if (op.kind == OpKind::load ||
                 (value == op.operand) == (op.kind == OpKind::await_equal)) {
        make(OutcomeKind::reads, store);
      }
    }
  }

  /// Performs one of the outcomes.
  Result apply(unsigned thread, const Op& op, const Transition& chosen) {
    Location& at = locations_[op.location];
    Knowledge& knows = knowledge_[thread];
    const bool writes = chosen.kind == OutcomeKind::writes;
    const bool failed_cas =
        chosen.kind == OutcomeKind::refused || chosen.kind == OutcomeKind::spurious;
    const std::memory_order order = failed_cas ? op.failure_order : op.order;
    const Store& read = at.stores[chosen.store];
    Result result;
    result.seen = read.value;
    if (op.kind != OpKind::store) {
      if (acquires(order)) knows.add(read.released);
      raise(knows.seen[op.location], chosen.store);
    }
    if (writes) {
      result.wrote = true;
      result.written = written(op, read.value) & at.value_mask;
      result.over_unordered = op.kind == OpKind::store && !knows.has(read.thread, read.tick);
      Store made{result.written, static_cast<std::uint8_t>(thread), knows.ticks[thread], {}};
      // Only read-modify-writes, of any thread, continue a release sequence.
      if (op.kind != OpKind::store) made.released = read.released;
      knows.seen[op.location] = static_cast<std::uint16_t>(at.stores.size());
      if (releases(order)) made.released.add(knows);
      at.stores.push_back(made);
    }
    tick(thread);
    return result;
  }

 private:
  [[nodiscard]] static bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel;
  }
  [[nodiscard]] static bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel;
  }
  static void raise(std::uint16_t& value, std::uint16_t least) noexcept {
    if (value < least) value = least;
  }
  /// Advances the thread's clock, so that other threads do not know the thread's later steps.
  void tick(unsigned thread) noexcept { ++knowledge_[thread].ticks[thread]; }

  [[nodiscard]] static std::uint64_t written(const Op& op, std::uint64_t before) noexcept {
    switch (op.kind) {
      case OpKind::add: return before + op.operand;
      case OpKind::subtract: return before - op.operand;
      case OpKind::bit_or: return before | op.operand;
      case OpKind::bit_and: return before & op.operand;
      default: return op.operand;
    }
  }

  std::vector<Location> locations_;
  std::size_t location_count_ = 0;
  std::array<Knowledge, max_threads> knowledge_{};
};

}  // namespace model

#endif
