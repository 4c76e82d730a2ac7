// SPDX-License-Identifier: BSL-1.0
//
// The wire format of vhost-user: numbers, codes and structures. No behaviour. The parser is in
// messages.hpp.
//
// Every `Source:` names a section of the protocol's text, docs/interop/vhost-user.rst of QEMU. All
// integers are in the byte order of the machine, because both sides run on it. A message travels on
// a unix socket, and takes its file descriptors along as ancillary data (SCM_RIGHTS).

#ifndef VHOST_USER_BLK_PROTOCOL_HPP
#define VHOST_USER_BLK_PROTOCOL_HPP

#include <cstddef>
#include <cstdint>

namespace vhost_user {

/// What the front end asks for. The other numbers are of features that this target does not offer.
/// Source: "Front-end message types".
enum class Request : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,  ///< Obsolete: changes nothing.
  set_mem_table = 5,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,  ///< Stops the ring.
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  get_config = 24,
  set_config = 25,
  get_inflight_fd = 31,
  set_inflight_fd = 32,
  reset_device = 34,
};

/// Source: "Header".
namespace header_flag {
inline constexpr std::uint32_t version_mask = 3;
inline constexpr std::uint32_t version = 1;
inline constexpr std::uint32_t reply = 1U << 2;
inline constexpr std::uint32_t need_reply = 1U << 3;  ///< Needs protocol_feature::reply_ack.
}  // namespace header_flag

/// The bit of the virtio features that says that there are protocol features.
/// Source: "Communication".
inline constexpr std::uint64_t feature_protocol_features = 1ULL << 30;

/// Source: "Protocol features".
namespace protocol_feature {
inline constexpr std::uint64_t mq = 1ULL << 0;
inline constexpr std::uint64_t reply_ack = 1ULL << 3;
inline constexpr std::uint64_t config = 1ULL << 9;
inline constexpr std::uint64_t inflight_shmfd = 1ULL << 12;
inline constexpr std::uint64_t reset_device = 1ULL << 13;
}  // namespace protocol_feature

/// Begins each message. `size` bytes of payload follow.
/// Source: "Header".
struct Header {
  std::uint32_t request = 0;
  std::uint32_t flags = 0;
  std::uint32_t size = 0;
};
static_assert(sizeof(Header) == 12);

/// Source: "A vring state description".
struct VringState {
  std::uint32_t index = 0;
  std::uint32_t num = 0;
};
static_assert(sizeof(VringState) == 8);

/// Where the front end has the ring in its own address space: user addresses.
/// Source: "A vring address description".
struct VringAddress {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t used = 0;
  std::uint64_t available = 0;
  std::uint64_t log = 0;
};
static_assert(sizeof(VringAddress) == 40);

/// The payload of set_vring_kick, _call and _err: an index in the low 8 bits. With this bit, no
/// file descriptor comes with the message.
/// Source: VHOST_USER_SET_VRING_KICK.
inline constexpr std::uint64_t vring_no_fd = 1ULL << 8;

/// Begins the payload of set_mem_table. `count` regions follow, and as many file descriptors come
/// with the message.
/// Source: "Memory regions description".
struct MemoryTableHeader {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
inline constexpr std::uint32_t max_memory_regions = 8;

/// A range of the guest's memory: where the guest has it, where the front end has it, and where it
/// is in the file.
/// Source: "Memory regions description".
struct MemoryRegion {
  std::uint64_t guest_address = 0;
  std::uint64_t size = 0;
  std::uint64_t user_address = 0;
  std::uint64_t mmap_offset = 0;
};
static_assert(sizeof(MemoryRegion) == 32);

/// Begins the payload of get_config and set_config. `size` bytes of the device's configuration
/// follow.
/// Source: "Virtio device config space".
struct ConfigHeader {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(ConfigHeader) == 12);
inline constexpr std::uint32_t max_config_bytes = 256;

/// The memory in which requests in flight are noted. The last four bytes are the padding of QEMU's
/// structure, which some front ends leave out.
/// Source: "Inflight description".
struct Inflight {
  std::uint64_t mmap_size = 0;
  std::uint64_t mmap_offset = 0;
  std::uint16_t num_queues = 0;
  std::uint16_t queue_size = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(Inflight) == 24);
inline constexpr std::size_t inflight_bytes_without_padding = 20;

/// One descriptor's state in that memory.
/// Source: "Inflight I/O tracking", DescStateSplit.
struct InflightDescriptor {
  std::uint8_t inflight = 0;  ///< 1: fetched, and not yet shown as used. Of heads only.
  std::uint8_t padding[5] = {};
  std::uint16_t next = 0;     ///< In the list of the heads of the last batch.
  std::uint64_t counter = 0;  ///< The order in which heads were fetched.
};
static_assert(sizeof(InflightDescriptor) == 16);

/// One queue's part of that memory. An InflightDescriptor for each descriptor follows. Each part
/// begins at a multiple of 64 bytes.
/// Source: "Inflight I/O tracking", QueueRegionSplit.
struct InflightQueueHeader {
  std::uint64_t features = 0;
  std::uint16_t version = 0;  ///< 1. 0: not initialized.
  std::uint16_t desc_num = 0;
  std::uint16_t last_batch_head = 0;
  std::uint16_t used_idx = 0;
};
static_assert(sizeof(InflightQueueHeader) == 16);

/// The longest payload: a memory table with all its regions.
inline constexpr std::size_t max_payload_bytes =
    sizeof(MemoryTableHeader) + max_memory_regions * sizeof(MemoryRegion) + 64;
static_assert(max_payload_bytes >= sizeof(ConfigHeader) + max_config_bytes);
/// The largest number of file descriptors that come with a message.
inline constexpr std::size_t max_fds = max_memory_regions;

}  // namespace vhost_user

#endif
