// SPDX-License-Identifier: BSL-1.0
// claim_each's visit takes an index and the result of a lookup, and returns nothing.
// EXPECT-FIRST: claim_each\(queue, values, visit\): visit takes a std::size_t and a
#include "snippet.hpp"

using Found = std::expected<Claim, blkown::LookupError>;

void snippet(TagSet& set, blkown::QueueIndex queue, std::span<const std::uint64_t> values) {
#ifdef BLKOWN_WRONG
  set.claim_each(queue, values, [](Found) {});
  set.claim_each(queue, values, [](std::size_t, Claim) {});
  set.claim_each(queue, values, [](std::size_t, Found& found) { use(found); });
  set.claim_each(queue, values, [](std::size_t, Found found) { return found.has_value(); });
#else
  set.claim_each(queue, values, [](std::size_t, Found) {});
  set.claim_each(queue, values, [](std::size_t, Found&& found) { use(found); });
  set.claim_each(queue, values, [](std::size_t, auto found) { use(found); });
#endif
}
