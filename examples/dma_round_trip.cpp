// SPDX-License-Identifier: BSL-1.0
//
// dma_round_trip SOURCE DESTINATION: copies a disk image through the block layer, the NVMe driver
// of nvme/, DMA mappings and two simulated controllers, with several queues and threads. With
// --faults SEED the program runs on one thread, in an order that the seed chooses, and the
// controllers misbehave. With --unplug N the source goes after N requests, and the copy fails. The
// program first prints the steps of one I/O.

#include <algorithm>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "dma_round_trip/copier.hpp"
#include "dma_round_trip/machine.hpp"
#include "dma_round_trip/narration.hpp"

namespace {

using namespace round_trip;

struct Options {
  std::string source;
  std::string destination;
  std::uint32_t queues = 2;
  std::uint32_t contexts = 2;
  std::uint32_t depth = 32;
  std::optional<std::uint64_t> faults;
  std::optional<std::uint64_t> unplug;  // the source, after so many requests
};

int usage(const std::string& problem) {
  std::fprintf(stderr,
               "dma_round_trip: %s\n"
               "usage: dma_round_trip SOURCE DESTINATION [--queues N] [--contexts N] [--depth N]"
               " [--faults SEED] [--unplug REQUESTS]\n",
               problem.c_str());
  return 2;
}

/// Parses the command line. Returns nothing after it has printed an error.
std::optional<Options> parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.empty() || word[0] != '-') {
      files.push_back(word);
      continue;
    }
    const std::string value = i + 1 < argc ? argv[++i] : "";
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool is_number = error == std::errc{} && end == value.data() + value.size();
    const bool is_count = is_number && number >= 1 && number <= 64;
    if (word == "--faults" && is_number) {
      options.faults = number;
    } else if (word == "--unplug" && is_number) {
      options.unplug = number;
    } else if (word == "--queues" && is_count) {
      options.queues = static_cast<std::uint32_t>(number);
    } else if (word == "--contexts" && is_count) {
      options.contexts = static_cast<std::uint32_t>(number);
    } else if (word == "--depth" && is_count && number >= 4) {
      options.depth = static_cast<std::uint32_t>(number);
    } else {
      usage("cannot use '" + word + ' ' + value + "'; counts are 1 to 64, a depth 4 to 64");
      return std::nullopt;
    }
  }
  if (files.size() != 2) {
    usage("a source and a destination are needed");
    return std::nullopt;
  }
  options.source = files[0];
  options.destination = files[1];
  return options;
}

int fail(const std::string& what) {
  std::fprintf(stderr, "dma_round_trip: %s\n", what.c_str());
  return 1;
}

/// Whether two files have the same content.
bool is_same(const std::string& a, const std::string& b) {
  std::ifstream one{a, std::ios::binary}, other{b, std::ios::binary};
  std::vector<char> left(1 << 20), right(1 << 20);
  while (one && other) {
    one.read(left.data(), static_cast<std::streamsize>(left.size()));
    other.read(right.data(), static_cast<std::streamsize>(right.size()));
    if (one.gcount() != other.gcount() ||
        std::memcmp(left.data(), right.data(), static_cast<std::size_t>(one.gcount())) != 0) {
      return false;
    }
  }
  return one.eof() && other.eof();
}

void print_machine(const char* name, Machine& machine) {
  const mq::Counters seen = machine.disk()->counters();
  std::printf("%s: %" PRIu64 " requests, %" PRIu64 " requeued, %" PRIu64 " timed out, %u resets",
              name, std::uint64_t{seen.started_requests}, std::uint64_t{seen.requeued_requests},
              std::uint64_t{seen.timed_out_requests}, machine.driver().resets());
  std::uint64_t rejected = 0;
  for (const auto count : seen.rejected_lookups) rejected += count;
  std::printf("; lookups rejected: %" PRIu64, rejected);
  for (std::size_t i = 0; i != seen.rejected_lookups.size(); ++i) {
    if (seen.rejected_lookups[i] == 0) continue;
    std::printf(" %s %" PRIu64, to_string(static_cast<blkown::LookupReason>(i)),
                std::uint64_t{seen.rejected_lookups[i]});
  }
  std::printf("; accesses kept from memory: %" PRIu64 "; faults:",
              machine.iommu().fault_counts().total());
  std::vector<std::uint64_t> struck(sim::fault_kind_count);
  for (const sim::FaultStrike& strike : machine.faults().struck()) {
    ++struck[static_cast<std::size_t>(strike.kind)];
  }
  for (std::size_t i = 0; i != struck.size(); ++i) {
    if (struck[i] != 0) {
      std::printf(" %s %" PRIu64, to_string(static_cast<sim::FaultKind>(i)), struck[i]);
    }
  }
  std::puts(machine.faults().struck().empty() ? " none" : "");
}

/// Unplugs the machine after it has begun so many requests, unless the copy ends before.
template <class Rt>
void unplug_after(Rt& runtime, std::uint64_t requests, Machine& machine, mq::Event& done) {
  while (machine.disk()->counters().started_requests < requests) {
    if (done.is_set()) return;
    if constexpr (std::is_same_v<Rt, sim::DeterministicRuntime>) {
      if (!runtime.step()) return;
    } else {
      std::this_thread::yield();
    }
  }
  machine.unplug();
}

template <class Rt>
int copy(const Options& options, Rt& runtime, sim::Media& from, sim::Media& to) {
  MachineConfig config{.queues = options.queues, .depth = options.depth};
  if (options.faults.has_value()) {
    config.seed = 2 * *options.faults;
    config.has_faults = true;
  }
  Machine source{runtime, from, config};
  ++config.seed;
  Machine destination{runtime, to, config};
  if (source.disk() == nullptr || destination.disk() == nullptr) return fail("no disk");
  Copier copier{*source.disk(), *destination.disk()};
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i != options.contexts; ++i) {
    copier.start_on(runtime.context(i), std::max(1U, options.depth / 4));
  }
  if (options.unplug.has_value()) {
    unplug_after(runtime, *options.unplug, source, copier.done());
  }
  const bool has_ended = runtime.wait_for(copier.done());
  bool is_durable = false;
  for (unsigned i = 0; has_ended && !is_durable && i != Copier<Driver>::max_failures; ++i) {
    is_durable = mq::flush(runtime, *destination.disk()) == Status::ok;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%" PRIu64 " bytes in %.2f s on %u contexts, %u queues of %u; %" PRIu64
              " I/Os tried again\n",
              copier.copied_bytes(), seconds.count(), options.contexts, options.queues,
              options.depth, copier.failures());
  print_machine("source", source);
  print_machine("destination", destination);
  const bool is_clean = source.shut_down(runtime) && destination.shut_down(runtime);
  if (!has_ended) return fail("nothing is left to run, and the copy is not done");
  if (!is_clean) return fail("memory was left mapped, or taken from the device too early");
  if (copier.status() != Status::ok) {
    return fail(std::string{"an I/O failed for good: "} + to_string(copier.status()));
  }
  if (!is_durable) return fail("the destination could not be flushed");
  return 0;
}

int run(const Options& options) {
  std::puts("The life of one I/O\n");
  if (!Narration{}.run()) return fail("a step of the narrated I/O went wrong");
  std::puts("\nThe copy\n");
  const auto from = sim::FileMedia::open(options.source.c_str(), sim::FileMode::read_only);
  if (from == nullptr) {
    return fail(options.source + ": " + std::strerror(errno) + "; name a readable image");
  }
  if (from->capacity_bytes() == 0 || from->capacity_bytes() % mq::sector_bytes != 0) {
    return fail(options.source + ": not a whole number of sectors of 512 bytes, or empty");
  }
  // The copy has another name until it is complete.
  const std::string partial = options.destination + ".partial";
  auto to = sim::FileMedia::create(partial.c_str(), from->capacity_bytes());
  if (to == nullptr) {
    return fail(partial + ": " + std::strerror(errno) + "; name a place that can be written");
  }
  int result = 0;
  if (options.faults.has_value()) {
    sim::DeterministicRuntime runtime{*options.faults, options.contexts + 1};
    result = copy(options, runtime, *from, *to);
  } else {
    mq::ThreadRuntime runtime{options.contexts + 1};
    result = copy(options, runtime, *from, *to);
  }
  to.reset();
  if (result == 0 && !is_same(options.source, partial)) result = fail("the copy differs");
  if (result == 0 && std::rename(partial.c_str(), options.destination.c_str()) != 0) {
    result = fail(options.destination + ": " + std::strerror(errno));
  }
  if (result != 0) {
    static_cast<void>(std::remove(partial.c_str()));
    return result;
  }
  std::printf("verified: %s is the same as %s\n", options.destination.c_str(),
              options.source.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  return options.has_value() ? run(*options) : 2;
}
