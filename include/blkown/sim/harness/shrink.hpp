// SPDX-License-Identifier: BSL-1.0
//
// Shrinking: finds a short script of faults with which a run still fails.

#ifndef BLKOWN_SIM_HARNESS_SHRINK_HPP
#define BLKOWN_SIM_HARNESS_SHRINK_HPP

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Calls `run()` in a child process, because a violation ends the process, and discards its output.
/// True if `run()` returned false or the child did not exit with 0. False if no child can be made.
template <class Run>
[[nodiscard]] bool fails_in_child(Run run) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stdout) == nullptr ||
        std::freopen("/dev/null", "w", stderr) == nullptr) {
      std::_Exit(0);
    }
    std::_Exit(run() ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/// Removes faults from a failing script while `fails(script)` is true: first halves of the script,
/// then quarters, and so on down to single faults. The result fails, and no longer fails without
/// any one of its faults.
/// Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002.
template <class Fails>
[[nodiscard]] std::vector<FaultStrike> shrink(std::vector<FaultStrike> script, Fails fails) {
  if (fails(std::vector<FaultStrike>{})) return {};
  for (std::size_t chunk = (script.size() + 1) / 2; chunk != 0;) {
    bool has_shrunk = false;
    for (std::size_t at = 0; at < script.size();) {
      std::vector<FaultStrike> shorter{script};
      const auto begin = shorter.begin() + static_cast<std::ptrdiff_t>(at);
      shorter.erase(begin,
                    begin + static_cast<std::ptrdiff_t>(std::min(chunk, shorter.size() - at)));
      if (fails(shorter)) {
        script = std::move(shorter);
        has_shrunk = true;
      } else {
        at += chunk;
      }
    }
    // Single faults are tried until none of them can be removed.
    if (chunk != 1 || !has_shrunk) chunk /= 2;
  }
  return script;
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
