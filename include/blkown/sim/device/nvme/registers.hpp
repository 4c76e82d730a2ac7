// SPDX-License-Identifier: BSL-1.0
//
// NvmeRegisters: the registers of a simulated NVMe controller, and the states that they show.
//
//   disabled --CC.EN=1--> enabling --ready_ns--> ready --CC.EN=0--> disabling --ready_ns-->
//   disabled
//
// CSTS.RDY is 1 in ready and in disabling. An enabling with values that the controller does not
// support ends in CSTS.CFS, as every fatal error does, and CC.EN=0 clears CFS. CC.SHN starts a
// shutdown, which CSTS.SHST follows, of a disabled controller too. While the controller is
// disabling, it still executes commands: the driver's memory is safe only when CSTS.RDY is 0.

#ifndef BLKOWN_SIM_DEVICE_NVME_REGISTERS_HPP
#define BLKOWN_SIM_DEVICE_NVME_REGISTERS_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/nvme/registers.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// What the controller has to do after a register was written, or when a time has come.
enum class NvmeTransition : std::uint8_t {
  none,
  enable,         ///< CC.EN was set: create the admin queues.
  disable,        ///< CC.EN was cleared, or its time has come: give up all commands and queues.
  shutdown,       ///< The shutdown is complete after this: fetch no more, and save the cache.
  stop_fetching,  ///< CC.EN was cleared, or a shutdown has begun: fetch no more.
};

/// The registers but the doorbells.
/// Context: one at a time.
class NvmeRegisters {
 public:
  /// The largest memory page, 64 KiB.
  static constexpr std::uint32_t max_page_bytes = 65536;

  explicit NvmeRegisters(const NvmeConfig& config)
      : ready_ns_{config.ready_ns}, shutdown_ns_{config.shutdown_ns} {
    cap_.set_max_queue_entries(config.max_queue_entries);
    cap_.set_contiguous_queues_required(true);
    cap_.set_ready_timeout_ms(config.ready_timeout_ms);
    cap_.set_doorbell_stride_exponent(config.doorbell_stride_exponent);
    cap_.set_supports_nvm_command_set(true);
    cap_.set_min_page_bytes(4096);
    cap_.set_max_page_bytes(max_page_bytes);
  }

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) const noexcept {
    if (is_gone_) return ~std::uint32_t{0};
    switch (offset) {
      case nvme::reg::cap: return low(cap_.value);
      case nvme::reg::cap + 4: return high(cap_.value);
      case nvme::reg::vs: return nvme::Version::of(1, 4, 0).value;
      case nvme::reg::cc: return cc_.value;
      case nvme::reg::csts: return csts_.value;
      case nvme::reg::aqa: return aqa_.value;
      case nvme::reg::asq: return low(asq_);
      case nvme::reg::asq + 4: return high(asq_);
      case nvme::reg::acq: return low(acq_);
      case nvme::reg::acq + 4: return high(acq_);
      default: return 0;
    }
  }
  [[nodiscard]] NvmeTransition write32(std::uint64_t offset, std::uint32_t value,
                                       std::uint64_t now_ns) noexcept {
    if (is_gone_) return NvmeTransition::none;
    if (offset == nvme::reg::cc) return write_cc({value}, now_ns);
    if (cc_.is_enabled()) return NvmeTransition::none;  // the others may change only before
    switch (offset) {
      case nvme::reg::aqa: aqa_.value = value & 0x0FFF'0FFF; break;
      case nvme::reg::asq: asq_ = with_low(asq_, value & ~std::uint32_t{0xFFF}); break;
      case nvme::reg::asq + 4: asq_ = with_high(asq_, value); break;
      case nvme::reg::acq: acq_ = with_low(acq_, value & ~std::uint32_t{0xFFF}); break;
      case nvme::reg::acq + 4: acq_ = with_high(acq_, value); break;
      default: break;
    }
    return NvmeTransition::none;
  }

  /// The time of the next change of state, if one is planned.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() const noexcept {
    if (!shutdown_due_ns_.has_value()) return state_due_ns_;
    if (!state_due_ns_.has_value()) return shutdown_due_ns_;
    return std::min(*state_due_ns_, *shutdown_due_ns_);
  }
  /// Performs a change of state that is due.
  [[nodiscard]] NvmeTransition step(std::uint64_t now_ns) noexcept {
    if (state_due_ns_.has_value() && *state_due_ns_ <= now_ns) return change_state();
    if (!shutdown_due_ns_.has_value() || *shutdown_due_ns_ > now_ns) return NvmeTransition::none;
    shutdown_due_ns_.reset();
    csts_.set_shutdown(nvme::ShutdownState::complete);
    return NvmeTransition::shutdown;
  }

  /// Sets CSTS.CFS. Returns false if the controller is not enabled, or has failed before.
  bool set_fatal() noexcept {
    if (!cc_.is_enabled() || csts_.is_fatal()) return false;
    csts_.set_fatal(true);
    return true;
  }
  /// The next enabling does not end.
  void stall_enabling() noexcept { stalls_ = true; }
  /// The next disabling takes this much longer.
  void delay_disabling(std::uint64_t delay_ns) noexcept { stop_delay_ns_ = delay_ns; }
  /// Every register reads as ones, as those of a device that was unplugged.
  void unplug() noexcept {
    is_gone_ = true;
    state_due_ns_.reset();
    shutdown_due_ns_.reset();
  }

  [[nodiscard]] bool is_gone() const noexcept { return is_gone_; }
  [[nodiscard]] bool is_fatal() const noexcept { return csts_.is_fatal(); }
  /// Whether the controller accesses no memory: disabled, or gone. A fatal error is no stop.
  [[nodiscard]] bool is_stopped() const noexcept {
    return is_gone_ || (!cc_.is_enabled() && !csts_.is_ready());
  }
  /// Whether the controller may fetch commands: ready, and not shut down.
  [[nodiscard]] bool is_running() const noexcept {
    return !is_gone_ && cc_.is_enabled() && csts_.is_ready() && !csts_.is_fatal() &&
           csts_.shutdown() == nvme::ShutdownState::none;
  }
  [[nodiscard]] bool is_abrupt() const noexcept {
    return cc_.shutdown() == nvme::ShutdownRequest::abrupt;
  }
  [[nodiscard]] nvme::Cc cc() const noexcept { return cc_; }
  [[nodiscard]] nvme::Aqa aqa() const noexcept { return aqa_; }
  [[nodiscard]] std::uint64_t asq() const noexcept { return asq_; }
  [[nodiscard]] std::uint64_t acq() const noexcept { return acq_; }
  /// The memory page size when the controller was enabled.
  [[nodiscard]] std::uint32_t page_bytes() const noexcept { return page_bytes_; }

 private:
  [[nodiscard]] static constexpr std::uint32_t low(std::uint64_t value) noexcept {
    return static_cast<std::uint32_t>(value);
  }
  [[nodiscard]] static constexpr std::uint32_t high(std::uint64_t value) noexcept {
    return static_cast<std::uint32_t>(value >> 32);
  }
  [[nodiscard]] static constexpr std::uint64_t with_low(std::uint64_t value,
                                                        std::uint32_t part) noexcept {
    return (value & ~std::uint64_t{0xFFFF'FFFF}) | part;
  }
  [[nodiscard]] static constexpr std::uint64_t with_high(std::uint64_t value,
                                                         std::uint32_t part) noexcept {
    return (value & 0xFFFF'FFFF) | (std::uint64_t{part} << 32);
  }

  [[nodiscard]] NvmeTransition write_cc(nvme::Cc cc, std::uint64_t now_ns) noexcept {
    const bool was_enabled = cc_.is_enabled();
    const bool is_changing = state_due_ns_.has_value() && !was_enabled;
    if (is_changing) cc.set_enabled(false);  // CC.EN may not be set before CSTS.RDY is 0
    const nvme::ShutdownRequest earlier = cc_.shutdown();
    cc_ = cc;
    if (!was_enabled && cc.is_enabled()) return begin_enable(now_ns);
    if (was_enabled && !cc.is_enabled()) return begin_disable(now_ns);
    if (cc.shutdown() == nvme::ShutdownRequest::none || cc.shutdown() == earlier) {
      return NvmeTransition::none;
    }
    shutdown_outlives_disable_ = is_changing;
    csts_.set_shutdown(nvme::ShutdownState::in_progress);
    shutdown_due_ns_ = blkown::detail::saturating_add(now_ns, shutdown_ns_);
    return shutdown_ns_ == 0 ? step(now_ns) : NvmeTransition::stop_fetching;
  }
  [[nodiscard]] NvmeTransition begin_enable(std::uint64_t now_ns) noexcept {
    if (!is_supported()) {
      csts_.set_fatal(true);
      return NvmeTransition::none;
    }
    page_bytes_ = cc_.page_bytes();
    csts_.set_shutdown(nvme::ShutdownState::none);
    shutdown_due_ns_.reset();
    shutdown_outlives_disable_ = false;
    if (std::exchange(stalls_, false)) return NvmeTransition::none;
    state_due_ns_ = blkown::detail::saturating_add(now_ns, ready_ns_);
    return ready_ns_ == 0 ? step(now_ns) : NvmeTransition::none;
  }
  [[nodiscard]] NvmeTransition begin_disable(std::uint64_t now_ns) noexcept {
    const std::uint64_t delay_ns =
        blkown::detail::saturating_add(ready_ns_, std::exchange(stop_delay_ns_, 0));
    state_due_ns_ = blkown::detail::saturating_add(now_ns, delay_ns);
    return delay_ns == 0 ? step(now_ns) : NvmeTransition::stop_fetching;
  }
  [[nodiscard]] NvmeTransition change_state() noexcept {
    state_due_ns_.reset();
    if (cc_.is_enabled()) {
      csts_.set_ready(true);
      return NvmeTransition::enable;
    }
    // A shutdown that was requested during the disabling goes on.
    const nvme::ShutdownState shutdown = csts_.shutdown();
    csts_ = {};
    if (std::exchange(shutdown_outlives_disable_, false)) {
      csts_.set_shutdown(shutdown);
    } else {
      shutdown_due_ns_.reset();
    }
    return NvmeTransition::disable;
  }
  /// Whether the controller can be enabled with the present values.
  [[nodiscard]] bool is_supported() const noexcept {
    return cc_.command_set() == 0 && cc_.page_bytes() <= max_page_bytes &&
           cc_.arbitration() == nvme::ArbitrationMechanism::round_robin &&
           aqa_.submission_entries() >= 2 && aqa_.completion_entries() >= 2 &&
           asq_ % cc_.page_bytes() == 0 && acq_ % cc_.page_bytes() == 0;
  }

  std::uint64_t ready_ns_;
  std::uint64_t shutdown_ns_;
  nvme::Cap cap_;
  nvme::Cc cc_;
  nvme::Csts csts_;
  bool shutdown_outlives_disable_ = false;  // it was requested during the disabling
  nvme::Aqa aqa_;
  std::uint64_t asq_ = 0;
  std::uint64_t acq_ = 0;
  std::uint32_t page_bytes_ = 4096;
  bool is_gone_ = false;
  bool stalls_ = false;
  std::uint64_t stop_delay_ns_ = 0;
  std::optional<std::uint64_t> state_due_ns_;
  std::optional<std::uint64_t> shutdown_due_ns_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
