// SPDX-License-Identifier: BSL-1.0
//
// Idle: a request that the driver has received and not started.

#ifndef BLKOWN_IDLE_HPP
#define BLKOWN_IDLE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/ended.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// A request, with its tag, that the driver has allocated or received from the block layer and has
/// not started. The word is idle, so no lookup finds the request, and only the holder of the handle
/// accesses the data. One pointer wide; move-only.
/// Effects: dropping an Idle ends the I/O with io_error and makes a report.
/// Context: any, interrupts included.
/// Source: the kernel's IdleRequest.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Idle : private detail::HandleBase<R> {
  using Base = detail::HandleBase<R>;

 public:
  Idle(Idle&& other) noexcept : Base{std::move(other)} {}
  Idle& operator=(Idle&& other) noexcept {
    Idle taken{std::move(other)};
    Base::swap(taken);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  [[gnu::always_inline]] ~Idle() {
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
    return detail::header_of(held("Idle::queue", where)).queue();
  }
  /// The request's tag.
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag(Place where = Place::current()) const noexcept {
    return detail::header_of(held("Idle::tag", where)).tag();
  }
  /// The request's header, for visit_holders.
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header(
      Place where = Place::current()) const noexcept {
    return detail::header_of(held("Idle::header", where));
  }
  /// The request's data, to read and write. The reference ends with the handle.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data(Place where = Place::current()) const& noexcept {
    return RequestTraits<R>::data(held("Idle::data", where));
  }
  BLKOWN_DETAIL_DATA_OF_A_TEMPORARY;

  /// Starts the I/O. A plain store.
  /// Violation: not_idle.
  /// Source: blk_mq_start_request.
  BLKOWN_CONSUMES [[nodiscard, gnu::always_inline]] Owned<R> start(
      Place where = Place::current()) && noexcept {
    R& request = take("Idle::start", where);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).start(seen)) [[unlikely]] {
      violate(request, seen, "Idle::start", where);
    }
    return detail::HandleAccess::make<Owned>(request, where);
  }

  /// Ends the I/O with a status, without starting it. The EndSink runs in this call.
  /// Violation: not_idle.
  BLKOWN_CONSUMES void fail(Status status, Place where = Place::current()) && noexcept {
    finish(take("Idle::fail", where), status, false, "Idle::fail", where);
  }
  /// Returns the I/O to the block layer to be queued again. The EndSink runs in this call.
  /// Violation: not_idle.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept {
    finish(take("Idle::requeue", where), Status::ok, true, "Idle::requeue", where);
  }

  /// Gives the handle away as a pointer, for C code. from_raw takes the handle over.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &take("Idle::into_raw", where);
  }
  /// Takes over a handle that into_raw gave away.
  [[nodiscard]] static Idle from_raw(R* request, Place where = Place::current()) noexcept {
    return Idle{detail::held(request, "Idle::from_raw", where), where};
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(start);
  BLKOWN_DETAIL_CONSUMES_LVALUE(fail, Status);
  BLKOWN_DETAIL_CONSUMES_LVALUE(requeue);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_raw);

 private:
  friend struct detail::HandleAccess;
  using Base::held;
  using Base::object;
  using Base::take;

  Idle(R& request, TrackedPlace where) noexcept : Base{&request} {
    detail::unpoison(request);
    this->holder_.hold(&detail::header_of(request), where);
  }

  [[gnu::cold, gnu::noinline]] static void report_drop(R& request) noexcept {
    detail::report_request(Report::idle_dropped, detail::header_of(request),
                           detail::word_of(request).peek(), "drop of Idle");
  }
  /// Out of line, so that the destructor of an empty handle inlines to nothing. Static, so that the
  /// handle can stay in a register.
  [[gnu::cold, gnu::noinline]] static void drop(R& request) noexcept {
    if constexpr (!is_tracking) report_drop(request);
    finish(request, Status::io_error, false, "drop of Idle", Place{});
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate(R& request,
                                                             detail::RefValue<Word> seen,
                                                             const char* operation,
                                                             Place where) noexcept {
    detail::violate_request(Violation::not_idle, detail::header_of(request), seen, operation,
                            where);
  }

  static void finish(R& request, Status status, bool requeue, const char* operation,
                     Place where) noexcept {
    const detail::RefValue<Word> seen = detail::word_of(request).peek();
    if (seen.state() != 0) [[unlikely]]
      violate(request, seen, operation, where);
    detail::set_outcome(request, status, requeue);
    detail::poison_idle(request);
    detail::deliver(request);
  }
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
