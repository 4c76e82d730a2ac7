// SPDX-License-Identifier: BSL-1.0
//
// Counters of a disk that can be read at any time.

#ifndef BLKOWN_MQ_COUNTERS_HPP
#define BLKOWN_MQ_COUNTERS_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstddef>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

inline constexpr std::size_t status_count = static_cast<std::size_t>(Status::aborted) + 1;
inline constexpr std::size_t lookup_reason_count =
    static_cast<std::size_t>(LookupReason::shared) + 1;

/// What a disk has counted, summed up over its contexts. Each number is read in a moment of its
/// own, so while I/O is going on sums need not match to the last one.
struct Counters {
  Word submitted_bios = 0;      ///< Bios handed to submit, refused ones included.
  Word ended_bios = 0;          ///< Bios whose end callback was called, or is about to be.
  Word started_requests = 0;    ///< Requests that got a tag: parts of bios, private ones.
  Word requeued_requests = 0;   ///< Times that a request came back to be queued again.
  Word timed_out_requests = 0;  ///< Times that the driver's timeout hook was asked.
  Word ended_requests = 0;      ///< Requests that ended; by status below.
  std::array<Word, status_count> ended_by_status{};
  std::array<Word, lookup_reason_count> rejected_lookups{};  ///< By LookupReason.

  /// Requests that hold a tag.
  [[nodiscard]] Word in_flight() const noexcept {
    // Read a moment apart, the later one may be ahead.
    const Word difference = static_cast<Word>(started_requests - ended_requests);
    return difference > ~Word{0} / 2 ? 0 : difference;
  }
  [[nodiscard]] Word ended(Status status) const noexcept {
    return ended_by_status[static_cast<std::size_t>(status)];
  }
  [[nodiscard]] Word rejected(LookupReason reason) const noexcept {
    return rejected_lookups[static_cast<std::size_t>(reason)];
  }
};

namespace detail {

/// One context's part of the Counters, on cache lines that no other context writes.
struct alignas(cache_line_bytes) ContextCounters {
  OwnedCounter submitted_bios;
  OwnedCounter ended_bios;
  OwnedCounter started_requests;
  OwnedCounter requeued_requests;
  OwnedCounter timed_out_requests;
  std::array<OwnedCounter, status_count> ended_by_status;

  void add_to(Counters& sum) const noexcept {
    sum.submitted_bios += submitted_bios.read();
    sum.ended_bios += ended_bios.read();
    sum.started_requests += started_requests.read();
    sum.requeued_requests += requeued_requests.read();
    sum.timed_out_requests += timed_out_requests.read();
    for (std::size_t i = 0; i != status_count; ++i) {
      const Word ended = ended_by_status[i].read();
      sum.ended_by_status[i] += ended;
      sum.ended_requests += ended;
    }
  }
};

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
