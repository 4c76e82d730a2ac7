// SPDX-License-Identifier: BSL-1.0

#include "sim/broken_mq/drivers.hpp"

#include <array>
#include <blkown/sim/kit.hpp>

#include "sim/broken_mq/completed_twice.hpp"
#include "sim/broken_mq/cookie_repaired.hpp"
#include "sim/broken_mq/ended_on_timeout.hpp"
#include "sim/broken_mq/flush_error_ignored.hpp"
#include "sim/broken_mq/flush_forgotten.hpp"
#include "sim/broken_mq/fua_dropped.hpp"
#include "sim/broken_mq/generation_ignored.hpp"
#include "sim/broken_mq/issue_forgotten.hpp"
#include "sim/broken_mq/memory_leaked.hpp"
#include "sim/broken_mq/reference_dropped.hpp"
#include "sim/broken_mq/requeued_while_mapped.hpp"
#include "sim/broken_mq/short_taken_for_whole.hpp"
#include "sim/broken_mq/touched_after_publish.hpp"
#include "sim/broken_mq/unmapped_on_timeout.hpp"
#include "sim/broken_mq/unquiesced_unasked.hpp"
#include "sim/broken_mq/wrong_place.hpp"

namespace round_trip::broken {
namespace {

constexpr std::array table{
    NamedDriver{"touched_after_publish", &sim::mq_main<TouchedAfterPublish>},
#if ALL_BROKEN_DRIVERS
    NamedDriver{"completed_twice", &sim::mq_main<CompletedTwice>},
    NamedDriver{"cookie_repaired", &sim::mq_main<CookieRepaired>},
    NamedDriver{"ended_on_timeout", &sim::mq_main<EndedOnTimeout>},
    NamedDriver{"flush_error_ignored", &sim::mq_main<FlushErrorIgnored>},
    NamedDriver{"flush_forgotten", &sim::mq_main<FlushForgotten>},
    NamedDriver{"fua_dropped", &sim::mq_main<FuaDropped>},
    NamedDriver{"generation_ignored", &sim::mq_main<GenerationIgnored>},
    NamedDriver{"issue_forgotten", &sim::mq_main<IssueForgotten>},
    NamedDriver{"memory_leaked", &sim::mq_main<MemoryLeaked>},
    NamedDriver{"reference_dropped", &sim::mq_main<ReferenceDropped>},
    NamedDriver{"requeued_while_mapped", &sim::mq_main<RequeuedWhileMapped>},
    NamedDriver{"short_taken_for_whole", &sim::mq_main<ShortTakenForWhole>},
    NamedDriver{"unmapped_on_timeout", &sim::mq_main<UnmappedOnTimeout>},
    NamedDriver{"unquiesced_unasked", &sim::mq_main<UnquiescedUnasked>},
    NamedDriver{"wrong_place", &sim::mq_main<WrongPlace>},
#endif
};

}  // namespace

std::span<const NamedDriver> drivers() { return table; }

}  // namespace round_trip::broken
