// SPDX-License-Identifier: BSL-1.0
//
// The parameters of a null block disk: one table, beside the names that rnull and null_blk use.

#ifndef NULL_BLOCK_CONFIG_HPP
#define NULL_BLOCK_CONFIG_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/number.hpp"

namespace null_block {

/// How a request ends, after the driver has done its work in queue_rq.
enum class Completion : std::uint8_t {
  none,     ///< In queue_rq.
  softirq,  ///< In the hook `complete`, which the request's context calls later.
  timer,    ///< When a timer fires, `completion_nsec` later. The timer owns the request.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(Completion completion) noexcept {
  switch (completion) {
    case Completion::none: return "none";
    case Completion::softirq: return "softirq";
    case Completion::timer: return "timer";
  }
  return "unknown";
}

/// No node: memory comes from anywhere.
inline constexpr std::uint64_t no_node = ~std::uint64_t{0};

/// The values of all parameters. A flag is 0 or 1. See `parameters` for the ranges.
struct Config {
  // The disk.
  std::uint64_t size = std::uint64_t{256} << 20;  ///< In bytes.
  std::uint64_t blocksize = 4096;                 ///< In bytes.
  std::uint64_t rotational = 0;
  std::uint64_t read_only = 0;
  // What is behind it.
  std::uint64_t memory_backed = 0;  ///< 0: writes are dropped, and reads leave the memory alone.
  std::uint64_t memory_limit = 0;   ///< In bytes, of all pages. 0: none.
  std::uint64_t cache_size = 0;     ///< In bytes, of the volatile cache. 0: no cache.
  std::uint64_t fua = 1;            ///< With a cache, the disk has FUA.
  // Completions.
  std::uint64_t completion = 0;  ///< A Completion.
  std::uint64_t completion_nsec = 10'000;
  std::uint64_t timeout_ms = 30'000;
  // Queues.
  std::uint64_t submit_queues = 1;
  std::uint64_t max_submit_queues = 16;  ///< The most that `set submit_queues` may give.
  std::uint64_t use_per_node_hctx = 0;   ///< A queue for each node, instead of submit_queues.
  std::uint64_t poll_queues = 0;
  std::uint64_t hw_queue_depth = 64;
  std::uint64_t shared_tags = 0;        ///< The disks of one process draw from one set of tags.
  std::uint64_t shared_tag_bitmap = 0;  ///< The queues of the disk do.
  std::uint64_t no_sched = 1;
  std::uint64_t blocking = 0;
  std::uint64_t home_node = no_node;  ///< Of the pages.
  // Limits.
  std::uint64_t discard = 0;
  std::uint64_t discard_granularity = 0;  ///< In bytes, as the next two. 0: the block.
  std::uint64_t discard_alignment = 0;
  std::uint64_t max_discard = std::uint64_t{1} << 30;  ///< In bytes, of one request.
  std::uint64_t write_zeroes = 0;
  std::uint64_t write_zeroes_granularity = 0;
  std::uint64_t write_zeroes_alignment = 0;
  std::uint64_t max_write_zeroes = std::uint64_t{1} << 30;
  std::uint64_t max_sectors = 2560;
  std::uint64_t virt_boundary = 0;  ///< Pieces of memory meet at pages only.
  std::uint64_t chunk_sectors = 0;
  // Zones.
  std::uint64_t zoned = 0;
  std::uint64_t zone_size = std::uint64_t{256} << 20;  ///< In bytes.
  std::uint64_t zone_capacity = 0;                     ///< In bytes. 0: all of the zone.
  std::uint64_t zone_nr_conv = 0;                 ///< Conventional zones at the disk's beginning.
  std::uint64_t zone_max_open = 0;                ///< 0: no limit.
  std::uint64_t zone_max_active = 0;              ///< Open or closed zones. 0: no limit.
  std::uint64_t zone_append_max_sectors = 65536;  ///< At most max_sectors. 0: no append.
  std::uint64_t zone_full = 0;                    ///< The zones of a new disk are full.
  // Faults.
  std::uint64_t badblocks_once = 0;        ///< A bad range is good after its first error.
  std::uint64_t badblocks_partial_io = 0;  ///< What lies before the bad range is transferred.
  std::uint64_t mbps = 0;                  ///< Bandwidth in MiB a second. 0: no limit.
  std::uint64_t fault_seed = 1;
  std::uint64_t timeout_probability = 0;  ///< In percent, as those below.
  std::uint64_t timeout_interval = 1;     ///< Of so many chances, one is considered.
  std::uint64_t timeout_times = 0;        ///< The most faults. 0: no limit.
  std::uint64_t requeue_probability = 0;
  std::uint64_t requeue_interval = 1;
  std::uint64_t requeue_times = 0;
  std::uint64_t init_hctx_probability = 0;
  std::uint64_t init_hctx_interval = 1;
  std::uint64_t init_hctx_times = 0;

  friend constexpr bool operator==(const Config&, const Config&) = default;
};

/// How the value of a parameter is written.
enum class Form : std::uint8_t {
  number,
  size,        ///< A number of bytes, with k, m or g behind it.
  flag,        ///< 0 or 1.
  completion,  ///< A Completion's name or its number.
  node,        ///< A number, or none.
};

/// When a parameter may change.
enum class Change : std::uint8_t {
  never,  ///< At the start only.
  live,   ///< While the disk is up, too.
};

/// One parameter.
struct Parameter {
  const char* key;
  const char* rnull;     ///< The name of rnull's attribute, if it has one.
  const char* null_blk;  ///< The name of null_blk's parameter or attribute, if it has one.
  std::uint64_t Config::* value;
  Form form;
  std::uint64_t min;
  std::uint64_t max;
  Change change;
  bool is_power_of_2 = false;
};

namespace detail {

inline constexpr std::uint64_t max_size = std::uint64_t{1} << 46;
inline constexpr std::uint64_t max_number = std::uint64_t{1} << 62;

}  // namespace detail

/// All parameters. Sizes are in MiB in rnull and null_blk, and in bytes here.
inline constexpr Parameter parameters[] = {
    {"size", "size", "gb, size", &Config::size, Form::size, 512, detail::max_size, Change::never},
    {"blocksize", "blocksize", "bs, blocksize", &Config::blocksize, Form::size, 512, 65536,
     Change::never, true},
    {"rotational", "rotational", "rotational", &Config::rotational, Form::flag, 0, 1,
     Change::never},
    {"read_only", "", "", &Config::read_only, Form::flag, 0, 1, Change::live},
    {"memory_backed", "memory_backed", "memory_backed", &Config::memory_backed, Form::flag, 0, 1,
     Change::never},
    {"memory_limit", "", "", &Config::memory_limit, Form::size, 0, detail::max_size, Change::live},
    {"cache_size", "cache_size_mib", "cache_size", &Config::cache_size, Form::size, 0,
     detail::max_size, Change::never},
    {"fua", "fua", "fua", &Config::fua, Form::flag, 0, 1, Change::never},
    {"completion", "irqmode", "irqmode", &Config::completion, Form::completion, 0, 2, Change::live},
    {"completion_nsec", "completion_nsec", "completion_nsec", &Config::completion_nsec,
     Form::number, 0, 1'000'000'000'000, Change::live},
    {"timeout_ms", "", "", &Config::timeout_ms, Form::number, 0, 1'000'000'000, Change::never},
    {"submit_queues", "submit_queues", "submit_queues", &Config::submit_queues, Form::number, 1,
     256, Change::live},
    {"max_submit_queues", "", "", &Config::max_submit_queues, Form::number, 1, 256, Change::never},
    {"use_per_node_hctx", "use_per_node_hctx", "use_per_node_hctx", &Config::use_per_node_hctx,
     Form::flag, 0, 1, Change::never},
    {"poll_queues", "poll_queues", "poll_queues", &Config::poll_queues, Form::number, 0, 256,
     Change::never},
    {"hw_queue_depth", "hw_queue_depth", "hw_queue_depth", &Config::hw_queue_depth, Form::number, 1,
     4096, Change::never},
    {"shared_tags", "shared_tags", "shared_tags", &Config::shared_tags, Form::flag, 0, 1,
     Change::never},
    {"shared_tag_bitmap", "shared_tag_bitmap", "shared_tag_bitmap", &Config::shared_tag_bitmap,
     Form::flag, 0, 1, Change::never},
    // The block layer has no scheduler: it issues in the order of the submits.
    {"no_sched", "no_sched", "no_sched", &Config::no_sched, Form::number, 1, 1, Change::never},
    {"blocking", "blocking", "blocking", &Config::blocking, Form::flag, 0, 1, Change::never},
    {"home_node", "home_node", "home_node", &Config::home_node, Form::node, 0, 1023, Change::never},
    {"discard", "discard", "discard", &Config::discard, Form::flag, 0, 1, Change::live},
    {"discard_granularity", "", "", &Config::discard_granularity, Form::size, 0, 1 << 30,
     Change::live},
    {"discard_alignment", "", "", &Config::discard_alignment, Form::size, 0, 1 << 30, Change::live},
    {"max_discard", "", "", &Config::max_discard, Form::size, 512, detail::max_size, Change::live},
    {"write_zeroes", "", "", &Config::write_zeroes, Form::flag, 0, 1, Change::live},
    {"write_zeroes_granularity", "", "", &Config::write_zeroes_granularity, Form::size, 0, 1 << 30,
     Change::live},
    {"write_zeroes_alignment", "", "", &Config::write_zeroes_alignment, Form::size, 0, 1 << 30,
     Change::live},
    {"max_write_zeroes", "", "", &Config::max_write_zeroes, Form::size, 512, detail::max_size,
     Change::live},
    {"max_sectors", "max_sectors", "max_sectors", &Config::max_sectors, Form::number, 1, 65536,
     Change::live},
    {"virt_boundary", "virt_boundary", "virt_boundary", &Config::virt_boundary, Form::flag, 0, 1,
     Change::live},
    {"chunk_sectors", "", "", &Config::chunk_sectors, Form::number, 0, 1 << 21, Change::live},
    {"zoned", "zoned", "zoned", &Config::zoned, Form::flag, 0, 1, Change::never},
    {"zone_size", "zone_size", "zone_size", &Config::zone_size, Form::size, 512, detail::max_size,
     Change::never},
    {"zone_capacity", "zone_capacity", "zone_capacity", &Config::zone_capacity, Form::size, 0,
     detail::max_size, Change::never},
    {"zone_nr_conv", "zone_nr_conv", "zone_nr_conv", &Config::zone_nr_conv, Form::number, 0,
     1 << 20, Change::never},
    {"zone_max_open", "zone_max_open", "zone_max_open", &Config::zone_max_open, Form::number, 0,
     1 << 20, Change::never},
    {"zone_max_active", "zone_max_active", "zone_max_active", &Config::zone_max_active,
     Form::number, 0, 1 << 20, Change::never},
    {"zone_append_max_sectors", "zone_append_max_sectors", "zone_append_max_sectors",
     &Config::zone_append_max_sectors, Form::number, 0, 65536, Change::live},
    {"zone_full", "", "zone_full", &Config::zone_full, Form::flag, 0, 1, Change::never},
    {"badblocks_once", "badblocks_once", "badblocks_once", &Config::badblocks_once, Form::flag, 0,
     1, Change::live},
    {"badblocks_partial_io", "badblocks_partial_io", "badblocks_partial_io",
     &Config::badblocks_partial_io, Form::flag, 0, 1, Change::live},
    {"mbps", "mbps", "mbps", &Config::mbps, Form::number, 0, 1 << 20, Change::live},
    {"fault_seed", "", "", &Config::fault_seed, Form::number, 0, detail::max_number, Change::live},
    {"timeout_probability", "timeout_inject", "timeout", &Config::timeout_probability, Form::number,
     0, 100, Change::live},
    {"timeout_interval", "timeout_inject", "timeout", &Config::timeout_interval, Form::number, 1,
     detail::max_number, Change::live},
    {"timeout_times", "timeout_inject", "timeout", &Config::timeout_times, Form::number, 0,
     detail::max_number, Change::live},
    {"requeue_probability", "requeue_inject", "requeue", &Config::requeue_probability, Form::number,
     0, 100, Change::live},
    {"requeue_interval", "requeue_inject", "requeue", &Config::requeue_interval, Form::number, 1,
     detail::max_number, Change::live},
    {"requeue_times", "requeue_inject", "requeue", &Config::requeue_times, Form::number, 0,
     detail::max_number, Change::live},
    {"init_hctx_probability", "init_hctx_inject", "init_hctx", &Config::init_hctx_probability,
     Form::number, 0, 100, Change::live},
    {"init_hctx_interval", "init_hctx_inject", "init_hctx", &Config::init_hctx_interval,
     Form::number, 1, detail::max_number, Change::live},
    {"init_hctx_times", "init_hctx_inject", "init_hctx", &Config::init_hctx_times, Form::number, 0,
     detail::max_number, Change::live},
};

/// Why a value was refused, in words: "blocksize=3: give a power of 2 from 512 to 65536".
struct ConfigError {
  std::string text;
};

/// The parameter of this name, or null.
[[nodiscard]] inline const Parameter* find_parameter(std::string_view key) noexcept {
  for (const Parameter& each : parameters) {
    if (key == each.key) return &each;
  }
  return nullptr;
}

/// The values that a parameter may have, in words.
[[nodiscard]] inline std::string allowed(const Parameter& parameter) {
  const std::string range =
      parameter.min == parameter.max
          ? std::to_string(parameter.min)
          : "from " + std::to_string(parameter.min) + " to " + std::to_string(parameter.max);
  switch (parameter.form) {
    case Form::flag: return "0 or 1";
    case Form::completion: return "none, softirq or timer";
    case Form::node: return "none, or a number " + range;
    case Form::size: return (parameter.is_power_of_2 ? "a power of 2 " : "a size ") + range;
    case Form::number: break;
  }
  return "a whole number " + range;
}

/// The value of a parameter, as it is written.
[[nodiscard]] inline std::string value_text(const Config& config, const Parameter& parameter) {
  const std::uint64_t value = config.*parameter.value;
  if (parameter.form == Form::completion) return to_string(static_cast<Completion>(value));
  if (parameter.form == Form::node && value == no_node) return "none";
  return std::to_string(value);
}

/// The error of a value that is not allowed.
[[nodiscard]] inline std::unexpected<ConfigError> refuse(std::string_view key,
                                                         std::string_view value,
                                                         std::string_view why) {
  return std::unexpected(
      ConfigError{std::string{key} + "=" + std::string{value} + ": " + std::string{why}});
}

namespace detail {

[[nodiscard]] inline std::optional<std::uint64_t> parse_value(const Parameter& parameter,
                                                              std::string_view text) {
  if (parameter.form == Form::completion) {
    for (const auto each : {Completion::none, Completion::softirq, Completion::timer}) {
      if (text == to_string(each)) return static_cast<std::uint64_t>(each);
    }
  }
  if (parameter.form == Form::node && text == "none") return no_node;
  const auto number = storage::parse_number(text, parameter.max, parameter.form == Form::size);
  if (!number || *number < parameter.min) return std::nullopt;
  if (parameter.is_power_of_2 && (*number & (*number - 1)) != 0) return std::nullopt;
  return number;
}

}  // namespace detail

/// Sets one parameter.
/// Errors: the key is unknown, or the value is not allowed.
[[nodiscard]] inline std::expected<void, ConfigError> set_parameter(Config& config,
                                                                    std::string_view key,
                                                                    std::string_view value) {
  const Parameter* const parameter = find_parameter(key);
  if (parameter == nullptr) return refuse(key, value, "there is no such parameter; see show");
  const auto number = detail::parse_value(*parameter, value);
  if (!number) return refuse(key, value, "give " + allowed(*parameter));
  config.*(parameter->value) = *number;
  return {};
}

/// Checks the parameters of zones.
[[nodiscard]] inline std::expected<void, ConfigError> check_zones(const Config& config) {
  if (config.zoned == 0) return {};
  const auto refuse_value = [](const char* key, std::uint64_t value, const std::string& why) {
    return refuse(key, std::to_string(value), why);
  };
  const std::string block = "give a multiple of blocksize=" + std::to_string(config.blocksize);
  if (config.zone_size % config.blocksize != 0)
    return refuse_value("zone_size", config.zone_size, block);
  if (config.zone_capacity % config.blocksize != 0)
    return refuse_value("zone_capacity", config.zone_capacity, block);
  if (config.zone_capacity > config.zone_size) {
    return refuse_value("zone_capacity", config.zone_capacity,
                        "give at most zone_size=" + std::to_string(config.zone_size));
  }
  const std::uint64_t zones = (config.size + config.zone_size - 1) / config.zone_size;
  if (zones > 1 << 20) {
    return refuse_value("zone_size", config.zone_size,
                        "the disk would have more than 1048576 zones");
  }
  if (config.zone_nr_conv >= zones) {
    return refuse_value("zone_nr_conv", config.zone_nr_conv,
                        "give less than the number of zones, " + std::to_string(zones));
  }
  if (config.zone_max_active != 0 && config.zone_max_open > config.zone_max_active) {
    return refuse_value("zone_max_open", config.zone_max_open,
                        "give at most zone_max_active=" + std::to_string(config.zone_max_active));
  }
  for (const char* const key : {"discard", "write_zeroes", "chunk_sectors"}) {
    const std::uint64_t value = config.*(find_parameter(key)->value);
    if (value != 0) return refuse_value(key, value, "not with zoned=1");
  }
  return {};
}

/// Checks what the ranges of single parameters do not say.
[[nodiscard]] inline std::expected<void, ConfigError> check_config(const Config& config) {
  const auto refuse_size = [](const char* key, std::uint64_t value, const std::string& why) {
    return refuse(key, std::to_string(value), why);
  };
  const std::string block = "give a multiple of blocksize=" + std::to_string(config.blocksize);
  if (config.size % config.blocksize != 0) return refuse_size("size", config.size, block);
  for (const char* const key :
       {"discard_granularity", "discard_alignment", "max_discard", "write_zeroes_granularity",
        "write_zeroes_alignment", "max_write_zeroes"}) {
    const std::uint64_t value = config.*(find_parameter(key)->value);
    if (value % config.blocksize != 0) return refuse_size(key, value, block);
  }
  if (config.cache_size != 0 && config.memory_backed == 0) {
    return refuse_size("cache_size", config.cache_size, "needs memory_backed=1");
  }
  if (config.memory_limit != 0 && config.memory_backed == 0) {
    return refuse_size("memory_limit", config.memory_limit, "needs memory_backed=1");
  }
  if (config.submit_queues > config.max_submit_queues) {
    return refuse_size(
        "submit_queues", config.submit_queues,
        "give at most max_submit_queues=" + std::to_string(config.max_submit_queues));
  }
  if (config.timeout_probability != 0 && config.timeout_ms == 0) {
    return refuse_size("timeout_probability", config.timeout_probability,
                       "a request that is lost needs a timeout_ms other than 0");
  }
  return check_zones(config);
}

/// Makes a configuration of KEY=VALUE, separated by commas, and of `config` for the other keys.
/// Errors: the first that is wrong, or given twice.
[[nodiscard]] inline std::expected<Config, ConfigError> parse_config(std::string_view text,
                                                                     Config config = {}) {
  std::vector<std::string_view> keys;
  for (bool is_last = text.empty(); !is_last;) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    is_last = comma == text.npos;
    text.remove_prefix(is_last ? text.size() : comma + 1);
    const std::size_t equals = part.find('=');
    if (equals == part.npos) {
      return std::unexpected(ConfigError{"'" + std::string{part} + "': give KEY=VALUE"});
    }
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(equals + 1);
    if (const auto set = set_parameter(config, key, value); !set) {
      return std::unexpected(set.error());
    }
    if (std::ranges::find(keys, key) != keys.end()) {
      return refuse(key, value, "give each parameter once");
    }
    keys.push_back(key);
  }
  const auto checked = check_config(config);
  if (!checked) return std::unexpected(checked.error());
  return config;
}

}  // namespace null_block

#endif
