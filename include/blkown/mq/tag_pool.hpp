// SPDX-License-Identifier: BSL-1.0
//
// TagPool: the requests of one disk, or of several disks that share a device's tags.

#ifndef BLKOWN_MQ_TAG_POOL_HPP
#define BLKOWN_MQ_TAG_POOL_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/publication_watch.hpp>
#include <blkown/mq/detail/tag_line.hpp>
#include <blkown/mq/in_flight_table.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tag_set_config.hpp>
#include <expected>
#include <memory>
#include <new>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The requests, with their tags, that one disk or several disks of one device draw from. A pool
/// outlives its disks.
/// Source: blk-mq's tag set.
template <class D>
class TagPool {
 public:
  /// Makes a pool.
  /// Precondition: D::RequestData is default constructible.
  /// Errors: those of TagSet::create; out_of_memory.
  [[nodiscard]] static std::expected<std::unique_ptr<TagPool>, TagSetError> create(
      const TagSetConfig& config) {
    auto tags = TagSet<Request<D>>::create(config, EndSink<Request<D>>::to(sink));
    if (!tags.has_value()) return std::unexpected(tags.error());
    std::unique_ptr<TagPool> pool{new (std::nothrow) TagPool{*std::move(tags)}};
    if (pool == nullptr || pool->lines_ == nullptr || !pool->watches_.is_allocated()) {
      return std::unexpected(TagSetError{TagSetReason::out_of_memory, 0, sizeof(TagPool)});
    }
    return pool;
  }

  TagPool(const TagPool&) = delete;
  TagPool& operator=(const TagPool&) = delete;
  /// Violation: request_alive, if a request has not been given back. All such requests are printed
  /// first, because the TagSet's violation names only one.
  ~TagPool() {
#ifndef BLKOWN_NO_STDIO
    // No context is left whose clock could be read.
    for_each_row<D>(tags_, nullptr, [](const InFlightRow& row) { print(row, stderr); });
#endif
  }

  /// The requests, for lookups. A caller that allocates here directly is not in the line for tags.
  /// Disks do not wake such a caller, and contexts may keep free tags in their stashes.
  [[nodiscard]] TagSet<Request<D>>& tags() noexcept { return tags_; }
  [[nodiscard]] const TagSet<Request<D>>& tags() const noexcept { return tags_; }
  /// The line for a queue's tags.
  [[nodiscard]] detail::TagLine<Request<D>>& line(QueueIndex queue) noexcept {
    return lines_[queue.value];
  }
  /// The times that the timeout scans keep for the requests.
  [[nodiscard]] const detail::PublicationWatches& watches() const noexcept { return watches_; }

 private:
  explicit TagPool(TagSet<Request<D>>&& tags)
      : tags_{std::move(tags)},
        lines_{new(std::nothrow) detail::TagLine<Request<D>>[tags_.queue_count()]},
        watches_{tags_.queue_count(), tags_.depth()} {}

  /// Brings each ended request to the SubmitQueue that issued it.
  struct Sink {
    void operator()(EndedList<Request<D>>&& list) const {
      while (auto ended = list.pop_front()) {
        detail::SubmitQueue<D>& submitter = *detail::state_of(ended->data()).submitter;
        submitter.take_ended(*std::move(ended));
      }
    }
  };
  static constexpr Sink sink{};

  TagSet<Request<D>> tags_;
  std::unique_ptr<detail::TagLine<Request<D>>[]> lines_;
  detail::PublicationWatches watches_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
