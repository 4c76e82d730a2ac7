// SPDX-License-Identifier: BSL-1.0
//
// null_block: a disk without a device, under a workload that checks what it reads.
//
// A reading order: null_block/driver.hpp is the driver. null_block/null_block.hpp makes the disk
// and changes it. null_block/device.hpp and store.hpp are what the disk does, without the block
// layer.

#include <poll.h>

#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "null_block/control.hpp"
#include "null_block/control_socket.hpp"
#include "null_block/null_block.hpp"
#include "null_block/shared_tags.hpp"
#include "null_block/workload.hpp"
#include "storage/number.hpp"
#include "storage/signals.hpp"

namespace {

using namespace null_block;
using Runtime = mq::ThreadRuntime;

struct Options {
  std::string config;  ///< KEY=VALUE,...
  std::string control;
  std::uint32_t contexts = 2;
  std::uint32_t depth = 16;
  std::uint64_t count = 10'000;
  std::string send_to;  ///< A socket.
  std::string line;
  bool serve = false;
  bool help = false;
};

constexpr const char* usage_text =
    R"(Usage: null_block [OPTION]... [KEY=VALUE]...

Makes a null block disk, runs random reads and writes on it, and prints its state. With
memory_backed=1, what was written is checked.

  --control PATH   a socket that takes commands, one a line: show, set KEY VALUE, power off, ...
  --contexts N     threads that submit, 1 to 64; default 2
  --depth N        I/Os of each at a time, 1 to 1024; default 16
  --count N        I/Os of each; default 10000
  --send PATH LINE sends a command to the socket of another null_block, and prints the answer
  --serve          runs the workload again and again, until SIGINT or SIGTERM
  --help           print this text and the parameters

Exit status: 0 all data was right; 1 not, or failed; 2 wrong usage.
)";

std::expected<void, std::string> set_option(Options& options, std::string_view name,
                                            std::string_view value) {
  if (name == "--control") {
    options.control = value;
    return {};
  }
  if (name == "--contexts") return storage::set_number(options.contexts, name, value, 1, 64);
  if (name == "--depth") return storage::set_number(options.depth, name, value, 1, 1024);
  if (name == "--count") {
    return storage::set_number(options.count, name, value, 1, std::uint64_t{1} << 40);
  }
  return std::unexpected("cannot use '" + std::string{name} + "'");
}

std::expected<Options, std::string> parse_options(std::span<const char* const> arguments) {
  Options options;
  for (std::size_t i = 0; i != arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      options.help = true;
    } else if (argument == "--serve") {
      options.serve = true;
    } else if (argument == "--send" && i + 2 < arguments.size()) {
      options.send_to = arguments[++i];
      options.line = arguments[++i];
    } else if (argument.starts_with("-")) {
      if (i + 1 == arguments.size()) {
        return std::unexpected("cannot use '" + std::string{argument} + "' here");
      }
      const auto set = set_option(options, argument, arguments[++i]);
      if (!set) return std::unexpected(set.error());
    } else {
      options.config += (options.config.empty() ? "" : ",") + std::string{argument};
    }
  }
  return options;
}

void print_help() {
  std::fputs(usage_text, stdout);
  std::printf("\n%-26s %-14s %-7s %s\n", "parameter", "default", "", "values");
  const Config defaults;
  for (const Parameter& each : parameters) {
    std::printf("%-26s %-14s %-7s %s\n", each.key, value_text(defaults, each).c_str(),
                each.change == Change::live ? "live" : "", allowed(each).c_str());
  }
}

/// Runs the workload once. Returns its result.
WorkloadResult run_workload(const Options& options, const Config& config, Runtime& runtime,
                            NullDisk<Runtime>& disk, std::uint64_t round) {
  const std::uint64_t blocks = config.size / config.blocksize / options.contexts;
  const bool is_checked = config.memory_backed != 0;
  std::vector<std::unique_ptr<Workload>> parts;
  for (std::uint32_t i = 0; i != options.contexts; ++i) {
    parts.push_back(std::make_unique<Workload>(disk.disk(), runtime.context(i), i * blocks, blocks,
                                               options.count, options.depth, is_checked, round == 0,
                                               round * options.contexts + i));
    parts.back()->start();
  }
  WorkloadResult sum;
  for (std::uint32_t i = 0; i != options.contexts; ++i) {
    parts[i]->done().wait();
    runtime.run_on(i, [] {});  // the part's last work has returned
    const WorkloadResult& result = parts[i]->result();
    sum.reads += result.reads;
    sum.writes += result.writes;
    sum.failed += result.failed;
    sum.wrong += result.wrong;
  }
  return sum;
}

/// Whether a signal asks to stop.
bool is_stopped(int signals) {
  pollfd watched{.fd = signals, .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) > 0;
}

std::expected<bool, std::string> run(const Options& options, const Config& config) {
  const storage::Descriptor signals = storage::make_signal_fd();
  if (!signals.is_open()) return std::unexpected(std::string{"signals: "} + std::strerror(errno));
  if (config.zoned != 0) {
    return std::unexpected(
        std::string{"zoned=1: this workload writes in any order; see null_block_ublk"});
  }
  if (config.size / config.blocksize < std::uint64_t{options.contexts} * options.depth * 2) {
    return std::unexpected(std::string{"the disk has too few blocks for this depth"});
  }
  SharedTags tags;
  const auto pool = tags.pool_for(config);
  if (!pool) return std::unexpected(pool.error().text);
  Runtime runtime{options.contexts};
  auto disk = NullDisk<Runtime>::create(config, runtime, *pool);
  if (!disk) return std::unexpected(disk.error().text);
  std::unique_ptr<ControlSocket> control;
  if (!options.control.empty()) {
    auto made = ControlSocket::listen_at(
        options.control, [&](std::string_view line) { return answer_to(**disk, line); });
    if (!made) return std::unexpected(made.error());
    control = std::move(*made);
    std::printf("control: %s\n", options.control.c_str());
    std::fflush(stdout);
  }
  WorkloadResult sum;
  std::uint64_t rounds = 0;
  do {
    const WorkloadResult result = run_workload(options, config, runtime, **disk, rounds++);
    sum.reads += result.reads;
    sum.writes += result.writes;
    sum.failed += result.failed;
    sum.wrong += result.wrong;
  } while (options.serve && !is_stopped(signals.get()));
  control.reset();
  std::fputs(answer_to(**disk, "show").c_str(), stdout);
  std::printf("reads: %" PRIu64 ", writes: %" PRIu64 ", failed: %" PRIu64 ", wrong: %" PRIu64 "\n",
              sum.reads, sum.writes, sum.failed, sum.wrong);
  return sum.wrong == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (!options) {
    std::fprintf(stderr, "null_block: %s; see --help\n", options.error().c_str());
    return 2;
  }
  if (options->help) {
    print_help();
    return 0;
  }
  if (!options->send_to.empty()) {
    const auto answer = send_command(options->send_to, options->line);
    std::fputs((answer ? *answer : answer.error() + "\n").c_str(), answer ? stdout : stderr);
    return answer && answer->ends_with("ok\n") ? 0 : 1;
  }
  const auto config = parse_config(options->config);
  if (!config) {
    std::fprintf(stderr, "null_block: %s\n", config.error().text.c_str());
    return 2;
  }
  const auto right = run(*options, *config);
  if (right) return *right ? 0 : 1;
  std::fprintf(stderr, "null_block: %s\n", right.error().c_str());
  return 1;
}
