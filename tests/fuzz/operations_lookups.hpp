// SPDX-License-Identifier: BSL-1.0
//
// The operations that find a request: lookups by cookie and by tag, scans, and claims beside a pin.

#ifndef BLKOWN_TESTS_FUZZ_OPERATIONS_LOOKUPS_HPP
#define BLKOWN_TESTS_FUZZ_OPERATIONS_LOOKUPS_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"
#include "operations_machine.hpp"
#include "request_model.hpp"

namespace fuzz {

/// The state that all operations work on.
class Operations {
 protected:
  explicit Operations(Bytes bytes)
      : input{bytes},
        // Half of the time the first generation is just before the wrap.
        machine{input.flag() ? ~input.below(4) : static_cast<std::uint32_t>(input.bits(4))} {}

  void expect(bool agreed, const char* what) {
    if (!agreed) machine.verdict.expect(false, step + ": " + what);
  }

  Input input;
  Machine machine;
  std::string step;  // the name of the operation
};

class LookupOperations : protected Operations {
 protected:
  using Operations::Operations;

  template <class Handle>
  void expect_answer(const std::expected<Handle, blkown::LookupError>& answer,
                     const blkown::LookupError& expected) {
    expect(answer.has_value() == (expected.reason == LookupReason::none),
           to_string(expected.reason));
    if (!answer.has_value()) expect(answer.error() == expected, "the error");
  }

  /// Looks a request up by cookie or by tag, with one of the three lookups.
  void look_up(Slot& here) {
    RequestModel& model = here.model;
    const std::uint32_t kind = input.below(3);
    const bool by_tag = input.flag();
    std::uint32_t wanted = model.seen_generation();
    if (!by_tag && input.flag()) wanted = near_generation(model);
    const std::uint64_t value =
        std::uint64_t{wanted} << 32 | std::uint64_t{here.queue.value} << 16 | here.tag.value;
    blkown::LookupError expected{.reason = model.refusal_of(wanted),
                                 .queue = here.queue,
                                 .tag = here.tag,
                                 .expected_generation = {by_tag ? 0 : wanted},
                                 .seen_generation = {model.seen_generation()}};
    Tags& tags = machine.tags;
    if (kind == 0) {
      step = "claim";
      auto claim =
          by_tag ? tags.claim_any_generation(here.queue, here.tag) : tags.claim(here.queue, value);
      expect_answer(claim, expected);
      if (!claim.has_value()) return;
      model.take_right(model.references != 0);
      here.claim.emplace(std::move(*claim));
    } else if (kind == 1) {
      step = "tag_to_owned";
      if (expected.reason == LookupReason::none && model.references != 0) {
        expected.reason = LookupReason::shared;
      }
      auto owned = by_tag ? tags.tag_to_owned_any_generation(here.queue, here.tag)
                          : tags.tag_to_owned(here.queue, value);
      expect_answer(owned, expected);
      if (!owned.has_value()) return;
      model.take_unique();
      here.owned.emplace(std::move(*owned));
    } else {
      step = "tag_to_rq";
      auto reference = by_tag ? tags.tag_to_rq_any_generation(here.queue, here.tag)
                              : tags.tag_to_rq(here.queue, value);
      expect_answer(reference, expected);
      if (!reference.has_value()) return;
      ++model.references;
      here.references.push_back(std::move(*reference));
    }
  }

  /// Visits the requests in flight that are not claimed, in the order of their tags.
  void scan(blkown::QueueIndex queue) {
    step = "for_each_in_flight";
    std::vector<std::uint32_t> expected;
    for (const Slot& here : machine.slots) {
      if (here.queue == queue && here.model.holder == Holder::device) {
        expected.push_back(here.tag.value);
      }
    }
    std::vector<std::uint32_t> visited;
    machine.tags.for_each_in_flight(queue, [&](ARef pin, const blkown::Cookie& cookie) {
      visited.push_back(pin.tag().value);
      Slot& here = machine.slot(queue, pin.tag());
      ++here.model.references;
      expect(cookie == here.cookie(), "the cookie");
      if (input.flag()) {
        auto claim = blkown::claim(pin, cookie);
        expect(claim.has_value(), "no right to what is in flight");
        if (claim.has_value()) {
          here.model.take_right(true);
          here.claim.emplace(std::move(*claim));
        }
      }
      if (here.references.size() < max_references && input.flag()) {
        here.references.push_back(std::move(pin));
      } else {
        static_cast<void>(here.model.drop());
      }
    });
    expect(visited == expected, "what was visited");
  }

  /// A cookie close to that of the slot.
  [[nodiscard]] blkown::Cookie any_cookie(const Slot& here) {
    blkown::Cookie cookie = here.cookie();
    if (input.flag()) cookie.generation = {near_generation(here.model)};
    if (input.below(8) == 1) cookie.tag.value ^= 1;
    if (input.below(8) == 1) cookie.queue.value ^= 1;
    return cookie;
  }
  [[nodiscard]] static LookupReason refusal_by_cookie(const Slot& here,
                                                      const blkown::Cookie& cookie) {
    if (cookie.tag != here.tag) return LookupReason::no_such_tag;
    if (cookie.queue != here.queue) return LookupReason::wrong_queue;
    return here.model.refusal_of(cookie.generation.value);
  }

  void claim_beside(Slot& here, std::size_t index) {
    step = "claim beside a pin";
    const blkown::Cookie cookie = any_cookie(here);
    const LookupReason reason = refusal_by_cookie(here, cookie);
    auto claim = blkown::claim(here.references[index], cookie);
    const bool named = cookie.tag == here.tag && cookie.queue == here.queue;
    expect_answer(claim, {.reason = reason,
                          .queue = cookie.queue,
                          .tag = cookie.tag,
                          .expected_generation = cookie.generation,
                          .seen_generation = {named ? here.model.seen_generation() : 0}});
    if (!claim.has_value()) return;
    here.model.take_right(true);
    here.claim.emplace(std::move(*claim));
  }

  static constexpr std::size_t max_references = 6;

 private:
  /// A generation from one before to two after the current one.
  [[nodiscard]] std::uint32_t near_generation(const RequestModel& model) {
    // Unsigned arithmetic wraps as generations do.
    return static_cast<std::uint32_t>((model.generation + input.below(4) - 1) %
                                      RequestModel::generations);
  }
};

}  // namespace fuzz

#endif
