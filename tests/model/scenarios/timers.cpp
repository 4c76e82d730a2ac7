// SPDX-License-Identifier: BSL-1.0
//
// Theme: a timer that fires, is cancelled, is armed again and is destroyed by different threads.
//
// Goal: each armed handle goes to exactly one of cancel() and the function, with its own arming's
// writes visible, also when another thread arms or destroys the timer while it fires.
// Method: the real Timer and Context over the explorer's atomic and a mutex made of it. The handle
// marks the timer's memory as written when it moves into or out of the timer.

#include "fixture.hpp"

// The fixture comes first: it chooses the explorer's atomic.
#include <array>
#include <blkown/mq/context.hpp>
#include <blkown/mq/timer.hpp>
#include <optional>
#include <string>
#include <utility>

#include "no_context.hpp"

namespace timers {

namespace mq = blkown::mq;

/// Stands for the memory of a timer that holds handles.
struct Memory {
  const void* begin = nullptr;
  const void* end = nullptr;
  model::Data<int> data{0, "the timer's memory"};

  void note(const void* handle) {
    if (handle >= begin && handle < end) data.set(1);
  }
};

/// A handle that reports each access to itself.
class Handle {
 public:
  Handle(Memory& memory, std::size_t number) : memory_{&memory}, number_{number} {}
  Handle(Handle&& other) noexcept : memory_{other.memory_}, number_{other.number_} {
    memory_->note(&other);
    memory_->note(this);
  }
  Handle& operator=(Handle&& other) noexcept {
    memory_ = other.memory_;
    number_ = other.number_;
    memory_->note(&other);
    memory_->note(this);
    return *this;
  }
  ~Handle() { memory_->note(this); }
  [[nodiscard]] std::size_t number() const { return number_; }

 private:
  Memory* memory_;
  std::size_t number_;
};

/// Two contexts, and a timer that is armed on the first one with handle 0 and is due.
struct Timed {
  static mq::ContextHooks hooks() {
    return {.runtime = nullptr,
            .now_ns = [](void*) { return std::uint64_t{1}; },
            .wake = [](void*, std::uint32_t) {},
            .announces_sleep = true};
  }
  Memory memory;
  std::array<mq::Context, 2> contexts{{{hooks(), 0}, {hooks(), 1}}};
  std::array<int, 2> received{};
  std::array<int, 2> cancelled{};
  model::atomic<bool> is_called{false};
  std::optional<mq::Timer<Handle>> timer;

  Timed() {
    leave_contexts();
    blkown::set_violation_handler([](blkown::Violation, const blkown::Incident& incident) {
      model::Engine::current().fail(std::string{"violation: "} + incident.operation);
    });
    is_called.describe("the function was called");
    timer.emplace(&call, this);
    memory.begin = &*timer;
    memory.end = &*timer + 1;
    timer->arm(contexts[0], 0, Handle{memory, 0});
  }

  static void call(void* self, Handle&& handle) {
    auto& its = *static_cast<Timed*>(self);
    ++its.received[handle.number()];
    its.is_called.store(true, release);
  }
  void fires() { contexts[0].run(); }
  void arms() { timer->arm(contexts[1], 0, Handle{memory, 1}); }
  bool cancels() {
    const auto handle = timer->cancel();
    if (!handle.has_value()) return false;
    ++cancelled[handle->number()];
    return true;
  }
  void cancels_or_arms() {
    if (!cancels()) arms();
  }
  void arms_after_the_call() {
    static_cast<void>(is_called.await_equal(true, acquire));
    arms();
  }
  void destroys() {
    timer.reset();
    memory.data.set(2);
  }
  void finish() {
    for (mq::Context& context : contexts) context.run();
    for (std::size_t i = 0; i != 2; ++i) {
      model::check(received[i] + cancelled[i] <= 1, "a handle has one receiver");
    }
  }
  /// Both handles were armed.
  void finish_two() {
    finish();
    for (std::size_t i = 0; i != 2; ++i) {
      model::check(received[i] + cancelled[i] == 1, "each armed handle has a receiver");
    }
  }
};

struct Rearmed : Timed {
  void finish() { Timed::finish(); }
};
const Add<Rearmed, &Timed::fires, &Timed::cancels_or_arms> rearmed{
    "timers", "a timer is cancelled or armed again while it fires"};

struct Cancelled : Timed {
  void cancels_only() { cancels(); }
  void finish() { finish_two(); }
  /// The other thread has cancelled handle 0, so handle 1 can be armed; or this thread has.
  void cancels_and_arms() {
    cancels();
    arms();
  }
};
const Add<Cancelled, &Cancelled::cancels_only, &Cancelled::cancels_and_arms> cancelled{
    "timers", "a timer is cancelled by one thread and armed again by another"};

struct RearmedAfter : Timed {
  void finish() { finish_two(); }
};
const Add<RearmedAfter, &Timed::fires, &Timed::arms_after_the_call> rearmed_after{
    "timers", "a timer is armed again after its function was called"};

struct Destroyed : Timed {
  void finish() { model::check(received[0] <= 1, "a handle has one receiver"); }
};
const Add<Destroyed, &Timed::fires, &Timed::destroys> destroyed{
    "timers", "a timer is destroyed while it fires"};

}  // namespace timers
