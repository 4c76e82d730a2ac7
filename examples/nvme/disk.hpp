// SPDX-License-Identifier: BSL-1.0
//
// DiskDriver: a driver of the block layer for the namespaces of an NVMe controller. All namespaces
// share the controller's I/O queues, and with them one TagPool.
//
//   issue      maps the memory, builds the command, publishes the I/O, and writes the command into
//              the ring. The last command of a batch rings the doorbell.
//   complete   the interrupt, or the poll, looks the command id up. The submitting context unmaps
//              with the completion as the proof, and ends the I/O or issues it again.
//   timeout    first takes the completions, for an interrupt may be lost. The first timeout of a
//              publication aborts the command, the next one resets the controller. Neither proves
//              that the controller is done with the memory, so the I/O goes on.
//   reset      quiesces the disks and stops the controller. The stop is the proof: what was in
//              flight is unmapped and issued again. Then the controller is started.
//   failure    a controller that is gone or does not start ends all I/O with `offline`. One that
//              does not stop keeps what it has: no memory is given back without proof.
//
// NvmeDriver is DriverOf with all steps as they are. A class derived from DriverOf may replace
// steps that are called through self().

#ifndef EXAMPLES_NVME_DISK_HPP
#define EXAMPLES_NVME_DISK_HPP

#include <algorithm>
#include <atomic>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "controller.hpp"
#include "io_command.hpp"
#include "io_queue.hpp"
#include "reset.hpp"

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
};

/// The driver. The controller is one of ControllerOf<R, B, P>.
template <class Self, Registers R, dma::Backend B, Platform P>
class DriverOf {
 public:
  using Hw = mq::HwQueue<Self>;
  using Rq = mq::Request<Self>;
  using Payload = mq::Payload<Self>;
  using Answer = mq::Dispatch<Self>;
  using Queue = IoQueue<R, B, Hw>;
  using Owner = Controller<R, B, P, std::recursive_mutex>;
  using Result = std::expected<void, ControllerError>;

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

  /// Precondition: the controller outlives the driver.
  DriverOf(Owner& controller, const DriverConfig& config)
      : controller_{controller}, config_{config} {}
  DriverOf(const DriverOf&) = delete;
  DriverOf& operator=(const DriverOf&) = delete;

  // --- up and down ------------------------------------------------------------------------------

  /// Starts the controller and creates the I/O queues, fewer if it grants fewer. An attempt that
  /// fails is repeated.
  /// Errors: those of Controller::start; memory. Call shut_down() then.
  [[nodiscard]] Result start() {
    Result started = bring_up();
    for (unsigned tries = 1; tries < config_.max_starts && !started.has_value(); ++tries) {
      if (!controller_.stop().has_value()) break;
      started = bring_up();
    }
    return started;
  }

  /// Lets the controller make its cache durable, stops it, and frees the memory. False: there is no
  /// proof that the controller has stopped, or a step failed. The memory stays.
  /// Precondition: the disks are removed and destroyed, and no interrupt comes.
  [[nodiscard]] bool shut_down() {
    const auto proof = controller_.shut_down();
    if (!proof.has_value()) return false;
    static_cast<void>(controller_.device().drain(*proof));
    const bool is_freed = queues_.free(*proof);
    return controller_.free(*proof) && is_freed;
  }

  /// The pool of the disks' requests.
  [[nodiscard]] auto create_pool(std::optional<blkown::Generation> first_generation = {}) const {
    return mq::TagPool<Self>::create({.queue_count = queue_count(),
                                      .depth = config_.depth,
                                      .layout = blkown::CookieLayout::nvme(),
                                      .first_generation = first_generation});
  }

  /// The configuration of a namespace's disk.
  /// Precondition: NamespaceInfo::is_usable().
  [[nodiscard]] mq::DiskConfig disk_config(const NamespaceInfo& info) const {
    mq::DiskConfig disk =
        nvme_driver::disk_config(controller_.info(), info, controller_.device().backend().limits());
    disk.normal_queues = config_.normal_queues;
    disk.poll_queues = config_.poll_queues;
    disk.depth = config_.depth;
    return disk;
  }

  [[nodiscard]] const DriverConfig& config() const noexcept { return config_; }
  [[nodiscard]] Owner& controller() const noexcept { return controller_; }
  [[nodiscard]] std::uint32_t queue_count() const noexcept {
    return config_.normal_queues + config_.poll_queues;
  }
  [[nodiscard]] unsigned resets() const noexcept { return resets_.load(); }
  /// Whether a reset is running. No disk is destroyed meanwhile.
  [[nodiscard]] bool is_resetting() const noexcept { return reset_.is_running(); }
  /// Whether all I/O ends with `offline`.
  [[nodiscard]] bool is_offline() const noexcept { return is_offline_.load(); }

  // --- the block layer's hooks ------------------------------------------------------------------

  Status init_hctx(Hw& hw, QueueData&) {
    if (hw.index().value >= queues_.size()) return Status::invalid;
    Queue& queue = queues_[hw.index().value];
    hw.data.queue = &queue;
    set_lookup_queue(queue, nullptr, &hw);
    reset_.attach(hw.disk());
    return Status::ok;
  }
  void exit_hctx(Hw& hw, QueueData&) {
    reset_.detach(hw.disk());
    Hw* other = nullptr;
    reset_.for_each([&](mq::Disk<Self>& disk) { other = &disk.hw_queue(hw.index()); });
    set_lookup_queue(*hw.data.queue, &hw, other);
  }

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

  unsigned poll(Hw& hw) { return service(*hw.data.queue).count; }

  /// Unmaps the memory, and ends the I/O or issues it again.
  void complete(Hw& hw, Claim<Rq> claim) {
    self().unmap(claim, *dma::EndProof::of(claim));
    hw.data.queue->forget_abort(claim.tag());
    finish(std::move(claim));
    reset_if_quarantined();
  }

  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>&, const Cookie& cookie) {
    Queue& queue = *hw.data.queue;
    const auto id = static_cast<std::uint16_t>(cookie.value);
    // A completion of another command says nothing about this one.
    if (service(queue, id).has_id) return mq::TimeoutAction::rearm;
    if (queue.was_aborted(cookie) || controller_.state().is_fatal()) {
      reset();
    } else {
      controller_.interrupt();  // an earlier abort's answer, whose interrupt may be lost
      // Noted even if the abort is not sent: earlier aborts may never be answered, and then only a
      // reset helps.
      controller_.abort(queue.pair.config().id, id);
      queue.note_abort(cookie);
    }
    return mq::TimeoutAction::rearm;
  }

  // --- events; any context ----------------------------------------------------------------------

  /// Vector 0 is the admin queue's, vector i that of I/O queue i.
  void interrupt(std::uint32_t vector) {
    if (vector == 0) return controller_.interrupt();
    if (vector <= queues_.size()) service(queues_[vector - 1]);
  }
  /// The controller has failed (CSTS.CFS).
  /// Context: as reset(), and not within a call of this driver: the reset may begin within this
  /// call, and waits for a context that takes completions.
  void failed() { reset(); }
  /// The controller was unplugged. All I/O ends with `offline`.
  void removed() {
    is_offline_.store(true);
    reset();
  }
  /// Begins a reset, unless one is running.
  void reset() { reset_.begin(); }

 protected:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

  // --- steps of an I/O --------------------------------------------------------------------------

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
    lock.unlock();
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

  void end(Claim<Rq> claim, Status status) {
    claim.data().driver_data.tries = 0;
    std::move(claim).end(status);
  }
  void try_again(Claim<Rq> claim, Status reason) {
    if (is_offline()) return end(std::move(claim), Status::offline);
    if (++claim.data().driver_data.tries >= config_.max_tries) return end(std::move(claim), reason);
    std::move(claim).requeue();
  }

  /// The completions that were taken: none, if another context takes them.
  struct Taken {
    unsigned count = 0;
    bool has_id = false;  ///< The one that was asked for was among them.
  };
  /// Takes the completions of a queue.
  Taken service(Queue& queue, std::optional<std::uint16_t> id = {}) {
    Taken taken;
    const auto drop = [&](const CompletionEntry& entry) { self().note_dropped(queue, entry); };
    queue.gate.enter([&] {
      taken.count += queue.pair.poll(
          [&](const CompletionEntry& entry) {
            taken.has_id |= id == std::uint16_t{entry.command_id};
            if (queue.hw == nullptr) return drop(entry);
            self().take(*queue.hw, entry);
          },
          drop);
    });
    return taken;
  }
  /// A completion that is not looked up: it names another submission queue, which the queue pair
  /// counts, or no disk is left.
  void note_dropped(Queue&, const CompletionEntry&) {}
  /// Looks one completion up, and passes the I/O to its submitting context.
  void take(Hw& lookup, const CompletionEntry& entry) {
    auto claim = lookup.claim(entry.command_id);
    if (!claim.has_value()) return;  // late, repeated or forged: counted by the disk
    claim->data().driver_data.status = entry.status();
    Hw& hw = claim->data().hw_queue();
    hw.complete(*std::move(claim));
  }

  /// Resets if memory of an I/O stays mapped: the I/O's end waits for the drain of a reset.
  void reset_if_quarantined() {
    if (is_quarantined_.load()) reset();
  }
  /// Ends an I/O that the controller has completed, or issues it again.
  void finish(Claim<Rq> claim) {
    const StatusField status = claim.data().driver_data.status;
    if (status.is_success()) return self().end(std::move(claim), Status::ok);
    const Status reason = blkown::nvme::to_status(status);
    if (status.do_not_retry()) return self().end(std::move(claim), reason);
    self().try_again(std::move(claim), reason);
  }

  // --- reset ------------------------------------------------------------------------------------

  static void on_quiet(void* self) { static_cast<DriverOf*>(self)->restart(); }
  /// Memory was quarantined after the drain of the reset that has just ended.
  static bool needs_another_reset(void* self) {
    auto& driver = *static_cast<DriverOf*>(self);
    return driver.is_quarantined_.load() && !driver.is_offline();
  }

  /// No queue_rq is running.
  void restart() {
    resets_.fetch_add(1);
    const auto proof = controller_.stop();
    if (!proof.has_value()) return is_offline_.store(true);  // what is in flight stays there
    give_up(*proof);
    if (is_offline() || start().has_value()) return;
    is_offline_.store(true);
    static_cast<void>(controller_.stop());
  }

  /// Unmaps and gives back all I/O that no completion has claimed.
  void give_up(const dma::EndProof& proof) {
    reset_.for_each([&](mq::Disk<Self>& disk) {
      for (std::uint32_t i = 0; i != disk.hw_queue_count(); ++i) {
        self().give_up_queue(disk.hw_queue(blkown::QueueIndex{i}), proof);
      }
    });
    is_quarantined_.store(false);  // the drain is for all before
    static_cast<void>(controller_.device().drain(proof));
  }
  void give_up_queue(Hw& hw, const dma::EndProof& proof) {
    hw.for_each_in_flight([&](const blkown::ARef<Rq>& pin, const Cookie& cookie) {
      auto claim = blkown::claim(pin, cookie);
      if (!claim.has_value()) return;
      self().unmap(*claim, proof);
      self().try_again(*std::move(claim), Status::transport_error);
    });
  }

 private:
  [[nodiscard]] Result bring_up() {
    if (auto started = controller_.start(); !started.has_value()) return started;
    if (queues_.size() == 0) fit_to(controller_.info().io_queues);
    if (!queues_.allocate(controller_, queue_count(), config_.depth)) {
      return std::unexpected(ControllerError{ControllerStep::memory, {}});
    }
    // A queue of an attempt before may have had completions, even of this controller's invention.
    for (std::uint32_t i = 0; i != queues_.size(); ++i) {
      Queue& queue = queues_[i];
      while (!queue.gate.try_close([&] { queue.pair.reset(); })) controller_.platform().pause();
    }
    return queues_.create(controller_, config_.normal_queues);
  }
  /// Uses as many queues as were granted.
  void fit_to(std::uint32_t granted) noexcept {
    config_.poll_queues = std::min(config_.poll_queues, granted - 1);
    config_.normal_queues = std::min(config_.normal_queues, granted - config_.poll_queues);
  }

  /// Changes the queue for lookups from `from`, or from any queue if null, to `to`.
  void set_lookup_queue(Queue& queue, const Hw* from, Hw* to) {
    const auto change = [&] {
      if (from == nullptr ? queue.hw == nullptr : queue.hw == from) queue.hw = to;
    };
    while (!queue.gate.try_close(change)) controller_.platform().pause();
    service(queue);
  }

  Owner& controller_;
  DriverConfig config_;
  IoQueues<R, B, Hw> queues_;
  ResetSequence<Self> reset_{&on_quiet, &needs_another_reset, this};
  std::atomic<bool> is_offline_{false};
  std::atomic<bool> is_quarantined_{false};  // memory of an I/O stays mapped
  std::atomic<unsigned> resets_{0};
};

/// The driver with all steps as they are.
template <Registers R, dma::Backend B, Platform P>
class NvmeDriver : public DriverOf<NvmeDriver<R, B, P>, R, B, P> {
 public:
  using DriverOf<NvmeDriver, R, B, P>::DriverOf;

 private:
  friend class DriverOf<NvmeDriver, R, B, P>;
};

}  // namespace nvme_driver

#endif
