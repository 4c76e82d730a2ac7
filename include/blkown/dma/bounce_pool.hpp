// SPDX-License-Identifier: BSL-1.0
//
// BouncePool: memory that a device can reach, as a substitute for memory that it cannot reach.
//
// A map takes one slot for each element that lies outside the device's DeviceLimits::address_mask:
//
//   1. map copies the element's bytes into the slot, and maps the slot in place of the bytes. The
//      bytes of a read are copied too, so that a short transfer leaves the other bytes unchanged.
//      The bytes keep their offset in the page, as far as DeviceLimits::min_align_mask asks for it.
//   2. The device works on the slot while the I/O is in flight.
//   3. unmap removes the translations, then copies the slot's bytes back if the device may have
//      written them, then gives the slot back. A mapping that the device has never seen (a
//      destroyed PreparedMapping, ActiveMapping::cancel) is not copied back.
//
// A map that finds no free slot unmaps its other elements and gives their slots back. If the pool
// has enough slots, the map fails with MapFailure::no_bounce_slot and MapError::status()
// `resource`: the end of another I/O frees slots. If the memory needs more slots than the pool has,
// the map fails with too_few_bounce_slots and `invalid`. The slots of a mapping in quarantine stay
// taken until the device is drained.

#ifndef BLKOWN_DMA_BOUNCE_POOL_HPP
#define BLKOWN_DMA_BOUNCE_POOL_HPP

#include <blkown/config.hpp>
#include <blkown/detail/spin_lock.hpp>
#include <blkown/detail/user_list.hpp>
#include <cstddef>
#include <cstring>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Slots of equal size in the caller's memory.
/// Precondition: the pool outlives the devices that use it. Each device reaches each slot as one
/// element: the slot lies within DeviceLimits::address_mask, does not cross boundary_mask, begins
/// where min_align_mask and virt_boundary_mask have no bits set and is longer than both, and lies
/// in one region if the backend has regions. A map that takes another slot fails as unreachable.
/// Context: any, but not an interrupt, because the members take a lock.
/// Source: the kernel's swiotlb.
class BouncePool {
 public:
  /// Cuts `memory` into slots. A remainder shorter than one slot is not used.
  /// Precondition: slot_bytes >= sizeof(void*); `memory` is aligned to that and outlives the pool.
  BouncePool(std::span<std::byte> memory, std::size_t slot_bytes) noexcept
      : memory_{memory.data()}, slot_bytes_{slot_bytes} {
    for (std::size_t at = 0; at + slot_bytes <= memory.size(); at += slot_bytes) {
      give(memory.data() + at);
    }
    slot_count_ = free_slots_;
  }
  BouncePool(const BouncePool&) = delete;
  BouncePool& operator=(const BouncePool&) = delete;
  /// Violation: object_in_use, if a device uses the pool.
  ~BouncePool() {
    users_.check_unused("destruction of dma::BouncePool", "dma::BouncePool",
                        "destroy the Device first");
  }

  /// The length of a slot.
  [[nodiscard]] std::size_t slot_bytes() const noexcept { return slot_bytes_; }
  /// The number of slots, free or taken.
  [[nodiscard]] std::size_t slot_count() const noexcept { return slot_count_; }
  /// The number of free slots at this moment.
  [[nodiscard]] std::size_t free_slots() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    return free_slots_;
  }

  /// Takes a slot; null if none is free.
  [[nodiscard]] std::byte* take() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    std::byte* const slot = first_;
    if (slot == nullptr) return nullptr;
    std::memcpy(&first_, slot, sizeof first_);
    --free_slots_;
    return slot;
  }
  /// Gives the slot that contains this byte back.
  /// Precondition: the slot came from take().
  void give(std::byte* inside) noexcept {
    std::byte* const slot = inside - static_cast<std::size_t>(inside - memory_) % slot_bytes_;
    const blkown::detail::SpinGuard guard{lock_};
    std::memcpy(slot, &first_, sizeof first_);
    first_ = slot;
    ++free_slots_;
  }

  /// The devices that use the pool.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

 private:
  std::byte* memory_;
  std::size_t slot_bytes_;
  blkown::detail::SpinLock lock_;
  std::byte* first_ = nullptr;  // each free slot begins with the address of the next free slot
  std::size_t free_slots_ = 0;
  std::size_t slot_count_ = 0;
  blkown::detail::UserList users_;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
