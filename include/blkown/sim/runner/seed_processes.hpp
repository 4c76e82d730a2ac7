// SPDX-License-Identifier: BSL-1.0
//
// run_in_processes: runs seeds in child processes, so that a run that ends its process loses no
// result of the others.
//
// The parties are the parent and, at most `jobs` at a time, the children.
//   1. The parent makes a pipe and forks. The child's stdout and stderr are the pipe.
//   2. The child runs its seed, copies the totals of the run into memory that it shares with the
//      parent, and exits with 0 if the run is good, else with 1.
//   3. The parent collects the output until the child has ended, and reaps the child. Any other end
//      than 0 or 1 is a crash, also a 1 whose output has no finding, and a 0 before the run
//      returned.
//   4. The parent passes the results on in the order of the seeds, not of the ends.
// If no process can be made, the parent waits for a child to end and tries again. Without a child
// it ends with an error: the seed did not run, and has no result. After a failure no child starts,
// unless `keeps_going`, nor after the deadline. The children that run then go on to their end, and
// their results count.

#ifndef BLKOWN_SIM_RUNNER_SEED_PROCESSES_HPP
#define BLKOWN_SIM_RUNNER_SEED_PROCESSES_HPP

#include <fcntl.h>
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
#include <expected>
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
  std::string output;  ///< Of the process, at most its last MiB.
  std::string crash;   ///< How the process ended, if it did not end with a result.
};

/// When processes start.
struct ProcessLimits {
  std::uint32_t jobs = 1;     ///< Processes at a time, from 1.
  bool keeps_going = false;   ///< A failure does not prevent the next seeds.
  std::uint64_t seconds = 0;  ///< After this time no seed but the first starts. 0: no limit.
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
    void* const memory = mmap(nullptr, sizeof(Place) * limits.jobs, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    places_ = static_cast<Place*>(memory);
    for (std::uint32_t i = 0; i != limits.jobs; ++i) free_.push_back(limits.jobs - 1 - i);
  }
  SeedProcesses(const SeedProcesses&) = delete;
  SeedProcesses& operator=(const SeedProcesses&) = delete;
  ~SeedProcesses() { munmap(places_, sizeof(Place) * limits_.jobs); }

  /// Runs the seeds. False if the time limit has kept a seed from its start.
  /// Errors: why no process could be made.
  std::expected<bool, std::string> run() {
    while (true) {
      while (!free_.empty() && !has_ended_ && begin_next()) {
      }
      if (children_.empty() && error_ != 0) {
        return std::unexpected{std::string{"no process could be made: "} + std::strerror(error_)};
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

  // Shared with the child.
  struct Place {
    Totals totals{};
    bool has_returned = false;  // run_() has returned
  };
  struct Child {
    SeedResult result;
    Totals totals{};
    pid_t process = -1;
    int pipe = -1;            // -1: closed
    std::uint32_t place = 0;  // in places_
    Clock::time_point began;
    bool is_done = false;
  };

  /// Starts the next seed. False if there is none, or no process for it.
  bool begin_next() {
    const std::chrono::duration<double> passed = Clock::now() - began_;
    const bool is_late = limits_.seconds != 0 && has_begun_ &&
                         passed.count() >= static_cast<double>(limits_.seconds);
    if (!seed_.has_value()) seed_ = next_();
    is_late_ = is_late && seed_.has_value();
    has_ended_ = is_late || !seed_.has_value();
    error_ = 0;
    if (has_ended_) return false;
    has_begun_ = true;
    if (!begin(*seed_)) return false;
    seed_.reset();
    return true;
  }
  bool begin(std::uint64_t seed) {
    Child child;
    child.result.seed = seed;
    child.began = Clock::now();
    std::array<int, 2> pipe{-1, -1};
    std::fflush(nullptr);
    if (::pipe(pipe.data()) != 0) return give_up();
    child.place = free_.back();
    new (&places_[child.place]) Place{};
    child.process = fork();
    if (child.process == 0) run_child(seed, pipe, places_[child.place]);
    if (child.process < 0) {
      give_up();
      close(pipe[0]);
      close(pipe[1]);
      return false;
    }
    close(pipe[1]);
    // A process that outlives the child may hold the pipe: a read must not wait for it.
    fcntl(pipe[0], F_SETFL, O_NONBLOCK);
    child.pipe = pipe[0];
    free_.pop_back();
    children_.push_back(std::move(child));
    return true;
  }
  bool give_up() {
    error_ = errno;
    return false;
  }
  [[noreturn]] void run_child(std::uint64_t seed, const std::array<int, 2>& pipe, Place& place) {
    close(pipe[0]);
    if (dup2(pipe[1], STDOUT_FILENO) < 0 || dup2(pipe[1], STDERR_FILENO) < 0) std::_Exit(2);
    close(pipe[1]);
    Totals own{};
    const bool is_good = run_(seed, own);
    place.totals = own;
    place.has_returned = true;
    std::fflush(nullptr);
    std::_Exit(is_good ? 0 : 1);
  }

  /// Waits until a child has written or ended.
  void wait() {
    std::vector<pollfd> pipes;
    // A process of the driver may outlive the child, and hold the pipe.
    int poll_ms = 200;
    for (const Child& child : children_) {
      if (child.is_done) continue;
      // poll() ignores a pipe that is closed. Its child ends soon, or has closed its outputs.
      pipes.push_back({.fd = child.pipe, .events = POLLIN, .revents = 0});
      if (child.pipe < 0) poll_ms = 1;
    }
    if (pipes.empty()) return;
    const bool is_ready = poll(pipes.data(), pipes.size(), poll_ms) > 0;
    std::size_t index = 0;
    for (Child& child : children_) {
      if (child.is_done) continue;
      const bool has_event = is_ready && pipes[index].revents != 0;
      ++index;
      if (!has_event || !read_some(child)) reap(child);
    }
  }
  /// False if the pipe is empty or closed.
  bool read_some(Child& child) {
    std::array<char, 4096> buffer;
    const ssize_t count = read(child.pipe, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) return true;
    if (count < 0 && errno == EAGAIN) return false;
    if (count <= 0) {
      close(child.pipe);
      child.pipe = -1;
      return false;
    }
    std::string& output = child.result.output;
    output.append(buffer.data(), static_cast<std::size_t>(count));
    if (output.size() > 2 * max_output) keep_end(output);
    return true;
  }
  /// The finding is what a run prints last.
  static void keep_end(std::string& output) {
    output.erase(0, output.size() - std::min(output.size(), max_output));
  }
  /// Reads what the child wrote before its end. A process that outlives the child may go on
  /// writing.
  void drain(Child& child) {
    constexpr int max_reads = 1024;
    for (int i = 0; i != max_reads && child.pipe >= 0 && read_some(child); ++i) {
    }
    if (child.pipe >= 0) close(child.pipe);
    keep_end(child.result.output);
  }
  void reap(Child& child) {
    int status = 0;
    pid_t ended = 0;
    do {
      ended = waitpid(child.process, &status, WNOHANG);
    } while (ended < 0 && errno == EINTR);
    if (ended == 0) return;
    drain(child);
    SeedResult& result = child.result;
    const bool has_finding = result.output.find("replay: ") != std::string::npos;
    const bool is_zero = ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    result.has_passed = is_zero && places_[child.place].has_returned;
    if (ended < 0) {
      result.crash = "the end of the process is not known";
    } else if (WIFSIGNALED(status)) {
      const int signal = WTERMSIG(status);
      result.crash = "the process was ended by signal " + std::to_string(signal) + " (" +
                     strsignal(signal) + ")";
    } else if (is_zero && !result.has_passed) {
      result.crash = "the process exited with status 0 before its run returned";
    } else if (!result.has_passed && (WEXITSTATUS(status) != 1 || !has_finding)) {
      result.crash = "the process exited with status " + std::to_string(WEXITSTATUS(status)) +
                     " and no finding";
    }
    child.totals = places_[child.place].totals;
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
  Place* places_ = nullptr;          // shared with the children
  std::vector<std::uint32_t> free_;  // in places_
  std::deque<Child> children_;       // in the order of the seeds
  Clock::time_point began_ = Clock::now();
  bool has_begun_ = false;
  bool has_ended_ = false;  // no child starts any more
  bool is_late_ = false;
  std::optional<std::uint64_t> seed_;  // has no process yet
  int error_ = 0;                      // why it has none
};

}  // namespace detail

/// Runs the seeds that `next()` returns, each `run(seed, totals)` in a child process, and calls
/// `take(result, totals)` for each in the order of the seeds.
/// Returns false if the time limit has kept a seed from its start.
/// Errors: why no process could be made. The seeds left did not run.
template <class Totals>
std::expected<bool, std::string> run_in_processes(
    const ProcessLimits& limits, typename detail::SeedProcesses<Totals>::Next next,
    typename detail::SeedProcesses<Totals>::Run run,
    typename detail::SeedProcesses<Totals>::Take take) {
  return detail::SeedProcesses<Totals>{limits, std::move(next), std::move(run), std::move(take)}
      .run();
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
