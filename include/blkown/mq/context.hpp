// SPDX-License-Identifier: BSL-1.0
//
// Context: one line of execution with its pending work and timers.
//
// Parties: the thread that runs a context; any number of posters (threads of other contexts, other
// threads, interrupts); the runtime, which owns the thread and puts it to sleep.
//
//   own list      first_ .. last_, used by the running thread only. post_local() appends to it.
//   inbox         a stack of posted works, linked through the works. post() pushes a work with a
//                 compare-exchange. The running thread takes the whole stack with one exchange and
//                 appends the works, oldest first, to the own list.
//   is_in_inbox_  guards a work's inbox link. The post that sets the flag pushes the work. Other
//                 posts only hand over their callers' writes. The run that follows sees the writes
//                 of every post that came before the flag was cleared.
//   sleep         1. The runtime runs the context until nothing is left.
//                 2. fall_asleep() marks the empty inbox with asleep_. If a work was posted,
//                    fall_asleep() fails, and the runtime runs the context again.
//                 3. The runtime reads next_timer_ns(), and sleeps until then or until `wake`.
//                 A post that replaces the mark, and the arming of an earlier timer, call `wake`.
//
// Guarantees: each post is followed by a run of its work. Several posts may share one run. No
// wake-up is lost: of a post and fall_asleep(), one comes first in the inbox's modification order.
// A work may be destroyed in its own function. A timer may be destroyed at any time, by any thread.
// A context must outlive its posters, its disks, its queued works, its armed timers and its idle
// hooks: check_unused() finds those that are left. A runtime that is destroyed because a work
// has run must wait first for the `wake` calls of posts that have not returned: each call is
// counted by the context before a run can see its work, see wake_calls().

#ifndef BLKOWN_MQ_CONTEXT_HPP
#define BLKOWN_MQ_CONTEXT_HPP

#include <atomic>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/timer_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

class Context;
namespace detail {
class TimerBase;
}

/// A deferred call on a context. The poster owns the object. The context links it into its list, so
/// that posting allocates nothing. The function may post the work again, or destroy it.
/// Source: the kernel's work_struct.
class Work {
 public:
  using Function = void (*)(void* argument, Work& work);

  /// The function runs with the argument on the context that the work is posted to.
  Work(Function function, void* argument) noexcept : function_{function}, argument_{argument} {}
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  /// Violation: object_in_use, if the work is queued.
  ~Work() {
    if (is_queued()) [[unlikely]]
      violate_queued();
  }

  /// Whether a run is pending.
  /// Precondition: the caller is on the work's context, or no thread posts the work any more.
  [[nodiscard]] bool is_queued() const noexcept {
    // No transition. Relaxed: the caller has ordered the posts that it asks about.
    return is_listed_ || is_in_inbox_.load(std::memory_order_relaxed);
  }

 private:
  friend class Context;

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_queued() {
    blkown::detail::violate(Violation::object_in_use,
                            Incident::of("destruction of mq::Work", Place{})
                                .with("a Work was destroyed while it is queued",
                                      "destroy it in or after its last run"));
  }

  Function function_;
  void* argument_;
  // A work can be in the inbox, where any thread may put it, and in the context's own list at the
  // same time. Each has a link of its own.
  Work* inbox_next_ = nullptr;
  Work* next_ = nullptr;
  Atomic<bool> is_in_inbox_{false};
  bool is_listed_ = false;
};

/// A call that a context makes when it has nothing left to run. A hook gives back resources that
/// its owner keeps only for speed.
class IdleHook {
 public:
  using Function = void (*)(void* argument, IdleHook& hook);

  /// The function is called with the argument when the context has nothing left to run.
  IdleHook(Function function, void* argument) noexcept : function_{function}, argument_{argument} {}
  IdleHook(const IdleHook&) = delete;
  IdleHook& operator=(const IdleHook&) = delete;
  /// Removes the hook from the context that has it.
  /// Context: that context.
  ~IdleHook();

 private:
  friend class Context;

  Function function_;
  void* argument_;
  IdleHook* next_ = nullptr;
  Context* added_to_ = nullptr;
};

/// The functions that a runtime gives to each of its contexts.
struct ContextHooks {
  void* runtime = nullptr;                           ///< The first argument of the functions.
  std::uint64_t (*now_ns)(void* runtime) = nullptr;  ///< A monotonic clock.
  /// Tells the runtime that the context has work, or a timer that is due before all others.
  /// The context's run may begin before the call: see Context::wake_calls().
  /// Context: any, interrupts included if interrupts post.
  void (*wake)(void* runtime, std::uint32_t index) = nullptr;
  /// Whether the runtime calls fall_asleep() before it sleeps. If true, `wake` is called for the
  /// first work after fall_asleep(). If false, `wake` is called for each work posted to an empty
  /// inbox.
  bool announces_sleep = false;
  /// Whether only a thread of the runtime runs the context. If true, a disk that another thread
  /// uses for the context is a violation, and so is a wait of the context for its own runtime or
  /// for a disk on the context. If false, the caller's thread may stand in for it, and a Work may
  /// wait, because the wait runs the context. See Context::bind_thread().
  bool has_own_thread = false;
  /// An upper bound of now_ns() that is cheaper to read. A context with an armed timer reads it in
  /// each run, and the clock near the timer's time. Null: now_ns() itself.
  std::uint64_t (*latest_ns)(void* runtime) = nullptr;
};

/// One line of execution: a thread's, or one that a caller runs. One thread at a time runs a
/// context and uses its state, which therefore needs no locks. Other threads post work.
class Context {
 public:
  /// Only a runtime makes contexts. `index` is the position of the context in the runtime.
  Context(const ContextHooks& hooks, std::uint32_t index) noexcept
      : hooks_{hooks},
        index_{index},
        nothing_{hooks.announces_sleep ? nullptr : &asleep_},
        inbox_{nothing_} {
    if (hooks.latest_ns == nullptr) hooks_.latest_ns = hooks.now_ns;
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  /// Violation: as check_unused().
  ~Context() { check_unused("destruction of mq::Context", "mq::Context"); }

  /// The context's index in its runtime.
  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  /// The runtime's clock.
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return hooks_.now_ns(hooks_.runtime); }
  /// Whether only a thread of the runtime runs the context.
  [[nodiscard]] bool has_own_thread() const noexcept { return hooks_.has_own_thread; }
  /// A context's own thread calls this function before its first run. A wait for the runtime is
  /// then found also where the thread runs a context of another runtime.
  void bind_thread() noexcept { of_thread_ = this; }

  // --- any context ------------------------------------------------------------------------------

  /// Makes the work run on this context. Posts made before the run begins may share the run.
  /// Synchronization: the caller's writes before the post happen before the run.
  /// Context: any, interrupts included. No allocation, and no lock but the runtime's in `wake`.
  void post(Work& work) noexcept {
    // false -> true. Partner: pull_posted. Release: if the work is in the inbox already, this
    // exchange hands over the caller's writes. Acquire: if the work is not, pull_posted has read
    // the work's link before this post writes the link.
    if (work.is_in_inbox_.exchange(true, std::memory_order_acq_rel)) return;
    // No transition. Relaxed: a first guess for the exchange below, which compares it.
    Work* top = inbox_.load(std::memory_order_relaxed);
    do {
      work.inbox_next_ = top;
      // top -> work. Partners: pull_posted; fall_asleep, whose mark may be the top. Release: the
      // link and the caller's writes. Relaxed on failure: nothing is read through `top`.
    } while (!inbox_.compare_exchange_weak(top, &work, std::memory_order_release,
                                           std::memory_order_relaxed));
    if (top == &asleep_) hooks_.wake(hooks_.runtime, index_);
  }

  // --- this context -----------------------------------------------------------------------------

  /// Makes the work run on this context, like post(), without an atomic operation.
  /// Violation: wrong_context, if the caller's thread does not run this context.
  void post_local(Work& work, Place where = Place::current()) noexcept {
    if (current_ != this) [[unlikely]]
      violate_post_local(where);
    list(work);
  }

  /// Runs all pending work and due timers until none is left, then the idle hooks. Returns the
  /// number of calls made. Does not return while each call posts another: see run_some().
  std::size_t run() noexcept { return run_turns<false>(0); }
  /// Like run(), but returns after `max_calls` calls. If fewer calls are returned, nothing is left.
  /// Several bounded runs starve no work, no timer and no post of another thread. A call of the
  /// block layer is a batch of bios.
  std::size_t run_some(std::size_t max_calls) noexcept { return run_turns<true>(max_calls); }

  /// The number of calls that could be made now, in any order. For a runtime that chooses.
  [[nodiscard]] std::size_t runnable() noexcept {
    // Without a timer at the last look, the time plays no part.
    return runnable_at(first_due_ns_ == never_ns ? 0 : now_ns());
  }
  /// The same, for a runtime that asks many contexts at one time of its clock.
  /// Precondition: `now_ns` is the clock's time.
  [[nodiscard]] std::size_t runnable_at(std::uint64_t now_ns) noexcept {
    pull();
    const bool may_be_due = is_first_timer_new_.is_set() || first_due_ns_ <= now_ns;
    std::size_t count = may_be_due && is_timer_due() ? 1 : 0;
    for (Work* work = first_; work != nullptr; work = work->next_) ++count;
    return count;
  }
  /// Makes one of these calls.
  /// Precondition: which < runnable(), and the context was not used since runnable() returned.
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
  /// Calls the idle hooks. Returns whether a hook made work.
  /// Precondition: runnable() returned 0.
  bool go_idle() noexcept {
    const Scope scope{*this};
    call_idle_hooks();
    return runnable() != 0;
  }

  /// The hook runs each time the context has nothing left to run.
  /// Violation: object_in_use, if a context has the hook.
  /// Context: the context itself.
  void add_idle_hook(IdleHook& hook, Place where = Place::current()) noexcept {
    if (hook.added_to_ != nullptr) [[unlikely]]
      violate_added(where);
    hook.added_to_ = this;
    hook.next_ = std::exchange(hooks_first_, &hook);
  }
  /// The hook runs no more. Has no effect if this context does not have the hook.
  /// Precondition: the caller is not in the function of another hook of the context.
  /// Context: the context itself.
  void remove_idle_hook(IdleHook& hook) noexcept {
    if (hook.added_to_ != this) return;
    hook.added_to_ = nullptr;
    IdleHook** link = &hooks_first_;
    while (*link != &hook) link = &(*link)->next_;
    *link = hook.next_;
  }

  // --- the running thread -----------------------------------------------------------------------

  /// The context that this thread runs, or null.
  [[nodiscard]] static Context* current() noexcept { return current_; }
  /// The context that this thread is bound to, or null.
  [[nodiscard]] static Context* of_thread() noexcept { return of_thread_; }

  /// While a Scope exists, its thread runs the context. Scopes nest.
  class [[nodiscard]] Scope {
   public:
    /// The calling thread runs the context from here on.
    explicit Scope(Context& context) noexcept : before_{std::exchange(current_, &context)} {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { current_ = before_; }

   private:
    Context* before_;
  };

  // --- the runtime ------------------------------------------------------------------------------

  /// The earliest deadline of the armed timers, or none. A timer that is never due has none.
  /// Context: any; the call locks a mutex.
  [[nodiscard]] std::optional<std::uint64_t> next_timer_ns() noexcept {
    const std::lock_guard lock{timer_mutex_};
    if (timers_.first() == nullptr || timers_.first()->deadline_ns == never_ns) return std::nullopt;
    return timers_.first()->deadline_ns;
  }

  /// The number of `wake` calls for works and timers that this context has seen. Some may not have
  /// returned, or not have begun. A runtime counts the calls that it gets, and its destructor waits
  /// until it has got this many.
  /// Precondition: the caller has ordered the context's runs.
  [[nodiscard]] std::uint64_t wake_calls() noexcept {
    const std::lock_guard lock{timer_mutex_};
    return post_wakes_ + arm_wakes_;
  }

  /// Announces that the runtime is about to sleep: the next post calls `wake`. Returns false if a
  /// work was posted; the runtime must then call run() first.
  /// Precondition: the runtime has called run(), and sleeps only if no `wake` was called since.
  [[nodiscard]] bool fall_asleep() noexcept {
    Work* top = nullptr;
    // null -> asleep. Partner: post. Relaxed: the mark hands nothing over. Of this exchange and a
    // post, one comes first: either the exchange fails, or the post finds the mark and calls
    // `wake`. If the exchange finds an older mark, a post may replace that mark at any time. The
    // post calls `wake`, and the runtime looks for a wake before it sleeps. run() removes the mark.
    return inbox_.compare_exchange_strong(top, &asleep_, std::memory_order_relaxed,
                                          std::memory_order_relaxed) ||
           top == &asleep_;
  }

  /// A runtime's destructor calls this function for each of its contexts, so that the violation
  /// names the runtime. `owner` is the name, and `operation` the destruction.
  /// Precondition: during the call no other thread uses the context, posts to it, arms a timer on
  /// it or destroys a user of it.
  /// Violation: object_in_use, if the caller's thread runs the context, a disk uses it, a timer is
  /// armed or a work is queued on it, or it has an idle hook.
  void check_unused(const char* operation, const char* owner) const noexcept {
    check_not_running(operation, owner);
    users_.check_unused(operation, owner, "remove and destroy the disk first");
    // Read without the lock: see the precondition.
    if (const detail::TimerLink* const armed = timers_.first()) [[unlikely]] {
      violate_unused(operation, owner, "{subject} destroyed while {user} is armed on it",
                     "cancel or destroy the timer first",
                     static_cast<const detail::TimerNode*>(armed)->kind.name);
    }
    if (first_ != nullptr || !is_inbox_empty()) [[unlikely]] {
      violate_unused(operation, owner, "{subject} destroyed while {user} is queued on it",
                     "run the context until the work has run", "an mq::Work");
    }
    if (hooks_first_ != nullptr) [[unlikely]] {
      violate_unused(operation, owner, "{subject} destroyed while it has {user}",
                     "remove or destroy the hook first", "an mq::IdleHook");
    }
  }
  /// The first of these checks alone, for a destructor that waits for the threads first.
  /// Violation: object_in_use, if the caller's thread runs the context.
  void check_not_running(const char* operation, const char* owner) const noexcept {
    if (current_ == this) [[unlikely]] {
      violate_unused(operation, owner, "{subject} destroyed by a thread that runs it",
                     "destroy it after its run and outside of each Context::Scope", "");
    }
  }
  /// The list of those that use the context and are not seen otherwise, such as disks.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

  /// Whether no work was posted since the last run.
  /// Precondition: the caller has ordered the posts that it asks about.
  [[nodiscard]] bool is_inbox_empty() const noexcept {
    // No transition. Relaxed: see the precondition.
    return is_end(inbox_.load(std::memory_order_relaxed));
  }

 private:
  friend class detail::TimerBase;

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_post_local(const Place& place) {
    blkown::detail::violate(
        Violation::wrong_context,
        Incident::of("mq::Context::post_local", place)
            .with("post_local was called by a thread that does not run the context",
                  "call post()"));
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_added(const Place& where) {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("mq::Context::add_idle_hook", where)
            .with("an IdleHook was added while a Context has it", "call remove_idle_hook() first"));
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void violate_unused(const char* operation,
                                                                    const char* owner,
                                                                    const char* problem,
                                                                    const char* remedy,
                                                                    const char* user) {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of(operation, Place{}).with(problem, remedy).about(owner).used_by(user));
  }

  /// `max_calls` counts only if the run is bounded.
  template <bool is_bounded>
  std::size_t run_turns(std::size_t max_calls) noexcept {
    const Scope scope{*this};
    std::size_t count = 0;
    if (first_ == nullptr) pull();
    if (is_bounded && std::exchange(timers_first_, false)) count = fire_due_timers(max_calls);
    const std::size_t fired = count;
    while (true) {
      // One turn is the work that is listed now. Timers and the inbox follow, so that work that
      // posts itself again starves neither timers nor the inbox. Timers come second, so that work
      // does not wait for a read of the clock.
      for (const Work* const last = last_; first_ != nullptr;) {
        if (is_bounded && count == max_calls) return end_bounded(count, count != fired);
        const Work* const work = first_;
        run_first();
        ++count;
        if (work == last) break;
      }
      if (may_timer_be_due()) [[unlikely]] {
        if (is_bounded && count == max_calls) return end_bounded(count, count != fired);
        const std::size_t expired =
            fire_due_timers(is_bounded ? max_calls - count : max_calls_a_turn);
        count += expired;
        if (expired == max_calls_a_turn) {  // more may be due
          pull();
          continue;
        }
      }
      pull();
      if (first_ != nullptr) continue;
      if (hooks_first_ == nullptr) return count;
      call_idle_hooks();
      pull();
      if (first_ == nullptr) return count;
    }
  }
  /// A bounded run ends within a turn: the rest of the turn comes in the next run. If this run was
  /// all works, due timers come first there.
  std::size_t end_bounded(std::size_t count, bool has_run_work) noexcept {
    timers_first_ = has_run_work;
    pull();
    return count;
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

  /// Whether this is the end of the inbox's list.
  [[nodiscard]] bool is_end(const Work* work) const noexcept {
    return work == nullptr || work == &asleep_;
  }

  /// Lists the works that others have posted, oldest first.
  void pull() noexcept {
    // No transition. Relaxed: decides only whether to try a read-modify-write. A post that is
    // missed here wakes a context that sleeps.
    if (inbox_.load(std::memory_order_relaxed) != nothing_) [[unlikely]]
      pull_posted();
  }
  /// Not inlined, like the functions about timers, so that a context without posted work and timers
  /// saves no registers for these calls.
  [[gnu::noinline]] void pull_posted() noexcept {
    // top -> nothing. Partner: post. Acquire: the links. The top may be this context's own mark.
    Work* work = inbox_.exchange(nothing_, std::memory_order_acquire);
    Work* oldest = nullptr;
    while (!is_end(work)) {
      Work* const below = std::exchange(work->inbox_next_, oldest);
      oldest = work;
      work = below;
    }
    // The post that has replaced the mark calls `wake`.
    if (oldest != nullptr && work == &asleep_) ++post_wakes_;
    while (oldest != nullptr) {
      Work& pulled = *oldest;
      oldest = pulled.inbox_next_;
      // true -> false. Partner: every post, including those that found the work in the inbox.
      // Acquire: the posters' writes happen before the run. Release: the link has been read, and
      // the next poster may write the link. A read-modify-write, because a store would not
      // synchronize with the last post in the modification order.
      pulled.is_in_inbox_.exchange(false, std::memory_order_acq_rel);
      list(pulled);
    }
  }

  void run_first() noexcept {
    Work& work = *first_;
    first_ = work.next_;
    work.is_listed_ = false;
    work.function_(work.argument_, work);  // may destroy the work
  }

  // --- timers -----------------------------------------------------------------------------------

  /// False only if no timer is due. Takes no lock, and asks for the time only if a timer is armed.
  [[nodiscard]] bool may_timer_be_due() const noexcept {
    return is_first_timer_new_.is_set() ||
           (first_due_ns_ != never_ns && first_due_ns_ <= hooks_.latest_ns(hooks_.runtime));
  }
  // Precondition of the next two functions: timer_mutex_ is held.
  void look_at_first_timer() noexcept {
    first_due_ns_ = timers_.first() == nullptr ? never_ns : timers_.first()->deadline_ns;
    is_first_timer_new_.set(false);
  }
  /// The timer with the earliest deadline, if it is due.
  [[nodiscard]] detail::TimerLink* due_timer() noexcept {
    look_at_first_timer();
    return first_due_ns_ != never_ns && first_due_ns_ <= now_ns() ? timers_.first() : nullptr;
  }
  [[nodiscard, gnu::noinline]] bool is_timer_due() noexcept {
    const std::lock_guard lock{timer_mutex_};
    return due_timer() != nullptr;
  }
  /// Fires due timers and returns their number: at most `max_calls`, and at most 64, so that a
  /// timer that re-arms itself with no delay does not starve the works.
  [[nodiscard, gnu::noinline]] std::size_t fire_due_timers(std::size_t max_calls) noexcept {
    if (max_calls > max_calls_a_turn) max_calls = max_calls_a_turn;
    std::size_t count = 0;
    while (count != max_calls && fire_due_timer()) ++count;
    return count;
  }
  [[nodiscard]] bool fire_due_timer() noexcept {
    if (!may_timer_be_due()) return false;
    detail::TimerNode::Lock lock{timer_mutex_};
    detail::TimerLink* const link = due_timer();
    if (link == nullptr) return false;
    timers_.remove(*link);  // the next call looks at the first timer
    auto& node = static_cast<detail::TimerNode&>(*link);
    node.kind.fire(node, lock);  // disarms the node and unlocks
    return true;
  }

  static constexpr std::uint64_t never_ns = blkown::detail::never_ns;
  static constexpr std::size_t max_calls_a_turn = 64;

  ContextHooks hooks_;
  std::uint32_t index_;
  Work* first_ = nullptr;
  Work* last_ = nullptr;  // meaningful only if first_ is not null
  IdleHook* hooks_first_ = nullptr;
  bool timers_first_ = false;              // a bounded run ended before the timers' turn
  std::uint64_t post_wakes_ = 0;           // `wake` calls for works that were pulled
  std::uint64_t first_due_ns_ = never_ns;  // the first timer's deadline at the last locked look

  // The empty inbox's value: null while the context is awake, and the mark asleep_ while posts have
  // to wake it. A context whose runtime does not announce its sleep always has the mark.
  Work asleep_{nullptr, nullptr};
  Work* const nothing_;

  // What other threads write has a pair of cache lines of its own.
  alignas(blkown::detail::line_pair_bytes) Atomic<Work*> inbox_;
  detail::RelaxedFlag is_first_timer_new_;  // set with the mutex held: first_due_ns_ is out of date
  detail::TimerMutex timer_mutex_;
  detail::TimerQueue timers_;
  std::uint64_t arm_wakes_ = 0;  // `wake` calls for timers; with the mutex held
  blkown::detail::UserList users_;

  static constinit inline thread_local Context* current_ = nullptr;
  static constinit inline thread_local Context* of_thread_ = nullptr;
};
static_assert(alignof(Context) % blkown::detail::line_pair_bytes == 0,
              "two contexts never share a pair of lines");

inline IdleHook::~IdleHook() {
  if (added_to_ != nullptr) added_to_->remove_idle_hook(*this);
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
