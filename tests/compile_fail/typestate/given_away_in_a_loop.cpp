// SPDX-License-Identifier: BSL-1.0
// A handle that a loop's body consumes cannot be used in the next iteration.
// EXPECT(clang): state of variable '.*' must match at the entry and exit of loop
#include <initializer_list>

#include "snippet.hpp"

bool ready();

void counted(Owned owned) {
#ifdef BLKOWN_WRONG
  for (int i = 0; i != 3; ++i) std::move(owned).publish(ring);
#else
  for (int i = 0; i != 3; ++i) use(owned.tag());
  std::move(owned).publish(ring);
#endif
}

void over_a_range(Owned owned, std::initializer_list<int> range) {
#ifdef BLKOWN_WRONG
  for (const int i : range) use(i), std::move(owned).publish(ring);
#else
  for (const int i : range) use(i), use(owned.tag());
  std::move(owned).publish(ring);
#endif
}

void with_a_condition(Owned owned) {
#ifdef BLKOWN_WRONG
  while (ready()) std::move(owned).publish(ring);
#else
  while (ready()) use(owned.tag());
  std::move(owned).publish(ring);
#endif
}

void at_least_once(Owned owned) {
#ifdef BLKOWN_WRONG
  do {
    std::move(owned).publish(ring);  // refused
  } while (ready());
#else
  do {
    use(owned.tag());
  } while (ready());
  std::move(owned).publish(ring);
#endif
}

void endless(Owned owned) {
#ifdef BLKOWN_WRONG
  for (;;) std::move(owned).publish(ring);
#else
  std::move(owned).publish(ring);
  for (;;) use(ready());
#endif
}

// Right: a handle for each iteration, a handle that is assigned again, and a handle that is
// consumed where a counted loop is left.
void each_round_its_own(TagSet& set, blkown::TagCache& cache) {
  while (auto idle = set.allocate(blkown::QueueIndex{0}, cache)) std::move(*idle).start().park();
}

void until_the_device_takes_it(Claim claim) {
  while (true) {
    auto published = std::move(claim).publish(try_ring);
    if (published.has_value() || !published.error().claim.has_value()) return;
    claim = std::move(*published.error().claim);
  }
}

void leaving_with_it(Owned owned) {
  for (int i = 0; i != 3; ++i) {
    if (ready()) {
      std::move(owned).end_ok();
      return;
    }
  }
  std::move(owned).end(blkown::Status::timed_out);
}
