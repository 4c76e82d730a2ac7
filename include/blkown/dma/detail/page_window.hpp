// SPDX-License-Identifier: BSL-1.0
//
// PageWindow: allocates runs of pages of a window of device addresses.

#ifndef BLKOWN_DMA_DETAIL_PAGE_WINDOW_HPP
#define BLKOWN_DMA_DETAIL_PAGE_WINDOW_HPP

#include <bit>
#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// Pages of a window, each free, taken, or taken for good. A search begins behind the latest run,
/// so that a page is used again as late as possible.
/// Context: one at a time; the caller has a lock.
class PageWindow {
 public:
  /// Allocates the bits of `page_count` free pages. False: the heap has no memory.
  [[nodiscard]] bool reserve(std::uint64_t page_count) {
    const auto words = static_cast<std::size_t>((page_count + 63) / 64);
    taken_.reset(new (std::nothrow) std::uint64_t[words]{});
    permanent_.reset(new (std::nothrow) std::uint64_t[words]{});
    if (taken_ == nullptr || permanent_ == nullptr) return false;
    page_count_ = page_count;
    return true;
  }

  [[nodiscard]] std::uint64_t page_count() const noexcept { return page_count_; }
  [[nodiscard]] std::uint64_t taken_count() const noexcept { return taken_count_; }
  [[nodiscard]] std::uint64_t permanent_count() const noexcept { return permanent_count_; }

  /// Takes a run of `count` pages. `next_fit(page)` returns the page itself if a run may begin
  /// there, or a later page. False: no run is free.
  template <class NextFit>
  [[nodiscard]] bool take(std::uint64_t count, bool is_permanent, const NextFit& next_fit,
                          std::uint64_t& first) noexcept {
    const std::uint64_t* const taken = taken_.get();
    if (!find(taken, next_, count, next_fit, first) && !find(taken, 0, count, next_fit, first)) {
      return false;
    }
    for (std::uint64_t page = first; page != first + count; ++page) {
      taken_[word(page)] |= bit(page);
      if (is_permanent) permanent_[word(page)] |= bit(page);
    }
    taken_count_ += count;
    if (is_permanent) permanent_count_ += count;
    next_ = first + count;
    return true;
  }
  /// Whether a run of `count` pages is free if only the permanent pages are taken.
  template <class NextFit>
  [[nodiscard]] bool could_take(std::uint64_t count, const NextFit& next_fit) const noexcept {
    std::uint64_t first = 0;
    return find(permanent_.get(), 0, count, next_fit, first);
  }
  /// Frees a run of pages.
  /// Precondition: the run was taken.
  void give(std::uint64_t first, std::uint64_t count) noexcept {
    for (std::uint64_t page = first; page != first + count; ++page) {
      if ((permanent_[word(page)] & bit(page)) != 0) --permanent_count_;
      taken_[word(page)] &= ~bit(page);
      permanent_[word(page)] &= ~bit(page);
    }
    taken_count_ -= count;
  }

 private:
  [[nodiscard]] static std::size_t word(std::uint64_t page) noexcept {
    return static_cast<std::size_t>(page / 64);
  }
  [[nodiscard]] static std::uint64_t bit(std::uint64_t page) noexcept {
    return std::uint64_t{1} << (page % 64);
  }

  /// The first page from `page` on whose bit in `taken` is clear; page_count, if there is none.
  [[nodiscard]] std::uint64_t free_page(const std::uint64_t* taken,
                                        std::uint64_t page) const noexcept {
    while (page < page_count_) {
      const auto run =
          static_cast<std::uint64_t>(std::countr_one(taken[word(page)] >> (page % 64)));
      if (run == 0) return page;
      page += run;  // at most to the word's end: the shift has filled up with free pages
    }
    return page_count_;
  }
  template <class NextFit>
  [[nodiscard]] bool find(const std::uint64_t* taken, std::uint64_t from, std::uint64_t count,
                          const NextFit& next_fit, std::uint64_t& first) const noexcept {
    for (std::uint64_t at = free_page(taken, from);
         at < page_count_ && count <= page_count_ - at;) {
      if (const std::uint64_t fit = next_fit(at); fit != at) {
        at = free_page(taken, fit);
        continue;
      }
      std::uint64_t end = at + 1;
      while (end != at + count && (taken[word(end)] & bit(end)) == 0) ++end;
      if (end == at + count) {
        first = at;
        return true;
      }
      at = free_page(taken, end);
    }
    return false;
  }

  std::unique_ptr<std::uint64_t[]> taken_;
  std::unique_ptr<std::uint64_t[]> permanent_;
  std::uint64_t page_count_ = 0;
  std::uint64_t taken_count_ = 0;
  std::uint64_t permanent_count_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
