// SPDX-License-Identifier: BSL-1.0
//
// QueuePair: the controller's side of one pair of rings.

#ifndef BLKOWN_SIM_DEVICE_QUEUE_PAIR_HPP
#define BLKOWN_SIM_DEVICE_QUEUE_PAIR_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/ring.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The addresses and lengths of a pair of rings. A ring of n entries holds n - 1.
struct QueueMemory {
  std::uint64_t submission_iova = 0;
  std::uint32_t submission_entries = 0;
  std::uint64_t completion_iova = 0;
  std::uint32_t completion_entries = 0;
};

namespace detail {

/// The heads, the tails and the phase of a pair of rings.
class QueuePair {
 public:
  void create(const QueueMemory& memory) noexcept {
    memory_ = memory;
    reset();
  }
  [[nodiscard]] bool exists() const noexcept { return memory_.submission_entries != 0; }

  void reset() noexcept {
    submission_head_ = submission_tail_ = completion_tail_ = completion_head_ = 0;
    phase_ = true;
  }

  // --- doorbells --------------------------------------------------------------------------------

  /// Moves the submission tail. Returns false if the ring has no such index.
  [[nodiscard]] bool ring_submission(std::uint32_t tail) noexcept {
    if (tail >= memory_.submission_entries) return false;
    submission_tail_ = tail;
    return true;
  }
  /// Moves the completion head. Calls `take()` for each entry that the head passes.
  template <class Take>
  void ring_completion(std::uint32_t head, Take take) {
    while (completion_head_ != head && completion_head_ != completion_tail_) {
      completion_head_ = (completion_head_ + 1) % memory_.completion_entries;
      take();
    }
  }

  // --- entries ----------------------------------------------------------------------------------

  [[nodiscard]] bool has_submission() const noexcept {
    return submission_head_ != submission_tail_;
  }
  [[nodiscard]] bool fetch(Iommu& iommu, const Iommu::Access& access, SubmissionEntry& entry) {
    const bool is_read = read_submission(iommu, access, submission_head_, entry);
    submission_head_ = (submission_head_ + 1) % memory_.submission_entries;
    return is_read;
  }
  /// Calls `visit(const SubmissionEntry&)` for each entry that was submitted and not fetched.
  template <class Visit>
  void for_each_submission(Iommu& iommu, const Iommu::Access& access, Visit visit) {
    for (std::uint32_t at = submission_head_; at != submission_tail_;
         at = (at + 1) % memory_.submission_entries) {
      SubmissionEntry entry;
      if (read_submission(iommu, access, at, entry)) visit(entry);
    }
  }
  /// Reads the entry before `tail`, the latest one of a doorbell.
  [[nodiscard]] bool read_latest(Iommu& iommu, const Iommu::Access& access, std::uint32_t tail,
                                 SubmissionEntry& entry) {
    const std::uint32_t count = memory_.submission_entries;
    return read_submission(iommu, access, (tail + count - 1) % count, entry);
  }

  [[nodiscard]] bool is_completion_full() const noexcept {
    return (completion_tail_ + 1) % memory_.completion_entries == completion_head_;
  }
  /// Posts a completion entry. The word with the phase is written last.
  /// Precondition: the completion ring is not full.
  void post(Iommu& iommu, const Iommu::Access& access, CompletionEntry entry, DeviceStatus status,
            bool turns_phase) {
    entry.submission_head = static_cast<std::uint16_t>(submission_head_);
    const std::uint64_t iova =
        memory_.completion_iova + std::uint64_t{completion_tail_} * sizeof entry;
    std::byte bytes[sizeof entry];
    std::memcpy(bytes, &entry, sizeof entry);
    constexpr std::size_t word_at = offsetof(CompletionEntry, status_and_phase);
    static_cast<void>(iommu.write(iova, std::span{bytes}.first(word_at), access));
    static_cast<void>(iommu.write_word(
        iova + word_at, CompletionEntry::pack(status, turns_phase ? phase_ : !phase_), access));
    completion_tail_ = (completion_tail_ + 1) % memory_.completion_entries;
    if (completion_tail_ == 0) phase_ = !phase_;
  }

 private:
  [[nodiscard]] bool read_submission(Iommu& iommu, const Iommu::Access& access, std::uint32_t at,
                                     SubmissionEntry& entry) const {
    std::byte bytes[sizeof entry];
    if (!iommu.read(memory_.submission_iova + std::uint64_t{at} * sizeof entry, bytes, access)) {
      return false;
    }
    std::memcpy(&entry, bytes, sizeof entry);
    return true;
  }

  QueueMemory memory_;
  std::uint32_t submission_head_ = 0;
  std::uint32_t submission_tail_ = 0;
  std::uint32_t completion_tail_ = 0;
  std::uint32_t completion_head_ = 0;
  bool phase_ = true;
};

}  // namespace detail

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
