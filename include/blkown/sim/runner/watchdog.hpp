// SPDX-License-Identifier: BSL-1.0
//
// Watchdog: notices that a run hangs: a driver that loops, or waits for what does not come.

#ifndef BLKOWN_SIM_RUNNER_WATCHDOG_HPP
#define BLKOWN_SIM_RUNNER_WATCHDOG_HPP

#include <signal.h>
#include <time.h>
#include <blkown/config.hpp>
#include <csignal>
#include <cstdint>
#include <cstdlib>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// While an object of this class exists, looks twice within each limit whether the run goes on.
/// Uses SIGVTALRM, and no timer of alarm().
///
/// Context: one object at a time.
class Watchdog {
 public:
  /// The run that is watched.
  struct Watched {
    /// A number that changes while the run goes on.
    std::uint64_t (*progress)(void* argument) = nullptr;
    /// Called from a signal if the number has not changed for `limit_s` to 1.5 `limit_s` seconds.
    /// Ends the process, or returns if the run may go on. Then the next look calls it again, if the
    /// number is still the same.
    void (*hangs)(void* argument) = nullptr;
    void* argument = nullptr;
  };

  /// `limit_s`: 0 watches nothing.
  Watchdog(unsigned limit_s, const Watched& watched) noexcept : watched_{watched} {
    if (limit_s == 0) return;
    current_ = this;
    struct sigaction action{};
    action.sa_handler = &on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGVTALRM, &action, &before_);
    struct sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGVTALRM;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) std::abort();
    const timespec half{.tv_sec = static_cast<time_t>(limit_s / 2),
                        .tv_nsec = limit_s % 2 == 0 ? 0 : 500'000'000};
    const itimerspec times{.it_interval = half, .it_value = half};
    if (timer_settime(timer_, 0, &times, nullptr) != 0) std::abort();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    if (current_ != this) return;
    timer_delete(timer_);
    current_ = nullptr;
    sigaction(SIGVTALRM, &before_, nullptr);
  }

 private:
  /// Looks at which the number must be the same: the first one may come right after an event.
  static constexpr unsigned max_looks = 3;

  static void on_signal(int) {
    if (current_ != nullptr) current_->look();
  }
  void look() {
    const std::uint64_t now = watched_.progress(watched_.argument);
    looks_ = now == seen_ ? looks_ + 1 : 1;
    seen_ = now;
    if (looks_ >= max_looks) watched_.hangs(watched_.argument);
  }

  inline static Watchdog* current_ = nullptr;

  Watched watched_;
  timer_t timer_{};
  struct sigaction before_{};
  std::uint64_t seen_ = ~std::uint64_t{0};
  unsigned looks_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
