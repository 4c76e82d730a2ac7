// SPDX-License-Identifier: BSL-1.0
//
// Scenarios of the whole driver, ../nvme/disk.hpp: a disk of the block layer for each namespace, on
// threads, with interrupts and with polling.

#ifndef EXAMPLES_NVME_VFIO_BLOCK_LAYER_HPP
#define EXAMPLES_NVME_VFIO_BLOCK_LAYER_HPP

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "../nvme/disk.hpp"
#include "machine.hpp"
#include "transfers.hpp"
#include "unmapped.hpp"

namespace nvme_vfio {

namespace mq = blkown::mq;
using Driver = nvme_driver::NvmeDriver<Device, Device::Backend, Platform>;
using Disk = mq::Disk<Driver>;

/// Gives the driver the interrupts of the admin queue and of the first I/O queue.
class InterruptThread {
 public:
  InterruptThread(Driver& driver, Machine& machine)
      : thread_{[this, &driver, &machine] { run(driver, machine); }} {}
  InterruptThread(const InterruptThread&) = delete;
  InterruptThread& operator=(const InterruptThread&) = delete;
  ~InterruptThread() {
    is_stopped_.store(true);
    thread_.join();
  }

 private:
  void run(Driver& driver, Machine& machine) {
    pollfd events[] = {{.fd = machine.admin_event(), .events = POLLIN, .revents = 0},
                       {.fd = machine.interrupting().event(), .events = POLLIN, .revents = 0}};
    while (!is_stopped_.load()) {
      if (poll(events, std::size(events), 20) <= 0) continue;
      for (std::uint32_t vector = 0; vector != std::size(events); ++vector) {
        std::uint64_t signals = 0;
        if (read(events[vector].fd, &signals, sizeof signals) > 0) driver.interrupt(vector);
      }
    }
  }

  std::atomic<bool> is_stopped_{false};
  std::thread thread_;
};

/// The controller under the driver of the block layer, in place of the machine's queues.
class Disks {
 public:
  static constexpr std::uint32_t contexts = 2;
  static constexpr std::uint32_t unreached_timeout_ms = 60'000;

  /// The time limit of an I/O of `stuck` and `hopeless`. The other disks have one that no I/O
  /// reaches.
  Disks(Machine& machine, std::uint32_t stuck_timeout_ms)
      : machine_{machine}, owner_{make_owner(machine)}, driver_{*owner_, config} {
    Machine::expect_done(driver_.start());
    interrupts_.emplace(driver_, machine);
    pool_ = *driver_.create_pool();
    // One deferral for all disks. A reset that is wanted before the last disk is there waits until
    // then: between two deferrals it would start, and the next disk could not be created.
    const auto deferral = driver_.defer_resets();
    expect(deferral.has_value(), "the driver resets the controller while disks are created");
    Machine::expect_done(owner_->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
      expect(info.is_usable(), text("namespace %u cannot be used", info.nsid));
      mq::DiskConfig disk = driver_.disk_config(info);
      disk.timeout_ms = info.nsid >= stuck ? stuck_timeout_ms : unreached_timeout_ms;
      disks_[info.nsid] = *Disk::create(disk, driver_, runtime_, info, pool_.get());
    }));
  }
  Disks(const Disks&) = delete;
  Disks& operator=(const Disks&) = delete;
  ~Disks() = default;

  [[nodiscard]] Driver& driver() noexcept { return driver_; }
  [[nodiscard]] mq::ThreadRuntime& runtime() noexcept { return runtime_; }
  [[nodiscard]] Disk& disk(Namespace where) { return *disks_.at(where); }

  /// Removes the disks and stops the controller.
  void shut_down() {
    for (auto& [nsid, disk] : disks_) {
      expect(mq::remove(runtime_, *disk) == Status::ok, text("disk %u is not removed", nsid));
    }
    while (driver_.is_resetting()) std::this_thread::sleep_for(milliseconds{1});
    disks_.clear();
    pool_.reset();
    interrupts_.reset();
    expect(driver_.shut_down(), "the driver's memory is not freed");
    expect(machine_.device()->dma().quarantined_count() == 0, "memory is left in quarantine");
  }

 private:
  static constexpr nvme_driver::DriverConfig config{
      .normal_queues = 1, .poll_queues = 1, .depth = 32, .max_tries = 3};

  [[nodiscard]] static std::unique_ptr<Driver::Owner> make_owner(Machine& machine) {
    machine.give_up(machine.stop());
    Device& device = *machine.device();
    auto made = Driver::Owner::create(device, device.dma(), machine.platform(),
                                      {.io_queues = 2, .admin_timeout_ms = admin_timeout_ms});
    expect(made.has_value(), "the controller cannot be used");
    return *std::move(made);
  }

  Machine& machine_;
  mq::ThreadRuntime runtime_{contexts};
  std::unique_ptr<Driver::Owner> owner_;
  Driver driver_;
  std::unique_ptr<mq::TagPool<Driver>> pool_;
  std::map<std::uint32_t, std::unique_ptr<Disk>> disks_;
  std::optional<InterruptThread> interrupts_;
};

/// Bios that are in flight together. Each has 64 KiB of memory, scattered over pages in reverse
/// order, which begin and end inside a page.
class Batch {
 public:
  static constexpr std::size_t page = 4096;
  static constexpr std::size_t pages = 16;
  static constexpr std::size_t bytes = pages * page;

  Batch(Machine& machine, Disks& disks, Namespace where, std::size_t count)
      : disks_{disks}, where_{where}, parts_(count) {
    for (Part& part : parts_) {
      part.memory = machine.memory((pages + 1) * page);
      std::byte* const data = part.memory.data();
      part.pieces.push_back({data + 512, page - 512});
      for (std::size_t i = pages; i != 1; --i) part.pieces.push_back({data + i * page, page});
      part.pieces.push_back({data + page, 512});
    }
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() { wait(); }

  /// Submits a bio for each part, on the contexts in turn.
  void start(mq::Op op, mq::IoFlags flags = {}) {
    left_.store(parts_.size());
    done_.emplace();
    const mq::OnEnd<mq::Bio> on_end{&Batch::on_end, this};
    for (std::size_t i = 0; i != parts_.size(); ++i) {
      Part& part = parts_[i];
      const std::uint64_t sector = 8192 + i * (bytes / 512);
      const std::span<const blkown::Segment> pieces{part.pieces};
      part.bio.reset(new mq::Bio(op == mq::Op::write
                                     ? mq::Bio::write(sector, pieces, on_end, flags)
                                     : mq::Bio::read(sector, pieces, on_end, flags)));
      on_context(i, [&](Disk& disk, mq::Context&) { disk.submit(*part.bio); });
    }
  }
  /// Takes completions of polled I/O until all bios have ended.
  void poll() {
    while (!is_done()) {
      for (std::size_t i = 0; i != Disks::contexts; ++i) {
        on_context(i, [](Disk& disk, mq::Context& context) { disk.poll(context); });
      }
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return parts_.size(); }
  [[nodiscard]] bool is_done() const noexcept { return left_.load() == 0; }
  /// Waits for the end of all bios.
  void wait() {
    if (done_.has_value()) disks_.runtime().wait_for(*done_);
  }
  [[nodiscard]] std::vector<Status> statuses() const {
    std::vector<Status> found;
    for (const Part& part : parts_) found.push_back(part.bio->status());
    return found;
  }
  [[nodiscard]] std::size_t count_of(Status wanted) const {
    return static_cast<std::size_t>(std::ranges::count(statuses(), wanted));
  }
  [[nodiscard]] bool all_ended_well() const { return count_of(Status::ok) == parts_.size(); }

  /// The end of a bio uses its memory for something else, at once.
  void use_again_at_end() noexcept { use_again_ = true; }
  /// The number of bios whose memory had no untouched piece when the end used it again.
  [[nodiscard]] std::size_t written_at_end() const noexcept { return written_.load(); }
  void fill(std::uint64_t seed) {
    for (Part& part : parts_) fill_pattern(part.memory, ++seed);
  }
  void fill_with(std::byte value) {
    for (Part& part : parts_) std::ranges::fill(part.memory, value);
  }
  [[nodiscard]] bool is_filled_with(std::byte value) const {
    return std::ranges::all_of(parts_,
                               [&](const Part& part) { return all_are(part.memory, value); });
  }
  /// Whether the pieces of both batches have the same bytes.
  [[nodiscard]] bool equals(const Batch& other) const {
    return std::ranges::equal(parts_, other.parts_, [](const Part& one, const Part& two) {
      return std::ranges::equal(one.pieces, two.pieces, [](const auto& left, const auto& right) {
        return std::equal(left.data, left.end(), right.data, right.end());
      });
    });
  }

 private:
  struct Part {
    std::span<std::byte> memory;
    std::vector<blkown::Segment> pieces;
    std::unique_ptr<mq::Bio> bio;
  };

  static void on_end(void* self, mq::Bio& bio) {
    auto& batch = *static_cast<Batch*>(self);
    for (Part& part : batch.parts_) {
      if (!batch.use_again_ || part.bio.get() != &bio) continue;
      if (std::ranges::none_of(part.pieces, [](const blkown::Segment& piece) {
            return all_are({piece.data, piece.length_bytes}, untouched);
          })) {
        batch.written_.fetch_add(1);
      }
      std::ranges::fill(part.memory, used_again);
    }
    if (batch.left_.fetch_sub(1) == 1) batch.done_->set();
  }
  template <class Call>
  void on_context(std::size_t index, Call call) {
    const auto context = static_cast<std::uint32_t>(index % Disks::contexts);
    disks_.runtime().run_on(context,
                            [&] { call(disks_.disk(where_), disks_.runtime().context(context)); });
  }

  Disks& disks_;
  Namespace where_;
  std::vector<Part> parts_;
  bool use_again_ = false;
  std::atomic<std::size_t> written_{0};
  std::atomic<std::size_t> left_{0};
  std::optional<mq::Event> done_;
};

/// Runs a scenario on disks, and shuts them down.
template <class Body>
std::string with_disks(Machine& machine, std::uint32_t stuck_timeout_ms, Body body) {
  Disks disks{machine, stuck_timeout_ms};
  std::string shown;
  try {
    shown = body(disks);
  } catch (...) {
    disks.shut_down();
    throw;
  }
  disks.shut_down();
  return shown;
}

/// Runs a batch to its end. An I/O that is in flight at a reset is issued again, until its tries
/// are used up. Returns whether that has happened to none.
[[nodiscard]] inline bool run_batch(Disks& disks, Batch& batch, mq::Op op, mq::IoFlags flags) {
  const unsigned before = disks.driver().resets();
  batch.start(op, flags);
  if (flags.polled) batch.poll();
  batch.wait();
  if (batch.all_ended_well()) return true;
  const unsigned resets = disks.driver().resets() - before;
  expect(batch.count_of(Status::ok) + batch.count_of(Status::transport_error) == batch.size() &&
             resets >= disks.driver().config().max_tries,
         text("an I/O of the disk does not end well, with %u resets", resets));
  return false;
}

/// Writes and reads a batch of scattered bios, and compares. Returns whether all have ended well:
/// those whose tries were used up by resets have not.
[[nodiscard]] inline bool verify_batch(Machine& machine, Disks& disks, Namespace where,
                                       mq::IoFlags flags) {
  constexpr std::size_t count = 24;
  Batch written{machine, disks, where, count}, read{machine, disks, where, count};
  written.fill(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()));
  if (!run_batch(disks, written, mq::Op::write, flags) ||
      !run_batch(disks, read, mq::Op::read, flags)) {
    return false;
  }
  expect(read.equals(written), "a disk's data is read back wrong");
  return true;
}

/// Data through the block layer: by interrupts and polled, on both block sizes, from two threads.
inline std::string disk_transfers(Machine& machine) {
  return with_disks(machine, Disks::unreached_timeout_ms, [&](Disks& disks) {
    for (const Namespace where : {plain, large}) {
      for (const bool is_polled : {false, true}) {
        expect(verify_batch(machine, disks, where, {.polled = is_polled}),
               "an I/O of the disk does not end well");
      }
      expect(mq::flush(disks.runtime(), disks.disk(where)) == Status::ok,
             "a flush does not end well");
    }
    expect(disks.driver().resets() == 0, "the driver reset the controller");
    return std::string{
        "192 bios of 17 scattered pieces from two threads, by interrupts and polled, "
        "on both block sizes"};
  });
}

/// Reads that the controller does not complete: the driver aborts them, resets the controller, and
/// issues them again, until their tries are used up. Other I/O goes on through the resets.
inline std::string disk_reset(Machine& machine) {
  // Other I/O ends between two resets: a batch would fail only if it met all of them.
  constexpr std::uint32_t stuck_timeout_ms = 500;
  return with_disks(machine, stuck_timeout_ms, [&](Disks& disks) {
    // One on each context: the end of at least one is not held up by the reset that ends it.
    Batch stuck_reads{machine, disks, stuck, Disks::contexts};
    Batch hopeless_reads{machine, disks, hopeless, Disks::contexts};
    for (Batch* const batch : {&stuck_reads, &hopeless_reads}) {
      batch->fill_with(untouched);
      batch->use_again_at_end();
      // The controller completes these reads while it is stopped. Nobody polls for that.
      batch->start(mq::Op::read, {.polled = true});
    }
    unsigned batches = 0, verified = 0, through_resets = 0;
    while (!stuck_reads.is_done() || !hopeless_reads.is_done()) {
      ++batches;
      const unsigned before = disks.driver().resets();
      if (!verify_batch(machine, disks, plain, {})) continue;
      ++verified;
      if (disks.driver().resets() != before) ++through_resets;
    }
    // A timeout takes such completions if it comes before the stop is done: then a stuck read ends
    // well, and a hopeless one is tried again all the same.
    for (const Status status : stuck_reads.statuses()) {
      expect(status == Status::transport_error || status == Status::ok,
             text("a stuck read ends with %s", to_string(status)));
    }
    for (const Status status : hopeless_reads.statuses()) {
      expect(status == Status::transport_error || status == Status::medium_error,
             text("a hopeless read ends with %s", to_string(status)));
    }
    const unsigned resets = disks.driver().resets();
    expect(resets >= disks.driver().config().max_tries, text("only %u resets", resets));
    expect(through_resets != 0,
           text("no batch of other I/O went through a reset, and %u of %u ended well", verified,
                batches));
    expect(verify_batch(machine, disks, plain, {}), "the disk does not work after the resets");
    std::this_thread::sleep_for(late_write);
    expect(stuck_reads.is_filled_with(used_again) && hopeless_reads.is_filled_with(used_again),
           "the controller wrote to memory after a read's end");
    return text(
        "reads that time out are aborted and tried again, and end after %u resets, %zu of 2 stuck "
        "and %zu of 2 hopeless ones with transport_error; %u of %u batches of other I/O ended "
        "well, %u of them through resets",
        resets, stuck_reads.count_of(Status::transport_error),
        hopeless_reads.count_of(Status::transport_error), verified, batches, through_resets);
  });
}

/// The device is unplugged under disks with I/O in flight. What is new ends with `offline` at once,
/// and what is in flight after a reset of the function, which cuts the controller off. The last
/// scenario: nothing uses the controller after it.
inline std::string unplugged(Machine& machine) {
  static_cast<void>(machine.log().take_faults());
  return with_disks(machine, Disks::unreached_timeout_ms, [&](Disks& disks) {
    const Device::Ref device = machine.device();
    Batch in_flight{machine, disks, stuck, Disks::contexts};
    in_flight.fill_with(untouched);
    in_flight.use_again_at_end();
    in_flight.start(mq::Op::read);
    // On the same queue: the controller has fetched the reads.
    expect(verify_batch(machine, disks, plain, {}), "the disk does not work");
    device->unplug();
    const auto access = device->access();
    expect(!access.has_value() && access.error() == Status::offline,
           "the registers can be reached after the removal");
    expect(device->read32(nvme::reg::csts) == ~std::uint32_t{0}, "a register is not all ones");
    expect(!dma::Coherent<Device::Backend>::allocate(device->dma(), 4096, 4096).has_value(),
           "memory is mapped after the removal");
    Batch late{machine, disks, plain, Disks::contexts};
    late.start(mq::Op::read);
    late.wait();
    expect(late.count_of(Status::offline) == Disks::contexts, "a late read is not offline");
    disks.driver().removed();
    in_flight.wait();
    expect(in_flight.count_of(Status::offline) == Disks::contexts,
           "a read in flight does not end with offline");
    // Nothing but the reset lets these reads go. A controller that goes on leaves them waiting.
    expect(in_flight.written_at_end() == Disks::contexts,
           "the controller was not reset: its reads still wait");
    std::this_thread::sleep_for(late_write);
    expect(in_flight.is_filled_with(used_again),
           "the controller wrote to memory after a read's end");
    expect(machine.log().take_faults().empty(), "the IOMMU logged faults");
    return std::string{
        "accesses, mappings and new I/O are offline at once, two reads in flight after the "
        "function's reset; nothing is written after their end"};
  });
}

}  // namespace nvme_vfio

#endif
