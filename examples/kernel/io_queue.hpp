// SPDX-License-Identifier: BSL-1.0
//
// IoQueue: the tags of the I/O queue pair, and the way of an I/O through them.
//
// Parties: the main context, which submits; the controller's interrupt, which preempts the main
// context at any instruction; and the timer's interrupt, which preempts both.
//
//   submit     allocate, start, map, publish. The doorbell is rung in `issue`, behind the
//              publication.
//   interrupt  each completion's id becomes a Claim.
//   end        Every second I/O is mapped with blkown::dma, whose unmap does not belong into an
//              interrupt. Its Claim goes to the main context, which unmaps and ends. The other I/Os
//              use the identity map as it is, and end in the interrupt.
//   sink       frees the tag: in the context that ends the I/O, or that drops the last pin.
//
// Nothing here masks interrupts: the ring's indexes have one writer each, and everything else is an
// operation of the library that an interrupt may preempt.

#ifndef EXAMPLES_KERNEL_IO_QUEUE_HPP
#define EXAMPLES_KERNEL_IO_QUEUE_HPP

#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/identity_backend.hpp>
#include <blkown/dma/iova_list.hpp>
#include <blkown/dma/mapping.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "../nvme/queue_pair.hpp"
#include "completion.hpp"
#include "console.hpp"
#include "cpu.hpp"
#include "registers.hpp"

namespace kernel {

namespace dma = blkown::dma;
namespace nvme = blkown::nvme;
using blkown::QueueIndex;
using blkown::Status;

/// A read or a write, and its memory: up to max_segments, each up to the end of its page.
struct Transfer {
  static constexpr std::uint32_t max_segments = 4;

  nvme::SubmissionEntry command;
  std::span<const blkown::Segment> memory;
  dma::Direction direction{};
};

/// The driver's data of a request.
struct Io {
  Completion* completion = nullptr;  ///< Null: the sink has nobody to tell.
  dma::IovaList<Transfer::max_segments> iovas;
  std::optional<dma::ActiveMapping> mapping;
  alignas(64) nvme::Le64 prp_list[8]{};  ///< In one page, because it is aligned to its size.
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
  /// Effects: `completion` leaves the state in_flight when the device has completed the command.
  bool submit(Completion& completion, const Transfer& transfer) {
    is_submitting_.store(true, std::memory_order_relaxed);
    auto idle = tags_.allocate(queue, cache_);
    if (idle.has_value()) send(std::move(*idle).start().into_claim(), completion, transfer);
    is_submitting_.store(false, std::memory_order_relaxed);
    return idle.has_value();
  }

  /// Ends an I/O whose Claim the interrupt has handed over. Returns the I/O's status.
  /// Precondition: the completion's state is not in_flight.
  Status end(Completion& completion) {
    if (completion.state() == Completion::State::claimed) {
      auto claim = blkown::Claim<Rq>::from_raw(completion.claim());
      unmap(claim);
      // A pin of the timer's may delay the sink. The completion is used again before.
      claim.data().completion = nullptr;
      std::move(claim).end(completion.status());
    }
    return completion.status();
  }

  // --- the interrupts ---------------------------------------------------------------------------

  /// Takes the completions that have arrived.
  void on_interrupt() {
    ++interrupts_;
    is_completing_.store(true, std::memory_order_relaxed);
    if (is_submitting_.load(std::memory_order_relaxed)) ++preempted_submissions_;
    pair_->poll([&](const nvme::CompletionEntry& entry) {
      auto claim = tags_.claim(queue, entry.command_id);
      // QEMU's controller completes each command once. A driver of real hardware counts such an
      // entry, and goes on.
      if (!claim.has_value()) {
        fail("a completion was refused: ", to_string(claim.error().reason), ", tag ",
             claim.error().tag.value);
      }
      completions_.store(completions_.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
      complete(std::move(*claim), nvme::to_status(entry.status()));
    });
    is_completing_.store(false, std::memory_order_relaxed);
  }

  /// The sink of ended I/Os. The tag is free before the submitter hears of the end.
  /// Context: any.
  void operator()(blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      Completion* const completion = std::exchange(ended->data().completion, nullptr);
      const Status status = ended->status();
      std::move(*ended).release();
      if (completion != nullptr) completion->end(status);
    }
  }

  [[nodiscard]] IoTags& tags() { return tags_; }
  /// The completions so far.
  /// Context: any.
  [[nodiscard]] std::uint64_t completions() const {
    return completions_.load(std::memory_order_relaxed);
  }
  /// Whether on_interrupt() has been preempted.
  /// Context: the timer's interrupt.
  [[nodiscard]] bool is_completing() const {
    return is_completing_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t interrupts() const { return interrupts_; }
  /// The interrupts that came between allocate and the end of publish.
  [[nodiscard]] std::uint64_t preempted_submissions() const { return preempted_submissions_; }

 private:
  static constexpr std::uint32_t page_bytes = 4096;
  // PRP entries are pages, so that only the ends of the memory may lie inside of one.
  static constexpr dma::DeviceLimits limits{.max_segments = Transfer::max_segments,
                                            .virt_boundary_mask = page_bytes - 1};

  [[nodiscard]] static IoTags make_tags(IoQueue& sink) {
    alignas(IoTags::storage_alignment_bytes()) static constinit std::byte
        storage[IoTags::storage_bytes(config)]{};
    auto made = IoTags::create_in(storage, config, blkown::EndSink<Rq>::to(sink));
    if (!made.has_value()) fail("no TagSet: ", to_string(made.error().reason));
    return std::move(*made);
  }

  void send(blkown::Claim<Rq> claim, Completion& completion, const Transfer& transfer) {
    completion.reset();
    claim.data().completion = &completion;
    auto command = transfer.command;
    command.set_prps(++submitted_ % 2 == 0 ? map(claim, transfer) : prps_of(claim, transfer));
    std::move(claim).publish([&](const blkown::Cookie& id) {
      command.command_id = static_cast<std::uint16_t>(id.value);
      // The ring has more entries than the TagSet has tags.
      if (!pair_->submit(command).has_value()) fail("the submission ring is full");
      pair_->ring_doorbell();
      if (submitted_ % 8 == 0) await_completion();
    });
  }

  /// Maps the transfer's memory for the I/O.
  [[nodiscard]] nvme::Prps map(blkown::Claim<Rq>& claim, const Transfer& transfer) {
    Io& io = claim.data();
    auto prepared = dma::map(claim, device_, transfer.memory, transfer.direction, io.iovas);
    if (!prepared.has_value()) fail("map: ", to_string(prepared.error().reason));
    const nvme::Prps prps = build_prps(io, prepared->segments());
    io.mapping = std::move(*prepared).activate();
    return prps;
  }
  void unmap(blkown::Claim<Rq>& claim) {
    auto mapping = *std::exchange(claim.data().mapping, std::nullopt);
    if (!std::move(mapping).unmap(*dma::EndProof::of(claim)).has_value()) fail("not unmapped");
  }

  /// The same without blkown::dma.
  [[nodiscard]] nvme::Prps prps_of(blkown::Claim<Rq>& claim, const Transfer& transfer) {
    dma::IovaSegment runs[Transfer::max_segments];
    std::size_t count = 0;
    for (const blkown::Segment& segment : transfer.memory) {
      runs[count++] = {reinterpret_cast<std::uintptr_t>(segment.data), segment.length_bytes};
    }
    return build_prps(claim.data(), {runs, count});
  }
  [[nodiscard]] static nvme::Prps build_prps(Io& io, std::span<const dma::IovaSegment> runs) {
    const nvme::PrpListPage list{io.prp_list, reinterpret_cast<std::uintptr_t>(io.prp_list)};
    const auto prps = nvme::build_prps(runs, {&list, 1}, page_bytes);
    if (!prps.has_value()) fail("PRPs: ", to_string(prps.error().reason));
    return *prps;
  }

  static void complete(blkown::Claim<Rq> claim, Status status) {
    Io& io = claim.data();
    if (!io.mapping.has_value()) return std::move(claim).end(status);
    Completion& completion = *io.completion;
    completion.hand_over(std::move(claim).into_raw(), status);
  }

  /// Waits, still in `issue`, until a completion has come, at most a few interrupts long. A
  /// doorbell is a write over a bus and takes its time on a real machine. The completion of the
  /// very I/O that is being published can then be the first.
  void await_completion() {
    const std::uint64_t before = completions();
    is_submitting_.store(false, std::memory_order_relaxed);
    for (unsigned waits = 0; waits != 8 && completions() == before; ++waits) cpu::wait();
    is_submitting_.store(true, std::memory_order_relaxed);
  }

  nvme_driver::QueuePair<Registers>* pair_;
  dma::IdentityBackend backend_{limits};
  dma::Device<dma::IdentityBackend> device_{backend_};
  IoTags tags_{make_tags(*this)};
  // Capacity 0: each tag comes from the bitmap, which the interrupts change, too.
  blkown::TagCache cache_{tags_.tag_cache(queue, 0)};
  std::atomic<bool> is_submitting_{false};
  std::atomic<bool> is_completing_{false};
  std::atomic<std::uint64_t> completions_{0};
  std::uint64_t submitted_ = 0;
  std::uint64_t interrupts_ = 0;
  std::uint64_t preempted_submissions_ = 0;
};

}  // namespace kernel

#endif
