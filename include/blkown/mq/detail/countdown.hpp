// SPDX-License-Identifier: BSL-1.0
//
// Countdown: finds the last of several parties to arrive.

#ifndef BLKOWN_MQ_DETAIL_COUNTDOWN_HPP
#define BLKOWN_MQ_DETAIL_COUNTDOWN_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Counts the parties that have not arrived yet.
class Countdown {
 public:
  /// Begins a round.
  /// Precondition: every party of the round before has arrived.
  void begin(std::uint32_t parties) noexcept {
    // Relaxed: the parties learn of the round over a release/acquire channel.
    left_.store(parties, std::memory_order_relaxed);
  }
  /// Returns true for the last party of the round.
  /// Synchronization: each party's writes before its arrival happen before the last party's return.
  [[nodiscard]] bool arrive() noexcept {
    // n -> n-1. Partner: arrive of the others. Release: the last party sees this party's writes.
    // Acquire: if this is the last party, it sees the others' writes.
    return left_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  Atomic<std::uint32_t> left_{0};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
