// SPDX-License-Identifier: BSL-1.0
//
// The simulated NVMe controller by itself: how many events, which are doorbells, fetches,
// executions and completions, it performs in a second of CPU time. A driver of a few lines reads
// blocks of 4 KiB, with a doorbell for each command and each completion, so that an I/O is five
// events. The commands have no latency and no faults.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <blkown/dma/iova.hpp>
#include <blkown/nvme/nvme.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <vector>

namespace bench {
namespace {

namespace nvme = blkown::nvme;
namespace sim = blkown::sim;
using blkown::dma::Direction;

constexpr std::uint32_t ios_in_flight = 32;  // on each queue
constexpr std::uint32_t ring_entries = 64;
constexpr std::uint32_t page = 4096;
constexpr std::uint32_t max_queues = 8;
// A submission ring, a completion ring, and a block for each command in flight.
constexpr std::uint32_t pages_of_queue = 2 + ios_in_flight;

/// Memory of the queues, mapped for the device, and a medium.
class Machine {
 public:
  Machine() {
    iommu.add_memory(memory_, 0x4000'0000);
    for (std::uint32_t queue = 0; queue != max_queues; ++queue) {
      const auto iova = iommu.map({at(queue, 0), std::size_t{pages_of_queue} * page},
                                  Direction::bidirectional, blkown::dma::no_io);
      if (!iova.has_value()) std::abort();
      iovas_[queue] = *iova;
    }
  }
  [[nodiscard]] std::byte* at(std::uint32_t queue, std::uint32_t index) noexcept {
    return memory_.data() + offset(queue, index);
  }
  [[nodiscard]] std::uint64_t iova(std::uint32_t queue, std::uint32_t index) const noexcept {
    return iovas_[queue] + std::uint64_t{index} * page;
  }

  sim::Iommu iommu{{.page_count = 256 * max_queues, .address_areas = max_queues}};
  sim::MemoryMedia medium{1 << 20};

 private:
  [[nodiscard]] static std::size_t offset(std::uint32_t queue, std::uint32_t index) noexcept {
    return std::size_t{queue * pages_of_queue + index} * page;
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(max_queues * pages_of_queue * page);
  std::uint64_t iovas_[max_queues] = {};
};

/// The driver's side of a pair of rings.
class Rings {
 public:
  void put(std::byte* ring, const nvme::SubmissionEntry& entry) {
    std::memcpy(ring + tail * sizeof entry, &entry, sizeof entry);
    tail = (tail + 1) % ring_entries;
  }
  /// Takes the next completion, if it was posted.
  [[nodiscard]] bool take(const std::byte* ring) {
    nvme::CompletionEntry entry;
    std::memcpy(&entry, ring + head * sizeof entry, sizeof entry);
    if (entry.phase() != phase_) return false;
    head = (head + 1) % ring_entries;
    if (head == 0) phase_ = !phase_;
    return true;
  }
  std::uint32_t tail = 0;
  std::uint32_t head = 0;

 private:
  bool phase_ = true;
};

/// The NVMe controller, with an I/O queue for each thread.
class Nvme {
 public:
  explicit Nvme(std::uint16_t queues) {
    const sim::NvmeNamespace only{&machine_.medium, page};
    controller_.emplace(sim::NvmeConfig{.io_queues = queues, .shortest_ns = 0, .longest_ns = 0},
                        machine_.iommu, std::span{&only, 1});
    controller_->write32(nvme::reg::aqa, nvme::Aqa::of(ring_entries, ring_entries).value);
    controller_->write64(nvme::reg::asq, machine_.iova(0, 0));
    controller_->write64(nvme::reg::acq, machine_.iova(0, 1));
    nvme::Cc cc;
    cc.set_enabled(true);
    cc.set_submission_entry_exponent(6);
    cc.set_completion_entry_exponent(4);
    controller_->write32(nvme::reg::cc, cc.value);
    for (std::uint16_t queue = 1; queue <= queues; ++queue) {
      admin(nvme::SubmissionEntry::create_io_cq(
          {.queue = queue, .entries = ring_entries, .iova = machine_.iova(queue, 1)}));
      admin(nvme::SubmissionEntry::create_io_sq({.queue = queue,
                                                 .entries = ring_entries,
                                                 .iova = machine_.iova(queue, 0),
                                                 .completion_queue = queue}));
    }
  }

  /// Reads in memory that is always mapped.
  /// Context: one thread for each queue.
  void round(std::uint32_t thread) {
    round(
        thread, [&](std::uint16_t queue, std::uint32_t i) { return machine_.iova(queue, 2 + i); },
        [](std::uint64_t) {});
  }
  /// Reads in memory that is mapped for each I/O.
  /// Context: one thread for each queue.
  void round_with_maps(std::uint32_t thread) {
    std::uint64_t iovas[ios_in_flight];
    const auto map = [&](std::uint16_t queue, std::uint32_t i) {
      const blkown::Cookie cookie{.value = i,
                                  .generation = blkown::Generation{1},
                                  .tag = blkown::Tag{i},
                                  .queue = blkown::QueueIndex{thread}};
      const auto iova =
          machine_.iommu.map({machine_.at(queue, 2 + i), page}, Direction::from_device, cookie);
      if (!iova.has_value()) std::abort();
      iovas[i] = *iova;
      return *iova;
    };
    round(thread, map, [&](std::uint32_t i) {
      const blkown::dma::IovaSegment segment{iovas[i], page};
      if (!machine_.iommu.unmap(segment).has_value() ||
          !machine_.iommu.invalidate({&segment, 1}).has_value()) {
        std::abort();
      }
    });
  }
  [[nodiscard]] std::uint64_t events() { return controller_->events(); }

 private:
  template <class Map, class Unmap>
  void round(std::uint32_t thread, const Map& map, const Unmap& unmap) {
    const auto queue = static_cast<std::uint16_t>(thread + 1);
    for (std::uint32_t i = 0; i != ios_in_flight; ++i) {
      auto entry = nvme::SubmissionEntry::read(1, {i, 1});
      entry.command_id = static_cast<std::uint16_t>(i);
      entry.prp1 = map(queue, i);
      submit(queue, entry);
    }
    for (std::uint32_t done = 0; done != ios_in_flight;) {
      static_cast<void>(controller_->step_queue(queue, 0));
      for (; take(queue); ++done) unmap(done);  // completed in the order of the submissions
    }
  }
  void submit(std::uint16_t queue, const nvme::SubmissionEntry& entry) {
    rings_[queue].put(machine_.at(queue, 0), entry);
    controller_->write32(nvme::doorbell_offset(queue, false, 0), rings_[queue].tail);
  }
  [[nodiscard]] bool take(std::uint16_t queue) {
    if (!rings_[queue].take(machine_.at(queue, 1))) return false;
    controller_->write32(nvme::doorbell_offset(queue, true, 0), rings_[queue].head);
    return true;
  }
  void admin(const nvme::SubmissionEntry& entry) {
    submit(0, entry);
    while (controller_->step(0)) {
    }
    if (!take(0)) std::abort();
  }

  Machine machine_;
  std::optional<sim::NvmeController> controller_;
  struct alignas(128) QueueRings : Rings {};
  QueueRings rings_[max_queues];
};

void report(benchmark::State& state, Nvme& controller, std::uint64_t before, std::uint64_t ios) {
  const std::uint64_t events = controller.events() - before;
  if (events != 5 * ios) state.SkipWithError("the controller performed a wrong number of events");
  state.counters["events"] =
      benchmark::Counter(static_cast<double>(events), benchmark::Counter::kIsRate);
}

void nvme_alone(benchmark::State& state) {
  const auto controller = std::make_unique<Nvme>(std::uint16_t{1});
  const std::uint64_t before = controller->events();
  for (auto _ : state) controller->round(0);
  const std::uint64_t ios = static_cast<std::uint64_t>(state.iterations()) * ios_in_flight;
  state.SetItemsProcessed(static_cast<std::int64_t>(ios));
  report(state, *controller, before, ios);
}
BENCHMARK(nvme_alone)->Name("controllers/nvme");

/// Each thread executes the commands of its own queue.
void nvme_queues(benchmark::State& state) {
  static std::unique_ptr<Nvme> shared;
  static std::uint64_t before = 0;
  const PinnedThread pinned{state.thread_index()};
  const auto index = static_cast<std::uint32_t>(state.thread_index());
  if (index == 0) {
    shared = std::make_unique<Nvme>(static_cast<std::uint16_t>(state.threads()));
    before = shared->events();
  }
  for (auto _ : state) shared->round_with_maps(index);
  const std::uint64_t ios = static_cast<std::uint64_t>(state.iterations()) * ios_in_flight;
  state.SetItemsProcessed(static_cast<std::int64_t>(ios));
  if (index != 0) return;
  report(state, *shared, before, ios * static_cast<std::uint64_t>(state.threads()));
  shared.reset();
}
const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("controllers/nvme_queues", &nvme_queues),
             std::min<int>(max_threads, max_queues - 1));
}};

}  // namespace
}  // namespace bench
