// SPDX-License-Identifier: BSL-1.0
//
// The controller's registers: their offsets, and the fields of their values.
//
// The types hold a value that was read or is to be written. The access itself is the driver's. All
// values are plain integers in the host's order: register access swaps where the bus asks for it.

#ifndef BLKOWN_NVME_REGISTERS_HPP
#define BLKOWN_NVME_REGISTERS_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {
namespace detail {

/// `bits` bits of the integer, from bit `shift` on.
template <class T>
[[nodiscard]] constexpr T bits_of(T value, unsigned shift, unsigned bits) noexcept {
  return static_cast<T>(static_cast<T>(value >> shift) &
                        static_cast<T>((std::uint64_t{1} << bits) - 1));
}
/// The integer with `bits` bits from bit `shift` on replaced. Bits of `field` above are cut off.
template <class T>
[[nodiscard]] constexpr T with_bits(T value, unsigned shift, unsigned bits,
                                    std::uint64_t field) noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  return static_cast<T>((value & ~(mask << shift)) | ((field & mask) << shift));
}

}  // namespace detail

/// The offsets of the registers in BAR 0.
/// Source: NVMe Base 1.4, section 3.1.
namespace reg {
inline constexpr std::uint32_t cap = 0x00;    ///< Controller Capabilities, 64 bits.
inline constexpr std::uint32_t vs = 0x08;     ///< Version.
inline constexpr std::uint32_t intms = 0x0C;  ///< Interrupt Mask Set. Not with MSI-X.
inline constexpr std::uint32_t intmc = 0x10;  ///< Interrupt Mask Clear. Not with MSI-X.
inline constexpr std::uint32_t cc = 0x14;     ///< Controller Configuration.
inline constexpr std::uint32_t csts = 0x1C;   ///< Controller Status.
inline constexpr std::uint32_t nssr = 0x20;   ///< NVM Subsystem Reset.
inline constexpr std::uint32_t aqa = 0x24;    ///< Admin Queue Attributes.
inline constexpr std::uint32_t asq = 0x28;    ///< Admin Submission Queue base address, 64 bits.
inline constexpr std::uint32_t acq = 0x30;    ///< Admin Completion Queue base address, 64 bits.
inline constexpr std::uint32_t doorbells = 0x1000;  ///< The first doorbell.
}  // namespace reg

/// The value that, written to reg::nssr, resets the NVM subsystem: "NVMe".
/// Source: NVMe Base 1.4, section 3.1.7.
inline constexpr std::uint32_t nssr_reset = 0x4E564D65;

/// The offset of a queue's doorbell.
/// Source: NVMe Base 1.4, sections 3.1.24 and 3.1.25: 1000h + (2y + is_completion) * (4 << DSTRD).
[[nodiscard]] constexpr std::uint64_t doorbell_offset(std::uint16_t queue, bool is_completion,
                                                      unsigned stride_exponent) noexcept {
  return reg::doorbells +
         ((std::uint64_t{queue} * 2 + (is_completion ? 1 : 0)) << (2 + stride_exponent));
}

/// Controller Capabilities.
/// Source: NVMe Base 1.4, section 3.1.1.
struct Cap {
  std::uint64_t value = 0;

  /// MQES, plus one: the most entries of an I/O queue.
  [[nodiscard]] constexpr std::uint32_t max_queue_entries() const noexcept {
    return static_cast<std::uint32_t>(detail::bits_of(value, 0, 16)) + 1;
  }
  /// CQR: queues must be physically contiguous.
  [[nodiscard]] constexpr bool contiguous_queues_required() const noexcept {
    return detail::bits_of(value, 16, 1) != 0;
  }
  /// AMS: weighted round robin with urgent priority class is supported.
  [[nodiscard]] constexpr bool supports_weighted_round_robin() const noexcept {
    return detail::bits_of(value, 17, 1) != 0;
  }
  /// TO, in milliseconds: the most time that CSTS.RDY takes to follow CC.EN.
  [[nodiscard]] constexpr std::uint32_t ready_timeout_ms() const noexcept {
    return static_cast<std::uint32_t>(detail::bits_of(value, 24, 8)) * 500;
  }
  /// DSTRD: the doorbells are 4 << DSTRD bytes apart.
  [[nodiscard]] constexpr unsigned doorbell_stride_exponent() const noexcept {
    return static_cast<unsigned>(detail::bits_of(value, 32, 4));
  }
  /// NSSRS: the subsystem reset register is supported.
  [[nodiscard]] constexpr bool supports_subsystem_reset() const noexcept {
    return detail::bits_of(value, 36, 1) != 0;
  }
  /// CSS, bit 0: the NVM command set is supported.
  [[nodiscard]] constexpr bool supports_nvm_command_set() const noexcept {
    return detail::bits_of(value, 37, 1) != 0;
  }
  /// MPSMIN, in bytes: the smallest memory page.
  [[nodiscard]] constexpr std::uint32_t min_page_bytes() const noexcept {
    return std::uint32_t{4096} << detail::bits_of(value, 48, 4);
  }
  /// MPSMAX, in bytes: the largest memory page.
  [[nodiscard]] constexpr std::uint32_t max_page_bytes() const noexcept {
    return std::uint32_t{4096} << detail::bits_of(value, 52, 4);
  }

  /// Sets MQES.
  /// Precondition: `entries` is 1 to 65536.
  constexpr void set_max_queue_entries(std::uint32_t entries) noexcept {
    value = detail::with_bits(value, 0, 16, entries - 1);
  }
  /// Sets CQR.
  constexpr void set_contiguous_queues_required(bool on) noexcept {
    value = detail::with_bits(value, 16, 1, on);
  }
  /// Sets AMS to weighted round robin with urgent priority class, or to none.
  constexpr void set_supports_weighted_round_robin(bool on) noexcept {
    value = detail::with_bits(value, 17, 2, on);
  }
  /// Sets TO, rounded up to units of 500 ms.
  /// Precondition: `timeout_ms` is at most 127500.
  constexpr void set_ready_timeout_ms(std::uint32_t timeout_ms) noexcept {
    value = detail::with_bits(value, 24, 8, (std::uint64_t{timeout_ms} + 499) / 500);
  }
  /// Sets DSTRD.
  constexpr void set_doorbell_stride_exponent(unsigned exponent) noexcept {
    value = detail::with_bits(value, 32, 4, exponent);
  }
  /// Sets NSSRS.
  constexpr void set_supports_subsystem_reset(bool on) noexcept {
    value = detail::with_bits(value, 36, 1, on);
  }
  /// Sets bit 0 of CSS.
  constexpr void set_supports_nvm_command_set(bool on) noexcept {
    value = detail::with_bits(value, 37, 1, on);
  }
  /// Sets MPSMIN.
  /// Precondition: `bytes` is 4096 << 0 to 15.
  constexpr void set_min_page_bytes(std::uint32_t bytes) noexcept {
    value = detail::with_bits(value, 48, 4, page_exponent(bytes));
  }
  /// Sets MPSMAX.
  /// Precondition: `bytes` is 4096 << 0 to 15.
  constexpr void set_max_page_bytes(std::uint32_t bytes) noexcept {
    value = detail::with_bits(value, 52, 4, page_exponent(bytes));
  }

  friend constexpr bool operator==(Cap, Cap) = default;

  /// The exponent of a page size, as MPSMIN, MPSMAX and MPS hold it: 0 for 4096 bytes.
  [[nodiscard]] static constexpr unsigned page_exponent(std::uint32_t bytes) noexcept {
    unsigned exponent = 0;
    while ((std::uint64_t{4096} << exponent) < bytes) ++exponent;
    return exponent;
  }
};

/// Version: major, minor and tertiary number.
/// Source: NVMe Base 1.4, section 3.1.2.
struct Version {
  std::uint32_t value = 0;

  /// The value of a version: 1, 4, 0 for NVMe 1.4.
  [[nodiscard]] static constexpr Version of(unsigned major_number, unsigned minor_number,
                                            unsigned tertiary) noexcept {
    return {(std::uint32_t{major_number} << 16) | (std::uint32_t{minor_number} << 8) | tertiary};
  }
  /// MJR.
  [[nodiscard]] constexpr unsigned major_number() const noexcept { return value >> 16; }
  /// MNR.
  [[nodiscard]] constexpr unsigned minor_number() const noexcept {
    return detail::bits_of(value, 8, 8);
  }
  /// TER.
  [[nodiscard]] constexpr unsigned tertiary_number() const noexcept {
    return detail::bits_of(value, 0, 8);
  }

  friend constexpr bool operator==(Version, Version) = default;
};

/// CC.SHN: the shutdown that the host asks for.
/// Source: NVMe Base 1.4, section 3.1.5.
enum class ShutdownRequest : std::uint8_t {
  none = 0,
  normal = 1,
  abrupt = 2,
};

/// CSTS.SHST: how far a shutdown is.
/// Source: NVMe Base 1.4, section 3.1.6.
enum class ShutdownState : std::uint8_t {
  none = 0,
  in_progress = 1,
  complete = 2,
};

/// CC.AMS: how the controller arbitrates between submission queues.
/// Source: NVMe Base 1.4, section 3.1.5.
enum class ArbitrationMechanism : std::uint8_t {
  round_robin = 0,
  weighted_round_robin = 1,
  vendor_specific = 7,
};

/// Controller Configuration.
/// Source: NVMe Base 1.4, section 3.1.5.
struct Cc {
  std::uint32_t value = 0;

  /// EN.
  [[nodiscard]] constexpr bool is_enabled() const noexcept {
    return detail::bits_of(value, 0, 1) != 0;
  }
  /// CSS: 0 is the NVM command set.
  [[nodiscard]] constexpr unsigned command_set() const noexcept {
    return detail::bits_of(value, 4, 3);
  }
  /// MPS, in bytes: the memory page size.
  [[nodiscard]] constexpr std::uint32_t page_bytes() const noexcept {
    return std::uint32_t{4096} << detail::bits_of(value, 7, 4);
  }
  /// AMS.
  [[nodiscard]] constexpr ArbitrationMechanism arbitration() const noexcept {
    return static_cast<ArbitrationMechanism>(detail::bits_of(value, 11, 3));
  }
  /// SHN.
  [[nodiscard]] constexpr ShutdownRequest shutdown() const noexcept {
    return static_cast<ShutdownRequest>(detail::bits_of(value, 14, 2));
  }
  /// IOSQES: the size of a submission entry is 2 to this power.
  [[nodiscard]] constexpr unsigned submission_entry_exponent() const noexcept {
    return detail::bits_of(value, 16, 4);
  }
  /// IOCQES: the size of a completion entry is 2 to this power.
  [[nodiscard]] constexpr unsigned completion_entry_exponent() const noexcept {
    return detail::bits_of(value, 20, 4);
  }

  /// Sets EN.
  constexpr void set_enabled(bool on) noexcept { value = detail::with_bits(value, 0, 1, on); }
  /// Sets CSS.
  constexpr void set_command_set(unsigned set) noexcept {
    value = detail::with_bits(value, 4, 3, set);
  }
  /// Sets MPS.
  /// Precondition: `bytes` is 4096 << 0 to 15.
  constexpr void set_page_bytes(std::uint32_t bytes) noexcept {
    value = detail::with_bits(value, 7, 4, Cap::page_exponent(bytes));
  }
  /// Sets AMS.
  constexpr void set_arbitration(ArbitrationMechanism mechanism) noexcept {
    value = detail::with_bits(value, 11, 3, static_cast<std::uint64_t>(mechanism));
  }
  /// Sets SHN.
  constexpr void set_shutdown(ShutdownRequest request) noexcept {
    value = detail::with_bits(value, 14, 2, static_cast<std::uint64_t>(request));
  }
  /// Sets IOSQES.
  constexpr void set_submission_entry_exponent(unsigned exponent) noexcept {
    value = detail::with_bits(value, 16, 4, exponent);
  }
  /// Sets IOCQES.
  constexpr void set_completion_entry_exponent(unsigned exponent) noexcept {
    value = detail::with_bits(value, 20, 4, exponent);
  }

  friend constexpr bool operator==(Cc, Cc) = default;
};

/// Controller Status.
/// Source: NVMe Base 1.4, section 3.1.6.
struct Csts {
  std::uint32_t value = 0;

  /// Whether every bit is set, as a read of a device that is gone returns.
  [[nodiscard]] constexpr bool is_gone() const noexcept { return value == UINT32_MAX; }
  /// RDY.
  [[nodiscard]] constexpr bool is_ready() const noexcept {
    return detail::bits_of(value, 0, 1) != 0;
  }
  /// CFS: a fatal error. Only a reset helps.
  [[nodiscard]] constexpr bool is_fatal() const noexcept {
    return detail::bits_of(value, 1, 1) != 0;
  }
  /// SHST.
  [[nodiscard]] constexpr ShutdownState shutdown() const noexcept {
    return static_cast<ShutdownState>(detail::bits_of(value, 2, 2));
  }
  /// NSSRO: an NVM subsystem reset occurred. Writing 1 clears the bit.
  [[nodiscard]] constexpr bool subsystem_reset_occurred() const noexcept {
    return detail::bits_of(value, 4, 1) != 0;
  }
  /// PP: command processing is paused.
  [[nodiscard]] constexpr bool is_paused() const noexcept {
    return detail::bits_of(value, 5, 1) != 0;
  }

  /// Sets RDY.
  constexpr void set_ready(bool on) noexcept { value = detail::with_bits(value, 0, 1, on); }
  /// Sets CFS.
  constexpr void set_fatal(bool on) noexcept { value = detail::with_bits(value, 1, 1, on); }
  /// Sets SHST.
  constexpr void set_shutdown(ShutdownState state) noexcept {
    value = detail::with_bits(value, 2, 2, static_cast<std::uint64_t>(state));
  }
  /// Sets NSSRO.
  constexpr void set_subsystem_reset_occurred(bool on) noexcept {
    value = detail::with_bits(value, 4, 1, on);
  }
  /// Sets PP.
  constexpr void set_paused(bool on) noexcept { value = detail::with_bits(value, 5, 1, on); }

  friend constexpr bool operator==(Csts, Csts) = default;
};

/// Admin Queue Attributes. The sizes are in entries.
/// Source: NVMe Base 1.4, section 3.1.8.
struct Aqa {
  std::uint32_t value = 0;

  /// The value for queues of these sizes.
  /// Precondition: both are 2 to 4096.
  [[nodiscard]] static constexpr Aqa of(std::uint32_t submission_entries,
                                        std::uint32_t completion_entries) noexcept {
    return {((submission_entries - 1) & 0xFFF) | (((completion_entries - 1) & 0xFFF) << 16)};
  }
  /// ASQS, plus one.
  [[nodiscard]] constexpr std::uint32_t submission_entries() const noexcept {
    return detail::bits_of(value, 0, 12) + 1;
  }
  /// ACQS, plus one.
  [[nodiscard]] constexpr std::uint32_t completion_entries() const noexcept {
    return detail::bits_of(value, 16, 12) + 1;
  }

  friend constexpr bool operator==(Aqa, Aqa) = default;
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ShutdownRequest request) noexcept {
  switch (request) {
    case ShutdownRequest::none: return "none";
    case ShutdownRequest::normal: return "normal";
    case ShutdownRequest::abrupt: return "abrupt";
  }
  return "unknown shutdown request";
}
/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ShutdownState state) noexcept {
  switch (state) {
    case ShutdownState::none: return "none";
    case ShutdownState::in_progress: return "in_progress";
    case ShutdownState::complete: return "complete";
  }
  return "unknown shutdown state";
}
/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ArbitrationMechanism mechanism) noexcept {
  switch (mechanism) {
    case ArbitrationMechanism::round_robin: return "round_robin";
    case ArbitrationMechanism::weighted_round_robin: return "weighted_round_robin";
    case ArbitrationMechanism::vendor_specific: return "vendor_specific";
  }
  return "unknown arbitration mechanism";
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
