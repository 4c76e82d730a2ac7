// SPDX-License-Identifier: BSL-1.0
//
// Goal: a single context operates on a few requests in any order that its handles allow, and every
// step has its documented result.
//
// Method: the input is a sequence of operations: on existing handles, lookups, scans, and tags
// through two caches for each queue. The library and a plain model (request_model.hpp) both perform
// each operation.
//
// Invariants: after each step every answer, every word, the cookie of every handle and every Ended
// agree with the model (operations_machine.hpp). A tag is given only if it is free, and refused
// only if none is free or the other cache holds the free ones. At the end every tag is free.

#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <string>
#include <type_traits>
#include <utility>

#include "fuzz_case.hpp"
#include "operations_machine.hpp"
#include "operations_tags.hpp"
#include "request_model.hpp"

namespace fuzz {
namespace {

void count_report(blkown::Report, const blkown::Incident&) { ++Machine::reports; }

class OperationsCase : private TagOperations {
 public:
  explicit OperationsCase(Bytes bytes) : TagOperations{bytes} {}

  [[nodiscard]] std::string run() {
    const auto before = blkown::set_report_handler(&count_report);
    machine.check("at first");
    while (!input.exhausted() && machine.verdict.clean()) {
      do_one();
      machine.check(step);
    }
    if (machine.verdict.clean()) clean_up();
    blkown::set_report_handler(before);
    return machine.verdict.first();
  }

 private:
  void do_one() {
    const std::uint32_t chosen = input.below(20);
    Slot& here = machine.slots[input.below(static_cast<std::uint32_t>(machine.slots.size()))];
    switch (chosen) {
      case 0: allocate(here); break;
      case 1: allocate_tag(); break;
      case 2:
      case 3:
        if (here.idle) use_idle(here);
        break;
      case 4:
      case 5:
      case 6:
        if (here.owned) use_owned(here);
        break;
      case 7:
      case 8:
      case 9:
        if (here.claim) use_claim(here);
        break;
      case 10:
      case 11:
      case 12:
        if (!here.references.empty()) use_reference(here);
        break;
      case 13:
      case 14: look_up(here); break;
      case 15: scan(here.queue); break;
      case 16:
        if (here.ended) use_ended(here);
        break;
      case 17: use_list(here); break;
      case 18: use_caches(here); break;
      default: pass_through_raw(here); break;
    }
  }

  [[nodiscard]] Status any_status() {
    return static_cast<Status>(input.below(static_cast<std::uint32_t>(blkown::status_count)));
  }

  void use_idle(Slot& here) {
    Idle idle = take(here.idle);
    const Status status = any_status();
    switch (input.below(4)) {
      case 0:
        step = "Idle::fail";
        static_cast<void>(here.model.end(status, false));
        std::move(idle).fail(status);
        break;
      case 1:
        step = "Idle::requeue";
        static_cast<void>(here.model.end(Status::ok, true));
        std::move(idle).requeue();
        break;
      case 2:
        step = "drop of Idle";
        static_cast<void>(here.model.end(Status::io_error, false));
        ++machine.expected_reports;
        break;
      default:
        step = "Idle::start";
        here.model.holder = Holder::owned;
        here.owned.emplace(std::move(idle).start());
        break;
    }
  }

  void use_owned(Slot& here) {
    Owned owned = take(here.owned);
    switch (input.below(7)) {
      case 0:
        step = "Owned::into_shared";
        here.model.publish(1);
        here.references.push_back(std::move(owned).into_shared());
        break;
      case 1:
        step = "Owned::into_claim";
        here.model.take_right(false);
        here.model.claim_published = false;
        here.claim.emplace(std::move(owned).into_claim());
        break;
      case 2: publish(here, std::move(owned), "Owned::publish"); break;
      case 3:
        step = "Owned::park";
        here.model.publish(0);
        std::move(owned).park();
        break;
      case 4:
        step = "drop of Owned";
        here.model.publish(0);
        break;
      default: end(here, std::move(owned)); break;
    }
  }

  void use_claim(Slot& here) {
    RequestModel& model = here.model;
    const std::uint32_t what = input.below(7);
    if (what == 0 && here.references.size() < max_references) {
      step = "Claim::pin";
      model.pin();
      here.references.push_back(here.claim->pin());
      return;
    }
    Claim claim = take(here.claim);
    if (what == 1 && model.claim_published) {
      step = "Claim::release";
      model.release();
      std::move(claim).release();
    } else if (what == 2) {
      step = "Claim::into_owned";
      auto owned = std::move(claim).into_owned();
      expect(owned.has_value() == (model.references == 0), "an Owned, or the Claim back");
      if (owned.has_value()) {
        model.take_unique();
        here.owned.emplace(std::move(*owned));
      } else {
        here.claim.emplace(std::move(owned.error()));
      }
    } else if (what == 3) {
      step = "drop of Claim";
      static_cast<void>(model.end(Status::io_error, false));
      ++machine.expected_reports;
    } else if (what < 6) {
      publish(here, std::move(claim), "Claim::publish");
    } else {
      end(here, std::move(claim));
    }
  }

  template <class Handle>
  void end(Slot& here, Handle handle) {
    const Status status = any_status();
    switch (input.below(3)) {
      case 0:
        step = "end_ok";
        static_cast<void>(here.model.end(Status::ok, false));
        std::move(handle).end_ok();
        break;
      case 1:
        step = "end";
        static_cast<void>(here.model.end(status, false));
        std::move(handle).end(status);
        break;
      default:
        step = "requeue";
        static_cast<void>(here.model.end(Status::ok, true));
        std::move(handle).requeue();
        break;
    }
  }

  /// Publishes to a device that accepts or refuses the command, with completions that precede its
  /// answer.
  template <class Handle>
  void publish(Slot& here, Handle handle, const char* operation) {
    step = operation;
    RequestModel& model = here.model;
    const bool refuses = input.flag();
    const bool ignored = input.flag();
    std::uint64_t published = 0;
    auto result = std::move(handle).publish([&](blkown::Cookie cookie) -> std::expected<int, int> {
      // The I/O is visible before the device has the command.
      model.publish(model.references);
      published = model.generation;
      expect(cookie == here.cookie(), "the cookie");
      for (std::uint32_t meddling = input.below(3); meddling != 0; --meddling) meddle(here);
      if (refuses) return std::unexpected(7);
      return 5;
    });
    step = operation;
    expect(result.has_value() != refuses, "whether the device took it");
    if (result.has_value()) {
      expect(*result == 5, "issue's value");
      return;
    }
    expect(result.error().error == 7, "issue's error");
    const bool is_free = model.holder == Holder::device && model.generation == published;
    expect(result.error().claim.has_value() == is_free, "whether the right was taken back");
    if (!is_free) return;
    model.take_right(model.references != 0);
    if (ignored) {
      static_cast<void>(model.end(Status::io_error, false));
      ++machine.expected_reports;
    } else {
      here.claim.emplace(std::move(*result.error().claim));
    }
  }
  /// Looks the request up and uses the handle.
  void meddle(Slot& here) {
    look_up(here);
    if (here.owned && input.flag()) {
      here.model.publish(0);
      take(here.owned).park();
    } else if (here.claim && here.model.claim_published && input.flag()) {
      here.model.release();
      take(here.claim).release();
    }
  }

  void use_reference(Slot& here) {
    RequestModel& model = here.model;
    const std::uint32_t what = input.below(7);
    const std::size_t index = input.byte() % here.references.size();
    if (what == 0) {
      if (here.references.size() == max_references) return;
      step = "copy of ARef";
      ++model.references;
      here.references.push_back(ARef{here.references[index]});
      return;
    }
    if (what == 1) {
      claim_beside(here, index);
      return;
    }
    std::swap(here.references[index], here.references.back());
    ARef reference = std::move(here.references.back());
    here.references.pop_back();
    const bool last = model.references == 1;
    if (what == 2) {
      step = "try_from_shared";
      const bool alone = last && model.holder == Holder::device;
      if (alone) model.take_unique();
      keep_either(here, alone, Owned::try_from_shared(std::move(reference)));
    } else if (what == 3) {
      step = "drop_or_own";
      const bool alone = last && model.holder == Holder::device;
      if (alone) {
        model.take_unique();
      } else {
        static_cast<void>(model.drop());
      }
      auto owned = drop_or_own(std::move(reference));
      expect(owned.has_value() == alone, "whether it was alone");
      if (owned) here.owned.emplace(std::move(*owned));
    } else if (what == 4) {
      step = "try_claim";
      const blkown::Cookie cookie = any_cookie(here);
      const bool had = refusal_by_cookie(here, cookie) == LookupReason::none;
      if (had) {
        model.take_right(true);
        --model.references;
      }
      keep_either(here, had, try_claim(std::move(reference), cookie));
    } else {
      step = "drop of ARef";
      static_cast<void>(model.drop());
    }
  }

  /// Keeps the handle that a conversion of a reference returned: the converted one, or the
  /// reference.
  template <class Handle>
  void keep_either(Slot& here, bool expected, std::expected<Handle, ARef> had) {
    expect(had.has_value() == expected, "the handle, or the reference back");
    if (!had.has_value()) {
      here.references.push_back(std::move(had.error()));
    } else if constexpr (std::is_same_v<Handle, Owned>) {
      here.owned.emplace(std::move(*had));
    } else {
      here.claim.emplace(std::move(*had));
    }
  }

  // --- the rest ----------------------------------------------------------------------------------

  /// Passes handles through a C interface and back.
  void pass_through_raw(Slot& here) {
    step = "into_raw, from_raw";
    if (here.idle) here.idle.emplace(Idle::from_raw(take(here.idle).into_raw()));
    if (here.owned) here.owned.emplace(Owned::from_raw(take(here.owned).into_raw()));
    if (here.claim) here.claim.emplace(Claim::from_raw(take(here.claim).into_raw()));
    if (!here.references.empty()) {
      here.references.front() = ARef::from_raw(std::move(here.references.front()).into_raw());
    }
  }

  /// Ends everything and checks that every tag can be allocated again.
  void clean_up() {
    machine.wait.reset();
    for (Slot& here : machine.slots) {
      if (here.idle) std::move(*here.idle).fail(Status::aborted);
      if (here.owned) std::move(*here.owned).end(Status::aborted);
      if (here.claim) std::move(*here.claim).end(Status::aborted);
      here.references.clear();
      auto parked = machine.tags.claim_any_generation(here.queue, here.tag);
      if (parked.has_value()) std::move(*parked).end(Status::aborted);
      here.ended.reset();
    }
    drop_list();
    for (auto& cache : machine.caches) cache.flush();
    step = "clean up";
    for (const Slot& here : machine.slots) {
      auto idle = machine.tags.allocate_tag(here.queue, here.tag);
      expect(idle.has_value(), "a tag was lost");
      if (idle) std::move(*idle).fail(Status::aborted);
    }
    for (Slot& here : machine.slots) here.ended.reset();
    expect(machine.tags.in_flight() == 0, "an I/O left over");
  }
};

}  // namespace

std::string run_case(Bytes bytes) { return OperationsCase{bytes}.run(); }

}  // namespace fuzz
