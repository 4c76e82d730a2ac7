// SPDX-License-Identifier: BSL-1.0
//
// The base of the scenarios: a request that is only its ownership word and data, and contexts that
// make its transitions and count.
//
// A request has two pieces of memory. The holder of the right, an Owned or a Claim, writes `data`.
// Pins read `still`, and only a holder that is alone writes it. Therefore two writers, a pin's read
// that is not ordered before the next owner's write, and a write that the next owner has not seen
// are data races. Checkers without races (hardware models) find them as a lost or an early
// increment.
//
// Invariants of all scenarios:
//   - no operation meets a word that its handle excludes (a violation's answer fails);
//   - every increment of the data is there at the end, and every life ended exactly once;
//   - a word that is not in flight is 0, flags clear; an idle one has the last generation
//   published.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_REQUEST_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_REQUEST_HPP

// The checker comes first: config.hpp expects its atomic to be declared.
#include "checker.hpp"
// Headers that may use the checker's atomic.
#include <blkown/detail/ref_word.hpp>
#include <cstdint>

namespace word {

using blkown::Generation;
using blkown::LookupReason;
using blkown::Word;
using blkown::detail::ClaimResult;
using blkown::detail::RefResult;
using RefWord = blkown::detail::RefWord<Word>;
using Value = RefWord::Value;
using Match = RefWord::Match;
using checker::Data;
using checker::require;

inline constexpr auto acquire = std::memory_order_acquire;
inline constexpr auto release = std::memory_order_release;
inline constexpr auto relaxed = std::memory_order_relaxed;

/// The generation of the first publication of a request.
inline constexpr std::uint32_t first = 1;

struct Request {
  RefWord ref{Value::idle_at(Generation{first - 1})};
  Data<int> data{0};
  Data<int> still{0};
};

/// A thread or an interrupt handler, its handles, and its counts. Values read by the operations of
/// the word stay in locals, so that a checker recognises retries that change no memory.
class Context {
 public:
  explicit Context(Request& request)
      : ref_{request.ref}, data_{request.data}, still_{request.still} {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// The reason of the last lookup or claim.
  LookupReason reason = LookupReason::none;
  /// The generation of the request when tag_to_rq found it.
  std::uint32_t found_generation = 0;

  [[nodiscard]] int ends() const { return ends_; }
  [[nodiscard]] int writes() const { return writes_; }
  [[nodiscard]] int writes_alone() const { return writes_alone_; }

  // --- data ---

  /// The read of a pin. `at_least` writes of a holder that was alone happened before this read.
  void read(int at_least = 0) { require(still_.get() >= at_least); }
  /// The write of a Claim, with or without pins.
  void write() {
    data_.set(data_.get() + 1);
    ++writes_;
  }
  /// The write of a holder that is alone.
  void write_alone() {
    write();
    still_.set(still_.get() + 1);
    ++writes_alone_;
  }

  // --- Idle and Owned ---

  void start() {
    Value seen;
    require(ref_.start(seen));
    write_alone();
  }
  void into_shared() {
    Value seen;
    require(ref_.into_shared(seen));
  }
  void park() {
    Value seen;
    require(ref_.park_owned(seen));
  }
  void end_owned() {
    Value seen;
    write_alone();
    require(ref_.end_owned(seen));
    complete();
  }

  // --- Claim ---

  void pin() {
    Value seen;
    require(ref_.claim_pin(seen) == ClaimResult::done);
  }
  void publish() {
    Value seen;
    require(ref_.publish_claim(seen) == ClaimResult::done);
  }
  void release_claim() {
    Value seen;
    require(ref_.release_claim(seen) == ClaimResult::done);
  }
  /// Returns false if pins are left and the handle is still a Claim.
  [[nodiscard]] bool into_owned() {
    Value seen;
    const ClaimResult step = ref_.claim_into_owned(seen);
    require(step == ClaimResult::done || step == ClaimResult::pinned);
    return step == ClaimResult::done;
  }
  /// Ends without a last write. Returns false if the drop of a pin completes the end.
  bool end_unwritten() {
    Value seen;
    const ClaimResult step = ref_.end_claim(seen);
    require(step == ClaimResult::completed || step == ClaimResult::pinned);
    if (step == ClaimResult::completed) complete();
    return step == ClaimResult::completed;
  }
  bool end() {
    write();
    return end_unwritten();
  }

  // --- ARef ---

  void clone() {
    Value seen;
    require(ref_.add_ref(seen) == RefResult::done);
  }
  /// Returns true if this was the last reference of a finished I/O.
  bool drop() {
    Value seen;
    const RefResult step = ref_.drop_ref(seen);
    require(step == RefResult::done || step == RefResult::completed);
    if (step == RefResult::completed) complete();
    return step == RefResult::completed;
  }
  [[nodiscard]] bool try_from_shared() {
    Value seen;
    const RefResult step = ref_.try_from_shared(seen);
    require(step == RefResult::alone || step == RefResult::refused);
    return step == RefResult::alone;
  }
  RefResult drop_or_own() {
    Value seen;
    const RefResult step = ref_.drop_or_own(seen);
    require(step == RefResult::alone || step == RefResult::completed || step == RefResult::done);
    if (step == RefResult::completed) complete();
    return step;
  }
  [[nodiscard]] bool claim_with_ref(std::uint32_t generation) {
    Value seen;
    reason = ref_.claim_with_ref(exactly(generation), seen);
    return reason == LookupReason::none;
  }
  [[nodiscard]] bool claim_beside_ref(std::uint32_t generation) {
    Value seen;
    reason = ref_.claim_beside_ref(exactly(generation), seen);
    return reason == LookupReason::none;
  }

  // --- lookups ---

  [[nodiscard]] bool tag_to_rq(Match match) {
    Value seen;
    reason = ref_.tag_to_rq(match, seen);
    found_generation = seen.generation().value;
    return reason == LookupReason::none;
  }
  [[nodiscard]] bool tag_to_rq(std::uint32_t generation) { return tag_to_rq(exactly(generation)); }
  [[nodiscard]] bool tag_to_owned(std::uint32_t generation) {
    Value seen;
    reason = ref_.tag_to_owned(exactly(generation), seen);
    return reason == LookupReason::none;
  }
  [[nodiscard]] bool claim(Match match) {
    Value seen;
    reason = ref_.claim(match, seen);
    return reason == LookupReason::none;
  }
  [[nodiscard]] bool claim(std::uint32_t generation) { return claim(exactly(generation)); }
  [[nodiscard]] bool take_back(std::uint32_t generation) {
    Value seen;
    return ref_.take_back(Generation{generation}, seen);
  }

  // --- the complete work of a handler ---

  /// Turns a reference into ownership if no other reference exists; otherwise drops the reference.
  void own_or_drop() {
    if (try_from_shared()) {
      end_owned();
    } else {
      drop();
    }
  }
  void own_or_lose() {
    if (drop_or_own() == RefResult::alone) end_owned();
  }
  /// A completion: claims the I/O of this generation and ends it, if the claim succeeds.
  void complete_by_claim(std::uint32_t generation) {
    if (claim(generation)) end();
  }
  void complete_by_owned(std::uint32_t generation) {
    if (tag_to_owned(generation)) end_owned();
  }
  /// Turns a reference into the right. A refused reference is dropped.
  void complete_by_ref(std::uint32_t generation) {
    if (claim_with_ref(generation)) {
      end();
    } else {
      drop();
    }
  }
  /// The same with a reference that stays until the end.
  void complete_beside_ref(std::uint32_t generation) {
    if (claim_beside_ref(generation)) end();
    drop();
  }
  void pin_and_read(std::uint32_t generation, int at_least = 0) {
    if (!tag_to_rq(generation)) return;
    read(at_least);
    drop();
  }

 private:
  [[nodiscard]] static Match exactly(std::uint32_t generation) {
    return Match::exactly(Generation{generation});
  }
  /// Completes the end: the block layer is alone with the request.
  void complete() {
    ++ends_;
    write_alone();
  }

  RefWord& ref_;
  Data<int>& data_;
  Data<int>& still_;
  int ends_ = 0;
  int writes_ = 0;
  int writes_alone_ = 0;
};

/// One request, the contexts of up to three threads, and one for the code before and after them.
struct Fixture {
  Request request;
  Context main{request};
  Context a{request};
  Context b{request};
  Context c{request};

  [[nodiscard]] int ends() const { return main.ends() + a.ends() + b.ends() + c.ends(); }
  [[nodiscard]] Value value() const { return request.ref.peek(); }

  /// Checks that every life has ended, once.
  void check_ended(int lives = 1, std::uint32_t generation = first) {
    require(value().state() == 0);
    require(value().generation().value == generation);
    require(ends() == lives);
    check_data();
  }
  /// Checks that the last life is in flight, unreferenced.
  void check_parked(int ended_lives = 0, std::uint32_t generation = first) {
    require(value().state() == 1);
    require(value().generation().value == generation);
    require(ends() == ended_lives);
    check_data();
  }
  void check_data() {
    require(request.data.get() == main.writes() + a.writes() + b.writes() + c.writes());
    require(request.still.get() ==
            main.writes_alone() + a.writes_alone() + b.writes_alone() + c.writes_alone());
  }
  /// Ends the I/O in flight, as the teardown of a device does. Checks that nothing else is left.
  void sweep(int lives = 1, std::uint32_t generation = first) {
    if (ends() != lives) {
      check_parked(lives - 1, generation);
      require(main.claim(generation));
      main.end();
    }
    check_ended(lives, generation);
  }
};

/// A request in flight, unreferenced.
struct Parked : Fixture {
  Parked() {
    main.start();
    main.park();
  }
};

/// A request with two references, one for each of two threads.
struct TwoReferences : Fixture {
  TwoReferences() {
    main.start();
    main.into_shared();
    main.clone();
  }
};

struct ThreeReferences : TwoReferences {
  ThreeReferences() { main.clone(); }
};

/// A Claim with one pin, that of a mapping, never published.
struct Pinned : Fixture {
  Pinned() {
    main.start();
    main.pin();
    // claim_pin at "0 owned" makes 3 claimed: the Claim, and the pin.
  }
};

/// A Claim from a completion, with the pin that its mapping has held.
struct ClaimedPinned : Pinned {
  ClaimedPinned() {
    main.publish();
    require(main.claim(first));
  }
};

}  // namespace word

#endif
