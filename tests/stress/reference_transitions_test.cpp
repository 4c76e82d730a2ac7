// SPDX-License-Identifier: BSL-1.0
//
// Goal: holders of references act on one request while other threads look it up, publish it or drop
// it. At most one thread becomes the holder of the right, and it sees every earlier write of the
// others.
//
// Method: one request, and two or three threads that each play one part, for thousands of rounds
// with random delays. Each holder touches the data, which is plain memory for ThreadSanitizer.
//
// Invariants: at most one unique handle per round. The handle's holder finds the publisher's data
// and every page that the holder of a dropped reference wrote. The I/O ends once.

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
  /// Gives each of two parts a reference, made from the round's Owned.
  void share_two() {
    first.emplace(start().into_shared());
    second.emplace(*first);
  }
  void share_three() {
    share_two();
    third.emplace(*first);
  }

  /// Ends the I/O of a part that is alone with it.
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

// drop_or_own on a pin that may be the last one of an I/O whose Claim has ended it.
TEST_F(References, DropOrOwnAndADropCompleteAnEndOnce) {
  std::optional<Claim> right;
  play_rounds(
      rounds(),
      [&] {
        auto claim = start().into_claim();
        first.emplace(claim.pin());
        second.emplace(claim.pin());
        std::move(claim).publish([](blkown::Cookie) {});
        right.emplace(std::move(*tags.claim(blkown::QueueIndex{0}, cookie.value)));
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
        // Waits for the drop: only a Claim without pins becomes an Owned.
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

// The completion arrives before publish returns. Each of the three lookups finds the I/O.
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
            EXPECT_EQ(pages[0], round);  // under the pin alone, before another operation acquires
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
        // The other thread may have been alone first, and have ended the I/O.
        auto pin =
            look_up_until([this] { return tags.tag_to_rq(blkown::QueueIndex{0}, cookie.value); },
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

// 1 -> 2 -> 0 owned -> 1, repeatedly, by two threads that look up the tag without a generation. The
// writes of each owner happen before those of the next.
TEST_F(References, ParkedAgainAndAgainEachOwnerSeesTheOneBefore) {
  const auto part = [this](Random& random) {
    for (unsigned had = 0; had != 3;) {
      auto pin = tags.tag_to_rq_any_generation(blkown::QueueIndex{0}, blkown::Tag{0});
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
