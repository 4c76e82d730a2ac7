// SPDX-License-Identifier: BSL-1.0
//
// ZonedMedium: the zones of a disk with their lock, between the device's commands and its memory.
//
// A write holds the lock from the question where it goes until its data is there, so appends of
// several contexts follow one another without a gap, and a reset does not meet a write half-way. A
// write to a sequential zone is durable when it ends: a power cut leaves no hole below a write
// pointer. A read is not locked against a reset of its zone, as on a real device.

#ifndef NULL_BLOCK_ZONED_HPP
#define NULL_BLOCK_ZONED_HPP

#include <blkown/mq/driver.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>
#include <cstdint>
#include <expected>
#include <mutex>
#include <string>
#include <string_view>

#include "config.hpp"
#include "storage/number.hpp"
#include "zones.hpp"

namespace null_block {

/// The zones of a configuration with zoned=1.
[[nodiscard]] inline ZoneLayout zone_layout_of(const Config& config) {
  using blkown::mq::sector_bytes;
  return {.capacity_sectors = config.size / sector_bytes,
          .zone_sectors = config.zone_size / sector_bytes,
          .zone_capacity_sectors = config.zone_capacity / sector_bytes,
          .conventional_zones = static_cast<std::uint32_t>(config.zone_nr_conv),
          .max_open = static_cast<std::uint32_t>(config.zone_max_open),
          .max_active = static_cast<std::uint32_t>(config.zone_max_active),
          .is_full = config.zone_full != 0};
}

/// The block layer's word for a state.
[[nodiscard]] constexpr blkown::mq::Zone::Condition condition_of(ZoneState state) noexcept {
  using Condition = blkown::mq::Zone::Condition;
  switch (state) {
    case ZoneState::empty: return Condition::empty;
    case ZoneState::implicit_open: return Condition::implicit_open;
    case ZoneState::explicit_open: return Condition::explicit_open;
    case ZoneState::closed: return Condition::closed;
    case ZoneState::full: return Condition::full;
    case ZoneState::read_only: return Condition::read_only;
    case ZoneState::offline: return Condition::offline;
    case ZoneState::conventional: return Condition::not_write_pointer;
  }
  return Condition::offline;
}

/// What `set` can do to zones.
enum class ZoneChange : std::uint8_t { offline, readonly, online };

class ZonedMedium {
 public:
  using Status = blkown::Status;
  using Op = blkown::mq::Op;

  explicit ZonedMedium(const ZoneLayout& layout) : zones_{layout} {}

  /// The result of a part of a command that moves data.
  struct Moved {
    Status status = Status::ok;
    std::uint64_t sectors = 0;  ///< That reached the medium, from the first on.
  };

  /// Executes a write or an append. Calls `move(first)`, which writes from the sector `first` on.
  /// `sector` becomes the first sector.
  template <class Move>
  [[nodiscard]] Status write(std::uint64_t& sector, std::uint64_t sectors, bool is_append,
                             Move move) {
    const std::lock_guard lock{mutex_};
    const auto first = zones_.begin_write(sector, sectors, is_append);
    if (!first) return first.error();
    sector = *first;
    const Moved moved = move(*first);
    zones_.end_write(*first, moved.sectors);
    return moved.status;
  }
  /// The status of a read.
  [[nodiscard]] Status check_read(std::uint64_t sector) {
    const std::lock_guard lock{mutex_};
    return zones_.check_read(sector);
  }
  /// The geometry and the limits.
  [[nodiscard]] const ZoneLayout& layout() const noexcept { return zones_.layout(); }
  /// Whether a write to the sector has an order.
  [[nodiscard]] bool is_sequential(std::uint64_t sector) const noexcept {
    return zones_.index_of(sector) >= zones_.layout().conventional_zones;
  }
  /// Executes a command of zone management. Calls `forget(sector, sectors)` for each zone to be
  /// reset. If that fails, the zone keeps its state, and the command fails with its status.
  template <class Forget>
  [[nodiscard]] Status manage(Op op, std::uint64_t sector, Forget forget) {
    const std::lock_guard lock{mutex_};
    const std::uint32_t index = zones_.index_of(sector);
    switch (op) {
      case Op::zone_open: return zones_.open(index);
      case Op::zone_close: return zones_.close(index);
      case Op::zone_finish: return zones_.finish(index);
      case Op::zone_reset: return reset(index, forget);
      default: return reset_all(forget);
    }
  }
  /// Describes zones, as the hook report_zones does.
  [[nodiscard]] unsigned report(std::uint64_t sector, blkown::mq::Zone* zones, unsigned count) {
    const std::lock_guard lock{mutex_};
    unsigned described = 0;
    for (std::uint32_t i = zones_.index_of(sector); i < zones_.count() && described != count; ++i) {
      const ZoneEntry& zone = zones_.zone(i);
      zones[described++] = {.start_sector = zone.start,
                            .length_sectors = zone.length,
                            .capacity_sectors = zone.capacity,
                            .write_pointer_sector = zone.pointer,
                            .is_sequential = zone.state != ZoneState::conventional,
                            .condition = condition_of(zone.state)};
    }
    return described;
  }

  /// Takes zones offline, makes them read-only, or makes them empty again. `text` is an index or a
  /// range of them, "5" or "5-7". Calls `forget` as manage().
  /// Errors: the text names no zones, or one that cannot be changed: nothing is changed. `forget`
  /// has failed for a zone: it and those behind it are not changed.
  template <class Forget>
  [[nodiscard]] std::expected<void, ConfigError> change(ZoneChange change, std::string_view key,
                                                        std::string_view text, Forget forget) {
    const std::lock_guard lock{mutex_};
    const std::string_view first_text = text.substr(0, text.find('-'));
    const std::string_view last_text =
        first_text.size() == text.size() ? text : text.substr(first_text.size() + 1);
    const std::uint32_t last_zone = zones_.count() - 1;
    const auto first = storage::parse_number(first_text, last_zone, false);
    const auto last = storage::parse_number(last_text, last_zone, false);
    if (!first || !last || *last < *first) {
      return refuse(key, text,
                    "give a zone from 0 to " + std::to_string(last_zone) + ", or a range of zones");
    }
    for (auto i = static_cast<std::uint32_t>(*first); i <= *last; ++i) {
      if (can_change(i, change)) continue;
      return refuse(key, text,
                    "zone " + std::to_string(i) + " is " + to_string(zones_.zone(i).state));
    }
    for (auto i = static_cast<std::uint32_t>(*first); i <= *last; ++i) {
      const Status status = apply(i, change, forget);
      if (status == Status::ok) continue;
      return refuse(key, text, "zone " + std::to_string(i) + ": " + to_string(status));
    }
    return {};
  }

 private:
  template <class Forget>
  Status reset(std::uint32_t index, Forget& forget) {
    if (!zones_.can_reset(index)) return Status::io_error;
    const Status status = forget(zones_.zone(index).start, zones_.zone(index).length);
    return status == Status::ok ? zones_.reset(index) : status;
  }
  template <class Forget>
  Status reset_all(Forget& forget) {
    for (std::uint32_t i = 0; i != zones_.count(); ++i) {
      if (!zones_.can_reset(i)) continue;
      if (const Status status = reset(i, forget); status != Status::ok) return status;
    }
    return Status::ok;
  }

  [[nodiscard]] bool can_change(std::uint32_t index, ZoneChange change) const noexcept {
    const ZoneState state = zones_.zone(index).state;
    if (state == ZoneState::conventional) return false;
    return change != ZoneChange::online || state == ZoneState::offline ||
           state == ZoneState::read_only;
  }
  template <class Forget>
  [[nodiscard]] Status apply(std::uint32_t index, ZoneChange change, Forget& forget) {
    switch (change) {
      case ZoneChange::offline: static_cast<void>(zones_.set_offline(index)); break;
      case ZoneChange::readonly: static_cast<void>(zones_.set_read_only(index)); break;
      case ZoneChange::online:
        const Status status = forget(zones_.zone(index).start, zones_.zone(index).length);
        if (status != Status::ok) return status;
        static_cast<void>(zones_.set_online(index));
    }
    return Status::ok;
  }

  std::mutex mutex_;
  Zones zones_;
};

}  // namespace null_block

#endif
