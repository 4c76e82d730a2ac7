// SPDX-License-Identifier: BSL-1.0
//
// NvmeHost, MessageHost: the environment of a driver on the bare core, and the interface that the
// driver implements.
//
// The world (core_world.hpp) makes the TagSet, the DMA device and the controller, and gives them to
// the driver as an NvmeHost<D>. The driver D implements NvmeDriver: the world calls submit() for
// each I/O, interrupt() for completions, and timeout(), failed() and stop() as their names say. The
// data of each request is an Io<D>: the I/O, and the driver's own data. The driver of a
// MessageDevice has a MessageHost<D>, and implements MessageDriver.

#ifndef BLKOWN_SIM_HARNESS_HOST_HPP
#define BLKOWN_SIM_HARNESS_HOST_HPP

#include <array>
#include <blkown/aref.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/idle.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_device.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tracking.hpp>
#include <concepts>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The data of a request: one I/O, and the data of the driver D.
template <class D>
struct Io {
  static constexpr std::uint32_t max_segments = 3;
  /// The slot of a command of the driver's own, with a reserved tag.
  static constexpr std::uint32_t no_slot = UINT32_MAX;

  Opcode opcode{};
  std::uint32_t disk = 0;    ///< Of several disks, which all have the same sectors: from 0.
  std::uint64_t sector = 0;  ///< Of the disk.
  std::uint32_t length_sectors = 0;
  std::array<Segment, max_segments> memory;
  std::uint32_t segment_count = 0;
  std::uint32_t slot = no_slot;  ///< For the world only.

  typename D::RequestData driver;  ///< Constructed once. Not reset between I/Os.

  /// The memory of the I/O.
  [[nodiscard]] std::span<const Segment> segments() const noexcept {
    return {memory.data(), segment_count};
  }
  /// The length of the I/O.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept {
    return std::uint64_t{length_sectors} * detail::bytes_in_sector;
  }
  /// The direction of the transfer.
  [[nodiscard]] dma::Direction direction() const noexcept {
    return opcode == Opcode::read ? dma::Direction::from_device : dma::Direction::to_device;
  }
};

/// A request of the driver D on the bare core.
template <class D>
using CoreRequest = Request<Io<D>>;

/// The number of lookups by reason. Successful ones count under `none`.
using LookupTally = std::array<std::uint64_t, lookup_reason_count>;

/// The tags of the driver D, and its lookups.
template <class D>
struct LookupHost {
  using R = CoreRequest<D>;
  /// Called after each lookup. `reason`: why the lookup was refused, or none.
  struct LookupSink {
    void (*function)(void* argument, QueueIndex queue, std::uint64_t value,
                     LookupReason reason) = nullptr;
    void* argument = nullptr;
  };

  /// The tags that the driver uses. `sink` hears of each lookup.
  LookupHost(TagSet<R>& its_tags, LookupSink sink) : tags{its_tags}, sink_{sink} {}

  TagSet<R>& tags;

  /// The number of hardware queues.
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return tags.queue_count(); }
  /// The number of tags of each queue.
  [[nodiscard]] std::uint32_t depth() const noexcept { return tags.depth(); }

  /// TagSet::claim, reported to the world. A driver must look up each completion entry once, with
  /// claim() or tag_to_rq() of the Host: the world finds an entry that was not looked up.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim(QueueIndex queue, std::uint64_t value,
                                                           TrackedPlace where = Place::current()) {
    return told(queue, value, tags.claim(queue, value, where));
  }
  /// TagSet::tag_to_rq, reported to the world.
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq(
      QueueIndex queue, std::uint64_t value, TrackedPlace where = Place::current()) {
    return told(queue, value, tags.tag_to_rq(queue, value, where));
  }

 private:
  template <class Handle>
  [[nodiscard]] std::expected<Handle, LookupError> told(QueueIndex queue, std::uint64_t value,
                                                        std::expected<Handle, LookupError> found) {
    sink_.function(sink_.argument, queue, value,
                   found.has_value() ? LookupReason::none : found.error().reason);
    return found;
  }

  LookupSink sink_;
};

/// The environment of the driver D of an NvmeController. The I/O queue n of the controller, from 1,
/// is the hardware queue n - 1. A cookie is a command identifier (CookieLayout::nvme).
template <class D>
struct NvmeHost : LookupHost<D> {
  using Device = NvmeController;
  using R = CoreRequest<D>;
  /// What the world does for the driver.
  struct Services {
    void* argument = nullptr;
    bool (*wait)(void* argument) = nullptr;
    void (*admin_lookup)(void* argument, std::uint64_t command_id, bool was_accepted) = nullptr;
    Generation first_generation{};
  };
  /// The disks of the run.
  struct Namespaces {
    std::vector<std::uint32_t> nsids{1};  ///< By disk. Another namespace is no disk of the run.
    std::uint32_t block_bytes = 512;      ///< An I/O is whole blocks.
  };

  /// The parts of the world that the driver uses. `sink` hears of each lookup.
  NvmeHost(TagSet<R>& its_tags, dma::Device<Iommu>& its_device, NvmeController& its_controller,
           typename LookupHost<D>::LookupSink sink, const Services& services,
           const Namespaces& namespaces = {})
      : LookupHost<D>{its_tags, sink},
        device{its_device},
        controller{its_controller},
        services_{services},
        namespaces_{namespaces} {}

  /// For a TagSet of the driver's own, as that of the admin queue: runs repeat with it.
  [[nodiscard]] Generation first_generation() const noexcept { return services_.first_generation; }
  /// The number of disks, each of which is a namespace: one, unless the run has more.
  [[nodiscard]] std::uint32_t disk_count() const noexcept {
    return static_cast<std::uint32_t>(namespaces_.nsids.size());
  }
  /// The namespace of a disk (Io::disk).
  [[nodiscard]] std::uint32_t nsid(std::uint32_t disk = 0) const noexcept {
    return namespaces_.nsids[disk];
  }
  /// The size of the namespaces' blocks. Each I/O is whole blocks.
  [[nodiscard]] std::uint32_t block_bytes() const noexcept { return namespaces_.block_bytes; }

  /// Waits for the controller's next step, for example while the controller becomes ready. Returns
  /// false if no step is planned: what the driver waits for does not come.
  [[nodiscard]] bool wait() { return services_.wait(services_.argument); }
  /// Tells the world of the lookup of an entry of the admin completion queue, in the driver's own
  /// TagSet.
  void note_admin_lookup(std::uint64_t command_id, bool was_accepted) {
    services_.admin_lookup(services_.argument, command_id, was_accepted);
  }

  dma::Device<Iommu>& device;
  NvmeController& controller;

 private:
  Services services_;
  Namespaces namespaces_;
};

/// The environment of the driver D of a MessageDevice.
template <class D>
struct MessageHost : LookupHost<D> {
  using Device = MessageDevice;
  using R = CoreRequest<D>;

  /// The parts of the world that the driver uses. `sink` hears of each lookup.
  MessageHost(TagSet<R>& its_tags, MessageDevice& its_device,
              typename LookupHost<D>::LookupSink sink)
      : LookupHost<D>{its_tags, sink}, device{its_device} {}

  /// The size of the disks' blocks. Each I/O is whole blocks.
  [[nodiscard]] std::uint32_t block_bytes() const noexcept {
    return device.config().block_sectors * static_cast<std::uint32_t>(detail::bytes_in_sector);
  }

  MessageDevice& device;
};

namespace detail {

/// The members of a driver on the bare core but its constructor.
template <class D>
concept DriverOnCore = requires(D& driver, Idle<CoreRequest<D>> idle,
                                const ARef<CoreRequest<D>>& pin, const Cookie& cookie) {
  typename D::RequestData;
  { driver.submit(std::move(idle)) } -> std::same_as<void>;
  { driver.interrupt(QueueIndex{}) } -> std::same_as<void>;
  { driver.timeout(pin, cookie) } -> std::same_as<void>;
  { driver.failed() } -> std::same_as<void>;
  { driver.stop() } -> std::same_as<void>;
};

/// The members of a driver of an NvmeController but its constructor.
template <class D>
concept NvmeDriverOnCore = DriverOnCore<D> && requires(D& driver) {
  { driver.admin_interrupt() } -> std::same_as<void>;
};

/// A driver that its environment H suffices to make.
template <class D, class H>
concept MadeFrom = requires(H& host) { D{host}; };

}  // namespace detail

/// A driver on the bare core of an NvmeController.
///
///   struct RequestData;                     data of each request; default-constructed once
///   explicit D(NvmeHost<D>&);               enables the controller and creates the I/O queues
///   void submit(Idle<R>);                   issues, ends or requeues the I/O
///   void interrupt(QueueIndex queue);       takes the completions of an I/O queue
///   void admin_interrupt();                 takes those of the admin queue
///   void timeout(const ARef<R>&, const Cookie&);
///                                           the I/O has been in flight for a timeout; called again
///                                           after each further timeout
///   void failed();                          the controller has failed
///   void stop();                            the last call: stops the controller, ends all I/O and
///                                           frees all memory
///
/// Context: one at a time, except that the interrupts may run within submit() and timeout(), as on
/// another processor: within a doorbell or within dma::map.
template <class D>
concept NvmeDriver = detail::NvmeDriverOnCore<D> && detail::MadeFrom<D, NvmeHost<D>>;

/// A driver on the bare core of a MessageDevice. As NvmeDriver, but: D(MessageHost<D>&) connects
/// the queues, interrupt() receives the replies of the queue, there is no admin_interrupt(), and
/// failed() means that a connection was lost. interrupt() may run within MessageDevice::take.
template <class D>
concept MessageDriver = detail::DriverOnCore<D> && detail::MadeFrom<D, MessageHost<D>>;

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
