// SPDX-License-Identifier: BSL-1.0
//
// Store: the memory behind a disk. Sparse, with a limit, and with a volatile cache.
//
//   page      4096 bytes, or one block if a block is longer. A page is in the store once it was
//             written. It has a durable copy, a cached one, or both.
//   cached    a bit for each block says whether the cached copy has the block's content. A read
//             takes each block from where it is newer.
//   write     goes to the cache, if there is one and the write does not have to be durable, else to
//             the durable copy. It then removes what the cache has of the block.
//   flush     writes all cached blocks back. A full cache writes its oldest page back.
//   discard, write_zeroes   are durable at once.
//   power cut drops every cached block, or of a seeded choice of blocks writes some back first: a
//             real cache does that at any moment. A write that is running is cut between two pages,
//             and then fails: each block is old or new.

#ifndef NULL_BLOCK_STORE_HPP
#define NULL_BLOCK_STORE_HPP

#include <algorithm>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config.hpp"
#include "pages.hpp"

namespace null_block {

class Store {
 public:
  /// Precondition: `config` was checked.
  explicit Store(const Config& config)
      : block_bytes_{static_cast<std::size_t>(config.blocksize)},
        cache_bytes_{config.cache_size},
        pool_{std::max<std::size_t>(4096, block_bytes_), config.memory_limit, config.home_node},
        // The cache is one, with one order of its pages.
        shards_(config.cache_size == 0 ? 64 : 1) {}

  /// Reads: calls `copy(const std::byte* from, length_bytes)` for the range's bytes, in order. For
  /// what was never written, `from` is null: zeroes.
  /// Precondition: here and below, the range is whole blocks.
  /// Errors: offline, if the power is off.
  template <class Copy>
  [[nodiscard]] blkown::Status read(std::uint64_t offset, std::uint64_t length_bytes, Copy copy) {
    return for_each_page(offset, length_bytes, [&](Shard& shard, const Part& part) {
      read_part(shard, part, copy);
      return blkown::Status::ok;
    });
  }
  /// Writes: calls `copy(std::byte* to, length_bytes)` for the range's bytes, in order.
  /// Errors: no_space, if the memory limit is reached: a part was written; offline.
  template <class Copy>
  [[nodiscard]] blkown::Status write(std::uint64_t offset, std::uint64_t length_bytes,
                                     bool is_durable, Copy copy) {
    const bool is_cached = cache_bytes_ != 0 && !is_durable;
    return for_each_page(offset, length_bytes, [&](Shard& shard, const Part& part) {
      std::byte* const to = is_cached ? cached_place(shard, part) : durable_place(shard, part);
      if (to == nullptr) return no_space(shard, part.index);
      copy(to, part.length);
      return blkown::Status::ok;
    });
  }
  /// Makes the range read as zeroes, durably. Whole pages are given back.
  [[nodiscard]] blkown::Status zero(std::uint64_t offset, std::uint64_t length_bytes) {
    return for_each_page(offset, length_bytes, [&](Shard& shard, const Part& part) {
      zero_part(shard, part);
      return blkown::Status::ok;
    });
  }
  /// Makes all writes that have returned durable.
  [[nodiscard]] blkown::Status flush() {
    for (Shard& shard : shards_) {
      const std::lock_guard lock{shard.mutex};
      if (!shard.is_powered) return blkown::Status::offline;
      while (!shard.cached_order.empty()) write_back_oldest(shard);
    }
    return blkown::Status::ok;
  }

  /// Drops what is not durable, and fails every later call until power_on(). Of the cached blocks,
  /// `seed` chooses those that were written back in time; 0: none.
  /// Context: any thread, while calls run.
  void power_off(std::uint64_t seed) {
    std::mt19937_64 random{seed};
    // Empty for each shard. Outside the loop, because a deque allocates when it is made.
    std::deque<std::uint64_t> order;
    for (Shard& shard : shards_) {
      const std::lock_guard lock{shard.mutex};
      shard.is_powered = false;
      order.swap(shard.cached_order);
      for (const std::uint64_t index : order) {
        drop_cached(shard, index, seed == 0 ? 0 : static_cast<std::uint8_t>(random()));
      }
      order.clear();
    }
  }
  /// Ends a power cut.
  void power_on() {
    for (Shard& shard : shards_) {
      const std::lock_guard lock{shard.mutex};
      shard.is_powered = true;
    }
  }
  [[nodiscard]] bool has_power() {
    const std::lock_guard lock{shards_.back().mutex};
    return shards_.back().is_powered;
  }

  /// Changes the memory limit.
  void set_memory_limit(std::uint64_t limit_bytes) { pool_.set_limit(limit_bytes); }
  /// The memory in use.
  [[nodiscard]] std::uint64_t used_bytes() { return pool_.used_bytes(); }
  /// The bytes of the pages that have cached blocks.
  [[nodiscard]] std::uint64_t cached_bytes() {
    std::uint64_t pages = 0;
    for (Shard& shard : shards_) {
      const std::lock_guard lock{shard.mutex};
      pages += shard.cached_order.size();
    }
    return pages * pool_.page_bytes();
  }
  /// Calls `visit(is_allocated, length_bytes)` for the range's pages, in order.
  template <class Visit>
  void for_each_extent(std::uint64_t offset, std::uint64_t length_bytes, Visit visit) {
    static_cast<void>(
        for_each_page(offset, length_bytes, [&](const Shard& shard, const Part& part) {
          visit(shard.pages.contains(part.index), part.length);
          return blkown::Status::ok;
        }));
  }

 private:
  struct Page {
    std::byte* durable = nullptr;
    std::byte* cached = nullptr;
    std::uint8_t blocks = 0;  // those that are cached
  };
  struct Shard {
    std::mutex mutex;
    bool is_powered = true;
    std::unordered_map<std::uint64_t, Page> pages;
    std::deque<std::uint64_t> cached_order;  // pages with a cached copy, the oldest first
  };
  /// The part of a range that is in one page.
  struct Part {
    std::uint64_t index;  // of the page
    std::size_t begin;
    std::size_t length;
    std::uint64_t done;  // bytes of the range before this part
  };

  /// Calls `visit` for each part with its shard locked, until one fails.
  template <class Visit>
  [[nodiscard]] blkown::Status for_each_page(std::uint64_t offset, std::uint64_t length_bytes,
                                             Visit visit) {
    const std::size_t page_bytes = pool_.page_bytes();
    for (std::uint64_t done = 0; done != length_bytes;) {
      const std::uint64_t at = offset + done;
      const auto begin = static_cast<std::size_t>(at % page_bytes);
      const auto length = static_cast<std::size_t>(
          std::min<std::uint64_t>(page_bytes - begin, length_bytes - done));
      const Part part{at / page_bytes, begin, length, done};
      Shard& shard = shards_[part.index % shards_.size()];
      const std::lock_guard lock{shard.mutex};
      if (!shard.is_powered) return blkown::Status::offline;
      if (const auto status = visit(shard, part); status != blkown::Status::ok) return status;
      done += length;
    }
    return blkown::Status::ok;
  }

  /// The bits of the part's blocks.
  [[nodiscard]] std::uint8_t blocks_of(const Part& part) const noexcept {
    const std::size_t first = part.begin / block_bytes_;
    const std::size_t count = part.length / block_bytes_;
    return static_cast<std::uint8_t>(((1U << count) - 1U) << first);
  }

  template <class Copy>
  void read_part(const Shard& shard, const Part& part, Copy& copy) const {
    const auto found = shard.pages.find(part.index);
    if (found == shard.pages.end()) {
      copy(static_cast<const std::byte*>(nullptr), part.length);
      return;
    }
    const Page& page = found->second;
    for (std::size_t done = 0; done < part.length; done += block_bytes_) {
      const std::size_t at = part.begin + done;
      const bool is_cached = (page.blocks >> (at / block_bytes_) & 1U) != 0;
      const std::byte* const from = is_cached ? page.cached : page.durable;
      copy(from == nullptr ? nullptr : from + at, block_bytes_);
    }
  }

  /// Where the durable content of the part is to be written, or null: there is no memory.
  [[nodiscard]] std::byte* durable_place(Shard& shard, const Part& part) {
    Page& page = page_of(shard, part.index);
    if (page.durable == nullptr && !make_durable(shard, part, page)) return nullptr;
    forget_cached(shard, part.index, page, blocks_of(part));
    return page.durable + part.begin;
  }

  /// Makes the durable copy of a page that has none. Returns false if there is no memory.
  [[nodiscard]] bool make_durable(Shard& shard, const Part& part, Page& page) {
    page.durable = pool_.take();
    if (page.durable == nullptr && page.cached != nullptr) {
      std::erase(shard.cached_order, part.index);
      write_back_all(page);  // the cached copy becomes the durable one
      return true;
    }
    if (page.durable == nullptr) page.durable = take_page(shard);
    if (page.durable == nullptr) return false;
    if (part.length != pool_.page_bytes()) std::memset(page.durable, 0, pool_.page_bytes());
    return true;
  }

  /// Where the content of the part is to be written: in the cache, or without memory for that in a
  /// durable page. Null: there is no memory.
  [[nodiscard]] std::byte* cached_place(Shard& shard, const Part& part) {
    const std::size_t page_bytes = pool_.page_bytes();
    if (page_bytes > cache_bytes_) return durable_place(shard, part);
    Page& page = page_of(shard, part.index);
    if (page.cached == nullptr) {
      if ((shard.cached_order.size() + 1) * page_bytes > cache_bytes_) write_back_oldest(shard);
      page.cached = take_page(shard);
      if (page.cached == nullptr) return durable_place(shard, part);
      shard.cached_order.push_back(part.index);
    }
    page.blocks |= blocks_of(part);
    return page.cached + part.begin;
  }

  void zero_part(Shard& shard, const Part& part) {
    const auto found = shard.pages.find(part.index);
    if (found == shard.pages.end()) return;
    Page& page = found->second;
    forget_cached(shard, part.index, page, blocks_of(part));
    if (page.durable != nullptr && part.length == pool_.page_bytes()) {
      pool_.give(std::exchange(page.durable, nullptr));
    } else if (page.durable != nullptr) {
      std::memset(page.durable + part.begin, 0, part.length);
    }
    erase_if_empty(shard, part.index);
  }

  [[nodiscard]] static Page& page_of(Shard& shard, std::uint64_t index) {
    return shard.pages.try_emplace(index).first->second;
  }
  static void erase_if_empty(Shard& shard, std::uint64_t index) {
    const auto found = shard.pages.find(index);
    if (found == shard.pages.end()) return;
    if (found->second.durable == nullptr && found->second.cached == nullptr) {
      shard.pages.erase(found);
    }
  }
  [[nodiscard]] static blkown::Status no_space(Shard& shard, std::uint64_t index) {
    erase_if_empty(shard, index);
    return blkown::Status::no_space;
  }

  /// The cache no longer has these blocks.
  void forget_cached(Shard& shard, std::uint64_t index, Page& page, std::uint8_t blocks) {
    if (page.cached == nullptr) return;
    page.blocks &= static_cast<std::uint8_t>(~blocks);
    if (page.blocks != 0) return;
    pool_.give(std::exchange(page.cached, nullptr));
    std::erase(shard.cached_order, index);
  }

  /// Takes a page. At the memory limit, cached pages are written back until a copy is free. Null:
  /// there is none.
  [[nodiscard]] std::byte* take_page(Shard& shard) {
    std::byte* page = pool_.take();
    while (page == nullptr && !shard.cached_order.empty()) {
      write_back_oldest(shard);
      page = pool_.take();
    }
    return page;
  }
  void write_back_oldest(Shard& shard) {
    const std::uint64_t index = shard.cached_order.front();
    shard.cached_order.pop_front();
    write_back_all(shard.pages.find(index)->second);
  }
  /// Makes all cached blocks of a page durable, and drops the cached copy.
  void write_back_all(Page& page) {
    write_back(page, page.blocks);
    if (page.cached != nullptr) pool_.give(std::exchange(page.cached, nullptr));
    page.blocks = 0;
  }
  /// Makes these cached blocks durable. Takes no page: a cached copy without a durable one becomes
  /// that.
  void write_back(Page& page, std::uint8_t blocks) const {
    const bool is_first = page.durable == nullptr;
    if (is_first) page.durable = std::exchange(page.cached, nullptr);
    for (std::size_t block = 0; block != pool_.page_bytes() / block_bytes_; ++block) {
      const bool is_chosen = (blocks >> block & 1U) != 0;
      std::byte* const to = page.durable + block * block_bytes_;
      if (!is_first && is_chosen) {
        std::memcpy(to, page.cached + block * block_bytes_, block_bytes_);
      } else if (is_first && !is_chosen) {
        std::memset(to, 0, block_bytes_);
      }
    }
  }
  /// Drops the cached copy, after `written` of its blocks were written back.
  void drop_cached(Shard& shard, std::uint64_t index, std::uint8_t written) {
    Page& page = shard.pages.find(index)->second;
    const auto blocks = static_cast<std::uint8_t>(page.blocks & written);
    if (blocks != 0) write_back(page, blocks);
    if (page.cached != nullptr) pool_.give(std::exchange(page.cached, nullptr));
    page.blocks = 0;
    erase_if_empty(shard, index);
  }

  std::size_t block_bytes_;
  std::uint64_t cache_bytes_;
  PagePool pool_;
  std::vector<Shard> shards_;
};

}  // namespace null_block

#endif
