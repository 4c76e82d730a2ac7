// SPDX-License-Identifier: BSL-1.0
//
// TagPool: the requests of one disk, or of several disks that share a device's tags.

#ifndef BLKOWN_MQ_TAG_POOL_HPP
#define BLKOWN_MQ_TAG_POOL_HPP

#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/detail/publication_watch.hpp>
#include <blkown/mq/detail/rare_state.hpp>
#include <blkown/mq/detail/tag_line.hpp>
#include <blkown/mq/in_flight_table.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tag_set_config.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// Whether the driver has data in each pool.
template <class D>
concept has_pool_data = requires { typename D::PoolData; };

/// D::PoolData, or an empty type.
template <class D>
struct PoolDataOf {
  struct Type {};
};
template <has_pool_data D>
struct PoolDataOf<D> {
  using Type = typename D::PoolData;
};

}  // namespace detail

/// The requests, with their tags, that one disk or several disks of one device draw from. A pool
/// outlives its disks: see the destructor.
///
/// While several disks are active on a queue of the pool, each has a share of the queue's tags:
/// with n active disks ceil(tags / n), but at least 4. Reserved tags are not counted. A disk at its
/// share waits, as if no tag were free, and does not hold up the other disks. Contexts of one disk
/// that allocate at the same moment on several threads may exceed the share by one tag each.
///
/// A disk is active on a queue while it has requests or waits for a tag there, and for
/// DiskConfig::timeout_ms afterwards (30 s, if that is 0). A disk that has become active gets its
/// share as the requests of the other disks end, and as the context of a lane that was alone gives
/// its stash back, when it runs next. A disk that was the pool's only disk is active only while it
/// has requests.
///
/// The hardware queues and contexts of one disk have no shares: they get tags in the order in which
/// they asked. If no other disk can use the pool, each may issue up to 8 bios in its turn, and as
/// long as no more contexts wait than there are tags, each goes on with its part of the tags.
/// Precondition: the disks of a pool are made on runtimes with the same clock.
/// Source: blk-mq's tag set; hctx_may_queue, blk_mq_tag_busy and blk_mq_tag_idle.
template <class D>
class alignas(blkown::detail::line_pair_bytes) TagPool {
 public:
  /// The driver's data in each pool: D::PoolData, or an empty type if the driver has none.
  using PoolData = typename detail::PoolDataOf<D>::Type;

  /// Makes a pool. A disk that is made without a pool has one of its own, with PoolData{}.
  /// Precondition: D::RequestData is default constructible.
  /// Errors: those of TagSet::create; out_of_memory.
  [[nodiscard]] static std::expected<std::unique_ptr<TagPool>, TagSetError> create(
      const TagSetConfig& config, PoolData data = {}) {
    auto tags = TagSet<Request<D>>::create(config, EndSink<Request<D>>::to(sink));
    if (!tags.has_value()) return std::unexpected(tags.error());
    std::unique_ptr<TagPool> pool{
        new (std::nothrow) TagPool{*std::move(tags), config.reserved_depth, std::move(data)}};
    if (pool == nullptr || pool->lines_ == nullptr || !pool->rare_states_.is_allocated() ||
        !pool->watches_.is_allocated()) {
      return std::unexpected(TagSetError{TagSetReason::out_of_memory, 0, sizeof(TagPool)});
    }
    return pool;
  }

  TagPool(const TagPool&) = delete;
  TagPool& operator=(const TagPool&) = delete;
  /// Violation: object_in_use, if a disk uses the pool; request_alive, if a request has not been
  /// given back. All such requests are printed first, because the violations name none or one.
  ~TagPool() {
#ifndef BLKOWN_NO_STDIO
    // No context is left whose clock could be read.
    for_each_row<D>(tags_, nullptr, [](const InFlightRow& row) { print(row, stderr); });
#endif
    users_.check_unused("destruction of mq::TagPool", "mq::TagPool",
                        "remove and destroy the disk first");
  }

  /// The driver's data, which all disks of the pool share. It is destroyed after the requests.
  /// Synchronization: none. The driver synchronizes what its disks share.
  /// Source: the kernel's blk_mq_tag_set::driver_data.
  [[nodiscard]] PoolData& data() noexcept
    requires detail::has_pool_data<D>
  {
    return data_;
  }
  /// The requests, for lookups. A caller that allocates here directly is not in the line for tags.
  /// Disks do not wake such a caller, and contexts may keep free tags in their stashes.
  [[nodiscard]] TagSet<Request<D>>& tags() noexcept { return tags_; }
  /// The same for readers.
  [[nodiscard]] const TagSet<Request<D>>& tags() const noexcept { return tags_; }
  /// The tags of a queue that are not reserved.
  [[nodiscard]] std::uint32_t common_depth() const noexcept {
    return tags_.depth() - reserved_depth_;
  }
  /// Whether only private requests take the tag.
  [[nodiscard]] bool is_reserved(Tag tag) const noexcept { return tag.value < reserved_depth_; }
  /// The line for a queue's tags.
  [[nodiscard]] detail::TagLine<Request<D>>& line(QueueIndex queue) noexcept {
    return lines_[queue.value];
  }
  /// The disks that use the pool.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }
  /// The state of the requests that are no plain reads and writes.
  [[nodiscard]] const detail::RareStates<D>& rare_states() const noexcept { return rare_states_; }
  /// The times that the timeout scans keep for the requests.
  [[nodiscard]] const detail::PublicationWatches& watches() const noexcept { return watches_; }

 private:
  TagPool(TagSet<Request<D>>&& tags, std::uint32_t reserved_depth, PoolData&& data)
      : data_{std::move(data)},
        tags_{std::move(tags)},
        reserved_depth_{reserved_depth},
        lines_{new(std::nothrow) detail::TagLine<Request<D>>[tags_.queue_count()]},
        rare_states_{tags_.queue_count(), tags_.depth()},
        watches_{tags_.queue_count(), tags_.depth()} {
    static_assert(alignof(detail::TagLine<Request<D>>) % blkown::detail::line_pair_bytes == 0,
                  "the lines of two queues never share a pair of cache lines");
  }

  static constexpr blkown::detail::FixedSink<Request<D>> sink{};

  [[no_unique_address]] PoolData data_;
  TagSet<Request<D>> tags_;
  std::uint32_t reserved_depth_;
  std::unique_ptr<detail::TagLine<Request<D>>[]> lines_;
  detail::RareStates<D> rare_states_;
  detail::PublicationWatches watches_;
  blkown::detail::UserList users_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
