// SPDX-License-Identifier: BSL-1.0
//
// Goal: of the contexts that could unmap a mapping, one does, and whoever uses the memory next
// comes after it.
// Method: one context ends I/Os by their completions, in all the ways in which a driver can get
// that right or wrong; one stops the device and drains it; one looks at the quarantine all the
// time. The memory and the counts are plain: ThreadSanitizer sees what the library does not order.

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

/// Counts, and orders nothing. Each request has its own buffer, whose index is the address.
struct Backend {
  std::array<std::array<std::byte, 64>, depth> buffers{};
  std::array<std::atomic<int>, depth> is_mapped{};
  std::atomic<std::uint64_t> unmaps{0};

  [[nodiscard]] static dma::DeviceLimits limits() { return {}; }
  std::expected<std::uint64_t, dma::MapFailure> map(std::byte* data, std::size_t, dma::Direction,
                                                    const blkown::Cookie&) {
    const auto index = static_cast<std::size_t>(data - buffers[0].data()) / sizeof buffers[0];
    EXPECT_EQ(is_mapped[index].fetch_add(1, std::memory_order_relaxed), 0);
    return index;
  }
  void unmap(const dma::IovaSegment& segment) {
    EXPECT_EQ(is_mapped[segment.iova].fetch_sub(1, std::memory_order_relaxed), 1);
    unmaps.fetch_add(1, std::memory_order_relaxed);
  }
  void invalidate(std::span<const dma::IovaSegment> segments) {
    // What the device still had to write: before the request's end.
    for (const dma::IovaSegment& segment : segments) buffers[segment.iova][0] ^= std::byte{1};
  }
};
struct Data {
  dma::IovaList<1> iovas;
  std::optional<dma::ActiveMapping> mapping;
};
using Request = blkown::Request<Data>;

std::atomic<std::uint64_t> dropped{0};

class Contexts : public testing::Test {
 protected:
  Contexts()
      : reports_{blkown::set_report_handler([](blkown::Report, const blkown::Incident&) {
          dropped.fetch_add(1, std::memory_order_relaxed);
        })} {}
  ~Contexts() override { blkown::set_report_handler(reports_); }

  struct Sink {
    Backend& backend;
    std::atomic<std::uint64_t> ends{0};
    void operator()(blkown::EndedList<Request>&& list) {
      while (auto ended = list.pop_front()) {
        // As the caller, who has its memory back.
        backend.buffers[ended->tag().value].fill(std::byte{1});
        ends.fetch_add(1, std::memory_order_relaxed);
        std::move(*ended).release();
      }
    }
  };

  /// Each request in flight with a mapping in its data.
  void publish_all() {
    for (std::uint32_t tag = 0; tag != depth; ++tag) {
      auto idle = set.allocate_tag(0, blkown::Tag{tag});
      ASSERT_TRUE(idle.has_value());
      auto claim = std::move(*idle).start().into_claim();
      const std::array segments{blkown::Segment{backend.buffers[tag].data(), 64}};
      auto prepared =
          dma::map(claim, device, segments, dma::Direction::from_device, claim.data().iovas);
      ASSERT_TRUE(prepared.has_value());
      auto active = std::move(*prepared).activate();
      if (claim.data().mapping.has_value()) {
        *claim.data().mapping = std::move(active);  // over a handle that was drained
      } else {
        claim.data().mapping.emplace(std::move(active));
      }
      std::move(claim).publish([&](const blkown::Cookie& cookie) { cookies[tag] = cookie; });
    }
  }

  /// Ends one I/O, in one of the ways that there are.
  void complete(const blkown::Cookie& cookie, stress::Random& random) {
    auto claim = set.claim(0, cookie.value);
    ASSERT_TRUE(claim.has_value());
    const EndProof proof = *EndProof::of(*claim);
    auto& mapping = claim->data().mapping;
    switch (random.below(5)) {
      case 0:  // as it should be
        EXPECT_TRUE(std::move(*mapping).unmap(proof).has_value());
        mapping.reset();
        break;
      case 1:  // dropped
        mapping.reset();
        break;
      case 2:  // leaked
        break;
      default: {  // taken out, and unmapped or dropped when the I/O has ended: who comes first?
        std::optional held{*std::move(mapping)};
        mapping.reset();
        std::move(*claim).end_ok();
        stress::dawdle(random);
        if (random.one_in(4)) {
          held.reset();
        } else {
          EXPECT_TRUE(std::move(*held).unmap(proof).has_value());
        }
        return;
      }
    }
    std::move(*claim).end_ok();
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
  const std::uint64_t rounds = stress::scaled(20'000, 6'000);
  stress::SpinBarrier barrier{2};
  std::atomic<bool> is_over{false};
  std::uint64_t drained = 0;

  std::thread watcher{[&] {
    stress::Random random{3};
    while (!is_over.load(std::memory_order_relaxed)) {
      device.for_each_quarantined([&](const dma::Quarantined& one) {
        // It stays so as long as it is visited.
        EXPECT_EQ(one.segments.size(), 1U);
        EXPECT_LT(one.cookie.tag.value, depth);
      });
      stress::wait_a_little(random);
    }
  }};
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
    drained += device.drain(device.declare_stopped());
    ASSERT_EQ(sink.ends.load(), (round + 1) * depth);
    ASSERT_EQ(backend.unmaps.load(), (round + 1) * depth);
  }
  is_over.store(true, std::memory_order_relaxed);
  watcher.join();
  stopper.join();
  // Else the test would have shown nothing.
  EXPECT_GT(drained, rounds / 10);
  EXPECT_LT(drained, rounds * depth);
  EXPECT_GT(dropped.load(), 0U);
}

// Goal: a scan looks at lists that their I/Os are done with, and that serve the next ones already.
// No lock orders the two: a plain I/O takes none.
TEST_F(Contexts, AScanDoesNotDisturbIosThatAreAsTheyShouldBe) {
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
      auto claim = set.claim(0, cookie.value);
      auto& mapping = claim->data().mapping;
      EXPECT_TRUE(std::move(*mapping).unmap(*EndProof::of(*claim)).has_value());
      mapping.reset();
      std::move(*claim).end_ok();
    }
    ASSERT_EQ(sink.ends.load(), (round + 1) * depth);
  }
  is_over.store(true, std::memory_order_relaxed);
  watcher.join();
}

// Goal: who drains a mapping comes after who made it, and who uses its list next after both, by the
// list's own state. The two contexts take turns by an atomic that orders nothing.
TEST_F(Contexts, ADrainComesAfterTheMapAndBeforeTheNextOne) {
  const std::uint64_t rounds = stress::scaled(4'000, 1'500);
  std::atomic<std::uint64_t> turn{0};
  const auto wait_for = [&](std::uint64_t wanted) {
    while (turn.load(std::memory_order_relaxed) != wanted) std::this_thread::yield();
  };
  std::thread stopper{[&] {
    for (std::uint64_t round = 0; round != rounds; ++round) {
      wait_for(2 * round + 1);
      for (std::size_t drained = 0; drained != depth;) {
        drained += device.drain(device.declare_stopped());
      }
      turn.store(2 * round + 2, std::memory_order_relaxed);
    }
  }};
  for (std::uint64_t round = 0; round != rounds; ++round) {
    publish_all();
    for (const blkown::Cookie& cookie : cookies) {
      auto claim = set.claim(0, cookie.value);
      std::move(*claim).end_ok();  // with the mapping inside
    }
    turn.store(2 * round + 1, std::memory_order_relaxed);
    wait_for(2 * round + 2);
  }
  stopper.join();
  EXPECT_EQ(backend.unmaps.load(), rounds * depth);
}

}  // namespace
