// SPDX-License-Identifier: BSL-1.0
//
// Theme: the owner of a mapping's list.
//
// Goal: the mapping's handle or a drain of the stopped device unmaps the list, never both. The
// context that unmaps sees the contents of the list. A drain that reads a list while it is reused
// discards what it read of the old mapping.
// Method: MappingState and PublishedPointer, called in the order in which Device and the mappings
// call them, with the list as model::Data. The lock of the device, which orders more, is left out.

#include "fixture.hpp"

// The fixture comes first: it chooses the explorer's atomic.
#include <array>
#include <blkown/dma/detail/mapping_state.hpp>

namespace mappings {

using blkown::Word;
using blkown::dma::detail::MappingState;
using blkown::dma::detail::PublishedPointer;
using State = MappingState::Value;

/// A list, and the requests that it is mapped for, one after the other.
struct List {
  MappingState state;
  PublishedPointer<model::Data<int>> request;
  model::Data<int> elements{0, "the list's elements"};
  std::array<model::Data<int>, 2> requests{model::Data<int>{0, "a request"},
                                           model::Data<int>{0, "a request"}};
  std::array<int, 2> unmapped{};
  Word first = map(0);

  /// Maps for this request. Returns the serial number of the mapping.
  Word map(std::size_t which) {
    const Word serial = state.prepare();
    requests[which].set(7);
    elements.set(static_cast<int>(which) + 1);
    request.set(&requests[which]);
    state.activate(serial);
    return serial;
  }
  /// Called by the thread that has taken the list.
  void unmap(Word serial) {
    const int which = elements.get();
    model::check(serial == first + static_cast<Word>(which) - 1,
                 "it is the mapping that was taken");
    ++unmapped[static_cast<std::size_t>(which) - 1];
    elements.set(which);
    state.free(serial);
  }
  /// The device has stopped: unmaps a mapping that has no handle, or whose request has ended.
  /// `has_ended`: the requests have ended.
  void drain(bool has_ended) {
    MappingState::Seen seen = state.look();
    if (seen.value() == State::active) {
      model::Data<int>* const pinned = request.get();
      if (state.look().word != seen.word) return;
      model::check(pinned == &requests[seen.serial() - first], "it is the mapping's request");
      model::check(pinned->get() == 7, "the writes before the mapping are visible");
      if (!has_ended || !state.quarantine(seen.serial())) return;
    } else if (seen.value() != State::quarantined) {
      return;
    }
    if (state.take(seen.serial(), State::quarantined)) unmap(seen.serial());
  }
  void check_unmapped(int of_first, int of_second) const {
    model::check(unmapped[0] == of_first && unmapped[1] == of_second,
                 "each mapping is unmapped once");
  }
};

/// The handle unmaps, or finds that the drain did, and the list is reused.
template <bool HasEnded>
struct UnmapDrain : List {
  bool is_drained = false;
  void unmaps() {
    if (state.take(first, State::active) || state.take(first, State::quarantined)) {
      unmap(first);
    } else if (state.look().value() != State::free) {
      is_drained = true;  // the drain has taken it
      return;
    }
    map(1);
  }
  void drains() { drain(HasEnded); }
  void finish() {
    if (is_drained) return check_unmapped(1, 0);
    const bool is_second_left = state.look().value() == State::active;
    check_unmapped(1, is_second_left ? 0 : 1);
  }
};
template <bool HasEnded>
using AddUnmapDrain =
    Add<UnmapDrain<HasEnded>, &UnmapDrain<HasEnded>::unmaps, &UnmapDrain<HasEnded>::drains>;
const AddUnmapDrain<false> unmap_look{"mappings", "unmap and map again against a look"};
const AddUnmapDrain<true> unmap_drain{"mappings", "unmap and map again against a drain"};

/// The handle is dropped without a proof, and reads the list for its report.
struct DropDrain : List {
  void drops() {
    if (!state.take(first, State::active)) return;
    static_cast<void>(elements.get());
    state.keep(first);
  }
  void drains() { drain(true); }
  void finish() {
    drain(true);
    check_unmapped(1, 0);
  }
};
const Add<DropDrain, &DropDrain::drops, &DropDrain::drains> drop_drain{"mappings",
                                                                       "drop against a drain"};

/// The backend cannot unmap the whole list. The drain of the stopped device goes on where the unmap
/// has failed, and sees how far that was.
struct FailedUnmapDrain : List {
  model::Data<int> done{0, "the elements that are unmapped"};
  void fails() {
    if (!state.take(first, State::active)) return;
    static_cast<void>(elements.get());
    done.set(1);
    state.keep(first);
  }
  void drains() {
    const MappingState::Seen seen = state.look();
    if (seen.value() != State::quarantined) return;
    if (!state.take(seen.serial(), State::quarantined)) return;
    model::check(done.get() == 1, "the drain knows what is unmapped");
    unmap(seen.serial());
  }
  void finish() {
    drains();
    check_unmapped(1, 0);
  }
};
const Add<FailedUnmapDrain, &FailedUnmapDrain::fails, &FailedUnmapDrain::drains> failed_unmap_drain{
    "mappings", "an unmap that fails against a drain"};
/// Two drains at once: the failure of the first is the second's.
const Add<FailedUnmapDrain, &FailedUnmapDrain::fails, &FailedUnmapDrain::drains,
          &FailedUnmapDrain::drains>
    failed_unmap_drains{"mappings", "an unmap that fails against two drains"};

/// The handle finds in the list that its proof belongs to another publication: the mapping is
/// active again.
struct GiveBackDrain : List {
  void tries() {
    if (!state.take(first, State::active)) return;
    static_cast<void>(elements.get());
    state.activate(first);
  }
  void drains() { drain(true); }
  void finish() {
    drain(true);
    check_unmapped(1, 0);
  }
};
const Add<GiveBackDrain, &GiveBackDrain::tries, &GiveBackDrain::drains> give_back_drain{
    "mappings", "a mapping that comes back against a drain"};

/// The mapping is renewed, and its request ends while mapped. The drain that copies the bytes back
/// then sees the writes of the I/O's owner and the epoch of the mapping.
struct RenewLeak : Device {
  List list;
  model::Data<int> epoch{1, "the epoch of the list"};
  std::optional<Claim> owner{start().into_claim()};
  std::optional<ARef> pin{owner->pin()};
  void renews() {
    if (list.state.take(list.first, State::active)) {
      epoch.set(2);
      list.state.activate(list.first);
    }
    write_and_end(std::move(*owner));
  }
  void drains() {
    const MappingState::Seen seen = list.state.look();
    if (seen.value() != State::active || !word().end_awaits_pins() ||
        !list.state.quarantine(seen.serial())) {
      return;
    }
    model::check(epoch.get() == 2, "the mapping's epoch is the renewed one");
    read(*pin);
    if (list.state.take(seen.serial(), State::quarantined)) list.unmap(seen.serial());
    pin.reset();
  }
  void finish() {
    pin.reset();
    check_all_ended();
  }
};
const Add<RenewLeak, &RenewLeak::renews, &RenewLeak::drains> renew_leak{
    "mappings", "a renewed mapping outlives its request"};

/// A request that is ended with its mappings in its data: `count` lists, each with its pin.
template <std::size_t count>
struct Leaked : Device {
  std::array<List, count> lists;
  std::optional<Claim> owner{start().into_claim()};
  std::array<std::optional<ARef>, count> pins;

  Leaked() {
    for (auto& pin : pins) pin.emplace(owner->pin());
  }
  /// Called by the thread that has taken the list. The mapping's pin is dropped last.
  void unmap(std::size_t which) {
    lists[which].unmap(lists[which].first);
    pins[which].reset();
  }
  void ends() { write_and_end(std::move(*owner)); }
  void drains() {
    for (std::size_t i = 0; i != count; ++i) {
      const MappingState::Seen seen = lists[i].state.look();
      if (seen.value() != State::active || !word().end_awaits_pins() ||
          !lists[i].state.quarantine(seen.serial())) {
        continue;
      }
      if (!lists[i].state.take(seen.serial(), State::quarantined)) continue;
      read(*pins[i]);  // the owner's writes before the end are visible
      unmap(i);
    }
  }
  /// Expects that a drain finds the mappings that are left, whatever else pins the request.
  void drain_the_rest() {
    drains();
    for (const List& list : lists) list.check_unmapped(1, 0);
  }
};

/// Two mappings of a request are left in its data. A drain finds both; a drain before the end finds
/// none. One mapping has a handle outside of the request. The handle unmaps, or finds that the
/// drain has unmapped.
struct TwoLeaked : Leaked<2> {
  void unmaps() {
    const Word serial = lists[1].first;
    if (lists[1].state.take(serial, State::active) ||
        lists[1].state.take(serial, State::quarantined)) {
      unmap(1);
    }
  }
  void finish() {
    drain_the_rest();
    check_all_ended();
  }
};
const Add<TwoLeaked, &TwoLeaked::ends, &TwoLeaked::drains> two_leaked{
    "mappings", "two mappings outlive their request"};
const Add<TwoLeaked, &TwoLeaked::ends, &TwoLeaked::drains, &TwoLeaked::unmaps> two_leaked_unmap{
    "mappings", "two mappings outlive their request, against an unmap"};

/// The mapping was renewed and is left in the data, while another context pins the request. The
/// drain sees the epoch of the renewal. The drop of any pin may be the last and complete the end.
struct LeakedBesidePin : Leaked<1> {
  model::Data<int> epoch{1, "the epoch of the list"};
  std::optional<ARef> scan{owner->pin()};
  void renews_and_ends() {
    if (lists[0].state.take(lists[0].first, State::active)) {
      epoch.set(2);
      lists[0].state.activate(lists[0].first);
    }
    ends();
  }
  void drains_renewed() {
    const MappingState::Seen seen = lists[0].state.look();
    if (seen.value() != State::active || !word().end_awaits_pins() ||
        !lists[0].state.quarantine(seen.serial())) {
      return;
    }
    model::check(epoch.get() == 2, "the mapping's epoch is the renewed one");
    read(*pins[0]);
    if (lists[0].state.take(seen.serial(), State::quarantined)) unmap(0);
  }
  void scans() {
    read(*scan);
    scan.reset();
  }
  void finish() {
    drain_the_rest();
    if (scan.has_value()) scans();
    check_all_ended();
  }
};
const Add<LeakedBesidePin, &LeakedBesidePin::renews_and_ends, &LeakedBesidePin::drains_renewed>
    leaked_beside_pin{"mappings", "a renewed mapping outlives its request, beside a pin"};

/// The same with a pin that is dropped at the same time. The scan does not read: nothing orders the
/// owner's writes after its read.
struct LeakedBesideDrop : LeakedBesidePin {
  void drops() { scan.reset(); }
};
const Add<LeakedBesideDrop, &LeakedBesideDrop::renews_and_ends, &LeakedBesideDrop::drains_renewed,
          &LeakedBesideDrop::drops>
    leaked_beside_drop{"mappings", "a renewed mapping outlives its request, beside a pin's drop"};

/// One context puts the mapping into quarantine, another context drains the mapping and sees the
/// writes before its activation.
struct LeakDrain : List {
  LeakDrain() {
    model::check(state.take(first, State::active), "no other thread takes it");
    state.free(first);
    unmapped[0] = 1;
  }
  void maps() { map(1); }
  void finds() {
    const MappingState::Seen seen = state.look();
    if (seen.value() == State::active) state.quarantine(seen.serial());
  }
  void drains() {
    const MappingState::Seen seen = state.look();
    if (seen.value() != State::quarantined) return;
    if (state.take(seen.serial(), State::quarantined)) unmap(seen.serial());
  }
  void finish() {
    drain(true);
    check_unmapped(1, 1);
  }
};
const Add<LeakDrain, &LeakDrain::maps, &LeakDrain::finds, &LeakDrain::drains> leak_drain{
    "mappings", "quarantined by one context, drained by another"};

}  // namespace mappings
