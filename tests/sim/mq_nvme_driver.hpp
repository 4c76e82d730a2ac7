// SPDX-License-Identifier: BSL-1.0
//
// A driver of the block layer for an NVMe-like controller. The controller is simulated, but the
// driver takes the same steps as for hardware.
//
//   issue     maps the memory, publishes, writes the entry, and rings the doorbell
//   complete  the interrupt looks the cookie up. The submitting context unmaps, and ends the I/O.
//   timeout   the first one aborts the command. The second one resets the controller.
//   reset     stops all queue_rq and then the controller, which proves that the controller is done
//             with all memory. Unmaps and requeues all I/O, and starts the controller again.

#ifndef BLKOWN_TESTS_SIM_MQ_NVME_DRIVER_HPP
#define BLKOWN_TESTS_SIM_MQ_NVME_DRIVER_HPP

#include <atomic>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/device/driver_rings.hpp>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace round_trip {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::Idle;
using blkown::Status;
using sim::DeviceStatus;
using sim::Opcode;

/// The steps of the driver, for a driver class derived from them: the block layer's types are those
/// of the derived class, which may replace a hook or a step that is called through self().
template <class Driver>
class NvmeSteps {
 public:
  /// The driver's data in each request.
  struct RequestData {
    dma::IovaList<sim::DriverRings::max_segments> iovas;
    std::optional<dma::ActiveMapping> mapping;
    sim::CompletionEntry result;  // taken in the interrupt, used in complete()
    std::uint64_t target = 0;     // of an abort: the cookie of the command to abort
    unsigned tries = 0;
  };
  /// The driver's data in each hardware queue.
  struct HwData {
    std::mutex submission;
    std::mutex completion;
    std::optional<sim::DriverRings> rings;
    std::vector<std::optional<blkown::Generation>> aborted;  // by tag: the publication
  };
  /// The driver's data in each disk.
  struct QueueData {};

  using Hw = mq::HwQueue<Driver>;
  using Rq = mq::Request<Driver>;
  using Payload = mq::Payload<Driver>;
  using Answer = mq::Dispatch<Driver>;

  NvmeSteps(dma::Device<sim::Iommu>& device, sim::Controller& controller)
      : device_{device}, controller_{controller} {}

  [[nodiscard]] unsigned resets() const noexcept { return resets_.load(); }
  /// Whether a reset is in progress. The disk must not be destroyed during a reset.
  [[nodiscard]] bool is_resetting() const noexcept { return is_resetting_.load(); }

  Status init_hctx(Hw& hw, QueueData&) {
    disk_ = &hw.disk();
    const std::uint32_t depth = hw.disk().config().depth;
    hw.data.rings = sim::DriverRings::allocate(device_, depth);
    if (!hw.data.rings.has_value()) return Status::resource;
    hw.data.aborted.resize(depth);
    controller_.create_queue_pair(hw.index().value, hw.data.rings->memory());
    return Status::ok;
  }

  // --- issue ------------------------------------------------------------------------------------

  Answer queue_rq(Hw& hw, QueueData&, Idle<Rq> idle, bool) {
    auto claim = std::move(idle).start().into_claim();
    if (const auto error = map(claim)) {
      return reject(std::move(claim), *error);
    }
    // Built before the publication, because a published I/O may end at any moment.
    const sim::SubmissionEntry entry = self().command(hw, claim);
    return self().send(hw, std::move(claim), entry);
  }

  /// Publishes the request and rings the doorbell with its command.
  Answer send(Hw& hw, Claim<Rq> claim, const sim::SubmissionEntry& entry) {
    auto issued = std::move(claim).publish([&](const Cookie&) {
      const std::lock_guard lock{hw.data.submission};
      return hw.data.rings->submit(controller_, hw.index().value, entry);
    });
    // Without a Claim in the error, a forged completion has claimed the I/O before the refusal.
    if (issued.has_value() || !issued.error().claim.has_value()) return Answer::accepted();
    auto back = *std::move(issued.error().claim);
    unmap(back, *dma::EndProof::of(back));
    return reject(std::move(back), Status::device_resource);
  }

  // --- completion -------------------------------------------------------------------------------

  /// Takes the completions of the queue.
  /// Context: any, also within a doorbell.
  void interrupt(blkown::QueueIndex queue) {
    Hw& hw = disk_->hw_queue(queue);
    const std::lock_guard lock{hw.data.completion};
    while (const auto entry = hw.data.rings->next_completion()) {
      auto claim = self().look_up(hw, *entry);
      if (!claim.has_value()) continue;  // late, duplicated or forged: counted by the disk
      claim->data().driver_data.result = *entry;
      hw.complete(*std::move(claim));
    }
    controller_.ring_completion(queue.value, hw.data.rings->completion_head());
  }

  /// The Claim of the I/O that the entry names, if it is in flight.
  [[nodiscard]] std::optional<Claim<Rq>> look_up(Hw& hw, const sim::CompletionEntry& entry) {
    auto claim = hw.claim(entry.cookie);
    if (!claim.has_value()) return std::nullopt;
    return *std::move(claim);
  }

  /// Unmaps the memory, and ends or retries the I/O, on the context that submitted the I/O.
  void complete(Hw& hw, Claim<Rq> claim) {
    unmap(claim, *dma::EndProof::of(claim));
    Payload& payload = claim.data();
    const sim::CompletionEntry& result = payload.driver_data.result;
    hw.data.aborted[claim.tag().value].reset();
    if (payload.is_private()) return end(std::move(claim), Status::ok);
    switch (sim::CompletionEntry::status_of(result.status_and_phase)) {
      case DeviceStatus::success:
        if (!payload.segments().empty() && result.transferred_bytes != payload.length_bytes()) {
          return try_again(std::move(claim), Status::transport_error);
        }
        return end(std::move(claim), Status::ok);
      case DeviceStatus::media_error: return end(std::move(claim), Status::medium_error);
      case DeviceStatus::aborted: return try_again(std::move(claim), Status::timed_out);
      case DeviceStatus::not_found:
      case DeviceStatus::dma_fault:
      case DeviceStatus::invalid_command: return end(std::move(claim), Status::io_error);
    }
  }

  // --- errors -----------------------------------------------------------------------------------

  mq::TimeoutAction timeout(Hw& hw, const ARef<Rq>& pin, const Cookie& cookie) {
    auto& aborted = hw.data.aborted[pin.tag().value];
    const bool is_abort = pin.tag().value < disk_->config().reserved_depth;
    if (is_abort || aborted == cookie.generation || !abort(cookie)) {
      reset();
    } else {
      aborted = cookie.generation;
    }
    // In both cases only the I/O's own completion or the reset proves that the device is done with
    // the memory.
    return mq::TimeoutAction::rearm;
  }

  void failed() { reset(); }

  /// Begins a reset, unless a reset is in progress.
  /// Context: any.
  void reset() {
    if (is_resetting_.exchange(true)) return;
    disk_->quiesce(control_);
  }

 protected:
  [[nodiscard]] Driver& self() noexcept { return static_cast<Driver&>(*this); }

  static constexpr unsigned max_tries = 8;

  [[nodiscard]] std::optional<Status> map(Claim<Rq>& claim) {
    Payload& payload = claim.data();
    if (payload.segments().empty()) return std::nullopt;
    const auto direction =
        payload.op() == mq::Op::read ? dma::Direction::from_device : dma::Direction::to_device;
    auto prepared =
        dma::map(claim, device_, payload.segments(), direction, payload.driver_data.iovas);
    // A shortage is `resource`: the disk issues the request again. Memory that can never be mapped
    // is `invalid`, and the bio ends.
    if (!prepared.has_value()) return prepared.error().status();
    payload.driver_data.mapping = std::move(*prepared).activate();
    return std::nullopt;
  }

  /// The answer for a request that is not issued after all.
  [[nodiscard]] static Answer reject(Claim<Rq> claim, Status status) {
    auto owned = std::move(claim).into_owned();
    if (owned.has_value()) return Answer::rejected(*std::move(owned), status);
    // Another party, such as a table of the requests in flight, has pinned the published request.
    // The end or the requeue takes effect when the pin is dropped.
    if (mq::is_busy(status)) {
      std::move(owned.error()).requeue();
    } else {
      std::move(owned.error()).end(status);
    }
    return Answer::accepted();
  }

  /// Unmaps the memory. The mapping is in the request's own data, and must be taken out before the
  /// Claim ends the I/O.
  static void unmap(Claim<Rq>& claim, const dma::EndProof& proof) {
    auto mapping = std::exchange(claim.data().driver_data.mapping, std::nullopt);
    if (!mapping.has_value()) return;
    auto unmapped = std::move(*mapping).unmap(proof);
    if (!unmapped.has_value()) claim.data().driver_data.mapping = std::move(unmapped.error());
  }

  [[nodiscard]] static sim::SubmissionEntry command(Hw& hw, const Claim<Rq>& claim) {
    const Payload& payload = claim.data();
    sim::SubmissionEntry entry;
    entry.cookie = claim.next_cookie().value;
    entry.opcode = opcode(payload.op());
    entry.sector = payload.sector();
    entry.length_sectors = static_cast<std::uint32_t>(payload.length_bytes() >> mq::sector_shift);
    entry.is_fua = payload.flags().fua ? 1 : 0;
    entry.target = payload.driver_data.target;
    if (payload.driver_data.mapping.has_value()) {
      hw.data.rings->put_segments(entry, claim.tag(), payload.driver_data.mapping->segments());
    }
    return entry;
  }
  [[nodiscard]] static Opcode opcode(mq::Op op) noexcept {
    switch (op) {
      case mq::Op::read: return Opcode::read;
      case mq::Op::write: return Opcode::write;
      case mq::Op::discard: return Opcode::discard;
      case mq::Op::write_zeroes: return Opcode::write_zeroes;
      case mq::Op::driver_out: return Opcode::abort;
      default: return Opcode::flush;
    }
  }

  static void end(Claim<Rq> claim, Status status) {
    claim.data().driver_data.tries = 0;
    std::move(claim).end(status);
  }
  static void try_again(Claim<Rq> claim, Status reason) {
    if (++claim.data().driver_data.tries == max_tries) return end(std::move(claim), reason);
    std::move(claim).requeue();
  }

  /// Sends an abort for the I/O, with a reserved tag. False if no reserved tag is free.
  [[nodiscard]] bool abort(const Cookie& cookie) {
    mq::Context& here = *mq::Context::current();
    auto idle = disk_->allocate_private(here, mq::Op::driver_out, true);
    if (!idle.has_value()) return false;
    idle->data().driver_data.target = cookie.value;
    disk_->execute_private(here, *std::move(idle), {});
    return true;
  }
  static void on_control(void* self, mq::Control&) { static_cast<NvmeSteps*>(self)->go_on(); }

  /// The end of a control operation: after the quiesce, resets the controller; after the unquiesce,
  /// the reset is complete.
  void go_on() {
    if (std::exchange(is_quiesced_, false)) {
      is_resetting_.store(false);
      // A failure during the reset began no reset of its own.
      if (controller_.has_failed()) reset();
      return;
    }
    is_quiesced_ = true;
    ++resets_;
    const dma::EndProof proof = controller_.stop();
    for (std::uint32_t i = 0; i != disk_->hw_queue_count(); ++i)
      give_up(disk_->hw_queue(blkown::QueueIndex{i}), proof);
    static_cast<void>(device_.drain(proof));
    controller_.start();
    disk_->unquiesce(control_);
  }

  /// Unmaps and requeues all I/O of the queue that no completion has claimed.
  static void give_up(Hw& hw, const dma::EndProof& proof) {
    const std::lock_guard lock{hw.data.completion};
    hw.for_each_in_flight([&](const ARef<Rq>& pin, const Cookie& cookie) {
      auto claim = blkown::claim(pin, cookie);
      if (!claim.has_value()) return;
      unmap(*claim, proof);
      if (claim->data().is_private()) return end(*std::move(claim), Status::aborted);
      try_again(*std::move(claim), Status::transport_error);
    });
    hw.data.rings->reset();
  }

  dma::Device<sim::Iommu>& device_;
  sim::Controller& controller_;
  mq::Disk<Driver>* disk_ = nullptr;
  std::atomic<bool> is_resetting_{false};
  std::atomic<unsigned> resets_{0};
  bool is_quiesced_ = false;  // the control operations of one reset come one after the other
  mq::Control control_{{&NvmeSteps::on_control, this}};
};

class Nvme : public NvmeSteps<Nvme> {
 public:
  using NvmeSteps::NvmeSteps;
};

}  // namespace round_trip

#endif
