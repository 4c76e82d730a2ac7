// SPDX-License-Identifier: BSL-1.0
//
// TagSet: the requests of a device, their tags, and the lookups that turn what the device sends
// into a request.

#ifndef BLKOWN_TAG_SET_HPP
#define BLKOWN_TAG_SET_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/lookup_target.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/detail/tag_set_storage.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/owned.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set_config.hpp>
#include <concepts>
#include <expected>
#include <optional>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// All the requests of a device: queue_count x depth of them, at fixed addresses as long as the
/// TagSet lives, so that a late lookup never reads freed memory (blk-mq's tag set).
///
/// Lookups are total: any value that a device sends gives a request or a LookupError, in every
/// build, without blocking, anywhere. R is Request<T>, or has a RequestHeader (RequestTraits).
///
/// Only the object itself moves, never the requests; a TagSet that was moved from may be destroyed
/// or assigned to. Destroying it with a TagCache alive, or with a request that is not back (an
/// Idle, Owned, Claim, ARef or Ended exists, or the I/O is in flight), is a violation.
/// Precondition of destruction: no publish(issue) still runs.
template <class R>
class [[nodiscard]] TagSet {
 public:
  /// The size and alignment of the storage that create_in needs.
  [[nodiscard]] static constexpr std::size_t storage_bytes(const TagSetConfig& config) noexcept {
    return detail::TagSetStorage<R>::bytes(config);
  }
  [[nodiscard]] static constexpr std::size_t storage_alignment_bytes() noexcept {
    return detail::TagSetStorage<R>::alignment_bytes;
  }

  /// Makes the requests in memory of its own, the only allocation there ever is.
  /// `build(queue, tag)` gives each request's data (for R = Request<T>: a T; else an R) once; the
  /// data is not reset between I/Os. It must not throw.
  template <class Build>
  [[nodiscard]] static std::expected<TagSet, TagSetError> create(const TagSetConfig& config,
                                                                 EndSink<R> sink,
                                                                 Build&& build) noexcept {
    return wrap(detail::TagSetStorage<R>::allocate(config, sink, build));
  }
  /// The same with value-initialised data.
  [[nodiscard]] static std::expected<TagSet, TagSetError> create(const TagSetConfig& config,
                                                                 EndSink<R> sink) noexcept {
    return create(config, sink, &detail::TagSetStorage<R>::default_data);
  }

  /// Makes the requests in the caller's storage, which must outlive the TagSet: at least
  /// storage_bytes(config) long and aligned to storage_alignment_bytes().
  template <class Build>
  [[nodiscard]] static std::expected<TagSet, TagSetError> create_in(std::span<std::byte> storage,
                                                                    const TagSetConfig& config,
                                                                    EndSink<R> sink,
                                                                    Build&& build) noexcept {
    return wrap(detail::TagSetStorage<R>::build_in(storage, config, sink, build));
  }
  [[nodiscard]] static std::expected<TagSet, TagSetError> create_in(std::span<std::byte> storage,
                                                                    const TagSetConfig& config,
                                                                    EndSink<R> sink) noexcept {
    return create_in(storage, config, sink, &detail::TagSetStorage<R>::default_data);
  }

  TagSet(TagSet&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
  TagSet& operator=(TagSet&& other) noexcept {
    TagSet taken{std::move(other)};
    std::swap(state_, taken.state_);
    return *this;
  }
  ~TagSet() {
    if (state_ == nullptr) return;
    check_all_back();
    detail::TagSetStorage<R>::destroy(*state_);
  }

  [[nodiscard]] std::uint32_t queue_count() const noexcept { return state_->queue_count; }
  [[nodiscard]] std::uint32_t depth() const noexcept { return state_->depth; }
  [[nodiscard]] const CookieLayout& layout() const noexcept { return state_->layout; }

  // --- tags: a new I/O --------------------------------------------------------------------------

  /// A context's stash of tags of one queue, by default an eighth of those that are not reserved,
  /// 32 at most; with capacity 0 it only keeps the context's place in the bitmap.
  /// Violation: no such queue.
  [[nodiscard]] TagCache tag_cache(QueueIndex queue,
                                   Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::tag_cache", where);
    const std::uint32_t share = state_->bitmaps[queue.value].common_depth() / 8;
    return tag_cache(queue, share < 32 ? share : 32, where);
  }
  [[nodiscard]] TagCache tag_cache(QueueIndex queue, std::uint32_t capacity,
                                   Place where = Place::current()) const noexcept {
    return state_->make_cache(queue, capacity, where);
  }

  /// A request with a free tag, through the calling context's own cache; none if all are taken.
  /// Never blocks; as interrupt-safe as the cache, which is one context's.
  /// Synchronization: acquires what the request's last Ended released.
  /// Violations: no such queue; a cache of another TagSet or queue.
  [[nodiscard]] std::optional<Idle<R>> allocate(QueueIndex queue, TagCache& cache,
                                                Place where = Place::current()) noexcept {
    Tag tag;
    if (!state_->take(queue, cache, tag, where)) return std::nullopt;
    return detail::HandleAccess::make<Idle>(request(queue, tag));
  }

  /// A request with one of the reserved tags (TagSetConfig::reserved_depth); none if all of those
  /// are taken, or if there is no such queue. Give them back with Ended::release(), with or without
  /// a cache. One read-modify-write if nobody else takes one meanwhile; interrupt-safe.
  /// Synchronization: acquires what the request's last Ended released.
  [[nodiscard]] std::optional<Idle<R>> allocate_reserved(QueueIndex queue) noexcept {
    Tag tag;
    if (queue.value >= state_->queue_count || !state_->bitmaps[queue.value].take_reserved(tag)) {
      return std::nullopt;
    }
    return detail::HandleAccess::make<Idle>(request(queue, tag));
  }

  /// The request of a certain tag, for a front end that picks tags itself (a guest, a kernel
  /// driver, a peer); none if it is taken, or if there is no such queue or tag.
  /// A tag in a TagCache counts as taken: on a queue whose tags are picked by the front end, give
  /// them back with Ended::release() and without a cache.
  /// One read-modify-write; interrupt-safe.
  /// Synchronization: acquires what the request's last Ended released.
  [[nodiscard]] std::optional<Idle<R>> allocate_tag(QueueIndex queue, Tag tag) noexcept {
    if (queue.value >= state_->queue_count || tag.value >= state_->depth) return std::nullopt;
    if (!state_->bitmaps[queue.value].take(tag)) return std::nullopt;
    return detail::HandleAccess::make<Idle>(request(queue, tag));
  }

  /// While it lives, every TagCache of the queue gives back what it holds at its next operation:
  /// someone waits for a tag. Try allocate again after making it.
  class [[nodiscard]] TagDemand {
   public:
    TagDemand(TagDemand&& other) noexcept : bitmap_{std::exchange(other.bitmap_, nullptr)} {}
    TagDemand& operator=(TagDemand&&) = delete;
    ~TagDemand() {
      if (bitmap_ != nullptr) bitmap_->end_demand();
    }

   private:
    friend class TagSet;
    explicit TagDemand(detail::TagBitmap& bitmap) noexcept : bitmap_{&bitmap} {
      bitmap.begin_demand();
    }
    detail::TagBitmap* bitmap_;
  };
  /// Violation: no such queue.
  TagDemand announce_demand(QueueIndex queue, Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::announce_demand", where);
    return TagDemand{state_->bitmaps[queue.value]};
  }

  /// How many of the queue's tags are taken, stashed ones included; it orders nothing.
  /// Violation: no such queue.
  [[nodiscard]] std::uint32_t taken_count(QueueIndex queue,
                                          Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::taken_count", where);
    return state_->bitmaps[queue.value].taken_count();
  }

  /// How many of them an allocate would find in the bitmap: free, neither stashed nor reserved.
  /// Violation: no such queue.
  [[nodiscard]] std::uint32_t free_count(QueueIndex queue,
                                         Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::free_count", where);
    return state_->bitmaps[queue.value].free_count();
  }

  /// What a request's word says at this moment, for tables; none if its tag is free. It orders
  /// nothing, and may be over before it is read.
  /// Precondition: queue.value < queue_count(), tag < depth().
  [[nodiscard]] std::optional<RequestState> state_of(QueueIndex queue, Tag tag) const noexcept {
    if (!state_->bitmaps[queue.value].is_taken(tag)) return std::nullopt;
    R& looked_at = request(queue, tag);
    return detail::incident_of(detail::header_of(looked_at), detail::word_of(looked_at).peek(), "",
                               Place{})
        .state;
  }

  /// The name of the request with this tag, for visit_holders. It is there as long as the TagSet.
  /// Precondition: queue.value < queue_count(), tag < depth().
  [[nodiscard]] const RequestHeader& header(QueueIndex queue, Tag tag) const noexcept {
    return detail::header_of(request(queue, tag));
  }

  // --- lookups: what a device sent --------------------------------------------------------------
  //
  // All: never block, interrupt-safe, one compare-exchange if they succeed, none if they refuse.
  // Synchronization: acquire what the publisher did, and whoever parked, released or dropped the
  // request since.

  /// The right to the I/O that `value`, which arrived on `arrival_queue`, names. Of any number of
  /// completions of one publication, one gets it.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim(QueueIndex arrival_queue,
                                                           std::uint64_t value) noexcept {
    return claim_at(locate(arrival_queue, value), match_of(value), detail::ClaimOrigin::completion);
  }
  /// A pin of the request (the kernel's tag_to_rq). It gives no right to the I/O.
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq(
      QueueIndex arrival_queue, std::uint64_t value,
      TrackedPlace where = Place::current()) noexcept {
    return reference_at(locate(arrival_queue, value), match_of(value), where);
  }
  /// The request for oneself, if no pin exists. A scan holds pins for moments, and then this
  /// answers `shared`: drivers use claim.
  [[nodiscard]] std::expected<Owned<R>, LookupError> tag_to_owned(QueueIndex arrival_queue,
                                                                  std::uint64_t value) noexcept {
    return owned_at(locate(arrival_queue, value), match_of(value));
  }

  /// The same by queue and tag alone: a late or forged value reaches whatever I/O has the tag now.
  /// For devices that carry nothing but the tag, and for teardown.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim_any_generation(QueueIndex queue,
                                                                          Tag tag) noexcept {
    return claim_at(locate(queue, tag), detail::GenerationMatch<Word>::any(),
                    detail::ClaimOrigin::bystander);
  }
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq_any_generation(
      QueueIndex queue, Tag tag, TrackedPlace where = Place::current()) noexcept {
    return reference_at(locate(queue, tag), detail::GenerationMatch<Word>::any(), where);
  }
  [[nodiscard]] std::expected<Owned<R>, LookupError> tag_to_owned_any_generation(QueueIndex queue,
                                                                                 Tag tag) noexcept {
    return owned_at(locate(queue, tag), detail::GenerationMatch<Word>::any());
  }

  /// Calls `visit(ARef, Cookie)` for each I/O of the queue that is in flight and not claimed, one
  /// after the other, each pinned while it is visited. The I/O may end or be published again
  /// meanwhile; claim(pin, cookie) gets the right only to the one that was seen. I/Os published
  /// during the scan may or may not be visited.
  /// Violation: no such queue.
  template <class Visit>
  void for_each_in_flight(QueueIndex queue, Visit&& visit, Place where = Place::current()) {
    state_->check_queue(queue, "TagSet::for_each_in_flight", where);
    for (Tag tag; tag.value != state_->depth; ++tag.value) {
      R& candidate = request(queue, tag);
      detail::RefValue<Word> seen;
      if (detail::word_of(candidate).tag_to_rq(detail::GenerationMatch<Word>::any(), seen) ==
          LookupReason::none) {
        visit(detail::HandleAccess::make_reference(candidate, where),
              detail::cookie_of(candidate, seen.generation()));
      }
    }
  }

  /// How many I/Os are published and not over: parked, shared, claimed with pins, or ended and
  /// still pinned. Each is looked at in a moment of its own.
  [[nodiscard]] std::size_t in_flight() const noexcept {
    std::size_t count = 0;
    for (QueueIndex queue; queue.value != state_->queue_count; ++queue.value) {
      for (Tag tag; tag.value != state_->depth; ++tag.value) {
        if (detail::word_of(request(queue, tag)).peek().count() != 0) ++count;
      }
    }
    return count;
  }

  // --- deleted: an integer in place of a QueueIndex ---------------------------------------------
  //
  // Without these overloads a compiler only lists the candidates. With these it names
  // QueueIndexWanted.

  template <std::integral QueueIndexWanted, class... Rest>
  void tag_cache(QueueIndexWanted, Rest&&...) const = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void allocate(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void allocate_reserved(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void allocate_tag(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void announce_demand(QueueIndexWanted, Rest&&...) const = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void claim(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void tag_to_rq(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void tag_to_owned(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void claim_any_generation(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void tag_to_rq_any_generation(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void tag_to_owned_any_generation(QueueIndexWanted, Rest&&...) = delete;
  template <std::integral QueueIndexWanted, class... Rest>
  void for_each_in_flight(QueueIndexWanted, Rest&&...) = delete;

 private:
  using Target = detail::LookupTarget;

  explicit TagSet(detail::TagSetState& state) noexcept : state_{&state} {}

  [[nodiscard]] static std::expected<TagSet, TagSetError> wrap(
      std::expected<detail::TagSetState*, TagSetError> made) noexcept {
    if (!made.has_value()) return std::unexpected(made.error());
    return TagSet{**made};
  }

  [[nodiscard]] R& request(QueueIndex queue, Tag tag) const noexcept {
    return detail::TagSetStorage<R>::slot(*state_, queue, tag);
  }

  [[nodiscard]] Target locate(QueueIndex arrival_queue, std::uint64_t value) const noexcept {
    return Target::of(*state_, arrival_queue, value);
  }
  [[nodiscard]] Target locate(QueueIndex queue, Tag tag) const noexcept {
    return Target::of(*state_, queue, tag);
  }

  /// The generation that the value carries, as a lookup compares it.
  [[nodiscard]] detail::GenerationMatch<Word> match_of(std::uint64_t value) const noexcept {
    return state_->codec.match(state_->codec.generation(value));
  }

  /// One lookup: `operation` on the target's word, `wrap_handle` around the request if it is had.
  template <class Handle, class Operation, class Wrap>
  [[nodiscard]] std::expected<Handle, LookupError> look_up(const Target& target,
                                                           detail::GenerationMatch<Word> match,
                                                           Operation operation,
                                                           Wrap wrap_handle) const noexcept {
    detail::RefValue<Word> seen;
    if (target.reason != LookupReason::none) [[unlikely]]
      return std::unexpected(target.error(target.reason, seen));
    R& found = request(target.queue, target.tag);
    const LookupReason reason = operation(detail::word_of(found), match, seen);
    if (reason != LookupReason::none) [[unlikely]]
      return std::unexpected(target.error(reason, seen));
    return wrap_handle(found);
  }

  [[nodiscard]] std::expected<Claim<R>, LookupError> claim_at(const Target& target,
                                                              detail::GenerationMatch<Word> match,
                                                              detail::ClaimOrigin origin) noexcept {
    return look_up<Claim<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.claim(wanted, seen); },
        [origin](R& found) { return detail::HandleAccess::make_claim(found, origin); });
  }
  [[nodiscard]] std::expected<ARef<R>, LookupError> reference_at(
      const Target& target, detail::GenerationMatch<Word> match, TrackedPlace where) noexcept {
    return look_up<ARef<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.tag_to_rq(wanted, seen); },
        [where](R& found) { return detail::HandleAccess::make_reference(found, where); });
  }
  [[nodiscard]] std::expected<Owned<R>, LookupError> owned_at(
      const Target& target, detail::GenerationMatch<Word> match) noexcept {
    return look_up<Owned<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.tag_to_owned(wanted, seen); },
        [](R& found) { return detail::HandleAccess::make<Owned>(found); });
  }

  [[nodiscard]] std::uint64_t total_taken_count() const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t queue = 0; queue != state_->queue_count; ++queue) {
      count += state_->bitmaps[queue].taken_count();
    }
    return count;
  }

  void check_all_back() const noexcept {
    for (QueueIndex queue; queue.value != state_->queue_count; ++queue.value) {
      const detail::TagBitmap& bitmap = state_->bitmaps[queue.value];
      if (bitmap.cache_count() != 0) {
        detail::violate(Violation::tag_cache_alive,
                        detail::TagSetState::incident_of(queue, "destruction of TagSet", Place{})
                            .with("TagSet destroyed while {count|TagCache exists|TagCaches exist}")
                            .about("TagSet", bitmap.cache_count()));
      }
      for (Tag tag; tag.value != state_->depth; ++tag.value) {
        if (!bitmap.is_taken(tag)) continue;
        R& alive = request(queue, tag);
        detail::violate(Violation::request_alive,
                        detail::incident_of(detail::header_of(alive), detail::word_of(alive).peek(),
                                            "destruction of TagSet", Place{})
                            .with("TagSet destroyed while {count|request is|requests are} in use")
                            .about("TagSet", total_taken_count()));
      }
    }
  }

  detail::TagSetState* state_;

  static_assert(sizeof(Idle<R>) == sizeof(void*) && sizeof(Owned<R>) == sizeof(void*) &&
                    sizeof(Claim<R>) == sizeof(void*) && sizeof(Ended<R>) == sizeof(void*) &&
                    (is_tracking || sizeof(ARef<R>) == sizeof(void*)),
                "handles are one pointer wide");
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
