// SPDX-License-Identifier: BSL-1.0
//
// Stacks of control that the explorer switches between. A fibre can be left at any point for good
// and begun anew on its empty stack: what was on the stack is forgotten, destructors do not run.
//
// ucontext makes each stack once; switching is _setjmp and _longjmp, which cost no system call.

#ifndef MODEL_FIBRE_HPP
#define MODEL_FIBRE_HPP

#include <csetjmp>
#include <cstddef>
#include <memory>

#include <ucontext.h>

#if defined(_FORTIFY_SOURCE) && _FORTIFY_SOURCE > 0
#error "a fortified longjmp refuses to change stacks: build with -U_FORTIFY_SOURCE"
#endif

namespace model {

class Fibre {
 public:
  /// Must not return: its last act is leave_to.
  using Body = void (*)(void* argument);

  /// The stack of whoever calls switch_to with it first.
  Fibre() = default;
  /// A stack of its own.
  explicit Fibre(std::size_t stack_bytes) : stack_{new std::byte[stack_bytes]} {
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_.get();
    inside_.uc_stack.ss_size = stack_bytes;
    inside_.uc_link = nullptr;
    makecontext(&inside_, &Fibre::base, 0);
    being_made = this;
    swapcontext(&outside_, &inside_);
  }
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre() = default;

  /// The next switch to this fibre calls body(argument) on an empty stack.
  void prepare(Body body, void* argument) noexcept {
    body_ = body;
    argument_ = argument;
    resume_at_ = &start_;
  }

  /// Goes on in `to`; returns when someone switches back to `from`.
  [[gnu::noinline]] static void switch_to(Fibre& from, Fibre& to) noexcept {
    from.resume_at_ = &from.here_;
    if (_setjmp(from.here_) == 0) leave_to(to);
  }
  /// Goes on in `to`; the calling fibre is at its end, or given up.
  [[noreturn]] static void leave_to(Fibre& to) noexcept { _longjmp(*to.resume_at_, 1); }

 private:
  // makecontext hands over ints only.
  static inline Fibre* being_made = nullptr;

  static void base() { run(*being_made); }

  [[gnu::noinline]] static void run(Fibre& self) noexcept {
    if (_setjmp(self.start_) == 0) swapcontext(&self.inside_, &self.outside_);
    self.body_(self.argument_);
    __builtin_trap();
  }

  std::unique_ptr<std::byte[]> stack_;
  ucontext_t inside_{};
  ucontext_t outside_{};
  std::jmp_buf start_{};
  std::jmp_buf here_{};
  std::jmp_buf* resume_at_ = nullptr;
  Body body_ = nullptr;
  void* argument_ = nullptr;
};

}  // namespace model

#endif
