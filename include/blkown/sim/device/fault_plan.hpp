// SPDX-License-Identifier: BSL-1.0
//
// FaultPlan: which faults occur in a run, and when; from a seed or from a script.

#ifndef BLKOWN_SIM_DEVICE_FAULT_PLAN_HPP
#define BLKOWN_SIM_DEVICE_FAULT_PLAN_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A fault of the device, or of the path between driver and device. is_of_nvme() and
/// is_of_messages() say which device has it. A new kind is added at the end: the number of a kind
/// is part of the draw that decides when the kind strikes.
enum class FaultKind : std::uint8_t {
  duplicate,           ///< The completion is sent twice.
  stale,               ///< The completion of an earlier I/O is sent again.
  forged,              ///< A completion with an invented cookie is sent.
  early,               ///< A completion for the tag's next publication is sent.
  late,                ///< The command takes longer than the driver's timeout.
  lost,                ///< The completion is never sent.
  reordered,           ///< The completion is sent after those of commands executed later.
  wrong_queue,         ///< The completion is sent on another queue, too.
  before_publish,      ///< A completion is sent while the driver maps memory, before it publishes.
  dma_after_unmap,     ///< The device accesses the command's memory after its completion.
  short_transfer,      ///< Only some of the bytes are moved. The completion has their number.
  media_error,         ///< The medium fails.
  doorbell_refused,    ///< The device does not take the command.
  refused_and_forged,  ///< The device does not take the command, yet sends a completion for it.
  reset,               ///< The controller fails with all its commands, until it is reset.
  map_failure,         ///< The IOMMU has no address space left.
  no_phase_change,     ///< The completion is written with the previous round's phase.
  unmap_failure,       ///< The IOMMU does not unmap the memory of an I/O.
  interrupt_lost,      ///< The completion is sent without its interrupt.
  interrupt_spurious,  ///< An interrupt comes without a completion.
  interrupt_late,      ///< The interrupt comes later, one for all completions until then.
  wrong_sq_head,       ///< The completion reports a head that its submission queue cannot have.
  wrong_sq_id,         ///< The completion names another submission queue, or none.
  do_not_retry,        ///< The command fails, and says that it would fail again.
  bad_range,           ///< The range of a read is unreadable until a write covers it.
  never_ready,         ///< The controller does not become ready after it was enabled.
  slow_stop,           ///< The controller completes commands while it is being disabled.
  abort_refused,       ///< The controller does not carry out an abort.
  event_flood,         ///< The controller has many events to report.
  fails_on_its_own,    ///< The controller fails after a completion, without a new command.
  half_reply,          ///< The reply ends in its middle, and the connection is lost.
  /// As unmap_failure, while the controller is stopped. Strikes only if a rate or a script says so.
  unmap_failure_stopped,
};

/// The name of the kind, as scripts have it.
[[nodiscard]] constexpr const char* to_string(FaultKind kind) noexcept {
  switch (kind) {
    case FaultKind::duplicate: return "duplicate";
    case FaultKind::stale: return "stale";
    case FaultKind::forged: return "forged";
    case FaultKind::early: return "early";
    case FaultKind::late: return "late";
    case FaultKind::lost: return "lost";
    case FaultKind::reordered: return "reordered";
    case FaultKind::wrong_queue: return "wrong_queue";
    case FaultKind::before_publish: return "before_publish";
    case FaultKind::dma_after_unmap: return "dma_after_unmap";
    case FaultKind::short_transfer: return "short_transfer";
    case FaultKind::media_error: return "media_error";
    case FaultKind::doorbell_refused: return "doorbell_refused";
    case FaultKind::refused_and_forged: return "refused_and_forged";
    case FaultKind::reset: return "reset";
    case FaultKind::map_failure: return "map_failure";
    case FaultKind::no_phase_change: return "no_phase_change";
    case FaultKind::unmap_failure: return "unmap_failure";
    case FaultKind::interrupt_lost: return "interrupt_lost";
    case FaultKind::interrupt_spurious: return "interrupt_spurious";
    case FaultKind::interrupt_late: return "interrupt_late";
    case FaultKind::wrong_sq_head: return "wrong_sq_head";
    case FaultKind::wrong_sq_id: return "wrong_sq_id";
    case FaultKind::do_not_retry: return "do_not_retry";
    case FaultKind::bad_range: return "bad_range";
    case FaultKind::never_ready: return "never_ready";
    case FaultKind::slow_stop: return "slow_stop";
    case FaultKind::abort_refused: return "abort_refused";
    case FaultKind::event_flood: return "event_flood";
    case FaultKind::fails_on_its_own: return "fails_on_its_own";
    case FaultKind::half_reply: return "half_reply";
    case FaultKind::unmap_failure_stopped: return "unmap_failure_stopped";
  }
  return "unknown kind";
}

/// Whether an NvmeController has the fault. The others are of messages and their replies.
[[nodiscard]] constexpr bool is_of_nvme(FaultKind kind) noexcept {
  switch (kind) {
    case FaultKind::short_transfer:
    case FaultKind::doorbell_refused:
    case FaultKind::refused_and_forged:
    case FaultKind::half_reply: return false;
    default: return true;
  }
}
/// Whether a MessageDevice has the fault: one without DMA, rings, and a controller to start.
[[nodiscard]] constexpr bool is_of_messages(FaultKind kind) noexcept {
  switch (kind) {
    case FaultKind::duplicate:
    case FaultKind::stale:
    case FaultKind::forged:
    case FaultKind::early:
    case FaultKind::late:
    case FaultKind::lost:
    case FaultKind::reordered:
    case FaultKind::wrong_queue:
    case FaultKind::short_transfer:
    case FaultKind::media_error:
    case FaultKind::doorbell_refused:
    case FaultKind::refused_and_forged:
    case FaultKind::reset:
    case FaultKind::interrupt_spurious:
    case FaultKind::bad_range:
    case FaultKind::half_reply: return true;
    default: return false;
  }
}

/// The number of enumerators, for tables indexed by FaultKind.
inline constexpr std::size_t fault_kind_count =
    static_cast<std::size_t>(FaultKind::unmap_failure_stopped) + 1;
static_assert(blkown::detail::counts_enumerators<FaultKind>(fault_kind_count));

/// The rate of each kind, in strikes per 65,536 opportunities.
struct FaultRates {
  std::array<std::uint32_t, fault_kind_count> of{};

  /// The rate of one kind.
  [[nodiscard]] std::uint32_t& operator[](FaultKind kind) noexcept {
    return of[static_cast<std::size_t>(kind)];
  }
  /// Rates at which every kind strikes a few times in a thousand I/Os, but
  /// unmap_failure_stopped, which does not strike. The kinds that cost a timeout or a reset are
  /// rarer, and those that wait for a reset or an abort more frequent.
  [[nodiscard]] static FaultRates all() noexcept {
    FaultRates rates;
    rates.of.fill(65536 / 100);
    rates[FaultKind::late] = rates[FaultKind::lost] = 65536 / 400;
    rates[FaultKind::reset] = rates[FaultKind::no_phase_change] = 65536 / 800;
    rates[FaultKind::unmap_failure] = 65536 / 800;
    rates[FaultKind::interrupt_lost] = 65536 / 400;
    rates[FaultKind::wrong_sq_id] = rates[FaultKind::fails_on_its_own] = 65536 / 800;
    rates[FaultKind::event_flood] = rates[FaultKind::half_reply] = 65536 / 400;
    rates[FaultKind::never_ready] = 65536 / 16;
    rates[FaultKind::slow_stop] = 65536 / 2;
    rates[FaultKind::abort_refused] = 65536 / 4;
    rates[FaultKind::unmap_failure_stopped] = 0;
    return rates;
  }
  /// Rates at which no fault strikes.
  [[nodiscard]] static FaultRates none() noexcept { return {}; }
  friend constexpr bool operator==(const FaultRates&, const FaultRates&) = default;
};

/// One fault: a kind and the index of its opportunity. Each kind counts its opportunities from 0.
struct FaultStrike {
  FaultKind kind{};
  std::uint64_t opportunity = 0;
  friend constexpr bool operator==(const FaultStrike&, const FaultStrike&) = default;
};

/// The command, or the mapping of an I/O, at which the next opportunities for faults arise.
struct FaultTarget {
  std::optional<std::uint32_t> queue;  ///< As the device counts its queues. None: not known.
  std::uint64_t cookie = 0;
};

/// The receiver of a plan's strikes, for a report of what struck where.
struct StrikeSink {
  /// Called for each strike, or null. The target is empty if the device has named none.
  void (*function)(void* argument, const FaultStrike& strike,
                   const std::optional<FaultTarget>& target) = nullptr;
  void* argument = nullptr;
};

/// Decides at each opportunity whether a fault strikes. The decision depends only on the seed (or
/// the script), the kind and the index of the opportunity. Therefore a run with a shorter script is
/// the same run with fewer faults, and a new kind does not change the draws of the existing ones.
///
/// Context: one at a time.
class FaultPlan {
 public:
  /// Never strikes.
  FaultPlan() = default;
  /// Strikes at the rates, at opportunities that the seed chooses.
  FaultPlan(std::uint64_t seed, const FaultRates& rates)
      : first_number_{first_number(seed)}, rates_{rates} {}
  /// Strikes at exactly the opportunities of the script. The seed still decides the choices
  /// (choice()).
  FaultPlan(std::uint64_t seed, std::vector<FaultStrike> script)
      : first_number_{first_number(seed)}, script_{std::move(script)}, is_scripted_{true} {}

  /// Takes the next opportunity of the kind. True if the fault strikes.
  /// Effects: a strike is appended to struck().
  [[nodiscard]] bool strikes(FaultKind kind) {
    const FaultStrike here{kind, opportunities_[static_cast<std::size_t>(kind)]++};
    if (is_scripted_) [[unlikely]]
      return std::ranges::find(script_, here) != script_.end() && strike(here);
    return (number(here) >> 48) < rates_[kind] && strike(here);
  }
  /// Names what the next opportunities are about, for the sink. None: nothing in particular.
  void set_target(const std::optional<FaultTarget>& target) noexcept { target_ = target; }
  /// Sets the receiver of the strikes.
  void set_sink(const StrikeSink& sink) noexcept { sink_ = sink; }
  /// A random number for the details of the latest strike, such as the bits of a forged cookie.
  [[nodiscard]] std::uint64_t choice() const {
    return struck_.empty() ? 0 : Random{number(struck_.back()) ^ 0xC401CE}.next();
  }
  /// All strikes so far, in order: the script that repeats this run.
  [[nodiscard]] const std::vector<FaultStrike>& struck() const noexcept { return struck_; }

 private:
  /// Notes a strike. Returns true.
  [[gnu::cold, gnu::noinline]] bool strike(const FaultStrike& here) {
    struck_.push_back(here);
    if (sink_.function != nullptr) sink_.function(sink_.argument, here, target_);
    return true;
  }
  /// The draw of one opportunity.
  [[nodiscard]] std::uint64_t number(const FaultStrike& strike) const noexcept {
    return Random{first_number_ + strike.opportunity * kind_stride +
                  static_cast<std::uint64_t>(strike.kind)}
        .next();
  }
  [[nodiscard]] static std::uint64_t first_number(std::uint64_t seed) noexcept {
    return seed * 0x9E3779B97F4A7C15;
  }

  /// The distance between the draws of two opportunities of one kind. Every value of FaultKind
  /// fits, so that the distance does not depend on the number of kinds.
  static constexpr std::uint64_t kind_stride = 256;

  std::uint64_t first_number_ = 0;  // of the seed
  FaultRates rates_;
  std::vector<FaultStrike> script_;
  bool is_scripted_ = false;
  std::array<std::uint64_t, fault_kind_count> opportunities_{};
  std::vector<FaultStrike> struck_;
  std::optional<FaultTarget> target_;
  StrikeSink sink_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
