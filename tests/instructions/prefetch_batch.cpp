// SPDX-License-Identifier: BSL-1.0
//
// A batch of completions in a function of its own, in whose instructions prefetch.py looks for the
// prefetches of claim_each.

#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

struct Counted {
  std::uint64_t number = 0;
};
using CountedRequest = blkown::Request<Counted>;

extern "C" std::uint64_t claim_batch(blkown::TagSet<CountedRequest>& tags,
                                     std::span<const std::uint64_t> values) {
  std::uint64_t sum = 0;
  tags.claim_each(blkown::QueueIndex{0}, values, [&](std::size_t, auto found) {
    if (!found.has_value()) return;
    sum += found->data().number;
    std::move(*found).end_ok();
  });
  return sum;
}
