// SPDX-License-Identifier: BSL-1.0
//
// Contexts that have a thread each.

#ifndef BLKOWN_MQ_THREAD_RUNTIME_HPP
#define BLKOWN_MQ_THREAD_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/runtime.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One thread for each context; it sleeps while there is nothing to run.
class ThreadRuntime {
 public:
  explicit ThreadRuntime(std::uint32_t context_count) {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      workers_.push_back(std::make_unique<Worker>(*this, i));
    }
    for (auto& worker : workers_) {
      worker->thread = std::thread{[&its = *worker] { its.work(); }};
    }
  }
  ThreadRuntime(const ThreadRuntime&) = delete;
  ThreadRuntime& operator=(const ThreadRuntime&) = delete;
  /// Lets every context finish what it has to run now, and ends the threads. Timers that are armed
  /// do not fire any more.
  ~ThreadRuntime() {
    for (auto& worker : workers_) {
      const std::lock_guard lock{worker->mutex};
      worker->is_stopping = true;
      worker->woken.notify_one();
    }
    for (auto& worker : workers_) worker->thread.join();
  }

  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(workers_.size());
  }
  [[nodiscard]] Context& context(std::uint32_t index) noexcept { return workers_[index]->context; }
  [[nodiscard]] std::uint64_t now_ns() noexcept { return clock_of(nullptr); }

  /// Blocks the thread. Precondition: this is none of the runtime's threads.
  bool wait_for(Event& event) {
    event.wait();
    return true;
  }

  /// Calls `call()` on the context and waits for its return. Precondition: as above.
  template <class Call>
  void run_on(std::uint32_t index, Call call) {
    struct Errand : Work {
      explicit Errand(Call& its_call)
          : Work{[](void* self, Work&) { static_cast<Errand*>(self)->go(); }, this},
            call{its_call} {}
      void go() {
        call();
        done.set();
      }
      Call& call;
      Event done;
    };
    Errand errand{call};
    context(index).post(errand);
    errand.done.wait();
  }

 private:
  struct Worker {
    Worker(ThreadRuntime& runtime, std::uint32_t index)
        : context{ContextHooks{.runtime = &runtime,
                               .now_ns = &clock_of,
                               .wake = &wake_of,
                               .announces_sleep = true},
                  index} {}

    void work() {
      while (true) {
        context.run();
        // No wake-up is lost. A post comes before this, which then fails, or it finds the context
        // asleep and sets is_woken; and so does a timer that comes to be the earliest after the
        // look below.
        if (!context.fall_asleep()) continue;
        const auto next_ns = context.next_timer_ns();
        std::unique_lock lock{mutex};
        const auto is_called = [&] { return is_woken || is_stopping; };
        if (!next_ns.has_value()) {
          woken.wait(lock, is_called);
        } else {
          const std::chrono::steady_clock::time_point due{std::chrono::nanoseconds{*next_ns}};
          woken.wait_until(lock, due, is_called);
        }
        is_woken = false;
        // What was posted before the stop came is here, if not its call.
        if (is_stopping && context.is_inbox_empty()) return;
      }
    }

    Context context;
    std::mutex mutex;
    std::condition_variable woken;
    bool is_woken = false;
    bool is_stopping = false;
    std::thread thread;
  };

  static std::uint64_t clock_of(void*) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
  }
  static void wake_of(void* self, std::uint32_t index) {
    Worker& worker = *static_cast<ThreadRuntime*>(self)->workers_[index];
    const std::lock_guard lock{worker.mutex};
    worker.is_woken = true;
    worker.woken.notify_one();
  }

  std::vector<std::unique_ptr<Worker>> workers_;
};

static_assert(Runtime<ThreadRuntime>);

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
