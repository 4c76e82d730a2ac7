// SPDX-License-Identifier: BSL-1.0
//
// The ownership word of a request: one atomic word and every transition that it can make. The
// values are in ref_value.hpp.
//
// Parties: the holders of handles (Idle, Owned, Claim, ARef) and, at the same time, lookups by any
// number of completions, timeouts and scans, in any context. The state in the word decides which
// parties may write.
//
// An I/O passes 0 -> 0 owned (start) -> 1 (publish or park) -> 0 owned or n claimed (claim) -> 0
// (end). Pins are counted beside that. If pins exist at the end, the word becomes n finished, and
// the drop of the last pin makes it 0.
//
// Guarantees: of any number of claims of one publication, one succeeds. An end completes exactly
// once. No lookup succeeds at "owned", "claimed", "finished", 0, or another generation. If a
// handle's holder disappears without a transition, the word keeps its state and the I/O never ends;
// the destructors of the handles therefore always make one.
//
// Rules for the memory orders:
//   1. A party that gives a request away (park, share, drop, release, end with pins) does so with a
//      release operation on this word. A party that takes a request (lookup, claim, 2 -> 0) uses
//      acquire.
//   2. A word that others may write at the same time is changed by read-modify-writes only, so that
//      release sequences continue and an acquire synchronizes with every earlier release.
//   3. Plain stores are for a word that only the caller may write. At "0 owned" no other party
//      writes, because lookups refuse `owned`. At "2 claimed" no other party writes, because
//      lookups refuse `claimed` and no reference is left to be dropped.
// An idle request passes to its next I/O through the tag bitmap, whose release and acquire order
// the relaxed accesses here.
//
// An operation that finds an unexpected value returns an error and leaves the word unchanged,
// except for an addition or subtraction that has already happened; then the caller raises a
// violation.

#ifndef BLKOWN_DETAIL_REF_WORD_HPP
#define BLKOWN_DETAIL_REF_WORD_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/tag.hpp>
#include <concepts>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The ownership word of one request, neither copied nor moved.
/// Effects: an operation that can fail stores in `seen` the value that decided (for publish_claim
/// the count may be older), so that reports and LookupErrors describe that moment.
/// Context: any, interrupts included. No operation blocks. A loop repeats only if another context
/// has changed the word, or if a weak compare-exchange failed spuriously.
// A compare-exchange uses a local W for the expected value, because GCC keeps `seen` in memory.
template <std::unsigned_integral W>
class RefWord {
 public:
  using Value = RefValue<W>;
  using Match = GenerationMatch<W>;

  RefWord() = default;
  explicit RefWord(Value first) noexcept : word_{first.bits} {}
  RefWord(const RefWord&) = delete;
  RefWord& operator=(const RefWord&) = delete;

  /// The value at this moment, for identification and reports.
  /// Synchronization: none.
  [[nodiscard]] Value peek() const noexcept {
    // No transition. Relaxed: the caller is the only writer, or only displays the value.
    return {word_.load(std::memory_order_relaxed)};
  }

  /// Whether the Claim has ended the I/O, and pins are left that delay the end.
  /// Synchronization: acquires the accesses of the I/O's owners before its end.
  [[nodiscard]] bool end_awaits_pins() const noexcept {
    // No transition. Partner: end_claim, whose release sequence the drops of pins continue.
    // Acquire: the caller may read data that the owners wrote before the end. The pins that are
    // left may still read the data.
    return Value{word_.load(std::memory_order_acquire)}.end_awaits_pins();
  }

  /// Sets the first generation of an idle word.
  /// Precondition: no other context has access to the request.
  void set_first_generation(Generation first) noexcept {
    // -> 0. Relaxed: the channel that publishes the TagSet to other contexts orders this store.
    word_.store(Value::idle_at(first).bits, std::memory_order_relaxed);
  }

  // --- Idle and Owned: no other party may write ----------------------------------------------

  /// Idle::start, 0 -> 0 owned. False if the word is not idle.
  [[nodiscard, gnu::always_inline]] bool start(Value& seen) noexcept {
    // Relaxed: the tag's allocation (acquire) has ordered this after the word's last store.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != 0) return false;
    // 0 -> 0 owned. Partner: none. Relaxed: lookups refuse both values, and no data is given away.
    word_.store(seen.with_state(Value::owned_flag).bits, std::memory_order_relaxed);
    return true;
  }

  /// Owned::into_shared, 0 owned -> 2 with the next generation. False if the word is not owned.
  [[nodiscard]] bool into_shared(Value& seen) noexcept { return publish_owned(2, seen); }

  /// An Owned parks or publishes, 0 owned -> 1 with the next generation. False if not owned.
  [[nodiscard, gnu::always_inline]] bool park_owned(Value& seen) noexcept {
    return publish_owned(1, seen);
  }

  /// Owned::end and requeue, 0 owned -> 0. False if the word is not owned.
  [[nodiscard, gnu::always_inline]] bool end_owned(Value& seen) noexcept {
    // Relaxed: the Owned's holder is the only writer and acquired the request with the handle.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != Value::owned_flag) return false;
    store_idle(seen);
    return true;
  }

  // --- Claim: the caller is the only writer of the data; pins are taken and dropped ----------

  /// Claim::pin, 0 owned -> 3 claimed, else n claimed -> n+1 claimed.
  [[nodiscard]] ClaimResult claim_pin(Value& seen) noexcept {
    // Relaxed: at 0 owned this Claim is the only writer; else the addition below reads again.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() == Value::owned_flag) {
      // 0 owned -> 3 claimed. Partner: none. Relaxed: lookups refuse both values, the pin is given
      // to its holder by this context, and the publication will be a release.
      word_.store(seen.with_state(Value::claimed_flag | 3).bits, std::memory_order_relaxed);
      return ClaimResult::done;
    }
    if (!seen.held_by_claim()) return ClaimResult::not_claimed;
    // n claimed -> n+1 claimed. Partner: drop_ref of other pins. Relaxed: the new pin derives from
    // the Claim, whose acquisition is ordered already. A read-modify-write, so that release
    // sequences continue.
    seen.bits = word_.fetch_add(1, std::memory_order_relaxed);
    return seen.count() >= Value::count_limit ? ClaimResult::overflow : ClaimResult::done;
  }

  /// Claim::publish: alone, 0 owned or 2 claimed -> 1; else n claimed -> n-1; the next generation.
  [[nodiscard]] ClaimResult publish_claim(Value& seen) noexcept {
    load_claim(seen);
    if (seen.alone()) {
      // 0 owned or 2 claimed -> 1, generation + 1. Partner: the CAS of tag_to_rq, tag_to_owned and
      // claim. Release: these lookups see the accesses of this holder and of dropped pins to the
      // data.
      word_.store(seen.next_with_state(1).bits, std::memory_order_release);
      return ClaimResult::done;
    }
    if (!seen.held_by_claim()) return ClaimResult::not_claimed;
    // n claimed -> n-1, generation + 1, claimed cleared, in one addition. Partner: the CAS of
    // lookups. Release: as above. An addition, because pins may be dropped at the same time. The
    // generation is the highest field, so its carry leaves the word. `seen` keeps the loaded value:
    // only the Claim changes the generation, so the cookie need not wait for the addition.
    constexpr W step = static_cast<W>(Value::one_generation - Value::claimed_flag - 1);
    word_.fetch_add(step, std::memory_order_release);
    return ClaimResult::done;
  }

  /// Claim::release: alone, 0 owned or 2 claimed -> 1; else n claimed -> n-1; same generation.
  [[nodiscard]] ClaimResult release_claim(Value& seen) noexcept {
    load_claim(seen);
    if (seen.alone()) {
      // 0 owned or 2 claimed -> 1. Partner: the CAS of lookups. Release: the next claimant of this
      // I/O sees this holder's writes.
      word_.store(seen.with_state(1).bits, std::memory_order_release);
      return ClaimResult::done;
    }
    if (!seen.held_by_claim()) return ClaimResult::not_claimed;
    // n claimed -> n-1. Partner: the CAS of lookups, try_from_shared, drop_or_own. Release: as
    // above. A subtraction, because pins may be dropped at the same time.
    seen.bits = word_.fetch_sub(Value::claimed_flag + 1, std::memory_order_release);
    return ClaimResult::done;
  }

  /// Claim::into_owned: 0 owned stays, 2 claimed -> 0 owned, else `pinned`.
  [[nodiscard]] ClaimResult claim_into_owned(Value& seen) noexcept {
    load_claim(seen);
    if (!seen.alone()) return seen.held_by_claim() ? ClaimResult::pinned : ClaimResult::not_claimed;
    if (!seen.owned()) {
      // 2 claimed -> 0 owned. Partner: none. Relaxed: lookups refuse both values, no pin is left,
      // and no data is given away.
      word_.store(seen.with_state(Value::owned_flag).bits, std::memory_order_relaxed);
    }
    return ClaimResult::done;
  }

  /// Claim::end and requeue: alone, -> 0 (`completed`); else n claimed -> n-1 finished (`pinned`),
  /// and the drop of the last pin completes the end. If that pin is dropped during this call, this
  /// call completes the end (`completed`).
  [[nodiscard, gnu::always_inline]] ClaimResult end_claim(Value& seen) noexcept {
    load_claim(seen);
    if (seen.alone()) {
      make_idle(seen);
      return ClaimResult::completed;
    }
    if (!seen.held_by_claim()) return ClaimResult::not_claimed;
    // n claimed -> n-1 finished. Partner: drop_ref or drop_or_own of the last pin. Release: the
    // party that completes the end sees the status and the data. A subtraction, because pins may be
    // dropped at the same time.
    constexpr W step = static_cast<W>(Value::finished_flag - Value::claimed_flag - 1);
    seen.bits = word_.fetch_add(step, std::memory_order_release);
    if (seen.count() != 2) return ClaimResult::pinned;
    complete_end();
    return ClaimResult::completed;
  }

  // --- ARef: the caller holds one reference --------------------------------------------------

  /// Clone of an ARef, n -> n+1 for n >= 2.
  [[nodiscard]] RefResult add_ref(Value& seen) noexcept {
    // n -> n+1. Partner: drop_ref. Relaxed: the new reference derives from one whose acquisition is
    // ordered already. A read-modify-write, so that release sequences continue.
    seen.bits = word_.fetch_add(1, std::memory_order_relaxed);
    if (seen.count() < 2) return RefResult::no_reference;
    return seen.count() >= Value::count_limit ? RefResult::overflow : RefResult::done;
  }

  /// Drop of an ARef, n -> n-1: 2 -> 1 parks, 2 finished -> 1 finished -> 0 completes the end.
  [[nodiscard]] RefResult drop_ref(Value& seen) noexcept {
    // n -> n-1. Partners: the CAS of try_from_shared, drop_or_own and lookups, and load_claim of a
    // Claim that is alone. Release: this holder's accesses under the pin come before the partners'
    // accesses.
    seen.bits = word_.fetch_sub(1, std::memory_order_release);
    if (seen.count() > 2) return RefResult::done;
    if (seen.count() < 2 || seen.claimed()) return RefResult::no_reference;
    if (!seen.finished()) return RefResult::done;
    complete_end();
    return RefResult::completed;
  }

  /// Owned::try_from_shared, 2 -> 0 owned (`alone`), else `refused` and the caller keeps its
  /// reference. All of several concurrent callers may be refused.
  [[nodiscard]] RefResult try_from_shared(Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    seen.bits = bits;
    if (seen.state() != 2) [[unlikely]]
      return seen.count() < 2 ? RefResult::no_reference : RefResult::refused;
    // 2 -> 0 owned. Partner: drop_ref of the others, park and publish before them. Acquire: their
    // reads and writes come before the new owner's. Relaxed on failure: the caller gets nothing.
    // Strong: a spurious failure would refuse the only holder.
    const bool won =
        word_.compare_exchange_strong(bits, seen.with_state(Value::owned_flag).bits,
                                      std::memory_order_acquire, std::memory_order_relaxed);
    seen.bits = bits;
    return won ? RefResult::alone : RefResult::refused;
  }

  /// drop_or_own: 2 -> 0 owned (`alone`); 2 finished -> 0 (`completed`); else n -> n-1 (`done`).
  /// If all holders drop their references by this function, exactly one gets `alone` or
  /// `completed`.
  [[nodiscard]] RefResult drop_or_own(Value& seen) noexcept {
    // Relaxed: every path from here is a CAS with an order of its own.
    seen.bits = word_.load(std::memory_order_relaxed);
    while (true) {
      if (seen.count() < 2) return RefResult::no_reference;
      if (seen.count() > 2) {
        // n -> n-1. Partner: the acquire of the holder that becomes alone. Release: this holder's
        // accesses come before that. Relaxed on failure: the loop decides again.
        if (word_.compare_exchange_weak(seen.bits, static_cast<W>(seen.bits - 1),
                                        std::memory_order_release, std::memory_order_relaxed)) {
          return RefResult::done;
        }
      } else if (seen.finished()) {
        // 2 finished -> 1 finished. Partners: end_claim, drop_ref of the others. Acquire: this
        // caller completes the end and reads status and data. Relaxed on failure: as above.
        const Value last = seen.with_state(Value::finished_flag | 1);
        if (word_.compare_exchange_weak(seen.bits, last.bits, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
          make_idle(last);
          return RefResult::completed;
        }
      } else {
        // 2 -> 0 owned. Partner: drop_ref and drop_or_own of the others. Acquire: their accesses
        // come before the owner's. Relaxed on failure: as above.
        if (word_.compare_exchange_weak(seen.bits, seen.with_state(Value::owned_flag).bits,
                                        std::memory_order_acquire, std::memory_order_relaxed)) {
          return RefResult::alone;
        }
      }
    }
  }

  /// try_claim(ARef&&): n -> n claimed, the reference becomes the Claim.
  [[nodiscard]] LookupReason claim_with_ref(Match match, Value& seen) noexcept {
    return claim_counted(match, 0, seen);
  }

  /// claim(const ARef&): n -> n+1 claimed, the reference stays.
  [[nodiscard]] LookupReason claim_beside_ref(Match match, Value& seen) noexcept {
    return claim_counted(match, 1, seen);
  }

  // --- Lookups: the caller has no handle -----------------------------------------------------

  /// n -> n+1 for n >= 1. `none`: the caller has a reference. Never writes at count 0.
  [[nodiscard]] LookupReason tag_to_rq(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      // n -> n+1. Partners: park, into_shared, publish, release. Acquire: the caller sees the
      // published data; with relaxed, this caller's 1 -> 2 -> 0 owned would race with the
      // publisher's writes. Relaxed on failure: the loop decides again. The generation is part of
      // the compared value, so it cannot change between the test and the increment.
      if (word_.compare_exchange_weak(bits, static_cast<W>(bits + 1), std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// n finished -> n+1 finished for n >= 2. True: the caller has a reference to an I/O that has
  /// ended, and whose end awaits the drop of it. Never writes at 1 finished.
  [[nodiscard]] bool pin_ended(Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      if (!seen.end_awaits_pins() || seen.count() >= Value::count_limit) return false;
      // n finished -> n+1 finished. Partner: end_claim, whose release sequence the drops of pins
      // continue. Acquire: the caller sees what the owners wrote before the end. Relaxed on
      // failure: the loop decides again. The party that completes the end does so at 1 finished,
      // which this operation never changes, and with the acquire of complete_end after the drop of
      // this reference.
      if (word_.compare_exchange_weak(bits, static_cast<W>(bits + 1), std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  /// 1 -> 0 owned. `none`: the caller has the unique handle.
  [[nodiscard]] LookupReason tag_to_owned(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      if (seen.count() != 1) return LookupReason::shared;
      // 1 -> 0 owned. Partners: park, publish, release, drop_ref of the last pin. Acquire: the
      // caller writes the data after all partners. Relaxed on failure: the loop decides again.
      if (word_.compare_exchange_weak(bits, seen.with_state(Value::owned_flag).bits,
                                      std::memory_order_acquire, std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// 1 -> 0 owned, n >= 2 -> n+1 claimed. `none`: the caller has the Claim.
  [[nodiscard]] LookupReason claim(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    seen.bits = word_.load(std::memory_order_relaxed);
    while (true) {
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      if (try_take_right(seen)) return LookupReason::none;
    }
  }

  /// After a refused publish: `claim` of exactly this generation, at any count, because the single
  /// publisher of a generation may exceed the limit by its own reference. False if another party
  /// has claimed the I/O.
  [[nodiscard]] bool take_back(Generation published, Value& seen) noexcept {
    const Match match = Match::exactly(published);
    // Relaxed: decides whether to try; the CAS acquires.
    seen.bits = word_.load(std::memory_order_relaxed);
    while (true) {
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none && reason != LookupReason::saturated) return false;
      if (try_take_right(seen)) return true;
    }
  }

 private:
  void load_claim(Value& seen) noexcept {
    // No transition: reads whether pins are left. Partner: drop_ref. Acquire: if none is left, the
    // pins' reads come before the Claim's next accesses, and a plain store is safe.
    seen.bits = word_.load(std::memory_order_acquire);
  }

  /// The last step of an end.
  /// Precondition: the caller is the only writer of the word.
  void make_idle(Value seen) noexcept { store_idle(seen); }
  /// make_idle() where a driver ends at once: a part of its submit.
  [[gnu::always_inline]] void store_idle(Value seen) noexcept {
    // -> 0, flags clear, same generation. Partner: start(), through the tag bitmap, whose release
    // publishes this store. Relaxed: lookups refuse both values, and no data is given away here.
    word_.store(seen.with_state(0).bits, std::memory_order_relaxed);
  }

  /// Completes the end.
  /// Precondition: the caller's own operation brought the word to 1 finished.
  void complete_end() noexcept {
    // No transition. Partners: drop_ref of the other pins and end_claim, whose release sequences
    // include this caller's own operation. Acquire: the writes of the data and the status, and the
    // pins' reads, come before the request's reuse. A separate load, so that a drop that is not the
    // last needs release only.
    make_idle({word_.load(std::memory_order_acquire)});
  }

  /// One attempt of a lookup to become the Claim. On failure `seen` is the value found.
  [[nodiscard]] bool try_take_right(Value& seen) noexcept {
    // A lookup that is not refused has seen no flag: the state is the count.
    W state = Value::owned_flag;
    if (seen.state() != 1) [[unlikely]]
      state = static_cast<W>(Value::claimed_flag | (seen.state() + 1));
    // 1 -> 0 owned, or n -> n+1 claimed. Partners: park, publish, release, into_shared, drop_ref.
    // Acquire: the claimant writes the data after all of them. Relaxed on failure: the caller's
    // loop decides again.
    W bits = seen.bits;
    const bool won = word_.compare_exchange_weak(
        bits, seen.with_state(state).bits, std::memory_order_acquire, std::memory_order_relaxed);
    seen.bits = bits;
    return won;
  }

  /// The claim by a holder of a reference: n -> n + added, claimed.
  [[nodiscard]] LookupReason claim_counted(Match match, W added, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      const LookupReason reason = lookup_refusal(seen, match);
      const bool at_limit = reason == LookupReason::saturated && added == 0;
      if (reason != LookupReason::none && !at_limit) return reason;
      const W state = static_cast<W>(Value::claimed_flag | (seen.count() + added));
      // n -> n + added, claimed. Partners: park, publish, release, into_shared. Acquire: the
      // claimant writes the data after all of them, and the publication may be newer than the
      // caller's reference. Relaxed on failure: the loop decides again.
      if (word_.compare_exchange_weak(bits, seen.with_state(state).bits, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// 0 owned -> count, generation + 1.
  [[nodiscard, gnu::always_inline]] bool publish_owned(W count, Value& seen) noexcept {
    // Relaxed: the Owned's holder is the only writer and acquired the request with the handle.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != Value::owned_flag) return false;
    // 0 owned -> 1 or 2, generation + 1. Partner: the CAS of lookups. Release: a lookup sees the
    // owner's writes to the data. A plain store, because at 0 owned no other party writes.
    word_.store(seen.next_with_state(count).bits, std::memory_order_release);
    return true;
  }

  Atomic<W> word_{0};

  static_assert(Atomic<W>::is_always_lock_free, "the ownership word must be lock-free");
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
