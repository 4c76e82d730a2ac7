// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver of the block layer under the adversary: the driver of examples/nvme, or with
// --driver NAME one of the broken ones, in which the adversary has to find a fault.

#include <array>
#include <blkown/sim/kit.hpp>
#include <cstdio>
#include <memory>

#include "sim/broken_mq/claimed_on_exit.hpp"
#include "sim/broken_mq/command_kept.hpp"
#include "sim/broken_mq/completed_twice.hpp"
#include "sim/broken_mq/completion_doorbell_forgotten.hpp"
#include "sim/broken_mq/cookie_repaired.hpp"
#include "sim/broken_mq/disk_mixed_up.hpp"
#include "sim/broken_mq/drain_not_repeated.hpp"
#include "sim/broken_mq/ended_on_timeout.hpp"
#include "sim/broken_mq/flush_error_ignored.hpp"
#include "sim/broken_mq/flush_forgotten.hpp"
#include "sim/broken_mq/flush_of_one_disk.hpp"
#include "sim/broken_mq/freed_before_disable.hpp"
#include "sim/broken_mq/fua_dropped.hpp"
#include "sim/broken_mq/fua_dropped_on_split.hpp"
#include "sim/broken_mq/full_rings.hpp"
#include "sim/broken_mq/generation_ignored.hpp"
#include "sim/broken_mq/issue_forgotten.hpp"
#include "sim/broken_mq/left_queue_ignored.hpp"
#include "sim/broken_mq/lookups_end_with_disk.hpp"
#include "sim/broken_mq/memory_leaked.hpp"
#include "sim/broken_mq/old_cookie.hpp"
#include "sim/broken_mq/reference_dropped.hpp"
#include "sim/broken_mq/requeued_while_mapped.hpp"
#include "sim/broken_mq/retries_endless.hpp"
#include "sim/broken_mq/status_ignored.hpp"
#include "sim/broken_mq/stop_declared.hpp"
#include "sim/broken_mq/tail_not_wrapped.hpp"
#include "sim/broken_mq/timeout_waits.hpp"
#include "sim/broken_mq/touched_after_publish.hpp"
#include "sim/broken_mq/unmap_failure_ignored.hpp"
#include "sim/broken_mq/unmapped_on_timeout.hpp"
#include "sim/broken_mq/unquiesced_unasked.hpp"
#include "sim/broken_mq/variant_driver.hpp"
#include "sim/broken_mq/wrong_place.hpp"
#include "sim/named_driver.hpp"

namespace broken_mq {
namespace {

static_assert(sim::MqDriver<VariantDriver>);

/// Runs the driver D under the adversary.
template <class D>
int main_of(int argc, char** argv) {
  return sim::mq_main<VariantDriver>(argc, argv,
                                     [](sim::MqHost& host) { return std::make_unique<D>(host); });
}

int main_of_full_rings(int argc, char** argv) {
  const int code = main_of<FullRings>(argc, argv);
  std::printf("%u requests refused by full rings\n", FullRings::refusals);
  return code;
}

constexpr std::array table{
    NamedDriver{"reference", &main_of<VariantDriver>},
    NamedDriver{"full_rings", &main_of_full_rings},
    NamedDriver{"claimed_on_exit", &main_of<ClaimedOnExit>},
    NamedDriver{"command_kept", &main_of<CommandKept>},
    NamedDriver{"completed_twice", &main_of<CompletedTwice>},
    NamedDriver{"completion_doorbell_forgotten", &main_of<CompletionDoorbellForgotten>},
    NamedDriver{"cookie_repaired", &main_of<CookieRepaired>},
    NamedDriver{"disk_mixed_up", &main_of<DiskMixedUp>},
    NamedDriver{"drain_not_repeated", &main_of<DrainNotRepeated>},
    NamedDriver{"ended_on_timeout", &main_of<EndedOnTimeout>},
    NamedDriver{"flush_error_ignored", &main_of<FlushErrorIgnored>},
    NamedDriver{"flush_forgotten", &main_of<FlushForgotten>},
    NamedDriver{"flush_of_one_disk", &main_of<FlushOfOneDisk>},
    NamedDriver{"freed_before_disable", &main_of<FreedBeforeDisable>},
    NamedDriver{"fua_dropped", &main_of<FuaDropped>},
    NamedDriver{"fua_dropped_on_split", &main_of<FuaDroppedOnSplit>},
    NamedDriver{"generation_ignored", &main_of<GenerationIgnored>},
    NamedDriver{"issue_forgotten", &main_of<IssueForgotten>},
    NamedDriver{"left_queue_ignored", &main_of<LeftQueueIgnored>},
    NamedDriver{"lookups_end_with_disk", &main_of<LookupsEndWithDisk>},
    NamedDriver{"memory_leaked", &main_of<MemoryLeaked>},
    NamedDriver{"old_cookie", &main_of<OldCookie>},
    NamedDriver{"reference_dropped", &main_of<ReferenceDropped>},
    NamedDriver{"requeued_while_mapped", &main_of<RequeuedWhileMapped>},
    NamedDriver{"retries_endless", &main_of<RetriesEndless>},
    NamedDriver{"status_ignored", &main_of<StatusIgnored>},
    NamedDriver{"stop_declared", &main_of<StopDeclared>},
    NamedDriver{"tail_not_wrapped", &main_of<TailNotWrapped>},
    NamedDriver{"timeout_waits", &main_of<TimeoutWaits>},
    NamedDriver{"touched_after_publish", &main_of<TouchedAfterPublish>},
    NamedDriver{"unmap_failure_ignored", &main_of<UnmapFailureIgnored>},
    NamedDriver{"unmapped_on_timeout", &main_of<UnmappedOnTimeout>},
    NamedDriver{"unquiesced_unasked", &main_of<UnquiescedUnasked>},
    NamedDriver{"wrong_place", &main_of<WrongPlace>},
};

}  // namespace
}  // namespace broken_mq

int main(int argc, char** argv) { return named_driver_main(argc, argv, broken_mq::table); }
