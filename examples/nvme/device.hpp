// SPDX-License-Identifier: BSL-1.0
//
// Device: a device that may be unplugged while others still refer to it.
//
// Parties: the bus, which creates the device and unplugs it; the driver and its data, which hold
// references and may outlive the removal; the contexts that access the device at that moment.
//
//   create     the bus gets the first reference. Each holder has an ARef of its own.
//   access     access() gives the registers for as long as the Access lives, or `offline`. Mappings
//              for the device are made within an access, too.
//   unplug     refuses new accesses, waits for those in progress, and destroys the registers, as a
//              kernel unmaps the BAR. From then on every access and every new mapping answers
//              `offline`, and a driver that reads registers sees all ones, as those of a PCI device
//              that was removed.
//   release    the last reference frees the device, unplugged or not.
//
// A removal takes nothing away that others hold: memory that is mapped stays mapped until the
// driver has the proof that the device is done (Platform::cut_off, for a device that is gone).
// Unmapping therefore works after unplug(), and the device must be released after all mappings and
// coherent memory: the driver's data declare the reference before them.
//
// Source: the kernel's device::Device (AlwaysRefCounted), Devres and Revocable.

#ifndef EXAMPLES_NVME_DEVICE_HPP
#define EXAMPLES_NVME_DEVICE_HPP

#include <atomic>
#include <blkown/aref.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "registers.hpp"

namespace nvme_driver {

/// Counts accesses in progress, until it is closed.
class AccessGate {
 public:
  /// Begins an access. False: the gate is closed.
  /// Context: any, interrupts included.
  [[nodiscard]] bool enter() noexcept {
    std::uint32_t seen = word_.load();
    while ((seen & closed) == 0) {
      if (word_.compare_exchange_weak(seen, seen + 1)) return true;
    }
    return false;
  }
  /// Ends an access.
  /// Context: as enter().
  void leave() noexcept {
    if (word_.fetch_sub(1) == (closed | 1)) word_.notify_all();
  }
  /// Refuses new accesses, and waits for the end of those in progress. Returns whether this call
  /// has closed the gate, and not an earlier one.
  /// Precondition: the caller has no access.
  /// Context: may wait.
  bool close() noexcept {
    const std::uint32_t before = word_.fetch_or(closed);
    for (std::uint32_t seen = before | closed; seen != closed; seen = word_.load()) {
      word_.wait(seen);
    }
    return (before & closed) == 0;
  }
  [[nodiscard]] bool is_closed() const noexcept { return (word_.load() & closed) != 0; }

 private:
  static constexpr std::uint32_t closed = std::uint32_t{1} << 31;

  std::atomic<std::uint32_t> word_{0};  // the accesses in progress, and whether it is closed
};

/// A DMA backend of a device that may be unplugged. map() answers `offline` then. unmap() and
/// invalidate() go on: a translation exists in the IOMMU, whether the device does or not.
template <blkown::dma::Backend B>
class GatedBackend {
 public:
  using MapFailure = blkown::dma::MapFailure;
  using IovaSegment = blkown::dma::IovaSegment;

  /// Precondition: both outlive the object.
  GatedBackend(B& backend, AccessGate& gate) noexcept : backend_{backend}, gate_{gate} {}

  [[nodiscard]] blkown::dma::DeviceLimits limits() const { return backend_.limits(); }
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(const blkown::Segment& memory,
                                                             blkown::dma::Direction direction,
                                                             const blkown::Cookie& cookie) {
    if (!gate_.enter()) return std::unexpected(MapFailure::offline);
    auto mapped = backend_.map(memory, direction, cookie);
    gate_.leave();
    return mapped;
  }
  [[nodiscard]] std::expected<void, MapFailure> unmap(const IovaSegment& segment) {
    return backend_.unmap(segment);
  }
  [[nodiscard]] std::expected<void, MapFailure> invalidate(std::span<const IovaSegment> segments) {
    return backend_.invalidate(segments);
  }

  // The optional functions, if the backend has them.
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const
    requires requires(const B& backend) { backend.bus_address(data); }
  {
    return backend_.bus_address(data);
  }
  [[nodiscard]] std::uint64_t mappable_bytes(const std::byte* data) const
    requires requires(const B& backend) { backend.mappable_bytes(data); }
  {
    return backend_.mappable_bytes(data);
  }
  [[nodiscard]] bool can_hold(std::span<const IovaSegment> elements,
                              const blkown::Cookie& cookie) const
    requires requires(const B& backend) { backend.can_hold(elements, cookie); }
  {
    return backend_.can_hold(elements, cookie);
  }
  void note_stop_declared()
    requires requires(B& backend) { backend.note_stop_declared(); }
  {
    backend_.note_stop_declared();
  }
  [[nodiscard]] decltype(auto) users() noexcept
    requires requires(B& backend) { backend.users(); }
  {
    return backend_.users();
  }

 private:
  B& backend_;
  AccessGate& gate_;
};

/// What the bus chooses.
struct DeviceConfig {
  blkown::dma::BouncePool* bounce_pool = nullptr;  ///< Outlives the device.
  /// Called after the device was freed, on the context that has dropped the last reference.
  void (*on_release)(void* argument) = nullptr;
  void* on_release_argument = nullptr;
};

/// A reference-counted device with its registers and its DMA. It is itself a `Registers` for the
/// driver's other files: after unplug() each read returns all ones, and a write does nothing.
/// Context: any, interrupts included, but for create() and unplug().
template <Registers R, blkown::dma::Backend B>
class Device {
 public:
  using Ref = blkown::ARef<Device>;
  using Backend = GatedBackend<B>;
  using Dma = blkown::dma::Device<Backend>;

  /// The right to access the registers. unplug() waits for its end, so keep it short.
  /// Precondition: a reference to the device outlives it.
  class [[nodiscard]] Access {
   public:
    Access(Access&& other) noexcept : device_{std::exchange(other.device_, nullptr)} {}
    Access& operator=(Access&&) = delete;
    ~Access() {
      if (device_ != nullptr) device_->gate_.leave();
    }

    R& operator*() const noexcept { return *device_->registers_; }
    R* operator->() const noexcept { return &*device_->registers_; }

   private:
    friend class Device;
    explicit Access(Device& device) noexcept : device_{&device} {}

    Device* device_;
  };

  /// Makes a device whose registers are R{args...}. The result is its first reference.
  /// Precondition: the backend outlives the device.
  /// Errors: resource, if there is no memory.
  template <class... Args>
  [[nodiscard]] static std::expected<Ref, blkown::Status> create(B& backend,
                                                                 const DeviceConfig& config,
                                                                 Args&&... args) {
    Device* const made = new (std::nothrow) Device{backend, config, std::forward<Args>(args)...};
    if (made == nullptr) return std::unexpected(blkown::Status::resource);
    return Ref::from_raw(made);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // --- references: through ARef -----------------------------------------------------------------

  void add_ref() noexcept { references_.fetch_add(1); }
  /// The last one frees the device.
  /// Violation: object_in_use, if a mapping or coherent memory of the device is left.
  void drop_ref() noexcept {
    if (references_.fetch_sub(1) != 1) return;
    const DeviceConfig config = config_;
    delete this;
    if (config.on_release != nullptr) config.on_release(config.on_release_argument);
  }

  // --- use --------------------------------------------------------------------------------------

  /// The registers.
  /// Errors: offline, after unplug().
  [[nodiscard]] std::expected<Access, blkown::Status> access() noexcept {
    if (!gate_.enter()) return std::unexpected(blkown::Status::offline);
    return Access{*this};
  }
  /// Maps memory for the device. After unplug() a map fails with MapFailure::offline, whose status
  /// is `offline`.
  [[nodiscard]] Dma& dma() noexcept { return dma_; }

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) {
    const auto open = access();
    return open.has_value() ? (*open)->read32(offset) : ~std::uint32_t{0};
  }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) {
    const auto open = access();
    return open.has_value() ? (*open)->read64(offset) : ~std::uint64_t{0};
  }
  void write32(std::uint64_t offset, std::uint32_t value) {
    if (const auto open = access(); open.has_value()) (*open)->write32(offset, value);
  }
  void write64(std::uint64_t offset, std::uint64_t value) {
    if (const auto open = access(); open.has_value()) (*open)->write64(offset, value);
  }

  // --- removal ----------------------------------------------------------------------------------

  /// Ends all use of the device, waits for accesses in progress, and destroys the registers. Tell
  /// the driver afterwards (DriverOf::removed), which ends its I/O.
  /// Precondition: the caller has no Access, and is in no call of one: a simulated controller
  /// interrupts within a doorbell.
  /// Context: may wait. Any number of calls.
  /// Source: the kernel's Revocable::revoke.
  void unplug() noexcept {
    if (gate_.close()) registers_.reset();
  }
  [[nodiscard]] bool is_unplugged() const noexcept { return gate_.is_closed(); }

 private:
  template <class... Args>
  Device(B& backend, const DeviceConfig& config, Args&&... args)
      : config_{config},
        registers_{std::in_place, std::forward<Args>(args)...},
        backend_{backend, gate_},
        dma_{backend_, config.bounce_pool} {}
  ~Device() = default;

  DeviceConfig config_;
  std::atomic<std::uint32_t> references_{1};
  AccessGate gate_;
  std::optional<R> registers_;  // until unplug()
  Backend backend_;
  Dma dma_;
};

}  // namespace nvme_driver

#endif
