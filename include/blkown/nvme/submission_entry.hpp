// SPDX-License-Identifier: BSL-1.0
//
// The 64-byte entry of a submission queue, and the commands that it can be.
//
// Each command has a maker, which a driver calls, and accessors for its fields, which a controller
// calls. A maker leaves the command identifier and the data's address at 0. An accessor is valid
// for the commands in its comment, and never fails: every value of an entry is another party's.

#ifndef BLKOWN_NVME_SUBMISSION_ENTRY_HPP
#define BLKOWN_NVME_SUBMISSION_ENTRY_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/firmware.hpp>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/prp.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The namespace identifier that stands for all namespaces.
inline constexpr std::uint32_t all_namespaces = 0xFFFFFFFF;

/// The blocks of a command.
struct BlockRange {
  std::uint64_t slba = 0;         ///< The first block.
  std::uint32_t block_count = 0;  ///< 1 to 65536.
  friend constexpr bool operator==(const BlockRange&, const BlockRange&) = default;
};

/// The parameters of Create I/O Completion Queue.
/// Source: NVMe Base 1.4, section 5.3.
struct CompletionQueueSetup {
  std::uint16_t queue = 0;            ///< QID, from 1.
  std::uint32_t entries = 0;          ///< QSIZE, plus one: 2 to 65536.
  std::uint64_t iova = 0;             ///< PRP1: the queue, or with PC = 0 the list of its pages.
  std::uint16_t vector = 0;           ///< IV: the interrupt vector.
  bool interrupts_enabled = false;    ///< IEN.
  bool physically_contiguous = true;  ///< PC.
  friend constexpr bool operator==(const CompletionQueueSetup&,
                                   const CompletionQueueSetup&) = default;
};

/// QPRIO: a submission queue's class for weighted round robin arbitration.
/// Source: NVMe Base 1.4, section 5.4.
enum class QueuePriority : std::uint8_t {
  urgent = 0,
  high = 1,
  medium = 2,
  low = 3,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(QueuePriority priority) noexcept {
  switch (priority) {
    case QueuePriority::urgent: return "urgent";
    case QueuePriority::high: return "high";
    case QueuePriority::medium: return "medium";
    case QueuePriority::low: return "low";
  }
  return "unknown queue priority";
}

/// The parameters of Create I/O Submission Queue.
/// Source: NVMe Base 1.4, section 5.4.
struct SubmissionQueueSetup {
  std::uint16_t queue = 0;             ///< QID, from 1.
  std::uint32_t entries = 0;           ///< QSIZE, plus one: 2 to 65536.
  std::uint64_t iova = 0;              ///< PRP1: the queue, or with PC = 0 the list of its pages.
  std::uint16_t completion_queue = 0;  ///< CQID.
  QueuePriority priority = QueuePriority::urgent;
  bool physically_contiguous = true;  ///< PC.
  friend constexpr bool operator==(const SubmissionQueueSetup&,
                                   const SubmissionQueueSetup&) = default;
};

/// An entry of a submission queue.
/// Source: NVMe Base 1.4, section 4.2.
struct SubmissionEntry {
  std::uint8_t opcode = 0;  ///< OPC. An AdminOpcode or an IoOpcode.
  std::uint8_t flags = 0;   ///< FUSE in bits 1 to 0, PSDT in bits 7 to 6.
  Le16 command_id{};        ///< CID.
  Le32 nsid{};
  Le32 cdw2{};
  Le32 cdw3{};
  Le64 metadata{};  ///< MPTR.
  Le64 prp1{};
  Le64 prp2{};
  Le32 cdw10{};
  Le32 cdw11{};
  Le32 cdw12{};
  Le32 cdw13{};
  Le32 cdw14{};
  Le32 cdw15{};

  // --- every command ----------------------------------------------------------------------------

  /// The opcode of an entry of the admin queue.
  [[nodiscard]] constexpr AdminOpcode admin_opcode() const noexcept {
    return static_cast<AdminOpcode>(opcode);
  }
  /// The opcode of an entry of an I/O queue.
  [[nodiscard]] constexpr IoOpcode io_opcode() const noexcept {
    return static_cast<IoOpcode>(opcode);
  }
  /// FUSE: 0 for a command by itself.
  [[nodiscard]] constexpr unsigned fused_operation() const noexcept { return flags & 3u; }
  /// PSDT: whether the data are described by SGLs. They are not in any command made here.
  [[nodiscard]] constexpr bool uses_sgl() const noexcept { return (flags >> 6) != 0; }
  /// PRP 1 and PRP 2.
  [[nodiscard]] constexpr Prps prps() const noexcept { return {prp1, prp2}; }
  /// Sets PRP 1 and PRP 2.
  constexpr void set_prps(const Prps& entries) noexcept {
    prp1 = entries.prp1;
    prp2 = entries.prp2;
  }

  // --- NVM command set: section 6 ---------------------------------------------------------------

  /// Read: section 6.9.
  [[nodiscard]] static constexpr SubmissionEntry read(std::uint32_t nsid, BlockRange blocks,
                                                      bool is_fua = false) noexcept {
    return of_blocks(IoOpcode::read, nsid, blocks, is_fua);
  }
  /// Write: section 6.15.
  [[nodiscard]] static constexpr SubmissionEntry write(std::uint32_t nsid, BlockRange blocks,
                                                       bool is_fua = false) noexcept {
    return of_blocks(IoOpcode::write, nsid, blocks, is_fua);
  }
  /// Compare: section 6.6.
  [[nodiscard]] static constexpr SubmissionEntry compare(std::uint32_t nsid,
                                                         BlockRange blocks) noexcept {
    return of_blocks(IoOpcode::compare, nsid, blocks, false);
  }
  /// Write Zeroes: section 6.17.
  [[nodiscard]] static constexpr SubmissionEntry write_zeroes(std::uint32_t nsid, BlockRange blocks,
                                                              bool may_deallocate,
                                                              bool is_fua = false) noexcept {
    return of_blocks(IoOpcode::write_zeroes, nsid, blocks, is_fua,
                     may_deallocate ? deallocate_bit : 0u);
  }
  /// Flush: section 6.8.
  [[nodiscard]] static constexpr SubmissionEntry flush(std::uint32_t nsid) noexcept {
    return {.opcode = byte(IoOpcode::flush), .nsid = nsid};
  }
  /// Dataset Management: section 6.7. The data are `range_count` DsmRange.
  /// Precondition: `range_count` is 1 to max_dsm_ranges.
  [[nodiscard]] static constexpr SubmissionEntry dataset_management(std::uint32_t nsid,
                                                                    std::uint32_t range_count,
                                                                    bool deallocates) noexcept {
    return {.opcode = byte(IoOpcode::dataset_management),
            .nsid = nsid,
            .cdw10 = (range_count - 1) & 0xFF,
            .cdw11 = deallocates ? 4u : 0u};
  }

  /// SLBA of Read, Write, Compare, Write Zeroes.
  [[nodiscard]] constexpr std::uint64_t slba() const noexcept {
    return cdw10 | (std::uint64_t{cdw11} << 32);
  }
  /// NLB, plus one, of Read, Write, Compare, Write Zeroes.
  [[nodiscard]] constexpr std::uint32_t block_count() const noexcept {
    return (cdw12 & 0xFFFF) + 1;
  }
  /// SLBA and NLB.
  [[nodiscard]] constexpr BlockRange blocks() const noexcept { return {slba(), block_count()}; }
  /// FUA of Read, Write, Compare, Write Zeroes.
  [[nodiscard]] constexpr bool is_fua() const noexcept { return (cdw12 & fua_bit) != 0; }
  /// LR of Read, Write, Compare, Write Zeroes: limited retry.
  [[nodiscard]] constexpr bool is_limited_retry() const noexcept {
    return (cdw12 & 0x80000000) != 0;
  }
  /// PRINFO of Read, Write, Compare, Write Zeroes: protection information. 0 if not used.
  [[nodiscard]] constexpr unsigned protection_info() const noexcept { return (cdw12 >> 26) & 15; }
  /// DEAC of Write Zeroes.
  [[nodiscard]] constexpr bool may_deallocate() const noexcept {
    return (cdw12 & deallocate_bit) != 0;
  }
  /// NR, plus one, of Dataset Management.
  [[nodiscard]] constexpr std::uint32_t range_count() const noexcept { return (cdw10 & 0xFF) + 1; }
  /// AD of Dataset Management.
  [[nodiscard]] constexpr bool deallocates() const noexcept { return (cdw11 & 4) != 0; }

  // --- queues: sections 5.3 to 5.6 --------------------------------------------------------------

  /// Create I/O Completion Queue: section 5.3.
  [[nodiscard]] static constexpr SubmissionEntry create_io_cq(
      const CompletionQueueSetup& setup) noexcept {
    return {.opcode = byte(AdminOpcode::create_io_completion_queue),
            .prp1 = setup.iova,
            .cdw10 = setup.queue | ((setup.entries - 1) << 16),
            .cdw11 = (setup.physically_contiguous ? 1u : 0u) |
                     (setup.interrupts_enabled ? 2u : 0u) | (std::uint32_t{setup.vector} << 16)};
  }
  /// Create I/O Submission Queue: section 5.4.
  [[nodiscard]] static constexpr SubmissionEntry create_io_sq(
      const SubmissionQueueSetup& setup) noexcept {
    return {.opcode = byte(AdminOpcode::create_io_submission_queue),
            .prp1 = setup.iova,
            .cdw10 = setup.queue | ((setup.entries - 1) << 16),
            .cdw11 = (setup.physically_contiguous ? 1u : 0u) |
                     (static_cast<std::uint32_t>(setup.priority) << 1) |
                     (std::uint32_t{setup.completion_queue} << 16)};
  }
  /// Delete I/O Completion Queue: section 5.5.
  [[nodiscard]] static constexpr SubmissionEntry delete_io_cq(std::uint16_t queue) noexcept {
    return {.opcode = byte(AdminOpcode::delete_io_completion_queue), .cdw10 = queue};
  }
  /// Delete I/O Submission Queue: section 5.6.
  [[nodiscard]] static constexpr SubmissionEntry delete_io_sq(std::uint16_t queue) noexcept {
    return {.opcode = byte(AdminOpcode::delete_io_submission_queue), .cdw10 = queue};
  }

  /// The parameters of Create I/O Completion Queue.
  [[nodiscard]] constexpr CompletionQueueSetup completion_queue_setup() const noexcept {
    return {.queue = queue_id(),
            .entries = (cdw10 >> 16) + 1,
            .iova = prp1,
            .vector = static_cast<std::uint16_t>(cdw11 >> 16),
            .interrupts_enabled = (cdw11 & 2) != 0,
            .physically_contiguous = (cdw11 & 1) != 0};
  }
  /// The parameters of Create I/O Submission Queue.
  [[nodiscard]] constexpr SubmissionQueueSetup submission_queue_setup() const noexcept {
    return {.queue = queue_id(),
            .entries = (cdw10 >> 16) + 1,
            .iova = prp1,
            .completion_queue = static_cast<std::uint16_t>(cdw11 >> 16),
            .priority = static_cast<QueuePriority>((cdw11 >> 1) & 3),
            .physically_contiguous = (cdw11 & 1) != 0};
  }
  /// QID of a command that creates or deletes a queue.
  [[nodiscard]] constexpr std::uint16_t queue_id() const noexcept {
    return static_cast<std::uint16_t>(cdw10);
  }

  // --- other admin commands ---------------------------------------------------------------------

  /// Identify: section 5.15. The data are identify_bytes bytes.
  [[nodiscard]] static constexpr SubmissionEntry identify(
      Cns cns, std::uint32_t nsid = 0, std::uint16_t controller_id = 0) noexcept {
    return {.opcode = byte(AdminOpcode::identify),
            .nsid = nsid,
            .cdw10 = static_cast<std::uint32_t>(cns) | (std::uint32_t{controller_id} << 16)};
  }
  /// Get Log Page: section 5.14. With `retain_event` the page's event stays reported.
  /// Precondition: `length_bytes` and `offset_bytes` are multiples of 4, the length is not 0.
  [[nodiscard]] static constexpr SubmissionEntry get_log_page(
      LogPageId page, std::uint32_t length_bytes, std::uint64_t offset_bytes = 0,
      bool retain_event = false, std::uint32_t nsid = all_namespaces) noexcept {
    const std::uint32_t dwords = length_bytes / 4 - 1;
    return {.opcode = byte(AdminOpcode::get_log_page),
            .nsid = nsid,
            .cdw10 = static_cast<std::uint32_t>(page) | (retain_event ? 0x8000u : 0u) |
                     ((dwords & 0xFFFF) << 16),
            .cdw11 = dwords >> 16,
            .cdw12 = low(offset_bytes),
            .cdw13 = high(offset_bytes)};
  }
  /// Set Features: section 5.21.
  [[nodiscard]] static constexpr SubmissionEntry set_features(FeatureId feature,
                                                              std::uint32_t value,
                                                              bool is_saved = false,
                                                              std::uint32_t nsid = 0) noexcept {
    return {.opcode = byte(AdminOpcode::set_features),
            .nsid = nsid,
            .cdw10 = static_cast<std::uint32_t>(feature) | (is_saved ? 0x80000000u : 0u),
            .cdw11 = value};
  }
  /// Get Features: section 5.13. The value is the completion's dword 0.
  [[nodiscard]] static constexpr SubmissionEntry get_features(
      FeatureId feature, FeatureSelect select = FeatureSelect::current,
      std::uint32_t nsid = 0) noexcept {
    return {
        .opcode = byte(AdminOpcode::get_features),
        .nsid = nsid,
        .cdw10 = static_cast<std::uint32_t>(feature) | (static_cast<std::uint32_t>(select) << 8)};
  }
  /// Abort: section 5.1. Bit 0 of the completion's dword 0 is 0 if the command was aborted. An
  /// aborted command completes by itself.
  [[nodiscard]] static constexpr SubmissionEntry abort(std::uint16_t sq_id,
                                                       std::uint16_t command_id) noexcept {
    return {.opcode = byte(AdminOpcode::abort), .cdw10 = sq_id | (std::uint32_t{command_id} << 16)};
  }
  /// Asynchronous Event Request: section 5.2. Completes when there is an event: see AsyncEvent.
  [[nodiscard]] static constexpr SubmissionEntry async_event_request() noexcept {
    return {.opcode = byte(AdminOpcode::asynchronous_event_request)};
  }
  /// Firmware Image Download: section 5.12. The data are a part of the image.
  /// Precondition: `length_bytes` and `offset_bytes` are multiples of 4, the length is not 0.
  [[nodiscard]] static constexpr SubmissionEntry firmware_download(
      std::uint32_t length_bytes, std::uint64_t offset_bytes) noexcept {
    return {.opcode = byte(AdminOpcode::firmware_image_download),
            .cdw10 = length_bytes / 4 - 1,
            .cdw11 = low(offset_bytes / 4)};
  }
  /// Firmware Commit: section 5.11. Slot 0: the controller chooses one. firmware_state says what
  /// the completion means.
  [[nodiscard]] static constexpr SubmissionEntry firmware_commit(unsigned slot,
                                                                 FirmwareAction action) noexcept {
    return {.opcode = byte(AdminOpcode::firmware_commit),
            .cdw10 = (slot & 7) | (static_cast<std::uint32_t>(action) << 3)};
  }

  /// CNS of Identify.
  [[nodiscard]] constexpr Cns cns() const noexcept { return static_cast<Cns>(cdw10 & 0xFF); }
  /// CNTID of Identify.
  [[nodiscard]] constexpr std::uint16_t controller_id() const noexcept {
    return static_cast<std::uint16_t>(cdw10 >> 16);
  }
  /// LID of Get Log Page.
  [[nodiscard]] constexpr LogPageId log_page() const noexcept {
    return static_cast<LogPageId>(cdw10 & 0xFF);
  }
  /// RAE of Get Log Page.
  [[nodiscard]] constexpr bool retains_event() const noexcept { return (cdw10 & 0x8000) != 0; }
  /// NUMD of Get Log Page, in bytes.
  [[nodiscard]] constexpr std::uint64_t log_bytes() const noexcept {
    return (std::uint64_t{(cdw10 >> 16) | ((cdw11 & 0xFFFF) << 16)} + 1) * 4;
  }
  /// LPO of Get Log Page, in bytes.
  [[nodiscard]] constexpr std::uint64_t log_offset_bytes() const noexcept {
    return cdw12 | (std::uint64_t{cdw13} << 32);
  }
  /// FID of Set Features and Get Features.
  [[nodiscard]] constexpr FeatureId feature() const noexcept {
    return static_cast<FeatureId>(cdw10 & 0xFF);
  }
  /// SV of Set Features.
  [[nodiscard]] constexpr bool is_saved() const noexcept { return (cdw10 & 0x80000000) != 0; }
  /// Dword 11 of Set Features: the value.
  [[nodiscard]] constexpr std::uint32_t feature_value() const noexcept { return cdw11; }
  /// SEL of Get Features.
  [[nodiscard]] constexpr FeatureSelect feature_select() const noexcept {
    return static_cast<FeatureSelect>((cdw10 >> 8) & 7);
  }
  /// SQID of Abort.
  [[nodiscard]] constexpr std::uint16_t abort_sq_id() const noexcept {
    return static_cast<std::uint16_t>(cdw10);
  }
  /// CID of Abort.
  [[nodiscard]] constexpr std::uint16_t abort_command_id() const noexcept {
    return static_cast<std::uint16_t>(cdw10 >> 16);
  }
  /// NUMD of Firmware Image Download, in bytes.
  [[nodiscard]] constexpr std::uint64_t firmware_bytes() const noexcept {
    return (std::uint64_t{cdw10} + 1) * 4;
  }
  /// OFST of Firmware Image Download, in bytes.
  [[nodiscard]] constexpr std::uint64_t firmware_offset_bytes() const noexcept {
    return std::uint64_t{cdw11} * 4;
  }
  /// FS of Firmware Commit.
  [[nodiscard]] constexpr unsigned firmware_slot() const noexcept { return cdw10 & 7; }
  /// CA of Firmware Commit.
  [[nodiscard]] constexpr FirmwareAction firmware_action() const noexcept {
    return static_cast<FirmwareAction>((cdw10 >> 3) & 7);
  }

  friend constexpr bool operator==(const SubmissionEntry&, const SubmissionEntry&) = default;

 private:
  static constexpr std::uint32_t fua_bit = 0x40000000;
  static constexpr std::uint32_t deallocate_bit = 0x02000000;

  template <class Opcode>
  [[nodiscard]] static constexpr std::uint8_t byte(Opcode opcode) noexcept {
    return static_cast<std::uint8_t>(opcode);
  }
  [[nodiscard]] static constexpr std::uint32_t low(std::uint64_t value) noexcept {
    return static_cast<std::uint32_t>(value);
  }
  [[nodiscard]] static constexpr std::uint32_t high(std::uint64_t value) noexcept {
    return static_cast<std::uint32_t>(value >> 32);
  }
  [[nodiscard]] static constexpr SubmissionEntry of_blocks(IoOpcode opcode, std::uint32_t nsid,
                                                           BlockRange blocks, bool is_fua,
                                                           std::uint32_t flags = 0) noexcept {
    return {.opcode = byte(opcode),
            .nsid = nsid,
            .cdw10 = low(blocks.slba),
            .cdw11 = high(blocks.slba),
            .cdw12 = ((blocks.block_count - 1) & 0xFFFF) | (is_fua ? fua_bit : 0u) | flags};
  }
};
static_assert(sizeof(SubmissionEntry) == 64 && std::is_trivially_copyable_v<SubmissionEntry> &&
              std::is_standard_layout_v<SubmissionEntry>);
static_assert(offsetof(SubmissionEntry, command_id) == 2);
static_assert(offsetof(SubmissionEntry, nsid) == 4);
static_assert(offsetof(SubmissionEntry, metadata) == 16);
static_assert(offsetof(SubmissionEntry, prp1) == 24);
static_assert(offsetof(SubmissionEntry, prp2) == 32);
static_assert(offsetof(SubmissionEntry, cdw10) == 40);
static_assert(offsetof(SubmissionEntry, cdw15) == 60);

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
