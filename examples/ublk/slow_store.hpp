// SPDX-License-Identifier: BSL-1.0
//
// SlowStore: a store of which a part is slow, to see time limits at work. A thread plays the slow
// device. It gets the ids of published requests, and sends each back after the delay.
//
// An I/O that takes too long is ended by the Claim of its timeout. That is right here because this
// device touches the memory only under a Claim of its own: the id that comes back late names
// nothing any more, and is refused. A device that writes into the memory by itself, as io_uring
// does, must be stopped first (file_store.hpp).

#ifndef UBLK_SLOW_STORE_HPP
#define UBLK_SLOW_STORE_HPP

#include <unistd.h>

#include <blkown/blkown.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "request.hpp"
#include "storage/io.hpp"
#include "storage/slow_device.hpp"
#include "store.hpp"

namespace ublk {

class SlowStore final : public Store {
 public:
  /// Reads and writes that end behind `slow_from` take `delay`, and are executed on `fd`. All
  /// others are executed by `fast`.
  SlowStore(std::unique_ptr<Store> fast, int fd, std::uint64_t slow_from,
            std::chrono::milliseconds delay)
      : fast_{std::move(fast)}, fd_{fd}, slow_from_{slow_from}, delay_{delay} {}

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    tags_ = &context.tags;
    refused_ = &context.refused;
    is_slow_.resize(tags_->queue_count(), std::vector<char>(tags_->depth()));
    device_.start(delay_, [this](std::uint64_t id) { complete(id); });
    return fast_->attach(context);
  }

  void start(blkown::Owned<Rq> request, blkown::QueueIndex queue) override {
    const storage::Io& io = request.data().io;
    const bool is_slow = !io.memory.empty() && io.offset + io.length > slow_from_;
    is_slow_[queue.value][request.tag().value] = is_slow ? 1 : 0;
    if (!is_slow) return fast_->start(std::move(request), queue);
    std::move(request).publish([this](blkown::Cookie id) { device_.send(id.value); });
  }

  void expire(const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) override {
    if (is_slow_[cookie.queue.value][cookie.tag.value] == 0) return fast_->expire(pin, cookie);
    // Refused if the device was faster.
    auto claim = blkown::claim(pin, cookie);
    if (claim) std::move(*claim).end(blkown::Status::timed_out);
  }

  [[nodiscard]] int wake_fd(blkown::QueueIndex queue) override { return fast_->wake_fd(queue); }
  void poll(blkown::QueueIndex queue) override { fast_->poll(queue); }
  /// The device first sends back what it has, so that late ids are counted.
  void detach() override {
    device_.stop();
    fast_->detach();
  }

 private:
  /// The device has sent an id back.
  void complete(std::uint64_t id) {
    auto claim = tags_->claim(storage::cookie_layout.queue_of(id), id);
    if (!claim) {
      refused_->count(claim.error().reason);
      return;
    }
    const bool is_good = execute(claim->data().io);
    std::move(*claim).end(is_good ? blkown::Status::ok : blkown::Status::io_error);
  }

  [[nodiscard]] bool execute(const storage::Io& io) const {
    const bool reads = io.operation == storage::Operation::read;
    for (std::uint64_t done = 0; done != io.length;) {
      std::byte* const data = io.memory.data + done;
      const auto offset = static_cast<off_t>(io.offset + done);
      const ssize_t moved = reads ? pread(fd_, data, io.length - done, offset)
                                  : pwrite(fd_, data, io.length - done, offset);
      if (moved <= 0) return false;
      done += static_cast<std::uint64_t>(moved);
    }
    return !io.is_durable || fdatasync(fd_) == 0;
  }

  std::unique_ptr<Store> fast_;
  int fd_;
  std::uint64_t slow_from_;
  std::chrono::milliseconds delay_;
  Tags* tags_ = nullptr;
  storage::RefusedLookups* refused_ = nullptr;
  // By queue and tag: whether the slow device has the request. The queue's thread only.
  std::vector<std::vector<char>> is_slow_;
  storage::SlowDevice device_;
};

}  // namespace ublk

#endif
