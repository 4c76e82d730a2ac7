// SPDX-License-Identifier: BSL-1.0
//
// Scenarios of completions that no I/O is behind. QEMU's controller echoes any 16-bit command id,
// so a command that no request belongs to brings a completion with any id. Entries in the ring are
// also changed in place, as a controller gone wrong would write them.

#ifndef EXAMPLES_NVME_VFIO_FORGED_HPP
#define EXAMPLES_NVME_VFIO_FORGED_HPP

#include <algorithm>
#include <string>
#include <vector>

#include "machine.hpp"
#include "transfers.hpp"
#include "unmapped.hpp"

namespace nvme_vfio {

[[nodiscard]] inline std::uint16_t id_of(const Io& io) {
  return static_cast<std::uint16_t>(io.cookie.value);
}

/// Makes the controller complete a command with this id, and returns why the lookup was refused.
[[nodiscard]] inline LookupReason complete_as(Queue& queue, std::uint16_t id) {
  queue.submit_raw(nvme::SubmissionEntry::flush(plain), id);
  const auto refusal = queue.wait_for_refusal();
  expect(refusal.has_value(), text("the id %04xh is not refused", unsigned{id}));
  return *refusal;
}

/// The completion of a read comes twice. The second one ends nothing.
inline std::string duplicate_id(Machine& machine) {
  Queue& queue = machine.polled();
  const std::span memory = machine.memory(4096, untouched);
  const Io& first = machine.read(queue, plain, 0, memory);
  expect(queue.wait_for_entry(), "the read does not complete");
  queue.submit_raw(nvme::SubmissionEntry::flush(plain), id_of(first));
  expect(queue.wait_for_entry(1), "the controller does not complete a flush");
  queue.take();
  const auto refusals = queue.take_refusals();
  expect(first.has_ended && refusals.size() == 1, "the second completion is not refused");

  // The tag's next I/O is in flight when the earlier id comes once more.
  const auto data = slow_data(machine, 24, 4096);
  Gate gate{machine, machine.interrupting()};
  const Io& second = machine.read(queue, slow, 24, memory);
  const LookupReason again = complete_as(queue, id_of(first));
  expect(!second.has_ended, "the next read is ended by the repeated id");
  gate.open();
  expect(queue.wait(second) && std::ranges::equal(memory, data), "the next read is not right");
  return text("refused as %s at once, and as %s with the next I/O in flight",
              to_string(refusals[0]), to_string(again));
}

/// The id of an earlier I/O, while its tag is in use again.
inline std::string stale_id(Machine& machine) {
  Queue& queue = machine.polled();
  const auto data = slow_data(machine, 32, 4096);
  Gate gate{machine, machine.interrupting()};
  std::vector<std::uint16_t> earlier;
  for (int i = 0; i != 5; ++i) {
    const Io& read = machine.read(queue, plain, 0, machine.memory(4096));
    expect(queue.wait(read), "a read does not end");
    earlier.push_back(id_of(read));
  }
  const std::span memory = machine.memory(4096, untouched);
  const Io& read = machine.read(queue, slow, 32, memory);
  std::size_t same_tag = 0;
  for (const std::uint16_t id : earlier) {
    const LookupReason reason = complete_as(queue, id);
    if ((id & 0xFFF) != (id_of(read) & 0xFFF)) continue;
    expect(reason == LookupReason::stale_generation,
           text("a stale id of the same tag is refused as %s", to_string(reason)));
    ++same_tag;
  }
  expect(same_tag != 0, "no earlier I/O had the tag: the scenario shows nothing");
  expect(!read.has_ended && all_are(memory, untouched), "the read is ended by a stale id");
  gate.open();
  expect(queue.wait(read) && std::ranges::equal(memory, data), "the read is not right");
  return text("%zu ids of earlier I/Os with the tag of a read in flight are refused as %s",
              same_tag, to_string(LookupReason::stale_generation));
}

/// Ids that no I/O has, made by the controller, and then written over the id of a completion.
inline std::string forged_id(Machine& machine) {
  Queue& queue = machine.polled();
  const auto data = slow_data(machine, 40, 4096);
  Gate gate{machine, machine.interrupting()};
  const std::span memory = machine.memory(4096, untouched);
  const Io& read = machine.read(queue, slow, 40, memory);
  const std::uint16_t id = id_of(read);
  unsigned refused = 0;
  for (unsigned bit = 0; bit != 16; ++bit, ++refused) {
    static_cast<void>(complete_as(queue, static_cast<std::uint16_t>(id ^ (1U << bit))));
  }
  for (const std::uint16_t other : {std::uint16_t{0xFFFF}, std::uint16_t{0x0FFF}}) {
    static_cast<void>(complete_as(queue, other));
    ++refused;
  }
  expect(!read.has_ended && all_are(memory, untouched), "the read is ended by a forged id");
  gate.open();
  expect(queue.wait_for_entry(), "the read does not complete");
  queue.entry().command_id = static_cast<std::uint16_t>(id ^ 1);
  queue.take();
  expect(queue.take_refusals().size() == 1 && queue.in_flight() == 1 && !read.has_ended,
         "a forged id in the ring ended the read");
  queue.submit_raw(nvme::SubmissionEntry::flush(plain), id);
  expect(queue.wait_for_entry(), "the controller does not complete a flush");
  queue.entry().sq_id = static_cast<std::uint16_t>(queue.id() + 1);
  queue.take();
  expect(queue.foreign_count() == 1 && !read.has_ended, "an entry of another queue ended the read");
  queue.submit_raw(nvme::SubmissionEntry::flush(plain), id);
  expect(queue.wait(read) && read.status == Status::ok, "the read's own id does not end it");
  expect(std::ranges::equal(memory, data), "the read is not right");
  return text(
      "%u ids from the controller, one id and one queue id written into the ring: all "
      "refused, only its own id ends the read",
      refused);
}

}  // namespace nvme_vfio

#endif
