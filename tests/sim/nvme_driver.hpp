// SPDX-License-Identifier: BSL-1.0
//
// The reference driver: a driver on the bare core for the simulated controller, written as for
// hardware. The reference driver must survive every fault of the adversary. Each driver in broken/
// is this driver with one wrong step.

#ifndef BLKOWN_TESTS_SIM_NVME_DRIVER_HPP
#define BLKOWN_TESTS_SIM_NVME_DRIVER_HPP

#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/sim/device/driver_rings.hpp>
#include <blkown/sim/harness/host.hpp>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

namespace nvme {

using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::Idle;
using blkown::QueueIndex;
using blkown::Status;
using blkown::sim::DeviceStatus;
using blkown::sim::Opcode;
namespace dma = blkown::dma;
namespace sim = blkown::sim;
using Rings = sim::DriverRings;

struct RequestData {
  dma::IovaList<Rings::max_segments> iovas;
  std::optional<dma::ActiveMapping> mapping;
  unsigned tries = 0;
  std::uint64_t target = 0;  // of an abort
};

/// The driver. `Self` may replace the steps that are called through self().
template <class Self>
class DriverOf {
 public:
  using RequestData = nvme::RequestData;
  using R = sim::CoreRequest<Self>;

  explicit DriverOf(sim::Host<Self>& host)
      : host_{host}, watches_(host.queue_count() * host.depth()) {
    for (QueueIndex queue; queue.value != host.queue_count(); ++queue.value) {
      auto rings = Rings::allocate(host.device, host.depth());
      if (!rings.has_value()) std::abort();
      host.controller.create_queue_pair(queue.value, rings->memory());
      rings_.push_back(*std::move(rings));
    }
    host.controller.start();
  }
  DriverOf(const DriverOf&) = delete;
  DriverOf& operator=(const DriverOf&) = delete;

  void submit(Idle<R> idle) { self().issue(std::move(idle).start().into_claim()); }

  void interrupt(QueueIndex queue) {
    Rings& rings = rings_[queue.value];
    while (const auto entry = rings.next_completion()) self().complete(queue, *entry);
    host_.controller.ring_completion(queue.value, rings.completion_head());
  }

  /// The first timeout of a publication aborts the command, the next one resets the controller.
  void timeout(const ARef<R>& pin, const Cookie& cookie) {
    Watch& watch = watches_[pin.queue().value * host_.depth() + pin.tag().value];
    const bool is_new = !watch.is_abort && watch.aborted != cookie.generation;
    if (is_new && self().abort(pin.queue(), cookie)) {
      watch.aborted = cookie.generation;
    } else {
      self().reset();
    }
  }

  void failed() { self().reset(); }

  void stop() {
    const dma::EndProof proof = host_.controller.stop();
    self().give_up_all(proof);
    for (Rings& rings : rings_) rings.free(proof);
  }

 protected:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

  // --- issue -------------------------------------------------------------------------------------

  /// Maps the memory, publishes, and rings the doorbell, in this order: the completion may arrive
  /// before the doorbell returns.
  void issue(Claim<R> claim) {
    if (const auto error = self().map(claim)) return self().give_back(std::move(claim), *error);
    // Built before publishing, because a published I/O may end at any moment.
    const sim::SubmissionEntry entry = self().command(claim);
    const QueueIndex queue = claim.queue();
    auto issued = std::move(claim).publish([&](const Cookie&) {
      return rings_[queue.value].submit(host_.controller, queue.value, entry);
    });
    // A forged completion may have claimed the I/O before the refusal. The holder of that Claim
    // then ends the I/O.
    if (!issued.has_value() && issued.error().claim.has_value()) {
      self().refused(*std::move(issued.error().claim));
    }
  }

  [[nodiscard]] std::optional<Status> map(Claim<R>& claim) {
    sim::Io<Self>& io = claim.data();
    if (io.segment_count == 0) return std::nullopt;
    auto prepared = dma::map(claim, host_.device, io.segments(), io.direction(), io.driver.iovas);
    if (!prepared.has_value()) return prepared.error().status();
    io.driver.mapping = std::move(*prepared).activate();
    return std::nullopt;
  }

  [[nodiscard]] sim::SubmissionEntry command(const Claim<R>& claim) {
    const sim::Io<Self>& io = claim.data();
    sim::SubmissionEntry entry;
    entry.cookie = claim.next_cookie().value;
    entry.opcode = io.opcode;
    entry.sector = io.sector;
    entry.length_sectors = io.length_sectors;
    entry.target = io.driver.target;
    if (io.driver.mapping.has_value()) {
      rings_[claim.queue().value].put_segments(entry, claim.tag(), io.driver.mapping->segments());
    }
    return entry;
  }

  void refused(Claim<R> claim) {
    self().unmap(claim, *dma::EndProof::of(claim));
    self().give_back(std::move(claim), Status::resource);
  }

  /// Requeues an I/O that failed for lack of a resource, up to a number of times. Ends any other.
  void give_back(Claim<R> claim, Status status) {
    if (status == Status::resource && claim.data().driver.tries++ < max_tries) {
      return std::move(claim).requeue();
    }
    self().end(std::move(claim), status);
  }

  // --- completion --------------------------------------------------------------------------------

  void complete(QueueIndex queue, const sim::CompletionEntry& entry) {
    auto claim = host_.claim(queue, entry.cookie);
    if (!claim.has_value()) return;  // late, duplicated or forged; the host has counted it
    self().unmap(*claim, *dma::EndProof::of(*claim));
    self().finish(*std::move(claim), entry);
  }

  void unmap(Claim<R>& claim, const dma::EndProof& proof) {
    auto mapping = std::exchange(claim.data().driver.mapping, std::nullopt);
    if (!mapping.has_value()) return;
    auto unmapped = std::move(*mapping).unmap(proof);
    // unmap() returns the mapping if the proof does not fit.
    if (!unmapped.has_value()) claim.data().driver.mapping = std::move(unmapped.error());
  }

  void finish(Claim<R> claim, const sim::CompletionEntry& entry) {
    const sim::Io<Self>& io = claim.data();
    switch (sim::CompletionEntry::status_of(entry.status_and_phase)) {
      case DeviceStatus::success: {
        const bool is_short = io.segment_count != 0 && entry.transferred_bytes != io.length_bytes();
        if (is_short) return self().give_back(std::move(claim), Status::resource);
        return self().end(std::move(claim), Status::ok);
      }
      case DeviceStatus::media_error: return self().end(std::move(claim), Status::medium_error);
      case DeviceStatus::aborted: return self().end(std::move(claim), Status::timed_out);
      case DeviceStatus::not_found: return self().end(std::move(claim), Status::aborted);
      case DeviceStatus::invalid_command: return self().end(std::move(claim), Status::invalid);
      case DeviceStatus::dma_fault: return self().end(std::move(claim), Status::transport_error);
    }
  }

  void end(Claim<R> claim, Status status) {
    claim.data().driver.tries = 0;
    claim.data().driver.target = 0;
    watches_[claim.queue().value * host_.depth() + claim.tag().value] = {};
    std::move(claim).end(status);
  }

  // --- errors ------------------------------------------------------------------------------------

  /// Sends an abort for the I/O, which then ends with its own completion. False if no tag is free.
  [[nodiscard]] bool abort(QueueIndex queue, const Cookie& cookie) {
    auto idle = host_.tags.allocate_reserved(queue);
    if (!idle.has_value()) return false;
    idle->data().opcode = Opcode::abort;
    idle->data().segment_count = 0;
    idle->data().length_sectors = 0;
    idle->data().driver.target = cookie.value;
    idle->data().driver.tries = max_tries;  // an abort is not retried
    watches_[queue.value * host_.depth() + idle->tag().value].is_abort = true;
    self().submit(*std::move(idle));
    return true;
  }

  /// Stops the controller, which proves that it is done with all memory, and starts it again.
  void reset() {
    const dma::EndProof proof = host_.controller.stop();
    self().give_up_all(proof);
    host_.device.drain(proof);
    for (Rings& rings : rings_) rings.reset();
    host_.controller.start();
  }

  void give_up_all(const dma::EndProof& proof) {
    for (QueueIndex queue; queue.value != host_.queue_count(); ++queue.value) {
      host_.tags.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);
        if (!claim.has_value()) return;
        self().unmap(*claim, proof);
        self().give_back(*std::move(claim), Status::resource);
      });
    }
  }

  static constexpr unsigned max_tries = 8;

  struct Watch {
    blkown::Generation aborted{~std::uint32_t{0}};
    bool is_abort = false;
  };

  sim::Host<Self>& host_;
  std::vector<Rings> rings_;
  std::vector<Watch> watches_;
};

class Driver : public DriverOf<Driver> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<Driver>;
};

}  // namespace nvme

#endif
