// SPDX-License-Identifier: BSL-1.0
//
// Numbers for the report of a device.

#ifndef VHOST_USER_BLK_COUNTERS_HPP
#define VHOST_USER_BLK_COUNTERS_HPP

#include <array>
#include <atomic>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "guest_memory.hpp"
#include "messages.hpp"
#include "request.hpp"
#include "virtqueue.hpp"

namespace vhost_user_blk {

/// A number that any thread changes and reads.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    // n -> n + count. Relaxed: a number for a report, which orders nothing.
    value_.fetch_add(count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept {
    // Relaxed: as above.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A counter for each enumerator.
template <class Reason, std::size_t reasons>
class Tally {
 public:
  void count(Reason reason) noexcept { counters_[static_cast<std::size_t>(reason)].add(); }
  [[nodiscard]] std::uint64_t get(Reason reason) const noexcept {
    return counters_[static_cast<std::size_t>(reason)].get();
  }
  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t sum = 0;
    for (const Counter& each : counters_) sum += each.get();
    return sum;
  }
  /// Prints a line: each reason that was counted, with its number.
  void print(std::FILE* file, const char* what) const {
    std::fprintf(file, "%s:", what);
    for (std::size_t i = 0; i != reasons; ++i) {
      const auto reason = static_cast<Reason>(i);
      if (get(reason) != 0) std::fprintf(file, " %s %" PRIu64, to_string(reason), get(reason));
    }
    std::fprintf(file, "%s\n", total() == 0 ? " none" : "");
  }

 private:
  std::array<Counter, reasons> counters_{};
};

struct Counters {
  Counter front_ends;   ///< That were served.
  Counter requests;     ///< Whose heads were popped.
  Counter pushed;       ///< Of those, used.
  Counter failed;       ///< Of those, ended by the store with an error.
  Counter resubmitted;  ///< Requests, which another target has left in flight.
  Counter dropped;      ///< Requests that ended without an answer.
  Counter kicks;
  Counter calls;
  Counter read_bytes;
  Counter written_bytes;
  Tally<vhost_user::MessageError, vhost_user::message_error_count> message_errors;
  Tally<MemoryError, memory_error_count> memory_errors;
  Tally<RingError, ring_error_count> ring_errors;
  Tally<Refusal, refusal_count> refusals;
  Tally<blkown::LookupReason, blkown::lookup_reason_count> refused_lookups;
};

}  // namespace vhost_user_blk

#endif
