// SPDX-License-Identifier: BSL-1.0
//
// NvmeBench: an NVMe controller, memory, and a small driver that does only what a test tells it.

#ifndef BLKOWN_TESTS_SIM_DEVICE_NVME_BENCH_HPP
#define BLKOWN_TESTS_SIM_DEVICE_NVME_BENCH_HPP

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/nvme/nvme.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <span>
#include <vector>

namespace sim_test {

namespace nvme = blkown::nvme;
using blkown::sim::CachedMedia;
using blkown::sim::FaultKind;
using blkown::sim::FaultPlan;
using blkown::sim::FaultStrike;
using blkown::sim::Iommu;
using blkown::sim::NvmeConfig;
using blkown::sim::NvmeController;
using blkown::sim::NvmeNamespace;
using Entry = nvme::SubmissionEntry;
using Code = nvme::StatusCode;
using Script = std::vector<FaultStrike>;

/// A completion that was taken from a queue.
struct NvmeDone {
  std::uint16_t command_id = 0;
  Code code{};
  std::uint32_t dw0 = 0;
  friend bool operator==(const NvmeDone&, const NvmeDone&) = default;
  friend std::ostream& operator<<(std::ostream& out, const NvmeDone& it) {
    return out << "command " << it.command_id << ": " << nvme::to_string(it.code) << ", " << it.dw0;
  }
};
using NvmeDones = std::vector<NvmeDone>;

class NvmeBench {
 public:
  static constexpr std::uint32_t page = 4096;
  static constexpr std::uint32_t entries = 8;  // of each queue
  static constexpr std::uint64_t capacity_bytes = 1 << 20;
  static constexpr std::size_t page_count = 128;
  /// The admin commands of start(), each of which is an opportunity of most faults.
  static constexpr std::uint64_t admin_commands = 4;
  static constexpr std::size_t data_page = 32;   // the first of the data
  static constexpr std::size_t list_page = 112;  // the first of the PRP lists

  [[nodiscard]] static NvmeConfig two_queues() {
    return {.device_id = 9,
            .io_queues = 2,
            .max_queue_entries = 64,
            .vectors = 8,
            .shortest_ns = 1000,
            .longest_ns = 1000,
            .late_ns = 1'000'000,
            .depth = 4};
  }

  explicit NvmeBench(const NvmeConfig& config = two_queues(), const Script* script = nullptr,
                     std::uint64_t seed = 1)
      : plan{seed, script == nullptr ? Script{} : *script} {
    iommu.add_memory(memory, 0x40000000);
    const auto iova = iommu.map({memory.data(), memory.size()},
                                blkown::dma::Direction::bidirectional, blkown::dma::no_io);
    EXPECT_TRUE(iova.has_value());
    base = iova.value_or(0);
    const NvmeNamespace namespaces[] = {{&first, 512}, {nullptr, 512}, {&large, 4096}};
    controller.emplace(config, iommu, namespaces, script == nullptr ? nullptr : &plan, hooks());
    stride = config.doorbell_stride_exponent;
    std::ranges::copy(initial_data(), data().begin());
  }
  NvmeBench(const NvmeBench&) = delete;
  NvmeBench& operator=(const NvmeBench&) = delete;

  [[nodiscard]] static std::byte pattern(std::size_t i) noexcept {
    return static_cast<std::byte>(1 + (i * 7 + i / 512) % 255);
  }
  /// The pattern of all data.
  [[nodiscard]] static const std::vector<std::byte>& initial_data() {
    static const std::vector<std::byte> all = [] {
      std::vector<std::byte> bytes((list_page - data_page) * page);
      std::size_t i = 0;
      for (std::byte& one : bytes) one = pattern(i++);
      return bytes;
    }();
    return all;
  }

  // --- memory -----------------------------------------------------------------------------------

  [[nodiscard]] std::uint64_t iova_of(std::size_t page_index, std::size_t offset = 0) const {
    return base + page_index * page + offset;
  }
  [[nodiscard]] std::span<std::byte> pages(std::size_t page_index, std::size_t count = 1) {
    return std::span{memory}.subspan(page_index * page, count * page);
  }
  [[nodiscard]] std::span<std::byte> data() { return pages(data_page, list_page - data_page); }
  [[nodiscard]] std::uint64_t data_iova(std::size_t offset = 0) const {
    return iova_of(data_page, offset);
  }
  template <class T>
  [[nodiscard]] T in_data(std::size_t offset = 0) {
    T value;
    std::memcpy(&value, data().data() + offset, sizeof value);
    return value;
  }

  // --- registers --------------------------------------------------------------------------------

  [[nodiscard]] nvme::Csts csts() { return {controller->read32(nvme::reg::csts)}; }
  [[nodiscard]] static nvme::Cc enabled() {
    nvme::Cc cc;
    cc.set_enabled(true);
    cc.set_submission_entry_exponent(6);
    cc.set_completion_entry_exponent(4);
    return cc;
  }
  /// Writes the admin queues' addresses and CC.
  void write_enable(nvme::Cc cc = enabled()) {
    std::ranges::fill(pages(0, data_page), std::byte{});
    queues_ = {};
    controller->write32(nvme::reg::aqa, nvme::Aqa::of(entries, entries).value);
    controller->write64(nvme::reg::asq, iova_of(0));
    controller->write64(nvme::reg::acq, iova_of(1));
    controller->write32(nvme::reg::cc, cc.value);
  }
  void disable() { controller->write32(nvme::reg::cc, 0); }
  /// Enables the controller, and creates `count` pairs of I/O queues. Pair n has vector n.
  void start(std::uint16_t count = 2) {
    write_enable();
    run();
    ASSERT_TRUE(csts().is_ready());
    for (std::uint16_t queue = 1; queue <= count; ++queue) {
      ASSERT_EQ(admin(create_cq(queue)).code, Code::success);
      ASSERT_EQ(admin(create_sq(queue)).code, Code::success);
    }
    interrupts.clear();
  }

  // --- commands ---------------------------------------------------------------------------------

  [[nodiscard]] Entry create_cq(std::uint16_t queue) const {
    return Entry::create_io_cq({.queue = queue,
                                .entries = entries,
                                .iova = iova_of(2 * queue + 1U),
                                .vector = queue,
                                .interrupts_enabled = true});
  }
  [[nodiscard]] Entry create_sq(std::uint16_t queue) const {
    return Entry::create_io_sq({.queue = queue,
                                .entries = entries,
                                .iova = iova_of(2 * queue),
                                .completion_queue = queue});
  }
  /// The entry with this identifier, and with the data's address.
  [[nodiscard]] Entry with_data(Entry entry, std::uint16_t id = 0x21,
                                std::size_t offset = 0) const {
    entry.command_id = id;
    entry.prp1 = data_iova(offset);
    entry.prp2 = data_iova(offset) / page * page + page;
    return entry;
  }
  [[nodiscard]] Entry write(std::uint16_t id, std::uint64_t slba = 0,
                            std::uint32_t count = 1) const {
    return with_data(Entry::write(1, {slba, count}), id);
  }
  [[nodiscard]] Entry read(std::uint16_t id, std::uint64_t slba = 0,
                           std::uint32_t count = 1) const {
    return with_data(Entry::read(1, {slba, count}), id);
  }
  [[nodiscard]] static Entry flush(std::uint16_t id, std::uint32_t nsid = 1) {
    Entry entry = Entry::flush(nsid);
    entry.command_id = id;
    return entry;
  }
  [[nodiscard]] static Entry with_id(Entry entry, std::uint16_t id) {
    entry.command_id = id;
    return entry;
  }

  // --- queues -----------------------------------------------------------------------------------

  void ring(std::uint16_t queue, bool is_completion, std::uint32_t value) {
    controller->write32(nvme::doorbell_offset(queue, is_completion, stride), value);
  }
  /// Puts a command into the queue without its doorbell.
  void put(const Entry& entry, std::uint16_t queue = 1) {
    Queue& its = queues_[queue];
    std::memcpy(pages(2 * queue).data() + its.tail * sizeof entry, &entry, sizeof entry);
    its.tail = (its.tail + 1) % entries;
  }
  void ring_tail(std::uint16_t queue = 1) { ring(queue, false, queues_[queue].tail); }
  void submit(const Entry& entry, std::uint16_t queue = 1) {
    put(entry, queue);
    ring_tail(queue);
  }
  /// Takes completions out of the queue by their phase, without the doorbell.
  [[nodiscard]] NvmeDones take(std::uint16_t queue = 1) {
    Queue& its = queues_[queue];
    NvmeDones taken;
    while (true) {
      const std::byte* const at = pages(2 * queue + 1U).data() + its.head * sizeof latest;
      nvme::CompletionEntry entry;
      std::memcpy(&entry, at, sizeof entry);
      if (entry.phase() != its.phase) return taken;
      latest = entry;
      if (entry.status().do_not_retry()) not_to_retry.push_back(entry.command_id);
      EXPECT_FALSE(entry.status().code() == Code::success && entry.status().do_not_retry());
      taken.push_back({entry.command_id, entry.status().code(), entry.dw0});
      its.head = (its.head + 1) % entries;
      if (its.head == 0) its.phase = !its.phase;
    }
  }
  void acknowledge(std::uint16_t queue = 1) { ring(queue, true, queues_[queue].head); }
  [[nodiscard]] NvmeDones completions(std::uint16_t queue = 1) {
    NvmeDones taken = take(queue);
    if (!taken.empty()) acknowledge(queue);
    return taken;
  }
  /// Steps the controller, advancing the clock, until its next step is due after `until_ns`.
  void run(std::uint64_t until_ns = ~std::uint64_t{0}) {
    while (true) {
      while (controller->step(now_ns)) {
      }
      const auto next_ns = controller->next_ns();
      if (!next_ns.has_value() || *next_ns > until_ns) return;
      now_ns = std::max(now_ns, *next_ns);
    }
  }
  /// Submits a command, runs the controller, and takes the completions.
  NvmeDones carry_out(const Entry& entry, std::uint16_t queue = 1) {
    submit(entry, queue);
    run();
    return completions(queue);
  }
  /// The only completion of a command.
  NvmeDone one(const Entry& entry, std::uint16_t queue = 1) {
    const NvmeDones done = carry_out(entry, queue);
    EXPECT_EQ(done.size(), 1U);
    if (done.size() != 1) return {0xFFFF, Code::internal_path_error, 0};
    EXPECT_EQ(done[0].command_id, entry.command_id);
    EXPECT_EQ(latest.sq_id, queue);
    return done[0];
  }
  NvmeDone admin(const Entry& entry) { return one(entry, 0); }
  /// The code with which the controller answers, and that its DNR bit is as expected.
  Code answer(const Entry& entry, bool do_not_retry, std::uint16_t queue = 1) {
    const Code code = one(entry, queue).code;
    EXPECT_EQ(latest.status().do_not_retry(), do_not_retry);
    return code;
  }

  /// Advances the clock by single steps until the driver would see a completion on the queue.
  [[nodiscard]] NvmeDones first_completions(std::uint16_t queue = 1) {
    NvmeDones seen;
    for (int i = 0; seen.empty() && i != 1000; ++i) {
      if (!controller->step(now_ns)) now_ns += 1000;
      seen = completions(queue);
    }
    return seen;
  }

  // --- inspection -------------------------------------------------------------------------------

  [[nodiscard]] static std::vector<std::byte> of(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
  }
  [[nodiscard]] std::vector<std::byte> on_medium(std::uint64_t block, std::size_t count) const {
    return of(first.bytes().subspan(block * 512, count * 512));
  }
  [[nodiscard]] std::vector<std::byte> in_memory(std::size_t offset, std::size_t length) {
    return of(data().subspan(offset, length));
  }
  [[nodiscard]] bool is_zero(std::uint64_t block, std::size_t count) const {
    return on_medium(block, count) == std::vector<std::byte>(count * 512);
  }

  // Areas for queues 1 and 2, beside the memory of the bench.
  Iommu iommu{{.page_count = 512, .address_areas = 2}};
  CachedMedia first{capacity_bytes};  // namespace 1, with blocks of 512 bytes
  CachedMedia large{capacity_bytes};  // namespace 3, with blocks of 4,096 bytes
  FaultPlan plan;
  std::vector<std::byte> memory = std::vector<std::byte>(page_count * page);
  std::uint64_t base = 0;
  std::optional<NvmeController> controller;
  unsigned stride = 0;
  std::uint64_t now_ns = 0;
  nvme::CompletionEntry latest;
  std::vector<std::uint16_t> not_to_retry;  // the commands whose completions have said so

  std::vector<std::uint32_t> interrupts;
  int failures = 0;
  int wakes = 0;

 private:
  struct Queue {
    std::uint32_t tail = 0;
    std::uint32_t head = 0;
    bool phase = true;
  };

  [[nodiscard]] blkown::sim::ControllerHooks hooks() {
    return {.argument = this,
            .interrupt = [](void* its,
                            std::uint32_t vector) { self(its).interrupts.push_back(vector); },
            .failed = [](void* its) { ++self(its).failures; },
            .wake = [](void* its) { ++self(its).wakes; }};
  }
  [[nodiscard]] static NvmeBench& self(void* its) noexcept { return *static_cast<NvmeBench*>(its); }

  std::array<Queue, 8> queues_{};
};

}  // namespace sim_test

#endif
