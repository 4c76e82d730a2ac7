// SPDX-License-Identifier: BSL-1.0
//
// Driver: the hooks that the block layer calls.
//
//   queue_rq     executes the request, and ends it as the parameter `completion` says:
//     none       at once
//     softirq    its claim goes to the context that submitted it, which calls the hook `complete`
//     timer      a timer in the request's data owns it, and ends it when it fires
//   poll queue   the request waits in a list until the hook `poll` ends all that are there
//
// The driver keeps the result in the request's data until then. A request that a fault loses is
// published and forgotten: the hook `timeout` ends it. A request that exceeds the bandwidth is
// refused as busy, and the queues are stopped until an alarm starts them. Timer and alarm are armed
// on the context that the hook runs on.

#ifndef NULL_BLOCK_DRIVER_HPP
#define NULL_BLOCK_DRIVER_HPP

#include <algorithm>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "config.hpp"
#include "device.hpp"

namespace null_block {

namespace mq = blkown::mq;

struct Driver {
  explicit Driver(std::uint32_t its_context_count) : context_count{its_context_count} {}

  using Hw = mq::HwQueue<Driver>;
  using Rq = mq::Request<Driver>;
  using Owned = blkown::Owned<Rq>;
  using Claim = blkown::Claim<Rq>;
  using Dispatch = mq::Dispatch<Driver>;

  /// In each request.
  struct RequestData {
    blkown::Status status = blkown::Status::ok;  ///< The result, until the request ends.
    mq::Timer<Owned> timer{&Driver::timer_fired, nullptr};
  };
  /// One context's requests of a poll queue: executed, and not ended yet.
  struct alignas(blkown::cache_line_bytes) PolledRequests {
    std::vector<Owned> waiting;
  };
  /// In each hardware queue.
  struct HwData {
    std::vector<PolledRequests> polled;     ///< Of a poll queue: executed, and not ended yet.
    std::atomic<std::uint64_t> batches{0};  ///< That queue_rqs has taken.
  };
  /// Starts the queues when the bandwidth allows more.
  struct Restart {
    explicit Restart(const mq::Disk<Driver>& its_disk) : disk{its_disk.ref()} {}
    /// Disarms the alarm. Does not wait for its function, which starts the queues.
    void cancel() {
      const std::lock_guard lock{mutex};
      if (alarm.cancel()) is_armed = false;
    }
    mq::DiskRef<Driver> disk;  // revoked at the removal: the alarm may fire later
    std::mutex mutex;
    bool is_armed = false;  // until the alarm's function runs
    mq::Alarm alarm{&Driver::restart, this};
  };
  /// In each set of tags, which several disks may share.
  struct PoolData {
    /// The disks that draw from the tags now.
    std::shared_ptr<std::atomic<std::uint32_t>> disks =
        std::make_shared<std::atomic<std::uint32_t>>(0);
  };
  /// In each disk.
  struct QueueData {
    std::unique_ptr<Device> device;
    std::unique_ptr<Restart> restart{};  // made with the first queue
  };

  /// Inlined into the submit of the disk.
  [[gnu::always_inline]] Dispatch queue_rq(Hw& hw, QueueData& data, blkown::Idle<Rq> idle, bool) {
    Device& device = *data.device;
    if (device.ends_at_once() && hw.type() != mq::QueueType::poll) {
      std::move(idle).start().end_ok();
    } else if (device.does_nothing()) {
      finish_later(hw, device, std::move(idle));
    } else {
      return execute_or_hold(hw, data, std::move(idle));
    }
    return Dispatch::accepted();
  }

  /// The requests of a batch are started together. One that a fault or the bandwidth may hold back
  /// goes to queue_rq.
  void queue_rqs(Hw& hw, QueueData& data, mq::IdleList<Rq>& batch) {
    Device& device = *data.device;
    if (device.is_disturbed()) return;
    // n -> n + 1. Relaxed: a number for a report.
    hw.data.batches.fetch_add(1, std::memory_order_relaxed);
    if (device.ends_at_once() && hw.type() != mq::QueueType::poll) {
      while (auto idle = batch.pop_front()) std::move(*idle).start().end_ok();
      return;
    }
    if (device.does_nothing() && hw.type() == mq::QueueType::poll) {
      std::vector<Owned>& waiting = polled_of(hw).waiting;
      while (auto idle = batch.pop_front()) {
        Owned request = std::move(*idle).start();
        request.data().driver_data.status = blkown::Status::ok;
        waiting.push_back(std::move(request));
      }
      return;
    }
    if (device.does_nothing()) {
      while (auto idle = batch.pop_front()) {
        finish(hw, device, std::move(*idle).start(), blkown::Status::ok);
      }
      return;
    }
    while (auto idle = batch.pop_front()) execute_and_finish(hw, device, std::move(*idle).start());
  }

  /// Of softirq. Inlined into the loop over the claims of a run.
  [[gnu::always_inline]] void complete(Hw&, Claim claim) {
    const blkown::Status status = claim.data().driver_data.status;
    std::move(claim).end(status);
  }

  /// A request was lost.
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
    if (auto claim = blkown::claim(pin, cookie)) std::move(*claim).end(blkown::Status::timed_out);
    return mq::TimeoutAction::handled;
  }

  /// Ends a batch: what the context has submitted.
  unsigned poll(Hw& hw) {
    std::vector<Owned>& waiting = polled_of(hw).waiting;
    for (Owned& request : waiting) {
      const blkown::Status status = request.data().driver_data.status;
      std::move(request).end(status);
    }
    const auto count = static_cast<unsigned>(waiting.size());
    waiting.clear();
    return count;
  }

  /// Neighbouring contexts share a queue, as the kernel's processors of one group do.
  [[nodiscard]] unsigned map_queues(mq::QueueType, unsigned context_index,
                                    unsigned queue_count) const {
    return context_index * queue_count / std::max(context_count, queue_count);
  }

  blkown::Status init_hctx(Hw& hw, QueueData& data) {
    if (hw.type() == mq::QueueType::poll)
      hw.data.polled = std::vector<PolledRequests>(context_count);
    if (data.restart == nullptr) data.restart = std::make_unique<Restart>(hw.disk());
    return data.device->init_hctx.fires() ? blkown::Status::resource : blkown::Status::ok;
  }

  /// Of a zoned disk. Without zones the block layer does not call it.
  [[nodiscard]] unsigned report_zones(QueueData& data, std::uint64_t sector, mq::Zone* zones,
                                      unsigned count) const {
    return data.device->zones.has_value() ? data.device->zones->report(sector, zones, count) : 0;
  }

  std::uint32_t context_count;

 private:
  /// Of a poll queue.
  [[nodiscard]] static PolledRequests& polled_of(Hw& hw) {
    return hw.data.polled[mq::Context::current()->index()];
  }
  /// Appends a request. The growth is not inlined, so that the shortest path saves no registers.
  [[gnu::always_inline]] static void keep(std::vector<Owned>& waiting, Owned request) {
    if (waiting.size() == waiting.capacity()) [[unlikely]]
      grow(waiting);
    if (waiting.size() == waiting.capacity()) __builtin_unreachable();
    waiting.push_back(std::move(request));
  }
  [[gnu::noinline]] static void grow(std::vector<Owned>& waiting) {
    waiting.reserve(std::max<std::size_t>(64, 2 * waiting.size()));
  }
  static void timer_fired(void*, Owned&& request) {
    const blkown::Status status = request.data().driver_data.status;
    std::move(request).end(status);
  }

  [[nodiscard]] static Command command_of(const mq::Payload<Driver>& payload) {
    return {.op = payload.op(),
            .flags = payload.flags(),
            .sector = payload.sector(),
            .length_bytes = payload.length_bytes(),
            .segments = payload.segments()};
  }

  /// Executes a request, unless a fault or the bandwidth holds it back. Not inlined, so that
  /// queue_rq is short where nothing is to be done.
  [[gnu::noinline]] static Dispatch execute_or_hold(Hw& hw, QueueData& data,
                                                    blkown::Idle<Rq> idle) {
    Device& device = *data.device;
    if (device.is_disturbed()) {
      // Faults come first: a request that moves no data now does not pay for it.
      if (device.requeues.fires()) return requeue(device, std::move(idle));
      if (device.timeouts.fires()) {
        std::move(idle).start().publish([](blkown::Cookie) {});
        return Dispatch::accepted();
      }
      if (const std::uint64_t wait_ns = throttle(device, idle.data()); wait_ns != 0) {
        stop_queues(hw.disk(), *data.restart, wait_ns);
        return Dispatch::rejected(std::move(idle), blkown::Status::device_resource);
      }
    }
    execute_and_finish(hw, device, std::move(idle).start());
    return Dispatch::accepted();
  }
  static void execute_and_finish(Hw& hw, Device& device, Owned request) {
    const blkown::Status status = device.is_inert() ? blkown::Status::ok : execute(device, request);
    finish(hw, device, std::move(request), status);
  }

  /// Executes a request, which the device may change.
  [[nodiscard]] static blkown::Status execute(Device& device, Owned& request) {
    Command command = command_of(request.data());
    const blkown::Status status = device.perform(command);
    if (command.op == mq::Op::zone_append) {
      request.data().set_written_sector(command.sector);
      mq::set_sector(request, command.sector);  // for traces and the table of requests in flight
    }
    return status;
  }

  /// Ends a request that was executed, now or later. Inlined, so that the shortest path of an I/O
  /// has no call.
  [[gnu::always_inline]] static void finish(Hw& hw, Device& device, Owned request,
                                            blkown::Status status) {
    if (hw.type() == mq::QueueType::poll) {
      request.data().driver_data.status = status;
      return keep(polled_of(hw).waiting, std::move(request));
    }
    switch (device.completion()) {
      case Completion::none: return std::move(request).end(status);
      case Completion::softirq:
        request.data().driver_data.status = status;
        return hw.complete_local(std::move(request).into_claim());
      case Completion::timer: return arm_timer(device, std::move(request), status);
    }
  }
  [[gnu::noinline]] static void finish_later(Hw& hw, Device& device, blkown::Idle<Rq> idle) {
    finish(hw, device, std::move(idle).start(), blkown::Status::ok);
  }
  [[gnu::noinline]] static void arm_timer(Device& device, Owned request, blkown::Status status) {
    RequestData& data = request.data().driver_data;
    data.status = status;
    data.timer.arm(*mq::Context::current(), device.config.completion_nsec, std::move(request));
  }

  /// The time for which the bandwidth holds the request back, or 0.
  [[nodiscard]] static std::uint64_t throttle(Device& device, const mq::Payload<Driver>& payload) {
    if (!device.bandwidth.is_limited() || !mq::has_data(payload.op())) return 0;
    return device.bandwidth.take(payload.length_bytes(), mq::Context::current()->now_ns());
  }

  template <class Visit>
  static void for_each_queue(mq::Disk<Driver>& disk, Visit visit) {
    for (std::uint32_t i = 0; i != disk.hw_queue_count(); ++i) {
      visit(disk.hw_queue(blkown::QueueIndex{i}));
    }
  }
  /// Stops all queues, and arms the alarm behind that: a start that is on its way comes later.
  static void stop_queues(mq::Disk<Driver>& disk, Restart& restart, std::uint64_t wait_ns) {
    for_each_queue(disk, [](Hw& hw) { hw.stop(); });
    const std::lock_guard lock{restart.mutex};
    if (std::exchange(restart.is_armed, true)) return;
    restart.alarm.arm(*mq::Context::current(), wait_ns);
  }
  static void restart(void* argument, mq::Alarm&) {
    auto& self = *static_cast<Restart*>(argument);
    {
      const std::lock_guard lock{self.mutex};
      self.is_armed = false;
    }
    if (const auto disk = self.disk.try_access()) {
      for_each_queue(*disk, [](Hw& hw) { hw.start(); });
    }
  }

  /// Half of the faults are the driver's own requeue, the others a refusal.
  [[nodiscard]] static Dispatch requeue(Device& device, blkown::Idle<Rq> idle) {
    if (device.requeues.faults() % 2 == 0) {
      return Dispatch::rejected(std::move(idle), blkown::Status::resource);
    }
    std::move(idle).requeue();
    return Dispatch::accepted();
  }
};

}  // namespace null_block

#endif
