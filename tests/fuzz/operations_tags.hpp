// SPDX-License-Identifier: BSL-1.0
//
// The operations on tags: allocating for a new I/O, and releasing after its end.

#ifndef BLKOWN_TESTS_FUZZ_OPERATIONS_TAGS_HPP
#define BLKOWN_TESTS_FUZZ_OPERATIONS_TAGS_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <utility>

#include "operations_lookups.hpp"
#include "operations_machine.hpp"
#include "request_model.hpp"

namespace fuzz {

class TagOperations : protected LookupOperations {
 protected:
  using LookupOperations::LookupOperations;

  template <class Handle>
  [[nodiscard]] static Handle take(std::optional<Handle>& place) {
    Handle taken = std::move(*place);
    place.reset();
    return taken;
  }

  void begin_io(Idle idle) {
    Slot& here = machine.slot(idle.queue(), idle.tag());
    expect(here.model.holder == Holder::none, "a tag that has a holder");
    here.model.holder = Holder::idle;
    idle.data().serial = ++here.serial;
    here.idle.emplace(std::move(idle));
  }

  /// Checks that a used cache keeps no tag after demand was announced.
  void expect_generous(blkown::QueueIndex queue, std::uint32_t which) {
    if (machine.wait && machine.waiting_queue == queue) {
      expect(machine.cache(queue, which).size() == 0, "a stash while a context waits");
    }
  }

  void allocate(Slot& here) {
    step = "allocate";
    const blkown::QueueIndex queue = here.queue;
    const std::uint32_t which = input.below(2);
    const std::uint32_t free = machine.free_tags(queue);
    auto idle = machine.tags.allocate(queue, machine.cache(queue, which));
    expect_generous(queue, which);
    if (idle) {
      begin_io(std::move(*idle));
    } else {
      expect(machine.cache(queue, which).size() == 0 && machine.stashed_tags(queue) == free,
             "no tag, and yet one is free");
    }
  }

  void allocate_tag() {
    step = "allocate_tag";
    const blkown::QueueIndex queue{input.below(Machine::queue_count + 1)};
    const blkown::Tag tag{input.below(Machine::depth + 1)};
    auto idle = machine.tags.allocate_tag(queue, tag);
    if (idle) {
      expect(idle->queue() == queue && idle->tag() == tag, "another tag");
      begin_io(std::move(*idle));
    } else if (queue.value < Machine::queue_count && tag.value < Machine::depth) {
      expect(
          machine.slot(queue, tag).model.holder != Holder::none || machine.stashed_tags(queue) != 0,
          "refused, and yet the tag is free");
    }
  }

  void use_caches(Slot& here) {
    const std::uint32_t which = input.below(2);
    switch (input.below(3)) {
      case 0:
        step = "TagCache::flush";
        machine.cache(here.queue, which).flush();
        expect(machine.cache(here.queue, which).size() == 0, "a tag left over");
        break;
      case 1:
        step = "announce_demand";
        machine.wait.reset();
        machine.wait.emplace(machine.tags.announce_demand(here.queue));
        machine.waiting_queue = here.queue;
        break;
      default:
        step = "end of a TagDemand";
        machine.wait.reset();
        break;
    }
  }

  void use_ended(Slot& here) {
    Ended ended = take(here.ended);
    const std::uint32_t what = input.below(4);
    here.model.holder = Holder::none;
    if (what == 0 && here.model.requeue) {
      step = "Ended::into_idle";
      here.model.holder = Holder::idle;
      here.idle.emplace(std::move(ended).into_idle());
    } else if (what == 1) {
      step = "Ended::release";
      std::move(ended).release();
    } else if (what == 2) {
      step = "Ended::release into a cache";
      const std::uint32_t which = input.below(2);
      std::move(ended).release(machine.cache(here.queue, which));
      expect_generous(here.queue, which);
    } else {
      step = "drop of Ended";
    }
  }

  void drop_list() {
    machine.list = EndedList{};
    for (Slot* dropped : machine.listed) {
      dropped->listed = false;
      dropped->model.holder = Holder::none;
    }
    machine.listed.clear();
  }

  void use_list(Slot& here) {
    switch (input.below(4)) {
      case 0: {
        step = "EndedList::pop_front";
        auto first = machine.list.pop_front();
        expect(first.has_value() != machine.listed.empty(), "whether one is there");
        if (!first) return;
        Slot& popped = *machine.listed.front();
        machine.listed.erase(machine.listed.begin());
        expect(first->queue() == popped.queue && first->tag() == popped.tag, "another one");
        popped.listed = false;
        popped.ended.emplace(std::move(*first));
        break;
      }
      case 1:
        step = "drop of EndedList";
        drop_list();
        break;
      default: {
        if (!here.ended) return;
        step = "EndedList::append";
        EndedList more;
        more.push_back(take(here.ended));
        machine.list.append(std::move(more));
        machine.listed.push_back(&here);
        here.listed = true;
        break;
      }
    }
    expect(machine.list.empty() == machine.listed.empty(), "empty()");
  }
};

}  // namespace fuzz

#endif
