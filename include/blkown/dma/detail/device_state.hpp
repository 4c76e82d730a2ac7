// SPDX-License-Identifier: BSL-1.0
//
// DeviceState: a device without its backend: the lists attached to it, the quarantine, the stop.

#ifndef BLKOWN_DMA_DETAIL_DEVICE_STATE_HPP
#define BLKOWN_DMA_DETAIL_DEVICE_STATE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/spin_lock.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/detail/epoch.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// A coherent allocation whose Coherent was destroyed without proof. Lies in its own heap block.
struct Orphan {
  /// Unmaps and frees the allocation. False: the backend could not unmap.
  bool (*free)(Orphan& orphan);
  Orphan* next = nullptr;
  Word epoch = 0;  // of the allocation
};

/// The lists that map for one device, and its coherent allocations. A list is attached at its first
/// use and not once for each I/O, so contexts that map do not share a cache line. The lock covers
/// the links of the lists and every way out of quarantine; a map and an unmap with proof do not
/// take the lock.
class DeviceState {
 public:
  /// Unmaps a list that the caller has taken, and drops its pin. False: see keep_mapped.
  using UnmapList = bool (*)(DeviceState& device, ListFields& list);
  using Value = MappingState::Value;

  explicit DeviceState(UnmapList unmap_list) noexcept : unmap_list_{unmap_list} {}
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;
  ~DeviceState() {
    users_.check_unused("destruction of dma::Device", "dma::Device", "destroy that object first");
    const blkown::detail::SpinGuard guard{lock_};
    std::uint64_t mapping_count = 0;
    for (ListFields* list = first_attached_; list != nullptr; list = list->next_attached) {
      if (list->state.look().value() != Value::free) ++mapping_count;
      list->device = nullptr;
    }
    if (mapping_count != 0) {
      violate_in_use("dma::Device destroyed while {count|mapping exists|mappings exist}",
                     "unmap the mappings, or stop and drain the device, first", mapping_count);
    }
    if (coherent_count_ != 0) {
      violate_in_use("dma::Device destroyed while {count|Coherent exists|Coherents exist}",
                     "stop the device, then free each Coherent or drain the device",
                     coherent_count_);
    }
  }

  /// The objects that use the device, such as a simulated controller.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

  /// Precondition: the list is free.
  void attach_list(ListFields& list) noexcept {
    if (list.device == this) [[likely]]
      return;
    if (list.device != nullptr) list.device->detach_list(list);
    const blkown::detail::SpinGuard guard{lock_};
    ++attachments_;
    list.device = this;
    list.last_drain = 0;  // another device counts its own drains
    list.previous_attached = nullptr;
    list.next_attached = first_attached_;
    if (first_attached_ != nullptr) first_attached_->previous_attached = &list;
    first_attached_ = &list;
  }
  void detach_list(ListFields& list) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    ++attachments_;
    ListFields* const next = list.next_attached;
    ListFields* const previous = list.previous_attached;
    (previous == nullptr ? first_attached_ : previous->next_attached) = next;
    if (next != nullptr) next->previous_attached = previous;
    list.device = nullptr;
  }

  /// The number of the current epoch.
  [[nodiscard]] Word epoch() const noexcept { return epoch_.current(); }
  /// Ends the epoch. The proof covers all mappings that were activated in this epoch or before.
  [[nodiscard]] EndProof stop() noexcept { return {number_, epoch_.end(), false}; }

  /// Whether the proof is that this device was stopped in this epoch or later.
  [[nodiscard]] bool is_stopped_since(const EndProof& proof, Word epoch) const noexcept {
    return !proof.is_of_request_ && proof.about_ == number_ && epoch <= proof.number_;
  }
  /// Whether the proof is about the publication that the list is mapped for, or about a stop of
  /// this device after the activation.
  [[nodiscard]] bool covers(const EndProof& proof, const ListFields& list) const noexcept {
    if (!proof.is_of_request_) return is_stopped_since(proof, list.epoch);
    return proof.about_ == EndProof::of_request(list.header) &&
           proof.number_ == list.cookie.generation.value;
  }

  /// Puts a mapping whose handle is destroyed into quarantine, and reports it. `remedy` replaces
  /// that of the report if it is not empty.
  /// Precondition: the caller has taken the list.
  [[gnu::cold, gnu::noinline]] void quarantine_dropped(ListFields& list, const char* operation,
                                                       const char* remedy = "") noexcept {
    const Incident incident = incident_of(list, operation).with("", remedy);
    put_in_quarantine(list, QuarantineReason::dropped);
    blkown::detail::report(Report::mapping_dropped, incident);
  }
  /// Takes a mapping out of quarantine, for a handle that still exists and has proof.
  [[nodiscard]] bool take_quarantined(ListFields& list, Word serial) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    return list.state.take(serial, Value::quarantined);
  }

  /// Keeps a mapping that the backend could not unmap in quarantine, and reports it. The request
  /// stays pinned.
  /// Precondition: the caller has taken the list.
  [[gnu::cold, gnu::noinline]] void keep_mapped(ListFields& list) noexcept {
    const Incident incident = incident_of(list, "unmap of a dma mapping");
    put_in_quarantine(list, QuarantineReason::unmap_failed);
    blkown::detail::report(Report::unmap_failed, incident);
  }

  /// Unmaps the list. False: the backend has failed, and the list is in quarantine.
  /// Precondition: the caller has taken the list.
  [[nodiscard]] bool unmap(ListFields& list) noexcept { return unmap_list_(*this, list); }
  /// Unmaps an I/O that the device has never seen. The caller's memory is unchanged and may be in
  /// other use, so no bounced bytes are copied back.
  /// Precondition: the caller has taken the list.
  [[nodiscard]] bool unmap_unseen(ListFields& list) noexcept {
    list.is_seen = false;
    return unmap(list);
  }

  /// Unmaps every mapping in quarantine, and frees every orphan, that the proof covers. Returns the
  /// number of unmapped mappings and freed orphans. Tries each once: those that the backend cannot
  /// unmap stay.
  std::size_t drain(const EndProof& proof) noexcept {
    const std::uint64_t number = next_drain();
    std::size_t count = 0;
    while (ListFields* const list = take_one(proof, number)) {
      if (unmap_list_(*this, *list)) ++count;
    }
    return count + free_orphans(proof);
  }

  /// Calls `visit(const ListFields&)` for each mapping in quarantine, under the lock.
  template <class Visit>
  void for_each_quarantined(Visit visit) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    for (ListFields* list = first_attached_; list != nullptr; list = list->next_attached) {
      MappingState::Seen seen;
      if (is_quarantined(*list, seen)) visit(*list);
    }
  }
  /// Calls `visit(const ListFields&, MappingState::Value)` for each list in use, under the lock.
  template <class Visit>
  void for_each_mapping(Visit visit) noexcept {
    for_each_list([&](const ListFields& list, MappingState::Seen seen) {
      if (seen.value() != Value::free) visit(list, seen.value());
    });
  }
  /// Calls `visit(const ListFields&, MappingState::Seen)` for each attached list, those without a
  /// mapping included, under the lock.
  template <class Visit>
  void for_each_list(Visit visit) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    for (ListFields* list = first_attached_; list != nullptr; list = list->next_attached) {
      visit(*list, list->state.look());
    }
  }
  /// How often a list was attached or detached. As long as that is the same, for_each_list() visits
  /// the same lists.
  [[nodiscard]] std::uint64_t attachments() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    return attachments_;
  }

  /// How many bounce slots the active mappings of a request have. `is_mine(request, pin)` says
  /// whether a list's pointers are those of the request.
  /// Precondition: the caller has the request's Claim, so no other context changes its mappings.
  template <class IsMine>
  [[nodiscard]] std::uint64_t slots_of(IsMine is_mine) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    std::uint64_t count = 0;
    for (ListFields* list = first_attached_; list != nullptr; list = list->next_attached) {
      const MappingState::Seen seen = list->state.look();
      if (seen.value() != Value::active) continue;
      // As in is_quarantined: the pointers belong to the mapping that was seen only if the word is
      // the same afterwards.
      const bool mine = is_mine(list->request.get(), list->pin.get());
      if (!mine || list->state.look().word != seen.word || !list->is_bounced) continue;
      for (std::uint32_t i = 0; i != list->count; ++i) {
        if (list->origins[i].bounce != nullptr) ++count;
      }
    }
    return count;
  }

  void add_coherent() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    ++coherent_count_;
  }
  void remove_coherent() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    --coherent_count_;
  }
  void adopt(Orphan& orphan) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    orphan.next = orphans_;
    orphans_ = &orphan;
  }

 private:
  /// The incident of a mapping's publication.
  /// Precondition: the caller has taken the list. A drain leaves a taken list alone, so the pin and
  /// the request exist.
  [[nodiscard]] static Incident incident_of(const ListFields& list,
                                            const char* operation) noexcept {
    auto& header = const_cast<RequestHeader&>(*list.header);
    Incident incident = blkown::detail::incident_of(
        header, blkown::detail::HeaderAccess::word(header).peek(), operation, Place{});
    incident.state.generation = list.cookie.generation;
    return incident;
  }
  /// Precondition: the caller has taken the list.
  void put_in_quarantine(ListFields& list, QuarantineReason reason) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    list.reason = reason;
    // From here on another context may drain the list.
    list.state.keep(list.state.look().serial());
  }

  /// Whether the list is in quarantine. `seen` receives the word that was read. A mapping whose
  /// request has ended goes into quarantine here, whether other pins keep the request or not: no
  /// Claim is left, so only a handle outside of the request's data could still unmap the mapping.
  /// While the mapping is active, its own pin keeps the end from completing, so the answer holds
  /// until the exchange.
  /// Precondition: the caller holds the lock, which every way out of quarantine takes.
  [[nodiscard]] static bool is_quarantined(ListFields& list, MappingState::Seen& seen) noexcept {
    seen = list.state.look();
    if (seen.value() == Value::quarantined) return true;
    if (seen.value() != Value::active) return false;
    void* const request = list.request.get();
    const PinOperations* const pin = list.pin.get();
    // Another context may unmap and map the list at this moment. Both pointers are used only if the
    // word still belongs to the mapping that was seen.
    if (list.state.look().word != seen.word || !pin->end_awaits_pins(request) ||
        !list.state.quarantine(seen.serial())) {
      return false;
    }
    list.reason = QuarantineReason::leaked;
    return true;
  }

  /// The number of a new drain, from 1. 64 bits do not wrap around.
  [[nodiscard]] std::uint64_t next_drain() noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    return ++latest_drain_;
  }

  /// Takes one quarantined list that the proof covers and that neither this drain nor a later one
  /// has tried; null if none is left. Without the later ones, two drains at a time would take turns
  /// on lists that cannot be unmapped, for ever.
  [[nodiscard]] ListFields* take_one(const EndProof& proof, std::uint64_t drain) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    for (ListFields* list = first_attached_; list != nullptr; list = list->next_attached) {
      MappingState::Seen seen;
      if (!is_quarantined(*list, seen) || !is_stopped_since(proof, list->epoch)) continue;
      if (list->last_drain >= drain) continue;
      if (!list->state.take(seen.serial(), Value::quarantined)) continue;
      list->last_drain = drain;
      return list;
    }
    return nullptr;
  }

  std::size_t free_orphans(const EndProof& proof) noexcept {
    std::size_t count = 0;
    Orphan* kept = nullptr;
    while (Orphan* const orphan = take_orphan(proof)) {
      if (orphan->free(*orphan)) {
        remove_coherent();
        ++count;
      } else {
        orphan->next = kept;
        kept = orphan;
      }
    }
    while (kept != nullptr) adopt(*std::exchange(kept, kept->next));
    return count;
  }

  /// Unlinks one orphan that the proof covers; null if none is left.
  [[nodiscard]] Orphan* take_orphan(const EndProof& proof) noexcept {
    const blkown::detail::SpinGuard guard{lock_};
    Orphan** link = &orphans_;
    while (*link != nullptr && !is_stopped_since(proof, (*link)->epoch)) link = &(*link)->next;
    Orphan* const found = *link;
    if (found == nullptr) return nullptr;
    *link = found->next;
    return found;
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_in_use(const char* problem,
                                                                    const char* remedy,
                                                                    std::uint64_t count) {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("destruction of dma::Device", Place{}).with(problem, remedy).about("", count));
  }

  UnmapList unmap_list_;
  // Names the device in its proofs: another device may have had its address.
  const std::uintptr_t number_ = next_device_number();
  Epoch epoch_;
  blkown::detail::SpinLock lock_;
  ListFields* first_attached_ = nullptr;
  Orphan* orphans_ = nullptr;
  std::uint64_t attachments_ = 0;  // and detachments
  std::size_t coherent_count_ = 0;
  std::uint64_t latest_drain_ = 0;
  blkown::detail::UserList users_;
};

[[noreturn, gnu::cold, gnu::noinline]] inline void violate_list_in_use(MappingState::Value value) {
  const Incident incident = Incident::of("destruction of dma::IovaList", Place{});
  blkown::detail::violate(
      Violation::object_in_use,
      value == MappingState::Value::quarantined
          ? incident.with("dma::IovaList destroyed while its mapping is in quarantine",
                          "stop and drain the device first")
          : incident.with("dma::IovaList destroyed while its mapping exists",
                          "unmap the mapping first; declare it after its list"));
}

inline ListState::~ListState() {
  if (!is_free()) violate_list_in_use(fields_.state.look().value());
  if (fields_.device != nullptr) fields_.device->detach_list(fields_);
}

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
