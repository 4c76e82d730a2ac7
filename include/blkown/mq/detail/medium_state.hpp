// SPDX-License-Identifier: BSL-1.0
//
// MediumState: the capacity of a disk and its read-only state, which may change while it is up.

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
        restrictions_{restrictions_of(config.read_only, config.limits.dma_alignment_mask)} {}

  void set_capacity(std::uint64_t sectors) noexcept {
    // Relaxed: the capacity hands nothing over.
    capacity_sectors_.store(sectors, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t capacity_sectors() const noexcept {
    // No transition. Relaxed: as in set_capacity.
    return capacity_sectors_.load(std::memory_order_relaxed);
  }

  void set_read_only(bool value, std::uint32_t dma_alignment_mask) noexcept {
    // Relaxed: the state hands nothing over. Only this bit changes, so a store suffices.
    restrictions_.store(restrictions_of(value, dma_alignment_mask), std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_read_only() const noexcept { return (restrictions() & read_only) != 0; }

  /// Whether a bio needs more checks than those of its range: one test for all of them, so that
  /// a restriction that the disk does not have costs nothing.
  [[nodiscard]] bool is_restricted() const noexcept { return restrictions() != 0; }

 private:
  static constexpr std::uint8_t read_only = 1;
  static constexpr std::uint8_t aligned_memory = 2;

  [[nodiscard]] static constexpr std::uint8_t restrictions_of(
      bool is_read_only, std::uint32_t dma_alignment_mask) noexcept {
    return static_cast<std::uint8_t>((is_read_only ? read_only : 0) |
                                     (dma_alignment_mask != 0 ? aligned_memory : 0));
  }
  [[nodiscard]] std::uint8_t restrictions() const noexcept {
    // No transition. Relaxed: as in set_read_only.
    return restrictions_.load(std::memory_order_relaxed);
  }

  Atomic<std::uint64_t> capacity_sectors_;
  Atomic<std::uint8_t> restrictions_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
