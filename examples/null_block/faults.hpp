// SPDX-License-Identifier: BSL-1.0
//
// FaultPoint: a place in the driver where things go wrong, as a seed and three numbers say.

#ifndef NULL_BLOCK_FAULTS_HPP
#define NULL_BLOCK_FAULTS_HPP

#include <cstdint>
#include <mutex>
#include <random>

namespace null_block {

/// What a fault point does.
/// Source: the kernel's fault_attr, without stack filters and space.
struct FaultPlan {
  std::uint64_t probability = 0;  ///< In percent, of the chances that are considered.
  std::uint64_t interval = 1;     ///< Each interval-th chance is considered.
  std::uint64_t times = 0;        ///< The most faults. 0: no limit.
  std::uint64_t seed = 0;
  friend constexpr bool operator==(const FaultPlan&, const FaultPlan&) = default;
};

/// Synchronization: fires() locks a mutex if a fault is possible. plan() only while no thread calls
/// fires().
class FaultPoint {
 public:
  /// Begins again with a plan, unless it is the present one.
  void plan(const FaultPlan& plan) {
    if (plan == plan_) return;
    plan_ = plan;
    random_.seed(plan.seed);
    chances_ = 0;
    faults_ = 0;
  }
  /// Whether something goes wrong now.
  [[nodiscard]] bool fires() {
    if (plan_.probability == 0) return false;
    const std::lock_guard lock{mutex_};
    if (plan_.times != 0 && faults_ == plan_.times) return false;
    if (++chances_ % plan_.interval != 0) return false;
    if (random_() % 100 >= plan_.probability) return false;
    ++faults_;
    return true;
  }
  /// The number of faults so far.
  [[nodiscard]] std::uint64_t faults() {
    const std::lock_guard lock{mutex_};
    return faults_;
  }

 private:
  FaultPlan plan_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::uint64_t chances_ = 0;
  std::uint64_t faults_ = 0;
};

}  // namespace null_block

#endif
