// SPDX-License-Identifier: BSL-1.0
//
// Goal: in a driver of the block layer, the Claim of the complete hook is proof exactly if it comes
// from a completion.

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <vector>

#include "dma/fake_backend.hpp"
#include "mq/fake_driver.hpp"

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

  mq::Dispatch<Mapping> queue_rq(Hw& queue, QueueData&, blkown::Idle<Rq> idle, bool) {
    auto claim = std::move(idle).start().into_claim();
    auto& data = claim.data();
    auto prepared = dma::map(claim, device, data.segments(), dma::Direction::from_device,
                             data.driver_data.iovas);
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
  bool is_forgetful = false;  // ends I/Os with two mappings in their data
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

}  // namespace
