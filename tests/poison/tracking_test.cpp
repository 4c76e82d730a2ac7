// SPDX-License-Identifier: BSL-1.0
//
// Goal: in a tracking build with AddressSanitizer, a reference in a request's data may have
// neighbours in the holders' list. The data is poisoned while other contexts link and unlink these.
// Method: a pin in the data of a published request, between pins that are taken and dropped.

#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include <blkown/blkown.hpp>
#include <optional>
#include <utility>

#include "support/holders.hpp"

static_assert(BLKOWN_POISON == 1 && BLKOWN_TRACKING == 1);

namespace {

struct SelfPinned;
using R = blkown::Request<SelfPinned>;
struct SelfPinned {
  std::optional<blkown::ARef<R>> pin;
};

}  // namespace

TEST(PoisonOfTrackedData, LeavesTheListOfTheHoldersUsable) {
  auto set = blkown::TagSet<R>::create({.depth = 1, .layout = blkown::CookieLayout::nbd()},
                                       blkown::EndSink<R>::freeing())
                 .value();
  auto claim = set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}).value().start().into_claim();
  const blkown::RequestHeader& header = claim.header();
  std::optional older{claim.pin()};
  SelfPinned& kept = claim.data();
  kept.pin.emplace(claim.pin());
  std::optional younger{claim.pin()};
  blkown::Cookie cookie;
  std::move(claim).publish([&](const blkown::Cookie& sent) { cookie = sent; });
  EXPECT_TRUE(__asan_region_is_poisoned(&kept, sizeof kept));
  older.reset();
  {
    const std::optional moved{std::move(younger)};
    EXPECT_EQ(support::holders(header).size(), 2U);
  }
  auto completed = set.claim(cookie.queue, cookie.value);
  completed->data().pin.reset();
  std::move(*completed).end_ok();
}
