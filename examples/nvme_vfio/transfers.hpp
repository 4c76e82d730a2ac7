// SPDX-License-Identifier: BSL-1.0
//
// Scenarios of a controller that works: what it is, whether its data is right, and a medium that
// fails.

#ifndef EXAMPLES_NVME_VFIO_TRANSFERS_HPP
#define EXAMPLES_NVME_VFIO_TRANSFERS_HPP

#include <algorithm>
#include <blkown/nvme/registers.hpp>
#include <cstring>
#include <ranges>
#include <string>
#include <vector>

#include "machine.hpp"

namespace nvme_vfio {

/// Fills the bytes with a sequence that differs from block to block and from seed to seed.
inline void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed) {
  std::uint64_t state = seed * 0x9E3779B97F4A7C15 + 1;
  for (std::size_t i = 0; i != bytes.size(); i += sizeof state) {
    state = state * 6364136223846793005 + 1442695040888963407;
    std::memcpy(&bytes[i], &state, sizeof state);
  }
}
[[nodiscard]] inline bool all_are(std::span<const std::byte> bytes, std::byte value) {
  return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == value; });
}

/// The controller and its namespaces say what they are.
inline std::string identify(Machine& machine) {
  const nvme::Version version{machine.device()->read32(nvme::reg::vs)};
  const nvme_driver::ControllerInfo& info = machine.controller().info();
  expect(info.max_transfer_bytes == 1U << 20 && info.io_queues == 2,
         text("%llu bytes in a transfer, %u I/O queues",
              static_cast<unsigned long long>(info.max_transfer_bytes), info.io_queues));
  std::string namespaces;
  Machine::expect_done(
      machine.controller().for_each_namespace([&](const nvme_driver::NamespaceInfo& found) {
        namespaces += text(" %u: %llu x %u", found.nsid,
                           static_cast<unsigned long long>(found.blocks), found.block_bytes());
      }));
  expect(namespaces ==
             " 1: 131072 x 512 2: 16384 x 4096 3: 131072 x 512 4: 131072 x 512 5: 131072 x 512 "
             "6: 131072 x 512",
         "other namespaces:" + namespaces);
  return text("NVMe %u.%u, transfers up to %llu KiB, namespaces%s", version.major_number(),
              version.minor_number(),
              static_cast<unsigned long long>(info.max_transfer_bytes >> 10), namespaces.c_str());
}

/// Writes and reads back `bytes` bytes, in memory that begins inside a page. The bytes before and
/// behind the memory of the read stay as they were.
inline void verify(Machine& machine, Queue& queue, Namespace where, std::size_t bytes) {
  constexpr std::size_t rim = 512;
  const std::span written = machine.memory(bytes, {}, 3 * rim);
  fill_pattern(written, bytes + where);
  const std::uint64_t block = where == large ? 64 : 512;
  machine.write(queue, where, block, written);
  const std::span whole = machine.memory(bytes + 2 * rim, std::byte{0xA5}, 4 * rim);
  const std::span read_back = whole.subspan(rim, bytes);
  const Io& read = machine.read(queue, where, block, read_back);
  expect(queue.wait(read) && read.status == Status::ok,
         text("a read of %zu bytes ends with status %03xh", bytes, read.device_status));
  expect(std::ranges::equal(written, read_back), text("%zu bytes are read back wrong", bytes));
  expect(all_are(whole.first(rim), std::byte{0xA5}) && all_are(whole.last(rim), std::byte{0xA5}),
         text("a read of %zu bytes wrote beside its memory", bytes));
}

/// Writes with one doorbell, and then reads with one doorbell, as many I/Os at once as the queue
/// takes.
inline std::size_t verify_at_once(Machine& machine, Queue& queue) {
  constexpr std::size_t bytes = 65536;
  std::vector<std::span<std::byte>> memory[2];
  for (const auto direction : {dma::Direction::to_device, dma::Direction::from_device}) {
    const bool is_read = direction == dma::Direction::from_device;
    std::vector<const Io*> ios;
    for (std::uint64_t i = 0; i != Queue::depth; ++i) {
      memory[is_read].push_back(machine.memory(bytes, {}, 512 * (i % 8)));
      if (!is_read) fill_pattern(memory[0][i], 1000 + i);
      Io& io = machine.io(memory[is_read][i], direction);
      const nvme::BlockRange blocks{65536 + i * (bytes / 512), bytes / 512};
      queue.submit(io, is_read ? nvme::SubmissionEntry::read(plain, blocks)
                               : nvme::SubmissionEntry::write(plain, blocks));
      ios.push_back(&io);
    }
    queue.ring_doorbell();
    for (const Io* const io : ios) {
      expect(queue.wait(*io) && io->status == Status::ok, "an I/O of many does not end well");
    }
  }
  for (std::uint64_t i = 0; i != Queue::depth; ++i) {
    expect(std::ranges::equal(memory[0][i], memory[1][i]), "one I/O of many is read back wrong");
  }
  return 2 * Queue::depth;
}

/// Every power of two from a block to 1 MiB, on both block sizes, by interrupts and polled, one at
/// a time and many at once.
inline std::string verified(Machine& machine) {
  std::size_t transfers = 0, total = 0;
  const unsigned before = machine.interrupting().interrupts();
  for (Queue* const queue : {&machine.interrupting(), &machine.polled()}) {
    for (const Namespace where : {plain, large}) {
      for (std::size_t bytes = where == large ? 4096 : 512; bytes <= 1U << 20; bytes *= 2) {
        verify(machine, *queue, where, bytes);
        transfers += 2;
        total += bytes;
      }
    }
    transfers += verify_at_once(machine, *queue);
    total += std::size_t{Queue::depth} * 65536;
  }
  const unsigned interrupts = machine.interrupting().interrupts() - before;
  expect(interrupts != 0, "no interrupt came");
  expect(machine.log().take_faults().empty(), "the IOMMU logged faults");
  return text("512 B to 1 MiB, %zu transfers by %u interrupts and polled, %zu KiB compared",
              transfers, interrupts, total >> 10);
}

/// Memory of an arena is mapped once for all I/Os: no I/O maps or unmaps a page.
inline std::string arena(Machine& machine) {
  Queue& queue = machine.interrupting();
  const std::span written = machine.arena().subspan(1536, 65536);
  const std::span read_back = machine.arena().subspan(std::size_t{512} << 10, 65536);
  const std::uint64_t pages = machine.backend().mapped_pages();
  for (unsigned round = 0; round != 4; ++round) {
    fill_pattern(written, 40 + round);
    machine.write(queue, plain, 1024, written);
    const Io& read = machine.read(queue, plain, 1024, read_back);
    expect(machine.backend().mapped_pages() == pages, "an I/O mapped memory of the arena again");
    expect(queue.wait(read) && read.status == Status::ok && std::ranges::equal(written, read_back),
           "memory of the arena is read back wrong");
  }
  expect(machine.backend().mapped_pages() == pages, "an I/O unmapped memory of the arena");
  return "8 transfers of 64 KiB in premapped memory, no page mapped or unmapped for them";
}

/// A block that cannot be read ends its I/O with medium_error, and no other block's.
inline std::string failing_medium(Machine& machine) {
  Queue& queue = machine.interrupting();
  const std::span bytes = machine.memory(4096);
  struct Case {
    std::uint64_t block, count;
    bool fails;
  };
  for (const Case& each : {Case{failing_block - 1, 1, false}, Case{failing_block, 1, true},
                           Case{failing_block + 1, 1, false}, Case{failing_block - 4, 8, true},
                           Case{failing_block - 8, 8, false}}) {
    const Io& read = machine.read(queue, failing, each.block, bytes.first(each.count * 512));
    expect(queue.wait(read), "a read of the failing medium does not end");
    expect(
        read.status == (each.fails ? Status::medium_error : Status::ok) &&
            read.device_status == (each.fails ? 0x281 : 0),
        text("blocks %llu to %llu: %s, status %03xh", static_cast<unsigned long long>(each.block),
             static_cast<unsigned long long>(each.block + each.count - 1), to_string(read.status),
             read.device_status));
  }
  return "status 281h is medium_error for the two reads with the bad block, the others are ok";
}

}  // namespace nvme_vfio

#endif
