// SPDX-License-Identifier: BSL-1.0
//
// Goal: whatever holders of references do at the same moment as others look the request up, publish
// it or let go of it, one holder of the right at most comes out of it, and it sees all that the
// others did before.
//
// Method: one request, two or three threads with a part each, thousands of rounds with random
// delays. The data is plain memory that each holder touches, for ThreadSanitizer.
//
// Invariants: at most one unique handle per round; who gets it finds the publisher's data and every
// page that a dropped reference's holder wrote; the I/O ends once.

#include <gtest/gtest.h>

#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <utility>

#include "effort.hpp"
#include "race.hpp"
#include "rounds.hpp"

namespace stress {
namespace {

using blkown::LookupReason;

class References : public Race {
 protected:
  /// Both parts hold a reference, made from the round's Owned.
  void share_two() {
    first.emplace(start().into_shared());
    second.emplace(*first);
  }
  void share_three() {
    share_two();
    third.emplace(*first);
  }

  /// A part is alone with the I/O and ends it.
  void end(Owned owned, std::uint64_t pages_promised) {
    touch(owned);
    EXPECT_EQ(pages_written(), pages_promised);
    std::move(owned).end_ok();
  }

  std::optional<ARef> first;
  std::optional<ARef> second;
  std::optional<ARef> third;
};

TEST_F(References, ADropAndTryFromSharedGiveOneOwnerOrNone) {
  play_rounds(
      rounds(), [this] { share_two(); },
      [this] {
        end_what_is_parked();
        expect_one_end();
      },
      [this](Random&) {
        pages[0] = round;
        first.reset();
      },
      [this](Random&) {
        pages[1] = round;
        auto alone = Owned::try_from_shared(std::move(*second));
        if (alone.has_value()) end(std::move(*alone), 2);
        second.reset();
      });
}

TEST_F(References, TwoTryFromSharedGiveOneOwnerOrNone) {
  const auto part = [this](std::optional<ARef>& mine, std::uint64_t& page) {
    page = round;
    auto alone = Owned::try_from_shared(std::move(*mine));
    if (alone.has_value()) {
      end(std::move(*alone), 2);
      mine.reset();
      return;
    }
    const ARef dropped = std::move(alone).error();
    mine.reset();
  };
  play_rounds(
      rounds(), [this] { share_two(); },
      [this] {
        end_what_is_parked();
        expect_one_end();
      },
      [&](Random&) { part(first, pages[0]); }, [&](Random&) { part(second, pages[1]); });
}

TEST_F(References, DropOrOwnByTwoHoldersGivesOneOwner) {
  const auto part = [this](std::optional<ARef>& mine, std::uint64_t& page) {
    page = round;
    auto last = drop_or_own(std::move(*mine));
    mine.reset();
    if (last.has_value()) end(std::move(*last), 2);
  };
  play_rounds(
      rounds(), [this] { share_two(); }, [this] { expect_one_end(); },
      [&](Random&) { part(first, pages[0]); }, [&](Random&) { part(second, pages[1]); });
}

TEST_F(References, DropOrOwnByThreeHoldersGivesOneOwner) {
  const auto part = [this](std::optional<ARef>& mine, std::uint64_t& page) {
    page = round;
    auto last = drop_or_own(std::move(*mine));
    mine.reset();
    if (last.has_value()) end(std::move(*last), 3);
  };
  play_rounds(
      rounds(), [this] { share_three(); }, [this] { expect_one_end(); },
      [&](Random&) { part(first, pages[0]); }, [&](Random&) { part(second, pages[1]); },
      [&](Random&) { part(third, pages[2]); });
}

// A pin that goes through drop_or_own may be the last one of an I/O that its Claim has ended.
TEST_F(References, DropOrOwnAndADropCompleteAnEndOnce) {
  std::optional<Claim> right;
  play_rounds(
      rounds(),
      [&] {
        auto claim = start().into_claim();
        first.emplace(claim.pin());
        second.emplace(claim.pin());
        std::move(claim).publish([](blkown::Cookie) {});
        right.emplace(std::move(*tags.claim(0, cookie.value)));
      },
      [this] {
        expect_one_end();
        EXPECT_EQ(pages_at_end, 2U);
        EXPECT_EQ(touched_at_end, 2U);
      },
      [&](Random&) {
        touch(*right);
        std::move(*right).end_ok();
        right.reset();
      },
      [this](Random&) {
        pages[1] = round;
        auto last = drop_or_own(std::move(*first));
        first.reset();
        EXPECT_FALSE(last.has_value());
      },
      [this](Random&) {
        pages[2] = round;
        second.reset();
      });
}

TEST_F(References, ADropAgainstAClaimHandsThePagesOver) {
  play_rounds(
      rounds(), [this] { first.emplace(start().into_shared()); }, [this] { expect_one_end(); },
      [this](Random&) {
        pages[0] = round;
        first.reset();
      },
      [this](Random&) {
        auto right = claim_when_free();
        touch(*right);
        // Waits for the drop: an Owned only comes of a Claim without pins.
        for (auto owned = std::move(*right).into_owned();;
             owned = std::move(owned).error().into_owned()) {
          if (!owned.has_value()) continue;
          end(std::move(*owned), 1);
          break;
        }
      });
}

TEST_F(References, ADropAgainstTagToOwnedHandsThePagesOver) {
  play_rounds(
      rounds(), [this] { first.emplace(start().into_shared()); }, [this] { expect_one_end(); },
      [this](Random&) {
        pages[0] = round;
        first.reset();
      },
      [this](Random&) { end(std::move(*own_when_free()), 1); });
}

TEST_F(References, ADropAgainstTagToRqGivesOneOwner) {
  play_rounds(
      rounds(), [this] { first.emplace(start().into_shared()); },
      [this] {
        end_what_is_parked();
        expect_one_end();
      },
      [this](Random&) {
        pages[0] = round;
        first.reset();
      },
      [this](Random&) {
        auto pin = pin_when_free();
        pages[1] = round;
        auto last = drop_or_own(std::move(*pin));
        if (last.has_value()) end(std::move(*last), 2);
      });
}

// The completion beats the doorbell's return, in each of the three ways to look it up.
TEST_F(References, APublicationAgainstEachLookupHandsTheDataOver) {
  std::optional<Owned> owned;
  play_rounds(
      rounds(), [&] { owned.emplace(start()); }, [this] { expect_one_end(); },
      [&](Random&) {
        owned->data().touched = 10;
        pages[0] = round;
        std::move(*owned).publish([](blkown::Cookie) {});
        owned.reset();
      },
      [this](Random& random) {
        switch (random.below(3)) {
          case 0: {
            auto right = claim_when_free();
            EXPECT_EQ(right->data().touched, 10U);
            std::move(*right).end_ok();
            break;
          }
          case 1: {
            auto alone = own_when_free();
            EXPECT_EQ(alone->data().touched, 10U);
            std::move(*alone).end_ok();
            break;
          }
          default: {
            auto pin = pin_when_free();
            EXPECT_EQ(pages[0], round);  // under the pin alone, before anything else acquires
            auto alone = drop_or_own(std::move(*pin));
            EXPECT_EQ(alone.value().data().touched, 10U);
            std::move(*alone).end_ok();
          }
        }
      });
}

TEST_F(References, IntoSharedAgainstTagToRqGivesOneOwner) {
  std::optional<Owned> owned;
  play_rounds(
      rounds(), [&] { owned.emplace(start()); }, [this] { expect_one_end(); },
      [&](Random&) {
        owned->data().touched = 10;
        ARef mine = std::move(*owned).into_shared();
        owned.reset();
        pages[0] = round;
        auto last = drop_or_own(std::move(mine));
        if (last.has_value()) end(std::move(*last), pages_written());
      },
      [this](Random&) {
        // The other one may have been alone, and have ended it, before this one came.
        auto pin = look_up_until([this] { return tags.tag_to_rq(0, cookie.value); },
                                 [](LookupReason reason) { return reason != LookupReason::early; });
        if (!pin.has_value()) return;
        pages[1] = round;
        auto last = drop_or_own(std::move(*pin));
        if (last.has_value()) {
          EXPECT_EQ(last->data().touched, 10U);
          end(std::move(*last), 2);
        }
      });
}

TEST_F(References, IntoSharedAgainstAClaimHandsTheDataOver) {
  std::optional<Owned> owned;
  play_rounds(
      rounds(), [&] { owned.emplace(start()); },
      [this] {
        expect_one_end();
        EXPECT_EQ(pages_at_end, 1U);
      },
      [&](Random&) {
        owned->data().touched = 10;
        const ARef mine = std::move(*owned).into_shared();
        owned.reset();
        pages[0] = round;
      },
      [this](Random&) {
        auto right = claim_when_free();
        EXPECT_EQ(right->data().touched, 10U);
        std::move(*right).end_ok();
      });
}

// 1 -> 2 -> 0 owned -> 1, and again, by two who look up the tag without a generation: each one's
// writes come before the next one's.
TEST_F(References, ParkedAgainAndAgainEachOwnerSeesTheOneBefore) {
  const auto part = [this](Random& random) {
    for (unsigned had = 0; had != 3;) {
      auto pin = tags.tag_to_rq_any_generation(0, blkown::Tag{0});
      if (!pin.has_value()) continue;
      auto alone = random.one_in(2) ? drop_or_own(std::move(*pin)) : [&] {
        auto tried = Owned::try_from_shared(std::move(*pin));
        return tried.has_value() ? std::optional<Owned>{std::move(*tried)} : std::nullopt;
      }();
      if (!alone) continue;
      touch(*alone);
      ++had;
      if (random.one_in(2)) std::move(*alone).park();
    }
  };
  play_rounds(
      rounds() / 2, [this] { start().park(); },
      [this] {
        end_what_is_parked();
        expect_one_end();
        EXPECT_EQ(touched_at_end, 8U);  // three of each part, the one above, and the end itself
      },
      part, part);
}

}  // namespace
}  // namespace stress
