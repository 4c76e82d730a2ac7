// SPDX-License-Identifier: BSL-1.0
//
// A minimal driver: a TagSet that records ended I/Os and reports, and short calls that bring an I/O
// into the state that a test needs.

#ifndef BLKOWN_TESTS_SUPPORT_DRIVER_HPP
#define BLKOWN_TESTS_SUPPORT_DRIVER_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <map>
#include <string>
#include <utility>

#include "printing.hpp"
#include "recording.hpp"
#include "word_text.hpp"

namespace support {

struct Command {
  int sectors = 0;
};
using Request = blkown::Request<Command>;
using Idle = blkown::Idle<Request>;
using Owned = blkown::Owned<Request>;
using Claim = blkown::Claim<Request>;
using ARef = blkown::ARef<Request>;
using Ended = blkown::Ended<Request>;
using EndedList = blkown::EndedList<Request>;
using TagSet = blkown::TagSet<Request>;

/// Two queues of eight; the first publication of queue 0, tag 0 has generation 101.
inline constexpr blkown::TagSetConfig two_queues_of_eight{
    .queue_count = 2,
    .depth = 8,
    .layout = blkown::CookieLayout::nbd(),
    .first_generation = blkown::Generation{100}};

/// The generation of a request after `publications` of them, in a TagSet that begins at `first`.
[[nodiscard]] constexpr blkown::Generation generation_after(
    std::uint32_t publications, std::uint32_t tag, std::uint32_t queue,
    blkown::Generation first = {two_queues_of_eight.first_generation->value}) {
  const blkown::Generation begin =
      blkown::detail::first_generation_of(first, blkown::QueueIndex{queue}, blkown::Tag{tag});
  using Value = blkown::detail::RefValue<blkown::Word>;
  return Value::idle_at({begin.value + publications}).generation();
}

/// The result's value. Ends the test program for an error, as value() does without exceptions, but
/// does not need a copyable error.
template <class T, class E>
[[nodiscard]] T take_value(std::expected<T, E> result) {
  if (!result.has_value()) {
    std::fputs("take_value: the result is an error\n", stderr);
    std::abort();
  }
  return *std::move(result);
}

/// A call that cannot do its work ends the program, which fails the test.
template <class R = Request>
class Driver {
 public:
  explicit Driver(const blkown::TagSetConfig& config = two_queues_of_eight)
      : set{blkown::TagSet<R>::create(config, blkown::EndSink<R>::to(sink)).value()} {}

  [[nodiscard]] blkown::Idle<R> idle(std::uint32_t tag = 0, std::uint32_t queue = 0) {
    auto taken = set.allocate_tag(blkown::QueueIndex{queue}, blkown::Tag{tag});
    headers_[{queue, tag}] = &taken.value().header();
    return *std::move(taken);
  }
  [[nodiscard]] blkown::Owned<R> owned(std::uint32_t tag = 0, std::uint32_t queue = 0) {
    return idle(tag, queue).start();
  }
  /// Puts an I/O in flight, without a handle.
  [[nodiscard]] blkown::Cookie in_flight(std::uint32_t tag = 0, std::uint32_t queue = 0) {
    return publish(owned(tag, queue));
  }
  /// Puts an I/O in flight and claims it by a lookup.
  [[nodiscard]] blkown::Claim<R> claimed(std::uint32_t tag = 0, std::uint32_t queue = 0) {
    return claim(in_flight(tag, queue));
  }

  /// Publishes an Owned or a Claim to a device that accepts every command.
  template <class Handle>
  [[nodiscard]] static blkown::Cookie publish(Handle handle) {
    blkown::Cookie sent;
    std::move(handle).publish([&](const blkown::Cookie& cookie) { sent = cookie; });
    return sent;
  }

  [[nodiscard]] blkown::Claim<R> claim(const blkown::Cookie& cookie) {
    return set.claim(cookie.queue, cookie.value).value();
  }
  [[nodiscard]] blkown::ARef<R> pin(const blkown::Cookie& cookie) {
    return set.tag_to_rq(cookie.queue, cookie.value).value();
  }

  /// The reason for which a lookup refuses the cookie. None: the lookup succeeded, and the I/O was
  /// ended.
  [[nodiscard]] blkown::LookupReason refusal(const blkown::Cookie& cookie) {
    auto claim = set.claim(cookie.queue, cookie.value);
    if (!claim.has_value()) return claim.error().reason;
    std::move(*claim).end_ok();
    return blkown::LookupReason::none;
  }
  /// Ends an I/O that is in flight.
  void complete(const blkown::Cookie& cookie) { claim(cookie).end_ok(); }

  /// The state of a request's word, as text. Works for requests that this driver has used.
  [[nodiscard]] std::string state(std::uint32_t tag = 0, std::uint32_t queue = 0) const {
    return state_at(header(tag, queue));
  }
  [[nodiscard]] std::uint32_t generation(std::uint32_t tag = 0, std::uint32_t queue = 0) const {
    return word_at(header(tag, queue)).generation().value;
  }
  [[nodiscard]] const blkown::RequestHeader& header(std::uint32_t tag = 0,
                                                    std::uint32_t queue = 0) const {
    return *headers_.at({queue, tag});
  }

  ReportLog reports;
  RecordingSink<R> sink;
  blkown::TagSet<R> set;

 private:
  std::map<std::pair<std::uint32_t, std::uint32_t>, const blkown::RequestHeader*> headers_;
};

}  // namespace support

#endif
