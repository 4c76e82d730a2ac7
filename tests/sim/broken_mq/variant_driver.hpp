// SPDX-License-Identifier: BSL-1.0
//
// The driver of examples/nvme for the kit, with virtual steps. The broken drivers are derived from
// it and replace a step, so that a program that has them all has the code of one world.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_VARIANT_DRIVER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_VARIANT_DRIVER_HPP

#include <blkown/mq/mq.hpp>
#include <blkown/sim/harness/mq_world.hpp>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "nvme/disk.hpp"

namespace broken_mq {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace nvme = blkown::nvme;
namespace sim = blkown::sim;
using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::Idle;
using blkown::Status;
using nvme_driver::CompletionEntry;
using nvme_driver::NamespaceInfo;
using nvme_driver::SubmissionEntry;

/// The controller's registers, of which a broken driver may forget one.
struct VariantRegisters {
  sim::NvmeController& controller;
  bool forgets_completion_doorbells = false;
  bool forgets_wrap = false;  // of a submission queue's tail

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) { return controller.read32(offset); }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) { return controller.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) {
    // Those of I/O queues: the first two doorbells are the admin queue's.
    const bool is_io_doorbell = offset >= nvme::reg::doorbells + 8;
    if (is_io_doorbell && offset % 8 == 4 && forgets_completion_doorbells) return;
    // Beyond the rings of all seeds.
    if (is_io_doorbell && offset % 8 == 0 && value == 0 && forgets_wrap) value = 4096;
    controller.write32(offset, value);
  }
  void write64(std::uint64_t offset, std::uint64_t value) { controller.write64(offset, value); }
};

/// Waits as the kit's environment does.
struct HostPlatform {
  sim::MqHost& host;

  [[nodiscard]] std::uint64_t now_ns() const { return host.now_ns(); }
  void pause() { host.pause(); }
  [[nodiscard]] static bool cut_off() noexcept { return false; }
};

/// The controller of a driver, which is made before the driver.
struct OwnedController {
  using Owner =
      nvme_driver::Controller<VariantRegisters, sim::Iommu, HostPlatform, std::recursive_mutex>;

  explicit OwnedController(sim::MqHost& host) : registers{host.controller}, platform{host} {
    auto made = Owner::create(registers, host.device, platform,
                              {.io_queues = static_cast<std::uint16_t>(host.queue_count),
                               .admin_timeout_ms = 50,
                               .first_generation = host.first_generation});
    if (!made.has_value()) std::abort();
    owner = *std::move(made);
  }

  VariantRegisters registers;
  HostPlatform platform;
  std::unique_ptr<Owner> owner;
};

class VariantDriver
    : protected OwnedController,
      public nvme_driver::DriverOf<VariantDriver, VariantRegisters, sim::Iommu, HostPlatform> {
 public:
  using Base = nvme_driver::DriverOf<VariantDriver, VariantRegisters, sim::Iommu, HostPlatform>;
  using Owner = Base::Owner;

  /// `max_drains`: see DriverConfig. The kit expects that memory is not left mapped.
  explicit VariantDriver(sim::MqHost& host, std::uint16_t max_drains = 100)
      : OwnedController{host},
        // The kit takes it for a finding if the controller is given up.
        Base{*owner,
             {.normal_queues = host.queue_count,
              .depth = host.depth,
              .max_tries = 20,
              .max_starts = 100,
              .max_drains = max_drains}} {}
  virtual ~VariantDriver() = default;

  // --- the kit's driver -------------------------------------------------------------------------

  [[nodiscard]] virtual bool start() { return Base::start().has_value(); }
  [[nodiscard]] virtual mq::DiskConfig identify(std::uint32_t nsid, NamespaceInfo& data) {
    const auto listed = owner->for_each_namespace([&](const NamespaceInfo& info) {
      if (info.nsid == nsid) data = info;
    });
    return listed.has_value() && data.is_usable() ? disk_config(data) : mq::DiskConfig{};
  }
  [[nodiscard]] virtual bool stop() { return shut_down(); }

  // --- steps ------------------------------------------------------------------------------------

  virtual Status init_hctx(Hw& hw, NamespaceInfo& info) { return Base::init_hctx(hw, info); }
  virtual void exit_hctx(Hw& hw, NamespaceInfo& info) { Base::exit_hctx(hw, info); }
  virtual Answer queue_rq(Hw& hw, const NamespaceInfo& info, Idle<Rq> idle, bool is_last) {
    return Base::queue_rq(hw, info, std::move(idle), is_last);
  }
  virtual void complete(Hw& hw, Claim<Rq> claim) { Base::complete(hw, std::move(claim)); }
  virtual mq::TimeoutAction timeout(Hw& hw, const ARef<Rq>& pin, const Cookie& cookie) {
    return Base::timeout(hw, pin, cookie);
  }
  virtual void failed() { Base::failed(); }
  virtual void interrupt(std::uint32_t vector) { Base::interrupt(vector); }
  virtual void reset() { Base::reset(); }

 protected:
  friend Base;
  friend Base::Path;

  [[nodiscard]] virtual std::expected<SubmissionEntry, Status> command(Hw& hw,
                                                                       const NamespaceInfo& info,
                                                                       const Claim<Rq>& claim) {
    return Base::command(hw, info, claim);
  }
  virtual Answer send(Hw& hw, Claim<Rq> claim, const SubmissionEntry& entry, bool is_last) {
    return Base::send(hw, std::move(claim), entry, is_last);
  }
  virtual Answer reject(Hw& hw, Claim<Rq> claim, Status status) {
    return Base::reject(hw, std::move(claim), status);
  }
  virtual void unmap(Claim<Rq>& claim, const dma::EndProof& proof) { Base::unmap(claim, proof); }
  virtual void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller caller) {
    // The kit's interrupts come between works or within a doorbell. The code that rings a doorbell
    // is a hook of this driver and none of the block layer, so the interrupt may do what the hook
    // may. The device's words choose.
    if (entries.front().command_id % 2 == 1) caller = Caller::hook;
    ++(caller == Caller::hook ? local_batches_ : other_batches_);
    Base::take(lookup, entries, caller);
  }
  /// Passes an I/O whose completion was found to its submitting context.
  static void pass_on(Claim<Rq> claim, const CompletionEntry& entry) {
    claim.data().driver_data.status = entry.status();
    Hw& hw = claim.data().hw_queue();
    hw.complete(std::move(claim));
  }

  // The batches that take() has passed on as a hook, and as an interrupt.
  int local_batches_ = 0;
  int other_batches_ = 0;
};

}  // namespace broken_mq

#endif
