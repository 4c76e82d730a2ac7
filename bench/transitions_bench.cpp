// SPDX-License-Identifier: BSL-1.0
//
// The cost of each transition of the core alone, on one thread with a warm line. Each benchmark is
// a cycle of the transitions in its name and ends in the state in which it began, so the loop
// contains nothing else. Compare with transition/rmw: ratios hold between machines, nanoseconds do
// not.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <support/io.hpp>
#include <utility>

namespace bench {
namespace {

/// A sink that keeps requeued requests, so that a cycle needs no tag allocation.
struct Keep {
  EndedList<Request> kept;
  void operator()(EndedList<Request>&& ended) { kept.append(std::move(ended)); }
  [[nodiscard]] Idle<Request> idle() { return must(kept.pop_front()).into_idle(); }
};

/// One I/O on one tag. The device is a variable that holds the cookie.
class Device {
 public:
  [[nodiscard]] Owned<Request> start() {
    return must(tags_.allocate_tag(blkown::QueueIndex{0}, Tag{0})).start();
  }
  [[nodiscard]] auto issue() {
    return [this](Cookie cookie) {
      value_ = cookie.value;
      benchmark::DoNotOptimize(value_);
    };
  }
  [[nodiscard]] std::uint64_t value() const { return value_; }
  [[nodiscard]] TagSet& tags() { return tags_; }

 private:
  TagSet tags_ = make_freeing_tags();
  std::uint64_t value_ = 0;
};

void rmw(benchmark::State& state) {
  blkown::Atomic<blkown::Word> word{0};
  for (auto _ : state) {
    benchmark::DoNotOptimize(word.fetch_add(1, std::memory_order_relaxed));
  }
}
BENCHMARK(rmw)->Name("transition/rmw");

// --- tags ---

void allocate_release(benchmark::State& state) {
  SummingSink sink;
  TagSet tags = make_tags(sink);
  TagCache cache = tags.tag_cache(blkown::QueueIndex{0});
  sink.cache = &cache;
  for (auto _ : state) {
    Idle<Request> idle = must(tags.allocate(blkown::QueueIndex{0}, cache));
    benchmark::DoNotOptimize(idle);
    std::move(idle).fail(blkown::Status::ok);
  }
}
BENCHMARK(allocate_release)->Name("transition/allocate_release");

void allocate_release_uncached(benchmark::State& state) {
  TagSet tags = make_freeing_tags();
  TagCache place = tags.tag_cache(blkown::QueueIndex{0}, 0);
  for (auto _ : state) {
    Idle<Request> idle = must(tags.allocate(blkown::QueueIndex{0}, place));
    benchmark::DoNotOptimize(idle);
    std::move(idle).fail(blkown::Status::ok);
  }
}
BENCHMARK(allocate_release_uncached)->Name("transition/allocate_release_uncached");

void allocate_tag_release(benchmark::State& state) {
  TagSet tags = make_freeing_tags();
  for (auto _ : state) {
    Idle<Request> idle = must(tags.allocate_tag(blkown::QueueIndex{0}, Tag{7}));
    benchmark::DoNotOptimize(idle);
    std::move(idle).fail(blkown::Status::ok);
  }
}
BENCHMARK(allocate_tag_release)->Name("transition/allocate_tag_release");

// --- one holder ---

void start_requeue(benchmark::State& state) {
  Keep sink;
  TagSet tags = make_tags(sink);
  must(tags.allocate_tag(blkown::QueueIndex{0}, Tag{0})).requeue();
  for (auto _ : state) {
    sink.idle().start().requeue();
    benchmark::ClobberMemory();
  }
  sink.kept = {};
}
BENCHMARK(start_requeue)->Name("transition/start_requeue");

void publish_tag_to_owned(benchmark::State& state) {
  Device device;
  Owned<Request> owned = device.start();
  for (auto _ : state) {
    std::move(owned).publish(device.issue());
    owned = must(device.tags().tag_to_owned(blkown::QueueIndex{0}, device.value()));
  }
  std::move(owned).end_ok();
}
BENCHMARK(publish_tag_to_owned)->Name("transition/publish_tag_to_owned");

void publish_claim(benchmark::State& state) {
  Device device;
  Claim<Request> claim = device.start().into_claim();
  for (auto _ : state) {
    std::move(claim).publish(device.issue());
    claim = must(device.tags().claim(blkown::QueueIndex{0}, device.value()));
  }
  std::move(claim).end_ok();
}
BENCHMARK(publish_claim)->Name("transition/publish_claim");

void claim_release(benchmark::State& state) {
  Device device;
  device.start().publish(device.issue());
  for (auto _ : state) {
    must(device.tags().claim(blkown::QueueIndex{0}, device.value())).release();
  }
  must(device.tags().claim(blkown::QueueIndex{0}, device.value())).end_ok();
}
BENCHMARK(claim_release)->Name("transition/claim_release");

// --- pins ---

void into_shared_try_from_shared(benchmark::State& state) {
  Device device;
  Owned<Request> owned = device.start();
  for (auto _ : state) {
    owned = must(Owned<Request>::try_from_shared(std::move(owned).into_shared()));
    benchmark::ClobberMemory();
  }
  std::move(owned).end_ok();
}
BENCHMARK(into_shared_try_from_shared)->Name("transition/into_shared_try_from_shared");

void clone_drop(benchmark::State& state) {
  Device device;
  ARef<Request> reference = device.start().into_shared();
  for (auto _ : state) {
    ARef<Request> clone = reference;
    benchmark::DoNotOptimize(clone);
  }
  must(Owned<Request>::try_from_shared(std::move(reference))).end_ok();
}
BENCHMARK(clone_drop)->Name("transition/clone_drop");

void tag_to_rq_drop(benchmark::State& state) {
  Device device;
  device.start().publish(device.issue());
  for (auto _ : state) {
    ARef<Request> pin = must(device.tags().tag_to_rq(blkown::QueueIndex{0}, device.value()));
    benchmark::DoNotOptimize(pin);
  }
  must(device.tags().claim(blkown::QueueIndex{0}, device.value())).end_ok();
}
BENCHMARK(tag_to_rq_drop)->Name("transition/tag_to_rq_drop");

void pin_drop_into_owned(benchmark::State& state) {
  Device device;
  Owned<Request> owned = device.start();
  for (auto _ : state) {
    Claim<Request> claim = std::move(owned).into_claim();
    {
      ARef<Request> pin = claim.pin();
      benchmark::DoNotOptimize(pin);
    }
    owned = must(std::move(claim).into_owned());
  }
  std::move(owned).end_ok();
}
BENCHMARK(pin_drop_into_owned)->Name("transition/pin_drop_into_owned");

// --- refusals ---

void refused_stale(benchmark::State& state) {
  Device device;
  device.start().publish(device.issue());
  const std::uint64_t old = device.value();
  must(device.tags().claim(blkown::QueueIndex{0}, old))
      .into_owned()
      .value()
      .publish(device.issue());
  for (auto _ : state) {
    benchmark::DoNotOptimize(device.tags().claim(blkown::QueueIndex{0}, old).has_value());
  }
  must(device.tags().claim(blkown::QueueIndex{0}, device.value())).end_ok();
}
BENCHMARK(refused_stale)->Name("transition/refused_stale");

void refused_claimed(benchmark::State& state) {
  Device device;
  device.start().publish(device.issue());
  Claim<Request> held = must(device.tags().claim(blkown::QueueIndex{0}, device.value()));
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        device.tags().claim(blkown::QueueIndex{0}, device.value()).has_value());
  }
  std::move(held).end_ok();
}
BENCHMARK(refused_claimed)->Name("transition/refused_claimed");

}  // namespace
}  // namespace bench
