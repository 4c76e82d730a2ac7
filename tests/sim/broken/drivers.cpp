// SPDX-License-Identifier: BSL-1.0

#include "sim/broken/drivers.hpp"

#include <array>
#include <blkown/sim/kit.hpp>

#include "sim/broken/buffers_reused_on_reset.hpp"
#include "sim/broken/completed_twice.hpp"
#include "sim/broken/double_end.hpp"
#include "sim/broken/end_before_unmap.hpp"
#include "sim/broken/ended_on_timeout.hpp"
#include "sim/broken/errors_forgotten.hpp"
#include "sim/broken/generation_ignored.hpp"
#include "sim/broken/issue_before_publish.hpp"
#include "sim/broken/old_cookie.hpp"
#include "sim/broken/pin_leaked.hpp"
#include "sim/broken/proof_of_another.hpp"
#include "sim/broken/queue_ignored.hpp"
#include "sim/broken/reference_dropped.hpp"
#include "sim/broken/requeued_while_mapped.hpp"
#include "sim/broken/short_taken_for_whole.hpp"
#include "sim/broken/touched_after_publish.hpp"
#include "sim/broken/unmapped_on_timeout.hpp"
#include "sim/broken/wrong_direction.hpp"

namespace nvme::broken {
namespace {

constexpr std::array table{
    NamedDriver{"touched_after_publish", &blkown::sim::core_main<TouchedAfterPublish>},
#if ALL_BROKEN_DRIVERS
    NamedDriver{"buffers_reused_on_reset", &blkown::sim::core_main<BuffersReusedOnReset>},
    NamedDriver{"completed_twice", &blkown::sim::core_main<CompletedTwice>},
    NamedDriver{"double_end", &blkown::sim::core_main<DoubleEnd>},
    NamedDriver{"end_before_unmap", &blkown::sim::core_main<EndBeforeUnmap>},
    NamedDriver{"ended_on_timeout", &blkown::sim::core_main<EndedOnTimeout>},
    NamedDriver{"errors_forgotten", &blkown::sim::core_main<ErrorsForgotten>},
    NamedDriver{"generation_ignored", &blkown::sim::core_main<GenerationIgnored>},
    NamedDriver{"issue_before_publish", &blkown::sim::core_main<IssueBeforePublish>},
    NamedDriver{"old_cookie", &blkown::sim::core_main<OldCookie>},
    NamedDriver{"pin_leaked", &blkown::sim::core_main<PinLeaked>},
    NamedDriver{"proof_of_another", &blkown::sim::core_main<ProofOfAnother>},
    NamedDriver{"queue_ignored", &blkown::sim::core_main<QueueIgnored>},
    NamedDriver{"reference_dropped", &blkown::sim::core_main<ReferenceDropped>},
    NamedDriver{"requeued_while_mapped", &blkown::sim::core_main<RequeuedWhileMapped>},
    NamedDriver{"short_taken_for_whole", &blkown::sim::core_main<ShortTakenForWhole>},
    NamedDriver{"unmapped_on_timeout", &blkown::sim::core_main<UnmappedOnTimeout>},
    NamedDriver{"wrong_direction", &blkown::sim::core_main<WrongDirection>},
#endif
};

}  // namespace

std::span<const NamedDriver> drivers() { return table; }

}  // namespace nvme::broken
