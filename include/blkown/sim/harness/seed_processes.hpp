// SPDX-License-Identifier: BSL-1.0
//
// run_in_processes: runs seeds in child processes, so that a run that ends its process loses no
// result of the others.
//
// The parties are the parent and, at most `jobs` at a time, the children.
//   1. The parent makes a pipe and forks. The child's stdout and stderr are the pipe.
//   2. The child runs its seed, copies the totals of the run into memory that it shares with the
//      parent, and exits with 0 if the run is good, else with 1.
//   3. The parent collects the output until the pipe is closed or the child has ended, and reaps
//      the child. Any other end than 0 or 1 is a crash, also a 1 whose output has no finding.
//   4. The parent passes the results on in the order of the seeds, not of the ends.
// After a failure no child is begun, unless `keeps_going`, nor after the deadline. The children
// that run then go on to their end, and their results count.

#ifndef BLKOWN_SIM_HARNESS_SEED_PROCESSES_HPP
#define BLKOWN_SIM_HARNESS_SEED_PROCESSES_HPP

#include <string.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// What became of the run of a seed.
struct SeedResult {
  std::uint64_t seed = 0;
  bool has_passed = false;
  double seconds = 0;
  std::string output;  ///< Of the process, at most a MiB.
  std::string crash;   ///< How the process ended, if it did not end with a result.
};

/// When processes are begun.
struct ProcessLimits {
  std::uint32_t jobs = 1;     ///< Processes at a time, from 1.
  bool keeps_going = false;   ///< A failure does not prevent the next seeds.
  std::uint64_t seconds = 0;  ///< After this time no seed but the first is begun. 0: no limit.
};

namespace detail {

/// The children. Totals are those of a run.
template <class Totals>
class SeedProcesses {
  static_assert(std::is_trivially_copyable_v<Totals>);

 public:
  using Next = std::function<std::optional<std::uint64_t>()>;
  using Run = std::function<bool(std::uint64_t seed, Totals& totals)>;
  using Take = std::function<void(const SeedResult& result, const Totals& totals)>;

  SeedProcesses(const ProcessLimits& limits, Next next, Run run, Take take)
      : limits_{limits}, next_{std::move(next)}, run_{std::move(run)}, take_{std::move(take)} {
    void* const memory = mmap(nullptr, sizeof(Totals) * limits.jobs, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    totals_ = static_cast<Totals*>(memory);
    for (std::uint32_t i = 0; i != limits.jobs; ++i) free_.push_back(limits.jobs - 1 - i);
  }
  SeedProcesses(const SeedProcesses&) = delete;
  SeedProcesses& operator=(const SeedProcesses&) = delete;
  ~SeedProcesses() { munmap(totals_, sizeof(Totals) * limits_.jobs); }

  /// Runs the seeds. False if the time limit has kept a seed from being begun.
  bool run() {
    while (true) {
      while (!free_.empty() && !has_ended_ && begin_next()) {
      }
      if (children_.empty()) return !is_late_;
      wait();
      while (!children_.empty() && children_.front().is_done) {
        take_(children_.front().result, children_.front().totals);
        children_.pop_front();
      }
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  struct Child {
    SeedResult result;
    Totals totals{};
    pid_t process = -1;
    int pipe = -1;
    std::uint32_t place = 0;  // in totals_
    Clock::time_point began;
    bool is_done = false;
  };

  /// Begins the next seed. False if there is none.
  bool begin_next() {
    const std::chrono::duration<double> passed = Clock::now() - began_;
    const bool is_late = limits_.seconds != 0 && has_begun_ &&
                         passed.count() >= static_cast<double>(limits_.seconds);
    const std::optional<std::uint64_t> seed = next_();
    is_late_ = is_late && seed.has_value();
    has_ended_ = is_late || !seed.has_value();
    if (has_ended_) return false;
    has_begun_ = true;
    begin(*seed);
    return true;
  }
  void begin(std::uint64_t seed) {
    Child& child = children_.emplace_back();
    child.result.seed = seed;
    child.began = Clock::now();
    std::array<int, 2> pipe{-1, -1};
    std::fflush(nullptr);
    if (::pipe(pipe.data()) != 0) return give_up(child);
    child.place = free_.back();
    new (&totals_[child.place]) Totals{};
    child.process = fork();
    if (child.process == 0) run_child(seed, pipe, totals_[child.place]);
    close(pipe[1]);
    child.pipe = pipe[0];
    if (child.process < 0) {
      const int error = errno;
      close(pipe[0]);
      errno = error;
      return give_up(child);
    }
    free_.pop_back();
  }
  void give_up(Child& child) {
    child.result.crash = std::string{"no process could be made: "} + std::strerror(errno);
    end(child);
  }
  [[noreturn]] void run_child(std::uint64_t seed, const std::array<int, 2>& pipe, Totals& totals) {
    close(pipe[0]);
    if (dup2(pipe[1], STDOUT_FILENO) < 0 || dup2(pipe[1], STDERR_FILENO) < 0) std::_Exit(2);
    close(pipe[1]);
    Totals own{};
    const bool is_good = run_(seed, own);
    totals = own;
    std::fflush(nullptr);
    std::_Exit(is_good ? 0 : 1);
  }

  /// Waits until a child has written or ended.
  void wait() {
    std::vector<pollfd> pipes;
    for (const Child& child : children_) {
      if (!child.is_done) pipes.push_back({.fd = child.pipe, .events = POLLIN, .revents = 0});
    }
    if (pipes.empty()) return;
    // A process of the driver may outlive the child, and hold the pipe.
    constexpr int poll_ms = 200;
    const bool is_ready = poll(pipes.data(), pipes.size(), poll_ms) > 0;
    std::size_t index = 0;
    for (Child& child : children_) {
      if (child.is_done) continue;
      const bool has_event = is_ready && pipes[index].revents != 0;
      ++index;
      if (has_event && !read_some(child)) reap(child, 0);
      if (!has_event && !is_ready) reap(child, WNOHANG);
    }
  }
  /// False if the pipe is closed.
  bool read_some(Child& child) {
    std::array<char, 4096> buffer;
    const ssize_t count = read(child.pipe, buffer.data(), buffer.size());
    if (count < 0) return errno == EINTR;
    std::string& output = child.result.output;
    const std::size_t room = max_output - std::min(max_output, output.size());
    output.append(buffer.data(), std::min(room, static_cast<std::size_t>(count)));
    return count != 0;
  }
  void reap(Child& child, int flags) {
    int status = 0;
    pid_t ended = 0;
    do {
      ended = waitpid(child.process, &status, flags);
    } while (ended < 0 && errno == EINTR);
    if (ended == 0) return;
    SeedResult& result = child.result;
    const bool has_finding = result.output.find("replay: ") != std::string::npos;
    result.has_passed = ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended < 0) {
      result.crash = "the end of the process is not known";
    } else if (WIFSIGNALED(status)) {
      const int signal = WTERMSIG(status);
      result.crash = "the process was ended by signal " + std::to_string(signal) + " (" +
                     strsignal(signal) + ")";
    } else if (!result.has_passed && (WEXITSTATUS(status) != 1 || !has_finding)) {
      result.crash = "the process exited with status " + std::to_string(WEXITSTATUS(status)) +
                     " and no finding";
    }
    child.totals = totals_[child.place];
    close(child.pipe);
    free_.push_back(child.place);
    end(child);
  }
  void end(Child& child) {
    child.is_done = true;
    const std::chrono::duration<double> taken = Clock::now() - child.began;
    child.result.seconds = taken.count();
    if (!child.result.has_passed && !limits_.keeps_going) has_ended_ = true;
  }

  static constexpr std::size_t max_output = std::size_t{1} << 20;

  ProcessLimits limits_;
  Next next_;
  Run run_;
  Take take_;
  Totals* totals_ = nullptr;         // shared with the children
  std::vector<std::uint32_t> free_;  // places in totals_
  std::deque<Child> children_;       // in the order of the seeds
  Clock::time_point began_ = Clock::now();
  bool has_begun_ = false;
  bool has_ended_ = false;  // no child is begun any more
  bool is_late_ = false;
};

}  // namespace detail

/// Runs the seeds that `next()` returns, each `run(seed, totals)` in a child process, and calls
/// `take(result, totals)` for each in the order of the seeds.
/// Errors: false if the time limit has kept a seed from being begun.
template <class Totals>
bool run_in_processes(const ProcessLimits& limits,
                      typename detail::SeedProcesses<Totals>::Next next,
                      typename detail::SeedProcesses<Totals>::Run run,
                      typename detail::SeedProcesses<Totals>::Take take) {
  return detail::SeedProcesses<Totals>{limits, std::move(next), std::move(run), std::move(take)}
      .run();
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
