// SPDX-License-Identifier: BSL-1.0
//
// PublicationWatch: what the timeout scans know of one request's latest publication.

#ifndef BLKOWN_MQ_DETAIL_PUBLICATION_WATCH_HPP
#define BLKOWN_MQ_DETAIL_PUBLICATION_WATCH_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The publication that a scan has seen, by its generation; when a scan first saw the publication;
/// its deadline. Lies beside the request, in memory that only scans read. An issue clears
/// PayloadState::is_seen, because the generation alone does not name the publication after as many
/// issues as the cookie layout has generations.
/// Synchronization: one context at a time writes, every context may read the time.
class PublicationWatch {
 public:
  /// Context: the submitting context.
  void see(Generation generation, std::uint32_t time_ms) noexcept {
    // Relaxed: released below.
    time_ms_.store(time_ms, std::memory_order_relaxed);
    // Partner: time_ms_of. Release: the time of this generation comes before.
    generation_.store(generation.value, std::memory_order_release);
  }
  /// When a scan first saw this publication, modulo 2^32 ms. None if a scan has seen another one.
  /// Precondition: PayloadState::is_seen is set.
  [[nodiscard]] std::optional<std::uint32_t> time_ms_of(Generation generation) const noexcept {
    // No transition. Partner: see. Acquire: the time is this generation's, or a later one's.
    if (generation_.load(std::memory_order_acquire) != generation.value) return std::nullopt;
    // No transition. Relaxed: ordered by the load above.
    return time_ms_.load(std::memory_order_relaxed);
  }

  /// The deadline, on the submitting context's clock.
  /// Context: the submitting context.
  std::uint64_t due_ns = blkown::detail::never_ns;

 private:
  Atomic<std::uint32_t> time_ms_{0};
  Atomic<std::uint32_t> generation_{0};
};

/// A PublicationWatch for each request of a TagSet.
class PublicationWatches {
 public:
  /// May fail to allocate; see is_allocated().
  PublicationWatches(std::uint32_t queue_count, std::uint32_t depth)
      : depth_{depth},
        watches_{new(std::nothrow) PublicationWatch[std::size_t{queue_count} * depth]} {}

  [[nodiscard]] bool is_allocated() const noexcept { return watches_ != nullptr; }
  [[nodiscard]] PublicationWatch& of(QueueIndex queue, Tag tag) const noexcept {
    return watches_[std::size_t{queue.value} * depth_ + tag.value];
  }

 private:
  std::uint32_t depth_;
  std::unique_ptr<PublicationWatch[]> watches_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
