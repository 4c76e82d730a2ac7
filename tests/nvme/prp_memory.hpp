// SPDX-License-Identifier: BSL-1.0
//
// Memory for PRP lists at device addresses of the test's choice.

#ifndef BLKOWN_TESTS_NVME_PRP_MEMORY_HPP
#define BLKOWN_TESTS_NVME_PRP_MEMORY_HPP

#include <blkown/dma/iova.hpp>
#include <blkown/nvme/prp.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <span>
#include <vector>

namespace prp {

using blkown::dma::IovaSegment;

/// List pages, and what a controller finds at their addresses.
class Memory {
 public:
  /// Adds a list page with `count` entries at the device address `iova`.
  void add(std::uint64_t iova, std::size_t count) {
    auto& entries = pages_[iova];
    entries.assign(count, blkown::nvme::Le64{unwritten});
    list_.push_back({entries, iova});
  }
  /// The pages, for build_prps.
  [[nodiscard]] std::span<const blkown::nvme::PrpListPage> pages() const { return list_; }

  /// The entry at the address. `unwritten` if nothing wrote it or no page has it.
  [[nodiscard]] std::uint64_t at(std::uint64_t iova) const {
    const auto* const entry = find(iova);
    return entry == nullptr ? unwritten : entry->get();
  }
  void set(std::uint64_t iova, std::uint64_t value) {
    *const_cast<blkown::nvme::Le64*>(find(iova)) = value;
  }

  /// What walk_prps calls. Counts the reads.
  bool operator()(std::uint64_t iova, std::span<blkown::nvme::Le64> entries) {
    ++reads;
    for (blkown::nvme::Le64& entry : entries) {
      const auto* const found = find(iova);
      if (found == nullptr) return false;
      entry = *found;
      iova += 8;
    }
    return true;
  }

  static constexpr std::uint64_t unwritten = 0xDEAD'DEAD'DEAD'DEAD;
  int reads = 0;

 private:
  [[nodiscard]] const blkown::nvme::Le64* find(std::uint64_t iova) const {
    auto page = pages_.upper_bound(iova);
    if (page == pages_.begin() || iova % 8 != 0) return nullptr;
    --page;
    const std::uint64_t index = (iova - page->first) / 8;
    return index < page->second.size() ? &page->second[index] : nullptr;
  }

  std::map<std::uint64_t, std::vector<blkown::nvme::Le64>> pages_;  // its values do not move
  std::vector<blkown::nvme::PrpListPage> list_;
};

/// What the walk visited, or its error.
struct Walk {
  std::vector<IovaSegment> segments;
  std::expected<void, blkown::nvme::PrpError> result;
};

inline Walk walk(blkown::nvme::Prps prps, std::uint64_t length_bytes, std::uint32_t page_bytes,
                 Memory& memory) {
  Walk walked;
  walked.result =
      blkown::nvme::walk_prps(prps, length_bytes, page_bytes, memory,
                              [&](IovaSegment segment) { walked.segments.push_back(segment); });
  return walked;
}

}  // namespace prp

#endif
