// SPDX-License-Identifier: BSL-1.0
//
// Goal: of the contexts that try to unmap a mapping, exactly one succeeds, and the next use of the
// memory happens after the unmap.
// Method: one context completes I/Os, correctly and with each of a driver's mistakes; one stops and
// drains the device; one reads the quarantine all the time. Memory and counts are plain, so that
// ThreadSanitizer reports an order that the library does not make.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <optional>
#include <thread>

#include "stress/effort.hpp"
#include "stress/meeting.hpp"

namespace {

namespace dma = blkown::dma;
using dma::EndProof;

constexpr std::uint32_t depth = 4;

constexpr std::size_t mapping_count = 2;  // of each request: data and metadata

/// Counts maps and unmaps without ordering memory. Each mapping of a request has a buffer of its
/// own; the buffer's index is the device address.
struct Backend {
  std::array<std::array<std::byte, 64>, depth * mapping_count> buffers{};
  std::array<std::atomic<int>, depth * mapping_count> is_mapped{};
  std::atomic<std::uint64_t> unmaps{0};
  bool is_unreliable = false;  // every fifth unmap fails
  std::atomic<std::uint64_t> calls{0};

  [[nodiscard]] static dma::DeviceLimits limits() { return {}; }
  std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment& memory, dma::Direction,
                                                    const blkown::Cookie&) {
    const auto index =
        static_cast<std::size_t>(memory.data - buffers[0].data()) / sizeof buffers[0];
    EXPECT_EQ(is_mapped[index].fetch_add(1, std::memory_order_relaxed), 0);
    return index;
  }
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment& segment) {
    if (is_unreliable && calls.fetch_add(1, std::memory_order_relaxed) % 5 == 0) {
      return std::unexpected(dma::MapFailure::unmap_failed);
    }
    EXPECT_EQ(is_mapped[segment.iova].fetch_sub(1, std::memory_order_relaxed), 1);
    unmaps.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment> segments) {
    // The device's last write, which has to happen before the request's end.
    for (const dma::IovaSegment& segment : segments) buffers[segment.iova][0] ^= std::byte{1};
    return {};
  }
};
struct Data {
  std::array<dma::IovaList<1>, mapping_count> iovas;
  std::array<std::optional<dma::ActiveMapping>, mapping_count> mappings;
};
using Request = blkown::Request<Data>;

std::atomic<std::uint64_t> dropped{0};
std::atomic<std::uint64_t> unmap_failed{0};

class Contexts : public testing::Test {
 protected:
  Contexts()
      : reports_{blkown::set_report_handler([](blkown::Report report, const blkown::Incident&) {
          const bool is_drop = report == blkown::Report::mapping_dropped;
          (is_drop ? dropped : unmap_failed).fetch_add(1, std::memory_order_relaxed);
        })} {
    dropped.store(0, std::memory_order_relaxed);
    unmap_failed.store(0, std::memory_order_relaxed);
  }
  ~Contexts() override { blkown::set_report_handler(reports_); }

  struct Sink {
    Backend& backend;
    std::atomic<std::uint64_t> ends{0};
    void operator()(blkown::EndedList<Request>&& list) {
      while (auto ended = list.pop_front()) {
        // The submitter uses its memory again.
        for (std::size_t i = 0; i != mapping_count; ++i) {
          backend.buffers[ended->tag().value * mapping_count + i].fill(std::byte{1});
        }
        ends.fetch_add(1, std::memory_order_relaxed);
        std::move(*ended).release();
      }
    }
  };

  /// Maps the memory of one request and keeps the mappings in its data.
  void map_all(blkown::Claim<Request>& claim, std::uint32_t tag) {
    for (std::size_t i = 0; i != mapping_count; ++i) {
      const std::array segments{
          blkown::Segment{backend.buffers[tag * mapping_count + i].data(), 64}};
      auto prepared =
          dma::map(claim, device, segments, dma::Direction::from_device, claim.data().iovas[i]);
      ASSERT_TRUE(prepared.has_value());
      auto active = std::move(*prepared).activate();
      auto& mapping = claim.data().mappings[i];
      if (mapping.has_value()) {
        *mapping = std::move(active);  // the old handle was drained
      } else {
        mapping.emplace(std::move(active));
      }
    }
  }

  /// Puts every request in flight, with two mappings in its data.
  void publish_all() {
    for (std::uint32_t tag = 0; tag != depth; ++tag) {
      auto idle = set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag});
      while (!idle.has_value()) {  // another context still releases the tag
        std::this_thread::yield();
        idle = set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag});
      }
      auto claim = std::move(*idle).start().into_claim();
      map_all(claim, tag);
      std::move(claim).publish([&](const blkown::Cookie& cookie) { cookies[tag] = cookie; });
    }
  }

  /// Whether the mapping is unmapped now, by its handle or by a drain; where unmaps fail, or will
  /// be.
  [[nodiscard]] bool is_unmapped(
      const std::expected<dma::UnmapResult, dma::ActiveMapping>& result) const {
    return result.has_value() && (backend.is_unreliable || *result == dma::UnmapResult::unmapped);
  }

  /// Completes one I/O, each of its mappings in a random one of five ways.
  void complete(const blkown::Cookie& cookie, stress::Random& random) {
    auto claim = set.claim(blkown::QueueIndex{0}, cookie.value);
    ASSERT_TRUE(claim.has_value());
    const EndProof proof = *EndProof::of(*claim);
    std::array<std::optional<dma::ActiveMapping>, mapping_count> held;
    for (std::size_t i = 0; i != mapping_count; ++i) {
      auto& mapping = claim->data().mappings[i];
      switch (random.below(5)) {
        case 0:  // correct
          EXPECT_TRUE(is_unmapped(std::move(*mapping).unmap(proof)));
          mapping.reset();
          break;
        case 1:  // the mapping is dropped
          mapping.reset();
          break;
        case 2:  // the mapping is left in the request
          break;
        default:  // taken out, and unmapped or dropped after the end: races with a drain
          held[i].emplace(*std::move(mapping));
          mapping.reset();
      }
    }
    std::move(*claim).end_ok();
    for (auto& mapping : held) {
      if (!mapping.has_value()) continue;
      stress::dawdle(random);
      if (random.one_in(4)) {
        mapping.reset();
      } else {
        EXPECT_TRUE(is_unmapped(std::move(*mapping).unmap(proof)));
      }
    }
  }

  /// Visits the quarantine and scans the requests in flight, until `is_over` is set.
  void watch_until(const std::atomic<bool>& is_over) {
    stress::Random random{3};
    while (!is_over.load(std::memory_order_relaxed)) {
      device.for_each_quarantined([&](const dma::Quarantined& one) {
        // A mapping stays in quarantine during its visit.
        EXPECT_EQ(one.segments.size(), 1U);
        EXPECT_LT(one.cookie.tag.value, depth);
      });
      // The pins of a scan do not hide a mapping from a drain.
      if (random.one_in(8)) {
        set.for_each_in_flight(blkown::QueueIndex{0},
                               [&](const auto&, const blkown::Cookie&) { stress::dawdle(random); });
      }
      stress::wait_a_little(random);
    }
  }

  /// Completes the I/Os of each round while another context stops and drains the device. Returns
  /// the number of mappings that were drained.
  std::uint64_t race(std::uint64_t rounds) {
    stress::SpinBarrier barrier{2};
    std::atomic<bool> is_over{false};
    std::uint64_t drained = 0;

    std::thread watcher{[&] { watch_until(is_over); }};
    std::thread stopper{[&] {
      stress::Random random{2};
      for (std::uint64_t round = 0; round != rounds; ++round) {
        barrier.arrive_and_wait();
        for (int i = 0; i != 3; ++i) {
          stress::dawdle(random);
          drained += device.drain(device.declare_stopped());
        }
        barrier.arrive_and_wait();
      }
    }};

    stress::Random random{1};
    for (std::uint64_t round = 0; round != rounds; ++round) {
      publish_all();
      barrier.arrive_and_wait();
      for (const blkown::Cookie& cookie : cookies) complete(cookie, random);
      barrier.arrive_and_wait();
      do {
        drained += device.drain(device.declare_stopped());
      } while (backend.is_unreliable && device.quarantined_count() != 0);
      EXPECT_EQ(backend.unmaps.load(), (round + 1) * depth * mapping_count);
      wait_for_ends((round + 1) * depth);
    }
    is_over.store(true, std::memory_order_relaxed);
    watcher.join();
    stopper.join();
    return drained;
  }

  /// Waits until as many I/Os have ended. A scan that pins a request may delay the request's end.
  void wait_for_ends(std::uint64_t count) {
    while (sink.ends.load() < count) std::this_thread::yield();
    ASSERT_EQ(sink.ends.load(), count);
  }

  Backend backend;
  dma::Device<Backend> device{backend};
  Sink sink{.backend = backend};
  blkown::TagSet<Request> set = std::move(*blkown::TagSet<Request>::create(
      {.queue_count = 1, .depth = depth, .layout = blkown::CookieLayout::nbd()},
      blkown::EndSink<Request>::to(sink)));
  std::array<blkown::Cookie, depth> cookies;

 private:
  blkown::ReportHandler reports_;
};

TEST_F(Contexts, OneUnmapsEach) {
  const std::uint64_t rounds = stress::scaled(10'000, 3'000);
  const std::uint64_t drained = race(rounds);
  // Both ways have to occur: drained by the stopper, and unmapped by the handle.
  EXPECT_GT(drained, rounds / 10);
  EXPECT_LT(drained, rounds * depth * mapping_count);
  EXPECT_GT(dropped.load(), 0U);
}

// Goal: a mapping whose unmap has failed, by its handle or by a drain, is unmapped once in the end.
TEST_F(Contexts, OneUnmapsEachWhereUnmapsFail) {
  backend.is_unreliable = true;
  const std::uint64_t rounds = stress::scaled(5'000, 1'500);
  const std::uint64_t drained = race(rounds);
  EXPECT_GT(drained, rounds / 10);
  EXPECT_LT(drained, rounds * depth * mapping_count);
  EXPECT_EQ(unmap_failed.load(), backend.calls.load() - backend.unmaps.load())
      << "each failure is reported once";
}

// Goal: a scan of the quarantine leaves correct I/Os alone. The scan reads lists whose I/O has
// ended and that already serve the next one. No lock orders the two, because a correct I/O takes
// none.
TEST_F(Contexts, AScanDoesNotDisturbCorrectIos) {
  std::atomic<bool> is_over{false};
  std::thread watcher{[&] {
    while (!is_over.load(std::memory_order_relaxed)) {
      EXPECT_EQ(device.quarantined_count(), 0U);
    }
  }};
  const std::uint64_t rounds = stress::scaled(20'000, 5'000);
  for (std::uint64_t round = 0; round != rounds; ++round) {
    publish_all();
    for (const blkown::Cookie& cookie : cookies) {
      auto claim = set.claim(blkown::QueueIndex{0}, cookie.value);
      for (auto& mapping : claim->data().mappings) {
        EXPECT_TRUE(std::move(*mapping).unmap(*EndProof::of(*claim)).has_value());
        mapping.reset();
      }
      std::move(*claim).end_ok();
    }
    ASSERT_EQ(sink.ends.load(), (round + 1) * depth);
  }
  is_over.store(true, std::memory_order_relaxed);
  watcher.join();
}

// Goal: the list's state orders a drain after the map, and the list's next use after the drain.
// Method: two contexts take turns by a relaxed atomic, which orders nothing else.
TEST_F(Contexts, ADrainComesAfterTheMapAndBeforeTheNextOne) {
  const std::uint64_t rounds = stress::scaled(4'000, 1'500);
  std::atomic<std::uint64_t> turn{0};
  const auto wait_for = [&](std::uint64_t wanted) {
    while (turn.load(std::memory_order_relaxed) != wanted) std::this_thread::yield();
  };
  std::thread stopper{[&] {
    for (std::uint64_t round = 0; round != rounds; ++round) {
      wait_for(2 * round + 1);
      for (std::size_t drained = 0; drained != depth * mapping_count;) {
        drained += device.drain(device.declare_stopped());
      }
      turn.store(2 * round + 2, std::memory_order_relaxed);
    }
  }};
  for (std::uint64_t round = 0; round != rounds; ++round) {
    publish_all();
    for (const blkown::Cookie& cookie : cookies) {
      auto claim = set.claim(blkown::QueueIndex{0}, cookie.value);
      std::move(*claim).end_ok();  // with the mappings in its data
    }
    turn.store(2 * round + 1, std::memory_order_relaxed);
    wait_for(2 * round + 2);
  }
  stopper.join();
  EXPECT_EQ(backend.unmaps.load(), rounds * depth * mapping_count);
}

}  // namespace
