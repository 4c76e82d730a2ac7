// SPDX-License-Identifier: BSL-1.0
//
// Scenarios of memory that is unmapped too early, past the library, and of I/Os that end without a
// completion. They look at the memory and at the IOMMU's faults. The status of a completion says
// nothing about memory.

#ifndef EXAMPLES_NVME_VFIO_UNMAPPED_HPP
#define EXAMPLES_NVME_VFIO_UNMAPPED_HPP

#include <algorithm>
#include <set>
#include <string>
#include <thread>

#include "machine.hpp"
#include "transfers.hpp"

namespace nvme_vfio {

inline constexpr std::byte untouched{0xA5};
inline constexpr std::byte used_again{0x5A};
/// A controller that writes to memory too late does so within this time.
inline constexpr milliseconds late_write{300};

/// Writes a pattern to the slow namespace, and returns it.
[[nodiscard]] inline std::span<const std::byte> slow_data(Machine& machine, std::uint64_t block,
                                                          std::size_t bytes) {
  const std::span data = machine.memory(bytes);
  fill_pattern(data, block + 77);
  machine.write(machine.polled(), slow, block, data);
  return data;
}

/// Waits until the kernel has logged a fault.
[[nodiscard]] inline std::set<std::uint64_t> wait_for_faults(Machine& machine) {
  for (auto waited = milliseconds{0}; waited < patience; waited += milliseconds{10}) {
    auto faults = machine.log().take_faults();
    if (!faults.empty()) return faults;
    std::this_thread::sleep_for(milliseconds{10});
  }
  return {};
}

/// A read whose memory was unmapped before the command was issued: the IOMMU keeps the controller
/// from the memory.
inline std::string unmapped_before_issue(Machine& machine) {
  Queue& queue = machine.interrupting();
  constexpr std::size_t bytes = 8192;
  const std::span written = machine.memory(bytes);
  fill_pattern(written, 5);
  machine.write(queue, plain, 4096, written);
  static_cast<void>(machine.log().take_faults());
  const std::span memory = machine.memory(bytes, untouched);
  Io& read = machine.io(memory, dma::Direction::from_device);
  dma::IovaSegment mapped;
  queue.submit(read, Machine::read_command(plain, 4096, memory),
               [&](const dma::IovaSegment& segment) {
                 mapped = segment;
                 machine.translations().remove(segment);
               });
  queue.ring_doorbell();
  expect(queue.wait(read), "the read does not end");
  expect(all_are(memory, untouched), "the controller reached memory that was not mapped");
  const auto faults = wait_for_faults(machine);
  expect(!faults.empty(), "the IOMMU logged no fault");
  for (const std::uint64_t page : faults) {
    expect(page >= mapped.iova && page < mapped.iova + mapped.length_bytes,
           text("a fault at %llx, outside of the memory", static_cast<unsigned long long>(page)));
  }
  return text("memory untouched, DMAR fault at %llx; the completion said %03xh",
              static_cast<unsigned long long>(*faults.begin()), read.device_status);
}

/// A command with the address of an I/O that has ended: the end has unmapped the memory.
inline std::string unmapped_after_end(Machine& machine) {
  Queue& queue = machine.polled();
  const std::span memory = machine.memory(512, std::byte{}, 1024);
  Io& read = machine.io(memory, dma::Direction::from_device);
  dma::IovaSegment mapped;
  nvme::SubmissionEntry command = Machine::read_command(plain, 4096, memory);
  queue.submit(read, command, [&](const dma::IovaSegment& segment) { mapped = segment; });
  queue.ring_doorbell();
  expect(queue.wait(read) && read.status == Status::ok, "the read does not end well");
  std::ranges::fill(memory, untouched);
  command.set_prps({mapped.iova, 0});
  queue.submit_raw(command, static_cast<std::uint16_t>(read.cookie.value));
  expect(queue.wait_for_refusal().has_value(), "the command is not completed and refused");
  expect(all_are(memory, untouched), "the memory of an I/O that has ended is still mapped");
  return text("memory untouched by a command with the address %llx of an I/O that has ended",
              static_cast<unsigned long long>(mapped.iova));
}

/// A read whose memory is unmapped while the controller works on it. The controller writes to the
/// old page after the unmap has returned, and no fault tells. With the proof of the completion, the
/// memory is the submitter's again, and stays as the submitter leaves it.
inline std::string unmapped_in_flight(Machine& machine) {
  Queue& queue = machine.polled();
  const auto data = slow_data(machine, 0, 4096);
  Gate gate{machine, machine.interrupting()};
  static_cast<void>(machine.log().take_faults());
  const std::span memory = machine.memory(data.size(), untouched);
  Io& torn = machine.io(memory, dma::Direction::from_device);
  dma::IovaSegment mapped;
  queue.submit(torn, Machine::read_command(slow, 0, memory),
               [&](const dma::IovaSegment& segment) { mapped = segment; });
  queue.ring_doorbell();
  machine.wait_until_fetched(queue);
  machine.translations().remove(mapped);
  expect(all_are(memory, untouched) && !queue.has_entry(), "the read was done before the unmap");
  std::ranges::fill(memory, used_again);
  gate.open();
  expect(queue.wait(torn), "the read does not end");
  const bool wrote_late = std::ranges::equal(memory, data);
  expect(wrote_late && machine.log().take_faults().empty(),
         "this controller does not write to the old page: the scenario shows nothing");

  const Io& read = machine.read(queue, slow, 0, memory);
  std::ranges::fill(memory, untouched);
  expect(queue.wait(read) && std::ranges::equal(memory, data), "the read is not right");
  std::ranges::fill(memory, used_again);
  std::this_thread::sleep_for(late_write);
  expect(all_are(memory, used_again), "the controller wrote to memory after the proof");
  return "the controller wrote the page after the unmap had returned, without a fault; after the "
         "completion's proof it never did";
}

/// A read that times out, and whose completion comes later. The timeout is no proof: memory and tag
/// stay until the controller is stopped.
inline std::string late_completion(Machine& machine) {
  Queue& queue = machine.interrupting();
  const auto data = slow_data(machine, 8, 4096);
  Gate gate{machine, machine.polled()};
  static_cast<void>(machine.log().take_faults());
  const std::span memory = machine.memory(data.size(), untouched);
  const Io& read = machine.read(queue, slow, 8, memory);
  machine.wait_until_fetched(queue);
  expect(!queue.time_out(read), "a timeout is taken for proof");
  expect(all_are(memory, untouched), "the read was done before its timeout");
  expect(
      machine.device()->dma().quarantined_count() == 1 && queue.in_flight() == 1 && !read.has_ended,
      "the memory of the read that timed out is given back");
  gate.open();
  expect(queue.wait_for_entry(), "the late completion does not come");
  queue.take();
  const auto refusals = queue.take_refusals();
  expect(refusals.size() == 1, "the late completion is not refused");
  expect(std::ranges::equal(memory, data), "the late write is not in the memory");
  expect(machine.device()->dma().quarantined_count() == 1 && !read.has_ended,
         "a refused completion gives memory back");
  machine.give_up(machine.stop());
  expect(read.has_ended && read.status == Status::timed_out && queue.in_flight() == 0,
         "the stop does not end the read");
  expect(machine.log().take_faults().empty(), "the late write faulted");
  return text(
      "no proof at the timeout; the late write met mapped memory, the late completion is "
      "refused (%s), the stop gives both back",
      to_string(refusals[0]));
}

/// An Abort command that the controller refuses: the read goes on, and its completion is its proof.
inline std::string abort_refused(Machine& machine) {
  Queue& queue = machine.interrupting();
  const auto data = slow_data(machine, 16, 4096);
  Gate gate{machine, machine.polled()};
  const std::span memory = machine.memory(data.size(), untouched);
  const Io& read = machine.read(queue, slow, 16, memory);
  machine.wait_until_fetched(queue);
  expect(machine.controller().abort(queue.id(), static_cast<std::uint16_t>(read.cookie.value)),
         "no abort was sent");
  // The controller answers admin commands in order, so this one's end is later than the abort's.
  Machine::expect_done(machine.controller().for_each_namespace([](const auto&) {}));
  machine.wait_until_fetched(queue);
  expect(!read.has_ended && all_are(memory, untouched), "the read is ended by the abort");
  gate.open();
  expect(queue.wait(read) && read.status == Status::ok && std::ranges::equal(memory, data),
         "the read that was not aborted is not right");
  expect(queue.take_refusals().empty(), "a completion was refused");
  return "the controller answers the Abort and aborts nothing; the read keeps its memory and ends "
         "with its own completion";
}

}  // namespace nvme_vfio

#endif
