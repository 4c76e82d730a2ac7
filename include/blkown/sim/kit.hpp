// SPDX-License-Identifier: BSL-1.0
//
// The kit: main functions that run a driver under the adversary.
//
//   int main(int argc, char** argv) { return blkown::sim::nvme_main<MyDriver>(argc, argv); }
//
// runs a driver on the bare core with a hundred seeds, or as the options say (kit_options.hpp).
// message_main does the same for a driver without rings, mq_main for one of the block layer. Each
// seed is one run: a simulated device, the faults that the seed chooses, a thousand I/Os, and every
// invariant checked after every event. The first broken invariant is printed with the command that
// replays the run. A driver that needs more than the kit's environment is made by a callable:
//
//   return blkown::sim::mq_main<MyDriver>(argc, argv, [&](auto& host) {
//     return std::make_unique<MyDriver>(host, options);
//   });

#ifndef BLKOWN_SIM_KIT_HPP
#define BLKOWN_SIM_KIT_HPP

#include <signal.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <blkown/check.hpp>
#include <blkown/check_stdio.hpp>
#include <blkown/config.hpp>
#include <blkown/place.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/media/zeroed_memory.hpp>
#include <blkown/sim/harness/core_world.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/host.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/mq_world.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/runner/child_run.hpp>
#include <blkown/sim/runner/ci_run.hpp>
#include <blkown/sim/runner/kit_options.hpp>
#include <blkown/sim/runner/report.hpp>
#include <blkown/sim/runner/shrink.hpp>
#include <blkown/sim/runner/watchdog.hpp>
#include <blkown/tag.hpp>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#if defined(__linux__) && __has_include(<malloc.h>)
#include <malloc.h>
#endif

#if BLKOWN_SIM_HAS_ASAN
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The sums over all runs of a program.
struct KitTotals {
  std::uint64_t runs = 0;
  std::uint64_t events = 0;
  std::uint64_t ended = 0;
  std::uint64_t ended_ok = 0;
  std::array<std::uint64_t, fault_kind_count> struck{};  ///< By FaultKind.
  LookupTally lookups{};

  /// Adds the counts of one run.
  template <class World>
  void add(World& world) {
    ++runs;
    events += world.events();
    ended += world.ended();
    ended_ok += world.ended_ok();
    for (const FaultStrike& strike : world.faults().struck()) {
      ++struck[static_cast<std::size_t>(strike.kind)];
    }
    for (std::size_t i = 0; i != lookup_reason_count; ++i) lookups[i] += world.lookups()[i];
  }
  /// Adds the counts of other runs.
  void merge(const KitTotals& other) noexcept {
    runs += other.runs;
    events += other.events;
    ended += other.ended;
    ended_ok += other.ended_ok;
    for (std::size_t i = 0; i != struck.size(); ++i) struck[i] += other.struck[i];
    for (std::size_t i = 0; i != lookups.size(); ++i) lookups[i] += other.lookups[i];
  }
};

namespace detail {

/// The current run, which is global because a violation handler has no argument for it.
struct CurrentRun {
  virtual ~CurrentRun() = default;
  /// Adds a report of the library.
  virtual void add(Finding finding) = 0;
  /// Prints the run's first finding, behind which the process ends. `finding` is the latest one.
  virtual void print_last(Finding finding) = 0;
  /// The same for a crash of the driver, within which nothing can be looked at but what is known.
  virtual void print_crash(const char* what) = 0;

  /// A report is printed, which the watchdog must not cut off. Read in the watchdog's signal.
  volatile std::sig_atomic_t is_reporting = 0;
};
inline CurrentRun* current_run = nullptr;

/// The finding of a run that the watchdog ends.
inline constexpr const char* hang_text = "the run hangs: its latest event does not end";

/// The current run's last report begins. It has ten seconds, because a lock may be held.
inline void begin_last_report() {
  current_run->is_reporting = 1;
  if (child_result != nullptr) child_result->is_reporting = true;
  alarm(10);
}

/// The incident as a finding: its text is the operation, the problem and the remedy, in one line.
[[nodiscard]] inline Finding finding_of(const char* what, const char* remedy,
                                        const Incident& incident) {
  blkown::detail::BoundedText text;
  text.add(blkown::detail::text_or(incident.operation, "an operation"));
  text.add(": ");
  blkown::detail::add_problem(text, blkown::detail::text_or(incident.problem, what), incident);
  text.add(": ");
  text.add(blkown::detail::text_or(incident.remedy, remedy));
  return {
      .what = text.c_str(),
      .has_request = incident.has_request,
      .queue = incident.queue,
      .tag = incident.tag,
      .state = incident.has_request ? std::optional{incident.state} : std::nullopt,
      .caller = incident.place,
      .holders = incident.header != nullptr ? holders_of(*incident.header) : std::vector<Place>{}};
}

/// Prints the report of a driver that AddressSanitizer is about to end, or a signal.
inline void report_crash(const char* what) {
  static bool has_crashed = false;
  if (current_run == nullptr || std::exchange(has_crashed, true)) return;
  begin_last_report();
  current_run->print_crash(what);
  std::fflush(nullptr);
}

/// While an object of this class exists, the signals of a crash print the report of the current run
/// before they end the process. Another handler, such as AddressSanitizer's, is left in place.
class CrashHandlers {
 public:
  CrashHandlers() {
    for (std::size_t i = 0; i != signals.size(); ++i) {
      const auto before = std::signal(signals[i], &on_signal);
      if (before != SIG_DFL) std::signal(signals[i], before);
    }
#if BLKOWN_SIM_HAS_ASAN
    __sanitizer_set_death_callback([] { report_crash("AddressSanitizer has stopped the driver"); });
#endif
  }
  CrashHandlers(const CrashHandlers&) = delete;
  CrashHandlers& operator=(const CrashHandlers&) = delete;
  ~CrashHandlers() {
    for (const int number : signals) {
      const auto before = std::signal(number, SIG_DFL);
      if (before != &on_signal) std::signal(number, before);
    }
  }

 private:
  static constexpr std::array signals{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

  static void on_signal(int number) {
    std::signal(number, SIG_DFL);
    report_crash(number == SIGABRT   ? "the driver has aborted (SIGABRT)"
                 : number == SIGSEGV ? "the driver has accessed invalid memory (SIGSEGV)"
                                     : "a signal has ended the driver");
    raise(number);
  }
};

/// While an object of this class exists, violations and reports are findings of the current run. A
/// failed unmap is not: only the fault unmap_failure makes it fail.
class Handlers {
 public:
  Handlers()
      : violation_{set_violation_handler([](Violation violation, const Incident& incident) {
          if (current_run == nullptr) print_and_abort(violation, incident);
          begin_last_report();
          current_run->print_last(finding_of(to_string(violation), remedy_of(violation), incident));
          std::fflush(nullptr);
          std::_Exit(1);
        })},
        report_{set_report_handler([](Report report, const Incident& incident) {
          if (current_run == nullptr || report == Report::unmap_failed) return;
          current_run->add(finding_of(to_string(report), remedy_of(report), incident));
        })} {}
  Handlers(const Handlers&) = delete;
  Handlers& operator=(const Handlers&) = delete;
  ~Handlers() {
    set_violation_handler(violation_);
    set_report_handler(report_);
  }

 private:
  CrashHandlers crashes_;
  ViolationHandler violation_;
  ReportHandler report_;
};

/// The command that repeats a run.
[[nodiscard]] inline std::string replay_command(const KitOptions& options,
                                                const WorldConfig& config) {
  KitOptions its{options};
  its.io_count = config.io_count;
  its.world.ios_per_cut = config.ios_per_cut;
  its.has_script = config.is_scripted;
  std::string command =
      options.program + " --seeds 1 --first-seed " + std::to_string(config.seed) + world_words(its);
  if (config.is_scripted) command += " --script " + to_string(config.script);
  return command;
}

template <class World>
class Run final : public CurrentRun {
 public:
  /// `hang_limit_s`: see KitOptions. The driver may hang where it is made or destroyed, too.
  Run(const KitOptions& options, const WorldConfig& config, const typename World::Make& make,
      unsigned hang_limit_s)
      : options_{options}, config_{config}, watchdog_{hang_limit_s, watched()} {
    current_run = this;
    world_ = std::make_unique<World>(config, make);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() override {
    // A broken driver may break further invariants if its world is destroyed, so the world is kept.
    static auto* const kept = new std::vector<World*>;
    if (has_failed_) kept->push_back(world_.release());
    world_.reset();
    current_run = nullptr;
  }

  [[nodiscard]] World& world() noexcept { return *world_; }
  [[nodiscard]] bool run() {
    has_failed_ = !world_->run();
    return !has_failed_;
  }

  void add(Finding finding) override {
    // A report in the world's destructor has no world.
    if (world_ == nullptr) return print(finding);
    world_->add(std::move(finding));
  }
  void print_last(Finding finding) override {
    if (world_ == nullptr) return print(finding);
    add(std::move(finding));
    print(world_->finding());
  }
  void print_crash(const char* what) override {
    Finding finding{.what = what};
    if (world_ == nullptr) return print(finding);
    finding.place = world_->history().place();
    if (const auto activity = world_->history().request_activity()) {
      finding.has_request = true;
      finding.queue = QueueIndex{activity->number};
      finding.tag = Tag{activity->tag};
    }
    if (world_->finding().what.empty()) return print(finding);
    finding.details.push_back("earlier, in " + world_->finding().place + ": " +
                              world_->finding().what);
    print(finding);
  }
  /// Prints the report, and tells the parent process of the finding.
  void print(const Finding& finding) {
    static const History none;
    const std::sig_atomic_t was_reporting = is_reporting;
    is_reporting = 1;
    if (child_result != nullptr && world_ != nullptr) {
      child_result->set(finding.what, world_->history().event(), world_->faults().struck());
    } else if (child_result != nullptr) {
      child_result->set(finding.what, 0, {});
    }
    // A violation in the world's destructor comes after the end of its history.
    print_report(stdout, finding, world_ != nullptr ? world_->history() : none, config_.seed);
    std::printf("replay: %s\n", replay_command(options_, config_).c_str());
    is_reporting = was_reporting;
  }

 private:
  [[nodiscard]] Watchdog::Watched watched() {
    return {.progress =
                [](void* self) {
                  const Run& run = *static_cast<Run*>(self);
                  return run.world_ != nullptr ? run.world_->history().event() : 0;
                },
            .hangs =
                [](void* self) {
                  if (static_cast<Run*>(self)->is_reporting != 0) return;
                  report_crash(hang_text);
                  std::_Exit(1);
                },
            .argument = this};
  }

  const KitOptions& options_;
  WorldConfig config_;
  std::unique_ptr<World> world_;
  bool has_failed_ = false;
  Watchdog watchdog_;
};

template <class World>
[[nodiscard]] bool run_one(const KitOptions& options, const WorldConfig& config,
                           const typename World::Make& make, KitTotals* totals,
                           unsigned hang_limit_s) {
  Run<World> run{options, config, make, hang_limit_s};
  const bool is_good = run.run();
  if (!is_good) run.print(run.world().finding());
  if (totals != nullptr) totals->add(run.world());
  return is_good;
}

/// The hang limit of the runs that a shrinker tries. One that hangs as the first run did must not
/// take all the time. Another finding may need events that take long, as under a sanitizer.
[[nodiscard]] inline unsigned candidate_hang_limit_s(const KitOptions& options,
                                                     const ChildFinding& first) {
  const bool has_hung = first.key == finding_key(hang_text);
  return has_hung ? std::min(options.hang_limit_s, 1U) : options.hang_limit_s;
}

/// Runs one seed in a child process, and shrinks the run if it fails.
template <class World>
[[nodiscard]] bool run_one_and_shrink(const KitOptions& options, const WorldConfig& config,
                                      const typename World::Make& make, KitTotals& totals) {
  const Shared<KitTotals> shared;
  *shared = totals;
  const ChildFinding first = find_in_child(0, true, [&] {
    return run_one<World>(options, config, make, &*shared, options.hang_limit_s);
  });
  totals = *shared;
  if (!first.error.empty()) {
    std::fprintf(stderr, "%s: %s\n", options.program.c_str(), first.error.c_str());
    return false;
  }
  if (first.key.empty()) return true;
  const unsigned hang_limit_s = candidate_hang_limit_s(options, first);
  Shrinker shrinker{options.shrink_s};
  const WorldConfig shortest = shrinker.shrink(config, first, [&](const WorldConfig& candidate) {
    return run_one<World>(options, candidate, make, nullptr, hang_limit_s);
  });
  std::printf("\nwith %zu of %zu faults and %" PRIu64 " of %" PRIu64 " I/Os%s:\n",
              shortest.script.size(), first.strikes.size(), shortest.io_count, config.io_count,
              shrinker.was_cut_off() ? ", the shortest that was found in time" : "");
  static_cast<void>(find_in_child(options.shrink_s, true, [&] {
    return run_one<World>(options, shortest, make, nullptr, hang_limit_s);
  }));
  std::printf("shortest: %s\n", replay_command(options, shortest).c_str());
  return false;
}

/// Runs one seed, and shrinks it if it fails and the options say so.
template <class World>
[[nodiscard]] bool run_seed(const KitOptions& options, std::uint64_t seed, KitTotals& totals,
                            const typename World::Make& make) {
  WorldConfig config = options.world;
  config.seed = seed;
  config.io_count = options.io_count;
  config.is_scripted = options.has_script;
  config.script = options.script;
  return options.shrink ? run_one_and_shrink<World>(options, config, make, totals)
                        : run_one<World>(options, config, make, &totals, options.hang_limit_s);
}

/// Runs the seeds in this process, until a run fails or the time is over.
template <class World>
[[nodiscard]] bool run_here(const KitOptions& options, KitTotals& totals,
                            const typename World::Make& make) {
  const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> limit{static_cast<double>(options.time_limit_s)};
  for (std::uint64_t i = 0; i != options.seeds; ++i) {
    if (i != 0 && options.time_limit_s != 0 && std::chrono::steady_clock::now() - begin >= limit) {
      std::fputs(late_line(options, i, options.seeds).c_str(), stdout);
      break;
    }
    if (!run_seed<World>(options, options.first_seed + i, totals, make)) return false;
  }
  return true;
}

/// Runs the seeds here or in processes. Returns the exit status.
template <class World>
[[nodiscard]] int run_as_told(const KitOptions& options, KitTotals& totals,
                              const typename World::Make& make) {
  const Handlers handlers;
  if (!options.has_processes()) return run_here<World>(options, totals, make) ? 0 : 1;
  const auto run = [&](std::uint64_t seed, KitTotals& its) {
    return run_seed<World>(options, seed, its, make);
  };
  return CiRun<KitTotals>{options}.run(run, totals);
}

}  // namespace detail

/// Runs a World, NvmeWorld<D>, MessageWorld<D> or MqWorld<D>, with each seed, as the options say.
/// `make` makes the driver of each run.
/// Errors: false if a run failed, whose finding was printed, or if a file of the options cannot be
/// used.
template <class World>
[[nodiscard]] bool run_seeds(const KitOptions& options, KitTotals& totals,
                             const typename World::Make& make = &World::make_driver) {
  return detail::run_as_told<World>(options, totals, make) == 0;
}

/// Prints the totals to stdout.
inline void print(const KitTotals& totals, double seconds) {
  std::printf("%" PRIu64 " runs, %" PRIu64 " I/Os ended, %" PRIu64 " of them ok; %" PRIu64
              " events, %.1f million per second\nfaults:",
              totals.runs, totals.ended, totals.ended_ok, totals.events,
              static_cast<double>(totals.events) / seconds / 1e6);
  for (std::size_t i = 0; i != fault_kind_count; ++i) {
    std::printf(" %s %" PRIu64, to_string(static_cast<FaultKind>(i)), totals.struck[i]);
  }
  std::printf("\nlookups:");
  for (std::size_t i = 0; i != lookup_reason_count; ++i) {
    if (totals.lookups[i] == 0) continue;
    std::printf(" %s %" PRIu64, i == 0 ? "accepted" : to_string(static_cast<LookupReason>(i)),
                totals.lookups[i]);
  }
  std::puts("");
}

namespace detail {

/// Keeps freed memory for the next run, which takes as much as the one before. Without this, glibc
/// gives the memory back after most runs, and a tenth of the time is page faults. Blocks from 4 MiB
/// on go back, as those of many disks: few of their pages are ever written (ZeroedMemory).
inline void keep_freed_memory() noexcept {
#ifdef M_TRIM_THRESHOLD
  static_cast<void>(mallopt(M_MMAP_THRESHOLD, 4 << 20));
  static_cast<void>(mallopt(M_TRIM_THRESHOLD, 64 << 20));
#endif
}

template <class World>
int world_main(int argc, char** argv, const typename World::Make& make,
               const KitOptions& defaults = {}) {
  const auto options = parse_options(argv[0], {argv + 1, argv + argc}, defaults);
  if (!options.has_value()) return 2;
  if (options->help) {
    print_help(options->program, stdout);
    return 0;
  }
  if (const std::string problem = check_options(*options, World::features()); !problem.empty()) {
    std::fprintf(stderr, "%s: %s\n", options->program.c_str(), problem.c_str());
    return 2;
  }
  // A run in a process of its own gives its memory back with the process.
  if (!options->has_processes() && !options->shrink) keep_freed_memory();
  KitTotals totals;
  const auto begin = std::chrono::steady_clock::now();
  const int status = detail::run_as_told<World>(*options, totals, make);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (status == 0) print(totals, taken.count());
  return status;
}

}  // namespace detail

/// The main function of a program that tests a driver of an NvmeController on the bare core.
/// Returns 0 if no invariant was broken, 1 if one was or a run has ended its process, and 2 if an
/// option or a file cannot be used.
/// Effects: with glibc, and if the runs are in this process, sets the process's M_MMAP_THRESHOLD to
/// 4 MiB and its M_TRIM_THRESHOLD to 64 MiB (mallopt), and leaves them so. The same for
/// message_main and mq_main.
template <NvmeDriver D>
int nvme_main(int argc, char** argv) {
  using World = NvmeWorld<D>;
  return detail::world_main<World>(argc, argv, &World::make_driver);
}

/// The same for a driver that `make` makes for each run: std::unique_ptr<D>(NvmeHost<D>&). D needs
/// no constructor of this argument. Several drivers may be classes derived from one D: a program
/// that tests them all then has the code of one world. The command line replaces `defaults`.
template <detail::NvmeDriverOnCore D>
int nvme_main(int argc, char** argv, const typename NvmeWorld<D>::Make& make,
              const KitOptions& defaults = {}) {
  return detail::world_main<NvmeWorld<D>>(argc, argv, make, defaults);
}

/// The main function of a program that tests a driver of a MessageDevice. Returns as nvme_main.
template <MessageDriver D>
int message_main(int argc, char** argv) {
  using World = MessageWorld<D>;
  return detail::world_main<World>(argc, argv, &World::make_driver);
}
/// The same for a driver that `make` makes for each run: std::unique_ptr<D>(MessageHost<D>&).
template <detail::DriverOnCore D>
int message_main(int argc, char** argv, const typename MessageWorld<D>::Make& make,
                 const KitOptions& defaults = {}) {
  return detail::world_main<MessageWorld<D>>(argc, argv, make, defaults);
}

/// The main function of a program that tests a driver of the block layer. Returns as nvme_main.
template <MqDriver D>
int mq_main(int argc, char** argv) {
  using World = MqWorld<D>;
  return detail::world_main<World>(argc, argv, &World::make_driver);
}
/// The same for a driver that `make` makes for each run:
/// std::unique_ptr<D>(MqHost&).
template <detail::DriverOnMq D>
int mq_main(int argc, char** argv, const typename MqWorld<D>::Make& make,
            const KitOptions& defaults = {}) {
  return detail::world_main<MqWorld<D>>(argc, argv, make, defaults);
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
