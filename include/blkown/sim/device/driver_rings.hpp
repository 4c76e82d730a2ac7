// SPDX-License-Identifier: BSL-1.0
//
// A driver's side of one pair of rings of the simulated controller, for drivers under test.

#ifndef BLKOWN_SIM_DEVICE_DRIVER_RINGS_HPP
#define BLKOWN_SIM_DEVICE_DRIVER_RINGS_HPP

#include <blkown/config.hpp>
#include <blkown/dma/coherent.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/queue_pair.hpp>
#include <blkown/sim/device/ring.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The error of a submission: the ring is full, or the controller has refused the command.
struct DeviceBusy {};

/// Both rings, and the memory for the segment lists of commands. One context at a time submits, and
/// one takes completions, which may be in the middle of the other's submission. free() gives the
/// memory back. If the object is destroyed without free(), dma::Device::drain does.
class DriverRings {
 public:
  /// The maximum number of segments of a command.
  static constexpr std::uint32_t max_segments = 8;

  /// Allocates rings for commands with the tags below `depth`. None if memory cannot be allocated.
  [[nodiscard]] static std::optional<DriverRings> allocate(dma::Device<Iommu>& device,
                                                           std::uint32_t depth) {
    // Twice the number of commands in flight, and as many again for false completions.
    const std::uint32_t entries = 4 * depth;
    auto submissions = Memory::allocate(device, entries * sizeof(SubmissionEntry));
    auto completions = Memory::allocate(device, entries * sizeof(CompletionEntry));
    auto lists =
        Memory::allocate(device, std::size_t{depth} * max_segments * sizeof(dma::IovaSegment));
    if (!submissions || !completions || !lists) return std::nullopt;
    return DriverRings{*std::move(submissions), *std::move(completions), *std::move(lists),
                       entries};
  }

  /// The addresses and sizes of the rings, for the controller.
  [[nodiscard]] QueueMemory memory() const {
    return {.submission_iova = submissions_.segment().iova,
            .submission_entries = entries_,
            .completion_iova = completions_.segment().iova,
            .completion_entries = entries_};
  }

  /// Brings the rings into the state that a controller expects after a reset.
  void reset() {
    std::memset(completions_.data(), 0, entries_ * sizeof(CompletionEntry));
    tail_ = completion_head_ = 0;
    dma::store_release(fetched_, std::uint32_t{0});
    phase_ = true;
  }
  /// Frees the memory. Aborts the program if the proof does not cover the memory.
  void free(const dma::EndProof& proof) {
    for (Memory* memory : {&submissions_, &completions_, &lists_}) {
      if (!std::move(*memory).free(proof).has_value()) std::abort();
    }
  }

  /// Puts the segments into the entry. A single segment is in the entry itself, several are in the
  /// tag's list.
  void put_segments(SubmissionEntry& entry, Tag tag, std::span<const dma::IovaSegment> segments) {
    entry.segment_count = static_cast<std::uint16_t>(segments.size());
    if (segments.size() == 1) {
      entry.segment = segments[0];
      return;
    }
    const std::size_t at = std::size_t{tag.value} * max_segments * sizeof segments[0];
    std::memcpy(lists_.data() + at, segments.data(), segments.size_bytes());
    entry.segment = {.iova = lists_.segment().iova + at, .length_bytes = segments.size_bytes()};
  }

  /// Puts a command into the ring and rings the doorbell.
  /// Errors: DeviceBusy. The device then does not have the command.
  [[nodiscard]] std::expected<void, DeviceBusy> submit(Controller& controller, std::uint32_t queue,
                                                       const SubmissionEntry& entry) {
    const std::uint32_t next = (tail_ + 1) % entries_;
    if (next == dma::load_acquire(fetched_)) return std::unexpected(DeviceBusy{});
    std::memcpy(submissions_.data() + std::size_t{tail_} * sizeof entry, &entry, sizeof entry);
    if (!controller.ring_submission(queue, next)) return std::unexpected(DeviceBusy{});
    tail_ = next;
    return {};
  }

  /// Takes the next completion, if the device has posted one. The phase is read first, with
  /// acquire, and then the other fields.
  [[nodiscard]] std::optional<CompletionEntry> next_completion() {
    const std::byte* const at = completions_.data() + completion_head_ * sizeof(CompletionEntry);
    const auto& slot = *reinterpret_cast<const CompletionEntry*>(at);
    const std::uint16_t word = dma::load_acquire(slot.status_and_phase);
    if (CompletionEntry::phase_of(word) != phase_) return std::nullopt;
    CompletionEntry entry{.cookie = slot.cookie,
                          .transferred_bytes = slot.transferred_bytes,
                          .submission_head = slot.submission_head,
                          .status_and_phase = word};
    dma::store_release(fetched_, std::uint32_t{entry.submission_head});
    completion_head_ = (completion_head_ + 1) % entries_;
    if (completion_head_ == 0) phase_ = !phase_;
    return entry;
  }
  /// The index of the next completion entry, for the completion doorbell.
  [[nodiscard]] std::uint32_t completion_head() const noexcept { return completion_head_; }

 private:
  using Memory = dma::Coherent<Iommu>;

  DriverRings(Memory submissions, Memory completions, Memory lists, std::uint32_t entries)
      : submissions_{std::move(submissions)},
        completions_{std::move(completions)},
        lists_{std::move(lists)},
        entries_{entries} {}

  Memory submissions_;
  Memory completions_;
  Memory lists_;
  std::uint32_t entries_;
  std::uint32_t tail_ = 0;
  std::uint32_t fetched_ = 0;  // written by the context that takes completions
  std::uint32_t completion_head_ = 0;
  bool phase_ = true;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
