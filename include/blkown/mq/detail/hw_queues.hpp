// SPDX-License-Identifier: BSL-1.0
//
// HwQueues: a disk's hardware queues, and the mapping of contexts to them.

#ifndef BLKOWN_MQ_DETAIL_HW_QUEUES_HPP
#define BLKOWN_MQ_DETAIL_HW_QUEUES_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/status.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The hardware queue for each queue type.
template <class D>
using QueueMap = std::array<HwQueue<D>*, queue_type_count>;

/// An answer of map_queues that is not below `count`.
struct MapMistake {
  std::uint32_t answer = 0;
  std::uint32_t count = 0;
};

/// Indexes from 0: the normal queues, as many as the configuration allows, then those for reads,
/// then those for polling. A queue is open between init_hctx and exit_hctx. Queues are opened and
/// closed only while nothing is issued.
template <class D>
class HwQueues {
 public:
  HwQueues(Disk<D>& disk, const DiskConfig& config) : disk_{disk}, config_{config} {}
  HwQueues(const HwQueues&) = delete;
  HwQueues& operator=(const HwQueues&) = delete;

  /// The most queues that the configuration allows.
  [[nodiscard]] static std::uint32_t max_count(const DiskConfig& config) noexcept {
    return normal_queue_limit(config) + config.read_queues + config.poll_queues;
  }

  /// Makes all queues and opens those in use. Returns the status with which init_hctx refused; then
  /// none is open.
  [[nodiscard]] Status open(TagPool<D>& pool) {
    const bool is_shared = pool.tags().queue_count() == 1;
    const std::uint32_t normal_limit = normal_queue_limit(config_);
    for (std::uint32_t i = 0; i != max_count(config_); ++i) {
      const QueueType type = i < normal_limit                         ? QueueType::normal
                             : i < normal_limit + config_.read_queues ? QueueType::read
                                                                      : QueueType::poll;
      queues_.push_back(std::make_unique<HwQueue<D>>(disk_, pool, QueueIndex{i},
                                                     QueueIndex{is_shared ? 0 : i}, type));
    }
    Status status = Status::ok;
    while (status == Status::ok && normal_limit + open_others_ != queues_.size()) {
      status = open_queue(normal_limit + open_others_);
      if (status == Status::ok) ++open_others_;
    }
    if (status == Status::ok) status = set_normal_count(config_.normal_queues);
    if (status != Status::ok) close();
    return status;
  }

  /// Changes the number of open normal queues. If init_hctx refuses a queue, the queues before it
  /// stay open.
  [[nodiscard]] Status set_normal_count(std::uint32_t count) {
    while (open_normal_ > count) close_queue(--open_normal_);
    while (open_normal_ < count) {
      const Status status = open_queue(open_normal_);
      if (status != Status::ok) return status;
      ++open_normal_;
    }
    return Status::ok;
  }

  /// Closes all queues.
  void close() {
    while (open_normal_ != 0) close_queue(--open_normal_);
    while (open_others_ != 0) close_queue(normal_queue_limit(config_) + --open_others_);
  }

  /// The number of queues, open or not.
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(queues_.size());
  }
  [[nodiscard]] HwQueue<D>& operator[](std::uint32_t index) const noexcept {
    return *queues_[index];
  }

  /// The queues that a context uses. A type without queues of its own uses a normal queue.
  /// Errors: the first wrong answer of map_queues.
  [[nodiscard]] std::expected<QueueMap<D>, MapMistake> map_of(std::uint32_t context_index) {
    const std::uint32_t first_read = normal_queue_limit(config_);
    const std::array<std::uint32_t, queue_type_count> first{0, first_read,
                                                            first_read + config_.read_queues};
    const std::array<std::uint32_t, queue_type_count> count{open_normal_, config_.read_queues,
                                                            config_.poll_queues};
    QueueMap<D> map{};
    for (unsigned type = 0; type != queue_type_count; ++type) {
      if (count[type] == 0) {
        map[type] = map[0];
        continue;
      }
      const std::uint32_t answer = choose(static_cast<QueueType>(type), context_index, count[type]);
      if (answer >= count[type]) [[unlikely]]
        return std::unexpected(MapMistake{answer, count[type]});
      map[type] = queues_[first[type] + answer].get();
    }
    return map;
  }

 private:
  [[nodiscard]] std::uint32_t choose(QueueType type, std::uint32_t context_index,
                                     std::uint32_t count) {
    if constexpr (names_map_queues<D>) {
      return disk_.driver().map_queues(type, context_index, count);
    } else {
      static_cast<void>(type);
      return context_index % count;
    }
  }

  [[nodiscard]] Status open_queue(std::uint32_t index) {
    if constexpr (names_init_hctx<D>) {
      return disk_.driver().init_hctx(*queues_[index], disk_.queue_data());
    } else {
      static_cast<void>(index);
      return Status::ok;
    }
  }
  void close_queue(std::uint32_t index) {
    if constexpr (names_exit_hctx<D>) {
      disk_.driver().exit_hctx(*queues_[index], disk_.queue_data());
    } else {
      static_cast<void>(index);
    }
  }

  Disk<D>& disk_;
  const DiskConfig& config_;
  std::vector<std::unique_ptr<HwQueue<D>>> queues_;
  std::uint32_t open_normal_ = 0;
  std::uint32_t open_others_ = 0;  // for reads and for polling
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
