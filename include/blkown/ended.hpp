// SPDX-License-Identifier: BSL-1.0
//
// The way of an I/O back to the block layer: Ended, one that is over or to be queued again; a list
// of them; and the sink that a TagSet gives them to.

#ifndef BLKOWN_ENDED_HPP
#define BLKOWN_ENDED_HPP

#include <blkown/config.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <optional>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

template <class R>
class EndSink;

namespace detail {
template <class R>
void deliver_by_function(const TagSetState& core, void* request);
}

/// An I/O that the driver has ended or asked to queue again, on its way back. It has the request
/// and its data for itself; the word is idle, so lookups refuse it. Dropping it frees the tag.
///
/// Not a handle of the driver's: the EndSink gets it, in the context that completed the end, and
/// takes it to where the submitter can be told.
template <class R>
class [[nodiscard]] BLKOWN_CONSUMABLE Ended {
 public:
  Ended(Ended&& other) noexcept : request_{std::exchange(other.request_, nullptr)} {}
  Ended& operator=(Ended&& other) noexcept {
    Ended taken{std::move(other)};
    std::swap(request_, taken.request_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Ended() {
    if (request_ != nullptr) give_back(*request_, "drop of Ended", Place{});
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  BLKOWN_NEEDS_HELD [[nodiscard]] QueueIndex queue() const noexcept {
    return header("Ended::queue").queue();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Tag tag() const noexcept { return header("Ended::tag").tag(); }

  /// How the I/O ended. Status::ok for a requeue, which has not ended.
  BLKOWN_NEEDS_HELD [[nodiscard]] Status status() const noexcept {
    return detail::HeaderAccess::status(header("Ended::status"));
  }
  /// Whether the driver asks for the I/O to be started again.
  BLKOWN_NEEDS_HELD [[nodiscard]] bool is_requeue() const noexcept {
    return detail::HeaderAccess::requeue(header("Ended::is_requeue"));
  }

  /// The request's data; the holder is the only one who may touch it.
  BLKOWN_NEEDS_HELD [[nodiscard]] auto& data() const noexcept {
    return RequestTraits<R>::data(detail::held(request_, "Ended::data", Place{}));
  }

  /// Frees the tag: one read-modify-write on the bitmap.
  /// Synchronization: releases all that was done to the request, for the tag's next allocation.
  BLKOWN_CONSUMES void release(Place where = Place::current()) && noexcept {
    give_back(detail::held(std::exchange(request_, nullptr), "Ended::release", where),
              "Ended::release", where);
  }

  /// Puts the tag into this context's stash, most often without an atomic operation.
  /// Violation: a cache of another TagSet or queue.
  BLKOWN_CONSUMES void release(TagCache& cache, Place where = Place::current()) && noexcept {
    R& request = detail::held(std::exchange(request_, nullptr), "Ended::release", where);
    const RequestHeader& name = detail::header_of(request);
    detail::HeaderAccess::core(name).give(name.queue(), name.tag(), cache, where);
  }

  /// A requeued I/O, to be started again under the same tag. What brought the Ended here from the
  /// context that requeued it must be a release/acquire channel.
  /// Violation: an I/O that ended with a status.
  BLKOWN_CONSUMES [[nodiscard]] Idle<R> into_idle(Place where = Place::current()) && noexcept {
    R& request = detail::held(std::exchange(request_, nullptr), "Ended::into_idle", where);
    RequestHeader& name = detail::header_of(request);
    if (!detail::HeaderAccess::requeue(name)) [[unlikely]] {
      detail::violate_request(Violation::restart_of_ended, name,
                              detail::HeaderAccess::word(name).peek(), "Ended::into_idle", where);
    }
    return detail::HandleAccess::make<Idle>(request);
  }

 private:
  friend struct detail::HandleAccess;

  explicit Ended(R& request) noexcept : request_{&request} {}

  [[nodiscard]] RequestHeader& header(const char* operation) const noexcept {
    return detail::header_of(detail::held(request_, operation, Place{}));
  }

  static void give_back(R& request, const char* operation, Place where) noexcept {
    const RequestHeader& name = detail::header_of(request);
    detail::TagBitmap& bitmap = detail::HeaderAccess::core(name).bitmaps[name.queue().value];
    if (!bitmap.give(name.tag())) [[unlikely]] {
      detail::violate_request(Violation::tag_not_taken, name, detail::word_of(request).peek(),
                              operation, where);
    }
  }

  R* request_;
};

/// Ended I/Os in order, linked through the requests themselves: no allocation. One context uses a
/// list at a time. Dropping it frees the tags.
template <class R>
class [[nodiscard]] EndedList {
 public:
  EndedList() = default;
  EndedList(EndedList&& other) noexcept : last_{std::exchange(other.last_, nullptr)} {}
  EndedList& operator=(EndedList&& other) noexcept {
    EndedList taken{std::move(other)};
    std::swap(last_, taken.last_);
    return *this;
  }
  ~EndedList() {
    if (last_ != nullptr) [[unlikely]]
      drop_all();
  }

  [[nodiscard]] bool empty() const noexcept { return last_ == nullptr; }

  void push_back(BLKOWN_HELD Ended<R>&& ended, Place where = Place::current()) noexcept {
    R& request = detail::held(detail::HandleAccess::take(ended), "EndedList::push_back", where);
    next_of(request) = &request;
    append_ring(request);
  }

  /// Moves all of `other` behind what is here.
  void append(EndedList&& other) noexcept {
    if (this == &other || other.empty()) return;
    append_ring(*std::exchange(other.last_, nullptr));
  }

  /// The oldest, or none.
  [[nodiscard]] std::optional<Ended<R>> pop_front() noexcept {
    if (last_ == nullptr) return std::nullopt;
    R& request = *static_cast<R*>(next_of(*last_));
    if (&request == last_) {
      last_ = nullptr;
    } else {
      next_of(*last_) = next_of(request);
    }
    return detail::HandleAccess::make<Ended>(request);
  }

 private:
  friend struct detail::HandleAccess;
  friend class EndSink<R>;
  friend void detail::deliver_by_function<R>(const detail::TagSetState& core, void* request);

  /// Of a request whose word is idle again.
  [[nodiscard]] static EndedList of_one(R& request) noexcept {
    EndedList list;
    list.push_back(detail::HandleAccess::make<Ended>(request));
    return list;
  }

  [[gnu::noinline]] void drop_all() noexcept {
    while (pop_front()) {
    }
  }

  [[nodiscard]] static void*& next_of(R& request) noexcept {
    return detail::HeaderAccess::next(detail::header_of(request));
  }

  /// All of a ring that ends with `last`.
  void append_ring(R& last) noexcept {
    if (last_ != nullptr) std::swap(next_of(last), next_of(*last_));
    last_ = &last;
  }

  // Behind the last one comes the first. Not two pointers: compilers write a pair of them with one
  // vector instruction, and a processor may be slow to read back half of that.
  R* last_ = nullptr;
};

/// The function that a TagSet calls with each I/O that has ended, and the function's argument.
/// Context: the function runs where the end was completed, which may be an interrupt, the drop of
/// the last reference on any thread, or a handle's destructor. It must not throw. A function that
/// only queues the list for the submitting context keeps user callbacks out of destructors.
template <class R>
class EndSink {
 public:
  using Function = void (*)(void* context, EndedList<R>&& ended);

  /// No function. TagSet::create refuses such a sink with no_end_sink.
  EndSink() = default;
  EndSink(Function function, void* context) noexcept : EndSink{function, context, nullptr} {}

  /// Calls `target(EndedList<R>&&)`.
  /// Precondition: `target` outlives the TagSet.
  template <class F>
  [[nodiscard]] static EndSink to(F& target) noexcept {
    // The const of a const target is restored by F.
    return {
        [](void* context, EndedList<R>&& ended) { (*static_cast<F*>(context))(std::move(ended)); },
        const_cast<std::remove_const_t<F>*>(&target),
        [](const detail::TagSetState& core, void* request) {
          (*static_cast<F*>(core.end_context))(EndedList<R>::of_one(*static_cast<R*>(request)));
        }};
  }

  /// Frees the tags and calls no function.
  [[nodiscard]] static EndSink freeing() noexcept {
    return {[](void*, EndedList<R>&& ended) { const EndedList<R> dropped{std::move(ended)}; },
            nullptr,
            [](const detail::TagSetState&, void* request) {
              const auto dropped = EndedList<R>::of_one(*static_cast<R*>(request));
            }};
  }

 private:
  friend struct detail::TagSetStorage<R>;

  /// Delivers one request. The code of `to`'s target is inlined in it and the list stays in
  /// registers; through `function` the list goes through memory, on which every I/O waits.
  using Delivery = void (*)(const detail::TagSetState& core, void* request);

  EndSink(Function function, void* context, Delivery delivery) noexcept
      : function_{function}, context_{context}, delivery_{delivery} {}

  Function function_ = nullptr;
  void* context_ = nullptr;
  Delivery delivery_ = nullptr;  // null: through function_
};

namespace detail {

/// Sets how the I/O ends. Before the word's end operation, which releases it.
template <class R>
void set_outcome(R& request, Status status, bool requeue) noexcept {
  HeaderAccess::status(header_of(request)) = status;
  HeaderAccess::requeue(header_of(request)) = requeue;
}

/// Hands a request whose word is idle again to its TagSet's sink.
template <class R>
void deliver(R& request) noexcept {
  const TagSetState& core = core_of(request);
  core.delivery(core, &request);
}

/// The delivery of a sink that has none of its own.
template <class R>
void deliver_by_function(const TagSetState& core, void* request) {
  const auto function = reinterpret_cast<typename EndSink<R>::Function>(core.end_function);
  function(core.end_context, EndedList<R>::of_one(*static_cast<R*>(request)));
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
