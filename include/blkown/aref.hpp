// SPDX-License-Identifier: BSL-1.0
//
// ARef: a counted reference to a request, or to any RefCounted object.

#ifndef BLKOWN_AREF_HPP
#define BLKOWN_AREF_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/holder_list.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/ended.hpp>
#include <blkown/place.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

/// The address that identifies an object in the holder lists. A request is identified by its
/// header's address.
template <class R>
[[nodiscard]] const void* holder_key(R& object) noexcept {
  if constexpr (RequestType<R>) {
    return &header_of(object);
  } else {
    return &object;
  }
}

}  // namespace detail

/// A pin: while it exists, the object exists, and a request's tag is not allocated again. A pin
/// gives no right to the request's data, except to read the data if shared_data<T> is true. A pin
/// does not keep the request's generation: at the same time a completion may end the I/O or publish
/// the request again. A function that takes the right to an I/O through a pin therefore takes the
/// Cookie of that I/O too. Copyable: each copy is a reference. One pointer wide, except in a
/// tracking build, where it also stores where it was taken (visit_holders).
/// Context: any, interrupts included; in a tracking build, any but an interrupt.
/// Source: the kernel's ARef.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE ARef : private detail::HandleBase<R> {
  using Base = detail::HandleBase<R>;

 public:
  /// Adds a reference: one read-modify-write, relaxed.
  /// Violation: use_of_moved_from; no_reference; reference_overflow, if the count has reached
  /// RefValue::count_limit.
  ARef(BLKOWN_HELD const ARef& other, TrackedPlace where = Place::current()) noexcept
      : Base{&other.held("copy of ARef")} {
    Ownership<R>::add_ref(*object());
    hold(where);
  }
  ARef(ARef&& other) noexcept : Base{std::move(other)} {}
#if BLKOWN_TRACKING
  // A copy or a move. By value, so that a copy stores the place of the assignment. Clang's
  // typestate does not see that the parameter must hold a request.
  ARef& operator=(ARef other) noexcept {
    Base::swap(other);
    return *this;
  }
#else
  ARef& operator=(BLKOWN_HELD const ARef& other) noexcept {
    ARef copy{other};
    Base::swap(copy);
    return *this;
  }
  ARef& operator=(ARef&& other) noexcept {
    ARef taken{std::move(other)};
    Base::swap(taken);
    return *this;
  }
#endif

  /// Drops the reference. The drop of a request's last reference parks the request, or completes
  /// the end if the Claim has ended the I/O; then the EndSink runs in this call.
  /// Synchronization: releases this holder's accesses for the next unique holder.
  /// Violation: no_reference.
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~ARef() {
    if (object() == nullptr) return;
    this->holder_.let_go();  // first, because after the drop the request may serve another I/O
    Ownership<R>::drop_ref(*object());
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  // --- any RefCounted object ---

  /// The object, which its type must allow to be used while it is shared. A request has the members
  /// below instead.
  BLKOWN_NEEDS_HELD [[nodiscard]] R& operator*() const noexcept
    requires(!RequestType<R>)
  {
    return held("ARef::operator*");
  }
  /// A member of the object.
  BLKOWN_NEEDS_HELD [[nodiscard]] R* operator->() const noexcept
    requires(!RequestType<R>)
  {
    return &held("ARef::operator->");
  }

  /// Gives the reference away as a pointer, for C code. from_raw takes the reference over. The
  /// count does not change.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &take("ARef::into_raw", where);
  }
  /// Takes over a reference that the count includes: one that into_raw gave away, or the first one
  /// of a new object.
  [[nodiscard]] static ARef from_raw(R* object, Place where = Place::current()) noexcept {
    return ARef{detail::held(object, "ARef::from_raw", where), where};
  }

  /// A further reference to an object that the caller has without a handle: the argument of a
  /// callback, or the object itself (`*this`).
  /// Precondition: another reference exists during the call.
  /// Source: the kernel's From<&T> for ARef<T>, get_device.
  [[nodiscard]] static ARef from_ref(R& object, TrackedPlace where = Place::current()) noexcept
    requires(!RequestType<R>)
  {
    Ownership<R>::add_ref(object);
    return ARef{object, where};
  }

  // --- requests ---

  /// The request's hardware queue.
  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("ARef::queue", where)).queue();
  }
  /// The request's tag.
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag(Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("ARef::tag", where)).tag();
  }
  /// The request's header, for visit_holders.
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header(
      Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::header_of(held("ARef::header", where));
  }

  /// The request's generation at this moment.
  /// Synchronization: none.
  BLKOWN_NEEDS_HELD [[nodiscard]] Generation generation(
      Place where = Place::current()) const noexcept
    requires RequestType<R>
  {
    return detail::word_of(held("ARef::generation", where)).peek().generation();
  }

  /// The request's data, to read. The reference ends with the handle.
  /// Synchronization: the lookup that made this reference acquired the writes before the
  /// publication, and those of later holders that released the I/O.
  BLKOWN_NEEDS_HELD [[nodiscard]] const auto& data(Place where = Place::current()) const& noexcept
    requires(RequestType<R> && shared_data<typename RequestTraits<R>::Data>)
  {
    return std::as_const(RequestTraits<R>::data(held("ARef::data", where)));
  }
  BLKOWN_DETAIL_DATA_OF_A_TEMPORARY;

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(into_raw);

 private:
  friend struct detail::HandleAccess;
  using Base::held;
  using Base::object;
  using Base::take;

  ARef(R& request, TrackedPlace where) noexcept : Base{&request} { hold(where); }

  void hold(TrackedPlace where) noexcept {
    this->holder_.hold(detail::holder_key(*object()), where);
  }

  /// The object, or null. The handle is empty afterwards and not in the holder list.
  [[nodiscard]] R* take_reference() noexcept {
    this->holder_.let_go();
    return std::exchange(this->pointer_, nullptr);
  }
};

/// Calls `visit(const Place&)` for each ARef of a request or any other RefCounted object, as
/// visit_holders of a request does.
template <RefCounted R, class Visit>
void visit_holders(R& object, Visit&& visit) {
  detail::visit_holders_of(detail::holder_key(object), visit);
}

/// The Ownership of a request: its ownership word.
template <RequestType R>
struct Ownership<R> {
  /// A further reference.
  static void add_ref(R& request) noexcept {
    detail::RefValue<Word> seen;
    const detail::RefResult step = detail::word_of(request).add_ref(seen);
    if (step == detail::RefResult::done) [[likely]]
      return;
    detail::violate_request(step == detail::RefResult::overflow ? Violation::reference_overflow
                                                                : Violation::no_reference,
                            detail::header_of(request), seen, "copy of ARef");
  }

  /// Gives a reference up. The last one of an ended request completes the end.
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

  /// Parks the request: its I/O is in flight and unreferenced, under the next generation.
  static void release_owned(R& request) noexcept {
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    if (detail::word_of(request).park_owned(seen)) [[likely]]
      return;
    detail::violate_request(Violation::not_owned, detail::header_of(request), seen,
                            "drop of Owned");
  }

  /// The unique owner becomes one of the holders of references.
  static void into_shared(R& request, Place where = Place{}) noexcept {
    detail::poison_shareable(request);
    detail::RefValue<Word> seen;
    if (detail::word_of(request).into_shared(seen)) [[likely]]
      return;
    detail::violate_request(Violation::not_owned, detail::header_of(request), seen,
                            "Owned::into_shared", where);
  }

  /// Whether the only reference became the unique owner.
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
