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

#include "console.hpp"
#include "controller.hpp"
#include "cpu.hpp"
#include "io_queue.hpp"

namespace kernel {

enum class Step : std::uint8_t { idle, write, read };

/// A region of the disk, and the I/O of the moment.
struct Slot {
  static constexpr std::uint32_t region_bytes = 4096;
  static constexpr std::uint32_t region_count = 8;

  alignas(4096) std::byte written[2 * 4096];
  alignas(4096) std::byte read[2 * 4096];
  Completion completion;
  Step step = Step::idle;
  std::uint32_t index = 0;
  std::uint32_t round = 0;

  // The length and the place in memory and on the disk change with each round. The memory may lie
  // in two pages.
  [[nodiscard]] std::uint32_t length_bytes() const { return 512U << (round % 4); }
  [[nodiscard]] std::uint32_t offset_bytes() const { return round / 4 % 8 * 512; }
  [[nodiscard]] std::uint64_t disk_bytes() const {
    return (std::uint64_t{index} * region_count + round % region_count) * region_bytes;
  }
  /// The word of the pattern at `i`.
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
  // One tag is left for the timer's interrupt, which needs it for the length of a tick.
  static constexpr std::uint32_t slot_count = IoQueue::config.depth - 1;

  /// Lets each slot go on whose I/O has ended. False if everything has ended.
  bool take_a_turn() {
    bool has_progress = false;
    bool is_busy = false;
    for (Slot& slot : slots_) {
      if (slot.step != Step::idle && !slot.completion.is_finished()) {
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
      if (slot.step != Step::idle && slot.completion.is_finished()) {
        cpu::enable_interrupts();
        return;
      }
    }
    cpu::enable_interrupts_and_wait();
  }

  void go_on(Slot& slot) {
    if (slot.step != Step::idle && slot.completion.status() != Status::ok) {
      fail("slot ", slot.index, ": the I/O ended with ", to_string(slot.completion.status()));
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
    const auto address = reinterpret_cast<std::uintptr_t>(
        (step == Step::read ? slot.read : slot.written) + slot.offset_bytes());
    auto entry = step == Step::read ? nvme_driver::SubmissionEntry::read(disk_.id, blocks)
                                    : nvme_driver::SubmissionEntry::write(disk_.id, blocks);
    // Two entries suffice, and the second page follows the first.
    entry.prp1 = address;
    entry.prp2 = (address & 4095) + slot.length_bytes() > 4096 ? (address | 4095) + 1 : 0;
    slot.step = step;
    if (left_ != 0) --left_;
    if (!io_->submit(slot.completion, entry)) {
      fail("no tag is free, but fewer I/Os than tags are in flight: ",
           io_->tags().taken_count(IoQueue::queue), " taken");
    }
  }

  void fill(Slot& slot) const {
    auto* const words = reinterpret_cast<std::uint64_t*>(slot.written + slot.offset_bytes());
    for (std::uint32_t i = 0; i != slot.length_bytes() / 8; ++i) words[i] = slot.pattern(i);
  }

  void verify(const Slot& slot) {
    const auto* const words =
        reinterpret_cast<const std::uint64_t*>(slot.read + slot.offset_bytes());
    for (std::uint32_t i = 0; i != slot.length_bytes() / 8; ++i) {
      if (words[i] == slot.pattern(i)) continue;
      fail("slot ", slot.index, " round ", slot.round, ": word ", i, " is ", Hex{words[i]},
           ", and was written as ", Hex{slot.pattern(i)});
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
