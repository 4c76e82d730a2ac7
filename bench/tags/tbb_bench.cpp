// SPDX-License-Identifier: BSL-1.0
//
// Free tags in oneTBB's concurrent_queue.

#include <oneapi/tbb/concurrent_queue.h>

#include <cstdint>
#include <support/io.hpp>
#include <tags/take_give.hpp>

namespace bench {
namespace {

class TbbPool {
 public:
  explicit TbbPool(int) {
    for (std::uint32_t tag = 0; tag != pool_tags; ++tag) free_.push(tag);
  }
  [[nodiscard]] std::uint32_t take(int) {
    std::uint32_t tag = pool_tags;
    must(free_.try_pop(tag));
    return tag;
  }
  void give(int, std::uint32_t tag) { free_.push(tag); }

 private:
  oneapi::tbb::concurrent_queue<std::uint32_t> free_;
};

const Registration registration{
    [](int max_threads) { register_pool<TbbPool>("tags/tbb_concurrent_queue", max_threads); }};

}  // namespace
}  // namespace bench
