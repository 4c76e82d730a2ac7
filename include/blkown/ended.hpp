// SPDX-License-Identifier: BSL-1.0
//
// How an I/O returns to the block layer: Ended, a request whose I/O has ended or is to be queued
// again; EndedList, a list of them; and EndSink, the function that a TagSet calls with them.

#ifndef BLKOWN_ENDED_HPP
#define BLKOWN_ENDED_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/detail/tag_set_state.hpp>
#include <blkown/fwd.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <optional>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

template <class R>
class EndSink;

namespace detail {
template <class R>
void deliver_by_function(const TagSetState& state, void* request);

/// The EndSink of every TagSet of such requests, if a specialisation has the member
/// `static void take(R&) noexcept`: the end of an I/O calls it without the TagSet. The request's
/// word is idle.
/// It is then the target of EndSink::to, too, and each TagSet is made with it.
template <class R>
struct FixedSink {};
/// Whether the requests have a fixed sink.
template <class R>
concept has_fixed_sink = requires(R& request) { FixedSink<R>::take(request); };
}  // namespace detail

/// A request whose I/O the driver has ended or asked to queue again. The word is idle, so no lookup
/// finds the request, and only the holder of the handle accesses the data. The EndSink receives the
/// Ended in the context that completed the end and passes the Ended to the submitter. A driver
/// never has an Ended. One pointer wide; move-only.
/// Effects: dropping an Ended frees the tag.
/// Context: any, interrupts included.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Ended : private detail::HandleBase<R> {
  using Base = detail::HandleBase<R>;

 public:
  Ended(Ended&& other) noexcept : Base{std::move(other)} {}
  Ended& operator=(Ended&& other) noexcept {
    Ended taken{std::move(other)};
    Base::swap(taken);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  [[gnu::always_inline]] ~Ended() {
    if (object() != nullptr) drop(*object());
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The request's hardware queue.
  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue(Place where = Place::current()) const noexcept {
    return header("Ended::queue", where).queue();
  }
  /// The request's tag.
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag(Place where = Place::current()) const noexcept {
    return header("Ended::tag", where).tag();
  }

  /// The status with which the I/O ended. Status::ok for a requeue.
  BLKOWN_NEEDS_HELD [[nodiscard]] Status status(Place where = Place::current()) const noexcept {
    return detail::HeaderAccess::status(header("Ended::status", where));
  }
  /// Whether the driver has asked to start the I/O again.
  BLKOWN_NEEDS_HELD [[nodiscard]] bool is_requeue(Place where = Place::current()) const noexcept {
    return detail::HeaderAccess::requeue(header("Ended::is_requeue", where));
  }

  /// The request's data, to read and write. The reference ends with the handle.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data(Place where = Place::current()) const& noexcept {
    return RequestTraits<R>::data(held("Ended::data", where));
  }
  BLKOWN_DETAIL_DATA_OF_A_TEMPORARY;

  /// Frees the tag: one read-modify-write on the bitmap.
  /// Synchronization: releases the accesses to the request for the tag's next allocation.
  /// Violation: tag_not_taken.
  BLKOWN_CONSUMES void release(Place where = Place::current()) && noexcept {
    give_back(take("Ended::release", where), "Ended::release", where);
  }

  /// Frees the tag through this context's cache, mostly without an atomic operation.
  /// Violation: tag_cache_of_other; tag_not_taken, when the cache gives the tag back.
  BLKOWN_CONSUMES [[gnu::always_inline]] void release(TagCache& cache,
                                                      Place where = Place::current()) && noexcept {
    R& request = take("Ended::release", where);
    const RequestHeader& header = detail::header_of(request);
    detail::poison_idle(request);
    detail::HeaderAccess::state(header).give(header.queue(), header.tag(), cache, where);
  }

  /// Changes the handle of a requeued I/O into an Idle, to start the I/O again under the same tag.
  /// Precondition: the Ended came from the context that requeued the I/O over a release/acquire
  /// channel.
  /// Violation: restart_of_ended, if is_requeue() is false.
  BLKOWN_CONSUMES [[nodiscard]] Idle<R> into_idle(Place where = Place::current()) && noexcept {
    R& request = take("Ended::into_idle", where);
    RequestHeader& header = detail::header_of(request);
    if (!detail::HeaderAccess::requeue(header)) [[unlikely]] {
      detail::violate_request(Violation::restart_of_ended, header, detail::word_of(request).peek(),
                              "Ended::into_idle", where);
    }
    return detail::HandleAccess::make<Idle>(request, where);
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(release);
  BLKOWN_DETAIL_CONSUMES_LVALUE(release, TagCache&);
  BLKOWN_DETAIL_CONSUMES_LVALUE(into_idle);

 private:
  friend struct detail::HandleAccess;
  using Base::held;
  using Base::object;
  using Base::take;

  explicit Ended(R& request) noexcept : Base{&request} { detail::unpoison(request); }

  [[nodiscard]] RequestHeader& header(const char* operation, Place where) const noexcept {
    return detail::header_of(held(operation, where));
  }

  /// Out of line, so that the destructor of an empty handle inlines to nothing. Static, so that the
  /// handle can stay in a register.
  [[gnu::noinline]] static void drop(R& request) noexcept {
    give_back(request, "drop of Ended", Place{});
  }
  static void give_back(R& request, const char* operation, Place where) noexcept {
    const RequestHeader& header = detail::header_of(request);
    detail::TagBitmap& bitmap = detail::HeaderAccess::state(header).bitmaps[header.queue().value];
    detail::poison_idle(request);
    if (!bitmap.give(header.tag())) [[unlikely]] {
      detail::violate_request(Violation::tag_not_taken, header, detail::word_of(request).peek(),
                              operation, where);
    }
  }
};

/// A list of ended requests in order, linked through the requests. Nothing is allocated.
/// Effects: dropping a list frees the tags.
/// Synchronization: one context at a time uses a list.
template <class R>
class [[nodiscard]] EndedList {
 public:
  EndedList() = default;
  EndedList(EndedList&&) = default;
  EndedList& operator=(EndedList&& other) noexcept {
    EndedList taken{std::move(other)};
    requests_.swap(taken.requests_);
    return *this;
  }
  ~EndedList() {
    if (!requests_.empty()) [[unlikely]]
      drop_all(std::move(requests_));
  }

  /// Whether the list has no request.
  [[nodiscard]] bool empty() const noexcept { return requests_.empty(); }

  /// Appends a request.
  void push_back(BLKOWN_HELD Ended<R>&& ended, Place where = Place::current()) noexcept {
    R& request = detail::held(detail::HandleAccess::take(ended), "EndedList::push_back", where);
    // No reference is left: data with shared_data, too, belongs to the Ended alone.
    detail::poison_idle(request);
    requests_.push_back(request);
  }

  /// Appends all requests of `other`, which is empty afterwards.
  void append(EndedList&& other) noexcept { requests_.append(other.requests_); }

  /// Removes and returns the oldest request. None if the list is empty.
  [[nodiscard]] std::optional<Ended<R>> pop_front() noexcept {
    R* const request = requests_.pop_front();
    if (request == nullptr) return std::nullopt;
    return detail::HandleAccess::make_ended(*request);
  }

 private:
  using Requests = detail::Ring<R, detail::RequestLink<R>>;

  friend struct detail::HandleAccess;
  friend class EndSink<R>;
  friend void detail::deliver_by_function<R>(const detail::TagSetState& state, void* request);

  /// A list of one request, whose word is idle.
  [[nodiscard]] static EndedList of_one(R& request) noexcept {
    EndedList list;
    detail::poison_idle(request);
    list.requests_.push_back(request);
    return list;
  }

  /// Static and by value, so that the address of a list does not leave the code that uses the list,
  /// and the list stays in a register.
  [[gnu::noinline]] static void drop_all(Requests requests) noexcept {
    EndedList rest;
    rest.requests_.append(requests);
    while (rest.pop_front().has_value()) {
    }
  }

  Requests requests_;
};

namespace detail {

template <class R>
void deliver_by_function(const TagSetState& state, void* request);

}  // namespace detail

/// The function that a TagSet calls with each I/O that has ended, and the function's argument.
/// Context: the function runs where the end was completed, which may be an interrupt, the drop of
/// the last reference on any thread, or a handle's destructor. The function must not throw. A
/// function that only queues the list for the submitting context keeps user callbacks out of
/// destructors.
template <class R>
class EndSink {
  static_assert(detail::HasRequestTraits<R>,
                "EndSink<R>: R is blkown::Request<T>, or a struct with a RequestHeader member and"
                " RequestTraits<R> derived from blkown::EmbeddedHeader<&R::member>");

 public:
  using Function = void (*)(void* context, EndedList<R>&& ended);

  /// No function. TagSet::create refuses such a sink with no_end_sink.
  EndSink() = default;
  /// Calls the function with the context, which must outlive the TagSet.
  EndSink(Function function, void* context) noexcept
      : function_{function},
        context_{context},
        delivery_{function == nullptr ? nullptr : &detail::deliver_by_function<R>} {
    check_sink<Function>();
  }
  /// Not callable: a function of another type.
  template <class F>
    requires(!std::is_convertible_v<F, Function>)
  EndSink(F, void*) noexcept {
    static_assert(std::is_convertible_v<F, Function>,
                  "EndSink(function, context): function is void(void*, EndedList<R>&&)");
  }

  /// Calls `target(EndedList<R>&&)`.
  /// Precondition: `target` outlives the TagSet.
  template <class F>
  [[nodiscard]] static EndSink to(F& target) noexcept {
    check_sink<F>();
    if constexpr (!std::is_invocable_v<F&, EndedList<R>&&>) {
      static_assert(std::is_invocable_v<F&, EndedList<R>&&>,
                    "EndSink::to(target): target is called as target(EndedList<R>&&)");
      return {};
    } else {
      // The cast restores the const of a const target.
      return {const_cast<std::remove_const_t<F>*>(&target), &deliver_to<F>};
    }
  }

  /// Frees the tags and calls no function.
  [[nodiscard]] static EndSink freeing() noexcept {
    check_sink<void>();
    return {nullptr, [](const detail::TagSetState&, void* request) {
              const auto dropped = EndedList<R>::of_one(*static_cast<R*>(request));
            }};
  }

 private:
  friend struct detail::TagSetStorage<R>;

  /// A sink of these requests that is not called compiles nowhere.
  template <class F>
  static constexpr void check_sink() noexcept {
    static_assert(
        !detail::has_fixed_sink<R> || std::is_same_v<std::remove_const_t<F>, detail::FixedSink<R>>,
        "EndSink of a request of the block layer: mq::TagPool makes the TagSet and its sink");
  }

  /// Delivers one request. A Delivery inlines the code of `to`'s target, so the list stays in
  /// registers. A call through `function` passes the list in memory, and every I/O waits for that
  /// memory.
  using Delivery = void (*)(const detail::TagSetState& state, void* request);

  EndSink(void* context, Delivery delivery) noexcept : context_{context}, delivery_{delivery} {}

  /// The delivery of to(). A function and not a lambda, whose conversion to a pointer can be a
  /// second function.
  template <class F>
  static void deliver_to(const detail::TagSetState& state, void* request) {
    (*static_cast<F*>(state.end_context))(EndedList<R>::of_one(*static_cast<R*>(request)));
  }

  Function function_ = nullptr;  // what delivery_ calls, if it is deliver_by_function
  void* context_ = nullptr;
  Delivery delivery_ = nullptr;  // null: no function
};

namespace detail {

/// Sets the status of an end.
/// Precondition: called before the word's end operation, which releases it.
template <class R>
void set_outcome(R& request, Status status, bool requeue) noexcept {
  HeaderAccess::status(header_of(request)) = status;
  HeaderAccess::requeue(header_of(request)) = requeue;
}

/// Calls the EndSink of the TagSet with a request whose word is idle.
template <class R>
void deliver(R& request) noexcept {
  if constexpr (has_fixed_sink<R>) {
    FixedSink<R>::take(request);
  } else {
    const TagSetState& state = state_of(request);
    state.delivery(state, &request);
  }
}

/// The delivery of a sink that was made of a function and its argument.
template <class R>
void deliver_by_function(const TagSetState& state, void* request) {
  const auto function = reinterpret_cast<typename EndSink<R>::Function>(state.end_function);
  function(state.end_context, EndedList<R>::of_one(*static_cast<R*>(request)));
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
