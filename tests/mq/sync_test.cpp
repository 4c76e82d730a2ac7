// SPDX-License-Identifier: BSL-1.0
//
// Tests of the functions in sync.hpp on each runtime, of the destruction of disks, and of zones.

#include <gtest/gtest.h>

#include <blkown/mq/sync.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mq/fake_driver.hpp"
#include "stress/effort.hpp"
#include "support/recording.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;

mq::DiskConfig everything() {
  return {.capacity_sectors = 256,
          .limits = {.max_sectors = 8, .max_discard_sectors = 64, .max_write_zeroes_sectors = 64},
          .write_cache = true};
}

mq::DiskConfig with_a_zone() {
  return {.capacity_sectors = 64,
          .limits = {.max_zone_append_sectors = 8},
          .zoned = true,
          .zone_sectors = 64};
}

template <class Rt>
void use_disk(Rt& runtime) {
  fake::Driver driver;
  auto disk = *mq::Disk<fake::Driver>::create(everything(), driver, runtime,
                                              {std::vector<std::byte>(256 * 512)});
  const auto data = fake::pattern(64 * 512, 5);
  std::vector<std::byte> back(data.size());
  EXPECT_EQ(mq::write(runtime, *disk, 10, data, {.fua = true}), Status::ok);
  EXPECT_EQ(mq::read(runtime, *disk, 10, back), Status::ok);
  EXPECT_EQ(back, data);
  EXPECT_EQ(mq::flush(runtime, *disk), Status::ok);
  EXPECT_EQ(mq::write_zeroes(runtime, *disk, 10, 32 * 512), Status::ok);
  EXPECT_EQ(mq::discard(runtime, *disk, 42, 16 * 512), Status::ok);
  EXPECT_EQ(mq::read(runtime, *disk, 10, back), Status::ok);
  for (std::size_t i = 0; i != 48 * 512; ++i) ASSERT_EQ(back[i], std::byte{0});
  EXPECT_EQ(back[48 * 512], data[48 * 512]);
  EXPECT_EQ(mq::read(runtime, *disk, 250, back), Status::invalid);
  EXPECT_EQ(mq::run_and_wait(runtime, [&](mq::Control& c) { disk->freeze(c); }), Status::ok);
  EXPECT_EQ(mq::run_and_wait(runtime, [&](mq::Control& c) { disk->thaw(c); }), Status::ok);
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

TEST(Sync, OnACallersLoop) {
  mq::LoopRuntime runtime{2};
  use_disk(runtime);
}

TEST(Sync, OnThreads) {
  mq::ThreadRuntime runtime{2};
  use_disk(runtime);
}

TEST(Sync, FromASeed) {
  for (std::uint64_t seed = 0; seed != 20; ++seed) {
    blkown::sim::DeterministicRuntime runtime{seed, 3};
    use_disk(runtime);
    EXPECT_TRUE(runtime.run_until_idle(1000));
  }
}

/// A disk whose device answers when a report is made, or at a time.
template <class Rt>
class SlowDisk {
 public:
  explicit SlowDisk(Rt& runtime) : runtime_{runtime} {
    driver_.mode = fake::Driver::Mode::publish;
    disk_ = *mq::Disk<fake::Driver>::create({.name = "slow", .capacity_sectors = 8}, driver_,
                                            runtime, {std::vector<std::byte>(8 * 512)});
    self_ = this;
    before_ = blkown::set_report_handler(&on_report);
  }
  SlowDisk(const SlowDisk&) = delete;
  SlowDisk& operator=(const SlowDisk&) = delete;
  ~SlowDisk() {
    EXPECT_EQ(mq::remove(runtime_, *disk_, 0), Status::ok);
    blkown::set_report_handler(before_);
  }

  void answer_after_ms(std::uint64_t ms) { alarm_.arm(runtime_.context(0), ms * 1'000'000); }
  [[nodiscard]] Status read(std::uint32_t report_after_ms) {
    return mq::read(runtime_, *disk_, 0, memory_, report_after_ms);
  }

  bool answers_report = false;
  std::vector<std::string> reports;

 private:
  static void on_report(blkown::Report report, const blkown::Incident& incident) {
    EXPECT_EQ(report, blkown::Report::long_wait);
    self_->reports.push_back(std::string{incident.operation} + ' ' + incident.subject + ' ' +
                             std::to_string(incident.count));
    if (self_->answers_report) self_->runtime_.context(0).post(self_->answer_);
  }

  static inline SlowDisk* self_ = nullptr;
  Rt& runtime_;
  fake::Driver driver_;
  std::unique_ptr<mq::Disk<fake::Driver>> disk_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(512);
  blkown::ReportHandler before_ = nullptr;
  mq::Work answer_{[](void* its, mq::Work&) {
                     auto& self = *static_cast<SlowDisk*>(its);
                     self.driver_.reap(self.disk_->queue_data());
                   },
                   this};
  mq::Alarm alarm_{[](void* its, mq::Alarm&) {
                     auto& self = *static_cast<SlowDisk*>(its);
                     self.driver_.reap(self.disk_->queue_data());
                   },
                   this};
};
using Texts = std::vector<std::string>;

// Goal: a call that waits reports that once, whichever runtime it waits on, and waits on: here the
// device answers when the report was made.
TEST(Sync, ACallThatWaitsReportsItAndWaitsOnOnACallersLoop) {
  mq::LoopRuntime runtime{2};
  SlowDisk slow{runtime};
  slow.answers_report = true;
  EXPECT_EQ(slow.read(1), Status::ok);
  EXPECT_EQ(slow.reports, Texts{"mq::read slow 1"});
  EXPECT_EQ(slow.read(2), Status::ok);
  EXPECT_EQ(slow.reports, (Texts{"mq::read slow 1", "mq::read slow 2"}));
}
TEST(Sync, ACallThatWaitsReportsItAndWaitsOnOnThreads) {
  mq::ThreadRuntime runtime{2};
  SlowDisk slow{runtime};
  slow.answers_report = true;
  EXPECT_EQ(slow.read(1), Status::ok);
  EXPECT_EQ(slow.reports, Texts{"mq::read slow 1"});
}
TEST(Sync, ACallThatWaitsReportsItOnACallersClock) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  // A loop that always has work hides neither the deadline nor the event.
  struct Ticks : mq::Work {
    explicit Ticks(fake::Clock& its_clock)
        : Work{[](void* its, Work& work) {
                 auto& ticks = *static_cast<Ticks*>(its);
                 ticks.clock.pass_ms(1);
                 if (!ticks.is_stopped) mq::Context::current()->post_local(work);
               },
               this},
          clock{its_clock} {}
    fake::Clock& clock;
    bool is_stopped = false;
  } ticks{clock};
  SlowDisk slow{runtime};
  runtime.context(0).post(ticks);
  slow.answers_report = true;
  EXPECT_EQ(slow.read(5000), Status::ok);
  EXPECT_EQ(slow.reports, Texts{"mq::read slow 5000"});
  ticks.is_stopped = true;
  runtime.run();
}

// Goal: on a simulated clock, the report comes at its time, once, and no sooner.
TEST(Sync, ACallThatWaitsReportsItAtASimulatedTime) {
  blkown::sim::DeterministicRuntime runtime{1, 2};
  SlowDisk slow{runtime};
  slow.answer_after_ms(25'000);
  EXPECT_EQ(slow.read(mq::default_report_after_ms), Status::ok);
  EXPECT_EQ(slow.reports, Texts{"mq::read slow 10000"});
  slow.answer_after_ms(25'000);
  EXPECT_EQ(slow.read(26'000), Status::ok);
  slow.answer_after_ms(25'000);
  EXPECT_EQ(slow.read(0), Status::ok);
  EXPECT_EQ(slow.reports, Texts{"mq::read slow 10000"});
  // The clock does not jump past the report to a timer.
  mq::Event never;
  slow.answer_after_ms(25'000);
  const std::uint64_t deadline_ns = runtime.now_ns() + 1'000'000'000;
  EXPECT_FALSE(runtime.wait_until(never, deadline_ns));
  EXPECT_EQ(runtime.now_ns(), deadline_ns);
  EXPECT_TRUE(runtime.run_until_idle(1000));
  EXPECT_FALSE(runtime.wait_until(never, runtime.now_ns() + 1'000'000'000));
}

// Goal: without a handler for reports, a call that waits prints nothing.
TEST(Sync, ACallThatWaitsIsSilentWithoutAHandler) {
  blkown::sim::DeterministicRuntime runtime{1, 2};
  SlowDisk slow{runtime};
  const auto handler = blkown::set_report_handler(nullptr);
  slow.answer_after_ms(25'000);
  testing::internal::CaptureStderr();
  EXPECT_EQ(slow.read(mq::default_report_after_ms), Status::ok);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  blkown::set_report_handler(handler);
}

// Goal: each call names itself.
TEST(Sync, EachCallThatWaitsReportsIt) {
  blkown::sim::DeterministicRuntime runtime{1, 2};
  fake::Driver driver;
  driver.mode = fake::Driver::Mode::publish;
  auto disk = *mq::Disk<fake::Driver>::create(everything(), driver, runtime,
                                              {std::vector<std::byte>(256 * 512)});
  auto zoned = *mq::Disk<fake::Driver>::create(with_a_zone(), driver, runtime);
  support::ReportLog log;
  std::function<void()> reap = [&] { driver.reap(disk->queue_data()); };
  mq::Alarm alarm{[](void* its, mq::Alarm&) { (*static_cast<std::function<void()>*>(its))(); },
                  &reap};
  const auto slowly = [&](const char* name, const std::function<Status()>& call) {
    alarm.arm(runtime.context(0), 25'000'000'000);
    EXPECT_EQ(call(), Status::ok) << name;
    ASSERT_FALSE(log.entries().empty()) << name;
    EXPECT_STREQ(log.last().incident.operation, name);
    EXPECT_EQ(log.last().report, blkown::Report::long_wait);
  };
  std::vector<std::byte> memory(512);
  slowly("mq::read", [&] { return mq::read(runtime, *disk, 0, memory); });
  slowly("mq::write", [&] { return mq::write(runtime, *disk, 0, memory); });
  slowly("mq::flush", [&] { return mq::flush(runtime, *disk); });
  slowly("mq::discard", [&] { return mq::discard(runtime, *disk, 0, 512); });
  slowly("mq::write_zeroes", [&] { return mq::write_zeroes(runtime, *disk, 0, 512); });
  slowly("mq::zone_append", [&] {
    const auto written = mq::zone_append(runtime, *zoned, 0, memory);
    return written ? Status::ok : written.error();
  });
  slowly("mq::zone", [&] { return mq::zone(runtime, *zoned, mq::Op::zone_reset, 0); });
  slowly("mq::submit_and_wait", [&] {
    return mq::submit_and_wait(runtime, *disk,
                               [](mq::OnEnd<mq::Bio> on_end) { return mq::Bio::flush(on_end); });
  });
  mq::Bio left = mq::Bio::flush({});
  const auto submit = [&] {
    const mq::Context::Scope scope{runtime.context(0)};
    disk->submit(runtime.context(0), left);
  };
  submit();
  slowly("mq::run_and_wait", [&] {
    return mq::run_and_wait(runtime, *disk, [&](mq::Control& c) { disk->freeze(c); });
  });
  EXPECT_EQ(mq::run_and_wait(runtime, *disk, [&](mq::Control& c) { disk->thaw(c); }), Status::ok);
  submit();
  slowly("mq::remove", [&] { return mq::remove(runtime, *disk); });
  EXPECT_EQ(log.count(), 10U);
  EXPECT_EQ(mq::remove(runtime, *zoned), Status::ok);
}

// Goal: a disk may be destroyed as soon as its removal is done, while its contexts' threads still
// return from it.
// Goal: the flags of a synchronous write reach the disk: the data is durable on return.
TEST(Sync, AWriteKeepsItsFlags) {
  const std::vector<std::byte> data(512);
  for (const bool fua : {false, true}) {
    mq::DiskConfig config = everything();
    config.fua = fua;
    fake::Bench bench{config};
    const auto steps_of = [&](mq::IoFlags flags) {
      bench.driver.seen.clear();
      EXPECT_EQ(mq::write(bench.runtime, *bench.disk, 0, data, flags), Status::ok);
      std::string steps;
      for (const fake::Seen& seen : bench.driver.seen) {
        steps += seen.op == mq::Op::flush ? 'f' : (seen.flags.fua ? 'W' : 'w');
      }
      return steps;
    };
    EXPECT_EQ(steps_of({}), "w");
    EXPECT_EQ(steps_of({.fua = true}), fua ? "W" : "wf");
    EXPECT_EQ(steps_of({.preflush = true}), "fw");
    EXPECT_EQ(steps_of({.fua = true, .preflush = true}), fua ? "fW" : "fwf");
  }
}

TEST(Sync, ADiskMayBeDestroyedAsSoonAsItIsRemoved) {
  mq::ThreadRuntime runtime{3};
  fake::Driver driver;
  std::vector<std::byte> memory(512);
  for (std::uint64_t i = 0; i != stress::scaled(2000, 300); ++i) {
    auto disk = *mq::Disk<fake::Driver>::create(
        {.capacity_sectors = 8, .normal_queues = 1 + static_cast<std::uint32_t>(i % 3), .depth = 2},
        driver, runtime, {std::vector<std::byte>(8 * 512)});
    EXPECT_EQ(mq::read(runtime, *disk, 0, memory), Status::ok);
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    driver.seen.clear();
  }
}

/// A driver whose device completes requests on another context.
struct Elsewhere : fake::Driver {
  struct Device : mq::Work {
    Device() : Work{[](void* self, Work&) { static_cast<Device*>(self)->run(); }, this} {}
    void run() { std::move(*hw->claim(value)).end_ok(); }
    Hw* hw = nullptr;
    std::uint64_t value = 0;
  };
  explicit Elsewhere(mq::Context& its_context) : context{its_context} {}
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    std::move(idle).start().publish([&](const blkown::Cookie& cookie) {
      device.hw = &hw;
      device.value = cookie.value;
      context.post(device);
    });
    return Answer::accepted();
  }
  mq::Context& context;
  Device device;
};

// Goal: a removed disk may be destroyed while the context that ended its last request returns from
// that end.
TEST(Sync, ADiskMayBeDestroyedWhileAnotherContextLeavesItsLastIo) {
  mq::ThreadRuntime runtime{2};
  Elsewhere driver{runtime.context(1)};
  std::vector<std::byte> memory(512);
  for (std::uint64_t i = 0; i != stress::scaled(3000, 500); ++i) {
    auto disk = *Elsewhere::Disk::create({.capacity_sectors = 8, .depth = 2}, driver, runtime);
    EXPECT_EQ(mq::read(runtime, *disk, 0, memory), Status::ok);
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
  }
}

// Goal: any thread may print the table of a disk under I/O. ThreadSanitizer judges.
TEST(Sync, AThreadPrintsTheTableOfADiskUnderIo) {
  mq::ThreadRuntime runtime{2};
  Elsewhere driver{runtime.context(1)};
  auto disk = *Elsewhere::Disk::create({.capacity_sectors = 8, .depth = 1}, driver, runtime);
  struct Submitter {
    Submitter(Elsewhere::Disk& its_disk, std::uint64_t its_left) : disk{its_disk}, left{its_left} {}
    static void on_end(void* its, mq::Bio& bio) {
      auto& self = *static_cast<Submitter*>(its);
      EXPECT_EQ(bio.status(), Status::ok);
      if (self.left != 0) {
        --self.left;
        return self.disk.submit(bio);
      }
      if (++self.ended == self.bios.size()) self.done.set();
    }
    Elsewhere::Disk& disk;
    std::uint64_t left;
    std::vector<std::byte> memory = std::vector<std::byte>(512);
    std::vector<mq::Bio> bios = std::vector<mq::Bio>(4);
    std::size_t ended = 0;
    mq::Event done;
  } submitter{*disk, stress::scaled(2000, 300)};
  runtime.run_on(0, [&] {
    for (mq::Bio& bio : submitter.bios) {
      bio.set_read(0, fake::whole(submitter.memory), {&Submitter::on_end, &submitter});
      disk->submit(bio);
    }
  });
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
  while (!submitter.done.is_set()) {
    std::rewind(file.get());
    disk->print_in_flight(file.get());
  }
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

struct Zoned : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    auto owned = std::move(idle).start();
    mq::Payload<fake::Driver>& request = owned.data();
    if (request.op() == mq::Op::zone_append) {
      const std::uint64_t zone = request.sector() / 64;
      request.set_written_sector(zone * 64 + filled[zone]);
      filled[zone] += request.length_bytes() / 512;
    }
    std::move(owned).end_ok();
    return Answer::accepted();
  }
  unsigned report_zones(QueueData&, std::uint64_t sector, mq::Zone* zones,
                        unsigned count) override {
    if (in_report) in_report();
    unsigned described = 0;
    for (std::uint64_t zone = sector / 64; zone != 4 && described != count; ++zone) {
      zones[described++] = {.start_sector = zone * 64,
                            .length_sectors = 64,
                            .capacity_sectors = 64,
                            .write_pointer_sector = zone * 64 + filled[zone],
                            .is_sequential = true,
                            .condition = filled[zone] == 0 ? mq::Zone::Condition::empty
                                                           : mq::Zone::Condition::implicit_open};
    }
    return described;
  }
  std::uint64_t filled[4] = {};
  std::function<void()> in_report;
};

TEST(Zones, AnAppendGivesItsSectorAndAReportDescribesTheZones) {
  fake::Bench<Zoned> bench{{.capacity_sectors = 256,
                            .limits = {.max_zone_append_sectors = 16},
                            .zoned = true,
                            .zone_sectors = 64}};
  std::vector<std::byte> memory(4096);
  const std::vector<blkown::Segment> parts{fake::whole(memory)};
  fake::Ends ends;
  for (const std::uint64_t expected : {128U, 136U, 144U}) {
    mq::Bio append = mq::Bio::zone_append(128, parts, {&fake::Ends::on_end, &ends});
    bench.disk->submit(bench.context(), append);
    EXPECT_EQ(append.status(), Status::ok);
    EXPECT_EQ(append.written_sector(), expected);
  }
  std::array<mq::Zone, 8> zones;
  ASSERT_EQ(bench.disk->report_zones(70, zones), 3U);
  EXPECT_EQ(zones[0].start_sector, 64U);
  EXPECT_EQ(zones[1].write_pointer_sector, 152U);
  EXPECT_EQ(zones[1].condition, mq::Zone::Condition::implicit_open);
  EXPECT_EQ(bench.disk->report_zones(256, zones), 0U);
}

TEST(Zones, CallsThatWaitAppendAndManage) {
  fake::Bench<Zoned> bench{{.capacity_sectors = 256,
                            .limits = {.max_zone_append_sectors = 16},
                            .zoned = true,
                            .zone_sectors = 64}};
  const std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::zone_append(bench.runtime, *bench.disk, 64, memory), 64U);
  EXPECT_EQ(mq::zone_append(bench.runtime, *bench.disk, 64, memory), 72U);
  EXPECT_EQ(mq::zone_append(bench.runtime, *bench.disk, 65, memory).error(), Status::invalid);
  EXPECT_EQ(mq::zone(bench.runtime, *bench.disk, mq::Op::zone_finish, 64), Status::ok);
  EXPECT_EQ(mq::zone(bench.runtime, *bench.disk, mq::Op::zone_reset, 63), Status::invalid);
}

// Goal: a driver that runs the contexts in report_zones does not hold up a removal.
TEST(Zones, ARemovalEndsWhileTheDriverReports) {
  fake::Bench<Zoned> bench{{.capacity_sectors = 256, .zoned = true, .zone_sectors = 64}};
  mq::Control removal{{[](void*, mq::Control&) {}, nullptr}};
  bench.disk->remove(removal);
  bench.driver.in_report = [&] { bench.runtime.run_some(100); };
  std::array<mq::Zone, 8> zones;
  EXPECT_EQ(bench.disk->report_zones(0, zones), 4U);
  EXPECT_FALSE(removal.is_running());
  EXPECT_EQ(bench.disk->report_zones(0, zones), 0U);
  bench.disk.reset();
}

// Goal: a removed disk does not call its driver: the driver may have given up its device.
TEST(Zones, ARemovedDiskReportsNone) {
  fake::Bench<Zoned> bench{{.capacity_sectors = 256, .zoned = true, .zone_sectors = 64}};
  std::array<mq::Zone, 8> zones;
  EXPECT_EQ(bench.disk->report_zones(0, zones), 4U);
  EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
  EXPECT_EQ(bench.disk->report_zones(0, zones), 0U);
  bench.disk.reset();
}

}  // namespace
