// SPDX-License-Identifier: BSL-1.0
//
// RangeLock: locks ranges of a medium.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_RANGE_LOCK_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_RANGE_LOCK_HPP

#include <bit>
#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Locks of the stripes of a medium. Stripe i has the bytes whose offset / 64 KiB is i modulo 32.
/// Contexts that access different stripes write no common cache line.
class RangeLock {
 public:
  /// Without ranges, every guard locks all of the medium. If the lock is not used, no guard locks
  /// anything.
  explicit RangeLock(bool has_ranges, bool is_used = true) noexcept
      : has_ranges_{has_ranges}, is_used_{is_used} {}
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;

  /// Holds the stripes of a range as long as it lives.
  class Guard {
   public:
    Guard(RangeLock& lock, std::uint64_t offset_bytes, std::uint64_t length_bytes)
        : lock_{lock}, taken_{lock.stripes_of(offset_bytes, length_bytes)} {
      lock_.each(taken_, [](std::mutex& mutex) { mutex.lock(); });
    }
    /// Holds all of the medium.
    explicit Guard(RangeLock& lock) : Guard{lock, 0, UINT64_MAX} {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      lock_.each(taken_, [](std::mutex& mutex) { mutex.unlock(); });
    }

   private:
    RangeLock& lock_;
    std::uint32_t taken_;
  };

 private:
  static constexpr unsigned stripe_exponent = 16;
  static constexpr std::uint64_t stripe_count = 32;  // ThreadSanitizer knows 64 held locks

  struct alignas(64) Stripe {
    std::mutex mutex;
  };

  /// The stripes of a range, a bit for each.
  [[nodiscard]] std::uint32_t stripes_of(std::uint64_t offset_bytes,
                                         std::uint64_t length_bytes) const noexcept {
    if (!is_used_) return 0;
    if (!has_ranges_ || length_bytes == 0) return 1;
    const std::uint64_t first = offset_bytes >> stripe_exponent;
    const std::uint64_t count = ((offset_bytes + length_bytes - 1) >> stripe_exponent) - first + 1;
    if (count >= stripe_count) return ~std::uint32_t{0};
    return std::rotl((std::uint32_t{1} << count) - 1, static_cast<int>(first % stripe_count));
  }
  /// Calls `visit` for the mutex of each stripe, in the order of the stripes, so that no two
  /// contexts wait for each other.
  template <class Visit>
  void each(std::uint32_t stripes, Visit visit) {
    for (; stripes != 0; stripes &= stripes - 1) {
      visit(stripes_[static_cast<std::size_t>(std::countr_zero(stripes))].mutex);
    }
  }

  const bool has_ranges_;
  const bool is_used_;
  Stripe stripes_[stripe_count];
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
