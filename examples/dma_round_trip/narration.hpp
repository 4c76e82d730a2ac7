// SPDX-License-Identifier: BSL-1.0
//
// Prints the steps of one I/O with a mapping: the request's count and flags after each step, and
// the memory that the device can reach.

#ifndef EXAMPLES_DMA_ROUND_TRIP_NARRATION_HPP
#define EXAMPLES_DMA_ROUND_TRIP_NARRATION_HPP

#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

namespace round_trip {

/// One I/O, printed step by step.
class Narration {
 public:
  Narration() : device_{iommu_} {}

  /// Returns false if a step does not have its expected result.
  [[nodiscard]] bool run() {
    namespace dma = blkown::dma;
    std::printf("%-32s %5s  %-8s %10s  %s\n", "step", "count", "flags", "generation",
                "the device can reach");
    auto cache = tags_.tag_cache(blkown::QueueIndex{0});
    auto owned = (*tags_.allocate(blkown::QueueIndex{0}, cache)).start();
    tell("hand over, start", 0, "owned", false);
    auto claim = std::move(owned).into_claim();
    tell("into_claim", 0, "owned", false);
    const blkown::Segment memory[] = {{buffer_.data(), buffer_.size()}};
    auto prepared =
        dma::map(claim, device_, memory, dma::Direction::from_device, claim.data().iovas);
    if (!prepared.has_value()) return false;
    claim.data().mapping = std::move(*prepared).activate();
    tell("map: a pin of the request", 3, "claimed", true);
    std::uint64_t sent = 0;
    const std::uint64_t iova = claim.data().mapping->segments()[0].iova;
    std::move(claim).publish([&](const blkown::Cookie& cookie) { sent = cookie.value; });
    tell("publish, doorbell", 2, "-", true);
    const std::vector<std::byte> bytes(buffer_.size(), std::byte{7});
    const blkown::sim::Iommu::Access access{.device = 1, .cookie = sent};
    is_good_ = iommu_.write(iova, bytes, access) && is_good_;
    auto found = tags_.claim(blkown::QueueIndex{0}, sent);
    if (!found.has_value()) return false;
    tell("completion: claim(cookie)", 3, "claimed", true);
    auto mapping = *std::exchange(found->data().mapping, std::nullopt);
    is_good_ = std::move(mapping).unmap(*dma::EndProof::of(*found)).has_value() && is_good_;
    tell("unmap, with the claim as proof", 2, "claimed", false);
    is_good_ = !iommu_.write(iova, bytes, access) && is_good_;  // the IOMMU only records a fault
    auto alone = std::move(*found).into_owned();
    if (!alone.has_value()) return false;
    tell("into_owned", 0, "owned", false);
    std::move(*alone).end_ok();
    return is_good_ && buffer_ == bytes && iommu_.fault_counts().total() == 1;
  }

 private:
  struct Data {
    blkown::dma::IovaList<2> iovas;
    std::optional<blkown::dma::ActiveMapping> mapping;
  };
  using Rq = blkown::Request<Data>;
  using Tags = blkown::TagSet<Rq>;

  void tell(const char* step, unsigned count, const char* flags, bool is_mapped) {
    const auto state =
        tags_.state_of(blkown::QueueIndex{0}, blkown::Tag{0}).value_or(blkown::RequestState{});
    const char* const seen = state.owned ? "owned" : state.claimed ? "claimed" : "-";
    const std::uint64_t pages = iommu_.mapped_pages();
    std::printf("%-32s %5u  %-8s %10u  %s\n", step, state.count, seen, state.generation.value,
                pages == 0 ? "nothing" : "the buffer");
    is_good_ = is_good_ && state.count == count && std::string_view{seen} == flags &&
               (pages != 0) == is_mapped;
  }

  // Declared before the tag set, so destroyed after it: the requests' lists refer to the device.
  blkown::sim::Iommu iommu_{{}};
  blkown::dma::Device<blkown::sim::Iommu> device_;
  Tags tags_ = *Tags::create({.depth = 1, .layout = blkown::CookieLayout::nvme()},
                             blkown::EndSink<Rq>::freeing());
  std::vector<std::byte> buffer_ = std::vector<std::byte>(4096);
  bool is_good_ = true;
};

}  // namespace round_trip

#endif
