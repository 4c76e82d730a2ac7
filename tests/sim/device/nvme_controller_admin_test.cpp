// SPDX-License-Identifier: BSL-1.0
//
// The admin commands of an NvmeController: what they do, and the status of each wrong one.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

using nvme::Cns;
using nvme::FeatureId;
using nvme::FeatureSelect;
using nvme::LogPageId;

/// A controller whose admin queues exist.
class NvmeAdmin : public testing::Test {
 protected:
  void SetUp() override { bench_.start(0); }
  [[nodiscard]] Code code_of(const Entry& entry) { return bench_.admin(entry).code; }
  /// The code of an error, which the driver must not retry.
  [[nodiscard]] Code error_of(const Entry& entry) { return bench_.answer(entry, true, 0); }
  [[nodiscard]] Entry identify(Cns cns, std::uint32_t nsid = 0) const {
    return bench_.with_data(Entry::identify(cns, nsid));
  }
  [[nodiscard]] Entry get_log(LogPageId page, std::uint32_t length = 512, std::uint64_t offset = 0,
                              bool retains = false) const {
    return bench_.with_data(Entry::get_log_page(page, length, offset, retains));
  }
  [[nodiscard]] nvme::SmartLog smart() {
    EXPECT_EQ(code_of(get_log(LogPageId::smart)), Code::success);
    return bench_.in_data<nvme::SmartLog>();
  }
  void expect_success(const Entry& entry) { EXPECT_EQ(code_of(entry), Code::success); }

  NvmeBench bench_;
};

// --- all commands --------------------------------------------------------------------------------

TEST_F(NvmeAdmin, AnUnknownOpcodeIsInvalid) {
  for (unsigned opcode = 0; opcode != 256; ++opcode) {
    const bool is_known = opcode <= 0x02 || opcode == 0x04 || opcode == 0x05 || opcode == 0x06 ||
                          (opcode >= 0x08 && opcode <= 0x0A) || opcode == 0x0C || opcode == 0x10 ||
                          opcode == 0x11;
    if (is_known) continue;
    Entry entry = bench_.with_data({});
    entry.opcode = static_cast<std::uint8_t>(opcode);
    EXPECT_EQ(error_of(entry), Code::invalid_opcode) << opcode;
  }
}

TEST_F(NvmeAdmin, FusedCommandsAndSglsAreInvalidFields) {
  for (const unsigned flags : {0x01U, 0x02U, 0x40U, 0x80U}) {
    Entry entry = identify(Cns::identify_controller);
    entry.flags = static_cast<std::uint8_t>(flags);
    EXPECT_EQ(error_of(entry), Code::invalid_field) << flags;
  }
}

// Source: NVMe Base 1.4, section 4.2.
TEST_F(NvmeAdmin, ANamespaceInACommandThatUsesNoneIsAnInvalidField) {
  expect_success(bench_.create_cq(1));
  for (Entry entry :
       {identify(Cns::identify_controller), bench_.create_cq(2), bench_.create_sq(1),
        Entry::delete_io_sq(1), Entry::delete_io_cq(1), Entry::abort(0, 1),
        Entry::async_event_request(), bench_.with_data(Entry::firmware_download(4096, 0)),
        Entry::firmware_commit(2, nvme::FirmwareAction::replace)}) {
    for (const std::uint32_t nsid : {1U, nvme::all_namespaces}) {
      entry.nsid = nsid;
      EXPECT_EQ(error_of(entry), Code::invalid_field) << nvme::to_string(entry.admin_opcode());
    }
  }
  expect_success(bench_.create_sq(1));
}

// --- Identify ------------------------------------------------------------------------------------

TEST_F(NvmeAdmin, IdentifyTellsOfTheController) {
  expect_success(identify(Cns::identify_controller));
  const auto its = bench_.in_data<nvme::IdentifyController>();
  const auto serial = its.serial();
  EXPECT_EQ(std::string_view(serial.data(), serial.size()), "SIM-0001");
  EXPECT_EQ(its.mdts, 5);
  EXPECT_EQ(its.max_aborts(), 4U);
  EXPECT_EQ(its.max_async_events(), 4U);
  EXPECT_EQ(its.error_log_entries, 15);
  EXPECT_EQ(its.namespace_count, 3U);
  EXPECT_EQ(its.version, 0x10400U);
  EXPECT_EQ(its.submission_entry_sizes, 0x66);
  EXPECT_EQ(its.completion_entry_sizes, 0x44);
  EXPECT_TRUE(its.has_volatile_write_cache());
  EXPECT_TRUE(its.supports_io(nvme::oncs::compare | nvme::oncs::dataset_management |
                              nvme::oncs::write_zeroes));
  EXPECT_FALSE(its.supports_io(nvme::oncs::write_uncorrectable));
  EXPECT_TRUE(its.supports_admin(nvme::oacs::firmware));
  EXPECT_FALSE(its.supports_admin(nvme::oacs::format));
  EXPECT_EQ(its.firmware_slots(), 3U);
  EXPECT_TRUE(its.is_first_slot_read_only());
  EXPECT_TRUE(its.activates_without_reset());
  EXPECT_EQ(its.firmware_granularity_bytes(), 4096U);
}

TEST_F(NvmeAdmin, IdentifyTellsOfANamespace) {
  expect_success(identify(Cns::identify_namespace, 1));
  auto its = bench_.in_data<nvme::IdentifyNamespace>();
  EXPECT_EQ(its.size_blocks, NvmeBench::capacity_bytes / 512);
  EXPECT_EQ(its.format().block_bytes(), 512U);
  EXPECT_EQ(its.deallocated_read(), nvme::DeallocatedRead::zeroes);
  const auto first = its.eui64;
  EXPECT_NE(first, nvme::IdentifyNamespace{}.eui64);
  expect_success(identify(Cns::identify_namespace, 3));
  its = bench_.in_data<nvme::IdentifyNamespace>();
  EXPECT_EQ(its.size_blocks, NvmeBench::capacity_bytes / 4096);
  EXPECT_NE(its.eui64, first);
  EXPECT_EQ(its.format().block_bytes(), 4096U);
  expect_success(identify(Cns::identify_namespace, 2));
  EXPECT_EQ(bench_.in_memory(0, 4096), std::vector<std::byte>(4096)) << "inactive";
  for (const std::uint32_t nsid : {0U, 4U, nvme::all_namespaces}) {
    EXPECT_EQ(error_of(identify(Cns::identify_namespace, nsid)), Code::invalid_namespace) << nsid;
  }
}

TEST_F(NvmeAdmin, IdentifyListsTheActiveNamespaces) {
  const auto list_above = [&](std::uint32_t nsid) {
    expect_success(identify(Cns::active_namespace_list, nsid));
    const auto list = bench_.in_data<nvme::ActiveNamespaceList>();
    return std::vector<std::uint32_t>(list.nsids.begin(),
                                      list.nsids.begin() + static_cast<int>(list.count()));
  };
  EXPECT_EQ(list_above(0), (std::vector<std::uint32_t>{1, 3}));
  EXPECT_EQ(list_above(1), std::vector<std::uint32_t>{3});
  EXPECT_EQ(list_above(3), std::vector<std::uint32_t>{});
  EXPECT_EQ(list_above(0xFFFF'FFFD), std::vector<std::uint32_t>{});
  for (const std::uint32_t nsid : {0xFFFF'FFFEU, 0xFFFF'FFFFU}) {
    EXPECT_EQ(error_of(identify(Cns::active_namespace_list, nsid)), Code::invalid_namespace);
  }
}

TEST_F(NvmeAdmin, IdentifyDescribesANamespace) {
  expect_success(identify(Cns::namespace_descriptors, 3));
  const auto data = bench_.in_memory(0, 16);
  EXPECT_EQ(data[0], std::byte{1}) << "an EUI64";
  EXPECT_EQ(data[1], std::byte{8});
  EXPECT_EQ(data[11], std::byte{3});
  EXPECT_EQ(data[12], std::byte{0}) << "the end";
  EXPECT_EQ(error_of(identify(Cns::namespace_descriptors, 2)), Code::invalid_field) << "inactive";
  for (const std::uint32_t nsid : {0U, 4U, nvme::all_namespaces}) {
    EXPECT_EQ(error_of(identify(Cns::namespace_descriptors, nsid)), Code::invalid_namespace)
        << nsid;
  }
}

TEST_F(NvmeAdmin, IdentifyOfAnotherStructureIsAnInvalidField) {
  for (const unsigned cns : {0x04U, 0x10U, 0x13U, 0x17U, 0xFFU}) {
    EXPECT_EQ(error_of(identify(static_cast<Cns>(cns), 1)), Code::invalid_field) << cns;
  }
}

TEST_F(NvmeAdmin, DataThatCannotBeMovedHasAStatus) {
  Entry entry = identify(Cns::identify_controller);
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false, 0), Code::data_transfer_error);
  entry.prp1 = bench_.data_iova(1);
  EXPECT_EQ(error_of(entry), Code::prp_offset_invalid);
  entry = bench_.with_data(Entry::identify(Cns::identify_controller), 1, 2048);
  EXPECT_EQ(code_of(entry), Code::success) << "across two pages";
}

// --- queues --------------------------------------------------------------------------------------

TEST_F(NvmeAdmin, CreateCompletionQueueChecksItsFields) {
  const auto with = [&](auto change) {
    nvme::CompletionQueueSetup setup = bench_.create_cq(1).completion_queue_setup();
    change(setup);
    return Entry::create_io_cq(setup);
  };
  for (const std::uint16_t id : {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{0xFFFF}}) {
    EXPECT_EQ(error_of(with([&](auto& it) { it.queue = id; })), Code::invalid_queue_identifier);
  }
  EXPECT_EQ(error_of(with([](auto& it) { it.entries = 1; })), Code::invalid_queue_size);
  EXPECT_EQ(error_of(with([](auto& it) { it.entries = 65; })), Code::invalid_queue_size);
  EXPECT_EQ(error_of(with([](auto& it) { it.vector = 8; })), Code::invalid_interrupt_vector);
  EXPECT_EQ(error_of(with([](auto& it) { it.iova += 64; })), Code::prp_offset_invalid);
  EXPECT_EQ(error_of(with([](auto& it) { it.physically_contiguous = false; })),
            Code::invalid_field);
  expect_success(with([](auto& it) { it.entries = 64; }));
  EXPECT_EQ(error_of(bench_.create_cq(1)), Code::invalid_queue_identifier) << "in use";
}

TEST_F(NvmeAdmin, CreateSubmissionQueueChecksItsFields) {
  const auto with = [&](auto change) {
    nvme::SubmissionQueueSetup setup = bench_.create_sq(1).submission_queue_setup();
    change(setup);
    return Entry::create_io_sq(setup);
  };
  EXPECT_EQ(error_of(bench_.create_sq(1)), Code::completion_queue_invalid) << "not yet";
  expect_success(bench_.create_cq(1));
  for (const std::uint16_t id : {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{0xFFFF}}) {
    EXPECT_EQ(error_of(with([&](auto& it) { it.queue = id; })), Code::invalid_queue_identifier);
  }
  for (const std::uint16_t id : {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{0xFFFF}}) {
    EXPECT_EQ(error_of(with([&](auto& it) { it.completion_queue = id; })),
              Code::invalid_queue_identifier);
  }
  EXPECT_EQ(error_of(with([](auto& it) { it.completion_queue = 2; })),
            Code::completion_queue_invalid);
  EXPECT_EQ(error_of(with([](auto& it) { it.entries = 1; })), Code::invalid_queue_size);
  EXPECT_EQ(error_of(with([](auto& it) { it.entries = 65; })), Code::invalid_queue_size);
  EXPECT_EQ(error_of(with([](auto& it) { it.iova += 64; })), Code::prp_offset_invalid);
  EXPECT_EQ(error_of(with([](auto& it) { it.physically_contiguous = false; })),
            Code::invalid_field);
  expect_success(bench_.create_sq(1));
  EXPECT_EQ(error_of(bench_.create_sq(1)), Code::invalid_queue_identifier) << "in use";
}

TEST_F(NvmeAdmin, TheEntrySizesMustBeSetBeforeAQueueIsCreated) {
  nvme::Cc cc = NvmeBench::enabled();
  cc.set_completion_entry_exponent(5);
  bench_.controller->write32(nvme::reg::cc, cc.value);
  EXPECT_EQ(error_of(bench_.create_cq(1)), Code::invalid_queue_size);
  cc = NvmeBench::enabled();
  cc.set_submission_entry_exponent(0);
  bench_.controller->write32(nvme::reg::cc, cc.value);
  expect_success(bench_.create_cq(1));
  EXPECT_EQ(error_of(bench_.create_sq(1)), Code::invalid_queue_size);
}

TEST_F(NvmeAdmin, ACompletionQueueInUseIsNotDeleted) {
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  EXPECT_EQ(error_of(Entry::delete_io_cq(1)), Code::invalid_queue_deletion);
  expect_success(Entry::delete_io_sq(1));
  expect_success(Entry::delete_io_cq(1));
  for (const std::uint16_t id :
       {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{3}, std::uint16_t{0xFFFF}}) {
    EXPECT_EQ(error_of(Entry::delete_io_sq(id)), Code::invalid_queue_identifier) << id;
    EXPECT_EQ(error_of(Entry::delete_io_cq(id)), Code::invalid_queue_identifier) << id;
  }
  std::ranges::fill(bench_.pages(2, 2), std::byte{});
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  EXPECT_EQ(bench_.one(NvmeBench::flush(1)).code, Code::success);
}

TEST_F(NvmeAdmin, DeletingASubmissionQueueAbortsItsCommands) {
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  bench_.submit(bench_.write(0x11));
  ASSERT_TRUE(bench_.controller->step(bench_.now_ns));
  bench_.submit(Entry::delete_io_sq(1), 0);
  ASSERT_TRUE(bench_.controller->step(bench_.now_ns));
  bench_.run();
  const NvmeDones done = bench_.completions(1);
  ASSERT_EQ(done.size(), 1U);
  const bool is_executed = done[0].code == Code::success;
  EXPECT_EQ(is_executed, !bench_.is_zero(0, 1)) << "the seed decides which comes first";
  EXPECT_EQ(bench_.completions(0), (NvmeDones{{0, Code::success, 0}}));
  bench_.submit(bench_.write(0x12));
  bench_.run();
  EXPECT_TRUE(bench_.completions(1).empty());
}

// Goal: a command that is in flight when its queue is deleted has its own status.
TEST(NvmeDeletedQueue, GivesItsCommandsAStatus) {
  NvmeConfig config = NvmeBench::two_queues();
  const Script script{{FaultKind::late, 5}};  // the sixth command
  NvmeBench bench{config, &script};
  bench.start();
  bench.submit(bench.write(0x11));
  bench.submit(bench.write(0x12));
  bench.run(bench.now_ns + 10'000);
  ASSERT_EQ(bench.plan.struck().size(), 1U);
  EXPECT_EQ(bench.completions().size(), 1U);
  EXPECT_EQ(bench.admin(Entry::delete_io_sq(1)).code, Code::success);
  EXPECT_EQ(bench.completions(), (NvmeDones{{0x12, Code::submission_queue_deleted, 0}}));
  EXPECT_FALSE(bench.latest.status().more()) << "no error of the controller";
  EXPECT_TRUE(bench.not_to_retry.empty()) << "the driver may send it to another queue";
}

// --- features ------------------------------------------------------------------------------------

TEST_F(NvmeAdmin, TheNumberOfQueuesIsGranted) {
  const auto ask = [&](std::uint32_t submission, std::uint32_t completion) {
    const NvmeDone done = bench_.admin(Entry::set_features(
        FeatureId::number_of_queues, nvme::NumberOfQueues::of(submission, completion).value));
    EXPECT_EQ(done.code, Code::success);
    return nvme::NumberOfQueues{done.dw0};
  };
  EXPECT_EQ(ask(64, 65'535), nvme::NumberOfQueues::of(2, 2));
  EXPECT_EQ(ask(1, 2), nvme::NumberOfQueues::of(1, 2));
  EXPECT_EQ(bench_.admin(Entry::get_features(FeatureId::number_of_queues)).dw0,
            nvme::NumberOfQueues::of(1, 2).value);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::number_of_queues, 0xFFFF'0000)),
            Code::invalid_field);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::number_of_queues, 0x0000'FFFF)),
            Code::invalid_field);
  expect_success(bench_.create_cq(2));
  Entry entry = bench_.create_sq(2);
  EXPECT_EQ(error_of(entry), Code::invalid_queue_identifier) << "only one was granted";
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::number_of_queues, 0)),
            Code::command_sequence_error)
      << "a queue exists";
}

TEST_F(NvmeAdmin, FeaturesKeepTheirValueUntilAReset) {
  for (const FeatureId id :
       {FeatureId::arbitration, FeatureId::volatile_write_cache, FeatureId::interrupt_coalescing,
        FeatureId::write_atomicity_normal, FeatureId::asynchronous_event_configuration}) {
    const NvmeDone before = bench_.admin(Entry::get_features(id));
    EXPECT_EQ(before.code, Code::success);
    const std::uint32_t other = before.dw0 ^ 1;
    expect_success(Entry::set_features(id, other));
    EXPECT_EQ(bench_.admin(Entry::get_features(id)).dw0, other);
    EXPECT_EQ(bench_.admin(Entry::get_features(id, FeatureSelect::default_value)).dw0, before.dw0);
    EXPECT_EQ(bench_.admin(Entry::get_features(id, FeatureSelect::saved)).dw0, before.dw0);
    bench_.disable();
    bench_.start(0);
    EXPECT_EQ(bench_.admin(Entry::get_features(id)).dw0, before.dw0);
  }
}

TEST_F(NvmeAdmin, EachNamespaceHasItsErrorRecovery) {
  const auto set = [&](std::uint32_t nsid, std::uint32_t value) {
    return Entry::set_features(FeatureId::error_recovery, value, false, nsid);
  };
  const auto get = [&](std::uint32_t nsid, FeatureSelect select = FeatureSelect::current) {
    return Entry::get_features(FeatureId::error_recovery, select, nsid);
  };
  expect_success(set(1, 7));
  EXPECT_EQ(bench_.admin(get(1)).dw0, 7U);
  EXPECT_EQ(bench_.admin(get(3)).dw0, 0U);
  EXPECT_EQ(bench_.admin(get(1, FeatureSelect::default_value)).dw0, 0U);
  expect_success(set(nvme::all_namespaces, 9));
  EXPECT_EQ(bench_.admin(get(1)).dw0, 9U);
  EXPECT_EQ(bench_.admin(get(3)).dw0, 9U);
  EXPECT_EQ(error_of(set(2, 1)), Code::invalid_field) << "inactive";
  for (const auto select :
       {FeatureSelect::current, FeatureSelect::default_value, FeatureSelect::saved}) {
    EXPECT_EQ(error_of(get(2, select)), Code::invalid_field) << "inactive";
    for (const std::uint32_t nsid : {0U, 4U, nvme::all_namespaces}) {
      EXPECT_EQ(error_of(get(nsid, select)), Code::invalid_namespace) << nsid;
    }
  }
  for (const std::uint32_t nsid : {0U, 4U}) {
    EXPECT_EQ(error_of(set(nsid, 1)), Code::invalid_namespace) << nsid;
  }
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(bench_.admin(get(1)).dw0, 0U);
}

TEST_F(NvmeAdmin, FeaturesTellWhatTheyCan) {
  const auto can = [&](FeatureId id) {
    return bench_.admin(Entry::get_features(id, FeatureSelect::supported_capabilities)).dw0;
  };
  EXPECT_EQ(can(FeatureId::arbitration), 4U) << "changeable";
  EXPECT_EQ(can(FeatureId::error_recovery), 6U) << "for each namespace, too";
}

TEST_F(NvmeAdmin, AWrongFeatureIsRefused) {
  for (const unsigned id : {0x00U, 0x03U, 0x0CU, 0x0FU, 0x10U, 0x80U, 0xFFU}) {
    const auto feature = static_cast<FeatureId>(id);
    EXPECT_EQ(error_of(Entry::set_features(feature, 0)), Code::invalid_field) << id;
    EXPECT_EQ(error_of(Entry::get_features(feature)), Code::invalid_field) << id;
  }
  EXPECT_EQ(error_of(Entry::get_features(FeatureId::arbitration, static_cast<FeatureSelect>(4))),
            Code::invalid_field);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::arbitration, 0, true)),
            Code::feature_not_saveable);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::arbitration, 0, false, 1)),
            Code::feature_not_namespace_specific);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::arbitration, 0, false, 4)),
            Code::invalid_namespace);
  EXPECT_EQ(code_of(Entry::set_features(FeatureId::arbitration, 0, false, nvme::all_namespaces)),
            Code::success);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::power_management, 1)), Code::invalid_field);
  EXPECT_EQ(code_of(Entry::set_features(FeatureId::power_management, 0)), Code::success);
  EXPECT_EQ(error_of(Entry::set_features(FeatureId::interrupt_vector_configuration, 8)),
            Code::invalid_field);
  Entry entry = Entry::get_features(FeatureId::interrupt_vector_configuration);
  entry.cdw11 = 8;
  EXPECT_EQ(error_of(entry), Code::invalid_field);
  entry =
      Entry::get_features(FeatureId::interrupt_vector_configuration, FeatureSelect::default_value);
  entry.cdw11 = 8;
  EXPECT_EQ(error_of(entry), Code::invalid_field);
}

TEST_F(NvmeAdmin, AVectorHasItsConfiguration) {
  expect_success(Entry::set_features(FeatureId::interrupt_vector_configuration, 0x10003));
  Entry entry = Entry::get_features(FeatureId::interrupt_vector_configuration);
  entry.cdw11 = 3;
  EXPECT_EQ(bench_.admin(entry).dw0, 0x10003U);
  entry.cdw10 =
      Entry::get_features(FeatureId::interrupt_vector_configuration, FeatureSelect::default_value)
          .cdw10;
  EXPECT_EQ(bench_.admin(entry).dw0, 3U);
  entry = Entry::get_features(FeatureId::interrupt_vector_configuration);
  entry.cdw11 = 4;
  EXPECT_EQ(bench_.admin(entry).dw0, 4U);
}

TEST(NvmeWriteCache, IsNoFeatureOfAControllerWithoutOne) {
  NvmeConfig config = NvmeBench::two_queues();
  config.has_volatile_cache = false;
  NvmeBench bench{config};
  bench.start();
  EXPECT_EQ(bench.answer(Entry::get_features(FeatureId::volatile_write_cache), true, 0),
            Code::invalid_field);
  EXPECT_EQ(bench.admin(bench.with_data(Entry::identify(Cns::identify_controller))).code,
            Code::success);
  EXPECT_FALSE(bench.in_data<nvme::IdentifyController>().has_volatile_write_cache());
}

TEST_F(NvmeAdmin, TemperatureThresholdsAreOfTheCompositeTemperature) {
  Entry entry = Entry::get_features(FeatureId::temperature_threshold);
  EXPECT_EQ(bench_.admin(entry).dw0, 343U);
  entry.cdw11 = 1U << 20;
  EXPECT_EQ(bench_.admin(entry).dw0, 0U) << "the lower one";
  expect_success(Entry::set_features(FeatureId::temperature_threshold, 200 | (1U << 20)));
  EXPECT_EQ(bench_.admin(entry).dw0, 200U);
  entry = Entry::get_features(FeatureId::temperature_threshold, FeatureSelect::default_value);
  EXPECT_EQ(bench_.admin(entry).dw0, 343U);
  for (const std::uint32_t wrong : {1U << 16, 2U << 20}) {
    EXPECT_EQ(error_of(Entry::set_features(FeatureId::temperature_threshold, wrong)),
              Code::invalid_field);
    entry = Entry::get_features(FeatureId::temperature_threshold);
    entry.cdw11 = wrong;
    EXPECT_EQ(error_of(entry), Code::invalid_field);
  }
}

// --- log pages -----------------------------------------------------------------------------------

TEST_F(NvmeAdmin, TheErrorLogHasTheLatestErrors) {
  const std::uint64_t earlier = smart().error_log_entries.low;
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  Entry wrong = bench_.write(0x31, NvmeBench::capacity_bytes);
  EXPECT_EQ(bench_.answer(wrong, true), Code::lba_out_of_range);
  EXPECT_TRUE(bench_.latest.status().more()) << "the log has more";
  EXPECT_EQ(bench_.answer(NvmeBench::flush(0x32, 7), true), Code::invalid_namespace);
  expect_success(get_log(LogPageId::error_information, 16 * 64));
  const auto latest = bench_.in_data<nvme::ErrorLogEntry>();
  EXPECT_EQ(latest.error_count, earlier + 2);
  EXPECT_EQ(latest.command_id, 0x32U);
  EXPECT_EQ(latest.status().code(), Code::invalid_namespace);
  EXPECT_EQ(latest.nsid, 7U);
  const auto before = bench_.in_data<nvme::ErrorLogEntry>(64);
  EXPECT_EQ(before.error_count, earlier + 1);
  EXPECT_EQ(before.sq_id, 1U);
  EXPECT_EQ(before.command_id, 0x31U);
  EXPECT_EQ(before.status().code(), Code::lba_out_of_range);
  EXPECT_EQ(before.lba, NvmeBench::capacity_bytes);
  EXPECT_EQ(bench_.in_data<nvme::ErrorLogEntry>(128).error_count, 0U) << "empty";
  for (int i = 0; i != 20; ++i) {
    EXPECT_EQ(bench_.answer(NvmeBench::flush(0x32, 7), true), Code::invalid_namespace);
  }
  expect_success(get_log(LogPageId::error_information, 20 * 64));
  EXPECT_EQ(bench_.in_data<nvme::ErrorLogEntry>(15 * 64).error_count, earlier + 7);
  EXPECT_EQ(bench_.in_data<nvme::ErrorLogEntry>(16 * 64).error_count, 0U) << "the end";
  EXPECT_EQ(smart().error_log_entries.low, earlier + 22);
}

TEST_F(NvmeAdmin, AResetEmptiesTheErrorLogAndCountsOn) {
  EXPECT_EQ(error_of(Entry::delete_io_cq(1)), Code::invalid_queue_identifier);
  bench_.disable();
  bench_.start(0);
  expect_success(get_log(LogPageId::error_information, 64));
  EXPECT_EQ(bench_.in_data<nvme::ErrorLogEntry>().error_count, 0U);
  expect_success(get_log(LogPageId::error_information, 64, 64));
  EXPECT_EQ(error_of(Entry::delete_io_cq(1)), Code::invalid_queue_identifier);
  expect_success(get_log(LogPageId::error_information, 64));
  EXPECT_EQ(bench_.in_data<nvme::ErrorLogEntry>().error_count, 2U);
  EXPECT_EQ(smart().error_log_entries.low, 2U);
}

// Source: NVMe Base 1.4, sections 5.2.1 and 5.14.1.1.
TEST_F(NvmeAdmin, AWrongDoorbellIsInTheErrorLog) {
  bench_.ring(5, false, 1);
  expect_success(get_log(LogPageId::error_information, 64));
  const auto entry = bench_.in_data<nvme::ErrorLogEntry>();
  EXPECT_EQ(entry.error_count, 1U);
  EXPECT_EQ(entry.sq_id, 0xFFFFU) << "of no command";
  EXPECT_EQ(entry.command_id, 0xFFFFU);
  EXPECT_EQ(entry.parameter_location, nvme::ErrorLogEntry::no_location);
  EXPECT_EQ(entry.status().code(), Code::invalid_field);
  EXPECT_EQ(entry.nsid, 0U);
}

TEST_F(NvmeAdmin, TheSmartLogCountsTheTraffic) {
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  for (int i = 0; i != 64; ++i) {
    EXPECT_EQ(bench_.one(bench_.write(1, 0, 16)).code, Code::success);
  }
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::compare(3, {0, 1}))).code, Code::compare_failure);
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::read(3, {0, 2}))).code, Code::success);
  const nvme::SmartLog log = smart();
  EXPECT_EQ(log.data_units_written.low, 2U) << "1,024 sectors";
  EXPECT_EQ(log.data_units_read.low, 1U);
  EXPECT_EQ(log.host_writes.low, 64U);
  EXPECT_EQ(log.host_reads.low, 2U) << "with the comparison";
  EXPECT_EQ(log.media_errors.low, 0U);
  EXPECT_EQ(log.temperature_k(), 300);
  EXPECT_EQ(log.critical_warning, 0);
  EXPECT_EQ(log.available_spare_percent, 100);
}

// Source: NVMe Base 1.4, section 5.14.1.2: Data Units Read.
TEST_F(NvmeAdmin, ComparedBlocksCountAsRead) {
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  std::ranges::fill(bench_.data(), std::byte{});
  for (int i = 0; i != 63; ++i) {
    const Entry entry = bench_.with_data(Entry::compare(1, {0, 16}));
    EXPECT_EQ(bench_.one(entry).code, Code::success);
  }
  EXPECT_EQ(smart().data_units_read.low, 2U) << "1,008 sectors";
}

TEST_F(NvmeAdmin, AResetIsNoUnsafeShutdown) {
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(smart().unsafe_shutdowns.low, 0U) << "the power was not lost";
}

TEST_F(NvmeAdmin, ALogPageMayBeReadInParts) {
  const nvme::SmartLog all = smart();
  bench_.data()[4] = std::byte{0x77};
  expect_success(get_log(LogPageId::smart, 4, 4));
  EXPECT_EQ(bench_.in_memory(0, 4),
            (std::vector<std::byte>{std::byte{10}, std::byte{0}, std::byte{0}, std::byte{0}}));
  EXPECT_EQ(all.spare_threshold_percent, 10);
  EXPECT_EQ(bench_.data()[4], std::byte{0x77}) << "only the bytes asked for";
  expect_success(get_log(LogPageId::smart, 8, 512));
  EXPECT_EQ(bench_.in_memory(0, 8), std::vector<std::byte>(8)) << "behind the end";
}

TEST_F(NvmeAdmin, TheFirmwareLogHasTheFirstSlot) {
  expect_success(get_log(LogPageId::firmware_slots));
  const auto log = bench_.in_data<nvme::FirmwareSlotLog>();
  EXPECT_EQ(log.active_slot(), 1U);
  EXPECT_EQ(log.revisions[0][0], '1');
  EXPECT_EQ(log.revisions[1][0], '\0');
}

TEST_F(NvmeAdmin, AWrongLogPageIsRefused) {
  for (const unsigned id : {0x00U, 0x04U, 0x05U, 0x80U, 0xFFU}) {
    EXPECT_EQ(error_of(get_log(static_cast<LogPageId>(id))), Code::invalid_log_page) << id;
  }
  EXPECT_EQ(error_of(get_log(LogPageId::smart, 512, 516)), Code::invalid_field);
  EXPECT_EQ(error_of(get_log(LogPageId::smart, 512, 2)), Code::invalid_field);
  EXPECT_EQ(error_of(get_log(LogPageId::smart, (128 << 10) + 4)), Code::invalid_field)
      << "above the transfer limit";
  Entry entry = get_log(LogPageId::smart);
  entry.nsid = 1;
  EXPECT_EQ(error_of(entry), Code::invalid_field) << "there is no log of one namespace";
  entry.nsid = 0;
  EXPECT_EQ(code_of(entry), Code::success);
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false, 0), Code::data_transfer_error);
  entry.prp1 = 1;
  EXPECT_EQ(error_of(entry), Code::prp_offset_invalid);
}

TEST(NvmeLog, ALengthWithoutALimitIsRefused) {
  NvmeConfig config = NvmeBench::two_queues();
  config.max_transfer_exponent = 0;
  NvmeBench bench{config};
  bench.start();
  EXPECT_EQ(
      bench.answer(bench.with_data(Entry::get_log_page(LogPageId::smart, 0xFFFF'FFFC)), true, 0),
      Code::invalid_field);
}

// --- firmware ------------------------------------------------------------------------------------

class NvmeFirmware : public NvmeAdmin {
 protected:
  using Action = nvme::FirmwareAction;

  /// The command that downloads a part of an image of this revision. Only the part at the offset 0
  /// names it.
  [[nodiscard]] Entry part(std::string_view revision, std::uint64_t offset = 0,
                           std::uint32_t length = 4096) {
    const auto data = bench_.data();
    std::ranges::fill(data.first(length), std::byte{0x5A});
    if (offset == 0) {
      std::memcpy(data.data(), blkown::sim::nvme_firmware_magic.data(), 8);
      std::memset(data.data() + 8, ' ', 8);
      std::memcpy(data.data() + 8, revision.data(), revision.size());
    }
    return bench_.with_data(Entry::firmware_download(length, offset));
  }
  [[nodiscard]] std::string running() {
    EXPECT_EQ(code_of(identify(Cns::identify_controller)), Code::success);
    const auto its = bench_.in_data<nvme::IdentifyController>();
    return {its.firmware().data(), its.firmware().size()};
  }
  [[nodiscard]] nvme::FirmwareSlotLog log() {
    EXPECT_EQ(code_of(get_log(LogPageId::firmware_slots)), Code::success);
    return bench_.in_data<nvme::FirmwareSlotLog>();
  }
};

TEST_F(NvmeFirmware, IsActivatedByAReset) {
  expect_success(part("", 4096, 8192));
  expect_success(part("2.1"));
  expect_success(Entry::firmware_commit(2, Action::replace_and_activate));
  EXPECT_EQ(running(), "1.0");
  EXPECT_EQ(log().active_slot(), 1U);
  EXPECT_EQ(log().next_slot(), 2U);
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(running(), "2.1");
  EXPECT_EQ(log().active_slot(), 2U);
  EXPECT_EQ(log().next_slot(), 0U);
  EXPECT_EQ(log().revisions[1][0], '2');
  expect_success(Entry::firmware_commit(1, Action::activate));
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(running(), "1.0");
}

TEST_F(NvmeFirmware, IsActivatedAtOnce) {
  expect_success(part("3.3"));
  expect_success(Entry::firmware_commit(0, Action::replace));
  EXPECT_EQ(log().revisions[1][0], '3') << "the first empty slot";
  EXPECT_EQ(running(), "1.0");
  expect_success(Entry::firmware_commit(2, Action::activate_now));
  EXPECT_EQ(running(), "3.3");
  expect_success(part("4.4"));
  expect_success(Entry::firmware_commit(0, Action::replace));
  EXPECT_EQ(log().revisions[2][0], '4');
  expect_success(part("5.5"));
  expect_success(Entry::firmware_commit(0, Action::replace));
  EXPECT_EQ(log().revisions[2][0], '5') << "the last one, if none is empty";
}

// Source: NVMe Base 1.4, section 5.11: CA 011b.
TEST_F(NvmeFirmware, ThatIsNewIsStoredAndActivatedAtOnce) {
  expect_success(part("6.6"));
  expect_success(Entry::firmware_commit(3, Action::activate_now));
  EXPECT_EQ(running(), "6.6");
  EXPECT_EQ(log().active_slot(), 3U);
  EXPECT_EQ(log().next_slot(), 0U);
  EXPECT_EQ(log().revisions[2][0], '6');
  expect_success(part("7.7"));
  expect_success(Entry::firmware_commit(0, Action::activate_now));
  EXPECT_EQ(log().active_slot(), 2U) << "the first empty slot";
  EXPECT_EQ(running(), "7.7");
  expect_success(Entry::firmware_commit(1, Action::activate_now));
  EXPECT_EQ(running(), "1.0") << "the slot's image, without a new one";
  expect_success(part("8.8"));
  EXPECT_EQ(error_of(Entry::firmware_commit(1, Action::activate_now)), Code::invalid_firmware_slot)
      << "read only";
  EXPECT_EQ(running(), "1.0");
}

TEST_F(NvmeFirmware, InTheActiveSlotRunsOnUntilItsReplacementIsActivated) {
  expect_success(part("2.1"));
  expect_success(Entry::firmware_commit(2, Action::activate_now));
  expect_success(part("3.3"));
  expect_success(Entry::firmware_commit(2, Action::replace));
  EXPECT_EQ(running(), "2.1");
  EXPECT_EQ(log().revisions[1][0], '3') << "the slot's";
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(running(), "2.1") << "not activated";
  expect_success(Entry::firmware_commit(2, Action::activate));
  EXPECT_EQ(running(), "2.1");
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(running(), "3.3");
}

TEST_F(NvmeFirmware, AWrongCommitIsRefused) {
  EXPECT_EQ(error_of(Entry::firmware_commit(2, Action::replace)), Code::invalid_firmware_image)
      << "nothing was downloaded";
  expect_success(part("2.1"));
  EXPECT_EQ(error_of(Entry::firmware_commit(1, Action::replace)), Code::invalid_firmware_slot)
      << "read only";
  EXPECT_EQ(error_of(Entry::firmware_commit(4, Action::replace)), Code::invalid_firmware_slot);
  EXPECT_EQ(error_of(Entry::firmware_commit(0, Action::activate)), Code::invalid_firmware_slot);
  EXPECT_EQ(error_of(Entry::firmware_commit(4, Action::activate)), Code::invalid_firmware_slot);
  EXPECT_EQ(error_of(Entry::firmware_commit(3, Action::activate)), Code::invalid_firmware_image)
      << "empty";
  EXPECT_EQ(error_of(Entry::firmware_commit(2, Action::replace_boot_partition)),
            Code::invalid_field);
  expect_success(Entry::firmware_commit(2, Action::replace));
  EXPECT_EQ(error_of(Entry::firmware_commit(3, Action::replace)), Code::invalid_firmware_image)
      << "the image was used";
  expect_success(part("2.2", 4096));
  EXPECT_EQ(error_of(Entry::firmware_commit(3, Action::replace)), Code::invalid_firmware_image)
      << "its begin is missing";
  Entry wrong = part("2.3");
  bench_.data()[0] = std::byte{};
  expect_success(wrong);
  EXPECT_EQ(error_of(Entry::firmware_commit(3, Action::replace)), Code::invalid_firmware_image)
      << "no image";
  EXPECT_EQ(log().revisions[2][0], '\0');
}

TEST_F(NvmeFirmware, AWrongPartIsRefused) {
  expect_success(part("2.1", 0, 8192));
  EXPECT_EQ(error_of(part("2.1", 4096)), Code::overlapping_range);
  EXPECT_EQ(error_of(part("2.1", 4096, 8192)), Code::overlapping_range) << "has no effect";
  EXPECT_EQ(error_of(part("2.1", 8192, 2048)), Code::invalid_field);
  EXPECT_EQ(error_of(part("2.1", 8192 + 512)), Code::invalid_field);
  EXPECT_EQ(error_of(part("2.1", 1 << 20)), Code::invalid_field) << "beyond the largest image";
  EXPECT_EQ(error_of(bench_.with_data(Entry::firmware_download(132 << 10, 8192))),
            Code::invalid_field)
      << "above the transfer limit";
  Entry entry = part("2.1", 8192);
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false, 0), Code::data_transfer_error);
  entry.prp1 = bench_.data_iova(1);
  EXPECT_EQ(error_of(entry), Code::prp_offset_invalid);
  expect_success(Entry::firmware_commit(2, Action::replace));
}

TEST_F(NvmeFirmware, AResetGivesUpAnImage) {
  expect_success(part("2.1"));
  bench_.disable();
  bench_.start(0);
  EXPECT_EQ(error_of(Entry::firmware_commit(2, Action::replace)), Code::invalid_firmware_image);
}

// --- Abort ---------------------------------------------------------------------------------------

/// A controller with one late command on queue 1, a write with the identifier 0x11.
class NvmeAbort : public testing::Test {
 protected:
  void SetUp() override {
    bench_.start();
    bench_.submit(bench_.write(0x11));
    bench_.run(bench_.now_ns + 10'000);
    ASSERT_EQ(bench_.plan.struck().size(), 1U);
  }
  Script script_{{FaultKind::late, 4}};
  NvmeBench bench_{NvmeBench::two_queues(), &script_};
};

TEST_F(NvmeAbort, EndsTheCommandWithItsOwnCompletion) {
  EXPECT_EQ(bench_.admin(Entry::abort(1, 0x11)), (NvmeDone{0, Code::success, 0}));
  EXPECT_EQ(bench_.take(), (NvmeDones{{0x11, Code::abort_requested, 0}}));
  EXPECT_FALSE(bench_.latest.status().do_not_retry());
  EXPECT_FALSE(bench_.latest.status().more()) << "no error of the controller";
  bench_.acknowledge();
  bench_.run();
  EXPECT_TRUE(bench_.take().empty());
  EXPECT_TRUE(bench_.is_zero(0, 1));
}

TEST_F(NvmeAbort, OfACommandThatIsNotThereHasNoEffect) {
  EXPECT_EQ(bench_.admin(Entry::abort(1, 0x12)), (NvmeDone{0, Code::success, 1}));
  EXPECT_EQ(bench_.admin(Entry::abort(2, 0x11)), (NvmeDone{0, Code::success, 1}));
  bench_.run();
  EXPECT_EQ(bench_.take(), (NvmeDones{{0x11, Code::success, 0}}));
}

// Goal: a command whose completion was lost after its execution cannot be aborted.
TEST(NvmeAborts, DoNotFindALostCommandThatWasExecuted) {
  const Script script{{FaultKind::lost, NvmeBench::admin_commands}};
  int found = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    EXPECT_TRUE(bench.carry_out(bench.write(0x11)).empty());
    const bool is_written = !bench.is_zero(0, 1);
    EXPECT_EQ(bench.admin(Entry::abort(1, 0x11)),
              (NvmeDone{0, Code::success, is_written ? 1U : 0U}));
    EXPECT_EQ(bench.completions().size(), is_written ? 0U : 1U);
    if (is_written) ++found;
  }
  EXPECT_GT(found, 0);
  EXPECT_LT(found, 16);
}

TEST(NvmeAborts, DoNotAbortAborts) {
  const Script script{{FaultKind::late, NvmeBench::admin_commands}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  bench.put(NvmeBench::with_id(Entry::abort(1, 0x77), 1), 0);
  bench.put(NvmeBench::with_id(Entry::abort(0, 1), 2), 0);
  bench.ring_tail(0);
  bench.run();
  EXPECT_EQ(bench.completions(0), (NvmeDones{{2, Code::success, 1}, {1, Code::success, 1}}));
}

TEST_F(NvmeAbort, OfAQueueThatIsNotThereIsAnInvalidField) {
  EXPECT_EQ(bench_.answer(Entry::abort(3, 0x11), true, 0), Code::invalid_field);
  EXPECT_EQ(bench_.admin(Entry::delete_io_sq(2)).code, Code::success);
  EXPECT_EQ(bench_.answer(Entry::abort(2, 0x11), true, 0), Code::invalid_field);
}

// Goal: neither an abort nor a deletion overwrites an entry that the driver has not taken.
TEST_F(NvmeAbort, NeedsRoomInTheCompletionQueueAsADeletionDoes) {
  for (std::uint16_t id = 1; id != NvmeBench::entries; ++id) bench_.put(NvmeBench::flush(id));
  bench_.ring_tail();
  bench_.run(bench_.now_ns + 10'000);
  EXPECT_EQ(bench_.admin(Entry::abort(1, 0x11)), (NvmeDone{0, Code::success, 1}));
  EXPECT_EQ(bench_.controller->command_count(), 1U);
  EXPECT_EQ(bench_.admin(Entry::delete_io_sq(1)).code, Code::success);
  EXPECT_EQ(bench_.controller->command_count(), 0U);
  NvmeDones seen = bench_.take();
  std::ranges::sort(seen, {}, &NvmeDone::command_id);
  ASSERT_EQ(seen.size(), NvmeBench::entries - 1);
  for (std::uint16_t id = 1; id != NvmeBench::entries; ++id) {
    EXPECT_EQ(seen[id - 1U], (NvmeDone{id, Code::success, 0}));
  }
}

TEST(NvmeAborts, AreLimitedAtATime) {
  NvmeConfig config = NvmeBench::two_queues();
  config.abort_limit = 2;
  config.shortest_ns = config.longest_ns = 100'000;
  for (config.seed = 0; config.seed != 8; ++config.seed) {
    NvmeBench bench{config};
    bench.start();
    for (std::uint16_t id = 1; id != 4; ++id) {
      bench.put(NvmeBench::with_id(Entry::abort(1, 0x77), id), 0);
    }
    bench.ring_tail(0);
    // All are fetched before the first is executed.
    bench.run();
    NvmeDones done = bench.completions(0);
    ASSERT_EQ(done.size(), 3U);
    std::ranges::sort(done, {}, &NvmeDone::command_id);
    EXPECT_EQ(done[0].code, Code::success);
    EXPECT_EQ(done[1].code, Code::success);
    EXPECT_EQ(done[2].code, Code::abort_command_limit_exceeded);
    EXPECT_TRUE(bench.not_to_retry.empty());
    EXPECT_EQ(bench.admin(Entry::abort(1, 0x77)).code, Code::success);
  }
}

// --- asynchronous events -------------------------------------------------------------------------

TEST_F(NvmeAdmin, AWrongDoorbellIsAnEvent) {
  const auto request = [&](std::uint16_t id) {
    bench_.submit(NvmeBench::with_id(Entry::async_event_request(), id), 0);
    bench_.run();
  };
  const auto event = [](std::uint8_t information) {
    return nvme::AsyncEvent::of(nvme::AsyncEventType::error, information,
                                LogPageId::error_information)
        .dw0;
  };
  request(1);
  EXPECT_TRUE(bench_.take(0).empty()) << "no event";
  bench_.ring(5, false, 1);
  EXPECT_EQ(bench_.completions(0),
            (NvmeDones{{1, Code::success, event(nvme::error_event::invalid_doorbell_register)}}));
  request(2);
  bench_.ring(0, true, NvmeBench::entries);
  EXPECT_TRUE(bench_.take(0).empty()) << "masked until the log page is read";
  expect_success(get_log(LogPageId::error_information, 64, 0, true));
  EXPECT_TRUE(bench_.take(0).empty()) << "the event is retained";
  bench_.submit(get_log(LogPageId::error_information, 64), 0);
  bench_.run();
  EXPECT_EQ(bench_.completions(0),
            (NvmeDones{{0x21, Code::success, 0},
                       {2, Code::success, event(nvme::error_event::invalid_doorbell_value)}}));
}

TEST_F(NvmeAdmin, AnEventThatWaitsIsNotReportedTwice) {
  for (int i = 0; i != 2; ++i) bench_.ring(5, false, 1);
  for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}}) {
    bench_.submit(NvmeBench::with_id(Entry::async_event_request(), id), 0);
    bench_.run();
    EXPECT_EQ(bench_.completions(0).size(), id == 1 ? 1U : 0U);
  }
  bench_.submit(get_log(LogPageId::error_information, 64), 0);
  bench_.run();
  EXPECT_EQ(bench_.completions(0), (NvmeDones{{0x21, Code::success, 0}}));
}

TEST_F(NvmeAdmin, AnEventWaitsForRoomInTheCompletionQueue) {
  bench_.submit(NvmeBench::with_id(Entry::async_event_request(), 1), 0);
  bench_.run();
  for (std::uint16_t id = 2; id != NvmeBench::entries + 1; ++id) {
    bench_.put(NvmeBench::with_id(Entry::get_features(FeatureId::arbitration), id), 0);
  }
  bench_.ring_tail(0);
  bench_.run();
  bench_.ring(5, false, 1);
  EXPECT_EQ(bench_.take(0).size(), NvmeBench::entries - 1);
  EXPECT_TRUE(bench_.take(0).empty());
  bench_.acknowledge(0);
  const NvmeDones done = bench_.completions(0);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].command_id, 1U);
}

TEST_F(NvmeAdmin, EachWrongDoorbellIsNamed) {
  expect_success(bench_.create_cq(1));
  expect_success(bench_.create_sq(1));
  const auto information_of = [&](std::uint64_t offset, std::uint32_t value) {
    bench_.submit(Entry::async_event_request(), 0);
    bench_.run();
    EXPECT_TRUE(bench_.take(0).empty());
    bench_.controller->write32(offset, value);
    const NvmeDones done = bench_.completions(0);
    EXPECT_EQ(done.size(), 1U);
    expect_success(get_log(LogPageId::error_information, 64));
    return done.empty() ? 99U : nvme::AsyncEvent{done[0].dw0}.information();
  };
  const auto doorbell = [](std::uint16_t queue, bool is_completion) {
    return nvme::doorbell_offset(queue, is_completion, 0);
  };
  EXPECT_EQ(information_of(doorbell(2, false), 1), 0U) << "no such queue yet";
  EXPECT_EQ(information_of(doorbell(2, true), 1), 0U);
  EXPECT_EQ(information_of(doorbell(3, true), 1), 0U);
  EXPECT_EQ(information_of(doorbell(1, false) + 2, 1), 0U) << "between two";
  EXPECT_EQ(information_of(doorbell(1, true), NvmeBench::entries), 1U);
  EXPECT_EQ(information_of(doorbell(1, true), 1), 1U) << "no entry was posted";
  EXPECT_EQ(information_of(doorbell(1, true), 0), 1U) << "no entry was taken";
  EXPECT_EQ(bench_.one(NvmeBench::flush(1)).code, Code::success) << "nothing has moved";
  EXPECT_EQ(information_of(doorbell(1, false), 1), 1U) << "no command was added";
  EXPECT_EQ(information_of(doorbell(1, false), NvmeBench::entries), 1U);
}

// Source: NVMe Base 1.4, section 4.1.
TEST(NvmeDoorbell, AWrongTailEndsTheFetchesFromItsQueue) {
  for (const bool is_overfull : {false, true}) {
    NvmeBench bench;
    bench.start();
    bench.submit(NvmeBench::with_id(Entry::async_event_request(), 1), 0);
    bench.run();
    for (std::uint16_t id = 1; id != NvmeBench::entries; ++id) bench.put(NvmeBench::flush(id));
    bench.ring(1, false, is_overfull ? 7 : 3);
    bench.ring(1, false, is_overfull ? 1 : NvmeBench::entries);
    bench.run();
    EXPECT_EQ(bench.completions(0).size(), 1U) << "an event";
    bench.ring(1, false, 5);
    bench.run();
    EXPECT_TRUE(bench.completions().empty()) << "nothing more is fetched";
    EXPECT_EQ(bench.one(NvmeBench::flush(1), 2).code, Code::success) << "another queue";
    EXPECT_EQ(bench.admin(Entry::delete_io_sq(1)).code, Code::success);
    EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
    bench.ring(1, false, 1);
    bench.run();
    EXPECT_EQ(bench.completions(), (NvmeDones{{1, Code::success, 0}}));
  }
}

TEST_F(NvmeAdmin, TheTemperatureIsAnEvent) {
  expect_success(Entry::set_features(FeatureId::asynchronous_event_configuration, 0));
  bench_.submit(NvmeBench::with_id(Entry::async_event_request(), 7), 0);
  bench_.run();
  expect_success(Entry::set_features(FeatureId::temperature_threshold, 300));
  EXPECT_EQ(smart().critical_warning, nvme::smart_warning::temperature);
  bench_.submit(NvmeBench::with_id(Entry::set_features(FeatureId::asynchronous_event_configuration,
                                                       nvme::smart_warning::temperature),
                                   8),
                0);
  bench_.run();
  EXPECT_EQ(
      bench_.completions(0),
      (NvmeDones{{8, Code::success, 0},
                 {7, Code::success,
                  nvme::AsyncEvent::of(nvme::AsyncEventType::smart,
                                       nvme::smart_event::temperature_threshold, LogPageId::smart)
                      .dw0}}));
}

TEST_F(NvmeAdmin, EventRequestsAreLimitedAndMayBeAborted) {
  for (std::uint16_t id = 1; id != 5; ++id) {
    bench_.submit(NvmeBench::with_id(Entry::async_event_request(), id), 0);
  }
  bench_.run();
  EXPECT_TRUE(bench_.take(0).empty());
  EXPECT_EQ(bench_.answer(NvmeBench::with_id(Entry::async_event_request(), 9), true, 0),
            Code::asynchronous_event_request_limit_exceeded);
  EXPECT_EQ(bench_.carry_out(NvmeBench::with_id(Entry::abort(0, 2), 10), 0),
            (NvmeDones{{2, Code::abort_requested, 0}, {10, Code::success, 0}}));
  EXPECT_EQ(bench_.controller->command_count(), 3U);
  bench_.disable();
  EXPECT_EQ(bench_.controller->command_count(), 0U);
}

}  // namespace
}  // namespace sim_test
