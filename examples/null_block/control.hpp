// SPDX-License-Identifier: BSL-1.0
//
// The commands of the control socket: one line each.

#ifndef NULL_BLOCK_CONTROL_HPP
#define NULL_BLOCK_CONTROL_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config.hpp"
#include "null_block.hpp"
#include "storage/number.hpp"

namespace null_block {

/// The commands, for users.
inline constexpr const char* command_text =
    R"(show                     all parameters, and the disk's state
set KEY VALUE            changes a parameter; set badblocks +FIRST-LAST or -FIRST-LAST
power off [SEED]         a power cut: SEED chooses what the cache has written back; without: nothing
power on
zones                    the zones that are not empty, 1000 at most
zone offline ZONES       what a worn-out device does: ZONES is 5 or 5-7; also zone readonly,
                         and zone online, which makes them empty again
help
)";

namespace detail {

/// The words of a line.
[[nodiscard]] inline std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view blanks = " \t\r";
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = line.find_first_not_of(blanks);
    if (begin == line.npos) return words;
    line.remove_prefix(begin);
    const std::string_view word = line.substr(0, line.find_first_of(blanks));
    words.push_back(word);
    line.remove_prefix(word.size());
  }
}

template <class Rt>
[[nodiscard]] std::string show(NullDisk<Rt>& disk) {
  std::string text;
  const auto add = [&](const std::string& key, const std::string& value) {
    text += key + "=" + value + "\n";
  };
  for (const Parameter& each : parameters) add(each.key, value_text(disk.config(), each));
  Device& device = disk.device();
  add("badblocks", device.bad_blocks.text());
  if (device.store.has_value()) {
    add("power", device.store->has_power() ? "on" : "off");
    add("memory_used", std::to_string(device.store->used_bytes()));
    add("cached", std::to_string(device.store->cached_bytes()));
  }
  if (disk.config().shared_tags != 0) {
    // No transition. Relaxed: a number for a report.
    const auto disks = disk.disk().pool().data().disks->load(std::memory_order_relaxed);
    add("disks_with_these_tags", std::to_string(disks));
  }
  const mq::Counters counters = disk.disk().counters();
  add("bios_ended", std::to_string(counters.ended_bios));
  add("requests_in_flight", std::to_string(counters.in_flight()));
  add("requests_timed_out", std::to_string(counters.timed_out_requests));
  add("requests_requeued", std::to_string(counters.requeued_requests));
  for (std::size_t i = 0; i != counters.ended_by_status.size(); ++i) {
    if (counters.ended_by_status[i] == 0) continue;
    add(std::string{"ended_"} + to_string(static_cast<blkown::Status>(i)),
        std::to_string(counters.ended_by_status[i]));
  }
  return text;
}

template <class Rt>
[[nodiscard]] std::expected<std::string, ConfigError> set_power(
    NullDisk<Rt>& disk, const std::vector<std::string_view>& words) {
  const std::string_view to = words.size() > 1 ? words[1] : "";
  if (!disk.device().store.has_value()) {
    return std::unexpected(ConfigError{"power: needs memory_backed=1"});
  }
  if (to == "on" && words.size() == 2) {
    disk.power_on();
    return {};
  }
  const auto seed = words.size() == 3 ? storage::parse_number(words[2], max_number, false) : 0;
  if (to != "off" || words.size() > 3 || !seed) {
    return std::unexpected(ConfigError{"power: give on, off, or off SEED"});
  }
  disk.power_off(*seed);
  return {};
}

/// "zone 1: implicit_open, sectors 128 to 255, the next write at 132".
[[nodiscard]] inline std::string zone_text(std::uint64_t index, const mq::Zone& zone) {
  std::string text = "zone " + std::to_string(index) + ": " + to_string(zone.condition) +
                     ", sectors " + std::to_string(zone.start_sector) + " to " +
                     std::to_string(zone.start_sector + zone.length_sectors - 1);
  if (zone.write_pointer_sector < zone.start_sector + zone.capacity_sectors)
    text += ", the next write at " + std::to_string(zone.write_pointer_sector);
  return text + "\n";
}

template <class Rt>
[[nodiscard]] std::string show_zones(NullDisk<Rt>& disk) {
  constexpr unsigned max_zones = 1000;
  std::string text;
  unsigned printed = 0;
  mq::Zone zone;
  std::uint64_t index = 0;
  for (std::uint64_t sector = 0; printed != max_zones; sector += zone.length_sectors, ++index) {
    if (disk.disk().report_zones(sector, {&zone, 1}) == 0) break;
    if (zone.condition == mq::Zone::Condition::empty) continue;
    text += zone_text(index, zone);
    ++printed;
  }
  return text;
}

template <class Rt>
[[nodiscard]] std::expected<std::string, ConfigError> set_zone(
    NullDisk<Rt>& disk, const std::vector<std::string_view>& words) {
  if (words.size() == 3) {
    for (const std::string_view to : {"offline", "readonly", "online"}) {
      if (words[1] != to) continue;
      const auto set = disk.set("zone_" + std::string{to}, words[2]);
      if (!set) return std::unexpected(set.error());
      return {};
    }
  }
  return std::unexpected(ConfigError{"zone: give offline, readonly or online, and ZONES"});
}

}  // namespace detail

/// Executes a command.
/// Errors: what is wrong with it, and what is allowed.
/// Context: one thread, and none of the runtime's.
template <class Rt>
[[nodiscard]] std::expected<std::string, ConfigError> execute_command(NullDisk<Rt>& disk,
                                                                      std::string_view line) {
  const auto words = detail::words_of(line);
  const std::string_view command = words.empty() ? "" : words.front();
  if (command == "show" && words.size() == 1) return detail::show(disk);
  if (command == "help" && words.size() == 1) return command_text;
  if (command == "power") return detail::set_power(disk, words);
  if (command == "zones" && words.size() == 1) return detail::show_zones(disk);
  if (command == "zone") return detail::set_zone(disk, words);
  if (command == "set") {
    if (words.size() != 3) return std::unexpected(ConfigError{"set: give KEY VALUE"});
    const auto set = disk.set(words[1], words[2]);
    if (!set) return std::unexpected(set.error());
    return {};
  }
  return std::unexpected(ConfigError{"'" + std::string{line} + "': see help"});
}

/// The answer to a command: its output, then a line `ok` or `error: TEXT`.
template <class Rt>
[[nodiscard]] std::string answer_to(NullDisk<Rt>& disk, std::string_view line) {
  const auto done = execute_command(disk, line);
  return done ? *done + "ok\n" : "error: " + done.error().text + "\n";
}

}  // namespace null_block

#endif
