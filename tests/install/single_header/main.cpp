// SPDX-License-Identifier: BSL-1.0
//
// Runs the READMEs' programs. The exit status is 0 if each I/O ends as it should.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <utility>

#include "block_layer_program.hpp"
#include "core_program.hpp"
#include "wire_program.hpp"

namespace {

std::uint64_t id_at_device = 0;
int refused = 0;
int ended_ok = 0;

/// One I/O through the core's driver. The device answers twice.
bool core_works() {
  auto tags = make_tags();
  if (!tags.has_value()) return false;
  Driver driver{*tags};
  auto idle = tags->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{5});
  if (!idle.has_value()) return false;
  driver.queue_rq(*std::move(idle), Command{.lba = 7});
  driver.interrupt(id_at_device, true);
  driver.interrupt(id_at_device, true);
  return ended_ok == 1 && refused == 1;
}

bool block_layer_works() {
  mq::LoopRuntime runtime;
  RamDisk driver;
  auto disk = make_disk(driver, runtime, 64);
  return disk != nullptr && round_trip(driver, runtime, *disk) &&
         remove_disk(runtime, std::move(disk));
}

struct Memory {
  std::uint64_t written_to = 0;
  bool read(std::uint64_t, std::span<std::byte>) { return false; }
  bool write(std::uint64_t iova, std::span<const std::byte>) {
    written_to = iova;
    return true;
  }
};

bool wire_works() {
  const dma::IovaSegment where{0x1000, 512};
  const auto command = read_command(7, {.slba = 0, .block_count = 1}, {&where, 1}, {});
  const std::byte medium[512]{};
  Memory memory;
  nvme::CompletionEntry entry;
  if (!command.has_value() || completed(entry, true).has_value()) return false;
  execute_read(*command, medium, memory, entry, true);
  return completed(entry, true) == blkown::Status::ok && memory.written_to == where.iova;
}

}  // namespace

void ring_doorbell(std::uint64_t id, const Command&) { id_at_device = id; }
void log_refused(const blkown::LookupError&) { ++refused; }
void tell_submitter(const Command& command, blkown::Status status) {
  if (command.lba == 7 && status == blkown::Status::ok) ++ended_ok;
}

int main() {
  const bool core = core_works();
  const bool block_layer = block_layer_works();
  const bool wire = wire_works();
  std::printf("core %s, block layer %s, wire %s\n", core ? "ok" : "wrong",
              block_layer ? "ok" : "wrong", wire ? "ok" : "wrong");
  return core && block_layer && wire ? 0 : 1;
}
