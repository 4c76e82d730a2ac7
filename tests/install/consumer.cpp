// SPDX-License-Identifier: BSL-1.0
//
// A user's first program: one I/O from its allocation to its end, and the same completion again.
// The exit status is 0 if every step succeeds and the second completion is refused.

#include <blkown/blkown.hpp>
#include <cstdint>
#include <cstdio>
#include <utility>

#ifdef CONSUMER_IS_TRACKING
static_assert(blkown::is_tracking);
#else
static_assert(!blkown::is_tracking);
#endif

namespace {

struct Command {
  int sector = 0;
};
using Request = blkown::Request<Command>;

/// The end sink: counts the ended I/Os and keeps the data and status of the last.
struct Ends {
  int count = 0;
  int sector = 0;
  blkown::Status status = blkown::Status::io_error;

  void operator()(blkown::EndedList<Request>&& list) {
    while (auto ended = list.pop_front()) {
      ++count;
      sector = ended->data().sector;
      status = ended->status();
    }
  }
};

}  // namespace

int main() {
  Ends ends;
  auto made = blkown::TagSet<Request>::create(
      {.queue_count = 1, .depth = 4, .layout = blkown::CookieLayout::io_uring()},
      blkown::EndSink<Request>::to(ends));
  if (!made.has_value()) {
    std::fprintf(stderr, "no TagSet: %s\n", blkown::to_string(made.error().reason));
    return 1;
  }
  blkown::TagSet<Request>& tags = *made;
  blkown::TagCache cache = tags.tag_cache(blkown::QueueIndex{0});

  auto idle = tags.allocate(blkown::QueueIndex{0}, cache);
  if (!idle.has_value()) {
    std::fprintf(stderr, "no free tag in an empty TagSet\n");
    return 1;
  }
  blkown::Owned<Request> owned = std::move(*idle).start();
  owned.data().sector = 42;
  std::uint64_t at_device = 0;
  std::move(owned).publish([&](blkown::Cookie cookie) { at_device = cookie.value; });

  auto claim = tags.claim(blkown::QueueIndex{0}, at_device);
  if (!claim.has_value()) {
    std::fprintf(stderr, "completion refused: %s\n", blkown::to_string(claim.error().reason));
    return 1;
  }
  std::move(*claim).end_ok();

  if (ends.count != 1 || ends.sector != 42 || ends.status != blkown::Status::ok) {
    std::fprintf(stderr, "%d ends, sector %d, status %s\n", ends.count, ends.sector,
                 blkown::to_string(ends.status));
    return 1;
  }
  if (tags.claim(blkown::QueueIndex{0}, at_device).has_value()) {
    std::fprintf(stderr, "the same completion was taken twice\n");
    return 1;
  }
  return 0;
}
