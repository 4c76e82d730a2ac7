// SPDX-License-Identifier: BSL-1.0
//
// The one word of a ring's entry that tells the other side that the rest of it is there.

#ifndef BLKOWN_DMA_RING_WORD_HPP
#define BLKOWN_DMA_RING_WORD_HPP

#include <atomic>
#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Reads a word of a ring that the device writes (an NVMe completion's phase tag).
/// Synchronization: acquires what the device wrote before it (the kernel's READ_ONCE and dma_rmb).
template <class T>
[[nodiscard]] T load_acquire(const T& ring_word) noexcept {
  // No transition. Partner: store_release. Acquire: the entry's other fields.
  return std::atomic_ref<T>{const_cast<T&>(ring_word)}.load(std::memory_order_acquire);
}

/// Writes a word of a ring that the device reads.
/// Synchronization: releases what was written before it (the kernel's dma_wmb and WRITE_ONCE).
template <class T>
void store_release(T& ring_word, T value) noexcept {
  // Old entry -> new entry. Partner: load_acquire. Release: the entry's other fields.
  std::atomic_ref<T>{ring_word}.store(value, std::memory_order_release);
}

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
