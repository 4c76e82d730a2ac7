// SPDX-License-Identifier: BSL-1.0
//
// Zones: the zones of a zoned disk, as a state machine without data and without locks.
//
// Parties: one caller at a time, such as a driver under a lock, which asks before it moves data.
//
//   begin_write   answers where a write or an append goes, and opens the zone. The caller writes
//                 the data there, under the same lock.
//   end_write     moves the write pointer behind the sectors that were written: all, or fewer if
//                 the medium failed.
//   open, close, finish, reset    the zone management of a host.
//   set_offline, set_read_only, set_online    what a device does to a zone of its own accord.
//
// Guarantees: at most max_open zones are open and at most max_active are open or closed. To open
// one zone more, a zone that a write has opened (implicitly) is closed. Without one, the host gets
// zone_open_resource; with too many active zones, zone_active_resource. A refused call changes
// nothing.
//
// Source: NVMe's Zoned Namespaces and ZBC. Where they differ, this is ZBC as null_blk has it: a
// zone that is closed at its start becomes empty, and to finish an empty or a closed zone takes an
// open one. Unlike null_blk, a zone is closed for a closed zone also if all active zones are in
// use, because the number of active zones does not change.

#ifndef NULL_BLOCK_ZONES_HPP
#define NULL_BLOCK_ZONES_HPP

#include <algorithm>
#include <array>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <vector>

namespace null_block {

/// The geometry of a zoned disk and its limits.
/// Precondition: zone_sectors is not 0, and zone_capacity_sectors is at most zone_sectors.
struct ZoneLayout {
  std::uint64_t capacity_sectors = 0;  ///< Of the disk. The last zone may be shorter than others.
  std::uint64_t zone_sectors = 0;      ///< From the start of one zone to that of the next.
  std::uint64_t zone_capacity_sectors = 0;  ///< The sectors of a zone that can be written. 0: all.
  std::uint32_t conventional_zones = 0;     ///< Zones at the disk's beginning, without an order.
  std::uint32_t max_open = 0;               ///< 0: no limit.
  std::uint32_t max_active = 0;             ///< Open or closed zones. 0: no limit.
  bool is_full = false;                     ///< The zones with an order are full at first.
};

/// The state of a zone.
enum class ZoneState : std::uint8_t {
  empty,
  implicit_open,
  explicit_open,
  closed,
  full,
  read_only,
  offline,
  conventional,
};
/// The number of enumerators.
inline constexpr std::size_t zone_state_count =
    static_cast<std::size_t>(ZoneState::conventional) + 1;

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ZoneState state) noexcept {
  switch (state) {
    case ZoneState::empty: return "empty";
    case ZoneState::implicit_open: return "implicit_open";
    case ZoneState::explicit_open: return "explicit_open";
    case ZoneState::closed: return "closed";
    case ZoneState::full: return "full";
    case ZoneState::read_only: return "read_only";
    case ZoneState::offline: return "offline";
    case ZoneState::conventional: return "conventional";
  }
  return "unknown state";
}

/// One zone.
struct ZoneEntry {
  /// The write pointer of a zone that has none: conventional, read_only or offline.
  static constexpr std::uint64_t no_pointer = ~std::uint64_t{0};

  std::uint64_t start = 0;
  std::uint64_t length = 0;
  std::uint64_t capacity = 0;
  std::uint64_t pointer = 0;  ///< The sector of the next write. Of a full zone: the zone's end.
  ZoneState state = ZoneState::empty;
  friend constexpr bool operator==(const ZoneEntry&, const ZoneEntry&) = default;
};

/// The zones of one disk.
class Zones {
 public:
  using Status = blkown::Status;

  /// The zones of a new disk: conventional ones, then empty or full ones.
  explicit Zones(const ZoneLayout& layout) : layout_{layout} {
    if (layout_.zone_capacity_sectors == 0) layout_.zone_capacity_sectors = layout_.zone_sectors;
    for (std::uint64_t start = 0; start < layout.capacity_sectors; start += layout.zone_sectors) {
      const std::uint64_t length = std::min(layout.zone_sectors, layout.capacity_sectors - start);
      const bool is_conventional = zones_.size() < layout.conventional_zones;
      zones_.push_back(
          {.start = start,
           .length = length,
           .capacity = is_conventional ? length : std::min(length, layout_.zone_capacity_sectors),
           .pointer = is_conventional ? ZoneEntry::no_pointer : start,
           .state = is_conventional ? ZoneState::conventional : ZoneState::empty});
      ++counts_[static_cast<std::size_t>(zones_.back().state)];
      if (layout.is_full && !is_conventional) fill(zones_.back());
    }
  }

  [[nodiscard]] const ZoneLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(zones_.size());
  }
  /// Precondition: index < count(); as in all functions with an index.
  [[nodiscard]] const ZoneEntry& zone(std::uint32_t index) const noexcept { return zones_[index]; }
  /// The index of the zone that holds the sector.
  [[nodiscard]] std::uint32_t index_of(std::uint64_t sector) const noexcept {
    return static_cast<std::uint32_t>(sector / layout_.zone_sectors);
  }
  /// The zones that are open, and those that are open or closed.
  [[nodiscard]] std::uint32_t open_count() const noexcept {
    return count_of(ZoneState::implicit_open) + count_of(ZoneState::explicit_open);
  }
  [[nodiscard]] std::uint32_t active_count() const noexcept {
    return open_count() + count_of(ZoneState::closed);
  }

  // --- data; the range is not empty and lies in one zone ----------------------------------------

  /// The status of a read.
  [[nodiscard]] Status check_read(std::uint64_t sector) const noexcept {
    return zones_[index_of(sector)].state == ZoneState::offline ? Status::io_error : Status::ok;
  }

  /// Opens the zone for a write. Returns the first sector of the write: `sector`, or for an append
  /// to the zone that begins there the write pointer.
  /// Errors: io_error, if the zone cannot be written, the range does not begin at the write pointer
  /// or exceeds the capacity, or a conventional zone is appended to; zone_open_resource or
  /// zone_active_resource.
  [[nodiscard]] std::expected<std::uint64_t, Status> begin_write(std::uint64_t sector,
                                                                 std::uint64_t sectors,
                                                                 bool is_append) {
    ZoneEntry& zone = zones_[index_of(sector)];
    if (zone.state == ZoneState::conventional) {
      if (is_append) return std::unexpected(Status::io_error);
      return sector;
    }
    if (!is_active(zone.state) && zone.state != ZoneState::empty)
      return std::unexpected(Status::io_error);
    const std::uint64_t first = is_append ? zone.pointer : sector;
    const bool fits = sectors <= zone.start + zone.capacity - zone.pointer;
    if (first != zone.pointer || !fits) return std::unexpected(Status::io_error);
    if (!is_open(zone.state)) {
      const Status status = take_resources(zone);
      if (status != Status::ok) return std::unexpected(status);
      set_state(zone, ZoneState::implicit_open);
    }
    return first;
  }

  /// Moves the write pointer behind `sectors` sectors that were written at `first`.
  /// Precondition: begin_write() has returned `first`, nothing has changed the zone since, and
  /// `sectors` is at most what was passed there.
  void end_write(std::uint64_t first, std::uint64_t sectors) noexcept {
    ZoneEntry& zone = zones_[index_of(first)];
    if (zone.state == ZoneState::conventional) return;
    zone.pointer += sectors;
    if (zone.pointer == zone.start + zone.capacity) fill(zone);
  }

  // --- zone management --------------------------------------------------------------------------

  /// Opens a zone until the host closes it.
  /// Errors: io_error, if the zone is not one that can be opened; zone_open_resource;
  /// zone_active_resource.
  [[nodiscard]] Status open(std::uint32_t index) {
    ZoneEntry& zone = zones_[index];
    if (zone.state == ZoneState::explicit_open) return Status::ok;
    if (!is_active(zone.state) && zone.state != ZoneState::empty) return Status::io_error;
    if (zone.state != ZoneState::implicit_open) {
      const Status status = take_resources(zone);
      if (status != Status::ok) return status;
    }
    set_state(zone, ZoneState::explicit_open);
    return Status::ok;
  }
  /// Closes a zone that is open.
  /// Errors: io_error, if it is neither open nor closed.
  [[nodiscard]] Status close(std::uint32_t index) noexcept {
    ZoneEntry& zone = zones_[index];
    if (!is_active(zone.state)) return Status::io_error;
    if (is_open(zone.state)) close_open(zone);
    return Status::ok;
  }
  /// Makes a zone full.
  /// Errors: as open().
  [[nodiscard]] Status finish(std::uint32_t index) {
    ZoneEntry& zone = zones_[index];
    if (zone.state == ZoneState::full) return Status::ok;
    if (!is_active(zone.state) && zone.state != ZoneState::empty) return Status::io_error;
    if (!is_open(zone.state)) {
      const Status status = take_resources(zone);
      if (status != Status::ok) return status;
    }
    fill(zone);
    return Status::ok;
  }
  /// Makes a zone empty. The caller forgets the zone's data.
  /// Errors: io_error, if the zone is conventional, read-only or offline.
  [[nodiscard]] Status reset(std::uint32_t index) noexcept {
    if (!can_reset(index)) return Status::io_error;
    empty(zones_[index]);
    return Status::ok;
  }
  /// Whether reset() makes the zone empty. A reset of all zones passes by the others.
  [[nodiscard]] bool can_reset(std::uint32_t index) const noexcept {
    const ZoneState state = zones_[index].state;
    return state != ZoneState::conventional && state != ZoneState::read_only &&
           state != ZoneState::offline;
  }

  // --- the device's own changes -----------------------------------------------------------------

  /// The zone can no longer be read or written. Returns false for a conventional zone.
  [[nodiscard]] bool set_offline(std::uint32_t index) noexcept {
    return retire(zones_[index], ZoneState::offline);
  }
  /// The zone can no longer be written. Returns false for a conventional zone.
  [[nodiscard]] bool set_read_only(std::uint32_t index) noexcept {
    return retire(zones_[index], ZoneState::read_only);
  }
  /// Makes a zone that is read-only or offline empty. The caller forgets its data. Returns false if
  /// the zone is neither.
  [[nodiscard]] bool set_online(std::uint32_t index) noexcept {
    ZoneEntry& zone = zones_[index];
    if (zone.state != ZoneState::read_only && zone.state != ZoneState::offline) return false;
    empty(zone);
    return true;
  }

 private:
  [[nodiscard]] static bool is_open(ZoneState state) noexcept {
    return state == ZoneState::implicit_open || state == ZoneState::explicit_open;
  }
  [[nodiscard]] static bool is_active(ZoneState state) noexcept {
    return is_open(state) || state == ZoneState::closed;
  }

  [[nodiscard]] std::uint32_t count_of(ZoneState state) const noexcept {
    return counts_[static_cast<std::size_t>(state)];
  }
  void set_state(ZoneEntry& zone, ZoneState state) noexcept {
    --counts_[static_cast<std::size_t>(zone.state)];
    ++counts_[static_cast<std::size_t>(state)];
    zone.state = state;
  }
  void fill(ZoneEntry& zone) noexcept {
    set_state(zone, ZoneState::full);
    zone.pointer = zone.start + zone.length;
  }
  void empty(ZoneEntry& zone) noexcept {
    set_state(zone, ZoneState::empty);
    zone.pointer = zone.start;
  }
  void close_open(ZoneEntry& zone) noexcept {
    set_state(zone, zone.pointer == zone.start ? ZoneState::empty : ZoneState::closed);
  }
  [[nodiscard]] bool retire(ZoneEntry& zone, ZoneState state) noexcept {
    if (zone.state == ZoneState::conventional) return false;
    set_state(zone, state);
    zone.pointer = ZoneEntry::no_pointer;
    return true;
  }

  /// Makes room for one open zone more: `zone`, which is empty or closed.
  [[nodiscard]] Status take_resources(const ZoneEntry& zone) noexcept {
    const bool is_new = zone.state == ZoneState::empty;
    if (is_new && layout_.max_active != 0 && active_count() >= layout_.max_active)
      return Status::zone_active_resource;
    if (layout_.max_open == 0 || open_count() < layout_.max_open) return Status::ok;
    if (count_of(ZoneState::implicit_open) == 0) return Status::zone_open_resource;
    close_next_implicit();
    return Status::ok;
  }
  /// Closes the next zone in order, behind the one that was closed last, that a write has opened.
  void close_next_implicit() noexcept {
    while (zones_[next_to_close_].state != ZoneState::implicit_open) step();
    close_open(zones_[next_to_close_]);
    step();
  }
  void step() noexcept { next_to_close_ = next_to_close_ + 1 == count() ? 0 : next_to_close_ + 1; }

  ZoneLayout layout_;
  std::vector<ZoneEntry> zones_;
  std::array<std::uint32_t, zone_state_count> counts_{};  // of the zones in each state
  std::uint32_t next_to_close_ = 0;
};

}  // namespace null_block

#endif
