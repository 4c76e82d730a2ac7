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

/// Pages of a window, each free or taken by an owner. A search begins behind the latest run, so
/// that a page is used again as late as possible.
/// Context: one at a time; the caller has a lock.
class PageWindow {
 public:
  /// The owner of a page: an I/O, or no_io for a page that is taken for good.
  using Owner = std::uint32_t;
  static constexpr Owner no_io = 0;

  /// Allocates what is known of `page_count` free pages. False: the heap has no memory.
  [[nodiscard]] bool reserve(std::uint64_t page_count) {
    const auto words = static_cast<std::size_t>((page_count + 63) / 64);
    taken_.reset(new (std::nothrow) std::uint64_t[words]{});
    staying_.reset(new (std::nothrow) std::uint64_t[words]{});
    owners_.reset(new (std::nothrow) Owner[static_cast<std::size_t>(page_count)]{});
    if (taken_ == nullptr || staying_ == nullptr || owners_ == nullptr) return false;
    page_count_ = page_count;
    return true;
  }

  [[nodiscard]] std::uint64_t page_count() const noexcept { return page_count_; }
  [[nodiscard]] std::uint64_t taken_count() const noexcept { return taken_count_; }
  /// The number of calls of give().
  [[nodiscard]] std::uint64_t give_count() const noexcept { return give_count_; }

  /// Takes a run of `count` pages for an owner. `next_fit(page)` returns the page itself if a run
  /// may begin there, or a later page. False: no run is free.
  template <class NextFit>
  [[nodiscard]] bool take(std::uint64_t count, Owner owner, const NextFit& next_fit,
                          std::uint64_t& first) noexcept {
    const std::uint64_t* const taken = taken_.get();
    if (!find(taken, next_, count, next_fit, first) && !find(taken, 0, count, next_fit, first)) {
      return false;
    }
    for (std::uint64_t page = first; page != first + count; ++page) {
      taken_[word(page)] |= bit(page);
      owners_[static_cast<std::size_t>(page)] = owner;
    }
    taken_count_ += count;
    next_ = first + count;
    return true;
  }
  /// The number of pages that stay taken when all I/Os but `owner` have ended.
  /// Effects: could_take() answers for that moment.
  [[nodiscard]] std::uint64_t count_staying(Owner owner) noexcept {
    std::uint64_t count = 0;
    for (std::uint64_t first = 0; first < page_count_; first += 64) {
      std::uint64_t staying = 0;
      for (std::uint64_t rest = taken_[word(first)]; rest != 0; rest &= rest - 1) {
        const std::uint64_t page = first + static_cast<std::uint64_t>(std::countr_zero(rest));
        const Owner its = owners_[static_cast<std::size_t>(page)];
        if (its == owner || its == no_io) staying |= bit(page);
      }
      staying_[word(first)] = staying;
      count += static_cast<std::uint64_t>(std::popcount(staying));
    }
    return count;
  }
  /// Whether a run of `count` pages is free if only the pages of the latest count_staying() are
  /// taken.
  template <class NextFit>
  [[nodiscard]] bool could_take(std::uint64_t count, const NextFit& next_fit) const noexcept {
    std::uint64_t first = 0;
    return find(staying_.get(), 0, count, next_fit, first);
  }
  /// Leaves a run of pages taken for good, by no I/O.
  /// Precondition: the run was taken.
  void keep(std::uint64_t first, std::uint64_t count) noexcept {
    for (std::uint64_t page = first; page != first + count; ++page)
      owners_[static_cast<std::size_t>(page)] = no_io;
  }
  /// Frees a run of pages.
  /// Precondition: the run was taken.
  void give(std::uint64_t first, std::uint64_t count) noexcept {
    for (std::uint64_t page = first; page != first + count; ++page)
      taken_[word(page)] &= ~bit(page);
    taken_count_ -= count;
    ++give_count_;
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
  std::unique_ptr<std::uint64_t[]> staying_;  // as of the latest count_staying()
  std::unique_ptr<Owner[]> owners_;           // of the taken pages
  std::uint64_t page_count_ = 0;
  std::uint64_t taken_count_ = 0;
  std::uint64_t give_count_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
