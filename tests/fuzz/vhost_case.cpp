// SPDX-License-Identifier: BSL-1.0
//
// Goal: whatever a front end sends and whatever a guest writes into its rings, the parsers of
// vhost-user messages, of descriptor chains and of block requests answer as documented.
//
// Method: the input is a message with a number of file descriptors, or the descriptors of a ring
// and of an indirect table in a guest's memory of two regions. A reference follows the chain over
// the guest's addresses alone.
//
// Invariants: an accepted message has the size and the descriptors of its request. A chain is
// walked if and only if the reference walks it, to as many bytes, all of which are the guest's. An
// accepted request lies on the disk, and has as many bytes as its length says; it has a byte for
// its result.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"
#include "vhost_user_blk/block_request.hpp"
#include "vhost_user_blk/guest_memory.hpp"
#include "vhost_user_blk/messages.hpp"
#include "vhost_user_blk/virtqueue.hpp"

namespace fuzz {
namespace {

using namespace vhost_user_blk;
using GuestDescriptor = virtio::Descriptor;

constexpr std::uint64_t guest_base = 0x1000;
constexpr std::uint64_t region_bytes = 0x2000;
constexpr std::uint64_t guest_end = guest_base + 2 * region_bytes;
constexpr std::uint16_t ring_size = 8;
constexpr std::uint64_t table_address = guest_base + 0x800;
constexpr std::uint16_t table_size = 6;

/// The guest's memory, made once: its regions touch, and are apart in the file.
class SmallGuest {
 public:
  SmallGuest() {
    std::vector<Descriptor> files;
    files.emplace_back(memfd_create("guest", MFD_CLOEXEC));
    static_cast<void>(!ftruncate(files[0].get(), 4 * region_bytes));
    files.emplace_back(dup(files[0].get()));
    const std::array<vhost_user::MemoryRegion, 2> table{
        {{guest_base, region_bytes, 0x10000, 0},
         {guest_base + region_bytes, region_bytes, 0x90000, 2 * region_bytes}}};
    auto mapped = GuestMemory::map(table, files, false);
    if (!mapped) std::abort();
    memory = std::move(*mapped);
  }
  [[nodiscard]] std::byte* at(std::uint64_t address) const {
    std::vector<blkown::Segment> found;
    if (!memory.append(address, 1, found)) std::abort();
    return found[0].data;
  }
  [[nodiscard]] bool owns(const blkown::Segment& part) const {
    for (const std::uint64_t user : {0x10000ULL, 0x90000ULL}) {
      const blkown::Segment region = memory.at_user_address(user, region_bytes);
      if (part.data >= region.data && part.end() <= region.end()) return true;
    }
    return part.empty();
  }
  GuestMemory memory;
};

class VhostCase {
 public:
  explicit VhostCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    if (input_.below(3) == 0) {
      check_message();
    } else {
      check_chain();
    }
    return verdict_.first();
  }

 private:
  // --- messages

  void check_message() {
    const vhost_user::Header header{input_.below(45),
                                    input_.flag() ? 1U : static_cast<std::uint32_t>(input_.byte()),
                                    static_cast<std::uint32_t>(input_.bits(input_.flag() ? 1 : 2))};
    const std::size_t fds = input_.below(10);
    std::vector<std::byte> payload(input_.flag() ? header.size : input_.byte());
    for (std::byte& each : payload) each = std::byte{input_.byte()};
    const auto message = vhost_user::parse_message(header, payload, fds);
    if (!message) return;
    verdict_.expect((header.flags & 7) == 1, "an accepted message has version 1, and is no reply");
    verdict_.expect(message->region_count <= vhost_user::max_memory_regions, "as many regions");
    verdict_.expect(payload.size() == size_of(*message, payload.size()), "the request's size");
    verdict_.expect(fds == fds_of(*message), "the request's descriptors");
  }
  [[nodiscard]] static std::size_t size_of(const vhost_user::Message& message, std::size_t size) {
    using vhost_user::Request;
    switch (message.request) {
      case Request::set_features:
      case Request::set_protocol_features:
      case Request::set_vring_num:
      case Request::set_vring_base:
      case Request::get_vring_base:
      case Request::set_vring_enable:
      case Request::set_vring_kick:
      case Request::set_vring_call:
      case Request::set_vring_err: return 8;
      case Request::set_vring_addr: return 40;
      case Request::set_mem_table: return 8 + 32 * message.region_count;
      case Request::get_config:
      case Request::set_config: return 12 + message.config.size;
      case Request::get_inflight_fd:
      case Request::set_inflight_fd: return size == 20 ? 20 : 24;
      default: return 0;
    }
  }
  [[nodiscard]] static std::size_t fds_of(const vhost_user::Message& message) {
    using vhost_user::Request;
    switch (message.request) {
      case Request::set_vring_kick:
      case Request::set_vring_call:
      case Request::set_vring_err: return (message.number & vhost_user::vring_no_fd) != 0 ? 0 : 1;
      case Request::set_mem_table: return message.region_count;
      case Request::set_inflight_fd: return 1;
      default: return 0;
    }
  }

  // --- chains

  struct Walked {
    bool is_good = false;
    std::uint64_t readable = 0;
    std::uint64_t writable = 0;
    bool has_begun_writable = false;
  };

  [[nodiscard]] GuestDescriptor make_descriptor() {
    static constexpr std::array<std::uint64_t, 8> places{0,
                                                         guest_base,
                                                         guest_base + 0x1000,
                                                         guest_base + region_bytes - 8,
                                                         guest_end - 16,
                                                         table_address,
                                                         guest_end,
                                                         ~0ULL - 7};
    GuestDescriptor made;
    made.address = places[input_.below(places.size())] + input_.below(32);
    made.length =
        static_cast<std::uint32_t>(input_.below(5) == 0 ? input_.bits(4) : input_.below(40) * 16);
    if (input_.below(6) == 0) {
      made.address = table_address;
      made.length = table_size * sizeof(made);
    }
    made.flags = static_cast<std::uint16_t>(input_.below(8));
    made.next = static_cast<std::uint16_t>(input_.below(10));
    return made;
  }
  void check_chain() {
    static const SmallGuest guest;
    std::array<GuestDescriptor, ring_size> ring{};
    std::array<GuestDescriptor, table_size> table{};
    for (GuestDescriptor& each : ring) each = make_descriptor();
    for (GuestDescriptor& each : table) each = make_descriptor();
    std::memcpy(guest.at(guest_base), ring.data(), sizeof(ring));
    std::memcpy(guest.at(table_address), table.data(), sizeof(table));
    const bool indirect = input_.flag();
    Virtqueue queue;
    queue.set_features({.indirect_desc = indirect, .event_idx = false});
    const RingError attached = queue.attach(
        guest.memory, {.descriptors = 0x10000, .used = 0x10200, .available = 0x10100}, ring_size);
    verdict_.expect(attached == RingError::none, "the ring is in the memory");

    const auto head = static_cast<std::uint16_t>(input_.below(ring_size));
    const Walked expected = reference(ring, table, head, indirect);
    Chain chain;
    const RingError error = queue.walk(head, chain);
    // A table that is nowhere near the one of this case: the reference does not know its bytes.
    if (is_elsewhere_) return;
    verdict_.expect((error == RingError::none) == expected.is_good, "the chain is walked");
    if (error != RingError::none) return;
    verdict_.expect(detail::length_of(chain.readable) == expected.readable, "bytes to read");
    verdict_.expect(detail::length_of(chain.writable) == expected.writable, "bytes to write");
    for (const auto* segments : {&chain.readable, &chain.writable}) {
      for (const blkown::Segment& each : *segments) {
        verdict_.expect(guest.owns(each), "all bytes are the guest's");
      }
    }
    check_request(guest, chain, expected);
  }
  /// Follows the chain, a step for each descriptor of its table at most.
  [[nodiscard]] Walked reference(std::span<const GuestDescriptor> ring,
                                 std::span<const GuestDescriptor> table, std::uint16_t head,
                                 bool indirect) {
    Walked walked;
    std::span<const GuestDescriptor> here = ring;
    std::size_t index = head;
    for (std::size_t steps = 0; steps != here.size(); ++steps) {
      if (index >= here.size()) return {};
      const GuestDescriptor& each = here[index];
      if ((each.flags & 4) != 0) {
        const bool is_allowed = indirect && here.data() == ring.data() && (each.flags & 1) == 0;
        if (!is_allowed || each.length == 0 || each.length % 16 != 0 || !is_guests(each)) return {};
        is_elsewhere_ = each.address != table_address || each.length > table.size_bytes();
        if (is_elsewhere_) return {};
        here = table.first(each.length / 16);
        index = 0;
        steps = std::size_t(-1);
        continue;
      }
      if (!is_guests(each) || ((each.flags & 2) == 0 && walked.has_begun_writable)) return {};
      walked.has_begun_writable =
          walked.has_begun_writable || ((each.flags & 2) != 0 && each.length != 0);
      ((each.flags & 2) != 0 ? walked.writable : walked.readable) += each.length;
      walked.is_good = (each.flags & 1) == 0;
      if (walked.is_good) return walked;
      index = each.next;
    }
    return {};
  }
  [[nodiscard]] static bool is_guests(const GuestDescriptor& each) {
    if (each.length == 0) return true;
    return each.address >= guest_base && each.address < guest_end &&
           each.length <= guest_end - each.address;
  }

  // --- requests

  void check_request(const SmallGuest& guest, Chain& chain, const Walked& walked) {
    const DiskInfo disk{.size_bytes = 1 << 20, .read_only = input_.flag()};
    if (walked.readable >= 16 && input_.flag()) {
      const virtio::blk::Header header{input_.below(15), 0, input_.bits(input_.flag() ? 2 : 8)};
      const blkown::Segment first = chain.readable.front();
      if (first.length_bytes >= 16) std::memcpy(first.data, &header, 16);
    }
    Command command;
    const Refusal refusal = parse_block_request(chain, disk, command);
    verdict_.expect((command.result != nullptr) == (walked.writable != 0), "a byte for the result");
    verdict_.expect(command.result == nullptr || guest.owns({command.result, 1}),
                    "it is the guest's");
    if (refusal != Refusal::none) return;
    const Operation operation = command.operation;
    std::uint64_t bytes = 0;
    for (const blkown::Segment& each : command.data) bytes += each.length_bytes;
    if (operation == Operation::read || operation == Operation::write) {
      verdict_.expect(bytes == command.length, "as many bytes as the length");
    }
    if (operation == Operation::flush || operation == Operation::get_id) return;
    verdict_.expect(command.length != 0 && command.offset < disk.size_bytes &&
                        command.length <= disk.size_bytes - command.offset,
                    "an accepted request lies on the disk");
    verdict_.expect(command.length % 512 == 0 && command.offset % 512 == 0, "whole sectors");
    verdict_.expect(!disk.read_only || operation == Operation::read, "nothing is changed");
  }

  Input input_;
  Verdict verdict_;
  bool is_elsewhere_ = false;
};

}  // namespace

std::string run_case(Bytes bytes) { return VhostCase{bytes}.run(); }

}  // namespace fuzz
