// SPDX-License-Identifier: BSL-1.0
//
// A runtime of one thread that runs only the contexts that were woken.

#ifndef BLKOWN_BENCH_PIPELINE_WOKEN_RUNTIME_HPP
#define BLKOWN_BENCH_PIPELINE_WOKEN_RUNTIME_HPP

#include <bit>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/mq/runtime.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <pipeline/drivers.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

/// Contexts that one thread runs and posts to. The thread learns from their `wake` hook which of
/// them have work, and looks at no other, as if each had a thread of its own. The contexts arm no
/// timers.
class WokenRuntime {
 public:
  static constexpr std::uint32_t max_contexts = 64;

  explicit WokenRuntime(std::uint32_t context_count) {
    if (context_count > max_contexts) std::abort();
    for (std::uint32_t i = 0; i != context_count; ++i) {
      contexts_.push_back(std::make_unique<mq::Context>(
          mq::ContextHooks{.runtime = this, .now_ns = &now_of, .wake = &wake}, i));
    }
  }
  WokenRuntime(const WokenRuntime&) = delete;
  WokenRuntime& operator=(const WokenRuntime&) = delete;

  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(contexts_.size());
  }
  [[nodiscard]] mq::Context& context(std::uint32_t index) noexcept { return *contexts_[index]; }
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return mq::detail::steady_now_ns(); }

  /// Runs the contexts that were woken, in rounds, until none is left.
  void run_woken() noexcept {
    while (woken_ != 0) {
      for (std::uint64_t round = std::exchange(woken_, 0); round != 0; round &= round - 1) {
        mq::Context& context = *contexts_[static_cast<unsigned>(std::countr_zero(round))];
        // A context that was woken while it ran has taken the work already.
        if (!context.is_inbox_empty()) context.run();
      }
    }
  }

  /// Runs all contexts until nothing is left to run.
  bool wait_for(mq::Event& event) noexcept {
    for (bool is_any = true; is_any;) {
      is_any = false;
      for (auto& context : contexts_) is_any = context->run() != 0 || is_any;
    }
    return event.is_set();
  }
  bool wait_until(mq::Event& event, std::uint64_t) noexcept { return wait_for(event); }

 private:
  static std::uint64_t now_of(void*) { return mq::detail::steady_now_ns(); }
  static void wake(void* self, std::uint32_t index) {
    static_cast<WokenRuntime*>(self)->woken_ |= std::uint64_t{1} << index;
  }

  std::vector<std::unique_ptr<mq::Context>> contexts_;
  std::uint64_t woken_ = 0;  // a bit for each context
};
static_assert(mq::Runtime<WokenRuntime>);

}  // namespace
}  // namespace bench

#endif
