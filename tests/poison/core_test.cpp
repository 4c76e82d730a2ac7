// SPDX-License-Identifier: BSL-1.0
//
// Goal: in a build with AddressSanitizer the first access through a reference from data() stops if
// its handle was consumed, and no right access stops.
// Method: a request is brought into each state, and AddressSanitizer is asked which bytes are
// poisoned. Death tests show the report once for each kind of handle.

#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include <array>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "support/driver.hpp"

static_assert(BLKOWN_POISON == 1, "this program is built with AddressSanitizer");

using support::ARef;
using support::Claim;
using support::Command;
using support::Driver;
using support::Owned;

namespace {

/// Whether any byte of the object is poisoned.
template <class T>
[[nodiscard]] bool poisoned(const T& object) {
  return __asan_region_is_poisoned(const_cast<T*>(&object), sizeof object) != nullptr;
}

/// Odd sizes and alignments.
struct Odd {
  char first[3];
  char last;
};
struct Three {
  char bytes[3];
};
struct alignas(128) Aligned {
  char bytes[5];
};

/// Data that references may read.
struct Geometry {
  int sectors = 0;
};

/// Request types of the user's own, with and without named bytes.
struct Plain {
  int before = 0;
  blkown::RequestHeader header;
  int after = 0;
};
struct Named {
  std::uint32_t public_part[3] = {};
  std::uint32_t own_part[5] = {};
  std::uint32_t behind = 0;
  blkown::RequestHeader header;
};

}  // namespace

template <>
inline constexpr bool blkown::shared_data<Geometry> = true;
template <>
struct blkown::RequestTraits<Plain> : blkown::EmbeddedHeader<&Plain::header> {};
template <>
struct blkown::RequestTraits<Named> : blkown::EmbeddedHeader<&Named::header> {
  static std::span<std::byte> poisoned_bytes(Named& request) {
    return std::as_writable_bytes(std::span{request.own_part});
  }
};

namespace {

class Poison : public testing::Test {
 protected:
  Poison() {
    auto idle = driver_.idle();
    data_ = &idle.data();
    std::move(idle).fail(blkown::Status::ok);
  }
  [[nodiscard]] bool is_poisoned() const { return poisoned(*data_); }

  Driver<> driver_;
  Command* data_ = nullptr;
};

[[nodiscard]] std::expected<void, int> refuse(const blkown::Cookie&) { return std::unexpected{1}; }

}  // namespace

TEST_F(Poison, IsOnTheDataOfAFreeTag) {
  EXPECT_TRUE(is_poisoned());
  auto idle = driver_.idle();
  EXPECT_FALSE(is_poisoned());
  std::move(idle).requeue();
  EXPECT_TRUE(is_poisoned()) << "in the list of ended requests";
  auto ended = driver_.sink.requeued.pop_front().value();
  EXPECT_FALSE(is_poisoned());
  std::move(ended).into_idle().fail(blkown::Status::ok);
  EXPECT_TRUE(is_poisoned());
}

TEST_F(Poison, IsOnTheDataOfATagInACache) {
  auto cache = driver_.set.tag_cache(blkown::QueueIndex{0});
  driver_.idle().requeue();
  auto ended = driver_.sink.requeued.pop_front().value();
  EXPECT_FALSE(is_poisoned());
  std::move(ended).release(cache);
  EXPECT_TRUE(is_poisoned());
}

TEST_F(Poison, IsOnTheDataWhileAnOwnedHasPublishedOrParked) {
  Owned owned = driver_.owned();
  EXPECT_FALSE(is_poisoned());
  std::move(owned).publish(
      [&](const blkown::Cookie&) { EXPECT_TRUE(is_poisoned()) << "in issue"; });
  EXPECT_TRUE(is_poisoned());
  const auto take = [&] {
    return support::take_value(
        driver_.set.tag_to_owned_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}));
  };
  take().park();
  EXPECT_TRUE(is_poisoned());
  {
    const Owned dropped = take();
  }
  EXPECT_TRUE(is_poisoned());
  Owned last = take();
  EXPECT_FALSE(is_poisoned());
  std::move(last).end_ok();
  EXPECT_TRUE(is_poisoned());
}

TEST_F(Poison, IsOnTheDataWhileAClaimHasPublishedOrReleased) {
  Claim claim = driver_.claimed();
  EXPECT_FALSE(is_poisoned());
  const blkown::Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_TRUE(is_poisoned());
  driver_.claim(cookie).release();
  EXPECT_TRUE(is_poisoned());
  Claim last = driver_.claim(cookie);
  EXPECT_FALSE(is_poisoned());
  std::move(last).end_ok();
  EXPECT_TRUE(is_poisoned());
}

// Goal: a library that takes a request out of its handle has no access to the data until it makes a
// handle again.
TEST_F(Poison, IsOnTheDataOfARequestWithoutItsHandle) {
  using Access = blkown::detail::HandleAccess;
  Claim claim = driver_.claimed();
  support::Request* const taken = Access::take(claim);
  ASSERT_NE(taken, nullptr);
  EXPECT_TRUE(is_poisoned());
  EXPECT_EQ(Access::take(claim), nullptr);
  Access::make_claim(*taken, blkown::detail::ClaimOrigin::completion, blkown::Place::current())
      .end_ok();
}

TEST_F(Poison, IsGoneForTheClaimThatARefusedPublishGivesBack) {
  auto refused = driver_.owned().publish(refuse);
  EXPECT_FALSE(is_poisoned());
  auto again = std::move(*refused.error().claim).publish(refuse);
  EXPECT_FALSE(is_poisoned());
  std::move(*again.error().claim).end_ok();
  EXPECT_TRUE(is_poisoned());
}

TEST_F(Poison, IsOnTheDataWhileOnlyPinsExist) {
  ARef pin = driver_.owned().into_shared();
  EXPECT_TRUE(is_poisoned());
  const blkown::Cookie cookie{
      .generation = pin.generation(), .tag = pin.tag(), .queue = pin.queue()};
  {
    Claim claim = support::take_value(blkown::claim(pin, cookie));
    EXPECT_FALSE(is_poisoned());
    std::move(claim).release();
  }
  EXPECT_TRUE(is_poisoned());
  Claim claim = support::take_value(blkown::try_claim(std::move(pin), cookie));
  EXPECT_FALSE(is_poisoned());
  {
    const ARef other = claim.pin();
    std::move(claim).end_ok();
    EXPECT_TRUE(is_poisoned()) << "ended, and pinned";
  }
  EXPECT_TRUE(is_poisoned());
  EXPECT_EQ(driver_.sink.count(), 2U);
}

TEST_F(Poison, IsGoneForTheHolderWhoBecomesTheOnlyOne) {
  ARef pin = driver_.owned().into_shared();
  ARef other = pin;
  EXPECT_FALSE(blkown::drop_or_own(std::move(other)).has_value());
  EXPECT_TRUE(is_poisoned());
  auto owned = blkown::drop_or_own(std::move(pin));
  EXPECT_FALSE(is_poisoned());
  pin = std::move(*owned).into_shared();
  EXPECT_TRUE(is_poisoned());
  auto only = support::take_value(Owned::try_from_shared(std::move(pin)));
  EXPECT_FALSE(is_poisoned());
  std::move(only).end_ok();
}

/// Starts each requeued I/O again.
struct RestartingSink {
  void operator()(support::EndedList&& list) {
    while (auto ended = list.pop_front()) {
      if (ended->is_requeue()) {
        started.emplace(std::move(*ended).into_idle().start());
      } else {
        std::move(*ended).release();
      }
    }
  }
  std::optional<Owned> started;
};

TEST(PoisonOfRequeue, IsNotOnTheDataOfAnIoThatTheSinkHasStartedAgain) {
  RestartingSink sink;
  auto set = support::TagSet::create(support::two_queues_of_eight,
                                     blkown::EndSink<support::Request>::to(sink));
  auto idle = set.value().allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0});
  std::move(idle).value().requeue();
  ASSERT_TRUE(sink.started.has_value());
  EXPECT_FALSE(poisoned(sink.started->data()));
  std::move(*sink.started).end_ok();
  sink.started.reset();
}

TEST_F(Poison, LeavesTheHeaderAndTheOtherRequestsUsable) {
  auto neighbour = driver_.idle(1);
  const blkown::Cookie cookie = driver_.in_flight();
  EXPECT_FALSE(poisoned(driver_.header()));
  EXPECT_FALSE(poisoned(neighbour.data()));
  driver_.complete(cookie);
  std::move(neighbour).fail(blkown::Status::ok);
}

// Method: data whose size is no multiple of AddressSanitizer's unit, and data with an alignment of
// its own.
TEST(PoisonOfData, CoversEveryByteOfAnySize) {
  Driver<blkown::Request<Odd>> odd;
  auto owned = odd.owned();
  const Odd& data = owned.data();
  std::move(owned).park();
  for (const char& byte : {std::cref(data.first[0]), std::cref(data.last)}) {
    EXPECT_TRUE(poisoned(byte));
  }
  odd.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}).value().end_ok();

  Driver<blkown::Request<Three>> three;
  auto third = three.owned();
  const Three& triple = third.data();
  std::move(third).park();
  for (const char& byte : triple.bytes) EXPECT_TRUE(poisoned(byte));
  three.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}).value().end_ok();

  Driver<blkown::Request<Aligned>> aligned;
  auto other = aligned.owned();
  const Aligned& bytes = other.data();
  std::move(other).park();
  EXPECT_TRUE(poisoned(bytes.bytes[4]));
  aligned.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}).value().end_ok();
}

// Goal: data that references may read is poisoned only while no reference and no I/O exists.
TEST(PoisonOfData, LeavesSharedDataReadableWhileReferencesExist) {
  Driver<blkown::Request<Geometry>> driver;
  auto idle = driver.idle();
  const Geometry& data = idle.data();
  auto claim = std::move(idle).start().into_claim();
  {
    const auto pin = claim.pin();
    const auto cookie = Driver<blkown::Request<Geometry>>::publish(std::move(claim));
    EXPECT_FALSE(poisoned(pin.data()));
    driver.claim(cookie).end_ok();
    EXPECT_FALSE(poisoned(pin.data())) << "ended, and pinned";
  }
  EXPECT_TRUE(poisoned(data));
}

// Goal: no reference is left to an ended I/O, so its data is poisoned in a list, although the data
// is shared.
TEST(PoisonOfData, IsOnSharedDataInAListOfEndedRequests) {
  Driver<blkown::Request<Geometry>> driver;
  auto idle = driver.idle();
  const Geometry& data = idle.data();
  std::move(idle).start().requeue();
  EXPECT_TRUE(poisoned(data)) << "delivered";
  auto ended = driver.sink.requeued.pop_front().value();
  EXPECT_FALSE(poisoned(data));
  driver.sink.requeued.push_back(std::move(ended));
  EXPECT_TRUE(poisoned(data)) << "appended";
  driver.sink.requeued.pop_front().value().into_idle().fail(blkown::Status::ok);
}

TEST(PoisonOfData, CoversAUsersRequestTypeIfTheTraitsNameBytes) {
  auto plain =
      blkown::TagSet<Plain>::create({.depth = 1, .layout = blkown::CookieLayout::nbd()},
                                    blkown::EndSink<Plain>::freeing(),
                                    [](blkown::QueueIndex, blkown::Tag) { return Plain{}; })
          .value();
  auto named =
      blkown::TagSet<Named>::create({.depth = 1, .layout = blkown::CookieLayout::nbd()},
                                    blkown::EndSink<Named>::freeing(),
                                    [](blkown::QueueIndex, blkown::Tag) { return Named{}; })
          .value();
  auto plain_idle = plain.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}).value();
  const Plain& all = plain_idle.data();
  std::move(plain_idle).fail(blkown::Status::ok);
  EXPECT_FALSE(poisoned(all));

  auto named_idle = named.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}).value();
  const Named& request = named_idle.data();
  EXPECT_FALSE(poisoned(request));
  std::move(named_idle).fail(blkown::Status::ok);
  for (const std::uint32_t& number : request.own_part) EXPECT_TRUE(poisoned(number));
  EXPECT_FALSE(poisoned(request.public_part) || poisoned(request.behind) ||
               poisoned(request.header));
}

/// A request with five words of data, and holes in it.
class PoisonOfHoles : public testing::Test {
 protected:
  using Words = std::array<std::uint64_t, 5>;
  using Hole = blkown::detail::PoisonHole;

  PoisonOfHoles() { words_ = &owned().data(); }

  blkown::Owned<blkown::Request<Words>>& owned() {
    if (!owned_.has_value()) owned_.emplace(driver_.owned());
    return *owned_;
  }
  void open(Hole& hole, const void* begin, const void* end) {
    hole.open(*blkown::detail::HandleAccess::look(owned()), begin, end);
  }
  /// Opens a hole at these bytes of the data.
  void open(Hole& hole, std::size_t begin_bytes, std::size_t end_bytes) {
    const auto* const first = reinterpret_cast<const std::byte*>(words_);
    open(hole, first + begin_bytes, first + end_bytes);
  }
  /// The poisoned words while the request is in flight, as "X" between "."; others are usable.
  std::string poisoned_words() {
    const auto cookie = driver_.publish(std::move(owned()));
    owned_.reset();
    std::string seen;
    for (const std::uint64_t& word : *words_) seen += poisoned(word) ? 'X' : '.';
    driver_.complete(cookie);
    return seen;
  }

  Driver<blkown::Request<Words>> driver_;
  std::optional<blkown::Owned<blkown::Request<Words>>> owned_;
  const Words* words_ = nullptr;
};

TEST_F(PoisonOfHoles, AreUsableInWhateverOrderTheyAreOpened) {
  for (const auto& [first, second] : {std::pair{1U, 3U}, std::pair{3U, 1U}}) {
    Hole one, other;
    open(one, first * 8, first * 8 + 8);
    open(other, second * 8, second * 8 + 8);
    EXPECT_EQ(poisoned_words(), "X.X.X");
  }
  EXPECT_EQ(poisoned_words(), "XXXXX");
}

TEST_F(PoisonOfHoles, MayBeAtBothEndsOfTheData) {
  Hole first, last;
  open(first, 0, 8);
  open(last, 32, 40);
  EXPECT_EQ(poisoned_words(), ".XXX.");
}

TEST_F(PoisonOfHoles, AUnitThatIsPartlyInAHoleIsUsable) {
  {
    Hole within;
    open(within, 17, 18);
    EXPECT_EQ(poisoned_words(), "XX.XX");
  }
  {
    Hole across;
    open(across, 15, 17);
    EXPECT_EQ(poisoned_words(), "X..XX");
  }
  Hole first, second, third;
  open(second, 18, 24);
  open(first, 16, 18);
  open(third, 24, 25);
  EXPECT_EQ(poisoned_words(), "XX..X") << "two in one unit, and one behind them";
}

TEST_F(PoisonOfHoles, AreOpenedOnce) {
  Hole hole;
  open(hole, 8, 16);
  open(hole, 8, 16);
  open(hole, 24, 32);
  EXPECT_EQ(poisoned_words(), "X.XXX");
}

TEST_F(PoisonOfHoles, AreClosedByTheirDestructors) {
  std::array<std::optional<Hole>, 3> holes;
  for (const std::size_t closed : {1U, 0U, 2U}) {
    for (std::size_t i = 0; i != 3; ++i) {
      if (!holes[i].has_value()) open(holes[i].emplace(), 16 * i, 16 * i + 8);
    }
    EXPECT_EQ(poisoned_words(), ".X.X.");
    holes[closed].reset();
    std::string expected = ".X.X.";
    expected[2 * closed] = 'X';
    EXPECT_EQ(poisoned_words(), expected);
  }
}

// Goal: an object outside of the request's data, such as a list that several requests use in turn,
// changes nothing.
TEST_F(PoisonOfHoles, AreInTheDataOrNone) {
  static std::uint64_t below = 0;
  std::uint64_t above = 0;
  Hole first, second, third, fourth;
  open(first, &below, &below + 1);
  open(second, &above, &above + 1);
  open(third, 32, 41);
  open(fourth, words_->data() - 1, words_->data() + 1);
  EXPECT_EQ(poisoned_words(), "XXXXX");
}

// Goal: memory that the caller gave to a TagSet is usable again, also for another TagSet.
TEST(PoisonOfData, EndsWithTheTagSet) {
  alignas(support::TagSet::storage_alignment_bytes()) static std::array<std::byte, 4096> storage;
  for (int round = 0; round != 2; ++round) {
    {
      const auto set = support::TagSet::create_in(storage, support::two_queues_of_eight,
                                                  blkown::EndSink<support::Request>::freeing());
      ASSERT_TRUE(set.has_value());
      EXPECT_TRUE(poisoned(storage));
    }
    EXPECT_FALSE(poisoned(storage));
  }
}

// Goal: so is memory of a TagSet that was never destroyed, as after a restart within the process.
TEST(PoisonOfData, DoesNotKeepAnotherTagSetFromTheMemoryOfALostOne) {
  alignas(support::TagSet::storage_alignment_bytes()) static std::array<std::byte, 4096> storage;
  alignas(support::TagSet) static std::array<std::byte, sizeof(support::TagSet)> lost;
  const auto create = [] {
    return support::TagSet::create_in(storage, support::two_queues_of_eight,
                                      blkown::EndSink<support::Request>::freeing());
  };
  ::new (static_cast<void*>(lost.data())) support::TagSet{create().value()};
  EXPECT_TRUE(poisoned(storage));
  EXPECT_TRUE(create().has_value());
  EXPECT_FALSE(poisoned(storage));
}

// --- the report ----------------------------------------------------------------------------------

using PoisonDeathTest = Poison;

TEST_F(PoisonDeathTest, StopsAReadAfterThePublication) {
  Owned owned = driver_.owned();
  const Command& kept = owned.data();
  const blkown::Cookie cookie = Driver<>::publish(std::move(owned));
  EXPECT_DEATH(static_cast<void>(*const_cast<const volatile int*>(&kept.sectors)),
               "use-after-poison");
  driver_.complete(cookie);
}

TEST_F(PoisonDeathTest, StopsAWriteInIssue) {
  EXPECT_DEATH(
      {
        Owned owned = driver_.owned();
        Command& kept = owned.data();
        std::move(owned).publish([&](const blkown::Cookie&) { kept.sectors = 1; });
      },
      "use-after-poison");
}

TEST_F(PoisonDeathTest, StopsAWriteAfterTheEnd) {
  EXPECT_DEATH(
      {
        Claim claim = driver_.claimed();
        Command& kept = claim.data();
        std::move(claim).end_ok();
        kept.sectors = 1;
      },
      "use-after-poison");
}

// Goal: a Claim inside the result of a lookup ends with the statement, and a reference from it as
// well. The language lets `->data()` of such a temporary compile (compile_fail/core/
// data_of_a_temporary.cpp).
TEST_F(PoisonDeathTest, StopsAWriteThroughTheDataOfALookupsTemporary) {
  EXPECT_DEATH(
      {
        const blkown::Cookie cookie = driver_.in_flight();
        Command& kept = driver_.set.claim(cookie.queue, cookie.value)->data();
        kept.sectors = 1;
      },
      "use-after-poison");
}

TEST_F(PoisonDeathTest, StopsAWriteToAnIdleThatWasFailed) {
  EXPECT_DEATH(
      {
        auto idle = driver_.idle();
        Command& kept = idle.data();
        std::move(idle).fail(blkown::Status::ok);
        kept.sectors = 1;
      },
      "use-after-poison");
}
