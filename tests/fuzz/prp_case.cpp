// SPDX-License-Identifier: BSL-1.0
//
// Goal: for any addresses, list pages and list contents, PRP entries are built and walked as the
// specification says, and what is wrong is found at the same place as by a reference.
//
// Method: the input gives runs of device addresses and list pages, sound ones most of the time, and
// the library builds their entries. Then the input gives the contents of list memory, in which a
// controller walks from any PRP 1 and PRP 2.
//
// Invariants: a reference that takes one entry at a time writes the same entries to the same
// places, visits the same memory, and ends with the same error.

#include <algorithm>
#include <array>
#include <blkown/nvme/prp.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fuzz_case.hpp"

namespace fuzz {
namespace {

namespace nvme = blkown::nvme;
using blkown::dma::IovaSegment;
using nvme::PrpError;
using nvme::PrpReason;

constexpr std::uint64_t unwritten = 0xDEAD'DEAD'DEAD'DEAD;

/// List pages of the driver, and what is stored in them.
struct ListPages {
  std::array<std::vector<nvme::Le64>, 3> entries;
  std::vector<nvme::PrpListPage> pages;
};

/// The reference of build_prps: one entry after the other.
class ReferenceBuilder {
 public:
  ReferenceBuilder(const std::vector<IovaSegment>& runs, ListPages& list, std::uint64_t page)
      : runs_{runs}, list_{list}, page_{page} {}

  [[nodiscard]] std::expected<nvme::Prps, PrpError> build() {
    for (std::size_t i = 0; i != runs_.size(); ++i) {
      if (const auto error = error_of(i)) return std::unexpected(*error);
    }
    std::vector<std::uint64_t> all;
    for (const IovaSegment& run : runs_) {
      for (std::uint64_t at = run.iova; at < run.iova + run.length_bytes; at = next_page(at)) {
        all.push_back(at);
      }
    }
    nvme::Prps prps;
    if (!all.empty()) prps.prp1 = all[0];
    if (all.size() == 2) prps.prp2 = all[1];
    if (all.size() <= 2) return prps;
    for (std::size_t i = 1; i != all.size(); ++i) {
      if (const auto error = append(all[i], i + 1 == all.size())) return std::unexpected(*error);
    }
    prps.prp2 = list_.pages[0].iova;
    return prps;
  }

 private:
  [[nodiscard]] std::uint64_t next_page(std::uint64_t iova) const {
    return (iova / page_ + 1) * page_;
  }
  [[nodiscard]] std::optional<PrpError> error_of(std::size_t i) const {
    const IovaSegment& run = runs_[i];
    if (run.length_bytes == 0) return PrpError{PrpReason::empty_run, run.iova};
    const bool begins_well = run.iova % (i == 0 ? 4 : page_) == 0;
    const bool ends_well = i + 1 == runs_.size() || (run.iova + run.length_bytes) % page_ == 0;
    if (begins_well && ends_well) return std::nullopt;
    return PrpError{PrpReason::misaligned, run.iova};
  }
  [[nodiscard]] std::optional<PrpError> append(std::uint64_t iova, bool is_last) {
    const bool is_open = index_ < list_.pages.size() && is_open_;
    const std::size_t size = is_open ? list_.pages[index_].entries.size() : 0;
    if (!is_open || slot_ == size || (slot_ + 1 == size && !is_last)) {
      if (const auto error = turn_page(is_last)) return error;
    }
    list_.pages[index_].entries[slot_++] = iova;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<PrpError> turn_page(bool is_last) {
    const std::size_t next = is_open_ ? index_ + 1 : 0;
    if (is_open_) {
      const nvme::PrpListPage& page = list_.pages[index_];
      const bool ends_well = (page.iova + 8 * page.entries.size()) % page_ == 0;
      if (!ends_well || next == list_.pages.size()) {
        return PrpError{PrpReason::list_space, page.iova};
      }
    } else if (list_.pages.empty()) {
      return PrpError{PrpReason::list_space, 0};
    }
    const nvme::PrpListPage& page = list_.pages[next];
    const bool is_within = page.iova % page_ + 8 * page.entries.size() <= page_;
    if (page.iova % 8 != 0 || !is_within || (is_open_ && page.iova % page_ != 0)) {
      return PrpError{PrpReason::list_misaligned, page.iova};
    }
    if (page.entries.size() < (is_last ? 1 : 2)) return PrpError{PrpReason::list_space, page.iova};
    if (is_open_) list_.pages[index_].entries[slot_] = page.iova;
    index_ = next;
    is_open_ = true;
    slot_ = 0;
    return std::nullopt;
  }

  const std::vector<IovaSegment>& runs_;
  ListPages& list_;
  std::uint64_t page_;
  std::size_t index_ = 0;
  std::size_t slot_ = 0;
  bool is_open_ = false;
};

/// List memory of a hostile driver: four pages of a pattern each, and single entries.
class ListMemory {
 public:
  ListMemory(Input& input, std::uint64_t page) : page_{page} {
    for (auto& kind : kinds_) kind = input.below(4);
    const std::uint32_t count = input.below(24);
    for (std::uint32_t i = 0; i != count; ++i) patches_.push_back(patch(input));
  }

  static constexpr std::uint64_t base = 0x80'0000;

  /// The entry at the address. None: the memory cannot be read.
  [[nodiscard]] std::optional<std::uint64_t> at(std::uint64_t iova) const {
    if (iova < base || iova >= base + kinds_.size() * page_) return std::nullopt;
    const std::uint64_t index = (iova - base) / page_;
    if (kinds_[index] == 3) return std::nullopt;
    for (const Patch& patch : patches_) {
      if (patch.iova == iova) return patch.value;
    }
    const std::uint64_t slot = iova % page_ / 8;
    // Data pages, or the list pages in turn.
    if (kinds_[index] == 0) return (slot + 1) << 20;
    return base + (slot + kinds_[index]) % kinds_.size() * page_;
  }

 private:
  struct Patch {
    std::uint64_t iova = 0;
    std::uint64_t value = 0;
  };

  [[nodiscard]] Patch patch(Input& input) const {
    const std::uint64_t in_page = page_ / 8;
    const std::uint64_t from_begin = input.below(70);
    const std::uint64_t slot = input.flag() ? from_begin : in_page - 1 - from_begin % 3;
    const std::uint64_t iova = base + input.below(4) * page_ + slot * 8;
    switch (input.below(4)) {
      case 0: return {iova, input.bits(8)};
      case 1: return {iova, base + input.bits(2)};
      case 2: return {iova, base + input.below(4) * page_};
      default: return {iova, std::uint64_t{1 + input.below(200)} * page_};
    }
  }

  std::uint64_t page_;
  std::array<std::uint32_t, 4> kinds_{};
  std::vector<Patch> patches_;
};

/// What a walk has visited, and how it has ended.
struct Walked {
  std::vector<IovaSegment> visited;
  std::optional<PrpError> error;
};

/// The reference of walk_prps: one entry after the other.
Walked reference_walk(nvme::Prps prps, std::uint64_t left, std::uint64_t page,
                      const ListMemory& memory) {
  Walked walked;
  const auto visit = [&](std::uint64_t iova, std::uint64_t most) {
    const std::uint64_t bytes = std::min(left, most);
    walked.visited.push_back({iova, bytes});
    left -= bytes;
  };
  const auto fail = [&](PrpReason reason, std::uint64_t iova) {
    walked.error = PrpError{reason, iova};
    return walked;
  };
  if (left == 0) return walked;
  if (prps.prp1 % 4 != 0) return fail(PrpReason::misaligned, prps.prp1);
  visit(prps.prp1, page - prps.prp1 % page);
  if (left == 0) return walked;
  if (left <= page) {
    if (prps.prp2 % page != 0) return fail(PrpReason::misaligned, prps.prp2);
    visit(prps.prp2, page);
    return walked;
  }
  std::uint64_t at = prps.prp2;
  if (at % 8 != 0) return fail(PrpReason::list_misaligned, at);
  while (left != 0) {
    const auto entry = memory.at(at);
    if (!entry.has_value()) return fail(PrpReason::unreadable_list, at);
    const bool is_pointer = (at + 8) % page == 0 && left > page;
    if (*entry % page != 0) {
      return fail(is_pointer ? PrpReason::list_misaligned : PrpReason::misaligned, *entry);
    }
    if (!is_pointer) visit(*entry, page);
    at = is_pointer ? *entry : at + 8;
  }
  return walked;
}

class PrpCase {
 public:
  explicit PrpCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    page_ = std::uint32_t{4096} << input_.below(2);
    build();
    for (int walks = 0; walks != 4 && verdict_.clean(); ++walks) walk();
    return verdict_.first();
  }

 private:
  [[nodiscard]] std::vector<IovaSegment> read_runs() {
    std::vector<IovaSegment> runs(input_.below(5));
    for (std::size_t i = 0; i != runs.size(); ++i) {
      runs[i] = {(1 + input_.bits(2)) * page_, (1 + input_.below(240)) * std::uint64_t{page_}};
      switch (input_.below(8)) {
        case 0: runs[i].iova += input_.bits(2); break;
        case 1: runs[i].length_bytes -= std::min(runs[i].length_bytes, input_.bits(2)); break;
        case 2: {
          const std::uint64_t offset = input_.bits(2) % page_ / 4 * 4;
          runs[i].iova += offset;
          runs[i].length_bytes -= offset;
          break;
        }
        default: break;
      }
    }
    return runs;
  }
  [[nodiscard]] ListPages read_pages() {
    ListPages list;
    const std::uint32_t count = input_.below(4);
    for (std::uint32_t i = 0; i != count; ++i) {
      std::uint64_t size = page_ / 8;
      std::uint64_t iova = (1 + input_.bits(1)) * page_;
      switch (input_.below(6)) {
        case 0: size = input_.below(40); break;
        case 1: size = 1 + input_.below(40), iova += page_ - 8 * size; break;
        case 2: iova += input_.byte(); break;
        default: break;
      }
      list.entries[i].assign(static_cast<std::size_t>(size), nvme::Le64{unwritten});
      list.pages.push_back({list.entries[i], iova});
    }
    return list;
  }

  void build() {
    const std::vector<IovaSegment> runs = read_runs();
    ListPages list = read_pages();
    const auto built = nvme::build_prps(runs, list.pages, page_);
    ListPages expected;
    expected.entries = list.entries;
    for (auto& entries : expected.entries) std::ranges::fill(entries, nvme::Le64{unwritten});
    for (std::size_t i = 0; i != list.pages.size(); ++i) {
      expected.pages.push_back({expected.entries[i], list.pages[i].iova});
    }
    const auto reference = ReferenceBuilder{runs, expected, page_}.build();
    verdict_.expect(built.has_value() == reference.has_value(), "whether entries can be built");
    if (!verdict_.clean()) return;
    if (!built.has_value()) {
      verdict_.expect(built.error() == reference.error(), "why entries cannot be built");
      return;
    }
    verdict_.expect(*built == *reference, "PRP 1 and PRP 2");
    for (std::size_t i = 0; i != list.entries.size(); ++i) {
      verdict_.expect(std::ranges::equal(list.entries[i], expected.entries[i]),
                      "the list's entries");
    }
  }

  void walk() {
    const ListMemory memory{input_, page_};
    nvme::Prps prps{.prp1 = input_.bits(3) & ~std::uint64_t{3},
                    .prp2 = ListMemory::base + (input_.bits(2) & ~std::uint64_t{7})};
    if (input_.below(8) == 0) prps.prp1 += input_.below(4);
    if (input_.below(8) == 0) prps.prp2 = input_.bits(3);
    const std::uint64_t length_bytes = input_.bits(3) / (1 + input_.below(8));
    const Walked expected = reference_walk(prps, length_bytes, page_, memory);

    Walked walked;
    const auto result = nvme::walk_prps(
        prps, length_bytes, page_,
        [&](std::uint64_t iova, std::span<nvme::Le64> entries) {
          for (nvme::Le64& entry : entries) {
            const auto value = memory.at(iova);
            if (!value.has_value()) return false;
            entry = *value;
            iova += 8;
          }
          return true;
        },
        [&](const IovaSegment& segment) { walked.visited.push_back(segment); });
    if (!result.has_value()) walked.error = result.error();
    verdict_.expect(walked.error == expected.error, "how a walk ends");
    verdict_.expect(walked.visited == expected.visited, "what a walk visits");
  }

  Input input_;
  Verdict verdict_;
  std::uint32_t page_ = 4096;
};

}  // namespace

std::string run_case(Bytes bytes) { return PrpCase{bytes}.run(); }

}  // namespace fuzz
