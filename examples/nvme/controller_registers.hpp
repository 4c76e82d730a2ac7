// SPDX-License-Identifier: BSL-1.0
//
// ControllerRegisters: enables, disables and shuts a controller down by its registers.
//
// Parties: the driver, which changes CC, and the controller, which answers in CSTS within CAP.TO.
//
//   disable   CC.EN becomes 0, and the controller answers with CSTS.RDY 0. From then on it neither
//             reads nor writes memory, and it has forgotten its queues.
//   enable    the driver names the admin queue, CC.EN becomes 1, and the controller answers with
//             CSTS.RDY 1.
//   shut_down CC.SHN asks the controller to make its cache durable, and CSTS.SHST answers.
//
// CC.EN may only change after CSTS.RDY has followed the last change. A controller that was removed
// reads as all ones, in every register.

#ifndef EXAMPLES_NVME_CONTROLLER_REGISTERS_HPP
#define EXAMPLES_NVME_CONTROLLER_REGISTERS_HPP

#include <blkown/nvme/registers.hpp>
#include <cstdint>
#include <expected>

#include "controller_info.hpp"
#include "platform.hpp"
#include "queue_pair.hpp"

namespace nvme_driver {

namespace reg = blkown::nvme::reg;

/// The memory page size that this driver uses, CC.MPS.
inline constexpr std::uint32_t page_bytes = 4096;

/// The registers of a controller, but the doorbells.
/// Context: the functions that change a register wait, and are called on one context at a time.
template <Registers R, Platform P>
class ControllerRegisters {
 public:
  using Result = std::expected<void, ControllerError>;

  ControllerRegisters(R& registers, P& platform) noexcept
      : registers_{registers}, platform_{platform}, cap_{registers.read64(reg::cap)} {}

  [[nodiscard]] const blkown::nvme::Cap& cap() const noexcept { return cap_; }
  [[nodiscard]] blkown::nvme::Csts status() const noexcept {
    return {registers_.read32(reg::csts)};
  }
  /// Whether the controller has failed or is gone.
  [[nodiscard]] bool is_fatal() const noexcept {
    const blkown::nvme::Csts csts = status();
    return csts.is_gone() || csts.is_fatal();
  }

  /// Whether this driver can use the controller.
  /// Errors: gone, unsupported.
  [[nodiscard]] Result check() const noexcept {
    if (status().is_gone()) return failed(ControllerStep::gone);
    const bool is_usable = cap_.supports_nvm_command_set() && cap_.min_page_bytes() <= page_bytes;
    return is_usable ? Result{} : failed(ControllerStep::unsupported);
  }

  /// Disables the controller.
  /// Errors: gone; disable, if CSTS.RDY did not become 0 in time.
  [[nodiscard]] Result disable() noexcept {
    if (status().is_gone()) return failed(ControllerStep::gone);
    blkown::nvme::Cc cc{registers_.read32(reg::cc)};
    if (cc.is_enabled()) {
      wait([&] { return status().is_ready() || is_fatal(); });
      cc.set_enabled(false);
      cc.set_shutdown(blkown::nvme::ShutdownRequest::none);
      registers_.write32(reg::cc, cc.value);
    }
    wait([&] { return !status().is_ready() || status().is_gone(); });
    if (status().is_gone()) return failed(ControllerStep::gone);
    return status().is_ready() ? failed(ControllerStep::disable) : Result{};
  }

  /// Enables the controller with this admin queue.
  /// Precondition: the controller is disabled, and the queue's rings are empty.
  /// Errors: gone; enable, if CSTS.RDY did not become 1 in time, or CSTS.CFS is set.
  [[nodiscard]] Result enable(const QueuePairConfig& admin) noexcept {
    registers_.write32(
        reg::aqa, blkown::nvme::Aqa::of(admin.submission_entries, admin.completion_entries).value);
    registers_.write64(reg::asq, admin.submissions.iova);
    registers_.write64(reg::acq, admin.completions.iova);
    blkown::nvme::Cc cc;
    cc.set_page_bytes(page_bytes);
    cc.set_submission_entry_exponent(6);  // 64 bytes
    cc.set_completion_entry_exponent(4);  // 16 bytes
    cc.set_enabled(true);
    registers_.write32(reg::cc, cc.value);
    wait([&] { return status().is_ready() || is_fatal(); });
    if (status().is_gone()) return failed(ControllerStep::gone);
    if (!status().is_ready() || status().is_fatal()) return failed(ControllerStep::enable);
    return {};
  }

  /// Asks for a normal shutdown, and waits for its end. The controller then still has to be
  /// disabled.
  /// Errors: gone; shut_down, if CSTS.SHST did not say that it is complete.
  [[nodiscard]] Result shut_down(std::uint32_t timeout_ms) noexcept {
    if (status().is_gone()) return failed(ControllerStep::gone);
    blkown::nvme::Cc cc{registers_.read32(reg::cc)};
    if (!cc.is_enabled()) return failed(ControllerStep::shut_down);  // it would never answer
    cc.set_shutdown(blkown::nvme::ShutdownRequest::normal);
    registers_.write32(reg::cc, cc.value);
    // A controller that has failed does not complete its shutdown.
    wait_until(platform_, timeout_ms, [&] { return is_fatal() || is_shut_down(); });
    return is_shut_down() && !is_fatal() ? Result{} : failed(ControllerStep::shut_down);
  }

  /// The identifiers of the queue pairs whose doorbells lie in the first `register_bytes` bytes,
  /// the admin queue included; the largest number if `register_bytes` is 0, for unknown.
  [[nodiscard]] std::uint32_t queue_pairs_within(std::uint64_t register_bytes) const noexcept {
    if (register_bytes == 0) return UINT32_MAX;
    if (register_bytes <= reg::doorbells) return 0;
    const std::uint64_t pair_bytes = std::uint64_t{8} << cap_.doorbell_stride_exponent();
    return static_cast<std::uint32_t>((register_bytes - reg::doorbells) / pair_bytes);
  }

  /// Fills in the doorbells of a queue pair.
  void set_doorbells(QueuePairConfig& queue) const noexcept {
    const unsigned stride = cap_.doorbell_stride_exponent();
    queue.submission_doorbell = blkown::nvme::doorbell_offset(queue.id, false, stride);
    queue.completion_doorbell = blkown::nvme::doorbell_offset(queue.id, true, stride);
  }

 private:
  [[nodiscard]] static Result failed(ControllerStep step) noexcept {
    return std::unexpected(ControllerError{step, {}});
  }
  [[nodiscard]] bool is_shut_down() const noexcept {
    return status().shutdown() == blkown::nvme::ShutdownState::complete;
  }
  /// Waits half a second longer than CAP.TO, which may be 0.
  /// Source: the kernel's nvme_wait_ready.
  template <class IsDone>
  void wait(IsDone is_done) noexcept {
    wait_until(platform_, std::uint64_t{cap_.ready_timeout_ms()} + 500, is_done);
  }

  R& registers_;
  P& platform_;
  blkown::nvme::Cap cap_;
};

}  // namespace nvme_driver

#endif
