// SPDX-License-Identifier: BSL-1.0
//
// A kernel that drives an NVMe controller with the library, without an operating system.
//
// The main context writes, reads and compares. The controller's MSI-X interrupt preempts it, takes
// the completions and ends the I/Os. The timer's interrupt preempts both, and attacks the tags. The
// kernel's command line says how much, and how often: "ios=COUNT tick_us=MICROSECONDS seed=NUMBER".
// The exit status of QEMU is 33 if all went well.

#include <cstdint>

#include "console.hpp"
#include "controller.hpp"
#include "cpu.hpp"
#include "interrupts.hpp"
#include "io_queue.hpp"
#include "pci.hpp"
#include "timer_adversary.hpp"
#include "workload.hpp"

namespace kernel {
namespace {

// The upper 4 bits of a vector are its priority. The timer's is higher than the controller's.
constexpr unsigned nvme_vector = 0x40;
constexpr unsigned timer_vector = 0x50;

constinit LocalApic apic;
constinit IoQueue* io = nullptr;
constinit TimerAdversary* adversary = nullptr;

[[gnu::interrupt]] void on_nvme(InterruptFrame*) {
  cpu::enable_interrupts();  // the timer's may come; this one stays masked until end_interrupt()
  io->on_interrupt();
  cpu::disable_interrupts();
  apic.end_interrupt();
}

[[gnu::interrupt]] void on_timer(InterruptFrame*) {
  adversary->tick();
  apic.end_interrupt();
  apic.start_timer(timer_vector, adversary->draw_interval_ns());
}

[[gnu::interrupt]] void on_spurious(InterruptFrame*) {}

/// The number behind `name` in the command line, or `otherwise`.
std::uint64_t option(const char* line, const char* name, std::uint64_t otherwise) {
  for (; *line != 0; ++line) {
    const char* at = line;
    const char* wanted = name;
    while (*wanted != 0 && *at == *wanted) ++at, ++wanted;
    if (*wanted != 0 || *at < '0' || *at > '9') continue;
    std::uint64_t number = 0;
    for (; *at >= '0' && *at <= '9'; ++at) {
      number = 10 * number + static_cast<std::uint64_t>(*at - '0');
    }
    return number;
  }
  return otherwise;
}

/// Finds the controller, and lets it raise nvme_vector. Returns the address of its registers.
std::uint64_t find_controller() {
  constexpr std::uint32_t nvme_class = 0x010802;
  const auto function = PciFunction::find(nvme_class);
  if (!function.has_value()) fail("no NVMe controller on PCI bus 0");
  function->enable();
  if (!function->enable_msix(apic.message_address(), nvme_vector)) fail("no MSI-X");
  return function->bar(0);
}

void run(const char* command_line) {
  static constinit InterruptTable table;
  table.set(nvme_vector, &on_nvme);
  table.set(timer_vector, &on_timer);
  table.set(LocalApic::spurious, &on_spurious);
  table.load();
  apic.enable();

  Controller controller{find_controller()};
  IoQueue queue{controller.io()};
  TimerAdversary timer{queue, static_cast<std::uint32_t>(option(command_line, "seed=", 1)),
                       static_cast<std::uint32_t>(option(command_line, "tick_us=", 60))};
  Workload workload{queue, controller.disk()};
  io = &queue;
  adversary = &timer;

  const std::uint64_t ios = option(command_line, "ios=", 10'000);
  apic.start_timer(timer_vector, timer.draw_interval_ns());
  cpu::enable_interrupts();
  workload.run(ios);
  cpu::disable_interrupts();
  apic.stop_timer();
  timer.drop_handles();
  controller.stop();

  print(ios, " I/Os, ", workload.verified_bytes(), " bytes verified");
  print(queue.interrupts(), " interrupts of the controller, of which ",
        queue.preempted_submissions(), " came between allocate and publish");
  print(timer.ticks(), " ticks of the timer, of which ", timer.ticks_in_completions(),
        " came in the controller's interrupt: ", timer.forged(), " forged ids, ", timer.pins(),
        " pins, ", timer.own_ios(), " I/Os");
  if (queue.preempted_submissions() == 0) fail("no interrupt preempted a submission");
  // The destructor of the TagSet raises a violation if a tag is taken or an I/O has not ended.
}

}  // namespace
}  // namespace kernel

/// `start_info` is PVH's hvm_start_info, which has the command line's address at offset 24.
extern "C" [[noreturn]] void kernel_main(const std::uint64_t* start_info);
extern "C" void kernel_main(const std::uint64_t* start_info) {
  kernel::install_handlers();
  kernel::run(reinterpret_cast<const char*>(start_info[3]));
  kernel::print("good");
  kernel::exit(kernel::ExitCode::good);
}
