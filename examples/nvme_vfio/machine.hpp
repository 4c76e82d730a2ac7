// SPDX-License-Identifier: BSL-1.0
//
// Machine: the controller with its I/O queues, and the memory of all I/Os.
//
// Steps of a restart, which follows each scenario:
//
//   1. The driver stops the controller (../nvme/controller.hpp), which is the proof for all memory
//      that was mapped before.
//   2. Each queue unmaps and ends what was in flight, and a drain of the quarantine frees the rest.
//   3. The driver starts the controller and creates the I/O queues, whose rings are emptied.
//
// The device with its registers is reference-counted, and can be unplugged (../nvme/device.hpp).
// The machine is the bus, with the first reference; each queue has one of its own.
//
// I/Os and their memory live as long as the program, so that a device that writes too late writes
// to memory that the program still has and can look at.

#ifndef EXAMPLES_NVME_VFIO_MACHINE_HPP
#define EXAMPLES_NVME_VFIO_MACHINE_HPP

#include <linux/vfio.h>
#include <sys/mman.h>

#include <algorithm>
#include <blkown/nvme/submission_entry.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "../nvme/controller.hpp"
#include "../nvme/device.hpp"
#include "failure.hpp"
#include "kernel_log.hpp"
#include "queue.hpp"
#include "registers.hpp"
#include "translations.hpp"

namespace nvme_vfio {

/// The namespaces of tests/real/guest.py.
enum Namespace : std::uint32_t {
  plain = 1,    ///< Blocks of 512 bytes.
  large = 2,    ///< Blocks of 4,096 bytes.
  slow = 3,     ///< Blocks of 512 bytes. Reads wait while a Gate is closed.
  failing = 4,  ///< Blocks of 512 bytes. failing_block cannot be read.
  stuck = 5,    ///< Blocks of 512 bytes. A read ends when the controller is stopped.
  hopeless = 6  ///< Blocks of 512 bytes. A read fails when the controller is stopped.
};
inline constexpr std::uint64_t failing_block = 2048;
inline constexpr std::uint64_t gate_block = 131071;  // of `slow`
/// The time limit of an admin command. No scenario is about it, however busy the machine is.
inline constexpr std::uint32_t admin_timeout_ms = 60'000;

/// How the driver waits, and takes the controller off memory if it does not stop.
class Platform {
 public:
  explicit Platform(dma::VfioPciDevice& pci) noexcept : pci_{pci} {}

  [[nodiscard]] std::uint64_t now_ns() const noexcept {
    return static_cast<std::uint64_t>(Clock::now().time_since_epoch() /
                                      std::chrono::nanoseconds{1});
  }
  void pause() { std::this_thread::sleep_for(std::chrono::microseconds{200}); }
  bool cut_off() { return pci_.reset().has_value(); }

 private:
  dma::VfioPciDevice& pci_;
};

using Controller = nvme_driver::Controller<Device, Device::Backend, Platform, std::recursive_mutex>;

class Machine {
 public:
  /// `on_release` is told when the device is freed.
  Machine(const std::string& address, const nvme_driver::DeviceConfig& on_release)
      : pci_{value_of(dma::VfioPciDevice::open(address.c_str()))},
        backend_{value_of(dma::Vfio::create(pci_.container(), {.limits = limits}))},
        device_{make_device(on_release)},
        translations_{pci_.container()},
        platform_{pci_},
        controller_{make_controller()},
        interrupting_{device_, doorbells(1), false},
        polled_{device_, doorbells(2), true} {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() { close(admin_event_); }

  /// Starts the controller, which another driver may have had before.
  void bring_up() {
    const int events[] = {admin_event_, interrupting_.event()};
    value_of(pci_.set_msix(events));
    value_of(pci_.set_bus_master(true));
    expect(backend_->add_arena({arena_.data(), arena_.size()}).has_value(),
           "the arena cannot be mapped");
    permanent_pages_ = backend_->mapped_pages();
    static_cast<void>(stop());
    start();
    // A read of these, once it is let go, keeps the later ones waiting: a second for each byte.
    for (const Namespace where : {stuck, hopeless}) {
      static_cast<void>(read(polled_, where, 0, memory(std::size_t{1} << 20)));
    }
    wait_until_fetched(polled_);
    restart();
  }

  [[nodiscard]] dma::VfioPciDevice& pci() noexcept { return pci_; }
  [[nodiscard]] dma::Vfio& backend() noexcept { return *backend_; }
  /// Memory that is mapped for as long as the program runs.
  [[nodiscard]] std::span<std::byte> arena() const noexcept { return arena_; }
  [[nodiscard]] Translations& translations() noexcept { return translations_; }
  [[nodiscard]] const Device::Ref& device() const noexcept { return device_; }
  /// As Registers::after_write.
  void after_write(std::uint64_t offset, std::function<void()> function) {
    const auto access = device_->access();
    expect(access.has_value(), "the device is unplugged");
    (*access)->after_write(offset, std::move(function));
  }
  [[nodiscard]] KernelLog& log() noexcept { return log_; }
  [[nodiscard]] Queue& interrupting() noexcept { return interrupting_; }
  [[nodiscard]] Queue& polled() noexcept { return polled_; }
  /// The eventfd of the admin queue's interrupts.
  [[nodiscard]] int admin_event() const noexcept { return admin_event_; }
  [[nodiscard]] Controller& controller() noexcept { return *controller_; }
  [[nodiscard]] Platform& platform() noexcept { return platform_; }
  [[nodiscard]] nvme::Csts status() const noexcept { return controller_->state().status(); }

  /// Memory that is filled with a byte, begins `offset_bytes` into a page and lives as long as the
  /// program.
  [[nodiscard]] static std::span<std::byte> memory(std::size_t bytes, std::byte fill = {},
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
  /// Issues a read of another namespace, whose completion says that the controller has fetched all
  /// commands that were submitted to the queue before.
  Io& read_marker(Queue& queue) { return read(queue, plain, 0, memory(512)); }
  /// Waits until the controller has fetched all commands that were submitted to the queue.
  void wait_until_fetched(Queue& queue) {
    expect(queue.wait(read_marker(queue)), "the controller does not fetch the commands");
  }
  /// What becomes of reads of `slow`.
  enum class SlowReads : char { go_on = '0', wait = '1', go_on_later = '2' };
  /// The queue is one whose completions may be taken.
  void set_slow_reads(Queue& queue, SlowReads reads) {
    const std::span block = memory(512);
    block[0] = std::byte(reads);
    write(queue, slow, gate_block, block);
  }
  [[nodiscard]] static nvme::SubmissionEntry read_command(Namespace where, std::uint64_t block,
                                                          std::span<const std::byte> bytes) {
    return nvme::SubmissionEntry::read(where, blocks(where, block, bytes));
  }
  [[nodiscard]] static nvme::BlockRange blocks(Namespace where, std::uint64_t block,
                                               std::span<const std::byte> bytes) {
    return {block, static_cast<std::uint32_t>(bytes.size() / (where == large ? 4096 : 512))};
  }

  /// Stops the controller, and returns the proof that it no longer reaches memory.
  [[nodiscard]] dma::EndProof stop() {
    const auto proof = controller_->stop();
    expect(proof.has_value(), "the controller does not stop");
    return *proof;
  }
  /// Unmaps and ends everything that the proof covers. Returns the number of I/Os.
  unsigned give_up(const dma::EndProof& proof) {
    const unsigned count = interrupting_.give_up(proof) + polled_.give_up(proof);
    // A drain tries each mapping once. What VFIO does not unmap is tried again: the proof stays
    // true.
    int tries = 0;
    do {
      static_cast<void>(device_->dma().drain(proof));
    } while (device_->dma().quarantined_count() != 0 && ++tries != max_drains);
    return count;
  }
  /// Enables a stopped controller and creates the I/O queues.
  void start() {
    expect_done(controller_->start());
    for (Queue* const queue : {&interrupting_, &polled_}) {
      queue->reset();
      expect_done(controller_->create_queue_pair(
          queue->config(), queue->event() < 0 ? std::nullopt : std::optional{queue->id()}));
    }
  }
  /// A device that is unplugged stays stopped.
  void restart() {
    give_up(stop());
    if (!device_->is_unplugged()) start();
    expect_nothing_left();
  }
  /// After a give_up no I/O is in flight, no memory is in quarantine, and no other memory
  /// is mapped than the rings and the arena.
  void expect_nothing_left() {
    for (const Queue* const queue : {&interrupting_, &polled_}) {
      expect(queue->in_flight() == 0, text("queue %u has I/O in flight", queue->id()));
    }
    expect(device_->dma().quarantined_count() == 0, "memory is left in quarantine");
    expect(backend_->mapped_pages() == permanent_pages_, "memory is left mapped");
  }

  static void expect_done(const Controller::Result& result) {
    if (result.has_value()) return;
    throw Failed{text("the controller's step %s fails with status %03xh",
                      to_string(result.error().step),
                      static_cast<unsigned>(result.error().status.code()))};
  }

  /// Shuts the controller down (CC.SHN), and gives the rings back with the proof that it has
  /// stopped.
  [[nodiscard]] bool shut_down() {
    const auto proof = controller_->shut_down();
    if (!proof.has_value()) return false;
    give_up(*proof);
    return interrupting_.free(*proof) && polled_.free(*proof) && controller_->free(*proof);
  }

 private:
  static constexpr dma::DeviceLimits limits{.max_segments = 256,
                                            .max_segment_bytes = std::uint64_t{4} << 20};
  static constexpr int max_drains = 3;

  [[nodiscard]] Device::Ref make_device(const nvme_driver::DeviceConfig& config) {
    auto made =
        Device::create(*backend_, config, value_of(pci_.map_region(VFIO_PCI_BAR0_REGION_INDEX)));
    expect(made.has_value(), "no memory for the device");
    return *std::move(made);
  }
  [[nodiscard]] std::unique_ptr<Controller> make_controller() {
    const std::uint64_t register_bytes = (*device_->access())->bytes();
    auto made = Controller::create(
        *device_, device_->dma(), platform_,
        {.io_queues = 2, .admin_timeout_ms = admin_timeout_ms, .register_bytes = register_bytes});
    if (!made.has_value()) {
      throw Failed{text("the controller cannot be used: %s", to_string(made.error().step))};
    }
    return *std::move(made);
  }
  /// The configuration of a queue pair without its rings.
  [[nodiscard]] nvme_driver::QueuePairConfig doorbells(std::uint16_t id) const {
    nvme_driver::QueuePairConfig config{.id = id};
    controller_->state().set_doorbells(config);
    return config;
  }

  dma::VfioPciDevice pci_;
  std::span<std::byte> arena_ = memory(std::size_t{1} << 20);
  std::unique_ptr<dma::Vfio> backend_;
  std::uint64_t permanent_pages_ = 0;  // of the arena and the rings
  Device::Ref device_;
  Translations translations_;
  Platform platform_;
  KernelLog log_;
  std::deque<Io> ios_;
  std::unique_ptr<Controller> controller_;
  int admin_event_ = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  Queue interrupting_;
  Queue polled_;
};

/// Closes the gate of `slow`: reads that are issued later wait until it is opened.
class Gate {
 public:
  /// The queue is one whose completions may be taken, now and when the gate is opened.
  Gate(Machine& machine, Queue& queue) : machine_{machine}, queue_{queue} {
    machine_.set_slow_reads(queue_, Machine::SlowReads::wait);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  /// A scenario that has failed opens the gate, too: a controller is not stopped while it reads.
  ~Gate() {
    if (!is_closed_) return;
    try {
      open();
    } catch (const Failed&) {
      std::puts("the gate of the slow namespace stays closed");
    }
  }

  void open() { change(Machine::SlowReads::go_on); }
  /// Returns before the gate opens.
  void open_later() { change(Machine::SlowReads::go_on_later); }

 private:
  void change(Machine::SlowReads reads) {
    is_closed_ = false;
    machine_.set_slow_reads(queue_, reads);
  }

  Machine& machine_;
  Queue& queue_;
  bool is_closed_ = true;
};

}  // namespace nvme_vfio

#endif
