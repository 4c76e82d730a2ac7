// SPDX-License-Identifier: BSL-1.0
//
// nbd_copy SRC DST: copies between NBD servers, files and block devices, with the driver of
// nbd_client. Prints what was copied and what has happened on the connections. The program exits
// with 1 if the copy fails or the check finds a difference, and with 2 if it is called wrongly.

#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "nbd_copy/copier.hpp"
#include "nbd_copy/side.hpp"
#include "storage/number.hpp"

namespace {

using blkown::Status;
using nbd_copy::Side;

constexpr const char* usage_text =
    R"(Usage: nbd_copy [OPTION]... SRC DST

Copies SRC to DST. Each is a file, a block device, or an export of an NBD server:

  nbd://HOST[:PORT]/EXPORT
  nbd+unix:///EXPORT?socket=PATH

A destination file is created or replaced. Other destinations are at least as long as SRC.

  --check             read both sides after the copy, and compare them
  --connections N     to each server, if it allows more than one; default: 4
  --requests N        chunks at a time on each connection; default: 16
  --chunk BYTES       a multiple of 64 KiB; default: 262144. Made a multiple of the blocks that
                      the servers prefer
  --no-zeroes         send zeroes as data
  --timeout-ms N      of a request; then its connection is replaced; default: 30000
  --tries N           of a request, each on another connection; default: 5
  --give-up-ms N      without a connection; default: 30000
  --progress          also if stderr is no terminal
  --help
)";

struct Options {
  nbd_copy::CopyConfig copy;
  nbd_client::DriverConfig driver{.connections = 4};
  bool checks = false;
};

enum Id : int {
  check,
  connections,
  requests,
  chunk,
  no_zeroes,
  timeout_ms,
  tries,
  give_up_ms,
  progress,
  help,
};
constexpr std::array long_options{option{"check", no_argument, nullptr, check},
                                  option{"connections", required_argument, nullptr, connections},
                                  option{"requests", required_argument, nullptr, requests},
                                  option{"chunk", required_argument, nullptr, chunk},
                                  option{"no-zeroes", no_argument, nullptr, no_zeroes},
                                  option{"timeout-ms", required_argument, nullptr, timeout_ms},
                                  option{"tries", required_argument, nullptr, tries},
                                  option{"give-up-ms", required_argument, nullptr, give_up_ms},
                                  option{"progress", no_argument, nullptr, progress},
                                  option{"help", no_argument, nullptr, help},
                                  option{nullptr, 0, nullptr, 0}};

/// The number, if it is one from `least` to `most`.
std::optional<std::uint32_t> number(std::uint32_t least, std::uint32_t most) {
  const auto value = storage::parse_number(optarg, most, false);
  if (!value || *value < least) {
    std::fprintf(stderr, "nbd_copy: '%s' is no number from %u to %u\n", optarg, least, most);
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(*value);
}

template <class T>
bool set(T& target, std::uint32_t least, std::uint32_t most) {
  const auto value = number(least, most);
  if (value) target = static_cast<T>(*value);
  return value.has_value();
}

bool take(int id, Options& options) {
  constexpr std::uint32_t max_ms = 3'600'000;
  constexpr std::uint32_t max_chunk = 32 * 1024 * 1024;
  constexpr std::size_t chunk_unit = 64 * 1024;  // the largest block
  switch (id) {
    case check: options.checks = true; return true;
    case connections: return set(options.driver.connections, 1, 64);
    case requests: return set(options.copy.requests, 1, 1024);
    case chunk:
      return set(options.copy.chunk_bytes, chunk_unit, max_chunk) &&
             options.copy.chunk_bytes % chunk_unit == 0;
    case no_zeroes: options.copy.keeps_zeroes_short = false; return true;
    case timeout_ms: return set(options.driver.timeout_ms, 1, max_ms);
    case tries: return set(options.driver.max_tries, 1, 1000);
    case give_up_ms: return set(options.driver.give_up_ms, 0, max_ms);
    case progress: options.copy.shows_progress = true; return true;
    default: return false;
  }
}

bool fail(const Side& side, const nbd_copy::Problem& problem) {
  if (problem) std::fprintf(stderr, "nbd_copy: %s: %s\n", side.name().c_str(), problem->c_str());
  return problem.has_value();
}
bool fail(const nbd_copy::Problem& problem) {
  if (problem) std::fprintf(stderr, "nbd_copy: %s\n", problem->c_str());
  return problem.has_value();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The copy, between two sides that are open.
bool copy(Side& from, Side& to, nbd_client::PollLoop& loop, const Options& options) {
  nbd_copy::CopyConfig config = options.copy;
  // Powers of two, so a multiple of the larger one is one of both.
  const std::size_t preferred = std::max(from.preferred_bytes(), to.preferred_bytes());
  config.chunk_bytes = (config.chunk_bytes + preferred - 1) / preferred * preferred;
  nbd_copy::Copier copier{from, to, loop, config};
  const auto start = std::chrono::steady_clock::now();
  if (fail(copier.copy())) return false;
  const Status flushed = to.flush(loop);
  if (flushed != Status::ok) return !fail(to, std::string{"flush: "} + to_string(flushed));
  const double seconds = seconds_since(start);
  const auto bytes = static_cast<double>(from.size_bytes());
  std::printf("copied %llu bytes, of which %llu as zeroes, in %.3f s, %.1f MiB/s\n",
              static_cast<unsigned long long>(from.size_bytes()),
              static_cast<unsigned long long>(copier.zero_bytes()), seconds,
              bytes / seconds / (1024 * 1024));
  if (!options.checks) return true;
  if (fail(copier.compare())) return false;
  std::printf("checked %llu bytes: equal\n", static_cast<unsigned long long>(from.size_bytes()));
  return true;
}

/// What has happened on the connections of a side.
void print_connections(const Side& side) {
  nbd_client::ConnectionCounters sum;
  const std::uint32_t count = side.driver().connection_count();
  for (std::uint32_t i = 0; i != count; ++i) {
    const auto& counters = side.driver().connection(i).counters();
    sum.failed_attempts += counters.failed_attempts;
    sum.lost += counters.lost;
    sum.violations += counters.violations;
    sum.timeouts += counters.timeouts;
  }
  std::uint64_t refused = 0;
  for (const blkown::Word lookups : side.counters().rejected_lookups) refused += lookups;
  std::printf(
      "%s: %u connections, %llu lost, %llu attempts failed, %llu timeouts, %llu violations,"
      " %llu lookups refused, %llu requests requeued\n",
      side.name().c_str(), count, static_cast<unsigned long long>(sum.lost),
      static_cast<unsigned long long>(sum.failed_attempts),
      static_cast<unsigned long long>(sum.timeouts),
      static_cast<unsigned long long>(sum.violations), static_cast<unsigned long long>(refused),
      static_cast<unsigned long long>(side.counters().requeued_requests));
}

/// Makes the disks, copies, and removes the disks.
bool run(Side& from, Side& to, const Options& options) {
  if (fail(from, from.open(false, options.driver.connect_ms)) ||
      fail(to, to.open(true, options.driver.connect_ms)) || fail(to, to.fit_to(from))) {
    return false;
  }
  const std::uint32_t connections = std::min(from.max_connections(options.driver.connections),
                                             to.max_connections(options.driver.connections));
  nbd_client::PollLoop loop{connections};
  bool is_good = !fail(from, from.make_disk(loop, options.driver)) &&
                 !fail(to, to.make_disk(loop, options.driver)) && copy(from, to, loop, options);
  for (Side* side : {&from, &to}) {
    if (!side->has_disk()) continue;
    is_good = side->close(loop) == Status::ok && is_good;
    print_connections(*side);
  }
  return is_good;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.copy.shows_progress = ::isatty(STDERR_FILENO) != 0;
  for (int id = 0; (id = ::getopt_long(argc, argv, "", long_options.data(), nullptr)) != -1;) {
    if (id == help) return std::fputs(usage_text, stdout) == EOF ? 1 : 0;
    if (!take(id, options)) {
      std::fputs("nbd_copy: see --help\n", stderr);
      return 2;
    }
  }
  if (argc - optind != 2) {
    std::fputs("nbd_copy: takes SRC and DST; see --help\n", stderr);
    return 2;
  }
  Side from{argv[optind]};
  Side to{argv[optind + 1]};
  return run(from, to, options) ? 0 : 1;
}
