// SPDX-License-Identifier: BSL-1.0
//
// The vhost-user-blk target on a file: what a guest writes is in the file, and a file that has
// become shorter gives errors.

#include "vhost_user_blk/file_store.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "front_end.hpp"
#include "vhost_user_blk/device.hpp"

namespace vhost_user_blk {
namespace {

using virtio::blk::Type;

TEST(VhostFileStore, WhatTheGuestWritesIsInTheFileAndAShorterFileGivesErrors) {
  std::string path = testing::TempDir() + "blkown-vhost-XXXXXX";
  const Descriptor file{mkstemp(path.data())};
  ASSERT_TRUE(file.is_open());
  ASSERT_EQ(ftruncate(file.get(), 1 << 20), 0);
  auto store = FileStore::open(path, false);
  unlink(path.c_str());
  ASSERT_TRUE(store.has_value()) << store.error();
  auto device = Device::create({.queues = 2}, **store);
  ASSERT_TRUE(device.has_value()) << device.error();
  Guest guest;
  const Connection front_end{**device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  guest.fill(0, 0x42);
  EXPECT_EQ(guest.run(ring, 0, Type::out, 16), 0);
  EXPECT_EQ(guest.run(ring, 1, Type::flush, 0, 0), 0);
  std::uint8_t byte = 0;
  ASSERT_EQ(pread(file.get(), &byte, 1, 16 * 512 + 4095), 1);
  EXPECT_EQ(byte, 0x42);
  guest.put(Guest::data(0), virtio::blk::Range{.sector = 17, .sectors = 1, .flags = 1});
  EXPECT_EQ(guest.run(ring, 0, Type::write_zeroes, 0, 16), 0);
  guest.put(Guest::data(0), virtio::blk::Range{.sector = 18, .sectors = 2, .flags = 0});
  EXPECT_EQ(guest.run(ring, 0, Type::discard, 0, 16), 0);
  EXPECT_EQ(guest.run(ring, 1, Type::in, 16), 0);
  EXPECT_TRUE(guest.is_filled(1, 0x42, 512));
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::data(1) + 512), 0);
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::data(1) + 2048), 0x42);
  // Half of what the guest wants to read is there: a short transfer, and nothing after it.
  ASSERT_EQ(ftruncate(file.get(), 20 * 512), 0);
  EXPECT_EQ(guest.run(ring, 1, Type::in, 16), 1);
  EXPECT_EQ(guest.run(ring, 1, Type::in, 16, 2048), 0);
  EXPECT_EQ((*device)->counters().failed.get(), 1U);
  EXPECT_EQ((*device)->counters().refused_lookups.total(), 0U);
  (*device)->stop();
  EXPECT_EQ((*device)->tags().in_flight(), 0U);
}

}  // namespace
}  // namespace vhost_user_blk
