// SPDX-License-Identifier: BSL-1.0
//
// The counters of a disk.

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

/// The counters of a disk, summed over its contexts.
///
/// Each counter is read separately, so the counters of a disk with I/O in flight need not add up.
/// The counters wrap around at the size of a Word.
struct Counters {
  Word submitted_bios = 0;      ///< Bios passed to Disk::submit, including refused ones.
  Word ended_bios = 0;          ///< Bios whose end callback was called or is being called.
  Word started_requests = 0;    ///< Requests that got a tag: parts of bios and private requests.
  Word requeued_requests = 0;   ///< Requeues of requests.
  Word timed_out_requests = 0;  ///< Calls of the driver's timeout hook.
  Word ended_requests = 0;      ///< Requests that ended: the sum of ended_by_status.
  std::array<Word, status_count> ended_by_status{};          ///< By Status.
  std::array<Word, lookup_reason_count> rejected_lookups{};  ///< By LookupReason.

  /// Requests that hold a tag: started_requests - ended_requests, or 0 if that is negative.
  [[nodiscard]] Word in_flight() const noexcept {
    // The counters are read one after the other, so more requests may have ended than started.
    const Word difference = static_cast<Word>(started_requests - ended_requests);
    return difference > ~Word{0} / 2 ? 0 : difference;
  }
  /// Requests that ended with `status`.
  [[nodiscard]] Word ended(Status status) const noexcept {
    return ended_by_status[static_cast<std::size_t>(status)];
  }
  /// Lookups that HwQueue refused for `reason`.
  [[nodiscard]] Word rejected(LookupReason reason) const noexcept {
    return rejected_lookups[static_cast<std::size_t>(reason)];
  }
};

namespace detail {

/// The counters of one context, on cache lines that no other context writes.
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
