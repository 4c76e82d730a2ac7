// SPDX-License-Identifier: BSL-1.0
//
// ThreadRuntime: contexts with a thread each.

#ifndef BLKOWN_MQ_THREAD_RUNTIME_HPP
#define BLKOWN_MQ_THREAD_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/place.hpp>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One thread for each context. A thread sleeps while its context has nothing to run.
class ThreadRuntime {
 public:
  /// Starts a thread for each of `context_count` contexts.
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
  /// Lets every context run the work that is posted, and ends the threads.
  /// Violation: object_in_use, as for Context::check_unused(): if the caller is one of the threads;
  /// or if then a disk, an armed timer or an idle hook uses a context.
  ~ThreadRuntime() {
    for (auto& worker : workers_) {
      worker->context.check_not_running("destruction of mq::ThreadRuntime", "mq::ThreadRuntime");
    }
    for (auto& worker : workers_) worker->sleeper.stop();
    for (auto& worker : workers_) worker->thread.join();
    for (auto& worker : workers_) {
      worker->context.check_unused("destruction of mq::ThreadRuntime", "mq::ThreadRuntime");
      worker->sleeper.wait_for_wakes(worker->context.wake_calls());
    }
  }

  /// The number of contexts.
  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(workers_.size());
  }
  /// The context with this index.
  [[nodiscard]] Context& context(std::uint32_t index) noexcept { return workers_[index]->context; }
  /// The time of the steady clock.
  [[nodiscard]] std::uint64_t now_ns() noexcept { return detail::steady_now_ns(); }

  /// Blocks the thread until the event is set.
  /// Violation: wrong_context, if the thread is one of the runtime's.
  bool wait_for(Event& event, Place where = Place::current()) {
    detail::check_may_wait(*this, "mq::ThreadRuntime::wait_for", where);
    event.wait();
    return true;
  }
  /// Blocks the thread until the event is set, or the steady clock has reached the deadline.
  /// Returns whether the event is set.
  /// Violation: wrong_context, if the thread is one of the runtime's.
  bool wait_until(Event& event, std::uint64_t deadline_ns, Place where = Place::current()) {
    detail::check_may_wait(*this, "mq::ThreadRuntime::wait_until", where);
    return event.wait_until(deadline_ns);
  }

  /// Calls `call()` on the context, and waits until it has returned.
  /// Violation: wrong_context, if the thread is one of the runtime's.
  template <class Call>
  void run_on(std::uint32_t index, Call call, Place where = Place::current()) {
    detail::check_may_wait(*this, "mq::ThreadRuntime::run_on", where);
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
                               .announces_sleep = true,
                               .has_own_thread = true,
                               .latest_ns = &latest},
                  index} {}

    void work() {
      context.bind_thread();
      while (true) {
        context.run();
        const bool is_stopped = sleeper.sleep([this] { return context.fall_asleep(); },
                                              [this] { return context.next_timer_ns(); });
        // The order matters: work that was posted before the stop is in the inbox by now.
        if (is_stopped && context.is_inbox_empty()) return;
      }
    }

    Context context;
    detail::Sleeper sleeper;
    std::thread thread;
  };

  static std::uint64_t clock_of(void*) { return detail::steady_now_ns(); }
  static std::uint64_t latest(void*) { return detail::steady_latest_ns(); }
  static void wake_of(void* self, std::uint32_t index) {
    static_cast<ThreadRuntime*>(self)->workers_[index]->sleeper.wake();
  }

  std::vector<std::unique_ptr<Worker>> workers_;
};

static_assert(Runtime<ThreadRuntime>);

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
