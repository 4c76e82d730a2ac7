// SPDX-License-Identifier: BSL-1.0
//
// ZonedHost: a host of a zoned disk that appends on all contexts, writes in order, reads, and
// manages zones in between, by a seed.
//
//   a zone    has appends in flight, or one write, or reads, or one command of zone management.
//   content   each sector that is written has a number of its own. A write that has ended with ok
//             is in the host's picture of the zone; two that overlap are an error.
//   quiet     when a zone has nothing in flight, its write pointer is behind exactly what was
//             acknowledged: no hole, nothing more, whatever failed, was requeued or was lost.
//   doubt     if an I/O's status differs from what the device did, the host reads the zone's report
//             again when the zone is idle. The content of the zone is unknown from then on.
//
// The first error is in failure(), in words. The host goes on.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONED_HOST_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_ZONED_HOST_HPP

#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

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
  bool is_in_doubt = false;
  std::vector<std::uint64_t> content;  // 0: nothing

  [[nodiscard]] bool is_idle() const { return readers == 0 && writers == 0 && !is_managed; }
  [[nodiscard]] bool is_full() const {
    return !is_conventional && (is_finished || written == capacity);
  }
  void forget() {
    std::ranges::fill(content, 0);
    written = 0;
    is_finished = is_read_only = is_offline = false;
  }
};

/// What the host knows of the disk beside its zones.
struct HostOptions {
  std::uint64_t block_sectors = 1;  ///< Each I/O is whole blocks.
  bool has_data = true;             ///< A read returns what was written.
  unsigned polled_percent = 0;      ///< The I/Os with the flag polled.
};

/// The host of a disk of the driver D, on a runtime whose work step() runs.
template <class D, class Rt>
class ZonedHost {
 public:
  static constexpr std::uint64_t max_blocks = 6;
  static constexpr unsigned slots_per_context = 4;
  static constexpr std::uint64_t unknown = ~std::uint64_t{0};  // old or new

  ZonedHost(mq::Disk<D>& disk, Rt& runtime, std::uint64_t seed, HostOptions options = {})
      : disk_{disk}, runtime_{runtime}, options_{options}, dice_{seed} {
    std::vector<mq::Zone> zones(64);
    zones.resize(disk.report_zones(0, zones));
    for (const mq::Zone& zone : zones) {
      zones_.push_back({.start = zone.start_sector,
                        .length = zone.length_sectors,
                        .capacity = zone.capacity_sectors,
                        .is_conventional = !zone.is_sequential,
                        .is_finished = zone.condition == mq::Zone::Condition::full,
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
    // A full zone is mostly reset, as soon as it can be.
    if (zones_[index].is_full() && choice < 75 && dice_() % 8 != 0)
      return begin_management(slot, Op::zone_reset);
    if (choice < 55) return begin_append(slot);
    if (choice < 75) return begin_write(slot);
    if (choice < 90) return begin_read(slot);
    constexpr Op ops[] = {Op::zone_open,   Op::zone_open,   Op::zone_close, Op::zone_close,
                          Op::zone_finish, Op::zone_finish, Op::zone_reset, Op::zone_reset};
    return begin_management(slot, ops[dice_() % std::size(ops)]);
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

  /// What is wrong, or an empty text.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// From now on an append that ends with io_error may have written something.
  void let_write_in_part(bool does) { writes_in_part_ = does; }
  /// An I/O to the zone of this sector ends otherwise than the device has done it.
  void doubt(std::uint64_t sector) { zone_of(sector).is_in_doubt = true; }

  /// Changes a zone that has nothing in flight, as a device does: calls `change(KEY, INDEX)` with a
  /// key of NullDisk::set.
  template <class Change>
  void change_a_zone(Change change) {
    const auto index = static_cast<std::uint32_t>(dice_() % zones_.size());
    ZonePicture& zone = zones_[index];
    if (!zone.is_idle() || zone.is_conventional) return;
    const bool is_retired = zone.is_read_only || zone.is_offline;
    if (is_retired) return put_online(index, change);
    if (dice_() % 4 != 0) return;  // most zones are in use
    zone.is_read_only = dice_() % 2 == 0;
    zone.is_offline = !zone.is_read_only;
    change(zone.is_offline ? "zone_offline" : "zone_readonly", std::to_string(index));
  }
  /// Makes all zones usable again, with the same function.
  /// Precondition: nothing is in flight.
  template <class Change>
  void repair_zones(Change change) {
    for (std::uint32_t index = 0; index != zones_.size(); ++index) {
      if (zones_[index].is_read_only || zones_[index].is_offline) put_online(index, change);
    }
  }
  /// The power was cut, and is on again. What a write pointer covers stays.
  void note_power_cut() {
    for (ZonePicture& zone : zones_) {
      if (zone.is_conventional) std::ranges::fill(zone.content, unknown);
    }
    for (auto& slot : slots_) slot->saw_power_cut = true;
  }
  /// Describes zones, as Disk::report_zones does.
  using Report = unsigned (*)(void* argument, std::uint64_t sector, std::span<mq::Zone> zones);
  /// Has the function report the zones from now on. A disk that is being removed reports none.
  void set_report(Report given, void* its_argument) {
    report_ = given;
    report_argument_ = its_argument;
  }
  /// Checks all zones.
  /// Precondition: nothing is in flight.
  void check_all() {
    for (std::uint32_t i = 0; i != zones_.size(); ++i) check_quiet(i);
  }

 private:
  template <class Change>
  void put_online(std::uint32_t index, Change change) {
    change("zone_online", std::to_string(index));
    zones_[index].forget();
  }

  struct Slot {
    Slot(ZonedHost& its_host, std::uint32_t its_context)
        : host{its_host}, context{its_context}, memory(its_host.max_sectors() * mq::sector_bytes) {}
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
  [[nodiscard]] std::uint64_t max_sectors() const { return max_blocks * options_.block_sectors; }
  /// A random number of sectors, in whole blocks, of at most this many.
  [[nodiscard]] std::uint64_t up_to(std::uint64_t sectors) {
    const std::uint64_t blocks = std::min(sectors, max_sectors()) / options_.block_sectors;
    return (1 + dice_() % std::max<std::uint64_t>(blocks, 1)) * options_.block_sectors;
  }
  /// A random place for so many sectors in the zone.
  [[nodiscard]] std::uint64_t place_in(const ZonePicture& zone, std::uint64_t sectors) {
    return dice_() % ((zone.length - sectors) / options_.block_sectors + 1) *
           options_.block_sectors;
  }
  [[nodiscard]] ZonePicture& zone_of(std::uint64_t sector) {
    return *std::ranges::find_if(
        zones_, [&](const ZonePicture& zone) { return sector < zone.start + zone.length; });
  }
  [[nodiscard]] mq::IoFlags flags(bool is_fua = false) {
    return {.fua = is_fua, .polled = dice_() % 100 < options_.polled_percent};
  }
  bool fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
    return false;
  }

  void submit(Slot& slot) {
    slot.is_busy = true;
    slot.saw_power_cut = false;
    ++in_flight_;
    disk_.submit(runtime_.context(slot.context), slot.bio);
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
    set_segment(slot);
  }
  void set_segment(Slot& slot) {
    slot.segment = {slot.memory.data(), static_cast<std::size_t>(slot.sectors * mq::sector_bytes)};
  }

  bool begin_append(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (zone.readers != 0 || zone.is_managed || zone.is_conventional || has_write_[slot.zone])
      return false;
    ++zone.writers;
    fill(slot, up_to(zone.length));
    slot.bio.set_zone_append(zone.start, std::span{&slot.segment, 1}, on_end(slot), flags());
    submit(slot);
    return true;
  }
  bool begin_write(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (!zone.is_idle()) return false;
    std::uint64_t at = zone.is_conventional ? 0 : zone.written;
    if (at == zone.length) at = 0;  // of a full zone: is refused
    ++zone.writers;
    has_write_[slot.zone] = true;
    fill(slot, up_to(zone.length - at));
    if (zone.is_conventional) at = place_in(zone, slot.sectors);
    slot.bio.set_write(zone.start + at, slot.segment, on_end(slot), flags(dice_() % 4 == 0));
    submit(slot);
    return true;
  }
  bool begin_read(Slot& slot) {
    ZonePicture& zone = zones_[slot.zone];
    if (zone.writers != 0 || zone.is_managed) return false;
    ++zone.readers;
    slot.sectors = up_to(zone.length);
    set_segment(slot);
    slot.bio.set_read(zone.start + place_in(zone, slot.sectors), slot.segment, on_end(slot),
                      flags());
    submit(slot);
    return true;
  }
  bool begin_management(Slot& slot, Op op) {
    ZonePicture& zone = zones_[slot.zone];
    if (!zone.is_idle()) return false;
    zone.is_managed = true;
    slot.sectors = 0;
    slot.bio.set_zone(op, zone.start, on_end(slot));
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
        if (status == Status::ok && !zone.is_in_doubt) check_read(slot, zone);
        break;
      case Op::write:
      case Op::zone_append:
        --zone.writers;
        if (op == Op::write) has_write_[slot.zone] = false;
        note_write(slot, zone);
        break;
      default:
        zone.is_managed = false;
        if (status != Status::ok || zone.is_in_doubt) break;
        if (op == Op::zone_reset) zone.forget();
        if (op == Op::zone_finish) zone.is_finished = true;
    }
    if (!zone.is_idle() || (op == Op::read && !zone.is_in_doubt)) return;
    if (zone.is_in_doubt) look_again(zone);
    check_quiet(slot.zone);
  }

  void note_write(Slot& slot, ZonePicture& zone) {
    if (zone.is_in_doubt) return;
    if (slot.bio.status() == Status::ok) return take_write(slot, zone);
    if (slot.bio.op() == Op::write) return take_failed_write(slot, zone);
    zone.is_in_doubt = writes_in_part_ && slot.bio.status() == Status::io_error;
  }
  void take_write(Slot& slot, ZonePicture& zone) {
    const bool is_append = slot.bio.op() == Op::zone_append;
    const std::uint64_t sector = is_append ? slot.bio.written_sector() : slot.bio.sector();
    if (zone.is_finished || zone.is_read_only || zone.is_offline) {
      fail("a zone that cannot be written was written, at sector " + std::to_string(sector));
      return;
    }
    if (sector < zone.start || sector + slot.sectors > zone.start + zone.capacity) {
      fail("an append to the zone at sector " + std::to_string(zone.start) +
           " says that it has written sector " + std::to_string(sector));
      return;
    }
    for (std::uint64_t i = 0; i != slot.sectors; ++i) {
      std::uint64_t& cell = zone.content[sector - zone.start + i];
      if (cell != 0 && !zone.is_conventional) {
        fail("two writes have written sector " + std::to_string(sector + i));
        return;
      }
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
    const std::uint64_t written =
        std::min(report(zone).write_pointer_sector - zone.start, zone.capacity) - zone.written;
    if (written > slot.sectors) {
      fail("the write pointer of the zone at sector " + std::to_string(zone.start) +
           " is beyond a write that failed");
      return;
    }
    for (std::uint64_t i = 0; i != written; ++i) zone.content[first + i] = slot.id + i;
    zone.written += written;
  }
  void check_read(Slot& slot, const ZonePicture& zone) {
    if (zone.is_offline) fail("a zone that is offline was read");
    for (std::uint64_t i = 0; options_.has_data && i != slot.sectors; ++i) {
      const std::uint64_t expected = zone.content[slot.bio.sector() - zone.start + i];
      if (expected == unknown) continue;
      std::uint64_t number = 0;
      std::memcpy(&number, slot.memory.data() + i * mq::sector_bytes, sizeof number);
      if (number == expected) continue;
      fail("sector " + std::to_string(slot.bio.sector() + i) + " holds " + std::to_string(number) +
           " and should hold " + std::to_string(expected));
      return;
    }
  }

  [[nodiscard]] mq::Zone report(const ZonePicture& zone) {
    mq::Zone told;
    if (report_(report_argument_, zone.start, {&told, 1}) != 1) fail("a zone is not reported");
    return told;
  }
  /// Takes the zone as the device reports it.
  /// Precondition: nothing is in flight there.
  void look_again(ZonePicture& zone) {
    zone.is_in_doubt = false;
    if (zone.is_conventional || zone.is_read_only || zone.is_offline) {
      std::ranges::fill(zone.content, unknown);
      return;
    }
    const mq::Zone told = report(zone);
    zone.is_finished = told.condition == mq::Zone::Condition::full;
    zone.written = zone.is_finished ? zone.capacity : told.write_pointer_sector - zone.start;
    std::ranges::fill(zone.content, 0);
    std::fill_n(zone.content.begin(), zone.written, unknown);
  }
  void check_quiet(std::uint32_t index) {
    const ZonePicture& zone = zones_[index];
    const mq::Zone told = report(zone);
    if (zone.is_conventional || zone.is_read_only || zone.is_offline) return;
    const std::uint64_t pointer = zone.start + (zone.is_full() ? zone.length : zone.written);
    if (told.write_pointer_sector != pointer ||
        (told.condition == mq::Zone::Condition::full) != zone.is_full()) {
      fail("the write pointer of zone " + std::to_string(index) + " is " +
           std::to_string(told.write_pointer_sector) + ", " + to_string(told.condition) +
           ", and what was acknowledged ends at " + std::to_string(pointer));
      return;
    }
    for (std::uint64_t i = 0; i != zone.written; ++i) {
      if (zone.content[i] != 0) continue;
      fail("sector " + std::to_string(zone.start + i) + " is a hole below a write pointer");
      return;
    }
  }

  mq::Disk<D>& disk_;
  Rt& runtime_;
  HostOptions options_;
  Report report_ = [](void* argument, std::uint64_t sector, std::span<mq::Zone> zones) {
    return static_cast<mq::Disk<D>*>(argument)->report_zones(sector, zones);
  };
  void* report_argument_ = &disk_;
  bool writes_in_part_ = false;
  std::string failure_;
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
