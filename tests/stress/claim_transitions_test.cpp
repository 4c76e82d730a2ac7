// SPDX-License-Identifier: BSL-1.0
//
// Goal: threads claim, end, release, requeue or refuse one I/O at the same moment. One thread holds
// the right at a time and sees the writes of the holder before it. The I/O ends once, after the
// last pin.
//
// Method: one request, and two or three threads that each play one part, for thousands of rounds
// with random delays. Each holder of the right writes the data, and each holder of a pin writes its
// page. Both are plain memory, so that ThreadSanitizer finds a missing order.
//
// Invariants: one end per round. The end sees the touch of each holder of the right and the page of
// each pin. A cookie of an earlier publication claims nothing.

#include <gtest/gtest.h>

#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <utility>

#include "effort.hpp"
#include "race.hpp"
#include "rounds.hpp"

namespace stress {
namespace {

using blkown::LookupReason;
using blkown::Status;

class Claims : public Race {
 protected:
  static void no_doorbell(blkown::Cookie) {}

  void publish() { start().publish(no_doorbell); }
  /// Publishes an I/O whose mappings hold pins.
  void publish_pinned(unsigned pins) {
    auto claim = start().into_claim();
    first.emplace(claim.pin());
    if (pins > 1) second.emplace(claim.pin());
    std::move(claim).publish(no_doorbell);
  }

  /// Writes the page of a pin, then drops the pin.
  void drop_after_writing(std::optional<ARef>& pin, std::uint64_t& page) {
    page = round;
    pin.reset();
  }

  /// Ends the I/O if the lookup succeeded.
  template <class Handle, class Error>
  void end_if_had(std::expected<Handle, Error> had) {
    if (!had.has_value()) return;
    touch(*had);
    std::move(*had).end(Status::medium_error);
  }

  // The state with which the parts of a round begin.
  std::optional<Owned> owned;
  std::optional<Claim> right;
  std::optional<ARef> first;
  std::optional<ARef> second;
};

TEST_F(Claims, OfThreeKindsOfLookupOneGetsTheRight) {
  play_rounds(
      rounds(), [this] { publish(); },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 2U);
      },
      [this](Random&) {
        const auto pin = tags.tag_to_rq(blkown::QueueIndex{0}, cookie.value);
        if (pin.has_value()) pages[0] = round;
      },
      [this](Random&) { end_if_had(tags.tag_to_owned(blkown::QueueIndex{0}, cookie.value)); },
      [this](Random&) { end_if_had(tags.claim(blkown::QueueIndex{0}, cookie.value)); });
}

TEST_F(Claims, OfThreeDuplicateCompletionsOneGetsTheRight) {
  const auto part = [this](Random&) {
    end_if_had(tags.claim(blkown::QueueIndex{0}, cookie.value));
  };
  play_rounds(
      rounds(), [this] { publish(); },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 2U);
      },
      part, part, part);
}

TEST_F(Claims, OfTryClaimAndClaimOneGetsTheRightWhateverIsDropped) {
  play_rounds(
      rounds(), [this] { publish_pinned(2); },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 2U);
        EXPECT_EQ(pages_at_end, 2U);
      },
      [this](Random&) {
        pages[0] = round;
        end_if_had(try_claim(std::move(*first), cookie));
        first.reset();
      },
      [this](Random&) { drop_after_writing(second, pages[1]); },
      [this](Random&) { end_if_had(tags.claim(blkown::QueueIndex{0}, cookie.value)); });
}

TEST_F(Claims, OfTwoTimeoutsAndACompletionOneGetsTheRight) {
  const auto time_out = [this](std::optional<ARef>& pin, std::uint64_t& page) {
    page = round;
    end_if_had(blkown::claim(*pin, cookie));
    pin.reset();
  };
  play_rounds(
      rounds(), [this] { publish_pinned(2); },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 2U);
        EXPECT_EQ(pages_at_end, 2U);
      },
      [&](Random&) { time_out(first, pages[0]); }, [&](Random&) { time_out(second, pages[1]); },
      [this](Random&) { end_if_had(tags.claim(blkown::QueueIndex{0}, cookie.value)); });
}

// A mapping and a scan each hold a pin. The last drop completes the end and sees every write.
TEST_F(Claims, AnEndAMappingAndAScanCompleteOnce) {
  bool scanned = false;
  play_rounds(
      rounds(),
      [&] {
        scanned = false;
        publish_pinned(1);
      },
      [&] {
        if (requeues == 1) std::move(*ended.pop_front()).into_idle().fail(Status::aborted);
        expect_one_end();
        EXPECT_EQ(pages_at_end, scanned ? 2U : 1U);
      },
      [this](Random& random) {
        auto had = tags.claim(blkown::QueueIndex{0}, cookie.value);
        touch(*had);
        if (random.one_in(4)) {
          std::move(*had).requeue();
        } else {
          std::move(*had).end_ok();
        }
      },
      [this](Random&) { drop_after_writing(first, pages[1]); },
      [&](Random&) {
        tags.for_each_in_flight(blkown::QueueIndex{0},
                                [&](const ARef& pin, const blkown::Cookie& seen) {
                                  EXPECT_EQ(pin.tag(), seen.tag);
                                  scanned = true;
                                  pages[2] = round;
                                });
      });
}

TEST_F(Claims, AReleaseBetweenTwoCompletionsHandsTheDataOver) {
  const auto part = [this](Random&) {
    auto had = claim_when_free();
    touch(*had);
    if (had->data().touched == 2) {
      std::move(*had).end_ok();
    } else {
      std::move(*had).release();
    }
  };
  const auto look = [this] {
    expect_one_end();
    EXPECT_EQ(touched_at_end, 3U);
  };
  play_rounds(rounds(), [this] { publish(); }, look, part, part);
  play_rounds(
      rounds(), [this] { publish_pinned(1); }, look, part, part,
      [this](Random&) { drop_after_writing(first, pages[2]); });
}

// Timeouts take the right beside their pins or in place of them, and release it.
TEST_F(Claims, AReleaseHandsTheDataOverToAPinsClaim) {
  const auto claim_beside = [this](BLKOWN_HELD const ARef& pin) {
    auto had = blkown::claim(pin, cookie);
    while (!had.has_value()) had = blkown::claim(pin, cookie);
    return std::move(*had);
  };
  const auto claim_instead = [this](ARef pin) {
    auto had = try_claim(std::move(pin), cookie);
    while (!had.has_value()) had = try_claim(std::move(had.error()), cookie);
    return std::move(*had);
  };
  const auto part = [&](std::optional<ARef>& pin, Random& random) {
    Claim mine = random.one_in(2) ? claim_beside(*pin) : claim_instead(std::move(*pin));
    touch(mine);
    if (mine.data().touched == 2) {
      std::move(mine).end_ok();
    } else {
      std::move(mine).release();
    }
    pin.reset();
  };
  play_rounds(
      rounds(), [this] { publish_pinned(2); },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 3U);
      },
      [&](Random& random) { part(first, random); }, [&](Random& random) { part(second, random); });
}

TEST_F(Claims, AReleaseAgainstTheLastPinGivesOneOwnerOrNone) {
  play_rounds(
      rounds(),
      [this] {
        publish_pinned(1);
        right.emplace(std::move(*tags.claim(blkown::QueueIndex{0}, cookie.value)));
      },
      [this] {
        end_what_is_parked();
        expect_one_end();
        EXPECT_EQ(touched_at_end, 3U);
        EXPECT_EQ(pages_at_end, 1U);
      },
      [this](Random&) {
        touch(*right);
        std::move(*right).release();
        right.reset();
      },
      [this](Random& random) {
        pages[1] = round;
        if (random.one_in(2)) {
          auto last = drop_or_own(std::move(*first));
          if (last.has_value()) {
            touch(*last);
            std::move(*last).end_ok();
          }
        } else {
          end_if_had(Owned::try_from_shared(std::move(*first)));
        }
        first.reset();
      });
}

// A Claim with a pin publishes again. The holder of the pin then becomes the only one and sees the
// Claim's write.
TEST_F(Claims, APublicationAgainstTheLastPinGivesOneOwnerOrNone) {
  play_rounds(
      rounds(),
      [this] {
        right.emplace(start().into_claim());
        first.emplace(right->pin());
      },
      [this] {
        end_what_is_parked();
        expect_one_end();
        EXPECT_EQ(touched_at_end, 3U);
        EXPECT_EQ(pages_at_end, 1U);
      },
      [this](Random&) {
        touch(*right);
        std::move(*right).publish(no_doorbell);
        right.reset();
      },
      [this](Random&) {
        pages[1] = round;
        end_if_had(Owned::try_from_shared(std::move(*first)));
        first.reset();
      });
}

// The completion arrives before publish returns, while mappings hold pins.
TEST_F(Claims, APublicationOfAClaimAgainstACompletionHandsEverythingOver) {
  play_rounds(
      rounds(),
      [this] {
        right.emplace(start().into_claim());
        first.emplace(right->pin());
      },
      [this] {
        expect_one_end();
        EXPECT_EQ(touched_at_end, 3U);
        EXPECT_EQ(pages_at_end, 1U);
      },
      [this](Random&) {
        touch(*right);
        std::move(*right).publish(no_doorbell);
        right.reset();
      },
      [this](Random&) { drop_after_writing(first, pages[1]); },
      [this](Random&) { end_if_had(claim_when_free()); });
}

// The device refuses the command, and a forged completion arrives for it.
class RefusedClaims : public Claims {
 protected:
  /// The part of the driver.
  template <class Handle>
  void publish_in_vain(std::optional<Handle>& handle) {
    touch(*handle);
    auto result = std::move(*handle).publish(
        [](blkown::Cookie) -> std::expected<void, int> { return std::unexpected(1); });
    handle.reset();
    auto& taken_back = result.error().claim;
    if (!taken_back) return;
    touch(*taken_back);
    std::move(*taken_back).end(Status::device_resource);
  }

  /// The part of the forger.
  void forge(Random& random) {
    auto had = look_up_until([this] { return tags.claim(blkown::QueueIndex{0}, cookie.value); },
                             [](LookupReason reason) { return reason != LookupReason::early; });
    if (!had.has_value()) return;
    touch(*had);
    if (random.one_in(2)) {
      std::move(*had).release();
    } else {
      std::move(*had).end_ok();
    }
  }

  void look() {
    end_what_is_parked();
    expect_one_end();
  }
};

TEST_F(RefusedClaims, ARefusalAgainstAForgedCompletionEndsOnce) {
  play_rounds(
      rounds(), [this] { owned.emplace(start()); }, [this] { look(); },
      [this](Random&) { publish_in_vain(owned); }, [this](Random& random) { forge(random); });
}

TEST_F(RefusedClaims, ARefusalAgainstAForgedCompletionAndAPinEndsOnce) {
  play_rounds(
      rounds(),
      [this] {
        right.emplace(start().into_claim());
        first.emplace(right->pin());
      },
      [this] { look(); }, [this](Random&) { publish_in_vain(right); },
      [this](Random& random) { forge(random); },
      [this](Random&) { drop_after_writing(first, pages[2]); });
}

// The I/O is requeued and starts again. The cookie of the first issue arrives a second time.
TEST_F(Claims, ARequeueAgainstALateCompletionLeavesTheNewIssueAlone) {
  play_rounds(
      rounds(), [this] { publish(); }, [this] { expect_one_end(); },
      [this](Random&) {
        auto had = tags.claim(blkown::QueueIndex{0}, cookie.value);
        if (!had.has_value()) return;  // the other thread had the right and ended the I/O
        touch(*had);
        std::move(*had).requeue();
        auto again = std::move(*ended.pop_front()).into_idle().start();
        touch(again);
        blkown::Cookie second_cookie;
        std::move(again).publish([&](blkown::Cookie made) { second_cookie = made; });
        end_if_had(tags.claim(blkown::QueueIndex{0}, second_cookie.value));
      },
      [this](Random&) {
        for (unsigned tries = 0; tries != 8; ++tries) {
          auto had = tags.claim(blkown::QueueIndex{0}, cookie.value);
          if (!had.has_value()) continue;
          EXPECT_EQ(had->cookie(), cookie);
          touch(*had);
          std::move(*had).end_ok();
          return;
        }
      });
}

}  // namespace
}  // namespace stress
