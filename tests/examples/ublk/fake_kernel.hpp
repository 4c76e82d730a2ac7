// SPDX-License-Identifier: BSL-1.0
//
// A kernel for the ublk server of examples/ublk: it sends what it is told to, also what no kernel
// should, and judges the commits.

#ifndef BLKOWN_TESTS_EXAMPLES_UBLK_FAKE_KERNEL_HPP
#define BLKOWN_TESTS_EXAMPLES_UBLK_FAKE_KERNEL_HPP

#include <linux/ublk_cmd.h>

#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "ublk/kernel_queue.hpp"
#include "ublk/queue.hpp"
#include "ublk/request.hpp"
#include "ublk/store.hpp"

namespace ublk {

/// The kernel's side of one queue. On the thread of the queue.
class FakeKernel final : public KernelQueue {
 public:
  struct Commit {
    std::uint32_t tag = 0;
    std::int32_t result = 0;
  };

  explicit FakeKernel(std::uint32_t depth) : descriptors_(depth), buffers_(depth) {}

  [[nodiscard]] ublksrv_io_desc descriptor(blkown::Tag tag) const override {
    return descriptors_.at(tag.value);
  }
  void fetch(blkown::Tag tag, std::byte* buffer) override { buffers_.at(tag.value) = buffer; }
  void commit(blkown::Tag tag, std::int32_t result, std::byte* buffer) override {
    buffers_.at(tag.value) = buffer;
    commits.push_back({tag.value, result});
    if (on_commit) on_commit(tag.value, result);
  }

  void describe(std::uint32_t tag, std::uint32_t op_flags, std::uint64_t sector,
                std::uint32_t sectors) {
    descriptors_.at(tag) = {
        .op_flags = op_flags, .nr_sectors = sectors, .start_sector = sector, .addr = 0};
  }
  [[nodiscard]] std::byte* buffer(std::uint32_t tag) const { return buffers_.at(tag); }

  std::vector<Commit> commits;
  std::function<void(std::uint32_t, std::int32_t)> on_commit;

 private:
  std::vector<ublksrv_io_desc> descriptors_;
  std::vector<std::byte*> buffers_;
};

/// A TagSet with its queues, without threads and without the kernel.
class Rig {
 public:
  Rig(std::uint32_t queue_count, std::uint32_t depth, const Geometry& geometry,
      std::uint32_t timeout_ms = 0)
      : tags{*Tags::create(
            {.queue_count = queue_count, .depth = depth, .layout = storage::cookie_layout},
            blkown::EndSink<Rq>::to(*this))} {
    for (blkown::QueueIndex i; i.value != queue_count; ++i.value) {
      queues.push_back(std::make_unique<Queue>(i, depth, geometry, timeout_ms));
      regions.push_back(queues.back()->region());
    }
  }
  /// The sink of the TagSet.
  void operator()(blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      Queue& queue = *queues[ended->queue().value];
      queue.deliver(std::move(*ended));
    }
  }
  [[nodiscard]] StoreContext context() { return {tags, refused, regions}; }

  storage::RefusedLookups refused;
  Tags tags;
  std::vector<std::unique_ptr<Queue>> queues;
  std::vector<blkown::Segment> regions;
};

/// A store that keeps the ids of what it was given, until the test sends one back.
class HeldStore final : public Store {
 public:
  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    context_.emplace(context);
    return {};
  }
  void start(blkown::Owned<Rq> request, blkown::QueueIndex) override {
    ios.push_back(request.data().io);
    std::move(request).publish([this](blkown::Cookie id) { ids.push_back(id.value); });
  }
  void expire(const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) override {
    ++expired;
    auto claim = blkown::claim(pin, cookie);
    if (claim) std::move(*claim).end(blkown::Status::timed_out);
  }
  /// The device sends an id. Returns why it is refused.
  blkown::LookupReason complete(std::uint64_t id, blkown::Status status = blkown::Status::ok) {
    auto claim = context_->tags.claim(storage::cookie_layout.queue_of(id), id);
    if (!claim) return claim.error().reason;
    std::move(*claim).end(status);
    return blkown::LookupReason::none;
  }

  std::deque<std::uint64_t> ids;
  std::vector<storage::Io> ios;
  int expired = 0;

 private:
  std::optional<StoreContext> context_;
};

}  // namespace ublk

#endif
