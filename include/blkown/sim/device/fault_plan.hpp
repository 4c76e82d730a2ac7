// SPDX-License-Identifier: BSL-1.0
//
// FaultPlan: what goes wrong, and when; from a seed, or from a script.

#ifndef BLKOWN_SIM_DEVICE_FAULT_PLAN_HPP
#define BLKOWN_SIM_DEVICE_FAULT_PLAN_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/device/random.hpp>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// What a device, or the way to it, does wrong.
enum class FaultKind : std::uint8_t {
  duplicate,           ///< A completion comes twice.
  stale,               ///< The completion of an I/O that is long over comes again.
  forged,              ///< A completion with bits of the device's own invention.
  early,               ///< A completion for the next use of a tag, which is not published yet.
  late,                ///< It comes after the driver's timeout.
  lost,                ///< It never comes.
  reordered,           ///< It comes behind others that were executed later.
  wrong_queue,         ///< It comes on another queue.
  before_publish,      ///< It comes while the driver maps the memory, before it has published.
  dma_after_unmap,     ///< The device goes on after its completion.
  short_transfer,      ///< Not all of the bytes move; the completion says how many.
  media_error,         ///< The medium fails.
  doorbell_refused,    ///< The device does not take the command.
  refused_and_forged,  ///< The same, with a completion for it all the same.
  reset,               ///< The controller fails, with all it had, until it is reset.
  map_failure,         ///< The IOMMU has no address space left.
  no_phase_change,     ///< A completion is written with the phase of the last round.
};
inline constexpr std::size_t fault_kind_count = 17;

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
  }
  return "unknown kind";
}

/// How often each kind strikes, in opportunities out of 65,536.
struct FaultRates {
  std::array<std::uint32_t, fault_kind_count> of{};

  [[nodiscard]] std::uint32_t& operator[](FaultKind kind) noexcept {
    return of[static_cast<std::size_t>(kind)];
  }
  /// Each kind often enough to be met a few times in a thousand I/Os; a reset or a lost completion,
  /// which cost a timeout, less often.
  [[nodiscard]] static FaultRates all() noexcept {
    FaultRates rates;
    rates.of.fill(65536 / 100);
    rates[FaultKind::late] = rates[FaultKind::lost] = 65536 / 400;
    rates[FaultKind::reset] = rates[FaultKind::no_phase_change] = 65536 / 800;
    return rates;
  }
  [[nodiscard]] static FaultRates none() noexcept { return {}; }
};

/// One fault: the kind, at its n-th opportunity, counted from 0 for each kind.
struct FaultStrike {
  FaultKind kind{};
  std::uint64_t opportunity = 0;
  friend constexpr bool operator==(const FaultStrike&, const FaultStrike&) = default;
};

/// Decides at each opportunity whether a fault strikes. What it decides depends on the seed, or on
/// the script, and on the number of the opportunity alone, so that a run with a shorter script is
/// the same run with fewer faults. One context at a time.
class FaultPlan {
 public:
  FaultPlan() = default;
  FaultPlan(std::uint64_t seed, const FaultRates& rates) : seed_{seed}, rates_{rates} {}
  /// Exactly these. The seed still decides what a forged completion is like.
  FaultPlan(std::uint64_t seed, std::vector<FaultStrike> script)
      : seed_{seed}, script_{std::move(script)}, is_scripted_{true} {}

  /// An opportunity for a fault of the kind. True if it strikes; it is then in struck().
  [[nodiscard]] bool strikes(FaultKind kind) {
    const FaultStrike here{kind, opportunities_[static_cast<std::size_t>(kind)]++};
    const bool does = is_scripted_ ? std::ranges::find(script_, here) != script_.end()
                                   : (number(here) >> 48) < rates_[kind];
    if (does) struck_.push_back(here);
    return does;
  }
  /// A number that belongs to the latest strike, for the choices that it leaves open.
  [[nodiscard]] std::uint64_t choice() const {
    return struck_.empty() ? 0 : Random{number(struck_.back()) ^ 0xC401CE}.next();
  }
  /// All faults so far: the script that repeats this run.
  [[nodiscard]] const std::vector<FaultStrike>& struck() const noexcept { return struck_; }

 private:
  [[nodiscard]] std::uint64_t number(const FaultStrike& strike) const noexcept {
    return Random{seed_ * 0x9E3779B97F4A7C15 + strike.opportunity * fault_kind_count +
                  static_cast<std::uint64_t>(strike.kind)}
        .next();
  }

  std::uint64_t seed_ = 0;
  FaultRates rates_;
  std::vector<FaultStrike> script_;
  bool is_scripted_ = false;
  std::array<std::uint64_t, fault_kind_count> opportunities_{};
  std::vector<FaultStrike> struck_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
