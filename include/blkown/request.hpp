// SPDX-License-Identifier: BSL-1.0
//
// A request: the header with its ownership word, and the driver's data behind it. What all the
// requests of one TagSet share is here too, because each header points to it.

#ifndef BLKOWN_REQUEST_HPP
#define BLKOWN_REQUEST_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/fwd.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <blkown/tracking.hpp>
#include <concepts>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

namespace detail {

template <class R>
struct TagSetStorage;

/// What all requests of one TagSet share. Its address does not change while the TagSet lives.
struct TagSetState {
  using AnyFunction = void (*)();

  CookieLayout layout;
  CookieCodec codec;  // of the layout
  std::uint32_t queue_count = 0;
  std::uint32_t depth = 0;
  std::byte* slots = nullptr;
  TagBitmap* bitmaps = nullptr;  // one for each queue
  void (*delivery)(const TagSetState& core,
                   void* request) = nullptr;  // how an end gets to the sink
  AnyFunction end_function = nullptr;         // EndSink<R>::Function
  void* end_context = nullptr;
  void (*free_storage)(void* storage) = nullptr;  // null: the storage is the caller's

  [[nodiscard]] TagCache make_cache(QueueIndex queue, std::uint32_t capacity,
                                    Place place) const noexcept {
    check_queue(queue, "TagSet::tag_cache", place);
    return {bitmaps[queue.value], queue, capacity};
  }

  /// A tag out of the stash or the queue; false if none is free.
  [[nodiscard]] bool take(QueueIndex queue, TagCache& cache, Tag& tag, Place place) const noexcept {
    check_cache(queue, cache, "TagSet::allocate", place);
    tag.value = cache.take();
    return tag.value != TagCache::no_tag;
  }

  void give(QueueIndex queue, Tag tag, TagCache& cache, Place place) const noexcept {
    check_cache(queue, cache, "Ended::release", place);
    cache.give(tag);
  }

  void check_queue(QueueIndex queue, const char* operation, Place place) const noexcept {
    if (queue.value >= queue_count) [[unlikely]] {
      violate_queue(Violation::no_such_queue, queue, operation, place);
    }
  }

  [[nodiscard]] static Incident incident_of(QueueIndex queue, const char* operation,
                                            Place place) noexcept {
    Incident incident = Incident::of(operation, place);
    incident.has_queue = true;
    incident.queue = queue;
    return incident;
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_queue(Violation violation,
                                                                   QueueIndex queue,
                                                                   const char* operation,
                                                                   Place place) {
    violate(violation, incident_of(queue, operation, place));
  }

 private:
  void check_cache(QueueIndex queue, const TagCache& cache, const char* operation,
                   Place place) const noexcept {
    check_queue(queue, operation, place);
    if (cache.bitmap_ != &bitmaps[queue.value]) [[unlikely]] {
      violate_queue(Violation::tag_cache_of_other, queue, operation, place);
    }
  }
};

struct HeaderAccess;

}  // namespace detail

/// The library's part of a request: the ownership word, the request's name, and the end's outcome
/// and link, which belong to whoever ends the I/O. Embedded in a struct of the user's own it makes
/// that struct a request (RequestTraits). Not copyable and never moved: lookups find it by address.
class RequestHeader {
 public:
  RequestHeader() = default;
  RequestHeader(const RequestHeader&) = delete;
  RequestHeader& operator=(const RequestHeader&) = delete;

  /// The hardware queue the request belongs to. Constant from the TagSet's creation on.
  [[nodiscard]] QueueIndex queue() const noexcept { return QueueIndex{queue_}; }
  /// The request's index within its queue. Constant from the TagSet's creation on.
  [[nodiscard]] Tag tag() const noexcept { return tag_; }

 private:
  friend struct detail::HeaderAccess;

  detail::RefWord<Word> word_;
  Tag tag_;
  std::uint16_t queue_ = 0;
  Status status_ = Status::ok;
  bool requeue_ = false;
  const detail::TagSetState* core_ = nullptr;
  void* next_ = nullptr;  // the request behind this one in a list
};

static_assert(sizeof(RequestHeader) <= 40, "a header leaves most of the first line to the data");
static_assert(std::is_standard_layout_v<RequestHeader>);

/// How the library finds its header in a request of type R. Specialised for Request<T>; for a
/// struct of one's own:
///
///   template <>
///   struct blkown::RequestTraits<my_request> : blkown::EmbeddedHeader<&my_request::header> {};
template <class R>
struct RequestTraits;

template <auto Member>
struct EmbeddedHeader;

/// A header that is a data member; the data of such a request is the whole struct.
template <class R, RequestHeader R::* Member>
struct EmbeddedHeader<Member> {
  using Data = R;
  [[nodiscard]] static RequestHeader& header(R& request) noexcept { return request.*Member; }
  [[nodiscard]] static R& data(R& request) noexcept { return request; }
};

/// A type that a TagSet can hold: it has a RequestHeader that RequestTraits finds.
template <class R>
concept RequestType = requires(R& request) {
  typename RequestTraits<R>::Data;
  { RequestTraits<R>::header(request) } -> std::same_as<RequestHeader&>;
  { RequestTraits<R>::data(request) } -> std::same_as<typename RequestTraits<R>::Data&>;
};

/// A request with the driver's data T (a command, its segments, a mapping), which is built once and
/// kept across I/Os. It is only reached through a handle: Idle, Owned, Claim, or ARef where
/// shared_data<T> allows.
template <class T>
class Request {
 public:
  using Data = T;

 private:
  friend struct RequestTraits<Request>;
  friend struct detail::TagSetStorage<Request>;

  template <class Build>
  Request(Build& build, QueueIndex queue, Tag tag) : data_(build(queue, tag)) {}

  // The member and not the class: data of an alignment above a line's must be able to raise it.
  alignas(cache_line_bytes) RequestHeader header_;
  T data_;
};

template <class T>
struct RequestTraits<Request<T>> {
  using Data = T;
  [[nodiscard]] static RequestHeader& header(Request<T>& request) noexcept {
    return request.header_;
  }
  [[nodiscard]] static T& data(Request<T>& request) noexcept { return request.data_; }
};

namespace detail {

/// What a Claim's holder may assume about the device. A set of bits, kept beside the Claim's
/// pointer.
enum class ClaimOrigin : std::uint8_t {
  published = 1,  ///< Bit: the I/O was published, so the Claim may be released.
  completed = 2,  ///< Bit: the device has completed or refused the I/O and no longer uses it.

  owner = 0,                           ///< From an Owned.
  bystander = published,               ///< From a pin or a tag alone.
  completion = published | completed,  ///< From the I/O's completion or the device's refusal.
};

/// Whether `origin` has the bit `part`.
[[nodiscard]] constexpr bool includes(ClaimOrigin origin, ClaimOrigin part) noexcept {
  return (static_cast<unsigned>(origin) & static_cast<unsigned>(part)) != 0;
}

/// The way from one handle to another; users have the handles' own members.
struct HandleAccess {
  template <template <class> class Handle, class R>
  [[nodiscard]] static Handle<R> make(R& request) noexcept {
    return Handle<R>{request};
  }
  template <class R>
  [[nodiscard]] static ARef<R> make_reference(R& request, TrackedPlace where) noexcept {
    return ARef<R>{request, where};
  }
  template <class R>
  [[nodiscard]] static Claim<R> make_claim(R& request, ClaimOrigin origin) noexcept {
    return Claim<R>{request, origin};
  }
  template <class R>
  [[nodiscard]] static ClaimOrigin origin(const Claim<R>& claim) noexcept {
    return claim.origin();
  }
  /// What the handle held, null if nothing; it holds nothing any more.
  template <template <class> class Handle, class R>
  [[nodiscard]] static R* take(Handle<R>& handle) noexcept {
    return std::exchange(handle.request_, nullptr);
  }
  template <class R>
  [[nodiscard]] static R* take_reference(ARef<R>& reference) noexcept {
    return reference.take();
  }
  template <class R>
  [[nodiscard]] static R* take_claim(Claim<R>& claim) noexcept {
    return Claim<R>::pointer_in(std::exchange(claim.bits_, 0));
  }
  /// Ended requests that are linked already, as a ring that ends with `last`.
  template <class R>
  static void append(EndedList<R>& list, R& last) noexcept {
    list.append_ring(last);
  }
  template <template <class> class Handle, class R>
  [[nodiscard]] static R* look(const Handle<R>& handle) noexcept {
    return handle.request_;
  }
};

/// The handles' way into a header.
struct HeaderAccess {
  [[nodiscard]] static RefWord<Word>& word(RequestHeader& header) noexcept { return header.word_; }
  [[nodiscard]] static const TagSetState& core(const RequestHeader& header) noexcept {
    return *header.core_;
  }
  static Status& status(RequestHeader& header) noexcept { return header.status_; }
  static bool& requeue(RequestHeader& header) noexcept { return header.requeue_; }
  static void*& next(RequestHeader& header) noexcept { return header.next_; }

  /// Names the request, once, while nobody else knows it.
  static void name(RequestHeader& header, const TagSetState& core, QueueIndex queue, Tag tag,
                   Generation first) noexcept {
    header.core_ = &core;
    header.queue_ = static_cast<std::uint16_t>(queue.value);
    header.tag_ = tag;
    header.word_.set_first_generation(first);
  }

  static void check_layout() noexcept {
    static_assert(offsetof(RequestHeader, word_) + sizeof(Word) <= cache_line_bytes);
    static_assert(offsetof(RequestHeader, queue_) + sizeof(std::uint16_t) <= cache_line_bytes);
    struct Empty {};
    static_assert(sizeof(Request<Empty>) == cache_line_bytes, "no data, one line");
    static_assert(alignof(Request<Empty>) == cache_line_bytes, "two requests never share a line");
  }
};

template <class R>
[[nodiscard]] RequestHeader& header_of(R& request) noexcept {
  return RequestTraits<R>::header(request);
}
template <class R>
[[nodiscard]] RefWord<Word>& word_of(R& request) noexcept {
  return HeaderAccess::word(header_of(request));
}
template <class R>
[[nodiscard]] const TagSetState& core_of(R& request) noexcept {
  return HeaderAccess::core(header_of(request));
}
template <class R>
[[nodiscard]] Cookie cookie_of(R& request, Generation generation) noexcept {
  const RequestHeader& header = header_of(request);
  return HeaderAccess::core(header).codec.cookie(header.queue(), header.tag(), generation);
}

[[nodiscard]] inline Incident incident_of(const RequestHeader& header, RefValue<Word> seen,
                                          const char* operation, Place place) noexcept {
  Incident incident = Incident::of(operation, place);
  incident.has_queue = true;
  incident.has_request = true;
  incident.queue = header.queue();
  incident.tag = header.tag();
  incident.state.generation = seen.generation();
  incident.state.count = static_cast<std::uint32_t>(seen.count());
  incident.state.owned = seen.owned();
  incident.state.claimed = seen.claimed();
  incident.state.finished = seen.finished();
  incident.header = &header;
  return incident;
}

/// A violation about a request, from the value that the failing operation read.
[[noreturn, gnu::cold, gnu::noinline]] inline void violate_request(Violation violation,
                                                                   const RequestHeader& header,
                                                                   RefValue<Word> seen,
                                                                   const char* operation,
                                                                   Place place = Place{}) {
  violate(violation, incident_of(header, seen, operation, place));
}

/// A report about a request.
[[gnu::cold, gnu::noinline]] inline void report_request(Report what, const RequestHeader& header,
                                                        RefValue<Word> seen,
                                                        const char* operation) {
  report(what, incident_of(header, seen, operation, Place{}));
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
