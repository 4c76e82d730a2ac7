// SPDX-License-Identifier: BSL-1.0
//
// The cost of a whole I/O on one thread with warm lines, in three cycles:
//
//   simple   allocate, start, publish, claim, end
//   seed     the kernel's six steps: Owned; shared; a second reference for the mapping, and the
//            driver's dropped; looked up by the completion; the mapping's dropped; Owned again, end
//   pinned   the same I/O with a Claim: pinned for the mapping, published, claimed, unpinned, ended
//
// Each cycle runs through the library, by hand with the fewest read-modify-writes (bare), and in
// the kernel's scheme. That scheme has no Claim, so its pinned I/O takes the steps of seed. simple
// and seed also run with three atomics in place of one word.
//
// Each I/O carries a number from the submitter to the sink. If the sum of the numbers is wrong,
// because an I/O was lost, repeated or optimised away, the benchmark reports an error.

#include <benchmark/benchmark.h>

#include <baselines/bare.hpp>
#include <baselines/kernel_scheme.hpp>
#include <baselines/three_fields.hpp>
#include <cstdint>
#include <optional>
#include <support/io.hpp>
#include <utility>

namespace bench {
namespace {

/// Runs `io(number)` for each iteration, then checks the sum of the sink.
template <class Queue, class Io>
void run_cycle(benchmark::State& state, const Queue& queue, Io io) {
  const AtomicMeter meter;
  std::uint64_t number = 0;
  for (auto _ : state) io(number++);
  meter.report(state);
  if (queue.sum() != sum_below(number)) state.SkipWithError("the sums differ");
}

// --- the library ---

void simple_library(benchmark::State& state) {
  Queue queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    Owned<Request> owned = queue.allocate().start();
    owned.data().number = number;
    std::uint64_t value = 0;
    std::move(owned).publish([&](Cookie cookie) { value = through_device(cookie.value); });
    must(queue.tags().claim(blkown::QueueIndex{0}, value)).end_ok();
  });
}
BENCHMARK(simple_library)->Name("simple/library");

void seed_library(benchmark::State& state) {
  Queue queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    Owned<Request> owned = queue.allocate().start();
    owned.data().number = number;
    std::uint64_t value = owned.next_cookie().value;
    ARef<Request> driver = std::move(owned).into_shared();
    std::optional<ARef<Request>> mapping{driver};
    {
      const ARef<Request> dropped = std::move(driver);
    }
    value = through_device(value);
    ARef<Request> completion = must(queue.tags().tag_to_rq(blkown::QueueIndex{0}, value));
    mapping.reset();
    must(Owned<Request>::try_from_shared(std::move(completion))).end_ok();
  });
}
BENCHMARK(seed_library)->Name("seed/library");

void pinned_library(benchmark::State& state) {
  Queue queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    Claim<Request> submitting = queue.allocate().start().into_claim();
    submitting.data().number = number;
    std::optional<ARef<Request>> mapping{submitting.pin()};
    std::uint64_t value = 0;
    std::move(submitting).publish([&](Cookie cookie) { value = through_device(cookie.value); });
    Claim<Request> completing = must(queue.tags().claim(blkown::QueueIndex{0}, value));
    mapping.reset();
    std::move(completing).end_ok();
  });
}
BENCHMARK(pinned_library)->Name("pinned/library");

// --- by hand ---

template <class Protocol>
void simple_by_hand(benchmark::State& state) {
  HandWrittenQueue<Protocol> queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    auto& slot = queue.allocate();
    Protocol::start(slot.words);
    slot.data.number = number;
    const std::uint64_t cookie = queue.cookie(slot, Protocol::next_generation(slot.words));
    Protocol::publish(slot.words);
    Match match;
    auto& found = queue.locate(through_device(cookie), match);
    must(Protocol::claim(found.words, match));
    queue.set_outcome(found, blkown::Status::ok);
    Protocol::end(found.words);
    queue.deliver(found);
  });
}
BENCHMARK(simple_by_hand<Bare>)->Name("simple/bare");
BENCHMARK(simple_by_hand<KernelScheme>)->Name("simple/kernel_scheme");
BENCHMARK(simple_by_hand<ThreeFields<0>>)->Name("simple/three_fields_idle_0");
BENCHMARK(simple_by_hand<ThreeFields<1>>)->Name("simple/three_fields_idle_1");

template <class Protocol>
void seed_by_hand(benchmark::State& state) {
  HandWrittenQueue<Protocol> queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    auto& slot = queue.allocate();
    Protocol::start(slot.words);
    slot.data.number = number;
    const std::uint64_t cookie = queue.cookie(slot, Protocol::next_generation(slot.words));
    Protocol::into_shared(slot.words);
    Protocol::map(slot.words);
    Protocol::drop(slot.words);
    Match match;
    auto& found = queue.locate(through_device(cookie), match);
    must(Protocol::tag_to_rq(found.words, match));
    Protocol::unmap(found.words);
    must(Protocol::try_from_shared(found.words));
    queue.set_outcome(found, blkown::Status::ok);
    Protocol::end(found.words);
    queue.deliver(found);
  });
}
BENCHMARK(seed_by_hand<Bare>)->Name("seed/bare");
BENCHMARK(seed_by_hand<KernelScheme>)->Name("seed/kernel_scheme");
BENCHMARK(seed_by_hand<ThreeFields<0>>)->Name("seed/three_fields_idle_0");
BENCHMARK(seed_by_hand<ThreeFields<1>>)->Name("seed/three_fields_idle_1");

void pinned_bare(benchmark::State& state) {
  HandWrittenQueue<Bare> queue;
  run_cycle(state, queue, [&](std::uint64_t number) {
    auto& slot = queue.allocate();
    Bare::start(slot.words);
    slot.data.number = number;
    const std::uint64_t cookie = queue.cookie(slot, Bare::next_generation(slot.words));
    Bare::first_pin(slot.words);
    Bare::publish_pinned(slot.words);
    Match match;
    auto& found = queue.locate(through_device(cookie), match);
    must(Bare::claim_pinned(found.words, match));
    Bare::unmap(found.words);
    queue.set_outcome(found, blkown::Status::ok);
    must(Bare::end_pinned(found.words));
    queue.deliver(found);
  });
}
BENCHMARK(pinned_bare)->Name("pinned/bare");

// The kernel's scheme has no Claim: an I/O with a mapping takes the six steps.
BENCHMARK(seed_by_hand<KernelScheme>)->Name("pinned/kernel_scheme");

}  // namespace
}  // namespace bench
