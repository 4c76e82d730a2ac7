// SPDX-License-Identifier: BSL-1.0
//
// Goal: a run can be repeated from its seed, and from the script of its faults, so that a finding
// can be reproduced.

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <blkown/sim/harness/core_world.hpp>
#include <blkown/sim/kit.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/broken/disk_ignored.hpp"
#include "sim/broken/ended_on_timeout.hpp"
#include "sim/broken/issue_before_publish.hpp"
#include "sim/broken/status_ignored.hpp"
#include "sim/broken_message/copied_by_sector.hpp"
#include "sim/broken_message/disk_ignored.hpp"
#include "sim/broken_message/variant_driver.hpp"
#include "sim/nvme_ring_driver.hpp"

namespace {

namespace sim = blkown::sim;
using blkown::Tag;
using RingDriver = nvme_ring::Driver;
using sim::FaultStrike;
using sim::WorldConfig;
using World = sim::NvmeWorld<RingDriver>;

/// Everything about a run that is visible from outside.
struct Trace {
  bool is_good = false;
  std::uint64_t events = 0;
  std::uint64_t ended = 0;
  std::uint64_t ended_ok = 0;
  sim::LookupTally lookups{};
  std::vector<FaultStrike> struck;
  std::uint64_t iommu_faults = 0;
  std::string history;
  friend bool operator==(const Trace&, const Trace&) = default;
};

[[nodiscard]] WorldConfig config_of(std::uint64_t seed) {
  WorldConfig config;
  config.seed = seed;
  config.io_count = 300;
  return config;
}

template <class W = World>
[[nodiscard]] Trace run(const WorldConfig& config) {
  const auto world = std::make_unique<W>(config);
  Trace trace;
  trace.is_good = world->run();
  trace.events = world->events();
  trace.ended = world->ended();
  trace.ended_ok = world->ended_ok();
  trace.lookups = world->lookups();
  trace.struck = world->faults().struck();
  trace.iommu_faults = world->iommu_faults().total();
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  for (blkown::QueueIndex queue; queue.value != config.queue_count; ++queue.value) {
    for (Tag tag; tag.value != config.depth; ++tag.value) {
      world->history().print(file, queue, tag, 10'000);
    }
  }
  std::fclose(file);
  trace.history.assign(text, size);
  std::free(text);
  return trace;
}

TEST(CoreWorld, TheSameSeedIsTheSameRun) {
  for (std::uint64_t seed = 0; seed != 6; ++seed) {
    const Trace first = run(config_of(seed));
    EXPECT_TRUE(first.is_good) << seed;
    EXPECT_EQ(first.ended, 300U);
    EXPECT_FALSE(first.history.empty());
    EXPECT_TRUE(run(config_of(seed)) == first) << seed;
  }
  EXPECT_FALSE(run(config_of(3)) == run(config_of(9)));
}

// Goal: no decision depends on an address.
// Method: the same seed with another heap.
TEST(CoreWorld, TheHeapDoesNotInfluenceTheRun) {
  for (std::uint64_t seed = 0; seed != 6; ++seed) {
    const Trace first = run(config_of(seed));
    std::vector<std::unique_ptr<std::byte[]>> others;
    for (std::size_t i = 0; i != 200; ++i) {
      others.push_back(std::make_unique<std::byte[]>(64 + i * 4099 % 100'000));
    }
    for (std::size_t i = 0; i < others.size(); i += 3) others[i].reset();
    EXPECT_TRUE(run(config_of(seed)) == first) << seed;
  }
}

TEST(CoreWorld, TheStrikesAreAScriptThatRepeatsTheRun) {
  for (std::uint64_t seed = 0; seed != 6; ++seed) {
    const Trace first = run(config_of(seed));
    ASSERT_FALSE(first.struck.empty());
    WorldConfig scripted = config_of(seed);
    scripted.is_scripted = true;
    scripted.script = first.struck;
    EXPECT_TRUE(run(scripted) == first) << seed;
  }
}

TEST(CoreWorld, WithoutFaultsEveryIoEndsOk) {
  for (std::uint64_t seed = 0; seed != 6; ++seed) {
    WorldConfig config = config_of(seed);
    config.rates = sim::FaultRates::none();
    const Trace trace = run(config);
    EXPECT_TRUE(trace.is_good);
    EXPECT_EQ(trace.ended_ok, 300U);
    EXPECT_TRUE(trace.struck.empty());
    EXPECT_EQ(trace.iommu_faults, 0U);
    for (std::size_t reason = 1; reason != trace.lookups.size(); ++reason) {
      EXPECT_EQ(trace.lookups[reason], 0U) << to_string(static_cast<blkown::LookupReason>(reason));
    }
  }
}

TEST(CoreWorld, AScriptOfOneFaultStrikesOnce) {
  WorldConfig config = config_of(1);
  config.is_scripted = true;
  config.script = {{sim::FaultKind::media_error, 20}};
  const Trace trace = run(config);
  EXPECT_TRUE(trace.is_good);
  EXPECT_EQ(trace.ended, 300U);
  EXPECT_EQ(trace.ended_ok, 299U);
  EXPECT_EQ(trace.struck, config.script);
}

// Goal: the cookies of the driver's own commands repeat with the seed, as a forged completion may
// name one of them.
TEST(CoreWorld, ADriversOwnTagsBeginAtAGenerationOfTheSeed) {
  std::vector<std::uint32_t> generations;
  for (const std::uint64_t seed : {1U, 1U, 9U}) {
    WorldConfig config = config_of(seed);
    config.io_count = 1;
    World world{config, [&](sim::NvmeHost<RingDriver>& host) {
                  generations.push_back(host.first_generation().value);
                  return std::make_unique<RingDriver>(host);
                }};
    EXPECT_TRUE(world.run());
  }
  EXPECT_EQ(generations[0], generations[1]);
  EXPECT_NE(generations[0], generations[2]);
}

/// A world with a finding cannot be destroyed in order, so it is kept.
template <class W>
[[nodiscard]] W& caught(const WorldConfig& config, const typename W::Make& make = &W::make_driver) {
  static auto* const kept = new std::vector<std::unique_ptr<W>>;
  return *kept->emplace_back(std::make_unique<W>(config, make));
}

/// Makes the broken driver D.
template <class D>
[[nodiscard]] std::unique_ptr<RingDriver> make(sim::NvmeHost<RingDriver>& host) {
  return std::make_unique<D>(host);
}

TEST(CoreWorld, AFindingEndsTheRunAndIsReproducible) {
  std::uint64_t first = 0;
  for (int i = 0; i != 2; ++i) {
    auto& world = caught<World>(config_of(0), &make<nvme_ring::broken::StatusIgnored>);
    EXPECT_FALSE(world.run());
    EXPECT_EQ(world.finding().what, "a read returned other data than was written");
    EXPECT_TRUE(world.finding().has_request);
    if (i == 0) first = world.history().event();
    EXPECT_EQ(world.history().event(), first);
  }
}

// Goal: the finding of a command names its queue, the first one and the last one, too.
TEST(CoreWorld, TheFindingOfACommandNamesItsRequest) {
  std::array<int, 2> findings{};
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    auto& world = caught<World>(config_of(seed), &make<nvme_ring::broken::IssueBeforePublish>);
    if (world.run()) continue;
    const sim::Finding& finding = world.finding();
    if (finding.what != "the device got a command that no I/O in flight has") continue;
    ASSERT_TRUE(finding.has_request) << seed;
    ++findings.at(finding.queue.value);
  }
  EXPECT_NE(findings[0], 0);
  EXPECT_NE(findings[1], 0);
}

/// A driver whose reset proves nothing.
class UnprovenReset : public RingDriver {
 public:
  using RingDriver::RingDriver;
  void reset() override {
    ++resets;
    static_cast<void>(host_.device.declare_stopped());
  }

  static inline int resets = 0;
};

// Goal: all invariants hold after an administrator's reset, which is an event of its own.
TEST(CoreWorld, AResetOfAnAdministratorIsAnEvent) {
  WorldConfig config = config_of(0);
  config.io_count = 3000;
  config.rates = sim::FaultRates::none();
  auto& without = caught<World>(config, &make<UnprovenReset>);
  EXPECT_TRUE(without.run());
  EXPECT_EQ(UnprovenReset::resets, 0);
  config.has_resets = true;
  auto& world = caught<World>(config, &make<UnprovenReset>);
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.finding().what, "the driver declared the device stopped while it was running");
  EXPECT_EQ(world.finding().place, "reset");
  EXPECT_EQ(UnprovenReset::resets, 1);
}

/// A driver whose queues have other vectors after a reset.
class OtherVector : public RingDriver {
 public:
  using RingDriver::RingDriver;

 private:
  [[nodiscard]] std::uint16_t vector_of(std::uint16_t id) const override {
    return static_cast<std::uint16_t>(id + 1);
  }
};

TEST(CoreWorld, AVectorIsThatOfAQueue) {
  WorldConfig config = config_of(0);
  config.io_count = 3000;
  config.rates = sim::FaultRates::none();
  config.has_resets = true;
  auto& world = caught<World>(config, &make<OtherVector>);
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.finding().what,
            "an I/O completion queue has a vector that is not its identifier");
}

// Goal: the report says what the I/O of a request is.
TEST(CoreWorld, TheHistoryDescribesEachIo) {
  const auto seen_with = [](const sim::OperationMix& mix) {
    WorldConfig config = config_of(1);
    config.mix = mix;
    config.sizes = {{.length_sectors = 2}};
    World world{config};
    EXPECT_TRUE(world.run());
    std::set<std::string> seen;
    for (const std::uint32_t tag : {2U, 3U, 4U}) {
      const sim::IoText io = world.history().io_of(blkown::QueueIndex{1}, Tag{tag});
      seen.insert(std::string{io.operation} + " " + std::to_string(io.length_sectors));
      if (io.length_sectors != 0) {
        EXPECT_EQ(to_string(io), std::string{io.operation} + " of sectors " +
                                     std::to_string(io.sector) + " to " +
                                     std::to_string(io.sector + 1));
      }
    }
    return seen;
  };
  using Seen = std::set<std::string>;
  EXPECT_EQ(seen_with({.flush = 1, .discard = 0, .write_zeroes = 0, .write = 0, .read = 0}),
            Seen{"flush 0"});
  EXPECT_EQ(seen_with({.flush = 0, .discard = 0, .write_zeroes = 0, .write = 1, .read = 0}),
            Seen{"write 2"});
  EXPECT_EQ(seen_with({.flush = 0, .discard = 1, .write_zeroes = 0, .write = 0, .read = 0}),
            Seen{"discard 2"});
}

TEST(CoreWorld, AFindingFromOutsideEndsTheRun) {
  auto& world = caught<World>(config_of(0));
  world.add({.what = "the first", .has_request = false, .queue = {}, .tag = {}});
  world.add({.what = "the second", .has_request = false, .queue = {}, .tag = {}});
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.history().event(), 1U);
  EXPECT_EQ(world.finding().what, "the first");
}

// --- the kit -------------------------------------------------------------------------------------

/// The result and the output of a main function of the kit.
struct Printed {
  int code = 0;
  std::string text;
};
template <class Main>
[[nodiscard]] Printed kit(std::vector<std::string> words, Main main) {
  words.insert(words.begin(), "the_program");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  Printed printed;
  printed.code = main(static_cast<int>(argv.size()), argv.data());
  std::fflush(stdout);
  printed.text = testing::internal::GetCapturedStdout();
  return printed;
}
[[nodiscard]] Printed kit(std::vector<std::string> words) {
  return kit(std::move(words),
             [](int argc, char** argv) { return sim::nvme_main<RingDriver>(argc, argv); });
}
[[nodiscard]] Printed kit_of_hasty(std::vector<std::string> words) {
  return kit(std::move(words), [](int argc, char** argv) {
    return sim::nvme_main<RingDriver>(argc, argv, &make<nvme_ring::broken::EndedOnTimeout>);
  });
}

TEST(Kit, PrintsTheTotals) {
  const Printed printed = kit({"--seeds", "3", "--ios", "50"});
  EXPECT_EQ(printed.code, 0);
  EXPECT_EQ(printed.text.find("3 runs, 150 I/Os ended, "), 0U) << printed.text;
  EXPECT_LE(printed.text.find(" of them ok"), std::string{"3 runs, 150 I/Os ended, 150"}.size());
  EXPECT_NE(printed.text.find("\nfaults: duplicate "), std::string::npos);
  EXPECT_NE(printed.text.find("\nlookups: accepted "), std::string::npos);
}

TEST(WorldConfig, OneSeedOfSevenHasADeviceWithoutAWriteCache) {
  sim::WorldConfig config;
  for (config.seed = 0; config.seed != 14; ++config.seed) {
    EXPECT_EQ(config.cache() == sim::CacheMode::write_through, config.seed % 7 == 6) << config.seed;
  }
}

/// A driver that needs more than the kit's environment: counts its objects and their I/Os.
class Counted : public RingDriver {
 public:
  struct Counts {
    int drivers = 0;
    int completions = 0;
  };
  Counted(sim::NvmeHost<RingDriver>& host, Counts& counts) : RingDriver{host}, counts_{counts} {
    ++counts_.drivers;
  }
  ~Counted() override { --counts_.drivers; }

 private:
  void complete(blkown::QueueIndex queue, const blkown::nvme::CompletionEntry& entry) override {
    ++counts_.completions;
    RingDriver::complete(queue, entry);
  }

  Counts& counts_;
};

TEST(Kit, RunsTheDriversThatACallableMakes) {
  Counted::Counts counts;
  int made = 0;
  const Printed printed = kit({"--seeds", "3", "--ios", "50"}, [&](int argc, char** argv) {
    return sim::nvme_main<RingDriver>(argc, argv, [&](sim::NvmeHost<RingDriver>& host) {
      EXPECT_EQ(counts.drivers, 0) << "one driver for each run, destroyed at the end of the run";
      ++made;
      return std::make_unique<Counted>(host, counts);
    });
  });
  EXPECT_EQ(printed.code, 0);
  EXPECT_EQ(printed.text.find("3 runs, 150 I/Os ended, "), 0U) << printed.text;
  EXPECT_EQ(made, 3);
  EXPECT_EQ(counts.drivers, 0);
  EXPECT_GE(counts.completions, 100);
}

/// Counts the I/Os that a full ring has refused.
class Refused : public RingDriver {
 public:
  Refused(sim::NvmeHost<RingDriver>& host, int& count) : RingDriver{host}, count_{count} {}

 private:
  void refused(blkown::Claim<R> claim) override {
    ++count_;
    RingDriver::refused(std::move(claim));
  }

  int& count_;
};

// Goal: with some seeds the rings are shorter than the tags, so that a driver meets a full one.
TEST(CoreWorld, ShortRingsOfSomeSeedsRefuseIos) {
  std::array<int, 5> refusals{};
  for (std::uint64_t seed = 0; seed != refusals.size(); ++seed) {
    World world{config_of(seed), [&](sim::NvmeHost<RingDriver>& host) {
                  return std::make_unique<Refused>(host, refusals[seed]);
                }};
    EXPECT_TRUE(world.run()) << world.finding().what;
  }
  EXPECT_EQ(refusals[0] + refusals[1] + refusals[2], 0) << "long rings";
  EXPECT_GT(refusals[4], 10);
}

/// Counts the resets that are asked for.
class CountedResets : public RingDriver {
 public:
  CountedResets(sim::NvmeHost<RingDriver>& host, int& count) : RingDriver{host}, count_{count} {}
  void reset() override {
    ++count_;
    RingDriver::reset();
  }

 private:
  int& count_;
};

// Goal: a ring that looks full for good does not make the rest of a run fail.
TEST(CoreWorld, AWrongHeadWithTheLastCompletionOfAFullRingIsMendedByAReset) {
  WorldConfig config = config_of(4);
  config.queue_count = 1;
  config.depth = 2;
  config.reserved_depth = 0;
  ASSERT_EQ(config.max_queue_entries(), 2U) << "one command at a time";
  config.is_scripted = true;
  const auto run_with = [&config](int& resets) {
    World world{config, [&](sim::NvmeHost<RingDriver>& host) {
                  return std::make_unique<CountedResets>(host, resets);
                }};
    EXPECT_TRUE(world.run()) << world.finding().what;
    return world.ended_ok();
  };
  int resets = 0;
  const std::uint64_t ok_count = run_with(resets);
  EXPECT_EQ(resets, 0);
  config.script = {{sim::FaultKind::wrong_sq_head, 20}};
  EXPECT_GT(run_with(resets), ok_count * 9 / 10);
  EXPECT_EQ(resets, 1);
}

// --- several disks -------------------------------------------------------------------------------

[[nodiscard]] WorldConfig three_disks(std::uint64_t seed) {
  WorldConfig config = config_of(seed);
  config.disk_count = 3;
  return config;
}
using MessageVariant = message::broken::VariantDriver;
using MessageVariantWorld = sim::MessageWorld<MessageVariant>;

/// Notes where the commands go.
class WhereTo : public RingDriver {
 public:
  struct Seen {
    std::array<std::set<std::uint64_t>, 3> sectors;  // by disk
    std::set<std::uint32_t> nsids;
    std::map<std::uint64_t, int> in_flight;  // by sector
    int most_in_flight = 0;                  // with the same sector
  };
  WhereTo(sim::NvmeHost<RingDriver>& host, Seen& seen) : RingDriver{host}, seen_{seen} {
    EXPECT_EQ(host.disk_count(), 3U);
    for (std::uint32_t disk = 0; disk != 3; ++disk) seen_.nsids.insert(host.nsid(disk));
  }

 private:
  void issue(blkown::Claim<R> claim) override {
    const auto& io = claim.data();
    seen_.sectors.at(io.disk).insert(io.sector);
    seen_.most_in_flight = std::max(seen_.most_in_flight, ++seen_.in_flight[io.sector]);
    RingDriver::issue(std::move(claim));
  }
  void finish(blkown::Claim<R> claim, const blkown::nvme::CompletionEntry& entry) override {
    --seen_.in_flight[claim.data().sector];
    RingDriver::finish(std::move(claim), entry);
  }

  Seen& seen_;
};

TEST(CoreWorld, SeveralDisksAreNamespacesWithTheSameSectors) {
  for (std::uint64_t seed = 0; seed != 8; ++seed) {
    WorldConfig config = three_disks(seed);
    config.io_count = 900;
    config.rates = sim::FaultRates::none();
    WhereTo::Seen seen;
    World world{config, [&](sim::NvmeHost<RingDriver>& host) {
                  return std::make_unique<WhereTo>(host, seen);
                }};
    EXPECT_TRUE(world.run()) << world.finding().what;
    EXPECT_EQ(seen.nsids.size(), 3U);
    for (const auto& sectors : seen.sectors) {
      EXPECT_GT(sectors.size(), 20U);
      EXPECT_LT(*sectors.rbegin(), 32U * 16U) << "the disks have 32 slots each";
    }
    EXPECT_GT(seen.most_in_flight, 1) << "seed " << seed;
  }
}

TEST(CoreWorld, ARunWithSeveralDisksIsRepeatedFromItsSeed) {
  for (std::uint64_t seed = 0; seed != 6; ++seed) {
    const Trace first = run(three_disks(seed));
    EXPECT_TRUE(first.is_good) << seed;
    EXPECT_TRUE(run(three_disks(seed)) == first) << seed;
    const Trace messages = run<MessageVariantWorld>(three_disks(seed));
    EXPECT_TRUE(messages.is_good) << seed;
    EXPECT_TRUE(run<MessageVariantWorld>(three_disks(seed)) == messages) << seed;
  }
}

/// Checks that each I/O is whole blocks of 4,096 bytes.
class WholeBlocks : public MessageVariant {
 public:
  explicit WholeBlocks(sim::MessageHost<MessageVariant>& host) : MessageVariant{host} {
    EXPECT_EQ(host.block_bytes(), 4096U);
  }

 private:
  void issue(blkown::Claim<R> claim) override {
    EXPECT_EQ(claim.data().sector % 8, 0U);
    EXPECT_EQ(claim.data().length_sectors % 8, 0U);
    MessageVariant::issue(std::move(claim));
  }
};

TEST(CoreWorld, AMessageDeviceHasTheBlocksOfTheConfiguration) {
  WorldConfig config = config_of(2);
  config.fixed.block_bytes = 4096;
  MessageVariantWorld world{config, [](sim::MessageHost<MessageVariant>& host) {
                              return std::make_unique<WholeBlocks>(host);
                            }};
  EXPECT_TRUE(world.run()) << world.finding().what;
  EXPECT_EQ(world.ended(), 300U);
}

template <class D>
[[nodiscard]] std::unique_ptr<MessageVariant> make_message(sim::MessageHost<MessageVariant>& host) {
  return std::make_unique<D>(host);
}

TEST(CoreWorld, ReportsACommandThatGoesToAnotherDisk) {
  const char* const what = "the driver sent the command of an I/O to another disk";
  auto& core = caught<World>(three_disks(1), &make<nvme_ring::broken::DiskIgnored>);
  EXPECT_FALSE(core.run());
  EXPECT_EQ(core.finding().what, what);
  EXPECT_TRUE(core.finding().has_request);
  ASSERT_FALSE(core.finding().details.empty());
  EXPECT_NE(core.finding().details[0].find(" of disk 0"), std::string::npos)
      << core.finding().details[0];
  auto& messages =
      caught<MessageVariantWorld>(three_disks(1), &make_message<message::broken::DiskIgnored>);
  EXPECT_FALSE(messages.run());
  EXPECT_EQ(messages.finding().what, what);
  EXPECT_TRUE(messages.finding().has_request);
}

// Goal: the data of one disk does not appear on another one.
// Method: the driver finds the memory of a read by its sector alone, which is right with one disk.
TEST(CoreWorld, ReportsDataOfAnotherDisk) {
  using message::broken::CopiedBySector;
  WorldConfig config = config_of(0);
  config.rates = sim::FaultRates::none();
  auto& one = caught<MessageVariantWorld>(config, &make_message<CopiedBySector>);
  EXPECT_TRUE(one.run()) << one.finding().what;
  config.disk_count = 3;
  auto& three = caught<MessageVariantWorld>(config, &make_message<CopiedBySector>);
  EXPECT_FALSE(three.run());
  EXPECT_EQ(three.finding().what, "a read returned other data than was written");
}

/// A driver whose commands begin a block too late.
class NextSector : public MessageVariant {
 public:
  using MessageVariant::MessageVariant;

 private:
  [[nodiscard]] sim::Message message_of(const blkown::Claim<R>& claim) override {
    sim::Message message = MessageVariant::message_of(claim);
    ++message.sector;
    return message;
  }
};

TEST(CoreWorld, ReportsACommandForOtherSectors) {
  auto& world = caught<MessageVariantWorld>(config_of(0), &make_message<NextSector>);
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.finding().what,
            "the driver sent a command for other sectors than those of its I/O");
  EXPECT_TRUE(world.finding().has_request);
}

/// A driver whose messages name a disk that the device does not have.
class NoDisk : public MessageVariant {
 public:
  using MessageVariant::MessageVariant;

 private:
  [[nodiscard]] sim::Message message_of(const blkown::Claim<R>& claim) override {
    sim::Message message = MessageVariant::message_of(claim);
    message.disk = 7;
    return message;
  }
};
/// The same with a namespace that the controller does not have.
class NoNamespace : public RingDriver {
 public:
  using RingDriver::RingDriver;

 private:
  [[nodiscard]] std::uint32_t nsid_of(const sim::Io<RingDriver>&) const override { return 99; }
};
/// A driver whose messages are for a sector far behind every disk.
class LastOfAllSectors : public MessageVariant {
 public:
  using MessageVariant::MessageVariant;

 private:
  [[nodiscard]] sim::Message message_of(const blkown::Claim<R>& claim) override {
    sim::Message message = MessageVariant::message_of(claim);
    message.sector = UINT64_MAX;
    return message;
  }
};

// Goal: also a run with one disk judges where a command goes.
// Method: the device refuses each command, and no data comes to a wrong place.
TEST(CoreWorld, ReportsACommandThatGoesToNoDisk) {
  const char* const what = "the driver sent the command of an I/O to another disk";
  WorldConfig config = config_of(0);
  config.rates = sim::FaultRates::none();
  auto& messages = caught<MessageVariantWorld>(config, &make_message<NoDisk>);
  EXPECT_FALSE(messages.run());
  EXPECT_EQ(messages.finding().what, what);
  EXPECT_TRUE(messages.finding().has_request);
  auto& core = caught<World>(config, &make<NoNamespace>);
  EXPECT_FALSE(core.run());
  EXPECT_EQ(core.finding().what, what);
  EXPECT_TRUE(core.finding().has_request);
}

TEST(CoreWorld, ReportsACommandForTheLastOfAllSectors) {
  WorldConfig config = config_of(0);
  config.rates = sim::FaultRates::none();
  auto& world = caught<MessageVariantWorld>(config, &make_message<LastOfAllSectors>);
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.finding().what,
            "the driver sent a command for other sectors than those of its I/O");
}

/// A driver that takes no I/O.
class TakesNothing : public MessageVariant {
 public:
  using MessageVariant::MessageVariant;

 private:
  void issue(blkown::Claim<R> claim) override { std::move(claim).end(blkown::Status::io_error); }
};

// Goal: a driver that fails every I/O does not pass.
TEST(CoreWorld, ReportsThatNoIoEndsOkWithoutFaults) {
  WorldConfig config = config_of(0);
  config.rates = sim::FaultRates::none();
  auto& world = caught<MessageVariantWorld>(config, &make_message<TakesNothing>);
  EXPECT_FALSE(world.run());
  EXPECT_EQ(world.finding().what, "no fault was injected, and no I/O has ended ok");
}

TEST(Kit, ReturnsTwoForUnusableOptions) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(kit({"--what"}).code, 2);
  EXPECT_NE(testing::internal::GetCapturedStderr(), "");
}

TEST(Kit, PrintsTheRequestAndTheReplayCommandOfABrokenDriver) {
  const Printed printed = kit_of_hasty({"--seeds", "5", "--ios", "500"});
  EXPECT_EQ(printed.code, 1);
  EXPECT_EQ(printed.text.find("seed 0, event "), 0U) << printed.text;
  EXPECT_NE(printed.text.find(": an I/O has ended while its memory is mapped\n  request: queue "),
            std::string::npos)
      << printed.text;
  EXPECT_NE(printed.text.find("\n  fault: l"), std::string::npos) << "lost or late";
  EXPECT_NE(printed.text.find("\nhistory of queue "), std::string::npos);
  EXPECT_NE(printed.text.find("timeout hook: 2"), std::string::npos) << "its latest transition";
  const std::string replay = "replay: the_program --seeds 1 --first-seed 0 --ios 500\n";
  EXPECT_NE(printed.text.find(replay), std::string::npos) << printed.text;
  EXPECT_EQ(kit_of_hasty({"--seeds", "1", "--first-seed", "0", "--ios", "500"}).text, printed.text);
}

TEST(Kit, TheShortestRunReproducesTheFinding) {
  testing::internal::CaptureStderr();
  const Printed printed = kit_of_hasty({"--seeds", "1", "--ios", "200", "--shrink"});
  EXPECT_NE(testing::internal::GetCapturedStderr().find("shrink: seed 0: 1 faults, "),
            std::string::npos);
  EXPECT_EQ(printed.code, 1);
  const std::string first = kit_of_hasty({"--seeds", "1", "--ios", "200"}).text;
  EXPECT_EQ(printed.text.find(first + "\nwith 1 of "), 0U) << "the first report, as without it";
  const std::string before = "\nshortest: the_program --seeds 1 --first-seed 0 --ios ";
  const std::size_t shortest = printed.text.find(before);
  ASSERT_NE(shortest, std::string::npos) << printed.text;
  const std::string words = printed.text.substr(shortest + before.size());
  const std::string ios = words.substr(0, words.find(' '));
  const std::string option = " --script ";
  const std::size_t begin = words.find(option) + option.size();
  const std::string script = words.substr(begin, words.find('\n') - begin);
  EXPECT_EQ(script.find(','), std::string::npos) << "one fault is enough";
  const Printed again = kit_of_hasty({"--seeds", "1", "--ios", ios, "--script", script});
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(printed.text.find("\n" + again.text), std::string::npos) << "the second report";
  EXPECT_EQ(kit_of_hasty({"--ios", ios, "--seeds", "1", "--script", "none"}).code, 0);
}

// --- crashes and early findings
// -------------------------------------------------------------------

/// A driver with a mistake that ends the process in its first interrupt.
template <int Mistake>
class Crashing : public RingDriver {
 public:
  using RingDriver::RingDriver;

 private:
  void complete(blkown::QueueIndex queue, const blkown::nvme::CompletionEntry& entry) override {
    if (Mistake == SIGABRT) std::abort();
    if (Mistake == SIGTRAP) std::raise(SIGTRAP);
    // An accepted completion that nobody sent, then a violation.
    static_cast<void>(host_.tag_to_rq(queue, entry.command_id));
    auto claim = host_.claim(queue, entry.command_id);
    if (claim.has_value()) blkown::Claim<R>::from_raw(std::move(*claim).into_raw()).end_ok();
    blkown::detail::violate(blkown::Violation::not_claimed, "a later operation",
                            blkown::Place::current());
  }
};

/// What the kit prints of the driver in a process that ends.
template <int Mistake>
void run_crashing() {
  char name[] = "the_program";
  char* words[] = {name, nullptr};
  std::exit(sim::nvme_main<RingDriver>(1, words, [](sim::NvmeHost<RingDriver>& host) {
    return std::make_unique<Crashing<Mistake>>(host);
  }));
}
/// The output of a process that calls `run`.
std::string output_of(void (*run)()) {
  std::fflush(nullptr);
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    run();
  }
  close(ends[1]);
  std::string text;
  std::array<char, 256> part{};
  while (true) {
    const ssize_t length = ::read(ends[0], part.data(), part.size());
    if (length <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(length));
  }
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return text;
}

TEST(Kit, ReportsADriverThatCrashes) {
  const std::string aborted = output_of(&run_crashing<SIGABRT>);
  EXPECT_EQ(aborted.find("seed 0, event "), 0U) << aborted;
  EXPECT_NE(aborted.find(", in interrupt of queue "), std::string::npos) << aborted;
  EXPECT_NE(aborted.find(": the driver has aborted (SIGABRT)\n"), std::string::npos) << aborted;
  EXPECT_NE(aborted.find("\nreplay: the_program --seeds 1 --first-seed 0"), std::string::npos);
  // AddressSanitizer reports most other signals itself.
  const std::string other = output_of(&run_crashing<SIGTRAP>);
  EXPECT_NE(other.find(": a signal has ended the driver\n"), std::string::npos) << other;
}

// Goal: what is broken first is the finding, and a later violation only a further line.
TEST(Kit, ALaterViolationDoesNotHideAnEarlierFinding) {
  const std::string text = output_of(&run_crashing<0>);
  EXPECT_EQ(text.find("seed 0, event "), 0U) << text;
  const std::size_t first = text.find("the driver accepted a completion of an I/O that the device");
  ASSERT_NE(first, std::string::npos) << text;
  EXPECT_LT(first, text.find('\n')) << text;
  EXPECT_NE(text.find("\n  then, in interrupt of queue "), std::string::npos) << text;
  EXPECT_NE(text.find("a later operation"), std::string::npos) << text;
}

}  // namespace
