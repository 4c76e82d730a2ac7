// SPDX-License-Identifier: BSL-1.0
//
// How the Oracle judges the lookups of an NVMe driver. message_device_test.cpp tests the Oracle of
// a MessageDevice.

#include <gtest/gtest.h>

#include <blkown/sim/harness/oracle.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

using blkown::Cookie;
using blkown::dma::Direction;
using blkown::dma::IovaSegment;
using blkown::sim::LookupTruth;

constexpr std::uint64_t commands_before = NvmeBench::admin_commands;
[[nodiscard]] NvmeDone good(std::uint16_t id) { return {id, Code::success, 0}; }

/// A bench with an Oracle. Nobody looks up the completions of the admin queue.
class JudgedBench {
 public:
  explicit JudgedBench(const Script& script = {}, std::uint64_t seed = 1)
      : script_{script}, bench{NvmeBench::two_queues(), &script_, seed} {
    bench.start();
  }

  /// Submits a command, and runs the controller. The driver sees the completions, and has not rung
  /// their doorbell: it looks entries up before.
  void seen_of(const Entry& entry) {
    bench.submit(entry);
    bench.run();
    EXPECT_FALSE(bench.take().empty());
  }
  LookupTruth note(std::uint16_t id, bool was_accepted, std::uint32_t queue = 1) {
    const auto verdict = oracle.note_lookup(queue, id, was_accepted);
    for (const Entry& entry : verdict.false_completions) false_ids.push_back(entry.command_id);
    return verdict.truth;
  }

 private:
  Script script_;

 public:
  NvmeBench bench;
  blkown::sim::NvmeOracle oracle{*bench.controller};
  std::vector<std::uint16_t> false_ids;

  /// The entries of the I/O queues without a lookup, and the other way round.
  [[nodiscard]] std::size_t unaccounted() const { return oracle.unaccounted() - commands_before; }
};

TEST(NvmeOracle, ACompletionIsAcceptedOnce) {
  JudgedBench judged;
  judged.seen_of(judged.bench.write(0x11));
  EXPECT_EQ(judged.note(0x11, true, 2), LookupTruth::wrong_claim) << "on another queue";
  EXPECT_EQ(judged.note(0x10, true), LookupTruth::wrong_claim) << "of another command";
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim) << "the completion was posted once";
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::fits);
  EXPECT_TRUE(judged.false_ids.empty());
}

TEST(NvmeOracle, FindsARefusedGenuineCompletion) {
  JudgedBench judged;
  judged.seen_of(judged.bench.write(0x11));
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::refused_genuine);
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::fits) << "reported once";
}

TEST(NvmeOracle, FindsAnAcceptedCompletionOfAnUnknownCommand) {
  JudgedBench judged;
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::fits);
}

TEST(NvmeOracle, AReusedIdentifierIsAnotherCommand) {
  JudgedBench judged;
  judged.seen_of(judged.bench.write(0x11));
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  judged.bench.acknowledge();
  judged.seen_of(judged.bench.write(0x11));
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::refused_genuine);
}

// --- entries -------------------------------------------------------------------------------------

TEST(NvmeOracle, CountsEntriesThatWereNotLookedUpOnce) {
  JudgedBench judged;
  EXPECT_EQ(judged.unaccounted(), 0U);
  EXPECT_EQ(judged.bench.carry_out(judged.bench.write(0x11)).size(), 1U);
  EXPECT_EQ(judged.unaccounted(), 1U) << "taken out, and not looked up";
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_EQ(judged.unaccounted(), 0U);
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
  EXPECT_EQ(judged.unaccounted(), 1U) << "looked up twice";
  EXPECT_EQ(judged.note(0x12, false, 2), LookupTruth::fits);
  EXPECT_EQ(judged.unaccounted(), 2U) << "no such entry was posted";
}

// Goal: the report says what the driver has done with an entry.
TEST(NvmeOracle, SaysWhatBecameOfTheFirstUnaccountedEntry) {
  const auto account = [](JudgedBench& judged) {
    for (std::uint64_t i = 0; i != commands_before; ++i) {
      EXPECT_EQ(judged.note(0, true, 0), LookupTruth::fits) << "the commands of the bench's start";
    }
  };
  {
    JudgedBench judged;
    account(judged);
    judged.seen_of(judged.bench.write(0x11));
    EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
    EXPECT_EQ(judged.oracle.first_unaccounted().what,
              "was looked up, but the completion queue's doorbell was not rung for the entry");
    judged.bench.acknowledge();
    EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
    const auto open = judged.oracle.first_unaccounted();
    EXPECT_EQ(open.what, "was looked up twice");
    EXPECT_EQ(open.cookie, 0x11U);
    EXPECT_EQ(open.queue, 1U);
  }
  {
    JudgedBench judged;
    account(judged);
    EXPECT_EQ(judged.bench.carry_out(judged.bench.write(0x11)).size(), 1U);
    EXPECT_EQ(judged.oracle.first_unaccounted().what, "was taken, and was not looked up");
    EXPECT_EQ(judged.note(0x12, false), LookupTruth::fits);
    EXPECT_EQ(judged.oracle.first_unaccounted().what, "was looked up with another cookie, 0x12");
    EXPECT_EQ(judged.oracle.first_unaccounted().cookie, 0x11U);
  }
  {
    JudgedBench judged;
    account(judged);
    EXPECT_EQ(judged.bench.carry_out(judged.bench.write(0x11)).size(), 1U);
    EXPECT_EQ(judged.note(0x11, false, 2), LookupTruth::fits);
    EXPECT_EQ(judged.oracle.first_unaccounted().what, "was looked up on queue 1");
  }
  JudgedBench judged;
  account(judged);
  EXPECT_EQ(judged.note(0x12, false), LookupTruth::fits);
  EXPECT_EQ(judged.oracle.first_unaccounted().what, "was looked up, but no entry had that cookie");
}

// Goal: a driver that has no queue any more may drop what is false, and nothing else.
TEST(NvmeOracle, KnowsWhetherAGenuineEntryWasTakenWithoutALookup) {
  JudgedBench judged{{{FaultKind::duplicate, commands_before}}};
  for (std::uint64_t i = 0; i != commands_before; ++i) {
    EXPECT_EQ(judged.note(0, true, 0), LookupTruth::fits) << "the commands of the bench's start";
  }
  EXPECT_FALSE(judged.oracle.has_ignored());
  EXPECT_EQ(judged.bench.carry_out(judged.bench.write(0x11)).size(), 2U) << "one of them false";
  EXPECT_TRUE(judged.oracle.has_ignored());
  EXPECT_EQ(judged.oracle.lookups_without_entry(), 0U);
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_FALSE(judged.oracle.has_ignored());
  EXPECT_EQ(judged.oracle.unaccounted(), 1U);
  EXPECT_EQ(judged.note(0x12, false), LookupTruth::fits);
  EXPECT_EQ(judged.oracle.lookups_without_entry(), 1U);
}

TEST(NvmeOracle, CountsTheStops) {
  JudgedBench judged;
  const std::uint64_t before = judged.oracle.stops();
  judged.bench.disable();
  EXPECT_EQ(judged.oracle.stops(), before + 1);
}

TEST(NvmeOracle, ForgetsAQueueThatIsDeletedAndNoOther) {
  JudgedBench judged;
  NvmeBench& bench = judged.bench;
  EXPECT_EQ(bench.carry_out(bench.write(0x11)).size(), 1U);
  EXPECT_EQ(bench.carry_out(bench.write(0x12), 2).size(), 1U);
  EXPECT_EQ(judged.unaccounted(), 2U);
  EXPECT_EQ(bench.admin(Entry::delete_io_sq(1)).code, Code::success);
  EXPECT_EQ(judged.unaccounted(), 2U + 1) << "a queue without its submission queue has entries";
  EXPECT_EQ(bench.admin(Entry::delete_io_cq(1)).code, Code::success);
  EXPECT_EQ(judged.unaccounted(), 1U + 2) << "the other queue's, and those of the admin queue";
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
  EXPECT_EQ(judged.note(0x12, true, 2), LookupTruth::fits);
}

TEST(NvmeOracle, AnEntryMayBeLookedUpBeforeTheDoorbell) {
  JudgedBench judged;
  judged.bench.submit(NvmeBench::flush(0x11));
  judged.seen_of(NvmeBench::flush(0x12));
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_EQ(judged.note(0x12, true), LookupTruth::fits);
  EXPECT_EQ(judged.unaccounted(), 2U);
  judged.bench.acknowledge();
  EXPECT_EQ(judged.unaccounted(), 0U);
}

TEST(NvmeOracle, AnEntryOfAnotherQueueIsAnotherEntry) {
  JudgedBench judged;
  EXPECT_EQ(judged.bench.carry_out(NvmeBench::flush(0x11)).size(), 1U);
  EXPECT_EQ(judged.note(0x11, false, 2), LookupTruth::fits);
  EXPECT_EQ(judged.unaccounted(), 2U);
}

TEST(NvmeOracle, KnowsNothingWithoutObserving) {
  JudgedBench judged;
  judged.bench.controller->set_observer(nullptr);
  EXPECT_EQ(judged.bench.carry_out(judged.bench.write(0x11)).size(), 1U);
  EXPECT_EQ(judged.unaccounted(), 0U);
  judged.seen_of(judged.bench.write(0x12));
  EXPECT_EQ(judged.note(0x12, false), LookupTruth::fits) << "not known to be genuine";
}

TEST(NvmeOracle, ForgetsEverythingAtAReset) {
  JudgedBench judged{{{FaultKind::late, commands_before + 1}}};
  NvmeBench& bench = judged.bench;
  EXPECT_EQ(bench.carry_out(NvmeBench::flush(0x10)).size(), 1U);  // taken out
  bench.submit(bench.write(0x11));                                // late
  bench.submit(bench.write(0x12, 1));                             // done
  bench.run(bench.now_ns + 500'000);
  bench.submit(bench.write(0x13, 2));  // not fetched
  EXPECT_EQ(judged.unaccounted(), 1U);
  bench.disable();
  EXPECT_EQ(judged.oracle.unaccounted(), 0U);
  EXPECT_EQ(bench.controller->command_count(), 0U);
  for (std::uint16_t id = 0x10; id != 0x14; ++id) {
    EXPECT_EQ(judged.note(id, true), LookupTruth::wrong_claim) << id;
  }
  EXPECT_TRUE(judged.false_ids.empty());
}

// --- false completions ---------------------------------------------------------------------------

// Goal: a driver that has accepted a false completion is not to blame for the device's accesses.
TEST(NvmeOracle, TheCommandOfAFalseCompletionIsDisowned) {
  JudgedBench judged{{{FaultKind::late, commands_before}}};
  NvmeBench& bench = judged.bench;
  std::vector<std::byte> memory(512);
  const Cookie own{.value = 0x11, .generation = {}, .tag = {}, .queue = {}};
  const auto iova = bench.iommu.map({memory.data(), 512}, Direction::bidirectional, own);
  ASSERT_TRUE(iova.has_value());
  Entry entry = bench.read(0x11);
  entry.prp1 = *iova;
  bench.submit(entry);
  bench.run(bench.now_ns + 500'000);
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x11});
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim) << "a second time";
  const IovaSegment segment{.iova = *iova, .length_bytes = 512};
  bench.iommu.unmap(segment);
  bench.iommu.invalidate({&segment, 1});
  // The identifier is free for the driver's next command.
  EXPECT_EQ(bench.carry_out(NvmeBench::flush(0x11)),
            (NvmeDones{good(0x11), {0x11, Code::data_transfer_error, 0}}));
  EXPECT_EQ(bench.iommu.fault_counts().total(), 1U);
  EXPECT_EQ(bench.iommu.fault_counts().not_forbidden, 0U);
}

TEST(NvmeOracle, ADisownedCommandWithoutBlocksIsNotExecuted) {
  for (const bool is_fetched : {false, true}) {
    JudgedBench judged;
    NvmeBench& bench = judged.bench;
    EXPECT_EQ(bench.carry_out(bench.write(0x10)).size(), 1U);
    bench.submit(NvmeBench::with_id(Entry::write_zeroes(1, {0, 1}, false), 0x11));
    if (is_fetched) static_cast<void>(bench.controller->step(bench.now_ns));
    EXPECT_EQ(bench.controller->command_count(), is_fetched ? 1U : 0U);
    EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
    EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x11});
    bench.run();
    EXPECT_TRUE(bench.completions().empty());
    EXPECT_FALSE(bench.is_zero(0, 1));
    EXPECT_EQ(bench.carry_out(NvmeBench::flush(0x11)), NvmeDones{good(0x11)});
  }
}

TEST(NvmeOracle, ADisownedWriteThatWasNotFetchedIsForbiddenItsMemory) {
  JudgedBench judged;
  NvmeBench& bench = judged.bench;
  Entry entry = bench.write(0x11);
  entry.prp1 = 0x7000'0000;
  bench.submit(entry);
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  bench.run();
  EXPECT_EQ(bench.iommu.fault_counts().total(), 1U);
  EXPECT_EQ(bench.iommu.fault_counts().not_forbidden, 0U);
}

// Goal: a completion for the tag's next publication waits in the ring, because its interrupt was
// lost. The driver publishes a batch, and takes completions before the doorbell of the batch.
TEST(NvmeOracle, ACommandWhoseDoorbellWasNotRungIsDisowned) {
  JudgedBench judged{{{FaultKind::early, commands_before}}};
  judged.seen_of(NvmeBench::flush(0x5002));
  EXPECT_EQ(judged.note(0x5002, true), LookupTruth::fits);
  judged.bench.put(judged.bench.write(0x6002, 3));
  EXPECT_EQ(judged.note(0x6002, true), LookupTruth::fits);
  EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x6002});
  judged.bench.acknowledge();
  judged.bench.put(judged.bench.write(0x7002, 4));
  EXPECT_EQ(judged.note(0x7002, true), LookupTruth::wrong_claim) << "without an entry";
  judged.bench.ring_tail();
  judged.bench.run();
  EXPECT_EQ(judged.bench.completions(), (NvmeDones{good(0x6002), good(0x7002)}));
  EXPECT_EQ(judged.note(0x6002, false), LookupTruth::fits) << "not genuine";
}

TEST(NvmeOracle, TheCommandWithTheCookieIsTheOneThatIsDisowned) {
  JudgedBench judged{{{FaultKind::early, commands_before}}};
  judged.seen_of(NvmeBench::flush(0x5002));
  EXPECT_EQ(judged.note(0x5002, true), LookupTruth::fits);
  for (const std::uint16_t id : {std::uint16_t{0x6001}, std::uint16_t{0x6002}}) {
    judged.bench.put(judged.bench.write(id, 3));
  }
  EXPECT_EQ(judged.note(0x6002, true), LookupTruth::fits);
  EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x6002});
}

// Goal: what the ring holds of commands that are done is no command without its doorbell.
// Method: a completion is posted twice, and accepted again when its command's place in the ring
// could be the next command's.
TEST(NvmeOracle, AnEntryOfAnEarlierRoundIsNoCommandWithoutADoorbell) {
  JudgedBench judged{{{FaultKind::duplicate, commands_before}}};
  NvmeBench& bench = judged.bench;
  judged.seen_of(NvmeBench::flush(0x5002));
  EXPECT_EQ(judged.note(0x5002, true), LookupTruth::fits);
  judged.seen_of(NvmeBench::flush(0x5003));
  EXPECT_EQ(judged.note(0x5003, true), LookupTruth::fits);
  bench.put(bench.write(0x5004));
  EXPECT_EQ(judged.note(0x5002, true), LookupTruth::wrong_claim);
  EXPECT_TRUE(judged.false_ids.empty());
  // The identifier's next command is executed.
  bench.put(NvmeBench::flush(0x5002));
  bench.ring_tail();
  bench.run();
  EXPECT_EQ(bench.completions(), (NvmeDones{good(0x5004), good(0x5002)}));
}

// Goal: the same for what the ring held before the queue was created.
TEST(NvmeOracle, AnEntryOfADeletedQueueIsNoCommandWithoutADoorbell) {
  JudgedBench judged{{{FaultKind::early, commands_before + NvmeBench::entries + 2}}};
  NvmeBench& bench = judged.bench;
  for (std::uint16_t i = 0; i != NvmeBench::entries; ++i) {
    judged.seen_of(NvmeBench::flush(static_cast<std::uint16_t>(0x6000 + i)));
    EXPECT_EQ(judged.note(static_cast<std::uint16_t>(0x6000 + i), true), LookupTruth::fits);
    bench.acknowledge();
  }
  EXPECT_EQ(bench.admin(Entry::delete_io_sq(1)).code, Code::success);
  EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
  judged.seen_of(NvmeBench::flush(0x5002));
  EXPECT_EQ(judged.note(0x5002, true), LookupTruth::fits);
  EXPECT_EQ(judged.note(0x6002, true), LookupTruth::wrong_claim);
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
  EXPECT_TRUE(judged.false_ids.empty());
}

// Goal: a command may be the same, to the last bit, as the one that its place in the ring had
// before, if a command behind it is not.
TEST(NvmeOracle, ACommandLikeTheOneBeforeInItsPlaceIsFoundWithoutItsDoorbell) {
  JudgedBench judged{{{FaultKind::early, commands_before + NvmeBench::entries - 1}}};
  NvmeBench& bench = judged.bench;
  constexpr std::uint16_t ids[] = {0x6002, 0x6003, 0x6004, 0x6005, 0x6006, 0x6007, 0x6008, 0x5002};
  static_assert(std::size(ids) == NvmeBench::entries);
  for (const std::uint16_t id : ids) {
    judged.seen_of(NvmeBench::flush(id));
    EXPECT_EQ(judged.note(id, true), LookupTruth::fits);
    if (id != 0x5002) bench.acknowledge();
  }
  bench.put(NvmeBench::flush(0x6002));
  bench.put(NvmeBench::flush(0x7003));
  EXPECT_EQ(judged.note(0x6002, true), LookupTruth::fits);
  EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x6002});
}

// Goal: the controller reads a ring for the Oracle when the queue is created, which a device does
// not.
TEST(NvmeOracle, ALookAtARingIsNoAccessOfTheDevice) {
  NvmeBench bench;
  const blkown::sim::NvmeOracle oracle{*bench.controller};
  bench.start(1);
  EXPECT_EQ(bench.admin(bench.create_cq(2)).code, Code::success);
  Entry entry = bench.create_sq(2);
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
}

// --- doorbells -----------------------------------------------------------------------------------

TEST(NvmeOracle, OnlyAValueThatIsNoIndexOfItsQueueMisusesADoorbell) {
  for (const bool is_completion : {false, true}) {
    JudgedBench judged;
    judged.bench.ring(1, is_completion, 0);
    EXPECT_FALSE(judged.oracle.has_misused_doorbell()) << "the index is there already";
    judged.bench.ring(1, is_completion, NvmeBench::entries);
    EXPECT_TRUE(judged.oracle.has_misused_doorbell());
  }
}

// --- entries that stay in the ring ---------------------------------------------------------------

TEST(NvmeOracle, FindsAnEntryThatStaysInTheRingAfterItsInterrupt) {
  JudgedBench judged;
  judged.bench.submit(NvmeBench::flush(0x11));
  judged.bench.run();
  EXPECT_FALSE(judged.oracle.left_entry(1, 1'000).has_value()) << "without its interrupt";
  judged.oracle.note_interrupt(1, 500);
  judged.oracle.note_interrupt(1, 900);
  EXPECT_FALSE(judged.oracle.left_entry(1, 499).has_value());
  EXPECT_TRUE(judged.oracle.left_entry(1, 500).has_value()) << "since the first one";
  EXPECT_FALSE(judged.oracle.left_entry(2, 500).has_value());
  EXPECT_EQ(judged.bench.completions().size(), 1U);
  EXPECT_FALSE(judged.oracle.left_entry(1, 1'000).has_value());
  judged.bench.submit(NvmeBench::flush(0x12));
  judged.bench.run();
  EXPECT_FALSE(judged.oracle.left_entry(1, 1'000).has_value()) << "posted behind the interrupts";
}

// Goal: before this time no entry was announced, so that none needs to be looked for.
TEST(NvmeOracle, KnowsTheFirstTimeAtWhichAnEntryWasAnnounced) {
  JudgedBench judged;
  EXPECT_EQ(judged.oracle.first_announced_ns(800), 800U) << "there is none";
  judged.bench.submit(NvmeBench::flush(0x11));
  judged.bench.run();
  EXPECT_EQ(judged.oracle.first_announced_ns(800), 800U) << "without its interrupt";
  judged.oracle.note_interrupt(1, 500);
  EXPECT_EQ(judged.oracle.first_announced_ns(800), 500U);
  judged.bench.submit(NvmeBench::flush(0x12));
  judged.bench.run();
  judged.oracle.note_interrupt(1, 700);
  EXPECT_EQ(judged.oracle.first_announced_ns(800), 500U);
  judged.bench.ring(1, true, 1);
  EXPECT_EQ(judged.oracle.first_announced_ns(800), 700U) << "the one behind";
}

TEST(NvmeOracle, AnEntryThatTheDriverCannotSeeIsNotLeft) {
  JudgedBench judged{{{FaultKind::no_phase_change, commands_before}}};
  for (const std::uint16_t id : {std::uint16_t{0x11}, std::uint16_t{0x12}}) {
    judged.bench.submit(NvmeBench::flush(id));
    judged.bench.run();
  }
  judged.oracle.note_interrupt(1, 500);
  EXPECT_FALSE(judged.oracle.left_entry(1, 500).has_value());
}

TEST(NvmeOracle, FindsAnEntryThatIsLookedUpWithoutTheDoorbell) {
  JudgedBench judged;
  judged.seen_of(NvmeBench::flush(0x11));
  EXPECT_FALSE(judged.oracle.has_kept_entry());
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_TRUE(judged.oracle.has_kept_entry());
  judged.bench.acknowledge();
  EXPECT_FALSE(judged.oracle.has_kept_entry());
}

// --- retries -------------------------------------------------------------------------------------

TEST(NvmeOracle, TellsWhenTheDriverKnowsThatACommandHasFailedForGood) {
  JudgedBench judged{{{FaultKind::do_not_retry, 0}, {FaultKind::media_error, 1}}};
  judged.seen_of(judged.bench.write(0x11, 7));
  auto verdict = judged.oracle.note_lookup(1, 0x11, true);
  ASSERT_TRUE(verdict.failed_for_good.has_value());
  EXPECT_EQ(verdict.failed_for_good->slba(), 7U);
  judged.bench.acknowledge();
  judged.seen_of(judged.bench.write(0x12, 7));
  verdict = judged.oracle.note_lookup(1, 0x12, true);
  EXPECT_FALSE(verdict.failed_for_good.has_value()) << "a failure that may be temporary";
}

TEST(NvmeOracle, PassesOnEachCommandThatIsFetched) {
  JudgedBench judged;
  std::vector<std::uint16_t> ids;
  judged.oracle.set_fetch_sink({[](void* its, std::uint32_t queue, const Entry& entry) {
                                  EXPECT_EQ(queue, 1U);
                                  static_cast<std::vector<std::uint16_t>*>(its)->push_back(
                                      entry.command_id);
                                },
                                &ids});
  judged.seen_of(judged.bench.write(0x11, 7));
  judged.seen_of(judged.bench.write(0x12, 7));
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{0x11, 0x12}));
}

TEST(NvmeOracle, AnEntryOfAnotherSubmissionQueueIsNotLookedUp) {
  int foreign = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{{FaultKind::wrong_queue, commands_before}};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    blkown::sim::NvmeOracle oracle{*bench.controller};
    bench.start();
    const std::size_t admin = oracle.unaccounted();
    EXPECT_EQ(bench.carry_out(bench.write(0x11)), NvmeDones{good(0x11)});
    EXPECT_EQ(oracle.note_lookup(1, 0x11, true).truth, LookupTruth::fits);
    EXPECT_EQ(bench.completions(2).size(), 1U);
    const bool is_foreign = bench.latest.sq_id != 2;
    EXPECT_EQ(oracle.unaccounted(), admin + (is_foreign ? 0 : 1));
    EXPECT_EQ(oracle.note_lookup(2, 0x11, false).truth, LookupTruth::fits);
    EXPECT_EQ(oracle.unaccounted(), admin + (is_foreign ? 1 : 0));
    if (is_foreign) ++foreign;
  }
  EXPECT_GT(foreign, 0);
  EXPECT_LT(foreign, 16);
}

// Goal: accepting a false completion of a command that is done is no wrong claim, and the
// completion is reported as false.
TEST(NvmeOracle, AFalseCompletionOfACommandThatIsDoneIsNoWrongClaim) {
  int found = 0;
  for (const FaultKind kind : {FaultKind::reordered, FaultKind::no_phase_change, FaultKind::lost}) {
    for (std::uint64_t seed = 0; seed != 8; ++seed) {
      JudgedBench judged{{{kind, commands_before}}, seed};
      NvmeBench& bench = judged.bench;
      bench.submit(bench.write(0x11));
      for (int i = 0; i != 100 && bench.is_zero(0, 1); ++i) {
        if (!bench.controller->step(bench.now_ns)) bench.now_ns += 100;
      }
      if (bench.is_zero(0, 1)) continue;  // the command was lost before its execution
      ++found;
      EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
      EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x11});
      EXPECT_EQ(bench.controller->command_count(), 0U);
      EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
    }
  }
  EXPECT_GT(found, 16) << "some of the lost commands, too";
}

// Goal: of two entries with the same identifier, only one is genuine.
TEST(NvmeOracle, TellsTheGenuineEntryFromOneThatLooksLikeIt) {
  for (const bool takes_the_first : {true, false}) {
    JudgedBench judged{{{FaultKind::before_publish, 0}}};
    NvmeBench& bench = judged.bench;
    std::vector<std::byte> memory(512);
    const Cookie next{.value = 0x11, .generation = {1}, .tag = {}, .queue = {}};
    const auto iova = bench.iommu.map({memory.data(), 512}, Direction::bidirectional, next);
    ASSERT_TRUE(iova.has_value());
    Entry entry = bench.read(0x11);
    entry.prp1 = *iova;
    bench.submit(entry);
    bench.run();
    ASSERT_EQ(bench.take().size(), 2U);
    EXPECT_EQ(judged.note(0x11, takes_the_first), LookupTruth::fits);
    EXPECT_EQ(judged.false_ids.size(), takes_the_first ? 1U : 0U);
    EXPECT_EQ(judged.note(0x11, !takes_the_first), LookupTruth::fits);
    EXPECT_EQ(judged.false_ids.size(), takes_the_first ? 1U : 0U);
    EXPECT_EQ(judged.note(0x11, true), LookupTruth::wrong_claim);
  }
}

TEST(NvmeOracle, AReorderedCompletionComesTooLateAfterAFalseOne) {
  JudgedBench judged{{{FaultKind::reordered, commands_before}}};
  NvmeBench& bench = judged.bench;
  bench.submit(bench.write(0x11));
  while (bench.is_zero(0, 1)) {
    if (!bench.controller->step(bench.now_ns)) bench.now_ns += 1000;
  }
  EXPECT_EQ(judged.note(0x11, true), LookupTruth::fits);
  EXPECT_EQ(judged.false_ids, std::vector<std::uint16_t>{0x11});
  bench.run();
  EXPECT_EQ(judged.note(0x11, false), LookupTruth::fits) << "not genuine any more";
}

}  // namespace
}  // namespace sim_test
