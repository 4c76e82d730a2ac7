// SPDX-License-Identifier: BSL-1.0
//
// Goal: BLKOWN_POISON=0 turns the poison off in a build with AddressSanitizer.
// Method: a kept reference is used while its request is published. The program ends with 0.

#include <blkown/blkown.hpp>
#include <utility>

static_assert(BLKOWN_POISON == 0);

int main() {
  using R = blkown::Request<int>;
  auto set = blkown::TagSet<R>::create({.depth = 1, .layout = blkown::CookieLayout::nbd()},
                                       blkown::EndSink<R>::freeing());
  if (!set.has_value()) return 1;
  auto idle = set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0});
  if (!idle.has_value()) return 1;
  auto owned = std::move(*idle).start();
  int& kept = owned.data();
  blkown::Cookie cookie;
  std::move(owned).publish([&](const blkown::Cookie& sent) { cookie = sent; });
  kept = 7;
  auto claim = set->claim(cookie.queue, cookie.value);
  if (!claim.has_value()) return 1;
  const bool is_written = claim->data() == 7;
  std::move(*claim).end_ok();
  return is_written ? 0 : 1;
}
