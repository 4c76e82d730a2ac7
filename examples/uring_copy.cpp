// SPDX-License-Identifier: BSL-1.0
//
// uring_copy: copies a disk image through io_uring. The user_data of each command is a blkown
// cookie.
//
// A reading order: uring_copy/copier.hpp is the driver. uring_copy/device.hpp is its interface to a
// device, with two implementations, uring_device.hpp and thread_device.hpp. The other headers are
// needed by every copy program.

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "uring_copy/buffers.hpp"
#include "uring_copy/compare.hpp"
#include "uring_copy/copier.hpp"
#include "uring_copy/destination.hpp"
#include "uring_copy/options.hpp"
#include "uring_copy/problem.hpp"
#include "uring_copy/report.hpp"
#include "uring_copy/source.hpp"
#include "uring_copy/thread_device.hpp"
#include "uring_copy/uring_device.hpp"

namespace {

using namespace uring_copy;

/// The signal that stops the program, or 0.
std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

/// The first signal stops the copy and removes the temporary file. A second signal ends the program
/// at once. A signal that was ignored at the start of the program (nohup) stays ignored.
void catch_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action{};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = [](int caught) { stop_signal.store(caught, std::memory_order_relaxed); };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(number, &action, nullptr);
  }
  // With SIGXFSZ ignored, a write beyond the limit on file sizes fails with EFBIG.
  signal(SIGXFSZ, SIG_IGN);
}

[[nodiscard]] bool keep_going() { return stop_signal.load(std::memory_order_relaxed) == 0; }

/// Makes the device that the options select.
[[nodiscard]] std::expected<std::unique_ptr<Device>, Problem> make_device(
    const Options& options, const Source& source, const Destination& destination,
    const Buffers& buffers) {
  if (options.backend == Backend::threads) {
    auto device = std::make_unique<ThreadDevice>(source.fd(), destination.fd());
    if (const auto started = device->start(options.threads); !started) {
      return std::unexpected(Problem{"cannot start a thread: " + error_text(started.error()) +
                                     "; raise the limit on processes (ulimit -u)"});
    }
    return device;
  }
  auto device = UringDevice::create(source.fd(), destination.fd(), buffers);
  if (!device) return std::unexpected(device.error());
  if (const int error = (*device)->register_error(); error != 0 && !options.quiet) {
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    std::fprintf(stderr,
                 "uring_copy: buffers not registered with the kernel, copying without: %s; the"
                 " limit on locked memory is %llu KiB: raise it (ulimit -l), or lower --depth or"
                 " --block-bytes\n",
                 error_text(error).c_str(), static_cast<unsigned long long>(limit.rlim_cur / 1024));
  }
  return std::unique_ptr<Device>{std::move(*device)};
}

struct Moved {
  Ledger ledger;
  Copier::Counters counters;
};

/// Copies the bytes into the destination's temporary file.
[[nodiscard]] std::expected<Moved, Problem> move_bytes(const Options& options, const Source& source,
                                                       const Destination& destination) {
  const std::uint64_t size_bytes = source.size_bytes();
  const std::uint64_t blocks = size_bytes / options.block_bytes + 1;
  const auto depth = static_cast<std::uint32_t>(std::min<std::uint64_t>(options.depth, blocks));

  // Declared in this order, so that the device is destroyed before its memory.
  auto buffers = Buffers::create(depth, options.block_bytes);
  if (!buffers) return std::unexpected(buffers.error());
  Ledger ledger;
  auto requests = make_requests(*buffers, ledger);
  if (!requests) return std::unexpected(requests.error());
  auto device = make_device(options, source, destination, *buffers);
  if (!device) return std::unexpected(device.error());

  Copier copier{**device, buffers->device(), *requests, ledger, size_bytes, options.timeout_ms};
  Progress progress{!options.quiet};
  const auto failure = copier.run([&] {
    progress.show("copied", ledger.copied_bytes, size_bytes);
    return keep_going();
  });
  if (failure) {
    if (may_still_write(*failure)) buffers->abandon();
    return std::unexpected(problem_of(*failure, source.path(), destination.path(), size_bytes));
  }
  return Moved{ledger, copier.counters()};
}

/// --check.
[[nodiscard]] std::expected<void, Problem> check(const Options& options, const Source& source,
                                                 const Destination& destination) {
  Progress progress{!options.quiet};
  return compare(source.path(), destination.temporary_path(), destination.path(),
                 source.size_bytes(), [&](std::uint64_t compared_bytes) {
                   progress.show("checked", compared_bytes, source.size_bytes());
                   return keep_going();
                 });
}

/// The program without its command line and its error message.
[[nodiscard]] std::expected<void, Problem> copy(const Options& options) {
  auto source = Source::open(options.source);
  if (!source) return std::unexpected(source.error());
  auto destination = Destination::create(options.destination, *source);
  if (!destination) return std::unexpected(destination.error());

  const Clock::time_point begin = Clock::now();
  const auto moved = move_bytes(options, *source, *destination);
  if (!moved) return std::unexpected(moved.error());
  if (const auto same = source->check_not_grown(); !same) return same;
  if (const auto finished = destination->finish(source->size_bytes()); !finished) return finished;
  const Clock::duration elapsed = Clock::now() - begin;
  if (options.check) {
    if (const auto equal = check(options, *source, *destination); !equal) return equal;
  }
  if (!keep_going()) return std::unexpected(interrupted(destination->path()));
  if (const auto named = destination->take_name(); !named) return named;

  if (options.quiet) return {};
  std::printf("%s\n", summary(moved->ledger, moved->counters, elapsed).c_str());
  if (options.check) {
    std::printf("checked %llu bytes: equal\n",
                static_cast<unsigned long long>(source->size_bytes()));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (options && options->help) {
    std::fputs(usage_text, stdout);
    return 0;
  }
  std::expected<void, Problem> done;
  if (options) {
    catch_signals();
    done = copy(*options);
  } else {
    done = std::unexpected(options.error());
  }
  if (done) return 0;

  std::fprintf(stderr, "uring_copy: %s\n", done.error().text.c_str());
  if (done.error().exit_status != exit_interrupted) return done.error().exit_status;
  // The temporary file is removed. The signal now ends the program, so that the shell sees it.
  const int number = stop_signal.load(std::memory_order_relaxed);
  signal(number, SIG_DFL);
  raise(number);
  return exit_failed;
}
