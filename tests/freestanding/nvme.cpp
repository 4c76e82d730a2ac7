// SPDX-License-Identifier: BSL-1.0
//
// Uses the wire format of NVMe. Compiled freestanding, the object file may have no undefined
// symbols except memcpy and similar functions.

#include <array>
#include <blkown/nvme/nvme.hpp>
#include <cstdint>
#include <span>

namespace freestanding {

namespace nvme = blkown::nvme;

namespace {

constexpr std::uint32_t page_bytes = 4096;
std::array<nvme::Le64, page_bytes / 8> list_page;
constexpr std::uint64_t list_iova = 0x10000;

std::uint64_t use_prps(const blkown::dma::IovaSegment& run) {
  const std::array pages{nvme::PrpListPage{list_page, list_iova}};
  const auto prps = nvme::build_prps(std::span{&run, 1}, pages, page_bytes);
  if (!prps.has_value()) return static_cast<std::uint64_t>(prps.error().reason);
  std::uint64_t visited_bytes = 0;
  const auto read_list = [](std::uint64_t iova, std::span<nvme::Le64> entries) {
    for (nvme::Le64& entry : entries) {
      if (iova < list_iova || iova >= list_iova + page_bytes) return false;
      entry = list_page[(iova - list_iova) / 8];
      iova += 8;
    }
    return true;
  };
  const auto walked =
      nvme::walk_prps(*prps, run.length_bytes, page_bytes, read_list,
                      [&](blkown::dma::IovaSegment part) { visited_bytes += part.length_bytes; });
  return walked.has_value() ? visited_bytes : 0;
}

}  // namespace

/// A command of each kind and what its completion means. Not static: the compiler keeps it.
std::uint64_t use_wire(const nvme::IdentifyController& controller,
                       const nvme::IdentifyNamespace& space, nvme::CompletionEntry completion,
                       nvme::Cc& cc);
std::uint64_t use_wire(const nvme::IdentifyController& controller,
                       const nvme::IdentifyNamespace& space, nvme::CompletionEntry completion,
                       nvme::Cc& cc) {
  cc.set_page_bytes(page_bytes);
  cc.set_enabled(true);
  const auto entry = nvme::SubmissionEntry::read(1, {.slba = 8, .block_count = 8}, true);
  const auto setup = nvme::SubmissionEntry::create_io_cq({.queue = 1, .entries = 64});
  const char* const name = to_string(completion.status().code());
  return entry.slba() + setup.completion_queue_setup().entries + controller.serial().size() +
         controller.max_transfer_bytes(page_bytes) + space.format().block_bytes() +
         static_cast<std::uint64_t>(to_status(completion.status())) +
         static_cast<std::uint64_t>(*name) + use_prps({.iova = 0x2004, .length_bytes = 65536});
}

}  // namespace freestanding
