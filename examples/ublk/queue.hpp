// SPDX-License-Identifier: BSL-1.0
//
// Queue: a hardware queue of the device. Completed commands of the kernel in, I/Os to the store,
// and results back to the kernel. It knows neither io_uring nor threads.
//
//   kernel    tag, descriptor                                              result, tag
//   Queue       allocate_tag: Idle, Owned ---+           +--> Ended -> release -> commit
//   Store                                    +-> ... end +
//
// - The tag is released before the commit. After the commit the kernel may send the tag at any
//   moment, and allocate_tag would refuse it.
// - A tag that is out of range or not idle is refused and counted. Its I/O, if it has one, goes on:
//   a commit for the refused one would end it a second time.
// - An end on another thread goes through the inbox: the kernel takes the commands of a queue only
//   from the thread that has fetched first.
// - The queue is done when the kernel has taken all tags back, and the store has ended all I/Os.

#ifndef UBLK_QUEUE_HPP
#define UBLK_QUEUE_HPP

#include <linux/ublk_cmd.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <blkown/blkown.hpp>
#include <blkown/error_code.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "kernel_queue.hpp"
#include "protocol.hpp"
#include "request.hpp"
#include "storage/counter.hpp"
#include "storage/descriptor.hpp"
#include "store.hpp"

namespace ublk {

struct QueueCounters {
  storage::Counter ended;      ///< I/Os, of which:
  storage::Counter failed;     ///< the store has ended with an error,
  storage::Counter timed_out;  ///< some of those because they took too long,
  storage::Counter refused;    ///< the store did not get: the descriptor is wrong.
  storage::Counter overdue;    ///< Looks that found an I/O in flight for too long.
  storage::Counter bad_tags;   ///< Completed commands whose tag is out of range, in use or gone.
  storage::Counter aborted;    ///< Tags that the kernel has taken back.
  storage::Counter broken;     ///< Of those, with another result than UBLK_IO_RES_ABORT.
};

class Queue {
 public:
  /// `timeout_ms` is the time limit of an I/O, 0 for none.
  /// Precondition: `max_io_bytes` of the geometry is a multiple of the page size.
  Queue(blkown::QueueIndex index, std::uint32_t depth, const Geometry& geometry,
        std::uint32_t timeout_ms)
      : index_{index},
        depth_{depth},
        geometry_{geometry},
        timeout_ms_{timeout_ms},
        buffers_{static_cast<std::byte*>(
            std::aligned_alloc(4096, std::size_t{depth} * geometry.max_io_bytes))},
        is_gone_(depth),
        deadlines_ms_(depth),
        wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// The buffers of all tags. Empty if there is no memory for them.
  [[nodiscard]] blkown::Segment region() const noexcept {
    if (buffers_ == nullptr) return {};
    return {buffers_.get(), std::size_t{depth_} * geometry_.max_io_bytes};
  }
  /// Whether the queue has a wake_fd(). Without one it cannot be used.
  [[nodiscard]] bool is_open() const noexcept { return wake_.is_open(); }
  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }

  // --- the thread of the queue ------------------------------------------------------------------

  /// Offers every tag to the kernel. The calling thread becomes the queue's.
  void begin(Tags& tags, Store& store, KernelQueue& kernel) {
    tags_ = &tags;
    store_ = &store;
    kernel_ = &kernel;
    thread_ = std::this_thread::get_id();
    for (blkown::Tag tag; tag.value != depth_; ++tag.value) kernel.fetch(tag, buffer_of(tag));
  }

  /// Tells the queue the time, before the two functions below. Any clock that does not go back.
  void set_now(std::uint64_t now_ms) noexcept { now_ms_ = now_ms; }

  /// A command of the kernel has completed: `value` is what it was given, the tag.
  void on_completion(std::uint64_t value, std::int32_t result) {
    if (value >= depth_ || is_gone_[value] != 0) return counters_.bad_tags.add();
    const blkown::Tag tag{static_cast<std::uint32_t>(value)};
    if (result != UBLK_IO_RES_OK) {
      is_gone_[tag.value] = 1;
      counters_.aborted.add();
      if (result != UBLK_IO_RES_ABORT) counters_.broken.add();
      return;
    }
    auto idle = tags_->allocate_tag(index_, tag);
    if (!idle) return counters_.bad_tags.add();
    auto request = std::move(*idle).start();
    ++in_flight_;
    deadlines_ms_[tag.value] = now_ms_ + timeout_ms_;
    // The kernel could change a descriptor that is read twice.
    const ublksrv_io_desc descriptor = kernel_->descriptor(tag);
    const auto io = parse_descriptor(descriptor, geometry_, buffer_of(tag));
    request.data().io = io.value_or(storage::Io{});
    if (io) return store_->start(std::move(request), index_);
    counters_.refused.add();
    std::move(request).end(io.error());
  }

  /// Commits what has ended elsewhere, lets the store work, and looks for I/Os that take too long.
  void poll() {
    store_->poll(index_);
    blkown::EndedList<Rq> ended;
    {
      const std::lock_guard lock{mutex_};
      std::swap(ended, inbox_);
    }
    while (auto request = ended.pop_front()) finish(std::move(*request));
    if (timeout_ms_ != 0 && in_flight_ != 0 && now_ms_ >= next_check_ms_) expire();
  }

  /// Whether the kernel has taken all tags back, and the store has ended all I/Os.
  [[nodiscard]] bool is_done() const noexcept {
    return counters_.aborted.get() == depth_ && in_flight_ == 0;
  }
  /// A descriptor that can be read when poll() has something to commit.
  [[nodiscard]] int wake_fd() const noexcept { return wake_.get(); }
  /// How long the thread may sleep, in milliseconds; -1: until something happens.
  [[nodiscard]] int max_sleep_ms() const noexcept {
    if (timeout_ms_ == 0 || in_flight_ == 0) return -1;
    return static_cast<int>(timeout_ms_ / 4 + 1);
  }

  // --- any thread -------------------------------------------------------------------------------

  /// Takes a request of this queue that has ended.
  void deliver(blkown::Ended<Rq> ended) {
    if (std::this_thread::get_id() == thread_) return finish(std::move(ended));
    {
      const std::lock_guard lock{mutex_};
      inbox_.push_back(std::move(ended));
    }
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  [[nodiscard]] std::byte* buffer_of(blkown::Tag tag) const noexcept {
    return buffers_.get() + std::size_t{tag.value} * geometry_.max_io_bytes;
  }

  void finish(blkown::Ended<Rq> ended) {
    const blkown::Tag tag = ended.tag();
    const blkown::Status status = ended.status();
    const storage::Io& io = ended.data().io;
    const bool has_data = !io.memory.empty();
    const auto bytes = has_data ? static_cast<std::int32_t>(io.length) : 0;
    const std::int32_t result = status == blkown::Status::ok ? bytes : -to_errno(status);
    counters_.ended.add();
    if (status != blkown::Status::ok) counters_.failed.add();
    if (status == blkown::Status::timed_out) counters_.timed_out.add();
    --in_flight_;
    // First the release, then the commit: the kernel may send the tag again at once.
    std::move(ended).release();
    kernel_->commit(tag, result, buffer_of(tag));
  }

  void expire() {
    next_check_ms_ = now_ms_ + timeout_ms_ / 4;
    tags_->for_each_in_flight(index_,
                              [this](const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
                                if (now_ms_ < deadlines_ms_[pin.tag().value]) return;
                                counters_.overdue.add();
                                store_->expire(pin, cookie);
                              });
  }

  // Set before the thread starts.
  blkown::QueueIndex index_;
  std::uint32_t depth_;
  Geometry geometry_;
  std::uint32_t timeout_ms_;
  std::unique_ptr<std::byte, Free> buffers_;

  // The queue's thread. Others read its id: those that end a request, which was started after the
  // id was set.
  std::thread::id thread_;
  Tags* tags_ = nullptr;
  Store* store_ = nullptr;
  KernelQueue* kernel_ = nullptr;
  QueueCounters counters_;
  std::vector<char> is_gone_;                // by tag: the kernel has taken it back
  std::vector<std::uint64_t> deadlines_ms_;  // by tag
  std::uint64_t next_check_ms_ = 0;
  std::uint32_t in_flight_ = 0;
  std::uint64_t now_ms_ = 0;

  // Any thread.
  storage::Descriptor wake_;
  std::mutex mutex_;
  blkown::EndedList<Rq> inbox_;
};

}  // namespace ublk

#endif
