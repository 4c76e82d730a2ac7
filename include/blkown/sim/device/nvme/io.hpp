// SPDX-License-Identifier: BSL-1.0
//
// NvmeIo: the execution of the NVM command set.

#ifndef BLKOWN_SIM_DEVICE_NVME_IO_HPP
#define BLKOWN_SIM_DEVICE_NVME_IO_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/dsm.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/media/range_lock.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <blkown/sim/device/nvme/transfer.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Executes I/O commands. A command locks its range of the medium for the access.
/// Source: NVMe Base 1.4, section 6.
/// Context: with the command's submission queue locked.
class NvmeIo {
 public:
  explicit NvmeIo(NvmeState& state) : state_{state} {}

  [[nodiscard]] NvmeOutcome run(NvmeSubmissionQueue& queue, const NvmeCommand& command) {
    const nvme::SubmissionEntry& entry = command.entry;
    if (!is_known(entry.io_opcode())) return refused(nvme::StatusCode::invalid_opcode);
    if (entry.fused_operation() != 0 || entry.uses_sgl()) {
      return refused(nvme::StatusCode::invalid_field);
    }
    if (entry.io_opcode() == nvme::IoOpcode::flush) return flush(entry.nsid);
    NvmeNamespaceState* const its = state_.find_namespace(entry.nsid);
    if (its == nullptr) return refused(state_.namespace_error(entry.nsid));
    if (entry.io_opcode() == nvme::IoOpcode::dataset_management) {
      return manage_dataset(queue, command, *its);
    }
    if (!is_in_range(*its, entry.blocks())) return refused(nvme::StatusCode::lba_out_of_range);
    if (command.moves_blocks() && is_too_long(bytes_of(*its, entry))) {
      return refused(nvme::StatusCode::invalid_field);
    }
    switch (entry.io_opcode()) {
      case nvme::IoOpcode::read: return read(queue, command, *its);
      case nvme::IoOpcode::write: return write(queue, command, *its);
      case nvme::IoOpcode::compare: return compare(queue, command, *its);
      default: return write_zeroes(queue, entry, *its);
    }
  }

  /// Accesses the command's memory as the command's transfer would. Neither memory nor medium
  /// changes: bytes read are discarded, and bytes written are those of the medium.
  void touch(NvmeSubmissionQueue& queue, const NvmeCommand& command) {
    NvmeNamespaceState* const its = state_.find_namespace(command.entry.nsid);
    if (!command.moves_blocks() || its == nullptr || !is_in_range(*its, command.entry.blocks())) {
      return;
    }
    const auto bytes = queue.transfer.buffer(bytes_of(*its, command.entry));
    if (!command.is(nvme::IoOpcode::read)) {
      static_cast<void>(from_driver(queue, command, bytes));
    } else if (read_medium(*its, offset_of(*its, command.entry.slba()), bytes)) {
      static_cast<void>(to_driver(queue, command, bytes));
    }
  }

  /// The longest transfer, or UINT64_MAX.
  [[nodiscard]] std::uint64_t max_transfer_bytes() const noexcept {
    const unsigned exponent = state_.config.max_transfer_exponent;
    return exponent == 0 ? UINT64_MAX : std::uint64_t{4096} << exponent;
  }

 private:
  using Code = nvme::StatusCode;

  [[nodiscard]] static bool is_known(nvme::IoOpcode opcode) noexcept {
    switch (opcode) {
      case nvme::IoOpcode::flush:
      case nvme::IoOpcode::write:
      case nvme::IoOpcode::read:
      case nvme::IoOpcode::compare:
      case nvme::IoOpcode::write_zeroes:
      case nvme::IoOpcode::dataset_management: return true;
      default: return false;
    }
  }
  [[nodiscard]] bool is_too_long(std::uint64_t length_bytes) const noexcept {
    return length_bytes > max_transfer_bytes();
  }
  [[nodiscard]] static bool is_in_range(const NvmeNamespaceState& its,
                                        const nvme::BlockRange& blocks) {
    const std::uint64_t count = its.block_count();
    return blocks.slba <= count && blocks.block_count <= count - blocks.slba;
  }
  [[nodiscard]] static std::uint64_t offset_of(const NvmeNamespaceState& its, std::uint64_t block) {
    return block * its.block_bytes;
  }
  [[nodiscard]] static std::uint64_t bytes_of(const NvmeNamespaceState& its,
                                              const nvme::SubmissionEntry& entry) {
    return std::uint64_t{entry.block_count()} * its.block_bytes;
  }

  [[nodiscard]] Code to_driver(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                               std::span<const std::byte> from) {
    return queue.transfer.to_driver(command.entry, from, state_.page_bytes,
                                    state_.access_of(command));
  }
  [[nodiscard]] Code from_driver(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                                 std::span<std::byte> to) {
    return queue.transfer.from_driver(command.entry, to, state_.page_bytes,
                                      state_.access_of(command));
  }
  /// Reads from the medium. With `is_fua`, what the cache holds of these blocks becomes durable.
  [[nodiscard]] static bool read_medium(NvmeNamespaceState& its, std::uint64_t offset_bytes,
                                        std::span<std::byte> to, bool is_fua = false) {
    const RangeLock::Guard guard{its.lock, offset_bytes, to.size()};
    if (is_fua && !its.media->flush_range(offset_bytes, to.size())) return false;
    return its.media->read(offset_bytes, to);
  }
  /// The outcome of a transfer. A wrong PRP entry would be wrong again.
  [[nodiscard]] static NvmeOutcome of_transfer(Code code) noexcept {
    if (code == Code::success) return {};
    return code == Code::data_transfer_error ? failed(code) : refused(code);
  }
  [[nodiscard]] static NvmeOutcome media_error(NvmeSubmissionQueue& queue, Code code) noexcept {
    ++queue.counters.media_errors;
    return failed(code);
  }

  [[nodiscard]] NvmeOutcome read(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                                 NvmeNamespaceState& its) {
    const std::uint64_t offset_bytes = offset_of(its, command.entry.slba());
    const std::uint64_t length_bytes = bytes_of(its, command.entry);
    std::span<const std::byte> bytes = its.media->view(offset_bytes, length_bytes);
    if (bytes.empty()) {
      const auto buffer = queue.transfer.buffer(length_bytes);
      if (!read_medium(its, offset_bytes, buffer, command.entry.is_fua())) {
        return media_error(queue, Code::unrecovered_read_error);
      }
      bytes = buffer;
    } else if (command.entry.is_fua() && !its.media->flush_range(offset_bytes, length_bytes)) {
      return media_error(queue, Code::unrecovered_read_error);
    }
    const Code code = to_driver(queue, command, bytes);
    if (code != Code::success) return of_transfer(code);
    ++queue.counters.read_commands;
    queue.counters.sectors_read += bytes.size() / 512;
    return {};
  }
  [[nodiscard]] NvmeOutcome write(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                                  NvmeNamespaceState& its) {
    const auto bytes = queue.transfer.buffer(bytes_of(its, command.entry));
    const Code code = from_driver(queue, command, bytes);
    if (code != Code::success) return of_transfer(code);
    const std::uint64_t offset_bytes = offset_of(its, command.entry.slba());
    const RangeLock::Guard guard{its.lock, offset_bytes, bytes.size()};
    if (!its.media->write(offset_bytes, bytes) ||
        !make_durable(its, command.entry.is_fua(), offset_bytes, bytes.size())) {
      return media_error(queue, Code::write_fault);
    }
    ++queue.counters.write_commands;
    queue.counters.sectors_written += bytes.size() / 512;
    return {};
  }
  [[nodiscard]] NvmeOutcome compare(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                                    NvmeNamespaceState& its) {
    const auto given = queue.transfer.buffer(bytes_of(its, command.entry));
    const Code code = from_driver(queue, command, given);
    if (code != Code::success) return of_transfer(code);
    const auto stored = queue.transfer.other_buffer(given.size());
    if (!read_medium(its, offset_of(its, command.entry.slba()), stored, command.entry.is_fua())) {
      return media_error(queue, Code::unrecovered_read_error);
    }
    ++queue.counters.read_commands;
    queue.counters.sectors_read += stored.size() / 512;
    const bool is_equal = std::memcmp(given.data(), stored.data(), given.size()) == 0;
    return is_equal ? NvmeOutcome{} : refused(Code::compare_failure);
  }
  [[nodiscard]] static NvmeOutcome write_zeroes(NvmeSubmissionQueue& queue,
                                                const nvme::SubmissionEntry& entry,
                                                NvmeNamespaceState& its) {
    return zero(its, entry.blocks(), entry.is_fua()) ? NvmeOutcome{}
                                                     : media_error(queue, Code::write_fault);
  }
  [[nodiscard]] NvmeOutcome flush(std::uint32_t nsid) {
    if (nsid == nvme::all_namespaces) {
      for (NvmeNamespaceState& its : state_.namespaces) {
        if (its.is_active() && !flush(its)) return failed(Code::write_fault);
      }
      return {};
    }
    NvmeNamespaceState* const its = state_.find_namespace(nsid);
    if (its == nullptr) return refused(state_.namespace_error(nsid));
    return flush(*its) ? NvmeOutcome{} : failed(Code::write_fault);
  }
  [[nodiscard]] NvmeOutcome manage_dataset(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                                           NvmeNamespaceState& its) {
    const std::size_t length_bytes = command.entry.range_count() * sizeof(nvme::DsmRange);
    const auto bytes = queue.transfer.buffer(length_bytes);
    const Code code = from_driver(queue, command, bytes);
    if (code != Code::success) return of_transfer(code);
    // A range that is wrong has no effect, and the others neither.
    for (const bool acts : {false, true}) {
      for (std::size_t at = 0; at != length_bytes; at += sizeof(nvme::DsmRange)) {
        nvme::DsmRange range;
        std::memcpy(&range, bytes.data() + at, sizeof range);
        const nvme::BlockRange blocks{range.slba, range.block_count};
        if (!is_in_range(its, blocks)) return refused(Code::lba_out_of_range);
        if (!acts || !command.entry.deallocates()) continue;  // an attribute is only a hint
        if (!zero(its, blocks, false)) return media_error(queue, Code::write_fault);
      }
    }
    return {};
  }

  /// Sets blocks to zero.
  [[nodiscard]] static bool zero(NvmeNamespaceState& its, const nvme::BlockRange& blocks,
                                 bool is_fua) {
    const std::uint64_t offset_bytes = offset_of(its, blocks.slba);
    const std::uint64_t length_bytes = std::uint64_t{blocks.block_count} * its.block_bytes;
    const RangeLock::Guard guard{its.lock, offset_bytes, length_bytes};
    return its.media->zero(offset_bytes, length_bytes) &&
           make_durable(its, is_fua, offset_bytes, length_bytes);
  }
  [[nodiscard]] static bool make_durable(NvmeNamespaceState& its, bool is_fua,
                                         std::uint64_t offset_bytes, std::uint64_t length_bytes) {
    if (!is_fua && !its.writes_through) return true;
    return its.media->flush_range(offset_bytes, length_bytes);
  }
  [[nodiscard]] static bool flush(NvmeNamespaceState& its) {
    const RangeLock::Guard guard{its.lock};
    return its.media->flush();
  }

  NvmeState& state_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
