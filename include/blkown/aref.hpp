// SPDX-License-Identifier: BSL-1.0
//
// ARef: a reference that holds a request (or any RefCounted object) in place.

#ifndef BLKOWN_AREF_HPP
#define BLKOWN_AREF_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/request.hpp>
#include <blkown/tracking.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

/// The address under which the holders of an object are listed: of a request, its header's.
template <class R>
[[nodiscard]] const void* name_of(R& object) noexcept {
  if constexpr (RequestType<R>) {
    return &header_of(object);
  } else {
    return &object;
  }
}

}  // namespace detail

/// A pin: while it lives, the object stays, and a request's tag is not used again. It names the
/// request and gives no right to its data, except to read it where shared_data<T> says that others
/// may. It does not freeze a request's generation: a completion may end the I/O, or publish it
/// again, meanwhile. So whatever takes the right through a pin names the Cookie that it means.
///
/// Copyable: each copy is a reference. One pointer wide and safe in interrupt context, but for a
/// tracking build, in which it also remembers where it was taken (visit_holders). The kernel's
/// ARef.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE ARef {
 public:
  /// One more reference. One read-modify-write, relaxed.
  /// Violations: `other` is empty; the count has reached half of what the word can hold.
  ARef(BLKOWN_HELD const ARef& other, TrackedPlace where = Place::current()) noexcept
      : request_{&detail::held(other.request_, "copy of ARef", Place{})} {
    Ownership<R>::add_ref(*request_);
    hold(where);
  }
  ARef(ARef&& other) noexcept
      : request_{std::exchange(other.request_, nullptr)}, holder_{std::move(other.holder_)} {}
#if BLKOWN_TRACKING
  // A copy or a move. By value, so that a copy is taken, and remembered, where the caller assigns;
  // but then typestate does not see it.
  ARef& operator=(ARef other) noexcept {
    std::swap(request_, other.request_);
    holder_.swap(other.holder_);
    return *this;
  }
#else
  ARef& operator=(BLKOWN_HELD const ARef& other) noexcept {
    ARef copy{other};
    std::swap(request_, copy.request_);
    return *this;
  }
  ARef& operator=(ARef&& other) noexcept {
    ARef taken{std::move(other)};
    std::swap(request_, taken.request_);
    return *this;
  }
#endif

  /// Drops the reference. The last drop of a request parks it (count 1), or completes its end if
  /// its Claim has ended it: then the EndSink runs here.
  /// Synchronization: releases all that this holder did, for whoever has the request alone next.
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~ARef() {
    if (request_ == nullptr) return;
    holder_.let_go();  // first: from the drop on, the request may be another I/O's
    Ownership<R>::drop_ref(*request_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  // --- any RefCounted object ---

  /// The object, which is safe to use while shared as its type says. Not for a request, whose
  /// members are below.
  BLKOWN_NEEDS_HELD [[nodiscard]] R& operator*() const noexcept
    requires(!RequestType<R>)
  {
    return detail::held(request_, "ARef::operator*", Place{});
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] R* operator->() const noexcept
    requires(!RequestType<R>)
  {
    return &detail::held(request_, "ARef::operator->", Place{});
  }

  /// Gives the reference to C; from_raw takes it back. The count does not change.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &detail::held(take(), "ARef::into_raw", where);
  }
  /// Takes over a reference that exists: from into_raw, or the first one of a new object.
  [[nodiscard]] static ARef from_raw(R* object, Place where = Place::current()) noexcept {
    return ARef{detail::held(object, "ARef::from_raw", where), where};
  }

  // --- requests ---

  /// The hardware queue and the tag: constant.
  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "ARef::queue", Place{})).queue();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "ARef::tag", Place{})).tag();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header() const noexcept
    requires RequestType<R>
  {
    return detail::header_of(detail::held(request_, "ARef::header", Place{}));
  }

  /// The generation of this moment. It orders nothing.
  BLKOWN_NEEDS_HELD [[nodiscard]] Generation generation() const noexcept
    requires RequestType<R>
  {
    return detail::word_of(detail::held(request_, "ARef::generation", Place{})).peek().generation();
  }

  /// The data, to read. What was written before the publication, or before the release or drop
  /// that this reference's lookup met, is seen.
  BLKOWN_NEEDS_HELD [[nodiscard]] const auto& data() const noexcept
    requires(RequestType<R> && shared_data<typename RequestTraits<R>::Data>)
  {
    return std::as_const(RequestTraits<R>::data(detail::held(request_, "ARef::data", Place{})));
  }

 private:
  friend struct detail::HandleAccess;

  ARef(R& request, TrackedPlace where) noexcept : request_{&request} { hold(where); }

  void hold(TrackedPlace where) noexcept { holder_.hold(detail::name_of(*request_), where); }

  /// What it held, null if nothing; it holds nothing any more, and is no holder.
  [[nodiscard]] R* take() noexcept {
    holder_.let_go();
    return std::exchange(request_, nullptr);
  }

  R* request_;
  [[no_unique_address]] detail::Holder holder_;
};

/// visit_holders of a request or any other RefCounted object: calls `visit(const Place&)` for each
/// of its ARefs.
template <RefCounted R, class Visit>
void visit_holders(R& object, Visit&& visit) {
  detail::visit_holders_of(detail::name_of(object), visit);
}

/// How handles own and count a request: through its ownership word.
template <RequestType R>
struct Ownership<R> {
  static void add_ref(R& request) noexcept {
    detail::RefValue<Word> seen;
    const detail::RefResult step = detail::word_of(request).add_ref(seen);
    if (step == detail::RefResult::done) [[likely]]
      return;
    detail::violate_request(step == detail::RefResult::overflow ? Violation::reference_overflow
                                                                : Violation::no_reference,
                            detail::header_of(request), seen, "copy of ARef");
  }

  static void drop_ref(R& request) noexcept {
    detail::RefValue<Word> seen;
    const detail::RefResult step = detail::word_of(request).drop_ref(seen);
    if (step == detail::RefResult::done) [[likely]]
      return;
    if (step == detail::RefResult::completed) {
      detail::deliver(request);
      return;
    }
    detail::violate_request(Violation::no_reference, detail::header_of(request), seen,
                            "drop of ARef");
  }

  /// Parks: the I/O is in flight, unreferenced, under the next generation.
  static void release_owned(R& request) noexcept {
    detail::RefValue<Word> seen;
    if (detail::word_of(request).park_owned(seen)) [[likely]]
      return;
    detail::violate_request(Violation::not_owned, detail::header_of(request), seen,
                            "drop of Owned");
  }

  static void into_shared(R& request, Place where = Place{}) noexcept {
    detail::RefValue<Word> seen;
    if (detail::word_of(request).into_shared(seen)) [[likely]]
      return;
    detail::violate_request(Violation::not_owned, detail::header_of(request), seen,
                            "Owned::into_shared", where);
  }

  [[nodiscard]] static bool try_into_owned(R& request, Place where = Place{}) noexcept {
    detail::RefValue<Word> seen;
    const detail::RefResult step = detail::word_of(request).try_from_shared(seen);
    if (step == detail::RefResult::no_reference) [[unlikely]] {
      detail::violate_request(Violation::no_reference, detail::header_of(request), seen,
                              "Owned::try_from_shared", where);
    }
    return step == detail::RefResult::alone;
  }
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
