// SPDX-License-Identifier: BSL-1.0
//
// A driver's side of one pair of rings of the simulated controller.

#ifndef BLKOWN_TESTS_SIM_NVME_RINGS_HPP
#define BLKOWN_TESTS_SIM_NVME_RINGS_HPP

#include <blkown/dma/coherent.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/sim/controller.hpp>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace nvme {

inline constexpr std::uint32_t most_segments = 8;

/// The device has not taken the command: its ring is full, or it said no.
struct DeviceBusy {};

/// Both rings, and the memory for the segment lists of commands. One context at a time, but that
/// completions may be taken in the middle of a submission.
class Rings {
 public:
  using Memory = blkown::dma::Coherent<blkown::sim::Iommu>;

  Rings(Memory submissions, Memory completions, Memory lists, std::uint32_t entries)
      : submissions_{std::move(submissions)},
        completions_{std::move(completions)},
        lists_{std::move(lists)},
        entries_{entries} {}

  [[nodiscard]] blkown::sim::QueueMemory memory() const {
    return {.submission_iova = submissions_.segment().iova,
            .submission_entries = entries_,
            .completion_iova = completions_.segment().iova,
            .completion_entries = entries_};
  }

  /// As after a reset of the controller.
  void reset() {
    std::memset(completions_.data(), 0, entries_ * sizeof(blkown::sim::CompletionEntry));
    tail_ = fetched_ = completion_head_ = 0;
    phase_ = true;
  }
  void free(const blkown::dma::DmaEnded& proof) {
    for (Memory* memory : {&submissions_, &completions_, &lists_}) {
      if (!std::move(*memory).free(proof).has_value()) std::abort();
    }
  }

  /// Puts the segments into the entry: one in the entry itself, more in the tag's list.
  void put_segments(blkown::sim::SubmissionEntry& entry, blkown::Tag tag,
                    std::span<const blkown::dma::IovaSegment> segments) {
    entry.segment_count = static_cast<std::uint16_t>(segments.size());
    if (segments.size() == 1) {
      entry.segment = segments[0];
      return;
    }
    const std::size_t at = std::size_t{tag.value} * most_segments * sizeof segments[0];
    std::memcpy(lists_.data() + at, segments.data(), segments.size_bytes());
    entry.segment = {.iova = lists_.segment().iova + at, .length_bytes = segments.size_bytes()};
  }

  [[nodiscard]] std::expected<void, DeviceBusy> submit(blkown::sim::Controller& controller,
                                                       std::uint32_t queue,
                                                       const blkown::sim::SubmissionEntry& entry) {
    const std::uint32_t next = (tail_ + 1) % entries_;
    if (next == fetched_) return std::unexpected(DeviceBusy{});
    std::memcpy(submissions_.data() + std::size_t{tail_} * sizeof entry, &entry, sizeof entry);
    if (!controller.ring_submission(queue, next)) return std::unexpected(DeviceBusy{});
    tail_ = next;
    return {};
  }

  /// The next completion, if there is one. Its phase is read first, and what it says with it.
  [[nodiscard]] std::optional<blkown::sim::CompletionEntry> next_completion() {
    using blkown::sim::CompletionEntry;
    const std::byte* const at = completions_.data() + completion_head_ * sizeof(CompletionEntry);
    const auto& slot = *reinterpret_cast<const CompletionEntry*>(at);
    const std::uint16_t word = blkown::dma::load_acquire(slot.status_and_phase);
    if (CompletionEntry::phase_of(word) != phase_) return std::nullopt;
    CompletionEntry entry{.cookie = slot.cookie,
                          .transferred_bytes = slot.transferred_bytes,
                          .submission_head = slot.submission_head,
                          .status_and_phase = word};
    fetched_ = entry.submission_head;
    completion_head_ = (completion_head_ + 1) % entries_;
    if (completion_head_ == 0) phase_ = !phase_;
    return entry;
  }
  [[nodiscard]] std::uint32_t completion_head() const noexcept { return completion_head_; }

 private:
  Memory submissions_;
  Memory completions_;
  Memory lists_;
  std::uint32_t entries_;
  std::uint32_t tail_ = 0;
  std::uint32_t fetched_ = 0;
  std::uint32_t completion_head_ = 0;
  bool phase_ = true;
};

/// Rings for each queue, known to the controller.
inline std::vector<Rings> make_rings(blkown::dma::Device<blkown::sim::Iommu>& device,
                                     blkown::sim::Controller& controller, std::uint32_t queue_count,
                                     std::uint32_t depth) {
  const std::uint32_t entries = 4 * depth;
  std::vector<Rings> rings;
  for (std::uint32_t queue = 0; queue != queue_count; ++queue) {
    auto submissions =
        Rings::Memory::allocate(device, entries * sizeof(blkown::sim::SubmissionEntry));
    auto completions =
        Rings::Memory::allocate(device, entries * sizeof(blkown::sim::CompletionEntry));
    auto lists = Rings::Memory::allocate(
        device, std::size_t{depth} * most_segments * sizeof(blkown::dma::IovaSegment));
    if (!submissions || !completions || !lists) std::abort();
    rings.emplace_back(*std::move(submissions), *std::move(completions), *std::move(lists),
                       entries);
    controller.create_queue_pair(queue, rings.back().memory());
  }
  return rings;
}

}  // namespace nvme

#endif
