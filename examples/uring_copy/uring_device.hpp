// SPDX-License-Identifier: BSL-1.0
//
// UringDevice: io_uring as the device. A command's value is its user_data.

#ifndef URING_COPY_URING_DEVICE_HPP
#define URING_COPY_URING_DEVICE_HPP

#include <liburing.h>

#include <cstdint>
#include <expected>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "buffers.hpp"
#include "device.hpp"
#include "problem.hpp"

namespace uring_copy {

class UringDevice final : public Device {
 public:
  /// Makes a ring with room for the commands of all buffers.
  [[nodiscard]] static std::expected<std::unique_ptr<UringDevice>, Problem> create(
      int source_fd, int destination_fd, const Buffers& buffers) {
    std::unique_ptr<UringDevice> device{
        new UringDevice(source_fd, destination_fd, buffers.regions())};
    device->limits_.resize(buffers.count());
    // The completion queue is twice as long as the submission queue: long enough for three entries
    // of each publication.
    const std::uint32_t entries = buffers.count() * 2;
    const int error = -io_uring_queue_init(entries, &device->ring_, 0);
    if (error != 0) return std::unexpected(setup_problem(error));
    device->is_open_ = true;
    device->register_error_ = buffers.regions().register_with(device->ring_);
    return device;
  }

  ~UringDevice() override {
    if (is_open_) io_uring_queue_exit(&ring_);
  }

  /// 0 if the buffers are registered, or the errno value of the registration, most often ENOMEM for
  /// the limit on locked memory. The device works without registration too.
  [[nodiscard]] int register_error() const noexcept { return register_error_; }

  [[nodiscard]] std::expected<void, int> issue(const Command& command,
                                               std::uint64_t cookie) override {
    // A command and its time limit are linked, and linked entries must be submitted together.
    const bool has_limit = command.timeout_ms != 0;
    if (const auto room = make_room(has_limit ? 2 : 1); !room) return room;
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    prepare(sqe, command);
    io_uring_sqe_set_data64(sqe, id_of(Entry::io, cookie));
    ++outstanding_;
    if (has_limit) {
      sqe->flags |= IOSQE_IO_LINK;
      // The kernel reads the limit at the next submit.
      __kernel_timespec& limit = limits_[command.buffer_index];
      limit.tv_sec = command.timeout_ms / 1000;
      limit.tv_nsec = command.timeout_ms % 1000 * 1'000'000;
      io_uring_sqe* const limit_sqe = io_uring_get_sqe(&ring_);
      io_uring_prep_link_timeout(limit_sqe, &limit, 0);
      io_uring_sqe_set_data64(limit_sqe, id_of(Entry::link_timeout, cookie));
      ++outstanding_;
    }
    return {};
  }

  [[nodiscard]] std::expected<void, int> cancel(std::uint64_t cookie) override {
    if (const auto room = make_room(1); !room) return room;
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_cancel64(sqe, id_of(Entry::io, cookie), 0);
    io_uring_sqe_set_data64(sqe, id_of(Entry::cancel, cookie));
    ++outstanding_;
    return {};
  }

  [[nodiscard]] std::expected<void, int> submit() override {
    // Releases all earlier writes: a store-release of the queue's tail, then a system call.
    const int submitted = io_uring_submit(&ring_);
    if (submitted < 0) return std::unexpected(-submitted);
    return {};
  }

  [[nodiscard]] std::expected<std::span<const Completion>, int> reap() override {
    completions_.clear();
    __kernel_timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
    io_uring_cqe* cqe = nullptr;
    const int result = io_uring_wait_cqe_timeout(&ring_, &cqe, &tick);
    if (result < 0 && result != -ETIME && !is_busy(-result)) return std::unexpected(-result);
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
      completions_.push_back({cqe->user_data, cqe->res});
      io_uring_cqe_seen(&ring_, cqe);
    }
    outstanding_ -= completions_.size();
    return completions_;
  }

  [[nodiscard]] std::size_t outstanding() const noexcept override { return outstanding_; }

 private:
  UringDevice(int source_fd, int destination_fd, const blkown::dma::UringBuffers& regions)
      : regions_{regions}, source_fd_{source_fd}, destination_fd_{destination_fd} {}

  [[nodiscard]] std::expected<void, int> make_room(unsigned entries) {
    if (io_uring_sq_space_left(&ring_) >= entries) return {};
    if (const auto rung = submit(); !rung) return rung;
    if (io_uring_sq_space_left(&ring_) < entries) return std::unexpected(EBUSY);
    return {};
  }

  void prepare(io_uring_sqe* sqe, const Command& command) const noexcept {
    void* const data = memory_at(command.memory).data;
    const auto length = static_cast<unsigned>(command.memory.length_bytes);
    const std::uint64_t offset = command.offset_bytes;
    const auto index = regions_.buffer_index(command.memory.iova);
    if (command.operation == Operation::read) {
      if (index.has_value()) {
        io_uring_prep_read_fixed(sqe, source_fd_, data, length, offset, *index);
      } else {
        io_uring_prep_read(sqe, source_fd_, data, length, offset);
      }
    } else if (index.has_value()) {
      io_uring_prep_write_fixed(sqe, destination_fd_, data, length, offset, *index);
    } else {
      io_uring_prep_write(sqe, destination_fd_, data, length, offset);
    }
  }

  /// The message for a failed setup, with the remedy.
  [[nodiscard]] static Problem setup_problem(int error) {
    const std::string text = "io_uring is not available: " + error_text(error) + "; ";
    if (error != ENOSYS && error != EPERM && error != EACCES) {
      return {text +
                  "raise the limit on locked memory (ulimit -l), lower --depth, or use --backend"
                  " threads",
              exit_unavailable};
    }
    int disabled = 0;
    std::ifstream{"/proc/sys/kernel/io_uring_disabled"} >> disabled;
    if (disabled != 0) {
      return {text + "kernel.io_uring_disabled is " + std::to_string(disabled) +
                  ": run 'sysctl kernel.io_uring_disabled=0' as root, or use --backend threads",
              exit_unavailable};
    }
    return {text +
                "in a container, allow io_uring_setup, io_uring_enter and io_uring_register in its"
                " seccomp profile; else the kernel must have CONFIG_IO_URING; or use --backend"
                " threads",
            exit_unavailable};
  }

  io_uring ring_{};
  std::vector<__kernel_timespec> limits_;  // one for each buffer
  const blkown::dma::UringBuffers& regions_;
  int source_fd_;
  int destination_fd_;
  int register_error_ = 0;
  bool is_open_ = false;
  std::size_t outstanding_ = 0;
  std::vector<Completion> completions_;
};

}  // namespace uring_copy

#endif
