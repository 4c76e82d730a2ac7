// SPDX-License-Identifier: BSL-1.0
//
// Bandwidth: how many bytes may pass by now.
//
// Time is in ticks of 20 ms. Each tick adds its part of the rate to the tokens. A request passes if
// there are tokens, and may take more than there are: the next ticks pay the debt. A request of any
// length therefore passes, and n ticks pass the bytes of n ticks, and at most one request more.
// What is left of a tick in which little was done is lost, so that no burst follows a pause.
// null_blk refuses a request that is longer than a tick's tokens for ever.

#ifndef NULL_BLOCK_BANDWIDTH_HPP
#define NULL_BLOCK_BANDWIDTH_HPP

#include <algorithm>
#include <cstdint>
#include <mutex>

namespace null_block {

/// Synchronization: take() locks a mutex. set_rate() only while no thread calls take().
class Bandwidth {
 public:
  static constexpr std::uint64_t ticks_per_s = 50;
  static constexpr std::uint64_t tick_ns = 1'000'000'000 / ticks_per_s;

  /// Begins again at `now_ns` with a rate. 0: no limit.
  void set_rate(std::uint64_t mib_per_s, std::uint64_t now_ns) {
    bytes_per_s_ = mib_per_s << 20;
    start_ns_ = now_ns;
    tick_ = 0;
    tokens_ = tokens_of(0, 1);
  }
  [[nodiscard]] bool is_limited() const noexcept { return bytes_per_s_ != 0; }

  /// Lets a request pass, and returns 0; or returns the time until one may pass.
  [[nodiscard]] std::uint64_t take(std::uint64_t length_bytes, std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    const std::uint64_t tick = (now_ns - start_ns_) / tick_ns;
    if (tick != tick_) {
      tokens_ = std::min(tokens_ + tokens_of(tick_ + 1, tick - tick_), tokens_of(tick, 1));
      tick_ = tick;
    }
    if (tokens_ > 0) {
      tokens_ -= static_cast<std::int64_t>(length_bytes);
      return 0;
    }
    std::uint64_t ticks = 1;
    while (tokens_ + tokens_of(tick_ + 1, ticks) <= 0) ++ticks;
    return start_ns_ + (tick_ + ticks) * tick_ns - now_ns;
  }

 private:
  /// The tokens of `count` ticks from `first` on. A second's ticks have exactly a second's bytes.
  [[nodiscard]] std::int64_t tokens_of(std::uint64_t first, std::uint64_t count) const noexcept {
    const auto until = [&](std::uint64_t tick) {
      return tick / ticks_per_s * bytes_per_s_ + tick % ticks_per_s * bytes_per_s_ / ticks_per_s;
    };
    return static_cast<std::int64_t>(until(first + count) - until(first));
  }

  std::uint64_t bytes_per_s_ = 0;
  std::mutex mutex_;
  std::uint64_t start_ns_ = 0;
  std::uint64_t tick_ = 0;
  std::int64_t tokens_ = 0;
};

}  // namespace null_block

#endif
