// SPDX-License-Identifier: BSL-1.0
//
// Goal: a run of a driver of the block layer can be repeated, its options reach the disk, and the
// world reports a driver that does not start, stop or leave its disk alone.
// Method: the driver of examples/nvme, with one step replaced.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/harness/mq_world.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/broken_mq/variant_driver.hpp"

namespace {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using broken_mq::VariantDriver;
using MqWorldConfig = sim::WorldConfig;

/// What the driver of a run has seen.
struct SeenByDriver {
  int calls = 0;  // of queue_rq
  int writes = 0;
  int fua_writes = 0;
  int interrupts_within_calls = 0;
  int resets = 0;
  int opened = 0;         // queues
  int local_batches = 0;  // of completions
  int other_batches = 0;
  std::set<std::uint64_t> write_sectors;
  std::set<mq::Op> ops;
  mq::DiskConfig disk;
};

class SeeingDriver : public VariantDriver {
 public:
  SeeingDriver(sim::MqHost& host, SeenByDriver& seen) : VariantDriver{host}, seen_{seen} {}

  Answer queue_rq(Hw& hw, const broken_mq::NamespaceInfo& info, blkown::Idle<Rq> idle,
                  bool is_last) override {
    const auto& about = idle.data();
    ++seen_.calls;
    seen_.disk = hw.disk().config();
    seen_.ops.insert(about.op());
    if (about.op() == mq::Op::write) {
      ++seen_.writes;
      seen_.fua_writes += about.flags().fua ? 1 : 0;
      seen_.write_sectors.insert(about.length_bytes() / 512);
    }
    is_within_ = true;
    auto answer = VariantDriver::queue_rq(hw, info, std::move(idle), is_last);
    is_within_ = false;
    return answer;
  }
  void interrupt(std::uint32_t vector) override {
    seen_.interrupts_within_calls += is_within_ ? 1 : 0;
    VariantDriver::interrupt(vector);
  }
  void reset() override {
    ++seen_.resets;
    VariantDriver::reset();
  }
  blkown::Status init_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    ++seen_.opened;
    return VariantDriver::init_hctx(hw, info);
  }

 protected:
  void take(Hw& lookup, std::span<const broken_mq::CompletionEntry> entries,
            Caller caller) override {
    VariantDriver::take(lookup, entries, caller);
    seen_.local_batches = local_batches_;
    seen_.other_batches = other_batches_;
  }

 private:
  SeenByDriver& seen_;
  bool is_within_ = false;
};

[[nodiscard]] MqWorldConfig mq_config(std::uint64_t seed) {
  MqWorldConfig config;
  config.seed = seed;
  config.io_count = 300;
  return config;
}
[[nodiscard]] MqWorldConfig without_faults(std::uint64_t seed) {
  MqWorldConfig config = mq_config(seed);
  config.rates = sim::FaultRates::none();
  return config;
}

using MqTestWorld = sim::MqWorld<VariantDriver>;

/// A run of a right driver, and what the driver has seen.
[[nodiscard]] SeenByDriver seen_in(const MqWorldConfig& config) {
  SeenByDriver seen;
  MqTestWorld world{config,
                    [&](sim::MqHost& host) { return std::make_unique<SeeingDriver>(host, seen); }};
  EXPECT_TRUE(world.run()) << world.finding().what;
  EXPECT_EQ(world.ended(), config.io_count);
  return seen;
}

/// All that a run shows.
[[nodiscard]] std::string text_of_run(const MqWorldConfig& config) {
  MqTestWorld world{config};
  EXPECT_TRUE(world.run()) << world.finding().what;
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  std::fprintf(file, "%llu events, %llu ended ok, %zu faults\n",
               static_cast<unsigned long long>(world.events()),
               static_cast<unsigned long long>(world.ended_ok()), world.faults().struck().size());
  for (std::uint32_t tag = 0; tag != config.depth; ++tag) {
    world.history().print(file, blkown::QueueIndex{1}, blkown::Tag{tag}, 10'000);
  }
  std::fclose(file);
  std::string copy{text, size};
  std::free(text);
  return copy;
}

TEST(MqWorld, TheSameSeedIsTheSameRun) {
  std::set<std::string> texts;
  for (std::uint64_t seed = 0; seed != 3; ++seed) {
    const std::string text = text_of_run(mq_config(seed));
    EXPECT_EQ(text_of_run(mq_config(seed)), text);
    texts.insert(text);
  }
  EXPECT_EQ(texts.size(), 3U);
}

TEST(MqWorld, WithoutFaultsEveryIoEndsOk) {
  for (std::uint64_t seed = 0; seed != 3; ++seed) {
    MqTestWorld world{without_faults(seed)};
    EXPECT_TRUE(world.run()) << world.finding().what;
    // Those that are left at the removal end with `offline`.
    EXPECT_GE(world.ended_ok(), 300U - 7U);
    EXPECT_TRUE(world.faults().struck().empty());
  }
}

// --- options -------------------------------------------------------------------------------------

TEST(MqWorld, TheDiskHasWhatTheConfigurationSays) {
  MqWorldConfig config = without_faults(0);
  config.queue_count = 3;
  config.depth = 6;
  config.reserved_depth = 1;
  config.timeout_ns = 2'500'001;
  const mq::DiskConfig made = seen_in(config).disk;
  EXPECT_EQ(made.normal_queues, 3U);
  EXPECT_EQ(made.poll_queues, 0U);
  EXPECT_EQ(made.depth, 6U);
  EXPECT_EQ(made.reserved_depth, 1U);
  EXPECT_EQ(made.timeout_ms, 3U) << "rounded up";
  EXPECT_EQ(made.logical_block_bytes, 512U);
  EXPECT_EQ(made.limits.max_sectors, 8U);
  EXPECT_EQ(made.limits.max_segments, 4U);
  EXPECT_EQ(made.limits.max_discard_sectors, 8U);
  EXPECT_EQ(made.limits.max_write_zeroes_sectors, 8U);
  config.timeout_ns = ~std::uint64_t{0};
  EXPECT_EQ(seen_in(config).disk.timeout_ms, 1U << 30);
  config = without_faults(0);
  config.fixed.block_bytes = 4096;
  EXPECT_EQ(seen_in(config).disk.limits.max_sectors, 16U);
}

TEST(MqWorld, TheOperationsAreThoseOfTheMix) {
  MqWorldConfig config = without_faults(0);
  config.preflush_percent = 0;
  config.fua_percent = 0;
  config.mix = sim::OperationMix{
      .flush = 0, .discard = 1, .write_zeroes = 1, .write = 0, .read = 1, .compare = 0};
  EXPECT_EQ(seen_in(config).ops, (std::set{mq::Op::discard, mq::Op::write_zeroes, mq::Op::read}));
  config.mix = sim::OperationMix{
      .flush = 1, .discard = 0, .write_zeroes = 0, .write = 1, .read = 0, .compare = 0};
  const SeenByDriver seen = seen_in(config);
  EXPECT_EQ(seen.ops, (std::set{mq::Op::flush, mq::Op::write}));
  EXPECT_EQ(*seen.write_sectors.rbegin(), 8U) << "bios of up to 16 sectors are split";
}

// Goal: the seeds test both ways in which a Claim is passed to its context.
TEST(MqWorld, TheDriverPassesClaimsLocallyAndByAPost) {
  const SeenByDriver seen = seen_in(mq_config(0));
  EXPECT_GT(seen.local_batches, 0);
  EXPECT_GT(seen.other_batches, 0);
}

TEST(MqWorld, TheDriverGetsFuaIfTheDiskHasIt) {
  for (const bool has_fua : {false, true}) {
    MqWorldConfig config = without_faults(0);
    config.fixed.has_fua = has_fua;
    config.fixed.has_cache = true;
    config.fua_percent = 100;
    const SeenByDriver seen = seen_in(config);
    EXPECT_EQ(seen.disk.fua, has_fua);
    EXPECT_GT(seen.writes, 0);
    EXPECT_EQ(seen.fua_writes, has_fua ? seen.writes : 0);
    config.fua_percent = 0;
    EXPECT_EQ(seen_in(config).fua_writes, 0);
  }
}

TEST(MqWorld, APreflushIsAFlushOfTheDriver) {
  MqWorldConfig config = without_faults(0);
  config.mix = sim::OperationMix{
      .flush = 0, .discard = 0, .write_zeroes = 0, .write = 1, .read = 0, .compare = 0};
  config.fua_percent = 0;
  config.fixed.has_cache = true;
  config.preflush_percent = 0;
  EXPECT_EQ(seen_in(config).ops, (std::set{mq::Op::write}));
  config.preflush_percent = 100;
  EXPECT_EQ(seen_in(config).ops, (std::set{mq::Op::write, mq::Op::flush}));
  config.preflush_percent = std::nullopt;
  EXPECT_EQ(seen_in(config).ops, (std::set{mq::Op::write, mq::Op::flush})) << "one in eight";
}

TEST(MqWorld, CommandsMayBeDoneBeforeTheDoorbellReturns) {
  MqWorldConfig config = without_faults(0);
  config.io_count = 1000;
  config.latency = sim::LatencyShape::constant;
  config.shortest_ns = 0;
  const SeenByDriver seen = seen_in(config);
  EXPECT_GT(seen.interrupts_within_calls, 0);
  EXPECT_LT(seen.interrupts_within_calls, seen.calls / 4);
}

TEST(MqWorld, AnAdministratorResetsTheDeviceAndChangesTheQueuesOnRequest) {
  MqWorldConfig config = without_faults(1);
  config.io_count = 1000;
  const SeenByDriver plain = seen_in(config);
  EXPECT_EQ(plain.resets, 0);
  EXPECT_EQ(plain.opened, 2);
  config.has_resets = true;
  EXPECT_GT(seen_in(config).resets, 3);
  config.has_queue_changes = true;
  EXPECT_GT(seen_in(config).opened, 2);
}

// --- disks that come and go ----------------------------------------------------------------------

/// Notes the disks that come and go, and their I/O.
class ComeAndGo : public VariantDriver {
 public:
  struct Life {
    std::uint32_t nsid = 0;
    int issued = 0;            // requests
    int issued_by_others = 0;  // since the end
    bool is_over = false;
  };
  ComeAndGo(sim::MqHost& host, std::vector<Life>& lives) : VariantDriver{host}, lives_{lives} {}

  blkown::Status init_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    if (hw.index().value == 0) {
      life_of_[&hw.disk()] = lives_.size();
      lives_.push_back({.nsid = info.nsid});
    }
    return VariantDriver::init_hctx(hw, info);
  }
  void exit_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    lives_[life_of_.at(&hw.disk())].is_over = true;
    VariantDriver::exit_hctx(hw, info);
  }
  Answer queue_rq(Hw& hw, const broken_mq::NamespaceInfo& info, blkown::Idle<Rq> idle,
                  bool is_last) override {
    ++lives_[life_of_.at(&hw.disk())].issued;
    for (Life& life : lives_) life.issued_by_others += life.is_over ? 1 : 0;
    return VariantDriver::queue_rq(hw, info, std::move(idle), is_last);
  }

 private:
  std::vector<Life>& lives_;
  std::map<const void*, std::size_t> life_of_;  // by disk, of which one may have another's address
};

// Goal: a namespace gets a disk again while the other disk has I/O, and the new disk has I/O, too.
TEST(MqWorld, ARemovedDiskIsMadeAgainWhileTheOthersHaveIo) {
  int returns = 0, whole_runs = 0;
  for (std::uint64_t seed = 0; seed != 24; ++seed) {
    MqWorldConfig config = mq_config(seed);
    config.disk_count = 2;
    config.io_count = 600;
    std::vector<ComeAndGo::Life> lives;
    MqTestWorld world{config,
                      [&](sim::MqHost& host) { return std::make_unique<ComeAndGo>(host, lives); }};
    EXPECT_TRUE(world.run()) << "seed " << seed << ": " << world.finding().what;
    EXPECT_EQ(world.ended(), config.io_count);
    if (lives.size() == 2) ++whole_runs;
    for (std::size_t later = 2; later < lives.size(); ++later) {
      EXPECT_TRUE(std::ranges::any_of(std::span{lives}.first(later),
                                      [&](const auto& life) {
                                        return life.nsid == lives[later].nsid &&
                                               life.issued_by_others != 0;
                                      }))
          << "seed " << seed;
      if (lives[later].issued != 0) ++returns;
    }
  }
  EXPECT_GE(returns, 8);
  EXPECT_GE(whole_runs, 6);
}

TEST(MqWorld, ARunInWhichDisksComeAndGoIsRepeatedFromItsSeed) {
  for (std::uint64_t seed = 0; seed != 8; ++seed) {
    MqWorldConfig config = mq_config(seed);
    config.disk_count = 3;
    EXPECT_EQ(text_of_run(config), text_of_run(config)) << seed;
  }
}

// --- findings ------------------------------------------------------------------------------------

/// The world of the driver D. A world with a finding cannot be destroyed in order, so it is kept.
template <class D, class... Arguments>
[[nodiscard]] MqTestWorld& mq_world_of(const MqWorldConfig& config, Arguments... arguments) {
  static auto* const kept = new std::vector<std::unique_ptr<MqTestWorld>>;
  return *kept->emplace_back(std::make_unique<MqTestWorld>(
      config, [=](sim::MqHost& host) { return std::make_unique<D>(host, arguments...); }));
}
template <class D, class... Arguments>
[[nodiscard]] const sim::Finding& finding_of_mq(const MqWorldConfig& config,
                                                Arguments... arguments) {
  MqTestWorld& world = mq_world_of<D>(config, arguments...);
  EXPECT_FALSE(world.run());
  return world.finding();
}

/// A driver that looks completions up with the queues of the disk that was made first.
class FirstDiskLooksUp : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;
  blkown::Status init_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    first_.try_emplace(hw.index().value, &hw);
    return VariantDriver::init_hctx(hw, info);
  }

 private:
  void take(Hw& lookup, std::span<const broken_mq::CompletionEntry> entries,
            Caller caller) override {
    VariantDriver::take(*first_.at(lookup.index().value), entries, caller);
  }

  std::map<std::uint32_t, Hw*> first_;
};

TEST(MqWorld, ReportsALookupWithAQueueOfARemovedDisk) {
  int findings = 0;
  for (std::uint64_t seed = 0; seed != 12 && findings == 0; ++seed) {
    MqWorldConfig config = without_faults(seed);
    config.disk_count = 2;
    MqTestWorld& world = mq_world_of<FirstDiskLooksUp>(config);
    if (world.run()) continue;
    EXPECT_EQ(world.finding().what,
              "the driver looked a completion up with a queue of a removed disk");
    EXPECT_TRUE(world.finding().has_request);
    ++findings;
  }
  EXPECT_EQ(findings, 1);
}

class WrongDisk : public VariantDriver {
 public:
  enum class Wrong { capacity, block, boundary };
  WrongDisk(sim::MqHost& host, Wrong wrong) : VariantDriver{host}, wrong_{wrong} {}
  [[nodiscard]] mq::DiskConfig identify(std::uint32_t nsid,
                                        broken_mq::NamespaceInfo& data) override {
    mq::DiskConfig its = VariantDriver::identify(nsid, data);
    if (wrong_ == Wrong::capacity) ++its.capacity_sectors;
    if (wrong_ == Wrong::block) its.logical_block_bytes = 1024;
    if (wrong_ == Wrong::boundary) its.limits.virt_boundary_mask = 5;
    return its;
  }

 private:
  Wrong wrong_;
};

TEST(MqWorld, ReportsADiskThatIsNotTheNamespace) {
  for (const auto wrong : {WrongDisk::Wrong::capacity, WrongDisk::Wrong::block}) {
    EXPECT_EQ(finding_of_mq<WrongDisk>(without_faults(0), wrong).what,
              "the driver took the namespace for another one");
  }
}

TEST(MqWorld, ReportsAConfigurationOfWhichNoDiskCanBeMade) {
  EXPECT_EQ(
      finding_of_mq<WrongDisk>(without_faults(0), WrongDisk::Wrong::boundary).what,
      "no disk can be made on the driver: virt_boundary_mask: not one less than a power of two");
}

/// A driver that does not start, or does not stop.
class Unwilling : public VariantDriver {
 public:
  Unwilling(sim::MqHost& host, bool starts) : VariantDriver{host}, starts_{starts} {}
  [[nodiscard]] bool start() override { return starts_ && VariantDriver::start(); }
  [[nodiscard]] bool stop() override { return false; }

 private:
  bool starts_;
};

TEST(MqWorld, ReportsADriverThatDoesNotStartOrStop) {
  EXPECT_EQ(finding_of_mq<Unwilling>(without_faults(0), false).what,
            "the driver did not start a controller without faults");
  EXPECT_EQ(finding_of_mq<Unwilling>(without_faults(0), true).what,
            "the driver did not stop the controller");
}

/// A driver that gives the controller up when it has failed.
class GivesUp : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;
  void failed() override { removed(); }
};

TEST(MqWorld, ReportsADriverThatGivesItsControllerUp) {
  MqWorldConfig config = mq_config(0);
  config.is_scripted = true;
  config.script = {{sim::FaultKind::fails_on_its_own, 40}};
  const sim::Finding& finding = finding_of_mq<GivesUp>(config);
  EXPECT_EQ(finding.what, "the driver has given the controller up");
}

/// A driver without a device and without timeouts, so that the run may be left without a timer. It
/// keeps its first request, or a private one.
struct Keeps {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<Keeps>;
  using Answer = mq::Dispatch<Keeps>;

  [[nodiscard]] static bool start() { return true; }
  [[nodiscard]] static bool stop() { return true; }
  [[nodiscard]] static mq::DiskConfig identify(std::uint32_t, QueueData&) {
    mq::DiskConfig its;
    its.capacity_sectors = std::uint64_t{2 * 2 * 8} * sim::Workload::slot_sectors;
    its.limits.max_discard_sectors = its.limits.max_write_zeroes_sectors = 8;
    return its;
  }
  static void interrupt(std::uint32_t) {}
  static void failed() {}
  Answer queue_rq(mq::HwQueue<Keeps>& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    if (!keeps_private) {
      request = std::move(idle).start();
      return Answer::accepted();
    }
    private_request = hw.disk().allocate_private(*mq::Context::current(), mq::Op::driver_in, true);
    std::move(idle).start().end(blkown::Status::io_error);
    return Answer::accepted();
  }

  bool keeps_private = false;
  std::optional<blkown::Owned<Rq>> request;
  std::optional<blkown::Idle<Rq>> private_request;
};

TEST(MqWorld, ReportsARunThatIsLeftWithoutWork) {
  static auto* const kept = new std::vector<std::unique_ptr<sim::MqWorld<Keeps>>>;
  const auto finding_of = [&](bool keeps_private) -> const sim::Finding& {
    MqWorldConfig config = without_faults(0);
    config.io_count = 1;
    config.mix = sim::OperationMix{
        .flush = 0, .discard = 0, .write_zeroes = 0, .write = 0, .read = 1, .compare = 0};
    auto& world =
        *kept->emplace_back(std::make_unique<sim::MqWorld<Keeps>>(config, [=](sim::MqHost&) {
          auto driver = std::make_unique<Keeps>();
          driver->keeps_private = keeps_private;
          return driver;
        }));
    EXPECT_FALSE(world.run());
    return world.finding();
  };
  EXPECT_EQ(finding_of(false).what, "no context has work left, but an I/O has not ended");
  EXPECT_TRUE(finding_of(false).has_request);
  EXPECT_EQ(finding_of(true).what, "no context has work left, but the disk is not removed");
}

/// Publishes a request of the pool that the disk does not know.
class BesideTheDisk : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;
  void exit_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    auto idle = hw.disk().pool().tags().allocate_tag(hw.index(), blkown::Tag{4});
    ASSERT_TRUE(idle.has_value());
    std::move(*idle).start().publish([](const blkown::Cookie&) {});
    VariantDriver::exit_hctx(hw, info);
  }
};

TEST(MqWorld, ReportsARequestThatIsInFlightAfterTheRemoval) {
  const sim::Finding& finding = finding_of_mq<BesideTheDisk>(without_faults(0));
  EXPECT_EQ(finding.what, "a request is in flight after the disk's removal");
  EXPECT_EQ(finding.tag, blkown::Tag{4});
}

/// Always has work.
class Busy : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;
  Answer queue_rq(Hw& hw, const broken_mq::NamespaceInfo& info, blkown::Idle<Rq> idle,
                  bool is_last) override {
    if (!work_.is_queued()) mq::Context::current()->post(work_);
    return VariantDriver::queue_rq(hw, info, std::move(idle), is_last);
  }

 private:
  mq::Work work_{[](void*, mq::Work& work) { mq::Context::current()->post(work); }, nullptr};
};

TEST(MqWorld, ReportsADriverThatHasWorkWithoutADisk) {
  MqWorldConfig config = without_faults(0);
  config.io_count = 1;
  config.queue_count = 1;
  config.depth = 3;
  EXPECT_EQ(finding_of_mq<Busy>(config).what,
            "the driver still has work after its disk was removed");
}

/// Undoes any quiesce, also another party's, at each interrupt.
class UnquiescesAlways : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;
  blkown::Status init_hctx(Hw& hw, broken_mq::NamespaceInfo& info) override {
    disk_ = &hw.disk();
    return VariantDriver::init_hctx(hw, info);
  }
  void interrupt(std::uint32_t vector) override {
    if (disk_ != nullptr && !unasked_.is_running()) disk_->unquiesce(unasked_);
    VariantDriver::interrupt(vector);
  }

 private:
  mq::Disk<VariantDriver>* disk_ = nullptr;
  mq::Control unasked_{{[](void*, mq::Control&) {}, nullptr}};
};

TEST(MqWorld, ReportsAnIoWhileAnotherPartyHasTheDiskQuiesced) {
  // An unquiesce without a quiesce is reported, too.
  const auto before = blkown::set_report_handler([](blkown::Report, const blkown::Incident&) {});
  MqWorldConfig config = without_faults(0);
  config.io_count = 5000;
  const sim::Finding& finding = finding_of_mq<UnquiescesAlways>(config);
  blkown::set_report_handler(before);
  EXPECT_EQ(finding.what,
            "queue_rq was called while another party has the disk quiesced or frozen");
  EXPECT_TRUE(finding.has_request);
}

// --- the block layer -----------------------------------------------------------------------------

// Only a broken block layer would cause these findings. An explicit instantiation may name a
// private member: the test sends events in the disk's place.
[[nodiscard]] const mq::TraceSink& trace_sink_of(const mq::Disk<VariantDriver>& its);
template <auto Sink>
struct SinkOpener {
  friend const mq::TraceSink& trace_sink_of(const mq::Disk<VariantDriver>& its) {
    return (its.*Sink)();
  }
};
template struct SinkOpener<&mq::Disk<VariantDriver>::trace_sink>;

/// Sends the event once, as one of its first request, and then the issue of that request.
class Traces : public VariantDriver {
 public:
  Traces(sim::MqHost& host, const mq::TraceEvent& event) : VariantDriver{host}, event_{event} {}
  Answer queue_rq(Hw& hw, const broken_mq::NamespaceInfo& info, blkown::Idle<Rq> idle,
                  bool is_last) override {
    if (!std::exchange(has_traced_, true)) {
      event_.queue = hw.index();
      event_.tag = idle.tag();
      const mq::TraceSink& sink = trace_sink_of(hw.disk());
      sink.function(sink.argument, event_);
      event_.step = mq::TraceStep::issued;
      event_.op = idle.data().op();
      event_.sector = idle.data().sector();
      event_.length_bytes = idle.data().length_bytes();
      sink.function(sink.argument, event_);
    }
    return VariantDriver::queue_rq(hw, info, std::move(idle), is_last);
  }

 private:
  mq::TraceEvent event_;
  bool has_traced_ = false;
};

/// The finding of a run in which the disk has this event, or an empty text.
[[nodiscard]] std::string finding_of_trace(const mq::TraceEvent& event) {
  MqTestWorld& world = mq_world_of<Traces>(without_faults(0), event);
  static_cast<void>(world.run());
  return world.finding().what;
}

TEST(MqWorld, ReportsARequestBeyondTheLimits) {
  mq::TraceEvent event;
  event.step = mq::TraceStep::issued;
  event.op = mq::Op::read;
  event.sector = 4;
  event.length_bytes = 8 * 512;
  EXPECT_EQ(finding_of_trace(event), "");
  event.length_bytes = 9 * 512;
  EXPECT_EQ(finding_of_trace(event), "queue_rq was called for a request beyond the disk's limits");
  event.op = mq::Op::driver_in;
  EXPECT_EQ(finding_of_trace(event), "") << "no range";
}

TEST(MqWorld, ReportsATimeoutThatComesEarly) {
  mq::TraceEvent event;
  event.step = mq::TraceStep::timed_out;
  event.op = mq::Op::read;
  EXPECT_EQ(finding_of_trace(event), "the timeout hook was called early");
  event.op = mq::Op::driver_in;
  EXPECT_EQ(finding_of_trace(event), "") << "it may have a shorter timeout";
}

}  // namespace
