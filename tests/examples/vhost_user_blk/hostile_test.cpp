// SPDX-License-Identifier: BSL-1.0
//
// The vhost-user-blk target under hostile guests and front ends, one for each seed.
//
// Goal: whatever a guest writes into its memory and whatever a front end sends, the target answers,
// stops a ring or closes the connection, nothing is left, and no other guest notices.
//
// Method: a hostile front end starts as QEMU does, most of the time. Then steps follow in any
// order: descriptors, heads and indices that may be wrong, in rings that the target's own writes
// may hit, because a guest may name its rings as the memory of a read; the record of requests in
// flight, scribbled over; messages with right, wrong and random contents, in whole or in part, with
// descriptors or without. Then it hangs up, with requests in flight or without. The store is slow,
// so that requests end on another thread, after what came next. A polite guest of another device
// writes, reads back and compares all the time.
//
// Invariants: the polite guest gets the right data for each request. Behind each hostile front end
// the device serves the next. At the end nothing is in flight, no tag is taken, no lookup was
// refused, and no file descriptor is left. With a sanitizer: no report.
//
// Options, as environment variables:
//   VHOST_SEED          runs this seed only
//   BLKOWN_TEST_SCALE   multiplies the number of seeds

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "front_end.hpp"
#include "vhost_user_blk/memory_store.hpp"

namespace vhost_user_blk {
namespace {

class HostileDice {
 public:
  explicit HostileDice(std::uint64_t seed) : engine_{seed} {}
  std::uint64_t any() { return engine_(); }
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <class T>
  T number() {
    return static_cast<T>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

/// A guest and its front end. No function waits for the target longer than for a reply.
class HostileFrontEnd {
 public:
  HostileFrontEnd(std::uint64_t seed, Device& device) : dice_{seed}, connection_{device} {}

  void run() {
    if (!dice_.one_in(8)) start();
    for (std::uint64_t left = dice_.below(120) + 10; left != 0; --left) step();
  }

 private:
  using Request = vhost_user::Request;

  void start() {
    if (!connection_.negotiate(dice_.one_in(4) ? virtio::feature::event_idx : 0)) return;
    if (dice_.one_in(2)) take_record();
    connection_.set_memory(guest_.table(), guest_.file.get());
    for (const Ring& ring : guest_.rings) connection_.set_ring(ring);
  }

  void step() {
    drain();
    Ring& ring = guest_.rings[dice_.below(guest_.rings.size())];
    switch (dice_.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3: return good_request(ring);
      case 4:
      case 5: return bad_chain(ring);
      case 6: return bad_index(ring);
      case 7: return scribble();
      case 8: return send_signal(dice_.one_in(2) ? ring.kick : ring.call);
      case 9: return message(ring);
      case 10: return dice_.one_in(6) ? random_message() : message(ring);
      default: std::this_thread::sleep_for(std::chrono::microseconds{dice_.below(300)});
    }
  }

  // --- the guest

  void good_request(Ring& ring) {
    static constexpr std::array types{virtio::blk::Type::in,     virtio::blk::Type::out,
                                      virtio::blk::Type::in,     virtio::blk::Type::flush,
                                      virtio::blk::Type::get_id, virtio::blk::Type::write_zeroes};
    const auto type = types[dice_.below(types.size())];
    const std::size_t slot = dice_.below(Guest::slots);
    const auto length = static_cast<std::uint32_t>(dice_.below(9) * 512);
    const bool is_indirect = dice_.one_in(2);
    const std::uint16_t head = is_indirect
                                   ? guest_.indirect(ring, slot, type, dice_.below(4096), length)
                                   : guest_.chain(ring, slot, type, dice_.below(4096), length);
    // Some heads are in flight still.
    guest_.submit(ring, head);
  }
  [[nodiscard]] std::uint64_t address() {
    switch (dice_.below(8)) {
      case 0: return dice_.any();
      case 1: return Guest::border - dice_.below(600);
      case 2: return Guest::end - dice_.below(600);
      case 3: return Guest::base + dice_.below(0x20000);  // the rings
      case 4: return ~0ULL - dice_.below(600);
      default: return Guest::slot(dice_.below(Guest::slots)) + dice_.below(Guest::slot_bytes);
    }
  }
  [[nodiscard]] virtio::Descriptor descriptor() {
    const auto length = dice_.one_in(10) ? dice_.number<std::uint32_t>()
                                         : static_cast<std::uint32_t>(dice_.below(70) * 16);
    const auto flags = static_cast<std::uint16_t>(
        dice_.one_in(20) ? dice_.any() : dice_.below(dice_.one_in(3) ? 8 : 4));
    const auto next = static_cast<std::uint16_t>(dice_.one_in(20) ? dice_.any() : dice_.below(64));
    return {address(), length, flags, next};
  }
  void bad_chain(Ring& ring) {
    const std::size_t slot = dice_.below(Guest::slots);
    const std::uint16_t head = guest_.indirect(ring, slot, virtio::blk::Type::in, 0, 1024);
    if (dice_.one_in(2)) guest_.chain(ring, slot, virtio::blk::Type::in, 0, 1024);
    if (dice_.one_in(6)) {
      // The data goes on with itself.
      guest_.describe(ring, head, {Guest::slot(slot), 16, virtio::descriptor_flag::next, 63});
      guest_.describe(ring, 63, {address(), 16, 3, 63});
    }
    for (std::uint64_t left = dice_.below(3) + 1; left != 0; --left) {
      const auto offset = static_cast<std::uint16_t>(dice_.below(3));
      if (dice_.one_in(2)) {
        guest_.describe(ring, static_cast<std::uint16_t>(head + offset), descriptor());
      } else {
        guest_.put(Guest::table_address(slot) + offset * 16U, descriptor());
      }
    }
    guest_.submit(ring, head);
  }
  void bad_index(Ring& ring) {
    if (dice_.one_in(3)) {
      guest_.submit(ring, dice_.number<std::uint16_t>());
    } else if (dice_.one_in(3)) {
      guest_.set_avail_idx(ring, dice_.number<std::uint16_t>());
    } else {
      guest_.set_used_event(ring, dice_.number<std::uint16_t>());
    }
  }
  /// Writes anywhere in the rings, or into the record.
  void scribble() {
    if (record_ && dice_.one_in(2)) {
      // The first queue's header, or anything.
      const std::uint64_t end = dice_.one_in(2) ? 16 : record_->length_bytes;
      record_->data[dice_.below(end)] = static_cast<std::byte>(dice_.any());
      again(guest_.rings.front());
    } else {
      guest_.put(Guest::base + dice_.below(0x20000), dice_.number<std::uint32_t>());
    }
  }

  // --- the front end

  void take_record() {
    connection_.send_value(Request::get_inflight_fd,
                           vhost_user::Inflight{.num_queues = 2, .queue_size = 64});
    auto reply = connection_.receive();
    if (!reply || reply->fds.empty()) return;
    description_ = reply->as<vhost_user::Inflight>();
    record_file_ = std::move(reply->fds.front());
    auto mapped = FileMapping::map(record_file_, description_.mmap_size, true);
    if (!mapped) return;
    record_mapping_ = std::move(*mapped);
    record_ = record_mapping_.bytes();
    set_record();
  }
  void set_record() {
    connection_.send_value(Request::set_inflight_fd, description_, {record_file_.get()});
  }

  /// A message that the protocol has, at a moment or with a value that may be wrong.
  void message(const Ring& ring) {
    const vhost_user::VringState state{
        dice_.one_in(10) ? dice_.number<std::uint32_t>() : ring.index,
        dice_.one_in(4) ? dice_.number<std::uint32_t>()
                        : static_cast<std::uint32_t>(dice_.below(3))};
    switch (dice_.below(11)) {
      case 0: connection_.send_value(Request::get_vring_base, state); return;
      case 1: connection_.send_value(Request::set_vring_enable, state); return;
      case 2: connection_.send_value(Request::set_vring_base, state); return;
      case 3: connection_.send_value(Request::set_vring_num, state); return;
      case 4: {
        vhost_user::VringAddress where = Connection::address_of(ring);
        if (dice_.one_in(3)) where.used = dice_.any();
        if (dice_.one_in(3)) where.descriptors += dice_.below(16);
        connection_.send_value(Request::set_vring_addr, where);
        return;
      }
      case 5: send_table(); return;
      case 6: send_descriptor(ring); return;
      case 7: connection_.send(Request::get_features, {}); return;
      case 8:
        if (record_) set_record();
        return;
      case 9: connection_.send(Request::reset_device, {}); return;
      default: again(ring);
    }
  }
  /// Sets a ring up again, without waiting for replies.
  void again(const Ring& ring) {
    constexpr std::uint32_t tells = 1 | vhost_user::header_flag::need_reply;
    const vhost_user::VringState number{ring.index, ring.size};
    connection_.send_value(Request::get_vring_base, number, {}, tells);
    connection_.send_value(Request::set_vring_num, number, {}, tells);
    connection_.send_value(Request::set_vring_base,
                           vhost_user::VringState{ring.index, ring.next_avail}, {}, tells);
    connection_.send_value(Request::set_vring_addr, Connection::address_of(ring), {}, tells);
    connection_.send_value(Request::set_vring_kick, std::uint64_t{ring.index}, {ring.kick.get()},
                           tells);
    connection_.send_value(Request::set_vring_enable, vhost_user::VringState{ring.index, 1}, {},
                           tells);
  }
  void send_table() {
    auto table = guest_.table();
    if (dice_.one_in(2)) table.pop_back();
    if (!table.empty() && dice_.one_in(4)) table[0].size = dice_.any();
    if (!table.empty() && dice_.one_in(4)) table[0].guest_address = dice_.any();
    const vhost_user::MemoryTableHeader header{static_cast<std::uint32_t>(table.size()), 0};
    std::vector<std::byte> payload(sizeof(header) + table.size() * sizeof(table[0]));
    std::memcpy(payload.data(), &header, sizeof(header));
    std::memcpy(payload.data() + sizeof(header), table.data(), table.size() * sizeof(table[0]));
    const std::vector<int> files(table.size(), guest_.file.get());
    connection_.send(Request::set_mem_table, payload, files,
                     1 | vhost_user::header_flag::need_reply);
  }
  void send_descriptor(const Ring& ring) {
    if (int ends[2]; dice_.one_in(3) && pipe2(ends, O_CLOEXEC) == 0) {
      // Kicks from a pipe that nobody can write to.
      const Descriptor reading{ends[0]};
      const Descriptor writing{ends[1]};
      connection_.send_value(Request::set_vring_kick, std::uint64_t{ring.index}, {reading.get()});
      return;
    }
    static constexpr std::array requests{Request::set_vring_kick, Request::set_vring_call,
                                         Request::set_vring_err};
    const std::array files{ring.kick.get(), ring.call.get(), guest_.file.get(), connection_.fd()};
    connection_.send_value(requests[dice_.below(3)], std::uint64_t{ring.index},
                           {files[dice_.below(files.size())]},
                           1 | vhost_user::header_flag::need_reply);
  }
  void random_message() {
    std::vector<std::byte> bytes(dice_.below(60));
    for (std::byte& each : bytes) each = static_cast<std::byte>(dice_.any());
    const vhost_user::Header header{static_cast<std::uint32_t>(dice_.below(45)), 1,
                                    static_cast<std::uint32_t>(dice_.below(60))};
    if (dice_.one_in(2) && bytes.size() >= sizeof(header)) {
      std::memcpy(bytes.data(), &header, sizeof(header));
    }
    const std::vector<int> files(dice_.one_in(3) ? dice_.below(20) : 0, guest_.file.get());
    connection_.send_raw(bytes, files);
  }
  /// Takes the replies that are there: a target whose replies are not read closes the connection.
  void drain() const {
    if (dice_.one_in(4)) return;
    std::array<std::byte, 4096> sink;
    while (::recv(connection_.fd(), sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
  }

  mutable HostileDice dice_;
  Guest guest_;
  Connection connection_;
  vhost_user::Inflight description_;
  Descriptor record_file_;
  FileMapping record_mapping_;
  std::optional<blkown::Segment> record_;
};

/// The polite guest, on a thread of its own, until it is told to stop, and once at least. Returns
/// the number of right answers; none if one is wrong.
[[nodiscard]] std::optional<std::uint64_t> be_polite(Device& device,
                                                     const std::atomic<bool>& stop) {
  Guest guest;
  const Connection connection{device};
  if (!connection.start(guest)) return std::nullopt;
  HostileDice dice{1};
  std::uint64_t answers = 0;
  do {
    Ring& ring = guest.rings[dice.below(2)];
    const std::uint64_t sector = dice.below(1000);
    const auto fill = dice.number<std::uint8_t>();
    guest.fill(0, fill);
    guest.fill(1, static_cast<std::uint8_t>(~fill));
    if (guest.run(ring, 0, virtio::blk::Type::out, sector) != 0) return std::nullopt;
    if (guest.run(ring, 1, virtio::blk::Type::in, sector) != 0) return std::nullopt;
    if (!guest.is_filled(1, fill)) return std::nullopt;
    ++answers;
    // Relaxed: nothing but the flag is passed.
  } while (!stop.load(std::memory_order_relaxed));
  return answers;
}

/// Whether a guest that does all right is served.
[[nodiscard]] bool serves(Device& device) {
  Guest guest;
  const Connection connection{device};
  return connection.start(guest) && guest.run(guest.rings[0], 0, virtio::blk::Type::in, 0) == 0;
}

[[nodiscard]] std::uint64_t environment_number(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(VhostUserBlkHostile, HarmsNobody) {
  using std::chrono::milliseconds;
  MemoryStore slow{4 * 1024 * 1024, false, milliseconds{1}};
  MemoryStore memory{4 * 1024 * 1024};
  auto hostile = Device::create({.queues = 2, .depth = 64}, slow);
  auto other = Device::create({.queues = 2, .depth = 64}, memory);
  ASSERT_TRUE(hostile && other);
  Device& device = **hostile;
  std::atomic<bool> stop{false};
  std::optional<std::uint64_t> polite;
  std::thread thread{[&] { polite = be_polite(**other, stop); }};
  // Relaxed: nothing but the flag is passed.
  const auto end_polite = [&] {
    stop.store(true, std::memory_order_relaxed);
    if (thread.joinable()) thread.join();
  };
  const struct AtExit {
    const decltype(end_polite)& call;
    ~AtExit() { call(); }
  } at_exit{end_polite};

  const std::uint64_t only = environment_number("VHOST_SEED", 0);
  const std::uint64_t last = only != 0 ? only : 200 * environment_number("BLKOWN_TEST_SCALE", 1);
  for (std::uint64_t seed = only != 0 ? only : 1; seed <= last; ++seed) {
    {
      HostileFrontEnd front_end{seed, device};
      front_end.run();
    }
    const bool asks = seed % 10 == 0 || seed == last;
    ASSERT_TRUE(!asks || serves(device)) << "behind seed " << seed;
  }
  end_polite();
  EXPECT_TRUE(polite.has_value());
  EXPECT_NE(polite.value_or(0), 0U);
  device.stop();
  EXPECT_EQ(device.tags().in_flight(), 0U);
  for (blkown::QueueIndex queue; queue.value != 2; ++queue.value) {
    EXPECT_EQ(device.tags().taken_count(queue), 0U);
  }
  EXPECT_EQ(device.counters().refused_lookups.total(), 0U);
  if (only != 0) return device.print(stderr);
  // The seeds reach the errors that they are for.
  for (std::size_t i = 1; i != ring_error_count; ++i) {
    const auto error = static_cast<RingError>(i);
    EXPECT_NE(device.counters().ring_errors.get(error), 0U) << to_string(error);
  }
}

}  // namespace
}  // namespace vhost_user_blk
