// SPDX-License-Identifier: BSL-1.0
//
// Workload: I/Os whose data is verified. Each of several slots writes a pattern of its own, reads
// the same blocks into other memory, and compares.

#ifndef EXAMPLES_KERNEL_WORKLOAD_HPP
#define EXAMPLES_KERNEL_WORKLOAD_HPP

#include <blkown/blkown.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

#include "console.hpp"
#include "controller.hpp"
#include "cpu.hpp"
#include "io_queue.hpp"

namespace kernel {

/// Four pages whose middle two are swapped, so that a transfer is not contiguous.
struct Buffer {
  static constexpr std::uint32_t page_bytes = 4096;
  static constexpr std::uint32_t page_count = Transfer::max_segments;
  using Segments = blkown::Segment[page_count];

  alignas(page_bytes) std::byte pages[page_count][page_bytes];

  /// The parts of pages that hold `length_bytes` bytes from `offset_bytes` on.
  [[nodiscard]] std::span<const blkown::Segment> segments(std::uint32_t offset_bytes,
                                                          std::uint32_t length_bytes,
                                                          Segments& storage) {
    constexpr std::uint32_t order[page_count]{0, 2, 1, 3};
    std::size_t count = 0;
    for (std::uint32_t left = length_bytes; left != 0;) {
      const std::uint32_t in_page = offset_bytes % page_bytes;
      const std::uint32_t part = left < page_bytes - in_page ? left : page_bytes - in_page;
      storage[count++] = {pages[order[offset_bytes / page_bytes]] + in_page, part};
      offset_bytes += part;
      left -= part;
    }
    return {storage, count};
  }
};

enum class Step : std::uint8_t { idle, write, read };

/// A region of the disk, and the I/O of the moment.
struct Slot {
  static constexpr std::uint32_t region_bytes = sizeof(Buffer);
  static constexpr std::uint32_t region_count = 8;

  Buffer written;
  Buffer read;
  Completion completion;
  Step step = Step::idle;
  std::uint32_t index = 0;
  std::uint32_t round = 0;

  // The length, and the place in memory and on the disk, change with each round. One to four PRP
  // entries.
  [[nodiscard]] std::uint32_t length_bytes() const {
    constexpr std::uint32_t blocks[8]{1, 2, 1, 8, 1, 4, 1, 21};
    return 512 * blocks[round % 8];
  }
  [[nodiscard]] std::uint32_t offset_bytes() const { return round / 8 % 8 * 512; }
  [[nodiscard]] std::uint64_t disk_bytes() const {
    return (std::uint64_t{index} * region_count + round / 3 % region_count) * region_bytes;
  }
  [[nodiscard]] std::span<const blkown::Segment> segments(Buffer& buffer,
                                                          Buffer::Segments& storage) const {
    return buffer.segments(offset_bytes(), length_bytes(), storage);
  }
  /// Word `i` of the pattern.
  [[nodiscard]] std::uint64_t pattern(std::uint32_t i) const {
    return (std::uint64_t{round} << 32 | index << 24 | i) * 0x9e3779b97f4a7c15;
  }
};

/// Context: the main one.
class Workload {
 public:
  Workload(IoQueue& io, const Namespace& disk) : io_{&io}, disk_{disk} {
    if (disk.blocks * disk.block_bytes <
        std::uint64_t{slot_count} * Slot::region_count * Slot::region_bytes)
      fail("the disk is too small");
    for (std::uint32_t i = 0; i != slot_count; ++i) slots_[i].index = i;
  }

  /// Makes this many I/Os, and returns when all have ended.
  void run(std::uint64_t count) {
    left_ = count;
    while (take_a_turn()) {
    }
  }

  [[nodiscard]] std::uint64_t verified_bytes() const { return verified_bytes_; }

 private:
  // The timer's interrupt has a tag for its own I/O, and may delay the end of another one by a pin.
  static constexpr std::uint32_t slot_count = IoQueue::config.depth - 2;

  /// Whether the slot's I/O is in flight.
  [[nodiscard]] static bool is_in_flight(const Slot& slot) {
    return slot.step != Step::idle && slot.completion.state() == Completion::State::in_flight;
  }

  /// Lets each slot go on whose I/O has ended. False if everything has ended.
  bool take_a_turn() {
    bool has_progress = false;
    bool is_busy = false;
    for (Slot& slot : slots_) {
      if (is_in_flight(slot)) {
        is_busy = true;
      } else if (slot.step != Step::idle || left_ != 0) {
        go_on(slot);
        is_busy = has_progress = true;
      }
    }
    if (is_busy && !has_progress) await_interrupt();
    return is_busy;
  }

  void await_interrupt() const {
    cpu::disable_interrupts();
    for (const Slot& slot : slots_) {
      if (slot.step != Step::idle && !is_in_flight(slot)) return cpu::enable_interrupts();
    }
    cpu::enable_interrupts_and_wait();
  }

  void go_on(Slot& slot) {
    if (slot.step != Step::idle) {
      const Status status = io_->end(slot.completion);
      if (status != Status::ok) {
        fail("slot ", slot.index, ": the I/O ended with ", to_string(status));
      }
    }
    switch (slot.step) {
      case Step::idle: fill(slot); return submit(slot, Step::write);
      case Step::write: return submit(slot, Step::read);
      case Step::read:
        verify(slot);
        ++slot.round;
        slot.step = Step::idle;
    }
  }

  void submit(Slot& slot, Step step) {
    const nvme::BlockRange blocks{.slba = slot.disk_bytes() / disk_.block_bytes,
                                  .block_count = slot.length_bytes() / disk_.block_bytes};
    Buffer::Segments segments;
    const Transfer transfer =
        step == Step::read ? Transfer{.command = nvme::SubmissionEntry::read(disk_.id, blocks),
                                      .memory = slot.segments(slot.read, segments),
                                      .direction = dma::Direction::from_device}
                           : Transfer{.command = nvme::SubmissionEntry::write(disk_.id, blocks),
                                      .memory = slot.segments(slot.written, segments),
                                      .direction = dma::Direction::to_device};
    slot.step = step;
    if (left_ != 0) --left_;
    if (!io_->submit(slot.completion, transfer)) {
      fail("no tag is free, but fewer I/Os than tags are in flight: ",
           io_->tags().taken_count(IoQueue::queue), " taken");
    }
  }

  static void fill(Slot& slot) {
    Buffer::Segments storage;
    std::uint32_t i = 0;
    for (const blkown::Segment& segment : slot.segments(slot.written, storage)) {
      auto* const words = reinterpret_cast<std::uint64_t*>(segment.data);
      for (std::size_t at = 0; at != segment.length_bytes / 8; ++at) words[at] = slot.pattern(i++);
    }
  }

  void verify(Slot& slot) {
    Buffer::Segments storage;
    std::uint32_t i = 0;
    for (const blkown::Segment& segment : slot.segments(slot.read, storage)) {
      const auto* const words = reinterpret_cast<const std::uint64_t*>(segment.data);
      for (std::size_t at = 0; at != segment.length_bytes / 8; ++at, ++i) {
        if (words[at] == slot.pattern(i)) continue;
        fail("slot ", slot.index, " round ", slot.round, ": word ", i, " is ", Hex{words[at]},
             ", and was written as ", Hex{slot.pattern(i)});
      }
    }
    verified_bytes_ += slot.length_bytes();
  }

  IoQueue* io_;
  Namespace disk_;
  std::uint64_t left_ = 0;
  std::uint64_t verified_bytes_ = 0;
  static inline constinit Slot slots_[slot_count]{};
};

}  // namespace kernel

#endif
