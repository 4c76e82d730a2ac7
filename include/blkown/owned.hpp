// SPDX-License-Identifier: BSL-1.0
//
// Owned: the unique handle of a request or an object, and how a reference becomes one.

#ifndef BLKOWN_OWNED_HPP
#define BLKOWN_OWNED_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/ended.hpp>
#include <blkown/place.hpp>
#include <blkown/publish.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <expected>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The unique handle of a started I/O, or of any Ownable object. Only its holder reads and writes
/// the data, and no lookup finds the request. One pointer wide; move-only.
/// Effects: dropping an Owned parks the request: the I/O is in flight and unreferenced, under the
/// next generation. A completion with the cookie of that generation, a scan or a timeout must find
/// the I/O by its tag. Without any of these the I/O never ends, so publish or end an I/O instead of
/// dropping its Owned.
/// Context: any, interrupts included.
/// Source: the kernel's Owned<Request>.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Owned : private detail::HandleBase<R> {
  using Base = detail::HandleBase<R>;

 public:
  Owned(Owned&& other) noexcept : Base{std::move(other)} {}
  Owned& operator=(Owned&& other) noexcept {
    Owned taken{std::move(other)};
    Base::swap(taken);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  [[gnu::always_inline]] ~Owned() {
    if (object() == nullptr) return;
    this->holder_.let_go();  // first, because the request may then serve another I/O
    Ownership<R>::release_owned(*object());
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  // --- any Ownable object ---

  /// The object. A request has the members below instead.
  BLKOWN_NEEDS_HELD [[nodiscard]] R& operator*() const noexcept
    requires(!RequestType<R>)
  {
    return held("Owned::operator*");
  }
  /// A member of the object.
  BLKOWN_NEEDS_HELD [[nodiscard]] R* operator->() const noexcept
    requires(!RequestType<R>)
  {
    return &held("Owned::operator->");
  }

  /// Changes the unique handle into the first reference. A request becomes visible to lookups under
  /// the next generation. A plain store.
  /// Synchronization: releases this holder's accesses for the lookups.
  /// Violation: not_owned.
  BLKOWN_CONSUMES [[nodiscard]] ARef<R> into_shared(Place where = Place::current()) && noexcept {
    R& request = take("Owned::into_shared", where);
    if constexpr (RequestType<R>) {
      Ownership<R>::into_shared(request, where);
    } else {
      Ownership<R>::into_shared(request);
    }
    return detail::HandleAccess::make_reference(request, where);
  }

  /// Changes `reference` into the unique handle if it is the only reference, else returns
  /// `reference`. All of several concurrent callers may get their references back. Use drop_or_own
  /// or a Claim where one of the callers must succeed.
  /// Synchronization: acquires the accesses under dropped references.
  /// Violation: no_reference.
  [[nodiscard]] static std::expected<Owned, ARef<R>> try_from_shared(
      BLKOWN_HELD ARef<R>&& reference, Place where = Place::current()) noexcept {
    R& request =
        detail::held(detail::HandleAccess::look(reference), "Owned::try_from_shared", where);
    if (!try_into_owned(request, where)) return std::unexpected(std::move(reference));
    static_cast<void>(detail::HandleAccess::take_reference(reference));
    return Owned{request, where};
  }

  /// Gives the handle away as a pointer, for C code. from_raw takes the handle over.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &take("Owned::into_raw", where);
  }
  /// Takes over a handle that into_raw gave away, or a new object without another handle.
  [[nodiscard]] static Owned from_raw(R* request, Place where = Place::current()) noexcept {
    return Owned{detail::held(request, "Owned::from_raw", where), where};
  }

  // --- requests ---

  /// The request's hardware queue.
  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("Owned::queue", where)).queue();
  }
  /// The request's tag.
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("Owned::tag", where)).tag();
  }
  /// The request's header, for visit_holders.
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header(
      Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("Owned::header", where));
  }

  /// The cookie of the last publication. If this I/O was not published, the cookie is that of
  /// another I/O of the request.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    R& request = held("Owned::cookie", where);
    return detail::cookie_of(request, detail::word_of(request).peek().generation());
  }
  /// The cookie of the next publication, with which the driver builds the command before it
  /// publishes.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie next_cookie(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    R& request = held("Owned::next_cookie", where);
    return detail::cookie_of(request, detail::word_of(request).peek().next_generation());
  }

  /// The request's data, to read and write. The reference ends with the handle.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data(Place where = Place::current()) const& noexcept
    requires RequestType<R>
  {
    return RequestTraits<R>::data(held("Owned::data", where));
  }
  BLKOWN_DETAIL_DATA_OF_A_TEMPORARY;

  /// Changes the handle into a Claim, which can be pinned. The word does not change.
  BLKOWN_CONSUMES [[nodiscard]] Claim<R> into_claim(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    return detail::HandleAccess::make_claim(take("Owned::into_claim", where),
                                            detail::ClaimOrigin::owner, where);
  }

  /// Makes the I/O visible to lookups under the next generation, then calls `issue(Cookie)`, which
  /// gives the command to the device (publish.hpp). A plain store. The result is void if `issue`
  /// returns void, or the std::expected<T, E> of `issue` with Refused in place of E.
  /// Precondition: `issue` does not throw. `issue` orders earlier writes before the device reads
  /// the command (a store-release, a syscall, a lock, a device barrier).
  /// Effects: a completion may be processed before `issue` returns.
  /// Synchronization: releases this holder's accesses for the lookups.
  /// Violation: not_owned.
  template <class Issue>
  BLKOWN_CONSUMES [[nodiscard, gnu::always_inline]] detail::PublishResultOf<R, Issue> publish(
      Issue&& issue, Place where = Place::current()) && noexcept
    requires(RequestType<R> && detail::IsIssue<Issue>)
  {
    R& request = take("Owned::publish", where);
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).park_owned(seen)) [[unlikely]] {
      violate(request, seen, "Owned::publish", where);
    }
    const Cookie cookie = detail::cookie_of(request, seen.next_generation());
    return detail::issue_published(request, cookie, issue, where);
  }

  /// Parks the request, as dropping the handle does: the I/O is in flight and unreferenced, under
  /// the next generation. No device is involved.
  /// Synchronization: releases this holder's accesses for the lookups.
  /// Violation: not_owned.
  BLKOWN_CONSUMES void park(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    R& request = take("Owned::park", where);
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).park_owned(seen)) [[unlikely]] {
      violate(request, seen, "Owned::park", where);
    }
  }

  /// Ends the I/O. The EndSink runs in this call. A plain store.
  /// Violation: not_owned.
  BLKOWN_CONSUMES [[gnu::always_inline]] void end(Status status,
                                                  Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::end", where), status, false, "Owned::end", where);
  }
  /// Ends the I/O with Status::ok.
  BLKOWN_CONSUMES [[gnu::always_inline]] void end_ok(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::end_ok", where), Status::ok, false, "Owned::end_ok", where);
  }
  /// Returns the I/O to the block layer to be started again.
  /// Violation: not_owned.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::requeue", where), Status::ok, true, "Owned::requeue", where);
  }

  /// Not callable: an `issue` of a wrong shape.
  template <class Issue>
    requires(!detail::IsIssue<Issue>)
  BLKOWN_CONSUMES detail::WrongIssue<Issue> publish(Issue&&, Place = {}) && noexcept {
    return {};
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(into_shared);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_raw);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_claim);
  BLKOWN_DETAIL_CONSUMES_LVALUE(publish, auto&&);
  BLKOWN_DETAIL_CONSUMES_LVALUE(park);
  BLKOWN_DETAIL_CONSUMES_LVALUE(end, Status);
  BLKOWN_DETAIL_CONSUMES_LVALUE(end_ok);
  BLKOWN_DETAIL_CONSUMES_LVALUE(requeue);

 private:
  friend struct detail::HandleAccess;
  using Base::held;
  using Base::object;
  using Base::take;

  Owned(R& request, TrackedPlace where) noexcept : Base{&request} {
    if constexpr (RequestType<R>) detail::unpoison(request);
    this->holder_.hold(detail::holder_key(request), where);
  }

  [[nodiscard]] static bool try_into_owned(R& object, Place where) noexcept {
    if constexpr (RequestType<R>) {
      return Ownership<R>::try_into_owned(object, where);
    } else {
      return Ownership<R>::try_into_owned(object);
    }
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate(R& request,
                                                             detail::RefValue<Word> seen,
                                                             const char* operation,
                                                             Place where) noexcept {
    detail::violate_request(Violation::not_owned, detail::header_of(request), seen, operation,
                            where);
  }

  [[gnu::always_inline]] static void finish(R& request, Status status, bool requeue,
                                            const char* operation, Place where) noexcept {
    detail::set_outcome(request, status, requeue);
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).end_owned(seen)) [[unlikely]] {
      violate(request, seen, operation, where);
    }
    detail::deliver(request);
  }
};

/// Drops a reference, or changes it into the unique handle if it is the last. If all holders of a
/// request use this function, exactly one of them gets the Owned, or completes an end that waits
/// for the last pin and gets none. Use try_claim where other holders drop their references.
/// Synchronization: releases this holder's accesses. The last holder acquires those of the others.
/// Violation: no_reference.
template <RequestType R>
[[nodiscard]] std::optional<Owned<R>> drop_or_own(BLKOWN_HELD ARef<R>&& reference,
                                                  Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::take_reference(reference), "drop_or_own", where);
  detail::RefValue<Word> seen;
  switch (detail::word_of(request).drop_or_own(seen)) {
    case detail::RefResult::alone: return detail::HandleAccess::make<Owned>(request, where);
    case detail::RefResult::completed: detail::deliver(request); return std::nullopt;
    case detail::RefResult::no_reference:
      detail::violate_request(Violation::no_reference, detail::header_of(request), seen,
                              "drop_or_own", where);
    default: return std::nullopt;
  }
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
