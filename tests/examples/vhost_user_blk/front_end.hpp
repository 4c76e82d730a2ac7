// SPDX-License-Identifier: BSL-1.0
//
// A guest and its front end for tests of the vhost-user-blk target: a driver that writes what a
// test says into rings in shared memory, and a connection that sends what a test says over a
// socketpair. And a store that ends requests when the test says so.

#ifndef BLKOWN_TESTS_EXAMPLES_VHOST_USER_BLK_FRONT_END_HPP
#define BLKOWN_TESTS_EXAMPLES_VHOST_USER_BLK_FRONT_END_HPP

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "examples/uninterrupted.hpp"
#include "vhost_user_blk/device.hpp"
#include "vhost_user_blk/signal.hpp"

namespace vhost_user_blk {

using front_ends::uninterrupted;

/// Waits until the condition holds, at most 30 seconds. Returns whether it does.
template <class Condition>
[[nodiscard]] bool soon(Condition condition) {
  for (int i = 0; i != 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::microseconds{i < 100 ? 20 : 500});
  }
  return condition();
}

/// A ring as its driver sees it.
struct Ring {
  std::uint32_t index = 0;
  std::uint16_t size = 0;
  std::uint64_t address = 0;  // of the descriptors; the other parts follow
  std::uint16_t next_avail = 0;
  std::uint16_t next_used = 0;
  Descriptor kick{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Descriptor call{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Descriptor error{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

  [[nodiscard]] std::uint64_t available() const noexcept { return address + 0x4000; }
  [[nodiscard]] std::uint64_t used() const noexcept { return address + 0x8000; }
};

/// The memory of a guest, in two regions that touch in the guest's address space and nowhere else,
/// and the driver of its disk.
class Guest {
 public:
  static constexpr std::uint64_t region_bytes = 1024 * 1024;
  static constexpr std::uint64_t base = 0x1000'0000;                // the first region's address
  static constexpr std::uint64_t border = base + region_bytes;      // the second region's
  static constexpr std::uint64_t end = border + region_bytes;       // behind both
  static constexpr std::uint64_t user_base = 0x7000'0000'0000;      // the front end's addresses
  static constexpr std::uint64_t second_offset = 3 * region_bytes;  // in the file
  static constexpr std::uint64_t file_bytes = 5 * region_bytes;
  static constexpr std::size_t slots = 16;
  static constexpr std::uint32_t slot_bytes = 8192;

  explicit Guest(std::uint32_t ring_count = 2, std::uint16_t size = 64, bool sealed = true)
      : file{memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING)} {
    static_cast<void>(!ftruncate(file.get(), file_bytes));
    if (sealed) fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK);
    void* const at = mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    memory_ = static_cast<std::byte*>(at);
    for (std::uint32_t i = 0; i != ring_count; ++i) {
      rings.push_back({.index = i, .size = size, .address = base + i * 0x10000});
    }
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  ~Guest() { munmap(memory_, file_bytes); }

  /// The memory at a guest's address.
  [[nodiscard]] std::byte* at(std::uint64_t address) const noexcept {
    return memory_ + (address < border ? address - base : address - border + second_offset);
  }
  [[nodiscard]] std::span<std::byte> file_bytes_at(std::uint64_t offset, std::size_t length) const {
    return {memory_ + offset, length};
  }
  [[nodiscard]] std::vector<vhost_user::MemoryRegion> table() const {
    return {{base, region_bytes, user_base, 0},
            {border, region_bytes, user_base + 4 * region_bytes, second_offset}};
  }

  template <class T>
  void put(std::uint64_t address, const T& value) const {
    std::memcpy(at(address), &value, sizeof(T));
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t address) const {
    T value;
    std::memcpy(&value, at(address), sizeof(T));
    return value;
  }

  // --- the driver

  void describe(const Ring& ring, std::uint16_t index, const virtio::Descriptor& descriptor) const {
    put(ring.address + index * sizeof(descriptor), descriptor);
  }
  /// Makes a head available, and kicks.
  void submit(Ring& ring, std::uint16_t head) const {
    put(ring.available() + 2 * (virtio::available::ring + ring.next_avail % ring.size), head);
    set_avail_idx(ring, static_cast<std::uint16_t>(ring.next_avail + 1));
    send_signal(ring.kick);
  }
  void set_avail_idx(Ring& ring, std::uint16_t index) const {
    ring.next_avail = index;
    word(ring.available() + 2 * virtio::available::idx).store(index, std::memory_order_seq_cst);
  }
  void set_used_event(const Ring& ring, std::uint16_t index) const {
    word(ring.available() + 2 * virtio::available::used_event(ring.size))
        .store(index, std::memory_order_seq_cst);
  }
  [[nodiscard]] std::uint16_t used_idx(const Ring& ring) const {
    return word(ring.used() + virtio::used::idx).load(std::memory_order_acquire);
  }
  /// The next used element, if it comes.
  [[nodiscard]] std::optional<virtio::UsedElement> wait_used(Ring& ring) const {
    if (!soon([&] { return used_idx(ring) != ring.next_used; })) return std::nullopt;
    return get<virtio::UsedElement>(ring.used() + virtio::used::ring +
                                    (ring.next_used++ % ring.size) * sizeof(virtio::UsedElement));
  }

  // --- requests: one in each slot

  [[nodiscard]] static constexpr std::uint64_t slot(std::size_t index) noexcept {
    return base + region_bytes / 2 + index * slot_bytes;
  }
  [[nodiscard]] static constexpr std::uint64_t data(std::size_t index) noexcept {
    return slot(index) + 4096;
  }
  [[nodiscard]] static constexpr std::uint64_t result_address(std::size_t index) noexcept {
    return slot(index) + 16;
  }
  [[nodiscard]] static constexpr std::uint64_t table_address(std::size_t index) noexcept {
    return slot(index) + 1024;
  }
  [[nodiscard]] std::uint8_t result(std::size_t index) const {
    return get<std::uint8_t>(result_address(index));
  }
  void fill(std::size_t index, std::uint8_t value, std::size_t length = 4096) const {
    std::memset(at(data(index)), value, length);
  }
  [[nodiscard]] bool is_filled(std::size_t index, std::uint8_t value,
                               std::size_t length = 4096) const {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(at(data(index)));
    for (std::size_t i = 0; i != length; ++i) {
      if (bytes[i] != value) return false;
    }
    return true;
  }

  /// The descriptors of a request with this much data in its slot.
  [[nodiscard]] std::array<virtio::Descriptor, 3> request(std::size_t index, virtio::blk::Type type,
                                                          std::uint64_t sector,
                                                          std::uint32_t length) const {
    namespace bit = virtio::descriptor_flag;
    put(slot(index),
        virtio::blk::Header{.type = static_cast<std::uint32_t>(type), .sector = sector});
    put(result_address(index), std::uint8_t{0xEE});
    const bool device_writes = type == virtio::blk::Type::in || type == virtio::blk::Type::get_id;
    const auto data_flags =
        static_cast<std::uint16_t>(device_writes ? bit::next | bit::write : bit::next);
    return {virtio::Descriptor{slot(index), 16, bit::next, 0},
            {data(index), length, data_flags, 0},
            {result_address(index), 1, bit::write, 0}};
  }
  /// Writes a request as a chain in the ring, from descriptor 4 * index on. Returns its head.
  std::uint16_t chain(const Ring& ring, std::size_t index, virtio::blk::Type type,
                      std::uint64_t sector, std::uint32_t length) const {
    auto parts = request(index, type, sector, length);
    const auto head = static_cast<std::uint16_t>(4 * index);
    for (std::uint16_t i = 0; i != 3; ++i) {
      parts[i].next = static_cast<std::uint16_t>(head + i + 1);
      describe(ring, static_cast<std::uint16_t>(head + i), parts[i]);
    }
    return head;
  }
  /// Writes a request as an indirect table. Returns its head, which is a descriptor of the ring.
  std::uint16_t indirect(const Ring& ring, std::size_t index, virtio::blk::Type type,
                         std::uint64_t sector, std::uint32_t length) const {
    auto parts = request(index, type, sector, length);
    for (std::uint16_t i = 0; i != 3; ++i) {
      parts[i].next = static_cast<std::uint16_t>(i + 1);
      put(table_address(index) + i * sizeof(parts[i]), parts[i]);
    }
    const auto head = static_cast<std::uint16_t>(4 * index);
    describe(ring, head,
             {table_address(index), sizeof(parts), virtio::descriptor_flag::indirect, 0});
    return head;
  }
  /// Submits a request, waits for it, and returns its result. 0xFF: it was not used.
  std::uint8_t run(Ring& ring, std::size_t index, virtio::blk::Type type, std::uint64_t sector,
                   std::uint32_t length = 4096) const {
    const std::uint16_t head = chain(ring, index, type, sector, length);
    submit(ring, head);
    const auto used = wait_used(ring);
    return used && used->head == head ? result(index) : std::uint8_t{0xFF};
  }

  Descriptor file;
  std::vector<Ring> rings;

 private:
  [[nodiscard]] std::atomic_ref<std::uint16_t> word(std::uint64_t address) const {
    return std::atomic_ref{*reinterpret_cast<std::uint16_t*>(at(address))};
  }
  std::byte* memory_ = nullptr;
};

/// A connection of a front end.
class Connection {
 public:
  using Request = vhost_user::Request;

  /// Connects. A receive or a send gives up after 30 seconds.
  explicit Connection(Device& device) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    socket_ = Descriptor{ends[0]};
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    device.add(Descriptor{ends[1]});
  }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  void hang_up() { socket_ = Descriptor{}; }

  /// Sends bytes with file descriptors.
  bool send_raw(std::span<const std::byte> bytes, std::span<const int> fds = {}) const {
    iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(32 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* const first = CMSG_FIRSTHDR(&message);
      first->cmsg_level = SOL_SOCKET;
      first->cmsg_type = SCM_RIGHTS;
      first->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(first), fds.data(), fds.size_bytes());
    }
    return uninterrupted([&] { return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL); }) ==
           static_cast<ssize_t>(bytes.size());
  }
  bool send(Request request, std::span<const std::byte> payload, std::span<const int> fds = {},
            std::uint32_t flags = vhost_user::header_flag::version) const {
    const vhost_user::Header header{.request = static_cast<std::uint32_t>(request),
                                    .flags = flags,
                                    .size = static_cast<std::uint32_t>(payload.size())};
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!payload.empty()) {
      std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
    }
    return send_raw(bytes, fds);
  }
  template <class T>
  bool send_value(Request request, const T& payload, std::initializer_list<int> fds = {},
                  std::uint32_t flags = vhost_user::header_flag::version) const {
    return send(request, std::as_bytes(std::span{&payload, 1}), std::vector<int>(fds), flags);
  }

  struct Reply {
    std::uint32_t request = 0;
    std::vector<std::byte> payload;
    std::vector<Descriptor> fds;

    template <class T>
    [[nodiscard]] T as() const {
      T value{};
      if (payload.size() == sizeof(T)) std::memcpy(&value, payload.data(), sizeof(T));
      return value;
    }
  };
  /// The next reply. None if the connection is closed.
  [[nodiscard]] std::optional<Reply> receive() const {
    vhost_user::Header header;
    Reply reply;
    if (!receive_all(std::as_writable_bytes(std::span{&header, 1}), &reply.fds))
      return std::nullopt;
    reply.request = header.request;
    reply.payload.resize(header.size);
    if (!receive_all(reply.payload, nullptr)) return std::nullopt;
    return reply;
  }
  /// Whether the target closes the connection.
  [[nodiscard]] bool is_closed() const { return !receive().has_value(); }
  /// Whether a reply is there.
  [[nodiscard]] bool has_reply(int patience_ms = 0) const {
    pollfd watched{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return uninterrupted([&] { return poll(&watched, 1, patience_ms); }) > 0;
  }
  /// The number that the request is answered with.
  [[nodiscard]] std::uint64_t ask(Request request) const {
    send(request, {});
    const auto reply = receive();
    return reply ? reply->as<std::uint64_t>() : ~0ULL;
  }
  /// Sends a message that wants to know what became of it. Returns 0 if it succeeded, 2 if the
  /// connection is closed.
  template <class T>
  std::uint64_t tell(Request request, const T& payload, std::initializer_list<int> fds = {}) const {
    using namespace vhost_user::header_flag;
    send_value(request, payload, fds, version | need_reply);
    const auto reply = receive();
    return reply ? reply->as<std::uint64_t>() : 2;
  }

  // --- the messages of a start, as QEMU sends them

  std::uint64_t set_memory(std::span<const vhost_user::MemoryRegion> table, int file) const {
    std::vector<int> files(table.size(), file);
    return set_memory(table, files);
  }
  std::uint64_t set_memory(std::span<const vhost_user::MemoryRegion> table,
                           std::span<const int> files) const {
    const vhost_user::MemoryTableHeader header{static_cast<std::uint32_t>(table.size()), 0};
    std::vector<std::byte> payload(sizeof(header) + table.size_bytes());
    std::memcpy(payload.data(), &header, sizeof(header));
    if (!table.empty()) {
      std::memcpy(payload.data() + sizeof(header), table.data(), table.size_bytes());
    }
    using namespace vhost_user::header_flag;
    send(Request::set_mem_table, payload, files, version | need_reply);
    const auto reply = receive();
    return reply ? reply->as<std::uint64_t>() : 2;
  }
  /// Everything before the memory.
  bool negotiate(std::uint64_t without = 0) const {
    const std::uint64_t features = ask(Request::get_features);
    const std::uint64_t protocol = ask(Request::get_protocol_features);
    send_value(Request::set_protocol_features, protocol);
    send(Request::set_owner, {});
    return tell(Request::set_features, features & ~without) == 0;
  }
  [[nodiscard]] static vhost_user::VringAddress address_of(const Ring& ring) {
    const std::uint64_t user = ring.address - Guest::base + Guest::user_base;
    return {.index = ring.index,
            .descriptors = user,
            .used = user + 0x8000,
            .available = user + 0x4000};
  }
  bool set_ring(const Ring& ring, std::uint16_t next_avail = 0) const {
    const std::uint64_t index = ring.index;
    return tell(Request::set_vring_num, vhost_user::VringState{ring.index, ring.size}) == 0 &&
           tell(Request::set_vring_base, vhost_user::VringState{ring.index, next_avail}) == 0 &&
           tell(Request::set_vring_addr, address_of(ring)) == 0 &&
           tell(Request::set_vring_err, index, {ring.error.get()}) == 0 &&
           tell(Request::set_vring_call, index, {ring.call.get()}) == 0 &&
           tell(Request::set_vring_kick, index, {ring.kick.get()}) == 0 &&
           tell(Request::set_vring_enable, vhost_user::VringState{ring.index, 1}) == 0;
  }
  /// The whole start. Says what of it has failed.
  [[nodiscard]] testing::AssertionResult start(const Guest& guest,
                                               std::uint64_t without = 0) const {
    if (!negotiate(without)) return testing::AssertionFailure() << "the features";
    if (const auto told = set_memory(guest.table(), guest.file.get()); told != 0) {
      return testing::AssertionFailure() << "the memory: " << told;
    }
    for (const Ring& ring : guest.rings) {
      if (!set_ring(ring)) return testing::AssertionFailure() << "ring " << ring.index;
    }
    return testing::AssertionSuccess();
  }

 private:
  [[nodiscard]] bool receive_all(std::span<std::byte> to, std::vector<Descriptor>* fds) const {
    while (!to.empty()) {
      iovec part{.iov_base = to.data(), .iov_len = to.size()};
      alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(8 * sizeof(int))> control{};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = fds == nullptr ? 0 : control.size();
      const ssize_t got =
          uninterrupted([&] { return ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC); });
      if (got <= 0) return false;
      if (cmsghdr* const first = CMSG_FIRSTHDR(&message); first != nullptr && fds != nullptr) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(first), sizeof(int));
        fds->emplace_back(fd);
      }
      to = to.subspan(static_cast<std::size_t>(got));
    }
    return true;
  }
  Descriptor socket_;
};

/// A disk in memory whose requests are published, and stay at the device until the test completes
/// them.
class HeldStore final : public Store {
 public:
  explicit HeldStore(std::uint64_t size_bytes) : memory_(size_bytes) {}

  [[nodiscard]] DiskInfo info() const override { return {.size_bytes = memory_.size()}; }
  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    context_.emplace(context);
    return {};
  }
  void start(blkown::Owned<Rq> request) override {
    std::move(request).publish([&](blkown::Cookie id) {
      const std::lock_guard lock{mutex_};
      held_.push_back(id.value);
    });
  }
  /// The ids of the requests at the device, the oldest first. Any thread.
  [[nodiscard]] std::vector<std::uint64_t> held() {
    const std::lock_guard lock{mutex_};
    return held_;
  }
  /// The device sends an id back. On the test's thread. Returns whether it names a request.
  bool complete(std::uint64_t id) {
    {
      const std::lock_guard lock{mutex_};
      std::erase(held_, id);
    }
    auto claim = context_->tags.claim(cookie_layout.queue_of(id), id);
    if (!claim) {
      context_->refused_lookups.count(claim.error().reason);
      return false;
    }
    std::byte* at = memory_.data() + claim->data().offset;
    for (const blkown::Segment& each : claim->data().data) {
      const bool is_read = claim->data().operation == Operation::read;
      std::memcpy(is_read ? each.data : at, is_read ? at : each.data, each.length_bytes);
      at += each.length_bytes;
    }
    std::move(*claim).end_ok();
    return true;
  }
  void complete_all() {
    for (const std::uint64_t id : held()) complete(id);
  }

 private:
  std::vector<std::byte> memory_;
  std::optional<StoreContext> context_;
  std::mutex mutex_;
  std::vector<std::uint64_t> held_;
};

}  // namespace vhost_user_blk

#endif
