// SPDX-License-Identifier: BSL-1.0
//
// The value of an ownership word, decoded, and the results of operations on the word. The atomic
// word and its transitions are in ref_word.hpp.
//
//   high bits                                              low bits
//   | generation | owned | claimed | finished |              count |
//
//   64 bits: 32 | 3 | 29      32 bits: 16 | 3 | 13
//
//   count  flags     owner of the request
//   0      -         the block layer: idle
//   0      owned     one handle: an Owned, or a Claim without pins
//   1      -         in flight, unreferenced: the device has the cookie, no handle exists (parked)
//   n>=2   -         shared: n-1 references (ARef)
//   n>=2   claimed   one Claim, and n-2 references that only pin the request
//   n>=2   finished  the Claim has ended the I/O; n-1 references still pin the request
//   1      finished  the context that dropped the last of those references completes the end

#ifndef BLKOWN_DETAIL_REF_VALUE_HPP
#define BLKOWN_DETAIL_REF_VALUE_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <concepts>
#include <cstdint>
#include <limits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The value of an ownership word, decoded. W is std::uint64_t or std::uint32_t.
template <std::unsigned_integral W>
struct RefValue {
  static_assert(std::numeric_limits<W>::digits == 64 || std::numeric_limits<W>::digits == 32);

  static constexpr unsigned generation_bits = std::numeric_limits<W>::digits / 2;
  static constexpr unsigned flag_bits = 3;
  static constexpr unsigned count_bits = generation_bits - flag_bits;

  static constexpr W count_mask = static_cast<W>((W{1} << count_bits) - 1);
  // Parenthesised, because ctags does not see a member that is initialised with `W{1} <<`.
  static constexpr W finished_flag = (W{1} << count_bits);
  static constexpr W claimed_flag = (W{1} << (count_bits + 1));
  static constexpr W owned_flag = (W{1} << (count_bits + 2));
  static constexpr W one_generation = (W{1} << generation_bits);
  static constexpr W generation_mask = static_cast<W>(~(one_generation - 1));

  /// The count at which a lookup answers `saturated` and a copy of an ARef is a violation. The
  /// limit is half of the field's range: for an overflow, as many threads again would have to pass
  /// the test at once.
  static constexpr W count_limit = (W{1} << (count_bits - 1));

  W bits = 0;

  [[nodiscard]] constexpr W count() const noexcept { return bits & count_mask; }
  [[nodiscard]] constexpr bool owned() const noexcept { return (bits & owned_flag) != 0; }
  [[nodiscard]] constexpr bool claimed() const noexcept { return (bits & claimed_flag) != 0; }
  [[nodiscard]] constexpr bool finished() const noexcept { return (bits & finished_flag) != 0; }
  [[nodiscard]] constexpr Generation generation() const noexcept {
    return {static_cast<std::uint32_t>(bits >> generation_bits)};
  }
  /// An idle word of this generation, cut to the field's width.
  [[nodiscard]] static constexpr RefValue idle_at(Generation generation) noexcept {
    return {static_cast<W>(static_cast<W>(generation.value) << generation_bits)};
  }

  /// Flags and count, without the generation.
  [[nodiscard]] constexpr W state() const noexcept { return bits & ~generation_mask; }

  /// Whether a Claim of the request exists, if the caller has one: the states a Claim may find.
  [[nodiscard]] constexpr bool held_by_claim() const noexcept {
    return state() == owned_flag || (claimed() && count() >= 2);
  }
  /// Whether a Claim of the request exists, and is the only handle: held_by_claim() is true, too.
  [[nodiscard]] constexpr bool alone() const noexcept {
    return state() == owned_flag || state() == (claimed_flag | 2);
  }
  /// Whether the Claim has ended the I/O, and pins are left that delay the end.
  [[nodiscard]] constexpr bool end_awaits_pins() const noexcept {
    return finished() && count() >= 2;
  }

  /// Same generation, other flags and count.
  [[nodiscard]] constexpr RefValue with_state(W flags_and_count) const noexcept {
    return {static_cast<W>((bits & generation_mask) | flags_and_count)};
  }
  /// The next generation, other flags and count; the generation wraps within its field.
  [[nodiscard]] constexpr RefValue next_with_state(W flags_and_count) const noexcept {
    return {static_cast<W>(((bits & generation_mask) + one_generation) | flags_and_count)};
  }
  [[nodiscard]] constexpr Generation next_generation() const noexcept {
    return next_with_state(0).generation();
  }

  friend constexpr bool operator==(RefValue, RefValue) = default;
};

/// The generation that a lookup accepts, compared in the bits of `mask` only.
template <std::unsigned_integral W>
struct GenerationMatch {
  W wanted = 0;  ///< The generation at its place in the word, masked.
  W mask = 0;    ///< The compared bits at their place in the word. 0: any generation.

  [[nodiscard]] static constexpr GenerationMatch any() noexcept { return {}; }
  [[nodiscard]] static constexpr GenerationMatch low_bits(Generation generation,
                                                          unsigned bits) noexcept {
    const W mask = static_cast<W>(((W{1} << bits) - 1) << RefValue<W>::generation_bits);
    return {static_cast<W>(RefValue<W>::idle_at(generation).bits & mask), mask};
  }
  /// Every bit of the generation.
  [[nodiscard]] static constexpr GenerationMatch exactly(Generation generation) noexcept {
    return low_bits(generation, RefValue<W>::generation_bits);
  }
  [[nodiscard]] constexpr bool accepts(RefValue<W> value) const noexcept {
    return ((value.bits ^ wanted) & mask) == 0;
  }
};

/// Why a lookup is refused at this value, or `none`. The generation is tested first, because the
/// state of another I/O is of no use to the caller. Out of line and with the parts of a
/// GenerationMatch as parameters, so that lookup_refusal is small and its caller keeps them in
/// registers.
template <std::unsigned_integral W>
[[nodiscard, gnu::cold, gnu::noinline]] constexpr LookupReason lookup_refusal_in_full(
    W bits, W wanted, W mask) noexcept {
  const RefValue<W> value{bits};
  const GenerationMatch<W> match{wanted, mask};
  if (!match.accepts(value)) {
    return match.accepts(value.next_with_state(0)) ? LookupReason::early
                                                   : LookupReason::stale_generation;
  }
  if (value.owned()) return LookupReason::owned;
  if (value.count() == 0) return LookupReason::idle;
  if (value.claimed() || value.finished()) return LookupReason::claimed;
  if (value.count() >= RefValue<W>::count_limit) return LookupReason::saturated;
  return LookupReason::none;
}

/// Why a lookup is refused at this value, or `none`. Fast where the lookup is not refused.
template <std::unsigned_integral W>
[[nodiscard]] constexpr LookupReason lookup_refusal(RefValue<W> value,
                                                    GenerationMatch<W> match) noexcept {
  // The flags are above the count, so a state from 1 to below the limit has no flag.
  const bool countable = static_cast<W>(value.state() - 1) < RefValue<W>::count_limit - 1;
  if (countable && match.accepts(value)) [[likely]]
    return LookupReason::none;
  return lookup_refusal_in_full(value.bits, match.wanted, match.mask);
}

/// The result of an operation on a reference.
enum class RefResult : std::uint8_t {
  done,          ///< The word has changed. Other holders remain, or the request is parked.
  completed,     ///< The caller has completed the end of the I/O. The word is idle.
  alone,         ///< The caller has the unique handle: "0 owned".
  refused,       ///< No change: other holders exist, or the request is claimed or finished.
  overflow,      ///< Violation: more references than count_limit.
  no_reference,  ///< Violation: the count does not include the caller's reference.
};

/// The result of an operation on a Claim.
enum class ClaimResult : std::uint8_t {
  done,         ///< The word has changed.
  completed,    ///< The caller has completed the end of the I/O. The word is idle.
  pinned,       ///< Pins exist. into_owned: no change. end: the last pin's drop completes the end.
  overflow,     ///< Violation: more references than count_limit.
  not_claimed,  ///< Violation: no Claim of this request exists.
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
