// SPDX-License-Identifier: BSL-1.0
//
// Physical Region Pages: the addresses of a command's data.
//
// PRP 1 holds the address of the first byte, which may lie inside a memory page. Each further entry
// holds the address of a whole page. With two entries PRP 2 is the second one. With more, PRP 2
// points to a list of them. A list ends with its memory page: if entries are left over, the page's
// last entry points to the next list page, which begins at offset 0.
//
//   1. The driver counts the entries of its device addresses (prp_count), and takes list pages for
//      them (prp_list_pages).
//   2. build_prps writes the entries to the list pages, and returns PRP 1 and PRP 2.
//   3. A controller walks PRP 1, PRP 2 and the length that the command implies (walk_prps). The
//      entries are another party's values: a wrong one is an error, and the walk ends always.
//
// All rules are those of NVMe Base 1.4, section 4.3.

#ifndef BLKOWN_NVME_PRP_HPP
#define BLKOWN_NVME_PRP_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/status.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// What is wrong with PRP entries, or with the addresses that they are built from.
enum class PrpReason : std::uint8_t {
  misaligned,       ///< The first address is no multiple of 4, or another one or an end no page's.
  list_misaligned,  ///< A list pointer is no multiple of 8, or a later one no page's.
  unreadable_list,  ///< A list page could not be read.
  list_space,       ///< The list pages hold too few entries.
  empty_run,        ///< An address with a length of 0.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(PrpReason reason) noexcept {
  switch (reason) {
    case PrpReason::misaligned: return "misaligned";
    case PrpReason::list_misaligned: return "list_misaligned";
    case PrpReason::unreadable_list: return "unreadable_list";
    case PrpReason::list_space: return "list_space";
    case PrpReason::empty_run: return "empty_run";
  }
  return "unknown PRP reason";
}

/// The status code with which a controller answers a command whose PRP entries are wrong.
/// Source: NVMe Base 1.4, section 4.3.
[[nodiscard]] constexpr StatusCode to_status_code(PrpReason reason) noexcept {
  switch (reason) {
    case PrpReason::misaligned:
    case PrpReason::list_misaligned: return StatusCode::prp_offset_invalid;
    default: return StatusCode::data_transfer_error;
  }
}

/// The error of build_prps and walk_prps.
struct PrpError {
  PrpReason reason = PrpReason::misaligned;
  std::uint64_t iova = 0;  ///< The address that is wrong, or the list page's.
  friend constexpr bool operator==(const PrpError&, const PrpError&) = default;
};

/// The two entries of a command.
struct Prps {
  std::uint64_t prp1 = 0;
  std::uint64_t prp2 = 0;
  friend constexpr bool operator==(const Prps&, const Prps&) = default;
};

/// Memory for PRP list entries: a whole memory page, or a part of one.
struct PrpListPage {
  std::span<Le64> entries;
  std::uint64_t iova = 0;  ///< The device's address of entries[0].
};

namespace detail {

/// Addresses in terms of memory pages. Page sizes are powers of two, so that nothing is divided.
class PrpPages {
 public:
  explicit constexpr PrpPages(std::uint32_t page_bytes) noexcept
      : bytes_{page_bytes}, shift_{static_cast<unsigned>(std::countr_zero(page_bytes))} {}

  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept { return bytes_; }
  /// The place in its page.
  [[nodiscard]] constexpr std::uint64_t offset(std::uint64_t iova) const noexcept {
    return iova & (bytes_ - 1);
  }
  /// The bytes from the address to the end of its page.
  [[nodiscard]] constexpr std::uint64_t rest(std::uint64_t iova) const noexcept {
    return bytes_ - offset(iova);
  }
  /// The pages that the bytes fill, the last one in part. Without overflow.
  [[nodiscard]] constexpr std::uint64_t count(std::uint64_t length_bytes) const noexcept {
    return (length_bytes >> shift_) + (offset(length_bytes) != 0 ? 1 : 0);
  }
  /// The pages that the bytes touch.
  [[nodiscard]] constexpr std::uint64_t count(std::uint64_t iova,
                                              std::uint64_t length_bytes) const noexcept {
    if (length_bytes <= rest(iova)) return length_bytes != 0 ? 1 : 0;
    return 1 + count(length_bytes - rest(iova));
  }

 private:
  std::uint64_t bytes_;
  unsigned shift_;
};

}  // namespace detail

/// The entries that a transfer of `length_bytes` bytes needs whose first byte is `offset_bytes`
/// into its memory page. Contiguous or not does not matter.
/// Precondition: `page_bytes` is CC.MPS in bytes, as for all functions of this file.
[[nodiscard]] constexpr std::uint64_t prp_count(std::uint64_t offset_bytes,
                                                std::uint64_t length_bytes,
                                                std::uint32_t page_bytes) noexcept {
  return detail::PrpPages{page_bytes}.count(offset_bytes, length_bytes);
}
/// The entries that the runs need.
/// Precondition: build_prps accepts the runs.
[[nodiscard]] constexpr std::uint64_t prp_count(std::span<const dma::IovaSegment> runs,
                                                std::uint32_t page_bytes) noexcept {
  std::uint64_t count = 0;
  for (const dma::IovaSegment& run : runs) {
    count += prp_count(run.iova, run.length_bytes, page_bytes);
  }
  return count;
}

/// The list pages that `count` entries need, if each is a whole memory page.
[[nodiscard]] constexpr std::uint64_t prp_list_pages(std::uint64_t count,
                                                     std::uint32_t page_bytes) noexcept {
  if (count <= 2) return 0;
  const std::uint64_t in_list = count - 1;
  const std::uint64_t before_pointer = page_bytes / sizeof(Le64) - 1;
  if (in_list <= before_pointer + 1) return 1;
  // The last page holds no pointer.
  return (in_list - 1 + before_pointer - 1) / before_pointer;
}

namespace detail {

/// Writes entries to list pages, and a pointer at the end of each page but the last.
class PrpListWriter {
 public:
  /// For `count` entries.
  PrpListWriter(std::span<const PrpListPage> list_pages, std::uint64_t count,
                PrpPages pages) noexcept
      : list_pages_{list_pages}, left_{count}, pages_{pages} {}

  /// Writes the entries of `count` memory pages from `iova` on.
  [[nodiscard]] std::expected<void, PrpError> write(std::uint64_t iova,
                                                    std::uint64_t count) noexcept {
    while (count != 0) {
      if (room() == 0) {
        if (auto opened = open_page(); !opened.has_value()) return opened;
      }
      const std::uint64_t here = std::min<std::uint64_t>(count, room());
      for (Le64& entry : page_->entries.subspan(next_, static_cast<std::size_t>(here))) {
        entry = iova;
        iova += pages_.bytes();
      }
      next_ += static_cast<std::size_t>(here);
      left_ -= here;
      count -= here;
    }
    return {};
  }

 private:
  /// The entries for which the page has room, next to a pointer if not all others fit.
  [[nodiscard]] std::size_t room() const noexcept {
    if (page_ == nullptr) return 0;
    const std::size_t free = page_->entries.size() - next_;
    return left_ > free && free != 0 ? free - 1 : free;
  }
  /// Whether a list may go on behind the page: its last entry is the memory page's last.
  [[nodiscard]] bool ends_memory_page() const noexcept {
    return pages_.offset(page_->iova + page_->entries.size_bytes()) == 0;
  }
  [[nodiscard]] std::expected<void, PrpError> open_page() noexcept {
    const bool is_first = page_ == nullptr;
    if (used_ == list_pages_.size() || (!is_first && !ends_memory_page())) {
      return std::unexpected(PrpError{PrpReason::list_space, is_first ? 0 : page_->iova});
    }
    const PrpListPage& page = list_pages_[used_++];
    if (page.iova % sizeof(Le64) != 0 || page.entries.size_bytes() > pages_.rest(page.iova) ||
        (!is_first && pages_.offset(page.iova) != 0)) {
      return std::unexpected(PrpError{PrpReason::list_misaligned, page.iova});
    }
    if (page.entries.empty() || (page.entries.size() == 1 && left_ > 1)) {
      return std::unexpected(PrpError{PrpReason::list_space, page.iova});
    }
    if (!is_first) page_->entries[next_] = page.iova;
    page_ = &page;
    next_ = 0;
    return {};
  }

  std::span<const PrpListPage> list_pages_;
  const PrpListPage* page_ = nullptr;
  std::size_t used_ = 0;
  std::size_t next_ = 0;
  std::uint64_t left_;
  PrpPages pages_;
};

/// The entries of a run, which is the first or the last of its transfer, both or none.
[[nodiscard]] constexpr std::expected<std::uint64_t, PrpError> count_run(
    const dma::IovaSegment& run, bool is_first, bool is_last, PrpPages pages) noexcept {
  if (run.length_bytes == 0) return std::unexpected(PrpError{PrpReason::empty_run, run.iova});
  const bool starts_right = is_first ? run.iova % 4 == 0 : pages.offset(run.iova) == 0;
  if (!starts_right || (!is_last && pages.offset(run.iova + run.length_bytes) != 0)) {
    return std::unexpected(PrpError{PrpReason::misaligned, run.iova});
  }
  return pages.count(run.iova, run.length_bytes);
}

}  // namespace detail

/// Builds the PRP entries of a transfer whose memory is in `runs`, one after the other. Entries
/// beyond the second go to `list_pages`, of which the list uses as many as it needs.
/// Errors: misaligned, empty_run, list_misaligned, list_space. The list pages then hold anything.
[[nodiscard]] inline std::expected<Prps, PrpError> build_prps(
    std::span<const dma::IovaSegment> runs, std::span<const PrpListPage> list_pages,
    std::uint32_t page_bytes) noexcept {
  const detail::PrpPages pages{page_bytes};
  std::uint64_t count = 0;
  for (std::size_t i = 0; i != runs.size(); ++i) {
    const auto counted = detail::count_run(runs[i], i == 0, i + 1 == runs.size(), pages);
    if (!counted.has_value()) return std::unexpected(counted.error());
    count += *counted;
  }
  if (count == 0) return Prps{};
  Prps prps{.prp1 = runs[0].iova, .prp2 = 0};
  detail::PrpListWriter list{list_pages, count - 1, pages};
  for (std::size_t i = 0; i != runs.size(); ++i) {
    std::uint64_t iova = runs[i].iova;
    std::uint64_t left = pages.count(iova, runs[i].length_bytes);
    if (i == 0) {
      iova += pages.rest(iova);
      --left;
    }
    if (left == 0) continue;
    if (count == 2) {
      prps.prp2 = iova;
    } else if (const auto written = list.write(iova, left); !written.has_value()) {
      return std::unexpected(written.error());
    }
  }
  if (count > 2) prps.prp2 = list_pages[0].iova;
  return prps;
}

namespace detail {

/// The list part of walk_prps: `left` bytes from the list at `iova` on.
template <class ReadList, class Visit>
[[nodiscard]] constexpr std::expected<void, PrpError> walk_prp_list(
    std::uint64_t iova, std::uint64_t left, PrpPages pages, ReadList& read_list, Visit& visit) {
  std::array<Le64, 64> chunk{};
  if (iova % sizeof(Le64) != 0) return std::unexpected(PrpError{PrpReason::list_misaligned, iova});
  while (left != 0) {
    const std::uint64_t in_page = pages.rest(iova) / sizeof(Le64);
    const std::uint64_t needed = pages.count(left);
    // The page's last entry is a pointer if more entries follow than the page has.
    const bool is_pointer_next = needed > in_page && in_page == 1;
    const std::uint64_t count = is_pointer_next ? 1 : needed > in_page ? in_page - 1 : needed;
    const std::span entries{chunk.data(), std::min<std::size_t>(count, chunk.size())};
    if (!read_list(iova, entries)) {
      return std::unexpected(PrpError{PrpReason::unreadable_list, iova});
    }
    if (is_pointer_next) {
      iova = entries[0];
      if (pages.offset(iova) != 0) {
        return std::unexpected(PrpError{PrpReason::list_misaligned, iova});
      }
      continue;
    }
    for (const std::uint64_t page : entries) {
      if (pages.offset(page) != 0) return std::unexpected(PrpError{PrpReason::misaligned, page});
      const std::uint64_t bytes = std::min(left, pages.bytes());
      visit(dma::IovaSegment{page, bytes});
      left -= bytes;
    }
    iova += entries.size_bytes();
  }
  return {};
}

}  // namespace detail

/// Calls `visit` with a dma::IovaSegment for each entry of a transfer of `length_bytes` bytes, in
/// order. `read_list` reads list entries from a device address, `read_list(iova, std::span<Le64>)`,
/// and returns whether that succeeded.
/// Errors: misaligned, list_misaligned, unreadable_list. Entries before the wrong one were visited.
template <class ReadList, class Visit>
[[nodiscard]] constexpr std::expected<void, PrpError> walk_prps(Prps prps,
                                                                std::uint64_t length_bytes,
                                                                std::uint32_t page_bytes,
                                                                ReadList&& read_list,
                                                                Visit&& visit) {
  const detail::PrpPages pages{page_bytes};
  if (length_bytes == 0) return {};
  if (prps.prp1 % 4 != 0) return std::unexpected(PrpError{PrpReason::misaligned, prps.prp1});
  const std::uint64_t first = std::min(length_bytes, pages.rest(prps.prp1));
  visit(dma::IovaSegment{prps.prp1, first});
  const std::uint64_t left = length_bytes - first;
  if (left == 0) return {};
  if (left > pages.bytes()) {
    return detail::walk_prp_list(prps.prp2, left, pages, read_list, visit);
  }
  if (pages.offset(prps.prp2) != 0) {
    return std::unexpected(PrpError{PrpReason::misaligned, prps.prp2});
  }
  visit(dma::IovaSegment{prps.prp2, left});
  return {};
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
