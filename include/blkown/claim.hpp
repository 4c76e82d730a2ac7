// SPDX-License-Identifier: BSL-1.0
//
// Claim: the right to an I/O whose request may be pinned, and how the holder of a pin gets one.

#ifndef BLKOWN_CLAIM_HPP
#define BLKOWN_CLAIM_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/ended.hpp>
#include <blkown/fwd.hpp>
#include <blkown/place.hpp>
#include <blkown/publish.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <expected>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The right to one I/O: its holder is the only writer of the data and the only party that may end
/// the I/O, while ARefs may pin the request. A driver has a Claim before the publication
/// (Owned::into_claim) and after the completion (TagSet::claim). Of any number of completions,
/// timeouts and cancels of one publication, one gets the Claim. One pointer wide; move-only.
/// Effects: dropping a Claim ends the I/O with io_error and makes a report. If pins exist, an end
/// or a requeue takes effect when the last pin is dropped.
/// Context: any, interrupts included.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Claim
    : private detail::HandleBase<R, detail::ClaimPointer<R>> {
  using Base = detail::HandleBase<R, detail::ClaimPointer<R>>;

 public:
  Claim(Claim&& other) noexcept : Base{std::move(other)} {}
  Claim& operator=(Claim&& other) noexcept {
    Claim taken{std::move(other)};
    Base::swap(taken);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Claim() {
    if (object() == nullptr) [[likely]]
      return;
    if constexpr (is_tracking) {
      report_drop(*object());  // first, because the report lists this holder
      this->holder_.let_go();
    }
    drop(*object());
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The request's hardware queue.
  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue(Place where = Place::current()) const noexcept {
    return detail::header_of(held("Claim::queue", where)).queue();
  }
  /// The request's tag.
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag(Place where = Place::current()) const noexcept {
    return detail::header_of(held("Claim::tag", where)).tag();
  }
  /// The request's header, for visit_holders.
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header(
      Place where = Place::current()) const noexcept {
    return detail::header_of(held("Claim::header", where));
  }

  /// The cookie of the last publication.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie(Place where = Place::current()) const noexcept {
    R& request = held("Claim::cookie", where);
    return detail::cookie_of(request, detail::word_of(request).peek().generation());
  }
  /// The cookie of the next publication, with which the driver builds the command before it
  /// publishes.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie next_cookie(
      Place where = Place::current()) const noexcept {
    R& request = held("Claim::next_cookie", where);
    return detail::cookie_of(request, detail::word_of(request).peek().next_generation());
  }

  /// The request's data, to read and write. The reference ends with the handle.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data(Place where = Place::current()) const& noexcept {
    return RequestTraits<R>::data(held("Claim::data", where));
  }
  BLKOWN_DETAIL_DATA_OF_A_TEMPORARY;

  /// A reference that pins the request, for a mapping or a timer. A plain store if the Claim is not
  /// published and has no pin, else one read-modify-write.
  /// Violation: not_claimed; reference_overflow, if the count has reached RefValue::count_limit.
  BLKOWN_NEEDS_HELD [[nodiscard, gnu::always_inline]] ARef<R> pin(
      Place where = Place::current()) noexcept {
    R& request = held("Claim::pin", where);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).claim_pin(seen);
    if (step == detail::ClaimResult::overflow) [[unlikely]] {
      detail::violate_request(Violation::reference_overflow, detail::header_of(request), seen,
                              "Claim::pin", where);
    }
    check(step, request, seen, "Claim::pin", where);
    return detail::HandleAccess::make_reference(request, where);
  }

  /// Makes the I/O visible to lookups under the next generation, then calls `issue(Cookie)`, which
  /// gives the command to the device (publish.hpp). The result is void if `issue` returns void, or
  /// the std::expected<T, E> of `issue` with Refused in place of E.
  /// Precondition: `issue` does not throw. `issue` orders earlier writes before the device reads
  /// the command (a store-release, a syscall, a lock, a device barrier).
  /// Effects: a completion may be processed before `issue` returns.
  /// Synchronization: releases this holder's accesses for the lookups.
  /// Violation: not_claimed.
  template <class Issue>
  BLKOWN_CONSUMES [[nodiscard, gnu::always_inline]] detail::PublishResultOf<R, Issue> publish(
      Issue&& issue, Place where = Place::current()) && noexcept
    requires detail::IsIssue<Issue>
  {
    R& request = take("Claim::publish", where);
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).publish_claim(seen);
    check(step, request, seen, "Claim::publish", where);
    const Cookie cookie = detail::cookie_of(request, seen.next_generation());
    return detail::issue_published(request, cookie, issue, where);
  }

  /// Gives the right back under the same generation without ending the I/O, for a command with more
  /// than one completion. A completion that arrives while a Claim exists is refused. One context
  /// must process the command's completions, or the driver must keep a refused completion and look
  /// its cookie up again.
  /// Synchronization: releases this holder's accesses for the next claimant.
  /// Violation: not_claimed; release_of_unpublished, if the Claim came from an Owned.
  BLKOWN_CONSUMES void release(Place where = Place::current()) && noexcept {
    const bool is_published =
        detail::includes(this->pointer_.origin(), detail::ClaimOrigin::published);
    R& request = take("Claim::release", where);
    detail::RefWord<Word>& word = detail::word_of(request);
    if (!is_published) [[unlikely]] {
      detail::violate_request(Violation::release_of_unpublished, detail::header_of(request),
                              word.peek(), "Claim::release", where);
    }
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    check(word.release_claim(seen), request, seen, "Claim::release", where);
  }

  /// Ends the I/O. The EndSink runs in this call, or in the drop of the last pin if pins exist.
  /// Violation: not_claimed.
  BLKOWN_CONSUMES [[gnu::always_inline]] void end(Status status,
                                                  Place where = Place::current()) && noexcept {
    finish(take("Claim::end", where), status, false, "Claim::end", where);
  }
  /// Ends the I/O with Status::ok.
  BLKOWN_CONSUMES [[gnu::always_inline]] void end_ok(Place where = Place::current()) && noexcept {
    finish(take("Claim::end_ok", where), Status::ok, false, "Claim::end_ok", where);
  }
  /// Returns the I/O to the block layer to be started again. Lookups of its cookie are refused.
  /// Violation: not_claimed.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept {
    finish(take("Claim::requeue", where), Status::ok, true, "Claim::requeue", where);
  }

  /// Changes the Claim into the unique handle if no pin exists; else returns the Claim.
  /// Synchronization: acquires the accesses under dropped pins.
  /// Violation: not_claimed.
  BLKOWN_CONSUMES [[nodiscard]] std::expected<Owned<R>, Claim> into_owned(
      Place where = Place::current()) && noexcept {
    const detail::ClaimOrigin from = this->pointer_.origin();
    R& request = take("Claim::into_owned", where);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).claim_into_owned(seen);
    if (step == detail::ClaimResult::pinned) return std::unexpected(Claim{request, from, where});
    check(step, request, seen, "Claim::into_owned", where);
    return detail::HandleAccess::make<Owned>(request, where);
  }

  /// Gives the handle away as an opaque pointer, for C code. from_raw takes the handle over.
  BLKOWN_CONSUMES [[nodiscard]] void* into_raw(Place where = Place::current()) && noexcept {
    static_cast<void>(held("Claim::into_raw", where));
    this->holder_.let_go();
    return std::exchange(this->pointer_, {}).raw();
  }
  /// Takes over a handle that into_raw gave away.
  [[nodiscard]] static Claim from_raw(void* raw, Place where = Place::current()) noexcept {
    const detail::ClaimPointer<R> pointer{raw};
    return Claim{detail::held(static_cast<R*>(pointer), "Claim::from_raw", where), pointer.origin(),
                 where};
  }

  /// Not callable: an `issue` of a wrong shape.
  template <class Issue>
    requires(!detail::IsIssue<Issue>)
  BLKOWN_CONSUMES detail::WrongIssue<Issue> publish(Issue&&, Place = {}) && noexcept {
    return {};
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(publish, auto&&);
  BLKOWN_DETAIL_CONSUMES_LVALUE(release);
  BLKOWN_DETAIL_CONSUMES_LVALUE(end, Status);
  BLKOWN_DETAIL_CONSUMES_LVALUE(end_ok);
  BLKOWN_DETAIL_CONSUMES_LVALUE(requeue);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_owned);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_raw);

 private:
  friend struct detail::HandleAccess;
  using Base::held;
  using Base::object;
  using Base::take;

  Claim(R& request, detail::ClaimOrigin origin, TrackedPlace where) noexcept
      : Base{{request, origin}} {
    detail::unpoison(request);
    this->holder_.hold(&detail::header_of(request), where);
  }

  [[gnu::cold, gnu::noinline]] static void report_drop(R& request) noexcept {
    detail::report_request(Report::claim_dropped, detail::header_of(request),
                           detail::word_of(request).peek(), "drop of Claim");
  }
  /// Out of line, so that the destructor of an empty handle inlines to nothing. Static, so that the
  /// handle can stay in a register.
  [[gnu::cold, gnu::noinline]] static void drop(R& request) noexcept {
    if constexpr (!is_tracking) report_drop(request);
    finish(request, Status::io_error, false, "drop of Claim", Place{});
  }

  static void check(detail::ClaimResult step, R& request, detail::RefValue<Word> seen,
                    const char* operation, Place where) noexcept {
    if (step == detail::ClaimResult::not_claimed) [[unlikely]] {
      detail::violate_request(Violation::not_claimed, detail::header_of(request), seen, operation,
                              where);
    }
  }

  [[gnu::always_inline]] static void finish(R& request, Status status, bool requeue,
                                            const char* operation, Place where) noexcept {
    detail::set_outcome(request, status, requeue);
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).end_claim(seen);
    check(step, request, seen, operation, where);
    if (step == detail::ClaimResult::completed) detail::deliver(request);
  }
};

namespace detail {

/// The reason why the cookie does not name this request, or `none`.
[[nodiscard]] inline LookupReason mismatch_of(const RequestHeader& header,
                                              const Cookie& cookie) noexcept {
  if (header.tag() != cookie.tag) return LookupReason::no_such_tag;
  return header.queue() == cookie.queue ? LookupReason::none : LookupReason::wrong_queue;
}

}  // namespace detail

/// Changes a pin into the right to the I/O that `cookie` names, if that I/O is in flight and not
/// claimed; else returns the pin. try_claim succeeds where try_from_shared fails because other pins
/// exist. `cookie` is that of `publish` or of a scan. A device's integer holds a part of the
/// generation only: TagSet::claim looks it up.
/// Synchronization: acquires the accesses of the publisher and of later holders that released the
/// I/O.
template <RequestType R>
[[nodiscard]] std::expected<Claim<R>, ARef<R>> try_claim(BLKOWN_HELD ARef<R>&& pin,
                                                         const Cookie& cookie,
                                                         Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::look(pin), "try_claim", where);
  detail::RefValue<Word> seen;
  if (detail::mismatch_of(detail::header_of(request), cookie) != LookupReason::none ||
      detail::word_of(request).claim_with_ref(
          detail::GenerationMatch<Word>::exactly(cookie.generation), seen) != LookupReason::none) {
    return std::unexpected(std::move(pin));
  }
  static_cast<void>(detail::HandleAccess::take_reference(pin));
  return detail::HandleAccess::make_claim(request, detail::ClaimOrigin::bystander, where);
}

/// The right to the I/O that `cookie` names, for the holder of a pin. The pin stays. For timeouts
/// and scans, which receive a pin and a Cookie. A completion's integer is for TagSet::claim.
/// Synchronization: acquires the accesses of the publisher and of later holders that released the
/// I/O.
/// Errors: no_such_tag and wrong_queue, if the pin is of another request; else as TagSet::claim.
// The pin is not BLKOWN_HELD: Clang does not know the state of a reference parameter and would
// refuse the call in every timeout handler.
template <RequestType R>
[[nodiscard]] std::expected<Claim<R>, LookupError> claim(const ARef<R>& pin, const Cookie& cookie,
                                                         Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::look(pin), "claim", where);
  detail::RefValue<Word> seen;
  LookupReason reason = detail::mismatch_of(detail::header_of(request), cookie);
  if (reason == LookupReason::none) {
    reason = detail::word_of(request).claim_beside_ref(
        detail::GenerationMatch<Word>::exactly(cookie.generation), seen);
  }
  if (reason == LookupReason::none)
    return detail::HandleAccess::make_claim(request, detail::ClaimOrigin::bystander, where);
  return std::unexpected(LookupError{.reason = reason,
                                     .queue = cookie.queue,
                                     .tag = cookie.tag,
                                     .expected_generation = cookie.generation,
                                     .seen_generation = seen.generation()});
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
