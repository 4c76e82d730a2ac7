// SPDX-License-Identifier: BSL-1.0
//
// Drivers for tests. Driver has a medium in memory, and answers each request as the test chooses.
// FullDriver has every hook. A test of other behaviour derives from one of them and overrides
// hooks: a disk has its driver's type as a parameter, and each further type is the block layer
// compiled again. A test of what a driver lacks has a driver of its own.

#ifndef BLKOWN_TESTS_MQ_FAKE_DRIVER_HPP
#define BLKOWN_TESTS_MQ_FAKE_DRIVER_HPP

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fake {

namespace mq = blkown::mq;

/// One request as the driver received it.
struct Seen {
  mq::Op op{};
  mq::IoFlags flags;
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  std::uint32_t hw_queue = 0;
  bool is_last = false;
  friend bool operator==(const Seen&, const Seen&) = default;
};

/// A driver without the hooks queue_rqs, complete, poll and map_queues.
struct Driver {
  struct RequestData {
    int number = 0;
  };
  struct HwData {
    int opened = 0;
  };
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<Driver>;
  using Hw = mq::HwQueue<Driver>;
  using Answer = mq::Dispatch<Driver>;
  using Disk = mq::Disk<Driver>;

  enum class Mode { end, publish, keep, busy, fail, requeue };

  virtual Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) {
    ++calls;
    const mq::Payload<Driver>& about = idle.data();
    const Mode now = next.empty() ? mode : next.front();
    if (!next.empty()) next.pop_front();
    if (now == Mode::busy) return Answer::rejected(std::move(idle), busy_status);
    seen.push_back({about.op(), about.flags(), about.sector(), about.length_bytes(),
                    hw.index().value, is_last});
    if (now == Mode::fail) return Answer::rejected(std::move(idle), blkown::Status::no_space);
    blkown::Owned<Rq> owned = std::move(idle).start();
    switch (now) {
      case Mode::requeue: std::move(owned).requeue(); break;
      case Mode::keep: kept.push_back(std::move(owned)); break;
      case Mode::publish:
        std::move(owned).publish(
            [&](blkown::Cookie cookie) { published.push_back({&hw, cookie.value}); });
        break;
      default: transfer(queue, owned.data()); std::move(owned).end(end_status);
    }
    return Answer::accepted();
  }

  virtual void commit_rqs(Hw&, QueueData&) { ++commits; }

  virtual mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin,
                                    const blkown::Cookie& cookie) {
    ++timeouts;
    return on_timeout ? on_timeout(hw, pin, cookie) : mq::TimeoutAction::rearm;
  }

  virtual blkown::Status init_hctx(Hw& hw, QueueData&) {
    if (hw.index().value == refused_queue) return blkown::Status::resource;
    ++hw.data.opened;
    return blkown::Status::ok;
  }
  virtual void exit_hctx(Hw& hw, QueueData&) { --hw.data.opened; }

  /// For zoned disks. Most tests do not ask for the zones.
  virtual unsigned report_zones(QueueData&, std::uint64_t, mq::Zone*, unsigned) { return 0; }

  /// Moves the data in the device's place.
  static void transfer(QueueData& queue, const mq::Payload<Driver>& request) {
    if (queue.medium.empty()) return;
    std::byte* medium = queue.medium.data() + request.sector() * mq::sector_bytes;
    if (request.op() == mq::Op::write_zeroes || request.op() == mq::Op::discard) {
      std::memset(medium, 0, static_cast<std::size_t>(request.length_bytes()));
    }
    for (const blkown::Segment piece : request.segments()) {
      if (request.op() == mq::Op::read) {
        std::memcpy(piece.data, medium, piece.length_bytes);
      } else {
        std::memcpy(medium, piece.data, piece.length_bytes);
      }
      medium += piece.length_bytes;
    }
  }

  /// Completes the oldest `count` published requests in the device's place.
  void reap(QueueData& queue, std::size_t count = ~std::size_t{0},
            blkown::Status status = blkown::Status::ok) {
    for (; count != 0 && !published.empty(); --count) {
      const auto [hw, value] = published.front();
      published.pop_front();
      if (auto claim = hw->claim(value)) {
        transfer(queue, claim->data());
        std::move(*claim).end(status);
      }
    }
  }

  Mode mode = Mode::end;
  std::deque<Mode> next;  // the modes of the next requests, in place of `mode`
  blkown::Status end_status = blkown::Status::ok;
  blkown::Status busy_status = blkown::Status::device_resource;
  std::uint32_t refused_queue = ~std::uint32_t{0};
  std::function<mq::TimeoutAction(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&)> on_timeout;
  std::vector<Seen> seen;
  std::deque<blkown::Owned<Rq>> kept;
  std::deque<std::pair<Hw*, std::uint64_t>> published;
  int calls = 0;
  int commits = 0;
  int timeouts = 0;
};

/// A driver with every hook. It publishes each request, takes none of a batch, and has data in its
/// requests that cannot move.
struct FullDriver {
  struct RequestData {
    RequestData() = default;
    RequestData(const RequestData&) = delete;
    RequestData& operator=(const RequestData&) = delete;
  };
  struct HwData {
    std::vector<std::uint64_t> published;  // of this queue
  };
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<FullDriver>;
  using Hw = mq::HwQueue<FullDriver>;
  using Answer = mq::Dispatch<FullDriver>;
  using Disk = mq::Disk<FullDriver>;

  virtual Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    publish(hw, std::move(idle));
    return Answer::accepted();
  }
  virtual void queue_rqs(Hw&, QueueData&, mq::IdleList<Rq>&) {}
  virtual void commit_rqs(Hw&, QueueData&) {}
  virtual void complete(Hw&, blkown::Claim<Rq> claim) { std::move(claim).end_ok(); }
  virtual mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
    return mq::TimeoutAction::rearm;
  }
  virtual unsigned poll(Hw&) { return 0; }
  virtual blkown::Status init_hctx(Hw&, QueueData&) { return blkown::Status::ok; }
  virtual void exit_hctx(Hw&, QueueData&) {}
  virtual unsigned map_queues(mq::QueueType, unsigned context_index, unsigned queue_count) {
    return context_index % queue_count;
  }
  virtual unsigned report_zones(QueueData&, std::uint64_t, mq::Zone*, unsigned) { return 0; }

  static void publish(Hw& hw, blkown::Idle<Rq>&& idle) {
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { hw.data.published.push_back(cookie.value); });
  }
};

/// A clock that the test advances.
struct Clock {
  std::uint64_t now_ns = 1'000'000'000;
  mq::LoopHooks hooks() {
    return {.argument = this,
            .now_ns = [](void* clock) { return static_cast<Clock*>(clock)->now_ns; },
            .wake = nullptr};
  }
  void pass_ms(std::uint64_t ms) { now_ns += ms * 1'000'000; }
};

/// A disk on a LoopRuntime. The destructor removes the disk. D::Disk is the type of the disk: a
/// driver that derives from another one inherits it.
template <class D = Driver>
struct Bench {
  using Disk = typename D::Disk;
  using Pool = std::remove_reference_t<decltype(std::declval<Disk&>().pool())>;

  explicit Bench(mq::DiskConfig config = {}, std::uint32_t contexts = 1, Pool* pool = nullptr)
      : runtime{contexts, clock.hooks()} {
    if (config.capacity_sectors == 0) config.capacity_sectors = 1024;
    typename D::QueueData data;
    data.medium.resize(static_cast<std::size_t>(config.capacity_sectors * mq::sector_bytes));
    auto made = Disk::create(config, driver, runtime, std::move(data), pool);
    if (made.has_value()) disk = *std::move(made);
  }
  ~Bench() { remove(); }

  void remove() {
    if (disk == nullptr) return;
    run([&](mq::Control& control) { disk->remove(control); });
    disk.reset();
  }
  /// Starts an operation with `start(control)` and runs the contexts until the operation is done.
  template <class Start>
  bool run(Start start) {
    mq::Event done;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &done}};
    start(control);
    const bool is_done = runtime.wait_for(done);
    if (!is_done) std::abort();  // the control may not be destroyed while it runs
    status = control.status();
    return is_done;
  }
  // Each starts the operation and runs the contexts until it is done.
  bool freeze() {
    return run([&](mq::Control& control) { disk->freeze(control); });
  }
  bool thaw() {
    return run([&](mq::Control& control) { disk->thaw(control); });
  }
  bool quiesce() {
    return run([&](mq::Control& control) { disk->quiesce(control); });
  }
  bool unquiesce() {
    return run([&](mq::Control& control) { disk->unquiesce(control); });
  }
  bool set_queue_count(std::uint32_t count) {
    return run([&](mq::Control& control) { disk->set_queue_count(control, count); });
  }

  /// Advances the clock in steps of 1 ms, and runs the contexts after each step.
  void pass_ms(unsigned ms) {
    for (; ms != 0; --ms) {
      clock.pass_ms(1);
      runtime.run();
    }
  }

  mq::Context& context(std::uint32_t index = 0) { return runtime.context(index); }
  typename D::QueueData& data() { return disk->queue_data(); }

  Clock clock;
  D driver;
  mq::LoopRuntime runtime;
  std::unique_ptr<Disk> disk;
  blkown::Status status = blkown::Status::ok;
};

/// Records the ends of bios: count, statuses and order.
struct Ends {
  static void on_end(void* self, mq::Bio& bio) {
    auto& ends = *static_cast<Ends*>(self);
    ++ends.count;
    ends.statuses.push_back(bio.status());
    ends.order.push_back(&bio);
    if (ends.then) ends.then(bio);
  }
  int count = 0;
  std::vector<blkown::Status> statuses;
  std::vector<mq::Bio*> order;
  std::function<void(mq::Bio&)> then;
};

/// Records the ends of private requests: their count, and the latest one.
struct PrivateEnd {
  static void on_end(void* self, mq::Payload<Driver>& payload) {
    auto& end = *static_cast<PrivateEnd*>(self);
    ++end.count;
    end.status = payload.status();
    end.number = payload.driver_data.number;
  }
  int count = 0;
  int number = 0;
  blkown::Status status = blkown::Status::ok;
};

/// Executes a private request with a number and, unless `timeout_ms` is 0, a timeout of its own.
/// Returns false if no tag is free.
[[nodiscard]] inline bool execute_private(Bench<>& bench, std::uint32_t context, int number,
                                          PrivateEnd& end, std::uint32_t timeout_ms = 0) {
  auto idle = bench.disk->allocate_private(bench.context(context), mq::Op::driver_in, false);
  if (!idle.has_value()) return false;
  idle->data().driver_data.number = number;
  bench.disk->execute_private(bench.context(context), *std::move(idle), {&PrivateEnd::on_end, &end},
                              timeout_ms);
  return true;
}

/// Memory filled with a pattern that the seed selects.
inline std::vector<std::byte> pattern(std::size_t length_bytes, unsigned seed) {
  std::vector<std::byte> bytes(length_bytes);
  for (std::size_t i = 0; i != length_bytes; ++i) {
    bytes[i] = static_cast<std::byte>((i * 131 + (i >> 8) + seed * 29) & 0xFF);
  }
  return bytes;
}

inline blkown::Segment whole(std::vector<std::byte>& bytes) { return {bytes.data(), bytes.size()}; }

/// A read of one block, with its memory and its record of ends.
struct Read {
  explicit Read(std::uint64_t sector = 0)
      : bio{mq::Bio::read(sector, whole(memory), {&Ends::on_end, &ends})} {}
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  Ends ends;
  mq::Bio bio;
};

}  // namespace fake

#endif
