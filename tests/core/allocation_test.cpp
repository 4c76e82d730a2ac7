// SPDX-License-Identifier: BSL-1.0
//
// Goal: creating a TagSet allocates once; no operation of an I/O allocates, errors included.
// Method: the program replaces the global allocation functions and counts their calls.

#include <gtest/gtest.h>

#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <new>
#include <optional>
#include <utility>

#include "support/counted_allocation.hpp"

namespace {

using blkown::Cookie;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;

struct Command {
  int sectors = 0;
};
using Request = blkown::Request<Command>;
using TagSet = blkown::TagSet<Request>;
using ARef = blkown::ARef<Request>;
using Owned = blkown::Owned<Request>;
using EndedList = blkown::EndedList<Request>;

constexpr blkown::TagSetConfig config{.queue_count = 2,
                                      .depth = 32,
                                      .layout = blkown::CookieLayout::nbd(),
                                      .first_generation = blkown::Generation{1}};

/// Keeps requeued requests in an EndedList, which does not allocate.
struct Sink {
  EndedList requeued;
  std::uint64_t ended = 0;
  void operator()(EndedList&& list) {
    while (auto one = list.pop_front()) {
      ++ended;
      if (one->is_requeue()) requeued.push_back(std::move(*one));
    }
  }
};

void ignore_report(blkown::Report, const blkown::Incident&) {}

using Doorbell = std::expected<void, int>;

/// Runs I/Os through every operation, refused lookups and dropped handles included.
void run_ios(TagSet& set, Sink& sink) {
  auto cache = set.tag_cache(QueueIndex{0}, 4);
  Cookie sent;
  const auto issue = [&](const Cookie& cookie) { sent = cookie; };
  const auto refuse = [](const Cookie&) -> Doorbell { return std::unexpected(5); };

  set.allocate(QueueIndex{0}, cache).value().start().publish(issue);
  set.claim(QueueIndex{0}, sent.value).value().end_ok();
  static_cast<void>(set.claim(QueueIndex{0}, sent.value));                     // idle
  static_cast<void>(set.claim(QueueIndex{0}, ~std::uint64_t{0}));              // no such queue
  static_cast<void>(set.tag_to_owned_any_generation(QueueIndex{1}, Tag{31}));  // idle
  {
    const auto dropped = set.allocate(QueueIndex{0}, cache);
  }  // dropped: reported
  set.allocate_tag(QueueIndex{1}, Tag{7}).value().start().publish(issue);
  {
    const auto dropped = set.claim(QueueIndex{1}, sent.value);
  }  // dropped: reported
  {
    const auto ignored = set.allocate(QueueIndex{0}, cache).value().start().publish(refuse);
  }
  {
    auto refused = set.allocate(QueueIndex{0}, cache).value().start().publish(refuse);
    std::move(*refused.error().claim).requeue();
    sink.requeued.pop_front().value().into_idle().start().end(Status::no_space);
  }
  {
    auto claim = set.allocate(QueueIndex{0}, cache).value().start().into_claim();
    std::optional<ARef> pin = claim.pin();
    auto pinned = std::move(claim).into_owned();
    std::move(pinned).error().publish(issue);
    auto shared = Owned::try_from_shared(ARef{*pin});
    auto taken = try_claim(std::move(shared).error(), sent);
    static_cast<void>(blkown::claim(*pin, sent));
    std::move(*taken).end(Status::timed_out);
    pin.reset();
  }
  set.allocate_tag(QueueIndex{1}, Tag{9}).value().start().park();
  set.for_each_in_flight(QueueIndex{1}, [](ARef pin, const Cookie& cookie) {
    blkown::claim(pin, cookie).value().end(Status::aborted);
  });
}
constexpr std::uint64_t ios_in_run = 8;

}  // namespace

TEST(Allocation, HappensOnceWhenATagSetIsMade) {
  Sink sink;
  const std::uint64_t before = allocations;
  const std::uint64_t freed_before = deallocations;
  std::uint64_t made = 0;
  {
    auto set = TagSet::create(config, blkown::EndSink<Request>::to(sink));
    made = allocations - before;
  }
  EXPECT_EQ(made, 1U);
  EXPECT_EQ(deallocations - freed_before, 1U);
}

TEST(Allocation, DoesNotHappenInStorageOfTheCaller) {
  alignas(TagSet::storage_alignment_bytes()) static std::byte storage[64 * 1024];
  ASSERT_LE(TagSet::storage_bytes(config), sizeof storage);
  const auto handler = blkown::set_report_handler(&ignore_report);
  Sink sink;
  const std::uint64_t before = allocations;
  const std::uint64_t freed_before = deallocations;
  {
    auto set = TagSet::create_in(storage, config, blkown::EndSink<Request>::to(sink)).value();
    run_ios(set, sink);
  }
  EXPECT_EQ(allocations - before, 0U);
  EXPECT_EQ(deallocations - freed_before, 0U);
  blkown::set_report_handler(handler);
}

TEST(Allocation, DoesNotHappenDuringAnIo) {
  const auto handler = blkown::set_report_handler(&ignore_report);
  Sink sink;
  auto set = TagSet::create(config, blkown::EndSink<Request>::to(sink)).value();
  const std::uint64_t before = allocations;
  const std::uint64_t freed_before = deallocations;
  for (int i = 0; i < 100; ++i) run_ios(set, sink);
  EXPECT_EQ(allocations - before, 0U);
  EXPECT_EQ(deallocations - freed_before, 0U);
  EXPECT_EQ(sink.ended, 100 * ios_in_run);
  blkown::set_report_handler(handler);
}

TEST(Allocation, ThatFailsIsAnError) {
  Sink sink;
  is_exhausted = true;
  const auto made = TagSet::create(config, blkown::EndSink<Request>::to(sink));
  is_exhausted = false;
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error(), (blkown::TagSetError{blkown::TagSetReason::out_of_memory, 0,
                                               TagSet::storage_bytes(config)}));
}

// Goal: when creation fails after the allocation, the memory is freed.
TEST(Allocation, OfARefusedTagSetIsFreed) {
  const std::uint64_t before = allocations;
  const std::uint64_t freed_before = deallocations;
  const auto made = TagSet::create(config, blkown::EndSink<Request>{});
  EXPECT_FALSE(made.has_value());
  EXPECT_EQ(allocations - before, deallocations - freed_before);
}

// Goal: the replaced functions are called, so a count of 0 means something.
TEST(Allocation, IsSeenByThisProgram) {
  const std::uint64_t before = allocations;
  ::operator delete(::operator new(100));  // a call by name is not optimised away
  EXPECT_EQ(allocations - before, 1U);
}
