// SPDX-License-Identifier: BSL-1.0
//
// FileStore: a disk in a file or a block device, through io_uring. The user_data of an entry is the
// request's cookie, and the ring sends it back with the result.
//
//   1. A command is one or more steps: a transfer may be short, and is then continued. Each step is
//      a publication, with a cookie of its own.
//   2. The kernel moves the data from and to the guest's memory itself. The memory stays mapped
//      until nothing is in flight (front_end.hpp).
//   3. The step's completion is looked up. A value that names no step in flight is counted.
//   4. A step that the ring has no room for is held back, and published at the next poll().

#ifndef VHOST_USER_BLK_FILE_STORE_HPP
#define VHOST_USER_BLK_FILE_STORE_HPP

#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <array>
#include <blkown/blkown.hpp>
#include <blkown/error_code.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block_request.hpp"
#include "request.hpp"
#include "signal.hpp"
#include "store.hpp"

namespace vhost_user_blk {

class FileStore final : public Store {
 public:
  /// Opens the file.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Store>, std::string> open(
      const std::string& path, bool read_only) {
    Descriptor fd{::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC)};
    struct stat status{};
    if (!fd.is_open() || fstat(fd.get(), &status) != 0) {
      return std::unexpected(path + ": " + std::strerror(errno));
    }
    DiskInfo info{.size_bytes = static_cast<std::uint64_t>(status.st_size), .read_only = read_only};
    if (S_ISBLK(status.st_mode)) {
      if (ioctl(fd.get(), BLKGETSIZE64, &info.size_bytes) != 0) {
        return std::unexpected(path + ": " + std::strerror(errno));
      }
    } else if (!S_ISREG(status.st_mode)) {
      return std::unexpected(path + ": neither a file nor a block device");
    }
    if (info.size_bytes % virtio::blk::sector_bytes != 0) {
      return std::unexpected(path + ": not a whole number of sectors of 512 bytes");
    }
    return std::unique_ptr<Store>{new FileStore{std::move(fd), info}};
  }
  ~FileStore() override {
    if (is_open_) io_uring_queue_exit(&ring_);
  }

  [[nodiscard]] DiskInfo info() const override { return info_; }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    if (!wake_.is_open()) return std::unexpected(std::string{"out of file descriptors"});
    context_.emplace(context);
    transfers_.resize(std::size_t{context.tags.queue_count()} * context.tags.depth());
    int error = -io_uring_queue_init(256, &ring_, 0);
    is_open_ = error == 0;
    if (error == 0) error = -io_uring_register_eventfd(&ring_, wake_.get());
    if (error == 0) return {};
    return std::unexpected(std::string{"io_uring is not available: "} + std::strerror(error));
  }

  void start(blkown::Owned<Rq> request) override {
    transfer_of(request.queue(), request.tag()).done_bytes = 0;
    publish(std::move(request).into_claim());
  }

  [[nodiscard]] int wake_fd() override { return wake_.get(); }

  void poll() override {
    for (Claim& claim : std::exchange(held_back_, {})) publish(std::move(claim));
    do {
      // A submission that fails for lack of memory is tried again below.
      if (io_uring_sq_ready(&ring_) != 0) static_cast<void>(io_uring_submit(&ring_));
      take_completions();
    } while (io_uring_sq_ready(&ring_) != 0 && io_uring_cq_ready(&ring_) != 0);
    if (io_uring_sq_ready(&ring_) != 0 || !held_back_.empty()) send_signal(wake_);
  }

 private:
  using Claim = blkown::Claim<Rq>;
  using LookupError = blkown::LookupError;

  /// The completions that are looked up together, at most.
  static constexpr unsigned max_batch = 32;

  /// A command's progress. Accessed by the holder of its request's Owned or Claim.
  struct Transfer {
    std::uint64_t done_bytes = 0;
    std::vector<iovec> rest{};  // of the data. The kernel reads it when the entry is submitted
  };

  FileStore(Descriptor fd, const DiskInfo& info) noexcept : fd_{std::move(fd)}, info_{info} {}

  [[nodiscard]] Transfer& transfer_of(blkown::QueueIndex queue, blkown::Tag tag) noexcept {
    return transfers_[std::size_t{queue.value} * context_->tags.depth() + tag.value];
  }

  /// Gives the request's next step to the ring.
  void publish(Claim claim) {
    // A published request may end at any moment: the entry is complete before, but for the cookie.
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      static_cast<void>(io_uring_submit(&ring_));
      sqe = io_uring_get_sqe(&ring_);
    }
    if (sqe == nullptr) {
      held_back_.push_back(std::move(claim));
      return;
    }
    prepare(*sqe, claim.data(), transfer_of(claim.queue(), claim.tag()));
    std::move(claim).publish(
        [&](blkown::Cookie cookie) { io_uring_sqe_set_data64(sqe, cookie.value); });
  }

  void prepare(io_uring_sqe& sqe, const Command& command, Transfer& transfer) const {
    switch (command.operation) {
      case Operation::read:
        prepare_rest(command, transfer);
        io_uring_prep_readv(&sqe, fd_.get(), transfer.rest.data(),
                            static_cast<unsigned>(transfer.rest.size()),
                            command.offset + transfer.done_bytes);
        return;
      case Operation::write:
        prepare_rest(command, transfer);
        io_uring_prep_writev(&sqe, fd_.get(), transfer.rest.data(),
                             static_cast<unsigned>(transfer.rest.size()),
                             command.offset + transfer.done_bytes);
        return;
      case Operation::discard: return prepare_allocate(sqe, command, FALLOC_FL_PUNCH_HOLE);
      case Operation::write_zeroes:
        return prepare_allocate(sqe, command,
                                command.may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
      case Operation::flush:
      case Operation::get_id: io_uring_prep_fsync(&sqe, fd_.get(), IORING_FSYNC_DATASYNC); return;
    }
  }
  void prepare_allocate(io_uring_sqe& sqe, const Command& command, int mode) const {
    // The type of the function's offset differs between versions of liburing.
    io_uring_prep_fallocate(&sqe, fd_.get(), mode | FALLOC_FL_KEEP_SIZE, 0, 0);
    sqe.off = command.offset;
    sqe.addr = command.length;
  }
  /// The data without what is done.
  static void prepare_rest(const Command& command, Transfer& transfer) {
    transfer.rest.clear();
    std::size_t skip = transfer.done_bytes;
    for (const blkown::Segment& each : command.data) {
      const blkown::Segment left = each.part(skip, each.length_bytes);
      skip -= each.length_bytes - left.length_bytes;
      if (!left.empty()) transfer.rest.push_back({left.data, left.length_bytes});
    }
  }

  /// Takes what the ring has sent back. Any value is a request in flight, or is refused.
  void take_completions() {
    std::array<io_uring_cqe*, max_batch> entries;
    std::array<std::uint64_t, max_batch> values;
    std::array<int, max_batch> results;
    while (const unsigned taken = io_uring_peek_batch_cqe(&ring_, entries.data(), max_batch)) {
      for (unsigned i = 0; i != taken; ++i) {
        values[i] = entries[i]->user_data;
        results[i] = entries[i]->res;
      }
      io_uring_cq_advance(&ring_, taken);
      const auto handle = [&](std::size_t index, std::expected<Claim, LookupError> claim) {
        complete(std::move(claim), results[index]);
      };
      context_->tags.claim_each(std::span{values.data(), taken}, handle);
    }
  }
  void complete(std::expected<Claim, LookupError> claim, int result) {
    if (!claim) {
      context_->refused_lookups.count(claim.error().reason);
      return;
    }
    if (result == -EINTR || result == -EAGAIN) return publish(std::move(*claim));
    const Command& command = claim->data();
    const bool is_transfer =
        command.operation == Operation::read || command.operation == Operation::write;
    if (is_transfer && result >= 0) return advance(std::move(*claim), result);
    // A discard is advice.
    if (command.operation == Operation::discard && result == -EOPNOTSUPP) result = 0;
    std::move(*claim).end(blkown::status_of_errno(result));
  }
  /// A transfer has moved `result` bytes.
  void advance(Claim claim, int result) {
    Transfer& transfer = transfer_of(claim.queue(), claim.tag());
    transfer.done_bytes += static_cast<std::uint64_t>(result);
    if (transfer.done_bytes == claim.data().length) {
      std::move(claim).end_ok();
    } else if (result == 0 || transfer.done_bytes > claim.data().length) {
      // A file that has become shorter ends a read early.
      std::move(claim).end(blkown::Status::io_error);
    } else {
      publish(std::move(claim));
    }
  }

  Descriptor fd_;
  DiskInfo info_;
  std::optional<StoreContext> context_;
  std::vector<Transfer> transfers_;  // one for each request
  io_uring ring_{};
  bool is_open_ = false;
  Descriptor wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::vector<Claim> held_back_;
};

}  // namespace vhost_user_blk

#endif
