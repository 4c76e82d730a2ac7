// SPDX-License-Identifier: BSL-1.0
//
// Goal: an I/O that ends in one thread reaches another thread complete, over any channel that the
// EndSink uses. A requeued I/O starts again with every earlier write visible.
//
// Method: one submitter, and one or two completing threads that find I/Os by cookie and end or
// requeue them. The EndSink only queues. The submitter takes the list, reads the data, and frees
// the tags or starts the I/Os again. See reuse.hpp.
//
// Invariants: every I/O returns to its submitter once, with its status. The count of touches in the
// data is the number of its holders.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <utility>

#include "effort.hpp"
#include "meeting.hpp"
#include "race.hpp"
#include "reuse.hpp"

namespace stress {
namespace {

class EndedTransitions : public Reuse {
 protected:
  /// Submits all I/Os and takes back the ended ones. `take_back()` returns how many are finished.
  template <class TakeBack>
  void submit_all(Random& random, blkown::TagCache& cache, TakeBack take_back) {
    std::uint64_t submitted = 0;
    for (std::uint64_t back = 0; back != ios();) {
      const std::uint64_t before = submitted + back;
      if (submitted != ios()) {
        if (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) {
          publish(std::move(*idle));
          ++submitted;
        }
      }
      back += take_back();
      if (submitted + back == before) wait_a_little(random);
    }
    over.store(true, std::memory_order_relaxed);
  }

  /// Finds I/Os by cookie until all are finished. `finish(Claim)` ends each.
  template <class Finish>
  void complete_all(Random& random, Finish finish) {
    while (!over.load(std::memory_order_relaxed)) {
      auto right = tags.claim(blkown::QueueIndex{0}, any_cookie(random));
      if (!right.has_value()) {
        wait_a_little(random);
        continue;
      }
      expect_named(*right);
      finish(std::move(*right));
    }
  }

  std::atomic<bool> over{false};
};

TEST_F(EndedTransitions, AListUnderAMutexHandsTheEndedOver) {
  sink = &queue_under_mutex;
  const auto submitter = [&](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 2);
    submit_all(random, cache, [&] {
      std::uint64_t back = 0;
      while (auto one = take_queued()) {
        touch(*one);
        EXPECT_EQ(one->status(), blkown::Status::medium_error);
        std::move(*one).release(cache);
        ++back;
      }
      return back;
    });
  };
  const auto completer = [&](Random& random) {
    complete_all(random, [](Claim right) { std::move(right).end(blkown::Status::medium_error); });
  };
  run(submitter, completer, completer);
  // One touch each by the submitter, the claimant, the sink, and the submitter again.
  expect_touched(4 * ios());
}

// The same over one slot: the completer fills the slot with a whole list, and the submitter empties
// the slot.
TEST_F(EndedTransitions, AListOverAReleaseAcquireSlotHandsTheEndedOver) {
  sink = &collect;
  EndedList slot;
  std::atomic<bool> full{false};
  const auto submitter = [&](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 2);
    submit_all(random, cache, [&] {
      std::uint64_t back = 0;
      if (!full.load(std::memory_order_acquire)) return back;
      EndedList taken = std::move(slot);
      full.store(false, std::memory_order_release);
      while (auto one = taken.pop_front()) {
        touch(*one);
        std::move(*one).release(cache);
        ++back;
      }
      return back;
    });
  };
  const auto completer = [&](Random& random) {
    EndedList mine;
    thread_list = &mine;
    while (!over.load(std::memory_order_relaxed)) {
      auto right = tags.claim(blkown::QueueIndex{0}, any_cookie(random));
      if (right.has_value()) {
        expect_named(*right);
        std::move(*right).end_ok();
      } else {
        wait_a_little(random);
      }
      if (!mine.empty() && !full.load(std::memory_order_acquire)) {
        slot.append(std::move(mine));
        full.store(true, std::memory_order_release);
      }
    }
  };
  run(submitter, completer);
  expect_touched(4 * ios());
}

// The submitter starts a requeued I/O again, under the same tag and a new generation.
TEST_F(EndedTransitions, ARequeueHandsTheRequestBackToBeStartedAgain) {
  sink = &queue_under_mutex;
  std::atomic<std::uint64_t> requeues{0};
  const auto submitter = [&](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    submit_all(random, cache, [&] {
      std::uint64_t back = 0;
      while (auto one = take_queued()) {
        if (one->is_requeue()) {
          publish(std::move(*one).into_idle());
        } else {
          std::move(*one).release();
          ++back;
        }
      }
      return back;
    });
  };
  const auto completer = [&](Random& random) {
    complete_all(random, [&](Claim right) {
      if (random.one_in(3)) {
        requeues.fetch_add(1, std::memory_order_relaxed);
        std::move(right).requeue();
      } else {
        std::move(right).end_ok();
      }
    });
  };
  run(submitter, completer, completer);
  // One touch each by the submitter, the claimant and the sink.
  expect_touched(3 * (ios() + requeues.load()));
}

}  // namespace
}  // namespace stress
