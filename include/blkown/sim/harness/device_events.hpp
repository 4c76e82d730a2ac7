// SPDX-License-Identifier: BSL-1.0
//
// DeviceEvents: writes the events of a simulated device into the History, under the request that a
// command or a completion names, and passes them on to the Oracle.

#ifndef BLKOWN_SIM_HARNESS_DEVICE_EVENTS_HPP
#define BLKOWN_SIM_HARNESS_DEVICE_EVENTS_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The disks of a run.
struct DiskPlace {
  std::uint32_t nsid = 1;  // of the first disk, on an NvmeController
  std::uint32_t block_sectors = 1;
  std::uint32_t disk_count = 1;
  // Of each disk. The sectors of all disks are numbered one after another.
  std::uint64_t disk_sectors = 0;

  /// The disk of a namespace. None: the namespace that the workload does not use, or no namespace.
  [[nodiscard]] std::optional<std::uint32_t> disk_of(std::uint32_t its_nsid) const noexcept {
    const std::uint32_t namespaces = disk_count + 1;
    if (its_nsid == 0 || its_nsid > namespaces) return std::nullopt;
    // Without a division, which the looks at each command would pay for several times.
    const std::uint32_t disk = its_nsid >= nsid ? its_nsid - nsid : its_nsid + namespaces - nsid;
    return disk == disk_count ? std::nullopt : std::optional{disk};
  }
  /// The namespace of a disk, or with disk_count that of none.
  [[nodiscard]] std::uint32_t nsid_of(std::uint32_t disk) const noexcept {
    return 1 + (nsid - 1 + disk) % (disk_count + 1);
  }
  /// The number of a block's first sector among the sectors of all disks. None: the block is on no
  /// disk, and the device refuses its command.
  [[nodiscard]] std::optional<std::uint64_t> sector_of(std::uint32_t its_nsid,
                                                       std::uint64_t block) const noexcept {
    const auto disk = disk_of(its_nsid);
    if (!disk.has_value() || block >= disk_sectors) return std::nullopt;
    const std::uint64_t sector = block * block_sectors;
    if (sector + block_sectors > disk_sectors) return std::nullopt;
    return *disk * disk_sectors + sector;
  }
};

/// The number of a message's first sector among the sectors of all disks, as for a block.
[[nodiscard]] inline std::optional<std::uint64_t> sector_of(const Message& message,
                                                            const DiskPlace& disk) noexcept {
  if (message.disk >= disk.disk_count || message.sector >= disk.disk_sectors) return std::nullopt;
  return message.disk * disk.disk_sectors + message.sector;
}

/// The number of the first sector of the command's disk.
[[nodiscard]] inline std::uint64_t first_sector_of(const Message& entry, const DiskPlace& disk) {
  return entry.disk < disk.disk_count ? entry.disk * disk.disk_sectors : 0;
}
[[nodiscard]] inline std::uint64_t first_sector_of(const nvme::SubmissionEntry& entry,
                                                   const DiskPlace& disk) {
  return disk.disk_of(entry.nsid).value_or(0) * disk.disk_sectors;
}

/// What a command is: for the report.
[[nodiscard]] inline IoText io_of(const Message& entry, const DiskPlace& disk) {
  const bool has_range = entry.opcode != Opcode::flush;
  const bool is_elsewhere = entry.disk >= disk.disk_count;
  const bool is_named = disk.disk_count != 1 && !is_elsewhere;
  return {.operation = to_string(entry.opcode),
          .sector = entry.sector,
          .length_sectors = has_range ? entry.length_sectors : 0,
          .is_fua = false,
          .is_elsewhere = is_elsewhere,
          .disk = is_named ? std::optional{entry.disk} : std::nullopt};
}
[[nodiscard]] inline IoText io_of(const nvme::SubmissionEntry& entry, const DiskPlace& disk) {
  const nvme::IoOpcode opcode = entry.io_opcode();
  const bool has_range = opcode == nvme::IoOpcode::read || opcode == nvme::IoOpcode::write ||
                         opcode == nvme::IoOpcode::compare ||
                         opcode == nvme::IoOpcode::write_zeroes;
  const std::optional<std::uint32_t> its_disk = disk.disk_of(entry.nsid);
  const bool is_for_all = opcode == nvme::IoOpcode::flush && entry.nsid == nvme::all_namespaces;
  return {.operation = is_for_all ? "flush of all namespaces" : to_string(opcode),
          // No product that wraps: a block far behind the end is no block of the disk.
          .sector = blkown::detail::saturating_multiply(entry.slba(), disk.block_sectors),
          .length_sectors = has_range ? std::uint64_t{entry.block_count()} * disk.block_sectors
                                      : std::uint64_t{0},
          .is_fua = has_range && entry.is_fua(),
          .is_elsewhere = !its_disk.has_value() && !is_for_all,
          .disk = disk.disk_count == 1 ? std::nullopt : its_disk};
}
/// Whether the command flushes the cache of this disk.
[[nodiscard]] inline bool flushes_disk(const Message& entry, const DiskPlace&, std::uint32_t disk) {
  return entry.opcode == Opcode::flush && entry.disk == disk;
}
[[nodiscard]] inline bool flushes_disk(const nvme::SubmissionEntry& entry, const DiskPlace& place,
                                       std::uint32_t disk) {
  return entry.io_opcode() == nvme::IoOpcode::flush &&
         (entry.nsid == nvme::all_namespaces || place.disk_of(entry.nsid) == disk);
}
/// Whether the command changes the sectors of its io_of().
[[nodiscard]] inline bool is_write(const Message& entry) {
  return entry.opcode == Opcode::write || entry.opcode == Opcode::write_zeroes ||
         entry.opcode == Opcode::discard;
}
[[nodiscard]] inline bool is_write(const nvme::SubmissionEntry& entry) {
  return entry.io_opcode() == nvme::IoOpcode::write ||
         entry.io_opcode() == nvme::IoOpcode::write_zeroes;
}

/// The observer of a device whose commands are of the type `Entry`. The observer keeps every
/// fetched write as long as it lives, and grows with their number.
template <class Entry>
class DeviceEvents final : public CommandObserver<Entry> {
 public:
  /// A command as the device has fetched it.
  struct Fetched {
    std::uint64_t event = 0;
    QueueIndex queue;
    std::uint64_t cookie = 0;
    IoText io;
    std::uint64_t first_sector = 0;    // of all disks' sectors
    std::optional<FaultStrike> fault;  // that struck at it
  };

  /// `first_io_queue`: the device's number of the first hardware queue, behind an admin queue.
  /// `depth`: the tags of each queue.
  DeviceEvents(CommandObserver<Entry>& oracle, History& history, std::uint32_t first_io_queue,
               std::uint32_t depth, std::uint64_t sector_count, const DiskPlace& disk)
      : oracle_{oracle},
        history_{history},
        first_io_queue_{first_io_queue},
        depth_{depth},
        disk_{disk},
        writers_(static_cast<std::size_t>(sector_count)),
        flushes_(disk.disk_count) {}

  /// A fault has struck.
  void strike(const FaultStrike& fault, const std::optional<FaultTarget>& target) {
    history_.name_event({.name = "controller"});
    latest_strike_ = fault;
    strike_event_ = history_.event();
    if (!target.has_value()) return history_.strike(fault);
    for (FlushesOfDisk& flushes : flushes_) {
      for (std::optional<Fetched>& flush : flushes.latest) {
        if (!flush.has_value() || !is_of(*flush, *target)) continue;
        flush->fault = fault;
        flushes.struck = flush;
      }
    }
    std::optional<std::uint32_t> device_queue = target->queue;
    if (!device_queue.has_value()) {
      const auto queue = queue_of(target->cookie);
      if (!queue.has_value()) return history_.strike(fault);
      device_queue = queue->value + first_io_queue_;
    }
    note_fault_of_writer(*device_queue, target->cookie, fault);
    with_request(
        *device_queue, target->cookie,
        [&](QueueIndex queue, Tag tag) { history_.strike(fault, queue, tag); },
        [&] { history_.strike(fault); });
  }
  /// The latest command that was to write the sector, if there was one.
  [[nodiscard]] const std::optional<Fetched>& writer_of(std::uint64_t sector) const {
    return writes_[writers_[static_cast<std::size_t>(sector)]];
  }
  /// The latest flush of the disk, if there was one.
  [[nodiscard]] const std::optional<Fetched>& latest_flush(std::size_t disk) const {
    const FlushesOfDisk& its = flushes_[disk];
    return its.latest[(its.count + its.latest.size() - 1) % its.latest.size()];
  }
  /// The latest flush of the disk at which a fault struck, if there was one.
  [[nodiscard]] const std::optional<Fetched>& struck_flush(std::size_t disk) const {
    return flushes_[disk].struck;
  }
  /// The latest write to the namespace of another disk, if there was one.
  [[nodiscard]] const std::optional<Fetched>& latest_elsewhere() const { return elsewhere_; }
  /// The latest one to this sector there.
  [[nodiscard]] const std::optional<Fetched>& writer_elsewhere_of(std::uint64_t sector) const {
    return writes_[elsewhere_writers_.empty()
                       ? no_write
                       : elsewhere_writers_[static_cast<std::size_t>(sector)]];
  }
  /// The queue to which the latest command with this cookie came.
  [[nodiscard]] std::optional<QueueIndex> queue_of(std::uint64_t cookie) const {
    const std::uint64_t tag = history_.layout().tag.get(cookie);
    std::optional<QueueIndex> queue;
    std::uint64_t latest = 0;
    for (std::size_t i = 0; i != fetched_.size(); ++i) {
      if (tag >= fetched_[i].size()) continue;
      for (const Seen& seen : fetched_[i][static_cast<std::size_t>(tag)].latest) {
        if (seen.event < latest || seen.cookie != cookie || seen.event == 0) continue;
        latest = seen.event;
        queue = QueueIndex{static_cast<std::uint32_t>(i)};
      }
    }
    return queue;
  }

  void command_fetched(std::uint32_t queue, const Entry& entry) override {
    if (queue >= first_io_queue_) history_.name_event({.name = "controller"});
    oracle_.command_fetched(queue, entry);
    if (queue < first_io_queue_) return;
    with_request(queue, cookie_of(entry),
                 [&](QueueIndex its_queue, Tag tag) { note_fetched(its_queue, tag, entry); });
  }
  void command_refused(std::uint32_t queue, const Entry& entry) override {
    oracle_.command_refused(queue, entry);
  }
  void command_failed_for_good(std::uint32_t queue, const Entry& entry) override {
    oracle_.command_failed_for_good(queue, entry);
  }
  void command_done(std::uint32_t queue, const Entry& entry) override {
    oracle_.command_done(queue, entry);
  }
  void entry_posted(std::uint32_t queue, std::uint64_t cookie, bool is_genuine) override {
    oracle_.entry_posted(queue, cookie, is_genuine);
    history_.name_event({.name = "controller"});
    with_request(queue, cookie, [&](QueueIndex its_queue, Tag tag) {
      if (is_genuine) {
        return history_.note(its_queue, tag, "the device posts the completion", "", cookie);
      }
      const bool struck_now = strike_event_ == history_.event();
      history_.false_completion(its_queue, tag, cookie, struck_now ? latest_strike_ : std::nullopt);
    });
  }
  void entry_hidden(std::uint32_t queue) override { oracle_.entry_hidden(queue); }
  void foreign_entry_posted(std::uint32_t queue) override { oracle_.foreign_entry_posted(queue); }
  void entry_taken(std::uint32_t queue) override { oracle_.entry_taken(queue); }
  void queue_stopped(std::uint32_t queue) override { oracle_.queue_stopped(queue); }
  void doorbell_misused(std::uint32_t queue) override { oracle_.doorbell_misused(queue); }
  void stopped() override { oracle_.stopped(); }

 private:
  struct Seen {
    std::uint64_t event = 0;
    std::uint64_t cookie = 0;
  };
  struct SeenOfTag {
    std::array<Seen, 8> latest{};  // a ring
    std::size_t count = 0;
    Fetched command;  // the latest one
  };
  struct FlushesOfDisk {
    std::array<std::optional<Fetched>, 8> latest{};  // a ring
    std::size_t count = 0;
    std::optional<Fetched> struck;
  };

  static void ignore() noexcept {}
  /// Calls `found` for the request that the cookie names on a queue of the device, or `otherwise`.
  template <class Found, class Otherwise = void (*)() noexcept>
  void with_request(std::uint32_t device_queue, std::uint64_t cookie, Found found,
                    Otherwise otherwise = &ignore) const {
    const std::uint64_t tag = history_.layout().tag.get(cookie);
    if (device_queue < first_io_queue_ || tag >= depth_) return otherwise();
    found(QueueIndex{device_queue - first_io_queue_}, Tag{static_cast<std::uint32_t>(tag)});
  }
  [[nodiscard]] bool is_of(const Fetched& one, const FaultTarget& target) const noexcept {
    return target.queue == one.queue.value + first_io_queue_ && one.cookie == target.cookie;
  }
  /// The sectors of the command that its disk has. The device refuses a command with others, and
  /// they are no sectors of the next disk.
  [[nodiscard]] std::uint64_t sectors_on_disk(const IoText& io) const noexcept {
    if (io.sector >= disk_.disk_sectors) return 0;
    return std::min(io.length_sectors, disk_.disk_sectors - io.sector);
  }
  /// Adds the fault to the command, if it is the latest writer of its sectors.
  void note_fault_of_writer(std::uint32_t device_queue, std::uint64_t cookie,
                            const FaultStrike& fault) {
    with_request(device_queue, cookie, [&](QueueIndex queue, Tag tag) {
      if (queue.value >= fetched_.size() || tag.value >= fetched_[queue.value].size()) return;
      const Fetched& command = fetched_[queue.value][tag.value].command;
      if (command.cookie != cookie || command.io.is_elsewhere) return;
      for (std::uint64_t i = 0; i != sectors_on_disk(command.io); ++i) {
        auto& writer = writes_[writers_[static_cast<std::size_t>(command.first_sector + i)]];
        if (writer.has_value() && writer->event == command.event && writer->cookie == cookie) {
          writer->fault = fault;
        }
      }
    });
  }
  void note_fetched(QueueIndex queue, Tag tag, const Entry& entry) {
    const std::uint64_t cookie = cookie_of(entry);
    const IoText io = io_of(entry, disk_);
    history_.note(queue, tag, "the device fetches ", io.operation, cookie);
    if (queue.value >= fetched_.size()) fetched_.resize(queue.value + 1);
    auto& of_queue = fetched_[queue.value];
    if (of_queue.empty()) of_queue.resize(depth_);
    SeenOfTag& seen = of_queue[tag.value];
    seen.latest[seen.count++ % seen.latest.size()] = {.event = history_.event(), .cookie = cookie};
    const Fetched fetched{.event = history_.event(),
                          .queue = queue,
                          .cookie = cookie,
                          .io = io,
                          .first_sector = first_sector_of(entry, disk_) + io.sector,
                          .fault = {}};
    seen.command = fetched;
    for (std::uint32_t disk = 0; disk != disk_.disk_count; ++disk) {
      if (!flushes_disk(entry, disk_, disk)) continue;
      FlushesOfDisk& its = flushes_[disk];
      its.latest[its.count++ % its.latest.size()] = fetched;
    }
    if (!is_write(entry)) return;
    if (io.is_elsewhere) {
      elsewhere_ = fetched;
      elsewhere_writers_.resize(writers_.size());
    }
    auto& writers = io.is_elsewhere ? elsewhere_writers_ : writers_;
    const std::uint64_t count = sectors_on_disk(io);
    if (count == 0) return;
    std::fill_n(writers.begin() + static_cast<std::ptrdiff_t>(fetched.first_sector), count,
                static_cast<std::uint32_t>(writes_.size()));
    writes_.push_back(fetched);
  }

  CommandObserver<Entry>& oracle_;
  History& history_;
  std::uint32_t first_io_queue_;
  std::uint32_t depth_;
  DiskPlace disk_;
  static constexpr std::uint32_t no_write = 0;
  std::vector<std::optional<Fetched>> writes_{1};  // in their order, behind no_write
  std::vector<std::uint32_t> writers_;             // by sector, an index of writes_
  std::vector<std::uint32_t> elsewhere_writers_;
  std::vector<std::vector<SeenOfTag>> fetched_;  // by queue and tag
  std::vector<FlushesOfDisk> flushes_;           // by disk
  std::optional<Fetched> elsewhere_;
  std::optional<FaultStrike> latest_strike_;
  std::uint64_t strike_event_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
