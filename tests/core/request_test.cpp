// SPDX-License-Identifier: BSL-1.0
//
// Requests: their layout, their data, and foreign structs as requests.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "support/driver.hpp"

using blkown::EmbeddedHeader;
using blkown::QueueIndex;
using blkown::RequestHeader;
using blkown::Tag;
using support::Driver;

namespace {

constexpr std::size_t line_bytes = blkown::cache_line_bytes;

struct Empty {};

/// Data that holds a pin of its own request, as a stored mapping does.
struct PinsItself {
  std::optional<blkown::ARef<blkown::Request<PinsItself>>> mapping;
};

}  // namespace

// Whoever has the pin may drop it, also after the end.
template <>
inline constexpr bool blkown::shared_data<PinsItself> = true;

namespace {

/// Immovable data, which records the arguments and the number of its constructions.
struct Immovable {
  Immovable(QueueIndex built_for_queue, Tag built_for_tag)
      : queue{built_for_queue}, tag{built_for_tag} {
    ++built;
  }
  Immovable(const Immovable&) = delete;
  Immovable& operator=(const Immovable&) = delete;
  ~Immovable() { ++destroyed; }

  blkown::QueueIndex queue;
  Tag tag;
  int writes = 0;
  static inline int built = 0;
  static inline int destroyed = 0;
};

struct alignas(256) OverAligned {
  std::byte page[300];
};

/// A kernel-like request: a C struct below a cache line's size with the header in the middle.
struct kernel_request {
  int opcode = 0;
  RequestHeader header;
  long sector = 0;
};

/// A request whose data is one of its members.
struct split_request {
  int driver_part = 0;
  RequestHeader header;
};

struct NotARequest {
  RequestHeader header;
};

template <class R>
std::uintptr_t address_of(const R& object) {
  return reinterpret_cast<std::uintptr_t>(&object);
}

}  // namespace

template <>
struct blkown::RequestTraits<kernel_request> : EmbeddedHeader<&kernel_request::header> {};
template <>
struct blkown::RequestTraits<split_request> {
  using Data = int;
  static RequestHeader& header(split_request& request) { return request.header; }
  static int& data(split_request& request) { return request.driver_part; }
};

static_assert(sizeof(RequestHeader) <= 40);
static_assert(sizeof(blkown::Request<Empty>) == line_bytes &&
              alignof(blkown::Request<Empty>) == line_bytes);
static_assert(sizeof(blkown::Request<int>) == line_bytes, "the data follows the header");
static_assert(sizeof(blkown::Request<std::array<std::byte, 1000>>) % line_bytes == 0);
static_assert(alignof(blkown::Request<OverAligned>) == 256);
static_assert(sizeof(blkown::Idle<kernel_request>) == sizeof(void*) &&
              sizeof(blkown::Claim<kernel_request>) == sizeof(void*));
static_assert(blkown::RequestType<kernel_request> && blkown::RequestType<split_request>);
static_assert(!blkown::RequestType<NotARequest> && !blkown::RequestType<int>);
static_assert(!std::is_copy_constructible_v<RequestHeader> &&
              !std::is_move_constructible_v<RequestHeader>);

TEST(Request, KnowsItsQueueAndTag) {
  Driver<> driver;
  for (std::uint32_t queue = 0; queue < 2; ++queue) {
    for (std::uint32_t tag = 0; tag < 8; ++tag) {
      const auto cookie = driver.in_flight(tag, queue);
      EXPECT_EQ(driver.header(tag, queue).queue(), blkown::QueueIndex{queue});
      EXPECT_EQ(driver.header(tag, queue).tag(), Tag{tag});
      driver.complete(cookie);
    }
  }
}

TEST(Request, BeginsItsDataAsZeroUnlessItIsBuilt) {
  Driver<> driver;
  auto idle = driver.idle();
  EXPECT_EQ(idle.data().sectors, 0);
  std::move(idle).fail(blkown::Status::ok);
}

// Goal: immovable data is built in place, once for each request, and destroyed with the TagSet.
TEST(Request, BuildsImmovableDataOnceForEachQueueAndTag) {
  using Set = blkown::TagSet<blkown::Request<Immovable>>;
  Immovable::built = Immovable::destroyed = 0;
  {
    auto build = [](QueueIndex queue, Tag tag) { return Immovable(queue, tag); };
    auto set = Set::create({.queue_count = 2, .depth = 3, .layout = blkown::CookieLayout::nbd()},
                           blkown::EndSink<blkown::Request<Immovable>>::freeing(), build)
                   .value();
    EXPECT_EQ(Immovable::built, 6);
    for (int io = 0; io < 3; ++io) {
      auto owned = set.allocate_tag(QueueIndex{1}, Tag{2}).value().start();
      EXPECT_EQ(owned.data().queue, blkown::QueueIndex{1});
      EXPECT_EQ(owned.data().tag, Tag{2});
      EXPECT_EQ(owned.data().writes++, io) << "data is not reset between I/Os";
      std::move(owned).end_ok();
    }
    EXPECT_EQ(Immovable::built, 6);
    EXPECT_EQ(Immovable::destroyed, 0);
  }
  EXPECT_EQ(Immovable::destroyed, 6);
}

TEST(Request, HoldsAMappingThatPinsItself) {
  Driver<blkown::Request<PinsItself>> driver;
  auto claim = driver.owned().into_claim();
  claim.data().mapping = claim.pin();
  EXPECT_EQ(driver.state(), "3 claimed");
  const auto cookie = driver.publish(std::move(claim));
  EXPECT_EQ(driver.state(), "2");
  auto completed = driver.claim(cookie);
  EXPECT_EQ(driver.state(), "3 claimed");
  completed.data().mapping.reset();
  EXPECT_EQ(driver.state(), "2 claimed");
  auto owned = std::move(completed).into_owned();
  ASSERT_TRUE(owned.has_value());
  std::move(*owned).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// Goal: an ended I/O whose own data holds a pin stays unfinished until the pin is dropped.
TEST(Request, WaitsForItsOwnPinWhenItIsEnded) {
  Driver<blkown::Request<PinsItself>> driver;
  auto claim = driver.owned().into_claim();
  PinsItself& data = claim.data();
  data.mapping = claim.pin();
  std::move(claim).end_ok();
  EXPECT_EQ(driver.state(), "2 finished");
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_EQ(driver.set.in_flight(), 1U);
  data.mapping.reset();
  EXPECT_EQ(driver.state(), "0");
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST(Request, HonoursTheAlignmentOfItsData) {
  Driver<blkown::Request<OverAligned>> driver;
  for (std::uint32_t tag = 0; tag < 4; ++tag) {
    auto owned = driver.owned(tag);
    EXPECT_EQ(address_of(owned.data()) % 256, 0U);
    std::move(owned).end_ok();
  }
}

template <class R>
class RequestOf : public testing::Test {};
using RequestTypes = testing::Types<blkown::Request<Empty>, blkown::Request<int>,
                                    blkown::Request<std::array<std::byte, 100>>,
                                    blkown::Request<OverAligned>, kernel_request, split_request>;
TYPED_TEST_SUITE(RequestOf, RequestTypes);

// Goal: the words of two requests never share a cache line, and a request never moves.
TYPED_TEST(RequestOf, SharesNoLineAndStaysInPlace) {
  Driver<TypeParam> driver;
  std::uintptr_t behind_last = 0;
  for (std::uint32_t queue = 0; queue < 2; ++queue) {
    for (std::uint32_t tag = 0; tag < 8; ++tag) {
      TypeParam* const request = driver.idle(tag, queue).into_raw();
      const std::uintptr_t begin = address_of(*request);
      EXPECT_EQ(begin % line_bytes, 0U);
      EXPECT_EQ(begin % alignof(TypeParam), 0U);
      EXPECT_GE(begin, behind_last) << "two requests share a line";
      behind_last = (begin + sizeof(TypeParam) + line_bytes - 1) / line_bytes * line_bytes;

      blkown::Idle<TypeParam>::from_raw(request).fail(blkown::Status::ok);
      TypeParam* const again = driver.idle(tag, queue).into_raw();
      EXPECT_EQ(again, request);
      blkown::Idle<TypeParam>::from_raw(again).fail(blkown::Status::ok);
    }
  }
}

// Goal: every handle and every lookup works for each kind of request.
TYPED_TEST(RequestOf, GoesThroughALife) {
  Driver<TypeParam> driver;
  blkown::ARef<TypeParam> pin = driver.owned(3).into_shared();
  auto owned = blkown::Owned<TypeParam>::try_from_shared(std::move(pin)).value();
  const auto cookie = driver.publish(std::move(owned).into_claim());
  EXPECT_EQ(driver.state(3), "1");
  EXPECT_EQ(driver.refusal(cookie), blkown::LookupReason::none);
  EXPECT_EQ(driver.sink.last(), (support::EndRecord{.queue = 0, .tag = 3}));
}

TEST(ForeignRequest, IsItsOwnData) {
  Driver<kernel_request> driver;
  auto owned = driver.owned(1, 1);
  owned.data().opcode = 7;
  EXPECT_EQ(&owned.header(), &owned.data().header);
  EXPECT_EQ(owned.queue(), QueueIndex{1});
  auto claim = driver.claim(driver.publish(std::move(owned)));
  EXPECT_EQ(claim.data().opcode, 7);
  std::move(claim).end_ok();
}

TEST(ForeignRequest, CanCallAPartOfItselfItsData) {
  Driver<split_request> driver;
  auto owned = driver.owned();
  int& data = owned.data();
  data = 3;
  std::move(owned).end_ok();
  auto next = driver.owned();
  EXPECT_EQ(next.data(), 3);
  std::move(next).end_ok();
}

TEST(ForeignRequest, IsBuiltByTheCaller) {
  using Set = blkown::TagSet<kernel_request>;
  // A struct with a header cannot be moved, so the lambda returns a prvalue.
  auto build = [](QueueIndex queue, Tag tag) {
    return kernel_request{
        .opcode = static_cast<int>(queue.value), .header = {}, .sector = tag.value};
  };
  auto set = Set::create({.queue_count = 2, .depth = 4, .layout = blkown::CookieLayout::nbd()},
                         blkown::EndSink<kernel_request>::freeing(), build)
                 .value();
  auto idle = set.allocate_tag(QueueIndex{1}, Tag{3}).value();
  EXPECT_EQ(idle.data().opcode, 1);
  EXPECT_EQ(idle.data().sector, 3);
  std::move(idle).fail(blkown::Status::ok);
}
