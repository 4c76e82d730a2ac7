// SPDX-License-Identifier: BSL-1.0
//
// The ownership word of a request, and every transition it can make; its values: ref_value.hpp.
//
// The three rules behind the memory orders:
//   1. Whoever lets go of a request (park, share, drop, release, end with pins) does it with a
//      release operation on this word; whoever takes it (lookup, claim, 2 -> 0) with an acquire
//      one.
//   2. All operations on a word that others may write at the same time are read-modify-writes, so
//      that a release sequence runs through them and an acquire sees every earlier release.
//   3. Plain stores are for a word that only the caller may write: at "0 owned" nobody else writes,
//      because lookups refuse `owned`; at "2 claimed" nobody else writes, because lookups refuse
//      `claimed` and no reference is left to be dropped.
// Idle words travel through the tag bitmap, whose release and acquire order what is relaxed here.
//
// Nothing here reports or checks handles: an operation that meets a word it does not expect leaves
// it alone (an addition or subtraction has happened, and the caller never goes on) and answers so.

#ifndef BLKOWN_DETAIL_REF_WORD_HPP
#define BLKOWN_DETAIL_REF_WORD_HPP

#include <blkown/config.hpp>
#include <blkown/detail/ref_value.hpp>
#include <concepts>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The one atomic word of a request. Not copyable, never moved; the address is its identity.
///
/// Every operation that can refuse stores in `seen` the value it decided on (publish_claim's count
/// may be older), so that reports and LookupErrors speak of that very moment. No operation blocks;
/// those that loop do so only when another context has changed the word in between (or a weak CAS
/// failed spuriously). Safe in interrupts. A CAS expects a local W: GCC keeps `seen` in memory.
template <std::unsigned_integral W>
class RefWord {
 public:
  using Value = RefValue<W>;
  using Match = GenerationMatch<W>;

  RefWord() = default;
  explicit RefWord(Value first) noexcept : word_{first.bits} {}
  RefWord(const RefWord&) = delete;
  RefWord& operator=(const RefWord&) = delete;

  /// The value of this moment, for identification and reports; it orders nothing.
  [[nodiscard]] Value peek() const noexcept {
    // No transition. Relaxed: the caller either has the request to itself, or only displays this.
    return {word_.load(std::memory_order_relaxed)};
  }

  /// Whether an end, which has been made, waits for one reference alone. Acquire, unlike peek: for
  /// a bystander, who may then look at what the I/O's owners did.
  [[nodiscard]] bool end_awaits_last_pin() const noexcept {
    // No transition. Partners: end_claim, drop_ref. Acquire: what was done before the end.
    return Value{word_.load(std::memory_order_acquire)}.end_awaits_last_pin();
  }

  /// Gives an idle word its first generation, while nobody else knows the request.
  void set_first_generation(Generation first) noexcept {
    // -> 0. Relaxed: whoever publishes the request's existence orders this.
    word_.store(Value::idle_at(first).bits, std::memory_order_relaxed);
  }

  // --- Idle and Owned: the caller is the only one who may write ------------------------------

  /// Idle::start, 0 -> 0 owned. False if the word is not idle.
  [[nodiscard]] bool start(Value& seen) noexcept {
    // Relaxed: the tag's allocation (acquire) has ordered this after the word's last store.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != 0) return false;
    // 0 -> 0 owned. Partner: none; lookups refuse both values, and no data is handed to anyone.
    word_.store(seen.with_state(Value::owned_flag).bits, std::memory_order_relaxed);
    return true;
  }

  /// Owned::into_shared, 0 owned -> 2 with the next generation. False if the word is not owned.
  [[nodiscard]] bool into_shared(Value& seen) noexcept { return publish_owned(2, seen); }

  /// An Owned parks or publishes, 0 owned -> 1 with the next generation. False if not owned.
  [[nodiscard]] bool park_owned(Value& seen) noexcept { return publish_owned(1, seen); }

  /// Owned::end and requeue, 0 owned -> 0. False if the word is not owned.
  [[nodiscard]] bool end_owned(Value& seen) noexcept {
    // Relaxed: the Owned's holder is the only writer and has acquired when it got it.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != Value::owned_flag) return false;
    make_idle(seen);
    return true;
  }

  // --- Claim: the caller is the only writer of the data, pins may come and go ----------------

  /// Claim::pin, 0 owned -> 3 claimed, else n claimed -> n+1 claimed.
  [[nodiscard]] ClaimResult claim_pin(Value& seen) noexcept {
    // Relaxed: whether pins exist was decided by this Claim or is decided again by the addition.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() == Value::owned_flag) {
      // 0 owned -> 3 claimed. Partner: none; lookups refuse both values. Relaxed: the pin's holder
      // gets it from this context, and whatever is handed over later is released then.
      word_.store(seen.with_state(Value::claimed_flag | 3).bits, std::memory_order_relaxed);
      return ClaimResult::done;
    }
    if (!seen.held_by_claim()) return ClaimResult::not_claimed;
    // n claimed -> n+1 claimed. Partner: drop_ref of other pins. Relaxed: the new pin is made out
    // of the right to the request, which is ordered already; RMW, so release sequences go on.
    seen.bits = word_.fetch_add(1, std::memory_order_relaxed);
    return seen.count() >= Value::count_limit ? ClaimResult::overflow : ClaimResult::done;
  }

  /// Claim::publish: alone, 0 owned or 2 claimed -> 1; else n claimed -> n-1; the next generation.
  [[nodiscard]] ClaimResult publish_claim(Value& seen) noexcept {
    if (!load_claim(seen)) return ClaimResult::not_claimed;
    if (seen.alone()) {
      // 0 owned or 2 claimed -> 1, generation + 1. Partner: the CAS of tag_to_rq, tag_to_owned and
      // claim. Release: they see all that this holder, and the pins before it, did to the data.
      word_.store(seen.next_with_state(1).bits, std::memory_order_release);
      return ClaimResult::done;
    }
    // n claimed -> n-1, generation + 1, claimed cleared, in one addition. Partner: the CAS of
    // lookups. Release: as above. An addition, because pins may be dropped at the same time; the
    // generation is the highest field, so its carry leaves the word. `seen` stays as loaded: only
    // the Claim moves the generation, and a cookie need not wait for the addition.
    constexpr W step = static_cast<W>(Value::one_generation - Value::claimed_flag - 1);
    word_.fetch_add(step, std::memory_order_release);
    return ClaimResult::done;
  }

  /// Claim::release: alone, 0 owned or 2 claimed -> 1; else n claimed -> n-1; same generation.
  [[nodiscard]] ClaimResult release_claim(Value& seen) noexcept {
    if (!load_claim(seen)) return ClaimResult::not_claimed;
    if (seen.alone()) {
      // 0 owned or 2 claimed -> 1. Partner: the CAS of lookups. Release: the next claimant of this
      // I/O sees what this one did.
      word_.store(seen.with_state(1).bits, std::memory_order_release);
      return ClaimResult::done;
    }
    // n claimed -> n-1. Partner: the CAS of lookups, try_from_shared, drop_or_own. Release: as
    // above. A subtraction, because pins may be dropped at the same time.
    seen.bits = word_.fetch_sub(Value::claimed_flag + 1, std::memory_order_release);
    return ClaimResult::done;
  }

  /// Claim::into_owned: 0 owned stays, 2 claimed -> 0 owned, else `pinned`.
  [[nodiscard]] ClaimResult claim_into_owned(Value& seen) noexcept {
    if (!load_claim(seen)) return ClaimResult::not_claimed;
    if (!seen.alone()) return ClaimResult::pinned;
    if (!seen.owned()) {
      // 2 claimed -> 0 owned. Partner: none, lookups refuse both values and no pin is left.
      // Relaxed: nothing is handed to anyone.
      word_.store(seen.with_state(Value::owned_flag).bits, std::memory_order_relaxed);
    }
    return ClaimResult::done;
  }

  /// Claim::end and requeue: alone, -> 0 (`completed`); else n claimed -> n-1 finished (`pinned`),
  /// and whoever drops the last pin completes, this caller included if that happened meanwhile.
  [[nodiscard]] ClaimResult end_claim(Value& seen) noexcept {
    if (!load_claim(seen)) return ClaimResult::not_claimed;
    if (seen.alone()) {
      make_idle(seen);
      return ClaimResult::completed;
    }
    // n claimed -> n-1 finished. Partner: drop_ref or drop_or_own of the last pin. Release: the
    // one who completes sees the status and the data. A subtraction, as pins may be dropped.
    constexpr W step = static_cast<W>(Value::finished_flag - Value::claimed_flag - 1);
    seen.bits = word_.fetch_add(step, std::memory_order_release);
    if (seen.count() != 2) return ClaimResult::pinned;
    complete_end();
    return ClaimResult::completed;
  }

  // --- ARef: the caller holds one reference --------------------------------------------------

  /// Clone of an ARef, n -> n+1 for n >= 2.
  [[nodiscard]] RefResult add_ref(Value& seen) noexcept {
    // n -> n+1. Partner: drop_ref. Relaxed: a reference is made out of a reference, which already
    // orders everything; RMW, so that release sequences go on.
    seen.bits = word_.fetch_add(1, std::memory_order_relaxed);
    if (seen.count() < 2) return RefResult::no_reference;
    return seen.count() >= Value::count_limit ? RefResult::overflow : RefResult::done;
  }

  /// Drop of an ARef, n -> n-1: 2 -> 1 parks, 2 finished -> 1 finished -> 0 completes the end.
  [[nodiscard]] RefResult drop_ref(Value& seen) noexcept {
    // n -> n-1. Partners: the CAS of try_from_shared, drop_or_own and lookups, the acquire load of
    // a Claim that finds itself alone. Release: they come after all this holder did under the pin.
    seen.bits = word_.fetch_sub(1, std::memory_order_release);
    if (seen.count() > 2) return RefResult::done;
    if (seen.count() < 2 || seen.claimed()) return RefResult::no_reference;
    if (!seen.finished()) return RefResult::done;
    complete_end();
    return RefResult::completed;
  }

  /// Owned::try_from_shared, 2 -> 0 owned (`alone`), else `refused` and the reference stays.
  /// Racing callers may all be refused.
  [[nodiscard]] RefResult try_from_shared(Value& seen) noexcept {
    // Relaxed: only decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    seen.bits = bits;
    if (seen.count() < 2) return RefResult::no_reference;
    // `claimed` needs no test: at 2 claimed no reference exists.
    if (seen.count() != 2 || seen.finished()) return RefResult::refused;
    // 2 -> 0 owned. Partner: drop_ref of the others, park and publish before them. Acquire: their
    // reads and writes come before the new owner's. Relaxed on failure: nothing is gained. Strong:
    // a spurious failure would refuse a caller who is alone.
    const bool won =
        word_.compare_exchange_strong(bits, seen.with_state(Value::owned_flag).bits,
                                      std::memory_order_acquire, std::memory_order_relaxed);
    seen.bits = bits;
    return won ? RefResult::alone : RefResult::refused;
  }

  /// drop_or_own: 2 -> 0 owned (`alone`); 2 finished -> 0 (`completed`); else n -> n-1 (`done`).
  /// Of holders who all let go through this, exactly one becomes `alone` or `completed`.
  [[nodiscard]] RefResult drop_or_own(Value& seen) noexcept {
    // Relaxed: every path on from here is a CAS with an order of its own.
    seen.bits = word_.load(std::memory_order_relaxed);
    while (true) {
      if (seen.count() < 2) return RefResult::no_reference;
      if (seen.count() > 2) {
        // n -> n-1. Partner: the acquire of whoever becomes alone. Release: it comes after all
        // that this holder did. Relaxed on failure: the loop decides again.
        if (word_.compare_exchange_weak(seen.bits, static_cast<W>(seen.bits - 1),
                                        std::memory_order_release, std::memory_order_relaxed)) {
          return RefResult::done;
        }
      } else if (seen.finished()) {
        // 2 finished -> 1 finished. Partners: end_claim, drop_ref of the others. Acquire: this
        // caller completes the end and needs status and data. Relaxed on failure: as above.
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

  // --- Lookups: the caller holds nothing -----------------------------------------------------

  /// n -> n+1 for n >= 1. `none` gives the caller a reference. Never writes at count 0.
  [[nodiscard]] LookupReason tag_to_rq(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      // n -> n+1. Partners: park, into_shared, publish, release. Acquire: the caller sees the data
      // as published. With relaxed, 1 -> 2 -> 0 owned by this caller would race with the
      // publisher's writes. Relaxed on failure: the loop decides again. The generation is part of
      // the compared value, so it cannot change between the test and the increment.
      if (word_.compare_exchange_weak(bits, static_cast<W>(bits + 1), std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// 1 -> 0 owned. `none` gives the caller the request for itself.
  [[nodiscard]] LookupReason tag_to_owned(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    W bits = word_.load(std::memory_order_relaxed);
    while (true) {
      seen.bits = bits;
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      if (seen.count() != 1) return LookupReason::shared;
      // 1 -> 0 owned. Partners: park, publish, release, drop_ref of the last pin. Acquire: the
      // caller writes the data after all of them. Relaxed on failure: the loop decides again.
      if (word_.compare_exchange_weak(bits, seen.with_state(Value::owned_flag).bits,
                                      std::memory_order_acquire, std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// 1 -> 0 owned, n >= 2 -> n+1 claimed. `none` gives the caller the Claim.
  [[nodiscard]] LookupReason claim(Match match, Value& seen) noexcept {
    // Relaxed: decides whether to try; the CAS acquires.
    seen.bits = word_.load(std::memory_order_relaxed);
    while (true) {
      const LookupReason reason = lookup_refusal(seen, match);
      if (reason != LookupReason::none) return reason;
      if (try_take_right(seen)) return LookupReason::none;
    }
  }

  /// After a refused publish: as `claim` for exactly this generation, at any count, because the
  /// one publisher of a generation may exceed the limit by its own reference. False if another
  /// has taken the right meanwhile.
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
  [[nodiscard]] bool load_claim(Value& seen) noexcept {
    // No transition: a Claim looks whether pins are left. Partner: drop_ref. Acquire: where none
    // is, the pins' reads come before whatever the Claim does next, and its plain store is safe.
    seen.bits = word_.load(std::memory_order_acquire);
    return seen.held_by_claim();
  }

  /// The last step of an end by a caller who has the request to itself.
  void make_idle(Value seen) noexcept {
    // -> 0, flags clear, same generation. Partner: start(), through the tag bitmap, whose release
    // publishes this store. Relaxed: lookups refuse both values, and no data is handed over here.
    word_.store(seen.with_state(0).bits, std::memory_order_relaxed);
  }

  /// The caller has brought the word to 1 finished by an addition or a subtraction: it completes.
  void complete_end() noexcept {
    // No transition. Partners: drop_ref of the other pins and end_claim, whose releases lead up to
    // this caller's own operation in one release sequence. Acquire: the data, the status and the
    // pins' reads come before the block layer's reuse. A load of its own, so that all the drops
    // that are not the last pay for release only.
    make_idle({word_.load(std::memory_order_acquire)});
  }

  /// One try of a lookup to become the Claim; on failure `seen` is the value found.
  [[nodiscard]] bool try_take_right(Value& seen) noexcept {
    const W state = seen.count() == 1 ? Value::owned_flag
                                      : static_cast<W>(Value::claimed_flag | (seen.count() + 1));
    // 1 -> 0 owned, or n -> n+1 claimed. Partners: park, publish, release, into_shared, drop_ref.
    // Acquire: the claimant writes the data after all of them. Relaxed on failure: the caller's
    // loop decides again.
    W bits = seen.bits;
    const bool won = word_.compare_exchange_weak(
        bits, seen.with_state(state).bits, std::memory_order_acquire, std::memory_order_relaxed);
    seen.bits = bits;
    return won;
  }

  /// The claim of a caller who holds a reference: n -> n + added, claimed.
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
      // claimant writes the data after all of them, and the generation may be newer than the
      // caller's reference. Relaxed on failure: the loop decides again.
      if (word_.compare_exchange_weak(bits, seen.with_state(state).bits, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return LookupReason::none;
      }
    }
  }

  /// 0 owned -> count, generation + 1.
  [[nodiscard]] bool publish_owned(W count, Value& seen) noexcept {
    // Relaxed: the Owned's holder is the only writer and has acquired when it got it.
    seen.bits = word_.load(std::memory_order_relaxed);
    if (seen.state() != Value::owned_flag) return false;
    // 0 owned -> 1 or 2, generation + 1. Partner: the CAS of lookups. Release: they see the data
    // as the owner left it. A plain store, because at 0 owned nobody else writes.
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
