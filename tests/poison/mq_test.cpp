// SPDX-License-Identifier: BSL-1.0
//
// Goal: in a driver of the block layer the first access to RequestData through a kept reference
// stops, and what other contexts use in the data (the block layer's part of a request, the scatter
// list of a mapping, an armed timer) stays usable.
// Method: drivers that keep a reference; AddressSanitizer is asked which bytes are poisoned.

#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include <array>
#include <blkown/dma/dma.hpp>
#include <cstddef>
#include <optional>
#include <utility>

#include "mq/fake_driver.hpp"
#include "support/driver.hpp"
#include "support/identity_backend.hpp"

namespace {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
using blkown::Status;

/// Whether any byte of the object is poisoned.
template <class T>
[[nodiscard]] bool is_poisoned(const T& object) {
  return __asan_region_is_poisoned(const_cast<T*>(&object), sizeof object) != nullptr;
}

/// Maps each bio's memory, arms a timer, and keeps a reference to the data.
struct Keeper {
  struct RequestData {
    int before = 0;
    dma::IovaList<2> list;
    std::optional<dma::ActiveMapping> mapping;
    mq::Timer<blkown::ARef<mq::Request<Keeper>>> timer{
        [](void* fired, auto&&) { ++*static_cast<int*>(fired); }, &fired};
    dma::IovaList<2> other_list;
    char after = 0;
    static inline int fired = 0;
  };
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<Keeper>;
  using Hw = mq::HwQueue<Keeper>;
  using Disk = mq::Disk<Keeper>;

  mq::Dispatch<Keeper> queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    auto claim = std::move(idle).start().into_claim();
    payload = &claim.data();
    kept = &payload->driver_data;
    EXPECT_FALSE(is_poisoned(*kept));
    auto prepared =
        dma::map(claim, device, payload->segments(), dma::Direction::from_device, kept->list);
    EXPECT_TRUE(prepared.has_value());
    kept->mapping.emplace(std::move(*prepared).activate());
    if (timer_context != nullptr) kept->timer.arm(*timer_context, 1'000'000, claim.pin());
    queue = &hw;
    std::move(claim).publish([&](const blkown::Cookie& cookie) {
      value = cookie.value;
      if (writes_in_issue) kept->before = 1;
    });
    if (writes_after_issue) kept->after = 1;
    return mq::Dispatch<Keeper>::accepted();
  }
  /// Completes the request in the device's place.
  void reap() {
    auto claim = queue->claim(value);
    ASSERT_TRUE(claim.has_value());
    EXPECT_FALSE(is_poisoned(*kept));
    const auto proof = dma::EndProof::of(*claim);
    auto mapping = std::exchange(claim->data().driver_data.mapping, std::nullopt);
    EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
    static_cast<void>(claim->data().driver_data.timer.cancel());
    std::move(*claim).end(Status::ok);
  }

  support::IdentityBackend backend;
  dma::Device<support::IdentityBackend> device{backend};
  mq::Context* timer_context = nullptr;
  bool writes_in_issue = false;
  bool writes_after_issue = false;
  mq::Payload<Keeper>* payload = nullptr;
  RequestData* kept = nullptr;
  Hw* queue = nullptr;
  std::uint64_t value = 0;
};

/// A disk with one read in flight.
struct Reading {
  Reading() { bench.disk->submit(bench.context(), read.bio); }
  /// Completes the read in the device's place.
  void reap() {
    bench.driver.reap();
    bench.runtime.run();
  }

  fake::Read read;
  fake::Bench<Keeper> bench;
};

}  // namespace

TEST(PoisonOfRequestData, IsOnTheDriversPartWhileTheDeviceHasTheRequest) {
  Reading reading;
  Keeper& driver = reading.bench.driver;
  EXPECT_TRUE(is_poisoned(driver.kept->before));
  EXPECT_TRUE(is_poisoned(driver.kept->mapping));
  EXPECT_TRUE(is_poisoned(driver.kept->after));
  EXPECT_EQ(driver.payload->op(), mq::Op::read) << "the block layer's part is not poisoned";
  reading.reap();
  EXPECT_TRUE(is_poisoned(driver.kept->before)) << "ended";
  EXPECT_EQ(reading.read.ends.count, 1);
}

// Goal: a drain reads the list of a mapping that is left in the data of a request in flight.
TEST(PoisonOfRequestData, LeavesTheListOfAMappingUsable) {
  Reading reading;
  Keeper& driver = reading.bench.driver;
  EXPECT_FALSE(is_poisoned(driver.kept->list));
  EXPECT_EQ(driver.kept->list.segments().size(), 1U);
  EXPECT_TRUE(is_poisoned(driver.kept->other_list)) << "no mapping has used it";
  {
    auto claim = driver.queue->claim(driver.value);
    ASSERT_TRUE(claim.has_value());
    std::move(*claim).end(Status::io_error);
  }
  EXPECT_EQ(reading.read.ends.count, 0) << "the mapping pins the request";
  EXPECT_EQ(driver.device.drain(driver.device.declare_stopped()), 1U);
  reading.bench.runtime.run();
  EXPECT_EQ(reading.read.ends.count, 1);
}

// Goal: a context fires a timer that is part of its request's data while the request is published.
TEST(PoisonOfRequestData, LeavesAnArmedTimerUsable) {
  Keeper::RequestData::fired = 0;
  fake::Bench<Keeper> bench;
  bench.driver.timer_context = &bench.context();
  for (int round = 1; round != 3; ++round) {
    fake::Read read;
    bench.disk->submit(bench.context(), read.bio);
    EXPECT_FALSE(is_poisoned(bench.driver.kept->timer));
    EXPECT_TRUE(is_poisoned(bench.driver.kept->after));
    bench.clock.pass_ms(2);
    bench.runtime.run();
    EXPECT_EQ(Keeper::RequestData::fired, round);
    bench.driver.reap();
    bench.runtime.run();
    EXPECT_EQ(read.ends.count, 1);
  }
}

namespace {

struct TwoLists {
  int before = 0;
  std::optional<dma::IovaList<1>> low;
  int between = 0;
  std::optional<dma::IovaList<1>> high;
  int after = 0;
};

}  // namespace

// Goal: the bytes between the lists are poisoned, and a list that was destroyed is poisoned again.
// Method: the list at the higher address is mapped first.
TEST(PoisonOfLists, CoversWhatLiesBetweenThem) {
  support::IdentityBackend backend;
  dma::Device<support::IdentityBackend> device{backend};
  support::Driver<blkown::Request<TwoLists>> driver;
  std::array<std::byte, 16> memory{};
  const std::array segments{blkown::Segment{memory.data(), memory.size()}};

  auto claim = driver.owned().into_claim();
  TwoLists& data = claim.data();
  data.low.emplace();
  data.high.emplace();
  const dma::IovaList<1>& low = *data.low;
  const dma::IovaList<1>& high = *data.high;
  const auto direction = dma::Direction::to_device;
  EXPECT_TRUE(dma::map(claim, device, segments, direction, *data.high).has_value());
  EXPECT_TRUE(dma::map(claim, device, segments, direction, *data.low).has_value());
  auto cookie = support::Driver<blkown::Request<TwoLists>>::publish(std::move(claim));
  EXPECT_FALSE(is_poisoned(low));
  EXPECT_FALSE(is_poisoned(high));
  for (const int* const number : {&data.before, &data.between, &data.after}) {
    EXPECT_TRUE(is_poisoned(*number));
  }

  auto again = driver.claim(cookie);
  again.data().low.reset();
  cookie = support::Driver<blkown::Request<TwoLists>>::publish(std::move(again));
  EXPECT_TRUE(is_poisoned(low));
  EXPECT_FALSE(is_poisoned(high));
  driver.complete(cookie);
}

using PoisonOfRequestDataDeathTest = testing::Test;

TEST_F(PoisonOfRequestDataDeathTest, StopsAWriteInIssue) {
  fake::Bench<Keeper> bench;
  fake::Read read;
  bench.driver.writes_in_issue = true;
  EXPECT_DEATH(bench.disk->submit(bench.context(), read.bio), "use-after-poison");
}

TEST_F(PoisonOfRequestDataDeathTest, StopsAWriteAfterThePublication) {
  fake::Bench<Keeper> bench;
  fake::Read read;
  bench.driver.writes_after_issue = true;
  EXPECT_DEATH(bench.disk->submit(bench.context(), read.bio), "use-after-poison");
}

TEST_F(PoisonOfRequestDataDeathTest, StopsAReadAfterTheEnd) {
  Reading reading;
  reading.reap();
  EXPECT_DEATH(
      static_cast<void>(*const_cast<const volatile int*>(&reading.bench.driver.kept->before)),
      "use-after-poison");
}
