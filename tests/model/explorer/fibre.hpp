// SPDX-License-Identifier: BSL-1.0
//
// Stacks that the explorer switches between. A fibre can be abandoned at any point and started
// again on its empty stack. The previous contents of the stack are discarded; destructors do not
// run.
//
// ucontext creates each stack once. _setjmp and _longjmp switch, because they cost no system call.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_FIBRE_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_FIBRE_HPP

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
  /// The function of a fibre. The function must not return: its last call is leave_to.
  using Body = void (*)(void* argument);

  /// The stack of the first caller of switch_to.
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

  /// Continues in `to`. Returns when another fibre switches back to `from`.
  [[gnu::noinline]] static void switch_to(Fibre& from, Fibre& to) noexcept {
    from.resume_at_ = &from.here_;
    if (_setjmp(from.here_) == 0) leave_to(to);
  }
  /// Continues in `to`. The calling fibre has finished or is abandoned.
  [[noreturn]] static void leave_to(Fibre& to) noexcept { _longjmp(*to.resume_at_, 1); }

 private:
  // makecontext passes only ints.
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
