// SPDX-License-Identifier: BSL-1.0

#include "sim/broken_message/drivers.hpp"

#include <array>
#include <blkown/sim/kit.hpp>

#include "sim/broken_message/ended_before_reconnect.hpp"
#include "sim/broken_message/generation_ignored.hpp"
#include "sim/broken_message/queue_ignored.hpp"
#include "sim/broken_message/refused_ended_twice.hpp"
#include "sim/broken_message/short_taken_for_whole.hpp"
#include "sim/broken_message/taken_before_publish.hpp"

namespace message::broken {
namespace {

constexpr std::array table{
    NamedDriver{"short_taken_for_whole", &blkown::sim::message_main<ShortTakenForWhole>},
#if ALL_BROKEN_DRIVERS
    NamedDriver{"ended_before_reconnect", &blkown::sim::message_main<EndedBeforeReconnect>},
    NamedDriver{"generation_ignored", &blkown::sim::message_main<GenerationIgnored>},
    NamedDriver{"queue_ignored", &blkown::sim::message_main<QueueIgnored>},
    NamedDriver{"refused_ended_twice", &blkown::sim::message_main<RefusedEndedTwice>},
    NamedDriver{"taken_before_publish", &blkown::sim::message_main<TakenBeforePublish>},
#endif
};

}  // namespace

std::span<const NamedDriver> drivers() { return table; }

}  // namespace message::broken
