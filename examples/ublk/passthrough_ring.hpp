// SPDX-License-Identifier: BSL-1.0
//
// PassthroughRing: an io_uring whose entries have room for a driver's own struct.

#ifndef UBLK_PASSTHROUGH_RING_HPP
#define UBLK_PASSTHROUGH_RING_HPP

#include <liburing.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "protocol.hpp"

namespace ublk {

/// Synchronization: one thread, the one that submits.
class PassthroughRing {
 public:
  struct Completion {
    std::uint64_t value = 0;
    std::int32_t result = 0;
  };

  PassthroughRing() = default;
  PassthroughRing(const PassthroughRing&) = delete;
  PassthroughRing& operator=(const PassthroughRing&) = delete;
  ~PassthroughRing() {
    if (is_open_) io_uring_queue_exit(&ring_);
  }

  /// Returns an errno value, or 0.
  [[nodiscard]] int open(std::uint32_t entries) noexcept {
    const int error = -io_uring_queue_init(entries, &ring_, IORING_SETUP_SQE128);
    is_open_ = error == 0;
    return error;
  }
  /// The ring's descriptor, which can be read when a command has completed.
  [[nodiscard]] int fd() const noexcept { return ring_.ring_fd; }

  /// Adds a command for the driver of `fd`. submit() sends it. Returns false without room.
  template <class Struct>
  [[nodiscard]] bool add(int fd, Opcode opcode, const Struct& command, std::uint64_t value) {
    // The struct begins in the last 16 bytes of an ordinary entry, and goes on in the next one.
    constexpr std::size_t command_offset = 48;
    static_assert(sizeof(Struct) <= 2 * sizeof(io_uring_sqe) - command_offset);
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      static_cast<void>(submit());
      sqe = io_uring_get_sqe(&ring_);
    }
    if (sqe == nullptr) return false;
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, nullptr, 0, 0);
    // The opcode of the driver is the low half of the entry's offset, the high half is 0.
    sqe->off = static_cast<std::uint32_t>(opcode);
    io_uring_sqe_set_data64(sqe, value);
    std::memcpy(reinterpret_cast<std::byte*>(sqe) + command_offset, &command, sizeof(command));
    return true;
  }
  /// Returns whether the kernel has taken all commands. Without memory (EAGAIN, ENOMEM) it takes
  /// none or some: the others stay in the ring, and the caller tries again a moment later.
  [[nodiscard]] bool submit() noexcept {
    while (io_uring_sq_ready(&ring_) != 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted <= 0 && submitted != -EINTR) return false;
    }
    return true;
  }
  [[nodiscard]] std::optional<Completion> take() noexcept {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) return std::nullopt;
    const Completion completion{.value = cqe->user_data, .result = cqe->res};
    io_uring_cqe_seen(&ring_, cqe);
    return completion;
  }
  /// Submits, and waits for a completion.
  [[nodiscard]] Completion wait() noexcept {
    while (true) {
      if (const auto completion = take()) return *completion;
      io_uring_submit_and_wait(&ring_, 1);
    }
  }

 private:
  io_uring ring_{};
  bool is_open_ = false;
};

}  // namespace ublk

#endif
