// SPDX-License-Identifier: BSL-1.0
//
// Bench: a controller with rings that a test fills by hand, memory, and a log of its hook calls.

#ifndef BLKOWN_TESTS_SIM_CONTROLLER_BENCH_HPP
#define BLKOWN_TESTS_SIM_CONTROLLER_BENCH_HPP

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/dma/ring_word.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/harness/oracle.hpp>
#include <cstring>
#include <memory>
#include <ostream>
#include <span>
#include <utility>
#include <vector>

namespace sim_test {

using blkown::Cookie;
using blkown::dma::Direction;
using blkown::dma::IovaSegment;
using blkown::sim::CompletionEntry;
using blkown::sim::Controller;
using blkown::sim::ControllerConfig;
using blkown::sim::ControllerHooks;
using blkown::sim::DeviceStatus;
using blkown::sim::FaultKind;
using blkown::sim::FaultPlan;
using blkown::sim::FaultStrike;
using blkown::sim::Iommu;
using blkown::sim::LookupTruth;
using blkown::sim::MemoryMedia;
using blkown::sim::Opcode;
using blkown::sim::SubmissionEntry;
using Script = std::vector<FaultStrike>;

inline constexpr std::size_t sector_bytes = 512;

/// A completion entry that was taken from a ring.
struct Completion {
  std::uint64_t cookie = 0;
  DeviceStatus status{};
  std::uint32_t transferred_bytes = 0;
  friend bool operator==(const Completion&, const Completion&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Completion& it) {
    return out << std::hex << it.cookie << std::dec << " status " << static_cast<int>(it.status)
               << ", " << it.transferred_bytes << " bytes";
  }
};
using Completions = std::vector<Completion>;

class Bench {
 public:
  static constexpr std::uint32_t entries = 8;  // of each ring
  static constexpr std::uint64_t capacity_sectors = 64;
  static constexpr std::size_t data_bytes = 4 * Iommu::page_bytes;

  [[nodiscard]] static ControllerConfig two_queues() {
    return {.device_id = 9,
            .queue_pairs = 2,
            .shortest_ns = 1000,
            .longest_ns = 1000,
            .late_ns = 1'000'000,
            .depth = 4};
  }

  explicit Bench(const Script& script = {}, const ControllerConfig& config = two_queues(),
                 std::uint64_t seed = 1)
      : plan{seed, script}, controller{config, iommu, device, media, &plan, hooks()} {
    for (std::uint32_t queue = 0; queue != config.queue_pairs; ++queue) {
      Ring& ring = rings_.emplace_back();
      ring.memory.submission_entries = ring.memory.completion_entries = entries;
      ring.memory.submission_iova = map(ring.submissions);
      ring.memory.completion_iova = map(ring.completions);
      controller.create_queue_pair(queue, ring.memory);
    }
    for (std::size_t i = 0; i != data_bytes; ++i) data[i] = pattern(i);
    data_iova = map(data);
    controller.start();
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// The initial content of the data. The medium holds zeroes.
  [[nodiscard]] static std::byte pattern(std::size_t i) noexcept {
    return static_cast<std::byte>(1 + (i * 7 + i / 512) % 255);
  }

  // --- the driver --------------------------------------------------------------------------------

  [[nodiscard]] SubmissionEntry command(Opcode opcode, std::uint64_t cookie,
                                        std::uint64_t sector = 0,
                                        std::uint32_t length_sectors = 1) const {
    SubmissionEntry entry;
    entry.cookie = cookie;
    entry.opcode = opcode;
    entry.sector = sector;
    entry.length_sectors = length_sectors;
    if (opcode == Opcode::read || opcode == Opcode::write) {
      entry.segment_count = 1;
      entry.segment = {.iova = data_iova, .length_bytes = length_sectors * sector_bytes};
    }
    return entry;
  }
  [[nodiscard]] SubmissionEntry abort_of(std::uint64_t target, std::uint64_t cookie) const {
    SubmissionEntry entry = command(Opcode::abort, cookie);
    entry.target = target;
    return entry;
  }
  /// Puts the entry into the ring and rings the doorbell.
  bool submit(const SubmissionEntry& entry, std::uint32_t queue = 0) {
    Ring& ring = rings_[queue];
    std::memcpy(ring.submissions.data() + ring.tail * sizeof entry, &entry, sizeof entry);
    const std::uint32_t next = (ring.tail + 1) % entries;
    if (!controller.ring_submission(queue, next)) return false;
    ring.tail = next;
    return true;
  }
  /// Takes completions out of the ring by their phase, without ringing the doorbell.
  [[nodiscard]] Completions take(std::uint32_t queue = 0) {
    Ring& ring = rings_[queue];
    Completions taken;
    while (true) {
      CompletionEntry entry;
      const std::byte* const at = ring.completions.data() + ring.head * sizeof entry;
      std::memcpy(&entry, at, sizeof entry);
      if (CompletionEntry::phase_of(entry.status_and_phase) != ring.phase) return taken;
      taken.push_back({.cookie = entry.cookie,
                       .status = CompletionEntry::status_of(entry.status_and_phase),
                       .transferred_bytes = entry.transferred_bytes});
      submission_head = entry.submission_head;
      ring.head = (ring.head + 1) % entries;
      if (ring.head == 0) ring.phase = !ring.phase;
    }
  }
  void acknowledge(std::uint32_t queue = 0) {
    controller.ring_completion(queue, rings_[queue].head);
  }
  [[nodiscard]] Completions completions(std::uint32_t queue = 0) {
    Completions taken = take(queue);
    acknowledge(queue);
    return taken;
  }
  /// Resets the rings for a controller that is started again.
  void reset_rings() {
    for (Ring& ring : rings_) {
      std::ranges::fill(ring.completions, std::byte{});
      ring.tail = ring.head = 0;
      ring.phase = true;
    }
  }

  // --- the device --------------------------------------------------------------------------------

  /// Steps the controller, advancing the clock, until its next step is due after `until_ns`.
  void run(std::uint64_t until_ns = ~std::uint64_t{0}) {
    while (true) {
      while (controller.step(now_ns)) {
      }
      const auto next_ns = controller.next_ns();
      if (!next_ns.has_value() || *next_ns > until_ns) return;
      now_ns = std::max(now_ns, *next_ns);
    }
  }
  /// Submits a command, runs the controller to its end, and takes the completions.
  Completions carry_out(const SubmissionEntry& entry) {
    EXPECT_TRUE(submit(entry));
    run();
    return completions();
  }

  /// As carry_out(), without ringing the completion doorbell, because a driver looks entries up
  /// before it rings.
  Completions seen_of(const SubmissionEntry& entry) {
    EXPECT_TRUE(submit(entry));
    run();
    return take();
  }

  /// Tells the Oracle of a lookup.
  LookupTruth note_lookup(std::uint32_t queue, std::uint64_t cookie, bool was_accepted) {
    const auto verdict = oracle.note_lookup(queue, cookie, was_accepted);
    for (const SubmissionEntry& entry : verdict.false_completions) {
      false_completions.push_back(entry.cookie);
    }
    return verdict.truth;
  }

  // --- inspection --------------------------------------------------------------------------------

  [[nodiscard]] std::vector<std::byte> on_medium(std::uint64_t sector,
                                                 std::size_t count_sectors) const {
    const auto bytes = media.bytes().subspan(sector * sector_bytes, count_sectors * sector_bytes);
    return {bytes.begin(), bytes.end()};
  }
  [[nodiscard]] std::vector<std::byte> in_memory(std::size_t offset, std::size_t length) const {
    return {data.begin() + static_cast<std::ptrdiff_t>(offset),
            data.begin() + static_cast<std::ptrdiff_t>(offset + length)};
  }
  [[nodiscard]] bool is_zero(std::uint64_t sector, std::size_t count_sectors) const {
    return on_medium(sector, count_sectors) == std::vector<std::byte>(count_sectors * sector_bytes);
  }
  [[nodiscard]] std::uint64_t map(std::span<std::byte> memory, const Cookie& cookie = blkown::dma::no_io) {
    const auto iova = iommu.map({memory.data(), memory.size()}, Direction::bidirectional, cookie);
    EXPECT_TRUE(iova.has_value());
    return iova.value_or(0);
  }

  Iommu iommu{{}};
  blkown::dma::Device<Iommu> device{iommu};
  MemoryMedia media{capacity_sectors * sector_bytes};
  FaultPlan plan;
  Controller controller;
  blkown::sim::Oracle oracle{controller};
  std::vector<std::byte> data = std::vector<std::byte>(data_bytes);
  std::uint64_t data_iova = 0;
  std::uint64_t now_ns = 0;
  std::uint32_t submission_head = 0;  // of the latest completion

  std::vector<std::uint32_t> interrupts;
  std::vector<std::uint64_t> false_completions;  // accepted by the driver
  int failures = 0;
  int wakes = 0;

 private:
  struct Ring {
    std::vector<std::byte> submissions = std::vector<std::byte>(entries * sizeof(SubmissionEntry));
    std::vector<std::byte> completions = std::vector<std::byte>(entries * sizeof(CompletionEntry));
    blkown::sim::QueueMemory memory;
    std::uint32_t tail = 0;
    std::uint32_t head = 0;
    bool phase = true;
  };

  [[nodiscard]] ControllerHooks hooks() {
    return {
        .argument = this,
        .interrupt = [](void* self, std::uint32_t queue) { of(self).interrupts.push_back(queue); },
        .failed = [](void* self) { ++of(self).failures; },
        .wake = [](void* self) { ++of(self).wakes; }};
  }
  [[nodiscard]] static Bench& of(void* self) noexcept { return *static_cast<Bench*>(self); }

  std::vector<Ring> rings_;
};

}  // namespace sim_test

#endif
