// SPDX-License-Identifier: BSL-1.0
//
// QueuePair: a submission queue and its completion queue.
//
// Parties: the submitting context, the completing context, and the controller.
//
//   submit   publish() makes the I/O visible to lookups, and then writes its command into the ring.
//            The completion may arrive at once after the doorbell, so the publication comes first.
//   doorbell ring_doorbell() tells the controller of all commands that were written since. A batch
//            has one doorbell.
//   complete poll() takes the entries whose phase bit is new, and calls the driver with each. The
//            driver looks the command id up, which refuses a late, repeated or forged one.
//   reset    After the controller has stopped, reset() empties both rings.
//
// One context at a time submits, and one takes completions, for example an interrupt handler that
// preempts the submitter. The two share two ring indexes and a count, each with one writer. Nothing
// here locks, waits or allocates, so that the class fits a kernel: the caller brings the memory and
// the locks.
//
// Nothing that a controller writes is trusted. An entry of another submission queue is counted and
// dropped. A reported head that is not between the last one and the doorbell's tail is ignored. If
// no completion is left to report the true head of a full ring, is_stuck() says that only a reset
// helps. One poll() takes at most as many entries as the ring has.

#ifndef EXAMPLES_NVME_QUEUE_PAIR_HPP
#define EXAMPLES_NVME_QUEUE_PAIR_HPP

#include <blkown/blkown.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <type_traits>
#include <utility>

#include "registers.hpp"

namespace nvme_driver {

using blkown::nvme::CompletionEntry;
using blkown::nvme::SubmissionEntry;

/// Memory of one ring, which the driver and the controller share: physically contiguous, aligned to
/// a page, and kept until the controller has stopped (dma::Coherent, or a kernel's own pages).
struct RingMemory {
  std::byte* data = nullptr;
  std::uint64_t iova = 0;
};

/// The place and the size of a queue pair.
struct QueuePairConfig {
  std::uint16_t id = 0;                   ///< Of both queues. 0: the admin queue.
  std::uint32_t submission_entries = 0;   ///< 2 to CAP.MQES + 1; one more than commands in flight.
  std::uint32_t completion_entries = 0;   ///< 2 to CAP.MQES + 1; one more than commands in flight.
  RingMemory submissions{};               ///< 64 bytes for each entry.
  RingMemory completions{};               ///< 16 bytes for each entry.
  std::uint64_t submission_doorbell = 0;  ///< The register's offset (doorbell_offset).
  std::uint64_t completion_doorbell = 0;  ///< The register's offset (doorbell_offset).
};

/// The error of a submission: the controller has not fetched the ring's oldest command yet.
struct RingFull {
  friend constexpr bool operator==(const RingFull&, const RingFull&) = default;
};

/// A submission queue and its completion queue.
/// Precondition: the registers and the memory outlive the object, and the memory is not given back
/// before the controller has stopped.
template <Registers R>
class QueuePair {
 public:
  /// Does nothing with an entry.
  struct Ignore {
    void operator()(const CompletionEntry&) const noexcept {}
  };

  QueuePair(R& registers, const QueuePairConfig& config) noexcept
      : registers_{&registers}, config_{config} {
    reset();
  }
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;

  [[nodiscard]] const QueuePairConfig& config() const noexcept { return config_; }

  // --- the submitting context -------------------------------------------------------------------

  /// Publishes the I/O, and then writes its command, with the cookie as the command id.
  /// `Handle` is an Owned or a Claim of a request whose TagSet has CookieLayout::nvme().
  /// Effects: the controller does not read the command before ring_doorbell().
  /// Errors: RingFull, with the Claim, if no forged completion has claimed the I/O
  /// (blkown::Refused).
  /// Context: the submitting one. A completion may be processed before the call returns, if another
  /// command's doorbell was rung.
  template <class Handle>
  [[nodiscard]] auto publish(Handle handle, SubmissionEntry entry) noexcept {
    auto outcome = std::move(handle).publish([&](const blkown::Cookie& cookie) {
      entry.command_id = static_cast<std::uint16_t>(cookie.value);
      return submit(entry);
    });
    // Without a Claim in the error, a lookup has found the I/O, and note_found() counts it.
    if (outcome.has_value() || !outcome.error().claim.has_value()) ++published_;
    return outcome;
  }

  /// Whether the ring stays full until reset(): no place is free, and the completion of each
  /// published I/O was found, so that no completion is left that could report a free place. The
  /// controller has reported a wrong head, or a forged completion was found before the genuine one.
  /// The driver resets the controller then.
  /// Precondition: note_found() is called for each I/O that is found.
  /// Context: the submitting one.
  [[nodiscard]] bool is_stuck() const noexcept {
    // Loaded before the head: the heads that came with these completions are stored before.
    if (blkown::dma::load_acquire(found_) != published_) return false;
    return following(tail_, config_.submission_entries) == blkown::dma::load_acquire(fetched_);
  }

  /// Writes a command into the ring.
  /// Precondition: the command's I/O is published (publish()).
  /// Errors: RingFull.
  /// Context: the submitting one.
  [[nodiscard]] std::expected<void, RingFull> submit(const SubmissionEntry& entry) noexcept {
    const std::uint32_t next = following(tail_, config_.submission_entries);
    if (next == blkown::dma::load_acquire(fetched_)) return std::unexpected(RingFull{});
    std::memcpy(config_.submissions.data + std::size_t{tail_} * sizeof entry, &entry, sizeof entry);
    tail_ = next;
    return {};
  }

  /// Gives all commands that were written since the last call to the controller, with one doorbell.
  /// Without such a command the register is not written.
  /// Context: the submitting one.
  void ring_doorbell() noexcept {
    if (tail_ == rung_) return;
    // Stored before the doorbell: the completion that reports this tail as fetched comes after it.
    blkown::dma::store_release(rung_, tail_);
    registers_->write32(config_.submission_doorbell, tail_);
  }

  // --- the completing context -------------------------------------------------------------------

  /// Calls `on_completion(const CompletionEntry&)` for each new entry, and then gives the entries
  /// back to the controller with one doorbell. Returns the number of calls. If `on_completion`
  /// returns false, the entries behind this one are left for the next call, as a poll with a budget
  /// wants it.
  /// Effects: `on_completion` may submit, if it runs on the submitting context.
  /// `on_foreign(const CompletionEntry&)` is called for an entry that names another submission
  /// queue.
  /// Context: the completing one, interrupts included.
  template <class OnCompletion, class OnForeign = Ignore>
  unsigned poll(OnCompletion&& on_completion, OnForeign&& on_foreign = {}) noexcept {
    unsigned taken = 0;
    unsigned passed = 0;
    // A controller that obeys the head doorbell cannot write more entries than these.
    while (taken != config_.completion_entries) {
      const Le16 word = blkown::dma::load_acquire(next().status_and_phase);
      if (CompletionEntry::phase_of(word) != phase_) break;
      const CompletionEntry entry = take(word);
      ++taken;
      if (entry.sq_id.get() != config_.id) {
        ++foreign_;
        on_foreign(entry);
        continue;
      }
      note_fetched(entry.sq_head.get());
      ++passed;
      if constexpr (std::is_same_v<decltype(on_completion(entry)), bool>) {
        if (!on_completion(entry)) break;
      } else {
        on_completion(entry);
      }
    }
    if (taken != 0) registers_->write32(config_.completion_doorbell, completed_);
    return passed;
  }

  /// Counts a published I/O that a lookup has found, for is_stuck().
  /// Context: the completing one, also within poll().
  void note_found() noexcept { blkown::dma::store_release(found_, found_ + 1); }

  /// Whether poll() would find an entry.
  /// Context: the completing one, interrupts included.
  [[nodiscard]] bool has_completion() const noexcept {
    return CompletionEntry::phase_of(blkown::dma::load_acquire(next().status_and_phase)) == phase_;
  }

  /// The number of entries that named another submission queue.
  /// Context: the completing one.
  [[nodiscard]] std::uint32_t foreign_count() const noexcept { return foreign_; }

  // --- neither context --------------------------------------------------------------------------

  /// Empties both rings, as a controller expects them when the queues are created.
  /// Precondition: the controller has stopped or has deleted the queues, and no context submits or
  /// takes completions.
  void reset() noexcept {
    std::memset(config_.completions.data, 0,
                std::size_t{config_.completion_entries} * sizeof(CompletionEntry));
    tail_ = completed_ = published_ = 0;
    blkown::dma::store_release(fetched_, std::uint32_t{0});
    blkown::dma::store_release(rung_, std::uint32_t{0});
    blkown::dma::store_release(found_, std::uint32_t{0});
    phase_ = true;
  }

 private:
  using Le16 = blkown::nvme::Le16;

  [[nodiscard]] static std::uint32_t following(std::uint32_t index,
                                               std::uint32_t entries) noexcept {
    return index + 1 == entries ? 0 : index + 1;
  }
  [[nodiscard]] const CompletionEntry& next() const noexcept {
    return reinterpret_cast<const CompletionEntry*>(config_.completions.data)[completed_];
  }

  /// Takes the next entry, whose last word was read. Each field is read once, and after the phase
  /// bit, so that the controller cannot change what was checked.
  [[nodiscard]] CompletionEntry take(Le16 word) noexcept {
    const CompletionEntry& slot = next();
    const CompletionEntry entry{.dw0 = slot.dw0,
                                .dw1 = slot.dw1,
                                .sq_head = slot.sq_head,
                                .sq_id = slot.sq_id,
                                .command_id = slot.command_id,
                                .status_and_phase = word};
    completed_ = following(completed_, config_.completion_entries);
    if (completed_ == 0) phase_ = !phase_;
    return entry;
  }

  /// Takes over the submission queue's head as the controller reports it, if it can be true. A head
  /// that goes back or beyond the doorbell's tail is of a repeated or a forged entry: with it a
  /// ring that is empty would look full.
  void note_fetched(std::uint32_t head) noexcept {
    const std::uint32_t entries = config_.submission_entries;
    if (head >= entries) return;
    const std::uint32_t fetched_since = (head + entries - fetched_) % entries;
    const std::uint32_t rung_since =
        (blkown::dma::load_acquire(rung_) + entries - fetched_) % entries;
    if (fetched_since <= rung_since) blkown::dma::store_release(fetched_, head);
  }

  R* registers_;
  QueuePairConfig config_;
  // Of the submitting context.
  std::uint32_t tail_ = 0;
  std::uint32_t rung_ = 0;  // the last doorbell's tail, which the completing context reads
  std::uint32_t published_ = 0;
  // Of the completing context.
  std::uint32_t completed_ = 0;
  std::uint32_t fetched_ = 0;  // the submission queue's head, which the submitting context reads
  std::uint32_t found_ = 0;    // of the published ones; the submitting context reads it
  std::uint32_t foreign_ = 0;
  bool phase_ = true;
};

}  // namespace nvme_driver

#endif
