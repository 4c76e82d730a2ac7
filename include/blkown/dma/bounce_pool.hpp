// SPDX-License-Identifier: BSL-1.0
//
// BouncePool: memory that a device can reach, in place of memory that it cannot.

#ifndef BLKOWN_DMA_BOUNCE_POOL_HPP
#define BLKOWN_DMA_BOUNCE_POOL_HPP

#include <blkown/config.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <cstring>
#include <mutex>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Slots of equal size in the caller's memory (the kernel's swiotlb). A device has to be able to
/// reach each slot as a whole: within its DeviceLimits::address_mask, not across its boundary_mask,
/// and in one region if its backend has regions. A mapping that gets another is refused as
/// unreachable. Any context. It outlives the devices that use it.
class BouncePool {
 public:
  /// What is left over at the end is not used.
  /// Precondition: slot_bytes >= sizeof(void*); memory is aligned to at least that.
  BouncePool(std::span<std::byte> memory, std::size_t slot_bytes) noexcept
      : slot_bytes_{slot_bytes} {
    for (std::size_t at = 0; at + slot_bytes <= memory.size(); at += slot_bytes) {
      give(memory.data() + at);
    }
  }
  BouncePool(const BouncePool&) = delete;
  BouncePool& operator=(const BouncePool&) = delete;

  [[nodiscard]] std::size_t slot_bytes() const noexcept { return slot_bytes_; }
  [[nodiscard]] std::size_t free_slots() noexcept {
    const std::lock_guard guard{lock_};
    return free_slots_;
  }

  /// A slot, or null if none is free.
  [[nodiscard]] std::byte* take() noexcept {
    const std::lock_guard guard{lock_};
    std::byte* const slot = first_;
    if (slot == nullptr) return nullptr;
    std::memcpy(&first_, slot, sizeof first_);
    --free_slots_;
    return slot;
  }
  void give(std::byte* slot) noexcept {
    const std::lock_guard guard{lock_};
    std::memcpy(slot, &first_, sizeof first_);
    first_ = slot;
    ++free_slots_;
  }

 private:
  std::size_t slot_bytes_;
  detail::SpinLock lock_;
  std::byte* first_ = nullptr;  // each free slot begins with the address of the next
  std::size_t free_slots_ = 0;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
