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

template <class D>
int run(const std::string& program, const std::vector<std::string>& words) {
  return blkown::sim::kit_main<blkown::sim::CoreWorld<D>>(program, words);
}

constexpr std::array table{
    NamedDriver{"buffers_reused_on_reset", &run<BuffersReusedOnReset>},
    NamedDriver{"completed_twice", &run<CompletedTwice>},
    NamedDriver{"double_end", &run<DoubleEnd>},
    NamedDriver{"end_before_unmap", &run<EndBeforeUnmap>},
    NamedDriver{"ended_on_timeout", &run<EndedOnTimeout>},
    NamedDriver{"errors_forgotten", &run<ErrorsForgotten>},
    NamedDriver{"generation_ignored", &run<GenerationIgnored>},
    NamedDriver{"issue_before_publish", &run<IssueBeforePublish>},
    NamedDriver{"old_cookie", &run<OldCookie>},
    NamedDriver{"pin_leaked", &run<PinLeaked>},
    NamedDriver{"proof_of_another", &run<ProofOfAnother>},
    NamedDriver{"queue_ignored", &run<QueueIgnored>},
    NamedDriver{"reference_dropped", &run<ReferenceDropped>},
    NamedDriver{"requeued_while_mapped", &run<RequeuedWhileMapped>},
    NamedDriver{"short_taken_for_whole", &run<ShortTakenForWhole>},
    NamedDriver{"touched_after_publish", &run<TouchedAfterPublish>},
    NamedDriver{"unmapped_on_timeout", &run<UnmappedOnTimeout>},
    NamedDriver{"wrong_direction", &run<WrongDirection>},
};

}  // namespace

std::span<const NamedDriver> drivers() { return table; }

}  // namespace nvme::broken
