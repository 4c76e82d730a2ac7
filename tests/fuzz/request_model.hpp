// SPDX-License-Identifier: BSL-1.0
//
// A model of a request without a word. The expected word follows from the model's holder, number of
// references and publication.

#ifndef BLKOWN_TESTS_FUZZ_REQUEST_MODEL_HPP
#define BLKOWN_TESTS_FUZZ_REQUEST_MODEL_HPP

#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <string>

namespace fuzz {

using blkown::LookupReason;
using blkown::Status;

struct RequestModel {
  enum class Holder : std::uint8_t {
    none,      ///< The tag is free.
    idle,      ///< An Idle.
    owned,     ///< An Owned.
    claim,     ///< A Claim, with `references` pins.
    device,    ///< Published; `references` ARefs.
    finished,  ///< Ended or requeued under `references` pins.
    ended,     ///< An Ended, held or in a list.
  };

  Holder holder = Holder::none;
  std::uint32_t references = 0;
  std::uint64_t generation = 0;  // counted without a wrap
  bool claim_published = false;  // the Claim may be released
  bool claim_counted = false;    // the count includes the Claim: a pin has existed
  Status status = Status::ok;
  bool requeue = false;

  static constexpr std::uint64_t generations = std::uint64_t{1} << (BLKOWN_WORD_BITS / 2);
  [[nodiscard]] std::uint32_t seen_generation() const {
    return static_cast<std::uint32_t>(generation % generations);
  }
  [[nodiscard]] std::uint32_t next_generation() const {
    return static_cast<std::uint32_t>((generation + 1) % generations);
  }

  /// The count that the word must have.
  [[nodiscard]] std::uint32_t count() const {
    switch (holder) {
      case Holder::device:
      case Holder::finished: return references + 1;
      case Holder::claim: return claim_counted ? references + 2 : 0;
      default: return 0;
    }
  }
  [[nodiscard]] std::string flags() const {
    if (holder == Holder::finished) return "finished";
    if (holder == Holder::claim) return claim_counted ? "claimed" : "owned";
    return holder == Holder::owned ? "owned" : "";
  }

  /// The reason why a lookup of the current generation is refused.
  [[nodiscard]] LookupReason refusal() const {
    switch (holder) {
      case Holder::owned: return LookupReason::owned;
      case Holder::claim: return claim_counted ? LookupReason::claimed : LookupReason::owned;
      case Holder::finished: return LookupReason::claimed;
      case Holder::device: return LookupReason::none;
      default: return LookupReason::idle;
    }
  }
  /// The same for any full generation.
  [[nodiscard]] LookupReason refusal_of(std::uint32_t wanted) const {
    if (wanted == seen_generation()) return refusal();
    return wanted == next_generation() ? LookupReason::early : LookupReason::stale_generation;
  }

  // --- transitions -----------------------------------------------------------------------------

  void publish(std::uint32_t references_now) {
    ++generation;
    holder = Holder::device;
    references = references_now;
  }
  void take_unique() {
    holder = Holder::owned;
    references = 0;
  }
  /// `counted`: the right was taken while references existed, including that of the claimant.
  void take_right(bool counted) {
    holder = Holder::claim;
    claim_published = true;
    claim_counted = counted;
  }
  void pin() {
    claim_counted = true;
    ++references;
  }
  void release() { holder = Holder::device; }
  /// Returns true if the end is complete.
  [[nodiscard]] bool end(Status how, bool again) {
    status = how;
    requeue = again;
    holder = references == 0 ? Holder::ended : Holder::finished;
    return references == 0;
  }
  /// Drops a reference. Returns true if that completes an end.
  [[nodiscard]] bool drop() {
    --references;
    if (holder != Holder::finished || references != 0) return false;
    holder = Holder::ended;
    return true;
  }
};

}  // namespace fuzz

#endif
