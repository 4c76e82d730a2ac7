// SPDX-License-Identifier: BSL-1.0
//
// ZonedHost: a host of a zoned null block disk that appends on all contexts, writes in order,
// reads, and manages zones in between, by a seed.
//
//   a zone    has appends in flight, or one write, or reads, or one command of zone management.
//   content   each sector that is written has a number of its own. A write that has ended with ok
//             is in the host's picture of the zone; two that overlap are an error.
//   quiet     when a zone has nothing in flight, its write pointer is behind exactly what was
//             acknowledged: no hole, nothing more, whatever failed, was requeued or was lost.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONED_HOST_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONED_HOST_HPP

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"

namespace zoned_host {

namespace mq = blkown::mq;
using blkown::Status;
using mq::Op;

/// The host's picture of a zone.
struct ZonePicture {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  std::uint64_t capacity = 0;
  bool is_conventional = false;
  bool is_finished = false;
  bool is_read_only = false;
  bool is_offline = false;
  std::uint64_t written = 0;  // sectors that were acknowledged
  unsigned readers = 0;
  unsigned writers = 0;
  bool is_managed = false;
  std::vector<std::uint64_t> content;  // 0: nothing

  [[nodiscard]] bool is_idle() const { return readers == 0 && writers == 0 && !is_managed; }
  void forget() {
    std::ranges::fill(content, 0);
    written = 0;
    is_finished = is_read_only = is_offline = false;
  }
};

template <class Rt>
class ZonedHost {
 public:
  static constexpr std::uint64_t max_sectors = 6;
  static constexpr unsigned slots_per_context = 4;
  static constexpr std::uint64_t unknown = ~std::uint64_t{0};  // old or new

  ZonedHost(null_block::NullDisk<Rt>& disk, Rt& runtime, std::uint64_t seed)
      : disk_{disk}, runtime_{runtime}, dice_{seed} {
    std::vector<mq::Zone> zones(64);
    zones.resize(disk.disk().report_zones(0, zones));
    for (const mq::Zone& zone : zones) {
      zones_.push_back({.start = zone.start_sector,
                        .length = zone.length_sectors,
                        .capacity = zone.capacity_sectors,
                        .is_conventional = !zone.is_sequential,
                        .content = std::vector<std::uint64_t>(zone.length_sectors)});
    }
    for (std::uint32_t i = 0; i != runtime.context_count() * slots_per_context; ++i) {
      slots_.push_back(std::make_unique<Slot>(*this, i / slots_per_context));
    }
  }

  ZonedHost(const ZonedHost&) = delete;
  ZonedHost& operator=(const ZonedHost&) = delete;
  /// Waits for the I/Os in flight, also where a test has failed.
  ~ZonedHost() {
    while (in_flight_ != 0 && runtime_.step()) {
    }
  }

  /// Begins one I/O, if a slot and a zone are free for it. Returns whether it has.
  bool begin() {
    Slot& slot = *slots_[dice_() % slots_.size()];
    const auto index = static_cast<std::uint32_t>(dice_() % zones_.size());
    if (slot.is_busy) return false;
    slot.zone = index;
    const std::uint64_t choice = dice_() % 100;
    if (choice < 55) return begin_append(slot);
    if (choice < 75) return begin_write(slot);
    if (choice < 90) return begin_read(slot);
    return begin_management(slot, choice);
  }
  /// The I/Os in flight.
  [[nodiscard]] unsigned in_flight() const { return in_flight_; }
  [[nodiscard]] std::uint64_t ended(Op op, Status status) const {
    const auto found = ended_.find({op, status});
    return found == ended_.end() ? 0 : found->second;
  }
  [[nodiscard]] const std::map<std::pair<Op, Status>, std::uint64_t>& all_ended() const {
    return ended_;
  }

  /// Changes a zone that has nothing in flight, as a device does. Returns false if it cannot.
  bool change_a_zone() {
    const auto index = static_cast<std::uint32_t>(dice_() % zones_.size());
    ZonePicture& zone = zones_[index];
    if (!zone.is_idle() || zone.is_conventional) return false;
    const bool is_retired = zone.is_read_only || zone.is_offline;
    const char* const key = is_retired         ? "zone_online"
                            : dice_() % 2 == 0 ? "zone_readonly"
                                               : "zone_offline";
    const auto changed = disk_.set(key, std::to_string(index));
    EXPECT_TRUE(changed.has_value()) << changed.error().text;
    if (is_retired) zone.forget();
    zone.is_read_only = !is_retired && std::string_view{key} == "zone_readonly";
    zone.is_offline = !is_retired && !zone.is_read_only;
    return true;
  }
  /// Cuts the power. What a write pointer covers stays.
  void cut_power() {
    disk_.power_off(dice_());
    disk_.power_on();
    for (ZonePicture& zone : zones_) {
      if (zone.is_conventional) std::ranges::fill(zone.content, unknown);
    }
    for (auto& slot : slots_) slot->saw_power_cut = true;
  }
  /// Checks all zones.
  /// Precondition: nothing is in flight.
  void check_all() {
    for (std::uint32_t i = 0; i != zones_.size(); ++i) check_quiet(i);
  }

 private:
  struct Slot {
    Slot(ZonedHost& its_host, std::uint32_t its_context)
        : host{its_host}, context{its_context}, memory(max_sectors * mq::sector_bytes) {}
    ZonedHost& host;
    std::uint32_t context;
    std::vector<std::byte> memory;
    blkown::Segment segment{};
    mq::Bio bio;
    bool is_busy = false;
    bool saw_power_cut = false;  // since the I/O began
    std::uint32_t zone = 0;
    std::uint64_t sectors = 0;
    std::uint64_t id = 0;  // the number of the first sector
  };

  [[nodiscard]] static mq::OnEnd<mq::Bio> on_end(Slot& slot) {
    return {[](void* self, mq::Bio&) {
              auto& ended = *static_cast<Slot*>(self);
              ended.host.end(ended);
            },
            &slot};
  }
  void submit(Slot& slot) {
    slot.is_busy = true;
    slot.saw_power_cut = false;
    ++in_flight_;
    disk_.disk().submit(runtime_.context(slot.context), slot.bio);
  }
  /// Numbers the sectors of a write.
  void fill(Slot& slot, std::uint64_t sectors) {
    slot.sectors = sectors;
    slot.id = next_id_;
    next_id_ += sectors;
    for (std::uint64_t i = 0; i != sectors; ++i) {
      const std::uint64_t number = slot.id + i;
      std::memcpy(slot.memory.data() + i * mq::sector_bytes, &number, sizeof number);
    }
    slot.segment = {slot.memory.data(), static_cast<std::size_t>(sectors * mq::sector_bytes)};
  }

  bool begin_append(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (zone.readers != 0 || zone.is_managed || zone.is_conventional || has_write_[slot.zone])
      return false;
    ++zone.writers;
    fill(slot, 1 + dice_() % max_sectors);
    slot.bio.set_zone_append(zone.start, std::span{&slot.segment, 1}, on_end(slot));
    submit(slot);
    return true;
  }
  bool begin_write(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (!zone.is_idle()) return false;
    const std::uint64_t left = zone.length - zone.written;
    std::uint64_t at = zone.is_conventional ? dice_() % (zone.length - max_sectors) : zone.written;
    if (at == zone.length) at = 0;  // of a full zone: is refused
    const std::uint64_t most =
        zone.is_conventional ? max_sectors : std::max<std::uint64_t>(left, 1);
    ++zone.writers;
    has_write_[slot.zone] = true;
    fill(slot, 1 + dice_() % std::min(max_sectors, most));
    slot.bio.set_write(zone.start + at, slot.segment, on_end(slot), {.fua = dice_() % 4 == 0});
    submit(slot);
    return true;
  }
  bool begin_read(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (zone.writers != 0 || zone.is_managed) return false;
    ++zone.readers;
    slot.sectors = 1 + dice_() % max_sectors;
    slot.segment = {slot.memory.data(), static_cast<std::size_t>(slot.sectors * mq::sector_bytes)};
    slot.bio.set_read(zone.start + dice_() % (zone.length - slot.sectors + 1), slot.segment,
                      on_end(slot));
    submit(slot);
    return true;
  }
  bool begin_management(Slot& slot, std::uint64_t choice) {
    ZonePicture& zone = zones_[slot.zone];
    if (!zone.is_idle()) return false;
    constexpr Op ops[] = {Op::zone_open,  Op::zone_close, Op::zone_finish, Op::zone_reset,
                          Op::zone_reset, Op::zone_reset, Op::zone_reset,  Op::zone_reset};
    zone.is_managed = true;
    slot.sectors = 0;
    slot.bio.set_zone(ops[choice % std::size(ops)], zone.start, on_end(slot));
    submit(slot);
    return true;
  }

  void end(Slot& slot) {
    slot.is_busy = false;
    --in_flight_;
    const Op op = slot.bio.op();
    const Status status = slot.bio.status();
    ++ended_[{op, status}];
    ZonePicture& zone = zones_[slot.zone];
    switch (op) {
      case Op::read:
        --zone.readers;
        if (status == Status::ok) check_read(slot, zone);
        return;
      case Op::write:
      case Op::zone_append:
        --zone.writers;
        if (op == Op::write) has_write_[slot.zone] = false;
        if (status == Status::ok) take_write(slot, zone);
        if (status != Status::ok && op == Op::write) take_failed_write(slot, zone);
        break;
      default:
        zone.is_managed = false;
        if (status == Status::ok && op == Op::zone_reset) zone.forget();
        if (status == Status::ok && op == Op::zone_finish) zone.is_finished = true;
    }
    if (zone.is_idle()) check_quiet(slot.zone);
  }

  void take_write(Slot& slot, ZonePicture& zone) {
    const bool is_append = slot.bio.op() == Op::zone_append;
    const std::uint64_t sector = is_append ? slot.bio.written_sector() : slot.bio.sector();
    ASSERT_FALSE(zone.is_finished || zone.is_read_only || zone.is_offline);
    ASSERT_TRUE(sector >= zone.start && sector + slot.sectors <= zone.start + zone.capacity)
        << sector << " is not in the zone at " << zone.start;
    for (std::uint64_t i = 0; i != slot.sectors; ++i) {
      std::uint64_t& cell = zone.content[sector - zone.start + i];
      ASSERT_TRUE(cell == 0 || zone.is_conventional) << "written twice: " << sector + i;
      cell = zone.is_conventional && slot.saw_power_cut ? unknown : slot.id + i;
    }
    if (!zone.is_conventional) zone.written += slot.sectors;
  }
  /// A write that failed may have been split. Its first parts may have been written.
  void take_failed_write(Slot& slot, ZonePicture& zone) {
    const std::uint64_t first = slot.bio.sector() - zone.start;
    if (zone.is_conventional) {
      for (std::uint64_t i = 0; i != slot.sectors; ++i) zone.content[first + i] = unknown;
      return;
    }
    if (zone.is_finished || zone.is_read_only || zone.is_offline) return;
    mq::Zone told;
    ASSERT_EQ(disk_.disk().report_zones(zone.start, {&told, 1}), 1U);
    const std::uint64_t written =
        std::min(told.write_pointer_sector - zone.start, zone.capacity) - zone.written;
    ASSERT_LE(written, slot.sectors);
    for (std::uint64_t i = 0; i != written; ++i) zone.content[first + i] = slot.id + i;
    zone.written += written;
  }
  void check_read(Slot& slot, const ZonePicture& zone) {
    EXPECT_FALSE(zone.is_offline);
    for (std::uint64_t i = 0; i != slot.sectors; ++i) {
      const std::uint64_t expected = zone.content[slot.bio.sector() - zone.start + i];
      if (expected == unknown) continue;
      std::uint64_t number = 0;
      std::memcpy(&number, slot.memory.data() + i * mq::sector_bytes, sizeof number);
      ASSERT_EQ(number, expected) << "sector " << slot.bio.sector() + i;
    }
  }
  void check_quiet(std::uint32_t index) {
    const ZonePicture& zone = zones_[index];
    mq::Zone told;
    ASSERT_EQ(disk_.disk().report_zones(zone.start, {&told, 1}), 1U);
    if (zone.is_conventional || zone.is_read_only || zone.is_offline) return;
    const bool is_full = zone.is_finished || zone.written == zone.capacity;
    ASSERT_EQ(told.write_pointer_sector, zone.start + (is_full ? zone.length : zone.written))
        << "zone " << index << ", " << to_string(told.condition);
    ASSERT_EQ(told.condition == mq::Zone::Condition::full, is_full);
    for (std::uint64_t i = 0; i != zone.written; ++i) {
      ASSERT_NE(zone.content[i], 0U) << "a hole below the write pointer of zone " << index;
    }
  }

  null_block::NullDisk<Rt>& disk_;
  Rt& runtime_;
  std::mt19937_64 dice_;
  std::vector<ZonePicture> zones_;
  std::map<std::uint32_t, bool> has_write_;  // of a zone: its writer is a write
  std::vector<std::unique_ptr<Slot>> slots_;
  std::map<std::pair<Op, Status>, std::uint64_t> ended_;
  unsigned in_flight_ = 0;
  std::uint64_t next_id_ = 1;
};

}  // namespace zoned_host

#endif
