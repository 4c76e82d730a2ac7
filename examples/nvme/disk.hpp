// SPDX-License-Identifier: BSL-1.0
//
// DiskDriver: a driver of the block layer for the namespaces of an NVMe controller. All namespaces
// share the controller's I/O queues, and with them one TagPool.
//
//   I/O        is the way of each request, in io_path.hpp.
//   timeout    first takes the completions, for an interrupt may be lost. The first timeout of a
//              publication aborts the command, the next one resets the controller. Neither proves
//              that the controller is done with the memory, so the I/O goes on.
//   reset      quiesces the disks and stops the controller. The stop is the proof: what was in
//              flight is unmapped and issued again. Then the controller is started.
//   quarantine memory that a reset's drain cannot unmap either is tried again by further resets, at
//              most DriverConfig::max_drains in a row. What is left then waits for a later reset.
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
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "controller.hpp"
#include "io_path.hpp"
#include "reset.hpp"

namespace nvme_driver {

/// The driver of the controller `Owner`.
template <class Self, Registers R, dma::Backend B, Platform P>
class DriverOf : public IoPath<Self, R, B, P> {
 public:
  using Path = IoPath<Self, R, B, P>;
  using Path::is_offline;
  using typename Path::Hw;
  using typename Path::Owner;
  using typename Path::Queue;
  using typename Path::QueueData;
  using typename Path::Rq;
  using Result = std::expected<void, ControllerError>;

  /// Precondition: the controller outlives the driver.
  DriverOf(Owner& controller, const DriverConfig& config) : Path{controller, config} {}

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

  [[nodiscard]] std::uint32_t queue_count() const noexcept {
    return config_.normal_queues + config_.poll_queues;
  }
  [[nodiscard]] unsigned resets() const noexcept { return resets_.load(); }
  /// The number of mappings that the latest reset could not unmap. Their I/Os have not ended. A
  /// later reset tries again: reset(), or removed() before the disks are removed for good.
  [[nodiscard]] std::size_t kept_mapped() const noexcept { return kept_mapped_.load(); }
  /// As long as the result exists, no reset begins. The creator of a disk holds it: a reset that
  /// began in between would not stop the disk's I/O. None: a reset is running, or is deferred
  /// already.
  /// Context: any.
  [[nodiscard]] auto defer_resets() { return reset_.defer(); }
  /// Whether a reset is running, or deferred. No disk is destroyed meanwhile.
  [[nodiscard]] bool is_resetting() const noexcept { return reset_.is_running(); }

  // --- the block layer's hooks ------------------------------------------------------------------

  /// Errors: again, for a new disk while a reset is running.
  Status init_hctx(Hw& hw, QueueData&) {
    if (hw.index().value >= queues_.size()) return Status::invalid;
    Queue& queue = queues_[hw.index().value];
    hw.data.queue = &queue;
    {
      const std::lock_guard guard{lookups_};
      if (!reset_.attach(hw.disk())) return Status::again;
      set_lookup_queue(queue, nullptr, &hw);
    }
    service(queue, Caller::hook);
    return Status::ok;
  }
  /// A disk that uses fewer queues keeps the others for lookups: the controller has all of them,
  /// and may complete a command late, or one that it never had. A removed disk leaves its lookups
  /// to another one. When its last queue is out of use, no context is looking anything up in it.
  void exit_hctx(Hw& hw, QueueData&) {
    mq::Disk<Self>& disk = hw.disk();
    const auto count = std::min<std::size_t>(disk.hw_queue_count(), queues_.size());
    {
      const std::lock_guard guard{lookups_};
      if (!reset_.detach(disk)) return;
      for (std::uint32_t i = 0; i != count; ++i) leave_lookups(disk, blkown::QueueIndex{i});
    }
    for (std::size_t i = 0; i != count; ++i) service(queues_[i], Caller::hook);
  }

  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>&, const Cookie& cookie) {
    Queue& queue = *hw.data.queue;
    const auto id = static_cast<std::uint16_t>(cookie.value);
    // A completion of another command says nothing about this one.
    if (service(queue, Caller::hook, id).has_id) return mq::TimeoutAction::rearm;
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
    if (vector <= queues_.size()) service(queues_[vector - 1], Caller::interrupt);
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
  using Path::config_;
  using Path::controller_;
  using Path::is_offline_;
  using Path::is_quarantined_;
  using Path::self;
  using Path::service;
  using typename Path::Caller;

  // --- reset ------------------------------------------------------------------------------------

  static void on_quiet(void* self) { static_cast<DriverOf*>(self)->restart(); }
  /// Memory was quarantined after the drain of the reset that has just ended, or the drain has left
  /// some. Without the proof of a stop, another reset helps no more than this one has.
  static bool needs_another_reset(void* self) {
    auto& driver = *static_cast<DriverOf*>(self);
    const bool is_left = driver.kept_mapped() != 0 && driver.drains_ < driver.config_.max_drains;
    return driver.has_stopped_ && (driver.is_quarantined_.load() || is_left);
  }

  /// No queue_rq is running.
  void restart() {
    resets_.fetch_add(1);
    const auto proof = controller_.stop();
    has_stopped_ = proof.has_value();
    if (!has_stopped_) return is_offline_.store(true);  // what is in flight stays there
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
    kept_mapped_.store(controller_.device().quarantined_count());
    drains_ = kept_mapped() == 0 ? 0 : drains_ + 1;
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

  /// Leaves a queue's lookups to another disk.
  /// Precondition: the caller holds lookups_, so that the other disk stays.
  void leave_lookups(mq::Disk<Self>& disk, blkown::QueueIndex index) {
    Hw* other = nullptr;
    reset_.for_each([&](mq::Disk<Self>& its) {
      if (index.value < its.hw_queue_count()) other = &its.hw_queue(index);
    });
    set_lookup_queue(queues_[index.value], &disk.hw_queue(index), other);
  }
  /// Changes the queue for lookups from `from`, or from none if null, to `to`. Waits for a context
  /// that takes completions. The caller takes those that came meanwhile, with service().
  /// Precondition: the caller holds lookups_.
  void set_lookup_queue(Queue& queue, const Hw* from, Hw* to) {
    const auto change = [&] {
      if (from == nullptr ? queue.hw == nullptr : queue.hw == from) queue.hw = to;
    };
    while (!queue.gate.try_close(change)) controller_.platform().pause();
  }

  IoQueues<R, B, Hw> queues_;
  // Held while a disk comes or goes: the disk that gets the lookups is a member until it has them.
  // Not taken within service(), for which set_lookup_queue() waits. Before the mutex of reset_.
  std::mutex lookups_;
  ResetSequence<Self> reset_{&on_quiet, &needs_another_reset, this};
  std::atomic<unsigned> resets_{0};
  std::atomic<std::size_t> kept_mapped_{0};
  // Of the resets, which follow one another.
  bool has_stopped_ = false;  // the latest one
  unsigned drains_ = 0;       // in a row that have left something mapped
};

/// The driver with all steps as they are.
template <Registers R, dma::Backend B, Platform P>
class NvmeDriver : public DriverOf<NvmeDriver<R, B, P>, R, B, P> {
 public:
  using DriverOf<NvmeDriver, R, B, P>::DriverOf;

 private:
  friend class DriverOf<NvmeDriver, R, B, P>;
  friend class IoPath<NvmeDriver, R, B, P>;
};

}  // namespace nvme_driver

#endif
