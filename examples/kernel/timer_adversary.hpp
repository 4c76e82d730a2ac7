// SPDX-License-Identifier: BSL-1.0
//
// TimerAdversary: what the timer's interrupt does to the tags while it preempts the main context
// and the controller's interrupt.
//
// Each tick drops the pin that the last one has kept, which may end an I/O; claims all 16 ids of a
// tag, of which at most the one in flight may be accepted, and gives that one back; claims an id of
// a tag that does not exist; scans the I/Os in flight, and may keep a pin of one; and allocates a
// tag for an I/O of its own, which ends in one of four ways, or at the next tick.
//
// No other context runs during a tick. Each answer of a lookup can therefore be foretold.

#ifndef EXAMPLES_KERNEL_TIMER_ADVERSARY_HPP
#define EXAMPLES_KERNEL_TIMER_ADVERSARY_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <utility>

#include "console.hpp"
#include "io_queue.hpp"

namespace kernel {

class TimerAdversary {
 public:
  /// The ticks are `interval_us` / 2 to `interval_us` * 3 / 2 apart.
  TimerAdversary(IoQueue& io, std::uint32_t seed, std::uint32_t interval_us)
      : io_{&io}, random_{seed | 1}, interval_ns_{1000 * interval_us} {}

  /// The timer's interrupt.
  void tick() {
    ++ticks_;
    if (io_->is_completing()) ++ticks_in_completions_;
    detect_standstill();
    drop_handles();
    forge_ids(blkown::Tag{draw(IoQueue::config.depth)});
    forge_tags();
    scan();
    do_own_io();
  }

  /// The number of ns until the next tick.
  [[nodiscard]] std::uint32_t draw_interval_ns() { return interval_ns_ / 2 + draw(interval_ns_); }

  /// Drops the pin that the last tick has kept, and ends the I/O.
  void drop_handles() {
    pin_.reset();
    if (own_.has_value()) std::move(*own_).end_ok();
    own_.reset();
  }

  [[nodiscard]] std::uint64_t ticks() const { return ticks_; }
  /// The ticks that preempted the controller's interrupt.
  [[nodiscard]] std::uint64_t ticks_in_completions() const { return ticks_in_completions_; }
  [[nodiscard]] std::uint64_t forged() const { return forged_; }
  [[nodiscard]] std::uint64_t pins() const { return pins_; }
  [[nodiscard]] std::uint64_t own_ios() const { return own_ios_; }

 private:
  using Tag = blkown::Tag;
  static constexpr QueueIndex queue = IoQueue::queue;

  /// A number below `limit`.
  [[nodiscard]] std::uint32_t draw(std::uint32_t limit) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_ % limit;
  }

  /// Ends the run if I/Os are in flight and none has completed for a long time.
  void detect_standstill() {
    if (io_->completions() != last_completions_ || io_->tags().in_flight() == 0) {
      last_completions_ = io_->completions();
      last_progress_ = ticks_;
    }
    if (ticks_ - last_progress_ > 500'000) {
      fail("no completion for 500000 ticks, ", std::uint64_t{io_->tags().in_flight()},
           " I/Os in flight");
    }
  }

  /// Claims every id of the tag. The one that is in flight gives a Claim, as a repeated completion
  /// would if it came first, and is released again.
  void forge_ids(Tag tag) {
    auto& tags = io_->tags();
    const auto pin = tags.tag_to_rq_any_generation(queue, tag);
    for (std::uint32_t generation = 0; generation != 16; ++generation) {
      const bool is_in_flight = pin.has_value() && pin->generation().value % 16 == generation;
      auto claim =
          tags.claim(queue, tags.layout().encode(queue, tag, blkown::Generation{generation}));
      if (claim.has_value() != is_in_flight) {
        fail(is_in_flight ? "a genuine" : "a forged", " id was ",
             is_in_flight ? "refused" : "accepted", ": tag ", tag.value, " generation ",
             generation);
      }
      if (claim.has_value()) std::move(*claim).release();
      ++forged_;
    }
  }

  /// Claims an id of a tag that does not exist.
  void forge_tags() {
    const std::uint32_t absent = 4096 - IoQueue::config.depth;
    const std::uint64_t id = IoQueue::config.depth + draw(absent) + (draw(16) << 12);
    const auto claim = io_->tags().claim(queue, id);
    if (claim.has_value()) fail("an id without a tag was accepted: ", Hex{id});
    ++forged_;
  }

  void scan() {
    io_->tags().for_each_in_flight(queue, [&](blkown::ARef<Rq> pin, const blkown::Cookie&) {
      if (!pin_.has_value() && draw(8) == 0) {
        pin_ = std::move(pin);
        ++pins_;
      }
    });
  }

  /// Allocates a tag from the bitmap, in the middle of whatever was preempted, and ends the I/O in
  /// one of four ways, or keeps it until the next tick.
  void do_own_io() {
    auto cache = io_->tags().tag_cache(queue, 0);
    auto idle = io_->tags().allocate(queue, cache);
    if (!idle.has_value()) return;
    ++own_ios_;
    switch (draw(8)) {
      case 0: return std::move(*idle).fail(Status::io_error);
      case 1: return std::move(*idle).start().end_ok();
      case 2: return std::move(*idle).start().into_claim().end_ok();
      case 3: break;
      default: own_.emplace(std::move(*idle).start()); return;
    }
    std::uint64_t id = 0;
    std::move(*idle).start().publish([&](const blkown::Cookie& cookie) { id = cookie.value; });
    auto claim = io_->tags().claim(queue, id);
    if (!claim.has_value()) fail("the timer's own I/O: ", to_string(claim.error().reason));
    std::move(*claim).end_ok();
  }

  IoQueue* io_;
  std::uint32_t random_;
  std::uint32_t interval_ns_;
  std::optional<blkown::ARef<Rq>> pin_;
  std::optional<blkown::Owned<Rq>> own_;
  std::uint64_t ticks_ = 0;
  std::uint64_t ticks_in_completions_ = 0;
  std::uint64_t last_progress_ = 0;
  std::uint64_t last_completions_ = 0;
  std::uint64_t forged_ = 0;
  std::uint64_t pins_ = 0;
  std::uint64_t own_ios_ = 0;
};

}  // namespace kernel

#endif
