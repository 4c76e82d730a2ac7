// SPDX-License-Identifier: BSL-1.0
//
// SharedTags: the set of tags that the disks of a process with shared_tags=1 draw from.

#ifndef NULL_BLOCK_SHARED_TAGS_HPP
#define NULL_BLOCK_SHARED_TAGS_HPP

#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "config.hpp"
#include "null_block.hpp"

namespace null_block {

/// Context: one thread makes and destroys the disks.
class SharedTags {
 public:
  /// The set that a disk of this configuration draws from, or null: the disk has tags of its own.
  /// The first disk with shared_tags=1 decides what the set is like. A set that no disk draws from
  /// is replaced if another one is wanted.
  /// Precondition: the object outlives the disk. A disk is made on the set before the next call.
  /// Errors: the disk needs another set than the first disk, or there is no memory for one.
  [[nodiscard]] std::expected<TagPool*, ConfigError> pool_for(const Config& wanted) {
    if (wanted.shared_tags == 0) return nullptr;
    const Config config = resolve(wanted);
    if (pool_ == nullptr) return make_pool(config);
    const Parameter* const other = difference(config);
    if (other == nullptr) return pool_.get();
    // No transition. Relaxed: the thread that makes and destroys the disks counts them, too.
    if (pool_->data().disks->load(std::memory_order_relaxed) == 0) return make_pool(config);
    return refuse(other->key, value_text(config, *other),
                  std::string{"give "} + std::string{other->key} + "=" +
                      value_text(first_, *other) + ", as the first disk with shared_tags=1");
  }

 private:
  [[nodiscard]] std::expected<TagPool*, ConfigError> make_pool(const Config& config) {
    const auto queues = config.max_submit_queues + config.poll_queues;
    auto made = TagPool::create(
        {.queue_count = config.shared_tag_bitmap != 0 ? 1 : static_cast<std::uint32_t>(queues),
         .depth = static_cast<std::uint32_t>(config.hw_queue_depth),
         .layout = mq::DiskConfig{}.layout});
    if (!made) return refuse("shared_tags", "1", to_string(made.error().reason));
    pool_ = *std::move(made);
    first_ = config;
    return pool_.get();
  }
  /// A parameter for which a disk of this configuration needs another set, or null.
  [[nodiscard]] const Parameter* difference(const Config& config) const {
    for (const char* const key :
         {"hw_queue_depth", "shared_tag_bitmap", "max_submit_queues", "poll_queues"}) {
      const Parameter& parameter = *find_parameter(key);
      if (config.*parameter.value != first_.*parameter.value) return &parameter;
    }
    return nullptr;
  }

  std::unique_ptr<TagPool> pool_;  // made for the first disk that shares
  Config first_;                   // of that disk
};

}  // namespace null_block

#endif
