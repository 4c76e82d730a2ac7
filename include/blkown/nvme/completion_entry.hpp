// SPDX-License-Identifier: BSL-1.0
//
// The 16-byte entry of a completion queue.

#ifndef BLKOWN_NVME_COMPLETION_ENTRY_HPP
#define BLKOWN_NVME_COMPLETION_ENTRY_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/status.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// An entry of a completion queue. The controller writes `status_and_phase` last. A driver reads it
/// first, with dma::load_acquire, and reads the other fields when the phase is the expected one.
/// Source: NVMe Base 1.4, section 4.6.
struct CompletionEntry {
  Le32 dw0;               ///< The command's result.
  Le32 dw1;               ///< Reserved.
  Le16 sq_head;           ///< SQHD: the submission queue's head when the entry was written.
  Le16 sq_id;             ///< SQID: the submission queue of the command.
  Le16 command_id;        ///< CID: the command's identifier.
  Le16 status_and_phase;  ///< Bit 0: the phase tag. Bits 15 to 1: the status field.

  /// P: the phase tag.
  [[nodiscard]] constexpr bool phase() const noexcept { return phase_of(status_and_phase); }
  /// SF: the status field.
  [[nodiscard]] constexpr StatusField status() const noexcept {
    return status_of(status_and_phase);
  }

  /// The word that holds the status and the phase tag.
  [[nodiscard]] static constexpr Le16 status_word(StatusField status, bool phase) noexcept {
    return static_cast<std::uint16_t>((status.value << 1) | (phase ? 1 : 0));
  }
  /// The phase tag of a word that was read with load_acquire.
  [[nodiscard]] static constexpr bool phase_of(Le16 word) noexcept { return (word.get() & 1) != 0; }
  /// The status field of a word that was read with load_acquire.
  [[nodiscard]] static constexpr StatusField status_of(Le16 word) noexcept {
    return StatusField{static_cast<std::uint16_t>(word.get() >> 1)};
  }

  friend constexpr bool operator==(const CompletionEntry&, const CompletionEntry&) = default;
};
static_assert(sizeof(CompletionEntry) == 16 && std::is_trivially_copyable_v<CompletionEntry> &&
              std::is_standard_layout_v<CompletionEntry>);
static_assert(offsetof(CompletionEntry, dw1) == 4);
static_assert(offsetof(CompletionEntry, sq_head) == 8);
static_assert(offsetof(CompletionEntry, sq_id) == 10);
static_assert(offsetof(CompletionEntry, command_id) == 12);
static_assert(offsetof(CompletionEntry, status_and_phase) == 14);

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
