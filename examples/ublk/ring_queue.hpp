// SPDX-License-Identifier: BSL-1.0
//
// RingQueue: the kernel's side of a queue through io_uring and the mapped descriptors.

#ifndef UBLK_RING_QUEUE_HPP
#define UBLK_RING_QUEUE_HPP

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "kernel_queue.hpp"
#include "passthrough_ring.hpp"
#include "protocol.hpp"

namespace ublk {

/// Synchronization: one thread. The kernel takes commands from the thread only that fetched first.
class RingQueue final : public KernelQueue {
 public:
  RingQueue(int char_device, blkown::QueueIndex index, std::uint32_t depth) noexcept
      : char_device_{char_device}, index_{index}, depth_{depth} {}
  ~RingQueue() override {
    if (descriptors_ != MAP_FAILED) munmap(descriptors_, mapped_bytes());
  }

  /// Returns an errno value, or 0.
  [[nodiscard]] int open() noexcept {
    // The place of a queue's descriptors does not depend on the depth of the device.
    const std::size_t stride = UBLK_MAX_QUEUE_DEPTH * sizeof(ublksrv_io_desc);
    descriptors_ = mmap(nullptr, mapped_bytes(), PROT_READ, MAP_SHARED | MAP_POPULATE, char_device_,
                        static_cast<off_t>(UBLKSRV_CMD_BUF_OFFSET + index_.value * stride));
    return descriptors_ == MAP_FAILED ? errno : ring_.open(depth_);
  }
  [[nodiscard]] int fd() const noexcept { return ring_.fd(); }
  [[nodiscard]] bool submit() noexcept { return ring_.submit(); }
  [[nodiscard]] std::optional<PassthroughRing::Completion> take() noexcept { return ring_.take(); }

  [[nodiscard]] ublksrv_io_desc descriptor(blkown::Tag tag) const override {
    ublksrv_io_desc copy;
    std::memcpy(&copy, static_cast<const ublksrv_io_desc*>(descriptors_) + tag.value, sizeof(copy));
    return copy;
  }
  void fetch(blkown::Tag tag, std::byte* buffer) override { add(Opcode::fetch, tag, 0, buffer); }
  void commit(blkown::Tag tag, std::int32_t result, std::byte* buffer) override {
    add(Opcode::commit_and_fetch, tag, result, buffer);
  }

 private:
  [[nodiscard]] std::size_t mapped_bytes() const noexcept {
    constexpr std::size_t page_bytes = 4096;
    return (depth_ * sizeof(ublksrv_io_desc) + page_bytes - 1) / page_bytes * page_bytes;
  }
  void add(Opcode opcode, blkown::Tag tag, std::int32_t result, std::byte* buffer) {
    ublksrv_io_cmd command{};
    command.q_id = static_cast<std::uint16_t>(index_.value);
    command.tag = static_cast<std::uint16_t>(tag.value);
    command.result = result;
    command.addr = reinterpret_cast<std::uintptr_t>(buffer);
    // A tag has one command at a time, and the ring an entry for each tag: there is room.
    static_cast<void>(ring_.add(char_device_, opcode, command, tag.value));
  }

  int char_device_;
  blkown::QueueIndex index_;
  std::uint32_t depth_;
  void* descriptors_ = MAP_FAILED;
  PassthroughRing ring_;
};

}  // namespace ublk

#endif
