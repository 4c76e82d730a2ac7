// SPDX-License-Identifier: BSL-1.0
//
// Goal: mappings through the registered buffers of io_uring. On a machine without io_uring, the
// tests that need a ring check for the kernel's error instead.

#include <blkown/dma/uring_buffers.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <blkown/dma/dma.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>

#include "dma/fake_backend.hpp"

namespace {

namespace dma = blkown::dma;
using dma::MapFailure;

/// Two regions with a gap between them, and memory on both sides.
struct Regions {
  alignas(4096) std::array<std::byte, 4 * 4096> memory{};
  std::array<iovec, 2> vectors{iovec{memory.data() + 512, 1024}, iovec{memory.data() + 8192, 4096}};
  dma::UringBuffers buffers{vectors};

  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(std::size_t offset,
                                                             std::size_t length) {
    return buffers.map({memory.data() + offset, length}, dma::Direction::to_device, {});
  }
};

TEST(UringBuffers, MapsWhatOneRegionHolds) {
  Regions regions;
  for (const auto& [offset, length] : {std::pair{512, 1024}, {512, 1}, {1535, 1}, {8192, 4096}}) {
    const auto iova =
        regions.map(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    ASSERT_TRUE(iova.has_value()) << offset;
    EXPECT_EQ(*iova, reinterpret_cast<std::uintptr_t>(regions.memory.data()) +
                         static_cast<std::size_t>(offset));
  }
}

TEST(UringBuffers, RefusesWhatNoOneRegionHolds) {
  Regions regions;
  for (const auto& [offset, length] : {std::pair{0, 1},
                                       {511, 1},
                                       {511, 2},
                                       {512, 1025},
                                       {1535, 2},
                                       {1536, 1},
                                       {1000, 10000},
                                       {12287, 2},
                                       {12288, 1}}) {
    const auto iova =
        regions.map(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    ASSERT_FALSE(iova.has_value()) << offset << '+' << length;
    EXPECT_EQ(iova.error(), MapFailure::refused);
  }
  EXPECT_FALSE(dma::UringBuffers{{}}.map({regions.memory.data(), 1}, {}, {}).has_value());
}

// Goal: adjacent memory is one element within a region, and two elements across a border of
// regions: a command can use one buffer.
TEST(UringBuffers, AnElementStaysInItsRegion) {
  alignas(4096) std::array<std::byte, 2 * 4096> memory{};
  const std::array vectors{iovec{memory.data(), 4096}, iovec{memory.data() + 4096, 4096}};
  dma::UringBuffers buffers{vectors};
  EXPECT_EQ(buffers.mappable_bytes(memory.data()), 4096U);
  EXPECT_EQ(buffers.mappable_bytes(memory.data() + 8191), 1U);
  EXPECT_EQ(buffers.mappable_bytes(memory.data() + 8192), 0U);

  dma::Device<dma::UringBuffers> device{buffers};
  support::Driver<fake::Request> driver;
  auto claim = driver.owned().into_claim();
  const std::array segments{blkown::Segment{memory.data() + 3000, 1000},
                            blkown::Segment{memory.data() + 4000, 1000}};
  auto prepared = support::take_value(
      dma::map(claim, device, segments, dma::Direction::to_device, claim.data().iovas));
  const auto first = reinterpret_cast<std::uintptr_t>(memory.data());
  EXPECT_EQ(std::vector(prepared.segments().begin(), prepared.segments().end()),
            (std::vector<dma::IovaSegment>{{first + 3000, 1096}, {first + 4096, 904}}));
  {
    const auto gone = std::move(prepared);
  }
  std::move(claim).end_ok();
}

// Goal: a command's result counts all bytes of an element, and the kernel moves no more at once.
TEST(UringBuffers, AnElementIsNoLongerThanACommand) {
  EXPECT_EQ(dma::UringBuffers{{}}.limits().max_segment_bytes, 0x7FFF'F000U);
}

TEST(UringBuffers, HasNoIndexWithoutARing) {
  Regions regions;
  EXPECT_FALSE(regions.buffers.is_registered());
  EXPECT_FALSE(regions.buffers.buffer_index(*regions.map(512, 1)).has_value());
}

/// A ring, or none on a machine without io_uring.
struct Ring {
  Ring() : error{-io_uring_queue_init(4, &ring, 0)} {
    EXPECT_TRUE(error == 0 || error == ENOSYS || error == EPERM || error == EACCES) << error;
  }
  ~Ring() {
    if (error == 0) io_uring_queue_exit(&ring);
  }
  io_uring ring{};
  int error;
};

TEST(UringBuffers, ARegisteredRegionHasItsIndex) {
  Regions regions;
  Ring ring;
  if (ring.error != 0) return;
  ASSERT_EQ(regions.buffers.register_with(ring.ring), 0);
  EXPECT_TRUE(regions.buffers.is_registered());
  EXPECT_EQ(regions.buffers.buffer_index(*regions.map(512, 1)), 0);
  EXPECT_EQ(regions.buffers.buffer_index(*regions.map(1535, 1)), 0);
  EXPECT_EQ(regions.buffers.buffer_index(*regions.map(12287, 1)), 1);
  const auto first = reinterpret_cast<std::uintptr_t>(regions.memory.data());
  for (const std::uintptr_t beside : {511U, 1536U, 8191U, 12288U}) {
    EXPECT_FALSE(regions.buffers.buffer_index(first + beside).has_value()) << beside;
  }
}

TEST(UringBuffers, WhatIsNotRegisteredIsMappedAllTheSame) {
  Regions regions;
  Ring ring;
  if (ring.error != 0) return;
  dma::UringBuffers first{regions.vectors};
  ASSERT_EQ(first.register_with(ring.ring), 0);
  EXPECT_EQ(regions.buffers.register_with(ring.ring), EBUSY) << "a ring has one set of buffers";
  EXPECT_FALSE(regions.buffers.is_registered());
  const auto iova = regions.map(512, 1024);
  ASSERT_TRUE(iova.has_value());
  EXPECT_FALSE(regions.buffers.buffer_index(*iova).has_value());
}

TEST(UringBuffersDeathTest, AreNotDestroyedBeforeTheirDevice) {
  EXPECT_DEATH(
      {
        const auto regions = std::make_unique<Regions>();
        std::optional<dma::UringBuffers> buffers;
        buffers.emplace(regions->vectors);
        const dma::Device<dma::UringBuffers> device(*buffers);
        buffers.reset();
      },
      "dma::UringBuffers destroyed while a dma::Device uses it: destroy that object first");
}

// Goal: one I/O through a ring, from the map to the unmap with the completion's proof.
TEST(UringBuffers, AReadThroughAMapping) {
  Regions regions;
  Ring ring;
  if (ring.error != 0) return;
  ASSERT_EQ(regions.buffers.register_with(ring.ring), 0);
  dma::Device<dma::UringBuffers> device{regions.buffers};
  support::Driver<fake::Request> driver{{.queue_count = 1,
                                         .depth = 1,
                                         .layout = blkown::CookieLayout::io_uring(),
                                         .first_generation = blkown::Generation{100}}};
  std::FILE* const file = std::tmpfile();
  ASSERT_EQ(pwrite(fileno(file), "bytes", 5, 0), 5);

  auto claim = driver.owned().into_claim();
  const std::array segments{blkown::Segment{regions.memory.data() + 9000, 5}};
  auto prepared =
      dma::map(claim, device, segments, dma::Direction::from_device, claim.data().iovas);
  ASSERT_TRUE(prepared.has_value());
  auto& mapping = claim.data().mapping.emplace(std::move(*prepared).activate());
  const dma::IovaSegment target = mapping.segments()[0];
  std::move(claim).publish([&](const blkown::Cookie& cookie) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring.ring);
    io_uring_prep_read_fixed(sqe, fileno(file), reinterpret_cast<void*>(target.iova),
                             static_cast<unsigned>(target.length_bytes), 0,
                             *regions.buffers.buffer_index(target.iova));
    io_uring_sqe_set_data64(sqe, cookie.value);
    EXPECT_EQ(io_uring_submit(&ring.ring), 1);
  });
  io_uring_cqe* cqe = nullptr;
  ASSERT_EQ(io_uring_wait_cqe(&ring.ring, &cqe), 0);
  EXPECT_EQ(cqe->res, 5);
  auto found = support::take_value(driver.set.claim(blkown::QueueIndex{0}, cqe->user_data));
  io_uring_cqe_seen(&ring.ring, cqe);
  EXPECT_TRUE(fake::Rig::taken_out(found).unmap(*dma::EndProof::of(found)).has_value());
  std::move(found).end_ok();
  EXPECT_EQ(std::memcmp(regions.memory.data() + 9000, "bytes", 5), 0);
  std::fclose(file);
}

}  // namespace
