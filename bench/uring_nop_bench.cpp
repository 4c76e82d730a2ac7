// SPDX-License-Identifier: BSL-1.0
//
// A real device: io_uring's NOP, which only passes through the kernel, in batches. Three forms:
// "raw" has the number of a slot in user_data. "library" allocates, starts, publishes (issue fills
// the entry), and claims and ends each completion. "bare" does the same by hand
// (baselines/bare.hpp): the minimum cost of tags that can be looked up beside such a device. Each
// form adds up a number that each I/O carries.

#include <benchmark/benchmark.h>
#include <liburing.h>

#include <baselines/bare.hpp>
#include <cstdint>
#include <support/io.hpp>
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

void finish(benchmark::State& state, unsigned batch, std::uint64_t sum, std::uint64_t number) {
  state.SetItemsProcessed(state.iterations() * batch);
  if (sum != sum_below(number)) state.SkipWithError("the sums differ");
}

void nop_raw(benchmark::State& state) {
  Ring ring;
  if (!ring.usable()) {
    state.SkipWithError("io_uring cannot be used here");
    return;
  }
  const auto batch = static_cast<unsigned>(state.range(0));
  std::vector<Command> slots(batch);
  std::uint64_t number = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    for (unsigned slot = 0; slot != batch; ++slot) {
      slots[slot].number = number++;
      ring.prepare(slot);
    }
    ring.submit_and_reap(batch, [&](std::uint64_t slot) { sum += slots[slot].number; });
  }
  finish(state, batch, sum, number);
}
BENCHMARK(nop_raw)->Name("uring_nop/raw")->Arg(1)->Arg(32)->Arg(128);

void nop_library(benchmark::State& state) {
  Ring ring;
  if (!ring.usable()) {
    state.SkipWithError("io_uring cannot be used here");
    return;
  }
  const auto batch = static_cast<unsigned>(state.range(0));
  Queue queue;
  std::uint64_t number = 0;
  for (auto _ : state) {
    for (unsigned i = 0; i != batch; ++i) {
      Owned<Request> owned = queue.allocate().start();
      owned.data().number = number++;
      std::move(owned).publish([&](Cookie cookie) { ring.prepare(cookie.value); });
    }
    ring.submit_and_reap(batch, [&](std::uint64_t value) {
      must(queue.tags().claim(blkown::QueueIndex{0}, value)).end_ok();
    });
  }
  finish(state, batch, queue.sum(), number);
}
BENCHMARK(nop_library)->Name("uring_nop/library")->Arg(1)->Arg(32)->Arg(128);

void nop_bare(benchmark::State& state) {
  Ring ring;
  if (!ring.usable()) {
    state.SkipWithError("io_uring cannot be used here");
    return;
  }
  const auto batch = static_cast<unsigned>(state.range(0));
  HandWrittenQueue<Bare> queue;
  std::uint64_t number = 0;
  for (auto _ : state) {
    for (unsigned i = 0; i != batch; ++i) {
      auto& slot = queue.allocate();
      Bare::start(slot.words);
      slot.data.number = number++;
      const std::uint64_t cookie = queue.cookie(slot, Bare::next_generation(slot.words));
      Bare::publish(slot.words);
      ring.prepare(cookie);
    }
    ring.submit_and_reap(batch, [&](std::uint64_t value) {
      Match match;
      auto& found = queue.locate(value, match);
      must(Bare::claim(found.words, match));
      queue.set_outcome(found, blkown::Status::ok);
      Bare::end(found.words);
      queue.deliver(found);
    });
  }
  finish(state, batch, queue.sum(), number);
}
BENCHMARK(nop_bare)->Name("uring_nop/bare")->Arg(1)->Arg(32)->Arg(128);

}  // namespace
}  // namespace bench
