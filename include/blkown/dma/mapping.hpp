// SPDX-License-Identifier: BSL-1.0
//
// Mappings: memory that a device may reach, tied to one publication of one request.
//
// A mapping's life:
//
//   1. map(claim, ...) before the publication fills the list, pins the request, and returns a
//      PreparedMapping. Destroyed before the publication, a PreparedMapping unmaps: the device has
//      not seen it.
//   2. activate() before the publication returns the ActiveMapping, for the request's data or
//      another place where the completion finds it. From here on the device may reach the memory.
//   3. The Claim publishes the I/O. The completion gives a Claim, and this Claim the EndProof.
//   4. unmap(proof) unmaps the elements, copies bounced bytes back, and drops the pin.
//      Instead, cancel(claim) unmaps an I/O that was not published after all, and renew(proof,
//      claim) keeps the memory mapped for the request's next publication.
//
// Every handle that is left in the data when the I/O has ended is a leak. A drain of the stopped
// device finds all of them.
//
// Parties: the context with the handle, the device, and a drain of the stopped device. While the
// mapping exists, the request's tag is not allocated again and its memory stays mapped. Without the
// right proof there is no way back: the mapping stays active, or goes into the device's quarantine
// if its handle is destroyed (device.hpp). A handle whose mapping was drained has no effect.

#ifndef BLKOWN_DMA_MAPPING_HPP
#define BLKOWN_DMA_MAPPING_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/detail/backend_state.hpp>
#include <blkown/dma/detail/device_state.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/detail/mapper.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/segment.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

namespace detail {

struct MappingAccess;

template <class R>
inline constexpr PinOperations pin_operations{
    .drop = [](void* request) { const auto pin = ARef<R>::from_raw(static_cast<R*>(request)); },
    .end_awaits_pins =
        [](void* request) {
          return blkown::detail::word_of(*static_cast<R*>(request)).end_awaits_pins();
        }};

}  // namespace detail

/// The mapping of an I/O in flight: the device may reach the memory. The mapping pins the request,
/// so neither the tag nor the memory is used again. Two words wide; move-only.
///
/// A mapping that is destroyed without unmap goes into the device's quarantine and is reported. The
/// memory stays mapped and the tag allocated until the device is stopped (Device::drain).
///
/// A driver that keeps mappings in the request's own data takes them out, with the Claim, before it
/// ends or requeues the I/O. Otherwise the request waits for its own mappings, until the device is
/// stopped. A drain of the stopped device finds any number of such mappings, also while others pin
/// the request.
/// Context: the context that has the Claim.
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
    if (list_ != nullptr) quarantine(*list_, serial_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The scatter list for the command.
  BLKOWN_NEEDS_HELD [[nodiscard]] std::span<const IovaSegment> segments(
      Place where = Place::current()) const noexcept {
    return held("dma::ActiveMapping::segments", where).view();
  }
  /// The direction that the memory is mapped for.
  BLKOWN_NEEDS_HELD [[nodiscard]] Direction direction(
      Place where = Place::current()) const noexcept {
    return held("dma::ActiveMapping::direction", where).direction;
  }
  /// The publication that the memory is mapped for.
  BLKOWN_NEEDS_HELD [[nodiscard]] Cookie cookie(Place where = Place::current()) const noexcept {
    return held("dma::ActiveMapping::cookie", where).cookie;
  }

  /// Unmaps the memory.
  /// Effects: no translation of the memory is left, the device's bytes are in the caller's memory,
  /// and then the pin is dropped. If a drain of the stopped device has unmapped first, nothing
  /// happens. If the backend cannot unmap, the mapping goes into quarantine and is reported
  /// (Report::unmap_failed). The I/O may be ended as usual. Its end waits for a drain, so the
  /// driver stops the device.
  /// Errors: returns the mapping, active as before, if the proof does not cover the mapping.
  BLKOWN_CONSUMES [[nodiscard]] std::expected<UnmapResult, ActiveMapping> unmap(
      const EndProof& proof, Place where = Place::current()) && noexcept {
    detail::ListFields* const list = take("dma::ActiveMapping::unmap", where);
    if (list == nullptr) return UnmapResult::unmapped;
    detail::DeviceState& device = *list->device;
    if (!device.covers(proof, *list)) return give_back(*list);
    return device.unmap(*list) ? UnmapResult::unmapped : UnmapResult::quarantined;
  }

  /// Unmaps the memory of an I/O that was not published. The Claim proves that the device has not
  /// seen the mapping: only the Claim can make the publication that the memory is mapped for.
  /// Effects: as unmap, but no bounced bytes are copied back.
  /// Errors: returns the mapping if its I/O was published or `claim` is another request's.
  template <class R>
  BLKOWN_CONSUMES [[nodiscard]] std::expected<UnmapResult, ActiveMapping> cancel(
      const Claim<R>& claim, Place where = Place::current()) && noexcept {
    detail::ListFields* const list = take("dma::ActiveMapping::cancel", where);
    if (list == nullptr) return UnmapResult::unmapped;
    if (&claim.header(where) != list->header || claim.next_cookie(where) != list->cookie) {
      return give_back(*list);
    }
    return list->device->unmap_unseen(*list) ? UnmapResult::unmapped : UnmapResult::quarantined;
  }

  /// Keeps the memory mapped for the next publication of the same request, such as a second try of
  /// a refused command.
  /// Errors: false, and no change, if the proof does not cover the mapping, `claim` is another
  /// request's, or a drain has unmapped the memory.
  template <class R>
  BLKOWN_NEEDS_HELD [[nodiscard]] bool renew(const EndProof& proof, const Claim<R>& claim,
                                             Place where = Place::current()) noexcept {
    detail::ListFields& list = held("dma::ActiveMapping::renew", where);
    if (!list.state.take(serial_, Value::active)) return false;
    const bool fits = &claim.header(where) == list.header && list.device->covers(proof, list);
    if (fits) {
      list.cookie = claim.next_cookie();
      list.epoch = list.device->epoch();
    }
    list.state.activate(serial_);
    return fits;
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(unmap, const EndProof&);
  BLKOWN_DETAIL_CONSUMES_LVALUE(cancel, const auto&);

 private:
  friend class PreparedMapping;
  using Value = detail::MappingState::Value;

  ActiveMapping(detail::ListFields& list, Word serial) noexcept : list_{&list}, serial_{serial} {}

  [[nodiscard]] detail::ListFields& held(const char* operation, Place where) const noexcept {
    return blkown::detail::held(list_, operation, where);
  }

  /// The list, taken by this context; null if a drain has unmapped it.
  [[nodiscard]] detail::ListFields* take(const char* operation, Place where) noexcept {
    detail::ListFields& list = held(operation, where);
    list_ = nullptr;
    if (list.state.take(serial_, Value::active)) return &list;
    detail::DeviceState* const device = list.device;
    return device != nullptr && device->take_quarantined(list, serial_) ? &list : nullptr;
  }

  [[nodiscard]] std::unexpected<ActiveMapping> give_back(detail::ListFields& list) noexcept {
    list.state.activate(serial_);
    return std::unexpected(ActiveMapping{list, serial_});
  }

  /// Puts the mapping of a dropped handle into quarantine, and reports it.
  [[gnu::cold, gnu::noinline]] static void quarantine(detail::ListFields& list,
                                                      Word serial) noexcept {
    if (!list.state.take(serial, Value::active)) return;
    list.device->quarantine_dropped(list, "drop of dma::ActiveMapping");
  }

  detail::ListFields* list_;
  Word serial_;
};

/// Mapped memory that the device has not seen. The destructor unmaps the memory. If the I/O was
/// published without activate(), the device may reach the memory: the destructor then does what
/// that of an ActiveMapping does, quarantine and a report. Two words wide; move-only.
/// Precondition: activate() is called, or the PreparedMapping destroyed, before the I/O is
/// published.
/// Context: the context that has the Claim.
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
    if (list_ != nullptr) unmap();
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The scatter list for the command.
  BLKOWN_NEEDS_HELD [[nodiscard]] std::span<const IovaSegment> segments(
      Place where = Place::current()) const noexcept {
    return blkown::detail::held(list_, "dma::PreparedMapping::segments", where).view();
  }

  /// Allows the device to reach the memory.
  /// Precondition: the I/O is not published and has not ended.
  BLKOWN_CONSUMES [[nodiscard]] ActiveMapping activate(Place where = Place::current()) && noexcept {
    detail::ListFields& list = blkown::detail::held(std::exchange(list_, nullptr),
                                                    "dma::PreparedMapping::activate", where);
    // Plain stores: a drain reads these fields only after the I/O's end or out of quarantine, and
    // the Claim's end or the device's lock orders them before.
    list.epoch = list.device->epoch();
    list.is_seen = true;
    return ActiveMapping{list, serial_};
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(activate);

 private:
  friend struct detail::MappingAccess;
  using Value = detail::MappingState::Value;

  /// Unmaps, unless a drain has done so.
  void unmap() noexcept {
    detail::ListFields& list = *list_;
    if (!list.state.take(serial_, Value::active)) {
      detail::DeviceState* const device = list.device;
      if (device == nullptr || !device->take_quarantined(list, serial_)) return;
    }
    if (is_published(list)) [[unlikely]]
      return keep(list);
    static_cast<void>(list.device->unmap_unseen(list));
  }

  /// Whether the publication that the memory is mapped for has happened.
  /// Precondition: the caller has taken the list, so that its pin keeps the request.
  [[nodiscard]] static bool is_published(const detail::ListFields& list) noexcept {
    auto& header = const_cast<RequestHeader&>(*list.header);
    const auto seen = blkown::detail::HeaderAccess::word(header).peek();
    return seen.next_generation() != list.cookie.generation;
  }
  /// Treats a mapping whose I/O was published as one that was activated: the device may reach the
  /// memory.
  /// Precondition: the caller has taken the list.
  [[gnu::cold, gnu::noinline]] static void keep(detail::ListFields& list) noexcept {
    // Nothing has recorded the epoch of the publication. It is one from the map's to the current
    // one. An I/O that has ended may have been in flight when a stop was declared, and the driver
    // has ended the I/O because of that stop: the epoch stays that of the map, so that the stop's
    // proof covers the mapping. Another I/O may have been published after each stop.
    if (!list.pin.get()->end_awaits_pins(list.request.get())) list.epoch = list.device->epoch();
    list.is_seen = true;
    list.device->quarantine_dropped(
        list, "drop of dma::PreparedMapping",
        "call activate() before publish(), and unmap() with an EndProof");
  }

  PreparedMapping(detail::ListFields& list, Word serial) noexcept : list_{&list}, serial_{serial} {}

  detail::ListFields* list_;
  Word serial_;
};

namespace detail {

struct MappingAccess {
  static PreparedMapping prepared(ListFields& list, Word serial) noexcept {
    return PreparedMapping{list, serial};
  }
};

/// Pins the Claim's request for the list.
template <class R>
void pin_request(Claim<R>& claim, const DeviceState& device, ListFields& list,
                 Place where) noexcept {
  list.request.set(claim.pin(where).into_raw());
  list.pin.set(&pin_operations<R>);
  list.holder.hold(&claim.header(), where);
  list.epoch = device.epoch();
}

/// Keeps the elements of a map that has failed at `segment`, because the backend could not unmap
/// them.
template <class R>
[[nodiscard, gnu::cold, gnu::noinline]] std::unexpected<MapError> keep_half(Claim<R>& claim,
                                                                            DeviceState& device,
                                                                            ListFields& list,
                                                                            std::uint32_t segment,
                                                                            Place where) noexcept {
  pin_request(claim, device, list, where);
  device.keep_mapped(list);
  return std::unexpected(
      MapError{.reason = MapFailure::unmap_failed, .segment = segment, .limit = 0});
}

}  // namespace detail

/// Maps the memory of the Claim's next publication, and pins the request. `segments` is a range of
/// Segments, `list` an IovaList. Adjacent segments are merged as far as the device's limits allow.
/// Precondition: `list` outlives the device, or is free when it is destroyed.
/// Precondition: `segments` can be iterated several times.
/// Effects: memory out of the device's reach is copied into bounce slots. Nothing is allocated.
/// Errors: see MapFailure. After an error nothing is mapped and nothing is pinned, except after
/// unmap_failed: the elements that could not be unmapped again are in quarantine, and the I/O's end
/// waits for a drain. A permanent failure is reported as permanent even while other I/Os use the
/// same resource.
/// Context: the context that has the Claim.
/// Source: the kernel's dma_map_sg.
template <Backend B, class R, class Segments>
[[nodiscard]] std::expected<PreparedMapping, MapError> map(
    Claim<R>& claim, Device<B>& device, const Segments& segments, Direction direction,
    detail::ListState& list, Place where = Place::current()) noexcept {
  if (!list.is_free()) {
    return std::unexpected(MapError{.reason = MapFailure::list_in_use, .segment = 0, .limit = 0});
  }
  detail::BackendState<B>& state = detail::DeviceAccess::state(device);
  detail::ListFields& fields = detail::ListFields::of(list);
  fields.leave_readable(*blkown::detail::HandleAccess::look(claim));
  state.attach_list(fields);
  const Word serial = fields.state.prepare();
  fields.direction = direction;
  fields.is_bounced = false;
  fields.is_seen = false;
  fields.cookie = claim.next_cookie(where);
  fields.header = &claim.header(where);
  detail::Mapper<B> mapper{state, fields};
  if (!mapper.map(segments)) {
    if (!state.unmap_elements(fields)) {
      return detail::keep_half(claim, state, fields, mapper.error().segment, where);
    }
    const MapError error = mapper.final_error(segments, [&](void* request, const auto* pin) {
      return pin == &detail::pin_operations<R> &&
             &blkown::detail::header_of(*static_cast<R*>(request)) == &claim.header();
    });
    fields.state.free(serial);
    return std::unexpected(error);
  }
  detail::pin_request(claim, state, fields, where);
  // From here on the state decides whether the handle or a drain after the I/O's end unmaps.
  fields.state.activate(serial);
  return detail::MappingAccess::prepared(fields, serial);
}

/// Maps constant bytes that the device reads, as map with Direction::to_device.
/// Effects: neither the library nor, by the contract of Backend::map, the backend writes the bytes.
/// Errors: as map.
/// Context: the context that has the Claim.
template <Backend B, class R>
[[nodiscard]] std::expected<PreparedMapping, MapError> map_to_device(
    Claim<R>& claim, Device<B>& device, std::span<const std::byte> bytes, detail::ListState& list,
    Place where = Place::current()) noexcept {
  const Segment segment{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return map(claim, device, std::span{&segment, 1}, Direction::to_device, list, where);
}

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
