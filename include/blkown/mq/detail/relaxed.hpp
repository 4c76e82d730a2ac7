// SPDX-License-Identifier: BSL-1.0
//
// The small things that contexts share: numbers, switches, and a countdown that the last one ends.

#ifndef BLKOWN_MQ_DETAIL_RELAXED_HPP
#define BLKOWN_MQ_DETAIL_RELAXED_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// A number that one context counts and every context may read. As wide as the ownership word, and
/// it wraps like one.
class OwnedCounter {
 public:
  /// The owning context only: no read-modify-write.
  void add(Word count = 1) noexcept {
    // n -> n + count. Relaxed: a number on its own, it hands nothing over. A load and a store,
    // because nobody else writes.
    value_.store(static_cast<Word>(value_.load(std::memory_order_relaxed) + count),
                 std::memory_order_relaxed);
  }
  [[nodiscard]] Word read() const noexcept {
    // No transition. Relaxed: as in add.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{0};
};

/// A number that any context counts, for what happens seldom.
class RelaxedCounter {
 public:
  void add() noexcept {
    // n -> n+1. Relaxed: a number on its own; a read-modify-write, because several write.
    value_.fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] Word read() const noexcept {
    // No transition. Relaxed: as in add.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{0};
};

/// A moment in milliseconds that contexts pass on to one another. It orders nothing.
class RelaxedTime {
 public:
  void set(std::uint32_t moment_ms) noexcept {
    // Relaxed: see above.
    value_ms_.store(moment_ms, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t read_ms() const noexcept {
    // No transition. Relaxed: see above.
    return value_ms_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<std::uint32_t> value_ms_{0};
};

/// A switch that any context turns and every context looks at before it acts. It orders nothing:
/// what has to happen after everyone has seen it is told to everyone (Disk's control operations).
class RelaxedFlag {
 public:
  void set(bool value) noexcept {
    // Relaxed: see above.
    value_.store(value, std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_set() const noexcept {
    // No transition. Relaxed: see above.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<bool> value_{false};
};

/// Counts parties that have yet to do something; the last one knows that it is.
class Countdown {
 public:
  /// Precondition: the last round is over.
  void begin(std::uint32_t parties) noexcept {
    // Relaxed: the parties are told over a release/acquire channel.
    left_.store(parties, std::memory_order_relaxed);
  }
  /// This party has done its part. True for the last one, which then sees what all of them did.
  [[nodiscard]] bool arrive() noexcept {
    // n -> n-1. Partner: arrive of the others. Release: the last one sees what this one did.
    // Acquire: if this is the last one, it sees what the others did.
    return left_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  Atomic<std::uint32_t> left_{0};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
