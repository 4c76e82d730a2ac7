// SPDX-License-Identifier: BSL-1.0
//
// Goal: each field of the two queues' entries stands at the specification's bytes. Each maker of a
// command writes the specification's bits and no others, and the accessors read them back.

#include <gtest/gtest.h>

#include <array>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/dsm.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <type_traits>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme::SubmissionEntry;

/// The dwords of an entry.
using Dwords = std::array<std::uint32_t, 16>;

Dwords dwords_of(const SubmissionEntry& entry) {
  Dwords dwords{};
  for (std::size_t i = 0; i != 16; ++i) {
    dwords[i] = static_cast<std::uint32_t>(wire::integer_at(entry, 4 * i, 4));
  }
  return dwords;
}

/// What a command is expected to be: opcode, namespace, and dwords 10 to 13.
Dwords command(std::uint8_t opcode, std::uint32_t nsid, std::uint32_t dw10 = 0,
               std::uint32_t dw11 = 0, std::uint32_t dw12 = 0, std::uint32_t dw13 = 0) {
  Dwords dwords{};
  dwords[0] = opcode;
  dwords[1] = nsid;
  dwords[10] = dw10;
  dwords[11] = dw11;
  dwords[12] = dw12;
  dwords[13] = dw13;
  return dwords;
}

TEST(SubmissionEntry, HasEachFieldAtItsBytes) {
  using E = SubmissionEntry;
  wire::expect_fields<E>({
      {"OPC", 0, 1, [](const E& e) { return std::uint64_t{e.opcode}; }},
      {"FUSE and PSDT", 1, 1, [](const E& e) { return std::uint64_t{e.flags}; }},
      {"CID", 2, 2, [](const E& e) { return std::uint64_t{e.command_id}; }},
      {"NSID", 4, 4, [](const E& e) { return std::uint64_t{e.nsid}; }},
      {"CDW2", 8, 4, [](const E& e) { return std::uint64_t{e.cdw2}; }},
      {"CDW3", 12, 4, [](const E& e) { return std::uint64_t{e.cdw3}; }},
      {"MPTR", 16, 8, [](const E& e) { return e.metadata.get(); }},
      {"PRP1", 24, 8, [](const E& e) { return e.prps().prp1; }},
      {"PRP2", 32, 8, [](const E& e) { return e.prps().prp2; }},
      {"CDW10", 40, 4, [](const E& e) { return std::uint64_t{e.cdw10}; }},
      {"CDW11", 44, 4, [](const E& e) { return std::uint64_t{e.cdw11}; }},
      {"CDW12", 48, 4, [](const E& e) { return std::uint64_t{e.cdw12}; }},
      {"CDW13", 52, 4, [](const E& e) { return std::uint64_t{e.cdw13}; }},
      {"CDW14", 56, 4, [](const E& e) { return std::uint64_t{e.cdw14}; }},
      {"CDW15", 60, 4, [](const E& e) { return std::uint64_t{e.cdw15}; }},
      {"SLBA", 40, 8, [](const E& e) { return e.slba(); }},
      {"LPO", 48, 8, [](const E& e) { return e.log_offset_bytes(); }},
  });
}

TEST(SubmissionEntry, TheFlagsSayFusedAndSgl) {
  SubmissionEntry entry;
  EXPECT_EQ(entry.fused_operation(), 0U);
  EXPECT_FALSE(entry.uses_sgl());
  entry.flags = 0x01;
  EXPECT_EQ(entry.fused_operation(), 1U);
  entry.flags = 0x42;
  EXPECT_EQ(entry.fused_operation(), 2U);
  EXPECT_TRUE(entry.uses_sgl());
  entry.flags = 0x80;
  EXPECT_TRUE(entry.uses_sgl());
}

TEST(SubmissionEntry, TheOpcodeIsOfTheQueuesCommandSet) {
  SubmissionEntry entry;
  entry.opcode = 0x02;
  EXPECT_EQ(entry.admin_opcode(), nvme::AdminOpcode::get_log_page);
  EXPECT_EQ(entry.io_opcode(), nvme::IoOpcode::read);
}

TEST(SubmissionEntry, TakesItsDataAddress) {
  SubmissionEntry entry;
  entry.set_prps({.prp1 = 0x1122334455667788, .prp2 = 0x99AABBCCDDEEFF00});
  EXPECT_EQ(wire::integer_at(entry, 24, 8), 0x1122334455667788U);
  EXPECT_EQ(wire::integer_at(entry, 32, 8), 0x99AABBCCDDEEFF00U);
}

TEST(SubmissionEntry, MakesTheCommandsOfBlocks) {
  const nvme::BlockRange blocks{.slba = 0x0000'0012'8000'0005, .block_count = 8};
  EXPECT_EQ(dwords_of(SubmissionEntry::read(7, blocks)),
            command(0x02, 7, 0x80000005, 0x12, 0x00000007));
  EXPECT_EQ(dwords_of(SubmissionEntry::read(7, blocks, true)),
            command(0x02, 7, 0x80000005, 0x12, 0x40000007));
  EXPECT_EQ(dwords_of(SubmissionEntry::write(7, blocks, true)),
            command(0x01, 7, 0x80000005, 0x12, 0x40000007));
  EXPECT_EQ(dwords_of(SubmissionEntry::write(7, {.slba = 0, .block_count = 65536})),
            command(0x01, 7, 0, 0, 0x0000FFFF));
  EXPECT_EQ(dwords_of(SubmissionEntry::compare(7, blocks)),
            command(0x05, 7, 0x80000005, 0x12, 0x00000007));
  EXPECT_EQ(dwords_of(SubmissionEntry::write_zeroes(7, blocks, false)),
            command(0x08, 7, 0x80000005, 0x12, 0x00000007));
  EXPECT_EQ(dwords_of(SubmissionEntry::write_zeroes(7, blocks, true, true)),
            command(0x08, 7, 0x80000005, 0x12, 0x42000007));
}

TEST(SubmissionEntry, ReadsTheCommandsOfBlocks) {
  const nvme::BlockRange blocks{.slba = 0x0000'0012'8000'0005, .block_count = 8};
  EXPECT_EQ(SubmissionEntry::read(7, blocks).blocks(), blocks);
  EXPECT_FALSE(SubmissionEntry::read(7, blocks).is_fua());
  EXPECT_TRUE(SubmissionEntry::write(7, blocks, true).is_fua());
  EXPECT_FALSE(SubmissionEntry::write_zeroes(7, blocks, false, true).may_deallocate());
  EXPECT_TRUE(SubmissionEntry::write_zeroes(7, blocks, true).may_deallocate());
  SubmissionEntry entry;
  entry.cdw12 = 0xFFFF;
  EXPECT_EQ(entry.block_count(), 65536U);
  EXPECT_FALSE(entry.is_limited_retry());
  EXPECT_EQ(entry.protection_info(), 0U);
  entry.cdw12 = 0x80000000;
  EXPECT_TRUE(entry.is_limited_retry());
  EXPECT_FALSE(entry.is_fua());
  entry.cdw12 = 0x3C000000;
  EXPECT_EQ(entry.protection_info(), 15U);
  EXPECT_FALSE(entry.is_fua() || entry.is_limited_retry() || entry.may_deallocate());
}

TEST(SubmissionEntry, MakesFlushAndDatasetManagement) {
  EXPECT_EQ(dwords_of(SubmissionEntry::flush(7)), command(0x00, 7));
  EXPECT_EQ(dwords_of(SubmissionEntry::dataset_management(7, 3, true)), command(0x09, 7, 2, 4));
  EXPECT_EQ(dwords_of(SubmissionEntry::dataset_management(7, 256, false)), command(0x09, 7, 255));
  EXPECT_EQ(SubmissionEntry::dataset_management(7, 256, false).range_count(), 256U);
  EXPECT_FALSE(SubmissionEntry::dataset_management(7, 256, false).deallocates());
  EXPECT_TRUE(SubmissionEntry::dataset_management(7, 1, true).deallocates());
}

TEST(SubmissionEntry, MakesTheCommandsOfCompletionQueues) {
  const nvme::CompletionQueueSetup setup{.queue = 3,
                                         .entries = 128,
                                         .iova = 0x1000'0000'2000,
                                         .vector = 5,
                                         .interrupts_enabled = true};
  Dwords expected = command(0x05, 0, 0x007F0003, 0x00050003);
  expected[6] = 0x0000'2000;
  expected[7] = 0x1000;
  const auto entry = SubmissionEntry::create_io_cq(setup);
  EXPECT_EQ(dwords_of(entry), expected);
  EXPECT_EQ(entry.completion_queue_setup(), setup);
  EXPECT_EQ(dwords_of(SubmissionEntry::create_io_cq(
                {.queue = 1, .entries = 65536, .physically_contiguous = false})),
            command(0x05, 0, 0xFFFF0001, 0));
  EXPECT_EQ(dwords_of(SubmissionEntry::delete_io_cq(3)), command(0x04, 0, 3));
  EXPECT_EQ(SubmissionEntry::delete_io_cq(3).queue_id(), 3U);
}

TEST(SubmissionEntry, MakesTheCommandsOfSubmissionQueues) {
  const nvme::SubmissionQueueSetup setup{.queue = 3,
                                         .entries = 128,
                                         .iova = 0x1000'0000'2000,
                                         .completion_queue = 9,
                                         .priority = nvme::QueuePriority::medium};
  Dwords expected = command(0x01, 0, 0x007F0003, 0x00090005);
  expected[6] = 0x0000'2000;
  expected[7] = 0x1000;
  const auto entry = SubmissionEntry::create_io_sq(setup);
  EXPECT_EQ(dwords_of(entry), expected);
  EXPECT_EQ(entry.submission_queue_setup(), setup);
  EXPECT_EQ(dwords_of(SubmissionEntry::create_io_sq({.queue = 1,
                                                     .entries = 2,
                                                     .completion_queue = 1,
                                                     .priority = nvme::QueuePriority::low,
                                                     .physically_contiguous = false})),
            command(0x01, 0, 0x00010001, 0x00010006));
  EXPECT_EQ(dwords_of(SubmissionEntry::delete_io_sq(3)), command(0x00, 0, 3));
  EXPECT_EQ(SubmissionEntry::delete_io_sq(3).queue_id(), 3U);
}

TEST(SubmissionEntry, MakesIdentify) {
  const auto entry = SubmissionEntry::identify(nvme::Cns::attached_controller_list, 4, 0x0102);
  EXPECT_EQ(dwords_of(entry), command(0x06, 4, 0x01020012));
  EXPECT_EQ(entry.cns(), nvme::Cns::attached_controller_list);
  EXPECT_EQ(entry.controller_id(), 0x0102U);
  EXPECT_EQ(dwords_of(SubmissionEntry::identify(nvme::Cns::identify_controller)),
            command(0x06, 0, 1));
}

TEST(SubmissionEntry, MakesGetLogPage) {
  EXPECT_EQ(dwords_of(SubmissionEntry::get_log_page(nvme::LogPageId::smart, 512)),
            command(0x02, 0xFFFFFFFF, 0x007F0002));
  const auto entry = SubmissionEntry::get_log_page(nvme::LogPageId::error_information, 0x80000,
                                                   0x1'0000'0040, true, 0);
  EXPECT_EQ(dwords_of(entry), command(0x02, 0, 0xFFFF8001, 0x0001, 0x40, 1));
  EXPECT_EQ(entry.log_page(), nvme::LogPageId::error_information);
  EXPECT_EQ(entry.log_bytes(), 0x80000U);
  EXPECT_EQ(entry.log_offset_bytes(), 0x1'0000'0040U);
  EXPECT_TRUE(entry.retains_event());
  EXPECT_FALSE(SubmissionEntry::get_log_page(nvme::LogPageId::smart, 512).retains_event());
  SubmissionEntry longest;
  longest.cdw10 = 0xFFFF0000;
  longest.cdw11 = 0xFFFFFFFF;
  EXPECT_EQ(longest.log_bytes(), 0x4'0000'0000U);
}

TEST(SubmissionEntry, MakesTheCommandsOfFeatures) {
  const auto set = SubmissionEntry::set_features(nvme::FeatureId::number_of_queues, 0x00030007);
  EXPECT_EQ(dwords_of(set), command(0x09, 0, 7, 0x00030007));
  EXPECT_EQ(set.feature(), nvme::FeatureId::number_of_queues);
  EXPECT_EQ(set.feature_value(), 0x00030007U);
  EXPECT_FALSE(set.is_saved());
  const auto saved =
      SubmissionEntry::set_features(nvme::FeatureId::namespace_write_protection_config, 1, true, 2);
  EXPECT_EQ(dwords_of(saved), command(0x09, 2, 0x80000084, 1));
  EXPECT_TRUE(saved.is_saved());

  const auto get = SubmissionEntry::get_features(nvme::FeatureId::volatile_write_cache,
                                                 nvme::FeatureSelect::supported_capabilities, 2);
  EXPECT_EQ(dwords_of(get), command(0x0A, 2, 0x00000306));
  EXPECT_EQ(get.feature(), nvme::FeatureId::volatile_write_cache);
  EXPECT_EQ(get.feature_select(), nvme::FeatureSelect::supported_capabilities);
}

TEST(SubmissionEntry, MakesAbortAndAsynchronousEventRequest) {
  const auto abort = SubmissionEntry::abort(3, 0xABCD);
  EXPECT_EQ(dwords_of(abort), command(0x08, 0, 0xABCD0003));
  EXPECT_EQ(abort.abort_sq_id(), 3U);
  EXPECT_EQ(abort.abort_command_id(), 0xABCDU);
  EXPECT_EQ(dwords_of(SubmissionEntry::async_event_request()), command(0x0C, 0));
}

TEST(SubmissionEntry, MakesTheCommandsOfFirmware) {
  const auto part = SubmissionEntry::firmware_download(8192, 0x3'0000'1000);
  EXPECT_EQ(dwords_of(part), command(0x11, 0, 0x000007FF, 0xC0000400));
  EXPECT_EQ(part.firmware_bytes(), 8192U);
  EXPECT_EQ(part.firmware_offset_bytes(), 0x3'0000'1000U);
  const auto commit =
      SubmissionEntry::firmware_commit(5, nvme::FirmwareAction::replace_and_activate);
  EXPECT_EQ(dwords_of(commit), command(0x10, 0, 0x0000000D));
  EXPECT_EQ(commit.firmware_slot(), 5U);
  EXPECT_EQ(commit.firmware_action(), nvme::FirmwareAction::replace_and_activate);
  SubmissionEntry longest;
  longest.cdw10 = 0xFFFFFFFF;
  EXPECT_EQ(longest.firmware_bytes(), 0x4'0000'0000U);
}

TEST(SubmissionEntry, EachValueOfACommandHasAName) {
  wire::expect_names<nvme::QueuePriority>({{0, "urgent"}, {1, "high"}, {2, "medium"}, {3, "low"}},
                                          255, "unknown queue priority");
}

TEST(SubmissionEntry, ItsIdentifierIsACookiesValue) {
  constexpr auto layout = blkown::CookieLayout::nvme();
  auto entry = SubmissionEntry::flush(1);
  entry.command_id = static_cast<std::uint16_t>(
      layout.encode(blkown::QueueIndex{0}, blkown::Tag{0x123}, blkown::Generation{0x4}));
  EXPECT_EQ(wire::integer_at(entry, 2, 2), 0x4123U);
  nvme::CompletionEntry completion;
  completion.command_id = entry.command_id;
  EXPECT_EQ(layout.tag.get(completion.command_id), 0x123U);
  EXPECT_EQ(layout.generation.get(completion.command_id), 0x4U);
}

// An integer is none of the enumerations, and an opcode of one command set none of the other's.
template <class Cns>
concept Identifies = requires(Cns cns) { SubmissionEntry::identify(cns); };
static_assert(Identifies<nvme::Cns> && !Identifies<int>);
template <class Feature>
concept GetsFeature = requires(Feature feature) { SubmissionEntry::get_features(feature); };
static_assert(GetsFeature<nvme::FeatureId> && !GetsFeature<nvme::LogPageId> && !GetsFeature<int>);
static_assert(!std::is_convertible_v<nvme::AdminOpcode, nvme::IoOpcode>);
static_assert(!std::is_convertible_v<nvme::StatusCode, nvme::StatusField>);
static_assert(!std::is_convertible_v<nvme::IdentifyController, nvme::IdentifyNamespace>);

TEST(CompletionEntry, HasEachFieldAtItsBytes) {
  using E = nvme::CompletionEntry;
  wire::expect_fields<E>({
      {"DW0", 0, 4, [](const E& e) { return std::uint64_t{e.dw0}; }},
      {"DW1", 4, 4, [](const E& e) { return std::uint64_t{e.dw1}; }},
      {"SQHD", 8, 2, [](const E& e) { return std::uint64_t{e.sq_head}; }},
      {"SQID", 10, 2, [](const E& e) { return std::uint64_t{e.sq_id}; }},
      {"CID", 12, 2, [](const E& e) { return std::uint64_t{e.command_id}; }},
      {"P and SF", 14, 2, [](const E& e) { return std::uint64_t{e.status_and_phase}; }},
  });
}

TEST(CompletionEntry, ThePhaseTagIsTheLowestBitOfTheStatusWord) {
  nvme::CompletionEntry entry;
  EXPECT_FALSE(entry.phase());
  entry.status_and_phase = 1;
  EXPECT_TRUE(entry.phase());
  EXPECT_TRUE(entry.status().is_success());
  entry.status_and_phase = 0xFFFE;
  EXPECT_FALSE(entry.phase());
  EXPECT_EQ(entry.status().value, 0x7FFFU);
}

TEST(CompletionEntry, AControllerMakesTheStatusWord) {
  const auto status = nvme::StatusField::of(nvme::StatusCode::invalid_queue_size, true);
  const auto word = nvme::CompletionEntry::status_word(status, true);
  EXPECT_EQ(word, 0x8205U);  // DNR, SCT 1, SC 02h, P
  EXPECT_EQ(nvme::CompletionEntry::status_of(word), status);
  EXPECT_TRUE(nvme::CompletionEntry::phase_of(word));
  EXPECT_EQ(nvme::CompletionEntry::status_word(status, false), 0x8204U);
}

TEST(DsmRange, HasEachFieldAtItsBytes) {
  using E = nvme::DsmRange;
  wire::expect_fields<E>({
      {"context attributes", 0, 4, [](const E& e) { return std::uint64_t{e.attributes}; }},
      {"length", 4, 4, [](const E& e) { return std::uint64_t{e.block_count}; }},
      {"SLBA", 8, 8, [](const E& e) { return e.slba.get(); }},
  });
  EXPECT_EQ(nvme::max_dsm_ranges, 256U);
}

TEST(SubmissionEntry, EachPartDependsOnItsOwnBitsAlone) {
  using Entry = blkown::nvme::SubmissionEntry;
  EXPECT_EQ(wire::bits_of(&Entry::flags, &Entry::fused_operation), 3U);
  EXPECT_EQ(wire::bits_of(&Entry::flags, &Entry::uses_sgl), 0xC0U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw12, &Entry::block_count), 0xFFFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw12, &Entry::is_fua), 0x4000'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw12, &Entry::is_limited_retry), 0x8000'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw12, &Entry::protection_info), 0x3C00'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw12, &Entry::may_deallocate), 0x200'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::range_count), 0xFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw11, &Entry::deallocates), 4U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::cns), 0xFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::controller_id), 0xFFFF'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::log_page), 0xFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::retains_event), 0x8000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::log_bytes), 0xFFFF'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw11, &Entry::log_bytes), 0xFFFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::feature), 0xFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::is_saved), 0x8000'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::feature_select), 0x700U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::abort_sq_id), 0xFFFFU);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::abort_command_id), 0xFFFF'0000U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::firmware_slot), 7U);
  EXPECT_EQ(wire::bits_of(&Entry::cdw10, &Entry::firmware_action), 0x38U);
}

TEST(SubmissionEntry, ARetainedEventLeavesTheLengthOfALogPage) {
  const auto entry = blkown::nvme::SubmissionEntry::get_log_page(
      blkown::nvme::LogPageId::error_information, 4, 0, true);
  EXPECT_TRUE(entry.retains_event());
  EXPECT_EQ(entry.log_bytes(), 4U);
}

TEST(SubmissionEntry, ACompletionQueuesInterruptsAndItsMemoryAreOneBitEach) {
  using Entry = blkown::nvme::SubmissionEntry;
  for (const bool interrupts : {false, true}) {
    for (const bool contiguous : {false, true}) {
      const auto entry = Entry::create_io_cq({.queue = 1,
                                              .entries = 2,
                                              .iova = 4096,
                                              .interrupts_enabled = interrupts,
                                              .physically_contiguous = contiguous});
      EXPECT_EQ(entry.cdw11, (interrupts ? 2U : 0U) + (contiguous ? 1U : 0U));
      EXPECT_EQ(entry.completion_queue_setup().interrupts_enabled, interrupts);
      EXPECT_EQ(entry.completion_queue_setup().physically_contiguous, contiguous);
    }
  }
}

}  // namespace
