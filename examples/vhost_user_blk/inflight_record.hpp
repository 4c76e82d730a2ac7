// SPDX-License-Identifier: BSL-1.0
//
// InflightRecord: which heads are in flight, noted in memory that survives this process.
//
// Parties: this target, which makes the memory and notes; the front end, which keeps the memory's
// file and gives it to the next target after this one has died.
//
//   1. A head is noted as in flight when it was popped, with the number of its turn.
//   2. When it was pushed, the note is taken away, and the used ring's index is noted. In between,
//      a target that dies leaves a note of a head that was pushed: its list of last heads says so.
//   3. A target that gets the memory of another takes the heads that are in flight, in their order,
//      and executes them again. The driver sees each of them used once.
//
// The memory comes back through another process, so all of it is checked.

#ifndef VHOST_USER_BLK_INFLIGHT_RECORD_HPP
#define VHOST_USER_BLK_INFLIGHT_RECORD_HPP

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <utility>
#include <vector>

#include "guest_memory.hpp"
#include "protocol.hpp"
#include "signal.hpp"
#include "virtqueue.hpp"

namespace vhost_user_blk {

/// One queue's part of the record. Without memory, nothing is noted.
class InflightQueue {
 public:
  InflightQueue() = default;
  InflightQueue(std::byte* memory, std::uint16_t size) noexcept
      : header_{reinterpret_cast<vhost_user::InflightQueueHeader*>(memory)},
        descriptors_{reinterpret_cast<vhost_user::InflightDescriptor*>(memory + sizeof(*header_))},
        size_{size} {}

  [[nodiscard]] bool exists() const noexcept { return header_ != nullptr; }
  /// Whether each head of a ring of this size can be noted, if heads are noted.
  [[nodiscard]] bool covers(std::uint32_t ring_size) const noexcept {
    return !exists() || ring_size <= size_;
  }

  /// Begins to note, and returns the heads that the last target has left in flight, the oldest
  /// first.
  /// Errors: bad_inflight_record.
  [[nodiscard]] std::expected<std::vector<std::uint16_t>, RingError> begin(std::uint32_t ring_size,
                                                                           std::uint16_t used_idx) {
    if (read(header_->version) == 0) {
      header_->version = 1;
      header_->desc_num = size_;
      header_->used_idx = used_idx;
    }
    if (read(header_->version) != 1 || read(header_->desc_num) != size_ || !covers(ring_size)) {
      return std::unexpected(RingError::bad_inflight_record);
    }
    if (!settle_last_batch(used_idx)) return std::unexpected(RingError::bad_inflight_record);
    // Copies, because the front end may change a counter while the heads are sorted.
    std::vector<std::pair<std::uint64_t, std::uint16_t>> turns;
    for (std::uint16_t head = 0; head != size_; ++head) {
      if (read(descriptors_[head].inflight) == 0) continue;
      if (head >= ring_size) return std::unexpected(RingError::bad_inflight_record);
      turns.emplace_back(read(descriptors_[head].counter), head);
      next_turn_ = std::max(next_turn_, turns.back().first + 1);
    }
    std::ranges::sort(turns);
    std::vector<std::uint16_t> heads;
    heads.reserve(turns.size());
    for (const auto& [turn, head] : turns) heads.push_back(head);
    return heads;
  }

  /// The head was popped.
  void note_popped(std::uint16_t head) noexcept {
    if (!exists()) return;
    descriptors_[head].counter = next_turn_++;
    set_inflight(head, 1);
  }
  /// The head is about to be pushed.
  void note_pushing(std::uint16_t head) noexcept {
    if (!exists()) return;
    descriptors_[head].next = read(header_->last_batch_head);
    std::atomic_ref{header_->last_batch_head}.store(head, std::memory_order_release);
  }
  /// The head was pushed. The used ring's index is this one now.
  void note_pushed(std::uint16_t head, std::uint16_t used_idx) noexcept {
    if (!exists()) return;
    set_inflight(head, 0);
    std::atomic_ref{header_->used_idx}.store(used_idx, std::memory_order_release);
  }

 private:
  /// Reads a value once, so that what was checked is what is used. The front end may change it.
  template <class T>
  [[nodiscard]] static T read(T& shared) noexcept {
    // Relaxed: no other value is read because of this one.
    return std::atomic_ref{shared}.load(std::memory_order_relaxed);
  }
  // Release, here and above: a target that dies between two stores has made the first of them, in
  // the order of the program. Another process reads them only after this one is gone.
  void set_inflight(std::uint16_t head, std::uint8_t value) noexcept {
    std::atomic_ref{descriptors_[head].inflight}.store(value, std::memory_order_release);
  }

  /// Takes the notes of heads away that were pushed, if the last target died in between.
  [[nodiscard]] bool settle_last_batch(std::uint16_t used_idx) noexcept {
    const auto count = static_cast<std::uint16_t>(used_idx - read(header_->used_idx));
    std::uint16_t head = read(header_->last_batch_head);
    // A ring that was started again has an index of 0, and no head in flight.
    for (std::uint16_t i = 0; i != std::min(count, size_); ++i) {
      if (head >= size_) return false;
      set_inflight(head, 0);
      head = read(descriptors_[head].next);
    }
    header_->used_idx = used_idx;
    return true;
  }

  vhost_user::InflightQueueHeader* header_ = nullptr;
  vhost_user::InflightDescriptor* descriptors_ = nullptr;
  std::uint16_t size_ = 0;
  std::uint64_t next_turn_ = 0;
};

class InflightRecord {
 public:
  /// No memory.
  InflightRecord() = default;

  /// The length of the record of so many queues, of so many descriptors each.
  [[nodiscard]] static std::size_t bytes(std::size_t queues, std::size_t size) noexcept {
    return queues * queue_bytes(size);
  }

  /// Makes a file with an empty record. Not open if there is no memory.
  [[nodiscard]] static Descriptor make_file(std::size_t queues, std::size_t size) {
    Descriptor file{memfd_create("vhost-user-blk-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (ftruncate(file.get(), static_cast<off_t>(bytes(queues, size))) != 0) return Descriptor{};
    if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return Descriptor{};
    return file;
  }

  /// Maps a record.
  /// Errors: MemoryError.
  [[nodiscard]] static std::expected<InflightRecord, MemoryError> map(
      const Descriptor& file, const vhost_user::Inflight& description) {
    // This target makes records at the start of their files.
    const std::size_t needed = bytes(description.num_queues, description.queue_size);
    const bool is_empty = description.num_queues == 0 || description.queue_size == 0;
    if (is_empty || description.mmap_size < needed) {
      return std::unexpected(MemoryError::empty_region);
    }
    if (description.mmap_offset != 0) return std::unexpected(MemoryError::not_mappable);
    auto mapping = FileMapping::map(file, needed, true);
    if (!mapping) return std::unexpected(mapping.error());
    InflightRecord record;
    record.file_ = std::move(*mapping);
    record.queues_ = description.num_queues;
    record.size_ = description.queue_size;
    return record;
  }

  /// The part of the queue with this index. A queue that the record does not have notes nothing.
  [[nodiscard]] InflightQueue queue(std::size_t index) const noexcept {
    if (index >= queues_) return {};
    return {file_.bytes().data + index * queue_bytes(size_), size_};
  }

 private:
  [[nodiscard]] static std::size_t queue_bytes(std::size_t size) noexcept {
    const std::size_t bytes =
        sizeof(vhost_user::InflightQueueHeader) + size * sizeof(vhost_user::InflightDescriptor);
    return (bytes + 63) / 64 * 64;
  }

  FileMapping file_;
  std::size_t queues_ = 0;
  std::uint16_t size_ = 0;
};

}  // namespace vhost_user_blk

#endif
