// SPDX-License-Identifier: BSL-1.0
//
// Free tags in moodycamel::ConcurrentQueue, with the producer and consumer tokens that make it
// fast.

#include <concurrentqueue/concurrentqueue.h>

#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <tags/take_give.hpp>
#include <vector>

namespace bench {
namespace {

class MoodycamelPool {
 public:
  explicit MoodycamelPool(int threads) {
    for (int thread = 0; thread != threads; ++thread) {
      tokens_.push_back(std::make_unique<Tokens>(free_));
    }
    for (std::uint32_t tag = 0; tag != pool_tags; ++tag) {
      must(free_.enqueue(at(static_cast<int>(tag) % threads).producer, tag));
    }
  }
  [[nodiscard]] std::uint32_t take(int thread) {
    std::uint32_t tag = pool_tags;
    // try_dequeue may miss an element that another thread is adding.
    while (!free_.try_dequeue(at(thread).consumer, tag)) {
    }
    return tag;
  }
  void give(int thread, std::uint32_t tag) { must(free_.enqueue(at(thread).producer, tag)); }

 private:
  using Queue = moodycamel::ConcurrentQueue<std::uint32_t>;
  struct Tokens {
    explicit Tokens(Queue& queue) : producer{queue}, consumer{queue} {}
    moodycamel::ProducerToken producer;
    moodycamel::ConsumerToken consumer;
  };

  [[nodiscard]] Tokens& at(int thread) { return *tokens_[static_cast<std::size_t>(thread)]; }

  Queue free_{pool_tags};
  std::vector<std::unique_ptr<Tokens>> tokens_;
};

const Registration registration{
    [](int max_threads) { register_pool<MoodycamelPool>("tags/moodycamel_queue", max_threads); }};

}  // namespace
}  // namespace bench
