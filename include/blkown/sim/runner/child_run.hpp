// SPDX-License-Identifier: BSL-1.0
//
// A run in a child process: a violation ends the process of its run, and a driver may crash or
// hang. The child leaves what it has found in memory that it shares with its parent.

#ifndef BLKOWN_SIM_RUNNER_CHILD_RUN_HPP
#define BLKOWN_SIM_RUNNER_CHILD_RUN_HPP

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A finding's text without its numbers: two runs have the same finding if these are equal.
[[nodiscard]] inline std::string finding_key(std::string_view what) {
  std::string key;
  bool was_digit = false;
  for (const char letter : what) {
    const bool is_digit = letter >= '0' && letter <= '9';
    if (!is_digit) key += letter;
    if (is_digit && !was_digit) key += '#';
    was_digit = is_digit;
  }
  return key;
}

/// What a run in a child has found.
struct ChildFinding {
  std::string key;                   ///< Empty: the run has passed, or was cut off, or see error.
  std::uint64_t event = 0;           ///< The finding's event.
  std::vector<FaultStrike> strikes;  ///< The faults that struck before it.
  std::string error{};               ///< Why there was no run, or empty.
};

namespace detail {

/// The shared memory of a child and its parent.
struct ChildResult {
  std::array<char, 512> key{};
  bool has_returned = false;  // the run
  bool is_reporting = false;  // a crash: the alarm is no longer that of the time limit
  std::uint64_t event = 0;
  std::size_t strike_count = 0;
  std::array<FaultStrike, 16384> strikes{};

  /// Called by the child.
  void set(std::string_view what, std::uint64_t its_event,
           const std::vector<FaultStrike>& its_strikes) {
    const std::string text = finding_key(what);
    std::memcpy(key.data(), text.data(), std::min(text.size(), key.size() - 1));
    event = its_event;
    strike_count = std::min(its_strikes.size(), strikes.size());
    std::copy_n(its_strikes.begin(), strike_count, strikes.begin());
  }
};

/// The result of this process, if it is a child.
inline ChildResult* child_result = nullptr;

/// An object in memory that a parent shares with its children.
template <class T>
  requires std::is_trivially_destructible_v<T>
class Shared {
 public:
  Shared() {
    void* const memory =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    object_ = ::new (memory) T{};
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { munmap(object_, sizeof(T)); }

  [[nodiscard]] T& operator*() const noexcept { return *object_; }

 private:
  T* object_;
};

}  // namespace detail

/// Calls `run()` in a child, which sets detail::child_result if it has a finding. The child is
/// ended after `limit_s` seconds, and its output is discarded unless `prints`.
/// Errors: a child that ends otherwise than with 0 after its run has the finding "the process ended
/// with ...", unless it has set another one. A child that was ended for its time has none. If there
/// is no child, `error` says why.
template <class Run>
[[nodiscard]] ChildFinding find_in_child(unsigned limit_s, bool prints, Run run) {
  const detail::Shared<detail::ChildResult> shared;
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    detail::child_result = &*shared;
    alarm(limit_s);
    if (!prints && (std::freopen("/dev/null", "w", stdout) == nullptr ||
                    std::freopen("/dev/null", "w", stderr) == nullptr)) {
      std::_Exit(0);
    }
    const bool is_good = run();
    (*shared).has_returned = true;
    std::fflush(nullptr);
    std::_Exit(is_good ? 0 : 1);
  }
  int status = 0;
  pid_t ended = child;
  if (child > 0) {
    do {
      ended = waitpid(child, &status, 0);
    } while (ended < 0 && errno == EINTR);
  }
  if (ended < 0) {
    ChildFinding none;
    none.error = std::string{"no process could be made: "} + std::strerror(errno);
    return none;
  }
  ChildFinding finding{
      .key = (*shared).key.data(), .event = (*shared).event, .strikes = {}, .error = {}};
  finding.strikes.assign(
      (*shared).strikes.begin(),
      (*shared).strikes.begin() + static_cast<std::ptrdiff_t>((*shared).strike_count));
  if (!finding.key.empty()) return finding;
  const bool has_limit = limit_s != 0 && !(*shared).is_reporting;
  if (WIFSIGNALED(status) && (WTERMSIG(status) != SIGALRM || !has_limit)) {
    finding.key = "the process ended with signal " + std::to_string(WTERMSIG(status));
  } else if (WIFEXITED(status) && (WEXITSTATUS(status) != 0 || !(*shared).has_returned)) {
    finding.key = "the process ended with " + std::to_string(WEXITSTATUS(status));
  }
  return finding;
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
