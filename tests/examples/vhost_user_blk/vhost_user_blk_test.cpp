// SPDX-License-Identifier: BSL-1.0
//
// The vhost-user-blk target under a scripted front end and guest: what they are answered, and what
// is left of those that go away or do not keep to the protocol.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "front_end.hpp"
#include "vhost_user_blk/device.hpp"
#include "vhost_user_blk/memory_store.hpp"

namespace {
/// What another process does just before this thread asks for the seals of a file.
thread_local void (*before_get_seals)(int fd) = nullptr;
}  // namespace

/// In place of the C library's.
extern "C" int fcntl(int fd, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  if (command == F_GET_SEALS && before_get_seals != nullptr) {
    std::exchange(before_get_seals, nullptr)(fd);
  }
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}

namespace vhost_user_blk {
namespace {

using vhost_user::MessageError;
using vhost_user::Request;
using virtio::blk::Result;
using virtio::blk::Type;
namespace chain_flag = virtio::descriptor_flag;

constexpr std::uint64_t disk_bytes = 4 * 1024 * 1024;

[[nodiscard]] constexpr std::uint8_t value(Result result) {
  return static_cast<std::uint8_t>(result);
}

class VhostUserBlk : public testing::Test {
 protected:
  Device& start_device(Store& store, DeviceConfig config = {}) {
    config.queues = 2;
    auto made = Device::create(config, store);
    EXPECT_TRUE(made.has_value()) << made.error();
    device_ = std::move(*made);
    return *device_;
  }
  void TearDown() override {
    if (!device_) return;
    // What a failed test has left.
    if (HasFailure()) held_.complete_all();
    device_->stop();
    EXPECT_EQ(device_->tags().in_flight(), 0U);
    for (blkown::QueueIndex queue; queue.value != device_->tags().queue_count(); ++queue.value) {
      EXPECT_EQ(device_->tags().taken_count(queue), 0U) << "queue " << queue.value;
    }
  }
  [[nodiscard]] static bool held_of(HeldStore& store, std::size_t count) {
    return store.held().size() == count;
  }
  /// Whether something was signalled since the last time.
  [[nodiscard]] static bool take_signal_now(const Descriptor& fd) {
    std::uint64_t count = 0;
    return ::read(fd.get(), &count, sizeof(count)) > 0;
  }
  [[nodiscard]] std::uint64_t ring_errors(RingError error) const {
    return device_->counters().ring_errors.get(error);
  }

  /// Returns when the target has decided whether to call for what it has pushed in the first ring.
  /// The target decides for the rings in their order.
  static void await_call_decision(Guest& guest) {
    // The second ring is signalled when it is set, when it begins, and from the third time on for
    // what was pushed.
    for (int i = 0; i != 3; ++i) {
      ASSERT_EQ(guest.run(guest.rings[1], 1, Type::in, 0), value(Result::ok));
      ASSERT_TRUE(soon([&] { return take_signal_now(guest.rings[1].call); }));
    }
  }
  /// The signals of rings, but for those that came when the rings were set.
  [[nodiscard]] std::uint64_t calls() const { return device_->counters().calls.get(); }

  MemoryStore memory_{disk_bytes};
  HeldStore held_{disk_bytes};
  std::unique_ptr<Device> device_;
  std::array<std::uint64_t, memory_error_count> seen_{};  // of the counters of the device
};

// ---- Requests

TEST_F(VhostUserBlk, ExecutesEachRequestThatItOffers) {
  Device& device = start_device(memory_, {.serial = "a serial number"});
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  guest.fill(0, 0x5A);
  EXPECT_EQ(guest.run(ring, 0, Type::out, 8), value(Result::ok));
  EXPECT_EQ(guest.run(ring, 1, Type::in, 8), value(Result::ok));
  EXPECT_TRUE(guest.is_filled(1, 0x5A));
  EXPECT_EQ(guest.run(ring, 0, Type::flush, 0, 0), value(Result::ok));
  EXPECT_EQ(guest.run(ring, 0, Type::get_id, 0, virtio::blk::id_bytes), value(Result::ok));
  EXPECT_STREQ(reinterpret_cast<const char*>(guest.at(Guest::data(0))), "a serial number");
  // The middle of what was written becomes zeroes.
  guest.put(Guest::data(0), virtio::blk::Range{.sector = 10, .sectors = 2, .flags = 1});
  EXPECT_EQ(guest.run(ring, 0, Type::write_zeroes, 0, 16), value(Result::ok));
  guest.put(Guest::data(0), virtio::blk::Range{.sector = 100, .sectors = 8, .flags = 0});
  EXPECT_EQ(guest.run(ring, 0, Type::discard, 0, 16), value(Result::ok));
  EXPECT_EQ(guest.run(ring, 1, Type::in, 8), value(Result::ok));
  EXPECT_TRUE(guest.is_filled(1, 0x5A, 1024));
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::data(1) + 1024), 0);
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::data(1) + 2048), 0x5A);
}

TEST_F(VhostUserBlk, FollowsIndirectTablesAndSaysHowMuchWasWritten) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[1];
  guest.fill(2, 0x77);
  guest.submit(ring, guest.indirect(ring, 2, Type::out, 0, 4096));
  auto used = guest.wait_used(ring);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->head, 8U);
  EXPECT_EQ(used->written_bytes, 1U);
  // A chain may go on in an indirect table at its last descriptor.
  const auto parts = guest.request(3, Type::in, 0, 2048);
  guest.describe(ring, 12, {parts[0].address, 16, chain_flag::next, 13});
  guest.describe(ring, 13,
                 {Guest::table_address(3), 32, chain_flag::indirect | chain_flag::write, 0});
  guest.put(Guest::table_address(3), virtio::Descriptor{parts[1].address, 2048, 3, 1});
  guest.put(Guest::table_address(3) + 16, virtio::Descriptor{parts[2].address, 1, 2, 0});
  guest.submit(ring, 12);
  used = guest.wait_used(ring);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->head, 12U);
  EXPECT_EQ(used->written_bytes, 2049U);
  EXPECT_TRUE(guest.is_filled(3, 0x77, 2048));
}

TEST_F(VhostUserBlk, TakesHeaderDataAndResultDividedAtAnyByte) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  guest.fill(0, 0x21);
  ASSERT_EQ(guest.run(ring, 0, Type::out, 0), value(Result::ok));
  // The header in two parts and an empty one; the data and the result in one.
  static_cast<void>(guest.request(1, Type::in, 0, 0));
  guest.describe(ring, 4, {Guest::slot(1), 5, chain_flag::next, 5});
  guest.describe(ring, 5, {Guest::slot(1), 0, chain_flag::next, 6});
  guest.describe(ring, 6, {Guest::slot(1) + 5, 11, chain_flag::next, 7});
  guest.describe(ring, 7, {Guest::data(1), 1000, chain_flag::next | chain_flag::write, 8});
  guest.describe(ring, 8, {Guest::data(1) + 1000, 25, chain_flag::write, 0});
  guest.put(Guest::data(1) + 1024, std::uint8_t{0xEE});
  guest.submit(ring, 4);
  ASSERT_TRUE(guest.wait_used(ring).has_value());
  EXPECT_TRUE(guest.is_filled(1, 0x21, 1024));
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::data(1) + 1024), value(Result::ok));
}

TEST_F(VhostUserBlk, ARequestThatCannotBeExecutedGetsAResultAndTheRingGoesOn) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  const auto range = [&](Type type, std::uint64_t sector, std::uint32_t sectors,
                         std::uint32_t flags, std::uint32_t length = 16) {
    guest.put(Guest::data(0),
              virtio::blk::Range{.sector = sector, .sectors = sectors, .flags = flags});
    return guest.run(ring, 0, type, 0, length);
  };
  const std::uint8_t io_error = value(Result::io_error);
  const std::uint8_t unsupported = value(Result::unsupported);
  EXPECT_EQ(guest.run(ring, 0, Type{99}, 0), unsupported);
  EXPECT_EQ(guest.run(ring, 0, Type::in, 0, 100), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::in, 0, 0), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::flush, 0, 512), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::get_id, 0, 19), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::in, disk_bytes / 512 - 7), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::out, disk_bytes / 512), io_error);
  // Sectors whose byte has more than 64 bits, and the last of them.
  EXPECT_EQ(guest.run(ring, 0, Type::out, 1ULL << 55), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::out, ~0ULL), io_error);
  EXPECT_EQ(range(Type::discard, 0, 8, 1), unsupported);
  EXPECT_EQ(range(Type::write_zeroes, 0, 8, 2), unsupported);
  EXPECT_EQ(range(Type::write_zeroes, 0, 0, 0), io_error);
  EXPECT_EQ(range(Type::write_zeroes, 0, 8, 0, 32), io_error);
  EXPECT_EQ(range(Type::discard, 0, 8, 0, 15), io_error);
  // More than 4 GiB, in sectors of 32 bits: no seam, and not on this disk.
  EXPECT_EQ(range(Type::discard, 0, 0xFFFF'FFFF, 0), io_error);
  EXPECT_EQ(range(Type::write_zeroes, 8, (1U << 23), 0), io_error);
  EXPECT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  const Counters& counters = device.counters();
  EXPECT_EQ(counters.refusals.get(Refusal::unsupported_type), 1U);
  EXPECT_EQ(counters.refusals.get(Refusal::out_of_range), 6U);
  EXPECT_EQ(counters.refusals.get(Refusal::unsupported_flags), 2U);
  EXPECT_EQ(counters.refusals.get(Refusal::bad_length), 7U);
  EXPECT_EQ(counters.ring_errors.total(), 0U);
}

TEST_F(VhostUserBlk, AReadOnlyDiskTakesNoWritesAndSaysSo) {
  MemoryStore store{disk_bytes, true};
  Device& device = start_device(store);
  Guest guest;
  const Connection front_end{device};
  const std::uint64_t features = front_end.ask(Request::get_features);
  EXPECT_NE(features & virtio::blk::feature::ro, 0U);
  EXPECT_EQ(features & virtio::blk::feature::discard, 0U);
  ASSERT_TRUE(front_end.start(guest));
  EXPECT_EQ(guest.run(guest.rings[0], 0, Type::out, 0), value(Result::io_error));
  EXPECT_EQ(guest.run(guest.rings[0], 0, Type::in, 0), value(Result::ok));
  EXPECT_EQ(device.counters().refusals.get(Refusal::read_only), 1U);
  device_->stop();
  device_.reset();
}

TEST_F(VhostUserBlk, CompletesOutOfOrderAndEachQueueHasTagsOfItsOwn) {
  Device& device = start_device(held_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  // The same head on two rings is two requests.
  for (Ring& ring : guest.rings) {
    guest.submit(ring, guest.chain(ring, 0, Type::in, 0, 512));
    guest.submit(ring, guest.chain(ring, 1, Type::in, 0, 512));
  }
  ASSERT_TRUE(soon([&] { return held_.held().size() == 4; }));
  const auto ids = held_.held();
  for (std::size_t i = ids.size(); i-- != 0;) EXPECT_TRUE(held_.complete(ids[i]));
  for (Ring& ring : guest.rings) {
    EXPECT_EQ(guest.wait_used(ring)->head, 4U);
    EXPECT_EQ(guest.wait_used(ring)->head, 0U);
  }
  // The same id again names nothing, nor does a forged one.
  EXPECT_FALSE(held_.complete(ids[0]));
  EXPECT_FALSE(held_.complete(~ids[1]));
  EXPECT_EQ(device.counters().refused_lookups.total(), 2U);
}

// ---- Rings that are wrong

TEST_F(VhostUserBlk, AHeadThatIsInFlightIsNoSecondRequest) {
  Device& device = start_device(held_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  const std::uint16_t head = guest.chain(ring, 0, Type::in, 0, 512);
  guest.submit(ring, head);
  guest.submit(ring, head);
  ASSERT_TRUE(soon([&] { return ring_errors(RingError::head_in_flight) == 1; }));
  ASSERT_TRUE(soon([&] { return take_signal_now(ring.error); }));
  EXPECT_EQ(held_.held().size(), 1U);
  // The request ends once. The other ring goes on.
  held_.complete_all();
  EXPECT_EQ(guest.wait_used(ring)->head, head);
  Ring& other = guest.rings[1];
  guest.submit(other, guest.chain(other, 1, Type::in, 0, 512));
  ASSERT_TRUE(soon([&] { return held_.held().size() == 1; }));
  held_.complete_all();
  EXPECT_TRUE(guest.wait_used(other).has_value());
  EXPECT_EQ(guest.used_idx(ring), 1U);
}

TEST_F(VhostUserBlk, AHeadMayBeUsedAgainAsSoonAsItIsPushed) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  const std::uint16_t head = guest.chain(ring, 0, Type::in, 0, 512);
  for (int i = 0; i != 4000; ++i) {
    const std::uint16_t before = guest.used_idx(ring);
    guest.submit(ring, head);
    // Without a pause: the first moment at which the driver can see the head.
    for (int spin = 0; spin != 20'000 && guest.used_idx(ring) == before; ++spin) {
    }
    const bool is_used = guest.used_idx(ring) != before;
    const std::uint32_t taken = device.tags().taken_count(blkown::QueueIndex{0});
    ASSERT_TRUE(!is_used || taken == 0) << "round " << i;
    ASSERT_TRUE(guest.wait_used(ring).has_value());
  }
  EXPECT_EQ(device.counters().ring_errors.total(), 0U);
}

/// A driver that does one thing wrong in its first ring.
struct WrongRing {
  const char* name;
  RingError error;
  void (*submit)(Guest&, Ring&);
  std::uint64_t without = 0;  // a feature that is not negotiated
};

void submit_descriptor(Guest& guest, Ring& ring, const virtio::Descriptor& second) {
  guest.chain(ring, 0, Type::in, 0, 512);
  guest.describe(ring, 1, second);
  guest.submit(ring, 0);
}
void submit_table(Guest& guest, Ring& ring, std::uint32_t length, std::uint16_t flags) {
  guest.indirect(ring, 0, Type::in, 0, 512);
  guest.describe(ring, 0, {Guest::table_address(0), length, flags, 1});
  guest.submit(ring, 0);
}

constexpr std::uint16_t next_write = chain_flag::next | chain_flag::write;
const WrongRing wrong_rings[]{
    {"head behind the descriptors", RingError::head_out_of_range,
     [](Guest& guest, Ring& ring) { guest.submit(ring, ring.size); }},
    {"largest head", RingError::head_out_of_range,
     [](Guest& guest, Ring& ring) { guest.submit(ring, 0xFFFF); }},
    {"index jumps by more than the ring", RingError::avail_index_jump,
     [](Guest& guest, Ring& ring) {
       guest.set_avail_idx(ring, static_cast<std::uint16_t>(ring.size + 1));
       send_signal(ring.kick);
     }},
    {"index goes back", RingError::avail_index_jump,
     [](Guest& guest, Ring& ring) {
       guest.set_avail_idx(ring, 0xFFFF);
       send_signal(ring.kick);
     }},
    {"next behind the descriptors", RingError::next_out_of_range,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {Guest::data(0), 512, next_write, ring.size});
     }},
    {"chain to itself", RingError::too_long,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {Guest::data(0), 512, next_write, 1});
     }},
    {"chain in a circle", RingError::too_long,
     [](Guest& guest, Ring& ring) {
       guest.chain(ring, 0, Type::in, 0, 512);
       guest.describe(ring, 2, {Guest::result_address(0), 1, next_write, 1});
       guest.submit(ring, 0);
     }},
    {"circle of empty descriptors", RingError::too_long,
     [](Guest& guest, Ring& ring) { submit_descriptor(guest, ring, {0, 0, chain_flag::next, 0}); }},
    {"memory of nobody", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {0x1000, 512, next_write, 2});
     }},
    {"memory behind the guest's last byte", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {Guest::end - 511, 512, next_write, 2});
     }},
    {"memory that wraps around", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {~0ULL - 100, 512, next_write, 2});
     }},
    {"4 GiB of memory", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {Guest::base, 0xFFFF'FFFF, next_write, 2});
     }},
    {"memory at the front end's address", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       submit_descriptor(guest, ring, {Guest::user_base, 512, next_write, 2});
     }},
    {"result in memory of nobody", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       guest.chain(ring, 0, Type::in, 0, 512);
       guest.describe(ring, 2, {8, 1, chain_flag::write, 0});
       guest.submit(ring, 0);
     }},
    {"readable behind writable", RingError::readable_after_writable,
     [](Guest& guest, Ring& ring) {
       guest.chain(ring, 0, Type::in, 0, 512);
       guest.describe(ring, 2, {Guest::result_address(0), 1, 0, 0});
       guest.submit(ring, 0);
     }},
    {"no result", RingError::no_result,
     [](Guest& guest, Ring& ring) { submit_descriptor(guest, ring, {Guest::data(0), 512, 0, 0}); }},
    {"empty result", RingError::no_result,
     [](Guest& guest, Ring& ring) {
       guest.describe(ring, 0, {Guest::slot(0), 16, chain_flag::next, 1});
       guest.describe(ring, 1, {Guest::result_address(0), 0, chain_flag::write, 0});
       guest.submit(ring, 0);
     }},
    {"table without descriptors", RingError::bad_indirect,
     [](Guest& guest, Ring& ring) { submit_table(guest, ring, 0, chain_flag::indirect); }},
    {"table of half descriptors", RingError::bad_indirect,
     [](Guest& guest, Ring& ring) { submit_table(guest, ring, 47, chain_flag::indirect); }},
    {"table with a next", RingError::bad_indirect,
     [](Guest& guest, Ring& ring) {
       submit_table(guest, ring, 48, chain_flag::indirect | chain_flag::next);
     }},
    {"table in a table", RingError::bad_indirect,
     [](Guest& guest, Ring& ring) {
       guest.indirect(ring, 0, Type::in, 0, 512);
       guest.put(Guest::table_address(0) + 16,
                 virtio::Descriptor{Guest::table_address(0), 48, chain_flag::indirect, 0});
       guest.submit(ring, 0);
     }},
    {"table that was not negotiated", RingError::bad_indirect,
     [](Guest& guest, Ring& ring) { submit_table(guest, ring, 48, chain_flag::indirect); },
     virtio::feature::indirect_desc},
    {"table of 4 GiB", RingError::too_long,
     [](Guest& guest, Ring& ring) {
       submit_table(guest, ring, 0xFFFF'FFF0, chain_flag::indirect);
     }},
    {"table in memory of nobody", RingError::not_guest_memory,
     [](Guest& guest, Ring& ring) {
       guest.describe(ring, 0, {Guest::end - 16, 48, chain_flag::indirect, 0});
       guest.submit(ring, 0);
     }},
    {"next behind the table", RingError::next_out_of_range,
     [](Guest& guest, Ring& ring) { submit_table(guest, ring, 32, chain_flag::indirect); }},
    {"circle in a table", RingError::too_long,
     [](Guest& guest, Ring& ring) {
       guest.indirect(ring, 0, Type::in, 0, 512);
       guest.put(Guest::table_address(0) + 32,
                 virtio::Descriptor{Guest::result_address(0), 1, next_write, 1});
       guest.submit(ring, 0);
     }},
};

TEST_F(VhostUserBlk, AWrongRingStopsWithATypedErrorAndHarmsNoOtherRing) {
  Device& device = start_device(memory_);
  std::array<std::uint64_t, ring_error_count> expected{};
  for (const WrongRing& wrong : wrong_rings) {
    SCOPED_TRACE(wrong.name);
    Guest guest;
    Connection front_end{device};
    ASSERT_TRUE(front_end.start(guest, wrong.without));
    Ring& ring = guest.rings[0];
    wrong.submit(guest, ring);
    const std::uint64_t count = ++expected[static_cast<std::size_t>(wrong.error)];
    ASSERT_TRUE(soon([&] { return ring_errors(wrong.error) == count; }))
        << "in place of " << to_string(wrong.error);
    ASSERT_TRUE(soon([&] { return take_signal_now(ring.error); }));
    EXPECT_EQ(guest.used_idx(ring), 0U);
    EXPECT_EQ(guest.run(guest.rings[1], 1, Type::out, 0), value(Result::ok));
    // A ring that is set up again is served again.
    Guest again;
    front_end.hang_up();
    const Connection second{device};
    ASSERT_TRUE(second.start(again));
    EXPECT_EQ(again.run(again.rings[0], 0, Type::in, 0), value(Result::ok));
  }
}

TEST_F(VhostUserBlk, RingsThatAreNotInTheGuestsMemoryAreRefused) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.negotiate());
  ASSERT_EQ(front_end.set_memory(guest.table(), guest.file.get()), 0U);
  const Ring& ring = guest.rings[0];
  // Without a size, nobody knows how long the ring is.
  EXPECT_EQ(front_end.tell(Request::set_vring_addr, Connection::address_of(ring)), 1U);
  for (const std::uint32_t size : {0U, 3U, 512U, 1U << 16, 0xFFFF'FFFFU}) {
    EXPECT_EQ(front_end.tell(Request::set_vring_num, vhost_user::VringState{0, size}), 1U) << size;
  }
  ASSERT_EQ(front_end.tell(Request::set_vring_num, vhost_user::VringState{0, 64}), 0U);
  const auto refuses = [&](auto change) {
    vhost_user::VringAddress address = Connection::address_of(ring);
    change(address);
    return front_end.tell(Request::set_vring_addr, address) == 1;
  };
  using Address = vhost_user::VringAddress;
  EXPECT_TRUE(refuses([](Address& to) { to.descriptors = 0; }));
  EXPECT_TRUE(refuses([](Address& to) { to.used = ~0ULL - 3; }));
  EXPECT_TRUE(
      refuses([](Address& to) { to.available = Guest::user_base + Guest::region_bytes - 2; }));
  EXPECT_EQ(ring_errors(RingError::not_guest_memory), 3U);
  EXPECT_TRUE(refuses([](Address& to) { to.descriptors += 8; }));
  EXPECT_TRUE(refuses([](Address& to) { to.available += 1; }));
  EXPECT_TRUE(refuses([](Address& to) { to.used += 2; }));
  EXPECT_EQ(ring_errors(RingError::misaligned), 3U);
  EXPECT_TRUE(refuses([](Address& to) { to.index = 2; }));
}

// ---- Memory

TEST_F(VhostUserBlk, ABufferAcrossTwoRegionsIsReadAndWrittenInBoth) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  guest.fill(0, 0x3C);
  ASSERT_EQ(guest.run(ring, 0, Type::out, 0), value(Result::ok));
  // 1,000 bytes before the border and 3,096 behind it.
  const auto behind_first = guest.file_bytes_at(Guest::region_bytes, 8192);
  guest.chain(ring, 1, Type::in, 0, 4096);
  guest.describe(ring, 5, {Guest::border - 1000, 4096, next_write, 6});
  guest.submit(ring, 4);
  ASSERT_TRUE(guest.wait_used(ring).has_value());
  EXPECT_EQ(guest.result(1), value(Result::ok));
  for (const std::uint64_t at :
       {Guest::border - 1000, Guest::border - 1, Guest::border, Guest::border + 3095}) {
    EXPECT_EQ(guest.get<std::uint8_t>(at), 0x3C) << at - Guest::border;
  }
  EXPECT_EQ(guest.get<std::uint8_t>(Guest::border + 3096), 0);
  // The bytes behind the first region in the file are nobody's.
  for (const std::byte each : behind_first) ASSERT_EQ(each, std::byte{0});
}

TEST_F(VhostUserBlk, AMemoryTableThatIsNotAcceptableChangesNothing) {
  Device& device = start_device(memory_);
  Guest guest;
  const Guest unsealed{1, 64, false};
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  const auto refusal = [&](std::vector<vhost_user::MemoryRegion> table, int file) {
    const auto before = device.counters().memory_errors.total();
    EXPECT_EQ(front_end.set_memory(table, file), 1U);
    EXPECT_EQ(device.counters().memory_errors.total(), before + 1);
    for (std::size_t i = 0; i != memory_error_count; ++i) {
      const auto error = static_cast<MemoryError>(i);
      if (device.counters().memory_errors.get(error) != seen_[i]) {
        seen_[i] = device.counters().memory_errors.get(error);
        return error;
      }
    }
    return MemoryError{};
  };
  const auto with = [&](auto change) {
    auto table = guest.table();
    change(table);
    return refusal(table, guest.file.get());
  };
  using Table = std::vector<vhost_user::MemoryRegion>;
  EXPECT_EQ(with([](Table& table) { table[1].size = 0; }), MemoryError::empty_region);
  EXPECT_EQ(with([](Table& table) { table[1].guest_address -= 1; }), MemoryError::overlap);
  EXPECT_EQ(with([](Table& table) { table[1].user_address = Guest::user_base + 4096; }),
            MemoryError::overlap);
  EXPECT_EQ(with([](Table& table) { table[0].guest_address = ~0ULL - 4096; }),
            MemoryError::address_overflow);
  EXPECT_EQ(with([](Table& table) { table[0].user_address = ~0ULL - 4096; }),
            MemoryError::address_overflow);
  EXPECT_EQ(with([](Table& table) { table[1].mmap_offset = ~0ULL - 4096; }),
            MemoryError::address_overflow);
  EXPECT_EQ(with([](Table& table) { table[0].size = 1ULL << 63; }), MemoryError::overlap);
  EXPECT_EQ(with([](Table& table) { table[1].size = 2 * Guest::region_bytes + 1; }),
            MemoryError::beyond_file);
  EXPECT_EQ(with([](Table& table) { table[1].mmap_offset = 1ULL << 62; }),
            MemoryError::beyond_file);
  EXPECT_EQ(refusal(guest.table(), guest.rings[0].kick.get()), MemoryError::beyond_file);
  // A file that its owner could make shorter: a read of it would then end this process.
  EXPECT_EQ(refusal(guest.table(), unsealed.file.get()), MemoryError::shrinkable);
  EXPECT_EQ(guest.run(guest.rings[0], 0, Type::in, 0), value(Result::ok));
}

TEST_F(VhostUserBlk, TakesUnsealedMemoryIfTheFrontEndIsTrusted) {
  Device& device = start_device(memory_, {.needs_seal = false});
  Guest guest{2, 64, false};
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  EXPECT_EQ(guest.run(guest.rings[0], 0, Type::in, 0), value(Result::ok));
}

TEST(VhostUserBlkMemory, AFileThatIsShortenedAndThenSealedIsTooShort) {
  const Guest guest{1, 64, false};
  before_get_seals = [](int fd) {
    ASSERT_EQ(ftruncate(fd, 4096), 0);
    ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  };
  const std::vector<vhost_user::MemoryRegion> table{guest.table().front()};
  const auto mapped = GuestMemory::map(table, std::span{&guest.file, 1}, true);
  EXPECT_EQ(before_get_seals, nullptr);
  ASSERT_FALSE(mapped.has_value());
  EXPECT_EQ(mapped.error(), MemoryError::beyond_file);
}

// ---- Messages

TEST_F(VhostUserBlk, OffersWhatItHasAndTakesNothingElse) {
  Device& device = start_device(memory_);
  const Connection front_end{device};
  const std::uint64_t features = front_end.ask(Request::get_features);
  for (const std::uint64_t wanted :
       {virtio::feature::version_1, virtio::feature::indirect_desc, virtio::feature::event_idx,
        virtio::blk::feature::flush, virtio::blk::feature::mq, virtio::blk::feature::discard,
        vhost_user::feature_protocol_features}) {
    EXPECT_NE(features & wanted, 0U) << wanted;
  }
  EXPECT_EQ(front_end.ask(Request::get_queue_num), 2U);
  ASSERT_TRUE(front_end.negotiate());
  EXPECT_EQ(front_end.tell(Request::set_features, features | 1ULL << 34), 1U);
  EXPECT_EQ(front_end.tell(Request::set_protocol_features, ~0ULL), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_enable, vhost_user::VringState{0, 2}), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_enable, vhost_user::VringState{2, 1}), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_base, vhost_user::VringState{0, 65536}), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_call, std::uint64_t{255 | 256}), 1U);
  // A ring without a kick would have to be polled.
  EXPECT_EQ(front_end.tell(Request::set_vring_kick, vhost_user::vring_no_fd), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_call, vhost_user::vring_no_fd), 0U);
  EXPECT_EQ(device.counters().message_errors.get(MessageError::bad_value), 5U);
  EXPECT_EQ(device.counters().message_errors.get(MessageError::no_such_queue), 2U);
}

TEST_F(VhostUserBlk, TheConfigurationIsReadInPartsAndNeverWritten) {
  Device& device = start_device(memory_);
  const Connection front_end{device};
  ASSERT_TRUE(front_end.negotiate());
  struct Wanted {
    vhost_user::ConfigHeader header;
    std::array<std::byte, 64> bytes{};
  };
  const auto read = [&](std::uint32_t offset, std::uint32_t size) {
    Wanted wanted{.header = {.offset = offset, .size = size}};
    front_end.send(Request::get_config, std::as_bytes(std::span{&wanted, 1}).first(12 + size));
    return front_end.receive();
  };
  const auto whole = read(0, 60);
  ASSERT_TRUE(whole && whole->payload.size() == 72);
  virtio::blk::Config config;
  std::memcpy(static_cast<void*>(&config), whole->payload.data() + 12, 60);
  EXPECT_EQ(config.capacity_sectors, disk_bytes / 512);
  EXPECT_EQ(config.num_queues, 2U);
  EXPECT_EQ(config.seg_max, 126U);
  const auto part = read(34, 2);
  ASSERT_TRUE(part && part->payload.size() == 14);
  EXPECT_EQ(part->payload[12], std::byte{2});
  // Behind the end: an answer without payload.
  for (const auto& [offset, size] : {std::pair{250U, 7U}, {0xFFFF'FFFFU, 2U}, {257U, 0U}}) {
    const auto none = read(offset, size);
    ASSERT_TRUE(none.has_value());
    EXPECT_TRUE(none->payload.empty());
  }
  // The guest's driver may cause a write: it is refused, and the connection stays.
  front_end.send_value(Request::set_config, Wanted{.header = {.offset = 32, .size = 64}});
  EXPECT_EQ(front_end.ask(Request::get_queue_num), 2U);
}

/// Bytes that are no message, with descriptors.
struct WrongMessage {
  const char* name;
  MessageError error;
  std::vector<std::byte> bytes;
  std::size_t fds = 0;
  bool hangs_up = false;
};
[[nodiscard]] std::vector<std::byte> raw(Request request, std::uint32_t flags, std::uint32_t size,
                                         std::size_t payload) {
  const vhost_user::Header header{static_cast<std::uint32_t>(request), flags, size};
  std::vector<std::byte> bytes(sizeof(header) + payload);
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}
const WrongMessage wrong_messages[]{
    {"version 0", MessageError::wrong_version, raw(Request::get_features, 0, 0, 0)},
    {"version 2", MessageError::wrong_version, raw(Request::get_features, 2, 0, 0)},
    {"a reply", MessageError::wrong_version, raw(Request::get_features, 5, 0, 0)},
    {"longer than all messages", MessageError::wrong_size, raw(Request::set_features, 1, 400, 0)},
    {"4 GiB", MessageError::wrong_size, raw(Request::set_mem_table, 1, 0xFFFF'FFFF, 0)},
    {"too short", MessageError::wrong_size, raw(Request::set_features, 1, 7, 7)},
    {"too long", MessageError::wrong_size, raw(Request::set_features, 1, 9, 9)},
    {"payload of none", MessageError::wrong_size, raw(Request::get_features, 1, 8, 8)},
    {"table without regions", MessageError::wrong_size, raw(Request::set_mem_table, 1, 4, 4)},
    {"unknown request", MessageError::unknown_request, raw(Request{999}, 1, 0, 0)},
    {"request 0", MessageError::unknown_request, raw(Request{0}, 1, 0, 0)},
    {"kick without a descriptor", MessageError::wrong_fd_count,
     raw(Request::set_vring_kick, 1, 8, 8)},
    {"kick with two", MessageError::wrong_fd_count, raw(Request::set_vring_kick, 1, 8, 8), 2},
    {"features with one", MessageError::wrong_fd_count, raw(Request::set_features, 1, 8, 8), 1},
    {"memory of none with eight", MessageError::wrong_fd_count,
     raw(Request::set_mem_table, 1, 8, 8), 8},
    {"more than any message has", MessageError::wrong_fd_count,
     raw(Request::set_mem_table, 1, 8, 8), 30},
    {"descriptors with a wrong header", MessageError::wrong_version,
     raw(Request::set_mem_table, 3, 8, 8), 4},
    {"half a header", MessageError::hung_up, std::vector<std::byte>(5), 0, true},
    {"half a payload, with descriptors", MessageError::hung_up,
     raw(Request::set_mem_table, 1, 40, 20), 1, true},
};

[[nodiscard]] std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"},
                       std::filesystem::directory_iterator{});
}

TEST_F(VhostUserBlk, BytesThatAreNoMessageCloseTheConnectionAndNothingLeaks) {
  Device& device = start_device(memory_);
  const auto before = open_descriptors();
  std::array<std::uint64_t, vhost_user::message_error_count> expected{};
  for (const WrongMessage& wrong : wrong_messages) {
    SCOPED_TRACE(wrong.name);
    Connection front_end{device};
    const std::vector<int> fds(wrong.fds, STDERR_FILENO);
    ASSERT_TRUE(front_end.send_raw(wrong.bytes, fds));
    if (wrong.hangs_up) front_end.hang_up();
    EXPECT_TRUE(wrong.hangs_up || front_end.is_closed());
    const auto& errors = device.counters().message_errors;
    const std::uint64_t count = ++expected[static_cast<std::size_t>(wrong.error)];
    EXPECT_TRUE(soon([&] { return errors.get(wrong.error) == count; }))
        << "in place of " << to_string(wrong.error);
  }
  EXPECT_TRUE(soon([&] { return open_descriptors() == before; }));
}

TEST_F(VhostUserBlk, AMessageMayArriveByteByByte) {
  Device& device = start_device(memory_);
  const Connection front_end{device};
  const vhost_user::Header header{static_cast<std::uint32_t>(Request::set_features), 1, 8};
  std::array<std::byte, 20> bytes{};
  std::memcpy(bytes.data(), &header, sizeof(header));
  for (const std::byte& each : bytes) ASSERT_TRUE(front_end.send_raw(std::span{&each, 1}));
  EXPECT_EQ(front_end.ask(Request::get_queue_num), 2U);
}

TEST_F(VhostUserBlk, KicksComeFromAnEventfdOrAPipeAndFromNothingElse) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  EXPECT_EQ(front_end.tell(Request::set_vring_kick, std::uint64_t{0}, {guest.file.get()}), 1U);
  // With the other end of its connection, the target would never see the connection closed.
  for (const Request request :
       {Request::set_vring_kick, Request::set_vring_call, Request::set_vring_err}) {
    EXPECT_EQ(front_end.tell(request, std::uint64_t{0}, {front_end.fd()}), 1U);
  }
  // A pipe does as well. When it is closed, no kick can come any more.
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Descriptor reading{ends[0]};
  Descriptor writing{ends[1]};
  EXPECT_EQ(front_end.tell(Request::set_vring_kick, std::uint64_t{0}, {reading.get()}), 0U);
  std::swap(ring.kick, writing);
  EXPECT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  ring.kick = Descriptor{};
  EXPECT_TRUE(soon([&] { return ring_errors(RingError::kick_lost) == 1; }));
  EXPECT_EQ(guest.run(guest.rings[1], 0, Type::in, 0), value(Result::ok));
}

TEST_F(VhostUserBlk, ACallOrAnErrorToAPipeWithoutAReaderIsDropped) {
  Device& device = start_device(memory_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Descriptor writing{ends[1]};
  close(ends[0]);
  // The first call is sent at once.
  EXPECT_EQ(front_end.tell(Request::set_vring_call, std::uint64_t{0}, {writing.get()}), 0U);
  EXPECT_EQ(front_end.tell(Request::set_vring_err, std::uint64_t{0}, {writing.get()}), 0U);
  Ring& ring = guest.rings[0];
  EXPECT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  guest.set_avail_idx(ring, static_cast<std::uint16_t>(ring.next_avail + ring.size + 1));
  send_signal(ring.kick);
  EXPECT_TRUE(soon([&] { return ring_errors(RingError::avail_index_jump) == 1; }));
  EXPECT_EQ(guest.run(guest.rings[1], 0, Type::in, 0), value(Result::ok));
}

// ---- Requests in flight

TEST_F(VhostUserBlk, GetVringBaseWaitsForWhatIsInFlight) {
  Device& device = start_device(held_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  for (std::size_t i = 0; i != 3; ++i) {
    guest.submit(ring, guest.chain(ring, i, Type::in, 0, 512));
  }
  ASSERT_TRUE(soon([&] { return held_.held().size() == 3; }));
  front_end.send_value(Request::get_vring_base, vhost_user::VringState{0, 0});
  // What is made available from here on is for whoever sets the ring up next.
  EXPECT_FALSE(front_end.has_reply(30));
  guest.submit(ring, guest.chain(ring, 3, Type::in, 0, 512));
  held_.complete(held_.held()[2]);
  EXPECT_FALSE(front_end.has_reply(30));
  EXPECT_EQ(held_.held().size(), 2U);
  held_.complete_all();
  const auto reply = front_end.receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->as<vhost_user::VringState>().num, 3U);
  EXPECT_EQ(guest.used_idx(ring), 3U);
  // A stopped ring begins again where it was.
  ASSERT_TRUE(front_end.set_ring(ring, 3));
  ASSERT_TRUE(soon([&] { return held_.held().size() == 1; }));
  held_.complete_all();
  EXPECT_TRUE(soon([&] { return guest.used_idx(ring) == 4; }));
}

TEST_F(VhostUserBlk, AMessageToOneRingWaitsForNoOther) {
  Device& device = start_device(held_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& busy = guest.rings[0];
  Ring& other = guest.rings[1];
  guest.submit(busy, guest.chain(busy, 0, Type::in, 0, 512));
  ASSERT_TRUE(soon([&] { return held_of(held_, 1); }));
  const std::uint64_t stuck = held_.held()[0];
  front_end.send_value(Request::get_vring_base, vhost_user::VringState{1, 0});
  EXPECT_TRUE(front_end.receive().has_value());
  EXPECT_TRUE(front_end.set_ring(other));
  // While the busy ring is being stopped, the other one goes on.
  front_end.send_value(Request::get_vring_base, vhost_user::VringState{0, 0});
  EXPECT_FALSE(front_end.has_reply(20));
  guest.submit(other, guest.chain(other, 1, Type::in, 0, 512));
  EXPECT_TRUE(soon([&] { return held_of(held_, 2); }));
  held_.complete(held_.held()[1]);
  EXPECT_TRUE(guest.wait_used(other).has_value());
  EXPECT_FALSE(front_end.has_reply());
  held_.complete(stuck);
  EXPECT_TRUE(front_end.receive().has_value());
}

TEST_F(VhostUserBlk, NewMemoryWaitsForWhatIsInFlightInTheOld) {
  Device& device = start_device(held_);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  guest.fill(0, 0xAB, 512);
  guest.submit(ring, guest.chain(ring, 0, Type::in, 0, 512));
  ASSERT_TRUE(soon([&] { return held_.held().size() == 1; }));
  std::uint64_t answer = 9;
  std::atomic<bool> is_answered{false};
  // The new table has the first region only: the ring is in it, the old buffer too.
  std::vector<vhost_user::MemoryRegion> table{guest.table().front()};
  std::thread front{[&] {
    answer = front_end.set_memory(table, guest.file.get());
    is_answered.store(true, std::memory_order_release);
  }};
  std::this_thread::sleep_for(std::chrono::milliseconds{30});
  EXPECT_FALSE(is_answered.load(std::memory_order_acquire));
  held_.complete_all();
  front.join();
  EXPECT_EQ(answer, 0U);
  EXPECT_TRUE(guest.is_filled(0, 0, 512));
  // The ring goes on in the new memory; memory that is not in it is not the guest's any more.
  guest.submit(ring, guest.chain(ring, 1, Type::in, 0, 512));
  ASSERT_TRUE(soon([&] { return held_.held().size() == 1; }));
  held_.complete_all();
  guest.chain(ring, 2, Type::in, 0, 512);
  guest.describe(ring, 9, {Guest::border, 512, next_write, 10});
  guest.submit(ring, 8);
  EXPECT_TRUE(soon([&] { return ring_errors(RingError::not_guest_memory) == 1; }));
  // Without any memory, the other ring cannot go on either.
  EXPECT_EQ(front_end.set_memory({}, guest.file.get()), 0U);
  EXPECT_EQ(ring_errors(RingError::not_guest_memory), 3U);
}

TEST_F(VhostUserBlk, AFrontEndThatGoesLeavesItsRequestsToTheStore) {
  Device& device = start_device(held_);
  Guest gone;
  {
    Connection front_end{device};
    ASSERT_TRUE(front_end.start(gone));
    for (Ring& ring : gone.rings) {
      for (std::size_t i = 0; i != Guest::slots; ++i) {
        gone.submit(ring, gone.chain(ring, i, Type::in, 0, 512));
      }
    }
    ASSERT_TRUE(soon([&] { return held_.held().size() == 2 * Guest::slots; }));
  }
  // The next front end waits: its heads have the same numbers.
  Guest guest;
  const Connection front_end{device};
  front_end.send(Request::get_features, {});
  EXPECT_FALSE(front_end.has_reply(30));
  const auto ids = held_.held();
  for (std::size_t i = 1; i != ids.size(); ++i) EXPECT_TRUE(held_.complete(ids[i]));
  EXPECT_FALSE(front_end.has_reply(30));
  EXPECT_TRUE(held_.complete(ids[0]));
  EXPECT_TRUE(front_end.receive().has_value());
  ASSERT_TRUE(front_end.start(guest));
  guest.submit(guest.rings[0], guest.chain(guest.rings[0], 0, Type::in, 0, 512));
  ASSERT_TRUE(soon([&] { return held_.held().size() == 1; }));
  held_.complete_all();
  EXPECT_TRUE(guest.wait_used(guest.rings[0]).has_value());
  // The guest that is gone was told nothing.
  EXPECT_EQ(gone.used_idx(gone.rings[0]), 0U);
  EXPECT_EQ(gone.result(0), 0xEE);
  EXPECT_EQ(device.counters().dropped.get(), 2 * Guest::slots);
}

TEST_F(VhostUserBlk, AStopAnswersWhatIsInFlight) {
  MemoryStore slow{disk_bytes, false, std::chrono::milliseconds{20}};
  Device& device = start_device(slow);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  Ring& ring = guest.rings[0];
  for (std::size_t i = 0; i != 8; ++i) {
    guest.submit(ring, guest.chain(ring, i, Type::in, 0, 512));
  }
  ASSERT_TRUE(soon([&] { return device.counters().requests.get() == 8; }));
  device.stop();
  EXPECT_EQ(guest.used_idx(ring), 8U);
  EXPECT_TRUE(front_end.is_closed());
  EXPECT_EQ(device.tags().in_flight(), 0U);
  device_.reset();
}

TEST_F(VhostUserBlk, AfterAStopNoThreadOfTheStoreIsLeft) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {});
  };
  // With the first thread of a program, ThreadSanitizer starts one of its own that stays.
  std::thread{[] {}}.join();
  const auto before = threads();
  MemoryStore slow{disk_bytes, false, std::chrono::milliseconds{1}};
  Device& device = start_device(slow);
  Guest guest;
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest));
  EXPECT_EQ(guest.run(guest.rings[0], 0, Type::in, 0, 512), value(Result::ok));
  // A thread that has ended a request could still signal the device, which may be gone.
  device.stop();
  EXPECT_TRUE(soon([&] { return threads() <= before; }));
}

// ---- Reconnects

/// The messages of a start with a record of requests in flight. Returns the record's file.
[[nodiscard]] Descriptor get_record(const Connection& front_end, vhost_user::Inflight& record) {
  front_end.send_value(Request::get_inflight_fd,
                       vhost_user::Inflight{.num_queues = 2, .queue_size = 64});
  auto reply = front_end.receive();
  if (!reply || reply->fds.size() != 1) return Descriptor{};
  record = reply->as<vhost_user::Inflight>();
  return std::move(reply->fds[0]);
}
[[nodiscard]] bool start_with(const Connection& front_end, const Guest& guest,
                              const Descriptor& file, const vhost_user::Inflight& record) {
  if (!front_end.negotiate() ||
      front_end.tell(Request::set_inflight_fd, record, {file.get()}) != 0 ||
      front_end.set_memory(guest.table(), guest.file.get()) != 0) {
    return false;
  }
  // QEMU does not know where a target that was killed has been, either.
  for (const Ring& ring : guest.rings) {
    if (!front_end.set_ring(ring, guest.used_idx(ring))) return false;
  }
  return true;
}

TEST_F(VhostUserBlk, TheNextTargetExecutesWhatAKilledOneHadInFlight) {
  Guest guest;
  Ring& ring = guest.rings[0];
  vhost_user::Inflight record;
  Descriptor file;
  {
    HeldStore store{disk_bytes};
    Device& device = start_device(store);
    Connection front_end{device};
    ASSERT_TRUE(front_end.negotiate());
    file = get_record(front_end, record);
    ASSERT_TRUE(file.is_open());
    ASSERT_TRUE(start_with(front_end, guest, file, record));
    // Completed out of order: the heads 0 and 12 are left, then 4 again, as the last.
    for (std::size_t i = 0; i != 4; ++i) {
      guest.submit(ring, guest.chain(ring, i, Type::in, 0, 512));
    }
    ASSERT_TRUE(soon([&] { return held_of(store, 4); }));
    const auto ids = store.held();
    store.complete(ids[2]);
    store.complete(ids[1]);
    EXPECT_EQ(guest.wait_used(ring)->head, 8U);
    EXPECT_EQ(guest.wait_used(ring)->head, 4U);
    guest.submit(ring, guest.chain(ring, 1, Type::in, 0, 512));
    ASSERT_TRUE(soon([&] { return held_of(store, 3); }));
    // This target is as good as killed: the front end is gone before anything is answered.
    front_end.hang_up();
    ASSERT_TRUE(soon([&] { return device.counters().message_errors.total() == 1; }));
    store.complete_all();
    device_.reset();
  }
  Device& device = start_device(held_);
  const Connection front_end{device};
  // A head that nobody has popped yet comes after those.
  guest.submit(ring, guest.chain(ring, 5, Type::in, 0, 512));
  ASSERT_TRUE(start_with(front_end, guest, file, record));
  ASSERT_TRUE(soon([&] { return held_of(held_, 4); }));
  for (const std::uint64_t id : held_.held()) held_.complete(id);
  for (const std::uint32_t head : {0U, 12U, 4U, 20U}) {
    const auto used = guest.wait_used(ring);
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->head, head);
  }
  EXPECT_EQ(device.counters().resubmitted.get(), 3U);
  EXPECT_EQ(guest.used_idx(ring), 6U);
}

/// The record of a queue, in the front end's memory.
class RecordMemory {
 public:
  RecordMemory(const Descriptor& file, const vhost_user::Inflight& record)
      : bytes_{record.mmap_size},
        at_{mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0)} {}
  RecordMemory(const RecordMemory&) = delete;
  RecordMemory& operator=(const RecordMemory&) = delete;
  ~RecordMemory() { munmap(at_, bytes_); }
  [[nodiscard]] vhost_user::InflightQueueHeader& header() const {
    return *static_cast<vhost_user::InflightQueueHeader*>(at_);
  }
  [[nodiscard]] vhost_user::InflightDescriptor& descriptor(std::size_t index) const {
    return reinterpret_cast<vhost_user::InflightDescriptor*>(&header() + 1)[index];
  }

 private:
  std::size_t bytes_;
  void* at_;
};

TEST_F(VhostUserBlk, ATargetThatDiedBetweenPushAndNoteHasPushed) {
  Device& device = start_device(memory_);
  Guest guest;
  Ring& ring = guest.rings[0];
  vhost_user::Inflight record;
  Connection first{device};
  ASSERT_TRUE(first.negotiate());
  const Descriptor file = get_record(first, record);
  ASSERT_TRUE(start_with(first, guest, file, record));
  for (std::size_t i = 0; i != 3; ++i) {
    ASSERT_EQ(guest.run(ring, i, Type::in, 0), value(Result::ok));
  }
  // The target notes a request after it has pushed it, when the guest may have seen it.
  const RecordMemory memory{file, record};
  ASSERT_TRUE(soon([&] { return memory.header().used_idx == 3; }));
  first.hang_up();
  // As the record is after the used ring's index was stored for head 8, the last one.
  memory.descriptor(8).inflight = 1;
  memory.header().used_idx = 2;
  const Connection second{device};
  ASSERT_TRUE(start_with(second, guest, file, record));
  EXPECT_EQ(guest.run(ring, 2, Type::in, 0), value(Result::ok));
  EXPECT_EQ(device.counters().resubmitted.get(), 0U);
  EXPECT_EQ(guest.used_idx(ring), 4U);
}

TEST_F(VhostUserBlk, ARecordThatMakesNoSenseStopsTheRingAndNoOther) {
  Device& device = start_device(memory_);
  vhost_user::Inflight record;
  std::uint64_t expected = 0;
  using Change = void (*)(const RecordMemory&);
  for (const Change change : {
           Change{[](const RecordMemory& memory) { memory.header().version = 2; }},
           Change{[](const RecordMemory& memory) { memory.header().desc_num = 65535; }},
           Change{[](const RecordMemory& memory) {
             memory.header().used_idx = 65535;
             memory.header().last_batch_head = 64;
           }},
           Change{[](const RecordMemory& memory) {
             memory.header().used_idx = 65000;
             memory.header().last_batch_head = 3;
             memory.descriptor(3).next = 65535;
           }},
       }) {
    Guest guest;
    Connection first{device};
    ASSERT_TRUE(first.negotiate());
    const Descriptor file = get_record(first, record);
    ASSERT_TRUE(start_with(first, guest, file, record));
    first.hang_up();
    const RecordMemory memory{file, record};
    change(memory);
    const Connection second{device};
    ASSERT_TRUE(start_with(second, guest, file, record));
    ++expected;
    EXPECT_TRUE(soon([&] { return ring_errors(RingError::bad_inflight_record) == expected; }));
    EXPECT_EQ(guest.run(guest.rings[1], 0, Type::in, 0), value(Result::ok));
  }
  const Connection front_end{device};
  ASSERT_TRUE(front_end.negotiate());
  const Guest guest;
  using vhost_user::Inflight;
  for (const Inflight wrong :
       {Inflight{.mmap_size = 1 << 20, .num_queues = 2},
        Inflight{.mmap_size = 64, .num_queues = 2, .queue_size = 64},
        Inflight{~0ULL, 0, 65535, 65535, 0}, Inflight{~0ULL, 4096, 2, 64, 0}}) {
    EXPECT_EQ(front_end.tell(Request::set_inflight_fd, wrong, {guest.file.get()}), 1U);
  }
  front_end.send_value(Request::get_inflight_fd, Inflight{.num_queues = 3, .queue_size = 64});
  EXPECT_TRUE(front_end.is_closed());
}

/// Sets up ring 0 with this size as far as its addresses.
[[nodiscard]] bool set_size_and_address(const Connection& front_end, const Ring& ring) {
  return front_end.tell(Request::set_vring_num, vhost_user::VringState{0, ring.size}) == 0 &&
         front_end.tell(Request::set_vring_addr, Connection::address_of(ring)) == 0;
}

TEST_F(VhostUserBlk, ARingThatBecomesLongerThanItsRecordIsNotServed) {
  Device& device = start_device(memory_);
  std::uint64_t expected = 0;
  for (const bool has_new_memory : {false, true}) {
    Guest guest;
    Ring& ring = guest.rings[0];
    const Connection front_end{device};
    ASSERT_TRUE(front_end.negotiate());
    vhost_user::Inflight record;
    const Descriptor file = get_record(front_end, record);
    ASSERT_EQ(front_end.tell(Request::set_inflight_fd, record, {file.get()}), 0U);
    ASSERT_EQ(front_end.set_memory(guest.table(), guest.file.get()), 0U);
    ASSERT_TRUE(set_size_and_address(front_end, ring));
    ring.size = 256;
    const vhost_user::VringState longer{0, ring.size};
    EXPECT_EQ(front_end.tell(Request::set_vring_num, longer), 0U);
    // The addresses were those of the shorter ring: the ring does not start yet.
    EXPECT_EQ(front_end.tell(Request::set_vring_kick, std::uint64_t{0}, {ring.kick.get()}), 0U);
    EXPECT_EQ(front_end.tell(Request::set_vring_enable, vhost_user::VringState{0, 1}), 0U);
    EXPECT_EQ(front_end.tell(Request::set_vring_num, longer), 0U);
    if (has_new_memory) {
      EXPECT_EQ(front_end.set_memory(guest.table(), guest.file.get()), 0U);
    }
    EXPECT_EQ(front_end.tell(Request::set_vring_addr, Connection::address_of(ring)), 0U);
    EXPECT_EQ(ring_errors(RingError::bad_inflight_record), ++expected);
    // A head behind the record's last.
    auto parts = guest.request(0, Type::in, 0, 512);
    for (std::uint16_t i = 0; i != 3; ++i) {
      parts[i].next = static_cast<std::uint16_t>(253 + i + 1);
      guest.describe(ring, static_cast<std::uint16_t>(253 + i), parts[i]);
    }
    guest.submit(ring, 253);
    EXPECT_EQ(front_end.ask(Request::get_queue_num), 2U);
    EXPECT_EQ(guest.used_idx(ring), 0U);
    EXPECT_EQ(device.counters().requests.get(), 0U);
  }
}

TEST_F(VhostUserBlk, ARecordThatBecomesShorterThanItsRingStopsTheRing) {
  Device& device = start_device(memory_);
  Guest guest;
  Ring& ring = guest.rings[0];
  const Connection front_end{device};
  vhost_user::Inflight record;
  ASSERT_TRUE(front_end.negotiate());
  const Descriptor file = get_record(front_end, record);
  ASSERT_TRUE(start_with(front_end, guest, file, record));
  ASSERT_EQ(guest.run(ring, 1, Type::in, 0), value(Result::ok));
  vhost_user::Inflight shorter{.num_queues = 2, .queue_size = 32};
  front_end.send_value(Request::get_inflight_fd, shorter);
  auto reply = front_end.receive();
  ASSERT_TRUE(reply && reply->fds.size() == 1);
  shorter = reply->as<vhost_user::Inflight>();
  const int shorter_file = reply->fds[0].get();
  const auto set_shorter = [&] {
    return front_end.tell(Request::set_inflight_fd, shorter, {shorter_file});
  };
  // Not while a ring is served, also after other memory.
  EXPECT_EQ(set_shorter(), 1U);
  EXPECT_EQ(front_end.set_memory(guest.table(), guest.file.get()), 0U);
  EXPECT_EQ(set_shorter(), 1U);
  for (const std::uint32_t index : {0U, 1U}) {
    front_end.send_value(Request::get_vring_base, vhost_user::VringState{index, 0});
    ASSERT_TRUE(front_end.receive().has_value());
  }
  // The ring is still where it was: a kick descriptor starts it again.
  EXPECT_EQ(set_shorter(), 0U);
  EXPECT_EQ(front_end.tell(Request::set_vring_kick, std::uint64_t{0}, {ring.kick.get()}), 0U);
  EXPECT_EQ(ring_errors(RingError::bad_inflight_record), 1U);
  EXPECT_EQ(front_end.tell(Request::set_vring_addr, Connection::address_of(ring)), 1U);
  guest.submit(ring, guest.chain(ring, 10, Type::in, 0, 512));
  EXPECT_EQ(front_end.ask(Request::get_queue_num), 2U);
  EXPECT_EQ(guest.used_idx(ring), 1U);
}

TEST(VhostUserBlkRecord, CountersThatChangeWhileHeadsAreSortedHarmNothing) {
  constexpr std::uint16_t size = 1024;
  constexpr std::size_t header_bytes = sizeof(vhost_user::InflightQueueHeader);
  std::vector<std::byte> memory(InflightRecord::bytes(1, size));
  auto* const heads =
      reinterpret_cast<vhost_user::InflightDescriptor*>(memory.data() + header_bytes);
  for (std::size_t i = 0; i != size; ++i) heads[i].inflight = 1;
  std::atomic<bool> is_over{false};
  std::thread front_end{[&] {
    std::uint64_t random = 1;
    while (!is_over.load(std::memory_order_relaxed)) {
      for (std::size_t i = 0; i != size; ++i) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        std::atomic_ref{heads[i].counter}.store(random >> 32, std::memory_order_relaxed);
      }
    }
  }};
  for (int round = 0; round != 100; ++round) {
    auto left = InflightQueue{memory.data(), size}.begin(size, 0);
    ASSERT_TRUE(left.has_value());
    std::ranges::sort(*left);
    ASSERT_EQ(left->size(), size);
    for (std::size_t i = 0; i != size; ++i) ASSERT_EQ((*left)[i], i);
  }
  is_over.store(true, std::memory_order_relaxed);
  front_end.join();
}

// ---- Notifications

TEST_F(VhostUserBlk, AnEventIndexSuppressesCallsAlsoWhenTheIndicesWrap) {
  Device& device = start_device(memory_);
  Guest guest;
  Ring& ring = guest.rings[0];
  // Both rings' indices are ten before their end.
  constexpr std::uint16_t begin = 65526;
  ring.next_avail = ring.next_used = begin;
  guest.put(ring.available() + 2, begin);
  guest.put(ring.used() + 2, begin);
  const Connection front_end{device};
  ASSERT_TRUE(front_end.negotiate());
  ASSERT_EQ(front_end.set_memory(guest.table(), guest.file.get()), 0U);
  ASSERT_TRUE(front_end.set_ring(ring, begin));
  // The driver wants to be told of the used element with index 4, behind the wrap.
  guest.set_used_event(ring, 4);
  ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  ASSERT_TRUE(soon([&] { return calls() >= 1; })) << "a ring that begins is always called for";
  // This takes the signals for the ring's setting and for its beginning.
  static_cast<void>(take_signal_now(ring.call));
  for (int i = 0; i != 13; ++i) ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  EXPECT_EQ(guest.used_idx(ring), 4U);
  ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  EXPECT_TRUE(soon([&] { return take_signal_now(ring.call); }));
  // The target asks for a kick at the next head.
  const std::uint64_t avail_event = ring.used() + virtio::used::avail_event(ring.size);
  EXPECT_TRUE(soon([&] { return guest.get<std::uint16_t>(avail_event) == ring.next_avail; }));
  device.stop();
  EXPECT_EQ(calls(), 2U);
}

TEST_F(VhostUserBlk, WithoutTheEventIndexAFlagSuppressesCalls) {
  Device& device = start_device(memory_);
  Guest guest;
  Ring& ring = guest.rings[0];
  const Connection front_end{device};
  ASSERT_TRUE(front_end.start(guest, virtio::feature::event_idx));
  ASSERT_TRUE(soon([&] { return calls() >= 2; })) << "rings that begin are always called for";
  ASSERT_TRUE(take_signal_now(ring.call));
  ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  await_call_decision(guest);
  EXPECT_TRUE(take_signal_now(ring.call));
  guest.put(ring.available(), virtio::available::flag_no_interrupt);
  ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  await_call_decision(guest);
  EXPECT_FALSE(take_signal_now(ring.call));
  guest.put(ring.available(), std::uint16_t{0});
  ASSERT_EQ(guest.run(ring, 0, Type::in, 0), value(Result::ok));
  EXPECT_TRUE(soon([&] { return take_signal_now(ring.call); }));
}

TEST(VhostUserBlkEvents, AnEventIsNeededWhenTheIndexHasPassedIt) {
  EXPECT_TRUE(virtio::needs_event(0, 1, 0));
  EXPECT_FALSE(virtio::needs_event(1, 1, 0));
  EXPECT_FALSE(virtio::needs_event(65535, 1, 0));
  EXPECT_TRUE(virtio::needs_event(65535, 0, 65535));
  EXPECT_TRUE(virtio::needs_event(65535, 5, 65530));
  EXPECT_FALSE(virtio::needs_event(5, 5, 65530));
  EXPECT_FALSE(virtio::needs_event(7, 3, 3));
}

}  // namespace
}  // namespace vhost_user_blk
