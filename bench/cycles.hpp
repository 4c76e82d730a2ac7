// SPDX-License-Identifier: BSL-1.0
//
// One I/O through the whole cycle, in the forms that cycles_bench.cpp times and
// tests/instructions/count_cycles.cpp counts. Each function takes a queue and the number of the
// I/O, which is added up in the queue's sink.

#ifndef BLKOWN_BENCH_CYCLES_HPP
#define BLKOWN_BENCH_CYCLES_HPP

#include <baselines/bare.hpp>
#include <baselines/hand_written.hpp>
#include <cstdint>
#include <optional>
#include <support/io.hpp>
#include <utility>

namespace bench {

// Inlined, so that a loop is the loop that a program with one driver would have.

// --- the library ---

[[gnu::always_inline]] inline void simple_io(Queue& queue, std::uint64_t number) {
  Owned<Request> owned = queue.allocate().start();
  owned.data().number = number;
  std::uint64_t value = 0;
  std::move(owned).publish([&](Cookie cookie) { value = through_device(cookie.value); });
  must(queue.tags().claim(blkown::QueueIndex{0}, value)).end_ok();
}

[[gnu::always_inline]] inline void seed_io(Queue& queue, std::uint64_t number) {
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
}

[[gnu::always_inline]] inline void pinned_io(Queue& queue, std::uint64_t number) {
  Claim<Request> submitting = queue.allocate().start().into_claim();
  submitting.data().number = number;
  std::optional<ARef<Request>> mapping{submitting.pin()};
  std::uint64_t value = 0;
  std::move(submitting).publish([&](Cookie cookie) { value = through_device(cookie.value); });
  Claim<Request> completing = must(queue.tags().claim(blkown::QueueIndex{0}, value));
  mapping.reset();
  std::move(completing).end_ok();
}

// --- by hand ---

template <class Protocol>
[[gnu::always_inline]] inline void simple_io(HandWrittenQueue<Protocol>& queue,
                                             std::uint64_t number) {
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
}

template <class Protocol>
[[gnu::always_inline]] inline void seed_io(HandWrittenQueue<Protocol>& queue,
                                           std::uint64_t number) {
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
}

[[gnu::always_inline]] inline void pinned_io(HandWrittenQueue<Bare>& queue, std::uint64_t number) {
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
}

}  // namespace bench

#endif
