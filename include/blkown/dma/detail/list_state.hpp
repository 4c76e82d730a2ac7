// SPDX-License-Identifier: BSL-1.0
//
// ListState: an IovaList without its length, and the fields of the one mapping that uses the list.

#ifndef BLKOWN_DMA_DETAIL_LIST_STATE_HPP
#define BLKOWN_DMA_DETAIL_LIST_STATE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/holder_list.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

namespace dma::detail {

class DeviceState;
class ListState;

/// The memory behind one element of a scatter list.
struct Origin {
  std::byte* data = nullptr;
  std::byte* bounce = nullptr;  // what the device reaches instead, in a slot, or null
};

/// The operations on a mapping's pin, without the request's type.
struct PinOperations {
  /// Drops the pin. The request, and the list in its data, may be in use again before the return.
  void (*drop)(void* request);
  /// Whether the I/O has ended and only pins, among them this one, keep the request. Without a
  /// Claim the driver can no longer take the mapping out of the request's data.
  bool (*end_awaits_pins)(void* request);
};

/// The fields of a list and of its mapping, for the library. A mapping's handle and the device's
/// list of attached lists point here.
struct ListFields {
  [[nodiscard]] static ListFields& of(ListState& list) noexcept;

  [[nodiscard]] std::span<const IovaSegment> view() const noexcept { return {segments, count}; }

  IovaSegment* segments;
  Origin* origins;
  std::uint32_t capacity;
  std::uint32_t count = 0;
  std::uint32_t unmapped = 0;    // elements that a failed unmap of the list has unmapped
  std::uint64_t last_drain = 0;  // the latest drain that has tried to unmap the list; 0: none

  MappingState state{};
  Direction direction{};
  QuarantineReason reason{};
  bool is_bounced = false;
  // The device may have reached the memory: the mapping was activated, or its handle was destroyed
  // after a publication without activation.
  bool is_seen = false;
  // Of the map, then of the activation. Without an activation: of the handle's destruction, if the
  // I/O was published and has not ended.
  Word epoch = 0;
  Cookie cookie{};  // of the publication that the memory is mapped for
  const RequestHeader* header = nullptr;
  PublishedPointer<void> request{};
  PublishedPointer<const PinOperations> pin{};
  [[no_unique_address]] blkown::detail::Holder holder{};  // shows the raw pin to visit_holders

  DeviceState* device = nullptr;  // the device that the list is attached to
  ListFields* next_attached = nullptr;
  ListFields* previous_attached = nullptr;
  // A device and an unmap use the list while its request is published.
  [[no_unique_address]] blkown::detail::PoisonHole hole{};

  /// Exempts the list from the poison of the request's data, if it lies there.
  template <class R>
  void leave_readable(R& in_request) noexcept {
    hole.open(in_request, this, origins + capacity);
  }
};

/// The base of every IovaList. A list stays at its address, so that the device can keep a mapping
/// whose handle is destroyed until the device is stopped.
class ListState {
 public:
  ListState(const ListState&) = delete;
  ListState& operator=(const ListState&) = delete;

  /// The scatter list for the command; empty while no mapping uses the list.
  [[nodiscard]] std::span<const IovaSegment> segments() const noexcept { return fields_.view(); }
  /// The number of elements for which the list has room.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return fields_.capacity; }
  /// Whether no mapping uses the list.
  [[nodiscard]] bool is_free() const noexcept {
    return fields_.state.look().value() == MappingState::Value::free;
  }

 protected:
  ListState(IovaSegment* segments, Origin* origins, std::uint32_t capacity) noexcept
      : fields_{.segments = segments, .origins = origins, .capacity = capacity} {}
  ~ListState();  // in device_state.hpp

 private:
  friend struct ListFields;
  ListFields fields_;
};

inline ListFields& ListFields::of(ListState& list) noexcept { return list.fields_; }

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
