// SPDX-License-Identifier: BSL-1.0
//
// IoPath: the way of one I/O through the driver, from queue_rq to its end.
//
//   issue      maps the memory, builds the command, publishes the I/O, and writes the command into
//              the ring. The last command of a batch rings the doorbell.
//   refusal    a full ring refuses the publication. The I/O is unmapped and rejected as busy. If no
//              completion is left that could report a free place, the controller is reset.
//   complete   the interrupt, or the poll, looks the command id up. The submitting context unmaps
//              with the completion as the proof, and ends the I/O or issues it again.
//   quarantine memory that the backend does not unmap stays with the I/O, whose end waits for the
//              drain of a reset, which is begun.
//
// A class derived from DriverOf (disk.hpp) may replace steps that are called through self().

#ifndef EXAMPLES_NVME_IO_PATH_HPP
#define EXAMPLES_NVME_IO_PATH_HPP

#include <array>
#include <atomic>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "controller.hpp"
#include "io_command.hpp"
#include "io_queue.hpp"

namespace nvme_driver {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
using blkown::Claim;
using blkown::Cookie;
using blkown::Status;

/// What the owner of a driver chooses.
struct DriverConfig {
  std::uint32_t normal_queues = 1;
  std::uint32_t poll_queues = 0;  ///< Without interrupts, for Disk::poll.
  std::uint32_t depth = 64;       ///< Requests of each queue, at most 4,095.
  std::uint16_t max_tries = 5;    ///< Of an I/O whose failure may be temporary.
  std::uint16_t max_starts = 3;   ///< Attempts to bring the controller up, until it is given up.
  std::uint16_t max_drains = 3;   ///< Resets in a row for memory that cannot be unmapped.
};

/// The part of a driver that is run for each I/O. `Self` is the driver, which has reset().
template <class Self, Registers R, dma::Backend B, Platform P>
class IoPath {
 public:
  using Hw = mq::HwQueue<Self>;
  using Rq = mq::Request<Self>;
  using Payload = mq::Payload<Self>;
  using Answer = mq::Dispatch<Self>;
  using Queue = IoQueue<R, B, Hw>;
  using Owner = Controller<R, B, P, std::recursive_mutex>;

  /// The driver's data in each request.
  struct RequestData {
    dma::IovaList<max_segments> iovas;
    std::optional<dma::ActiveMapping> mapping;
    StatusField status;  // taken with the completion, used in complete()
    std::uint16_t tries = 0;
  };
  /// The driver's data in each hardware queue.
  struct HwData {
    Queue* queue = nullptr;
  };
  /// The driver's data in each disk.
  using QueueData = NamespaceInfo;

  [[nodiscard]] const DriverConfig& config() const noexcept { return config_; }
  [[nodiscard]] Owner& controller() const noexcept { return controller_; }
  /// Whether all I/O ends with `offline`.
  [[nodiscard]] bool is_offline() const noexcept { return is_offline_.load(); }

  // --- the block layer's hooks ------------------------------------------------------------------

  Answer queue_rq(Hw& hw, const QueueData& info, blkown::Idle<Rq> idle, bool is_last) {
    auto claim = std::move(idle).start().into_claim();
    if (is_offline()) return self().reject(hw, std::move(claim), Status::offline);
    if (const auto error = self().map(claim)) return self().reject(hw, std::move(claim), *error);
    const auto entry = self().command(hw, info, claim);
    if (!entry.has_value()) return self().reject(hw, std::move(claim), entry.error());
    return self().send(hw, std::move(claim), *entry, is_last);
  }
  void commit_rqs(Hw& hw, QueueData&) {
    Queue& queue = *hw.data.queue;
    const std::lock_guard guard{queue.submission};
    queue.pair.ring_doorbell();
  }

  unsigned poll(Hw& hw) { return service(*hw.data.queue, Caller::hook).count; }

  /// Unmaps the memory, and ends the I/O or issues it again.
  void complete(Hw& hw, Claim<Rq> claim) {
    self().unmap(claim, *dma::EndProof::of(claim));
    hw.data.queue->forget_abort(claim.tag());
    finish(std::move(claim));
    reset_if_quarantined();
  }

 protected:
  /// Precondition: the controller outlives the object.
  IoPath(Owner& controller, const DriverConfig& config)
      : controller_{controller}, config_{config} {}
  IoPath(const IoPath&) = delete;
  IoPath& operator=(const IoPath&) = delete;
  ~IoPath() = default;

  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

  // --- issue ------------------------------------------------------------------------------------

  [[nodiscard]] std::optional<Status> map(Claim<Rq>& claim) {
    Payload& payload = claim.data();
    if (payload.segments().empty()) return std::nullopt;
    const auto direction =
        payload.op() == mq::Op::read ? dma::Direction::from_device : dma::Direction::to_device;
    auto prepared = dma::map(claim, controller_.device(), payload.segments(), direction,
                             payload.driver_data.iovas);
    // A shortage is `resource`: the disk issues the request again. Memory that can never be mapped
    // is `invalid`, and the bio ends.
    if (!prepared.has_value()) {
      if (prepared.error().reason == dma::MapFailure::unmap_failed) is_quarantined_.store(true);
      return prepared.error().status();
    }
    payload.driver_data.mapping = std::move(*prepared).activate();
    return std::nullopt;
  }

  /// Built before the publication, because a published I/O may end at any moment.
  [[nodiscard]] std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                               const Claim<Rq>& claim) {
    return io_command(claim.data(), claim.tag(), info, hw.data.queue->prps);
  }

  /// Publishes the I/O with its command, and rings the doorbell for the last one of a batch.
  Answer send(Hw& hw, Claim<Rq> claim, const SubmissionEntry& entry, bool is_last) {
    Queue& queue = *hw.data.queue;
    std::unique_lock lock{queue.submission};
    auto published = queue.pair.publish(std::move(claim), entry);
    if (published.has_value() && is_last) queue.pair.ring_doorbell();
    const bool is_stuck = !published.has_value() && queue.pair.is_stuck();
    lock.unlock();
    // Nothing is in flight that could end or time out, so no other step begins a reset.
    if (is_stuck) self().reset();
    // Without a Claim in the error, a forged completion has claimed the I/O before the refusal.
    if (published.has_value() || !published.error().claim.has_value()) return Answer::accepted();
    // The publication was made, though refused: the memory is mapped for it, so that its Claim is
    // the proof, and nothing is left to cancel.
    Claim<Rq> refused = *std::move(published.error().claim);
    self().unmap(refused, *dma::EndProof::of(refused));
    return self().reject(hw, std::move(refused), Status::device_resource);
  }

  /// Gives a request back that was not sent. The commands before it must not wait for its doorbell.
  Answer reject(Hw& hw, Claim<Rq> claim, Status status) {
    commit_rqs(hw, hw.disk().queue_data());
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    if (mapping.has_value()) {
      auto cancelled = std::move(*mapping).cancel(claim);
      if (!cancelled.has_value()) {
        claim.data().driver_data.mapping = std::move(cancelled.error());
      } else if (*cancelled == dma::UnmapResult::quarantined) {
        is_quarantined_.store(true);
      }
    }
    reset_if_quarantined();
    return Answer::rejected(std::move(claim), status);
  }

  /// Unmaps the memory. The mapping is in the request's own data, and is taken out before the I/O
  /// ends.
  void unmap(Claim<Rq>& claim, const dma::EndProof& proof) {
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    if (!mapping.has_value()) return;
    auto unmapped = std::move(*mapping).unmap(proof);
    if (!unmapped.has_value()) {
      claim.data().driver_data.mapping = std::move(unmapped.error());
    } else if (*unmapped == dma::UnmapResult::quarantined) {
      is_quarantined_.store(true);
    }
  }

  // --- the end ----------------------------------------------------------------------------------

  void end(Claim<Rq> claim, Status status) {
    claim.data().driver_data.tries = 0;
    std::move(claim).end(status);
  }
  void try_again(Claim<Rq> claim, Status reason) {
    if (is_offline()) return end(std::move(claim), Status::offline);
    if (++claim.data().driver_data.tries >= config_.max_tries) return end(std::move(claim), reason);
    std::move(claim).requeue();
  }

  /// Resets if memory of an I/O stays mapped: the I/O's end waits for the drain of a reset.
  void reset_if_quarantined() {
    if (is_quarantined_.load()) self().reset();
  }
  /// Ends an I/O that the controller has completed, or issues it again.
  void finish(Claim<Rq> claim) {
    const StatusField status = claim.data().driver_data.status;
    if (status.is_success()) return self().end(std::move(claim), Status::ok);
    const Status reason = blkown::nvme::to_status(status);
    if (status.do_not_retry()) return self().end(std::move(claim), reason);
    self().try_again(std::move(claim), reason);
  }

  // --- completions ------------------------------------------------------------------------------

  /// The code that takes completions. An interrupt may come at any moment, also within a hook.
  enum class Caller { hook, interrupt };
  /// The completions that were taken: none, if another context takes them.
  struct Taken {
    unsigned count = 0;
    bool has_id = false;  ///< The one that was asked for was among them.
  };
  /// The number of completions that are looked up together, at most.
  static constexpr std::size_t max_batch = 32;
  /// Takes the completions of a queue.
  Taken service(Queue& queue, Caller caller, std::optional<std::uint16_t> id = {}) {
    Taken taken;
    std::array<CompletionEntry, max_batch> batch;
    std::size_t count = 0;
    const auto take_batch = [&] {
      self().take(*queue.hw, std::span{batch.data(), std::exchange(count, 0)}, caller);
    };
    const auto drop = [&](const CompletionEntry& entry) { self().note_dropped(queue, entry); };
    queue.gate.enter([&] {
      taken.count += queue.pair.poll(
          [&](const CompletionEntry& entry) {
            taken.has_id |= id == std::uint16_t{entry.command_id};
            if (queue.hw == nullptr) return drop(entry);
            batch[count++] = entry;
            if (count == max_batch) take_batch();
          },
          drop);
      if (count != 0) take_batch();
    });
    return taken;
  }
  /// A completion that is not looked up: it names another submission queue, which the queue pair
  /// counts, or no disk is left.
  void note_dropped(Queue&, const CompletionEntry&) {}
  /// Looks completions up, at most max_batch, and passes the I/Os to their submitting contexts.
  void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller caller) {
    std::array<std::uint64_t, max_batch> ids;
    for (std::size_t i = 0; i != entries.size(); ++i) ids[i] = entries[i].command_id;
    const std::span values{ids.data(), entries.size()};
    const auto keep_status = [&](std::size_t index, const Claim<Rq>& claim) {
      claim.data().driver_data.status = entries[index].status();
      lookup.data.queue->pair.note_found();
    };
    // A late, repeated or forged id is counted by the disk.
    if (caller == Caller::hook) return lookup.complete_each_local(values, keep_status);
    lookup.complete_each(values, keep_status);
  }

  Owner& controller_;
  DriverConfig config_;
  std::atomic<bool> is_offline_{false};
  std::atomic<bool> is_quarantined_{false};  // memory of an I/O stays mapped
};

}  // namespace nvme_driver

#endif
