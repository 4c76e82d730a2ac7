// SPDX-License-Identifier: BSL-1.0
//
// The life of one I/O whose buffer is mapped for DMA, as a sequence diagram: first as the kernel's
// drivers do it (the driver shares the request, the mapping is an ARef, and whoever is alone at the
// end makes it unique again), then with a Claim. Then ids that a device should not have sent.
// Count, flags and generation are read from the request's own word after each step, who holds what
// from the handles alive at that moment; where they are not as promised the program exits with 1.

#include <array>
#include <blkown/blkown.hpp>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "six_steps/sequence_diagram.hpp"

namespace {

using Lba = std::uint64_t;  // all the data that these requests have
using Rq = blkown::Request<Lba>;
using Tags = blkown::TagSet<Rq>;
using Value = blkown::detail::RefValue<blkown::Word>;

[[noreturn]] void wrong(const std::string& text) {
  std::fprintf(stderr, "six_steps: %s\n", text.c_str());
  std::exit(1);
}

/// What an operation gave that has no reason to refuse here.
template <class Handle, class Error>
[[nodiscard]] Handle must(std::expected<Handle, Error> result, const char* what) {
  if (!result) wrong(std::string{what} + " was refused");
  return std::move(*result);
}

/// The handle out of its optional, which is empty from then on.
template <class Handle>
[[nodiscard]] Handle take(std::optional<Handle>& held) {
  return *std::exchange(held, std::nullopt);
}

/// What a party of the diagram holds: handles or, as hardware does, an integer.
struct Party {
  std::optional<blkown::Idle<Rq>> idle;
  std::optional<blkown::Owned<Rq>> owned;
  std::optional<blkown::Claim<Rq>> claim;
  std::optional<blkown::ARef<Rq>> reference;
  std::optional<blkown::Ended<Rq>> ended;
  std::optional<std::uint64_t> id;

  [[nodiscard]] std::string text() const {
    return std::string{idle ? "Idle" : ""} + (owned ? "Owned" : "") + (claim ? "Claim" : "") +
           (reference ? "ARef" : "") + (reference && id ? "+" : "") + (id ? "id" : "") +
           (ended ? "Ended" : "");
  }
};
using Parties = std::array<Party, 4>;
enum Role : std::size_t { block_layer, driver, device, completion };

/// Tells the steps of one I/O, and checks each.
class Narrator {
 public:
  // A driver reaches its request through handles alone; the raw pointer is for looking on.
  Narrator(Parties& parties, blkown::Idle<Rq> idle)
      : parties_{parties}, request_{std::move(idle).into_raw()} {
    parties_[driver].idle = blkown::Idle<Rq>::from_raw(request_);
    step("hand over", block_layer, 0, 0);
  }

  void step(const std::string& what, Role actor, blkown::Word count, blkown::Word flags) {
    // For display only. Handles do not tell the count, on purpose: somebody else may change it in
    // the moment in which it is read, so nothing can be decided on it.
    const Value now = blkown::detail::word_of(*request_).peek();
    SequenceDiagram<4>::Row holdings;
    blkown::Word sharing = 0;
    for (std::size_t i = 0; i != parties_.size(); ++i) {
      holdings[i] = parties_[i].text();
      sharing += (parties_[i].claim ? 1U : 0U) + (parties_[i].reference ? 1U : 0U);
    }
    diagram_.step(what, actor, holdings, text(now));
    const Value promised = now.with_state(flags | count);
    // A count that is not 0 is one more than the handles that share the request.
    if (now != promised || (now.count() != 0 && now.count() != sharing + 1)) {
      wrong(what + ": seen" + text(now) + ", promised" + text(promised) +
            ", Claims and ARefs alive " + std::to_string(sharing));
    }
  }

 private:
  [[nodiscard]] static std::string text(Value value) {
    const char* flag = value.owned() ? "owned" : value.claimed() ? "claimed" : "-";
    if (value.finished()) flag = "finished";
    char line[64];
    std::snprintf(line, sizeof line, "%6u  %-8s %10u", static_cast<unsigned>(value.count()), flag,
                  value.generation().value);
    return line;
  }

  Parties& parties_;
  Rq* request_;
  SequenceDiagram<4> diagram_{{"block layer", "driver", "device, mapping", "completion"},
                              " count  flags    generation"};
};

void with_references(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  Narrator tell{parties, *tags.allocate(0, cache)};
  drv.owned = take(drv.idle).start();
  drv.owned->data() = 8;
  tell.step("start", driver, 0, Value::owned_flag);
  const std::uint64_t id = drv.owned->next_cookie().value;  // for building the command
  drv.reference = take(drv.owned).into_shared();            // lookups find it from here on
  tell.step("into_shared", driver, 2, 0);
  dev.reference = drv.reference;
  tell.step("map: copy", driver, 3, 0);
  dev.id = id;
  drv.reference.reset();
  tell.step("submit, drop", driver, 2, 0);
  irq.reference = must(tags.tag_to_rq(0, take(dev.id)), "tag_to_rq");
  tell.step("tag_to_rq", device, 3, 0);
  dev.reference.reset();
  tell.step("unmap", completion, 2, 0);
  irq.owned = must(blkown::Owned<Rq>::try_from_shared(take(irq.reference)), "try_from_shared");
  tell.step("try_from_shared", completion, 0, Value::owned_flag);
  take(irq.owned).end_ok();
  tell.step("end_ok", completion, 0, 0);
  take(blk.ended).release();
}

void with_claim(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  Narrator tell{parties, *tags.allocate(0, cache)};
  drv.owned = take(drv.idle).start();
  tell.step("start", driver, 0, Value::owned_flag);
  drv.claim = take(drv.owned).into_claim();
  tell.step("into_claim", driver, 0, Value::owned_flag);
  dev.reference = drv.claim->pin();
  tell.step("map: pin", driver, 3, Value::claimed_flag);
  take(drv.claim).publish([&](blkown::Cookie cookie) { dev.id = cookie.value; });
  tell.step("publish", driver, 2, 0);
  irq.claim = must(tags.claim(0, take(dev.id)), "claim");
  tell.step("claim", device, 3, Value::claimed_flag);
  dev.reference.reset();
  tell.step("unmap", completion, 2, Value::claimed_flag);
  irq.owned = must(take(irq.claim).into_owned(), "into_owned");
  tell.step("into_owned", completion, 0, Value::owned_flag);
  take(irq.owned).end_ok();
  tell.step("end_ok", completion, 0, 0);
  take(blk.ended).release();
}

/// The device sends an id that names no I/O in flight; whatever it is, the answer is a reason.
void send(Tags& tags, const char* what, std::uint64_t id, blkown::LookupReason promised) {
  const auto claimed = tags.claim(0, id);
  const blkown::LookupError why = claimed ? blkown::LookupError{} : claimed.error();
  std::printf("%-9s  %016" PRIx64 "  %-16s  tag %u, expected %u, seen %u\n", what, id,
              to_string(why.reason), why.tag.value, why.expected_generation.value,
              why.seen_generation.value);
  if (why.reason != promised) wrong(std::string{what} + ": promised " + to_string(promised));
}

void wrong_ids(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  const auto issue = [&](blkown::Cookie cookie) { dev.id = cookie.value; };
  std::move(*tags.allocate(0, cache)).start().publish(issue);
  const std::uint64_t first = *dev.id;
  irq.claim = must(tags.claim(0, first), "claim");
  send(tags, "duplicate", first, blkown::LookupReason::owned);  // while the first is handled
  take(irq.claim).end_ok();
  send(tags, "duplicate", first, blkown::LookupReason::idle);  // and when that is done
  take(blk.ended).release();
  std::move(*tags.allocate(0, cache)).start().publish(issue);  // the next I/O with this tag
  send(tags, "stale", first, blkown::LookupReason::stale_generation);
  send(tags, "forged", *dev.id + 1, blkown::LookupReason::no_such_tag);
  must(tags.claim(0, *dev.id), "claim").end_ok();
  std::printf("%-9s  %016" PRIx64 "  accepted, ended with %s\n", "in flight", take(dev.id),
              to_string(blk.ended->status()));
  take(blk.ended).release();
}

}  // namespace

int main() {
  Parties parties;
  auto sink = [&](blkown::EndedList<Rq>&& list) { parties[block_layer].ended = list.pop_front(); };
  // One request, so that each I/O uses the same tag again.
  const blkown::TagSetConfig config{.depth = 1, .layout = blkown::CookieLayout::nbd()};
  auto tags = must(Tags::create(config, blkown::EndSink<Rq>::to(sink)), "making the TagSet");
  auto cache = tags.tag_cache(0);
  std::puts("With references, as the kernel's drivers do it\n");
  with_references(tags, cache, parties);
  std::puts("\nWith a Claim\n");
  with_claim(tags, cache, parties);
  std::puts("\nIds that a device should not have sent: the reasons, with generations\n");
  wrong_ids(tags, cache, parties);
}
