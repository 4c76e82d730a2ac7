// SPDX-License-Identifier: BSL-1.0
//
// NvmeSubmissionQueue and NvmeCompletionQueue: the controller's side of the queues.
//
// A controller has a fixed number of both, which exist or do not exist. Each queue has a mutex. The
// order of the locks is: the controller's mutex, one submission queue, its completion queue. A run
// with a fault plan or an observer holds the controller's mutex in every call, and then takes no
// queue's mutex (OptionalMutex). The admin queues belong to the controller's mutex at all times.

#ifndef BLKOWN_SIM_DEVICE_NVME_QUEUE_HPP
#define BLKOWN_SIM_DEVICE_NVME_QUEUE_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/command_table.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/transfer.hpp>
#include <blkown/sim/device/optional_lock.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/schedule.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The address and the size of a queue.
struct NvmeRing {
  std::uint64_t iova = 0;
  std::uint32_t entries = 0;

  // Without a division, which every look at a queue would pay for.
  /// The index behind this one.
  [[nodiscard]] std::uint32_t after(std::uint32_t index) const noexcept {
    return index + 1 == entries ? 0 : index + 1;
  }
  /// The number of entries from one index on until another.
  [[nodiscard]] std::uint32_t distance(std::uint32_t from, std::uint32_t to) const noexcept {
    return to >= from ? to - from : to + entries - from;
  }
};

/// The interrupts of an MSI-X vector that wait for more entries, of all completion queues that have
/// the vector.
/// Source: NVMe Base 1.4, section 7.5 (interrupt coalescing): entries are counted for a vector.
class alignas(64) NvmeVector {
 public:
  OptionalMutex mutex;  // after a completion queue's

  /// Counts a posted entry. True if the interrupt is due at once, else it is due at due_ns().
  [[nodiscard]] bool count(const nvme::InterruptCoalescing& coalescing,
                           std::uint64_t now_ns) noexcept {
    if (++uncounted_ >= coalescing.entries()) {
      clear();
      return true;
    }
    if (!due_ns_.has_value()) due_ns_ = now_ns + std::uint64_t{coalescing.time_us()} * 1000;
    return false;
  }
  /// Makes the interrupt due at this time, unless it is due before.
  void delay(std::uint64_t due_ns) noexcept {
    if (!due_ns_.has_value()) due_ns_ = due_ns;
  }
  [[nodiscard]] std::optional<std::uint64_t> due_ns() const noexcept { return due_ns_; }
  void clear() noexcept {
    uncounted_ = 0;
    due_ns_.reset();
  }

 private:
  std::uint32_t uncounted_ = 0;  // entries since the latest interrupt
  std::optional<std::uint64_t> due_ns_;
};

/// The controller's side of a completion queue.
class alignas(64) NvmeCompletionQueue {
 public:
  OptionalMutex mutex;

  void create(const NvmeRing& ring, std::uint16_t vector, bool interrupts) noexcept {
    ring_ = ring;
    vector_ = vector;
    interrupts_ = interrupts;
    head_ = tail_ = 0;
    phase_ = true;
    submission_queues = 0;
    waits_for_interrupt = false;
  }
  void remove() noexcept { ring_ = {}; }

  [[nodiscard]] bool exists() const noexcept { return ring_.entries != 0; }
  [[nodiscard]] std::uint16_t vector() const noexcept { return vector_; }
  [[nodiscard]] bool has_interrupts() const noexcept { return interrupts_; }
  [[nodiscard]] bool has_index(std::uint32_t index) const noexcept { return index < ring_.entries; }
  /// The number of entries that can be posted. One entry of a queue stays free.
  [[nodiscard]] std::uint32_t room() const noexcept {
    return ring_.entries - 1 - ring_.distance(head_, tail_);
  }

  /// The doorbell: moves the head, and calls `take()` for each entry that the head passes.
  /// Errors: false if the queue has no such index, or no entry that was posted before it, or if the
  /// head is there already.
  template <class Take>
  [[nodiscard]] bool ring_doorbell(std::uint32_t head, Take take) {
    const std::uint32_t posted = ring_.distance(head_, tail_);
    if (head == head_ || !has_index(head) || ring_.distance(head_, head) > posted) {
      return false;
    }
    while (head_ != head) {
      head_ = ring_.after(head_);
      take();
    }
    return true;
  }
  /// Posts an entry, whose phase the queue sets. The word with the phase is written last.
  /// Precondition: there is room.
  /// Errors: false if the IOMMU refused the write.
  [[nodiscard]] bool post(Iommu& iommu, const Iommu::Access& access, nvme::CompletionEntry entry,
                          nvme::StatusField status, bool turns_phase) {
    const auto word = nvme::CompletionEntry::status_word(status, turns_phase ? phase_ : !phase_);
    constexpr std::size_t word_at = offsetof(nvme::CompletionEntry, status_and_phase);
    std::byte bytes[sizeof entry];
    std::memcpy(bytes, &entry, sizeof entry);
    const std::uint64_t iova = ring_.iova + std::uint64_t{tail_} * sizeof entry;
    if (!iommu.write(iova, std::span{bytes}.first(word_at), access) ||
        !iommu.write_word(iova + word_at, std::bit_cast<std::uint16_t>(word), access)) {
      return false;
    }
    tail_ = ring_.after(tail_);
    if (tail_ == 0) phase_ = !phase_;
    return true;
  }

  std::uint64_t events = 0;              // entries and doorbells
  std::uint32_t submission_queues = 0;   // that use this queue
  nvme::InterruptCoalescing coalescing;  // of the queue's vector
  bool waits_for_interrupt = false;      // the vector may have one that is not sent yet

 private:
  NvmeRing ring_;
  std::uint32_t head_ = 0;
  std::uint32_t tail_ = 0;
  bool phase_ = true;
  bool interrupts_ = false;
  std::uint16_t vector_ = 0;
};

/// What a submission queue's commands have done, for the SMART log page.
struct NvmeCounters {
  std::uint64_t sectors_read = 0;  // of 512 bytes
  std::uint64_t sectors_written = 0;
  std::uint64_t read_commands = 0;
  std::uint64_t write_commands = 0;
  std::uint64_t media_errors = 0;
  std::uint64_t events = 0;  // doorbells, fetches and executions
};

/// The controller's side of a submission queue, and the commands that were fetched from the queue.
class alignas(64) NvmeSubmissionQueue {
 public:
  NvmeSubmissionQueue(std::uint16_t id, std::uint64_t seed, Iommu& iommu)
      : random{seed}, transfer{iommu}, id_{id} {}

  OptionalMutex mutex;

  void create(const NvmeRing& ring, std::uint16_t completion_queue) {
    ring_ = ring;
    completion_queue_ = completion_queue;
    head_ = tail_ = 0;
    is_halted = false;
    is_fetching = true;
    commands_.clear();
    schedule.clear();
    ids_in_use_.assign(std::size_t{1} << 16, false);
    disowned_unfetched.clear();
    seen_.clear();
  }
  void remove() {
    ring_ = {};
    commands_.clear();
    schedule.clear();
  }

  [[nodiscard]] std::uint16_t id() const noexcept { return id_; }
  [[nodiscard]] bool exists() const noexcept { return ring_.entries != 0; }
  [[nodiscard]] std::uint16_t completion_queue() const noexcept { return completion_queue_; }
  [[nodiscard]] bool has_index(std::uint32_t index) const noexcept { return index < ring_.entries; }
  [[nodiscard]] std::uint16_t head() const noexcept { return static_cast<std::uint16_t>(head_); }
  /// A head that the queue cannot have: beyond the ring, or beyond the tail.
  [[nodiscard]] std::uint16_t impossible_head(std::uint64_t choice) const noexcept {
    const std::uint32_t free = ring_.entries - 1 - ring_.distance(head_, tail_);
    const auto beyond = static_cast<std::uint32_t>((choice >> 1) % 1024);
    if (choice % 2 == 0 || free == 0) {
      return static_cast<std::uint16_t>(ring_.entries + beyond);
    }
    return static_cast<std::uint16_t>((tail_ + 1 + beyond % free) % ring_.entries);
  }

  /// The doorbell: moves the tail.
  /// Errors: false if the queue has no such index, or too few free entries before it, or if the
  /// tail is there already. Nothing more is fetched then, until the queue is created again. Source:
  /// NVMe Base 1.4, section 4.1.
  [[nodiscard]] bool ring_doorbell(std::uint32_t tail) noexcept {
    const std::uint32_t free = ring_.entries - 1 - ring_.distance(head_, tail_);
    if (tail == tail_ || !has_index(tail) || ring_.distance(tail_, tail) > free) {
      is_fetching = false;
      return false;
    }
    tail_ = tail;
    return true;
  }
  [[nodiscard]] bool has_submission() const noexcept { return head_ != tail_; }
  /// Reads the entry at the head, and moves the head.
  /// Errors: false if the IOMMU refused the read.
  [[nodiscard]] bool fetch(Iommu& iommu, const Iommu::Access& access,
                           nvme::SubmissionEntry& entry) {
    const bool is_read = read(iommu, access, head_, entry);
    if (!seen_.empty()) seen_[head_] = entry;
    head_ = ring_.after(head_);
    return is_read;
  }
  /// Calls `visit(const nvme::SubmissionEntry&)` for each entry that was not fetched yet.
  template <class Visit>
  void for_each_submission(Iommu& iommu, const Iommu::Access& access, Visit visit) {
    for (std::uint32_t at = head_; at != tail_; at = ring_.after(at)) {
      nvme::SubmissionEntry entry;
      if (read(iommu, access, at, entry)) visit(entry);
    }
  }

  /// Notes what the ring's memory holds, for find_unrung().
  /// Precondition: the queue was just created.
  void note_ring(Iommu& iommu, const Iommu::Access& inspection) {
    seen_.assign(ring_.entries, {});
    for (std::uint32_t at = 0; at != ring_.entries; ++at) {
      static_cast<void>(read(iommu, inspection, at, seen_[at]));
    }
  }
  /// The first entry of this identifier that the driver has written behind the tail, or none. An
  /// entry that its place had before is a written one if one behind it has changed: the driver
  /// writes them in order. As the last one it is taken for that of the earlier round.
  /// Without note_ring(), none is found.
  [[nodiscard]] std::optional<nvme::SubmissionEntry> find_unrung(Iommu& iommu,
                                                                 const Iommu::Access& inspection,
                                                                 std::uint64_t command_id) const {
    if (seen_.empty()) return std::nullopt;
    std::optional<nvme::SubmissionEntry> found;
    for (std::uint32_t at = tail_; ring_.after(at) != head_; at = ring_.after(at)) {
      nvme::SubmissionEntry entry;
      if (!read(iommu, inspection, at, entry)) continue;
      if (!found.has_value() && cookie_of(entry) == command_id) found = entry;
      const bool is_new = std::memcmp(&entry, &seen_[at], sizeof entry) != 0;
      if (is_new && found.has_value()) return found;
    }
    return std::nullopt;
  }

  // --- commands ---------------------------------------------------------------------------------

  /// Whether a command of this identifier was fetched, and is neither completed nor disowned.
  [[nodiscard]] bool has_id(std::uint16_t command_id) const noexcept {
    return ids_in_use_[command_id];
  }
  NvmeCommand& add(NvmeCommand command) {
    command.serial = next_serial_++;
    if (!command.is_disowned) ids_in_use_[command.entry.command_id] = true;
    return commands_.add(command);
  }
  /// Erases a command, if it was not erased before.
  void erase(const NvmeCommand& copy) {
    const NvmeCommand* const found = commands_.find(copy);
    if (found == nullptr) return;
    if (!found->is_disowned) ids_in_use_[found->entry.command_id] = false;
    commands_.erase(copy);
  }
  /// Marks a command of the table as disowned.
  void disown(NvmeCommand& command) {
    command.is_disowned = true;
    ids_in_use_[command.entry.command_id] = false;
  }
  [[nodiscard]] NvmeCommand* find(const NvmeCommandName& name) noexcept {
    return commands_.find(name.slot, name.serial);
  }
  template <class Predicate>
  [[nodiscard]] NvmeCommand* find_first(Predicate is_it) {
    return commands_.find_first(is_it);
  }
  [[nodiscard]] std::size_t command_count() const noexcept { return commands_.size(); }

  BasicSchedule<NvmeAction> schedule;
  std::vector<CommandId> disowned_unfetched;  // submitted, not fetched, and disowned
  bool is_halted = false;                     // the controller has failed
  // The controller is neither reset nor shut down, and the doorbell had no wrong value.
  bool is_fetching = false;
  NvmeCounters counters;
  Random random;          // for latencies
  NvmeTransfer transfer;  // moves the data of this queue's commands

 private:
  [[nodiscard]] bool read(Iommu& iommu, const Iommu::Access& access, std::uint32_t at,
                          nvme::SubmissionEntry& entry) const {
    return iommu.read(ring_.iova + std::uint64_t{at} * sizeof entry,
                      std::as_writable_bytes(std::span{&entry, 1}), access);
  }

  std::uint16_t id_;
  std::uint16_t completion_queue_ = 0;
  NvmeRing ring_;
  std::uint32_t head_ = 0;
  std::uint32_t tail_ = 0;
  std::uint64_t next_serial_ = 0;
  BasicCommandTable<NvmeCommand> commands_;  // fetched and not completed
  // What each place of the ring held when it was fetched last, or at the creation. Empty without an
  // observer.
  std::vector<nvme::SubmissionEntry> seen_;
  std::vector<bool> ids_in_use_ = std::vector<bool>(std::size_t{1} << 16);
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
