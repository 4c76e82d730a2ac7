// SPDX-License-Identifier: BSL-1.0
//
// DeterministicRuntime: a runtime of the block layer whose order of execution a seed determines.

#ifndef BLKOWN_SIM_HARNESS_DETERMINISTIC_RUNTIME_HPP
#define BLKOWN_SIM_HARNESS_DETERMINISTIC_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A runtime on one thread with a simulated clock. Each step runs one piece of work, which the seed
/// chooses among all the work that is ready on any context, and takes one simulated microsecond.
/// When no work is ready, the clock jumps to the next timer. The clock stops at its last time, and
/// a timer at that time never fires. The same seed gives the same order.
///
/// Context: one thread.
class DeterministicRuntime {
 public:
  /// Makes `context_count` contexts.
  DeterministicRuntime(std::uint64_t seed, std::uint32_t context_count) : random_{seed} {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      contexts_.push_back(std::make_unique<mq::Context>(
          mq::ContextHooks{.runtime = this, .now_ns = &clock_of, .wake = &ignore}, i));
    }
    runnable_.resize(context_count);
  }
  DeterministicRuntime(const DeterministicRuntime&) = delete;
  DeterministicRuntime& operator=(const DeterministicRuntime&) = delete;
  /// Violation: object_in_use, as for mq::Context::check_unused(): if the caller runs a context, or
  /// a disk, an armed timer, a queued work or an idle hook uses one.
  ~DeterministicRuntime() {
    for (auto& context : contexts_) {
      context->check_unused("destruction of sim::DeterministicRuntime",
                            "sim::DeterministicRuntime");
    }
  }

  /// The number of contexts.
  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(contexts_.size());
  }
  /// The context with this index.
  [[nodiscard]] mq::Context& context(std::uint32_t index) noexcept { return *contexts_[index]; }
  /// The simulated clock.
  [[nodiscard]] std::uint64_t now_ns() noexcept { return now_ns_; }
  /// The generator that chooses the steps. A test may draw from the generator, too: the numbers
  /// repeat with the seed.
  [[nodiscard]] Random& random() noexcept { return random_; }
  /// The index of the context that the latest step has run.
  [[nodiscard]] std::uint32_t latest_context() const noexcept { return latest_context_; }
  /// The number of steps so far.
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

  /// Runs one piece of work. Advances the clock first if no work is ready.
  /// Errors: false if there is no work and no timer.
  bool step() { return step_before(last_ns); }

  /// Steps until there is no work and no timer.
  /// Errors: false if there was still work after `max_steps`.
  bool run_until_idle(std::uint64_t max_steps) {
    for (; max_steps != 0; --max_steps) {
      if (!step()) return true;
    }
    return false;
  }

  /// Steps until the event is set.
  /// Errors: false if there is no work and no timer left, and the event is not set.
  bool wait_for(mq::Event& event) {
    while (!event.is_set()) {
      if (!step()) return event.is_set();
    }
    return true;
  }
  /// The same, but returns false when the clock has reached the deadline, too. The clock does not
  /// jump past the deadline.
  bool wait_until(mq::Event& event, std::uint64_t deadline_ns) {
    while (!event.is_set()) {
      if (now_ns_ >= deadline_ns) return false;
      if (!step_before(deadline_ns)) return event.is_set();
    }
    return true;
  }

 private:
  static std::uint64_t clock_of(void* self) {
    return static_cast<DeterministicRuntime*>(self)->now_ns_;
  }
  static void ignore(void*, std::uint32_t) {}

  /// step(), but moves only the clock, to the limit, if the next timer is later than that.
  bool step_before(std::uint64_t limit_ns) {
    while (true) {
      std::size_t total = 0;
      std::size_t* count = runnable_.data();
      for (const auto& context : contexts_) total += * count++ = context->runnable_at(now_ns_);
      if (total != 0) {
        std::size_t chosen = static_cast<std::size_t>(random_.below(total));
        std::uint32_t index = 0;
        while (chosen >= runnable_[index]) chosen -= runnable_[index++];
        ++steps_;
        latest_context_ = index;
        contexts_[index]->run_one(chosen);
        now_ns_ = blkown::detail::saturating_add(now_ns_, step_ns);
        return true;
      }
      bool has_more = false;
      for (auto& context : contexts_) has_more = context->go_idle() || has_more;
      if (has_more) continue;
      const std::optional<std::uint64_t> next_ns = next_timer_ns();
      if (!next_ns.has_value()) return false;
      const bool is_later = *next_ns > limit_ns;
      advance_to(is_later ? limit_ns : *next_ns);
      if (is_later) return true;
    }
  }
  /// The earliest deadline of all timers, or none.
  [[nodiscard]] std::optional<std::uint64_t> next_timer_ns() {
    std::optional<std::uint64_t> next_ns;
    for (auto& context : contexts_) {
      const auto own_ns = context->next_timer_ns();
      if (own_ns.has_value() && (!next_ns.has_value() || *own_ns < *next_ns)) next_ns = own_ns;
    }
    return next_ns;
  }
  void advance_to(std::uint64_t time_ns) noexcept {
    if (time_ns > now_ns_) now_ns_ = time_ns;
  }

  static constexpr std::uint64_t step_ns = 1000;
  static constexpr std::uint64_t last_ns = ~std::uint64_t{0};

  Random random_;
  std::uint64_t now_ns_ = 0;
  std::uint64_t steps_ = 0;
  std::uint32_t latest_context_ = 0;
  std::vector<std::unique_ptr<mq::Context>> contexts_;
  std::vector<std::size_t> runnable_;
};

static_assert(mq::Runtime<DeterministicRuntime>);

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
