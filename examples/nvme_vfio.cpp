// SPDX-License-Identifier: BSL-1.0
//
// nvme_vfio: the NVMe driver of examples/nvme on a controller that this project has not written, in
// user space through VFIO, behind an IOMMU. tests/real runs it in a guest on QEMU's controller.
//
// Each scenario prints a line when it begins, and one with what it shows. The exit status is 0 if
// all of them show it.
//
// A reading order: nvme_vfio/queue.hpp is the driver's I/O path. nvme_vfio/machine.hpp starts and
// stops the controller. The scenarios are in transfers.hpp, unmapped.hpp, stops.hpp and forged.hpp.
// Those of block_layer.hpp run the whole driver, with disks on threads.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "nvme_vfio/block_layer.hpp"
#include "nvme_vfio/failure.hpp"
#include "nvme_vfio/forged.hpp"
#include "nvme_vfio/machine.hpp"
#include "nvme_vfio/stops.hpp"
#include "nvme_vfio/transfers.hpp"
#include "nvme_vfio/unmapped.hpp"

namespace {

using namespace nvme_vfio;

struct Scenario {
  const char* name;
  std::string (*run)(Machine&);
};
constexpr Scenario scenarios[] = {
    {"identify", &identify},
    {"verified I/O", &verified},
    {"arena", &arena},
    {"failing medium", &failing_medium},
    {"unmapped in flight", &unmapped_in_flight},
    {"late completion", &late_completion},
    {"abort refused", &abort_refused},
    {"disabled", &disabled},
    {"function reset", &function_reset},
    {"queue deleted", &queue_deleted},
    {"duplicate id", &duplicate_id},
    {"stale id", &stale_id},
    {"forged id", &forged_id},
    {"disk transfers", &disk_transfers},
    {"disk reset", &disk_reset},
    // Those with faults come last. QEMU's IOMMU holds one fault record, and merges a fault into
    // it that comes while the kernel reads it. Such a record is never reported, and hides later
    // faults.
    {"completion queue unmapped", &completion_queue_unmapped},
    {"unmapped before issue", &unmapped_before_issue},
    {"unmapped after the end", &unmapped_after_end},
    {"unplugged", &unplugged},
};

struct Result {
  bool is_good = true;
  std::string shown;
};

/// Runs the scenario and restarts the controller.
[[nodiscard]] Result run_and_restart(const Scenario& scenario, Machine& machine) {
  Result result;
  try {
    result.shown = scenario.run(machine);
  } catch (const Failed& failed) {
    result = {false, failed.what};
  }
  try {
    machine.restart();
  } catch (const Failed& failed) {
    result = {false, result.shown + "; no restart: " + failed.what};
  }
  return result;
}

/// Runs the scenario. Returns whether it shows what it is there for.
[[nodiscard]] bool run(const Scenario& scenario, Machine& machine) {
  // If the machine is silent for so long that it is ended, this line says where.
  std::printf("begins  %s\n", scenario.name);
  const auto begin = Clock::now();
  const Result result = run_and_restart(scenario, machine);
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  std::printf("%-6s  %s: %s (%lld ms)\n", result.is_good ? "ok" : "FAILED", scenario.name,
              result.shown.c_str(), static_cast<long long>(took.count()));
  return result.is_good;
}

/// Returns the number of failures.
[[nodiscard]] std::size_t run_all(Machine& machine) {
  std::size_t failed = 0;
  for (const Scenario& scenario : scenarios) failed += run(scenario, machine) ? 0U : 1U;
  if (!machine.shut_down()) {
    std::puts("FAILED  the rings cannot be freed");
    ++failed;
  }
  return failed;
}

void print_total(std::size_t failed) {
  std::printf("%zu scenarios, %zu failed\n", std::size(scenarios), failed);
}

/// Notes that the device was freed.
void note_release(void* is_released) { *static_cast<bool*>(is_released) = true; }

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: nvme_vfio PCI-ADDRESS, of a controller that vfio-pci has\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  bool is_released = false;
  try {
    Machine machine{arguments[1],
                    {.on_release = &note_release, .on_release_argument = &is_released}};
    std::size_t failed_count = 0;
    try {
      machine.bring_up();
      failed_count = run_all(machine);
    } catch (const Failed& failed) {
      // The controller may still reach memory: nothing is destroyed.
      std::fprintf(stderr, "nvme_vfio: %s\n", failed.what.c_str());
      std::_Exit(1);
    }
    if (failed_count != 0) {
      print_total(failed_count);
      std::_Exit(1);
    }
  } catch (const Failed& failed) {
    std::fprintf(stderr, "nvme_vfio: %s\n", failed.what.c_str());
    return 1;
  }
  if (!is_released) std::puts("FAILED  the device is not freed with its last reference");
  print_total(is_released ? 0 : 1);
  return is_released ? 0 : 1;
}
