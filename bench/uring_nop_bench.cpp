// SPDX-License-Identifier: BSL-1.0
//
// A real device: io_uring's NOP, which only passes through the kernel, in batches. Three forms take
// turns, on one ring:
//
//   raw      has the number of a slot in user_data
//   bare     has tags that can be looked up, by hand (baselines/bare.hpp): the floor
//   library  allocates, starts, publishes (issue fills the entry), and claims and ends each
//            completion
//
// Each form adds up a number that each I/O carries. Times are processor times of the thread, the
// kernel's part included.

#include <benchmark/benchmark.h>
#include <liburing.h>

#include <array>
#include <baselines/bare.hpp>
#include <cstddef>
#include <cstdint>
#include <support/io.hpp>
#include <support/turns.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

class Ring {
 public:
  Ring() : error_{io_uring_queue_init(depth, &ring_, 0)} {}
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (error_ == 0) io_uring_queue_exit(&ring_);
  }
  [[nodiscard]] bool usable() const { return error_ == 0; }

  void prepare(std::uint64_t user_data) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    must(entry != nullptr);
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data64(entry, user_data);
  }
  /// Submits, waits, and calls `complete(user_data)` for each of `count` completions.
  template <class Complete>
  void submit_and_reap(unsigned count, Complete complete) {
    must(io_uring_submit_and_wait(&ring_, count) == static_cast<int>(count));
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring_, head, entry) {
      complete(entry->user_data);
      ++seen;
    }
    io_uring_cq_advance(&ring_, seen);
    must(seen == count);
  }

 private:
  io_uring ring_{};
  int error_;
};

/// The number of a slot in user_data.
class Raw {
 public:
  [[gnu::noinline]] void run(Ring& ring, unsigned batches, unsigned batch) {
    for (unsigned i = 0; i != batches; ++i) {
      for (unsigned slot = 0; slot != batch; ++slot) {
        slots_[slot].number = number_++;
        ring.prepare(slot);
      }
      ring.submit_and_reap(batch, [&](std::uint64_t slot) { sum_ += slots_[slot].number; });
    }
  }
  [[nodiscard]] bool is_right() const { return sum_ == sum_below(number_); }

 private:
  std::vector<Command> slots_ = std::vector<Command>(depth);
  std::uint64_t number_ = 0;
  std::uint64_t sum_ = 0;
};

/// The floor.
class ByHand {
 public:
  [[gnu::noinline]] void run(Ring& ring, unsigned batches, unsigned batch) {
    for (unsigned i = 0; i != batches; ++i) {
      for (unsigned n = 0; n != batch; ++n) {
        auto& slot = queue_.allocate();
        Bare::start(slot.words);
        slot.data.number = number_++;
        const std::uint64_t cookie = queue_.cookie(slot, Bare::next_generation(slot.words));
        Bare::publish(slot.words);
        ring.prepare(cookie);
      }
      ring.submit_and_reap(batch, [&](std::uint64_t value) {
        Match match;
        auto& found = queue_.locate(value, match);
        must(Bare::claim(found.words, match));
        queue_.set_outcome(found, blkown::Status::ok);
        Bare::end(found.words);
        queue_.deliver(found);
      });
    }
  }
  [[nodiscard]] bool is_right() const { return queue_.sum() == sum_below(number_); }

 private:
  HandWrittenQueue<Bare> queue_;
  std::uint64_t number_ = 0;
};

class Library {
 public:
  [[gnu::noinline]] void run(Ring& ring, unsigned batches, unsigned batch) {
    for (unsigned i = 0; i != batches; ++i) {
      for (unsigned n = 0; n != batch; ++n) {
        Owned<Request> owned = queue_.allocate().start();
        owned.data().number = number_++;
        std::move(owned).publish([&](Cookie cookie) { ring.prepare(cookie.value); });
      }
      ring.submit_and_reap(batch, [&](std::uint64_t value) {
        must(queue_.tags().claim(blkown::QueueIndex{0}, value)).end_ok();
      });
    }
  }
  [[nodiscard]] bool is_right() const { return queue_.sum() == sum_below(number_); }

 private:
  Queue queue_;
  std::uint64_t number_ = 0;
};

void nop(benchmark::State& state) {
  enum : std::size_t { raw, bare, library };
  // One ring: two rings may differ in where their memory is by more than the forms differ.
  Ring ring;
  if (!ring.usable()) {
    state.SkipWithError("io_uring cannot be used here");
    return;
  }
  constexpr unsigned ios_in_a_turn = 1024;
  const auto batch = static_cast<unsigned>(state.range(0));
  const unsigned batches = ios_in_a_turn / batch;
  Raw as_raw;
  ByHand by_hand;
  Library by_library;
  Turns<3> turns;
  for (auto _ : state) {
    turns.take(raw, ios_in_a_turn, [&] { as_raw.run(ring, batches, batch); });
    turns.take(bare, ios_in_a_turn, [&] { by_hand.run(ring, batches, batch); });
    turns.take(library, ios_in_a_turn, [&] { by_library.run(ring, batches, batch); });
  }
  if (!as_raw.is_right() || !by_hand.is_right() || !by_library.is_right()) {
    state.SkipWithError("the sums differ");
  }
  state.counters["raw_ns"] = turns.median_ns(raw);
  state.counters["bare_ns"] = turns.median_ns(bare);
  state.counters["library_ns"] = turns.median_ns(library);
  state.counters["library_per_bare"] = turns.ratio(library, bare);
  state.counters["bare_per_raw"] = turns.ratio(bare, raw);
}
BENCHMARK(nop)->Name("uring_nop")->Arg(1)->Arg(32)->Arg(128)->Iterations(256);

}  // namespace
}  // namespace bench
