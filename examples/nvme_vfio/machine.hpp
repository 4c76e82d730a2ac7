// SPDX-License-Identifier: BSL-1.0
//
// Machine: the controller with its queues, and the memory of all I/Os.
//
// Steps of a restart, which follows each scenario:
//
//   1. CC.EN = 0, and the wait for CSTS.RDY = 0. The controller no longer reaches memory.
//   2. declare_stopped() makes this the proof for all memory that was mapped before.
//   3. Each queue unmaps and ends what was in flight, and a drain of the quarantine frees the rest.
//   4. The rings are emptied, the controller is enabled, and the I/O queues are created.
//
// I/Os and their memory live as long as the program, so that a device that writes too late writes
// to memory that the program still has and can look at.

#ifndef EXAMPLES_NVME_VFIO_MACHINE_HPP
#define EXAMPLES_NVME_VFIO_MACHINE_HPP

#include <sys/mman.h>

#include <algorithm>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/registers.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "failure.hpp"
#include "kernel_log.hpp"
#include "queue.hpp"
#include "vfio.hpp"

namespace nvme_vfio {

/// The namespaces of tests/real/guest.py.
enum Namespace : std::uint32_t {
  plain = 1,    ///< Blocks of 512 bytes.
  large = 2,    ///< Blocks of 4,096 bytes.
  slow = 3,     ///< Blocks of 512 bytes. Each read takes slow_read.
  failing = 4,  ///< Blocks of 512 bytes. failing_block cannot be read.
};
inline constexpr milliseconds slow_read{300};
inline constexpr std::uint64_t failing_block = 2048;

class Machine {
 public:
  explicit Machine(const std::string& address)
      : pci_{address},
        backend_{pci_.container()},
        device_{backend_},
        cap_{pci_.read64(nvme::reg::cap)},
        admin_{device_, pci_, 0, stride(), true},
        interrupting_{device_, pci_, 1, stride(), false},
        polled_{device_, pci_, 2, stride(), true} {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Starts the controller, which another driver may have had before.
  void bring_up() {
    const int events[] = {-1, interrupting_.event()};
    pci_.signal_vectors(events);
    static_cast<void>(stop());
    start();
  }

  [[nodiscard]] PciDevice& pci() noexcept { return pci_; }
  [[nodiscard]] VfioBackend& backend() noexcept { return backend_; }
  [[nodiscard]] Device& device() noexcept { return device_; }
  [[nodiscard]] KernelLog& log() noexcept { return log_; }
  [[nodiscard]] Queue& interrupting() noexcept { return interrupting_; }
  [[nodiscard]] Queue& polled() noexcept { return polled_; }
  [[nodiscard]] nvme::Csts status() noexcept { return {pci_.read32(nvme::reg::csts)}; }

  /// Memory that is filled with a byte, begins `offset_bytes` into a page and lives as long as the
  /// program.
  [[nodiscard]] std::span<std::byte> memory(std::size_t bytes, std::byte fill = {},
                                            std::size_t offset_bytes = 0) {
    void* const mapped = mmap(nullptr, offset_bytes + bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    expect(mapped != MAP_FAILED, "no memory for an I/O");
    const std::span part{static_cast<std::byte*>(mapped) + offset_bytes, bytes};
    std::ranges::fill(part, fill);
    return part;
  }
  [[nodiscard]] Io& io(std::span<std::byte> memory, dma::Direction direction) {
    return ios_.emplace_back(Io{.memory = {memory.data(), memory.size()}, .direction = direction});
  }
  /// Writes the bytes to the namespace and waits.
  void write(Queue& queue, Namespace where, std::uint64_t block, std::span<std::byte> bytes) {
    Io& write = io(bytes, dma::Direction::to_device);
    queue.submit(write, nvme::SubmissionEntry::write(where, blocks(where, block, bytes)));
    queue.ring_doorbell();
    expect(queue.wait(write) && write.status == Status::ok, "a write does not end well");
  }
  /// Issues a read of the namespace into the bytes.
  Io& read(Queue& queue, Namespace where, std::uint64_t block, std::span<std::byte> bytes) {
    Io& read = io(bytes, dma::Direction::from_device);
    queue.submit(read, read_command(where, block, bytes));
    queue.ring_doorbell();
    return read;
  }
  [[nodiscard]] static nvme::SubmissionEntry read_command(Namespace where, std::uint64_t block,
                                                          std::span<const std::byte> bytes) {
    return nvme::SubmissionEntry::read(where, blocks(where, block, bytes));
  }
  [[nodiscard]] static nvme::BlockRange blocks(Namespace where, std::uint64_t block,
                                               std::span<const std::byte> bytes) {
    return {block, static_cast<std::uint32_t>(bytes.size() / (where == large ? 4096 : 512))};
  }

  /// Issues an admin command and waits. Returns the ended I/O, whatever its status.
  Io& admin(const nvme::SubmissionEntry& command, std::span<std::byte> bytes = {}) {
    Io& sent = send_admin(command, bytes);
    wait_admin(sent);
    return sent;
  }
  /// Issues an admin command.
  Io& send_admin(const nvme::SubmissionEntry& command, std::span<std::byte> bytes = {}) {
    Io& sent = io(bytes, dma::Direction::from_device);
    admin_.submit(sent, command);
    admin_.ring_doorbell();
    return sent;
  }
  void wait_admin(const Io& sent) {
    expect(admin_.wait(sent), "an admin command is not completed");
  }

  /// Stops the controller, and returns the proof that it no longer reaches memory.
  [[nodiscard]] dma::EndProof stop() {
    pci_.write32(nvme::reg::cc, 0);
    wait_for([&] { return !status().is_ready(); }, "CSTS.RDY stays 1 after CC.EN = 0");
    return device_.declare_stopped();
  }
  /// Unmaps and ends everything that the proof covers. Returns the number of I/Os.
  unsigned give_up(const dma::EndProof& proof) {
    unsigned count = 0;
    for (Queue* const queue : {&admin_, &interrupting_, &polled_}) count += queue->give_up(proof);
    static_cast<void>(device_.drain(proof));
    return count;
  }
  /// Enables a stopped controller and creates the I/O queues.
  void start() {
    for (Queue* const queue : {&admin_, &interrupting_, &polled_}) queue->reset();
    const auto& rings = admin_.config();
    pci_.write32(nvme::reg::aqa, nvme::Aqa::of(Queue::entries, Queue::entries).value);
    pci_.write64(nvme::reg::asq, rings.submissions.iova);
    pci_.write64(nvme::reg::acq, rings.completions.iova);
    nvme::Cc cc;
    cc.set_page_bytes(Queue::page_bytes);
    cc.set_submission_entry_exponent(6);
    cc.set_completion_entry_exponent(4);
    cc.set_enabled(true);
    pci_.write32(nvme::reg::cc, cc.value);
    wait_for([&] { return status().is_ready(); }, "CSTS.RDY stays 0 after CC.EN = 1");
    create(interrupting_);
    create(polled_);
  }
  void restart() {
    give_up(stop());
    start();
    expect_nothing_left();
  }
  /// After a give_up no I/O is in flight, no tag is taken and no memory is in quarantine.
  void expect_nothing_left() {
    for (const Queue* const queue : {&admin_, &interrupting_, &polled_}) {
      expect(queue->in_flight() == 0, text("queue %u has I/O in flight", queue->id()));
    }
    expect(device_.quarantined_count() == 0, "memory is left in quarantine");
  }

  void create(Queue& queue) {
    const auto& rings = queue.config();
    const bool has_interrupt = queue.event() >= 0;
    expect_done(admin(nvme::SubmissionEntry::create_io_cq(
                    {.queue = queue.id(),
                     .entries = Queue::entries,
                     .iova = rings.completions.iova,
                     .vector = has_interrupt ? queue.id() : std::uint16_t{0},
                     .interrupts_enabled = has_interrupt})),
                "Create I/O Completion Queue");
    expect_done(admin(nvme::SubmissionEntry::create_io_sq({.queue = queue.id(),
                                                           .entries = Queue::entries,
                                                           .iova = rings.submissions.iova,
                                                           .completion_queue = queue.id()})),
                "Create I/O Submission Queue");
  }
  static void expect_done(const Io& command, const char* name) {
    expect(command.status == Status::ok, text("%s: status %03xh", name, command.device_status));
  }

  /// Gives the rings back, with the proof that the controller has stopped.
  [[nodiscard]] bool shut_down() {
    const dma::EndProof proof = stop();
    give_up(proof);
    return admin_.free(proof) && interrupting_.free(proof) && polled_.free(proof);
  }

 private:
  [[nodiscard]] unsigned stride() const noexcept { return cap_.doorbell_stride_exponent(); }

  template <class Condition>
  void wait_for(Condition holds, const char* otherwise) {
    const auto end = Clock::now() + milliseconds{cap_.ready_timeout_ms()};
    while (!holds()) {
      expect(Clock::now() < end, otherwise);
      std::this_thread::sleep_for(milliseconds{1});
    }
  }

  PciDevice pci_;
  VfioBackend backend_;
  Device device_;
  KernelLog log_;
  nvme::Cap cap_;
  std::deque<Io> ios_;
  Queue admin_;
  Queue interrupting_;
  Queue polled_;
};

}  // namespace nvme_vfio

#endif
