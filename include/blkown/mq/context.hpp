// SPDX-License-Identifier: BSL-1.0
//
// Context: one line of execution, with the work that is waiting for it.

#ifndef BLKOWN_MQ_CONTEXT_HPP
#define BLKOWN_MQ_CONTEXT_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/timer_queue.hpp>
#include <mutex>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

class Context;

/// A piece of deferred work, which a context runs when it comes to it (the kernel's work_struct).
/// The poster's object, linked into the context's list: no allocation. Its function may post it
/// again, or destroy it.
class Work {
 public:
  using Function = void (*)(void* argument, Work& work);

  Work(Function function, void* argument) noexcept : function_{function}, argument_{argument} {}
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  /// Violation: it is queued.
  ~Work();

  /// Whether a run is still to come. For its context, or when nobody posts any more.
  [[nodiscard]] bool is_queued() const noexcept {
    // No transition. Relaxed: who asks has ordered the posts that it means.
    return is_listed_ || is_in_inbox_.load(std::memory_order_relaxed);
  }

 private:
  friend class Context;

  Function function_;
  void* argument_;
  // In the inbox, which any context may put it into; and, at the same time, in the context's own
  // list, which only that one touches.
  Work* inbox_next_ = nullptr;
  Work* next_ = nullptr;
  Atomic<bool> is_in_inbox_{false};
  bool is_listed_ = false;
};

/// Called when a context has nothing left to run, to give back what it only keeps for speed.
class IdleHook {
 public:
  using Function = void (*)(void* argument, IdleHook& hook);

  IdleHook(Function function, void* argument) noexcept : function_{function}, argument_{argument} {}
  IdleHook(const IdleHook&) = delete;
  IdleHook& operator=(const IdleHook&) = delete;

 private:
  friend class Context;
  Function function_;
  void* argument_;
  IdleHook* next_ = nullptr;
};

/// What a runtime brings to a context.
struct ContextHooks {
  void* runtime = nullptr;
  std::uint64_t (*now_ns)(void* runtime) = nullptr;  ///< A clock that never goes back.
  /// There is something to run, or a timer that is due before all others. Any context.
  void (*wake)(void* runtime, std::uint32_t index) = nullptr;
  /// Whether the runtime calls fall_asleep before it sleeps: then `wake` is called for the first
  /// work after that. If not, for every work that is posted where nothing was.
  bool tells_of_its_sleep = false;
};

class TimerNode;

/// One line of execution: a thread's, or one that a caller runs when it likes. What belongs to a
/// context is touched by one thread at a time, the one that runs it; so it needs no locks. Others
/// reach it by posting work.
class Context {
 public:
  Context(const ContextHooks& hooks, std::uint32_t index) noexcept
      : hooks_{hooks},
        index_{index},
        nothing_{hooks.tells_of_its_sleep ? nullptr : &asleep_},
        inbox_{nothing_} {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Its place among its runtime's contexts.
  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return hooks_.now_ns(hooks_.runtime); }

  // --- any context, interrupts included ---------------------------------------------------------

  /// The work runs on this context after this, once or more often; several posts that it has not
  /// come to yet may be one run. No allocation, no lock (but what `wake` does).
  /// Synchronization: what was done before comes before the run.
  void post(Work& work) noexcept {
    // false -> true. Partner: pull_posted. Release: if the work is in the inbox already, it is this
    // exchange that hands over what was done before. Acquire: if it is not, pull_posted has done
    // with the link before it is written here.
    if (work.is_in_inbox_.exchange(true, std::memory_order_acq_rel)) return;
    // No transition. Relaxed: a guess for the exchange below, which looks again.
    Work* top = inbox_.load(std::memory_order_relaxed);
    do {
      work.inbox_next_ = top;
      // top -> work. Partners: pull_posted; fall_asleep, whose mark may be the top. Release: the
      // link, and what was done before. Relaxed on failure: nothing is read through `top`.
    } while (!inbox_.compare_exchange_weak(top, &work, std::memory_order_release,
                                           std::memory_order_relaxed));
    if (top == &asleep_) hooks_.wake(hooks_.runtime, index_);
  }

  // --- this context -----------------------------------------------------------------------------

  /// The same from the context itself, without an atomic operation.
  /// Violation: another context's thread.
  void post_local(Work& work, Place where = Place::current()) noexcept {
    if (current_ != this) [[unlikely]]
      violate(Violation::wrong_context, "mq::Context::post_local", where);
    list(work);
  }

  /// Runs everything that is due or posted, until nothing is left, and then the idle hooks. Returns
  /// how many pieces it ran.
  std::size_t run() noexcept {
    const Scope scope{*this};
    std::size_t count = 0;
    if (first_ == nullptr) pull();
    while (true) {
      // As long a turn as there is work now; then timers and the inbox have theirs. Timers second,
      // so that work need not wait for a look at the clock.
      for (const Work* const last = last_; first_ != nullptr;) {
        const Work* const work = first_;
        run_first();
        ++count;
        if (work == last) break;
      }
      if (may_timer_be_due()) [[unlikely]]
        count += fire_due_timers();
      pull();
      if (first_ != nullptr) continue;
      if (hooks_first_ == nullptr) return count;
      call_idle_hooks();
      pull();
      if (first_ == nullptr) return count;
    }
  }

  /// How many pieces could run now, in any order: for a runtime that chooses.
  [[nodiscard]] std::size_t runnable() noexcept {
    pull();
    std::size_t count = is_timer_due() ? 1 : 0;
    for (Work* work = first_; work != nullptr; work = work->next_) ++count;
    return count;
  }
  /// Runs one of them. Precondition: which < runnable(), and nothing happened in between.
  void run_one(std::size_t which) noexcept {
    const Scope scope{*this};
    Work* before = nullptr;
    Work* work = first_;
    for (; work != nullptr && which != 0; --which) {
      before = work;
      work = work->next_;
    }
    if (work == nullptr) {
      static_cast<void>(fire_due_timer());
      return;
    }
    if (before == nullptr) return run_first();
    before->next_ = work->next_;
    if (last_ == work) last_ = before;
    work->is_listed_ = false;
    work->function_(work->argument_, *work);
  }
  /// Nothing is left to run: gives back what is kept for speed. True if that made more work.
  bool go_idle() noexcept {
    const Scope scope{*this};
    call_idle_hooks();
    return runnable() != 0;
  }

  void add_idle_hook(IdleHook& hook) noexcept { hook.next_ = std::exchange(hooks_first_, &hook); }
  void remove_idle_hook(IdleHook& hook) noexcept {
    IdleHook** link = &hooks_first_;
    while (*link != nullptr && *link != &hook) link = &(*link)->next_;
    if (*link != nullptr) *link = hook.next_;
  }

  // --- who runs ---------------------------------------------------------------------------------

  /// The context that this thread is running, or null.
  [[nodiscard]] static Context* current() noexcept { return current_; }

  /// While it lives, this thread runs the context. Scopes nest.
  class [[nodiscard]] Scope {
   public:
    explicit Scope(Context& context) noexcept : before_{std::exchange(current_, &context)} {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { current_ = before_; }

   private:
    Context* before_;
  };

  // --- timers; any context (timer.hpp is the way to use them) -----------------------------------

  /// When the earliest timer is due, if there is one.
  [[nodiscard]] std::optional<std::uint64_t> next_timer_ns() noexcept {
    const std::lock_guard lock{timer_mutex_};
    if (timers_.first() == nullptr) return std::nullopt;
    return timers_.first()->deadline_ns;
  }

  /// For the runtime, when this context has run and it is about to sleep: the next work that is
  /// posted calls `wake`. False if something is posted already; then there is something to run.
  [[nodiscard]] bool fall_asleep() noexcept {
    Work* top = nullptr;
    // null -> asleep. Partner: post. Relaxed, because it hands nothing over: of this and a post one
    // comes first; either this one fails, or the post finds the mark and wakes. Where the mark is
    // there already, it may have been replaced since this look: who did that calls `wake`, and what
    // `wake` sets is looked at by the runtime before it sleeps. A run takes the mark away.
    return inbox_.compare_exchange_strong(top, &asleep_, std::memory_order_relaxed,
                                          std::memory_order_relaxed) ||
           top == &asleep_;
  }

  /// Whether nothing has been posted since the last run.
  [[nodiscard]] bool is_inbox_empty() const noexcept {
    // No transition. Relaxed: who asks has ordered the posts that it means.
    return is_end(inbox_.load(std::memory_order_relaxed));
  }

 private:
  friend class TimerNode;
  friend class Work;

  [[noreturn, gnu::cold, gnu::noinline]] static void violate(Violation violation,
                                                             const char* operation,
                                                             const Place& place) {
    Incident incident;
    incident.operation = operation;
    incident.place = place;
    blkown::detail::violate(violation, incident);
  }

  void list(Work& work) noexcept {
    if (work.is_listed_) return;
    work.is_listed_ = true;
    work.next_ = nullptr;
    if (first_ == nullptr) {
      first_ = &work;
    } else {
      last_->next_ = &work;
    }
    last_ = &work;
  }

  void call_idle_hooks() noexcept {
    for (IdleHook* hook = hooks_first_; hook != nullptr;) {
      IdleHook& called = *hook;
      hook = hook->next_;
      called.function_(called.argument_, called);
    }
  }

  /// The end of the inbox's list.
  [[nodiscard]] bool is_end(const Work* work) const noexcept {
    return work == nullptr || work == &asleep_;
  }

  /// Lists what others have posted, oldest first.
  void pull() noexcept {
    // No transition. Relaxed: whether it is worth a read-modify-write; who posts to a context that
    // sleeps wakes it.
    if (inbox_.load(std::memory_order_relaxed) != nothing_) [[unlikely]]
      pull_posted();
  }
  /// Out of line, like what is done about timers: a context that is kept busy by its own I/O does
  /// not save registers for either.
  [[gnu::noinline]] void pull_posted() noexcept {
    // top -> nothing. Partner: post. Acquire: the links. The top may be this context's own mark.
    Work* work = inbox_.exchange(nothing_, std::memory_order_acquire);
    Work* oldest = nullptr;
    while (!is_end(work)) {
      Work* const below = std::exchange(work->inbox_next_, oldest);
      oldest = work;
      work = below;
    }
    while (oldest != nullptr) {
      Work& pulled = *oldest;
      oldest = pulled.inbox_next_;
      // true -> false. Partner: post, of those too that found it in the inbox already. Acquire:
      // what they did before comes before the run. Release: the link was read, the next poster may
      // write it. A read-modify-write, to see the last of them.
      pulled.is_in_inbox_.exchange(false, std::memory_order_acq_rel);
      list(pulled);
    }
  }

  void run_first() noexcept {
    Work& work = *first_;
    first_ = work.next_;
    work.is_listed_ = false;
    work.function_(work.argument_, work);  // it may be gone now
  }

  /// False: no timer is due. Most often without the mutex, and without a clock if none is armed.
  [[nodiscard]] bool may_timer_be_due() const noexcept {
    return is_first_timer_new_.is_set() || (first_due_ns_ != never_ns && first_due_ns_ <= now_ns());
  }
  // Precondition of these two: the mutex is held.
  void look_at_first_timer() noexcept {
    first_due_ns_ = timers_.first() == nullptr ? never_ns : timers_.first()->deadline_ns;
    is_first_timer_new_.set(false);
  }
  /// The timer that is due first, if it is due.
  [[nodiscard]] detail::TimerLink* due_timer() noexcept {
    look_at_first_timer();
    return first_due_ns_ != never_ns && first_due_ns_ <= now_ns() ? timers_.first() : nullptr;
  }
  [[nodiscard]] bool is_timer_due() noexcept {
    if (!may_timer_be_due()) return false;
    const std::lock_guard lock{timer_mutex_};
    return due_timer() != nullptr;
  }
  /// Fires what is due, and returns how many: 64 at most, so that a timer that is armed again for
  /// at once does not keep work waiting.
  [[nodiscard, gnu::noinline]] std::size_t fire_due_timers() noexcept {
    std::size_t count = 0;
    while (count != 64 && fire_due_timer()) ++count;
    return count;
  }
  [[nodiscard]] bool fire_due_timer() noexcept;

  static constexpr std::uint64_t never_ns = ~std::uint64_t{0};

  ContextHooks hooks_;
  std::uint32_t index_;
  Work* first_ = nullptr;
  Work* last_ = nullptr;  // only if there is a first
  IdleHook* hooks_first_ = nullptr;
  std::uint64_t first_due_ns_ = never_ns;  // when the last look saw the first timer due

  // What the inbox holds when nothing is posted: null, or the mark by which a post knows that it
  // has to wake somebody.
  Work asleep_{nullptr, nullptr};
  Work* const nothing_;

  alignas(cache_line_bytes) Atomic<Work*> inbox_;
  detail::RelaxedFlag
      is_first_timer_new_;  // set with the mutex held: another is the first since that look
  std::mutex timer_mutex_;
  detail::TimerQueue timers_;

  static constinit inline thread_local Context* current_ = nullptr;
};

inline Work::~Work() {
  if (is_queued()) [[unlikely]] {
    Context::violate(Violation::object_in_use, "destruction of mq::Work", Place{});
  }
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#include <blkown/mq/timer.hpp>

#endif
