// SPDX-License-Identifier: BSL-1.0
//
// SharedTags: the set of tags that the disks of a process with shared_tags=1 draw from.

#ifndef NULL_BLOCK_SHARED_TAGS_HPP
#define NULL_BLOCK_SHARED_TAGS_HPP

#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "config.hpp"
#include "null_block.hpp"

namespace null_block {

/// Context: one thread makes the disks.
class SharedTags {
 public:
  /// The set that a disk of this configuration draws from, or null: the disk has tags of its own.
  /// The first disk with shared_tags=1 decides what the set is like.
  /// Precondition: the object outlives the disk.
  /// Errors: the disk needs another set than the first disk, or there is no memory for one.
  [[nodiscard]] std::expected<TagPool*, ConfigError> pool_for(const Config& wanted) {
    if (wanted.shared_tags == 0) return nullptr;
    const Config config = resolve(wanted);
    if (pool_ == nullptr) {
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
    for (const char* const key :
         {"hw_queue_depth", "shared_tag_bitmap", "max_submit_queues", "poll_queues"}) {
      const Parameter& parameter = *find_parameter(key);
      if (config.*parameter.value == first_.*parameter.value) continue;
      return refuse(key, value_text(config, parameter),
                    std::string{"give "} + key + "=" + value_text(first_, parameter) +
                        ", as the first disk with shared_tags=1");
    }
    return pool_.get();
  }

 private:
  std::unique_ptr<TagPool> pool_;  // made for the first disk that shares
  Config first_;                   // of that disk
};

}  // namespace null_block

#endif
