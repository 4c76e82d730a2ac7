// SPDX-License-Identifier: BSL-1.0
//
// Mappings: memory that a device may reach, tied to the I/O that it is for.

#ifndef BLKOWN_DMA_MAPPING_HPP
#define BLKOWN_DMA_MAPPING_HPP

#include <blkown/aref.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/detail/runs.hpp>
#include <blkown/dma/device.hpp>
#include <expected>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

namespace detail {

template <class B>
class Mapper;

template <class R>
inline constexpr PinOperations pin_operations{
    .drop = [](void* request) { const auto pin = ARef<R>::from_raw(static_cast<R*>(request)); },
    .end_awaits_last_pin =
        [](void* request) {
          return blkown::detail::word_of(*static_cast<R*>(request)).end_awaits_last_pin();
        }};

}  // namespace detail

/// Memory that is mapped and that the device may reach, as long as this lives: what an I/O in
/// flight needs. It pins the I/O's request, so that neither the tag nor the memory is used again.
///
/// It ends with unmap, which wants proof that the device is done. Destroyed without, it goes into
/// the device's quarantine with a report: the mapping stays, and the tag with it, until the device
/// is stopped (Device::drain).
///
/// Kept in the request's own data it has to be taken out by the Claim before that ends the I/O: a
/// request that waits for its own mapping never comes back, but by a stop of the device.
///
/// Two words wide; move-only; for the context that has the Claim.
class [[nodiscard]] BLKOWN_CONSUMABLE ActiveMapping {
 public:
  ActiveMapping(ActiveMapping&& other) noexcept
      : list_{std::exchange(other.list_, nullptr)}, serial_{other.serial_} {}
  ActiveMapping& operator=(ActiveMapping&& other) noexcept {
    ActiveMapping taken{std::move(other)};
    std::swap(list_, taken.list_);
    std::swap(serial_, taken.serial_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~ActiveMapping() {
    if (list_ != nullptr) quarantine();
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The scatter list for the command.
  BLKOWN_NEEDS_HELD [[nodiscard]] std::span<const IovaSegment> segments() const noexcept {
    return held("dma::ActiveMapping::segments", Place{}).segments();
  }
  BLKOWN_NEEDS_HELD [[nodiscard]] Direction direction() const noexcept {
    return Access::direction(held("dma::ActiveMapping::direction", Place{}));
  }
  /// The publication that it is for.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie() const noexcept {
    return Access::cookie(held("dma::ActiveMapping::cookie", Place{}));
  }

  /// Takes the memory away from the device: no translation of it is left, what the device wrote is
  /// in the caller's memory, and the pin is dropped last. With a proof of something else the
  /// mapping comes back, active as before. If a drain of the stopped device has come first, there
  /// is nothing left to do.
  BLKOWN_CONSUMES [[nodiscard]] std::expected<void, ActiveMapping> unmap(
      const EndProof& proof, Place where = Place::current()) && noexcept {
    detail::ListState* const list = take("dma::ActiveMapping::unmap", where);
    if (list == nullptr) return {};
    detail::DeviceState& device = *Access::device(*list);
    if (!device.covers(proof, *list)) return give_back(*list);
    device.unmap(*list);
    return {};
  }

  /// The same for an I/O that was not published with it, of which the device has not heard: the
  /// next publication of `claim`, which nobody else can make, would be the one that the mapping is
  /// for. Nothing is copied home.
  template <class R>
  BLKOWN_CONSUMES [[nodiscard]] std::expected<void, ActiveMapping> cancel(
      const Claim<R>& claim, Place where = Place::current()) && noexcept {
    detail::ListState* const list = take("dma::ActiveMapping::cancel", where);
    if (list == nullptr) return {};
    if (&claim.header() != Access::header(*list) || claim.next_cookie() != Access::cookie(*list)) {
      return give_back(*list);
    }
    Access::device(*list)->unmap_unseen(*list);
    return {};
  }

  /// Keeps the memory mapped for the next publication of the same request: a command that was
  /// refused, or ended in a way that makes it worth another try. False, and nothing changes, if the
  /// proof is of something else or the Claim is of another request.
  template <class R>
  BLKOWN_NEEDS_HELD [[nodiscard]] bool renew(const EndProof& proof, const Claim<R>& claim,
                                             Place where = Place::current()) noexcept {
    detail::ListState& list = held("dma::ActiveMapping::renew", where);
    if (!Access::state(list).take(serial_, Value::active)) return false;
    const bool fits =
        &claim.header() == Access::header(list) && Access::device(list)->covers(proof, list);
    if (fits) {
      Access::cookie(list) = claim.next_cookie();
      Access::epoch(list) = Access::device(list)->epoch();
    }
    Access::state(list).activate(serial_);
    return fits;
  }

 private:
  friend class PreparedMapping;
  using Access = detail::ListAccess;
  using Value = detail::MappingState::Value;

  ActiveMapping(detail::ListState& list, Word serial) noexcept : list_{&list}, serial_{serial} {}

  [[nodiscard]] detail::ListState& held(const char* operation, Place where) const noexcept {
    return blkown::detail::held(list_, operation, where);
  }

  /// The list, this context's to unmap; null if it is unmapped already.
  [[nodiscard]] detail::ListState* take(const char* operation, Place where) noexcept {
    detail::ListState& list = held(operation, where);
    list_ = nullptr;
    if (Access::state(list).take(serial_, Value::active)) return &list;
    detail::DeviceState* const device = Access::device(list);
    return device != nullptr && device->take_quarantined(list, serial_) ? &list : nullptr;
  }

  [[nodiscard]] std::expected<void, ActiveMapping> give_back(detail::ListState& list) noexcept {
    Access::state(list).activate(serial_);
    return std::unexpected(ActiveMapping{list, serial_});
  }

  [[gnu::cold, gnu::noinline]] void quarantine() noexcept {
    detail::ListState& list = *list_;
    detail::DeviceState* const device = Access::device(list);
    if (device == nullptr || !Access::state(list).take(serial_, Value::active)) return;
    // The pin is still there, and so is the request.
    auto& header = const_cast<RequestHeader&>(*Access::header(list));
    Incident incident =
        blkown::detail::incident_of(header, blkown::detail::HeaderAccess::word(header).peek(),
                                    "drop of dma::ActiveMapping", Place{});
    incident.state.generation = Access::cookie(list).generation;
    Access::state(list).activate(serial_);
    device->put_in_quarantine(list, serial_);
    blkown::detail::report(Report::mapping_dropped, incident);
  }

  detail::ListState* list_;
  Word serial_;
};

/// Memory that is mapped while the device does not know of it yet. Destroyed, it is unmapped.
/// Move-only; for the context that has the Claim.
class [[nodiscard]] BLKOWN_CONSUMABLE PreparedMapping {
 public:
  PreparedMapping(PreparedMapping&& other) noexcept
      : list_{std::exchange(other.list_, nullptr)}, serial_{other.serial_} {}
  PreparedMapping& operator=(PreparedMapping&& other) noexcept {
    PreparedMapping taken{std::move(other)};
    std::swap(list_, taken.list_);
    std::swap(serial_, taken.serial_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~PreparedMapping() {
    if (list_ != nullptr) Access::device(*list_)->unmap_unseen(*list_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The scatter list for the command.
  BLKOWN_NEEDS_HELD [[nodiscard]] std::span<const IovaSegment> segments() const noexcept {
    return blkown::detail::held(list_, "dma::PreparedMapping::segments", Place{}).segments();
  }

  /// From here on the device may reach the memory: to be called before the I/O is published, and
  /// kept where its completion finds it (in the request's data).
  BLKOWN_CONSUMES [[nodiscard]] ActiveMapping activate(Place where = Place::current()) && noexcept {
    detail::ListState& list = blkown::detail::held(std::exchange(list_, nullptr),
                                                   "dma::PreparedMapping::activate", where);
    Access::epoch(list) = Access::device(list)->epoch();
    Access::state(list).activate(serial_);
    return ActiveMapping{list, serial_};
  }

 private:
  using Access = detail::ListAccess;

  template <class B>
  friend class detail::Mapper;

  PreparedMapping(detail::ListState& list, Word serial) noexcept : list_{&list}, serial_{serial} {}

  detail::ListState* list_;
  Word serial_;
};

namespace detail {

/// Fills a list, element by element.
template <class B>
class Mapper {
 public:
  using Access = ListAccess;

  Mapper(Device<B>& device, ListState& list) noexcept
      : device_{device}, list_{list}, limits_{device.backend().limits()} {}

  template <class Segments>
  [[nodiscard]] bool map(const Segments& segments) noexcept {
    BouncePool* const pool = device_.bounce_pool();
    const std::size_t slot_bytes = pool == nullptr ? 0 : pool->slot_bytes();
    const bool is_whole = for_each_run(device_.backend(), limits_, slot_bytes, segments,
                                       [&](const Run& run) { return add(run); });
    if (is_whole && Access::count(list_) == 0) return fail(MapFailure::no_bytes);
    return is_whole;
  }
  [[nodiscard]] const MapError& error() const noexcept { return error_; }
  [[nodiscard]] PreparedMapping prepared(Word serial) const noexcept {
    return PreparedMapping{list_, serial};
  }

 private:
  bool fail(MapFailure reason, std::uint64_t limit = 0) noexcept {
    error_ = {.reason = reason, .segment = Access::count(list_), .limit = limit};
    return false;
  }

  /// Whether the device can reach a slot of the bounce pool, as one element.
  [[nodiscard]] bool can_take(const Segment& slot) const noexcept {
    const Run run = first_run(device_.backend(), limits_, 0, slot);
    return !run.needs_bounce && run.memory.length_bytes == slot.length_bytes;
  }

  [[nodiscard]] bool add(const Run& run) noexcept {
    const std::uint32_t index = Access::count(list_);
    if (index == limits_.max_segments) return fail(MapFailure::too_many_segments, index);
    if (index == list_.capacity()) return fail(MapFailure::list_too_short, index);
    Origin origin{.data = run.memory.data};
    if (run.needs_bounce) {
      if (device_.bounce_pool() == nullptr) {
        return fail(MapFailure::unreachable, limits_.address_mask);
      }
      origin.bounce = device_.bounce_pool()->take();
      if (origin.bounce == nullptr) return fail(MapFailure::no_bounce_slot);
      if (!can_take(Segment{origin.bounce, run.memory.length_bytes})) {
        device_.bounce_pool()->give(origin.bounce);
        return fail(MapFailure::unreachable, limits_.address_mask);
      }
      // Also where the device writes: what a short transfer leaves alone comes back unchanged, and
      // not as what another I/O had in the slot.
      std::memcpy(origin.bounce, run.memory.data, run.memory.length_bytes);
    }
    const auto iova = device_.backend().map(
        origin.bounce != nullptr ? origin.bounce : run.memory.data, run.memory.length_bytes,
        Access::direction(list_), Access::cookie(list_));
    if (!iova.has_value()) {
      if (origin.bounce != nullptr) device_.bounce_pool()->give(origin.bounce);
      return fail(iova.error());
    }
    Access::segment(list_, index) = {.iova = *iova, .length_bytes = run.memory.length_bytes};
    Access::origin(list_, index) = origin;
    Access::is_bounced(list_) = Access::is_bounced(list_) || origin.bounce != nullptr;
    Access::count(list_) = index + 1;
    return true;
  }

  Device<B>& device_;
  ListState& list_;
  DeviceLimits limits_;
  MapError error_;
};

}  // namespace detail

/// Maps an I/O's memory, a range of Segments, for its next publication, and pins its request.
/// Neighbouring segments are merged as far as the device's limits allow. Nothing is allocated.
/// Errors: see MapFailure; then nothing is mapped, and nothing pinned.
/// Precondition: `list` lives at least as long as the device, or is free when it goes.
template <Backend B, class R, class Segments>
[[nodiscard]] std::expected<PreparedMapping, MapError> map(
    Claim<R>& claim, Device<B>& device, const Segments& segments, Direction direction,
    detail::ListState& list, Place where = Place::current()) noexcept {
  using Access = detail::ListAccess;
  if (!list.is_free()) {
    return std::unexpected(MapError{.reason = MapFailure::list_in_use, .segment = 0, .limit = 0});
  }
  detail::DeviceAccess::core(device).attach_list(list);
  const Word serial = Access::state(list).prepare();
  Access::direction(list) = direction;
  Access::is_bounced(list) = false;
  Access::count(list) = 0;
  Access::cookie(list) = claim.next_cookie();
  Access::header(list) = &claim.header();
  detail::Mapper<B> mapper{device, list};
  if (!mapper.map(segments)) {
    // Else the bytes of a read would be copied home that the device has never seen.
    Access::direction(list) = Direction::to_device;
    detail::DeviceAccess::release_elements(device, list);
    Access::state(list).free(serial);
    return std::unexpected(mapper.error());
  }
  Access::request(list).set(claim.pin(where).into_raw());
  Access::pin(list).set(&detail::pin_operations<R>);
  Access::holder(list).hold(&claim.header(), where);
  return mapper.prepared(serial);
}

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
