// SPDX-License-Identifier: BSL-1.0
//
// Idle: a request handed to the driver that it has not started.

#ifndef BLKOWN_IDLE_HPP
#define BLKOWN_IDLE_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/owned.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// A request with its tag, handed over by the block layer (or allocated) and not started: the word
/// is idle, no lookup finds it, and the holder has the data for itself.
///
/// Dropping an Idle fails the I/O with io_error and reports: an I/O is never silently lost.
/// Safe in interrupt context. One pointer wide; move-only. The kernel's IdleRequest.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Idle {
 public:
  Idle(Idle&& other) noexcept : request_{std::exchange(other.request_, nullptr)} {}
  Idle& operator=(Idle&& other) noexcept {
    Idle taken{std::move(other)};
    std::swap(request_, taken.request_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Idle() {
    if (request_ != nullptr) [[unlikely]]
      drop(*request_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue() const noexcept {
    return detail::header_of(detail::held(request_, "Idle::queue", Place{})).queue();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag() const noexcept {
    return detail::header_of(detail::held(request_, "Idle::tag", Place{})).tag();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] const RequestHeader& header() const noexcept {
    return detail::header_of(detail::held(request_, "Idle::header", Place{}));
  }
  /// The request's data, this holder's to read and write.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data() const noexcept {
    return RequestTraits<R>::data(detail::held(request_, "Idle::data", Place{}));
  }

  /// The driver takes the I/O on (blk_mq_start_request). A plain store.
  BLKOWN_CONSUMES [[nodiscard]] Owned<R> start(Place where = Place::current()) && noexcept {
    R& request = take("Idle::start", where);
    detail::RefValue<Word> seen;
    if (!detail::word_of(request).start(seen)) [[unlikely]] {
      violate(request, seen, "Idle::start", where);
    }
    return detail::HandleAccess::make<Owned>(request);
  }

  /// Ends the I/O with a status, unstarted. The EndSink runs here.
  BLKOWN_CONSUMES void fail(Status status, Place where = Place::current()) && noexcept {
    finish(take("Idle::fail", where), status, false, "Idle::fail", where);
  }
  /// Hands the I/O back to be handed over again later. The EndSink runs here.
  BLKOWN_CONSUMES void requeue(Place where = Place::current()) && noexcept {
    finish(take("Idle::requeue", where), Status::ok, true, "Idle::requeue", where);
  }

  /// Gives the handle to C; from_raw takes it back. Nothing else changes.
  BLKOWN_CONSUMES [[nodiscard]] R* into_raw(Place where = Place::current()) && noexcept {
    return &take("Idle::into_raw", where);
  }
  [[nodiscard]] static Idle from_raw(R* request, Place where = Place::current()) noexcept {
    return Idle{detail::held(request, "Idle::from_raw", where)};
  }

 private:
  friend struct detail::HandleAccess;

  explicit Idle(R& request) noexcept : request_{&request} {}

  [[nodiscard]] R& take(const char* operation, Place where) noexcept {
    return detail::held(std::exchange(request_, nullptr), operation, where);
  }

  /// Out of line, so that a destructor that has nothing to do is nothing.
  [[gnu::cold, gnu::noinline]] static void drop(R& request) noexcept {
    detail::report_request(Report::idle_dropped, detail::header_of(request),
                           detail::word_of(request).peek(), "drop of Idle");
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
    detail::deliver(request);
  }

  R* request_;
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
