// SPDX-License-Identifier: BSL-1.0
//
// Claim: the right to an I/O while pins may exist, and the ways to get one from a pin.

#ifndef BLKOWN_CLAIM_HPP
#define BLKOWN_CLAIM_HPP

#include <blkown/aref.hpp>
#include <blkown/config.hpp>
#include <blkown/publish.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <expected>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The right to one I/O: the only writer of its data and the only one that may end it, while ARefs
/// may hold the request in place. A driver has it before publishing (Owned::into_claim) and after
/// completion (TagSet::claim); of any number of completions, timeouts and cancels of one
/// publication, one gets it.
///
/// Dropping a Claim without ending it ends the I/O with io_error and reports. Ending or requeueing
/// it while pins exist takes effect when the last pin goes.
/// Safe in interrupt context. One pointer wide; move-only.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Claim {
 public:
  Claim(Claim&& other) noexcept : bits_{std::exchange(other.bits_, 0)} {}
  Claim& operator=(Claim&& other) noexcept {
    Claim taken{std::move(other)};
    std::swap(bits_, taken.bits_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Claim() {
    if (pointer() != nullptr) [[unlikely]]
      drop(*pointer());
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue() const noexcept {
    return detail::header_of(held("Claim::queue")).queue();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag() const noexcept {
    return detail::header_of(held("Claim::tag")).tag();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header() const noexcept {
    return detail::header_of(held("Claim::header"));
  }

  /// The name under which the I/O was published last.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie() const noexcept {
    R& request = held("Claim::cookie");
    return detail::cookie_of(request, detail::word_of(request).peek().generation());
  }
  /// The name that the next publication will have, for building the command before it.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie next_cookie() const noexcept {
    R& request = held("Claim::next_cookie");
    return detail::cookie_of(request, detail::word_of(request).peek().next_generation());
  }

  /// The request's data, this holder's to write.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data() const noexcept {
    return RequestTraits<R>::data(held("Claim::data"));
  }

  /// A reference that holds the request in place, for a mapping or a timer. A plain store for the
  /// first one before publication, else one read-modify-write.
  /// Violation: the count has reached half of what the word can hold.
  BLKOWN_NEEDS_HELD [[nodiscard]] ARef<R> pin(Place where = Place::current()) noexcept {
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

  /// Makes the I/O visible under the next generation, then calls `issue(Cookie)`, which tells the
  /// device. A completion may be processed before `issue` returns.
  /// Synchronization: all that this holder did comes before what a lookup's caller does. `issue`
  /// must order earlier writes before the device sees the command (a store-release, a syscall, a
  /// lock, a device barrier), and must not throw.
  /// Returns void if `issue` does; if it returns std::expected<T, E>, that with Refused for E.
  template <class Issue>
  BLKOWN_CONSUMES [[nodiscard]] detail::PublishResultOf<R, Issue> publish(
      Issue&& issue, Place where = Place::current()) && noexcept {
    R& request = take("Claim::publish", where);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).publish_claim(seen);
    check(step, request, seen, "Claim::publish", where);
    const Cookie cookie = detail::cookie_of(request, seen.next_generation());
    return detail::issue_published(request, cookie, issue);
  }

  /// Gives the right back without ending the I/O, under the same generation: more completions of
  /// this command are to come. Those are reaped by one context, or the driver keeps a refused one
  /// and tries again, because a second completion that arrives while this Claim is held is refused.
  /// Violation: this Claim came from an Owned, so the device does not have the I/O.
  /// Synchronization: releases what this holder did, for the next claimant.
  BLKOWN_CONSUMES void release(Place where = Place::current()) && noexcept {
    const bool is_published = detail::includes(origin(), detail::ClaimOrigin::published);
    R& request = take("Claim::release", where);
    detail::RefWord<Word>& word = detail::word_of(request);
    if (!is_published) [[unlikely]] {
      detail::violate_request(Violation::release_of_unpublished, detail::header_of(request),
                              word.peek(), "Claim::release", where);
    }
    detail::RefValue<Word> seen;
    check(word.release_claim(seen), request, seen, "Claim::release", where);
  }

  /// Ends the I/O. Alone, the EndSink runs here; else the last pin's drop runs it.
  BLKOWN_CONSUMES void end(Status status, Place where = Place::current()) && noexcept {
    finish(take("Claim::end", where), status, false, "Claim::end", where);
  }
  BLKOWN_CONSUMES void end_ok(Place where = Place::current()) && noexcept {
    finish(take("Claim::end_ok", where), Status::ok, false, "Claim::end_ok", where);
  }
  /// Hands the I/O back to be started again; its cookie names nothing from here on.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept {
    finish(take("Claim::requeue", where), Status::ok, true, "Claim::requeue", where);
  }

  /// The unique handle, if no pin exists; else this Claim comes back.
  /// Synchronization: acquires what dropped pins did.
  BLKOWN_CONSUMES [[nodiscard]] std::expected<Owned<R>, Claim> into_owned(
      Place where = Place::current()) && noexcept {
    const detail::ClaimOrigin from = origin();
    R& request = take("Claim::into_owned", where);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).claim_into_owned(seen);
    if (step == detail::ClaimResult::pinned) return std::unexpected(Claim{request, from});
    check(step, request, seen, "Claim::into_owned", where);
    return detail::HandleAccess::make<Owned>(request);
  }

  /// Gives the Claim to C as an opaque pointer, which also carries where it comes from;
  /// from_raw takes it back.
  BLKOWN_CONSUMES [[nodiscard]] void* into_raw(Place where = Place::current()) && noexcept {
    static_cast<void>(held("Claim::into_raw", where));
    return reinterpret_cast<void*>(std::exchange(bits_, 0));
  }
  [[nodiscard]] static Claim from_raw(void* raw, Place where = Place::current()) noexcept {
    const auto bits = reinterpret_cast<std::uintptr_t>(raw);
    return Claim{detail::held(pointer_in(bits), "Claim::from_raw", where), origin_in(bits)};
  }

 private:
  friend struct detail::HandleAccess;

  // Where a Claim comes from says whether it may be released, and whether it proves that the device
  // is done. It lives beside the pointer, whose low bits are always free, so that a Claim is one
  // pointer wide and the word and the header need no room for it.
  static constexpr auto origin_bits = static_cast<std::uintptr_t>(detail::ClaimOrigin::completion);

  Claim(R& request, detail::ClaimOrigin origin) noexcept
      : bits_{reinterpret_cast<std::uintptr_t>(&request) | static_cast<std::uintptr_t>(origin)} {
    static_assert(alignof(R) > origin_bits);
  }

  [[nodiscard]] static R* pointer_in(std::uintptr_t bits) noexcept {
    return reinterpret_cast<R*>(bits & ~origin_bits);
  }
  [[nodiscard]] static detail::ClaimOrigin origin_in(std::uintptr_t bits) noexcept {
    return static_cast<detail::ClaimOrigin>(bits & origin_bits);
  }
  [[nodiscard]] detail::ClaimOrigin origin() const noexcept { return origin_in(bits_); }
  [[nodiscard]] R* pointer() const noexcept { return pointer_in(bits_); }
  [[nodiscard]] R& held(const char* operation, Place where = Place{}) const noexcept {
    return detail::held(pointer(), operation, where);
  }
  [[nodiscard]] R& take(const char* operation, Place where) noexcept {
    R& request = held(operation, where);
    bits_ = 0;
    return request;
  }

  /// Out of line, so that a destructor that has nothing to do is nothing.
  [[gnu::cold, gnu::noinline]] static void drop(R& request) noexcept {
    detail::report_request(Report::claim_dropped, detail::header_of(request),
                           detail::word_of(request).peek(), "drop of Claim");
    finish(request, Status::io_error, false, "drop of Claim", Place{});
  }

  static void check(detail::ClaimResult step, R& request, detail::RefValue<Word> seen,
                    const char* operation, Place where) noexcept {
    if (step == detail::ClaimResult::not_claimed) [[unlikely]] {
      detail::violate_request(Violation::not_claimed, detail::header_of(request), seen, operation,
                              where);
    }
  }

  static void finish(R& request, Status status, bool requeue, const char* operation,
                     Place where) noexcept {
    detail::set_outcome(request, status, requeue);
    detail::RefValue<Word> seen;
    const detail::ClaimResult step = detail::word_of(request).end_claim(seen);
    check(step, request, seen, operation, where);
    if (step == detail::ClaimResult::completed) detail::deliver(request);
  }

  std::uintptr_t bits_;
};

namespace detail {

/// Whether the cookie is about the pinned request at all; a lookup's first two reasons, if not.
[[nodiscard]] inline LookupReason names(const RequestHeader& header,
                                        const Cookie& cookie) noexcept {
  if (header.tag() != cookie.tag) return LookupReason::no_such_tag;
  return header.queue() == cookie.queue ? LookupReason::none : LookupReason::wrong_queue;
}

}  // namespace detail

/// The right to the I/O that `cookie` names, in place of a pin of its request: what remains when
/// try_from_shared is refused because others hold pins too. Else the pin comes back: the I/O is
/// claimed or ended, or it is another one by now.
/// Synchronization: acquires what the publisher, and whoever released it since, did.
template <RequestType R>
[[nodiscard]] std::expected<Claim<R>, ARef<R>> try_claim(BLKOWN_HELD ARef<R>&& pin,
                                                         const Cookie& cookie,
                                                         Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::look(pin), "try_claim", where);
  detail::RefValue<Word> seen;
  if (detail::names(detail::header_of(request), cookie) != LookupReason::none ||
      detail::word_of(request).claim_with_ref(
          detail::GenerationMatch<Word>::exactly(cookie.generation), seen) != LookupReason::none) {
    return std::unexpected(std::move(pin));
  }
  static_cast<void>(detail::HandleAccess::take_reference(pin));
  return detail::HandleAccess::make_claim(request, detail::ClaimOrigin::bystander);
}

/// The right to the I/O that `cookie` names, beside a pin of its request that stays: for timeouts
/// and scans, which are given (pin, Cookie). The pin is not marked BLKOWN_HELD: of one that came by
/// reference the compiler knows nothing, and would refuse what every timeout handler does.
/// Synchronization: acquires what the publisher, and whoever released it since, did.
template <RequestType R>
[[nodiscard]] std::expected<Claim<R>, LookupError> claim(const ARef<R>& pin, const Cookie& cookie,
                                                         Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::look(pin), "claim", where);
  detail::RefValue<Word> seen;
  LookupReason reason = detail::names(detail::header_of(request), cookie);
  if (reason == LookupReason::none) {
    reason = detail::word_of(request).claim_beside_ref(
        detail::GenerationMatch<Word>::exactly(cookie.generation), seen);
  }
  if (reason == LookupReason::none)
    return detail::HandleAccess::make_claim(request, detail::ClaimOrigin::bystander);
  return std::unexpected(LookupError{.reason = reason,
                                     .queue = cookie.queue,
                                     .tag = cookie.tag,
                                     .expected_generation = cookie.generation,
                                     .seen_generation = seen.generation()});
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
