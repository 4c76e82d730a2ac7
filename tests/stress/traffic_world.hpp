// SPDX-License-Identifier: BSL-1.0
//
// The state that the threads of the traffic share: the TagSet, the device that completes the I/Os,
// and an account that shows that each I/O had one holder at a time and ended exactly once.

#ifndef BLKOWN_TESTS_STRESS_TRAFFIC_WORLD_HPP
#define BLKOWN_TESTS_STRESS_TRAFFIC_WORLD_HPP

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "effort.hpp"
#include "hostile_values.hpp"

namespace stress {

/// The data of an I/O. The members that are not atomic belong to the holder of the right.
struct Io {
  Io(blkown::QueueIndex its_queue, blkown::Tag its_tag) : queue{its_queue}, tag{its_tag} {}

  const blkown::QueueIndex queue;
  const blkown::Tag tag;

  std::uint64_t ended_serial = 0;  ///< The last I/O of this request that ended.
  std::uint32_t generation = 0;    ///< The generation of the publication, written before it.
  bool hoarded = false;            ///< A thread creates references up to the limit of the word.
  std::atomic<std::uint64_t> serial{0};   ///< The I/O of this request that is in progress.
  std::atomic<std::uint32_t> holders{0};  ///< The holders of the right, 1 at most.
};

}  // namespace stress

/// The holder of a reference to an Io reads only its constant and atomic members.
template <>
inline constexpr bool blkown::shared_data<stress::Io> = true;

namespace stress {

using Rq = blkown::Request<Io>;
using Tags = blkown::TagSet<Rq>;

/// The completions that the device has sent and no thread has reaped, in any order.
class Channel {
 public:
  void send(std::uint64_t value, Random& random) {
    const std::lock_guard guard{mutex_};
    if (values_.size() < limit) {
      values_.push_back(value);
    } else {  // a lost completion: a timeout ends the I/O
      values_[random.below(limit)] = value;
    }
  }
  [[nodiscard]] std::optional<std::uint64_t> reap(Random& random) {
    const std::lock_guard guard{mutex_};
    if (values_.empty()) return std::nullopt;
    std::swap(values_[random.below(static_cast<std::uint32_t>(values_.size()))], values_.back());
    const std::uint64_t value = values_.back();
    values_.pop_back();
    return value;
  }

 private:
  static constexpr std::uint32_t limit = 256;
  std::mutex mutex_;
  std::vector<std::uint64_t> values_;
};

/// Everything the threads share.
class World {
 public:
  World(const blkown::CookieLayout& layout, std::uint32_t queue_count, std::uint32_t depth)
      : channels_(queue_count), cookies_(queue_count * depth), sink_{*this} {
    const blkown::TagSetConfig config{
        .queue_count = queue_count, .depth = depth, .layout = layout, .first_generation = {}};
    auto made =
        Tags::create(config, blkown::EndSink<Rq>::to(sink_),
                     [](blkown::QueueIndex queue, blkown::Tag tag) { return Io{queue, tag}; });
    if (made.has_value()) {
      tags_.emplace(std::move(*made));
    } else {
      ADD_FAILURE() << to_string(made.error().reason);
      std::abort();
    }
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Tags& tags() noexcept { return *tags_; }
  [[nodiscard]] Channel& channel(blkown::QueueIndex queue) noexcept {
    return channels_[queue.value];
  }

  /// The device has the command: every thread can read its id, and the device will complete it.
  void issue(const blkown::Cookie& cookie, Random& random) {
    learn(cookie);
    channels_[cookie.queue.value].send(cookie.value, random);
  }
  /// Makes the id readable without a completion.
  void learn(const blkown::Cookie& cookie) noexcept {
    // Relaxed: only the word of the request may order a lookup after the publication.
    cookies_[cookie.queue.value * tags_->depth() + cookie.tag.value].store(
        cookie.value, std::memory_order_relaxed);
  }
  /// The id of the latest publication of some request, most often one in flight.
  [[nodiscard]] Arrival live_cookie(Random& random) const noexcept {
    const std::uint32_t index = random.below(static_cast<std::uint32_t>(cookies_.size()));
    return {blkown::QueueIndex{index / tags_->depth()},
            cookies_[index].load(std::memory_order_relaxed)};
  }

  [[nodiscard]] std::optional<blkown::Idle<Rq>> take_requeued() {
    const std::lock_guard guard{requeued_mutex_};
    auto ended = requeued_.pop_front();
    if (!ended) return std::nullopt;
    return std::move(*ended).into_idle();
  }

  /// Notes a failure of a request. All threads stop soon.
  void complain(const std::string& what, blkown::QueueIndex queue, blkown::Tag tag) {
    broken_.store(true, std::memory_order_relaxed);
    if (complaints_.fetch_add(1, std::memory_order_relaxed) < 20) {
      ADD_FAILURE() << what << ": queue " << queue.value << " tag " << tag.value << ", seed "
                    << seed();
    }
  }
  /// Counts a lookup that was refused because the request's word is at its limit.
  void count_saturation() noexcept { saturations_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t saturations() const noexcept {
    return saturations_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] bool broken() const noexcept { return broken_.load(std::memory_order_relaxed); }

  /// The caches of the running thread, one for each queue. Null: the thread has none.
  static inline thread_local std::vector<blkown::TagCache>* caches = nullptr;

  /// Ends the I/Os in flight.
  /// Precondition: no other thread is running.
  void drain() {
    while (tags_->in_flight() != 0 || !requeued_.empty()) {
      while (auto idle = take_requeued()) std::move(*idle).fail(blkown::Status::aborted);
      for (blkown::QueueIndex queue; queue.value != tags_->queue_count(); ++queue.value) {
        tags_->for_each_in_flight(
            queue, [](BLKOWN_HELD const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
              auto right = blkown::claim(pin, cookie);
              if (right.has_value()) std::move(*right).end(blkown::Status::aborted);
            });
      }
    }
  }

  /// Checks after drain that every tag is free and every started I/O has ended.
  void expect_all_back() {
    std::uint64_t begun = 0;
    for (blkown::QueueIndex queue; queue.value != tags_->queue_count(); ++queue.value) {
      auto cache = tags_->tag_cache(queue, 0);
      std::set<std::uint32_t> found;
      std::vector<blkown::Idle<Rq>> idles;
      while (auto idle = tags_->allocate(queue, cache)) {
        const Io& io = idle->data();
        begun += io.serial.load(std::memory_order_relaxed);
        EXPECT_EQ(io.serial.load(std::memory_order_relaxed), io.ended_serial);
        EXPECT_EQ(io.holders.load(std::memory_order_relaxed), 0U);
        EXPECT_TRUE(found.insert(idle->tag().value).second) << "a tag was given out twice";
        idles.push_back(std::move(*idle));
      }
      EXPECT_EQ(found.size(), tags_->depth()) << "a tag was lost";
      for (auto& idle : idles) {
        idle.data().serial.fetch_add(1, std::memory_order_relaxed);
        std::move(idle).fail(blkown::Status::aborted);
        ++begun;
      }
    }
    EXPECT_EQ(begun, ended());
  }
  [[nodiscard]] std::uint64_t ended() const noexcept {
    return ended_.load(std::memory_order_relaxed);
  }

 private:
  struct Sink {
    World& world;
    void operator()(blkown::EndedList<Rq>&& list) {
      while (auto ended = list.pop_front()) world.take_back(std::move(*ended));
    }
  };

  void take_back(blkown::Ended<Rq>&& ended) {
    Io& io = ended.data();
    if (io.holders.fetch_add(1, std::memory_order_relaxed) != 0) {
      complain("ended while another holder has the right to it", io.queue, io.tag);
    }
    const bool requeue = ended.is_requeue();
    const std::uint64_t serial = io.serial.load(std::memory_order_relaxed);
    if (io.ended_serial + 1 != serial) complain("ended twice, or not at all", io.queue, io.tag);
    if (!requeue) {
      io.ended_serial = serial;
      ended_.fetch_add(1, std::memory_order_relaxed);
    }
    io.holders.fetch_sub(1, std::memory_order_relaxed);
    if (requeue) {
      const std::lock_guard guard{requeued_mutex_};
      requeued_.push_back(std::move(ended));
    } else if (caches != nullptr && serial % 2 == 0) {
      std::move(ended).release((*caches)[io.queue.value]);
    } else {
      std::move(ended).release();
    }
  }

  std::vector<Channel> channels_;
  std::vector<std::atomic<std::uint64_t>> cookies_;
  Sink sink_;
  std::mutex requeued_mutex_;
  std::atomic<std::uint64_t> ended_{0};
  std::atomic<std::uint64_t> complaints_{0};
  std::atomic<std::uint64_t> saturations_{0};
  std::atomic<bool> broken_{false};
  std::optional<Tags> tags_;
  blkown::EndedList<Rq> requeued_;  // dropped before the TagSet
};

}  // namespace stress

#endif
