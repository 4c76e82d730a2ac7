// SPDX-License-Identifier: BSL-1.0
//
// Contexts that share the tags of one hardware queue, on one thread.

#ifndef BLKOWN_BENCH_PIPELINE_SHARED_TAGS_HPP
#define BLKOWN_BENCH_PIPELINE_SHARED_TAGS_HPP

#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <pipeline/bios.hpp>
#include <pipeline/drivers.hpp>
#include <pipeline/woken_runtime.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

/// Bios on several contexts that draw from the tags of one queue. Each is submitted again when it
/// has ended. They complete outside of the contexts, as in an interrupt.
class SharedTags {
 public:
  static constexpr std::uint32_t bio_count = 64;

  SharedTags(std::uint32_t contexts, std::uint32_t tags) : runtime_{contexts} {
    auto made = Disk::create({.capacity_sectors = EmptyReads::capacity_sectors, .depth = tags},
                             driver_, runtime_);
    if (!made.has_value()) std::abort();
    disk_ = *std::move(made);
    for (std::uint32_t i = 0; i != bio_count; ++i) {
      bios_.emplace_back(new mq::Bio(mq::Bio::read(
          block_sectors * i, blkown::Segment{memory_.bytes, sizeof memory_},
          {[](void* self, mq::Bio& bio) { static_cast<SharedTags*>(self)->end(bio); }, this})));
      disk_->submit(runtime_.context(i % contexts), *bios_.back());
    }
  }
  SharedTags(const SharedTags&) = delete;
  SharedTags& operator=(const SharedTags&) = delete;
  ~SharedTags() {
    is_ending_ = true;
    static_cast<void>(run(ended_ + bio_count));
    static_cast<void>(mq::remove(runtime_, *disk_));
  }

  /// Runs until this number of bios has ended, or a few more. Returns the number. A context that
  /// has nothing to run sleeps.
  [[nodiscard, gnu::noinline]] std::uint64_t run(std::uint64_t until) {
    while (ended_ < until) {
      driver_.reap(disk_->hw_queue(blkown::QueueIndex{0}));
      runtime_.run_woken();
    }
    return ended_;
  }

 private:
  using Disk = mq::Disk<CompletesLater>;

  void end(mq::Bio& bio) {
    ++ended_;
    if (!is_ending_) disk_->submit(bio);
  }

  CompletesLater driver_;
  WokenRuntime runtime_;
  Block memory_{};
  std::unique_ptr<Disk> disk_;
  std::vector<std::unique_ptr<mq::Bio>> bios_;
  std::uint64_t ended_ = 0;
  bool is_ending_ = false;
};

}  // namespace
}  // namespace bench

#endif
