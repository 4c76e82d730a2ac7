// SPDX-License-Identifier: BSL-1.0
//
// The structures that the guest's driver and the device share in the guest's memory: those of a
// split virtqueue, and those of a virtio block device. No behaviour.
//
// Every `Source:` names a section of "Virtual I/O Device (VIRTIO) Version 1.2". All integers are
// little-endian.

#ifndef VHOST_USER_BLK_VIRTIO_HPP
#define VHOST_USER_BLK_VIRTIO_HPP

#include <bit>
#include <cstddef>
#include <cstdint>

namespace virtio {

static_assert(std::endian::native == std::endian::little,
              "on a big-endian machine each access to the guest's memory has to swap bytes");

// ---- Split virtqueues

/// Source: 6 "Reserved Feature Bits".
namespace feature {
inline constexpr std::uint64_t indirect_desc = 1ULL << 28;
inline constexpr std::uint64_t event_idx = 1ULL << 29;
inline constexpr std::uint64_t version_1 = 1ULL << 32;
}  // namespace feature

/// The largest number of descriptors of a split virtqueue.
/// Source: 2.7 "Split Virtqueues".
inline constexpr std::uint32_t max_queue_size = 32768;

/// Source: 2.7.5 "The Virtqueue Descriptor Table".
struct Descriptor {
  std::uint64_t address = 0;  ///< In the guest's physical memory.
  std::uint32_t length = 0;
  std::uint16_t flags = 0;  ///< descriptor_flag.
  std::uint16_t next = 0;   ///< The next descriptor's index, with descriptor_flag::next.
};
static_assert(sizeof(Descriptor) == 16);
namespace descriptor_flag {
inline constexpr std::uint16_t next = 1;
inline constexpr std::uint16_t write = 2;     ///< The device writes this memory. Else it reads it.
inline constexpr std::uint16_t indirect = 4;  ///< The memory is a table of descriptors.
}  // namespace descriptor_flag

/// The available ring: flags, idx, `size` heads, used_event. In units of 16 bits.
/// Source: 2.7.6 "The Virtqueue Available Ring".
namespace available {
inline constexpr std::size_t flags = 0;
inline constexpr std::size_t idx = 1;
inline constexpr std::size_t ring = 2;
[[nodiscard]] constexpr std::size_t used_event(std::size_t size) noexcept { return ring + size; }
[[nodiscard]] constexpr std::size_t bytes(std::size_t size) noexcept { return 2 * (3 + size); }
inline constexpr std::uint16_t flag_no_interrupt = 1;
}  // namespace available

/// Source: 2.7.8 "The Virtqueue Used Ring".
struct UsedElement {
  std::uint32_t head = 0;
  std::uint32_t written_bytes = 0;
};
static_assert(sizeof(UsedElement) == 8);
/// The used ring: flags, idx, `size` UsedElements, avail_event. Offsets in bytes.
namespace used {
inline constexpr std::size_t flags = 0;
inline constexpr std::size_t idx = 2;
inline constexpr std::size_t ring = 4;
[[nodiscard]] constexpr std::size_t avail_event(std::size_t size) noexcept {
  return ring + size * sizeof(UsedElement);
}
[[nodiscard]] constexpr std::size_t bytes(std::size_t size) noexcept {
  return avail_event(size) + 2;
}
}  // namespace used

/// Whether the other side, which has asked to be told when the index passes `event`, is told now
/// that the index went from `before` to `now`. Indices wrap at 2^16.
/// Source: 2.7.10 "Available Buffer Notification Suppression", vring_need_event.
[[nodiscard]] constexpr bool needs_event(std::uint16_t event, std::uint16_t now,
                                         std::uint16_t before) noexcept {
  return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

// ---- Block devices

namespace blk {

inline constexpr std::uint32_t sector_bytes = 512;

/// Source: 5.2.3 "Feature bits".
namespace feature {
inline constexpr std::uint64_t seg_max = 1ULL << 2;
inline constexpr std::uint64_t ro = 1ULL << 5;
inline constexpr std::uint64_t blk_size = 1ULL << 6;
inline constexpr std::uint64_t flush = 1ULL << 9;
inline constexpr std::uint64_t mq = 1ULL << 12;
inline constexpr std::uint64_t discard = 1ULL << 13;
inline constexpr std::uint64_t write_zeroes = 1ULL << 14;
}  // namespace feature

/// Source: 5.2.4 "Device configuration layout".
struct Config {
  std::uint64_t capacity_sectors = 0;
  std::uint32_t size_max = 0;
  std::uint32_t seg_max = 0;
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
  std::uint32_t blk_size = sector_bytes;
  std::uint8_t physical_block_exp = 0;
  std::uint8_t alignment_offset = 0;
  std::uint16_t min_io_size = 0;
  std::uint32_t opt_io_size = 0;
  std::uint8_t writeback = 0;
  std::uint8_t unused0 = 0;
  std::uint16_t num_queues = 0;
  std::uint32_t max_discard_sectors = 0;
  std::uint32_t max_discard_seg = 0;
  std::uint32_t discard_sector_alignment = 0;
  std::uint32_t max_write_zeroes_sectors = 0;
  std::uint32_t max_write_zeroes_seg = 0;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::uint8_t unused1[3] = {};
};
static_assert(sizeof(Config) == 64 && offsetof(Config, max_write_zeroes_seg) == 52);
/// Without the padding at the end.
inline constexpr std::size_t config_bytes = 60;

/// Source: 5.2.6 "Device Operation".
enum class Type : std::uint32_t {
  in = 0,   ///< A read.
  out = 1,  ///< A write.
  flush = 4,
  get_id = 8,
  discard = 11,
  write_zeroes = 13,
};

/// The first bytes that the device reads. The data of a write follows.
/// Source: 5.2.6 "Device Operation".
struct Header {
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
  std::uint64_t sector = 0;
};
static_assert(sizeof(Header) == 16);

/// The data of discard and write_zeroes.
/// Source: 5.2.6 "Device Operation".
struct Range {
  std::uint64_t sector = 0;
  std::uint32_t sectors = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(Range) == 16);
inline constexpr std::uint32_t range_flag_unmap = 1;

/// The length of the answer to get_id.
inline constexpr std::size_t id_bytes = 20;

/// The last byte that the device writes.
/// Source: 5.2.6 "Device Operation".
enum class Result : std::uint8_t { ok = 0, io_error = 1, unsupported = 2 };

}  // namespace blk
}  // namespace virtio

#endif
