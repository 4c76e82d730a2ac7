// SPDX-License-Identifier: BSL-1.0
//
// Epoch: how often a device was stopped; and the number of a device.

#ifndef BLKOWN_DMA_DETAIL_EPOCH_HPP
#define BLKOWN_DMA_DETAIL_EPOCH_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// The number of the process's next device.
inline constinit Atomic<std::uintptr_t> device_number{0};

/// The number of a new device. No earlier device of the process has it, unless the word has
/// wrapped.
[[nodiscard]] inline std::uintptr_t next_device_number() noexcept {
  // n -> n+1. No partner. Relaxed: the number orders no other data. That it is drawn once follows
  // from the atomicity of the addition.
  return device_number.fetch_add(1, std::memory_order_relaxed);
}

/// The number of the current epoch. Each stop of the device ends one epoch and begins the next. A
/// mapping records the epoch in which it was activated, so a stop proves the end of this mapping
/// and of every older one.
class Epoch {
 public:
  [[nodiscard]] Word current() const noexcept {
    // No transition. Relaxed: the number orders no other data. The caller of a stop guarantees that
    // no mapping is activated during the stop.
    return value_.load(std::memory_order_relaxed);
  }
  /// Ends the current epoch and returns its number.
  Word end() noexcept {
    // n -> n+1. Relaxed: as in current.
    return value_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{1};
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
