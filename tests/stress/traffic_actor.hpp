// SPDX-License-Identifier: BSL-1.0
//
// One thread of the traffic, which submits I/Os, reaps completions and scans. A hostile thread also
// looks up forged values, and uses the requests that it gets in the same way.

#ifndef BLKOWN_TESTS_STRESS_TRAFFIC_ACTOR_HPP
#define BLKOWN_TESTS_STRESS_TRAFFIC_ACTOR_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "effort.hpp"
#include "hostile_values.hpp"
#include "meeting.hpp"
#include "traffic_driver.hpp"
#include "traffic_world.hpp"

namespace stress {

// A 32-bit word saturates at 4096 references, which a hoarder creates. A 64-bit word saturates at
// 2^28, which is more than the test creates, so the reason cannot occur there.
inline constexpr bool can_saturate = BLKOWN_WORD_BITS == 32;

/// The number of lookups with each answer. Index 0, LookupReason::none, counts the requests
/// returned.
using ReasonCounts = std::array<std::uint64_t, blkown::lookup_reason_count>;

class Actor : public Driver {
 public:
  Actor(World& its_world, std::uint64_t stream) : Driver{its_world, stream} {
    for (blkown::QueueIndex queue; queue.value != world.tags().queue_count(); ++queue.value) {
      caches_.push_back(world.tags().tag_cache(queue, 2));
    }
    World::caches = &caches_;
  }
  /// Runs in the thread that created the actor, after retire().
  ~Actor() { World::caches = nullptr; }

  /// One step of honest work.
  void step() {
    const blkown::QueueIndex queue{random.below(world.tags().queue_count())};
    if (random.one_in(16)) drop_one();
    if (can_saturate && random.one_in(world.saturations() == 0 ? 256 : 4096)) {
      hoard(queue);
    } else if (random.one_in(16)) {
      scan(queue);
    } else if (random.one_in(2)) {
      submit(queue);
    } else if (const auto value = world.channel(queue).reap(random)) {
      reap({queue, *value});
    }
  }

  /// Looks a value up in one of the three ways, checks the answer against the value, and uses the
  /// returned request, if any. Returns the reason, `none` for a request.
  blkown::LookupReason look_up(Arrival arrival) {
    switch (random.below(3)) {
      case 0: return go_on(world.tags().claim(arrival.queue, arrival.value), arrival);
      case 1: return go_on(world.tags().tag_to_owned(arrival.queue, arrival.value), arrival);
      default: return go_on(world.tags().tag_to_rq(arrival.queue, arrival.value), arrival);
    }
  }

 private:
  template <class Handle>
  blkown::LookupReason go_on(std::expected<Handle, blkown::LookupError> found, Arrival arrival) {
    Tags& tags = world.tags();
    const blkown::CookieLayout& layout = tags.layout();
    const Reading read{layout, arrival.value};
    const auto tag = blkown::Tag{static_cast<std::uint32_t>(read.tag)};
    if (!found.has_value()) {
      const char* const wrong =
          objection(layout, tags.queue_count(), tags.depth(), arrival, found.error());
      if (wrong != nullptr) world.complain(wrong, arrival.queue, tag);
      if (found.error().reason == blkown::LookupReason::saturated) world.count_saturation();
      return found.error().reason;
    }
    if (refusal_by_value(layout, tags.queue_count(), tags.depth(), arrival) !=
            blkown::LookupReason::none ||
        found->queue() != arrival.queue || found->tag() != tag) {
      world.complain("a request that the value does not name", arrival.queue, tag);
    }
    if constexpr (std::is_same_v<Handle, ARef>) {
      keep(std::move(*found));
    } else {
      if (carried(layout, found->cookie().generation.value) != read.generation) {
        world.complain("a generation that the value does not name", arrival.queue, tag);
      }
      settle(std::move(*found));
    }
    return blkown::LookupReason::none;
  }

  // --- honest work -----------------------------------------------------------------------------

  [[nodiscard]] std::optional<Owned> begin(blkown::QueueIndex queue) {
    std::optional<Idle> idle = world.take_requeued();
    if (!idle) {
      idle = world.tags().allocate(queue, caches_[queue.value]);
      if (!idle && random.one_in(8)) {
        const auto waiting = world.tags().announce_demand(queue);
        wait_a_little(random);
        idle = world.tags().allocate(queue, caches_[queue.value]);
      }
      if (!idle) return std::nullopt;
      idle->data().serial.fetch_add(1, std::memory_order_relaxed);
      idle->data().hoarded = false;
    }
    if (idle->data().holders.load(std::memory_order_relaxed) != 0) {
      world.complain("allocated while another holder has it", idle->queue(), idle->tag());
    }
    switch (random.below(64)) {
      case 0: std::move(*idle).fail(blkown::Status::invalid); return std::nullopt;
      case 1: std::move(*idle).requeue(); return std::nullopt;
      case 2: ++drops; return std::nullopt;
      default: return std::move(*idle).start();
    }
  }

  void submit(blkown::QueueIndex queue) {
    std::optional<Owned> owned = begin(queue);
    if (!owned) return;
    Io& io = owned->data();
    io.holders.fetch_add(1, std::memory_order_relaxed);
    act(std::move(*owned), io);
  }

  /// Reaps a true completion. A completion that is refused in a temporary state is kept and tried
  /// again.
  void reap(Arrival arrival) {
    switch (look_up(arrival)) {
      case blkown::LookupReason::owned:
      case blkown::LookupReason::claimed:
      case blkown::LookupReason::shared:
      case blkown::LookupReason::saturated:
        world.channel(arrival.queue).send(arrival.value, random);
        break;
      case blkown::LookupReason::none:
      case blkown::LookupReason::no_such_queue:
      case blkown::LookupReason::no_such_tag:
      case blkown::LookupReason::wrong_queue:
      case blkown::LookupReason::early:
      case blkown::LookupReason::stale_generation:
      case blkown::LookupReason::idle: break;
    }
  }

  void scan(blkown::QueueIndex queue) {
    world.tags().for_each_in_flight(queue, [this](ARef pin, blkown::Cookie cookie) {
      if (pin.queue() != cookie.queue || pin.tag() != cookie.tag) {
        world.complain("a scan's cookie of another request", pin.queue(), pin.tag());
      }
      if (random.one_in(8)) {
        auto timed_out = blkown::claim(pin, cookie);
        if (timed_out.has_value()) settle_named(std::move(*timed_out), cookie);
      }
      if (random.one_in(8)) keep(std::move(pin));
    });
  }

  /// Creates references to an I/O up to the limit of the word, as far as other threads permit, and
  /// holds them until a lookup has met the limit, or for a while.
  void hoard(blkown::QueueIndex queue) {
    std::optional<Owned> owned = begin(queue);
    if (!owned) return;
    Io& io = owned->data();
    io.holders.fetch_add(1, std::memory_order_relaxed);
    io.hoarded = true;
    const blkown::Cookie cookie = owned->next_cookie();
    stamp(*owned, io);
    std::vector<ARef> references;
    references.reserve(8192);
    references.push_back(std::move(*owned).into_shared());
    auto more = world.tags().tag_to_rq(queue, cookie.value);
    for (; more.has_value(); more = world.tags().tag_to_rq(queue, cookie.value)) {
      references.push_back(std::move(*more));
    }
    world.issue(cookie, random);
    const std::uint64_t before = world.saturations();
    for (unsigned waits = 0; waits != 4000 && world.saturations() == before; ++waits) {
      wait_a_little(random);
    }
  }

  std::vector<blkown::TagCache> caches_;
};

}  // namespace stress

#endif
