// SPDX-License-Identifier: BSL-1.0
//
// Publishing: the request becomes visible to lookups first, and only then does the device hear of
// it, so that a completion that beats the doorbell's return is found. And what comes of it when the
// device refuses the command after all.

#ifndef BLKOWN_PUBLISH_HPP
#define BLKOWN_PUBLISH_HPP

#include <blkown/config.hpp>
#include <blkown/fwd.hpp>
#include <blkown/request.hpp>
#include <expected>
#include <optional>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The device did not take the command. `claim` is the right to the I/O, taken back, ready to be
/// published again, ended or requeued; it is empty if a completion, a forged one included, took it
/// in the meantime, and then that completion's holder ends the I/O. Ignoring a Refused ends the I/O
/// with io_error and a report; it is never left parked.
template <class R, class E>
struct [[nodiscard]] Refused {
  E error;
  std::optional<Claim<R>> claim;
};

namespace detail {

template <class R, class Result>
struct PublishResult {
  static_assert(!std::is_same_v<Result, Result>,
                "publish(issue): issue(Cookie) returns void, or std::expected<T, E> to refuse");
  using Type = void;  // the assertion says it all: no second error
};
template <class R>
struct PublishResult<R, void> {
  using Type = void;
};
template <class R, class T, class E>
struct PublishResult<R, std::expected<T, E>> {
  using Type = std::expected<T, Refused<R, E>>;
};

/// What publish(issue) returns: void if issue cannot refuse, else issue's own expected with Refused
/// in place of its error.
template <class R, class Issue>
using PublishResultOf =
    typename PublishResult<R, std::remove_cvref_t<std::invoke_result_t<Issue&, Cookie>>>::Type;

/// The right to an I/O whose command the device refused, unless somebody has it already.
template <class R>
[[nodiscard]] std::optional<Claim<R>> take_back(R& request, Generation published) noexcept {
  RefValue<Word> seen;
  if (!word_of(request).take_back(published, seen)) return std::nullopt;
  return HandleAccess::make_claim(request, ClaimOrigin::completion);
}

/// Tells the device about a request that is visible already. From here on the request may be
/// ended, and its tag used again, at any moment: only the word is touched, by take_back.
template <class R, class Issue>
[[nodiscard]] PublishResultOf<R, Issue> issue_published(R& request, const Cookie& cookie,
                                                        Issue& issue) noexcept {
  using Result = PublishResultOf<R, Issue>;
  if constexpr (std::is_void_v<Result>) {
    issue(cookie);
  } else {
    auto answer = issue(cookie);
    if (!answer.has_value()) {
      return std::unexpected(typename Result::error_type{std::move(answer).error(),
                                                         take_back(request, cookie.generation)});
    }
    if constexpr (std::is_void_v<typename Result::value_type>) {
      return Result{};
    } else {
      return Result{std::in_place, *std::move(answer)};
    }
  }
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
