// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver of the NVMe controller on the bare core under the adversary: the right one, or with
// --driver NAME one of the broken ones, in which the adversary has to find a fault.

#include <array>
#include <blkown/sim/kit.hpp>
#include <memory>

#include "sim/broken/buffers_reused_on_reset.hpp"
#include "sim/broken/command_left.hpp"
#include "sim/broken/completed_twice.hpp"
#include "sim/broken/disk_ignored.hpp"
#include "sim/broken/do_not_retry_ignored.hpp"
#include "sim/broken/double_end.hpp"
#include "sim/broken/drain_not_repeated.hpp"
#include "sim/broken/drained_later.hpp"
#include "sim/broken/drained_without_stop.hpp"
#include "sim/broken/end_before_unmap.hpp"
#include "sim/broken/ended_on_timeout.hpp"
#include "sim/broken/errors_forgotten.hpp"
#include "sim/broken/first_cookie_wrong.hpp"
#include "sim/broken/freed_before_disable.hpp"
#include "sim/broken/generation_ignored.hpp"
#include "sim/broken/issue_before_publish.hpp"
#include "sim/broken/namespace_ignored.hpp"
#include "sim/broken/old_cookie.hpp"
#include "sim/broken/one_entry_per_interrupt.hpp"
#include "sim/broken/pin_leaked.hpp"
#include "sim/broken/proof_of_another.hpp"
#include "sim/broken/queue_ignored.hpp"
#include "sim/broken/reference_dropped.hpp"
#include "sim/broken/requeued_while_mapped.hpp"
#include "sim/broken/rings_not_reset.hpp"
#include "sim/broken/status_ignored.hpp"
#include "sim/broken/stopped_at_refusal.hpp"
#include "sim/broken/touched_after_publish.hpp"
#include "sim/broken/unmap_failure_ignored.hpp"
#include "sim/broken/unmapped_on_timeout.hpp"
#include "sim/broken/wrong_direction.hpp"
#include "sim/named_driver.hpp"
#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {
namespace {

/// Runs the driver D under the adversary.
template <class D>
int main_of(int argc, char** argv) {
  return sim::nvme_main<Driver>(
      argc, argv, [](sim::NvmeHost<Driver>& host) { return std::make_unique<D>(host); });
}

constexpr std::array table{
    NamedDriver{"reference", &main_of<Driver>},
    NamedDriver{"buffers_reused_on_reset", &main_of<BuffersReusedOnReset>},
    NamedDriver{"command_left", &main_of<CommandLeft>},
    NamedDriver{"completed_twice", &main_of<CompletedTwice>},
    NamedDriver{"disk_ignored", &main_of<DiskIgnored>},
    NamedDriver{"do_not_retry_ignored", &main_of<DoNotRetryIgnored>},
    NamedDriver{"double_end", &main_of<DoubleEnd>},
    NamedDriver{"drain_not_repeated", &main_of<DrainNotRepeated>},
    NamedDriver{"drained_later", &main_of<DrainedLater>},
    NamedDriver{"drained_without_stop", &main_of<DrainedWithoutStop>},
    NamedDriver{"end_before_unmap", &main_of<EndBeforeUnmap>},
    NamedDriver{"ended_on_timeout", &main_of<EndedOnTimeout>},
    NamedDriver{"errors_forgotten", &main_of<ErrorsForgotten>},
    NamedDriver{"first_cookie_wrong", &main_of<FirstCookieWrong>},
    NamedDriver{"freed_before_disable", &main_of<FreedBeforeDisable>},
    NamedDriver{"generation_ignored", &main_of<GenerationIgnored>},
    NamedDriver{"issue_before_publish", &main_of<IssueBeforePublish>},
    NamedDriver{"namespace_ignored", &main_of<NamespaceIgnored>},
    NamedDriver{"old_cookie", &main_of<OldCookie>},
    NamedDriver{"one_entry_per_interrupt", &main_of<OneEntryPerInterrupt>},
    NamedDriver{"pin_leaked", &main_of<PinLeaked>},
    NamedDriver{"proof_of_another", &main_of<ProofOfAnother>},
    NamedDriver{"queue_ignored", &main_of<QueueIgnored>},
    NamedDriver{"reference_dropped", &main_of<ReferenceDropped>},
    NamedDriver{"requeued_while_mapped", &main_of<RequeuedWhileMapped>},
    NamedDriver{"rings_not_reset", &main_of<RingsNotReset>},
    NamedDriver{"status_ignored", &main_of<StatusIgnored>},
    NamedDriver{"stopped_at_refusal", &main_of<StoppedAtRefusal>},
    NamedDriver{"touched_after_publish", &main_of<TouchedAfterPublish>},
    NamedDriver{"unmap_failure_ignored", &main_of<UnmapFailureIgnored>},
    NamedDriver{"unmapped_on_timeout", &main_of<UnmappedOnTimeout>},
    NamedDriver{"wrong_direction", &main_of<WrongDirection>},
};

}  // namespace
}  // namespace nvme_ring::broken

int main(int argc, char** argv) { return named_driver_main(argc, argv, nvme_ring::broken::table); }
