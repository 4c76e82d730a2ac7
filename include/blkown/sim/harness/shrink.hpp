// SPDX-License-Identifier: BSL-1.0
//
// From a script of faults under which something fails to a short one under which it still does.

#ifndef BLKOWN_SIM_HARNESS_SHRINK_HPP
#define BLKOWN_SIM_HARNESS_SHRINK_HPP

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Whether `run()` fails, tried in a process of its own, because a violation ends the process. What
/// it prints is thrown away.
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

/// Takes away halves, quarters and so on down to single faults, as long as `fails(script)` still
/// holds. The result fails, and does not without any one of its faults.
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
    // Single faults until none of them can go.
    if (chunk != 1 || !has_shrunk) chunk /= 2;
  }
  return script;
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
