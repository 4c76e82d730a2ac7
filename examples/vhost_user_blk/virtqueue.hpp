// SPDX-License-Identifier: BSL-1.0
//
// Virtqueue: a split virtqueue in the guest's memory.
//
// Parties: the guest's driver, which writes descriptors and the available ring; this object, on its
// device's thread, which writes the used ring.
//
//   1. pop() gives the next head that the driver has made available.
//   2. walk() follows the chain of descriptors from the head on, also into an indirect table, and
//      gives the memory that they name.
//   3. push() shows the head as used, with the number of bytes that were written.
//   4. rearm_kick() asks for a kick at the next available head. wants_call() says whether the
//      driver wants to be told of what was pushed. With the event index, both sides name an index
//      in place of a flag. Each side writes its own index and then reads the other's; these four
//      accesses are sequentially consistent, so that one of the two sees what the other has
//      written, and no notification is lost.
//
// The driver may write anything at any time. Each index and each descriptor is read once, checked
// and then used. What is wrong is a RingError; nothing outside the ring and the guest's memory is
// touched. A ring with an error is not served any more until the front end sets it up again: after
// a wrong index or a broken chain, nobody knows which heads the driver means.

#ifndef VHOST_USER_BLK_VIRTQUEUE_HPP
#define VHOST_USER_BLK_VIRTQUEUE_HPP

#include <algorithm>
#include <atomic>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "guest_memory.hpp"
#include "protocol.hpp"
#include "virtio.hpp"

namespace vhost_user_blk {

/// Why a virtqueue is not served any more.
enum class RingError : std::uint8_t {
  none,
  not_guest_memory,         ///< A ring or a descriptor names memory that is not the guest's.
  misaligned,               ///< A part of the ring.
  avail_index_jump,         ///< More heads were made available than the ring holds.
  head_out_of_range,        ///< A head that is no descriptor's index.
  head_in_flight,           ///< A head that was made available before, and is not yet used.
  next_out_of_range,        ///< A chain leaves its table.
  too_long,                 ///< A chain that loops, or is longer than any chain may be.
  bad_indirect,             ///< An indirect table of no whole descriptors, or where none may be.
  readable_after_writable,  ///< Descriptors in the wrong order.
  no_result,                ///< A chain without a byte for the result.
  bad_inflight_record,      ///< The record of requests in flight makes no sense.
  kick_lost,                ///< The file descriptor of the kicks has no other end any more.
};
inline constexpr std::size_t ring_error_count = static_cast<std::size_t>(RingError::kick_lost) + 1;

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(RingError error) noexcept {
  switch (error) {
    case RingError::none: return "none";
    case RingError::not_guest_memory: return "not_guest_memory";
    case RingError::misaligned: return "misaligned";
    case RingError::avail_index_jump: return "avail_index_jump";
    case RingError::head_out_of_range: return "head_out_of_range";
    case RingError::head_in_flight: return "head_in_flight";
    case RingError::next_out_of_range: return "next_out_of_range";
    case RingError::too_long: return "too_long";
    case RingError::bad_indirect: return "bad_indirect";
    case RingError::readable_after_writable: return "readable_after_writable";
    case RingError::no_result: return "no_result";
    case RingError::bad_inflight_record: return "bad_inflight_record";
    case RingError::kick_lost: return "kick_lost";
  }
  return "unknown ring error";
}

/// The memory that a chain names.
struct Chain {
  std::vector<blkown::Segment> readable;
  std::vector<blkown::Segment> writable;
  // The walk's own: where the indirect table is, and its copy. Kept for their memory.
  std::vector<blkown::Segment> table_parts;
  std::vector<std::byte> table;
};

/// What the driver and the device have agreed on.
struct RingFeatures {
  bool indirect_desc = false;
  bool event_idx = false;
};

class Virtqueue {
 public:
  /// The longest chain, and the largest number of segments that it names: what one preadv takes.
  static constexpr std::size_t max_chain = 1024;

  /// A ring that is nowhere.
  Virtqueue() = default;

  /// Finds the ring in the guest's memory.
  /// Precondition: size is a power of two, at most virtio::max_queue_size.
  /// Errors: not_guest_memory, misaligned. The ring is nowhere then.
  [[nodiscard]] RingError attach(const GuestMemory& memory, const vhost_user::VringAddress& address,
                                 std::uint32_t size) {
    detach();
    const blkown::Segment descriptors =
        memory.at_user_address(address.descriptors, size * sizeof(virtio::Descriptor));
    const blkown::Segment available =
        memory.at_user_address(address.available, virtio::available::bytes(size));
    const blkown::Segment used = memory.at_user_address(address.used, virtio::used::bytes(size));
    if (descriptors.empty() || available.empty() || used.empty()) {
      return RingError::not_guest_memory;
    }
    if (!is_aligned(descriptors, 16) || !is_aligned(available, 2) || !is_aligned(used, 4)) {
      return RingError::misaligned;
    }
    size_ = size;
    memory_ = &memory;
    descriptors_ = descriptors.data;
    available_ = reinterpret_cast<std::uint16_t*>(available.data);
    used_ = used.data;
    return RingError::none;
  }
  /// The ring is nowhere. Its indices stay.
  void detach() noexcept {
    size_ = 0;
    memory_ = nullptr;
  }
  [[nodiscard]] bool is_attached() const noexcept { return size_ != 0; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  void set_features(const RingFeatures& features) noexcept { features_ = features; }
  /// The index of the next available head.
  [[nodiscard]] std::uint16_t next_avail() const noexcept { return next_avail_; }
  void set_next_avail(std::uint16_t index) noexcept { next_avail_ = index; }

  /// Begins to serve the ring: takes over the used ring's index as it is.
  /// Precondition: is_attached(), as for all functions below.
  void begin() noexcept {
    next_used_ = load(used_idx(), std::memory_order_relaxed);
    called_used_ = std::nullopt;
  }
  /// The index of the next used element.
  [[nodiscard]] std::uint16_t next_used() const noexcept { return next_used_; }

  /// The next available head, if there is one.
  /// Errors: avail_index_jump, head_out_of_range.
  [[nodiscard]] std::expected<std::optional<std::uint16_t>, RingError> pop() noexcept {
    // Acquires what the driver has written before it made the head available.
    const std::uint16_t index =
        load(&available_[virtio::available::idx], std::memory_order_acquire);
    const auto count = static_cast<std::uint16_t>(index - next_avail_);
    if (count == 0) return std::nullopt;
    if (count > size_) return std::unexpected(RingError::avail_index_jump);
    const std::uint16_t head =
        load(&available_[virtio::available::ring + next_avail_ % size_], std::memory_order_relaxed);
    if (head >= size_) return std::unexpected(RingError::head_out_of_range);
    ++next_avail_;
    return head;
  }

  /// Collects the memory of the chain that begins at `head`.
  /// Precondition: head < size().
  /// Errors: those of chains. `chain` is incomplete then.
  [[nodiscard]] RingError walk(std::uint16_t head, Chain& chain) const {
    chain.readable.clear();
    chain.writable.clear();
    Walk walk{.table = {descriptors_, size_ * sizeof(virtio::Descriptor)}, .next = head};
    while (true) {
      if (const RingError error = step(walk, chain); error != RingError::none) return error;
      if (walk.is_over) break;
    }
    // Regions may split a descriptor's memory.
    const bool fits = std::max(chain.readable.size(), chain.writable.size()) <= max_chain;
    return fits ? RingError::none : RingError::too_long;
  }

  /// Shows the head as used.
  void push(std::uint16_t head, std::uint32_t written_bytes) noexcept {
    const virtio::UsedElement element{.head = head, .written_bytes = written_bytes};
    std::memcpy(used_ + virtio::used::ring + (next_used_ % size_) * sizeof(element), &element,
                sizeof(element));
    ++next_used_;
    // Releases the element and the data. Sequentially consistent: wants_call() reads the driver's
    // index behind it.
    store(used_idx(), next_used_, std::memory_order_seq_cst);
  }

  /// Whether the driver is to be told of what was pushed since the last call of this function.
  [[nodiscard]] bool wants_call() noexcept {
    const std::optional<std::uint16_t> before = std::exchange(called_used_, next_used_);
    if (!before) return true;
    if (*before == next_used_) return false;
    if (!features_.event_idx) {
      const std::uint16_t flags =
          load(&available_[virtio::available::flags], std::memory_order_seq_cst);
      return (flags & virtio::available::flag_no_interrupt) == 0;
    }
    const std::uint16_t event =
        load(&available_[virtio::available::used_event(size_)], std::memory_order_seq_cst);
    return virtio::needs_event(event, next_used_, *before);
  }

  /// Asks the driver for a kick. Returns whether there are heads that it has made available in the
  /// meantime, for which no kick may come.
  [[nodiscard]] bool rearm_kick() noexcept {
    if (features_.event_idx) {
      auto* const event =
          reinterpret_cast<std::uint16_t*>(used_ + virtio::used::avail_event(size_));
      store(event, next_avail_, std::memory_order_seq_cst);
    }
    return load(&available_[virtio::available::idx], std::memory_order_seq_cst) != next_avail_;
  }

 private:
  /// Where a walk is.
  struct Walk {
    std::span<const std::byte> table;  // descriptors
    std::uint16_t next = 0;            // in the table
    std::size_t steps = 0;             // in this table
    bool is_indirect = false;
    bool is_over = false;

    [[nodiscard]] std::size_t table_size() const noexcept {
      return table.size() / sizeof(virtio::Descriptor);
    }
  };

  /// One descriptor.
  [[nodiscard]] RingError step(Walk& walk, Chain& chain) const {
    if (walk.next >= walk.table_size()) return RingError::next_out_of_range;
    // More steps than descriptors: the chain loops.
    if (walk.steps++ == std::min(walk.table_size(), max_chain)) return RingError::too_long;
    // A copy: the driver may change the descriptor while it is checked.
    virtio::Descriptor copy;
    copy_shared(reinterpret_cast<std::byte*>(&copy), walk.table.data() + walk.next * sizeof(copy),
                sizeof(copy));
    if ((copy.flags & virtio::descriptor_flag::indirect) != 0) return enter(walk, copy, chain);
    const bool is_writable = (copy.flags & virtio::descriptor_flag::write) != 0;
    if (!is_writable && !chain.writable.empty()) return RingError::readable_after_writable;
    auto& segments = is_writable ? chain.writable : chain.readable;
    if (!memory_->append(copy.address, copy.length, segments)) return RingError::not_guest_memory;
    walk.next = copy.next;
    walk.is_over = (copy.flags & virtio::descriptor_flag::next) == 0;
    return RingError::none;
  }

  /// Goes on in an indirect table, which ends the chain.
  [[nodiscard]] RingError enter(Walk& walk, const virtio::Descriptor& descriptor,
                                Chain& chain) const {
    const bool has_next = (descriptor.flags & virtio::descriptor_flag::next) != 0;
    const std::size_t count = descriptor.length / sizeof(virtio::Descriptor);
    if (!features_.indirect_desc || walk.is_indirect || has_next || count == 0 ||
        descriptor.length % sizeof(virtio::Descriptor) != 0) {
      return RingError::bad_indirect;
    }
    if (count > max_chain) return RingError::too_long;
    chain.table_parts.clear();
    if (!memory_->append(descriptor.address, descriptor.length, chain.table_parts)) {
      return RingError::not_guest_memory;
    }
    chain.table.resize(descriptor.length);
    std::byte* to = chain.table.data();
    for (const blkown::Segment& part : chain.table_parts) {
      copy_shared(to, part.data, part.length_bytes);
      to += part.length_bytes;
    }
    walk.table = chain.table;
    walk.next = 0;
    walk.steps = 0;
    walk.is_indirect = true;
    return RingError::none;
  }

  [[nodiscard]] static bool is_aligned(blkown::Segment memory, std::uintptr_t bytes) noexcept {
    return reinterpret_cast<std::uintptr_t>(memory.data) % bytes == 0;
  }
  [[nodiscard]] std::uint16_t* used_idx() const noexcept {
    return reinterpret_cast<std::uint16_t*>(used_ + virtio::used::idx);
  }
  [[nodiscard]] static std::uint16_t load(std::uint16_t* from, std::memory_order order) noexcept {
    return std::atomic_ref{*from}.load(order);
  }
  static void store(std::uint16_t* to, std::uint16_t value, std::memory_order order) noexcept {
    std::atomic_ref{*to}.store(value, order);
  }

  RingFeatures features_{};
  std::uint16_t next_avail_ = 0;
  std::uint16_t next_used_ = 0;
  std::optional<std::uint16_t> called_used_;  // next_used_ when wants_call() was called last

  std::uint32_t size_ = 0;
  const GuestMemory* memory_ = nullptr;
  std::byte* descriptors_ = nullptr;
  std::uint16_t* available_ = nullptr;
  std::byte* used_ = nullptr;
};

}  // namespace vhost_user_blk

#endif
