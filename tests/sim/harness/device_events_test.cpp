// SPDX-License-Identifier: BSL-1.0
//
// Goal: what the device does stands in the history of the request that the command or the
// completion names, and the command behind a sector's data is known.

#include <gtest/gtest.h>

#include <blkown/config.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace {

namespace sim = blkown::sim;
namespace nvme = blkown::nvme;
using blkown::QueueIndex;
using blkown::Tag;
using nvme::SubmissionEntry;
using sim::FaultKind;
using sim::FaultStrike;
using sim::FaultTarget;
using sim::Message;
using sim::Opcode;

/// Keeps the calls that it gets, as texts.
template <class Entry>
class RecordingObserver final : public sim::CommandObserver<Entry> {
 public:
  void command_fetched(std::uint32_t queue, const Entry&) override { add("fetched", queue); }
  void command_refused(std::uint32_t queue, const Entry&) override { add("refused", queue); }
  void command_failed_for_good(std::uint32_t queue, const Entry&) override {
    add("failed_for_good", queue);
  }
  void command_done(std::uint32_t queue, const Entry&) override { add("done", queue); }
  void entry_posted(std::uint32_t queue, std::uint64_t cookie, bool is_genuine) override {
    add("posted " + std::to_string(cookie) + (is_genuine ? " genuine" : " false"), queue);
  }
  void entry_hidden(std::uint32_t queue) override { add("hidden", queue); }
  void foreign_entry_posted(std::uint32_t queue) override { add("foreign", queue); }
  void entry_taken(std::uint32_t queue) override { add("taken", queue); }
  void queue_stopped(std::uint32_t queue) override { add("queue_stopped", queue); }
  void doorbell_misused(std::uint32_t queue) override { add("misused", queue); }
  void stopped() override { calls.emplace_back("stopped"); }

  std::vector<std::string> calls;

 private:
  void add(const std::string& what, std::uint32_t queue) {
    calls.push_back(what + " on " + std::to_string(queue));
  }
};

/// The events of a device with two queues of eight tags, and a disk of 32 sectors.
template <class Entry>
struct EventsOf : testing::Test {
  static constexpr std::uint32_t first_io_queue = std::is_same_v<Entry, SubmissionEntry> ? 1 : 0;
  static constexpr std::uint64_t sector_count = 32;

  [[nodiscard]] std::string printed(std::uint32_t queue, std::uint32_t tag) const {
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* const file = open_memstream(&text, &size);
    history.print(file, QueueIndex{queue}, Tag{tag}, 100);
    std::fclose(file);
    std::string copy{text, size};
    std::free(text);
    return copy;
  }
  void begin_event(std::uint64_t now_ns) { history.begin_step(now_ns); }

  sim::History history;
  RecordingObserver<Entry> observer;
  sim::detail::DeviceEvents<Entry> events{
      observer, history,      first_io_queue,
      8,        sector_count, {.nsid = 1, .block_sectors = 2, .disk_sectors = sector_count}};
};
using MessageEvents = EventsOf<Message>;
using NvmeEvents = EventsOf<SubmissionEntry>;

[[nodiscard]] Message write_of(std::uint64_t cookie, std::uint64_t sector, std::uint32_t length) {
  return {.cookie = cookie,
          .opcode = Opcode::write,
          .sector = sector,
          .length_sectors = length,
          .bytes = {}};
}
[[nodiscard]] Message flush_of(std::uint64_t cookie) {
  return {.cookie = cookie, .opcode = Opcode::flush, .bytes = {}};
}
[[nodiscard]] SubmissionEntry with_id(SubmissionEntry entry, std::uint16_t command_id) {
  entry.command_id = command_id;
  return entry;
}

// --- what a command is ---------------------------------------------------------------------------

TEST(IoText, OfAnNvmeCommandHasItsRangeInSectors) {
  const auto text = [](const SubmissionEntry& entry) {
    return to_string(sim::detail::io_of(entry, {.nsid = 2, .block_sectors = 8}));
  };
  EXPECT_EQ(text(SubmissionEntry::read(2, {3, 2})), "read of sectors 24 to 39");
  EXPECT_EQ(text(SubmissionEntry::write(2, {3, 1}, true)), "write of sectors 24 to 31 with FUA");
  EXPECT_EQ(text(SubmissionEntry::compare(2, {0, 1})), "compare of sectors 0 to 7");
  EXPECT_EQ(text(SubmissionEntry::write_zeroes(1, {1, 1}, false)),
            "write_zeroes of sectors 8 to 15, in the namespace of another disk");
  EXPECT_EQ(text(SubmissionEntry::flush(2)), "flush");
  EXPECT_EQ(text(SubmissionEntry::flush(nvme::all_namespaces)), "flush of all namespaces");
  EXPECT_EQ(text(SubmissionEntry::dataset_management(2, 1, true)), "dataset_management");
  const auto one = sim::detail::io_of(SubmissionEntry::write(2, {5, 1}), {.nsid = 2});
  EXPECT_EQ(to_string(one), "write of sector 5");
  // A block whose first sector is beyond the largest number is no small sector.
  const auto far = sim::detail::io_of(SubmissionEntry::write(2, {std::uint64_t{1} << 61, 1}),
                                      {.nsid = 2, .block_sectors = 8});
  EXPECT_EQ(far.sector, UINT64_MAX);
  EXPECT_EQ(to_string(far), "write of sectors 18446744073709551615 to 18446744073709551615");
}

TEST(IoText, OfAMessageHasNoRangeIfItIsAFlush) {
  Message message = write_of(1, 4, 3);
  EXPECT_EQ(to_string(sim::detail::io_of(message, {})), "write of sectors 4 to 6");
  message.opcode = Opcode::flush;
  EXPECT_EQ(to_string(sim::detail::io_of(message, {})), "flush");
  EXPECT_EQ(to_string(sim::IoText{}), "");
}

// --- the history ---------------------------------------------------------------------------------

TEST_F(MessageEvents, CommandsAndCompletionsStandInTheHistoryOfTheirRequest) {
  begin_event(1'000);
  events.command_fetched(1, write_of(0x1003, 4, 2));
  EXPECT_EQ(history.place(), "controller");
  begin_event(2'000);
  events.command_done(1, write_of(0x1003, 4, 2));
  events.entry_posted(1, 0x1003, true);
  EXPECT_EQ(history.place(), "controller");
  begin_event(3'000);
  events.entry_posted(1, 0x1003, false);
  events.entry_posted(1, 0x1008, true);  // no such tag
  EXPECT_EQ(printed(1, 3),
            "  event 1 at 1 us, controller: the device fetches write,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 2 at 2 us, controller: the device posts the completion,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 3 at 3 us, controller: the device posts a false completion,"
            " cookie 0x1003 (generation 1, tag 3)\n");
  EXPECT_EQ(printed(0, 3), "");
}

TEST_F(NvmeEvents, TheAdminQueueHasNoHistory) {
  begin_event(1'000);
  events.command_fetched(0, with_id(SubmissionEntry::flush(1), 0x1003));
  events.entry_posted(0, 0x1003, true);
  events.strike({FaultKind::late, 1}, FaultTarget{.queue = 0, .cookie = 0x1003});
  EXPECT_EQ(printed(0, 3), "");
  EXPECT_EQ(events.queue_of(0x1003), std::nullopt);
  EXPECT_FALSE(events.latest_flush(0).has_value());
  EXPECT_EQ(history.strike_count(), 1U);
  EXPECT_FALSE(history.latest_strikes(1).front().has_request);
  events.command_fetched(1, with_id(SubmissionEntry::flush(1), 0x1003));
  EXPECT_EQ(printed(0, 3),
            "  event 1 at 1 us, controller: the device fetches flush,"
            " cookie 0x1003 (generation 1, tag 3)\n");
}

TEST_F(MessageEvents, AreAllPassedOn) {
  events.command_fetched(1, flush_of(3));
  events.command_refused(0, flush_of(3));
  events.command_failed_for_good(1, flush_of(3));
  events.command_done(0, flush_of(3));
  events.entry_posted(1, 3, true);
  events.entry_posted(1, 4, false);
  events.entry_hidden(1);
  events.foreign_entry_posted(0);
  events.entry_taken(1);
  events.queue_stopped(1);
  events.doorbell_misused(0);
  events.stopped();
  EXPECT_EQ(observer.calls,
            (std::vector<std::string>{"fetched on 1", "refused on 0", "failed_for_good on 1",
                                      "done on 0", "posted 3 genuine on 1", "posted 4 false on 1",
                                      "hidden on 1", "foreign on 0", "taken on 1",
                                      "queue_stopped on 1", "misused on 0", "stopped"}));
}

// --- faults --------------------------------------------------------------------------------------

TEST_F(MessageEvents, AFaultStandsInTheHistoryOfItsCommand) {
  begin_event(1'000);
  events.strike({FaultKind::late, 4}, FaultTarget{.queue = 1, .cookie = 0x1003});
  EXPECT_EQ(history.place(), "controller");
  EXPECT_EQ(printed(1, 3), "  event 1 at 1 us, controller: fault late@4 strikes\n");
  const auto at = history.strikes_of(QueueIndex{1}, Tag{3});
  ASSERT_EQ(at.size(), 1U);
  EXPECT_TRUE(at[0].has_request);
  EXPECT_EQ(at[0].queue, QueueIndex{1});
  EXPECT_EQ(at[0].tag, Tag{3});
  EXPECT_EQ(at[0].event, 1U);

  events.strike({FaultKind::reset, 0}, std::nullopt);
  events.strike({FaultKind::lost, 1}, FaultTarget{.queue = 1, .cookie = 0x1009});  // no such tag
  for (const auto& strike : history.latest_strikes(2)) EXPECT_FALSE(strike.has_request);
  EXPECT_EQ(history.strike_count(), 3U);
}

// The IOMMU does not know the queue of a command whose memory it does not unmap.
TEST_F(NvmeEvents, AFaultOfACookieIsThatOfTheQueueToWhichItCameLast) {
  EXPECT_EQ(events.queue_of(0x1003), std::nullopt);
  begin_event(1'000);
  events.strike({FaultKind::unmap_failure, 0}, FaultTarget{.queue = {}, .cookie = 0x1003});
  EXPECT_FALSE(history.latest_strikes(1).front().has_request);
  events.command_fetched(2, with_id(SubmissionEntry::flush(1), 0x1003));
  EXPECT_EQ(events.queue_of(0x1003), QueueIndex{1});
  begin_event(2'000);
  events.command_fetched(1, with_id(SubmissionEntry::flush(1), 0x1003));
  EXPECT_EQ(events.queue_of(0x1003), QueueIndex{0});
  begin_event(3'000);
  events.command_fetched(2, with_id(SubmissionEntry::flush(1), 0x2003));
  EXPECT_EQ(events.queue_of(0x1003), QueueIndex{0}) << "another cookie of the tag";
  EXPECT_EQ(events.queue_of(0x2003), QueueIndex{1});
  EXPECT_EQ(events.queue_of(0x1004), std::nullopt);
  EXPECT_EQ(events.queue_of(0x1009), std::nullopt);

  events.strike({FaultKind::unmap_failure, 1}, FaultTarget{.queue = {}, .cookie = 0x2003});
  ASSERT_EQ(history.strikes_of(QueueIndex{1}, Tag{3}).size(), 1U);
  EXPECT_TRUE(history.strikes_of(QueueIndex{0}, Tag{3}).empty());
}

// Goal: a late fault is at the command that it is about, which may be an earlier one of the tag.
TEST_F(MessageEvents, TheLatestEightCookiesOfATagAreKnown) {
  for (std::uint64_t i = 1; i != 10; ++i) {
    begin_event(i);
    events.command_fetched(1, flush_of(i << 12 | 3));
  }
  EXPECT_EQ(events.queue_of(0x1003), std::nullopt);
  EXPECT_EQ(events.queue_of(0x2003), QueueIndex{1});
  EXPECT_EQ(events.queue_of(0x9003), QueueIndex{1});
}

TEST_F(MessageEvents, AFalseCompletionHasTheFaultOfItsEvent) {
  begin_event(1'000);
  events.strike({FaultKind::stale, 2}, FaultTarget{.queue = 0, .cookie = 0x1005});
  events.entry_posted(1, 0x1003, false);
  EXPECT_EQ(printed(1, 3),
            "  event 1 at 1 us, controller: the device posts a false completion,"
            " cookie 0x1003 (generation 1, tag 3)\n"
            "  event 1 at 1 us, controller: fault stale@2 strikes\n");
  begin_event(2'000);
  events.entry_posted(1, 0x1004, false);
  EXPECT_EQ(printed(1, 4),
            "  event 2 at 2 us, controller: the device posts a false completion,"
            " cookie 0x1004 (generation 1, tag 4)\n")
      << "the fault of an earlier event is not the cause";
}

// --- who wrote a sector --------------------------------------------------------------------------

TEST_F(MessageEvents, TheWriterOfASectorIsTheLatestCommandThatChangesIt) {
  begin_event(1'000);
  events.command_fetched(1, write_of(0x1003, 4, 2));
  Message message = write_of(0x1004, 5, 3);
  for (const Opcode opcode : {Opcode::write_zeroes, Opcode::discard}) {
    begin_event(2'000);
    message.opcode = opcode;
    events.command_fetched(0, message);
    EXPECT_EQ(events.writer_of(5)->event, history.event());
  }
  message.opcode = Opcode::read;
  events.command_fetched(1, message);
  EXPECT_FALSE(events.writer_of(3).has_value());
  const auto& first = events.writer_of(4);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->event, 1U);
  EXPECT_EQ(first->queue, QueueIndex{1});
  EXPECT_EQ(first->cookie, 0x1003U);
  EXPECT_EQ(to_string(first->io), "write of sectors 4 to 5");
  EXPECT_EQ(first->fault, std::nullopt);
  EXPECT_EQ(events.writer_of(7)->cookie, 0x1004U);
  EXPECT_EQ(events.writer_of(7)->queue, QueueIndex{0});
  EXPECT_EQ(to_string(events.writer_of(7)->io), "discard of sectors 5 to 7");
  EXPECT_FALSE(events.writer_of(8).has_value());
}

TEST_F(MessageEvents, AFaultIsKnownOfTheWriterOnlyWhereItsDataIsTheLatest) {
  begin_event(1'000);
  events.command_fetched(1, write_of(0x1003, 4, 3));
  begin_event(2'000);
  events.command_fetched(1, write_of(0x1004, 5, 1));
  events.strike({FaultKind::media_error, 2}, FaultTarget{.queue = 1, .cookie = 0x2003});
  events.strike({FaultKind::media_error, 2}, FaultTarget{.queue = 0, .cookie = 0x1003});
  EXPECT_EQ(events.writer_of(4)->fault, std::nullopt) << "of another command";
  events.strike({FaultKind::media_error, 3}, FaultTarget{.queue = 1, .cookie = 0x1003});
  const FaultStrike fault{FaultKind::media_error, 3};
  EXPECT_EQ(events.writer_of(4)->fault, fault);
  EXPECT_EQ(events.writer_of(5)->fault, std::nullopt) << "of the later command";
  EXPECT_EQ(events.writer_of(6)->fault, fault);
  // A command that the device refuses, because it ends behind the disk.
  events.command_fetched(1, write_of(0x1005, sector_count - 1, 4));
  events.strike({FaultKind::media_error, 4}, FaultTarget{.queue = 1, .cookie = 0x1005});
  EXPECT_EQ(events.writer_of(sector_count - 1)->fault, (FaultStrike{FaultKind::media_error, 4}));
}

TEST_F(NvmeEvents, AWriteToTheNamespaceOfAnotherDiskIsKnownApart) {
  begin_event(1'000);
  events.command_fetched(2, with_id(SubmissionEntry::write(1, {2, 1}), 0x1003));
  EXPECT_FALSE(events.latest_elsewhere().has_value());
  EXPECT_FALSE(events.writer_elsewhere_of(4).has_value());
  begin_event(2'000);
  events.command_fetched(1, with_id(SubmissionEntry::write_zeroes(2, {2, 1}, false), 0x1005));
  events.strike({FaultKind::media_error, 3}, FaultTarget{.queue = 1, .cookie = 0x1005});
  EXPECT_EQ(events.writer_of(4)->cookie, 0x1003U);
  EXPECT_EQ(events.writer_of(4)->fault, std::nullopt);
  EXPECT_EQ(events.writer_elsewhere_of(4)->cookie, 0x1005U);
  EXPECT_EQ(events.writer_elsewhere_of(5)->event, 2U);
  EXPECT_FALSE(events.writer_elsewhere_of(6).has_value());
  EXPECT_EQ(events.latest_elsewhere()->cookie, 0x1005U);
}

TEST_F(MessageEvents, TheLatestFlushAndTheLatestOneWithAFaultAreKnown) {
  EXPECT_FALSE(events.latest_flush(0).has_value());
  for (std::uint64_t i = 1; i != 10; ++i) {
    begin_event(i);
    events.command_fetched(i % 2, flush_of(i << 12 | 3));
    events.command_fetched(1, write_of(0x1004, 0, 1));
    EXPECT_EQ(events.latest_flush(0)->cookie, i << 12 | 3);
  }
  EXPECT_FALSE(events.struck_flush(0).has_value());
  events.strike({FaultKind::late, 0}, FaultTarget{.queue = 1, .cookie = 0x8003});
  EXPECT_FALSE(events.struck_flush(0).has_value()) << "that flush came to queue 0";
  events.strike({FaultKind::late, 1}, FaultTarget{.queue = 1, .cookie = 0x7003});
  EXPECT_EQ(events.struck_flush(0)->event, 7U);
  EXPECT_EQ(events.struck_flush(0)->fault, (FaultStrike{FaultKind::late, 1}));
  EXPECT_EQ(events.latest_flush(0)->fault, std::nullopt);
}

// --- several disks -------------------------------------------------------------------------------

/// The events of a device with two disks of 32 sectors, in the namespaces 2 and 3 of three.
struct TwoDisks : testing::Test {
  static constexpr std::uint64_t disk_sectors = 32;

  void fetch(const SubmissionEntry& entry, std::uint16_t command_id) {
    history.begin_step(1'000);
    events.command_fetched(1, with_id(entry, command_id));
  }

  sim::History history;
  RecordingObserver<SubmissionEntry> observer;
  sim::detail::DeviceEvents<SubmissionEntry> events{
      observer,
      history,
      1,
      8,
      2 * disk_sectors,
      {.nsid = 2, .block_sectors = 2, .disk_count = 2, .disk_sectors = disk_sectors}};
};

TEST_F(TwoDisks, AFlushIsKnownOfItsDiskOnly) {
  fetch(SubmissionEntry::flush(2), 0x1003);
  EXPECT_FALSE(events.latest_flush(1).has_value());
  fetch(SubmissionEntry::flush(3), 0x1004);
  fetch(SubmissionEntry::flush(1), 0x1005);
  EXPECT_EQ(events.latest_flush(0)->cookie, 0x1003U);
  EXPECT_EQ(events.latest_flush(1)->cookie, 0x1004U);
  events.strike({FaultKind::media_error, 1}, FaultTarget{.queue = 1, .cookie = 0x1004});
  EXPECT_FALSE(events.struck_flush(0).has_value());
  EXPECT_EQ(events.struck_flush(1)->cookie, 0x1004U);
}

TEST_F(TwoDisks, AFlushOfAllNamespacesIsKnownOfEachDisk) {
  fetch(SubmissionEntry::flush(nvme::all_namespaces), 0x1003);
  EXPECT_EQ(events.latest_flush(0)->cookie, 0x1003U);
  EXPECT_EQ(events.latest_flush(1)->cookie, 0x1003U);
}

// Goal: a command that the device refuses, because it ends behind its disk, wrote nothing to the
// next disk.
TEST_F(TwoDisks, ACommandBehindTheEndOfItsDiskIsNoWriterOfTheNext) {
  fetch(SubmissionEntry::write(2, {15, 2}), 0x1003);
  events.strike({FaultKind::media_error, 1}, FaultTarget{.queue = 1, .cookie = 0x1003});
  EXPECT_EQ(events.writer_of(31)->cookie, 0x1003U);
  EXPECT_EQ(events.writer_of(31)->fault, (FaultStrike{FaultKind::media_error, 1}));
  EXPECT_FALSE(events.writer_of(32).has_value());
  fetch(SubmissionEntry::write(2, {16, 1}), 0x1004);
  EXPECT_FALSE(events.writer_of(32).has_value());
  fetch(SubmissionEntry::write(3, {0, 1}), 0x1005);
  EXPECT_EQ(events.writer_of(32)->cookie, 0x1005U);
  fetch(SubmissionEntry::write(2, {std::uint64_t{1} << 62, 1}), 0x1006);
  EXPECT_EQ(events.writer_of(31)->cookie, 0x1003U);
  EXPECT_EQ(events.writer_of(32)->cookie, 0x1005U);
}

}  // namespace
