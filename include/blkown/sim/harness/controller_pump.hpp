// SPDX-License-Identifier: BSL-1.0
//
// NvmeControllerPump: runs a simulated controller on a context of a runtime of the block layer.

#ifndef BLKOWN_SIM_HARNESS_CONTROLLER_PUMP_HPP
#define BLKOWN_SIM_HARNESS_CONTROLLER_PUMP_HPP

#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Steps a controller on a context whenever the controller has something due. On a
/// DeterministicRuntime the seed decides when each step runs. The controller's wake hook must call
/// wake().
class NvmeControllerPump : public mq::Work {
 public:
  /// Precondition: the controller and the context outlive the pump.
  NvmeControllerPump(NvmeController& controller, mq::Context& context)
      : Work{[](void* self, Work&) { static_cast<NvmeControllerPump*>(self)->run(); }, this},
        controller_{controller},
        context_{context},
        alarm_{[](void* self, mq::Alarm&) { static_cast<NvmeControllerPump*>(self)->run(); }, this},
        user_{&controller.users(), "a sim::NvmeControllerPump"} {}

  /// Makes the context step the controller.
  /// Context: any thread.
  void wake() noexcept { context_.post(*this); }

  /// Waits until the pump is neither posted nor has its alarm armed. Called before destruction.
  /// Precondition: the controller is stopped. The caller is on no context of the runtime.
  template <mq::Runtime Rt>
  void finish(Rt& runtime) {
    struct Last : mq::Work {
      explicit Last(NvmeControllerPump& its_pump)
          : Work{[](void* self, Work&) { static_cast<Last*>(self)->go(); }, this}, pump{its_pump} {}
      void go() {
        if (pump.is_queued()) return pump.context_.post(*this);
        pump.alarm_.cancel();
        done.set();
      }
      NvmeControllerPump& pump;
      mq::Event done;
    } last{*this};
    context_.post(last);
    static_cast<void>(runtime.wait_for(last.done));
  }

 private:
  void run() {
    const std::uint64_t now_ns = context_.now_ns();
    if (controller_.step(now_ns)) return wake();
    const auto next_ns = controller_.next_ns();
    if (!next_ns.has_value()) return;
    alarm_.cancel();
    alarm_.arm(context_, *next_ns > now_ns ? *next_ns - now_ns : 0);
  }

  NvmeController& controller_;
  mq::Context& context_;
  mq::Alarm alarm_;
  blkown::detail::User user_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
