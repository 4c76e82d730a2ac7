// SPDX-License-Identifier: BSL-1.0
//
// UringFile: a file or a block device through io_uring, for the requests of any front end. Each
// worker has a ring. The user_data of an entry is the request's cookie, and the ring sends it back
// with the result.
//
//   1. An I/O is one or more steps: a transfer, which may be short and is then continued; an
//      allocation; a sync after it. Each step is a publication, with a cookie of its own.
//   2. A step that moves data maps its memory: in the buffers that are registered with the ring,
//      else at its own address. The mapping pins the request.
//   3. The completion of the step is looked up. Its Claim proves that the kernel is done with the
//      memory.
//   4. A step that the ring has no room for is held back, and published at the next poll().
//   5. An I/O that takes too long is cancelled. It ends by its own completion, with timed_out if
//      the cancellation was in time: only then is the kernel done with the memory. A step that was
//      interrupted (EINTR, EAGAIN) is issued again, but not after a cancellation.
//   6. A transfer of a file in memory (tmpfs) is executed by start(), if the front end allows that.
//      Such a file system has no way not to wait, so the ring would give each I/O to a thread.
//
// A submitter that is gone changes nothing here: the kernel has the memory until the completion of
// the step, and until then neither the request nor the memory is used for anything else.

#ifndef STORAGE_URING_FILE_HPP
#define STORAGE_URING_FILE_HPP

#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/dma/identity_backend.hpp>
#include <blkown/dma/uring_buffers.hpp>
#include <blkown/error_code.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "descriptor.hpp"
#include "io.hpp"

namespace storage {

/// What a file can do. All sizes in bytes.
struct FileInfo {
  std::uint64_t size = 0;
  std::uint32_t min_block = 1;  ///< Offsets and lengths are multiples. A power of two.
  bool read_only = false;
  bool is_block_device = false;
  bool is_in_memory = false;  ///< On tmpfs.
};

/// R is the request type of the front end: `io_of(data)` is declared beside its data.
template <class R>
class UringFile {
 public:
  /// Opens the file. With `direct`, without the kernel's cache.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<UringFile>, std::string> open(
      const std::string& path, bool read_only, bool direct) {
    const int flags = (read_only ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0) | O_CLOEXEC;
    Descriptor fd{::open(path.c_str(), flags)};
    if (fd.get() < 0) return std::unexpected(path + ": " + std::strerror(errno));
    struct stat status{};
    if (fstat(fd.get(), &status) != 0) return std::unexpected(path + ": " + std::strerror(errno));
    FileInfo info{.size = static_cast<std::uint64_t>(status.st_size), .read_only = read_only};
    info.is_block_device = S_ISBLK(status.st_mode);
    if (info.is_block_device) {
      if (ioctl(fd.get(), BLKGETSIZE64, &info.size) != 0) {
        return std::unexpected(path + ": " + std::strerror(errno));
      }
    } else if (!S_ISREG(status.st_mode)) {
      return std::unexpected(path + ": neither a file nor a block device");
    }
    struct statfs system{};
    info.is_in_memory = !direct && fstatfs(fd.get(), &system) == 0 && system.f_type == TMPFS_MAGIC;
    if (direct) info.min_block = direct_block_of(fd.get());
    if (info.size % info.min_block != 0) {
      return std::unexpected(path +
                             ": without the kernel's cache, the size must be whole blocks of " +
                             std::to_string(info.min_block) + " bytes");
    }
    return std::unique_ptr<UringFile>{new UringFile{path, std::move(fd), info}};
  }

  UringFile(const UringFile&) = delete;
  UringFile& operator=(const UringFile&) = delete;

  [[nodiscard]] FileInfo info() const noexcept { return info_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Lets start() execute the transfers of a file in memory. Returns whether it does. Called before
  /// attach().
  bool transfer_at_once() noexcept { return transfers_at_once_ = info_.is_in_memory; }

  /// Makes a ring for each worker: one for each region, which is registered with it. Called once,
  /// before the functions below.
  /// Precondition: `tags` has cookie_layout.
  /// Errors: the reason in words.
  [[nodiscard]] std::expected<void, std::string> attach(blkown::TagSet<R>& tags,
                                                        RefusedLookups& refused,
                                                        std::span<const blkown::Segment> regions) {
    tags_ = &tags;
    refused_ = &refused;
    transfers_ = std::make_unique<Transfer[]>(std::size_t{tags_->queue_count()} * tags_->depth());
    for (const blkown::Segment& region : regions) {
      lanes_.push_back(std::make_unique<Lane>(region));
      if (const int error = lanes_.back()->open(); error != 0) {
        return std::unexpected(std::string{"io_uring is not available: "} + std::strerror(error));
      }
    }
    return {};
  }
  /// Closes the rings.
  /// Precondition: no request is in flight.
  void detach() { lanes_.clear(); }
  /// Prints a line if a region is not registered with its ring. All works without, but the kernel
  /// then maps the memory of each I/O.
  void warn_if_not_registered(const char* program) const {
    for (const auto& lane : lanes_) {
      if (lane->register_error == 0) continue;
      const bool is_limit = lane->register_error == ENOMEM;
      std::fprintf(stderr,
                   "%s: %s: buffers not registered with the kernel, going on without: %s%s\n",
                   program, path_.c_str(), std::strerror(lane->register_error),
                   is_limit ? "; raise the limit on locked memory (ulimit -l)" : "");
      return;
    }
  }

  /// Executes the request's I/O, and ends the request.
  /// Precondition: the range is within the file, and whole blocks.
  /// Context: the worker with this index.
  void start(blkown::Owned<R> request, std::uint32_t worker) {
    const Io io = io_of(request.data());
    // The kernel zeroes blocks of a device without a hole by writing, if the device cannot.
    if (info_.is_block_device && io.is_fast && io.keeps_blocks) {
      return std::move(request).end(blkown::Status::not_supported);
    }
    if (transfers_at_once_ && first_step(io.operation) == Step::transfer) {
      const int error = transfer_now(io);
      return std::move(request).end(blkown::status_of_errno(error));
    }
    Transfer& transfer = transfer_of(request.queue(), request.tag());
    transfer.step = first_step(io.operation);
    transfer.done_bytes = 0;
    transfer.is_cancelled = false;
    publish(*lanes_[worker], std::move(request).into_claim());
  }

  /// Cancels a step that is in flight. The request ends by the completion of the step, or, if the
  /// step was finished nevertheless and another follows, by that of a later one.
  /// Precondition: the caller has the request pinned.
  /// Context: the worker that started the request.
  void cancel(const blkown::Cookie& cookie, std::uint32_t worker) {
    Lane& lane = *lanes_[worker];
    // The caller's pin keeps the request, and all of its steps are on this worker.
    transfer_of(cookie.queue, cookie.tag).is_cancelled = true;
    io_uring_sqe* const sqe = take_entry(lane);
    // Without room, the caller's next try may find some.
    if (sqe == nullptr) return;
    io_uring_prep_cancel64(sqe, cookie.value, 0);
    io_uring_sqe_set_data64(sqe, cookie_layout.with_user(cookie.value, cancel_entry));
  }

  /// A descriptor that can be read when the ring of the worker wants poll() to be called.
  [[nodiscard]] int wake_fd(std::uint32_t worker) { return lanes_[worker]->wake.get(); }

  /// Submits what start() has collected, and handles what the kernel has completed. Does not block.
  /// Context: the worker with this index.
  void poll(std::uint32_t worker) {
    Lane& lane = *lanes_[worker];
    for (Claim& claim : std::exchange(lane.held_back, {})) publish(lane, std::move(claim));
    do {
      // The eventfd is for the sleep of the worker: what completes here is seen without.
      io_uring_cq_eventfd_toggle(&lane.ring, false);
      // A submission that fails for lack of memory is tried again below.
      if (io_uring_sq_ready(&lane.ring) != 0) static_cast<void>(io_uring_submit(&lane.ring));
      take_completions(worker);
      io_uring_cq_eventfd_toggle(&lane.ring, true);
      // Either the kernel sees the flag when it has added an entry, or the entry is seen here.
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } while (io_uring_cq_ready(&lane.ring) != 0);
    const std::uint64_t one = 1;
    const bool has_work = io_uring_sq_ready(&lane.ring) != 0 || !lane.held_back.empty();
    if (has_work) static_cast<void>(!::write(lane.wake.get(), &one, sizeof(one)));
  }

  /// The ring has sent values back, with their results. Any value is a request in flight, or is
  /// refused. poll() calls it for the completions of the kernel.
  /// Context: the worker with this index.
  void complete(std::uint32_t worker, std::span<const std::uint64_t> values,
                std::span<const int> results) {
    tags_->claim_each(values, [&](std::size_t index, std::expected<Claim, LookupError> claim) {
      if (claim.has_value()) {
        finish_step(*lanes_[worker], *std::move(claim), results[index]);
      } else {
        refused_->count(claim.error().reason);
      }
    });
  }

 private:
  using Claim = blkown::Claim<R>;
  using EndProof = blkown::dma::EndProof;
  using LookupError = blkown::LookupError;

  /// The number of completions that are looked up together, at most.
  static constexpr unsigned max_batch = 32;
  /// The user bits of an entry that cancels a step; those of a step are 0.
  static constexpr std::uint64_t cancel_entry = 1;

  enum class Step : std::uint8_t {
    transfer,  ///< Of the memory.
    zeroes,    ///< Of zeroes, if the file cannot make them in another way.
    allocate,  ///< fallocate: makes a hole, or zeroes.
    sync,
    advise,
  };

  /// An I/O's progress. Accessed by the holder of its request's Owned or Claim, and by cancel().
  struct Transfer {
    Step step{};
    bool is_cancelled = false;     // an interrupted step is not issued again
    std::uint64_t done_bytes = 0;  // of the transfer or the zeroes
    blkown::dma::IovaList<1> iovas{};
    std::optional<blkown::dma::ActiveMapping> mapping{};
  };

  /// What an entry of the ring says. Made before the publication, because a published request may
  /// end at any moment.
  struct Entry {
    Step step{};
    bool is_read = false;
    bool is_durable = false;
    int mode = 0;  // of fallocate
    blkown::dma::IovaSegment memory{};
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  /// One worker's ring.
  struct Lane {
    explicit Lane(blkown::Segment memory) noexcept
        : region{.iov_base = memory.data, .iov_len = memory.length_bytes} {}
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane() {
      if (is_open) io_uring_queue_exit(&ring);
    }
    /// Returns an errno value, or 0.
    [[nodiscard]] int open() {
      const int error = -io_uring_queue_init(256, &ring, 0);
      if (error != 0) return error;
      is_open = true;
      // Without registration, most often for the limit on locked memory, the kernel maps the memory
      // of each entry.
      register_error = registered.register_with(ring);
      if (wake.get() < 0) return EMFILE;
      return -io_uring_register_eventfd(&ring, wake.get());
    }

    iovec region;
    blkown::dma::UringBuffers registered{std::span{&region, 1}};
    blkown::dma::Device<blkown::dma::UringBuffers> slots{registered};
    blkown::dma::IdentityBackend identity{{.max_segment_bytes = 0x7FFF'F000}};
    blkown::dma::Device<blkown::dma::IdentityBackend> heap{identity};
    io_uring ring{};
    bool is_open = false;
    int register_error = 0;
    Descriptor wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::vector<Claim> held_back;
  };

  UringFile(std::string path, Descriptor fd, const FileInfo& info) noexcept
      : path_{std::move(path)}, fd_{std::move(fd)}, info_{info} {}

  /// The block of O_DIRECT: that of a block device, else the least that the file system takes.
  [[nodiscard]] static std::uint32_t direct_block_of(int fd) {
    int block = 0;
    if (ioctl(fd, BLKSSZGET, &block) == 0 && block > 0) return static_cast<std::uint32_t>(block);
    alignas(4096) std::array<std::byte, 512> probe;
    return pread(fd, probe.data(), probe.size(), 512) < 0 ? 4096 : 512;
  }

  [[nodiscard]] static Step first_step(Operation operation) noexcept {
    switch (operation) {
      case Operation::discard:
      case Operation::write_zeroes: return Step::allocate;
      case Operation::flush: return Step::sync;
      case Operation::read_ahead: return Step::advise;
      case Operation::read:
      case Operation::write: break;
    }
    return Step::transfer;
  }

  /// Executes a read or a write. Returns an errno value, or 0.
  [[nodiscard]] int transfer_now(const Io& io) const noexcept {
    const bool is_read = io.operation == Operation::read;
    for (std::uint64_t done = 0; done != io.length;) {
      const blkown::Segment left = io.memory.part(done, io.length - done);
      const iovec vector{.iov_base = left.data, .iov_len = left.length_bytes};
      const auto offset = static_cast<off_t>(io.offset + done);
      const ssize_t moved =
          is_read ? preadv(fd_.get(), &vector, 1, offset)
                  : pwritev2(fd_.get(), &vector, 1, offset, io.is_durable ? RWF_DSYNC : 0);
      if (moved < 0 && errno == EINTR) continue;
      // A file that has become shorter ends a read early.
      if (moved <= 0) return moved < 0 ? errno : EIO;
      done += static_cast<std::uint64_t>(moved);
    }
    return 0;
  }

  /// Takes all completions from the ring of the worker.
  void take_completions(std::uint32_t worker) {
    io_uring& ring = lanes_[worker]->ring;
    std::array<io_uring_cqe*, max_batch> entries;
    std::array<std::uint64_t, max_batch> values;
    std::array<int, max_batch> results;
    while (const unsigned taken = io_uring_peek_batch_cqe(&ring, entries.data(), max_batch)) {
      std::size_t count = 0;
      for (unsigned i = 0; i != taken; ++i) {
        // The result of a cancellation: the step has an entry of its own, earlier or later.
        if (cookie_layout.user_of(entries[i]->user_data) == cancel_entry) continue;
        values[count] = entries[i]->user_data;
        results[count++] = entries[i]->res;
      }
      io_uring_cq_advance(&ring, taken);
      complete(worker, std::span{values.data(), count}, std::span{results.data(), count});
    }
  }

  /// The kernel has done a step.
  void finish_step(Lane& lane, Claim claim, int result) {
    unmap(claim);
    const Transfer& transfer = transfer_of(claim.queue(), claim.tag());
    // A cancellation interrupts a step that runs, whose result is then the file system's.
    const bool is_interrupted = result == -EINTR || result == -EAGAIN;
    // Only cancel() cancels.
    if (result == -ECANCELED || (is_interrupted && transfer.is_cancelled)) {
      return std::move(claim).end(blkown::Status::timed_out);
    }
    if (is_interrupted) return publish(lane, std::move(claim));
    switch (transfer.step) {
      case Step::transfer:
      case Step::zeroes: return advance(lane, std::move(claim), result);
      case Step::allocate: return allocated(lane, std::move(claim), result);
      case Step::sync: return end(std::move(claim), result);
      case Step::advise: return end(std::move(claim), 0);
    }
  }

  [[nodiscard]] Transfer& transfer_of(blkown::QueueIndex queue, blkown::Tag tag) noexcept {
    return transfers_[std::size_t{queue.value} * tags_->depth() + tag.value];
  }

  /// The memory of the step, or an empty segment.
  [[nodiscard]] static blkown::Segment memory_of(const Io& io, const Transfer& transfer) noexcept {
    const std::size_t left = io.length - transfer.done_bytes;
    if (transfer.step == Step::transfer) return io.memory.part(transfer.done_bytes, left);
    // The kernel only reads the zeroes.
    alignas(4096) static std::array<std::byte, 64 * 1024> zeroes{};
    if (transfer.step != Step::zeroes) return {};
    return {zeroes.data(), std::min(left, zeroes.size())};
  }

  [[nodiscard]] static Entry entry_of(const Io& io, const Transfer& transfer) noexcept {
    Entry entry;
    entry.step = transfer.step;
    entry.is_read = io.operation == Operation::read;
    entry.is_durable = !entry.is_read && io.is_durable;
    entry.mode = io.keeps_blocks ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
    entry.mode |= FALLOC_FL_KEEP_SIZE;
    if (transfer.mapping) entry.memory = transfer.mapping->segments().front();
    entry.offset = io.offset + transfer.done_bytes;
    entry.length = io.length;
    return entry;
  }

  /// Gives the request's step to the ring.
  void publish(Lane& lane, Claim claim) {
    Transfer& transfer = transfer_of(claim.queue(), claim.tag());
    if (const auto mapped = map(lane, claim, transfer); mapped != blkown::Status::ok) {
      std::move(claim).end(mapped);
      return;
    }
    const Entry entry = entry_of(io_of(claim.data()), transfer);
    auto published = std::move(claim).publish(
        [&](blkown::Cookie cookie) { return issue(lane, entry, cookie.value); });
    if (published) return;
    auto& refused = published.error();
    // Without a claim, a completion that names this id was faster, and has the request.
    if (!refused.claim) return;
    unmap(*refused.claim);
    lane.held_back.push_back(std::move(*refused.claim));
  }

  /// Maps the memory of the step, if it has some.
  [[nodiscard]] blkown::Status map(Lane& lane, Claim& claim, Transfer& transfer) {
    const Io io = io_of(claim.data());
    const std::array memory{memory_of(io, transfer)};
    if (memory.front().empty()) return blkown::Status::ok;
    const auto direction = io.operation == Operation::read ? blkown::dma::Direction::from_device
                                                           : blkown::dma::Direction::to_device;
    const bool is_slot = lane.registered.mappable_bytes(memory.front().data) != 0;
    auto prepared = is_slot ? blkown::dma::map(claim, lane.slots, memory, direction, transfer.iovas)
                            : blkown::dma::map(claim, lane.heap, memory, direction, transfer.iovas);
    if (!prepared) return prepared.error().status();
    transfer.mapping.emplace(std::move(*prepared).activate());
    return blkown::Status::ok;
  }

  /// Unmaps the memory.
  /// Precondition: the claim proves that the kernel does not have the step: it comes from the
  /// lookup of the step's completion, or from a refused publication.
  void unmap(const Claim& claim) {
    auto mapping = std::exchange(transfer_of(claim.queue(), claim.tag()).mapping, std::nullopt);
    if (!mapping) return;
    auto unmapped = std::move(*mapping).unmap(*EndProof::of(claim));
    // A proof that does not cover the mapping would leave it where it was.
    if (!unmapped) {
      transfer_of(claim.queue(), claim.tag()).mapping.emplace(std::move(unmapped.error()));
    }
  }

  /// A free entry of the ring, or null.
  [[nodiscard]] static io_uring_sqe* take_entry(Lane& lane) noexcept {
    io_uring_sqe* const sqe = io_uring_get_sqe(&lane.ring);
    if (sqe != nullptr) return sqe;
    static_cast<void>(io_uring_submit(&lane.ring));
    return io_uring_get_sqe(&lane.ring);
  }

  /// Writes an entry into the ring. It is submitted by poll(), at the latest.
  [[nodiscard]] std::expected<void, int> issue(Lane& lane, const Entry& entry,
                                               std::uint64_t cookie) const {
    io_uring_sqe* const sqe = take_entry(lane);
    if (sqe == nullptr) return std::unexpected(EBUSY);
    switch (entry.step) {
      case Step::transfer:
      case Step::zeroes: prepare_transfer(lane, *sqe, entry); break;
      case Step::allocate:
        // The type of the function's offset differs between versions of liburing.
        io_uring_prep_fallocate(sqe, fd_.get(), entry.mode, 0, 0);
        sqe->off = entry.offset;
        sqe->addr = entry.length;
        break;
      case Step::sync: io_uring_prep_fsync(sqe, fd_.get(), IORING_FSYNC_DATASYNC); break;
      case Step::advise:
        io_uring_prep_fadvise(
            sqe, fd_.get(), entry.offset,
            static_cast<off_t>(std::min<std::uint64_t>(entry.length, 0x7FFF'F000)),
            POSIX_FADV_WILLNEED);
        break;
    }
    io_uring_sqe_set_data64(sqe, cookie);
    return {};
  }

  void prepare_transfer(const Lane& lane, io_uring_sqe& sqe, const Entry& entry) const {
    auto* const data = reinterpret_cast<std::byte*>(entry.memory.iova);
    const auto length = static_cast<unsigned>(entry.memory.length_bytes);
    const auto index = lane.registered.buffer_index(entry.memory.iova);
    if (entry.is_read && index) {
      io_uring_prep_read_fixed(&sqe, fd_.get(), data, length, entry.offset, *index);
    } else if (entry.is_read) {
      io_uring_prep_read(&sqe, fd_.get(), data, length, entry.offset);
    } else if (index) {
      io_uring_prep_write_fixed(&sqe, fd_.get(), data, length, entry.offset, *index);
    } else {
      io_uring_prep_write(&sqe, fd_.get(), data, length, entry.offset);
    }
    if (entry.is_durable) sqe.rw_flags = RWF_DSYNC;
  }

  /// A transfer has moved `result` bytes.
  void advance(Lane& lane, Claim claim, int result) {
    Transfer& transfer = transfer_of(claim.queue(), claim.tag());
    const std::uint64_t left = io_of(claim.data()).length - transfer.done_bytes;
    // A file that has become shorter ends a read early.
    if (result <= 0 || static_cast<std::uint64_t>(result) > left) {
      end(std::move(claim), result < 0 ? result : -EIO);
      return;
    }
    transfer.done_bytes += static_cast<std::uint64_t>(result);
    if (static_cast<std::uint64_t>(result) == left) {
      end(std::move(claim), 0);
    } else {
      publish(lane, std::move(claim));
    }
  }

  /// An fallocate has ended.
  void allocated(Lane& lane, Claim claim, int result) {
    const Io io = io_of(claim.data());
    const bool zeroes = io.operation == Operation::write_zeroes;
    const bool cannot = result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
    Transfer& transfer = transfer_of(claim.queue(), claim.tag());
    if (cannot && zeroes && !io.is_fast) {
      transfer.step = Step::zeroes;
      publish(lane, std::move(claim));
    } else if (cannot) {
      // A discard is advice.
      end(std::move(claim), zeroes ? -EOPNOTSUPP : 0);
    } else if (result == 0 && io.is_durable) {
      transfer.step = Step::sync;
      publish(lane, std::move(claim));
    } else {
      end(std::move(claim), result);
    }
  }

  static void end(Claim claim, int result) {
    std::move(claim).end(blkown::status_of_errno(result));
  }

  std::string path_;  // for messages
  Descriptor fd_;
  FileInfo info_;
  bool transfers_at_once_ = false;
  blkown::TagSet<R>* tags_ = nullptr;
  RefusedLookups* refused_ = nullptr;
  std::unique_ptr<Transfer[]> transfers_;  // one for each request
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace storage

#endif
