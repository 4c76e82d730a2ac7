// SPDX-License-Identifier: BSL-1.0
//
// Device: what memory is mapped for, and where mappings are kept that nobody could end.

#ifndef BLKOWN_DMA_DEVICE_HPP
#define BLKOWN_DMA_DEVICE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/iova_list.hpp>
#include <blkown/dma/proof.hpp>
#include <cstring>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// A mapping that stays, its request's tag with it, until the device is stopped.
struct Quarantined {
  QuarantineReason reason{};
  Cookie cookie;  ///< The publication that it was made for.
  Direction direction{};
  std::span<const IovaSegment> segments;
};

/// A mapping that exists.
struct Mapped {
  Cookie cookie;  ///< The publication that it is for.
  Direction direction{};
  bool is_active = false;  ///< Else it is still being prepared, or being taken away.
  std::span<const IovaSegment> segments;
};

namespace detail {

struct DeviceAccess;

/// The library's way into a list.
struct ListAccess {
  using Core = ListState;
  static MappingState& state(Core& list) noexcept { return list.state_; }
  static IovaSegment& segment(Core& list, std::uint32_t i) noexcept { return list.segments_[i]; }
  static Origin& origin(Core& list, std::uint32_t i) noexcept { return list.origins_[i]; }
  static std::uint32_t& count(Core& list) noexcept { return list.count_; }
  static Direction& direction(Core& list) noexcept { return list.direction_; }
  static bool& is_bounced(Core& list) noexcept { return list.is_bounced_; }
  static QuarantineReason& reason(Core& list) noexcept { return list.reason_; }
  static Word& epoch(Core& list) noexcept { return list.epoch_; }
  static Cookie& cookie(Core& list) noexcept { return list.cookie_; }
  static const RequestHeader*& header(Core& list) noexcept { return list.header_; }
  static PublishedPointer<void>& request(Core& list) noexcept { return list.request_; }
  static PublishedPointer<const PinOperations>& pin(Core& list) noexcept { return list.pin_; }
  static blkown::detail::Holder& holder(Core& list) noexcept { return list.holder_; }
  static DeviceState*& device(Core& list) noexcept { return list.device_; }
  static Core*& next_known(Core& list) noexcept { return list.next_known_; }
  static Core*& previous_known(Core& list) noexcept { return list.previous_known_; }
};

[[noreturn, gnu::cold, gnu::noinline]] inline void violate(Violation violation,
                                                           const char* operation,
                                                           const Place& place) {
  Incident incident;
  incident.operation = operation;
  incident.place = place;
  blkown::detail::violate(violation, incident);
}

/// A coherent allocation whose owner is gone; in its own memory.
struct Orphan {
  void (*free)(Orphan& orphan);
  Orphan* next = nullptr;
  Word epoch = 0;
};

/// The part of a device that does not depend on its backend: the lists it knows, each linked once
/// and not once for each I/O, so that contexts do not meet on a line.
class DeviceState {
 public:
  using Unmap = void (*)(DeviceState& device, ListState& list);
  using Access = ListAccess;
  using Value = MappingState::Value;

  explicit DeviceState(Unmap unmap_list) noexcept : unmap_{unmap_list} {}
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;
  ~DeviceState() {
    const std::lock_guard guard{lock_};
    for (ListState* list = first_; list != nullptr; list = Access::next_known(*list)) {
      if (!list->is_free())
        violate(Violation::object_in_use, "destruction of dma::Device", Place{});
      Access::device(*list) = nullptr;
    }
    if (coherent_count_ != 0) {
      violate(Violation::object_in_use, "destruction of dma::Device", Place{});
    }
  }

  /// Precondition: the list is free.
  void attach_list(ListState& list) noexcept {
    if (Access::device(list) == this) [[likely]]
      return;
    if (Access::device(list) != nullptr) Access::device(list)->detach_list(list);
    const std::lock_guard guard{lock_};
    Access::device(list) = this;
    Access::previous_known(list) = nullptr;
    Access::next_known(list) = first_;
    if (first_ != nullptr) Access::previous_known(*first_) = &list;
    first_ = &list;
  }
  void detach_list(ListState& list) noexcept {
    const std::lock_guard guard{lock_};
    ListState* const next = Access::next_known(list);
    ListState* const previous = Access::previous_known(list);
    (previous == nullptr ? first_ : Access::next_known(*previous)) = next;
    if (next != nullptr) Access::previous_known(*next) = previous;
    Access::device(list) = nullptr;
  }

  [[nodiscard]] Word epoch() const noexcept { return epoch_.current(); }
  /// Out of quarantine again, for a handle that is still there and has proof.
  [[nodiscard]] bool take_quarantined(ListState& list, Word serial) noexcept {
    const std::lock_guard guard{lock_};
    return Access::state(list).take(serial, Value::quarantined);
  }
  void put_in_quarantine(ListState& list, Word serial) noexcept {
    const std::lock_guard guard{lock_};
    if (!Access::state(list).quarantine(serial)) return;  // a scan or a drain has found it already
    Access::reason(list) = QuarantineReason::dropped;
  }

  [[nodiscard]] EndProof stop() noexcept { return {this, epoch_.end(), false}; }

  [[nodiscard]] bool is_stopped_since(const EndProof& proof, Word epoch) const noexcept {
    return !proof.is_of_request_ && proof.about_ == this && epoch <= proof.number_;
  }
  /// Whether the proof is about what the list maps.
  [[nodiscard]] bool covers(const EndProof& proof, ListState& list) const noexcept {
    if (!proof.is_of_request_) return is_stopped_since(proof, Access::epoch(list));
    return proof.about_ == Access::header(list) &&
           proof.number_ == Access::cookie(list).generation.value;
  }

  void unmap(ListState& list) noexcept { unmap_(*this, list); }
  /// The same for what the device has never heard of: the caller's memory is as it was, and may be
  /// in use again, so that nothing is copied home.
  void unmap_unseen(ListState& list) noexcept {
    Access::direction(list) = Direction::to_device;
    unmap(list);
  }

  /// Unmaps what is in quarantine and was mapped before the device was stopped. Returns how many.
  std::size_t drain(const EndProof& proof) noexcept {
    std::size_t count = 0;
    while (ListState* const list = take_one(proof)) {
      unmap(*list);
      ++count;
    }
    return count + free_orphans(proof);
  }

  template <class Visit>
  void for_each_quarantined(Visit& visit) noexcept {
    const std::lock_guard guard{lock_};
    for (ListState* list = first_; list != nullptr; list = Access::next_known(*list)) {
      MappingState::Seen seen;
      if (!is_quarantined(*list, seen)) continue;
      visit(Quarantined{.reason = Access::reason(*list),
                        .cookie = Access::cookie(*list),
                        .direction = Access::direction(*list),
                        .segments = list->segments()});
    }
  }

  template <class Visit>
  void for_each_mapping(Visit& visit) noexcept {
    const std::lock_guard guard{lock_};
    for (ListState* list = first_; list != nullptr; list = Access::next_known(*list)) {
      const Value state = Access::state(*list).look().value();
      if (state == Value::free) continue;
      visit(Mapped{.cookie = Access::cookie(*list),
                   .direction = Access::direction(*list),
                   .is_active = state != Value::prepared,
                   .segments = list->segments()});
    }
  }

  void add_coherent() noexcept {
    const std::lock_guard guard{lock_};
    ++coherent_count_;
  }
  void remove_coherent() noexcept {
    const std::lock_guard guard{lock_};
    --coherent_count_;
  }
  void adopt(Orphan& orphan) noexcept {
    const std::lock_guard guard{lock_};
    orphan.next = orphans_;
    orphans_ = &orphan;
  }

 private:
  /// Whether the list is in quarantine. One whose request has ended with the mapping still in the
  /// request's own data gets there now. With the lock, which whoever takes a list out again holds.
  [[nodiscard]] static bool is_quarantined(ListState& list, MappingState::Seen& seen) noexcept {
    seen = Access::state(list).look();
    if (seen.value() == Value::quarantined) return true;
    if (seen.value() != Value::active) return false;
    void* const request = Access::request(list).get();
    const PinOperations* const pin = Access::pin(list).get();
    // Meanwhile another context may unmap it and use the list anew: the two are believed only if
    // they are still about the mapping that was seen.
    if (Access::state(list).look().word != seen.word || !pin->end_awaits_last_pin(request) ||
        !Access::state(list).quarantine(seen.serial())) {
      return false;
    }
    Access::reason(list) = QuarantineReason::leaked;
    return true;
  }

  [[nodiscard]] ListState* take_one(const EndProof& proof) noexcept {
    const std::lock_guard guard{lock_};
    for (ListState* list = first_; list != nullptr; list = Access::next_known(*list)) {
      MappingState::Seen seen;
      if (!is_quarantined(*list, seen) || !is_stopped_since(proof, Access::epoch(*list))) continue;
      if (Access::state(*list).take(seen.serial(), Value::quarantined)) return list;
    }
    return nullptr;
  }

  std::size_t free_orphans(const EndProof& proof) noexcept {
    std::size_t count = 0;
    while (true) {
      Orphan* found = nullptr;
      {
        const std::lock_guard guard{lock_};
        Orphan** link = &orphans_;
        while (*link != nullptr && !is_stopped_since(proof, (*link)->epoch)) link = &(*link)->next;
        found = *link;
        if (found == nullptr) return count;
        *link = found->next;
        --coherent_count_;
      }
      found->free(*found);
      ++count;
    }
  }

  Unmap unmap_;
  Epoch epoch_;
  SpinLock lock_;
  ListState* first_ = nullptr;
  Orphan* orphans_ = nullptr;
  std::size_t coherent_count_ = 0;
};

inline ListState::~ListState() {
  if (!is_free()) {
    violate(Violation::object_in_use, "destruction of dma::IovaList", Place{});
  }
  if (device_ != nullptr) device_->detach_list(*this);
}

}  // namespace detail

/// A device that reaches memory through a backend: what mappings are made for, and where those are
/// kept that nobody can end any more. Any context. It outlives its mappings, and the TagSet's
/// owner keeps it alive: a mapping counts no reference of it, because a count that every I/O of
/// every context changes costs more than all the rest.
template <Backend B>
class Device {
 public:
  /// The backend, and the bounce pool if one is given, outlive the device.
  explicit Device(B& backend, BouncePool* bounce = nullptr) noexcept
      : core_{*this}, backend_{backend}, bounce_{bounce} {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  /// Violation: a mapping or a coherent allocation is alive, or in quarantine.
  ~Device() = default;

  [[nodiscard]] B& backend() const noexcept { return backend_; }
  [[nodiscard]] BouncePool* bounce_pool() const noexcept { return bounce_; }

  /// The device reaches no memory any more: it was reset, its ring closed, its bus mastering taken
  /// away, and it has confirmed that. The proof is for all that was mapped before.
  /// Precondition: that is so, and no context is between activating a mapping and publishing its
  /// I/O (stop submitting first: mq::Disk::quiesce).
  [[nodiscard]] EndProof declare_stopped() noexcept { return core_.stop(); }

  /// Unmaps what is in quarantine and what the proof covers; the requests end, or go on ending.
  /// Returns how many mappings and coherent allocations that was; none for another proof.
  std::size_t drain(const EndProof& proof) noexcept { return core_.drain(proof); }

  /// Calls `visit(const Quarantined&)` for each mapping in quarantine. It must not map or unmap.
  template <class Visit>
  void for_each_quarantined(Visit&& visit) noexcept {
    core_.for_each_quarantined(visit);
  }
  /// Calls `visit(const Mapped&)` for each mapping of an I/O. It must not map or unmap.
  /// Precondition: no other context maps or unmaps meanwhile; for tests, and for post mortems.
  template <class Visit>
  void for_each_mapping(Visit&& visit) noexcept {
    core_.for_each_mapping(visit);
  }
  [[nodiscard]] std::size_t quarantined_count() noexcept {
    std::size_t count = 0;
    for_each_quarantined([&](const Quarantined&) { ++count; });
    return count;
  }

 private:
  friend struct detail::DeviceAccess;

  /// The core first in a struct of its own, from which the device is found again.
  struct Core : detail::DeviceState {
    explicit Core(Device& owner) noexcept : DeviceState{&Core::unmap_list}, device{owner} {}
    static void unmap_list(detail::DeviceState& core, detail::ListState& list) {
      static_cast<Core&>(core).device.unmap_list(list);
    }
    Device& device;
  };

  /// Translations first, then every memory of them, then the bytes home, and the request's pin
  /// last: whoever gets the tag next may use the same memory.
  void unmap_list(detail::ListState& list) noexcept {
    using Access = detail::ListAccess;
    release_elements(list);
    void* const request = Access::request(list).get();
    const detail::PinOperations& pin = *Access::pin(list).get();
    Access::holder(list).let_go();
    Access::state(list).free(Access::state(list).look().serial());
    pin.drop(request);
  }

  void release_elements(detail::ListState& list) noexcept {
    using Access = detail::ListAccess;
    for (const IovaSegment& segment : list.segments()) backend_.unmap(segment);
    backend_.invalidate(list.segments());
    if (Access::is_bounced(list)) give_back_slots(list);
    Access::count(list) = 0;
  }

  void give_back_slots(detail::ListState& list) noexcept {
    using Access = detail::ListAccess;
    for (std::uint32_t i = 0; i != Access::count(list); ++i) {
      const detail::Origin& origin = Access::origin(list, i);
      if (origin.bounce == nullptr) continue;
      if (device_writes(Access::direction(list))) {
        std::memcpy(origin.data, origin.bounce,
                    static_cast<std::size_t>(Access::segment(list, i).length_bytes));
      }
      bounce_->give(origin.bounce);
    }
  }

  Core core_;
  B& backend_;
  BouncePool* bounce_;
};

namespace detail {

struct DeviceAccess {
  template <class B>
  static DeviceState& core(Device<B>& device) noexcept {
    return device.core_;
  }
  template <class B>
  static void release_elements(Device<B>& device, ListState& list) noexcept {
    device.release_elements(list);
  }
};

}  // namespace detail

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
