// SPDX-License-Identifier: BSL-1.0
//
// Scenarios of a controller that is stopped with I/O in flight: disabled, reset, its queue deleted,
// or its completion queue gone.

#ifndef EXAMPLES_NVME_VFIO_STOPS_HPP
#define EXAMPLES_NVME_VFIO_STOPS_HPP

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "machine.hpp"
#include "transfers.hpp"
#include "unmapped.hpp"

namespace nvme_vfio {

/// Reads in flight, each with memory of its own.
struct Burst {
  static constexpr std::size_t count = 4;
  static constexpr std::size_t bytes = 4096;

  Burst(Machine& machine, Queue& queue, Namespace where) {
    for (std::size_t i = 0; i != count; ++i) {
      memory.push_back(machine.memory(bytes, untouched));
      Io& read = machine.io(memory.back(), dma::Direction::from_device);
      queue.submit(read, Machine::read_command(where, 64 + 8 * i, memory.back()));
      reads.push_back(&read);
    }
    queue.ring_doorbell();
  }

  [[nodiscard]] std::size_t ended_with(Status status) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        reads, [&](const Io* read) { return read->has_ended && read->status == status; }));
  }
  /// The memory that the controller has not written to.
  [[nodiscard]] std::size_t untouched_count() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(memory, [](const auto& part) { return all_are(part, untouched); }));
  }
  /// Uses the memory for something else, and checks that nothing writes to it any more.
  void expect_quiet() const {
    for (const auto& part : memory) std::ranges::fill(part, used_again);
    std::this_thread::sleep_for(late_write);
    for (const auto& part : memory) {
      expect(all_are(part, used_again), "the controller wrote to memory after it was stopped");
    }
  }

  std::vector<std::span<std::byte>> memory;
  std::vector<const Io*> reads;
};

/// Stops the controller with `stop` while it has reads, and checks that the proof holds, that
/// completions left in the ring are refused, and that the controller works again. `is_working`: the
/// controller works on the reads before the stop begins, and one completion is in the ring.
template <class Stop>
std::string stopped_in_flight(Machine& machine, bool is_working, Stop stop) {
  Queue& queue = machine.polled();
  const Burst burst{machine, queue, stuck};
  if (is_working) {
    machine.read_marker(queue);
    expect(queue.wait_for_entry(), "the controller does not fetch the reads");
    expect(burst.untouched_count() == Burst::count, "a stuck read was done before the stop");
  }
  const dma::EndProof proof = stop();
  const std::size_t vanished = burst.untouched_count();
  // Nothing but a stop lets these reads go. A controller that goes on leaves them waiting for
  // longer than anything here looks for a late write.
  expect(!is_working || vanished == 0, "the controller was not stopped: its reads still wait");
  const std::size_t in_flight = Burst::count + (is_working ? 1 : 0);
  expect(machine.give_up(proof) == in_flight && burst.ended_with(Status::aborted) == Burst::count,
         "the stop's proof does not end the reads");
  const unsigned left_in_ring = queue.take();
  expect(queue.take_refusals().size() == left_in_ring,
         "a completion of a read that was given up is accepted");
  expect(!is_working || left_in_ring != 0, "the completion before the stop is not in the ring");
  burst.expect_quiet();
  machine.restart();
  verify(machine, queue, plain, 4096);
  return text("%zu of 4 reads written and %u completions left in the ring", Burst::count - vanished,
              left_in_ring);
}

/// CC.EN = 0, once when the controller works on the reads, and once straight after the doorbell.
inline std::string disabled(Machine& machine) {
  static_cast<void>(machine.log().take_faults());
  const auto stop = [&] { return machine.stop(); };
  const std::string working = stopped_in_flight(machine, true, stop);
  // Reads that the controller has not fetched vanish. The stop is proof for those, too.
  machine.after_write(machine.polled().config().submission_doorbell,
                      [&] { machine.device()->write32(nvme::reg::cc, 0); });
  const std::string at_once = stopped_in_flight(machine, false, stop);
  expect(machine.log().take_faults().empty(), "the IOMMU logged faults");
  return working + "; straight after the doorbell " + at_once + "; nothing after the proof";
}

/// The reset of the PCI function.
inline std::string function_reset(Machine& machine) {
  static_cast<void>(machine.log().take_faults());
  const std::string working = stopped_in_flight(machine, true, [&] {
    value_of(machine.pci().reset());
    expect(!machine.status().is_ready(), "CSTS.RDY is 1 after the reset");
    return machine.device()->dma().declare_stopped();
  });
  expect(machine.log().take_faults().empty(), "the IOMMU logged faults");
  verify(machine, machine.interrupting(), plain, 4096);
  return working + "; nothing after the proof, interrupts work again";
}

/// Delete I/O Submission Queue. Reads that the controller works on complete first. Reads that are
/// issued before the driver knows of the deletion vanish without a completion, and only a stop
/// gives their memory back.
inline std::string queue_deleted(Machine& machine) {
  static_cast<void>(slow_data(machine, 64, 16384));
  Queue& queue = machine.polled();
  Gate gate{machine, machine.interrupting()};
  const Burst worked_on{machine, queue, slow};
  machine.wait_until_fetched(queue);
  // The controller takes no other command while it deletes, so that the gate opens by itself.
  gate.open_later();
  Machine::expect_done(machine.controller().delete_queue_pair(queue.id()));
  queue.take();
  expect(worked_on.ended_with(Status::ok) == Burst::count && worked_on.untouched_count() == 0,
         "the reads did not complete before the deletion");
  worked_on.expect_quiet();
  machine.restart();

  std::optional<Burst> issued;
  const std::uint64_t admin_doorbell = nvme::doorbell_offset(
      0, false, machine.controller().state().cap().doorbell_stride_exponent());
  machine.after_write(admin_doorbell, [&] {
    // The controller has deleted the queue, and the driver does not know.
    const auto begin = Clock::now();
    while (!machine.controller().has_admin_completion() && Clock::now() - begin < patience) {
      machine.platform().pause();
    }
    issued.emplace(machine, queue, plain);
  });
  const auto deleted = machine.controller().delete_queue_pair(queue.id());
  machine.after_write(admin_doorbell, {});
  Machine::expect_done(deleted);
  expect(issued.has_value(), "the driver wrote no admin doorbell");
  const Burst& vanished = *issued;
  machine.wait_until_fetched(machine.interrupting());  // the doorbells before are served
  std::this_thread::sleep_for(late_write);
  queue.take();
  expect(queue.in_flight() == Burst::count && vanished.untouched_count() == Burst::count,
         "a read that was issued during the deletion did not vanish: the scenario shows nothing");
  expect(machine.give_up(machine.stop()) == Burst::count,
         "the stop does not end the reads that vanished");
  vanished.expect_quiet();
  return "4 reads complete before the deletion does; 4 that were issued behind it vanish, and stay "
         "in flight until the stop";
}

/// Unmaps a queue's completion ring past the library. The destructor maps it again.
class UnmappedRing {
 public:
  UnmappedRing(Machine& machine, const Queue& queue) : machine_{machine}, queue_{queue} {
    machine_.translations().remove(queue_.completion_memory());
  }
  UnmappedRing(const UnmappedRing&) = delete;
  UnmappedRing& operator=(const UnmappedRing&) = delete;
  ~UnmappedRing() {
    // If that fails, no scenario after this one succeeds.
    static_cast<void>(machine_.translations().restore(queue_.completion_memory(),
                                                      queue_.config().completions.data));
  }

 private:
  Machine& machine_;
  const Queue& queue_;
};

/// The completion queue's memory is unmapped past the library: the controller fails, says so in
/// CSTS.CFS, and works again after a stop and a start.
inline std::string completion_queue_unmapped(Machine& machine) {
  Queue& queue = machine.polled();
  const auto& ring = queue.config().completions;
  static_cast<void>(machine.log().take_faults());
  std::optional<UnmappedRing> unmapped{std::in_place, machine, queue};
  const std::span memory = machine.memory(4096, untouched);
  const Io& read = machine.read(queue, plain, 0, memory);
  for (auto waited = milliseconds{0}; waited < patience && !machine.status().is_fatal();
       waited += milliseconds{5}) {
    std::this_thread::sleep_for(milliseconds{5});
  }
  expect(machine.status().is_fatal(), "CSTS.CFS stays 0");
  const auto faults = wait_for_faults(machine);
  expect(faults.contains(ring.iova), "the IOMMU logged no fault of the completion queue");
  queue.take();
  expect(!read.has_ended && queue.in_flight() == 1, "the read ended without a completion");
  const dma::EndProof proof = machine.stop();
  expect(machine.give_up(proof) == 1 && read.status == Status::aborted, "the read does not end");
  unmapped.reset();
  machine.start();
  expect(!machine.status().is_fatal(), "CSTS.CFS stays 1");
  verify(machine, queue, plain, 4096);
  return text(
      "CSTS.CFS and a DMAR fault at %llx; the read ends with the stop's proof; stop, remap, "
      "start works",
      static_cast<unsigned long long>(ring.iova));
}

}  // namespace nvme_vfio

#endif
