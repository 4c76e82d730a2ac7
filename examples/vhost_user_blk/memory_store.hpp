// SPDX-License-Identifier: BSL-1.0
//
// MemoryStore: a disk in memory. With a delay, a thread plays a slow device: it gets the ids of
// published requests and sends them back later.

#ifndef VHOST_USER_BLK_MEMORY_STORE_HPP
#define VHOST_USER_BLK_MEMORY_STORE_HPP

#include <sys/mman.h>

#include <blkown/blkown.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "block_request.hpp"
#include "request.hpp"
#include "storage/slow_device.hpp"
#include "store.hpp"

namespace vhost_user_blk {

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::uint64_t size_bytes, bool read_only = false,
                       std::chrono::milliseconds delay = std::chrono::milliseconds{0})
      : info_{.size_bytes = size_bytes, .read_only = read_only}, delay_{delay} {
    // The kernel gives a page when it is written.
    void* const at = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) memory_ = static_cast<std::byte*>(at);
  }
  ~MemoryStore() override {
    device_.stop();
    if (memory_ != nullptr) munmap(memory_, info_.size_bytes);
  }

  [[nodiscard]] DiskInfo info() const override { return info_; }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    if (memory_ == nullptr) return std::unexpected(std::string{"not enough memory"});
    context_.emplace(context);
    if (delay_.count() != 0) device_.start(delay_, [this](std::uint64_t id) { complete(id); });
    return {};
  }

  void start(blkown::Owned<Rq> request) override {
    if (delay_.count() == 0) {
      execute(request.data());
      std::move(request).end_ok();
      return;
    }
    std::move(request).publish([&](blkown::Cookie id) { device_.send(id.value); });
  }

  /// The slow device may still be in the sink of the last request that it has ended.
  void detach() override { device_.stop(); }

 private:
  void execute(const Command& command) {
    std::byte* at = memory_ + command.offset;
    switch (command.operation) {
      case Operation::read:
        for (const blkown::Segment& each : command.data) {
          std::memcpy(each.data, at, each.length_bytes);
          at += each.length_bytes;
        }
        return;
      case Operation::write:
        for (const blkown::Segment& each : command.data) {
          std::memcpy(at, each.data, each.length_bytes);
          at += each.length_bytes;
        }
        return;
      case Operation::discard:
      case Operation::write_zeroes: std::memset(at, 0, command.length); return;
      case Operation::flush:
      case Operation::get_id: return;  // memory is not flushed
    }
  }

  /// The device has sent an id back.
  void complete(std::uint64_t id) {
    auto claim = context_->tags.claim(cookie_layout.queue_of(id), id);
    if (!claim) {
      context_->refused_lookups.count(claim.error().reason);
      return;
    }
    execute(claim->data());
    std::move(*claim).end_ok();
  }

  DiskInfo info_;
  std::chrono::milliseconds delay_;
  std::byte* memory_ = nullptr;
  std::optional<StoreContext> context_;
  storage::SlowDevice device_;
};

}  // namespace vhost_user_blk

#endif
