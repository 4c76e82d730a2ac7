// SPDX-License-Identifier: BSL-1.0
//
// The word of a ring entry that publishes the entry.
//
// Parties: the driver and the device, which share a ring in coherent memory. Steps, for an entry
// that the device writes (an NVMe completion; an entry that the driver writes goes the same way):
//
//   1. The device writes the entry's fields.
//   2. The device writes the entry's word with release: the phase tag, or the ring's tail.
//   3. The driver reads the word with acquire, and sees the new value.
//   4. The driver reads the fields, and sees what the device wrote.
//
// A driver that reads the old value in step 3 reads no other field. Both functions order memory
// between threads, such as a driver and an emulated device. A device behind a bus may need the
// machine's own DMA barriers. A write to a doorbell register always needs such a barrier.

#ifndef BLKOWN_DMA_RING_WORD_HPP
#define BLKOWN_DMA_RING_WORD_HPP

#include <atomic>
#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Reads a ring's word that the device writes.
/// Precondition: `ring_word` is aligned for std::atomic_ref<T>.
/// Synchronization: acquires what the device wrote before the word.
/// Context: any, interrupts included.
/// Source: the kernel's READ_ONCE and dma_rmb.
template <class T>
[[nodiscard]] T load_acquire(const T& ring_word) noexcept {
  // No transition. Partner: store_release, or the device. Acquire: the entry's other fields.
  return std::atomic_ref<T>{const_cast<T&>(ring_word)}.load(std::memory_order_acquire);
}

/// Writes a ring's word that the device reads.
/// Precondition: `ring_word` is aligned for std::atomic_ref<T>.
/// Synchronization: releases what was written before the word.
/// Context: any, interrupts included.
/// Source: the kernel's dma_wmb and WRITE_ONCE.
template <class T>
void store_release(T& ring_word, T value) noexcept {
  // Old entry -> new entry. Partner: load_acquire, or the device. Release: the entry's other
  // fields.
  std::atomic_ref<T>{ring_word}.store(value, std::memory_order_release);
}

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
