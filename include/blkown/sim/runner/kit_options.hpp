// SPDX-License-Identifier: BSL-1.0
//
// KitOptions: the command line of a program that tests a driver.
//
// The options are the rows of detail::option_rows: name, value, help, and what a value may be. A
// word that cannot be used, and options that do not go together, give one line: the program, the
// option with its value, and the remedy. world_words() are the options that determine a run beside
// its seed: a command that replays a run has them all.

#ifndef BLKOWN_SIM_RUNNER_KIT_OPTIONS_HPP
#define BLKOWN_SIM_RUNNER_KIT_OPTIONS_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/harness/workload.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/tag_set_config.hpp>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The options of a program, with their defaults.
struct KitOptions {
  std::string program;  ///< The program and its own words before the options, for replay commands.
  std::uint64_t seeds = 100;        ///< The number of runs.
  std::uint64_t first_seed = 0;     ///< The seed of the first run. Each run increments the seed.
  std::uint64_t io_count = 1000;    ///< I/Os of each run.
  bool shrink = false;              ///< Also prints the report of the shortest failing run.
  unsigned shrink_s = 20;           ///< The seconds after which no shorter run is tried.
  unsigned hang_limit_s = 60;       ///< For an event of a run, by the clock. 0: there is no limit.
  bool help = false;                ///< Prints the options and runs nothing.
  bool has_script = false;          ///< `script` replaces the faults of the seed.
  std::vector<FaultStrike> script;  ///< Used only with has_script.
  /// The other parameters of each run. Its seed, io_count and script are not used.
  WorldConfig world;
  std::uint32_t jobs = 0;          ///< Processes at a time, with one run each. 0: this process.
  std::uint64_t time_limit_s = 0;  ///< After it no run starts. 0: there is no limit.
  bool keep_going = false;         ///< A failing run does not prevent the next ones.
  std::string junit_path;          ///< The JUnit report. Empty: none.
  std::string failed_seeds_path;   ///< The file of seeds that failed once. Empty: none.

  /// Whether each run has a process of its own: the results then survive a run that ends its
  /// process.
  [[nodiscard]] bool has_processes() const noexcept {
    return jobs != 0 || keep_going || !junit_path.empty() || !failed_seeds_path.empty();
  }
};

/// The script as text: KIND@N separated by commas, or "none" for an empty script.
[[nodiscard]] inline std::string to_string(const std::vector<FaultStrike>& script) {
  std::string text;
  for (const FaultStrike& strike : script) {
    if (!text.empty()) text += ',';
    text += std::string{to_string(strike.kind)} + '@' + std::to_string(strike.opportunity);
  }
  return text.empty() ? "none" : text;
}

namespace detail {

template <class Number>
[[nodiscard]] bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}
/// A number of these two, or between them.
template <class Number>
[[nodiscard]] bool parse(std::string_view text, Number& number, std::uint64_t least,
                         std::uint64_t most) {
  Number value = 0;
  if (!parse(text, value) || value < least || value > most) return false;
  number = value;
  return true;
}

/// Calls `take(name, text)` for each NAME`between`TEXT of a list with commas, while that is true.
template <class Take>
[[nodiscard]] bool parse_list(std::string_view text, char between, Take take) {
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    const std::size_t at = one.find(between);
    if (at == std::string_view::npos || !take(one.substr(0, at), one.substr(at + 1))) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

[[nodiscard]] inline std::optional<FaultKind> parse_kind(std::string_view name) {
  for (std::size_t kind = 0; kind != fault_kind_count; ++kind) {
    if (name == to_string(static_cast<FaultKind>(kind))) return static_cast<FaultKind>(kind);
  }
  return std::nullopt;
}
[[nodiscard]] inline bool parse(std::string_view text, std::vector<FaultStrike>& script) {
  script.clear();
  return text == "none" || parse_list(text, '@', [&](auto name, auto number) {
           const auto kind = parse_kind(name);
           std::uint64_t opportunity = 0;
           if (!kind.has_value() || !parse(number, opportunity)) return false;
           script.push_back({*kind, opportunity});
           return true;
         });
}
[[nodiscard]] inline bool parse(std::string_view text, FaultRates& rates) {
  return parse_list(text, ':', [&](auto name, auto number) {
    std::uint32_t rate = 0;
    if (!parse(number, rate, 0, 65536)) return false;
    const auto kind = parse_kind(name);
    if (kind.has_value()) {
      rates[*kind] = rate;
    } else if (name == "all") {
      // No run has it without being asked by its name.
      const std::uint32_t stopped = rates[FaultKind::unmap_failure_stopped];
      rates.of.fill(rate);
      rates[FaultKind::unmap_failure_stopped] = stopped;
    }
    return kind.has_value() || name == "all";
  });
}

inline constexpr std::uint32_t max_weight = 1'000'000;

/// The operations of a mix, by name.
inline constexpr std::array<std::pair<const char*, std::uint32_t OperationMix::*>, 6> operations{
    {{"read", &OperationMix::read},
     {"write", &OperationMix::write},
     {"flush", &OperationMix::flush},
     {"discard", &OperationMix::discard},
     {"write_zeroes", &OperationMix::write_zeroes},
     {"compare", &OperationMix::compare}}};

[[nodiscard]] inline bool parse(std::string_view text, std::optional<OperationMix>& mix) {
  OperationMix its{};
  for (const auto& [name, weight] : operations) its.*weight = 0;
  const bool is_good = parse_list(text, ':', [&](std::string_view name, std::string_view number) {
    const auto found = std::ranges::find_if(
        operations, [&](const auto& its_operation) { return name == its_operation.first; });
    return found != operations.end() && parse(number, its.*found->second, 0, max_weight);
  });
  if (!is_good || its.total() == 0) return false;
  mix = its;
  return true;
}
[[nodiscard]] inline bool parse(std::string_view text, std::vector<SizeWeight>& sizes) {
  sizes.clear();
  return parse_list(text, ':', [&](auto name, auto number) {
    std::uint32_t bytes = 0;
    SizeWeight size;
    if (sizes.size() == 16 || !parse(name, bytes, 512, Workload::slot_bytes) || bytes % 512 != 0 ||
        !parse(number, size.weight, 1, max_weight)) {
      return false;
    }
    size.length_sectors = bytes / 512;
    sizes.push_back(size);
    return true;
  });
}
/// SHAPE:NS or SHAPE:NS-NS.
[[nodiscard]] inline bool parse_latency(std::string_view text, WorldConfig& world) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = text.substr(0, colon);
  const std::string_view times = text.substr(colon + 1);
  constexpr std::uint64_t most_ns = 1'000'000'000;
  for (const LatencyShape shape :
       {LatencyShape::uniform, LatencyShape::constant, LatencyShape::heavy_tailed}) {
    if (name != to_string(shape)) continue;
    world.latency = shape;
    const std::size_t dash = times.find('-');
    if (shape == LatencyShape::constant) {
      const bool is_good = parse(times, world.shortest_ns, 0, most_ns);
      world.longest_ns = world.shortest_ns;
      return is_good;
    }
    return dash != std::string_view::npos &&
           parse(times.substr(0, dash), world.shortest_ns, 0, most_ns) &&
           parse(times.substr(dash + 1), world.longest_ns, world.shortest_ns, most_ns);
  }
  return false;
}
/// "on" or "off".
[[nodiscard]] inline bool parse(std::string_view text, std::optional<bool>& value) {
  value = text == "on";
  return text == "on" || text == "off";
}
[[nodiscard]] inline bool parse(std::string_view text, std::optional<LayoutKind>& layout) {
  for (const LayoutKind kind : {LayoutKind::nvme, LayoutKind::nbd, LayoutKind::io_uring}) {
    if (text == to_string(kind)) layout = kind;
  }
  return layout.has_value() && text == to_string(*layout);
}

/// One option. `read` takes the value, or an empty text if the option has none.
struct OptionRow {
  const char* name;
  const char* value;   ///< Null: the option has no value.
  const char* help;    ///< In lines.
  const char* remedy;  ///< What a value may be.
  bool (*read)(KitOptions& options, std::string_view value);
};

/// The options of each program, in the order of the help.
inline constexpr std::array option_rows{
    OptionRow{"--seeds", "N", "runs N seeds (100)", "use a number from 1",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.seeds) && its.seeds != 0;
              }},
    OptionRow{"--first-seed", "S", "the first of them (0)", "use a number from 0",
              [](KitOptions& its, std::string_view text) { return parse(text, its.first_seed); }},
    OptionRow{"--ios", "N", "I/Os of each run (1000)", "use a number from 1 to 1000000000",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.io_count, 1, 1'000'000'000);
              }},
    OptionRow{"--script", "SCRIPT",
              "the faults of each run, instead of the seed's: KIND@N,... where\n"
              "N is the index of the kind's opportunity, from 0; or none",
              "use KIND@N,... or none; --help lists the kinds",
              [](KitOptions& its, std::string_view text) {
                its.has_script = true;
                return parse(text, its.script);
              }},
    OptionRow{"--rates", "KIND:N,...",
              "the strikes of a kind of fault per 65536 opportunities; all:N for\n"
              "every kind but unmap_failure_stopped. With reset:N the controller\n"
              "fails often",
              "use KIND:N,... with N from 0 to 65536; KIND is all, or one that --help lists",
              [](KitOptions& its, std::string_view text) { return parse(text, its.world.rates); }},
    OptionRow{"--shrink", nullptr,
              "if a run fails, also looks for the shortest script and the fewest\nI/Os with the"
              " same finding, for 20 s, and prints that report",
              "", [](KitOptions& its, std::string_view) { return its.shrink = true; }},
    OptionRow{"--help", nullptr, "prints this text", "",
              [](KitOptions& its, std::string_view) { return its.help = true; }},
    // The disk and the device.
    OptionRow{"--queues", "N", "hardware queues (2)", "use a number from 1 to 63",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.queue_count, 1, 63);
              }},
    OptionRow{"--disks", "N",
              "disks, each on a namespace or a medium of its own; they share the\n"
              "queues and the tags. In the block layer some leave and come back (1)",
              "use a number from 1 to 16",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.disk_count, 1, 16);
              }},
    OptionRow{"--depth", "N", "tags of each queue, the reserved ones included (8)",
              "use a number from 2",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.depth, 2, UINT32_MAX);
              }},
    OptionRow{"--reserved", "N", "reserved tags of each queue (2)",
              "use a number below that of --depth",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.reserved_depth);
              }},
    OptionRow{
        "--layout", "LAYOUT", "of the message device's cookies (by the seed)",
        "use nvme, nbd or io_uring",
        [](KitOptions& its, std::string_view text) { return parse(text, its.world.fixed.layout); }},
    OptionRow{"--block-bytes", "N",
              "the disks' blocks (of NVMe by the seed: 512 or 4096; of a message\ndevice 512)",
              "use a power of two, 512 to 4096",
              [](KitOptions& its, std::string_view text) {
                std::uint32_t bytes = 0;
                if (!parse(text, bytes, 512, 4096) || !std::has_single_bit(bytes)) return false;
                its.world.fixed.block_bytes = bytes;
                return true;
              }},
    OptionRow{"--cache", "on|off", "the device's volatile write cache (by the seed)",
              "use on or off",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.fixed.has_cache);
              }},
    OptionRow{"--fua", "on|off", "whether a disk of the block layer has FUA (by the seed)",
              "use on or off",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.fixed.has_fua);
              }},
    OptionRow{
        "--latency", "SHAPE:NS-NS",
        "of a command: uniform:MIN-MAX, heavy_tailed:MIN-MAX or\n"
        "constant:NS (uniform:2000-50000)",
        "use uniform:MIN-MAX, heavy_tailed:MIN-MAX or constant:NS with ns up to 1000000000",
        [](KitOptions& its, std::string_view text) { return parse_latency(text, its.world); }},
    // The I/O.
    OptionRow{"--mix", "OPERATION:N,...",
              "how often each operation is chosen, in relation to the sum\n"
              "(read:7,write:6,flush:1,discard:1,write_zeroes:1; on the bare core\n"
              "of NVMe one read in seven is a compare)",
              "use OPERATION:N,... of read, write, flush, discard, write_zeroes and compare, with"
              " a sum above 0 and N up to 1000000",
              [](KitOptions& its, std::string_view text) { return parse(text, its.world.mix); }},
    OptionRow{"--sizes", "BYTES:N,...",
              "how often each length is chosen, rounded up to blocks (any)",
              "use up to 16 BYTES:N with multiples of 512 up to 8192, and N from 1 to 1000000",
              [](KitOptions& its, std::string_view text) { return parse(text, its.world.sizes); }},
    OptionRow{"--fua-percent", "N", "bios with FUA, in the block layer (25)",
              "use a number from 0 to 100",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.fua_percent, 0, 100);
              }},
    OptionRow{"--preflush-percent", "N", "bios with a preflush, in the block layer (one in 8)",
              "use a number from 0 to 100",
              [](KitOptions& its, std::string_view text) {
                std::uint32_t percent = 0;
                if (!parse(text, percent, 0, 100)) return false;
                its.world.preflush_percent = percent;
                return true;
              }},
    OptionRow{"--ios-per-cut", "N",
              "I/Os between two looks at what a power cut would leave, on average\n(32)",
              "use a number from 1 to 1000000",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.world.ios_per_cut, 1, 1'000'000);
              }},
    OptionRow{"--resets", nullptr, "calls the driver's reset() at random moments", "",
              [](KitOptions& its, std::string_view) { return its.world.has_resets = true; }},
    OptionRow{"--queue-changes", nullptr, "changes the number of a disk's queues at random moments",
              "",
              [](KitOptions& its, std::string_view) { return its.world.has_queue_changes = true; }},
    // For a CI.
    OptionRow{
        "--jobs", "N", "runs N seeds at a time, each in a process of its own",
        "use a number from 1 to 1024",
        [](KitOptions& its, std::string_view text) { return parse(text, its.jobs, 1, 1024); }},
    OptionRow{"--keep-going", nullptr, "a failing seed does not prevent the next ones", "",
              [](KitOptions& its, std::string_view) { return its.keep_going = true; }},
    OptionRow{"--time-limit", "SECONDS", "begins no seed after this time (none)",
              "use a number from 1",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.time_limit_s, 1, 1'000'000'000);
              }},
    OptionRow{"--hang-limit", "SECONDS",
              "a run of which one event lasts longer, as in an endless loop, has\n"
              "failed (60); 0 for no limit, as in a debugger",
              "use a number from 0 to 86400",
              [](KitOptions& its, std::string_view text) {
                return parse(text, its.hang_limit_s, 0, 86'400);
              }},
    OptionRow{"--junit", "FILE", "writes the results as JUnit does", "name a file",
              [](KitOptions& its, std::string_view text) {
                its.junit_path = text;
                return !text.empty();
              }},
    OptionRow{"--failed-seeds", "FILE",
              "runs the seeds of the file first, and appends those that fail", "name a file",
              [](KitOptions& its, std::string_view text) {
                its.failed_seeds_path = text;
                return !text.empty();
              }},
};

/// The layouts of the cookies of the runs.
[[nodiscard]] inline std::vector<LayoutKind> layouts_of(const WorldConfig& world,
                                                        const WorldFeatures& features) {
  if (features.has_nvme) return {LayoutKind::nvme};
  if (world.fixed.layout.has_value()) return {*world.fixed.layout};
  return {LayoutKind::nvme, LayoutKind::nbd, LayoutKind::io_uring};
}

/// The first problem of the numbers of queues and tags, or an empty text.
[[nodiscard]] inline std::string check_tags(const WorldConfig& world,
                                            const WorldFeatures& features) {
  const std::string depth = "--depth " + std::to_string(world.depth);
  const std::string reserved = "--reserved " + std::to_string(world.reserved_depth);
  if (world.reserved_depth >= world.depth) {
    return reserved + ": " + depth + " leaves no tag for I/O; use a smaller number, or a larger" +
           " --depth";
  }
  for (const LayoutKind kind : layouts_of(world, features)) {
    const auto error = blkown::detail::check_names(
        {.queue_count = world.queue_count, .depth = world.depth, .layout = layout_of(kind)});
    if (!error.has_value()) continue;
    return depth + ": a cookie of the layout " + to_string(kind) + " names no such tag; use at " +
           "most " + std::to_string(error->limit);
  }
  constexpr std::uint64_t max_requests = 1024;
  if (std::uint64_t{world.queue_count} * world.depth > max_requests) {
    return depth + ": with --queues " + std::to_string(world.queue_count) +
           " the run has more than 1024 requests; use at most " +
           std::to_string(max_requests / world.queue_count);
  }
  return {};
}

/// The first problem of the device, or an empty text.
[[nodiscard]] inline std::string check_device(const WorldConfig& world,
                                              const WorldFeatures& features) {
  const FixedChoices& fixed = world.fixed;
  if (fixed.has_fua.value_or(false) && !fixed.has_cache.value_or(true)) {
    return "--fua on: a device without a write cache has no FUA; remove --cache off";
  }
  if (fixed.layout.has_value() && features.has_nvme) {
    return "--layout " + std::string{to_string(*fixed.layout)} +
           ": NVMe has one layout; remove the option";
  }
  for (const SizeWeight& size : world.sizes) {
    if (size.length_sectors * 512 % fixed.block_bytes.value_or(512) == 0) continue;
    return "--sizes " + std::to_string(size.length_sectors * 512) + ":" +
           std::to_string(size.weight) + ": with --block-bytes " +
           std::to_string(*fixed.block_bytes) + " an I/O is whole blocks; use a multiple";
  }
  // A tail may reach beyond the timeout, because few commands take that long.
  const std::uint64_t max_ns = world.timeout_ns / 2;
  const std::uint64_t usual_ns =
      world.latency == LatencyShape::heavy_tailed ? world.shortest_ns : world.longest_ns;
  if (usual_ns > max_ns) {
    return "--latency " + std::string{to_string(world.latency)} + ": most commands would meet " +
           "the timeout of " + std::to_string(world.timeout_ns) + " ns; use at most " +
           std::to_string(max_ns) + (world.latency == LatencyShape::heavy_tailed ? " as MIN" : "");
  }
  return {};
}

/// How the option says the rates: those of all kinds, and of single ones.
struct NamedRates {
  std::optional<std::uint32_t> of_all;  ///< None: the defaults.
  std::vector<FaultKind> kinds;
};
/// The shorter one of two lists: what differs from the defaults, or from the most frequent rate.
[[nodiscard]] inline NamedRates named_rates(const FaultRates& rates) {
  const auto differing_from = [&](const FaultRates& base) {
    std::vector<FaultKind> kinds;
    for (std::size_t kind = 0; kind != fault_kind_count; ++kind) {
      if (rates.of[kind] != base.of[kind]) kinds.push_back(static_cast<FaultKind>(kind));
    }
    return kinds;
  };
  const std::uint32_t frequent = *std::ranges::max_element(
      rates.of, {}, [&](std::uint32_t rate) { return std::ranges::count(rates.of, rate); });
  FaultRates equal;
  equal.of.fill(frequent);
  equal[FaultKind::unmap_failure_stopped] = 0;  // which "all" leaves out
  NamedRates named{.of_all = {}, .kinds = differing_from(FaultRates::all())};
  std::vector<FaultKind> others = differing_from(equal);
  if (others.size() + 1 < named.kinds.size()) named = {frequent, std::move(others)};
  return named;
}

/// The first fault that the world's device does not have, or an empty text.
[[nodiscard]] inline std::string check_faults(const KitOptions& options,
                                              const WorldFeatures& features) {
  const std::string problem = ": the device has no such fault; remove it";
  const auto is_foreign = [&](FaultKind kind) {
    if (features.has_fault != nullptr) return !features.has_fault(kind);
    return features.has_nvme ? !is_of_nvme(kind) : !is_of_messages(kind);
  };
  if (options.has_script) {
    const auto foreign = std::ranges::find_if(options.script, is_foreign, &FaultStrike::kind);
    if (foreign == options.script.end()) return {};
    return "--script " + to_string(std::vector{*foreign}) + problem;
  }
  const std::vector<FaultKind> kinds = named_rates(options.world.rates).kinds;
  const auto foreign = std::ranges::find_if(kinds, is_foreign);
  if (foreign == kinds.end()) return {};
  const std::uint32_t rate = options.world.rates.of[static_cast<std::size_t>(*foreign)];
  return "--rates " + std::string{to_string(*foreign)} + ":" + std::to_string(rate) + problem;
}

/// The first option that this kind of world does not have, with the remedy, or an empty text.
[[nodiscard]] inline std::string check_kind(const WorldConfig& world,
                                            const WorldFeatures& features) {
  const WorldConfig standard;
  const char* block_layer_only = nullptr;
  if (world.fua_percent != standard.fua_percent) block_layer_only = "--fua-percent";
  if (world.preflush_percent.has_value()) block_layer_only = "--preflush-percent";
  if (world.fixed.has_fua.has_value()) block_layer_only = "--fua";
  if (world.has_queue_changes) block_layer_only = "--queue-changes";
  if (block_layer_only != nullptr && !features.has_block_layer) {
    return std::string{block_layer_only} +
           ": only a driver of the block layer has that (mq_main); remove the option";
  }
  if (world.mix.has_value() && world.mix->compare != 0 &&
      (!features.has_nvme || features.has_block_layer)) {
    return "--mix compare:" + std::to_string(world.mix->compare) +
           ": only a driver of NVMe on the bare core has compares (nvme_main); use compare:0";
  }
  if (world.has_resets && !features.has_reset) {
    return "--resets: the driver has no public function reset(); add one, or use --rates reset:N";
  }
  if (world.has_queue_changes && world.queue_count == 1) {
    return "--queue-changes: with --queues 1 there is no other number; use --queues 2 or more";
  }
  return {};
}

/// The row of this option, or null.
[[nodiscard]] inline const OptionRow* find_option(std::string_view word) {
  if (word == "-h") word = "--help";
  const auto found =
      std::ranges::find_if(option_rows, [&](const OptionRow& row) { return word == row.name; });
  return found != option_rows.end() ? &*found : nullptr;
}

/// What a line of a message says about a word: the word, with what would not be printed replaced
/// and what is too long left out.
[[nodiscard]] inline std::string printable(std::string_view word) {
  constexpr std::size_t max_size = 80;
  std::string text{word.substr(0, max_size)};
  for (char& one : text) {
    if (static_cast<unsigned char>(one) < 0x20 || one == 0x7F) one = '?';
  }
  return word.size() > max_size ? text + "..." : text;
}

/// NAME:N of each entry, separated by commas.
template <class Entries, class NameOf, class NumberOf>
[[nodiscard]] std::string list_of(const Entries& entries, NameOf name_of, NumberOf number_of) {
  std::string text;
  for (const auto& entry : entries) {
    if (!text.empty()) text += ',';
    text += std::string{name_of(entry)} + ':' + std::to_string(number_of(entry));
  }
  return text;
}

/// The options of the device that differ from the defaults, each behind a space.
[[nodiscard]] inline std::string device_words(const WorldConfig& world) {
  const WorldConfig standard;
  std::string words;
  const auto add = [&](const char* name, const std::string& value) {
    words += std::string{" "} + name + (value.empty() ? "" : " ") + value;
  };
  const auto add_number = [&](const char* name, std::uint64_t value, std::uint64_t usual) {
    if (value != usual) add(name, std::to_string(value));
  };
  const auto add_switch = [&](const char* name, const std::optional<bool>& value) {
    if (value.has_value()) add(name, *value ? "on" : "off");
  };
  add_number("--queues", world.queue_count, standard.queue_count);
  add_number("--disks", world.disk_count, standard.disk_count);
  add_number("--depth", world.depth, standard.depth);
  add_number("--reserved", world.reserved_depth, standard.reserved_depth);
  if (world.fixed.layout.has_value()) add("--layout", to_string(*world.fixed.layout));
  add_number("--block-bytes", world.fixed.block_bytes.value_or(0), 0);
  add_switch("--cache", world.fixed.has_cache);
  add_switch("--fua", world.fixed.has_fua);
  const std::string shape = std::string{to_string(world.latency)} + ':';
  if (world.latency == LatencyShape::constant) {
    add("--latency", shape + std::to_string(world.shortest_ns));
  } else if (world.latency != standard.latency || world.shortest_ns != standard.shortest_ns ||
             world.longest_ns != standard.longest_ns) {
    add("--latency",
        shape + std::to_string(world.shortest_ns) + '-' + std::to_string(world.longest_ns));
  }
  return words;
}
/// The same for the I/O.
[[nodiscard]] inline std::string io_words(const WorldConfig& world) {
  const WorldConfig standard;
  std::string words;
  if (world.mix.has_value()) {
    words += " --mix " + list_of(
                             operations, [](const auto& its) { return its.first; },
                             [&](const auto& its) { return (*world.mix).*its.second; });
  }
  if (!world.sizes.empty()) {
    words += " --sizes " +
             list_of(
                 world.sizes,
                 [](const SizeWeight& its) { return std::to_string(its.length_sectors * 512); },
                 [](const SizeWeight& its) { return its.weight; });
  }
  if (world.fua_percent != standard.fua_percent) {
    words += " --fua-percent " + std::to_string(world.fua_percent);
  }
  if (world.ios_per_cut != standard.ios_per_cut) {
    words += " --ios-per-cut " + std::to_string(world.ios_per_cut);
  }
  if (world.preflush_percent.has_value()) {
    words += " --preflush-percent " + std::to_string(*world.preflush_percent);
  }
  if (world.has_resets) words += " --resets";
  if (world.has_queue_changes) words += " --queue-changes";
  return words;
}
/// The rates in the words of the option.
[[nodiscard]] inline std::string rate_words(const FaultRates& rates) {
  const NamedRates named = named_rates(rates);
  std::string words;
  if (named.of_all.has_value()) words = "all:" + std::to_string(*named.of_all);
  if (!named.kinds.empty()) {
    words += (words.empty() ? "" : ",") +
             list_of(
                 named.kinds, [](FaultKind kind) { return to_string(kind); },
                 [&](FaultKind kind) { return rates.of[static_cast<std::size_t>(kind)]; });
  }
  return words.empty() ? words : " --rates " + words;
}

}  // namespace detail

/// The options that determine a run beside its seed and its script, each behind a space: what a
/// command that replays the run needs.
[[nodiscard]] inline std::string world_words(const KitOptions& options) {
  return " --ios " + std::to_string(options.io_count) + detail::device_words(options.world) +
         detail::io_words(options.world) +
         (options.has_script ? std::string{} : detail::rate_words(options.world.rates));
}

/// Prints the options, their defaults, and the kinds of faults that a script may name.
inline void print_help(const std::string& program, std::FILE* file) {
  std::fprintf(file, "usage: %s [OPTION]...\n", program.c_str());
  for (const detail::OptionRow& row : detail::option_rows) {
    std::string left = row.name;
    if (row.value != nullptr) left += std::string{" "} + row.value;
    std::string_view help = row.help;
    while (true) {
      const std::size_t end = help.find('\n');
      const std::string line{help.substr(0, end)};
      std::fprintf(file, "  %-23s %s\n", left.c_str(), line.c_str());
      if (end == std::string_view::npos) break;
      help.remove_prefix(end + 1);
      left.clear();
    }
  }
  std::fputs(
      "exit status: 0 no invariant was broken, 1 one was, or a run ended its process, 2 an\n"
      "option cannot be used, or a file cannot be read or written\n"
      "kinds of faults:\n",
      file);
  for (std::size_t kind = 0; kind != fault_kind_count; ++kind) {
    std::fprintf(file, "  %s\n", to_string(static_cast<FaultKind>(kind)));
  }
}

/// The problem of options that do not go together, or that this world does not have: one line
/// without the program's name. Empty: there is none.
[[nodiscard]] inline std::string check_options(const KitOptions& options,
                                               const WorldFeatures& features) {
  if (options.has_script && options.world.rates != FaultRates::all()) {
    return "--rates: --script chooses the faults; remove one of the two";
  }
  if (options.seeds - 1 > ~std::uint64_t{0} - options.first_seed) {
    return "--seeds " + std::to_string(options.seeds) + ": the last seed is 18446744073709551615" +
           "; use at most " + std::to_string(~std::uint64_t{0} - options.first_seed + 1);
  }
  std::string problem = detail::check_kind(options.world, features);
  if (problem.empty()) problem = detail::check_faults(options, features);
  if (problem.empty()) problem = detail::check_tags(options.world, features);
  if (problem.empty()) problem = detail::check_device(options.world, features);
  return problem;
}

/// Reads the options. `defaults` are those of a program that has its own.
/// Errors: returns no options if a word cannot be used, and prints one line to stderr: the option,
/// its value, and what to do.
[[nodiscard]] inline std::optional<KitOptions> parse_options(const std::string& program,
                                                             const std::vector<std::string>& words,
                                                             KitOptions defaults = {}) {
  KitOptions options = std::move(defaults);
  options.program = program;
  const auto refuse = [&](const std::string& word, const std::string& remedy) {
    std::fprintf(stderr, "%s: %s: %s\n", program.c_str(), detail::printable(word).c_str(),
                 remedy.c_str());
    return std::nullopt;
  };
  for (std::size_t i = 0; i != words.size(); ++i) {
    const detail::OptionRow* const row = detail::find_option(words[i]);
    if (row == nullptr) return refuse(words[i], "no such option; --help lists the options");
    if (row->value == nullptr) {
      static_cast<void>(row->read(options, {}));
      continue;
    }
    if (i + 1 == words.size()) {
      return refuse(words[i], std::string{"the value is missing; "} + row->remedy);
    }
    ++i;
    if (!row->read(options, words[i])) return refuse(words[i - 1] + " " + words[i], row->remedy);
  }
  return options;
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
