// SPDX-License-Identifier: BSL-1.0
//
// Owned: the unique handle; and the ways to become it, or a Claim, from a reference.

#ifndef BLKOWN_OWNED_HPP
#define BLKOWN_OWNED_HPP

#include <blkown/aref.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/publish.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <expected>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The only handle of a started I/O (or of any Ownable object): its holder reads and writes the
/// data, and no lookup finds the request.
///
/// Dropping an Owned request parks it, as in the kernel: in flight, unreferenced, under a new
/// generation. Whatever completes it must find it by its tag: a completion with the cookie of that
/// generation, a scan, a timeout. Where none of these exists the I/O waits for ever; end it, or
/// publish it.
/// Safe in interrupt context. One pointer wide; move-only. The kernel's Owned<Request>.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Owned {
 public:
  Owned(Owned&& other) noexcept : request_{std::exchange(other.request_, nullptr)} {}
  Owned& operator=(Owned&& other) noexcept {
    Owned taken{std::move(other)};
    std::swap(request_, taken.request_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Owned() {
    if (request_ != nullptr) Ownership<R>::release_owned(*request_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  // --- any Ownable object ---

  /// The object. Not for a request, whose members are below.
  BLKOWN_NEEDS_HELD [[nodiscard]] R& operator*() const noexcept
    requires(!RequestType<R>)
  {
    return detail::held(request_, "Owned::operator*", Place{});
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] R* operator->() const noexcept
    requires(!RequestType<R>)
  {
    return &detail::held(request_, "Owned::operator->", Place{});
  }

  /// Becomes the first reference: a request is published under the next generation, found by
  /// lookups, with one ARef. A plain store.
  /// Synchronization: all that this holder did comes before what others do with the request.
  BLKOWN_CONSUMES [[nodiscard]] ARef<R> into_shared(Place where = Place::current()) && noexcept {
    R& request = take("Owned::into_shared", where);
    if constexpr (RequestType<R>) {
      Ownership<R>::into_shared(request, where);
    } else {
      Ownership<R>::into_shared(request);
    }
    return detail::HandleAccess::make_reference(request, where);
  }

  /// The unique handle again, if `reference` is the only one; else it comes back unchanged. Racing
  /// callers may all get theirs back: use drop_or_own, or a Claim, where one must win.
  /// Synchronization: acquires what dropped references did.
  [[nodiscard]] static std::expected<Owned, ARef<R>> try_from_shared(
      BLKOWN_HELD ARef<R>&& reference, Place where = Place::current()) noexcept {
    R& request =
        detail::held(detail::HandleAccess::look(reference), "Owned::try_from_shared", where);
    if (!try_into_owned(request, where)) return std::unexpected(std::move(reference));
    static_cast<void>(detail::HandleAccess::take_reference(reference));
    return Owned{request};
  }

  /// Gives the handle to C; from_raw takes it back. Nothing else changes.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &take("Owned::into_raw", where);
  }
  /// Takes over what into_raw gave, or a new object that nobody else has.
  [[nodiscard]] static Owned from_raw(R* request, Place where = Place::current()) noexcept {
    return Owned{detail::held(request, "Owned::from_raw", where)};
  }

  // --- requests ---

  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "Owned::queue", Place{})).queue();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "Owned::tag", Place{})).tag();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "Owned::header", Place{}));
  }

  /// The name under which the I/O was published last; if it never was, a name that was or will be
  /// another I/O's.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie() const noexcept
    requires RequestType<R>
  {
    R& request = detail::held(request_, "Owned::cookie", Place{});
    return detail::cookie_of(request, detail::word_of(request).peek().generation());
  }
  /// The name that the next publication will have, for building the command before it.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie next_cookie() const noexcept
    requires RequestType<R>
  {
    R& request = detail::held(request_, "Owned::next_cookie", Place{});
    return detail::cookie_of(request, detail::word_of(request).peek().next_generation());
  }

  /// The request's data, this holder's to read and write.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data() const noexcept
    requires RequestType<R>
  {
    return RequestTraits<R>::data(detail::held(request_, "Owned::data", Place{}));
  }

  /// The right to the I/O in the form that can be pinned. No change of the word.
  BLKOWN_CONSUMES [[nodiscard]] Claim<R> into_claim(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    return detail::HandleAccess::make_claim(take("Owned::into_claim", where),
                                            detail::ClaimOrigin::owner);
  }

  /// Makes the I/O visible under the next generation, then calls `issue(Cookie)`, which tells the
  /// device. A completion may be processed before `issue` returns. A plain store.
  /// Synchronization: all that this holder did comes before what a lookup's caller does. `issue`
  /// must order earlier writes before the device sees the command (a store-release, a syscall, a
  /// lock, a device barrier), and must not throw.
  /// Returns void if `issue` does; if it returns std::expected<T, E>, that with Refused for E.
  template <class Issue>
  BLKOWN_CONSUMES [[nodiscard]] detail::PublishResultOf<R, Issue> publish(
      Issue&& issue, Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    R& request = take("Owned::publish", where);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).park_owned(seen)) [[unlikely]] {
      violate(request, seen, "Owned::publish", where);
    }
    const Cookie cookie = detail::cookie_of(request, seen.next_generation());
    return detail::issue_published(request, cookie, issue);
  }

  /// In flight, unreferenced, under the next generation, without telling any device: what dropping
  /// the handle does, said aloud.
  BLKOWN_CONSUMES void park(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    R& request = take("Owned::park", where);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).park_owned(seen)) [[unlikely]] {
      violate(request, seen, "Owned::park", where);
    }
  }

  /// Ends the I/O; the EndSink runs here. A plain store.
  BLKOWN_CONSUMES void end(Status status, Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::end", where), status, false, "Owned::end", where);
  }
  BLKOWN_CONSUMES void end_ok(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::end_ok", where), Status::ok, false, "Owned::end_ok", where);
  }
  /// Hands the I/O back to be started again.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept
    requires RequestType<R>
  {
    finish(take("Owned::requeue", where), Status::ok, true, "Owned::requeue", where);
  }

 private:
  friend struct detail::HandleAccess;

  explicit Owned(R& request) noexcept : request_{&request} {}

  [[nodiscard]] R& take(const char* operation, Place where) noexcept {
    return detail::held(std::exchange(request_, nullptr), operation, where);
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

  static void finish(R& request, Status status, bool requeue, const char* operation,
                     Place where) noexcept {
    detail::set_outcome(request, status, requeue);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).end_owned(seen)) [[unlikely]] {
      violate(request, seen, operation, where);
    }
    detail::deliver(request);
  }

  R* request_;
};

/// Drops a reference, unless it is the last: then the caller has the request to itself. If all
/// holders let go through this, exactly one gets the Owned, or completes an end that was waiting
/// for the last pin (which gives nothing). Against plain drops use try_claim.
/// Synchronization: releases, as a drop; acquires what others did, if it was the last.
template <RequestType R>
[[nodiscard]] std::optional<Owned<R>> drop_or_own(BLKOWN_HELD ARef<R>&& reference,
                                                  Place where = Place::current()) noexcept {
  R& request = detail::held(detail::HandleAccess::take_reference(reference), "drop_or_own", where);
  detail::RefValue<Word> seen;
  switch (detail::word_of(request).drop_or_own(seen)) {
    case detail::RefResult::alone: return detail::HandleAccess::make<Owned>(request);
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
