// SPDX-License-Identifier: BSL-1.0
//
// TagSet: the requests of a device, their tags, and the lookups of values that the device sends.
//
// Parties: submitters, which allocate tags; the driver, which publishes I/Os to the device;
// completions, timeouts and scans, which look I/Os up in any context; and the EndSink, which
// receives ended I/Os.
//
//   allocate -> Idle -> start -> Owned -> publish -> in flight
//   claim(queue, value) -> Claim -> end -> EndSink(Ended) -> release -> the tag is free
//
// Guarantees: the requests are at fixed addresses as long as the TagSet lives, so a late lookup
// never reads freed memory. Every value that a device sends gives a request or a LookupError. Of
// any number of completions of one publication, one gets the Claim, and the I/O ends once.
//
// A driver that loses a handle by dropping it ends or parks the I/O (see each handle). A parked I/O
// whose device disappears stays in flight until for_each_in_flight or claim_any_generation finds
// it. The destructor raises a violation if a TagCache, a TagDemand or a handle exists or an I/O is
// in flight.

#ifndef BLKOWN_TAG_SET_HPP
#define BLKOWN_TAG_SET_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/lookup_target.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/detail/tag_set_state.hpp>
#include <blkown/detail/tag_set_storage.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <blkown/tag_set_config.hpp>
#include <blkown/tracking.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

struct TagSetAccess;

/// The change that gives back a request in this state, for a TagSet that is destroyed before.
[[nodiscard]] constexpr const char* remedy_of_alive(const RequestState& state) noexcept {
  if (state.finished) return "drop the pins of this ended I/O, such as a mapping in its own data";
  if (state.claimed) return "end this I/O with its Claim, and drop its pins";
  if (state.owned) return "end this I/O with its Owned or Claim";
  switch (state.count) {
    case 0: return "release this request's Ended, or fail its Idle";
    case 1: return "end this I/O, which the device has, at its completion or by for_each_in_flight";
    default: return "drop the ARefs of this I/O, and end it";
  }
}

/// A function that claim_each can call with the result of a lookup.
template <class R, class Visit>
concept IsClaimVisit =
    std::is_invocable_v<Visit&, std::size_t, std::expected<Claim<R>, LookupError>> &&
    std::is_void_v<std::invoke_result_t<Visit&, std::size_t, std::expected<Claim<R>, LookupError>>>;

}  // namespace detail

/// The requests of a device: depth() of them for each of queue_count() queues. R is Request<T>, or
/// a type with a RequestHeader (RequestTraits). A move moves the TagSet only, not the requests. A
/// TagSet that was moved from may be destroyed or assigned to.
/// Precondition: no publish(issue) runs when the TagSet is destroyed.
/// Violation: tag_cache_alive, object_in_use or request_alive, if the TagSet is destroyed while a
/// TagCache, a TagDemand or a handle of it exists or an I/O is in flight.
/// Source: blk-mq's blk_mq_tag_set.
template <class R>
class [[nodiscard]] TagSet {
  static_assert(detail::HasRequestTraits<R>,
                "TagSet<R>: R is blkown::Request<T>, or a struct with a RequestHeader member and"
                " RequestTraits<R> derived from blkown::EmbeddedHeader<&R::member>");

 public:
  /// The size of the storage for create_in.
  [[nodiscard]] static constexpr std::size_t storage_bytes(const TagSetConfig& config) noexcept {
    return detail::TagSetStorage<R>::bytes(config);
  }
  /// The alignment of the storage for create_in.
  [[nodiscard]] static constexpr std::size_t storage_alignment_bytes() noexcept {
    return detail::TagSetStorage<R>::alignment_bytes;
  }

  /// Allocates memory and makes a TagSet in it. No other function of the core allocates.
  /// `build(QueueIndex, Tag)` is called once for each request and returns its data: a T if R is
  /// Request<T>, else an R. The data is not reset between I/Os.
  /// Precondition: `build` does not throw.
  /// Errors: TagSetReason.
  template <class Build>
  [[nodiscard]] static std::expected<TagSet, TagSetError> create(const TagSetConfig& config,
                                                                 EndSink<R> sink,
                                                                 Build&& build) noexcept {
    return wrap(detail::TagSetStorage<R>::allocate(config, sink, build));
  }
  /// Makes a TagSet whose requests have value-initialised data.
  /// Errors: TagSetReason.
  [[nodiscard]] static std::expected<TagSet, TagSetError> create(const TagSetConfig& config,
                                                                 EndSink<R> sink) noexcept {
    return create(config, sink, &detail::TagSetStorage<R>::default_data);
  }

  /// Makes a TagSet in the caller's storage. `build` is as for create.
  /// Precondition: the storage outlives the TagSet.
  /// Errors: storage_too_small or storage_misaligned, if it has fewer than storage_bytes(config)
  /// bytes or is not aligned to storage_alignment_bytes(); other TagSetReasons.
  template <class Build>
  [[nodiscard]] static std::expected<TagSet, TagSetError> create_in(std::span<std::byte> storage,
                                                                    const TagSetConfig& config,
                                                                    EndSink<R> sink,
                                                                    Build&& build) noexcept {
    return wrap(detail::TagSetStorage<R>::build_in(storage, config, sink, build));
  }
  /// The same with value-initialised data.
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

  /// The number of hardware queues.
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return state_->queue_count; }
  /// The number of requests per queue.
  [[nodiscard]] std::uint32_t depth() const noexcept { return state_->depth; }
  /// The number of reserved requests per queue, of those.
  [[nodiscard]] std::uint32_t reserved_depth() const noexcept {
    return state_->depth - state_->bitmaps[0].common_depth();
  }
  /// The layout of the cookies.
  [[nodiscard]] const CookieLayout& layout() const noexcept { return state_->layout; }

  // --- tags: a new I/O --------------------------------------------------------------------------

  /// Makes a cache of the queue's tags for one context. The cache's capacity is an eighth of the
  /// tags that are not reserved, at most 32.
  /// Violation: no_such_queue.
  [[nodiscard]] TagCache tag_cache(QueueIndex queue,
                                   Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::tag_cache", where);
    const std::uint32_t share = state_->bitmaps[queue.value].common_depth() / 8;
    return tag_cache(queue, share < 32 ? share : 32, where);
  }
  /// The same with this capacity, at most TagCache::max_capacity.
  [[nodiscard]] TagCache tag_cache(QueueIndex queue, std::uint32_t capacity,
                                   Place where = Place::current()) const noexcept {
    return state_->make_cache(queue, capacity, where);
  }

  /// Allocates a request with a free tag through the calling context's cache. None if no tag is
  /// free.
  /// Synchronization: acquires what the request's last Ended released.
  /// Violation: no_such_queue; tag_cache_of_other.
  /// Context: that of the cache. The call does not block.
  [[nodiscard, gnu::always_inline]] std::optional<Idle<R>> allocate(
      QueueIndex queue, TagCache& cache, Place where = Place::current()) noexcept {
    Tag tag;
    if (!state_->take(queue, cache, tag, where)) return std::nullopt;
    return detail::HandleAccess::make<Idle>(request(queue, tag), where);
  }

  /// Allocates a request with a reserved tag (TagSetConfig::reserved_depth). None if all reserved
  /// tags are taken or the queue does not exist. Each Ended::release gives such a tag back to the
  /// bitmap.
  /// Synchronization: acquires what the request's last Ended released.
  /// Context: any, interrupts included. One read-modify-write without contention.
  [[nodiscard]] std::optional<Idle<R>> allocate_reserved(
      QueueIndex queue, TrackedPlace where = Place::current()) noexcept {
    Tag tag;
    if (queue.value >= state_->queue_count || !state_->bitmaps[queue.value].take_reserved(tag)) {
      return std::nullopt;
    }
    return detail::HandleAccess::make<Idle>(request(queue, tag), where);
  }

  /// Allocates the request with this tag, for a front end that chooses the tags (a guest, a kernel
  /// driver, a peer). None if the tag is taken, or the queue or the tag does not exist. A tag in a
  /// TagCache is taken, so a queue with chosen tags uses Ended::release without a cache.
  /// Synchronization: acquires what the request's last Ended released.
  /// Context: any, interrupts included. One read-modify-write.
  [[nodiscard]] std::optional<Idle<R>> allocate_tag(
      QueueIndex queue, Tag tag, TrackedPlace where = Place::current()) noexcept {
    if (queue.value >= state_->queue_count || tag.value >= state_->depth) return std::nullopt;
    if (!state_->bitmaps[queue.value].take(tag)) return std::nullopt;
    return detail::HandleAccess::make<Idle>(request(queue, tag), where);
  }

  /// Announces that a context needs a tag of the queue. While a TagDemand exists, every TagCache of
  /// the queue gives back its tags at its next operation.
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
  /// Makes a TagDemand. The caller then calls allocate again.
  /// Violation: no_such_queue.
  TagDemand announce_demand(QueueIndex queue, Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::announce_demand", where);
    return TagDemand{state_->bitmaps[queue.value]};
  }

  /// The number of taken tags of the queue, cached ones included.
  /// Synchronization: none.
  /// Violation: no_such_queue.
  [[nodiscard]] std::uint32_t taken_count(QueueIndex queue,
                                          Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::taken_count", where);
    return state_->bitmaps[queue.value].taken_count();
  }

  /// The number of tags that allocate can take from the bitmap: free, neither cached nor reserved.
  /// Synchronization: none.
  /// Violation: no_such_queue.
  [[nodiscard]] std::uint32_t free_count(QueueIndex queue,
                                         Place where = Place::current()) const noexcept {
    state_->check_queue(queue, "TagSet::free_count", where);
    return state_->bitmaps[queue.value].free_count();
  }

  /// The state of a request's ownership word at this moment, for tables. None if the tag is free.
  /// Precondition: queue.value < queue_count(), tag.value < depth().
  /// Synchronization: none.
  [[nodiscard]] std::optional<RequestState> state_of(QueueIndex queue, Tag tag) const noexcept {
    if (!state_->bitmaps[queue.value].is_taken(tag)) return std::nullopt;
    R& looked_at = request(queue, tag);
    return detail::incident_of(detail::header_of(looked_at), detail::word_of(looked_at).peek(), "",
                               Place{})
        .state;
  }

  /// The header of the request with this tag, for visit_holders. The header lives as long as the
  /// TagSet.
  /// Precondition: queue.value < queue_count(), tag.value < depth().
  [[nodiscard]] const RequestHeader& header(QueueIndex queue, Tag tag) const noexcept {
    return detail::header_of(request(queue, tag));
  }

  // --- lookups ----------------------------------------------------------------------------------
  //
  // For all of them:
  // Synchronization: acquires the accesses of the publisher and of later holders that parked,
  // released or dropped the request.
  // Errors: LookupReason.
  // Context: any, interrupts included. A lookup does not block. A successful lookup makes one
  // compare-exchange, a refused one none.

  /// The right to the I/O that `value`, which a device sent on `arrival_queue`, names. Of any
  /// number of completions of one publication, one gets the right.
  [[nodiscard, gnu::always_inline]] std::expected<Claim<R>, LookupError> claim(
      QueueIndex arrival_queue, std::uint64_t value,
      TrackedPlace where = Place::current()) noexcept {
    // As claim_at, whose targets and errors are in memory where the compiler does not see through
    // them.
    const std::uint64_t tag = state_->codec.tag(value);
    if (!Target::is_named(*state_, arrival_queue, value, tag)) [[unlikely]]
      return std::unexpected(Target::error_of(*state_, arrival_queue, value));
    R& found = request(arrival_queue, Tag{static_cast<std::uint32_t>(tag)});
    detail::RefValue<Word> seen;
    const LookupReason reason = detail::word_of(found).claim(match_of(value), seen);
    if (reason != LookupReason::none) [[unlikely]]
      return std::unexpected(Target::error_of(*state_, arrival_queue, value, reason, seen.bits));
    return detail::HandleAccess::make_claim(found, detail::ClaimOrigin::completion, where);
  }
  /// A pin of the request of that I/O. A pin gives no right to the I/O.
  /// Source: the kernel's tag_to_rq.
  [[nodiscard, gnu::always_inline]] std::expected<ARef<R>, LookupError> tag_to_rq(
      QueueIndex arrival_queue, std::uint64_t value,
      TrackedPlace where = Place::current()) noexcept {
    return reference_at(locate(arrival_queue, value), match_of(value), where);
  }
  /// The unique handle of that I/O, if no pin exists. Drivers use claim instead, because a
  /// concurrent scan pins requests and this lookup then fails with `shared`.
  [[nodiscard, gnu::always_inline]] std::expected<Owned<R>, LookupError> tag_to_owned(
      QueueIndex arrival_queue, std::uint64_t value,
      TrackedPlace where = Place::current()) noexcept {
    return owned_at(locate(arrival_queue, value), match_of(value), where);
  }

  /// Claims a batch of completions: calls `visit(std::size_t index, std::expected<Claim<R>,
  /// LookupError>)` for each of `values`, in order, with the result of claim(arrival_queue,
  /// values[index]). A refused value does not stop the rest. The words of the next requests are
  /// prefetched, so that requests which are not in the cache are faster than by claim.
  /// Effects: a value is looked up when its turn has come. A visit may end, publish or claim
  /// requests of later values; of two equal values the second is refused.
  template <class Visit>
  void claim_each(QueueIndex arrival_queue, std::span<const std::uint64_t> values, Visit&& visit,
                  TrackedPlace where = Place::current()) {
    claim_values([arrival_queue](std::uint64_t) { return arrival_queue; }, values, visit, where);
  }
  /// The same for completions of several queues that arrive in one place: each value's arrival
  /// queue is that which the value names, CookieLayout::queue_of.
  template <class Visit>
  void claim_each(std::span<const std::uint64_t> values, Visit&& visit,
                  TrackedPlace where = Place::current()) {
    claim_values([this](std::uint64_t value) { return state_->layout.queue_of(value); }, values,
                 visit, where);
  }

  // Lookups by queue and tag alone. A late or forged value finds the I/O that has the tag at this
  // moment. For devices that carry only the tag, and for teardown.

  /// As claim, for any generation.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim_any_generation(
      QueueIndex queue, Tag tag, TrackedPlace where = Place::current()) noexcept {
    return claim_at(locate(queue, tag), detail::GenerationMatch<Word>::any(),
                    detail::ClaimOrigin::bystander, where);
  }
  /// As tag_to_rq, for any generation.
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq_any_generation(
      QueueIndex queue, Tag tag, TrackedPlace where = Place::current()) noexcept {
    return reference_at(locate(queue, tag), detail::GenerationMatch<Word>::any(), where);
  }
  /// A pin of an I/O that a Claim has ended while other pins are left, for tables that say what the
  /// I/O was. None if the request is in another state. The I/O's end awaits the drop of this pin,
  /// too.
  /// Precondition: queue.value < queue_count(), tag.value < depth().
  /// Synchronization: acquires the accesses of the I/O's owners before its end.
  /// Context: any, interrupts included.
  [[nodiscard]] std::optional<ARef<R>> pin_ended(QueueIndex queue, Tag tag,
                                                 TrackedPlace where = Place::current()) noexcept {
    R& ended = request(queue, tag);
    detail::RefValue<Word> seen;
    if (!detail::word_of(ended).pin_ended(seen)) return std::nullopt;
    return detail::HandleAccess::make_reference(ended, where);
  }
  /// As tag_to_owned, for any generation.
  [[nodiscard]] std::expected<Owned<R>, LookupError> tag_to_owned_any_generation(
      QueueIndex queue, Tag tag, TrackedPlace where = Place::current()) noexcept {
    return owned_at(locate(queue, tag), detail::GenerationMatch<Word>::any(), where);
  }

  /// Calls `visit(ARef, Cookie)` for each I/O of the queue that is in flight and not claimed. The
  /// pin does not keep the I/O: it may end or be published again during the call, and claim(pin,
  /// cookie) then fails. I/Os that are published during the scan may be visited or not.
  /// Violation: no_such_queue.
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

  /// The number of requests whose word counts a reference or the device: parked, shared, claimed
  /// with pins, or ended and still pinned. Each word is read at its own moment.
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
  // Without these overloads the compiler's error lists every candidate. With them the error names
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
  void claim_each(QueueIndexWanted, Rest&&...) = delete;
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
  friend struct detail::TagSetAccess;
  using Target = detail::LookupTarget;

  /// The number of requests whose words claim_each has on their way.
  static constexpr std::size_t prefetch_distance = 16;

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

  /// The comparison of a lookup with the value's generation.
  [[nodiscard]] detail::GenerationMatch<Word> match_of(std::uint64_t value) const noexcept {
    return state_->codec.match(state_->codec.generation(value));
  }

  template <class QueueOf, class Visit>
  void claim_values(QueueOf queue_of, std::span<const std::uint64_t> values, Visit& visit,
                    TrackedPlace where) {
    static_assert(detail::IsClaimVisit<R, Visit>,
                  "claim_each(queue, values, visit): visit takes a std::size_t and a"
                  " std::expected<Claim<R>, LookupError>, and returns void");
    if constexpr (detail::IsClaimVisit<R, Visit>) {
      const std::size_t count = values.size();
      for (std::size_t index = 1; index < count && index < prefetch_distance; ++index) {
        prefetch(queue_of(values[index]), values[index]);
      }
      for (std::size_t index = 0; index != count; ++index) {
        if (count - index > prefetch_distance) {
          const std::uint64_t ahead = values[index + prefetch_distance];
          prefetch(queue_of(ahead), ahead);
        }
        const std::uint64_t value = values[index];
        visit(index, claim(queue_of(value), value, where));
      }
    }
  }

  /// Begins to load the word that the value names, if there is one. Decides nothing: the lookup
  /// decodes the value again.
  // Always inlined: for GCC a function that only prefetches has no effect, and its call is removed.
  [[gnu::always_inline]] void prefetch(QueueIndex arrival_queue,
                                       std::uint64_t value) const noexcept {
    const std::uint64_t tag = state_->codec.tag(value);
    if (arrival_queue.value >= state_->queue_count || tag >= state_->depth) return;
    __builtin_prefetch(
        &detail::word_of(request(arrival_queue, Tag{static_cast<std::uint32_t>(tag)})), 1);
  }

  /// Calls `operation` on the target's word. If the operation succeeds, returns the handle that
  /// `wrap_handle` makes of the request.
  template <class Handle, class Operation, class Wrap>
  [[nodiscard, gnu::always_inline]] std::expected<Handle, LookupError> look_up(
      const Target& target, detail::GenerationMatch<Word> match, Operation operation,
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

  [[nodiscard, gnu::always_inline]] std::expected<Claim<R>, LookupError> claim_at(
      const Target& target, detail::GenerationMatch<Word> match, detail::ClaimOrigin origin,
      TrackedPlace where) noexcept {
    return look_up<Claim<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.claim(wanted, seen); },
        [origin, where](R& found) {
          return detail::HandleAccess::make_claim(found, origin, where);
        });
  }
  [[nodiscard, gnu::always_inline]] std::expected<ARef<R>, LookupError> reference_at(
      const Target& target, detail::GenerationMatch<Word> match, TrackedPlace where) noexcept {
    return look_up<ARef<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.tag_to_rq(wanted, seen); },
        [where](R& found) { return detail::HandleAccess::make_reference(found, where); });
  }
  [[nodiscard, gnu::always_inline]] std::expected<Owned<R>, LookupError> owned_at(
      const Target& target, detail::GenerationMatch<Word> match, TrackedPlace where) noexcept {
    return look_up<Owned<R>>(
        target, match,
        [](detail::RefWord<Word>& word, detail::GenerationMatch<Word> wanted,
           detail::RefValue<Word>& seen) { return word.tag_to_owned(wanted, seen); },
        [where](R& found) { return detail::HandleAccess::make<Owned>(found, where); });
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
      if (bitmap.has_demand()) {
        detail::violate(Violation::object_in_use,
                        detail::TagSetState::incident_of(queue, "destruction of TagSet", Place{})
                            .with("TagSet destroyed while a TagDemand of it exists",
                                  "destroy the TagDemand first")
                            .about("TagSet"));
      }
      for (Tag tag; tag.value != state_->depth; ++tag.value) {
        if (!bitmap.is_taken(tag)) continue;
        R& alive = request(queue, tag);
        const Incident incident =
            detail::incident_of(detail::header_of(alive), detail::word_of(alive).peek(),
                                "destruction of TagSet", Place{});
        detail::violate(Violation::request_alive,
                        incident
                            .with("TagSet destroyed while {count|request is|requests are} in use",
                                  detail::remedy_of_alive(incident.state))
                            .about("TagSet", total_taken_count()));
      }
    }
  }

  detail::TagSetState* state_;

  static_assert(is_tracking ||
                    (sizeof(Idle<R>) == sizeof(void*) && sizeof(Owned<R>) == sizeof(void*) &&
                     sizeof(Claim<R>) == sizeof(void*) && sizeof(Ended<R>) == sizeof(void*) &&
                     sizeof(ARef<R>) == sizeof(void*)),
                "handles are one pointer wide");
};

namespace detail {

/// Access to the requests of a TagSet for a caller that has made the checks once.
struct TagSetAccess {
  /// The requests of a queue, which does not change.
  /// Precondition: queue.value < queue_count().
  template <class R>
  [[nodiscard]] static std::byte* slots(TagSet<R>& tags, QueueIndex queue) noexcept {
    return reinterpret_cast<std::byte*>(&tags.request(queue, Tag{0}));
  }
  /// The request with this tag among the slots of its queue.
  template <class R>
  [[nodiscard]] static R& request(std::byte* slots, std::uint32_t tag) noexcept {
    return TagSetStorage<R>::slot(slots, tag);
  }
  template <class R>
  [[nodiscard]] static const TagSetState& state(const TagSet<R>& tags) noexcept {
    return *tags.state_;
  }
};

/// TagSet::claim for values that arrive on one queue. What the queue decides is computed once.
template <class R>
class QueueClaims {
 public:
  /// Precondition: queue.value < tags.queue_count(); the TagSet's requests outlive this object.
  QueueClaims(TagSet<R>& tags, QueueIndex queue) noexcept
      : state_{TagSetAccess::state(tags)},
        slots_{TagSetAccess::slots(tags, queue)},
        fixed_bits_{state_.codec.fixed_bits(queue)},
        queue_{queue} {}

  [[nodiscard]] QueueIndex queue() const noexcept { return queue_; }

  /// As TagSet::claim(queue, value).
  [[nodiscard, gnu::always_inline]] std::expected<Claim<R>, LookupError> claim(
      std::uint64_t value, TrackedPlace where) const noexcept {
    const std::uint64_t tag = state_.codec.tag(value);
    if (tag >= state_.depth || !state_.codec.has_fixed_bits(value, fixed_bits_)) [[unlikely]]
      return std::unexpected(LookupTarget::error_of(state_, queue_, value));
    R& found = TagSetAccess::request<R>(slots_, static_cast<std::uint32_t>(tag));
    RefValue<Word> seen;
    const LookupReason reason =
        word_of(found).claim(state_.codec.match(state_.codec.generation(value)), seen);
    if (reason != LookupReason::none) [[unlikely]]
      return std::unexpected(LookupTarget::error_of(state_, queue_, value, reason, seen.bits));
    return HandleAccess::make_claim(found, ClaimOrigin::completion, where);
  }

 private:
  const TagSetState& state_;
  std::byte* slots_;
  std::uint64_t fixed_bits_;
  QueueIndex queue_;
};

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
