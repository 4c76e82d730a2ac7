// SPDX-License-Identifier: BSL-1.0
//
// An atomic operation that a thread is about to perform, and its possible outcomes. An operation
// with one of its outcomes is a transition. The search chooses between transitions.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_TRANSITION_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_TRANSITION_HPP

#include <atomic>
#include <cstdint>
#include <source_location>

namespace model {

using Place = std::source_location;

enum class OpKind : std::uint8_t {
  load,
  store,
  exchange,
  add,
  subtract,
  bit_or,
  bit_and,
  cas_weak,
  cas_strong,
  await_equal,  ///< A load that becomes possible once it reads `operand`.
  await_other,  ///< A load that becomes possible once it reads another value than `operand`.
};

[[nodiscard]] constexpr const char* to_string(OpKind kind) noexcept {
  switch (kind) {
    case OpKind::load: return "load";
    case OpKind::store: return "store";
    case OpKind::exchange: return "exchange";
    case OpKind::add: return "fetch_add";
    case OpKind::subtract: return "fetch_sub";
    case OpKind::bit_or: return "fetch_or";
    case OpKind::bit_and: return "fetch_and";
    case OpKind::cas_weak: return "cas_weak";
    case OpKind::cas_strong: return "cas_strong";
    case OpKind::await_equal: return "await ==";
    case OpKind::await_other: return "await !=";
  }
  return "?";
}

[[nodiscard]] constexpr const char* to_string(std::memory_order order) noexcept {
  switch (order) {
    case std::memory_order_relaxed: return "relaxed";
    case std::memory_order_consume: return "consume";
    case std::memory_order_acquire: return "acquire";
    case std::memory_order_release: return "release";
    case std::memory_order_acq_rel: return "acq_rel";
    case std::memory_order_seq_cst: return "seq_cst";
  }
  return "?";
}

/// An operation that a thread has announced.
struct Op {
  OpKind kind = OpKind::load;
  std::uint8_t location = 0;
  std::memory_order order = std::memory_order_relaxed;
  std::memory_order failure_order = std::memory_order_relaxed;
  std::uint64_t operand = 0;   ///< The value stored, added or awaited; the new value of a CAS.
  std::uint64_t expected = 0;  ///< For a CAS only.
  Place place;
};

enum class OutcomeKind : std::uint8_t {
  writes,    ///< A store, a read-modify-write, or a CAS that succeeds: reads the newest store.
  reads,     ///< A load of store number `store`.
  refused,   ///< A CAS that reads store number `store`, which is not the expected value.
  spurious,  ///< A weak CAS that reads the expected value in store number `store`, and fails.
};

/// An announced operation of a thread with its outcome.
struct Transition {
  std::uint8_t thread = 0;
  std::uint8_t location = 0;
  OutcomeKind kind = OutcomeKind::writes;
  std::uint16_t store = 0;  ///< The number of the store that is read, in modification order.

  friend bool operator==(const Transition&, const Transition&) = default;
};

/// A choice as text. The location follows from the execution.
struct WrittenChoice {
  std::uint8_t thread = 0;
  OutcomeKind kind = OutcomeKind::writes;
  std::uint16_t store = 0;

  [[nodiscard]] bool means(const Transition& possible) const noexcept {
    return possible.thread == thread && possible.kind == kind &&
           (kind == OutcomeKind::writes || possible.store == store);
  }
};

/// Whether two transitions that are possible in the same state can be swapped: each stays possible
/// after the other, and both orders lead to the same state.
///
/// Operations of different threads on different locations can be swapped. On the same location two
/// writes cannot: the order changes the modification order and the value that a read-modify-write
/// reads. A read and a write can, because the transition states the store that is read: a readable
/// store stays readable when another thread adds a newer one. The read of the newer store is
/// another transition.
[[nodiscard]] inline bool independent(const Transition& a, const Transition& b) noexcept {
  if (a.thread == b.thread) return false;
  return a.location != b.location || a.kind != OutcomeKind::writes || b.kind != OutcomeKind::writes;
}

}  // namespace model

#endif
