// SPDX-License-Identifier: BSL-1.0
//
// The shortest drivers of the block layer: one ends at once, one publishes and completes later by
// cookie. Both add up the requested sectors.

#ifndef BLKOWN_BENCH_PIPELINE_DRIVERS_HPP
#define BLKOWN_BENCH_PIPELINE_DRIVERS_HPP

#include <array>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace bench {

namespace mq = blkown::mq;

// A driver belongs to one translation unit, as kernel drivers do, so that the compiler sees the
// whole driver. Each queue_rq is short, and inlined into the submit of its disk.
namespace {

struct EndsAtOnce {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Hw = mq::HwQueue<EndsAtOnce>;
  using Rq = mq::Request<EndsAtOnce>;

  [[gnu::always_inline]] mq::Dispatch<EndsAtOnce> queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle,
                                                           bool) {
    auto owned = std::move(idle).start();
    sectors += owned.data().length_bytes() / mq::sector_bytes;
    std::move(owned).end_ok();
    return mq::Dispatch<EndsAtOnce>::accepted();
  }

  std::uint64_t sectors = 0;
};

/// A ring of cookies for each hardware queue. The benchmark reaps the ring, as a device's
/// completions would arrive.
struct CompletesLater {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Hw = mq::HwQueue<CompletesLater>;
  using Rq = mq::Request<CompletesLater>;

  struct alignas(blkown::cache_line_bytes) Ring {
    std::size_t count = 0;
    std::uint64_t sectors = 0;
    std::array<std::uint64_t, 65'536> cookies{};
  };

  explicit CompletesLater(std::uint32_t queues = 1) : rings(queues) {}

  [[gnu::always_inline]] mq::Dispatch<CompletesLater> queue_rq(Hw& hw, QueueData&,
                                                               blkown::Idle<Rq> idle, bool) {
    Ring& ring = rings[hw.index().value];
    std::move(idle).start().publish(
        [&](const blkown::Cookie& cookie) { ring.cookies[ring.count++] = cookie.value; });
    return mq::Dispatch<CompletesLater>::accepted();
  }
  /// Inlined, because at depth 1 a bio would pay for a call that a driver's loop need not have.
  [[gnu::always_inline]] void reap(Hw& hw) {
    Ring& ring = rings[hw.index().value];
    for (std::size_t i = 0; i != ring.count; ++i) {
      auto claim = hw.claim(ring.cookies[i]);
      if (!claim.has_value()) std::abort();
      ring.sectors += claim->data().length_bytes() / mq::sector_bytes;
      std::move(*claim).end_ok();
    }
    ring.count = 0;
  }

  std::vector<Ring> rings;
};

}  // namespace

}  // namespace bench

#endif
