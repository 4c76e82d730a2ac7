// SPDX-License-Identifier: BSL-1.0
//
// Draws the life of one I/O with a DMA mapping as a sequence diagram, in two forms. In the form of
// the kernel's drivers, the driver shares the request, the mapping is an ARef, and the completion
// makes its reference unique again. In the second form the driver has a Claim. At the end a device
// sends four wrong ids. After each step the program checks the request's count and flags against
// the handles that exist, and exits with 1 if they differ.

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

using Lba = std::uint64_t;  // the data of a request
using Rq = blkown::Request<Lba>;
using Tags = blkown::TagSet<Rq>;

[[noreturn]] void wrong(const std::string& text) {
  std::fprintf(stderr, "six_steps: %s\n", text.c_str());
  std::exit(1);
}

/// The result of an operation that cannot fail here.
template <class Handle, class Error>
[[nodiscard]] Handle must(std::expected<Handle, Error> result, const char* what) {
  if (!result) wrong(std::string{what} + " was refused");
  return std::move(*result);
}

/// Moves the handle out of its optional, and empties the optional.
template <class Handle>
[[nodiscard]] Handle take(std::optional<Handle>& held) {
  return *std::exchange(held, std::nullopt);
}

/// The handles of one party of the diagram. Hardware holds an integer instead.
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

/// Draws the steps of one I/O, and checks each.
class Narrator {
 public:
  Narrator(Tags& tags, Parties& parties, blkown::Idle<Rq> idle)
      : tags_{tags}, parties_{parties}, tag_{idle.tag()} {
    parties_[driver].idle = std::move(idle);
    step("hand over", block_layer, 0, "-");
  }

  void step(const std::string& what, Role actor, std::uint32_t count, const std::string& flag) {
    // For display only. A driver decides nothing on a count: another context may change it.
    const auto now = tags_.state_of(blkown::QueueIndex{0}, tag_).value_or(blkown::RequestState{});
    SequenceDiagram<4>::Row holdings;
    std::uint32_t sharing = 0;
    for (std::size_t i = 0; i != parties_.size(); ++i) {
      holdings[i] = parties_[i].text();
      sharing += (parties_[i].claim ? 1U : 0U) + (parties_[i].reference ? 1U : 0U);
    }
    char margin[64];
    std::snprintf(margin, sizeof margin, "%6u  %-8s %10u", now.count, flag_of(now),
                  now.generation.value);
    diagram_.step(what, actor, holdings, margin);
    // A count other than 0 is one more than the number of handles that share the request.
    const bool counts_handles = now.count == 0 || now.count == sharing + 1;
    if (now.count != count || flag_of(now) != flag || !counts_handles) {
      wrong(what + ": expected count " + std::to_string(count) + " and " + flag + ", found" +
            margin + " with " + std::to_string(sharing) + " Claims and ARefs");
    }
  }

 private:
  [[nodiscard]] static const char* flag_of(const blkown::RequestState& state) {
    if (state.finished) return "finished";
    if (state.owned) return "owned";
    return state.claimed ? "claimed" : "-";
  }

  Tags& tags_;
  Parties& parties_;
  blkown::Tag tag_;
  SequenceDiagram<4> diagram_{{"block layer", "driver", "device, mapping", "completion"},
                              " count  flags    generation"};
};

void with_references(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  Narrator tell{tags, parties, *tags.allocate(blkown::QueueIndex{0}, cache)};
  drv.owned = take(drv.idle).start();
  drv.owned->data() = 8;
  tell.step("start", driver, 0, "owned");
  const std::uint64_t id = drv.owned->next_cookie().value;  // the id for the command
  drv.reference = take(drv.owned).into_shared();            // from here on lookups find it
  tell.step("into_shared", driver, 2, "-");
  dev.reference = drv.reference;
  tell.step("map: copy", driver, 3, "-");
  dev.id = id;
  drv.reference.reset();
  tell.step("submit, drop", driver, 2, "-");
  irq.reference = must(tags.tag_to_rq(blkown::QueueIndex{0}, take(dev.id)), "tag_to_rq");
  tell.step("tag_to_rq", device, 3, "-");
  dev.reference.reset();
  tell.step("unmap", completion, 2, "-");
  irq.owned = must(blkown::Owned<Rq>::try_from_shared(take(irq.reference)), "try_from_shared");
  tell.step("try_from_shared", completion, 0, "owned");
  take(irq.owned).end_ok();
  tell.step("end_ok", completion, 0, "-");
  take(blk.ended).release();
}

void with_claim(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  Narrator tell{tags, parties, *tags.allocate(blkown::QueueIndex{0}, cache)};
  drv.owned = take(drv.idle).start();
  tell.step("start", driver, 0, "owned");
  drv.claim = take(drv.owned).into_claim();
  tell.step("into_claim", driver, 0, "owned");
  dev.reference = drv.claim->pin();
  tell.step("map: pin", driver, 3, "claimed");
  take(drv.claim).publish([&](blkown::Cookie cookie) { dev.id = cookie.value; });
  tell.step("publish", driver, 2, "-");
  irq.claim = must(tags.claim(blkown::QueueIndex{0}, take(dev.id)), "claim");
  tell.step("claim", device, 3, "claimed");
  dev.reference.reset();
  tell.step("unmap", completion, 2, "claimed");
  irq.owned = must(take(irq.claim).into_owned(), "into_owned");
  tell.step("into_owned", completion, 0, "owned");
  take(irq.owned).end_ok();
  tell.step("end_ok", completion, 0, "-");
  take(blk.ended).release();
}

/// Sends an id that names no I/O in flight. The lookup refuses it with a reason.
void send(Tags& tags, const char* what, std::uint64_t id, blkown::LookupReason expected) {
  const auto claimed = tags.claim(blkown::QueueIndex{0}, id);
  const blkown::LookupError why = claimed ? blkown::LookupError{} : claimed.error();
  std::printf("%-9s  %016" PRIx64 "  %-16s  tag %u, expected %u, seen %u\n", what, id,
              to_string(why.reason), why.tag.value, why.expected_generation.value,
              why.seen_generation.value);
  if (why.reason != expected) wrong(std::string{what} + ": expected " + to_string(expected));
}

void wrong_ids(Tags& tags, blkown::TagCache& cache, Parties& parties) {
  auto& [blk, drv, dev, irq] = parties;
  const auto issue = [&](blkown::Cookie cookie) { dev.id = cookie.value; };
  std::move(*tags.allocate(blkown::QueueIndex{0}, cache)).start().publish(issue);
  const std::uint64_t first = *dev.id;
  irq.claim = must(tags.claim(blkown::QueueIndex{0}, first), "claim");
  send(tags, "duplicate", first, blkown::LookupReason::owned);  // while the first is claimed
  take(irq.claim).end_ok();
  send(tags, "duplicate", first, blkown::LookupReason::idle);  // and after its end
  take(blk.ended).release();
  std::move(*tags.allocate(blkown::QueueIndex{0}, cache))
      .start()
      .publish(issue);  // the next I/O with this tag
  send(tags, "stale", first, blkown::LookupReason::stale_generation);
  send(tags, "forged", *dev.id + 1, blkown::LookupReason::no_such_tag);
  must(tags.claim(blkown::QueueIndex{0}, *dev.id), "claim").end_ok();
  std::printf("%-9s  %016" PRIx64 "  accepted, ended with %s\n", "in flight", take(dev.id),
              to_string(blk.ended->status()));
  take(blk.ended).release();
}

}  // namespace

int main() {
  Parties parties;
  auto sink = [&](blkown::EndedList<Rq>&& list) { parties[block_layer].ended = list.pop_front(); };
  // With one request, every I/O uses the same tag.
  const blkown::TagSetConfig config{.depth = 1, .layout = blkown::CookieLayout::nbd()};
  auto tags = must(Tags::create(config, blkown::EndSink<Rq>::to(sink)), "TagSet::create");
  auto cache = tags.tag_cache(blkown::QueueIndex{0});
  std::puts("With references, as in the kernel's drivers\n");
  with_references(tags, cache, parties);
  std::puts("\nWith a Claim\n");
  with_claim(tags, cache, parties);
  std::puts("\nWrong ids: the reasons of the refusals, with generations\n");
  wrong_ids(tags, cache, parties);
}
