// SPDX-License-Identifier: BSL-1.0
//
// The plain reference of a zoned disk: a few facts for each zone, from which every answer is worked
// out again by looking at all zones. It keeps no counts and no states.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONES_REFERENCE_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONES_REFERENCE_HPP

#include <algorithm>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "null_block/zones.hpp"

namespace zones_reference {

using blkown::Status;
using null_block::ZoneEntry;
using null_block::ZoneLayout;
using null_block::ZoneState;

/// What is known of a zone.
struct Facts {
  bool is_conventional = false;
  bool is_finished = false;
  bool is_closed = false;  // by the host or by the device, with data in it
  std::optional<bool> opened_by_host;
  std::optional<ZoneState> retired;
  std::uint64_t written = 0;
};

class Reference {
 public:
  explicit Reference(const ZoneLayout& layout) : layout_{layout} {
    if (layout_.zone_capacity_sectors == 0) layout_.zone_capacity_sectors = layout_.zone_sectors;
    zones_.resize((layout.capacity_sectors + layout.zone_sectors - 1) / layout.zone_sectors);
    for (std::size_t i = 0; i != std::min<std::size_t>(layout.conventional_zones, zones_.size());
         ++i) {
      zones_[i].is_conventional = true;
    }
  }

  [[nodiscard]] ZoneEntry zone(std::size_t index) const {
    const Facts& facts = zones_[index];
    ZoneEntry entry;
    entry.start = index * layout_.zone_sectors;
    entry.length = std::min(layout_.zone_sectors, layout_.capacity_sectors - entry.start);
    entry.capacity = facts.is_conventional ? entry.length
                                           : std::min(entry.length, layout_.zone_capacity_sectors);
    entry.state = state(index);
    entry.pointer = entry.start + facts.written;
    if (entry.state == ZoneState::full) entry.pointer = entry.start + entry.length;
    if (facts.is_conventional || facts.retired) entry.pointer = ZoneEntry::no_pointer;
    return entry;
  }
  [[nodiscard]] std::size_t open_count() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(zones_, [](const Facts& f) { return f.opened_by_host.has_value(); }));
  }
  [[nodiscard]] std::size_t active_count() const {
    return open_count() + static_cast<std::size_t>(std::ranges::count_if(
                              zones_, [](const Facts& f) { return f.is_closed; }));
  }

  /// The status of a command, all of whose sectors reach the medium.
  Status execute(blkown::mq::Op op, std::uint64_t sector, std::uint64_t sectors) {
    using blkown::mq::Op;
    const std::size_t index = sector / layout_.zone_sectors;
    switch (op) {
      case Op::write:
      case Op::zone_append: return write(sector, sectors, op == Op::zone_append, sectors);
      case Op::zone_open: return open(index);
      case Op::zone_close: return close(index);
      case Op::zone_finish: return finish(index);
      case Op::zone_reset: return reset(index);
      case Op::zone_reset_all: reset_all(); return Status::ok;
      case Op::read:
        return zones_[index].retired == ZoneState::offline ? Status::io_error : Status::ok;
      default: return Status::ok;
    }
  }
  /// The status of a write or an append, of which `written` sectors reach the medium.
  Status write(std::uint64_t sector, std::uint64_t sectors, bool is_append, std::uint64_t written) {
    const std::size_t index = sector / layout_.zone_sectors;
    Facts& facts = zones_[index];
    if (facts.is_conventional) return is_append ? Status::io_error : Status::ok;
    const ZoneEntry before = zone(index);
    if (facts.retired || before.state == ZoneState::full) return Status::io_error;
    if (!is_append && sector != before.pointer) return Status::io_error;
    if (facts.written + sectors > before.capacity) return Status::io_error;
    if (!facts.opened_by_host) {
      if (const Status status = make_room(index); status != Status::ok) return status;
      facts.opened_by_host = false;
      facts.is_closed = false;
    }
    facts.written += written;
    if (facts.written == before.capacity) finish_now(facts);
    return Status::ok;
  }
  Status open(std::size_t index) {
    Facts& facts = zones_[index];
    if (!is_writable(index)) return Status::io_error;
    if (!facts.opened_by_host) {
      if (const Status status = make_room(index); status != Status::ok) return status;
    }
    facts.opened_by_host = true;
    facts.is_closed = false;
    return Status::ok;
  }
  Status close(std::size_t index) {
    Facts& facts = zones_[index];
    if (facts.is_closed) return Status::ok;
    if (!facts.opened_by_host) return Status::io_error;
    close_now(facts);
    return Status::ok;
  }
  Status finish(std::size_t index) {
    Facts& facts = zones_[index];
    if (state(index) == ZoneState::full) return Status::ok;
    if (!is_writable(index)) return Status::io_error;
    if (!facts.opened_by_host) {
      if (const Status status = make_room(index); status != Status::ok) return status;
    }
    finish_now(facts);
    return Status::ok;
  }
  Status reset(std::size_t index) {
    if (zones_[index].is_conventional || zones_[index].retired) return Status::io_error;
    zones_[index] = {};
    return Status::ok;
  }
  void reset_all() {
    for (std::size_t i = 0; i != zones_.size(); ++i) reset(i);
  }
  bool retire(std::size_t index, ZoneState state) {
    if (zones_[index].is_conventional) return false;
    zones_[index] = {};
    zones_[index].retired = state;
    return true;
  }
  bool bring_back(std::size_t index) {
    if (!zones_[index].retired) return false;
    zones_[index] = {};
    return true;
  }

 private:
  [[nodiscard]] ZoneState state(std::size_t index) const {
    const Facts& facts = zones_[index];
    if (facts.is_conventional) return ZoneState::conventional;
    if (facts.retired) return *facts.retired;
    if (facts.is_finished) return ZoneState::full;
    if (facts.opened_by_host)
      return *facts.opened_by_host ? ZoneState::explicit_open : ZoneState::implicit_open;
    return facts.is_closed ? ZoneState::closed : ZoneState::empty;
  }
  [[nodiscard]] bool is_writable(std::size_t index) const {
    const Facts& facts = zones_[index];
    return !facts.is_conventional && !facts.retired && !facts.is_finished;
  }
  static void close_now(Facts& facts) {
    facts.opened_by_host.reset();
    facts.is_closed = facts.written != 0;
  }
  static void finish_now(Facts& facts) {
    facts = {};
    facts.is_finished = true;
  }
  /// Room for one open zone more.
  Status make_room(std::size_t index) {
    const bool is_active = zones_[index].is_closed;
    if (!is_active && layout_.max_active != 0 && active_count() >= layout_.max_active)
      return Status::zone_active_resource;
    if (layout_.max_open == 0 || open_count() < layout_.max_open) return Status::ok;
    for (std::size_t i = 0; i != zones_.size(); ++i) {
      const std::size_t candidate = (first_candidate_ + i) % zones_.size();
      if (zones_[candidate].opened_by_host != std::optional{false}) continue;
      close_now(zones_[candidate]);
      first_candidate_ = (candidate + 1) % zones_.size();
      return Status::ok;
    }
    return Status::zone_open_resource;
  }

  ZoneLayout layout_;
  std::vector<Facts> zones_;
  std::size_t first_candidate_ = 0;
};

}  // namespace zones_reference

#endif
