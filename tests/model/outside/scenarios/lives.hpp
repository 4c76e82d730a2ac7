// SPDX-License-Identifier: BSL-1.0
//
// Goal: from one life of a request to the next, through the tag bitmap.
// Method: the context that completes an end frees the tag. A thread that finds it free starts a new
// life.
// Invariants: the next life comes after everything in the last one. A completion of the last life
// never ends the next one, unless it carries no generation, and even then each life ends once.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_LIVES_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_LIVES_HPP

#include "../request.hpp"
// A core header too, and therefore after the checker's atomic.
#include <blkown/detail/tag_bitmap.hpp>

namespace word {

using blkown::Tag;
using blkown::detail::TagBitmap;

/// A request whose tag is taken, its tag, and another tag of the same word.
struct Life : Fixture {
  static constexpr std::uint32_t depth = 4;
  static constexpr Tag tag{1};
  static constexpr Tag other{2};

  TagBitmap::Line lines[TagBitmap::lines_for(depth)];
  TagBitmap bitmap{lines, depth};

  Life() {
    require(bitmap.take(tag));
    main.start();
  }

  void give(Tag given) { require(bitmap.give(given)); }
  void give_if(bool completed) {
    if (completed) give(tag);
  }
  /// Starts and publishes the next life if the tag is free.
  void begins() {
    if (!bitmap.take(tag)) return;
    c.start();
    c.park();
  }
  /// The same by a context that takes as many tags as it can get.
  void begins_with_run() {
    std::uint32_t hint = 0;
    const TagBitmap::Run run = bitmap.take_run(hint, depth);
    if ((run.mask & bitmap.bit_of(tag)) == 0) return;
    c.start();
    c.park();
  }
  [[nodiscard]] int lives() const { return value().generation().value == first ? 1 : 2; }
};

/// The end of a life and the next allocation, by take or take_run.
struct EndToAllocation : Life {
  EndToAllocation() {
    require(bitmap.take(other));
    main.park();
  }
  void ends_it() {
    require(a.claim(first));
    a.end();
    give(tag);
  }
  /// Frees both tags in one operation. The request of the other tag does not matter here.
  void ends_both() {
    require(a.claim(first));
    a.end();
    require(bitmap.give_run(bitmap.line_of(tag),
                            static_cast<Word>(bitmap.bit_of(tag) | bitmap.bit_of(other))));
  }
  /// Changes another tag of the word between the give and the take.
  void gives_other() { give(other); }
  void gives_and_takes_other() {
    give(other);
    require(bitmap.take(other));
  }
  void finish() { sweep(lives(), value().generation().value); }
};

/// Two contexts allocate at the same time: one gets the tag.
struct AllocateByTwo : Life {
  AllocateByTwo() { main.end_owned(); }
  void gives() { give(tag); }
  void begins_too() {
    if (!bitmap.take(tag)) return;
    b.start();
    b.park();
  }
  void finish() {
    require(main.ends() == 1);
    if (value().state() == 0) {
      check_ended(1, first - 1);
    } else {
      sweep(2);
    }
  }
};

/// A life that ends while pins are left: the context that drops the last one frees the tag.
struct LastPinGives : Life {
  LastPinGives() {
    main.pin();
    main.publish();
  }
  void completes() {
    require(a.claim(first));
    give_if(a.end());
  }
  void may_complete() {
    if (a.claim(first)) give_if(a.end());
  }
  void unmaps() {
    b.read(1);
    give_if(b.drop());
  }
  void owns() {
    b.read(1);
    const blkown::detail::RefResult step = b.drop_or_own();
    if (step == RefResult::alone) b.end_owned();
    give_if(step != RefResult::done);
  }
  void finish() { sweep(lives(), value().generation().value); }
};

/// A lookup pins and reads the request while its life ends and the next one begins.
struct PinsAndNextLife : Life {
  PinsAndNextLife() { main.park(); }
  void completes() {
    require(a.claim(first));
    give_if(a.end());
  }
  void may_complete() {
    if (a.claim(first)) give_if(a.end());
  }
  void looks_up() {
    if (!b.tag_to_rq(first)) return;
    b.read(1);
    give_if(b.drop());
  }
  /// A completion of the first life, late or not.
  void stale() {
    if (b.claim(first)) give_if(b.end());
  }
  /// A completion without a generation may end the next life.
  void without_generation() {
    if (b.claim(Match::any())) give_if(b.end());
  }
  /// Iterates as the in-flight table does: takes a pin in any life, and claims that life only.
  void iterates() {
    if (!b.tag_to_rq(Match::any())) return;
    b.read(1);
    if (b.claim_beside_ref(b.found_generation)) give_if(b.end());
    give_if(b.drop());
  }
  void finish() { sweep(lives(), value().generation().value); }
};

/// After the next life has begun, the stale completion is always refused.
struct StaleCookie : PinsAndNextLife {
  void finish() {
    require(a.ends() + b.ends() == 1);
    require(c.ends() == 0);
    if (lives() == 2) check_parked(1, first + 1);
    sweep(lives(), value().generation().value);
  }
};

/// The device refuses a publication and a forged completion ends the I/O. The tag has its next life
/// while the submitter is about to take the publication back.
struct RefusedAndReused : Life {
  void submits() {
    a.write_alone();
    a.park();
    if (a.take_back(first)) give_if(a.end());
  }
  void forges() {
    if (b.claim(first)) give_if(b.end());
  }
  void finish() {
    require(a.ends() + b.ends() == 1);
    sweep(lives(), value().generation().value);
  }
};

}  // namespace word

#endif
