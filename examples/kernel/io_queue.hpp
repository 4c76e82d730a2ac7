// SPDX-License-Identifier: BSL-1.0
//
// IoQueue: the tags of the I/O queue pair, and the way of an I/O through them.
//
// Parties: the main context, which submits; the controller's interrupt, which preempts the main
// context at any instruction; and the timer's interrupt, which preempts both.
//
//   submit     allocate, start, publish. The doorbell is rung in `issue`, behind the publication.
//   interrupt  each completion's id becomes a Claim, and the Claim ends the I/O.
//   end        frees the tag, and tells the slot. In the interrupt, or in the drop of the last pin.
//
// Nothing here masks interrupts: the ring's indexes have one writer each, and everything else is an
// operation of the library that an interrupt may preempt.

#ifndef EXAMPLES_KERNEL_IO_QUEUE_HPP
#define EXAMPLES_KERNEL_IO_QUEUE_HPP

#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "../nvme/queue_pair.hpp"
#include "console.hpp"
#include "cpu.hpp"
#include "registers.hpp"

namespace kernel {

using blkown::QueueIndex;
using blkown::Status;

/// The end of one I/O, which an interrupt reports and the submitter waits for.
class Completion {
 public:
  /// Precondition: no I/O with this Completion is in flight.
  void reset() { state_.store(in_flight, std::memory_order_relaxed); }
  /// Context: any, interrupts included. The submitter sees everything that was done before.
  void finish(Status status) {
    state_.store(static_cast<std::uint32_t>(status), std::memory_order_release);
  }
  [[nodiscard]] bool is_finished() const {
    return state_.load(std::memory_order_acquire) != in_flight;
  }
  /// Precondition: is_finished() has returned true.
  [[nodiscard]] Status status() const {
    return static_cast<Status>(state_.load(std::memory_order_relaxed));
  }

 private:
  static constexpr std::uint32_t in_flight = ~std::uint32_t{0};
  std::atomic<std::uint32_t> state_{in_flight};
};

/// The driver's data of a request.
struct Io {
  Completion* completion = nullptr;  ///< Null: of an I/O of the timer's interrupt.
};
using Rq = blkown::Request<Io>;
using IoTags = blkown::TagSet<Rq>;

/// The I/O queue pair of the controller.
class IoQueue {
 public:
  static constexpr blkown::TagSetConfig config{.depth = 16, .layout = blkown::CookieLayout::nvme()};
  static constexpr QueueIndex queue{0};

  explicit IoQueue(nvme_driver::QueuePair<Registers>& pair) : pair_{&pair} {}

  // --- the main context -------------------------------------------------------------------------

  /// Gives a command to the controller. False if no tag is free.
  /// Effects: `completion` is finished when the I/O has ended.
  bool submit(Completion& completion, nvme_driver::SubmissionEntry entry) {
    is_submitting_.store(true, std::memory_order_relaxed);
    auto idle = tags_.allocate(queue, cache_);
    if (!idle.has_value()) {
      is_submitting_.store(false, std::memory_order_relaxed);
      return false;
    }
    auto claim = std::move(*idle).start().into_claim();
    completion.reset();
    claim.data().completion = &completion;
    std::move(claim).publish([&](const blkown::Cookie& id) {
      entry.command_id = static_cast<std::uint16_t>(id.value);
      // The ring has more entries than the TagSet has tags.
      if (!pair_->submit(entry).has_value()) fail("the submission ring is full");
      pair_->ring_doorbell();
      if (++submitted_ % 8 == 0) await_interrupts();
    });
    is_submitting_.store(false, std::memory_order_relaxed);
    return true;
  }

  // --- the interrupts ---------------------------------------------------------------------------

  /// Takes the completions that have arrived.
  void on_interrupt() {
    ++interrupts_;
    if (is_submitting_.load(std::memory_order_relaxed)) ++preempted_submissions_;
    pair_->poll([&](const nvme_driver::CompletionEntry& entry) {
      auto claim = tags_.claim(queue, entry.command_id);
      // QEMU's controller completes each command once. A driver of real hardware counts such an
      // entry, and goes on.
      if (!claim.has_value()) {
        fail("a completion was refused: ", to_string(claim.error().reason), ", tag ",
             claim.error().tag.value);
      }
      completions_.store(completions_.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
      std::move(*claim).end(to_status(entry.status()));
    });
  }

  /// The sink of ended I/Os. The tag is free before the submitter hears of the end.
  /// Context: the interrupt that ends the I/O, or that drops its last pin.
  void operator()(blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      Completion* const completion = ended->data().completion;
      ended->data().completion = nullptr;
      const Status status = ended->status();
      std::move(*ended).release();
      if (completion != nullptr) completion->finish(status);
    }
  }

  [[nodiscard]] IoTags& tags() { return tags_; }
  /// The completions so far.
  /// Context: any.
  [[nodiscard]] std::uint64_t completions() const {
    return completions_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t interrupts() const { return interrupts_; }
  /// The interrupts that came between allocate and the end of publish.
  [[nodiscard]] std::uint64_t preempted_submissions() const { return preempted_submissions_; }

 private:
  [[nodiscard]] static IoTags make_tags(IoQueue& sink) {
    alignas(IoTags::storage_alignment_bytes()) static constinit std::byte
        storage[IoTags::storage_bytes(config)]{};
    auto made = IoTags::create_in(storage, config, blkown::EndSink<Rq>::to(sink));
    if (!made.has_value()) fail("no TagSet: ", to_string(made.error().reason));
    return std::move(*made);
  }

  /// Waits, still in `issue`, until a completion has come, a few interrupts long. A doorbell is a
  /// write over a bus and takes its time on a real machine. The completion of the very I/O that is
  /// being published can then be the first.
  void await_interrupts() {
    const std::uint64_t before = completions();
    is_submitting_.store(false, std::memory_order_relaxed);
    for (unsigned waits = 0; waits != 8 && completions() == before; ++waits) cpu::wait();
    is_submitting_.store(true, std::memory_order_relaxed);
  }

  nvme_driver::QueuePair<Registers>* pair_;
  IoTags tags_{make_tags(*this)};
  // Capacity 0: each tag comes from the bitmap, which the interrupts change, too.
  blkown::TagCache cache_{tags_.tag_cache(queue, 0)};
  std::atomic<bool> is_submitting_{false};
  std::atomic<std::uint64_t> completions_{0};
  std::uint64_t submitted_ = 0;
  std::uint64_t interrupts_ = 0;
  std::uint64_t preempted_submissions_ = 0;
};

}  // namespace kernel

#endif
