// SPDX-License-Identifier: BSL-1.0
//
// One request, and threads that make its transitions at the same moment. The memory that belongs to
// the holder of the right, or to the holder of a reference, is plain: if the library does not order
// two holders, ThreadSanitizer reports a data race.

#ifndef BLKOWN_TESTS_STRESS_RACE_HPP
#define BLKOWN_TESTS_STRESS_RACE_HPP

#include <gtest/gtest.h>

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <thread>
#include <utility>

#include "effort.hpp"
#include "rounds.hpp"

namespace stress {

/// The data of an I/O, which belongs to the holder of the right.
struct Command {
  std::uint64_t round = 0;       ///< Written before the publication.
  std::uint32_t generation = 0;  ///< The generation of the publication, written before it.
  std::uint64_t touched = 0;     ///< The number of holders of the right so far.
};

using Rq = blkown::Request<Command>;
using Tags = blkown::TagSet<Rq>;
using Idle = blkown::Idle<Rq>;
using Owned = blkown::Owned<Rq>;
using Claim = blkown::Claim<Rq>;
using ARef = blkown::ARef<Rq>;
using Ended = blkown::Ended<Rq>;
using EndedList = blkown::EndedList<Rq>;

/// Makes a TagSet. Creation cannot fail with these configurations.
[[nodiscard]] inline Tags make_tags(std::uint32_t depth, blkown::EndSink<Rq> sink) {
  return std::move(*Tags::create({.depth = depth, .layout = blkown::CookieLayout::nbd()}, sink));
}

class Race : public ::testing::Test {
 protected:
  [[nodiscard]] static std::uint64_t rounds() { return scaled(8'000, 2'500); }

  /// A new I/O with the number of the round in its data.
  [[nodiscard]] Owned start() {
    pages.fill(0);
    ends = 0;
    requeues = 0;
    auto owned = std::move(*tags.allocate(blkown::QueueIndex{0}, cache)).start();
    command = {.round = ++round, .generation = 0, .touched = 0};
    owned.data() = command;
    cookie = owned.next_cookie();
    return owned;
  }

  /// The work of a holder of the right: checks the publisher's write, then writes.
  template <class Handle>
  void touch(const Handle& handle) {
    Command& data = handle.data();
    EXPECT_EQ(data.round, command.round);
    ++data.touched;
  }

  /// Checks at the end of a round that the I/O ended exactly once, and frees its tag.
  void expect_one_end() {
    EXPECT_EQ(ends, 1U);
    while (auto back = ended.pop_front()) std::move(*back).release(cache);
  }

  /// Ends the I/O if the round left it parked: in flight, without a handle.
  void end_what_is_parked() {
    if (ends != 0) return;
    auto parked = tags.tag_to_owned_any_generation(blkown::QueueIndex{0}, blkown::Tag{0});
    if (!parked.has_value()) {
      ADD_FAILURE() << "neither ended nor parked: " << to_string(parked.error().reason);
      return;
    }
    touch(*parked);
    std::move(*parked).end(blkown::Status::aborted);
  }

  /// Looks up the cookie of the round until the lookup returns a handle, or a reason for which
  /// `over` is true.
  template <class LookUp, class Over>
  [[nodiscard]] auto look_up_until(LookUp look_up, Over over) {
    auto found = look_up();
    for (unsigned tries = 1; !found.has_value() && !over(found.error().reason); ++tries) {
      if (tries % 512 == 0) std::this_thread::yield();
      found = look_up();
    }
    return found;
  }
  /// Repeats a claim while the refusal is temporary: not published yet, or held by another thread.
  [[nodiscard]] auto claim_when_free() {
    return look_up_until([this] { return tags.claim(blkown::QueueIndex{0}, cookie.value); },
                         is_over);
  }
  [[nodiscard]] auto own_when_free() {
    return look_up_until([this] { return tags.tag_to_owned(blkown::QueueIndex{0}, cookie.value); },
                         is_over);
  }
  [[nodiscard]] auto pin_when_free() {
    return look_up_until([this] { return tags.tag_to_rq(blkown::QueueIndex{0}, cookie.value); },
                         is_over);
  }
  [[nodiscard]] static bool is_over(blkown::LookupReason reason) {
    return reason == blkown::LookupReason::idle || reason == blkown::LookupReason::stale_generation;
  }

  /// The buffer of the I/O. The holder of a reference writes its own cell, as a device writes
  /// memory that is mapped for it. The thread that is alone with the I/O afterwards reads all
  /// cells.
  std::array<std::uint64_t, 3> pages{};
  [[nodiscard]] std::uint64_t pages_written() const {
    std::uint64_t written = 0;
    for (const std::uint64_t page : pages) written += page == 0 ? 0 : 1;
    return written;
  }

  // Counted by the EndSink in this round. Plain: an I/O ends once.
  unsigned ends = 0;
  unsigned requeues = 0;
  std::uint64_t pages_at_end = 0;
  std::uint64_t touched_at_end = 0;
  EndedList ended;

  std::uint64_t round = 0;
  Command command;
  blkown::Cookie cookie;  // of the round's first publication

 private:
  struct Sink {
    Race& race;
    void operator()(EndedList&& list) {
      auto one = list.pop_front();
      EXPECT_EQ(one->data().round, race.command.round);
      race.touched_at_end = ++one->data().touched;
      race.pages_at_end = race.pages_written();
      ++(one->is_requeue() ? race.requeues : race.ends);
      race.ended.push_back(std::move(*one));
    }
  };
  Sink sink_{*this};

 protected:
  Tags tags = make_tags(1, blkown::EndSink<Rq>::to(sink_));
  blkown::TagCache cache = tags.tag_cache(blkown::QueueIndex{0}, 1);
};

}  // namespace stress

#endif
