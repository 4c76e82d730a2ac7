// SPDX-License-Identifier: BSL-1.0
//
// The library's tags: with a TagCache for each thread, through a whole Idle and its end; and
// directly from the bitmap, with one read-modify-write each way. For comparison, the simplest pool.

#include <benchmark/benchmark.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <support/io.hpp>
#include <tags/take_give.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

/// A tag is taken as the Idle of its request, and given back by ending it.
class CachedPool {
 public:
  explicit CachedPool(int threads) {
    for (int thread = 0; thread != threads; ++thread) {
      contexts_.push_back(
          std::make_unique<Context>(tags_.tag_cache(blkown::QueueIndex{0}, pool_cache_tags)));
    }
  }

  [[nodiscard]] std::uint32_t take(int thread) {
    Context& context = at(thread);
    Idle<Request> idle = must(tags_.allocate(blkown::QueueIndex{0}, context.cache));
    const std::uint32_t tag = idle.tag().value;
    context.taken = std::move(idle).into_raw();
    return tag;
  }
  void give(int thread, std::uint32_t) {
    Context& context = at(thread);
    ending = &context.cache;
    Idle<Request>::from_raw(context.taken).fail(blkown::Status::ok);
  }

 private:
  struct alignas(blkown::cache_line_bytes) Context {
    explicit Context(TagCache&& made) : cache{std::move(made)} {}
    TagCache cache;
    Request* taken = nullptr;
  };
  struct Sink {
    void operator()(EndedList<Request>&& list) const {
      while (auto ended = list.pop_front()) std::move(*ended).release(*ending);
    }
  };

  [[nodiscard]] Context& at(int thread) { return *contexts_[static_cast<std::size_t>(thread)]; }

  /// The cache of the running thread: the sink runs in the context that ends, which allocated here.
  static inline thread_local TagCache* ending = nullptr;
  Sink sink_;
  TagSet tags_ = make_tags(sink_, 1, pool_tags);
  std::vector<std::unique_ptr<Context>> contexts_;
};

class BitmapPool {
 public:
  explicit BitmapPool(int threads) : hints_(static_cast<std::size_t>(threads)) {
    for (std::size_t thread = 0; thread != hints_.size(); ++thread) {
      hints_[thread].word = static_cast<std::uint32_t>(thread) % bitmap_.line_count();
    }
  }
  [[nodiscard]] std::uint32_t take(int thread) {
    const auto run = bitmap_.take_run(hints_[static_cast<std::size_t>(thread)].word, 1);
    must(run.mask != 0);
    return run.first_tag + static_cast<std::uint32_t>(std::countr_zero(run.mask));
  }
  void give(int, std::uint32_t tag) { must(bitmap_.give(Tag{tag})); }

 private:
  struct alignas(blkown::cache_line_bytes) Hint {
    std::uint32_t word = 0;
  };
  std::unique_ptr<blkown::detail::TagBitmap::Line[]> lines_ =
      std::make_unique<blkown::detail::TagBitmap::Line[]>(
          blkown::detail::TagBitmap::lines_for(pool_tags));
  blkown::detail::TagBitmap bitmap_{lines_.get(), pool_tags};
  std::vector<Hint> hints_;
};

class MutexPool {
 public:
  explicit MutexPool(int) {
    for (std::uint32_t tag = pool_tags; tag-- != 0;) free_.push_back(tag);
  }
  [[nodiscard]] std::uint32_t take(int) {
    const std::lock_guard lock{mutex_};
    const std::uint32_t tag = free_.back();
    free_.pop_back();
    return tag;
  }
  void give(int, std::uint32_t tag) {
    const std::lock_guard lock{mutex_};
    free_.push_back(tag);
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;
};

const Registration registration{[](int max_threads) {
  register_pool<CachedPool>("tags/library_tag_cache", max_threads);
  register_pool<BitmapPool>("tags/library_bitmap", max_threads);
  register_pool<MutexPool>("tags/mutex_vector", max_threads);
}};

}  // namespace
}  // namespace bench
