// SPDX-License-Identifier: BSL-1.0
//
// A request: a header with the ownership word, and the driver's data.

#ifndef BLKOWN_REQUEST_HPP
#define BLKOWN_REQUEST_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/detail/tag_set_state.hpp>
#include <blkown/place.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

template <class R>
struct TagSetStorage;
struct HeaderAccess;

}  // namespace detail

/// The library's part of a request: the ownership word, the queue and the tag, the status of the
/// end and a link for lists of ended requests. A user's own struct with a RequestHeader member is a
/// request (RequestTraits). A header is neither copied nor moved, because lookups find the request
/// by its address.
class RequestHeader {
 public:
  RequestHeader() = default;
  RequestHeader(const RequestHeader&) = delete;
  RequestHeader& operator=(const RequestHeader&) = delete;

  /// The request's hardware queue, which does not change.
  [[nodiscard]] QueueIndex queue() const noexcept { return QueueIndex{queue_}; }
  /// The request's index in its queue, which does not change.
  [[nodiscard]] Tag tag() const noexcept { return tag_; }

 private:
  friend struct detail::HeaderAccess;

  detail::RefWord<Word> word_;
  Tag tag_;
  std::uint16_t queue_ = 0;
  Status status_ = Status::ok;
  bool requeue_ = false;
  const detail::TagSetState* state_ = nullptr;
  void* next_ = nullptr;  // the next request in an EndedList
#if BLKOWN_POISON
  detail::PoisonHoles holes_;
#endif
};

static_assert(sizeof(RequestHeader) <= 40, "the data gets room in the header's cache line");
static_assert(std::is_standard_layout_v<RequestHeader>);

/// How the library finds the header and the data of a request of type R. For a user's own struct:
///
///   template <>
///   struct blkown::RequestTraits<my_request> : blkown::EmbeddedHeader<&my_request::header> {};
///
/// Traits may also name the bytes that only the holder of an Idle, Owned, Claim or Ended uses, with
/// `static std::span<std::byte> poisoned_bytes(R&)`. These bytes, whole units of eight, are then
/// poisoned in a build with AddressSanitizer while no such handle exists (BLKOWN_POISON).
template <class R>
struct RequestTraits;

template <auto Member>
struct EmbeddedHeader;

/// The traits of a struct with a RequestHeader member. The data is the whole struct.
template <class R, RequestHeader R::* Member>
struct EmbeddedHeader<Member> {
  using Data = R;
  /// The header that the type names as its member.
  [[nodiscard]] static RequestHeader& header(R& request) noexcept { return request.*Member; }
  /// The whole object.
  [[nodiscard]] static R& data(R& request) noexcept { return request; }
};

/// A type that a TagSet can hold, for which RequestTraits is specialised.
template <class R>
concept RequestType = requires(R& request) {
  typename RequestTraits<R>::Data;
  { RequestTraits<R>::header(request) } -> std::same_as<RequestHeader&>;
  { RequestTraits<R>::data(request) } -> std::same_as<typename RequestTraits<R>::Data&>;
};

namespace detail {

/// Whether RequestTraits is specialised for the type. Unlike RequestType, the type may be
/// incomplete.
template <class R>
concept HasRequestTraits = requires { typename RequestTraits<R>::Data; };

}  // namespace detail

/// A request with the driver's data T, such as a command, its segments or a mapping. The data is
/// built once and is not reset between I/Os. Only a handle gives access to the data: Idle, Owned,
/// Claim, or ARef if shared_data<T> is true. A reference to the data ends with its handle: a build
/// with AddressSanitizer stops at the first access through an older one.
template <class T>
class Request {
 public:
  using Data = T;

 private:
  friend struct RequestTraits<Request>;
  friend struct detail::TagSetStorage<Request>;

  template <class Build>
  Request(Build& build, QueueIndex queue, Tag tag) : data_(build(queue, tag)) {}

  // The attribute is on the member and not on the class, so that data with a larger alignment
  // raises the alignment of the class.
  alignas(cache_line_bytes) RequestHeader header_;
  T data_;
};

/// The traits of the library's own request type.
template <class T>
struct RequestTraits<Request<T>> {
  using Data = T;
  /// The header inside the request.
  [[nodiscard]] static RequestHeader& header(Request<T>& request) noexcept {
    return request.header_;
  }
  /// The driver's data inside the request.
  [[nodiscard]] static T& data(Request<T>& request) noexcept { return request.data_; }
  /// The bytes that a build with AddressSanitizer poisons while no handle gives access to the data.
  [[nodiscard]] static std::span<std::byte> poisoned_bytes(Request<T>& request) noexcept {
    return detail::PoisonedPart<T>::of(request.data_);
  }
};

namespace detail {

/// Access to the private members of RequestHeader.
struct HeaderAccess {
  [[nodiscard]] static RefWord<Word>& word(RequestHeader& header) noexcept { return header.word_; }
  [[nodiscard]] static const TagSetState& state(const RequestHeader& header) noexcept {
    return *header.state_;
  }
  static Status& status(RequestHeader& header) noexcept { return header.status_; }
  static bool& requeue(RequestHeader& header) noexcept { return header.requeue_; }
  static void*& next(RequestHeader& header) noexcept { return header.next_; }
#if BLKOWN_POISON
  static PoisonHoles& holes(RequestHeader& header) noexcept { return header.holes_; }
#endif

  /// Sets the request's TagSet, queue, tag and first generation.
  /// Precondition: no other context has access to the request.
  static void identify(RequestHeader& header, const TagSetState& state, QueueIndex queue, Tag tag,
                       Generation first) noexcept {
    header.state_ = &state;
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
#if BLKOWN_POISON
template <class R>
[[nodiscard]] PoisonHoles& holes_of(R& request) noexcept {
  return HeaderAccess::holes(header_of(request));
}
#endif
/// The link of a request in a Ring.
template <class R>
struct RequestLink {
  [[nodiscard]] static R* next(R& request) noexcept {
    return static_cast<R*>(HeaderAccess::next(header_of(request)));
  }
  static void set_next(R& request, R* next) noexcept {
    HeaderAccess::next(header_of(request)) = next;
  }
};
template <class R>
[[nodiscard]] RefWord<Word>& word_of(R& request) noexcept {
  return HeaderAccess::word(header_of(request));
}
template <class R>
[[nodiscard]] const TagSetState& state_of(R& request) noexcept {
  return HeaderAccess::state(header_of(request));
}
template <class R>
[[nodiscard, gnu::always_inline]] inline Cookie cookie_of(R& request,
                                                          Generation generation) noexcept {
  const RequestHeader& header = header_of(request);
  return HeaderAccess::state(header).codec.cookie(header.queue(), header.tag(), generation);
}

/// An incident about a request whose word has the value `seen`.
[[nodiscard]] inline Incident incident_of(const RequestHeader& header, RefValue<Word> seen,
                                          const char* operation, Place place) noexcept {
  return {.operation = operation,
          .place = place,
          .has_queue = true,
          .has_request = true,
          .queue = header.queue(),
          .tag = header.tag(),
          .state = {.generation = seen.generation(),
                    .count = static_cast<std::uint32_t>(seen.count()),
                    .owned = seen.owned(),
                    .claimed = seen.claimed(),
                    .finished = seen.finished()},
          .header = &header};
}

/// Raises a violation about a request. `seen` is the value that the failing operation read.
[[noreturn, gnu::cold, gnu::noinline]] inline void violate_request(Violation violation,
                                                                   const RequestHeader& header,
                                                                   RefValue<Word> seen,
                                                                   const char* operation,
                                                                   Place place = Place{}) {
  violate(violation, incident_of(header, seen, operation, place));
}

/// Makes a report about a request. `seen` is a recent value of its word.
[[gnu::cold, gnu::noinline]] inline void report_request(Report what, const RequestHeader& header,
                                                        RefValue<Word> seen,
                                                        const char* operation) {
  report(what, incident_of(header, seen, operation, Place{}));
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
