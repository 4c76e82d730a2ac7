// SPDX-License-Identifier: BSL-1.0
//
// MediumState: the checks of a bio that may change at any moment while the disk is up: the
// capacity, the read-only state, and whether memory must be aligned.

#ifndef BLKOWN_MQ_DETAIL_MEDIUM_STATE_HPP
#define BLKOWN_MQ_DETAIL_MEDIUM_STATE_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <blkown/mq/disk_config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Each value is one atomic variable. A context that submits a bio reads it once.
class MediumState {
 public:
  explicit MediumState(const DiskConfig& config) noexcept
      : capacity_sectors_{config.capacity_sectors},
        restrictions_{static_cast<std::uint8_t>(
            (config.read_only ? read_only : 0) |
            (config.limits.dma_alignment_mask != 0 ? aligned_memory : 0))} {}

  void set_capacity(std::uint64_t sectors) noexcept {
    // Relaxed: the capacity hands nothing over.
    capacity_sectors_.store(sectors, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t capacity_sectors() const noexcept {
    // No transition. Relaxed: as in set_capacity.
    return capacity_sectors_.load(std::memory_order_relaxed);
  }

  void set_read_only(bool value) noexcept { set(read_only, value); }
  [[nodiscard]] bool is_read_only() const noexcept { return (restrictions() & read_only) != 0; }

  /// Sets whether the memory of bios is checked. The mask itself is one of each context's limits.
  void set_aligned_memory(bool value) noexcept { set(aligned_memory, value); }

  /// Whether a bio needs more checks than those of its range: one test for all of them, so that
  /// a restriction that the disk does not have costs nothing.
  [[nodiscard]] bool is_restricted() const noexcept { return restrictions() != 0; }

 private:
  static constexpr std::uint8_t read_only = 1;
  static constexpr std::uint8_t aligned_memory = 2;

  void set(std::uint8_t restriction, bool value) noexcept {
    // One bit -> value. Relaxed: the bits hand nothing over. A read-modify-write, because another
    // thread may be changing the other bit.
    if (value) {
      restrictions_.fetch_or(restriction, std::memory_order_relaxed);
    } else {
      restrictions_.fetch_and(static_cast<std::uint8_t>(~restriction), std::memory_order_relaxed);
    }
  }
  [[nodiscard]] std::uint8_t restrictions() const noexcept {
    // No transition. Relaxed: as in set.
    return restrictions_.load(std::memory_order_relaxed);
  }

  Atomic<std::uint64_t> capacity_sectors_;
  Atomic<std::uint8_t> restrictions_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
