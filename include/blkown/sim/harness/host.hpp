// SPDX-License-Identifier: BSL-1.0
//
// What a driver on the bare core is given to work with, and what an I/O asks of it.

#ifndef BLKOWN_SIM_HARNESS_HOST_HPP
#define BLKOWN_SIM_HARNESS_HOST_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/tag_set.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The data of a request of the driver D on the bare core: what is asked, and the driver's own.
template <class D>
struct Io {
  static constexpr std::uint32_t max_segments = 3;
  /// Not an I/O of the kit's but a command of the driver's own, with a reserved tag.
  static constexpr std::uint32_t no_slot = UINT32_MAX;

  Opcode opcode{};
  std::uint64_t sector = 0;
  std::uint32_t length_sectors = 0;
  std::array<Segment, max_segments> memory;
  std::uint32_t segment_count = 0;
  std::uint32_t slot = no_slot;  // the kit's

  typename D::RequestData driver;  ///< Built once, not reset between I/Os.

  [[nodiscard]] std::span<const Segment> segments() const noexcept {
    return {memory.data(), segment_count};
  }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept {
    return std::uint64_t{length_sectors} * detail::bytes_in_sector;
  }
  [[nodiscard]] dma::Direction direction() const noexcept {
    return opcode == Opcode::read ? dma::Direction::from_device : dma::Direction::to_device;
  }
};

/// A request of the driver D on the bare core.
template <class D>
using CoreRequest = Request<Io<D>>;

/// What lookups answered, by reason; those that succeeded under `none`.
using LookupTally = std::array<std::uint64_t, lookup_reason_count>;

/// A driver's surroundings.
template <class D>
struct Host {
  using R = CoreRequest<D>;
  /// Told of each lookup: the queue, the value, and why it was refused, or none.
  struct LookupSink {
    void (*function)(void* argument, QueueIndex queue, std::uint64_t value,
                     LookupReason reason) = nullptr;
    void* argument = nullptr;
  };

  Host(TagSet<R>& its_tags, dma::Device<Iommu>& its_device, Controller& its_controller,
       LookupSink sink)
      : tags{its_tags}, device{its_device}, controller{its_controller}, sink_{sink} {}

  TagSet<R>& tags;
  dma::Device<Iommu>& device;
  Controller& controller;

  [[nodiscard]] std::uint32_t queue_count() const noexcept { return tags.queue_count(); }
  [[nodiscard]] std::uint32_t depth() const noexcept { return tags.depth(); }

  /// TagSet::claim, and the kit is told: every completion entry that the driver takes out of a ring
  /// is to be looked up with one of these, so that none goes unaccounted for.
  [[nodiscard]] std::expected<Claim<R>, LookupError> claim(QueueIndex queue, std::uint64_t value) {
    return told(queue, value, tags.claim(queue, value));
  }
  /// TagSet::tag_to_rq, likewise.
  [[nodiscard]] std::expected<ARef<R>, LookupError> tag_to_rq(QueueIndex queue,
                                                              std::uint64_t value) {
    return told(queue, value, tags.tag_to_rq(queue, value));
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

/// A driver on the bare core, for the kit. One context at a time; interrupt() may come in the
/// middle of submit() and timeout(), as from another processor: within a doorbell, or within
/// dma::map.
///
///   struct RequestData;             in each request, default-constructed once
///   explicit D(Host<D>&);           makes the rings and starts the controller
///   void submit(Idle<R>);           issues the I/O, ends it, or requeues it
///   void interrupt(QueueIndex queue);        completions are there
///   void timeout(const ARef<R>&, const Cookie&);   the I/O has been in flight for too long; asked
///                                   again after as long again
///   void failed();                  the controller has failed
///   void stop();                    the end: stops the controller, and gives back all it holds
template <class D>
concept CoreDriver = requires(D& driver, Idle<CoreRequest<D>> idle, const ARef<CoreRequest<D>>& pin,
                              const Cookie& cookie, Host<D>& host) {
  typename D::RequestData;
  D{host};
  { driver.submit(std::move(idle)) } -> std::same_as<void>;
  { driver.interrupt(QueueIndex{}) } -> std::same_as<void>;
  { driver.timeout(pin, cookie) } -> std::same_as<void>;
  { driver.failed() } -> std::same_as<void>;
  { driver.stop() } -> std::same_as<void>;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
