// SPDX-License-Identifier: BSL-1.0
//
// Theme: the word itself, in cases for which handles would need too many requests or threads.
//
// Goal: lookups never raise the count above its limit, the generation wraps within its field, and
// an operation that loses a race does not change the word.
// Method: a RefWord preset near the edge.
// Invariants: a count of n >= 1 is 1 plus the references given. Nothing carries into the flags or
// the generation.

#include "fixture.hpp"

namespace word {

using Word = blkown::detail::RefWord<blkown::Word>;
using Match = Word::Match;

constexpr Generation last{(std::uint64_t{1} << Value::generation_bits) - 1};

[[nodiscard]] constexpr Value at(Generation generation, blkown::Word state) {
  return Value::idle_at(generation).with_state(state);
}

/// Two lookups one below the limit of references: one gets the last reference.
struct Saturated {
  Word word{at({9}, Value::count_limit - 1)};
  std::uint32_t given = 0;
  void pins() {
    Value seen;
    const LookupReason reason = word.tag_to_rq(Match::exactly({9}), seen);
    if (reason == LookupReason::none) ++given;
    if (reason == LookupReason::saturated) {
      model::check(seen.count() == Value::count_limit, "saturated at the limit");
    }
  }
  void claims() {
    Value seen;
    if (word.claim(Match::exactly({9}), seen) == LookupReason::none) ++given;
  }
  void clones() {
    Value seen;
    if (word.add_ref(seen) == blkown::detail::RefResult::done) ++given;
  }
  void finish() {
    model::check(given == 1, "one reference is left to give");
    model::check(word.peek().generation() == Generation{9}, "no carry into the generation");
  }
};
const Add<Saturated, &Saturated::pins, &Saturated::pins> saturated{
    "word", "two lookups one below the limit"};

const Add<Saturated, &Saturated::pins, &Saturated::claims> saturated_claim{
    "word", "a lookup and a claim one below the limit"};

/// A lookup and a clone: the lookup is refused at the limit, the clone reports the overflow.
const Add<Saturated, &Saturated::pins, &Saturated::clones> saturated_clone{
    "word", "a lookup and a clone one below the limit"};

/// A Claim through a lookup, or beside a pin, counts as a reference.
struct SaturatedClaim : Saturated {
  void claims_beside() {
    Value seen;
    const LookupReason reason = word.claim_beside_ref(Match::exactly({9}), seen);
    if (reason == LookupReason::none) ++given;
  }
  void finish() {
    model::check(given == 1, "one reference is left to give");
    model::check(word.peek().count() == Value::count_limit, "the count is at the limit");
  }
};
const Add<SaturatedClaim, &SaturatedClaim::pins, &SaturatedClaim::claims_beside> saturated_beside{
    "word", "a lookup and a claim beside a pin one below the limit"};

/// Publications across the wrap of the generation, against lookups of the last and the first one.
struct Wrap {
  Word word{at({last.value - 1}, Value::owned_flag)};
  std::uint32_t found = 0;
  void publishes_twice() {
    Value seen;
    model::check(word.park_owned(seen), "it is owned");
    if (word.claim(Match::exactly(last), seen) != LookupReason::none) return;
    model::check(word.publish_claim(seen) == blkown::detail::ClaimResult::done, "it is claimed");
  }
  void takes_last() { takes(last); }
  void takes_first() { takes({0}); }
  void finish() {
    const Value now = word.peek();
    model::check(now.generation() == last || now.generation() == Generation{0},
                 "the generation wraps");
    model::check(now.state() == (found == 1 ? Value::owned_flag : blkown::Word{1}),
                 "one lookup has the request");
  }

 private:
  void takes(Generation generation) {
    Value seen;
    if (word.tag_to_owned(Match::exactly(generation), seen) != LookupReason::none) return;
    model::check(seen.generation() == generation, "a request of that generation");
    ++found;
  }
};
const Add<Wrap, &Wrap::publishes_twice, &Wrap::takes_last, &Wrap::takes_first> wrap{
    "word", "publications across the generation's wrap"};

/// A Claim with pins publishes across the wrap, by an addition whose carry leaves the word.
struct WrapPinned {
  Word word{at(last, Value::claimed_flag | 3)};
  void publishes() {
    Value seen;
    model::check(word.publish_claim(seen) == blkown::detail::ClaimResult::done, "it is claimed");
  }
  void drops() {
    Value seen;
    model::check(word.drop_ref(seen) == blkown::detail::RefResult::done, "there is a pin");
  }
  void takes() {
    Value seen;
    if (word.tag_to_rq(Match::exactly({0}), seen) != LookupReason::none) return;
    model::check(word.drop_ref(seen) == blkown::detail::RefResult::done, "there is a pin");
  }
  void finish() { model::check(word.peek() == at({0}, 1), "parked in generation 0"); }
};
const Add<WrapPinned, &WrapPinned::publishes, &WrapPinned::drops, &WrapPinned::takes> wrap_pinned{
    "word", "publication with pins across the generation's wrap"};

/// A publisher may take its right back at the limit, to which other threads saturated the word.
struct TakeBack {
  Word word{at({9}, Value::count_limit)};
  bool mine = false;
  bool theirs = false;
  void takes_back() {
    Value seen;
    mine = word.take_back({9}, seen);
  }
  void turns_pin() {
    Value seen;
    theirs = word.claim_with_ref(Match::exactly({9}), seen) == LookupReason::none;
  }
  void finish() { model::check(mine != theirs, "one of the two has the right"); }
};
const Add<TakeBack, &TakeBack::takes_back, &TakeBack::turns_pin> take_back{
    "word", "take_back against a pin's claim at the limit"};

/// At the limit lookups are refused. The publisher must still get its right back.
struct TakeBackAtLimit : TakeBack {
  void looks_up() {
    Value seen;
    const LookupReason reason = word.claim(Match::exactly({9}), seen);
    model::check(reason == LookupReason::saturated || reason == LookupReason::claimed,
                 "no reference is left to give");
  }
  void finish() { model::check(mine != theirs, "no other thread has the right"); }
};
const Add<TakeBackAtLimit, &TakeBackAtLimit::takes_back, &TakeBackAtLimit::looks_up>
    take_back_at_limit{"word", "take_back against a lookup at the limit"};
const Add<TakeBackAtLimit, &TakeBackAtLimit::turns_pin, &TakeBackAtLimit::looks_up>
    turn_pin_at_limit{"word", "a pin's claim against a lookup at the limit"};

}  // namespace word
