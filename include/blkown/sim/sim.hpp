// SPDX-License-Identifier: BSL-1.0
//
// All of the simulation: the device, the harness, the runner, and the kit's main functions.

#ifndef BLKOWN_SIM_SIM_HPP
#define BLKOWN_SIM_SIM_HPP

// IWYU pragma: begin_exports
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_config.hpp>
#include <blkown/sim/device/message_device.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/core_world.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/disk_media.hpp>
#include <blkown/sim/harness/durability_judge.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/host.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/mq_world.hpp>
#include <blkown/sim/harness/oracle.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/sim/harness/workload.hpp>
#include <blkown/sim/harness/world_base.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/kit.hpp>
#include <blkown/sim/runner/child_run.hpp>
#include <blkown/sim/runner/ci_run.hpp>
#include <blkown/sim/runner/failed_seeds.hpp>
#include <blkown/sim/runner/junit_report.hpp>
#include <blkown/sim/runner/kit_file.hpp>
#include <blkown/sim/runner/kit_options.hpp>
#include <blkown/sim/runner/report.hpp>
#include <blkown/sim/runner/seed_processes.hpp>
#include <blkown/sim/runner/shrink.hpp>
#include <blkown/sim/runner/watchdog.hpp>
// IWYU pragma: end_exports

#endif
