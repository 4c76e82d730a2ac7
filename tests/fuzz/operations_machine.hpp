// SPDX-License-Identifier: BSL-1.0
//
// A few requests with all their handles, each beside its model, and the check that runs after every
// step.

#ifndef BLKOWN_TESTS_FUZZ_OPERATIONS_MACHINE_HPP
#define BLKOWN_TESTS_FUZZ_OPERATIONS_MACHINE_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"
#include "request_model.hpp"

namespace fuzz {

using Holder = RequestModel::Holder;

struct Data {
  std::uint64_t serial = 0;
};
using Rq = blkown::Request<Data>;
using Tags = blkown::TagSet<Rq>;
using Idle = blkown::Idle<Rq>;
using Owned = blkown::Owned<Rq>;
using Claim = blkown::Claim<Rq>;
using ARef = blkown::ARef<Rq>;
using Ended = blkown::Ended<Rq>;
using EndedList = blkown::EndedList<Rq>;

/// A request, its model, and all its handles.
struct Slot {
  Rq* request = nullptr;
  blkown::QueueIndex queue;
  blkown::Tag tag;
  RequestModel model;
  std::uint64_t serial = 0;  // of the I/O in progress

  std::optional<Idle> idle;
  std::optional<Owned> owned;
  std::optional<Claim> claim;
  std::vector<ARef> references;
  std::optional<Ended> ended;
  bool listed = false;  // its Ended is in the list of the machine

  /// The cookie that the model expects for the current publication; next_cookie is for the next
  /// one.
  [[nodiscard]] blkown::Cookie cookie() const { return named(model.seen_generation()); }
  [[nodiscard]] blkown::Cookie next_cookie() const { return named(model.next_generation()); }

 private:
  /// The layout of NBD, written out.
  [[nodiscard]] blkown::Cookie named(std::uint32_t generation) const {
    return {std::uint64_t{generation} << 32 | std::uint64_t{queue.value} << 16 | tag.value,
            {generation},
            tag,
            queue};
  }
};

class Machine {
 public:
  static constexpr std::uint32_t queue_count = 2;
  static constexpr std::uint32_t depth = 2;

  explicit Machine(std::uint32_t first_generation)
      : tags{std::move(*Tags::create(
            {.queue_count = queue_count, .depth = depth, .layout = blkown::CookieLayout::nbd()},
            blkown::EndSink<Rq>::to(sink_)))},
        caches{tags.tag_cache(blkown::QueueIndex{0}, 2), tags.tag_cache(blkown::QueueIndex{0}, 1),
               tags.tag_cache(blkown::QueueIndex{1}, 2), tags.tag_cache(blkown::QueueIndex{1}, 0)} {
    for (blkown::QueueIndex queue; queue.value != queue_count; ++queue.value) {
      for (blkown::Tag tag; tag.value != depth; ++tag.value) {
        Slot& here = slot(queue, tag);
        here.queue = queue;
        here.tag = tag;
        here.model.generation = first_generation % RequestModel::generations;
        here.request = std::move(*tags.allocate_tag(queue, tag)).into_raw();
        blkown::detail::word_of(*here.request).set_first_generation({first_generation});
        Idle::from_raw(here.request).fail(Status::ok);
        here.ended.reset();
      }
    }
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] Slot& slot(blkown::QueueIndex queue, blkown::Tag tag) {
    return slots[queue.value * depth + tag.value];
  }
  /// The two caches of a queue.
  [[nodiscard]] blkown::TagCache& cache(blkown::QueueIndex queue, std::uint32_t which) {
    return caches[2 * queue.value + which];
  }

  /// The number of free tags of the queue, including the stashed ones.
  [[nodiscard]] std::uint32_t free_tags(blkown::QueueIndex queue) {
    std::uint32_t free = 0;
    for (const Slot& here : slots) {
      free += here.queue == queue && here.model.holder == Holder::none ? 1 : 0;
    }
    return free;
  }
  [[nodiscard]] std::uint32_t stashed_tags(blkown::QueueIndex queue) {
    return cache(queue, 0).size() + cache(queue, 1).size();
  }

  /// Compares everything observable with the model.
  void check(const std::string& step) {
    // A text is built only for a disagreement.
    const auto expect = [&](bool agreed, const char* what, const Slot& here) {
      if (agreed) return;
      verdict.expect(false, step + ": " + what + " of queue " + std::to_string(here.queue.value) +
                                " tag " + std::to_string(here.tag.value));
    };
    const auto expect_of_all = [&](bool agreed, const char* what) {
      if (!agreed) verdict.expect(false, step + ": " + what);
    };
    std::size_t in_flight = 0;
    for (Slot& here : slots) {
      const auto seen = blkown::detail::word_of(*here.request).peek();
      const std::string flags = std::string{seen.owned() ? "owned" : ""} +
                                (seen.claimed() ? "claimed" : "") +
                                (seen.finished() ? "finished" : "");
      const RequestModel& model = here.model;
      in_flight += model.count() != 0 ? 1 : 0;
      expect(seen.count() == model.count(), "the count", here);
      expect(flags == model.flags(), "the flags", here);
      expect(seen.generation().value == model.seen_generation(), "the generation", here);
      expect(here.references.size() == model.references, "the references", here);
      expect((here.ended.has_value() || here.listed) == (model.holder == Holder::ended),
             "whether it came back", here);
      check_handles(here, expect);
    }
    expect_of_all(tags.in_flight() == in_flight, "in_flight()");
    expect_of_all(reports == expected_reports, "the number of reports");
    for (blkown::QueueIndex queue; queue.value != queue_count; ++queue.value) {
      expect_of_all(stashed_tags(queue) <= free_tags(queue), "more stashed tags than free ones");
    }
  }

  /// Compares the handles of a request with its model. `expect(agreed, what, slot)` notes the
  /// result.
  template <class Expect>
  static void check_handles(const Slot& here, const Expect& expect) {
    const RequestModel& model = here.model;
    if (here.ended) {
      expect(here.ended->is_requeue() == model.requeue, "requeue or end", here);
      expect(here.ended->status() == model.status, "the status", here);
      expect(here.ended->data().serial == here.serial, "the data", here);
    }
    if (here.owned) {
      expect(here.owned->cookie() == here.cookie(), "the Owned's cookie", here);
      expect(here.owned->next_cookie() == here.next_cookie(), "the Owned's next cookie", here);
      expect(here.owned->data().serial == here.serial, "the data", here);
    }
    if (here.claim) {
      expect(here.claim->cookie() == here.cookie(), "the Claim's cookie", here);
      expect(here.claim->next_cookie() == here.next_cookie(), "the Claim's next cookie", here);
      expect(here.claim->data().serial == here.serial, "the data", here);
    }
    for (const ARef& reference : here.references) {
      expect(reference.queue() == here.queue && reference.tag() == here.tag &&
                 reference.generation().value == model.seen_generation(),
             "the cookie of a reference", here);
    }
  }

  // Declared in the order of creation; handles and caches are destroyed before the TagSet.
 private:
  /// Puts ended requests back into their slots.
  struct Sink {
    Machine& machine;
    void operator()(EndedList&& ended) {
      while (auto one = ended.pop_front()) {
        Slot& here = machine.slot(one->queue(), one->tag());
        machine.verdict.expect(!here.ended && !here.listed, "an I/O came back twice");
        here.ended.emplace(std::move(*one));
      }
    }
  };
  Sink sink_{*this};

 public:
  Verdict verdict;
  Tags tags;
  std::array<blkown::TagCache, 2 * queue_count> caches;
  std::array<Slot, queue_count * depth> slots;
  EndedList list;
  std::vector<Slot*> listed;  // the contents of the list, in order
  std::optional<Tags::TagDemand> wait;
  blkown::QueueIndex waiting_queue;

  static inline std::uint64_t reports = 0;
  std::uint64_t expected_reports = reports;
};

}  // namespace fuzz

#endif
