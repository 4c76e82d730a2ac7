// SPDX-License-Identifier: BSL-1.0
//
// NvmeAdmin: the execution of the admin command set.

#ifndef BLKOWN_SIM_DEVICE_NVME_ADMIN_HPP
#define BLKOWN_SIM_DEVICE_NVME_ADMIN_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/media/range_lock.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/completer.hpp>
#include <blkown/sim/device/nvme/firmware.hpp>
#include <blkown/sim/device/nvme/identify.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Executes admin commands.
/// Source: NVMe Base 1.4, section 5.
/// Context: with the controller's mutex.
class NvmeAdmin {
 public:
  explicit NvmeAdmin(NvmeState& state) : state_{state} {}

  [[nodiscard]] NvmeOutcome run(const NvmeCommand& command, NvmeCompleter& completer) {
    using enum nvme::AdminOpcode;
    const nvme::SubmissionEntry& entry = command.entry;
    if (!is_known(entry.admin_opcode())) return refused(Code::invalid_opcode);
    if (entry.fused_operation() != 0 || entry.uses_sgl()) return refused(Code::invalid_field);
    if (entry.nsid != 0 && !uses_namespace(entry)) return refused(Code::invalid_field);
    switch (entry.admin_opcode()) {
      case delete_io_submission_queue: return delete_submission_queue(entry.queue_id(), completer);
      case create_io_submission_queue: return create_submission_queue(entry);
      case get_log_page: return send_log_page(command, completer.calls());
      case delete_io_completion_queue: return delete_completion_queue(entry.queue_id());
      case create_io_completion_queue: return create_completion_queue(entry);
      case identify: return identify_data(command);
      case abort: return abort_command(entry, completer);
      case set_features: return set_feature(entry, completer.calls());
      case get_features: return get_feature(entry);
      case firmware_image_download: return download_firmware(command);
      case firmware_commit: return commit_firmware(entry);
      default: return request_event(completer.calls());
    }
  }

  /// Whether one more Abort command is too many.
  [[nodiscard]] bool has_max_aborts() {
    std::uint32_t count = 0;
    static_cast<void>(admin_queue().find_first([&](const NvmeCommand& other) {
      if (other.is(nvme::AdminOpcode::abort) && !other.is_executed) ++count;
      return false;
    }));
    return count >= state_.config.abort_limit;
  }

  /// Completes waiting Asynchronous Event Requests with events.
  void report_events(NvmeCompleter& completer) {
    NvmeSubmissionQueue& queue = admin_queue();
    if (!queue.exists() || queue.is_halted) return;
    while (state_.completion_queues[0].room() != 0 && state_.events.has_reportable()) {
      const NvmeCommand* const found =
          queue.find_first([](const NvmeCommand& one) { return one.is_pending; });
      if (found == nullptr) return;
      NvmeCommand command = *found;
      queue.erase(command);
      command.is_pending = false;
      const auto event = state_.events.take();
      completer.complete(queue, command, {.dw0 = event->dw0});
    }
  }

 private:
  using Code = nvme::StatusCode;

  /// The longest transfer of a log page, if transfers have no limit.
  static constexpr std::uint64_t max_log_bytes = 1 << 20;

  [[nodiscard]] static bool is_known(nvme::AdminOpcode opcode) noexcept {
    using enum nvme::AdminOpcode;
    switch (opcode) {
      case delete_io_submission_queue:
      case create_io_submission_queue:
      case get_log_page:
      case delete_io_completion_queue:
      case create_io_completion_queue:
      case identify:
      case abort:
      case set_features:
      case get_features:
      case firmware_commit:
      case firmware_image_download:
      case asynchronous_event_request: return true;
      default: return false;
    }
  }
  /// Source: NVMe Base 1.4, section 5, figure 141, and section 5.15.1.
  [[nodiscard]] static bool uses_namespace(const nvme::SubmissionEntry& entry) noexcept {
    using enum nvme::AdminOpcode;
    switch (entry.admin_opcode()) {
      case get_log_page:
      case set_features:
      case get_features: return true;
      case identify: return entry.cns() != nvme::Cns::identify_controller;
      default: return false;
    }
  }
  [[nodiscard]] NvmeSubmissionQueue& admin_queue() noexcept { return state_.submission_queues[0]; }

  // --- queues -----------------------------------------------------------------------------------

  [[nodiscard]] bool is_size_valid(std::uint32_t entries, unsigned exponent,
                                   unsigned right_exponent) const noexcept {
    return entries >= 2 && entries <= state_.config.max_queue_entries && exponent == right_exponent;
  }
  [[nodiscard]] NvmeOutcome create_completion_queue(const nvme::SubmissionEntry& entry) {
    const nvme::CompletionQueueSetup setup = entry.completion_queue_setup();
    if (setup.queue == 0 || setup.queue > state_.features.number_of_queues().completion_queues()) {
      return refused(Code::invalid_queue_identifier);
    }
    NvmeCompletionQueue& queue = state_.completion_queues[setup.queue];
    const std::lock_guard guard{queue.mutex};
    if (queue.exists()) return refused(Code::invalid_queue_identifier);
    if (!is_size_valid(setup.entries, state_.registers.cc().completion_entry_exponent(), 4)) {
      return refused(Code::invalid_queue_size);
    }
    if (setup.iova % state_.page_bytes != 0) return refused(Code::prp_offset_invalid);
    if (!setup.physically_contiguous) return refused(Code::invalid_field);
    if (setup.vector >= state_.config.vectors) return refused(Code::invalid_interrupt_vector);
    queue.create({setup.iova, setup.entries}, setup.vector, setup.interrupts_enabled);
    queue.coalescing = state_.features.coalescing(setup.vector);
    state_.features.fix_number_of_queues();
    return {};
  }
  [[nodiscard]] NvmeOutcome create_submission_queue(const nvme::SubmissionEntry& entry) {
    const nvme::SubmissionQueueSetup setup = entry.submission_queue_setup();
    if (setup.queue == 0 || setup.queue > state_.features.number_of_queues().submission_queues() ||
        setup.completion_queue == 0 ||
        setup.completion_queue > state_.features.number_of_queues().completion_queues()) {
      return refused(Code::invalid_queue_identifier);
    }
    NvmeSubmissionQueue& queue = state_.submission_queues[setup.queue];
    const std::lock_guard guard{queue.mutex};
    if (queue.exists()) return refused(Code::invalid_queue_identifier);
    NvmeCompletionQueue& completion_queue = state_.completion_queues[setup.completion_queue];
    const std::lock_guard other_guard{completion_queue.mutex};
    if (!completion_queue.exists()) return refused(Code::completion_queue_invalid);
    if (!is_size_valid(setup.entries, state_.registers.cc().submission_entry_exponent(), 6)) {
      return refused(Code::invalid_queue_size);
    }
    if (setup.iova % state_.page_bytes != 0) return refused(Code::prp_offset_invalid);
    if (!setup.physically_contiguous) return refused(Code::invalid_field);
    queue.create({setup.iova, setup.entries}, setup.completion_queue);
    state_.note_ring(queue);
    queue.is_fetching = state_.registers.is_running();
    ++completion_queue.submission_queues;
    return {};
  }
  [[nodiscard]] NvmeOutcome delete_completion_queue(std::uint16_t id) {
    if (id == 0 || id >= state_.completion_queues.size()) {
      return refused(Code::invalid_queue_identifier);
    }
    NvmeCompletionQueue& queue = state_.completion_queues[id];
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists()) return refused(Code::invalid_queue_identifier);
    if (queue.submission_queues != 0) return refused(Code::invalid_queue_deletion);
    queue.remove();
    if (state_.observer != nullptr) state_.observer->queue_stopped(id);
    return {};
  }
  /// Commands that were fetched complete as aborted, as far as the completion queue has room.
  [[nodiscard]] NvmeOutcome delete_submission_queue(std::uint16_t id, NvmeCompleter& completer) {
    if (id == 0 || id >= state_.submission_queues.size()) {
      return refused(Code::invalid_queue_identifier);
    }
    NvmeSubmissionQueue& queue = state_.submission_queues[id];
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists()) return refused(Code::invalid_queue_identifier);
    NvmeCompletionQueue& completion_queue = state_.completion_queue_of(queue);
    const std::lock_guard other_guard{completion_queue.mutex};
    std::vector<NvmeCommand> left;
    static_cast<void>(queue.find_first([&](const NvmeCommand& command) {
      if (!command.is_lost && !command.is_executed && !command.is_disowned) left.push_back(command);
      return false;
    }));
    for (const NvmeCommand& command : left) {
      queue.erase(command);
      if (completion_queue.room() == 0) continue;
      completer.complete(queue, command, failed(Code::submission_queue_deleted));
    }
    queue.remove();
    // An interrupt that is being coalesced is sent by a step of a queue, of which none is left.
    if (--completion_queue.submission_queues == 0 &&
        state_.take_interrupt(completion_queue, UINT64_MAX)) {
      completer.calls().interrupts |= std::uint64_t{1} << completion_queue.vector();
    }
    return {};
  }

  // --- Abort ------------------------------------------------------------------------------------

  [[nodiscard]] NvmeOutcome abort_command(const nvme::SubmissionEntry& entry,
                                          NvmeCompleter& completer) {
    constexpr std::uint32_t not_aborted = 1;
    const std::uint16_t id = entry.abort_sq_id();
    if (id >= state_.submission_queues.size()) return refused(Code::invalid_field);
    NvmeSubmissionQueue& queue = state_.submission_queues[id];
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists()) return refused(Code::invalid_field);
    NvmeCompletionQueue& completion_queue = state_.completion_queue_of(queue);
    const std::lock_guard other_guard{completion_queue.mutex};
    const NvmeCommand* const target = queue.find_first([&](const NvmeCommand& other) {
      return other.entry.command_id == entry.abort_command_id() &&
             !other.is(nvme::AdminOpcode::abort) && !other.is_disowned && !other.is_executed;
    });
    if (target == nullptr || completion_queue.room() < 2) return {.dw0 = not_aborted};
    if (state_.strikes(FaultKind::abort_refused)) {
      if (state_.faults->choice() % 2 == 0) return {.dw0 = not_aborted};
      return failed(Code::abort_command_limit_exceeded);
    }
    NvmeCommand aborted = *target;
    queue.erase(aborted);
    aborted.is_pending = false;
    completer.complete(queue, aborted, failed(Code::abort_requested));
    return {};
  }

  // --- events and features ----------------------------------------------------------------------

  [[nodiscard]] NvmeOutcome request_event(NvmeCalls& calls) {
    std::uint32_t pending = 0;
    static_cast<void>(admin_queue().find_first([&](const NvmeCommand& other) {
      if (other.is_pending) ++pending;
      return false;
    }));
    if (pending >= state_.config.event_limit) {
      return refused(Code::asynchronous_event_request_limit_exceeded);
    }
    calls.has_event = true;
    return {.is_pending = true};
  }
  [[nodiscard]] NvmeOutcome get_feature(const nvme::SubmissionEntry& entry) {
    const nvme::FeatureId id = entry.feature();
    const nvme::FeatureSelect select = entry.feature_select();
    if (!state_.features.is_supported(id)) return refused(Code::invalid_field);
    if (!NvmeFeatures::is_per_namespace(id) ||
        select >= nvme::FeatureSelect::supported_capabilities) {
      return state_.features.get(entry);
    }
    const NvmeNamespaceState* const its = state_.find_namespace(entry.nsid);
    if (its == nullptr) return refused(state_.single_namespace_error(entry.nsid));
    return {.dw0 = select == nvme::FeatureSelect::current ? its->error_recovery : 0};
  }
  /// Sets the feature of one namespace, or of all.
  [[nodiscard]] NvmeOutcome set_error_recovery(const nvme::SubmissionEntry& entry) {
    const bool is_for_all = entry.nsid == nvme::all_namespaces;
    if (!is_for_all && state_.find_namespace(entry.nsid) == nullptr) {
      return refused(state_.namespace_error(entry.nsid));
    }
    for (std::size_t i = 0; i != state_.namespaces.size(); ++i) {
      if (!is_for_all && i + 1 != entry.nsid) continue;
      state_.namespaces[i].error_recovery = entry.feature_value();
    }
    return {};
  }
  [[nodiscard]] NvmeOutcome set_feature(const nvme::SubmissionEntry& entry, NvmeCalls& calls) {
    if (!state_.features.is_supported(entry.feature())) return refused(Code::invalid_field);
    if (entry.is_saved()) return refused(Code::feature_not_saveable);
    if (NvmeFeatures::is_per_namespace(entry.feature())) return set_error_recovery(entry);
    if (entry.nsid != 0 && entry.nsid != nvme::all_namespaces) {
      return refused(entry.nsid > state_.namespaces.size() ? Code::invalid_namespace
                                                           : Code::feature_not_namespace_specific);
    }
    const NvmeOutcome outcome = state_.features.set(entry);
    if (!outcome.status.is_success()) return outcome;
    switch (entry.feature()) {
      case nvme::FeatureId::volatile_write_cache:
        if (!apply_write_cache()) return failed(Code::write_fault);
        break;
      case nvme::FeatureId::interrupt_coalescing:
      case nvme::FeatureId::interrupt_vector_configuration: apply_coalescing(); break;
      case nvme::FeatureId::temperature_threshold:
      case nvme::FeatureId::asynchronous_event_configuration: report_temperature(calls); break;
      default: break;
    }
    return outcome;
  }
  /// Without its write cache, a namespace makes everything durable that the cache holds.
  [[nodiscard]] bool apply_write_cache() {
    const bool is_on = state_.features.volatile_write_cache().is_enabled();
    bool is_durable = true;
    for (NvmeNamespaceState& its : state_.namespaces) {
      const RangeLock::Guard guard{its.lock};
      its.writes_through = !is_on;
      if (!is_on && its.is_active() && !its.media->flush()) is_durable = false;
    }
    return is_durable;
  }
  void apply_coalescing() {
    for (NvmeCompletionQueue& queue : state_.completion_queues) {
      const std::lock_guard guard{queue.mutex};
      if (queue.exists()) queue.coalescing = state_.features.coalescing(queue.vector());
    }
  }
  void report_temperature(NvmeCalls& calls) {
    if (!state_.features.is_temperature_wrong() ||
        (state_.features.events().smart_warnings() & nvme::smart_warning::temperature) == 0) {
      return;
    }
    state_.events.add(nvme::AsyncEvent::of(nvme::AsyncEventType::smart,
                                           nvme::smart_event::temperature_threshold,
                                           nvme::LogPageId::smart));
    calls.has_event = true;
  }

  // --- data -------------------------------------------------------------------------------------

  [[nodiscard]] NvmeOutcome send(const NvmeCommand& command, std::span<const std::byte> data) {
    const Code code = admin_queue().transfer.to_driver(command.entry, data, state_.page_bytes,
                                                       state_.access_of(command));
    if (code == Code::success) return {};
    return code == Code::data_transfer_error ? failed(code) : refused(code);
  }
  [[nodiscard]] NvmeOutcome download_firmware(const NvmeCommand& command) {
    const nvme::SubmissionEntry& entry = command.entry;
    const std::uint64_t offset = entry.firmware_offset_bytes();
    const std::uint64_t length = entry.firmware_bytes();
    if (!NvmeFirmware::is_part_valid(offset, length) || is_too_long(length)) {
      return refused(Code::invalid_field);
    }
    const auto part = admin_queue().transfer.buffer(length);
    const Code code = admin_queue().transfer.from_driver(entry, part, state_.page_bytes,
                                                         state_.access_of(command));
    if (code == Code::data_transfer_error) return failed(code);
    if (code != Code::success) return refused(code);
    const Code result = state_.firmware.download(offset, part);
    return result == Code::success ? NvmeOutcome{} : refused(result);
  }
  [[nodiscard]] NvmeOutcome commit_firmware(const nvme::SubmissionEntry& entry) {
    const Code code = state_.firmware.commit(entry.firmware_slot(), entry.firmware_action());
    return code == Code::success ? NvmeOutcome{} : refused(code);
  }
  [[nodiscard]] bool is_too_long(std::uint64_t length_bytes) const noexcept {
    const unsigned exponent = state_.config.max_transfer_exponent;
    return exponent != 0 && length_bytes > std::uint64_t{4096} << exponent;
  }
  [[nodiscard]] NvmeOutcome identify_data(const NvmeCommand& command) {
    std::array<std::byte, nvme::identify_bytes> data;
    const Code code = NvmeIdentify{state_}.fill(command.entry, data);
    return code == Code::success ? send(command, data) : refused(code);
  }
  [[nodiscard]] NvmeOutcome send_log_page(const NvmeCommand& command, NvmeCalls& calls) {
    const nvme::SubmissionEntry& entry = command.entry;
    std::vector<std::byte> page;
    switch (entry.log_page()) {
      case nvme::LogPageId::error_information: {
        const auto entries = state_.errors.page();
        const auto bytes = std::as_bytes(std::span{entries});
        page.assign(bytes.begin(), bytes.end());
        break;
      }
      case nvme::LogPageId::smart: page = bytes_of(smart_log()); break;
      case nvme::LogPageId::firmware_slots: page = bytes_of(state_.firmware.log()); break;
      default: return refused(Code::invalid_log_page);
    }
    const std::uint64_t offset = entry.log_offset_bytes();
    const bool is_of_namespace = entry.nsid != 0 && entry.nsid != nvme::all_namespaces;
    if (is_of_namespace || offset % 4 != 0 || offset > page.size() ||
        entry.log_bytes() > max_log_bytes || is_too_long(entry.log_bytes())) {
      return refused(Code::invalid_field);
    }
    // Beyond the end of the page the driver gets zeroes.
    page.erase(page.begin(), page.begin() + static_cast<std::ptrdiff_t>(offset));
    page.resize(static_cast<std::size_t>(entry.log_bytes()));
    const NvmeOutcome outcome = send(command, page);
    if (outcome.status.is_success() && !entry.retains_event()) {
      state_.events.log_page_read(entry.log_page());
      calls.has_event = true;  // one that was masked
    }
    return outcome;
  }
  template <class Log>
  [[nodiscard]] static std::vector<std::byte> bytes_of(const Log& log) {
    const auto bytes = std::as_bytes(std::span{&log, 1});
    return {bytes.begin(), bytes.end()};
  }
  [[nodiscard]] nvme::SmartLog smart_log() {
    NvmeCounters sum;
    for (NvmeSubmissionQueue& queue : state_.submission_queues) {
      const std::lock_guard guard{queue.mutex};
      sum.sectors_read += queue.counters.sectors_read;
      sum.sectors_written += queue.counters.sectors_written;
      sum.read_commands += queue.counters.read_commands;
      sum.write_commands += queue.counters.write_commands;
      sum.media_errors += queue.counters.media_errors;
    }
    nvme::SmartLog log;
    if (state_.features.is_temperature_wrong()) {
      log.critical_warning = nvme::smart_warning::temperature;
    }
    log.set_temperature_k(NvmeFeatures::temperature_k);
    log.available_spare_percent = 100;
    log.spare_threshold_percent = 10;
    // In thousands of sectors, rounded up.
    log.data_units_read.low = (sum.sectors_read + 999) / 1000;
    log.data_units_written.low = (sum.sectors_written + 999) / 1000;
    log.host_reads.low = sum.read_commands;
    log.host_writes.low = sum.write_commands;
    log.power_cycles.low = 1;
    log.media_errors.low = sum.media_errors;
    log.error_log_entries.low = state_.errors.count();
    return log;
  }

  NvmeState& state_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
