// SPDX-License-Identifier: BSL-1.0
//
// Coroutines on contexts: co_await of a disk's I/O.
//
//   mq::Task<Status> copy(mq::AsyncDisk<MyDriver> disk, std::span<std::byte> memory) {
//     const Status status = co_await disk.read(0, memory);
//     if (status != Status::ok) co_return status;
//     co_return co_await disk.write(64, memory, {.fua = true});
//   }
//   const Status status = mq::wait(runtime, runtime.context(0), copy(disk, memory));
//
// Parties: the Task, whose coroutine runs on one context from its first statement to its last; the
// operation that it awaits, which lives in the coroutine's frame and contains the bio; the context.
//
//   1. post() or wait() queues a Work of the frame on the context. The Work starts the coroutine.
//   2. co_await of an operation submits its bio on the context and suspends the coroutine.
//   3. The bio's end callback only queues a Work of the operation.
//   4. The Work resumes the coroutine, outside of callbacks and of handles' destructors. The
//      coroutine may therefore submit, wait for tags, and destroy other operations.
//   5. The end of a coroutine resumes the coroutine that awaits it, within the same Work.
//
// Nothing is allocated but the coroutine's frame. Everything of one Task happens on one context and
// needs no lock. A Task that is destroyed while an I/O of its coroutine is in flight is a
// violation, as the bio reports. Opt-in: no other header includes this one.

#ifndef BLKOWN_MQ_COROUTINE_HPP
#define BLKOWN_MQ_COROUTINE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

template <class T = void>
class Task;

namespace detail {

/// The call at the end of a started operation.
struct Continuation {
  void (*function)(void* argument) = nullptr;
  void* argument = nullptr;

  void operator()() const {
    if (function != nullptr) function(argument);
  }
  /// Resumes the coroutine.
  template <class Promise>
  [[nodiscard]] static Continuation of(std::coroutine_handle<Promise> coroutine) noexcept {
    return {[](void* address) { std::coroutine_handle<Promise>::from_address(address).resume(); },
            coroutine.address()};
  }
};

/// The types that co_await and when_all take: `start` begins the operation on the context, and
/// returns whether it has ended already. If not, its end calls the continuation, on the context.
template <class T>
concept Startable = requires(T& operation, Context& context, Continuation continuation) {
  { operation.start(context, continuation) } -> std::same_as<bool>;
  operation.take_result();
};

/// The awaiting side of an operation.
template <class Operation>
struct Awaiter {
  Operation& operation;

  [[nodiscard]] static bool await_ready() noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> coroutine) {
    return !operation.start(*coroutine.promise().context, Continuation::of(coroutine));
  }
  decltype(auto) await_resume() { return operation.take_result(); }
};

/// An operation with references to others, which may be temporaries of the same expression.
template <class T>
concept RefersToOperations = Startable<T> && requires { typename T::RefersToOperations; };

/// The awaiting side of such an operation that was kept in a variable. co_await completes this
/// type, so that the compiler gives the sentence first.
template <class Operation>
struct KeptAwaiter : Awaiter<Operation> {
  static_assert(!RefersToOperations<Operation>,
                "co_await when_all(...): await it in the expression that calls it, because the "
                "operations may be temporaries of that expression");
};

/// The part of a coroutine's frame that does not depend on the result.
struct TaskPromise {
  TaskPromise() noexcept : first_run{&run_first, this} {}

  Context* context = nullptr;
  Continuation continuation;
  bool is_starting = false;  // within start(), which tells its caller of an end itself
  Work first_run;
  void (*start_first)(void* task) = nullptr;
  void* first_argument = nullptr;

  struct FinalAwaiter {
    [[nodiscard]] static bool await_ready() noexcept { return false; }
    /// The continuation may destroy the coroutine.
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> coroutine) const noexcept {
      TaskPromise& promise = coroutine.promise();
      if (promise.is_starting) return;
      const Continuation next = promise.continuation;
      next();
    }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] static std::suspend_always initial_suspend() noexcept { return {}; }
  [[nodiscard]] static FinalAwaiter final_suspend() noexcept { return {}; }
  [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }

  template <Startable Operation>
  [[nodiscard]] Awaiter<Operation> await_transform(Operation&& operation) noexcept
    requires(!std::is_lvalue_reference_v<Operation>)
  {
    return {operation};
  }
  template <Startable Operation>
  [[nodiscard]] Awaiter<Operation> await_transform(Operation& operation) noexcept {
    return {operation};
  }
  template <RefersToOperations Operation>
  [[nodiscard]] KeptAwaiter<Operation> await_transform(Operation& operation) noexcept {
    return {{operation}};
  }

 private:
  static void run_first(void* its, Work&) {
    auto& self = *static_cast<TaskPromise*>(its);
    self.start_first(self.first_argument);
  }
};

template <class T>
struct ResultPromise : TaskPromise {
  std::optional<T> result;

  template <class Value = T>  // the default is for co_return {}
  void return_value(Value&& value) {
    result.emplace(std::forward<Value>(value));
  }
};

template <>
struct ResultPromise<void> : TaskPromise {
  static void return_void() noexcept {}
};

[[noreturn, gnu::cold, gnu::noinline]] inline void violate_unfinished(const Place& where) {
  blkown::detail::violate(
      Violation::object_in_use,
      Incident::of("mq::wait", where)
          .with("nothing is left to run, and a Task that was waited for has not ended",
                "let the clock pass, or complete the I/O that the Task awaits"));
}

[[gnu::cold, gnu::noinline]] inline void report_long_task(std::uint32_t waited_ms,
                                                          const Place& where) {
  blkown::detail::report(
      Report::long_wait,
      Incident::of("mq::wait", where)
          .with("a Task that was waited for has not ended for {count|ms|ms}",
                "look for the I/O that it awaits in what print_in_flight() of its disk shows")
          .about("", waited_ms));
}

}  // namespace detail

/// A coroutine on a context, with a result of type T. A Task does nothing until it is awaited,
/// posted or waited for, once. Move-only; it is not moved after that.
/// Precondition: the references in the coroutine's parameters stay valid until its end.
template <class T>
class [[nodiscard]] Task {
 public:
  /// The frame's part of the library: `std::coroutine_traits` of a function that returns a Task.
  struct promise_type : detail::ResultPromise<T> {
    /// What the call of the coroutine returns.
    [[nodiscard]] Task get_return_object() noexcept {
      return Task{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    /// Makes the compiler allocate the frame without an exception.
    [[nodiscard]] static Task get_return_object_on_allocation_failure() noexcept {
      return Task{nullptr};
    }
  };

  Task(Task&& other) noexcept : coroutine_{std::exchange(other.coroutine_, nullptr)} {}
  Task& operator=(Task&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  /// Violation: object_in_use, if an I/O of the coroutine is in flight.
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  /// Whether there is a coroutine: false after a move, and if no memory was left for its frame.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(coroutine_); }
  /// Whether the coroutine has ended.
  /// Context: the Task's context.
  [[nodiscard]] bool is_done() const noexcept { return coroutine_ && coroutine_.done(); }

  /// Starts the coroutine on the context. Its end calls `on_end` there, which may destroy the Task.
  /// Violation: use_of_moved_from, if there is no coroutine; object_in_use, if it was started.
  /// Context: any. The Task stays in place until its end.
  void post(Context& context, OnEnd<Task> on_end, Place where = Place::current()) {
    promise_type& promise = begin(context, "mq::Task::post", where);
    on_end_ = on_end;
    promise.first_argument = this;
    promise.start_first = [](void* its) {
      auto& self = *static_cast<Task*>(its);
      const auto end = [](void* task) {
        auto& ended = *static_cast<Task*>(task);
        const OnEnd<Task> call = ended.on_end_;
        call(ended);
      };
      if (self.run({end, its})) end(its);
    };
    context.post(promise.first_run);
  }

  /// Starts the coroutine within the calling one: what co_await does.
  /// Violation: as post().
  [[nodiscard]] bool start(Context& context, detail::Continuation continuation) {
    static_cast<void>(begin(context, "co_await of mq::Task", Place{}));
    return run(continuation);
  }
  /// The result, once.
  /// Precondition: is_done().
  T take_result() {
    if constexpr (!std::is_void_v<T>) return *std::move(coroutine_.promise().result);
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_{coroutine} {}

  /// The promise of a coroutine that begins on the context.
  promise_type& begin(Context& context, const char* operation, const Place& where) {
    if (!coroutine_) [[unlikely]] {
      blkown::detail::violate(Violation::use_of_moved_from,
                              Incident::of(operation, where)
                                  .with("a Task without a coroutine was started",
                                        "start a Task once, and test it where memory may run out"));
    }
    promise_type& promise = coroutine_.promise();
    if (promise.context != nullptr) [[unlikely]] {
      blkown::detail::violate(
          Violation::object_in_use,
          Incident::of(operation, where)
              .with("a Task was started that had been started before",
                    "await, post or wait for a Task once, and keep its result"));
    }
    promise.context = &context;
    return promise;
  }

  /// Runs the coroutine to its first suspension. Returns whether it has ended; if not, its end
  /// calls the continuation.
  [[nodiscard]] bool run(detail::Continuation continuation) {
    promise_type& promise = coroutine_.promise();
    promise.continuation = continuation;
    promise.is_starting = true;
    coroutine_.resume();
    promise.is_starting = false;
    return coroutine_.done();
  }

  std::coroutine_handle<promise_type> coroutine_;
  OnEnd<Task> on_end_{};
};

/// Runs the coroutine on the context, and waits for its end. Returns its result.
/// Precondition: as for submit_and_wait() in sync.hpp.
/// Effects: when it has waited for `report_after_ms`, the call reports that once
/// (Report::long_wait), and goes on waiting. 0: it never does.
/// Violation: wrong_context, if the caller's thread is one of the runtime's
/// (ContextHooks::has_own_thread), or if the caller is in a hook or a callback of a disk on a
/// context of the runtime.
/// Violation: object_in_use, if the runtime has nothing left to run before the end.
/// Context: may sleep.
template <Runtime Rt, class T>
T wait(Rt& runtime, Context& context, Task<T> task,
       std::uint32_t report_after_ms = default_report_after_ms, Place where = Place::current()) {
  detail::check_may_wait(runtime, "mq::wait", where);
  Event done;
  task.post(context, {[](void* event, Task<T>&) { static_cast<Event*>(event)->set(); }, &done},
            where);
  const bool has_ended = detail::wait_and_report(
      runtime, done, report_after_ms, [&] { detail::report_long_task(report_after_ms, where); });
  if (!has_ended) [[unlikely]]
    detail::violate_unfinished(where);
  return task.take_result();
}

/// The result of an append to a zone.
struct AppendResult {
  Status status = Status::ok;
  std::uint64_t written_sector = 0;  ///< The first sector written, if the status is ok.
  friend constexpr bool operator==(const AppendResult&, const AppendResult&) = default;
};

/// One I/O of a coroutine, for co_await and when_all. It stays in place from its start to its end.
template <class D, class Result = Status>
class [[nodiscard]] IoOperation {
 public:
  /// `make(on_end)` returns the bio, which is submitted as from the place.
  template <class Make>
  IoOperation(Disk<D>& disk, Make make, Place where = Place::current())
      : disk_{disk},
        bio_{make(OnEnd<Bio>{&queue_resume, this})},
        where_{where},
        resume_{&run_resume, this} {}
  IoOperation(const IoOperation&) = delete;
  IoOperation& operator=(const IoOperation&) = delete;

  /// Submits the bio. Returns false, because the end is told by a Work.
  [[nodiscard]] bool start(Context& context, detail::Continuation continuation) {
    context_ = &context;
    continuation_ = continuation;
    disk_.submit(context, bio_, where_);
    return false;
  }
  /// The result of the I/O that has ended.
  [[nodiscard]] Result take_result() const noexcept {
    if constexpr (std::is_same_v<Result, AppendResult>) {
      return {bio_.status(), bio_.written_sector()};
    } else {
      return bio_.status();
    }
  }

 private:
  static void queue_resume(void* its, Bio&) {
    auto& self = *static_cast<IoOperation*>(its);
    self.context_->post(self.resume_);
  }
  /// The continuation may destroy the operation.
  static void run_resume(void* its, Work&) {
    const detail::Continuation next = static_cast<IoOperation*>(its)->continuation_;
    next();
  }

  Disk<D>& disk_;
  Bio bio_;
  Place where_;
  Work resume_;
  Context* context_ = nullptr;
  detail::Continuation continuation_;
};

/// A disk whose operations are awaited. Copyable; the disk outlives it.
template <class D>
class AsyncDisk {
 public:
  /// Makes the operations of the disk awaitable.
  explicit AsyncDisk(Disk<D>& disk) noexcept : disk_{&disk} {}

  /// The disk.
  [[nodiscard]] Disk<D>& disk() const noexcept { return *disk_; }

  /// Reads from `sector` on into `memory`.
  [[nodiscard]] IoOperation<D> read(std::uint64_t sector, std::span<std::byte> memory,
                                    IoFlags flags = {}, Place where = Place::current()) const {
    return {*disk_,
            [&](OnEnd<Bio> on_end) {
              return Bio::read(sector, Segment{memory.data(), memory.size()}, on_end, flags);
            },
            where};
  }
  /// Reads from `sector` on into several pieces of memory. The array outlives the operation.
  [[nodiscard]] IoOperation<D> read(std::uint64_t sector, std::span<const Segment> memory,
                                    IoFlags flags = {}, Place where = Place::current()) const {
    return {*disk_, [&](OnEnd<Bio> on_end) { return Bio::read(sector, memory, on_end, flags); },
            where};
  }
  /// Writes `memory` from `sector` on.
  [[nodiscard]] IoOperation<D> write(std::uint64_t sector, std::span<const std::byte> memory,
                                     IoFlags flags = {}, Place where = Place::current()) const {
    return {*disk_,
            [&](OnEnd<Bio> on_end) { return Bio::write(sector, constant(memory), on_end, flags); },
            where};
  }
  /// Writes several pieces of memory from `sector` on. The array outlives the operation.
  [[nodiscard]] IoOperation<D> write(std::uint64_t sector, std::span<const Segment> memory,
                                     IoFlags flags = {}, Place where = Place::current()) const {
    return {*disk_, [&](OnEnd<Bio> on_end) { return Bio::write(sector, memory, on_end, flags); },
            where};
  }
  /// Makes all writes durable that ended before.
  [[nodiscard]] IoOperation<D> flush(Place where = Place::current()) const {
    return {*disk_, [](OnEnd<Bio> on_end) { return Bio::flush(on_end); }, where};
  }
  /// Discards `length_bytes` from `sector` on.
  [[nodiscard]] IoOperation<D> discard(std::uint64_t sector, std::uint64_t length_bytes,
                                       IoFlags flags = {}, Place where = Place::current()) const {
    return {*disk_,
            [&](OnEnd<Bio> on_end) { return Bio::discard(sector, length_bytes, on_end, flags); },
            where};
  }
  /// Writes zeroes to `length_bytes` from `sector` on.
  [[nodiscard]] IoOperation<D> write_zeroes(std::uint64_t sector, std::uint64_t length_bytes,
                                            IoFlags flags = {},
                                            Place where = Place::current()) const {
    return {
        *disk_,
        [&](OnEnd<Bio> on_end) { return Bio::write_zeroes(sector, length_bytes, on_end, flags); },
        where};
  }
  /// Appends to the zone that begins at `zone_sector`. The array outlives the operation.
  [[nodiscard]] IoOperation<D, AppendResult> zone_append(std::uint64_t zone_sector,
                                                         std::span<const Segment> memory,
                                                         IoFlags flags = {},
                                                         Place where = Place::current()) const {
    return {*disk_,
            [&](OnEnd<Bio> on_end) { return Bio::zone_append(zone_sector, memory, on_end, flags); },
            where};
  }
  /// Opens, closes, finishes or resets the zone that begins at `zone_sector`, or resets all zones.
  /// Precondition: is_zone_management(op).
  [[nodiscard]] IoOperation<D> zone(Op op, std::uint64_t zone_sector, IoFlags flags = {},
                                    Place where = Place::current()) const {
    return {*disk_, [&](OnEnd<Bio> on_end) { return Bio::zone(op, zone_sector, on_end, flags); },
            where};
  }

 private:
  /// A Segment serves both directions, so its memory is not const. A write does not change it.
  [[nodiscard]] static Segment constant(std::span<const std::byte> memory) noexcept {
    return {const_cast<std::byte*>(memory.data()), memory.size()};
  }

  Disk<D>* disk_;
};

namespace detail {

/// Counts operations that were started together, and calls the continuation after the last.
struct Join {
  std::size_t left = 0;
  Continuation continuation;

  [[nodiscard]] static Continuation arrival(Join& join) noexcept {
    return {[](void* its) {
              auto& self = *static_cast<Join*>(its);
              if (--self.left == 0) self.continuation();
            },
            &join};
  }
  /// Starts all that `start_each(start)` passes to `start`. Returns whether all have ended already.
  template <class StartEach>
  [[nodiscard]] bool start(Context& context, Continuation next, StartEach start_each) {
    continuation = {};
    left = 1;  // the loop itself, so that an early end calls nothing
    start_each([&](auto& operation) {
      ++left;
      if (operation.start(context, arrival(*this))) --left;
    });
    continuation = next;
    return --left == 0;
  }
};

/// The result of an operation, with std::monostate in place of void.
template <class Operation>
[[nodiscard]] auto result_of(Operation& operation) {
  if constexpr (std::is_void_v<decltype(operation.take_result())>) {
    operation.take_result();
    return std::monostate{};
  } else {
    return operation.take_result();
  }
}

/// The operations of one when_all. An rvalue is a temporary of the co_await expression, which the
/// coroutine's frame keeps until the resume.
template <class... Operations>
class [[nodiscard]] AllOf {
 public:
  struct RefersToOperations;

  explicit AllOf(Operations&... operations) noexcept : operations_{operations...} {}
  AllOf(const AllOf&) = delete;
  AllOf& operator=(const AllOf&) = delete;

  [[nodiscard]] bool start(Context& context, Continuation next) {
    return join_.start(context, next, [&](auto start) {
      std::apply([&](auto&... each) { (start(each), ...); }, operations_);
    });
  }
  [[nodiscard]] auto take_result() {
    // With its types: of one std::pair or std::tuple, a deduced std::tuple would be the elements.
    return std::apply(
        [](auto&... each) { return std::tuple<decltype(result_of(each))...>{result_of(each)...}; },
        operations_);
  }

 private:
  std::tuple<Operations&...> operations_;
  Join join_;
};

/// The Tasks of one when_all.
template <class T>
class [[nodiscard]] AllTasks {
 public:
  explicit AllTasks(std::span<Task<T>> tasks) noexcept : tasks_{tasks} {}

  [[nodiscard]] bool start(Context& context, Continuation next) {
    return join_.start(context, next, [&](auto start) {
      for (Task<T>& task : tasks_) start(task);
    });
  }
  void take_result() const noexcept {}

 private:
  std::span<Task<T>> tasks_;
  Join join_;
};

}  // namespace detail

/// Starts the operations together, and resumes after the last end. co_await gives a std::tuple of
/// their results, with std::monostate for a Task<void>.
/// Precondition: the call is the operand of co_await or of another when_all. The result refers to
/// the operations, of which most are temporaries; co_await of a variable does not compile.
template <detail::Startable... Operations>
[[nodiscard]] detail::AllOf<std::remove_reference_t<Operations>...> when_all(
    BLKOWN_REFERRED_TO Operations&&... operations) noexcept
  requires(sizeof...(Operations) != 0)
{
  return detail::AllOf<std::remove_reference_t<Operations>...>{operations...};
}
/// The same for an array of Tasks, whose take_result() gives each result.
template <class T>
[[nodiscard]] detail::AllTasks<T> when_all(std::span<Task<T>> tasks) noexcept {
  return detail::AllTasks<T>{tasks};
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
