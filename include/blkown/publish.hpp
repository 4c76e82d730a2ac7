// SPDX-License-Identifier: BSL-1.0
//
// Publishing an I/O and taking it back when the device refuses it.
//
// Parties: the publisher, which calls publish(issue) on an Owned or a Claim; the device; and the
// lookups of its completions, in any context.
//
//   1. The word becomes parked under the next generation (a release). From here on lookups find the
//      request, and its I/O may end and its tag be allocated again at any moment.
//   2. `issue(Cookie)` gives the command to the device. A completion may be processed before
//      `issue` returns, because step 1 comes first. The publisher touches nothing of the request
//      but the word.
//   3. If `issue` returns an error, the publisher claims the I/O again, for exactly the published
//      generation. The claim fails if a completion, possibly a forged one, has claimed the I/O
//      first; then that Claim ends the I/O.
//
// An I/O is therefore never lost: it is in flight at the device, or one Claim has it. A publisher
// that ignores the error drops the Claim in Refused, which ends the I/O with io_error and a report.

#ifndef BLKOWN_PUBLISH_HPP
#define BLKOWN_PUBLISH_HPP

#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/fwd.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <expected>
#include <optional>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The error of a publish(issue) whose `issue` returned one. `claim` is the right to the I/O, to be
/// published again, ended or requeued. `claim` is empty if a completion, possibly a forged one, has
/// claimed the I/O; then the holder of that Claim ends the I/O. Dropping a Refused ends the I/O
/// with io_error and a report.
template <class R, class E>
struct [[nodiscard]] Refused {
  E error;
  std::optional<Claim<R>> claim;
};

namespace detail {

/// The result of publish for each answer of `issue`.
template <class R, class Answer>
struct PublishResult {
  using Type = void;
};
template <class R, class T, class E>
struct PublishResult<R, std::expected<T, E>> {
  using Type = std::expected<T, Refused<R, E>>;
};

template <class Answer>
inline constexpr bool is_issue_answer = std::is_void_v<Answer>;
template <class T, class E>
inline constexpr bool is_issue_answer<std::expected<T, E>> = true;

/// The answer of `issue`.
template <class Issue>
using IssueAnswer = std::remove_cvref_t<std::invoke_result_t<Issue&, const Cookie&>>;

/// A function that publish can call to give the command to the device.
template <class Issue>
concept IsIssue = std::is_invocable_v<Issue&, const Cookie&> && is_issue_answer<IssueAnswer<Issue>>;

/// The result of publish(issue): void if `issue` returns void, else the std::expected of `issue`
/// with Refused in place of its error.
template <class R, class Issue>
using PublishResultOf = typename PublishResult<R, IssueAnswer<Issue>>::Type;

/// The result of publish(issue) with an `issue` of a wrong shape. The call completes this type, so
/// that the compiler gives the sentence before it complains about the use of the result.
template <class Issue>
struct WrongIssue {
  static_assert(std::is_invocable_v<Issue&, const Cookie&>,
                "publish(issue): issue takes one argument, a const blkown::Cookie&");
  static_assert(!std::is_invocable_v<Issue&, const Cookie&> || IsIssue<Issue>,
                "publish(issue): issue(Cookie) returns void, or std::expected<T, E> to refuse");
};

/// The right to an I/O whose command the device refused. Empty if another party has claimed the
/// I/O.
template <class R>
[[nodiscard]] std::optional<Claim<R>> take_back(R& request, Generation published,
                                                TrackedPlace where) noexcept {
  RefValue<Word> seen;
  if (!word_of(request).take_back(published, seen)) return std::nullopt;
  return HandleAccess::make_claim(request, ClaimOrigin::completion, where);
}

/// Steps 2 and 3 of a publication.
template <class R, class Issue>
[[nodiscard]] PublishResultOf<R, Issue> issue_published(R& request, const Cookie& cookie,
                                                        Issue& issue, TrackedPlace where) noexcept {
  using Result = PublishResultOf<R, Issue>;
  if constexpr (std::is_void_v<Result>) {
    issue(cookie);
  } else {
    auto answer = issue(cookie);
    if (!answer.has_value()) {
      return std::unexpected(typename Result::error_type{
          std::move(answer).error(), take_back(request, cookie.generation, where)});
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
