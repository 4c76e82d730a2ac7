// SPDX-License-Identifier: BSL-1.0
//
// Shrinking: finds a short script of faults, and few I/Os, with which a run still has the same
// finding.

#ifndef BLKOWN_SIM_RUNNER_SHRINK_HPP
#define BLKOWN_SIM_RUNNER_SHRINK_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/runner/child_run.hpp>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

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

/// Shrinks the configuration of a failing run. Each candidate runs in a child, and must have the
/// finding of the first run within twice its events. When the time is over, the shortest
/// configuration so far is the result.
///
/// Many faults may only make the schedule in which the last one does harm: without any one of them
/// it strikes another command. If no kind of faults suffices, a few faults of one kind are tried
/// elsewhere in a run without others: in short runs, and later in longer ones.
class Shrinker {
 public:
  /// `limit_s`: the seconds after which no further candidate is tried. `clock_s`: their clock.
  explicit Shrinker(unsigned limit_s, double (*clock_s)() = &steady_s)
      : limit_s_{limit_s}, clock_s_{clock_s} {}

  /// Returns the shortest configuration. `first`: the finding with `config`. `run`: bool(const
  /// WorldConfig&), runs a configuration, and is called in children.
  /// Effects: prints the progress to stderr.
  template <class Run>
  [[nodiscard]] WorldConfig shrink(WorldConfig config, const ChildFinding& first, Run run) {
    began_s_ = clock_s_();
    best_ = std::move(config);
    best_.is_scripted = true;
    best_.script = first.strikes;
    const auto fails = [&](const WorldConfig& candidate) {
      return has_finding(candidate, first, run);
    };
    phase_end_s_ = limit_s_;
    if (!fails(best_)) {
      std::fputs("shrink: the run does not fail again with the faults that struck\n", stderr);
      return best_;
    }
    phase_end_s_ = limit_s_ / 2.0;
    shrink_ios(fails);
    shrink_kinds(fails);
    // Many short runs fit into the time.
    if (best_.script.size() > few) try_elsewhere(first.strikes, 100, fails);
    shrink_script(fails);
    phase_end_s_ = limit_s_ * 0.85;
    if (best_.script.size() > few) try_elsewhere(first.strikes, 500, fails);
    phase_end_s_ = limit_s_;
    shrink_script(fails);
    shrink_ios(fails);
    print_progress();
    return best_;
  }
  /// Whether the time was over before all candidates were tried.
  [[nodiscard]] bool was_cut_off() const noexcept { return was_cut_off_; }
  /// The number of candidates that ran.
  [[nodiscard]] std::uint64_t runs() const noexcept { return runs_; }

 private:
  [[nodiscard]] static double steady_s() {
    return std::chrono::duration<double>{std::chrono::steady_clock::now().time_since_epoch()}
        .count();
  }
  [[nodiscard]] double passed_s() const { return clock_s_() - began_s_; }
  /// True, and the candidate is the best, if it has the first run's finding.
  template <class Run>
  bool has_finding(const WorldConfig& candidate, const ChildFinding& first, Run run) {
    const double left_s = limit_s_ - passed_s();
    was_cut_off_ = was_cut_off_ || left_s <= 0;
    if (passed_s() >= phase_end_s_) return false;
    ++runs_;
    WorldConfig bounded = candidate;
    bounded.max_events = 2 * first.event + 1000;
    const ChildFinding found =
        find_in_child(1 + static_cast<unsigned>(left_s), false, [&] { return run(bounded); });
    if (found.key != first.key) return false;
    best_ = candidate;
    if (passed_s() - printed_s_ >= 1) print_progress();
    return true;
  }
  /// Halves the number of I/Os, while that changes nothing.
  template <class Fails>
  void shrink_ios(Fails fails) {
    while (best_.io_count > 1) {
      WorldConfig candidate = best_;
      candidate.io_count /= 2;
      if (!fails(candidate)) return;
    }
  }
  /// Removes faults while that changes nothing. Does nothing more for a script that is done.
  template <class Fails>
  void shrink_script(Fails fails) {
    const std::vector<FaultStrike> all = best_.script;
    if (is_done_ && all == done_) return;
    static_cast<void>(sim::shrink(all, [&](const std::vector<FaultStrike>& shorter) {
      WorldConfig candidate = best_;
      candidate.script = shorter;
      return fails(candidate);
    }));
    // Several faults that are needed together may hide that one suffices.
    for (auto fault = all.rbegin(); best_.script.size() > 1 && fault != all.rend(); ++fault) {
      WorldConfig candidate = best_;
      candidate.script = {*fault};
      if (fails(candidate)) break;
    }
    is_done_ = passed_s() < phase_end_s_;
    done_ = best_.script;
  }
  /// Tries a few faults of one kind at successive opportunities, and no others. The kinds are those
  /// that struck last before the finding. Each end of an I/O is followed by a look at what a power
  /// cut would leave.
  template <class Fails>
  void try_elsewhere(const std::vector<FaultStrike>& strikes, std::uint64_t max_ios, Fails fails) {
    constexpr std::size_t max_kinds = 8;
    std::vector<FaultKind> kinds;
    for (auto strike = strikes.rbegin(); strike != strikes.rend(); ++strike) {
      if (kinds.size() == max_kinds) break;
      if (std::ranges::find(kinds, strike->kind) == kinds.end()) kinds.push_back(strike->kind);
    }
    WorldConfig candidate = best_;
    candidate.io_count = std::min(best_.io_count, max_ios);
    candidate.ios_per_cut = 1;
    for (std::uint64_t at = 0; at < 2 * max_ios && passed_s() < phase_end_s_; at += few) {
      for (const FaultKind kind : kinds) {
        candidate.script.clear();
        for (std::uint64_t i = at; i != at + few; ++i) candidate.script.push_back({kind, i});
        if (fails(candidate)) return;
      }
    }
  }
  /// Tries the faults of each kind alone, which often suffice.
  template <class Fails>
  void shrink_kinds(Fails fails) {
    const std::vector<FaultStrike> all = best_.script;
    for (std::size_t kind = 0; kind != fault_kind_count; ++kind) {
      WorldConfig candidate = best_;
      candidate.script.clear();
      std::ranges::copy_if(all, std::back_inserter(candidate.script), [&](const FaultStrike& one) {
        return one.kind == static_cast<FaultKind>(kind);
      });
      if (candidate.script.empty() || candidate.script.size() == all.size()) continue;
      if (fails(candidate)) return;
    }
  }
  void print_progress() {
    printed_s_ = passed_s();
    std::fprintf(stderr,
                 "shrink: seed %" PRIu64 ": %zu faults, %" PRIu64 " I/Os after %" PRIu64
                 " runs, %.1f s\n",
                 best_.seed, best_.script.size(), best_.io_count, runs_, printed_s_);
  }

  static constexpr std::size_t few = 5;

  unsigned limit_s_;
  double (*clock_s_)();
  double phase_end_s_ = 0;  // no candidate runs after it
  double began_s_ = 0;
  double printed_s_ = 0;
  std::uint64_t runs_ = 0;
  bool was_cut_off_ = false;
  bool is_done_ = false;           // done_ has no fault that can be removed
  std::vector<FaultStrike> done_;  // a script
  WorldConfig best_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
