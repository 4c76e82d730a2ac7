// SPDX-License-Identifier: BSL-1.0
//
// What a thread is about to do to an atomic, and the ways in which it can turn out. An operation
// together with one of its outcomes is a transition: what the search chooses between.

#ifndef MODEL_TRANSITION_HPP
#define MODEL_TRANSITION_HPP

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
  await_equal,  ///< A load that takes place only once it reads `operand`.
  await_other,  ///< A load that takes place only once it reads something else than `operand`.
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
  std::uint64_t operand = 0;   ///< What is stored, added, awaited; the new value of a CAS.
  std::uint64_t expected = 0;  ///< A CAS only.
  Place place;
};

enum class OutcomeKind : std::uint8_t {
  writes,    ///< A store, a read-modify-write, a CAS that succeeds: reads and follows the newest.
  reads,     ///< A load of store number `store`.
  refused,   ///< A CAS that reads store number `store`, which is not what it expects.
  spurious,  ///< A weak CAS that reads what it expects in store number `store`, and yet fails.
};

/// A thread's announced operation with the outcome that it is given.
struct Transition {
  std::uint8_t thread = 0;
  std::uint8_t location = 0;
  OutcomeKind kind = OutcomeKind::writes;
  std::uint16_t store = 0;  ///< The number of the store that is read, in modification order.

  friend bool operator==(const Transition&, const Transition&) = default;
};

/// A choice as it was written: the location follows from the execution.
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
/// Different threads' operations on different locations can. On the same location two writes cannot
/// (modification order, and what a read-modify-write reads). A read can be swapped with a write,
/// because the transition names the store that is read: one that was readable stays so when
/// another thread adds a newer one. The read of the newer one is another transition.
[[nodiscard]] inline bool independent(const Transition& a, const Transition& b) noexcept {
  if (a.thread == b.thread) return false;
  return a.location != b.location || a.kind != OutcomeKind::writes || b.kind != OutcomeKind::writes;
}

}  // namespace model

#endif
