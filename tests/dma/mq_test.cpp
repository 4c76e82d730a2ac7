// SPDX-License-Identifier: BSL-1.0
//
// Goal: in a driver of the block layer, the Claim of the complete hook is proof exactly if it comes
// from a completion.

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <random>
#include <vector>

#include "dma/fake_backend.hpp"
#include "mq/fake_driver.hpp"
#include "support/identity_backend.hpp"

namespace {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
using blkown::Status;
using dma::EndProof;

/// Maps each request's memory, and unmaps in the complete hook.
struct Mapping {
  struct RequestData {
    dma::IovaList<4> iovas;
    std::optional<dma::ActiveMapping> mapping;
    dma::IovaList<1> metadata_iovas;
    std::optional<dma::ActiveMapping> metadata;
  };
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<Mapping>;
  using Hw = mq::HwQueue<Mapping>;
  using Disk = mq::Disk<Mapping>;

  mq::Dispatch<Mapping> queue_rq(Hw& queue, QueueData&, blkown::Idle<Rq> idle, bool) {
    auto claim = std::move(idle).start().into_claim();
    auto& data = claim.data();
    auto prepared = dma::map(claim, device, data.segments(), dma::Direction::from_device,
                             data.driver_data.iovas);
    piece_counts.push_back(data.segments().count());
    EXPECT_TRUE(prepared.has_value());
    data.driver_data.mapping.emplace(std::move(*prepared).activate());
    if (is_forgetful) {
      const std::array bytes{blkown::Segment{metadata.data(), metadata.size()}};
      auto second = dma::map(claim, device, bytes, dma::Direction::to_device,
                             data.driver_data.metadata_iovas);
      EXPECT_TRUE(second.has_value());
      data.driver_data.metadata.emplace(std::move(*second).activate());
    }
    hw = &queue;
    std::move(claim).publish([&](const blkown::Cookie& cookie) { value = cookie.value; });
    return mq::Dispatch<Mapping>::accepted();
  }

  void complete(Hw&, blkown::Claim<Rq> claim) {
    if (is_forgetful) return std::move(claim).end(Status::ok);
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    const auto completed = EndProof::of(claim);
    proofs.push_back(completed.has_value());
    // Without a completion only a stop is proof.
    const EndProof proof = completed.has_value() ? *completed : device.declare_stopped();
    EXPECT_TRUE(std::move(*mapping).unmap(proof).has_value());
    std::move(claim).end(completed.has_value() ? Status::ok : Status::timed_out);
  }

  mq::TimeoutAction timeout(Hw& queue, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
    auto claim = blkown::claim(pin, cookie);
    EXPECT_TRUE(claim.has_value());
    queue.complete(std::move(*claim));
    return mq::TimeoutAction::handled;
  }

  fake::Backend backend;
  dma::Device<fake::Backend> device{backend};
  Hw* hw = nullptr;
  std::uint64_t value = 0;
  std::vector<bool> proofs;
  std::vector<std::uint32_t> piece_counts;  // of each request's memory
  bool is_forgetful = false;                // ends I/Os with two mappings in their data
  std::array<std::byte, 8> metadata{};
};

// Goal: a completion whose hook runs later, on the submitter's context, is still proof.
TEST(DmaOnMq, TheCompleteHookHasTheCompletionsProof) {
  fake::Bench<Mapping> bench;
  fake::Read read;
  bench.disk->submit(bench.context(), read.bio);
  EXPECT_EQ(bench.driver.backend.live_count(), 1U);
  bench.driver.hw->complete(support::take_value(bench.driver.hw->claim(bench.driver.value)));
  EXPECT_TRUE(bench.driver.proofs.empty()) << "the context has not run yet";
  bench.runtime.run();
  EXPECT_EQ(bench.driver.proofs, std::vector{true});
  EXPECT_EQ(bench.driver.backend.live_count(), 0U);
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
}

// Goal: HwQueue::complete does not turn a timeout's Claim into a completion's.
TEST(DmaOnMq, ATimeoutsClaimIsNoProofThereEither) {
  fake::Bench<Mapping> bench{{.capacity_sectors = 1024, .timeout_ms = 40}};
  fake::Read read;
  bench.disk->submit(bench.context(), read.bio);
  for (int i = 0; i != 60; ++i) {
    bench.clock.pass_ms(1);
    bench.runtime.run();
  }
  EXPECT_EQ(bench.driver.proofs, std::vector{false});
  EXPECT_EQ(bench.driver.backend.live_count(), 0U);
  EXPECT_EQ(read.ends.statuses, std::vector{Status::timed_out});
  EXPECT_FALSE(bench.driver.hw->claim(bench.driver.value).has_value()) << "the late completion";
}

// Goal: after a timeout, the next I/O with the same request gets its completion's proof.
TEST(DmaOnMq, ATimeoutDoesNotSpoilTheNextIosProof) {
  fake::Bench<Mapping> bench{{.capacity_sectors = 1024, .depth = 1, .timeout_ms = 40}};
  fake::Read first;
  bench.disk->submit(bench.context(), first.bio);
  for (int i = 0; i != 60; ++i) {
    bench.clock.pass_ms(1);
    bench.runtime.run();
  }
  fake::Read second;
  bench.disk->submit(bench.context(), second.bio);
  bench.driver.hw->complete(support::take_value(bench.driver.hw->claim(bench.driver.value)));
  bench.runtime.run();
  EXPECT_EQ(bench.driver.proofs, (std::vector{false, true}));
  EXPECT_EQ(second.ends.statuses, std::vector{Status::ok});
}

// Goal: a driver that leaves data and metadata mapped in the request gets its bio's end from a stop
// of the device, also while a scan pins the request.
TEST(DmaOnMq, TwoForgottenMappingsAreFoundByTheStop) {
  fake::Bench<Mapping> bench;
  bench.driver.is_forgetful = true;
  fake::Read read;
  bench.disk->submit(bench.context(), read.bio);
  std::optional<blkown::ARef<Mapping::Rq>> pin;
  bench.driver.hw->for_each_in_flight(
      [&](const blkown::ARef<Mapping::Rq>& found, const blkown::Cookie&) { pin.emplace(found); });
  ASSERT_TRUE(pin.has_value());
  bench.driver.hw->complete(support::take_value(bench.driver.hw->claim(bench.driver.value)));
  bench.runtime.run();
  EXPECT_EQ(read.ends.count, 0) << "the device may still write";
  dma::Device<fake::Backend>& device = bench.driver.device;
  EXPECT_EQ(device.drain(device.declare_stopped()), 2U);
  EXPECT_EQ(bench.driver.backend.live_count(), 0U);
  bench.runtime.run();
  EXPECT_EQ(read.ends.count, 0) << "the scan's pin";
  pin.reset();
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
}

// Goal: the pieces of a page each that mq cuts for NVMe's PRP lists are the elements of the
// mapping, although they are adjacent.
TEST(DmaOnMq, PageBoundedPiecesAreTheElementsOfTheList) {
  const dma::DeviceLimits limits{
      .max_segments = 4, .max_segment_bytes = 4096, .virt_boundary_mask = 4095};
  fake::Bench<Mapping> bench{
      {.capacity_sectors = 1024, .limits = mq::QueueLimits::for_device(limits)}};
  bench.driver.backend.settings = limits;
  alignas(4096) static std::array<std::byte, std::size_t{4} * 4096> memory{};
  fake::Ends ends;
  mq::Bio bio = mq::Bio::read(0, blkown::Segment{memory.data() + 0x200, std::size_t{3} * 4096},
                              {&fake::Ends::on_end, &ends});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bench.driver.piece_counts, std::vector{4U});
  EXPECT_EQ(bench.driver.backend.log, (std::vector<std::string>{"map 1000+3584", "map 2000+4096",
                                                                "map 4000+4096", "map 6000+512"}));
  bench.driver.hw->complete(support::take_value(bench.driver.hw->claim(bench.driver.value)));
  bench.runtime.run();
  EXPECT_EQ(ends.statuses, std::vector{Status::ok});
}

// Goal: for any device, a request with the limits of for_device has a list within the device's.
TEST(DmaOnMq, EveryRequestWithADevicesLimitsHasAList) {
  alignas(4096) static std::array<std::byte, std::size_t{64} * 4096> memory{};
  std::mt19937 random{5};
  const auto below = [&](std::size_t bound) { return random() % bound; };
  for (int round = 0; round != 3000; ++round) {
    dma::DeviceLimits limits;
    limits.max_segments = static_cast<std::uint32_t>(2 + below(12));
    if (below(2) == 0) limits.virt_boundary_mask = (std::uint64_t{512} << below(4)) - 1;
    limits.max_segment_bytes = (1 + below(5)) * 4096;
    if (below(2) == 0) limits.boundary_mask = (std::uint64_t{4096} << below(4)) - 1;
    const mq::QueueLimits of_queue = mq::QueueLimits::for_device(limits);
    ASSERT_FALSE(check(of_queue, 512).has_value());
    std::vector<blkown::Segment> segments;
    std::uint64_t left_bytes = 0;
    for (std::size_t at = 0; at < memory.size() - 40000;) {
      at += below(3) == 0 ? 512 * below(3) : 0;
      const std::size_t bytes = 512 * (1 + below(40));
      segments.push_back({memory.data() + at, bytes});
      left_bytes += bytes;
      at += bytes;
    }
    const mq::detail::SplitLimits split{of_queue, 512};
    mq::detail::Rest rest{
        .op = mq::Op::read, .segments = segments, .begin = {}, .length_bytes = left_bytes};
    while (rest.length_bytes != 0) {
      const mq::detail::Part part = next_part(rest, split);
      ASSERT_NE(part.length_bytes, 0U);
      const mq::RequestSegments pieces{segments, rest.begin, part.length_bytes,
                                       of_queue.max_segment_bytes, of_queue.virt_boundary_mask};
      std::uint32_t count = 0;
      const std::byte* end = nullptr;
      const support::IdentityBackend backend;
      ASSERT_TRUE(
          dma::detail::for_each_run(backend, limits, 0, pieces, [&](const dma::detail::Run& run) {
            const auto seam = reinterpret_cast<std::uintptr_t>(end) |
                              reinterpret_cast<std::uintptr_t>(run.memory.data);
            EXPECT_TRUE(count == 0 || (seam & limits.virt_boundary_mask) == 0);
            end = run.memory.end();
            return ++count <= limits.max_segments;
          }));
      rest.begin = part.end;
      rest.length_bytes -= part.length_bytes;
    }
  }
}

}  // namespace
