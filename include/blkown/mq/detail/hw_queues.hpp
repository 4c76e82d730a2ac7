// SPDX-License-Identifier: BSL-1.0
//
// A disk's hardware queues: which are in use, and which of them a context submits to.

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
#include <memory>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The queue for each type.
template <class D>
using QueueMap = std::array<HwQueue<D>*, queue_type_count>;

/// Normal queues from 0, as many as there may ever be, then those for reads, then those for
/// polling. Changed only while nothing is issued.
template <class D>
class HwQueues {
 public:
  HwQueues(Disk<D>& disk, const DiskConfig& config) : disk_{disk}, config_{config} {}
  HwQueues(const HwQueues&) = delete;
  HwQueues& operator=(const HwQueues&) = delete;

  [[nodiscard]] static std::uint32_t most(const DiskConfig& config) noexcept {
    return normal_queue_limit(config) + config.read_queues + config.poll_queues;
  }

  /// Makes all queues, and tells the driver of those in use; what init_hctx refused with, and then
  /// none is in use.
  [[nodiscard]] Status put_up(TagPool<D>& pool) {
    const bool is_shared = pool.tags().queue_count() == 1;
    const std::uint32_t normal = normal_queue_limit(config_);
    for (std::uint32_t i = 0; i != most(config_); ++i) {
      const QueueType type = i < normal                         ? QueueType::normal
                             : i < normal + config_.read_queues ? QueueType::read
                                                                : QueueType::poll;
      queues_.push_back(std::make_unique<HwQueue<D>>(disk_, pool, QueueIndex{i},
                                                     QueueIndex{is_shared ? 0 : i}, type));
    }
    Status status = Status::ok;
    while (status == Status::ok && normal + others_ != queues_.size()) {
      status = open(normal + others_);
      if (status == Status::ok) ++others_;
    }
    if (status == Status::ok) status = set_normal_count(config_.normal_queues);
    if (status != Status::ok) take_down();
    return status;
  }

  /// Changes how many normal ones are in use. If the driver refuses one, those before it are.
  [[nodiscard]] Status set_normal_count(std::uint32_t count) {
    while (normal_ > count) close(--normal_);
    while (normal_ < count) {
      const Status status = open(normal_);
      if (status != Status::ok) return status;
      ++normal_;
    }
    return Status::ok;
  }

  void take_down() {
    while (normal_ != 0) close(--normal_);
    while (others_ != 0) close(normal_queue_limit(config_) + --others_);
  }

  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(queues_.size());
  }
  [[nodiscard]] std::uint32_t normal_count() const noexcept { return normal_; }
  [[nodiscard]] HwQueue<D>& operator[](std::uint32_t index) const noexcept {
    return *queues_[index];
  }

  /// Which queue a context uses for each type. Without queues of its own a type uses a normal one.
  [[nodiscard]] QueueMap<D> map_of(std::uint32_t context_index) {
    const std::uint32_t first_read = normal_queue_limit(config_);
    const std::uint32_t first_poll = first_read + config_.read_queues;
    HwQueue<D>* const normal = choose(QueueType::normal, context_index, 0, normal_);
    return {normal,
            config_.read_queues == 0
                ? normal
                : choose(QueueType::read, context_index, first_read, config_.read_queues),
            config_.poll_queues == 0
                ? normal
                : choose(QueueType::poll, context_index, first_poll, config_.poll_queues)};
  }

 private:
  [[nodiscard]] HwQueue<D>* choose(QueueType type, std::uint32_t context_index, std::uint32_t first,
                                   std::uint32_t count) {
    std::uint32_t chosen = context_index;
    if constexpr (names_map_queues<D>) {
      chosen = disk_.driver().map_queues(type, context_index, count);
    }
    return queues_[first + chosen % count].get();
  }

  [[nodiscard]] Status open(std::uint32_t index) {
    if constexpr (names_init_hctx<D>) {
      return disk_.driver().init_hctx(*queues_[index], disk_.queue_data());
    } else {
      static_cast<void>(index);
      return Status::ok;
    }
  }
  void close(std::uint32_t index) {
    if constexpr (names_exit_hctx<D>) {
      disk_.driver().exit_hctx(*queues_[index], disk_.queue_data());
    } else {
      static_cast<void>(index);
    }
  }

  Disk<D>& disk_;
  const DiskConfig& config_;
  std::vector<std::unique_ptr<HwQueue<D>>> queues_;
  std::uint32_t normal_ = 0;
  std::uint32_t others_ = 0;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
