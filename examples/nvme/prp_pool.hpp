// SPDX-License-Identifier: BSL-1.0
//
// PrpPool: a page for each tag of a queue, for the PRP list or the DSM range of the tag's command.

#ifndef EXAMPLES_NVME_PRP_POOL_HPP
#define EXAMPLES_NVME_PRP_POOL_HPP

#include <blkown/dma/dma.hpp>
#include <blkown/nvme/dsm.hpp>
#include <blkown/nvme/prp.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <utility>

#include "controller_registers.hpp"

namespace nvme_driver {

/// The longest transfer whose PRP list fits one page, wherever its memory begins.
inline constexpr std::uint64_t max_prp_bytes =
    page_bytes / sizeof(blkown::nvme::Le64) * std::uint64_t{page_bytes};

/// A page for each tag, which the controller reads while the tag's command is in flight. The tag's
/// owner writes it before the publication.
template <blkown::dma::Backend B>
class PrpPool {
 public:
  /// Errors: those of dma::Coherent::allocate.
  [[nodiscard]] static std::expected<PrpPool, blkown::dma::MapError> allocate(
      blkown::dma::Device<B>& device, std::uint32_t depth) {
    auto memory = Memory::allocate(device, std::size_t{depth} * page_bytes);
    if (!memory.has_value()) return std::unexpected(memory.error());
    return PrpPool{*std::move(memory)};
  }

  /// The PRP entries for the memory in `runs`.
  /// Errors: misaligned, if the memory has gaps within pages (virt_boundary_mask 4095).
  [[nodiscard]] std::expected<blkown::nvme::Prps, blkown::nvme::PrpError> build(
      blkown::Tag tag, std::span<const blkown::dma::IovaSegment> runs) noexcept {
    auto* const entries = reinterpret_cast<blkown::nvme::Le64*>(data(tag));
    const blkown::nvme::PrpListPage page{{entries, page_bytes / sizeof *entries}, iova(tag)};
    return blkown::nvme::build_prps(runs, {&page, 1}, page_bytes);
  }
  /// The PRP entries for a range of Dataset Management.
  [[nodiscard]] blkown::nvme::Prps put(blkown::Tag tag,
                                       const blkown::nvme::DsmRange& range) noexcept {
    std::memcpy(data(tag), &range, sizeof range);
    return {.prp1 = iova(tag), .prp2 = 0};
  }

  /// Frees the pages. False: the proof does not cover them.
  [[nodiscard]] bool free(const blkown::dma::EndProof& proof) {
    auto freed = std::move(memory_).free(proof);
    if (!freed.has_value()) memory_ = std::move(freed.error());
    return freed.has_value();
  }

 private:
  using Memory = blkown::dma::Coherent<B>;

  explicit PrpPool(Memory&& memory) noexcept : memory_{std::move(memory)} {}

  [[nodiscard]] std::byte* data(blkown::Tag tag) const noexcept {
    return memory_.data() + std::size_t{tag.value} * page_bytes;
  }
  [[nodiscard]] std::uint64_t iova(blkown::Tag tag) const noexcept {
    return memory_.segment().iova + std::uint64_t{tag.value} * page_bytes;
  }

  Memory memory_;
};

}  // namespace nvme_driver

#endif
